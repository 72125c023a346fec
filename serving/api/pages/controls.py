"""Fields as a page shows them, and what a submitted form says as a payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from bentos.certificate import Histogram
from bentos.contract import Field, Fields

SLIDER_STEPS = 10_000  # more whole numbers than these are typed, not slid
AROUND = 1.5  # how far a slider reaches beyond what is usual, in widths of it
UNKNOWN = ".unknown"  # what a form adds to the name of a nullable field for its “unknown” box


@dataclass(frozen=True)
class Control:
    """One field with what is in it, what is wrong with that, and where training saw it: most values lie in `usual`."""

    field: Field
    value: Any = ""  # a number or a text, or what somebody typed instead of one; None is unknown
    error: str = ""
    usual: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """The name of the field as people read it."""
        return self.field.label or self.field.name.replace("_", " ").capitalize()

    @property
    def kind(self) -> str:
        """`select`, or the type of its input element: `checkbox`, `text` or `number`."""
        if self.field.choices:
            return "select"
        return {bool: "checkbox", str: "text"}.get(self.field.type, "number")

    @property
    def word(self) -> Any:
        """What is chosen of a field with choices; what else is in it, as it is."""
        known = isinstance(self.value, int | float) and self.value in self.field.choices
        return self.field.choices[int(self.value)] if known else self.value

    @property
    def step(self) -> float:
        """A round step that divides the slider into a hundred to a thousand parts; 1 for whole numbers."""
        low, high = self._reach()
        return 1 if self.field.type is int else float(f"{10.0 ** floor(log10((high - low) / 100)):g}")

    @property
    def ends(self) -> tuple[float, float]:
        """Where the slider begins and ends: what is usual and as much again around it, within the bounds."""
        low, high = self._reach()
        low, high = floor(low / self.step) * self.step, ceil(high / self.step) * self.step
        return _round(max(low, self.field.low)), _round(min(high, self.field.high))

    def _reach(self) -> tuple[float, float]:
        if self.usual is None:
            return self.field.low, self.field.high
        low, high = self.usual
        return max(self.field.low, low - AROUND * (high - low)), min(self.field.high, high + AROUND * (high - low))

    @property
    def bounds(self) -> str:
        """`1 – 100, mostly 2 – 17`"""
        words = f"{_plain(self.field.low)} – {_plain(self.field.high)}"
        return f"{words}, mostly {_plain(self.usual[0])} – {_plain(self.usual[1])}" if self.usual else words

    @property
    def slides(self) -> bool:
        """Whether it has a slider beside it: a number of few enough steps."""
        if self.kind != "number":
            return False
        low, high = self.ends
        return (high - low) / self.step <= SLIDER_STEPS


def controls(
    payload: Fields, values: Mapping[str, Any], errors: Mapping[str, str], reference: Mapping[str, Histogram]
) -> list[Control]:
    """A control per field; `reference` is the certificate's histograms of the training data."""
    return [
        Control(f, values.get(f.name, ""), errors.get(f.name, ""), _usual(reference.get(f"input:{f.name}")))
        for f in payload.fields
    ]


def _plain(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 10_000 else f"{number:.5g}"


def _usual(histogram: Histogram | None) -> tuple[float, float] | None:
    """The first and the last decile."""
    edges = histogram.edges if histogram else ()
    return (_round(edges[0]), _round(edges[-1])) if len(edges) > 1 and edges[0] < edges[-1] else None


def _round(number: float) -> float:
    return float(f"{number:.5g}")


def defaults(payload: Fields) -> dict[str, Any]:
    """The payload that a page begins with, by field; None where a field has no default."""
    return {f.name: None if f.default is None else _shown(f, f.default) for f in payload.fields}


def _shown(field: Field, value: float | str) -> Any:
    """A value that its author gives, as JSON shows it."""
    if field.choices:
        return field.choices[int(value)]
    return bool(value) if field.type is bool else value


def submitted(form: Mapping[str, str], payload: Fields) -> dict[str, Any]:
    """A form's texts as a payload, unchecked: what is no number stays text, so that the complaint can show it."""
    known = {f.name for f in payload.fields} | {f.name + UNKNOWN for f in payload.fields}
    values: dict[str, Any] = {name: text for name, text in form.items() if name not in known}
    for field in payload.fields:
        text = form.get(field.name, "").strip()
        if field.type is str:
            values[field.name] = form.get(field.name, "")
        elif field.nullable and (field.name + UNKNOWN in form or not text):
            values[field.name] = None
        elif field.type is bool:
            values[field.name] = text not in ("", "false")  # a box that is not ticked is not sent
        elif text:
            values[field.name] = text if text in field.codes else _number(text)
    return values


def _number(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def complaints_by_field(complaints: Sequence[str], payload: Fields) -> dict[str, str]:
    """Each complaint under the field that it begins with; what is about no field is under ''."""
    by_field: dict[str, str] = {}
    for words in complaints:
        name = words.partition(" ")[0]
        name = name if name in {f.name for f in payload.fields} else ""
        by_field[name] = f"{by_field[name]}; {words}" if name in by_field else words
    return by_field
