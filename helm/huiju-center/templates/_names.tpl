{{/* Labels of every object. */}}
{{- define "huiju.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: huiju
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Labels by which the agent's pods are found; they never change. */}}
{{- define "huiju.agent" -}}
app.kubernetes.io/name: huiju-center
app.kubernetes.io/component: agent
{{- end }}

{{/* Labels by which the sentinel's pod is found; they never change. */}}
{{- define "huiju.sentinel" -}}
app.kubernetes.io/name: huiju-center
app.kubernetes.io/component: sentinel
{{- end }}

{{/* Labels by which the gateway's pods are found; they never change. */}}
{{- define "huiju.gateway" -}}
app.kubernetes.io/name: huiju-center
app.kubernetes.io/component: gateway
{{- end }}

{{/* The center's own folders, as agent and gateway mount them: a list of mounts. */}}
{{- define "huiju.folderMounts" -}}
{{- range $number, $folder := .Values.agent.data.folders }}
- {name: data-{{ $number }}, mountPath: {{ $folder.path }}, readOnly: true}
{{- end }}
{{- end }}

{{/* And their volumes. */}}
{{- define "huiju.folders" -}}
{{- range $number, $folder := .Values.agent.data.folders }}
- name: data-{{ $number }}
  {{- if $folder.claim }}
  persistentVolumeClaim: {claimName: {{ $folder.claim }}, readOnly: true}
  {{- else }}
  nfs: {server: {{ required "agent.data.folders: give claim, or nfsServer and nfsPath" $folder.nfsServer }}, path: {{ $folder.nfsPath }}, readOnly: true}
  {{- end }}
{{- end }}
{{- end }}

{{/* The full name of the image. */}}
{{- define "huiju.image" -}}
{{- with .Values.image -}}
{{- $name := ternary .repository (printf "%s/%s" (trimSuffix "/" .registry) .repository) (empty .registry) -}}
{{- if .digest -}}
{{- printf "%s@%s" $name .digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end }}
