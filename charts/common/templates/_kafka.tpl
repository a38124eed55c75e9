{{/*
How a pod reaches Kafka. The chart's own kafka.* win over global.kafka.*; where neither names
servers, it is the Kafka of the same release (global.mailtopic.umbrella).
Every helper takes "context" and "component" (signup, sender, operator: also the name of the user).
*/}}

{{/*
common.kafka: all of it as YAML, for fromYaml: servers, protocol, mechanism, username, sibling (the
fullname of the release's own Kafka, or ""), password and ca {secret, key} ("" where there is none).
*/}}
{{- define "common.kafka" -}}
{{- $own := .context.Values.kafka | default dict -}}
{{- $globals := .context.Values.global | default dict -}}
{{- $global := $globals.kafka | default dict -}}
{{- $servers := $own.bootstrapServers | default $global.bootstrapServers -}}
{{- $protocol := $own.securityProtocol | default $global.securityProtocol | default "PLAINTEXT" -}}
{{- $sibling := "" -}}
{{- if not $servers -}}
{{- if not ($globals.mailtopic | default dict).umbrella -}}
{{- fail (printf "\n\n%s needs a Kafka: set kafka.bootstrapServers to host:port, or install the chart mailtopic, which brings one\n" .context.Chart.Name) -}}
{{- end -}}
{{- $sibling = include "common.sibling" (dict "context" .context "name" "kafka") -}}
{{- $servers = printf "%s:9092" $sibling -}}
{{- end -}}
{{- $password := dict "secret" "" "key" ($own.passwordKey | default "password") -}}
{{- if hasPrefix "SASL" $protocol -}}
{{- $secret := $own.existingSecret | default (ternary (printf "%s-user-%s" $sibling .component) "" (ne $sibling "")) -}}
{{- if not $secret -}}
{{- fail (printf "\n\n%s logs in to Kafka at %s (%s): set kafka.existingSecret to the Secret that holds its password\n" .context.Chart.Name $servers $protocol) -}}
{{- end -}}
{{- $_ := set $password "secret" $secret -}}
{{- end -}}
{{- $ca := dict "secret" "" "key" "ca.crt" -}}
{{- if hasSuffix "SSL" $protocol -}}
{{- $given := ternary $own.caSecret $global.caSecret (ne (($own.caSecret | default dict).name | default "") "") | default dict -}}
{{- $_ := set $ca "secret" ($given.name | default (ternary (printf "%s-ca" $sibling) "" (ne $sibling ""))) -}}
{{- $_ := set $ca "key" ($given.key | default "ca.crt") -}}
{{- end -}}
{{- toYaml (dict
  "servers" $servers
  "protocol" $protocol
  "mechanism" ($own.saslMechanism | default $global.saslMechanism | default "SCRAM-SHA-512")
  "username" ($own.username | default .component)
  "sibling" $sibling
  "password" $password
  "ca" $ca) -}}
{{- end -}}

{{/*
common.kafkaEnv: MAILTOPIC_KAFKA__* as a list of env entries, as text for common.env. Secrets are
read from the files that common.kafkaVolumes brings.
*/}}
{{- define "common.kafkaEnv" -}}
{{- $kafka := include "common.kafka" . | fromYaml -}}
- name: MAILTOPIC_KAFKA__BOOTSTRAP_SERVERS
  value: {{ $kafka.servers | quote }}
- name: MAILTOPIC_KAFKA__SECURITY_PROTOCOL
  value: {{ $kafka.protocol }}
{{- if $kafka.password.secret }}
- name: MAILTOPIC_KAFKA__SASL_MECHANISM
  value: {{ $kafka.mechanism }}
- name: MAILTOPIC_KAFKA__USERNAME
  value: {{ $kafka.username | quote }}
- name: MAILTOPIC_KAFKA__PASSWORD_FILE
  value: /etc/mailtopic/kafka/password
{{- end }}
{{- if $kafka.ca.secret }}
- name: MAILTOPIC_KAFKA__CA_FILE
  value: /etc/mailtopic/kafka/ca.crt
{{- end }}
{{- end -}}

{{/*
common.kafkaVolumes: the volume of the password and the CA as a list of one, or nothing.
*/}}
{{- define "common.kafkaVolumes" -}}
{{- $kafka := include "common.kafka" . | fromYaml -}}
{{- if or $kafka.password.secret $kafka.ca.secret -}}
- name: kafka-access
  projected:
    defaultMode: 0440
    sources:
      {{- if $kafka.password.secret }}
      - secret:
          name: {{ $kafka.password.secret }}
          items:
            - key: {{ $kafka.password.key }}
              path: password
      {{- end }}
      {{- if $kafka.ca.secret }}
      - secret:
          name: {{ $kafka.ca.secret }}
          items:
            - key: {{ $kafka.ca.key }}
              path: ca.crt
      {{- end }}
{{- end }}
{{- end -}}

{{/*
common.kafkaVolumeMounts: the mount of that volume as a list of one, or nothing.
*/}}
{{- define "common.kafkaVolumeMounts" -}}
{{- if include "common.kafkaVolumes" . -}}
- name: kafka-access
  mountPath: /etc/mailtopic/kafka
  readOnly: true
{{- end }}
{{- end -}}

{{/*
common.kafkaPodLabels: what a pod needs for Kafka's NetworkPolicy to let it in.
*/}}
{{- define "common.kafkaPodLabels" -}}
mailtopic.dev/kafka-client: "true"
{{- end -}}
