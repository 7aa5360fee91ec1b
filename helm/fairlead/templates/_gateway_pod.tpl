{{/* The pod of a gateway; call with (dict "root" $ "gateway" FILLED-IN "component" DICT). */}}
{{- define "fairlead.gatewayPod" -}}
{{- $gateway := .gateway -}}
serviceAccountName: fairlead-gateway-{{ $gateway.name }}
automountServiceAccountToken: false
enableServiceLinks: false
# The drain, and some seconds for Envoy to end.
terminationGracePeriodSeconds: {{ add $gateway.drain.seconds 15 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 0 }}
{{- end }}
{{- if $gateway.hostNetwork }}
hostNetwork: true
dnsPolicy: ClusterFirstWithHostNet
{{- end }}
securityContext:
  {{- if and $gateway.hostNetwork $gateway.hostPrivilegedPorts }}
  runAsUser: 0
  runAsGroup: 0
  seccompProfile: {type: RuntimeDefault}
  {{- else }}
  {{- include "fairlead.podSecurity" . | nindent 2 }}
  {{- end }}
  {{- if not $gateway.hostNetwork }}
  # So that ports below 1024 need no privilege: a safe sysctl, of the pod's own network only.
  sysctls:
  - {name: net.ipv4.ip_unprivileged_port_start, value: "0"}
  {{- end }}
{{- with include "fairlead.placement" (dict "at" $gateway) | trim }}
{{ . }}
{{- end }}
{{- if eq $gateway.kind "Deployment" }}
{{- with include "fairlead.spread" (dict "at" $gateway "selector" (include "fairlead.selector" .component)) | trim }}
topologySpreadConstraints: {{- . | nindent 0 }}
{{- end }}
{{- end }}
containers:
- name: envoy
  image: {{ include "fairlead.image" (dict "root" .root "image" .root.Values.proxyImage) }}
  imagePullPolicy: {{ .root.Values.proxyImage.pullPolicy }}
  args:
  - --config-path
  - /etc/fairlead/bootstrap/envoy.json
  - --service-node
  - $(POD_NAME)
  # Connections that drain are told at once: the drain then waits only for requests in flight.
  - --disable-hot-restart
  - --drain-strategy
  - immediate
  - --log-level
  - {{ $gateway.logLevel | quote }}
  - --concurrency
  - {{ $gateway.concurrency | quote }}
  env:
  - name: POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  ports:
  # On the host network this is a port of the node: no two gateways get onto one.
  - {name: status, containerPort: 19001}
  # Ready: it has its listeners from the control plane, and is not about to end. There is no liveness probe: a restart
  # would cost all connections, and Envoy ends by itself where its threads hang.
  readinessProbe:
    httpGet: {path: /ready, port: 19001}
    periodSeconds: 2
    failureThreshold: 2
    timeoutSeconds: 2
  lifecycle:
    preStop:
      exec: {command: [/usr/local/bin/fairlead-proxy, drain, --for, {{ $gateway.drain.seconds }}s]}
  resources: {{- toYaml $gateway.resources | nindent 4 }}
  securityContext:
    {{- if and $gateway.hostNetwork $gateway.hostPrivilegedPorts }}
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
    {{- else }}
    {{- include "fairlead.containerSecurity" . | nindent 4 }}
    {{- end }}
  volumeMounts:
  - {name: bootstrap, mountPath: /etc/fairlead/bootstrap, readOnly: true}
  - {name: token, mountPath: /var/run/secrets/fairlead, readOnly: true}
  - {name: ca, mountPath: /var/run/secrets/fairlead-ca, readOnly: true}
  - {name: run, mountPath: /var/run/fairlead}
volumes:
- name: bootstrap
  configMap: {name: fairlead-gateway-{{ $gateway.name }}}
- name: token
  projected:
    sources:
    - serviceAccountToken: {path: token, audience: {{ include "fairlead.audience" . }}, expirationSeconds: 3600}
# Written by the operator: the pod waits for it.
- name: ca
  configMap: {name: fairlead-ca}
# The socket of Envoy's admin interface.
- name: run
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end }}
