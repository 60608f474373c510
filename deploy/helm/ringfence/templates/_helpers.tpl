{{- define "ringfence.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "ringfence.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "ringfence.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "ringfence.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ringfence.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ringfence.labels" -}}
{{ include "ringfence.selectorLabels" . }}
app.kubernetes.io/part-of: ringfence
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "ringfence.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "ringfence.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* What has the agents detach before they are deleted. */}}
{{- define "ringfence.uninstallName" -}}
{{- printf "%s-uninstall" (include "ringfence.fullname" . | trunc 53 | trimSuffix "-") -}}
{{- end -}}

{{- define "ringfence.uninstallServiceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- include "ringfence.uninstallName" . -}}
{{- else -}}
{{- include "ringfence.serviceAccountName" . -}}
{{- end -}}
{{- end -}}

{{- define "ringfence.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Flags of `ringfence agent`. */}}
{{- define "ringfence.args" -}}
- agent
- --http={{ .Values.http.address | default "$(RINGFENCE_HOST_IP)" }}:{{ .Values.http.port | int64 }}
- --bpffs=/sys/fs/bpf/ringfence
- --run-dir=/run/ringfence
- --state-dir=/var/lib/ringfence
{{- if ne .Values.agent.cgroupRoot "off" }}
- --cgroup-root={{ .Values.agent.cgroupRoot }}
{{- end }}
{{- if .Values.processes }}
- --pod-processes=on
{{- end }}
- --network-policy={{ .Values.networkPolicy.mode }}
- --host-enforcement={{ .Values.hostEnforcement.mode }}
{{- range .Values.hostEnforcement.failsafe }}
- {{ printf "--host-failsafe=%s" . | quote }}
{{- end }}
- --nri={{ .Values.nri.mode }}
{{- if ne .Values.nri.mode "off" }}
- --nri-socket=/var/run/nri/{{ .Values.nri.socket }}
- --nri-fail={{ .Values.nri.failure }}
- --nri-timeout={{ .Values.nri.timeoutMilliseconds | int64 }}
{{- end }}
- --tcx={{ .Values.agent.tcx }}
- --metadata-annotations={{ .Values.agent.metadataAnnotations }}
{{- if .Values.agent.iamRoleAnnotation }}
- --iam-role-annotation
{{- end }}
- --mark-source-mask={{ .Values.agent.markSourceMask }}
- --mark-proof-mask={{ .Values.agent.markProofMask }}
- --event-rate={{ .Values.agent.eventRate | int64 }}
- --audit-interval={{ .Values.agent.auditInterval | int64 }}
{{- range $name, $number := .Values.agent.entries }}
- --{{ $name }}-entries={{ $number | int64 }}
{{- end }}
- --log-format={{ .Values.agent.logFormat }}
{{- range until (.Values.agent.verbosity | int) }}
- --verbose
{{- end }}
{{- with .Values.agent.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The agent's own endpoint, where it listens. */}}
{{- define "ringfence.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
  {{- $host := trimAll "[]" .http.address }}
  {{- if not (has $host (list "" "0.0.0.0" "::")) }}
  host: {{ $host | quote }}
  {{- end }}
{{- end -}}

{{/* What makes it helm's hook before the release is deleted; with a weight. */}}
{{- define "ringfence.uninstallHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
