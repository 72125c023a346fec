"""What an answer means: all in a model's folder that turns a payload into tensors and tensors into an answer.

It is sealed into each certificate and decides the version, so that a form is never served with the labels, fields or
preprocessing of another folder than its own. Titles, docs, bounds and defaults are not part of it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

from bentos.contract import Fields, Model, Route
from bentos.source import source_digest

DEFAULT = "default"  # what the contract does where a model says nothing


@dataclass(frozen=True)
class FieldMeaning:
    """One column of a tabular payload: its place in the tuple is its place in the tensor."""

    name: str
    type: str
    unit: str
    nullable: bool
    # None where there is nothing to say, so that the version of a model that has none of these is as it was.
    choices: tuple[tuple[int, str], ...] | None = None
    into: str | None = None  # the input, of several

    def __str__(self) -> str:
        choices = ", ".join(f"{code} {word}" for code, word in self.choices or ())
        into = f"into {self.into}" if self.into else ""
        parts = (self.type, self.unit, "nullable" * self.nullable, choices, into)
        return f"{self.name} ({', '.join(filter(None, parts))})"


@dataclass(frozen=True)
class Meaning:
    """The parts that are compared; `preprocess`, `postprocess` and `quantities` are digests of their sources."""

    payload: str  # Fields, Image, Text or None
    fields: tuple[FieldMeaning, ...] = ()
    labels: tuple[str, ...] = ()
    unit: str = ""
    preprocess: str = DEFAULT
    postprocess: str = DEFAULT
    quantities: str = DEFAULT
    # None where there is nothing to say, as of a field.
    routes: tuple[tuple[str, str], ...] | None = None  # path, and digest of the sources of read, answer and error
    parameters: tuple[str, ...] | None = None  # of postprocess: `threshold=0.25`

    @classmethod
    def of(cls, model: Model) -> Meaning:
        """The meaning that a model's folder gives its answers."""
        payload = model.payload
        functions = {part: getattr(model, part) for part in ("preprocess", "postprocess", "quantities")}
        home = f"bentos.{model.name}.model"
        return cls(
            payload=type(payload).__name__ if payload is not None else "None",
            fields=_fields(model),
            labels=model.labels,
            unit=model.unit,
            routes=tuple((route.path, _route_digest(route, home)) for route in model.routes) or None,
            parameters=tuple(f"{f.name}={f.default}" for f in model.parameters) or None,
            **{part: source_digest(function, home) for part, function in functions.items() if function is not None},
        )

    def differences(self, folder: Meaning) -> list[str]:
        """Which parts of the folder's meaning are not as here, in words."""
        return [
            words
            for part in fields(self)
            if (words := _words(part.name, getattr(self, part.name), getattr(folder, part.name)))
        ]


def _route_digest(route: Route, home: str) -> str:
    functions = (route.read, route.answer, route.error)
    digests = [source_digest(function, home) for function in functions if function is not None]
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _fields(model: Model) -> tuple[FieldMeaning, ...]:
    if not isinstance(model.payload, Fields):
        return ()
    inputs = {f.name: tensor.name for tensor, fields in model.columns_by_input for f in fields}
    several = len(model.signature.inputs) > 1 and model.preprocess is None
    return tuple(
        FieldMeaning(
            f.name, f.type.__name__, f.unit, f.nullable,
            choices=tuple(sorted(f.choices.items())) or None,
            into=inputs.get(f.name) if several else None,
        )
        for f in model.payload.fields
    )  # fmt: skip


def _words(part: str, certified: object, folder: object) -> str:
    if certified == folder:
        return ""
    if part in ("preprocess", "postprocess", "quantities"):
        return f"the source of {part} changed"
    certified, folder = (() if side is None else side for side in (certified, folder))
    if part == "routes" and isinstance(certified, tuple) and isinstance(folder, tuple):
        changed = sorted({path for path, _ in {*certified} ^ {*folder}})
        return f"the source of route {', '.join(changed)} changed" if changed else ""
    if isinstance(certified, tuple) and isinstance(folder, tuple):
        return f"{part}: certified is {_listed(certified, folder)}, the folder says {_listed(folder, certified)}"
    return f"{part}: certified is {certified or 'none'!r}, the folder says {folder or 'none'!r}"


def _listed(own: tuple[object, ...], other: tuple[object, ...]) -> str:
    """Where the two differ, by place; how many, if the numbers differ."""
    if len(own) != len(other):
        return f"{len(own)} of them"
    return ", ".join(
        f"{place} {mine}" for place, (mine, theirs) in enumerate(zip(own, other, strict=True)) if mine != theirs
    )
