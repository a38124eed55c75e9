{{/*
The StatefulSet of brokers or controllers. Takes "context", "name", "component" (broker or
controller), "role" (broker, controller or both), "replicas", "values" (what differs between the
two: heapOptions, resources, persistence.size and where they run).
*/}}
{{- define "kafka.statefulset" -}}
{{- $facts := include "kafka.facts" .context | fromYaml -}}
{{- $all := .context.Values -}}
{{- $isBroker := ne .role "controller" -}}
{{- $roles := ternary "broker+controller" .role (eq .role "both") -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ .name }}
  namespace: {{ .context.Release.Namespace }}
  labels:
    {{- include "common.labels" . | nindent 4 }}
spec:
  serviceName: {{ $facts.headless }}
  replicas: {{ .replicas }}
  # All at once: no node of a quorum gets ready alone.
  podManagementPolicy: Parallel
  minReadySeconds: {{ $all.minReadySeconds }}
  updateStrategy:
    type: RollingUpdate
  selector:
    matchLabels:
      {{- include "common.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "common.labels" . | nindent 8 }}
        mailtopic.dev/kafka-node: "true"
        {{- with $all.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        {{- include "kafka.podAnnotations" . | nindent 8 }}
    spec:
      serviceAccountName: {{ include "common.serviceAccountName" . }}
      automountServiceAccountToken: false
      # A Service called kafka would give the pods KAFKA_PORT and the like.
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ $all.terminationGracePeriodSeconds }}
      securityContext:
        {{- include "common.podSecurityContext" (dict "uid" 1000 "values" $all.podSecurityContext) | nindent 8 }}
      {{- include "common.scheduling" . | nindent 6 }}
      initContainers:
        {{- if and $isBroker (eq $all.rack.source "Node") }}
        - name: rack
          {{- include "kafka.container" .context | nindent 10 }}
          command:
            - java
            - -Xmx32m
            - -XX:+UseSerialGC
            - -cp
            - /opt/mailtopic/kafka-agent.jar
            - dev.mailtopic.kafka.Rack
            - {{ $all.rack.label }}
            - /run/kafka/account
            - /run/kafka/rack/zone
          env:
            - name: NODE_NAME
              valueFrom:
                fieldRef:
                  fieldPath: spec.nodeName
          resources:
            {{- toYaml $all.setupResources | nindent 12 }}
          volumeMounts:
            - name: agent
              mountPath: /opt/mailtopic
              readOnly: true
            - name: account
              mountPath: /run/kafka/account
              readOnly: true
            - name: rack
              mountPath: /run/kafka/rack
            - name: tmp
              mountPath: /tmp
        {{- end }}
        - name: format
          {{- include "kafka.container" .context | nindent 10 }}
          command:
            - java
            - -Xmx64m
            - -XX:+UseSerialGC
            - -XX:TieredStopAtLevel=1
            - -Djava.io.tmpdir=/tmp
            - -Dlog4j2.configurationFile=/etc/mailtopic/log4j2.properties
            - -Dmailtopic.logLevel=error
            - -cp
            - /opt/kafka/libs/*:/opt/mailtopic/kafka-agent.jar
            - kafka.tools.StorageTool
            - format
            - --config
            - /etc/mailtopic/{{ .component }}.properties
            - --cluster-id
            - {{ (include "kafka.identity" .context | fromYaml).id | quote }}
            - --ignore-formatted
          env:
            {{- include "common.env" (dict "base" (include "kafka.env" .) "extra" $all.extraEnv) | nindent 12 }}
          resources:
            {{- toYaml $all.setupResources | nindent 12 }}
          volumeMounts:
            {{- include "kafka.mounts" . | nindent 12 }}
      containers:
        - name: kafka
          {{- include "kafka.container" .context | nindent 10 }}
          command:
            - java
            {{- range compact (splitList " " (printf "%s %s" .values.heapOptions $all.jvmOptions)) }}
            - {{ . | quote }}
            {{- end }}
            - -XX:+ExitOnOutOfMemoryError
            - -Djava.awt.headless=true
            - -Djava.io.tmpdir=/tmp
            # Pods get new addresses when they restart.
            - -Dsun.net.inetaddr.ttl=5
            - -Dsun.net.inetaddr.negative.ttl=1
            - -Dlog4j2.configurationFile=/etc/mailtopic/log4j2.properties
            - -javaagent:/opt/mailtopic/kafka-agent.jar=port=9404,roles={{ $roles }},catchUpSeconds={{ $all.agent.catchUpSeconds }},maxPartitions={{ $all.agent.maxPartitions }}
            - -cp
            - /opt/kafka/libs/*
            - kafka.Kafka
            - /etc/mailtopic/{{ .component }}.properties
          env:
            {{- include "common.env" (dict "base" (include "kafka.env" .) "extra" $all.extraEnv) | nindent 12 }}
          {{- with $all.extraEnvFrom }}
          envFrom:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          ports:
            {{- if $isBroker }}
            - name: client
              containerPort: 9092
            - name: broker
              containerPort: 9091
            {{- end }}
            {{- if ne .role "broker" }}
            - name: controller
              containerPort: 9093
            {{- end }}
            - name: agent
              containerPort: 9404
          startupProbe:
            httpGet:
              path: /startupz
              port: agent
            {{- toYaml $all.startupProbe | nindent 12 }}
          readinessProbe:
            httpGet:
              path: /readyz
              port: agent
            {{- toYaml $all.readinessProbe | nindent 12 }}
          livenessProbe:
            httpGet:
              path: /livez
              port: agent
            {{- toYaml $all.livenessProbe | nindent 12 }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          volumeMounts:
            {{- include "kafka.mounts" . | nindent 12 }}
            {{- with $all.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        {{- include "kafka.volumes" . | nindent 8 }}
        {{- with $all.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  {{- if $all.persistence.enabled }}
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: {{ $all.persistence.whenDeleted }}
    whenScaled: {{ $all.persistence.whenScaled }}
  volumeClaimTemplates:
    - apiVersion: v1
      kind: PersistentVolumeClaim
      metadata:
        name: data
        labels:
          {{- include "common.selectorLabels" . | nindent 10 }}
        {{- with $all.persistence.annotations }}
        annotations:
          {{- toYaml . | nindent 10 }}
        {{- end }}
      spec:
        accessModes:
          {{- toYaml $all.persistence.accessModes | nindent 10 }}
        {{- with $all.persistence.storageClass }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ .values.persistence.size }}
  {{- end }}
{{- end -}}

{{/* Lines that all containers begin with. */}}
{{- define "kafka.container" -}}
image: {{ include "common.image" (dict "context" $ "image" .Values.image) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "common.securityContext" (dict "values" .Values.securityContext) | nindent 2 }}
{{- end -}}

{{- define "kafka.podAnnotations" -}}
checksum/config: {{ include "kafka.configMap" .context | sha256sum }}
checksum/agent: {{ .context.Files.Get "files/kafka-agent.jar" | sha256sum }}
{{- with include "kafka.tlsChecksum" .context }}
checksum/tls: {{ . }}
{{- end }}
{{- with include "common.monitorAnnotations" (dict "context" .context "port" 9404) }}
{{ . }}
{{- end }}
{{- with .context.Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "kafka.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_INDEX
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
{{- if and (ne .role "controller") (eq .context.Values.rack.source "PodLabel") }}
- name: ZONE
  valueFrom:
    fieldRef:
      fieldPath: metadata.labels['{{ .context.Values.rack.label }}']
{{- end }}
{{- end -}}

{{- define "kafka.mounts" -}}
- name: config
  mountPath: /etc/mailtopic
  readOnly: true
- name: agent
  mountPath: /opt/mailtopic
  readOnly: true
- name: data
  mountPath: /var/lib/kafka/data
- name: tmp
  mountPath: /tmp
{{- if (include "kafka.facts" .context | fromYaml).isSecure }}
- name: tls
  mountPath: /etc/kafka/tls
  readOnly: true
{{- end }}
{{- if and (ne .role "controller") (eq .context.Values.rack.source "Node") }}
- name: rack
  mountPath: /run/kafka/rack
  readOnly: true
{{- end }}
{{- end -}}

{{- define "kafka.volumes" -}}
{{- $facts := include "kafka.facts" .context | fromYaml -}}
- name: config
  configMap:
    name: {{ $facts.fullname }}-config
- name: agent
  configMap:
    name: {{ $facts.fullname }}-agent
# Compression libraries are unpacked there.
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- if not .context.Values.persistence.enabled }}
- name: data
  emptyDir: {}
{{- end }}
{{- if $facts.isSecure }}
- name: tls
  secret:
    secretName: {{ $facts.tlsSecret }}
    defaultMode: 0440
{{- end }}
{{- if and (ne .role "controller") (eq .context.Values.rack.source "Node") }}
- name: rack
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
- name: account
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
{{- end }}
{{- end -}}
