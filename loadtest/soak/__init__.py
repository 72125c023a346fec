"""A long, even load, and whether anything grows under it: memory, file descriptors, latency."""
