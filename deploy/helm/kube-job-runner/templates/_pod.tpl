{{/* What the pods of components, of the migration and of the test have in common. */}}

{{- define "kjr.config" -}}
{{- $_ := include "kjr.check" . -}}
KJR_INSTANCE: {{ include "kjr.instance" . | quote }}
KJR_NAMESPACES: {{ join "," .Values.jobNamespaces | quote }}
KJR_CLUSTER: kubernetes
KJR_HOST: {{ .Values.listenAddress | quote }}
KJR_PORT: "8080"
KJR_METRICS_PORT: "9090"
KJR_DRAIN_SECONDS: {{ .Values.drainSeconds | quote }}
KJR_LOG_FORMAT: json
KJR_DATA_DIR: /tmp/kube-job-runner
HOME: /tmp
{{- if eq .Values.queue.type "sqs" }}
KJR_QUEUE: {{ .Values.queue.sqs.url | quote }}
{{- with .Values.queue.sqs.region }}
KJR_QUEUE_REGION: {{ . | quote }}
{{- end }}
{{- with .Values.queue.sqs.endpoint }}
KJR_QUEUE_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end }}
{{- if .Values.failureRules }}
KJR_FAILURE_RULES: /etc/kube-job-runner/failure-rules.yaml
{{- end }}
{{- range $name, $value := .Values.settings }}
KJR_{{ upper $name }}: {{ include "kjr.setting" $value | quote }}
{{- end }}
{{- end -}}

{{/* A number that YAML read as a float must not become 1e+06. */}}
{{- define "kjr.setting" -}}
{{- if kindIs "float64" . -}}
{{- if eq . (floor .) -}}{{- printf "%.0f" . -}}{{- else -}}{{- toString . -}}{{- end -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* What no schema can say. */}}
{{- define "kjr.check" -}}
{{- if and (has .Release.Namespace .Values.jobNamespaces) (not .Values.allowJobsInReleaseNamespace) -}}
{{- fail (printf "jobNamespaces holds the release's own namespace %s: whoever may submit a job could read its Secrets, the credential of the database too. Choose another namespace for jobs, or set allowJobsInReleaseNamespace=true" .Release.Namespace) -}}
{{- end -}}
{{- if and (eq .Values.queue.type "sqs") (not .Values.queue.sqs.url) -}}
{{- fail "queue.sqs.url must be set when queue.type is sqs" -}}
{{- end -}}
{{- if and (eq .Values.migrations.mode "hook") .Values.database.url (not .Values.database.existingSecret.name) -}}
{{- fail "migrations.mode=hook runs before the Secret of database.url is made: set database.existingSecret, or another mode" -}}
{{- end -}}
{{- end -}}

{{- define "kjr.queueEnv" -}}
{{- if eq .Values.queue.type "sqs" }}
{{- with .Values.queue.sqs.existingSecret }}
{{- if .name }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ tpl .name $ }}
      key: {{ .accessKeyIdKey }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ tpl .name $ }}
      key: {{ .secretAccessKeyKey }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "kjr.migrateContainer" -}}
{{- $database := dict "root" . "name" "migrations" -}}
- name: migrate
  image: {{ include "kjr.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [migrate, --wait, "{{ .Values.migrations.waitSeconds }}s"{{ if .Values.migrations.roles }}, --roles{{ end }}]
  env:
    - name: HOME
      value: /tmp
    - name: KJR_LOG_FORMAT
      value: json
    {{- include "kjr.databaseEnv" $database | trim | nindent 4 }}
  resources:
    {{- toYaml .Values.migrations.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.containerSecurityContext | nindent 4 }}
  volumeMounts:
    - name: tmp
      mountPath: /tmp
    {{- with include "kjr.databaseMounts" $database | trim }}{{ . | nindent 4 }}{{ end }}
{{- end -}}

{{- define "kjr.tmpVolume" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.tmpSizeLimit }}
{{- end -}}
