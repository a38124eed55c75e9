{{/*
The rules for Prometheus: generated files, in which a few numbers are replaced where they stand.
*/}}

{{/*
mailtopic.rules: the text of one file ("text") with this installation's numbers, and without the alerts that are left out.
*/}}
{{- define "mailtopic.rules" -}}
{{- $monitoring := .context.Values.monitoring -}}
{{- $rules := $monitoring.rules -}}
{{- $text := .text -}}
{{- /* With the name before it: two numbers may be the same. */ -}}
{{- $record := "record: mailtopic:%s\n    expr: vector(%v)" -}}
{{- $text = $text | replace (printf $record "delivery_slo:objective" "0.99") (printf $record "delivery_slo:objective" $rules.slo.objective) -}}
{{- $text = $text | replace (printf $record "delivery_slo:threshold_seconds" "30") (printf $record "delivery_slo:threshold_seconds" $rules.slo.thresholdS) -}}
{{- $text = $text | replace (printf $record "lag_seconds:limit" "120") (printf $record "lag_seconds:limit" $rules.lagLimitS) -}}
{{- $text = $text | replace (printf $record "outbox_oldest_seconds:limit" "60") (printf $record "outbox_oldest_seconds:limit" $rules.outboxLimitS) -}}
{{- $text = $text | replace "le=\"30.0\"" (printf "le=\"%.1f\"" (float64 $rules.slo.thresholdS)) -}}
{{- with $monitoring.runbooksUrl -}}
{{- $text = $text | replace "https://mailtopic.dev/docs/runbooks" (trimSuffix "/" .) -}}
{{- end -}}
{{- if $rules.disabled -}}
{{- $text = include "mailtopic.rulesWithout" (dict "text" $text "disabled" $rules.disabled) -}}
{{- end -}}
{{- $text | trim -}}
{{- end -}}

{{/*
mailtopic.rulesWithout: the rules of "text" without the alerts named in "disabled".
*/}}
{{- define "mailtopic.rulesWithout" -}}
{{- $disabled := .disabled -}}
{{- $groups := list -}}
{{- range $group := (fromYaml .text).groups -}}
{{- $kept := list -}}
{{- range $group.rules -}}
{{- if not (has (.alert | default "") $disabled) }}{{ $kept = append $kept . }}{{ end -}}
{{- end -}}
{{- $groups = append $groups (set $group "rules" $kept) -}}
{{- end -}}
{{- toYaml (dict "groups" $groups) -}}
{{- end -}}

{{/*
mailtopic.checkRules: refuse to leave out what there is not, since a misspelt name would leave out nothing.
*/}}
{{- define "mailtopic.checkRules" -}}
{{- $context := .context -}}
{{- $known := dict -}}
{{- range $path, $_ := $context.Files.Glob "files/rules/*.yaml" -}}
{{- range ($context.Files.Get $path | fromYaml).groups }}{{ range .rules }}{{ $_ := set $known (.alert | default "") true }}{{ end }}{{ end -}}
{{- end -}}
{{- range $context.Values.monitoring.rules.disabled -}}
{{- if not (hasKey $known .) -}}
{{- include "common.refuse" (dict "context" $context "value" "monitoring.rules.disabled" "problem" (printf "names %s, which is no alert" .)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
