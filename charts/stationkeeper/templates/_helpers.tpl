{{- define "stationkeeper.name" -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{- end }}
{{- define "stationkeeper.serviceAccount" -}}{{ .Values.serviceAccount.name | default (include "stationkeeper.name" .) }}{{- end }}
{{- define "stationkeeper.selector" -}}
app.kubernetes.io/name: stationkeeper
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- define "stationkeeper.labels" -}}
{{ include "stationkeeper.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
{{- define "stationkeeper.image" -}}{{ .image.repository }}:{{ .image.tag | default .chart.AppVersion }}{{- end }}
{{/* What the operator may do where models live. It has no right to secrets: workloads get them by reference. */}}
{{- define "stationkeeper.rules" -}}
- apiGroups: [stationkeeper.dev]
  resources: [models, driftpolicies]
  verbs: [get, list, watch]
- apiGroups: [stationkeeper.dev]
  resources: [models/status, driftpolicies/status]
  verbs: [patch]
- apiGroups: [stationkeeper.dev]
  resources: [modelrevisions]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [cronjobs, jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes] # where spec.serving.route is used; a cluster without the Gateway API has no such thing
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- range .Values.workloadTemplates }}
- apiGroups: [{{ if contains "/" .object.apiVersion }}{{ .object.apiVersion | splitList "/" | first }}{{ else }}""{{ end }}]
  resources: [{{ .plural }}] # they go with the Job of their training, by its owner reference
  verbs: [get, create, patch]
{{- end }}
{{- end }}
{{/* Where this operator's rules of admission hold: another one may watch other namespaces. */}}
{{- define "stationkeeper.watched" -}}
namespaceSelector:
  matchExpressions:
  - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson .Values.watchNamespaces }}}
{{- end }}
