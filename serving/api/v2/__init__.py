"""The Open Inference Protocol (V2) over REST, with Triton's binary tensor, configuration and statistics extensions.

https://github.com/kserve/open-inference-protocol
https://github.com/triton-inference-server/server/tree/main/docs/protocol
"""
