{{/*
Names, labels and images. Every helper takes a dict with "context" (the chart's root context, `$`);
what else it takes is named at it.
*/}}

{{/*
common.fullname: the name of a chart's resources.
It is .Values.fullnameOverride, or <release>-<chart>, or <release> alone if both are the same.
At most 44 characters, so that pods, Services and Secrets can be called after it with a suffix.
*/}}
{{- define "common.fullname" -}}
{{- if .context.Values.fullnameOverride -}}
{{- .context.Values.fullnameOverride | trunc 44 | trimSuffix "-" -}}
{{- else -}}
{{- include "common.sibling" (dict "context" .context "name" .context.Chart.Name) -}}
{{- end -}}
{{- end -}}

{{/*
common.sibling: the fullname of another component ("name", such as kafka) of the same release.
It can't see that component's fullnameOverride: a name that is set there must be set here, too.
A release name that is too long is cut before the component's name is added, and gets a hash in
place of what was cut, so that no two components and no two releases share a name.
*/}}
{{- define "common.sibling" -}}
{{- $release := .context.Release.Name -}}
{{- $full := ternary $release (printf "%s-%s" $release .name) (eq $release .name) -}}
{{- if le (len $full) 44 -}}
{{- $full -}}
{{- else -}}
{{- $room := sub 34 (len .name) | int -}}
{{- printf "%s-%s-%s" ($release | trunc $room | trimAll ".-") ($release | sha256sum | trunc 8) .name -}}
{{- end -}}
{{- end -}}

{{/*
common.selectorLabels: what selects the pods of one component; never changes between versions.
Takes "component"; default: the chart's name.
*/}}
{{- define "common.selectorLabels" -}}
app.kubernetes.io/name: {{ .context.Chart.Name }}
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/component: {{ .component | default .context.Chart.Name }}
{{- end -}}

{{/*
common.labels: the labels of every object, .Values.commonLabels among them. Takes "component".
*/}}
{{- define "common.labels" -}}
{{ include "common.selectorLabels" . }}
app.kubernetes.io/version: {{ .context.Chart.AppVersion | default .context.Chart.Version | quote }}
app.kubernetes.io/part-of: mailtopic
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .context.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
common.image: registry/repository:tag, or …@digest, which wins over the tag.
Takes "image" {registry, repository, tag, digest}; the default registry is global.imageRegistry, the
default tag the chart's appVersion.
*/}}
{{- define "common.image" -}}
{{- $name := .image.repository -}}
{{- $global := .context.Values.global | default dict -}}
{{- with .image.registry | default $global.imageRegistry }}{{ $name = printf "%s/%s" . $name }}{{ end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $name .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (.image.tag | default .context.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/*
common.serviceAccountName: the account of the pods: .Values.serviceAccount.name, or the fullname if
the chart creates it, or "default".
*/}}
{{- define "common.serviceAccountName" -}}
{{- $account := .context.Values.serviceAccount -}}
{{- $account.name | default (ternary (include "common.fullname" .) "default" $account.create) -}}
{{- end -}}

{{/*
common.serviceAccount: the ServiceAccount itself if .Values.serviceAccount.create. It gives no token
to pods; components that need the API mount a projected one.
*/}}
{{- define "common.serviceAccount" -}}
{{- if .context.Values.serviceAccount.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "common.serviceAccountName" . }}
  namespace: {{ .context.Release.Namespace }}
  labels:
    {{- include "common.labels" . | nindent 4 }}
  {{- with .context.Values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end -}}
