{{/* Security context of pods under Pod Security "restricted". */}}
{{- define "fairlead.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Security context of containers under Pod Security "restricted". */}}
{{- define "fairlead.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where pods go; call with (dict "at" .Values.operator "selector" TEXT). */}}
{{- define "fairlead.placement" -}}
{{- with .at.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .at.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .at.tolerations }}
tolerations: {{- toYaml . | nindent 0 }}
{{- end }}
{{- with .at.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Spread of a Deployment's pods over zones and hosts, each ReplicaSet for itself, so that a rollout is even too. */}}
{{- define "fairlead.spread" -}}
{{- $keys := list (list "topology.kubernetes.io/zone" .at.topologySpread.zones) (list "kubernetes.io/hostname" .at.topologySpread.hosts) }}
{{- range $keys }}
{{- if ne (last .) "Off" }}
- maxSkew: 1
  topologyKey: {{ first . }}
  whenUnsatisfiable: {{ last . }}
  labelSelector:
    matchLabels: {{- $.selector | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end }}
{{- end }}
