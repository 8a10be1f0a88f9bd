{{/* How a process gets its credential of the database. Nothing here joins a password into a URL: a password with a `/` or a `@`
     would break it. The parts go into PostgreSQL's own variables instead. */}}

{{/* The credential as JSON: that of `database`, with the one of the component (or of the migrations) laid over it. */}}
{{- define "kjr.database" -}}
{{- $base := deepCopy .root.Values.database -}}
{{- $own := dict -}}
{{- if eq .name "migrations" -}}
{{- $own = .root.Values.migrations.database | default dict -}}
{{- else -}}
{{- $own = (include "kjr.component" (dict "root" .root "name" .name) | fromJson).database | default dict -}}
{{- end -}}
{{- $merged := mergeOverwrite $base (deepCopy $own) -}}
{{- $_ := set $merged.existingSecret "name" (tpl ($merged.existingSecret.name | default "") .root) -}}
{{- if and (not $merged.existingSecret.name) (not $merged.url) (not (and (eq $merged.existingSecret.form "file") $merged.existingSecret.volume)) -}}
{{- fail "database.existingSecret.name must name a Secret with the credential of PostgreSQL. Make one with: kubectl create secret generic kjr-database --from-literal=url=postgresql://USER:PASSWORD@HOST:5432/NAME, then --set database.existingSecret.name=kjr-database" -}}
{{- end -}}
{{- toJson $merged -}}
{{- end -}}

{{- define "kjr.databaseEnv" -}}
{{- $db := include "kjr.database" . | fromJson -}}
{{- $secret := $db.existingSecret -}}
{{- if and $db.url (not $secret.name) }}
- name: KJR_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ include "kjr.fullname" .root }}-database
      key: url
{{- else if eq $secret.form "file" }}
- name: KJR_DATABASE_URL_FILE
  value: {{ printf "%s/%s" $secret.mountPath $secret.urlKey | quote }}
{{- else if eq $secret.form "parts" }}
- name: KJR_DATABASE_URL
  value: postgresql://
{{- range list (list "PGHOST" "host") (list "PGPORT" "port") (list "PGDATABASE" "name") (list "PGUSER" "user") (list "PGPASSWORD" "password") }}
{{- $variable := index . 0 -}}
{{- $part := index . 1 -}}
{{- $plain := tpl (toString (get $db $part)) $.root -}}
{{- $key := get $secret.partKeys $part }}
{{- if $plain }}
- name: {{ $variable }}
  value: {{ $plain | quote }}
{{- else if $key }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $secret.name }}
      key: {{ $key }}
{{- end }}
{{- end }}
{{- else }}
- name: KJR_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ $secret.name }}
      key: {{ $secret.urlKey }}
{{- end }}
{{- with $db.sslMode }}
- name: PGSSLMODE
  value: {{ . }}
{{- end }}
{{- if $db.sslRootCert.secretName }}
- name: PGSSLROOTCERT
  value: /etc/kube-job-runner/database-ca/{{ $db.sslRootCert.key }}
{{- end }}
{{- end -}}

{{- define "kjr.databaseMounts" -}}
{{- $db := include "kjr.database" . | fromJson -}}
{{- if eq $db.existingSecret.form "file" }}
- name: database-{{ .name }}
  mountPath: {{ $db.existingSecret.mountPath }}
  readOnly: true
{{- end }}
{{- if $db.sslRootCert.secretName }}
- name: database-ca-{{ .name }}
  mountPath: /etc/kube-job-runner/database-ca
  readOnly: true
{{- end }}
{{- end -}}

{{- define "kjr.databaseVolumes" -}}
{{- $db := include "kjr.database" . | fromJson -}}
{{- if eq $db.existingSecret.form "file" }}
- name: database-{{ .name }}
  {{- if $db.existingSecret.volume }}
  {{- toYaml $db.existingSecret.volume | nindent 2 }}
  {{- else }}
  secret:
    secretName: {{ $db.existingSecret.name }}
    defaultMode: 0440
  {{- end }}
{{- end }}
{{- if $db.sslRootCert.secretName }}
- name: database-ca-{{ .name }}
  secret:
    secretName: {{ $db.sslRootCert.secretName }}
    defaultMode: 0444
{{- end }}
{{- end -}}
