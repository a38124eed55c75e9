{{/*
server.properties, the same for every node: what differs comes from the environment, which Kafka's
own config provider reads. "role" is broker, controller or both.
*/}}
{{- define "kafka.properties" -}}
{{- $facts := include "kafka.facts" .context | fromYaml -}}
{{- $values := .context.Values -}}
{{- $isBroker := ne .role "controller" -}}
{{- $isController := ne .role "broker" -}}
{{- $replication := min 3 (int $values.replicaCount) -}}
{{- $inSync := max 1 (sub $replication 1) -}}
{{- $quorumName := ternary (printf "%s-controller" $facts.fullname) $facts.fullname $facts.isSeparate -}}
{{- $voters := list -}}
{{- range $number := until (int $facts.quorum) -}}
{{- $id := ternary (add 1000 $number) $number $facts.isSeparate -}}
{{- $voters = append $voters (printf "%d@%s-%d.%s:9093" (int $id) $quorumName $number $facts.domain) -}}
{{- end -}}
{{- $inner := ternary "SSL" "PLAINTEXT" $facts.isSecure -}}
{{- $p := dict -}}
{{- $_ := set $p "config.providers" (ternary "env,directory,pem" "env,directory" $facts.isSecure) -}}
{{- $_ := set $p "config.providers.env.class" "org.apache.kafka.common.config.provider.EnvVarConfigProvider" -}}
{{- $_ := set $p "config.providers.directory.class" "org.apache.kafka.common.config.provider.DirectoryConfigProvider" -}}
{{- $_ := set $p "process.roles" (ternary "broker,controller" .role (eq .role "both")) -}}
{{- $_ := set $p "node.id" (ternary "100${env:POD_INDEX}" "${env:POD_INDEX}" (eq .role "controller")) -}}
{{- $_ := set $p "controller.quorum.voters" (join "," $voters) -}}
{{- $_ := set $p "controller.listener.names" "CONTROLLER" -}}
{{- $listeners := list -}}
{{- if $isBroker }}{{ $listeners = list "CLIENT://:9092" "BROKER://:9091" }}{{ end -}}
{{- if $isController }}{{ $listeners = append $listeners "CONTROLLER://:9093" }}{{ end -}}
{{- $_ := set $p "listeners" (join "," $listeners) -}}
{{- $_ := set $p "listener.security.protocol.map" (printf "CLIENT:%s,BROKER:%s,CONTROLLER:%s" $facts.protocol $inner $inner) -}}
{{- $_ := set $p "log.dirs" "/var/lib/kafka/data/log" -}}
{{- $_ := set $p "auto.create.topics.enable" "false" -}}
{{- $_ := set $p "default.replication.factor" $replication -}}
{{- $_ := set $p "min.insync.replicas" $inSync -}}
{{- $_ := set $p "offsets.topic.replication.factor" $replication -}}
{{- $_ := set $p "transaction.state.log.replication.factor" $replication -}}
{{- $_ := set $p "transaction.state.log.min.isr" $inSync -}}
{{- $_ := set $p "share.coordinator.state.topic.replication.factor" $replication -}}
{{- $_ := set $p "share.coordinator.state.topic.min.isr" $inSync -}}
{{- if $isBroker -}}
{{- $_ := set $p "inter.broker.listener.name" "BROKER" -}}
{{- $host := printf "${env:POD_NAME}.%s" $facts.domain -}}
{{- $_ := set $p "advertised.listeners" (printf "CLIENT://%s:9092,BROKER://%s:9091" $host $host) -}}
{{- with $values.rack.source -}}
{{- $_ := set $p "broker.rack" (ternary "${directory:/run/kafka/rack:zone}" "${env:ZONE}" (eq . "Node")) -}}
{{- end -}}
{{- end -}}
{{- if $facts.isSecure -}}
{{- include "kafka.tlsProperties" (dict "properties" $p) -}}
{{- $_ := set $p "ssl.client.auth" "none" -}}
{{- $_ := set $p "listener.name.broker.ssl.client.auth" "required" -}}
{{- $_ := set $p "listener.name.controller.ssl.client.auth" "required" -}}
{{- end -}}
{{- if $facts.hasLogins -}}
{{- $_ := set $p "authorizer.class.name" "org.apache.kafka.metadata.authorizer.StandardAuthorizer" -}}
{{- $_ := set $p "super.users" (printf "User:%s" $facts.subject) -}}
{{- if $isBroker -}}
{{- $_ := set $p "sasl.enabled.mechanisms" $facts.mechanism -}}
{{- $_ := set $p (printf "listener.name.client.%s.sasl.jaas.config" (lower $facts.mechanism)) "org.apache.kafka.common.security.scram.ScramLoginModule required;" -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := $values.config }}{{ $_ := set $p $key $value }}{{ end -}}
{{- range $key := keys $p | sortAlpha }}
{{ $key }}={{ include "common.text" (get $p $key) }}
{{- end }}
{{- end -}}

{{/* Adds to "properties" a node's certificate and the authority that it trusts. */}}
{{- define "kafka.tlsProperties" -}}
{{- $p := .properties -}}
{{- $_ := set $p "config.providers.pem.class" "dev.mailtopic.kafka.PemConfigProvider" -}}
{{- $_ := set $p "ssl.keystore.type" "PEM" -}}
{{- $_ := set $p "ssl.keystore.key" "${pem:/etc/kafka/tls:tls.key}" -}}
{{- $_ := set $p "ssl.keystore.certificate.chain" "${pem:/etc/kafka/tls:tls.crt}" -}}
{{- $_ := set $p "ssl.truststore.type" "PEM" -}}
{{- $_ := set $p "ssl.truststore.certificates" "${pem:/etc/kafka/tls:ca.crt}" -}}
{{- end -}}
