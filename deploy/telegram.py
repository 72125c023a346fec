"""What Telegram shows: Alertmanager's template, in the HTML that Telegram takes; Alertmanager escapes the values."""

from __future__ import annotations

from deploy.alerts import HEADER
from deploy.objectives import Slo

# Telegram cuts a message at 4096 characters, and refuses HTML that is cut within a tag.
SHOWN = 8
TEMPLATE = """\
{{- /* HEADER */ -}}
{{ define "ekiben.alert" }}
{{ if eq .Status "firing" }}{{ if eq .Labels.severity "page" }}🔥{{ else }}🎫{{ end }}{{ else }}✅ resolved:{{ end }} \
<b>{{ .Annotations.summary }}</b>
{{ if eq .Status "firing" }}{{ .Annotations.description }}
since {{ .StartsAt.UTC.Format "2006-01-02 15:04:05" }} UTC · {{ else }}\
after {{ (.EndsAt.Sub .StartsAt).Round 1000000000 }} · {{ end }}\
{{ if match "^https?://" .Annotations.runbook_url }}\
<a href="{{ .Annotations.runbook_url }}">{{ .Labels.alertname }}</a>\
{{ else }}{{ .Labels.alertname }}: {{ .Annotations.runbook_url }}{{ end }}
{{ end }}
{{ define "ekiben.telegram" }}SERVICE: {{ .Alerts.Firing | len }} firing, {{ .Alerts.Resolved | len }} resolved
{{ range $i, $alert := .Alerts }}{{ if lt $i SHOWN }}{{ template "ekiben.alert" $alert }}{{ end }}{{ end }}
{{- if gt (len .Alerts) SHOWN }}
… the first SHOWN of {{ len .Alerts }}{{ end }}{{ end }}
"""


def template(slo: Slo) -> str:
    """The template of slo.yaml's service."""
    return TEMPLATE.replace("HEADER", HEADER).replace("SERVICE", slo.service).replace("SHOWN", str(SHOWN))
