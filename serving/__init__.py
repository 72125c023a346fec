"""How any model is served, in rooms: http, inference, api, telemetry, process, chain."""

VERSION = "0.1.0"  # pyproject.toml's
