"""PyTorch: weights as safetensors, into the network that the model names; or torch.export's program, of an import."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from bentos.contract import Arrays, Model, Signature
from bentos.frameworks import UnreadableError

FILE = "weights.safetensors"
LIBRARIES = ("torch", "safetensors")
PROGRAM = ".pt2"
# PyTorch unpickles parts of such a file, and what a pickle names is run; with this it takes tensors and nothing else.
WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def save(fitted: Any, path: Path) -> None:
    """The weights alone."""
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous().cpu() for name, tensor in fitted.state_dict().items()}, path)


def load(model: Model, path: Path) -> Any:
    """The model's network with the weights, or the program that the file is, ready to answer. UnreadableError"""
    if path.suffix == PROGRAM:
        return Program(load_program(path))
    from safetensors.torch import load_file

    module, _, name = model.network.partition(":")
    network = getattr(importlib.import_module(module), name)(**model.network_arguments)
    network.load_state_dict(load_file(path))
    return network.eval()


def run(signature: Signature, fitted: Any, inputs: Arrays) -> Arrays:
    """One call of the network: inputs and outputs are in the signature's order."""
    import torch

    if fitted.training:
        fitted.eval()
    with torch.inference_mode():
        outputs = fitted(*(torch.from_numpy(np.ascontiguousarray(inputs[t.name])) for t in signature.inputs))
    arrays = outputs if isinstance(outputs, tuple) else (outputs,)
    return {t.name: array.numpy() for t, array in zip(signature.outputs, arrays, strict=True)}


def load_program(path: Path) -> Any:
    """The program in a .pt2 of torch.export. UnreadableError where it is none, or holds more than tensors"""
    import torch

    before = os.environ.get(WEIGHTS_ONLY)
    os.environ[WEIGHTS_ONLY] = "1"
    try:
        return torch.export.load(path)
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        raise UnreadableError(f"torch.export does not load it: {words}") from error
    finally:
        os.environ.pop(WEIGHTS_ONLY)
        if before is not None:
            os.environ[WEIGHTS_ONLY] = before


class Program:
    """torch.export's program as a network is called: its outputs come in their order, whatever it nests them in."""

    training = False

    def __init__(self, program: Any) -> None:
        self._module = program.module()

    def __call__(self, *tensors: Any) -> tuple[Any, ...]:
        import torch

        return tuple(torch.utils._pytree.tree_leaves(self._module(*tensors)))
