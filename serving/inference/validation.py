"""Whether the tensors of a request are those of a signature, whichever way they came: names, datatypes, shapes, values.

Every function takes what a client sent and a description (`bentos.contract.Tensor`), and raises BadInput with what was
sent and what is wanted. None knows JSON.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from math import isfinite, prod
from reprlib import Repr
from typing import Any, TypeVar

import numpy as np

from bentos.contract import BATCH, Tensor
from serving.errors import BadInput

T = TypeVar("T")
MAX_DIMENSIONS = 16
MAX_ELEMENTS = 2**27  # of one tensor of a request, a size of zero counting as one
warnings.filterwarnings("ignore", "overflow encountered in dot", RuntimeWarning)  # of FP16, which check_finite expects
_SHORT = Repr()  # stops at a few levels and items, where repr() of deep lists ends in a RecursionError
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def input_place(name: Any, tensors: Sequence[Tensor]) -> int:
    """The place in the signature of the input of this name."""
    for place, tensor in enumerate(tensors):
        if tensor.name == name:
            return place
    raise BadInput(f"input {brief(name)} is unknown; the inputs are {names(tensors)}")


def output_place(name: Any, tensors: Sequence[Tensor]) -> int:
    """The place in the signature of the output of this name."""
    for place, tensor in enumerate(tensors):
        if tensor.name == name:
            return place
    raise BadInput(f"output {brief(name)} is unknown; the outputs are {names(tensors)}")


def check_datatype(datatype: Any, tensor: Tensor) -> None:
    """BadInput unless a request's datatype is the tensor's."""
    if datatype != tensor.datatype:
        raise BadInput(f"input {tensor.name!r}: datatype is {brief(datatype)}, expected {tensor.datatype!r}")


def check_shape(shape: Any, tensor: Tensor, max_rows: int) -> tuple[int, ...]:
    """The shape as a tuple, each size of which fits its dimension: −1 takes 1 to `max_rows`."""
    if type(shape) is tuple and _fits(shape, tensor, max_rows):
        return shape
    sizes = _sizes(shape, tensor)
    if _fits(sizes, tensor, max_rows):
        return sizes
    if _fits(sizes, tensor, sys.maxsize):
        n_rows = max(size for size, dimension in zip(sizes, tensor.sizes, strict=True) if dimension == -1)
        raise BadInput(f"input {tensor.name!r}: {n_rows} rows in one request, the limit is {max_rows}")
    words = ", ".join(brief(size) for size in sizes)
    raise BadInput(f"input {tensor.name!r}: shape is [{words}], expected {list(tensor.shape)}")


def check_open_shape(shape: Any, tensor: Tensor, axis: int | None, max_rows: int) -> tuple[int, ...]:
    """The shape as a tuple, of a tensor with open dimensions: `axis` takes 1 to `max_rows`, the others any size."""
    sizes = _sizes(shape, tensor)
    if len(sizes) != len(tensor.shape) or not all(
        size == dimension if dimension != -1 else size >= 0 for size, dimension in zip(sizes, tensor.sizes, strict=True)
    ):
        words = ", ".join(brief(size) for size in sizes)
        expected = ", ".join(str(dimension) for dimension in tensor.shape)
        raise BadInput(f"input {tensor.name!r}: shape is [{words}], expected [{expected}]")
    if axis is not None and not 0 < sizes[axis] <= max_rows:
        raise BadInput(f"input {tensor.name!r}: {sizes[axis]} rows in one request, the limit is {max_rows}")
    if prod(max(1, size) for size in sizes) > MAX_ELEMENTS:
        raise BadInput(f"input {tensor.name!r}: shape is {list(sizes)}, over {MAX_ELEMENTS:,} values")
    return sizes


def check_dimensions(
    shape: tuple[int, ...], tensor: Tensor, axis: int | None, known: dict[str, tuple[int, str]]
) -> None:
    """BadInput where a named dimension has another size than in the inputs before. `known`: name → size, input"""
    for place, (size, dimension) in enumerate(zip(shape, tensor.shape, strict=True)):
        name = BATCH if place == axis else dimension
        if not isinstance(name, str):
            continue
        other, who = known.setdefault(name, (size, tensor.name))
        if other != size:
            raise BadInput(
                f"dimension {name!r} is {other} in input {who!r} and {size} in input {tensor.name!r};"
                " it must be the same in both"
            )


def complete(arrays: Mapping[int, T], tensors: Sequence[Tensor]) -> list[T]:
    """Arrays, or what stands for them, by their place → in the signature's order; none may be missing."""
    if len(arrays) == len(tensors) == 1:
        return list(arrays.values())
    if len(arrays) != len(tensors):
        missing = [tensor for place, tensor in enumerate(tensors) if place not in arrays]
        raise BadInput(f"input {names(missing)} is missing")
    return [arrays[place] for place in range(len(tensors))]


def _fits(sizes: tuple[int, ...], tensor: Tensor, most: int) -> bool:
    if len(sizes) != len(tensor.sizes):
        return False
    for size, dimension in zip(sizes, tensor.sizes):  # noqa: B905, an argument more is a third of its cost
        if not 0 < size <= most if dimension == -1 else size != dimension:
            return False
    return True


def _sizes(shape: Any, tensor: Tensor) -> tuple[int, ...]:
    words = f"input {tensor.name!r}: shape must be a list of whole numbers"
    if not isinstance(shape, list | tuple):
        raise BadInput(f"{words}, not {brief(shape)}")
    if len(shape) > MAX_DIMENSIONS:
        raise BadInput(f"{words}, not a list of more than {MAX_DIMENSIONS}")
    for size in shape:
        if type(size) is not int:
            raise BadInput(f"{words}, and {brief(size)} is none")
    return tuple(shape)


def in_order(arrays: Mapping[int, np.ndarray], tensors: Sequence[Tensor]) -> tuple[list[np.ndarray], int]:
    """Arrays by their place → the arrays in the signature's order, and their number of rows, which must be one."""
    ordered = complete(arrays, tensors)
    return ordered, check_rows([len(array) for array in ordered], tensors)


def check_rows(n_rows: Sequence[int], tensors: Sequence[Tensor]) -> int:
    """The number of rows, which must be that of all inputs."""
    if any(n != n_rows[0] for n in n_rows):
        rows = ", ".join(f"{tensor.name} {n}" for tensor, n in zip(tensors, n_rows, strict=True))
        raise BadInput(f"inputs differ in rows: {rows}")
    return n_rows[0]


def check_finite(flat: np.ndarray, tensor: Tensor) -> None:
    """BadInput for NaN or infinity, with its place. flat: one dimension"""
    # A dot product is the cheapest pass over all values; it overflows for huge finite ones, which the rest settles.
    if flat.dtype.kind != "f" or isfinite(flat.dot(flat)):
        return
    if not (finite := np.isfinite(flat)).all():
        at = int(finite.argmin())
        raise BadInput(f"input {tensor.name!r}: value {at} is {flat[at]}; this model takes finite numbers only")


def names(tensors: Sequence[Tensor]) -> str:
    """The tensors' names in quotes, between commas."""
    return ", ".join(repr(tensor.name) for tensor in tensors)


def brief(value: Any) -> str:
    """A client's value for an error message, never long."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    words = _SHORT.repr(value)
    return words if len(words) <= 60 else words[:59] + "…"
