{{/* A gateway with its defaults filled in, as YAML; call with (dict "root" $ "gateway" ENTRY). */}}
{{- define "fairlead.gateway" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.gatewayDefaults) (deepCopy .gateway) | toYaml -}}
{{- end }}

{{/* Bootstrap of a gateway: what `fairlead bootstrap --pod` writes, with its name and the address of this installation;
call with (dict "root" $ "name" NAME). */}}
{{- define "fairlead.bootstrap" -}}
{{- .root.Files.Get "files/gateway-bootstrap.json" | replace "XDS-SERVICE" (include "fairlead.xdsService" .root) | replace "GATEWAY" .name | trim -}}
{{- end }}

{{/* What a schema cannot say of gateways; call with the root. */}}
{{- define "fairlead.checkGateways" -}}
{{- $names := list }}
{{- range .Values.gateways }}
{{- $gateway := include "fairlead.gateway" (dict "root" $ "gateway" .) | fromYaml }}
{{- if has .name $names }}
{{- fail (printf "gateways: two gateways are called %s" .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- if and $gateway.autoscaling.enabled (ne $gateway.kind "Deployment") }}
{{- fail (printf "gateways %s: autoscaling is for kind Deployment: a DaemonSet has one pod a node" .name) }}
{{- end }}
{{- if and $gateway.autoscaling.enabled (lt (int $gateway.autoscaling.maxReplicas) (int $gateway.autoscaling.minReplicas)) }}
{{- fail (printf "gateways %s: autoscaling.maxReplicas must not be less than minReplicas" .name) }}
{{- end }}
{{- $name := .name }}
{{- $ports := list }}
{{- range $gateway.service.ports }}
{{- $port := printf "%v/%s" .port (.protocol | default "TCP") }}
{{- if or (has $port $ports) (has .name $ports) }}
{{- fail (printf "gateways %s: service.ports: %s (%s) is there twice" $name .name $port) }}
{{- end }}
{{- $ports = append (append $ports $port) .name }}
{{- if eq (int (.targetPort | default .port)) 19001 }}
{{- fail (printf "gateways %s: service.ports: %s: 19001 is the gateway's own port, for health and metrics" $name .name) }}
{{- end }}
{{- if and .nodePort (eq $gateway.service.type "ClusterIP") }}
{{- fail (printf "gateways %s: service.ports: nodePort needs service.type NodePort or LoadBalancer" $name) }}
{{- end }}
{{- end }}
{{- if and $gateway.hostPrivilegedPorts (not $gateway.hostNetwork) }}
{{- fail (printf "gateways %s: hostPrivilegedPorts needs hostNetwork: without it ports below 1024 need no privilege" .name) }}
{{- end }}
{{- end }}
{{- end }}
