{{/*
What the charts of the services (signup, sender, inbox) have in common beyond names and pods.
*/}}

{{/*
common.refuse: end the render with a message that names the value. Takes "context", "value" (its
path in the chart) and "problem", which follows it: "must be at least 1".
*/}}
{{- define "common.refuse" -}}
{{- fail (printf "\n\n%s: %s %s\n" .context.Chart.Name .value .problem) -}}
{{- end -}}

{{/*
common.isUmbrella: "true" inside the chart mailtopic, else "". Takes "context".
*/}}
{{- define "common.isUmbrella" -}}
{{- $global := .context.Values.global | default dict -}}
{{- if ($global.mailtopic | default dict).umbrella }}true{{ end -}}
{{- end -}}

{{/*
common.topic: .Values.topic, or else the one that the whole release uses. Takes "context".
*/}}
{{- define "common.topic" -}}
{{- $global := .context.Values.global | default dict -}}
{{- .context.Values.topic | default ($global.mailtopic | default dict).topic | default "mails" -}}
{{- end -}}

{{/*
common.text: a number, string or boolean as text. Helm reads the numbers of a values file as floats
and prints the larger ones as 1e+06; whole numbers stay whole here. Takes the value itself.
*/}}
{{- define "common.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/*
common.settingsEnv: a group of a service's settings as env entries, as text for common.env.
"values" maps each name to its value, "prefix" stands before the names: maxAgeS of delivery becomes
MAILTOPIC_DELIVERY__MAX_AGE_S. What is empty is left to the service's default; lists are joined.
*/}}
{{- define "common.settingsEnv" -}}
{{- range $name, $value := .values }}
{{- $text := "" -}}
{{- if kindIs "slice" $value -}}
{{- $text = join "," $value -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $text = include "common.text" $value -}}
{{- end -}}
{{- if ne $text "" }}
- name: {{ $.prefix }}{{ $name | snakecase | upper }}
  value: {{ $text | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
common.tracingEnv: a service's tracing settings, as text for common.env; nothing without an
endpoint. Takes "context".
*/}}
{{- define "common.tracingEnv" -}}
{{- with .context.Values.tracing }}
{{- if .endpoint }}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_TRACING__" "values" .) }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
common.sealing: where the keys are that codes are sealed with, as YAML: {enabled, secret, key}.
The chart's own sealing.* win over global.mailtopic.sealing.*; inside the umbrella the default is
the Secret that it makes. Takes "context".
*/}}
{{- define "common.sealing" -}}
{{- $own := .context.Values.sealing -}}
{{- $globals := (.context.Values.global | default dict).mailtopic | default dict -}}
{{- $global := $globals.sealing | default dict -}}
{{- $secret := $own.existingSecret | default $global.existingSecret -}}
{{- $key := ternary $own.key $global.key (ne $own.existingSecret "") | default "keys.json" -}}
{{- $enabled := $own.enabled -}}
{{- if and (hasKey $global "enabled") (not $global.enabled) }}{{ $enabled = false }}{{ end -}}
{{- if and $enabled (not $secret) -}}
{{- if not $globals.umbrella -}}
{{- include "common.refuse" (dict "context" .context "value" "sealing.existingSecret" "problem" "must name the Secret with the keys (keys.json) that codes are sealed with; or set sealing.enabled to false") -}}
{{- end -}}
{{- $secret = printf "%s-sealing-keys" .context.Release.Name -}}
{{- end -}}
{{- toYaml (dict "enabled" $enabled "secret" ($secret | default "") "key" $key) -}}
{{- end -}}

{{/*
common.secretVolume: a volume "name" with the one "key" of a Secret "secret", as file "path".
*/}}
{{- define "common.secretVolume" -}}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items:
      - key: {{ .key }}
        path: {{ .path }}
{{- end -}}

{{/*
common.podLabels: the labels of a pod: what selects it, "labels" (text) and .Values.podLabels.
Takes "context" and "component".
*/}}
{{- define "common.podLabels" -}}
{{ include "common.selectorLabels" . }}
app.kubernetes.io/part-of: mailtopic
{{- with .labels }}
{{ . }}
{{- end }}
{{- with .context.Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
common.httpProbe: a probe of "path" on "port" with "timing", the rest of its fields.
*/}}
{{- define "common.httpProbe" -}}
httpGet:
  path: {{ .path }}
  port: {{ .port }}
  {{- with .host }}
  httpHeaders:
    - name: Host
      value: {{ . }}
  {{- end }}
{{ toYaml .timing }}
{{- end -}}

{{/*
common.cpuAutoscaler: a HorizontalPodAutoscaler by CPU from .Values.autoscaling
{minReplicas, maxReplicas, targetCPUUtilizationPercentage, behavior}. Takes "context", "component".
*/}}
{{- define "common.cpuAutoscaler" -}}
{{- $values := .context.Values.autoscaling -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "common.fullname" . }}
  namespace: {{ .context.Release.Namespace }}
  labels:
    {{- include "common.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ include "common.fullname" . }}
  minReplicas: {{ $values.minReplicas }}
  maxReplicas: {{ $values.maxReplicas }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ $values.targetCPUUtilizationPercentage }}
  {{- with $values.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/*
common.checkAutoscaling: refuse limits of .Values.autoscaling that contradict each other.
*/}}
{{- define "common.checkAutoscaling" -}}
{{- $values := .context.Values.autoscaling -}}
{{- if and $values.enabled (gt (int $values.minReplicas) (int $values.maxReplicas)) -}}
{{- include "common.refuse" (dict "context" .context "value" "autoscaling.minReplicas" "problem" (printf "(%d) must not be above autoscaling.maxReplicas (%d)" (int $values.minReplicas) (int $values.maxReplicas))) -}}
{{- end -}}
{{- end -}}
