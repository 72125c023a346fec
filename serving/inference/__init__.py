"""The data plane, which knows no protocol: admission, batches, engines, and the store they are loaded from."""
