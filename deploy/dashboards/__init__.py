"""Grafana's dashboards as code: generated, held against what the service exports, and drawn without Grafana."""
