"""All that a model author must know: what a model is, what its callers send, and the recipe that trains it.

A model is one folder `bentos/<name>/`:

- `model.py` says `MODEL = Model(...)`: payload, signature and, where the defaults do not fit, preprocess and
  postprocess. It is what serving imports, so it needs NumPy and Pillow at most.
- `recipe.py` says `RECIPE = Recipe(...)`: where the data comes from, how to fit, what conversion may cost.
- `examples.json` is a list of payloads, shared by the pages, Swagger, the tests and the load tests.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

BENTOS = Path(__file__).parent
# Open Inference Protocol datatypes → NumPy. BYTES are Python's `str`, as engines take text, and UTF-8 on the wire; BF16
# is its 16 bits. NumPy has no type of its own for either.
DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
    "BF16": np.dtype(np.uint16),
}
FLOATS = ("FP16", "FP32", "FP64", "BF16")
BATCH = "batch"
# Best first: the order in which the plain name of a model picks among its certified forms.
FORMS = ("optimized", "onnx", "pytorch", "sklearn", "xgboost", "lightgbm", "int8")
FRAMEWORKS = ("pytorch", "sklearn", "xgboost", "lightgbm")  # each a file in bentos/frameworks/
# Kinds of picture files, as Pillow calls those that it decodes in C.
PICTURE_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
SHOWN_CHOICES = 20  # in words that say what is allowed
LONGEST_TEXT = 256  # characters of a field that is a text, where it does not say how many


class PayloadError(ValueError):
    """A payload that its model cannot take; the message names the field, the value and what is allowed."""


class UnknownError(PayloadError):
    """A payload that asks for something which is not here: answered 404, not 400."""


class ModelError(ValueError):
    """A folder that holds no model yet: one line that names the file, the key, the value and what is allowed."""


@dataclass(frozen=True)
class Tensor:
    """A named tensor of a signature. Each dimension is a size, a name, or −1 where any size will do.

    Dimensions of one name have one size within a request. `"batch"`, wherever it stands, is the batch; where it stands
    nowhere, a −1 in first place is. A tensor may have no batch, and a scalar no dimension at all. An open first
    dimension that is not the batch needs a name.
    """

    name: str
    datatype: str
    shape: tuple[int | str, ...]

    def __post_init__(self) -> None:
        if self.datatype not in DATATYPES:
            raise ValueError(f"tensor {self.name!r}: datatype {self.datatype!r} is none of {', '.join(DATATYPES)}")
        if not all((d == -1 or d > 0) if isinstance(d, int) else d for d in self.shape) or (
            self.shape.count(BATCH) > 1
        ):
            raise ValueError(
                f"tensor {self.name!r}: shape {list(self.shape)} must be of positive sizes, names and -1,"
                f" and {BATCH!r} at most once"
            )

    @property
    def dtype(self) -> np.dtype[Any]:
        return DATATYPES[self.datatype]

    @cached_property
    def batch_axis(self) -> int | None:
        """The place of the batch dimension, if there is one."""
        if BATCH in self.shape:
            return self.shape.index(BATCH)
        return 0 if self.shape[:1] == (-1,) else None

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The shape as protocols show it: −1 for every dimension that is no size."""
        return tuple(d if isinstance(d, int) else -1 for d in self.shape)

    def shape_of(self, sizes: Mapping[str, int], n_rows: int = 1, rest: int = 1) -> tuple[int, ...]:
        """A shape that fits: the batch is `n_rows`, a name has its size of `sizes`, any other open dimension `rest`."""
        axis = self.batch_axis
        return tuple(
            n_rows if place == axis else sizes.get(d, rest) if isinstance(d, str) else rest if d == -1 else d
            for place, d in enumerate(self.shape)
        )

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.sizes)}


def float32_to_bfloat16(values: np.ndarray) -> np.ndarray:
    """The nearest BF16, ties to even; NaN stays NaN. float32 of any shape → uint16"""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)


def bfloat16_to_float32(bits: np.ndarray) -> np.ndarray:
    """BF16 as its 16 bits → the same numbers. uint16 of any shape → float32"""
    widened: np.ndarray = (bits.astype(np.uint32) << 16).view(np.float32)
    return widened


@dataclass(frozen=True)
class Signature:
    """The tensors that go in and come out, and two facts of the model that were found out by running it.

    `batched`: rows of several requests may be joined along the batch dimension, and are answered as they are alone.
    Inputs without a batch must then be equal in all requests that are joined, and outputs without one are the same for
    all. What is not batched is one request, one engine call, whatever its dimensions are called.
    `finite`: NaN and infinities in its inputs are refused. Of a model with a folder, `Model.finite` says so.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batched: bool = True
    finite: bool = True

    def __post_init__(self) -> None:
        if self.batched and all(tensor.batch_axis is None for tensor in self.inputs):
            raise ValueError("batched=True: no input has a batch dimension")

    @cached_property
    def input_axes(self) -> tuple[int | None, ...]:
        """Where the batch stands in each input; None where it does not, and everywhere if nothing is joined."""
        return tuple(tensor.batch_axis if self.batched else None for tensor in self.inputs)

    @cached_property
    def output_axes(self) -> tuple[int | None, ...]:
        """Where the batch stands in each output."""
        return tuple(tensor.batch_axis if self.batched else None for tensor in self.outputs)

    def n_rows(self, inputs: Sequence[np.ndarray]) -> int:
        """The rows of a request or a batch; 1 where nothing is joined."""
        for array, axis in zip(inputs, self.input_axes, strict=True):
            if axis is not None:
                return len(array) if axis == 0 else int(array.shape[axis])
        return 1

    @cached_property
    def rows_alike(self) -> bool:
        """Whether every tensor has the batch first and all other dimensions fixed: one row is like any other."""
        return (
            self.batched
            and all(axis == 0 for axis in (*self.input_axes, *self.output_axes))
            and all(isinstance(d, int) and d > 0 for t in (*self.inputs, *self.outputs) for d in t.shape[1:])
        )

    def as_dict(self) -> dict[str, Any]:
        return {"inputs": [t.as_dict() for t in self.inputs], "outputs": [t.as_dict() for t in self.outputs]}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Signature:
        def tensors(rows: Sequence[Mapping[str, Any]]) -> tuple[Tensor, ...]:
            return tuple(Tensor(r["name"], r["datatype"], tuple(r["shape"])) for r in rows)

        return cls(tensors(value["inputs"]), tensors(value["outputs"]))


@dataclass(frozen=True)
class Field:
    """One named value of a tabular payload: a number with its bounds (inclusive) and its unit, a text, or one of
    `choices`.

    Choices are codes with their words: JSON takes either, the model sees the code. Bounds and type follow from them.
    The bounds of a text (`type=str`) are its length in characters: 0 to 256, where nothing is said.
    """

    name: str
    doc: str
    low: float = -math.inf
    high: float = math.inf
    default: float | str | None = None
    unit: str = ""
    type: type = float
    nullable: bool = False  # may be null or left out: the model then sees NaN
    choices: Mapping[int, str] = field(default_factory=dict)  # code → word
    label: str = ""  # what people see, where the name is the wire's
    into: str = ""  # the input that it is a column of; the first one, if nothing is said

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ModelError(f"field name {self.name!r}: it must be letters, digits and _, not beginning with a digit")
        if self.type not in (float, int, bool, str):
            raise ModelError(f"field {self.name}: type={self.type!r} must be float, int, bool or str")
        if self.choices:
            self._bound_by_choices()
        elif self.type is str:
            self._bound_by_length()
        elif not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ModelError(f"field {self.name}: low= and high= must be numbers, or choices= say what there is")
        if not self.low <= self.high:
            raise ModelError(f"field {self.name}: low={self.low:g} is above high={self.high:g}")
        if self.default is None:
            return
        if self.choices or self.type is str:
            right = self.default in self.choices or (self.type is str and self.allows(self.default))
        else:  # also of a bool 0 or 1
            right = not isinstance(self.default, str) and self.low <= self.default <= self.high
        if not right:
            shown = json.dumps(self.default, ensure_ascii=False)
            raise ModelError(f"field {self.name}: default={shown} must be {self.allowed()}")

    def _bound_by_length(self) -> None:
        for name, bound, length in (("low", self.low, 0), ("high", self.high, LONGEST_TEXT)):
            bound = length if math.isinf(bound) else bound
            if bound != int(bound) or bound < 0:
                raise ModelError(f"field {self.name}: {name}={bound:g} must be a number of characters")
            object.__setattr__(self, name, int(bound))
        if self.nullable:
            raise ModelError(f"field {self.name}: a text is never null: nullable=True is for numbers; it may be empty")

    def _bound_by_choices(self) -> None:
        if wrong := [code for code in self.choices if type(code) is not int]:
            raise ModelError(f"field {self.name}: choices: the code {wrong[0]!r} must be a whole number")
        if no_words := [word for word in self.choices.values() if not isinstance(word, str) or not word.strip()]:
            raise ModelError(f"field {self.name}: choices: {no_words[0]!r} must be a word")
        if len(self.codes) < len(self.choices):
            raise ModelError(f"field {self.name}: choices: two codes have one word")
        bounds = (min(self.choices), max(self.choices))
        if self.type in (bool, str) or (self.low, self.high) not in ((-math.inf, math.inf), bounds):
            raise ModelError(f"field {self.name}: bounds and type follow from choices=: leave low, high and type out")
        for name, value in zip(("low", "high", "type"), (*bounds, int), strict=True):
            object.__setattr__(self, name, value)

    @cached_property
    def codes(self) -> dict[str, int]:
        """word → code"""
        return {word: code for code, word in self.choices.items()}

    def allows(self, value: Any) -> bool:
        """Whether a JSON value is one of this field's."""
        if value is None:
            return self.nullable
        if isinstance(value, str):
            return self.low <= len(value) <= self.high if self.type is str else value in self.codes
        if self.type is bool or type(value) is bool:
            return self.type is bool and type(value) is bool
        if self.type is str or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return value in self.choices if self.choices else self.type is float or value == int(value)

    def encode(self, value: Any) -> Any:
        """A JSON value that is allowed, as the model takes it: a number, a text or None, of a word its code."""
        if isinstance(value, str):
            return value if self.type is str else self.codes[value]
        return None if value is None else self.type(value)

    def allowed(self) -> str:
        """`a whole number from 1 to 100 floors, or null`: the words that errors, Swagger and pages share."""
        if self.type is bool:
            words = "true or false"
        elif self.choices:
            named = [f"{word} ({code})" for code, word in self.choices.items()]
            more = [f"… of {len(named)}"] if len(named) > SHOWN_CHOICES else []
            words = f"one of {', '.join(named[:SHOWN_CHOICES] + more)}"
        elif self.type is str:
            words = f"a text of {f'{self.low} to ' if self.low else 'at most '}{self.high} characters"
        else:
            kind = "a whole number" if self.type is int else "a number"
            words = f"{kind} from {self.low:.10g} to {self.high:.10g}{' ' + self.unit if self.unit else ''}"
        return words + (", or null" if self.nullable else "")


@dataclass(frozen=True)
class Fields:
    """A tabular payload: an object of named fields, or a list of such objects."""

    fields: tuple[Field, ...]
    at_most: tuple[tuple[str, str], ...] = ()  # (lesser, greater): combinations that can exist have lesser ≤ greater

    def __post_init__(self) -> None:
        known = [f.name for f in self.fields]
        if twice := sorted({name for name in known if known.count(name) > 1}):
            raise ModelError(f"field {twice[0]} is there twice")
        if unknown := [name for pair in self.at_most for name in pair if name not in known]:
            raise ModelError(f"at_most: {unknown[0]!r} is no field: there is {', '.join(known)}")
        compared = {name for pair in self.at_most for name in pair}
        if texts := [f.name for f in self.fields if f.type is str and f.name in compared]:
            raise ModelError(f"at_most: {texts[0]} is a text: numbers are compared")


@dataclass(frozen=True)
class Image:
    """A payload that is a picture file, as people send them: any size, colour mode and polarity."""


@dataclass(frozen=True)
class Text:
    """A payload that is a text: `{"text": "…"}`, a string, a list of either, or a body of text/plain."""

    longest: int = 16_384  # characters; a longer one is refused before preprocess sees it

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise ModelError(f"longest={self.longest} must be at least 1 character")


Payload = Fields | Image | Text
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Route:
    """`POST <path>`: the model asked and answering in the words of another service, for that service's clients.

    Limits, keys, batches, metrics, logs and `?form=` are as on every route. `read` takes a body's JSON and gives
    payloads, each as `Model.preprocess` takes one, and whatever `answer` wants to know of the request; it raises
    PayloadError (400) or UnknownError (404). `answer` takes that, the arrays of each payload in the signature's order,
    (1, …) each, and the outputs of all; it gives JSON, in which arrays may be.
    """

    path: str
    doc: str
    example: Any  # a body, tried at every start and shown in Swagger
    read: Callable[[Any], tuple[list[Any], Any]]
    answer: Callable[[Any, Sequence[Sequence[np.ndarray]], Arrays], Any]
    error: Callable[[int, str], Any] | None = None  # (status, words) → JSON, where `{"error": "…"}` is not understood


@dataclass(frozen=True)
class Model:
    """A served unit: `POST /<name>/<verb>` for people, `/v2/models/<name>` for machines.

    Preprocess takes ONE payload (a dict of field values, or the bytes of a file) and gives one row per input tensor;
    postprocess takes a batch of output tensors, and `parameters` by name, and gives one JSON-able answer per row. Both
    have defaults: fields in their order as the columns of the input that each goes into, and a label with probabilities
    (classifiers) or the value itself (regressors).
    """

    name: str
    title: str
    doc: str
    verb: str
    payload: Payload | None  # None: spoken to in tensors only
    signature: Signature
    labels: tuple[str, ...] = ()  # of a classifier; empty for a regressor
    unit: str = ""  # of a regressor's value
    synthetic: str = ""  # said wherever the model shows, if its data is made up
    finite: bool = True  # whether V2 refuses NaN and infinities in its inputs
    network: str = ""  # "module:make" of a torch.nn.Module, a class or a function, for the pytorch form
    network_arguments: Mapping[str, Any] = field(default_factory=dict)  # what it is called with
    preprocess: Callable[[Any], tuple[np.ndarray, ...]] | None = None
    postprocess: Callable[..., list[dict[str, Any]]] | None = None
    parameters: tuple[Field, ...] = ()  # of postprocess, each with a default; a request's query may give others
    quantities: Callable[[Arrays], Arrays] | None = None  # what drift watches, by name: inputs → (n,) each
    columns: tuple[str, ...] = ()  # what the columns of the one input are called, where there are no fields
    routes: tuple[Route, ...] = ()  # beside `/<name>/<verb>`

    def rows(self, payload: Any) -> tuple[np.ndarray, ...]:
        """One checked payload → one row per input tensor, without the batch dimension. PayloadError"""
        if isinstance(self.payload, Text) and isinstance(payload, str) and len(payload) > self.payload.longest:
            raise PayloadError(f"the text has {len(payload):,} characters, at most {self.payload.longest:,} are taken")
        if self.preprocess is not None:
            return self.preprocess(payload)
        rows = []
        for names, dtype, shape in self._layout:
            row = np.array([payload[name] for name in names], dtype)  # of None NumPy makes NaN
            rows.append(row if shape else row.reshape(()))
        return tuple(rows)

    @cached_property
    def columns_by_input(self) -> tuple[tuple[Tensor, tuple[Field, ...]], ...]:
        """Each input with the fields that are its columns, in their order."""
        fields = self.payload.fields if isinstance(self.payload, Fields) else ()
        first = self.signature.inputs[0].name
        return tuple((t, tuple(f for f in fields if (f.into or first) == t.name)) for t in self.signature.inputs)

    @cached_property
    def _layout(self) -> tuple[tuple[tuple[str, ...], np.dtype[Any], tuple[int, ...]], ...]:
        """Names of the fields, dtype and shape of one row, of each input."""
        return tuple((tuple(f.name for f in fs), t.dtype, t.sizes[1:]) for t, fs in self.columns_by_input)

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        return {f.name: f.type(f.default) for f in self.parameters}

    def answers(self, outputs: Arrays, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """A batch of output tensors → one answer per row; `parameters` are those that are not to have their default."""
        if self.postprocess is not None:
            return self.postprocess(outputs, **{**self._defaults, **(parameters or {})})
        if not self.labels:
            (value,) = (o.reshape(-1) for o in outputs.values())
            return [{self.signature.outputs[0].name: round(float(v), 2)} for v in value]
        probabilities = class_probabilities(outputs)
        best = outputs["label"] if "label" in outputs else probabilities.argmax(1)
        return [
            {
                "label": self.labels[int(b)],
                "probabilities": {n: round(float(p), 6) for n, p in zip(self.labels, row, strict=True)},
            }
            for b, row in zip(best, probabilities, strict=True)
        ]

    def watched(self, inputs: Arrays) -> Arrays:
        """The inputs' quantities that drift is measured on. name → (n,) numbers, or texts, which are categories"""
        if self.quantities is not None:
            return self.quantities(inputs)
        if self.payload is None:
            return self._of_tensors(inputs)
        if not isinstance(self.payload, Fields):
            return {}
        sizes = [tensor.sizes[1:] for tensor in self.signature.inputs]
        if self.preprocess is not None and sizes != [(len(self.payload.fields),)]:
            return self._of_tensors(inputs)
        return {
            f.name: inputs[tensor.name] if len(tensor.shape) == 1 else inputs[tensor.name][:, column]
            for tensor, fields in self.columns_by_input
            for column, f in enumerate(fields)
        }

    @cached_property
    def coded(self) -> dict[str, Field]:
        """The watched quantities that are codes as they were sent, and so categories: fields with choices, by name."""
        if self.preprocess is not None or self.quantities is not None or not isinstance(self.payload, Fields):
            return {}
        return {f.name: f for f in self.payload.fields if f.choices}

    def _of_tensors(self, inputs: Arrays) -> Arrays:
        """The columns of a table by their names; of any other numbers the mean and the spread of each row."""
        quantities: Arrays = {}
        for tensor, axis in zip(self.signature.inputs, self.signature.input_axes, strict=True):
            if axis is None or tensor.datatype in ("BYTES", "BF16"):
                continue
            rows = np.moveaxis(inputs[tensor.name], axis, 0).astype(np.float64)
            rows = rows.reshape(len(rows), -1)
            if rows.shape[1] == len(self.columns):
                quantities |= {name: rows[:, i] for i, name in enumerate(self.columns)}
            elif rows.shape[1]:
                quantities |= {f"{tensor.name} mean": rows.mean(1), f"{tensor.name} spread": rows.std(1)}
        return quantities

    def predicted(self, outputs: Arrays) -> Arrays:
        """The predictions' quantities: `class` and `confidence` of a classifier, `value` of a regressor. (n,) each

        Nothing, where a row is answered with more than one value that are no classes'.
        """
        if not self.labels:
            first = next(iter(outputs.values()))
            return {"value": first.reshape(-1)} if first.size == len(first) and first.dtype.kind in "fiu" else {}
        probabilities = class_probabilities(outputs, len(self.labels))
        return {"class": probabilities.argmax(1), "confidence": probabilities.max(1)}


def class_probabilities(outputs: Arrays, n_classes: int = 0) -> np.ndarray:
    """(n, classes), from `probabilities` where the model gives them, else the softmax of `logits`.

    Of other names, the first output with `n_classes` columns: as it is, where its rows are shares of 1.
    """
    if "probabilities" in outputs:
        return outputs["probabilities"]
    if "logits" not in outputs:
        scores = next(o for o in outputs.values() if o.dtype.kind == "f" and o.shape[1:] == (n_classes,))
        if (scores >= 0).all() and (abs(scores.sum(1) - 1) < 1e-3).all():
            return scores
        outputs = {"logits": scores}
    logits = outputs["logits"].astype(np.float64)
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: np.ndarray = exponentials / exponentials.sum(1, keepdims=True)
    return probabilities


def table(inputs: Arrays) -> np.ndarray:
    """The columns of all inputs side by side, as scikit-learn takes them: (n, columns), of objects if one has texts."""
    columns = [array.reshape(len(array), -1) for array in inputs.values()]
    if len(columns) == 1:
        return columns[0]
    texts = any(array.dtype == object for array in columns)
    return np.concatenate([array.astype(object) for array in columns] if texts else columns, 1)


@dataclass(frozen=True)
class Split:
    """Rows as the model's input takes them, of several inputs by name, and what should come out. (n, …) and (n,)"""

    inputs: Any  # an array, or a mapping of arrays by input
    targets: np.ndarray

    def tensors(self, signature: Signature) -> Arrays:
        """The rows by input, in the signature's order."""
        if isinstance(self.inputs, Mapping):
            return {tensor.name: self.inputs[tensor.name] for tensor in signature.inputs}
        return {signature.inputs[0].name: self.inputs}


@dataclass(frozen=True)
class Data:
    """What a recipe trains on, what it is judged on, and where both came from.

    `files` are all that `load` read beside what its options name: `--if-changed` trains again where one has changed.
    `options` are those that `load` was given, for `fit`; whoever trains fills them in.
    """

    train: Split
    held_out: Split
    source: str
    files: tuple[Path, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tolerance:
    """What a form may cost against the trained form on held-out data; a figure above any of these refuses it."""

    difference: float | None = None  # max |output − trained output|
    relative: bool = False  # difference is of |trained output|
    labels_equal: bool = False
    metric_loss: float | None = None  # of the recipe's headline metric, 0.005 = half a point of accuracy


@dataclass(frozen=True)
class Recipe:
    """How a model is made: `load(options)` → `fit(data, seed, progress)` → the trained object.

    `fit` finds the options in `data.options`.

    The framework says how it is saved (pytorch: safetensors, sklearn: skops, …) and exported to ONNX. `tolerances` has
    an entry per form beside the trained one, in the order in which convert makes them.
    """

    framework: str  # one of FRAMEWORKS
    load: Callable[[Mapping[str, str]], Data]
    fit: Callable[[Data, int, Callable[[Iterator[Any], str], Iterator[Any]]], Any]
    tolerances: Mapping[str, Tolerance]
    score: Callable[[np.ndarray, Arrays], dict[str, float]]  # (targets, outputs) → metrics, the headline first
    floor: float | None = None  # training fails below this headline metric
    options: Mapping[str, str] = field(default_factory=dict)  # command-line options of load: name → help
    report: Callable[[Data, Arrays, Path], None] | None = None  # plots for the author, into a folder

    def __post_init__(self) -> None:
        if self.framework not in FRAMEWORKS:
            raise ModelError(f"framework={self.framework!r} must be one of {', '.join(FRAMEWORKS)}")
        if unknown := [form for form in self.tolerances if form not in FORMS]:
            raise ModelError(f"tolerances: {unknown[0]!r} is no form: there is {', '.join(FORMS)}")


def places() -> list[Path]:
    """The folders that hold models' folders: bentos/, and those that EKIBEN_BENTOS names (../mine:../theirs)."""
    return [BENTOS, *(Path(p).resolve() for p in os.environ.get("EKIBEN_BENTOS", "").split(os.pathsep) if p)]


def names() -> list[str]:
    """The models that have a folder, in alphabetical order."""
    return sorted({p.parent.name for place in places() for p in place.glob("*/model.py")})


def folder(name: str) -> Path:
    """The folder of a model. ModelError where two places have one of this name."""
    folders = [place / name for place in places() if (place / name).is_dir()]
    if len(folders) > 1:
        raise ModelError(f"there are two models {name!r}: {' and '.join(map(str, folders))}; rename one of them")
    return folders[0] if folders else BENTOS / name


def shown(name: str) -> str:
    """The folder of a model as messages name it: `bentos/iris`, or the path of one that lies elsewhere."""
    own = folder(name)
    return f"bentos/{name}" if own.parent == BENTOS else str(own)


def model(name: str) -> Model:
    """The model of folder <name>. KeyError names the folders there are; ModelError says what is wrong in it."""
    from bentos import folders  # which knows this module

    if name not in names():
        raise KeyError(f"no model {name!r}: there is {', '.join(names())}")
    return folders.model(name)


def recipe(name: str) -> Recipe:
    """The recipe of folder bentos/<name>. ModelError says what is wrong in it."""
    from bentos import folders

    return folders.recipe(model(name))


def examples(name: str) -> list[Any]:
    """The payloads of bentos/<name>/examples.json; a picture is given as the path of a file beside it."""
    payloads: list[Any] = json.loads((folder(name) / "examples.json").read_text())
    return payloads
