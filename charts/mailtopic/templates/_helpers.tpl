{{/*
What the whole of it needs. Every helper takes the dict with "context".
*/}}

{{/*
mailtopic.sendsToInbox: "true" if senders deliver to the inbox of this release, else "".
*/}}
{{- define "mailtopic.sendsToInbox" -}}
{{- $values := .context.Values -}}
{{- if and $values.inbox.enabled $values.sender.enabled (not $values.sender.smtp.host) (not $values.sender.relays) }}true{{ end -}}
{{- end -}}

{{/*
mailtopic.isTested: "true" if `helm test` can find what it signs up with.
*/}}
{{- define "mailtopic.isTested" -}}
{{- if and .context.Values.tests.enabled .context.Values.signup.enabled (include "mailtopic.sendsToInbox" .) }}true{{ end -}}
{{- end -}}

{{/*
mailtopic.check: refuse values of components that don't fit together.
*/}}
{{- define "mailtopic.check" -}}
{{- $values := .context.Values -}}
{{- $refuse := dict "context" .context -}}
{{- $servers := $values.global.kafka.bootstrapServers -}}
{{- if and $values.kafka.enabled $servers -}}
{{- include "common.refuse" (merge (dict "value" "global.kafka.bootstrapServers" "problem" "names a Kafka, and kafka.enabled installs another one: empty the one, or set the other to false") $refuse) -}}
{{- end -}}
{{- range $name := list "signup" "sender" "operator" -}}
{{- $component := index $values $name -}}
{{- if and $component.enabled (not $values.kafka.enabled) (not $servers) (not $component.kafka.bootstrapServers) -}}
{{- include "common.refuse" (merge (dict "value" "global.kafka.bootstrapServers" "problem" "must name your Kafka (host:port,…), as kafka.enabled is false") $refuse) -}}
{{- end -}}
{{- if and $component.enabled $values.kafka.enabled $values.kafka.fullnameOverride (not $component.kafka.bootstrapServers) -}}
{{- include "common.refuse" (merge (dict "value" (printf "%s.kafka.bootstrapServers" $name) "problem" "must name the Kafka that kafka.fullnameOverride renames") $refuse) -}}
{{- end -}}
{{- end -}}
{{- if and $values.signup.enabled $values.sender.enabled -}}
{{- $topics := list -}}
{{- range list $values.signup $values.sender }}{{ $topics = append $topics (.topic | default $values.global.mailtopic.topic) }}{{ end -}}
{{- if ne (first $topics) (last $topics) -}}
{{- include "common.refuse" (merge (dict "value" "sender.topic" "problem" (printf "is %s, but signup publishes to %s: nobody would deliver its mails. Set global.mailtopic.topic alone" (last $topics) (first $topics))) $refuse) -}}
{{- end -}}
{{- if and $values.signup.sealing.enabled (not $values.sender.sealing.enabled) -}}
{{- include "common.refuse" (merge (dict "value" "sender.sealing.enabled" "problem" "is false, but signup seals codes: every mail would go to the DLQ. Set global.mailtopic.sealing.enabled alone") $refuse) -}}
{{- end -}}
{{- $secrets := list -}}
{{- range list $values.signup $values.sender }}{{ $secrets = append $secrets (.sealing.existingSecret | default $values.global.mailtopic.sealing.existingSecret) }}{{ end -}}
{{- if ne (first $secrets) (last $secrets) -}}
{{- include "common.refuse" (merge (dict "value" "sender.sealing.existingSecret" "problem" "must be the Secret that signup seals with. Set global.mailtopic.sealing.existingSecret alone") $refuse) -}}
{{- end -}}
{{- end -}}
{{- include "mailtopic.checkRelay" . -}}
{{- end -}}

{{/*
mailtopic.checkRelay: refuse senders that would find no relay.
*/}}
{{- define "mailtopic.checkRelay" -}}
{{- $values := .context.Values -}}
{{- if and $values.sender.enabled (not $values.sender.smtp.host) (not $values.sender.relays) -}}
{{- if not $values.inbox.enabled -}}
{{- include "common.refuse" (dict "context" .context "value" "sender.smtp.host" "problem" "must name the relay that takes the mails (or sender.relays several of them), as inbox.enabled is false") -}}
{{- end -}}
{{- range $value := list "fullnameOverride" "tls.existingSecret" -}}
{{- $given := ternary $values.inbox.fullnameOverride $values.inbox.tls.existingSecret (eq $value "fullnameOverride") -}}
{{- if $given -}}
{{- include "common.refuse" (dict "context" $.context "value" "sender.smtp.host" "problem" (printf "must name the inbox, and sender.smtp.caSecret.name the Secret with its authority, as inbox.%s is set" $value)) -}}
{{- end -}}
{{- end -}}
{{- if ne (int $values.inbox.service.smtpPort) 1025 -}}
{{- include "common.refuse" (dict "context" .context "value" "sender.smtp.host" "problem" "must name the inbox, and sender.smtp.port its port, as inbox.service.smtpPort is not 1025") -}}
{{- end -}}
{{- end -}}
{{- end -}}
