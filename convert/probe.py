"""A model tried with values of the sizes and kinds that it takes, until it answers: what its open dimensions may be."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bentos.contract import Arrays
from convert.artifacts import ConvertError
from convert.draws import Draw

Dims = tuple[int | str, ...]
Sizes = dict[str, int]  # open dimension → its size
# What an open dimension is tried with, until the model runs. 576, 288: windows of sound with what came before them.
SIZES = (16, 32, 64, 8, 4, 48, 128, 96, 224, 256, 320, 512, 576, 288, 640, 1, 2, 3, 1024, 1536, 4096, 16000)
SECONDS = 60.0  # that finding sizes may take
MOST_ELEMENTS = 2**24  # of an input that is tried
MOST_WAYS = 200


@dataclass(frozen=True)
class Port:
    """An input or an output as the file declares it: open dimensions have names; `dims` is None if it has no shape."""

    name: str
    dtype: np.dtype[Any]
    dims: Dims | None


class Probe:
    """A model under trial. `call` runs it, `ways` says how values of each input may be drawn.

    lengths: sizes that open dimensions may have, beside SIZES.
    """

    def __init__(
        self,
        call: Callable[[Arrays], Arrays],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        ways: Mapping[str, list[Draw]],
        sample: Arrays | None = None,
        lengths: Sequence[int] = (),
    ) -> None:
        self.call = call
        self.lengths = (*SIZES, *lengths)
        self.inputs = {port.name: port for port in inputs}
        self.outputs = {port.name: port for port in outputs}
        self.dims: dict[str, Dims] = {port.name: port.dims or () for port in inputs}
        self.ways = ways
        self.sample = sample
        self.random = np.random.default_rng(0)
        self.sizes: Sizes = {}  # of every open dimension, when the model first answered
        self.drawn: dict[str, Draw] = {}  # and how its values were drawn
        self.observed: list[tuple[Sizes, Arrays, Arrays]] = []  # sizes, inputs, outputs of each call that was answered
        self.places: Mapping[str, int] = {}  # where the batch is taken to be in the inputs
        self.last_error = ""

    def settle(self) -> None:
        """Find sizes and values with which the model answers. ConvertError with its last word if it never does."""
        until = time.monotonic() + SECONDS
        for sizes, drawn in self._attempts():
            self.sizes, self.drawn = sizes, drawn
            if self.attempt(sizes) is not None:
                return
            if time.monotonic() > until:
                break
        tried = f"whatever its open dimensions ({', '.join(self.symbols())}) are" if self.symbols() else "at its sizes"
        raise ConvertError(
            f"it answers no values that were drawn for it, {tried}; ONNX Runtime's last word is: {self.last_error}."
            " Give rows that it knows: --sample rows.npz"
        )

    def _attempts(self) -> Iterator[tuple[Sizes, dict[str, Draw]]]:
        names = list(self.inputs)
        every = itertools.islice(itertools.product(*(self.ways[n] for n in names)), 20 * MOST_WAYS)
        ranked = sorted(every, key=lambda ways: sum(self.ways[n].index(w) for n, w in zip(names, ways, strict=True)))
        likeliest = [dict(zip(names, ways, strict=True)) for ways in ranked[:MOST_WAYS]]
        if self.sample is not None:
            yield self.sizes_of(self.sample), likeliest[0]
            return
        for sizes in self._sizes():
            for drawn in likeliest:
                yield sizes, drawn

    def _sizes(self) -> Iterator[Sizes]:
        """Sizes of all open dimensions: the batch is 1, all others alike; then some of them 1; then all different."""
        batch = dict.fromkeys((s for s in self.symbols() if self.looks_like_batch(s)), 1)
        others = [s for s in self.symbols() if s not in batch]
        for size in self.lengths if others else (1,):
            yield batch | dict.fromkeys(others, size)
        for size in SIZES if len(others) > 1 else ():
            for count in range(1, min(len(others), 4)):
                for single in itertools.combinations(others, count):
                    yield batch | dict.fromkeys(others, size) | dict.fromkeys(single, 1)
        for each in itertools.product(SIZES[:13], repeat=len(others)) if 1 < len(others) < 4 else ():
            yield batch | dict(zip(others, each, strict=True))

    def symbols(self) -> list[str]:
        """The open dimensions of the inputs, each once."""
        return list(dict.fromkeys(d for dims in self.dims.values() for d in dims if isinstance(d, str)))

    def looks_like_batch(self, symbol: str) -> bool:
        """Whether a dimension is called so, or is an input's first."""
        return "batch" in symbol.lower() or any(dims[:1] == (symbol,) for dims in self.dims.values())

    def sizes_of(self, arrays: Arrays) -> Sizes:
        """The size that each open dimension has in some inputs. ConvertError where they do not fit the file."""
        if set(arrays) != set(self.dims):
            raise ConvertError(f"the sample has {', '.join(sorted(arrays))}, the file takes {', '.join(self.dims)}")
        sizes: Sizes = {}
        for name, dims in self.dims.items():
            shape = arrays[name].shape
            fits = len(shape) == len(dims) and all(
                dim == size if isinstance(dim, int) else sizes.setdefault(dim, size) == size
                for dim, size in zip(dims, shape, strict=True)
            )
            if not fits:
                raise ConvertError(f"the sample's {name} is {list(shape)}, the file takes {list(dims)}")
        return sizes

    def draw(self, sizes: Sizes) -> Arrays:
        """Values for every input; rows of the sample, where these are its sizes but for the batch."""
        batch = {self.dims[name][axis] for name, axis in self.places.items()}
        own = {} if self.sample is None else self.sizes_of(self.sample)
        if self.sample is not None and all(sizes[symbol] == own[symbol] or symbol in batch for symbol in own):
            return {name: self._rows_of_sample(name, array, sizes) for name, array in self.sample.items()}
        return {
            name: self.drawn[name].values(shape_of(self.dims[name], sizes), port.dtype, self.random)
            for name, port in self.inputs.items()
        }

    def _rows_of_sample(self, name: str, array: np.ndarray, sizes: Sizes) -> np.ndarray:
        if name not in self.places:
            return array
        axis = self.places[name]
        n_rows = sizes[str(self.dims[name][axis])]
        rows: np.ndarray = np.take(array, np.arange(n_rows) % array.shape[axis], axis)
        return rows

    def attempt(self, sizes: Sizes) -> Arrays | None:
        """The outputs for values of these sizes, or None where the model refuses."""
        if any(np.prod(shape_of(dims, sizes), dtype=object) > MOST_ELEMENTS for dims in self.dims.values()):
            self.last_error = f"over {MOST_ELEMENTS:,} values in one input"
            return None
        inputs = self.draw(sizes)
        outputs = self.answer(inputs)
        if outputs is not None:
            self.observed.append((dict(sizes), inputs, outputs))
        return outputs

    def answer(self, inputs: Arrays) -> Arrays | None:
        """The outputs, or None where the model refuses."""
        try:
            return self.call(inputs)
        except Exception as error:
            self.last_error = " ".join(str(error).split())[:300]
            return None

    def vary(self, fixed: set[str]) -> list[str]:
        """Try each open dimension but those at other sizes, so that outputs show which of theirs follow it.

        The dimensions of which no other size was answered.
        """
        single = []
        for symbol in self.symbols():
            others = [size for size in SIZES if size != self.sizes[symbol]] if symbol not in fixed else []
            if others and not any(self.attempt(self.sizes | {symbol: size}) is not None for size in others):
                single.append(symbol)
        return single


def shape_of(dims: Dims, sizes: Sizes) -> tuple[int, ...]:
    """A shape of dimensions, the open ones as large as `sizes` says."""
    return tuple(sizes[d] if isinstance(d, str) else d for d in dims)
