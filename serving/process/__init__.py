"""The worker processes: supervision, heartbeat, drain, the metrics directory."""
