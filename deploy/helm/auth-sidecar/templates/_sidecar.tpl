{{/*
The parts of a pod, for this chart and for yours. From a chart that depends on this one, give them its own values:
  {{- include "auth-sidecar.container" (index .Subcharts "auth-sidecar") | nindent 8 }}
*/}}

{{/* What everything of one release is called. */}}
{{- define "auth-sidecar.name" -}}
{{- if contains "auth-sidecar" .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}{{ printf "%s-auth-sidecar" (.Release.Name | trunc 50 | trimSuffix "-") }}
{{- end }}
{{- end }}

{{- define "auth-sidecar.labels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "auth-sidecar.selector" . }}
{{- end }}

{{- define "auth-sidecar.selector" -}}
app.kubernetes.io/name: {{ .Values.workload.app.name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The configuration, with a health listener for the probes. */}}
{{- define "auth-sidecar.config" -}}
{{- if not .Values.config }}
{{- fail "config: the sidecar's configuration, with routes and credentials, is missing; see docs/configuration.md" }}
{{- end }}
{{- toYaml (mergeOverwrite (dict "health" (dict "listen" "0.0.0.0:9902")) (deepCopy .Values.config)) }}
{{- end }}

{{/* The port of the health listener. */}}
{{- define "auth-sidecar.healthPort" -}}
{{- $health := (.Values.config | default dict).health | default (dict "listen" "0.0.0.0:9902") -}}
{{- regexFind "[0-9]+$" $health.listen }}
{{- end }}

{{/* An entry of initContainers: a sidecar of Kubernetes' own kind, started before your containers and ended after them. */}}
{{- define "auth-sidecar.container" -}}
- name: auth-sidecar
  image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
  {{- if ne .Values.image.pullPolicy "IfNotPresent" }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- end }}
  restartPolicy: Always
  {{- with .Values.extraEnv }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: sidecar-health
      containerPort: {{ include "auth-sidecar.healthPort" . }}
  startupProbe:
    httpGet: {path: /healthz, port: sidecar-health}
    periodSeconds: 1
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /healthz, port: sidecar-health}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 3
  readinessProbe:
    httpGet: {path: /readyz, port: sidecar-health}
    periodSeconds: 5
    timeoutSeconds: 5
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    runAsUser: 10001
    runAsGroup: 10001
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities: {drop: [ALL]}
  volumeMounts:
    {{- if .Values.state.enabled }}
    - {name: auth-sidecar-state, mountPath: /var/lib/auth-sidecar}
    {{- end }}
    - {name: auth-sidecar-config, mountPath: /etc/auth-sidecar, readOnly: true}
    - {name: auth-sidecar-secrets, mountPath: /run/secrets/auth-sidecar, readOnly: true}
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Entries of volumes. */}}
{{- define "auth-sidecar.volumes" -}}
{{- if .Values.state.enabled }}
- name: auth-sidecar-state
  persistentVolumeClaim: {claimName: {{ include "auth-sidecar.name" . }}}
{{- end }}
- name: auth-sidecar-config
  configMap: {name: {{ include "auth-sidecar.name" . }}}
- name: auth-sidecar-secrets
  projected:
    defaultMode: 0440
    sources:
      {{- toYaml .Values.secrets | nindent 6 }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The pod's securityContext: what the sidecar needs of it. */}}
{{- define "auth-sidecar.podSecurityContext" -}}
runAsNonRoot: true
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}
