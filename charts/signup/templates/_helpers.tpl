{{/*
The database, the settings and what contradicts each other. Every helper takes the dict with
"context" and "component".
*/}}

{{/*
signup.database: as YAML {sqlite: bool, secret, key, migrates: bool}; migrates: a Job does it, not the pods.
*/}}
{{- define "signup.database" -}}
{{- $database := .context.Values.database -}}
{{- $isPostgres := or $database.url $database.existingSecret -}}
{{- $secret := $database.existingSecret | default (printf "%s-database" (include "common.fullname" .)) -}}
{{- toYaml (dict
  "sqlite" (not $isPostgres)
  "secret" $secret
  "key" (ternary $database.urlKey "url" (ne $database.existingSecret ""))
  "migrates" (and $isPostgres .context.Values.migration.enabled | default false)) -}}
{{- end -}}

{{/*
signup.pepperSecret: the Secret with the pepper.
*/}}
{{- define "signup.pepperSecret" -}}
{{- .context.Values.pepper.existingSecret | default (printf "%s-pepper" (include "common.fullname" .)) -}}
{{- end -}}

{{/*
signup.claim: the volume claim of SQLite.
*/}}
{{- define "signup.claim" -}}
{{- .context.Values.database.sqlite.existingClaim | default (printf "%s-data" (include "common.fullname" .)) -}}
{{- end -}}

{{/*
signup.env: all settings of the service, as text for common.env.
*/}}
{{- define "signup.env" -}}
{{- $values := .context.Values -}}
{{- $database := include "signup.database" . | fromYaml -}}
{{- $sealing := include "common.sealing" . | fromYaml -}}
- name: MAILTOPIC_TOPIC
  value: {{ include "common.topic" . | quote }}
- name: MAILTOPIC_DEFAULT_LOCALE
  value: {{ $values.defaultLocale }}
{{ include "common.kafkaEnv" . }}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_KAFKA__" "values" (pick $values.kafka "requestTimeoutS")) }}
{{- if $database.sqlite }}
- name: MAILTOPIC_DATABASE__URL
  value: sqlite:////var/lib/mailtopic/signup.db
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_DATABASE__" "values" (pick $values.database.sqlite "synchronous" "busyTimeoutS")) }}
{{- else }}
- name: MAILTOPIC_DATABASE__URL_FILE
  value: /etc/mailtopic/database/url
{{- end }}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_DATABASE__" "values" (dict "migrate" (not $database.migrates) "poolSize" $values.database.poolSize)) }}
- name: MAILTOPIC_PEPPER__KEYS_FILE
  value: /etc/mailtopic/pepper/keys.json
{{- if $sealing.enabled }}
- name: MAILTOPIC_SEALING__KEYS_FILE
  value: /etc/mailtopic/sealing/keys.json
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_SEALING__" "values" (pick .context.Values.sealing "version")) }}
{{- else }}
- name: MAILTOPIC_SEALING__ENABLED
  value: "false"
{{- end }}
{{- if $values.mails.tokens.existingSecret }}
- name: MAILTOPIC_MAILS__TOKENS_FILE
  value: /etc/mailtopic/tokens/tokens.json
{{- end }}
{{- if $values.recipients.blockedDomains.existingConfigMap }}
- name: MAILTOPIC_RECIPIENTS__BLOCKED_DOMAINS_FILE
  value: /etc/mailtopic/blocked-domains/domains.txt
{{- end }}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_MAILS__" "values" (omit $values.mails "tokens")) }}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_RECIPIENTS__" "values" (omit $values.recipients "blockedDomains")) }}
- name: MAILTOPIC_HTTP__HOST
  value: 0.0.0.0
- name: MAILTOPIC_HTTP__PORT
  value: "8080"
{{- $proxies := ternary 1 0 (or $values.ingress.enabled $values.httpRoute.enabled) -}}
{{- if ne (toString $values.clients.trustedProxies) "" -}}
{{- $proxies = $values.clients.trustedProxies -}}
{{- end }}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_CLIENTS__" "values" (merge (dict "trustedProxies" $proxies) $values.clients)) }}
{{- range $group := list "http" "codes" "retention" "outbox" "pages" "log" }}
{{- include "common.settingsEnv" (dict "prefix" (printf "MAILTOPIC_%s__" (upper $group)) "values" (index $values $group)) }}
{{- end }}
{{- include "common.tracingEnv" . }}
{{- end -}}

{{/*
signup.gracePeriodS: seconds that a pod gets to stop: serving on, the last requests, the last mails.
*/}}
{{- define "signup.gracePeriodS" -}}
{{- $values := .context.Values -}}
{{- $least := add $values.preStopSleepSeconds $values.http.shutdownGraceS -}}
{{- $given := $values.terminationGracePeriodSeconds -}}
{{- if and $given (le (int $given) (int $least)) -}}
{{- include "common.refuse" (dict "context" .context "value" "terminationGracePeriodSeconds" "problem" "must be above preStopSleepSeconds and http.shutdownGraceS together, or requests are cut off") -}}
{{- end -}}
{{- int ($given | default (add $least 15)) -}}
{{- end -}}

{{/*
signup.check: refuse values that contradict each other.
*/}}
{{- define "signup.check" -}}
{{- $values := .context.Values -}}
{{- $database := include "signup.database" . | fromYaml -}}
{{- include "common.checkAutoscaling" . -}}
{{- if and $values.database.url $values.database.existingSecret -}}
{{- include "common.refuse" (dict "context" .context "value" "database.url" "problem" "can't stand beside database.existingSecret") -}}
{{- end -}}
{{- if and $database.sqlite $values.autoscaling.enabled -}}
{{- include "common.refuse" (dict "context" .context "value" "autoscaling.enabled" "problem" "needs PostgreSQL: SQLite is one file, and one pod's. Set database.existingSecret") -}}
{{- end -}}
{{- if and $database.sqlite (gt (int $values.replicaCount) 1) -}}
{{- include "common.refuse" (dict "context" .context "value" "replicaCount" "problem" "must be 1 with SQLite, which is one file, and one pod's. For more pods set database.existingSecret to a PostgreSQL's") -}}
{{- end -}}
{{- if and $values.httpRoute.enabled (not $values.httpRoute.parentRefs) -}}
{{- include "common.refuse" (dict "context" .context "value" "httpRoute.parentRefs" "problem" "must name a Gateway") -}}
{{- end -}}
{{- end -}}

{{/*
signup.paths: what the outside may reach, as YAML [{path, type}]: not the probes, not the metrics.
*/}}
{{- define "signup.paths" -}}
- {path: /v1, type: Prefix}
- {path: /openapi.json, type: Exact}
{{- if .context.Values.pages.enabled }}
- {path: /static, type: Prefix}
- {path: /, type: Exact}
{{- end }}
{{- end -}}
