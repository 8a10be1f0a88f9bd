{{/* Names, labels, and what a component is after its values are laid over the defaults. */}}

{{- define "kjr.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kjr.instance" -}}
{{- default (printf "%s-%s" .Release.Namespace .Release.Name) .Values.instance | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "kjr.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of our own objects. They never carry the managed-by of jobs, by which the product finds what it created. */}}
{{- define "kjr.labels" -}}
{{ include "kjr.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: kube-job-runner
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "kjr.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The components that run, as JSON. */}}
{{- define "kjr.components" -}}
{{- $names := list -}}
{{- if .Values.singleProcess -}}
{{- $names = list "all" -}}
{{- else -}}
{{- range list "web-server" "messages-processor" "job-status-processor" "pod-events-processor" "log-collector" "sweeper" -}}
{{- $names = append $names . -}}
{{- end -}}
{{- if eq .Values.queue.type "sqs" -}}
{{- $names = append $names "outbox-relay" -}}
{{- end -}}
{{- end -}}
{{- $running := list -}}
{{- range $names -}}
{{- if (include "kjr.component" (dict "root" $ "name" .) | fromJson).enabled -}}
{{- $running = append $running . -}}
{{- end -}}
{{- end -}}
{{- toJson $running -}}
{{- end -}}

{{/* What a component is, as JSON: its values over the defaults. Maps of the first kind are merged, lists joined, the rest replaced.
     Not mergeOverwrite: it takes `false` and `0` for absent. */}}
{{- define "kjr.component" -}}
{{- $merged := deepCopy .root.Values.defaults -}}
{{- range $key, $value := index .root.Values.components .name | default dict -}}
{{- if has $key (list "settings" "podLabels" "podAnnotations" "annotations" "serviceAccount" "podDisruptionBudget") -}}
{{- range $inner, $given := $value | default dict -}}
{{- $_ := set (index $merged $key) $inner $given -}}
{{- end -}}
{{- else if and (hasPrefix "extra" $key) (kindIs "slice" $value) -}}
{{- $_ := set $merged $key (concat (index $merged $key) $value) -}}
{{- else -}}
{{- $_ := set $merged $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $merged -}}
{{- end -}}

{{- define "kjr.serviceAccountName" -}}
{{- $account := (include "kjr.component" . | fromJson).serviceAccount -}}
{{- default (printf "%s-%s" (include "kjr.fullname" .root) .name) $account.name -}}
{{- end -}}

{{/* Whether a component uses the cluster, and so needs a token: "true" or nothing. */}}
{{- define "kjr.usesCluster" -}}
{{- if not (has . (list "web-server" "outbox-relay")) -}}true{{- end -}}
{{- end -}}

{{/* The rules of a component in each namespace of jobs: the one place where rights are given. */}}
{{- define "kjr.rules" -}}
{{- if has . (list "messages-processor" "all") }}
# Creates, reads and deletes the Job of each attempt; looks at its pods before a verdict on age or absence; deletes by force
# a pod that will not go.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create, get, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, delete]
{{- end }}
{{- if has . (list "job-status-processor" "all") }}
# Watches Jobs.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch]
{{- end }}
{{- if has . (list "pod-events-processor" "all") }}
# Watches Pods, and Events for their text.
- apiGroups: [""]
  resources: [pods, events]
  verbs: [get, list, watch]
{{- end }}
{{- if has . (list "log-collector" "all") }}
# Reads logs: the only one that may.
- apiGroups: [""]
  resources: [pods, pods/log]
  verbs: [get]
{{- end }}
{{- if has . (list "sweeper" "all") }}
# Lists Jobs and Pods (their metadata), looks at a Job that is missing, removes what no row knows.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, delete]
{{- end }}
{{- end -}}

{{/* "true" when a part of the monitoring is wanted: asked for, or `auto` on a cluster with the Prometheus operator. */}}
{{- define "kjr.monitored" -}}
{{- $wanted := toString .wanted -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") (.root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}true{{- end -}}
{{- end -}}
