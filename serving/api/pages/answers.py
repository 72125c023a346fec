"""What the forms of a model answer, as cards; the page's script fills the same cards from the native routes' JSON."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from serving.api.payloads.rows import answers
from serving.errors import BadInput
from serving.inference.dataplane import DataPlane, LoadedForm
from serving.inference.jobs import Client

WHO = ("model", "form", "version")
SHOWN_NUMBERS, SHOWN_LABELS = 4, 8


@dataclass(frozen=True)
class Card:
    """One form's answer: a label with probabilities, or a value, or whatever else its postprocess gives."""

    form: str
    answer: dict[str, Any]
    milliseconds: float

    @property
    def headline(self) -> str:
        """The label, or the one value."""
        return str(self.answer["label"]) if "label" in self.answer else figure(next(iter(self.answer.values()), ""))

    @property
    def bars(self) -> dict[str, float]:
        """Label → probability in [0, 1]; empty where the model gives none."""
        probabilities = self.answer.get("probabilities")
        return probabilities if isinstance(probabilities, dict) else {}

    @property
    def sureness(self) -> float | None:
        """The probability of the label in [0, 1]; None where the model gives none."""
        return self.bars.get(self.headline)


async def ask(forms: list[LoadedForm], inputs: list[np.ndarray], plane: DataPlane, client: Client) -> list[Card]:
    """Each form's answer to one preprocessed payload, in their order."""
    cards = []
    for form in forms:
        started = perf_counter()
        outputs = await plane.infer(form, inputs, 1, client)
        took = (perf_counter() - started) * 1e3
        (answer,) = answers(form, outputs)
        cards.append(Card(form.form, {k: v for k, v in answer.items() if k not in WHO}, took))
    return cards


def figure(value: Any) -> str:
    """A number as people read it: 0.9035, 12,345,678; of a list how many and the first, of finds the labels."""
    if isinstance(value, list) and all(isinstance(one, dict) and {"label", "score"} <= one.keys() for one in value):
        labels = [f"{one['label']} {one['score']:.2f}" for one in value[:SHOWN_LABELS]]
        return ", ".join(labels + ["…"] * (len(value) > SHOWN_LABELS)) or "nothing"
    if isinstance(value, list) and len(value) > SHOWN_NUMBERS:
        return f"{len(value)} values: {', '.join(map(figure, value[:SHOWN_NUMBERS]))}, …"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def score(value: Any, metric: str, unit: str = "") -> str:
    """A metric as people read it: mape in percent, mae in the unit of what is predicted."""
    if metric == "mape" and isinstance(value, int | float):
        return f"{value * 100:.3g} %"
    return f"{figure(value)} {unit}".strip() if metric == "mae" else figure(value)


def picture(row: np.ndarray) -> bytes:
    """What the model saw, as PNG: (h, w), (1, h, w), (3, h, w) of any range. BadInput if it is no picture."""
    if row.ndim == 3:
        row = np.moveaxis(row, 0, -1) if row.shape[0] == 3 else row[0]
    if row.ndim not in (2, 3):
        raise BadInput(f"what this model sees is no picture: it has shape {list(row.shape)}")
    row = row.astype(np.float32)
    low, high = min(0.0, float(row.min())), max(1.0, float(row.max()))
    file = BytesIO()
    Image.fromarray(np.rint((row - low) / (high - low) * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
