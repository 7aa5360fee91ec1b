{{/* Labels of every object; call with (dict "root" $ "component" "operator"). */}}
{{- define "fairlead.labels" -}}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: fairlead
{{ include "fairlead.selector" . }}
{{- end }}

{{/* Labels that select pods; they never change. */}}
{{- define "fairlead.selector" -}}
app.kubernetes.io/name: fairlead
app.kubernetes.io/component: {{ .component }}
{{- with .gateway }}
fairlead.dev/gateway: {{ . }}
{{- end }}
{{- end }}

{{/* Reference of an image; call with (dict "root" $ "image" .Values.image). */}}
{{- define "fairlead.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Name by which proxies reach the xDS port; the serving certificate is for it. */}}
{{- define "fairlead.xdsService" -}}
fairlead-xds.{{ .Release.Namespace }}.svc
{{- end }}

{{/* Of the tokens that proxies show. */}}
{{- define "fairlead.audience" -}}
fairlead.dev/xds
{{- end }}

{{/* Who may read metrics, as peers of a NetworkPolicy. */}}
{{- define "fairlead.metricsFrom" -}}
{{- if .Values.networkPolicy.metricsFrom -}}
{{ toYaml .Values.networkPolicy.metricsFrom }}
{{- else -}}
- podSelector: {}
{{- end -}}
{{- end }}
