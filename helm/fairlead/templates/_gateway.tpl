{{/* A gateway with its defaults filled in, as YAML; call with (dict "root" $ "gateway" ENTRY). */}}
{{- define "fairlead.gateway" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.gatewayDefaults) (deepCopy .gateway) | toYaml -}}
{{- end }}

{{/* Bootstrap of gateways: what `fairlead bootstrap` writes, with the address of this installation. */}}
{{- define "fairlead.bootstrap" -}}
{{- .Files.Get "files/gateway-bootstrap.yaml" | replace "XDS_SERVICE" (include "fairlead.xdsService" .) -}}
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
{{- if and $gateway.hostPrivilegedPorts (not $gateway.hostNetwork) }}
{{- fail (printf "gateways %s: hostPrivilegedPorts needs hostNetwork: without it ports below 1024 need no privilege" .name) }}
{{- end }}
{{- end }}
{{- end }}
