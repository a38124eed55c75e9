{{/*
All that templates need to know about the cluster, as YAML for fromYaml: fullname, headless (the
name of the headless Service), domain, isSeparate, quorum (size), protocol, mechanism, isSecure
(brokers talk by TLS), hasLogins, tlsSecret, subject. It also refuses what can't work.
*/}}
{{- define "kafka.facts" -}}
{{- $values := .Values -}}
{{- $global := (.Values.global | default dict).kafka | default dict -}}
{{- $fullname := include "common.fullname" (dict "context" $) -}}
{{- $protocol := $values.securityProtocol | default $global.securityProtocol | default "PLAINTEXT" -}}
{{- $mechanism := $values.saslMechanism | default $global.saslMechanism | default "SCRAM-SHA-512" -}}
{{- $isSeparate := gt (int $values.controllers.replicaCount) 0 -}}
{{- $quorum := ternary (int $values.controllers.replicaCount) (int $values.replicaCount) $isSeparate -}}
{{- if eq (mod $quorum 2) 0 -}}
{{- $which := ternary "controllers.replicaCount" "replicaCount" $isSeparate -}}
{{- $more := ternary "" "; or give the quorum nodes of its own: controllers.replicaCount=3" $isSeparate -}}
{{- fail (printf "\n\n%s is %d, but a quorum of an even number of nodes survives no more failures than one node fewer: use %d or %d%s\n" $which $quorum (sub $quorum 1 | int) (add $quorum 1 | int) $more) -}}
{{- end -}}
{{- $idle := "metadata.max.idle.interval.ms" -}}
{{- with $values.config -}}
{{- if and (hasKey . $idle) (or (lt (int (get . $idle)) 1) (gt (int (get . $idle)) 1000)) -}}
{{- fail (printf "\n\nconfig: %s is %v, but a node is ready while it gets the records that the idle controller writes: use 1 to 1000\n" $idle (get . $idle)) -}}
{{- end -}}
{{- end -}}
{{- $hasLogins := hasPrefix "SASL" $protocol -}}
{{- if and $hasLogins (not (hasPrefix "SCRAM-" $mechanism)) -}}
{{- fail (printf "\n\nsaslMechanism is %s, but this Kafka knows SCRAM-SHA-512 and SCRAM-SHA-256\n" $mechanism) -}}
{{- end -}}
{{- if and $values.tls.certManager.enabled (not $values.tls.certManager.issuerRef.name) -}}
{{- fail "\n\ntls.certManager.enabled needs an issuer: set tls.certManager.issuerRef.name\n" -}}
{{- end -}}
{{- toYaml (dict
  "fullname" $fullname
  "headless" (printf "%s-headless" $fullname)
  "domain" (printf "%s-headless.%s.svc.%s" $fullname $.Release.Namespace $values.clusterDomain)
  "isSeparate" $isSeparate
  "quorum" $quorum
  "protocol" $protocol
  "mechanism" $mechanism
  "isSecure" (ne $protocol "PLAINTEXT")
  "hasLogins" $hasLogins
  "tlsSecret" ($values.tls.existingSecret | default (printf "%s-ca" $fullname))
  "subject" ($values.tls.subject | default (printf "CN=%s" $fullname))) -}}
{{- end -}}

{{- define "kafka.topic" -}}
{{- $global := (.Values.global | default dict).mailtopic | default dict -}}
{{- .Values.topic | default $global.topic | default "mails" -}}
{{- end -}}

{{/*
The cluster's identity, kept in a ConfigMap: its id, and the quorum, which can't be changed later.
As YAML: id, quorum.
*/}}
{{- define "kafka.identity" -}}
{{- $facts := include "kafka.facts" . | fromYaml -}}
{{- $name := printf "%s-identity" $facts.fullname -}}
{{- $kept := (lookup "v1" "ConfigMap" .Release.Namespace $name | default dict).data | default dict -}}
{{- $quorum := printf "%d %s" (int $facts.quorum) (ternary "controllers" "combined" $facts.isSeparate) -}}
{{- if and $kept.quorum (ne $kept.quorum $quorum) -}}
{{- fail (printf "\n\nThis Kafka was installed with a quorum of %q, which can't become %q by an upgrade; brokers can be added where controllers have nodes of their own\n" $kept.quorum $quorum) -}}
{{- end -}}
{{- if and $kept.id .Values.clusterId (ne $kept.id .Values.clusterId) -}}
{{- fail (printf "\n\nclusterId is %q, but the volumes of this Kafka belong to %q\n" .Values.clusterId $kept.id) -}}
{{- end -}}
{{- if not (hasKey .Values "__id") -}}
{{- /* 16 bytes as URL-safe base64 without padding: 21 characters are free, the last carries 2 bits.
The same for each render, and again for volumes that an uninstall left. */ -}}
{{- $new := printf "%s/%s" .Release.Namespace $facts.fullname | sha256sum | trunc 21 | printf "%sA" -}}
{{- $_ := set .Values "__id" ($kept.id | default .Values.clusterId | default $new) -}}
{{- end -}}
{{- toYaml (dict "id" .Values.__id "quorum" $quorum) -}}
{{- end -}}

{{/* The names in the brokers' certificate. */}}
{{- define "kafka.names" -}}
{{- $facts := include "kafka.facts" . | fromYaml -}}
{{- $service := list $facts.fullname .Release.Namespace "svc" .Values.clusterDomain -}}
{{- $names := list "localhost" $facts.fullname -}}
{{- $names = append $names (printf "%s.%s" $facts.fullname .Release.Namespace) -}}
{{- $names = append $names (printf "%s.%s.svc" $facts.fullname .Release.Namespace) -}}
{{- $names = append $names (join "." $service) -}}
{{- $names = append $names $facts.domain -}}
{{- $names = append $names (printf "*.%s" $facts.domain) -}}
{{- toYaml (concat $names .Values.tls.extraNames) -}}
{{- end -}}
