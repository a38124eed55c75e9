{{/*
The relays, checked. Every helper takes the dict with "context" and "component".
*/}}

{{/*
sender.relays: as YAML {single: bool, toInbox: bool, relays: [{name, host, port, security, username,
secret, passwordKey, oauth, mechanisms, caSecret, caKey, maxConnections, mailsPerConnection, ratePerS,
pipelining, ehloName, timeouts}]}; oauth is {} or {tokenUrl, clientId, scope, secret, files: {file:
key}, caSecret, caKey}.
*/}}
{{- define "sender.relays" -}}
{{- $values := .context.Values -}}
{{- $relays := list -}}
{{- $single := empty $values.relays -}}
{{- $toInbox := and $single (eq $values.smtp.host "") -}}
{{- if and $values.relays $values.smtp.host -}}
{{- include "common.refuse" (dict "context" .context "value" "relays" "problem" "can't stand beside smtp.host: put that relay in the list") -}}
{{- end -}}
{{- if $toInbox -}}
{{- if not (include "common.isUmbrella" .) -}}
{{- include "common.refuse" (dict "context" .context "value" "smtp.host" "problem" "must name the relay that takes the mails (or relays several of them)") -}}
{{- end -}}
{{- $inbox := include "common.sibling" (dict "context" .context "name" "inbox") -}}
{{- $relays = list (dict "name" "inbox" "host" $inbox "port" 1025 "security" "StartTLS" "caSecret" (dict "name" (printf "%s-tls" $inbox)) "maxConnections" $values.smtp.maxConnections "mailsPerConnection" $values.smtp.mailsPerConnection "ratePerS" $values.smtp.ratePerS) -}}
{{- else if $single -}}
{{- $relays = list (merge (dict "name" "smtp") $values.smtp) -}}
{{- else -}}
{{- $relays = $values.relays -}}
{{- end -}}
{{- $names := dict -}}
{{- $checked := list -}}
{{- range $number, $relay := $relays -}}
{{- $where := ternary "smtp" (printf "relays[%d]" $number) $single -}}
{{- if hasKey $names $relay.name -}}
{{- include "common.refuse" (dict "context" $.context "value" (printf "%s.name" $where) "problem" (printf "is %s, as another relay's is" $relay.name)) -}}
{{- end -}}
{{- $_ := set $names $relay.name true -}}
{{- if and (eq ($relay.security | default "" | lower) "none") (not $values.allowInsecure) -}}
{{- include "common.refuse" (dict "context" $.context "value" (printf "%s.security" $where) "problem" "is None, so mails and passwords would be readable on their way: set allowInsecure to true if that is meant") -}}
{{- end -}}
{{- $oauth := include "sender.oauth" (dict "context" $.context "relay" $relay "where" $where) | fromYaml -}}
{{- if and $relay.username (not $relay.existingSecret) (not $oauth) -}}
{{- include "common.refuse" (dict "context" $.context "value" (printf "%s.existingSecret" $where) "problem" (printf "must name the Secret with the password of %s; or set oauth.existingSecret" $relay.username)) -}}
{{- end -}}
{{- if and $relay.existingSecret (not $relay.username) -}}
{{- include "common.refuse" (dict "context" $.context "value" (printf "%s.username" $where) "problem" "must say who logs in with that Secret's password") -}}
{{- end -}}
{{- $ca := $relay.caSecret | default dict -}}
{{- $checked = append $checked (dict
  "name" $relay.name
  "host" $relay.host
  "port" (int ($relay.port | default 587))
  "security" ($relay.security | default "")
  "username" ($relay.username | default "")
  "secret" ($relay.existingSecret | default "")
  "passwordKey" ($relay.passwordKey | default "password")
  "caSecret" ($ca.name | default "")
  "caKey" ($ca.key | default "ca.crt")
  "maxConnections" (int ($relay.maxConnections | default 10))
  "mailsPerConnection" ($relay.mailsPerConnection | default "")
  "ratePerS" ($relay.ratePerS | default "")
  "oauth" $oauth
  "mechanisms" ($relay.mechanisms | default list)
  "pipelining" (or (not (hasKey $relay "pipelining")) $relay.pipelining)
  "ehloName" ($relay.ehloName | default "")
  "timeouts" ($relay.timeouts | default dict)) -}}
{{- end -}}
{{- toYaml (dict "single" $single "toInbox" $toInbox "relays" $checked) -}}
{{- end -}}

{{/*
sender.oauth: the tokens of "relay", as YAML like oauth of sender.relays; "where" names the relay.
*/}}
{{- define "sender.oauth" -}}
{{- $oauth := .relay.oauth | default dict -}}
{{- $files := dict -}}
{{- range $file, $key := dict "client-secret" $oauth.clientSecretKey "refresh-token" $oauth.refreshTokenKey "service-account.json" $oauth.serviceAccountKey "token" $oauth.tokenKey -}}
{{- if $key }}{{ $_ := set $files $file $key }}{{ end -}}
{{- end -}}
{{- $ca := $oauth.caSecret | default dict -}}
{{- if or $files $oauth.tokenUrl $oauth.clientId $oauth.scope $oauth.existingSecret $ca.name -}}
{{- $refuse := "" -}}
{{- $field := "" -}}
{{- if not $oauth.existingSecret -}}
{{- $field = "oauth.existingSecret" -}}
{{- $refuse = "must name the Secret with the application's secret, refresh token, service account's key or token" -}}
{{- else if not $files -}}
{{- $field = "oauth.clientSecretKey" -}}
{{- $refuse = "must name the key in that Secret (or refreshTokenKey, serviceAccountKey, tokenKey)" -}}
{{- else if .relay.existingSecret -}}
{{- $field = "existingSecret" -}}
{{- $refuse = "can't stand beside oauth: keep the password or the tokens" -}}
{{- else if not .relay.username -}}
{{- $field = "username" -}}
{{- $refuse = "must be the mailbox that the tokens are for" -}}
{{- else if hasKey $files "token" -}}
{{- if or (gt (len $files) 1) $oauth.tokenUrl $oauth.clientId $oauth.scope $ca.name -}}
{{- $field = "oauth.tokenKey" -}}
{{- $refuse = "can't stand beside other settings of oauth: that token is all that is needed" -}}
{{- end -}}
{{- else if hasKey $files "service-account.json" -}}
{{- if or (gt (len $files) 1) $oauth.clientId -}}
{{- $field = "oauth.serviceAccountKey" -}}
{{- $refuse = "can't stand beside clientId, clientSecretKey or refreshTokenKey: that key names its account" -}}
{{- end -}}
{{- else if not (and $oauth.clientId $oauth.tokenUrl) -}}
{{- $field = ternary "oauth.tokenUrl" "oauth.clientId" (not (empty $oauth.clientId)) -}}
{{- $refuse = "is required: the application that asks for tokens, and the token endpoint (https)" -}}
{{- end -}}
{{- if $refuse -}}
{{- include "common.refuse" (dict "context" .context "value" (printf "%s.%s" .where $field) "problem" $refuse) -}}
{{- end -}}
{{- toYaml (dict "tokenUrl" ($oauth.tokenUrl | default "") "clientId" ($oauth.clientId | default "") "scope" ($oauth.scope | default "") "secret" $oauth.existingSecret "files" $files "caSecret" ($ca.name | default "") "caKey" ($ca.key | default "ca.crt")) -}}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{/*
sender.oauthSettings: oauth of one relay of sender.relays as settings by name, in camel case, as YAML;
"folder" is where its files are.
*/}}
{{- define "sender.oauthSettings" -}}
{{- $settings := dict -}}
{{- range $name := list "tokenUrl" "clientId" "scope" -}}
{{- with index $.oauth $name }}{{ $_ := set $settings $name . }}{{ end -}}
{{- end -}}
{{- range $file, $_ := .oauth.files -}}
{{- $_ := set $settings (get (dict "client-secret" "clientSecretFile" "refresh-token" "refreshTokenFile" "service-account.json" "serviceAccountFile" "token" "tokenFile") $file) (printf "%s/%s" $.folder $file) -}}
{{- end -}}
{{- if .oauth.caSecret }}{{ $_ := set $settings "caFile" (printf "%s/oauth-ca.crt" .folder) }}{{ end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/*
sender.relaysFile: what MAILTOPIC_RELAYS_FILE holds: the relays, with files in place of passwords.
*/}}
{{- define "sender.relaysFile" -}}
{{- $entries := list -}}
{{- range (include "sender.relays" . | fromYaml).relays -}}
{{- $entry := dict "name" .name "host" .host "port" (int .port) "max_connections" (int .maxConnections) -}}
{{- with .security }}{{ $_ := set $entry "security" . }}{{ end -}}
{{- with .mailsPerConnection }}{{ $_ := set $entry "mails_per_connection" (int .) }}{{ end -}}
{{- with .ratePerS }}{{ $_ := set $entry "rate_per_s" . }}{{ end -}}
{{- if .username -}}
{{- $_ := set $entry "username" .username -}}
{{- end -}}
{{- if .secret }}{{ $_ := set $entry "password_file" (printf "/etc/mailtopic/relays/%s/password" .name) }}{{ end -}}
{{- with .mechanisms }}{{ $_ := set $entry "mechanisms" . }}{{ end -}}
{{- if not .pipelining }}{{ $_ := set $entry "pipelining" false }}{{ end -}}
{{- with .ehloName }}{{ $_ := set $entry "ehlo_name" . }}{{ end -}}
{{- range $group, $settings := dict "timeouts" .timeouts "oauth" (ternary (include "sender.oauthSettings" (dict "oauth" .oauth "folder" (printf "/etc/mailtopic/relays/%s" .name)) | fromYaml) dict (not (empty .oauth))) -}}
{{- if $settings -}}
{{- $below := dict -}}
{{- range $name, $value := $settings }}{{ $_ := set $below ($name | snakecase) $value }}{{ end -}}
{{- $_ := set $entry $group $below -}}
{{- end -}}
{{- end -}}
{{- if .caSecret }}{{ $_ := set $entry "ca_file" (printf "/etc/mailtopic/relays/%s/ca.crt" .name) }}{{ end -}}
{{- $entries = append $entries $entry -}}
{{- end -}}
{{- toPrettyJson $entries -}}
{{- end -}}

{{/*
sender.relayVolume: the volume with the list of relays, passwords and authorities, or nothing.
*/}}
{{- define "sender.relayVolume" -}}
{{- $relays := include "sender.relays" . | fromYaml -}}
{{- $sources := list -}}
{{- if not $relays.single -}}
{{- $sources = append $sources (dict "configMap" (dict "name" (printf "%s-relays" (include "common.fullname" .)))) -}}
{{- end -}}
{{- range $relays.relays -}}
{{- $folder := ternary "" (printf "%s/" .name) $relays.single -}}
{{- if .secret -}}
{{- $sources = append $sources (dict "secret" (dict "name" .secret "items" (list (dict "key" .passwordKey "path" (printf "%spassword" $folder))))) -}}
{{- end -}}
{{- if .caSecret -}}
{{- $sources = append $sources (dict "secret" (dict "name" .caSecret "items" (list (dict "key" .caKey "path" (printf "%sca.crt" $folder))))) -}}
{{- end -}}
{{- with .oauth -}}
{{- $items := list -}}
{{- range $file, $key := .files }}{{ $items = append $items (dict "key" $key "path" (printf "%s%s" $folder $file)) }}{{ end -}}
{{- $sources = append $sources (dict "secret" (dict "name" .secret "items" $items)) -}}
{{- if .caSecret -}}
{{- $sources = append $sources (dict "secret" (dict "name" .caSecret "items" (list (dict "key" .caKey "path" (printf "%soauth-ca.crt" $folder))))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $sources -}}
- name: relays
  projected:
    defaultMode: 0440
    sources:
      {{- toYaml $sources | nindent 6 }}
{{- end -}}
{{- end -}}

{{/*
sender.relayEnv: the sender's relay settings, as text for common.env.
*/}}
{{- define "sender.relayEnv" -}}
{{- $relays := include "sender.relays" . | fromYaml -}}
{{- if not $relays.single -}}
- name: MAILTOPIC_RELAYS_FILE
  value: /etc/mailtopic/relays/relays.json
{{- else -}}
{{- $relay := first $relays.relays -}}
{{- $settings := dict "host" $relay.host "port" $relay.port "security" $relay.security "username" $relay.username "maxConnections" $relay.maxConnections "mailsPerConnection" $relay.mailsPerConnection "ratePerS" $relay.ratePerS "mechanisms" $relay.mechanisms "ehloName" $relay.ehloName -}}
{{- if $relay.caSecret }}{{ $_ := set $settings "caFile" "/etc/mailtopic/relays/ca.crt" }}{{ end -}}
{{- if not $relay.pipelining }}{{ $_ := set $settings "pipelining" false }}{{ end -}}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_SMTP__" "values" $settings) -}}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_SMTP__TIMEOUTS__" "values" $relay.timeouts) -}}
{{- if $relay.oauth -}}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_SMTP__OAUTH__" "values" (include "sender.oauthSettings" (dict "oauth" $relay.oauth "folder" "/etc/mailtopic/relays") | fromYaml)) -}}
{{- end }}
{{- if $relay.secret }}
- name: MAILTOPIC_SMTP__PASSWORD_FILE
  value: /etc/mailtopic/relays/password
{{- end }}
{{- end }}
{{- end -}}

{{/*
sender.fromAddress: the address that mails come from; "" where the relay's user name is one.
*/}}
{{- define "sender.fromAddress" -}}
{{- $relays := include "sender.relays" . | fromYaml -}}
{{- $address := .context.Values.from.address -}}
{{- if and (not $address) $relays.toInbox -}}
{{- $address = "no-reply@mailtopic.example" -}}
{{- end -}}
{{- if and (not $address) (not (contains "@" (first $relays.relays).username)) -}}
{{- include "common.refuse" (dict "context" .context "value" "from.address" "problem" "must be the address that mails come from: the relay's user name is none") -}}
{{- end -}}
{{- $address -}}
{{- end -}}

{{/*
sender.templates: the ConfigMap with templates of the user's own; "" where there is none.
*/}}
{{- define "sender.templates" -}}
{{- $template := .context.Values.template -}}
{{- if and $template.files $template.existingConfigMap -}}
{{- include "common.refuse" (dict "context" .context "value" "template.files" "problem" "can't stand beside template.existingConfigMap") -}}
{{- end -}}
{{- $own := ternary (printf "%s-templates" (include "common.fullname" .)) "" (not (empty $template.files)) -}}
{{- $template.existingConfigMap | default $own -}}
{{- end -}}

{{/*
sender.dkimVolume: the volume with the keys that mails are signed with, or nothing.
*/}}
{{- define "sender.dkimVolume" -}}
{{- with .context.Values.dkim -}}
{{- if and .selectors (not .existingSecret) -}}
{{- include "common.refuse" (dict "context" $.context "value" "dkim.existingSecret" "problem" "must name the Secret with a key <selector>.pem for each of dkim.selectors") -}}
{{- end -}}
{{- if and (or .existingSecret .domain) (not .selectors) -}}
{{- include "common.refuse" (dict "context" $.context "value" "dkim.selectors" "problem" "must name the keys to sign with, or nothing would be signed") -}}
{{- end -}}
{{- if .selectors -}}
- name: dkim-keys
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
    items:
      {{- range .selectors }}
      - {key: {{ printf "%s.pem" . | quote }}, path: {{ printf "%s.pem" . | quote }}}
      {{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
sender.env: all settings of the sender, as text for common.env.
*/}}
{{- define "sender.env" -}}
{{- $values := .context.Values -}}
{{- $sealing := include "common.sealing" . | fromYaml -}}
- name: MAILTOPIC_TOPIC
  value: {{ include "common.topic" . | quote }}
{{- with $values.group }}
- name: MAILTOPIC_GROUP
  value: {{ . | quote }}
{{- end }}
{{ include "common.kafkaEnv" . }}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_KAFKA__" "values" (pick $values.kafka "requestTimeoutS")) }}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_FROM__" "values" (dict "name" $values.from.name "address" (include "sender.fromAddress" .))) }}
{{ include "sender.relayEnv" . | trim }}
{{- if $sealing.enabled }}
- name: MAILTOPIC_SEALING__KEYS_FILE
  value: /etc/mailtopic/sealing/keys.json
{{- end }}
{{- if $values.dkim.selectors }}
{{- $dkim := merge (dict "keysDirectory" "/etc/mailtopic/dkim") (pick $values.dkim "selectors" "domain") }}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_DKIM__" "values" $dkim) }}
{{- end }}
{{- $directory := ternary "/etc/mailtopic/templates" "" (ne (include "sender.templates" .) "") }}
{{- $template := dict "defaultLocale" $values.template.defaultLocale "directory" $directory }}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_TEMPLATE__" "values" $template) }}
{{- if $values.replies.rules }}
- name: MAILTOPIC_REPLIES__RULES_FILE
  value: /etc/mailtopic/replies/rules.json
{{- end }}
{{- range $group := list "delivery" "dlq" "topics" "consumer" "watchdog" "log" }}
{{- include "common.settingsEnv" (dict "prefix" (printf "MAILTOPIC_%s__" (upper $group)) "values" (index $values $group)) }}
{{- end }}
{{- include "common.tracingEnv" . }}
- name: MAILTOPIC_METRICS__HOST
  value: 0.0.0.0
- name: MAILTOPIC_METRICS__PORT
  value: "9100"
{{- end -}}

{{/*
sender.gracePeriodS: seconds that a pod gets to stop: draining, the last outcomes and commits.
*/}}
{{- define "sender.gracePeriodS" -}}
{{- $drain := .context.Values.delivery.drainTimeoutS -}}
{{- $given := .context.Values.terminationGracePeriodSeconds -}}
{{- if $given -}}
{{- if le (float64 $given) (float64 $drain) -}}
{{- include "common.refuse" (dict "context" .context "value" "terminationGracePeriodSeconds" "problem" "must be above delivery.drainTimeoutS, or mails on their way are sent twice") -}}
{{- end -}}
{{- int $given -}}
{{- else -}}
{{- add (ceil $drain | int) 15 -}}
{{- end -}}
{{- end -}}

{{/*
sender.check: refuse values that contradict each other.
*/}}
{{- define "sender.check" -}}
{{- $values := .context.Values -}}
{{- include "common.checkAutoscaling" . -}}
{{- if ge (float64 $values.delivery.drainTimeoutS) (float64 $values.consumer.rebalanceTimeoutS) -}}
{{- include "common.refuse" (dict "context" .context "value" "delivery.drainTimeoutS" "problem" "must be below consumer.rebalanceTimeoutS") -}}
{{- end -}}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.maxReplicas) (int $values.topics.partitions)) -}}
{{- include "common.refuse" (dict "context" .context "value" "autoscaling.maxReplicas" "problem" (printf "(%d) must not be above topics.partitions (%d): more senders would be idle" (int $values.autoscaling.maxReplicas) (int $values.topics.partitions))) -}}
{{- end -}}
{{- end -}}
