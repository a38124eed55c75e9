{{/*
Secrets that Helm makes once. `lookup` finds nothing where Helm doesn't talk to the cluster
(`helm template`, Argo CD): there every render would make new values, hence global.generateSecrets.
*/}}

{{/*
common.makesSecrets: "true" unless global.generateSecrets is false: then Secrets of the same names
are there already, and nothing that is rendered is random. Takes "context".
*/}}
{{- define "common.makesSecrets" -}}
{{- $global := .context.Values.global | default dict -}}
{{- if ne (toString $global.generateSecrets) "false" }}true{{ end -}}
{{- end -}}

{{/*
common.keptValue: what key "key" of Secret "secret" holds in the cluster, or "new" if there is none
yet, or else 32 random letters and digits. It is the same within one render, wherever it is used first.
"generation", a number: the Secret carries it as an annotation, and another one makes a new value.
Takes "context". Prints the plain value.
*/}}
{{- define "common.keptValue" -}}
{{- $values := .context.Values -}}
{{- if not (hasKey $values "__kept") }}{{ $_ := set $values "__kept" dict }}{{ end -}}
{{- $place := printf "%s/%s" .secret .key -}}
{{- if not (hasKey $values.__kept $place) -}}
{{- $found := lookup "v1" "Secret" .context.Release.Namespace .secret -}}
{{- $value := .new | default (randAlphaNum 32) -}}
{{- $madeFor := (($found | default dict).metadata | default dict).annotations | default dict -}}
{{- $isCurrent := or (not .generation) (eq (toString .generation) (index $madeFor "mailtopic.dev/generation" | default "1")) -}}
{{- if and $isCurrent $found $found.data -}}
{{- $value = ternary (index $found.data .key | default "" | b64dec) $value (hasKey $found.data .key) -}}
{{- end -}}
{{- $_ := set $values.__kept $place $value -}}
{{- end -}}
{{- index $values.__kept $place -}}
{{- end -}}

{{/*
common.keptSecret: a Secret "name" with values made at the first install and kept over
upgrades. "values" maps each key to its first value; "" means 32 random letters and digits.
"keep": true keeps it over an uninstall, too, beside the volumes that it belongs to.
"generation": raise it to have new values made. "use": what MailTopics may use it for.
Takes "context" and "component".
*/}}
{{- define "common.keptSecret" -}}
{{- if include "common.makesSecrets" . -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ .name }}
  namespace: {{ .context.Release.Namespace }}
  labels:
    {{- include "common.labels" . | nindent 4 }}
    {{- with .use }}
    mailtopic.dev/use: {{ . }}
    {{- end }}
  {{- if or .keep .generation }}
  annotations:
    {{- if .keep }}
    helm.sh/resource-policy: keep
    {{- end }}
    {{- with .generation }}
    mailtopic.dev/generation: {{ . | quote }}
    {{- end }}
  {{- end }}
type: Opaque
data:
  {{- range $key, $new := .values }}
  {{ $key }}: {{ include "common.keptValue" (dict "context" $.context "secret" $.name "key" $key "new" $new "generation" $.generation) | b64enc | quote }}
  {{- end }}
{{- end -}}
{{- end -}}
