{{/*
What only this chart needs. Every helper takes "context" and "component", as common's do.
*/}}

{{/*
operator.namespaces: the namespaces that are watched, separated by commas; "" means all.
*/}}
{{- define "operator.namespaces" -}}
{{- if not .context.Values.watch.allNamespaces -}}
{{- join "," (.context.Values.watch.namespaces | default (list .context.Release.Namespace)) -}}
{{- end -}}
{{- end -}}

{{/*
operator.check: refuse values that contradict each other.
*/}}
{{- define "operator.check" -}}
{{- $watch := .context.Values.watch -}}
{{- if and $watch.allNamespaces $watch.namespaces -}}
{{- include "common.refuse" (dict "context" .context "value" "watch.namespaces" "problem" "must be empty with watch.allNamespaces") -}}
{{- end -}}
{{- $lease := .context.Values.lease -}}
{{- if gt (mulf $lease.renewS 3) (float64 $lease.durationS) -}}
{{- include "common.refuse" (dict "context" .context "value" "lease.renewS" "problem" "must be a third of lease.durationS at most") -}}
{{- end -}}
{{- end -}}

{{/*
operator.managesUsers: "true" if MailTopics get users of their own in Kafka, else "".
*/}}
{{- define "operator.managesUsers" -}}
{{- $own := include "common.kafka" . | fromYaml -}}
{{- $enabled := .context.Values.kafkaUsers.enabled -}}
{{- $canLogIn := and (hasPrefix "SASL" $own.protocol) (hasPrefix "SCRAM" $own.mechanism) -}}
{{- if and $enabled (not $canLogIn) -}}
{{- include "common.refuse" (dict "context" .context "value" "kafkaUsers.enabled" "problem" "needs logins by SCRAM (kafka.securityProtocol, kafka.saslMechanism)") -}}
{{- end -}}
{{- if $enabled -}}true{{- end -}}
{{- end -}}

{{/*
operator.senderKafka: how senders reach Kafka, as YAML: servers, password and ca {name, key}.
*/}}
{{- define "operator.senderKafka" -}}
{{- $own := include "common.kafka" . | fromYaml -}}
{{- $sender := .context.Values.sender.kafka -}}
{{- $servers := $sender.bootstrapServers | default $own.servers -}}
{{- if and $own.sibling (not $sender.bootstrapServers) -}}
{{- $servers = printf "%s.%s.svc:9092" $own.sibling .context.Release.Namespace -}}
{{- end -}}
{{- $password := dict "name" "" "key" $sender.passwordSecret.key -}}
{{- if and (hasPrefix "SASL" $own.protocol) (not (include "operator.managesUsers" .)) -}}
{{- $name := $sender.passwordSecret.name | default (ternary (printf "%s-user-sender" $own.sibling) "" (ne $own.sibling "")) -}}
{{- if not $name -}}
{{- include "common.refuse" (dict "context" .context "value" "sender.kafka.passwordSecret.name" "problem" (printf "must name the Secret with the senders' password: Kafka wants a login (%s)" $own.protocol)) -}}
{{- end -}}
{{- $_ := set $password "name" $name -}}
{{- end -}}
{{- $ca := dict "name" "" "key" "ca.crt" -}}
{{- if hasSuffix "SSL" $own.protocol -}}
{{- $_ := set $ca "name" ($sender.caSecret.name | default $own.ca.secret) -}}
{{- $_ := set $ca "key" (ternary $sender.caSecret.key $own.ca.key (ne $sender.caSecret.name "")) -}}
{{- end -}}
{{- toYaml (dict "servers" $servers "password" $password "ca" $ca) -}}
{{- end -}}

{{/*
operator.pullSecrets: the names of the Secrets that the operator's own image is pulled with.
*/}}
{{- define "operator.pullSecrets" -}}
{{- $global := .context.Values.global | default dict -}}
{{- $names := list -}}
{{- range .context.Values.imagePullSecrets | default $global.imagePullSecrets -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- toYaml $names -}}
{{- end -}}

{{/*
operator.env: the operator's settings as env entries, as text for common.env.
*/}}
{{- define "operator.env" -}}
{{- $values := .context.Values -}}
{{- $sender := include "operator.senderKafka" . | fromYaml -}}
{{ include "common.kafkaEnv" . }}
- name: MAILTOPIC_KAFKA__REQUEST_TIMEOUT_S
  value: {{ include "common.text" $values.kafka.requestTimeoutS | quote }}
{{- with include "operator.namespaces" . }}
- name: MAILTOPIC_OPERATOR__WATCH_NAMESPACES
  value: {{ . | quote }}
{{- end }}
- name: MAILTOPIC_OPERATOR__WATCH_STALE_S
  value: {{ include "common.text" $values.watch.staleS | quote }}
- name: MAILTOPIC_OPERATOR__LEASE__NAME
  value: {{ include "common.fullname" . }}
- name: MAILTOPIC_OPERATOR__LEASE__NAMESPACE
  value: {{ .context.Release.Namespace }}
{{- include "common.settingsEnv" (dict "values" $values.lease "prefix" "MAILTOPIC_OPERATOR__LEASE__") }}
{{- include "common.settingsEnv" (dict "values" $values.reconcile "prefix" "MAILTOPIC_OPERATOR__RECONCILE__") }}
{{- include "common.settingsEnv" (dict "values" $values.deletion "prefix" "MAILTOPIC_OPERATOR__DELETION__") }}
{{- with $values.topics.prefixes }}
- name: MAILTOPIC_OPERATOR__TOPICS__PREFIXES
  value: {{ toJson . | quote }}
{{- end }}
{{- if include "operator.managesUsers" . }}
- name: MAILTOPIC_OPERATOR__KAFKA_USERS__ENABLED
  value: "true"
- name: MAILTOPIC_OPERATOR__KAFKA_USERS__PREFIX
  value: {{ $values.kafkaUsers.prefix | quote }}
{{- end }}
{{- with $values.secrets.allowed }}
- name: MAILTOPIC_OPERATOR__SECRETS__ALLOWED
  value: {{ join "," . | quote }}
{{- end }}
{{- with $values.sender.podTemplateFields }}
- name: MAILTOPIC_OPERATOR__SENDER__POD_TEMPLATE_FIELDS
  value: {{ join "," . | quote }}
{{- end }}
- name: MAILTOPIC_OPERATOR__SENDER__IMAGE
  value: {{ include "common.image" (dict "context" .context "image" $values.sender.image) | quote }}
- name: MAILTOPIC_OPERATOR__SENDER__IMAGE_PULL_POLICY
  value: {{ $values.sender.image.pullPolicy }}
{{- with $values.sender.imagePullSecrets | default (include "operator.pullSecrets" . | fromYamlArray) }}
- name: MAILTOPIC_OPERATOR__SENDER__IMAGE_PULL_SECRETS
  value: {{ join "," . | quote }}
{{- end }}
- name: MAILTOPIC_OPERATOR__SENDER__RESOURCES
  value: {{ toJson $values.sender.resources | quote }}
- name: MAILTOPIC_OPERATOR__SENDER__LOG_LEVEL
  value: {{ $values.sender.logLevel }}
{{- if $values.sender.tracing.endpoint }}
{{- include "common.settingsEnv" (dict "values" $values.sender.tracing "prefix" "MAILTOPIC_OPERATOR__SENDER__TRACING__") }}
{{- end }}
- name: MAILTOPIC_OPERATOR__SENDER__NETWORK_POLICY
  value: {{ $values.sender.networkPolicy.enabled | quote }}
- name: MAILTOPIC_OPERATOR__SENDER__KAFKA__BOOTSTRAP_SERVERS
  value: {{ $sender.servers | quote }}
{{- if $sender.password.name }}
- name: MAILTOPIC_OPERATOR__SENDER__KAFKA__USERNAME
  value: {{ $values.sender.kafka.username | quote }}
- name: MAILTOPIC_OPERATOR__SENDER__KAFKA__PASSWORD_SECRET
  value: {{ $sender.password.name }}
- name: MAILTOPIC_OPERATOR__SENDER__KAFKA__PASSWORD_KEY
  value: {{ $sender.password.key | quote }}
{{- end }}
{{- if $sender.ca.name }}
- name: MAILTOPIC_OPERATOR__SENDER__KAFKA__CA_SECRET
  value: {{ $sender.ca.name }}
- name: MAILTOPIC_OPERATOR__SENDER__KAFKA__CA_KEY
  value: {{ $sender.ca.key | quote }}
{{- end }}
- name: MAILTOPIC_OPERATOR__REPLAY__IMAGE
  value: {{ include "common.image" (dict "context" .context "image" $values.replay.image) | quote }}
- name: MAILTOPIC_METRICS__HOST
  value: 0.0.0.0
- name: MAILTOPIC_METRICS__PORT
  value: "9100"
- name: MAILTOPIC_LOG__LEVEL
  value: {{ $values.log.level }}
- name: MAILTOPIC_LOG__FORMAT
  value: {{ $values.log.format }}
{{- end -}}

{{/*
operator.rules: what the operator may do where it looks after MailTopics, no more than it uses: a
test takes each verb away and sees something fail.
*/}}
{{- define "operator.rules" -}}
- apiGroups: [mailtopic.dev]
  resources: [mailtopics]
  verbs: [list, watch, patch]
- apiGroups: [mailtopic.dev]
  resources: [mailreplays]
  verbs: [list, watch]
- apiGroups: [mailtopic.dev]
  resources: [mailtopics/status, mailreplays/status]
  verbs: [patch]
# For children that hold up their owner's deletion, where the API server checks that.
- apiGroups: [mailtopic.dev]
  resources: [mailtopics/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects, triggerauthentications]
  verbs: [get, list, watch, create, patch, delete]
# A replay's Job is made once, and goes with its MailReplay.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch]
# What pods of replays said at their end.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# Only those that MailTopics name are read; a Role can't say so.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get]
{{- if include "operator.managesUsers" . }}
# Passwords of the users that it creates in Kafka.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch]
{{- end }}
# Whether its namespace is going: then nothing is waited for.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}
