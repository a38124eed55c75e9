{{/*
Pieces of NetworkPolicies. A policy's rules are lists; each of these is one rule.
*/}}

{{/*
common.networkPolicy.dns: the egress rule to resolve names. Where a cluster's DNS pods are differs,
so only the ports are fixed: a policy sees the pods' port, which is 5353 on OpenShift.
*/}}
{{- define "common.networkPolicy.dns" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
    - port: 5353
      protocol: UDP
    - port: 5353
      protocol: TCP
{{- end -}}

{{/*
common.networkPolicy.kafka: the egress rule of a Kafka client: to the pods of the release's own
Kafka, or to the ports of the servers that were named, wherever they are.
Takes "context" and "component", as common.kafka.
*/}}
{{- define "common.networkPolicy.kafka" -}}
{{- $kafka := include "common.kafka" . | fromYaml -}}
{{- if $kafka.sibling -}}
- to:
    - podSelector:
        matchLabels:
          app.kubernetes.io/name: kafka
          app.kubernetes.io/instance: {{ .context.Release.Name }}
  ports:
    - port: 9092
      protocol: TCP
{{- else -}}
- ports:
    {{- $ports := list }}
    {{- range splitList "," $kafka.servers }}{{ $ports = append $ports (splitList ":" . | last) }}{{ end }}
    {{- range uniq $ports }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
{{- end }}
{{- end -}}

{{/*
common.networkPolicy.collector: the egress rule to the collector of spans, if there is one; it may
be anywhere, so only its port is fixed. Takes "context".
*/}}
{{- define "common.networkPolicy.collector" -}}
{{- with .context.Values.tracing.endpoint -}}
{{- $url := urlParse . -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) -}}
- ports:
    - port: {{ $port | default (ternary 443 80 (eq $url.scheme "https")) }}
      protocol: TCP
{{- end }}
{{- end -}}

{{/*
common.networkPolicy.from: the "from" list of an ingress rule: pods of this namespace with "labels",
and whatever "extra" (a list of peers) admits.
*/}}
{{- define "common.networkPolicy.from" -}}
- podSelector:
    matchLabels:
      {{- toYaml .labels | nindent 6 }}
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end -}}
