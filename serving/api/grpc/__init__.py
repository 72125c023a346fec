"""The Open Inference Protocol (V2) over gRPC: a codec over the same data plane as REST, health and reflection."""
