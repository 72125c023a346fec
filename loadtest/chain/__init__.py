"""One pipeline in one process, or cut into three services: what the cut costs, measured side by side."""
