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
fairlead.dev/gateway: {{ . | quote }}
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

{{/* A duration in milliseconds: 90s, 1m30s, 500ms. */}}
{{- define "fairlead.milliseconds" -}}
{{- $total := 0 -}}
{{- range regexFindAll "[0-9]+(ms|h|m|s)" . -1 -}}
{{- $unit := regexFind "[a-z]+" . -}}
{{- $total = add $total (mul (regexFind "[0-9]+" . | atoi) (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) $unit)) -}}
{{- end -}}
{{- $total -}}
{{- end }}

{{/* A quantity as text: numbers of YAML are floats, and 134217728 must not become 1.34217728e+08, nor 0.00001 1e-05. */}}
{{- define "fairlead.quantity" -}}
{{- if kindIs "string" . }}{{ . }}{{ else if eq (floor .) (float64 .) }}{{ printf "%.0f" (float64 .) }}{{ else }}{{ regexReplaceAll "0+$" (printf "%.9f" .) "" }}{{ end -}}
{{- end }}

{{/* A quantity in thousandths of a core or byte. */}}
{{- define "fairlead.amount" -}}
{{- $text := include "fairlead.quantity" . -}}
{{- $unit := regexFind "[A-Za-z]+$" $text -}}
{{- $factors := dict "" 1e3 "m" 1 "k" 1e6 "M" 1e9 "G" 1e12 "T" 1e15 "Ki" 1024e3 "Mi" 1048576e3 "Gi" 1073741824e3 "Ti" 1099511627776e3 -}}
{{- printf "%.0f" (mulf (regexFind "^[0-9.]+" $text | float64) (get $factors $unit | float64)) -}}
{{- end }}
