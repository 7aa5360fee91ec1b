{{/* A gateway with its defaults filled in, as YAML; call with (dict "root" $ "gateway" ENTRY). */}}
{{- define "fairlead.gateway" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.gatewayDefaults) (deepCopy .gateway) | toYaml -}}
{{- end }}

{{/* Bootstrap of gateways: what `fairlead bootstrap` writes, with the address of this installation. */}}
{{- define "fairlead.bootstrap" -}}
{{- .Files.Get "files/gateway-bootstrap.yaml" | replace "XDS_SERVICE" (include "fairlead.xdsService" .) -}}
{{- end }}
