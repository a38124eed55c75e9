{{/*
Every helper takes the dict with "context" and "component".
*/}}

{{/*
inbox.tlsSecret: the Secret with the certificate for STARTTLS.
*/}}
{{- define "inbox.tlsSecret" -}}
{{- .context.Values.tls.existingSecret | default (printf "%s-tls" (include "common.fullname" .)) -}}
{{- end -}}

{{/*
inbox.names: the names of the Service, as a YAML list.
*/}}
{{- define "inbox.names" -}}
{{- $name := include "common.fullname" . -}}
{{- $space := .context.Release.Namespace -}}
{{- list $name (printf "%s.%s" $name $space) (printf "%s.%s.svc" $name $space) (printf "%s.%s.svc.cluster.local" $name $space) | toYaml -}}
{{- end -}}

{{/*
inbox.env: the settings, as text for common.env: ours, and the same for Mailpit.
*/}}
{{- define "inbox.env" -}}
{{- $values := .context.Values -}}
{{- $hosts := concat (include "inbox.names" . | fromYamlArray) $values.allowedHosts -}}
{{- $settings := dict "host" "0.0.0.0" "smtpPort" 1025 "httpPort" 8025 "tlsCertFile" "/etc/mailtopic/tls/tls.crt" "tlsKeyFile" "/etc/mailtopic/tls/tls.key" "allowedHosts" $hosts "dataFile" "/data/mails.db" "signupUrl" $values.signupUrl -}}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_INBOX__" "values" $settings) -}}
{{- include "common.settingsEnv" (dict "prefix" "MAILTOPIC_LOG__" "values" $values.log) }}
- name: MP_SMTP_BIND_ADDR
  value: 0.0.0.0:1025
- name: MP_UI_BIND_ADDR
  value: 0.0.0.0:8025
- name: MP_SMTP_TLS_CERT
  value: /etc/mailtopic/tls/tls.crt
- name: MP_SMTP_TLS_KEY
  value: /etc/mailtopic/tls/tls.key
- name: MP_DATABASE
  value: /data/mailpit.db
{{- end -}}
