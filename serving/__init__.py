"""How any model is served, in rooms: http, http2, grpc, inference, api, telemetry, process, chain."""

VERSION = "0.1.0"  # pyproject.toml's
