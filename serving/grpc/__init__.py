"""gRPC over HTTP/2: connections, calls and statuses. It knows no model."""
