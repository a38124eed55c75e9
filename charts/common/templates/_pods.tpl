{{/*
What pods have in common. Every helper takes a dict; those that need the root context, as "context".
*/}}

{{/*
common.podSecurityContext: the restricted Pod Security Standard, with .Values.podSecurityContext
("values") over it. Takes "uid", the user and group of the image; default 10001.
*/}}
{{- define "common.podSecurityContext" -}}
{{- $uid := int (.uid | default 10001) -}}
{{- $restricted := dict "runAsNonRoot" true "runAsUser" $uid "runAsGroup" $uid "fsGroup" $uid "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (mergeOverwrite $restricted (deepCopy (.values | default dict))) -}}
{{- end -}}

{{/*
common.securityContext: the same for a container: no privileges, no capability, nothing writable
but volumes, with .Values.securityContext ("values") over it.
*/}}
{{- define "common.securityContext" -}}
{{- $restricted := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) -}}
{{- toYaml (mergeOverwrite $restricted (deepCopy (.values | default dict))) -}}
{{- end -}}

{{/*
common.topologySpread: "constraints" (.Values.topologySpreadConstraints) as the pod spec's value;
one without a labelSelector gets the component's. Takes "context" and "component".
*/}}
{{- define "common.topologySpread" -}}
{{- $selector := dict "matchLabels" (include "common.selectorLabels" . | fromYaml) -}}
{{- $spread := list -}}
{{- range .constraints -}}
{{- $spread = append $spread (merge (deepCopy .) (dict "labelSelector" $selector)) -}}
{{- end -}}
{{- toYaml $spread -}}
{{- end -}}

{{/*
common.scheduling: the pod spec's lines about where pods run, and what pulls their images:
imagePullSecrets, priorityClassName, nodeSelector, affinity, tolerations and
topologySpreadConstraints of "values" (default .Values). Takes "context" and "component".
*/}}
{{- define "common.scheduling" -}}
{{- $values := .values | default .context.Values -}}
{{- $global := .context.Values.global | default dict -}}
{{- $lines := dict -}}
{{- with $values.imagePullSecrets | default $global.imagePullSecrets }}{{ $_ := set $lines "imagePullSecrets" . }}{{ end -}}
{{- with $values.priorityClassName }}{{ $_ := set $lines "priorityClassName" . }}{{ end -}}
{{- with $values.nodeSelector }}{{ $_ := set $lines "nodeSelector" . }}{{ end -}}
{{- with $values.affinity }}{{ $_ := set $lines "affinity" . }}{{ end -}}
{{- with $values.tolerations }}{{ $_ := set $lines "tolerations" . }}{{ end -}}
{{- with $values.topologySpreadConstraints -}}
{{- $spread := dict "context" $.context "component" $.component "constraints" . -}}
{{- $_ := set $lines "topologySpreadConstraints" (include "common.topologySpread" $spread | fromYamlArray) -}}
{{- end -}}
{{- if $lines }}{{ toYaml $lines }}{{ end -}}
{{- end -}}

{{/*
common.env: a container's env as a list in which no name stands twice (server-side apply refuses
that): "base", a list as YAML text, then "extra" (.Values.extraEnv), which wins.
*/}}
{{- define "common.env" -}}
{{- $taken := dict -}}
{{- range .extra }}{{ $_ := set $taken .name true }}{{ end -}}
{{- $env := list -}}
{{- range (.base | fromYamlArray) -}}
{{- if not (hasKey $taken .name) }}{{ $env = append $env . }}{{ end -}}
{{- end -}}
{{- range .extra }}{{ $env = append $env . }}{{ end -}}
{{- if $env }}{{ toYaml $env }}{{ end -}}
{{- end -}}

{{/*
common.pdb: a PodDisruptionBudget from "values" (default .Values.podDisruptionBudget):
{enabled, maxUnavailable | minAvailable, unhealthyPodEvictionPolicy}.
Takes "context", "component" and "name" (default: the fullname).
*/}}
{{- define "common.pdb" -}}
{{- $values := .values | default .context.Values.podDisruptionBudget -}}
{{- if $values.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name | default (include "common.fullname" .) }}
  namespace: {{ .context.Release.Namespace }}
  labels:
    {{- include "common.labels" . | nindent 4 }}
spec:
  {{- if $values.minAvailable }}
  minAvailable: {{ $values.minAvailable }}
  {{- else }}
  maxUnavailable: {{ ternary $values.maxUnavailable 1 (hasKey $values "maxUnavailable") }}
  {{- end }}
  {{- with $values.unhealthyPodEvictionPolicy }}
  unhealthyPodEvictionPolicy: {{ . }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "common.selectorLabels" . | nindent 6 }}
{{- end }}
{{- end -}}

{{/*
common.monitorAnnotations: what makes an annotation-driven Prometheus scrape the pod, if
.Values.monitor.annotations. Takes "context", "port" (a number) and "path" (default /metrics).
*/}}
{{- define "common.monitorAnnotations" -}}
{{- if .context.Values.monitor.annotations -}}
prometheus.io/scrape: "true"
prometheus.io/port: {{ include "common.text" .port | quote }}
prometheus.io/path: {{ .path | default "/metrics" }}
{{- end -}}
{{- end -}}

{{/*
common.podMonitor: a PodMonitor of the Prometheus operator if .Values.monitor.podMonitor.enabled
{enabled, labels, interval}. Takes "context", "component", "name" (default: the fullname), "port"
(the container port's name), "path" (default /metrics), and for pods that aren't the chart's own
"selector" (labels, as text) and "namespaces" (a namespaceSelector).
*/}}
{{- define "common.podMonitor" -}}
{{- $monitor := .context.Values.monitor.podMonitor -}}
{{- if $monitor.enabled }}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ .name | default (include "common.fullname" .) }}
  namespace: {{ .context.Release.Namespace }}
  labels:
    {{- include "common.labels" . | nindent 4 }}
    {{- with $monitor.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  # Dashboards and alerts know the pods' job as their component.
  jobLabel: app.kubernetes.io/component
  {{- with .namespaces }}
  namespaceSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  selector:
    matchLabels:
      {{- .selector | default (include "common.selectorLabels" .) | nindent 6 }}
  podMetricsEndpoints:
    - port: {{ .port }}
      path: {{ .path | default "/metrics" }}
      {{- with $monitor.interval }}
      interval: {{ . }}
      {{- end }}
{{- end }}
{{- end -}}

{{/*
common.extraObjects: .Values.extraObjects, each a map or a text, rendered as templates.
*/}}
{{- define "common.extraObjects" -}}
{{- range .context.Values.extraObjects }}
---
{{ tpl (ternary . (toYaml .) (kindIs "string" .)) $.context }}
{{- end }}
{{- end -}}
