"""PyTorch: weights as safetensors, into the network that the model names."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from bentos.contract import Arrays, Model, Signature

FILE = "weights.safetensors"
LIBRARIES = ("torch", "safetensors")


def save(fitted: Any, path: Path) -> None:
    """The weights alone."""
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous().cpu() for name, tensor in fitted.state_dict().items()}, path)


def load(model: Model, path: Path) -> Any:
    """The model's network with the weights, ready to answer."""
    from safetensors.torch import load_file

    module, _, name = model.network.partition(":")
    network = getattr(importlib.import_module(module), name)(**model.network_arguments)
    network.load_state_dict(load_file(path))
    return network.eval()


def run(signature: Signature, fitted: Any, inputs: Arrays) -> Arrays:
    """One call of the network: inputs and outputs are in the signature's order."""
    import torch

    fitted.eval()
    with torch.inference_mode():
        outputs = fitted(*(torch.from_numpy(np.ascontiguousarray(inputs[t.name])) for t in signature.inputs))
    arrays = outputs if isinstance(outputs, tuple) else (outputs,)
    return {t.name: array.numpy() for t, array in zip(signature.outputs, arrays, strict=True)}
