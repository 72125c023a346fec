"""What is counted and logged: metrics, drift, logs, resources."""
