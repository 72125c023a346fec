"""Digits that are written with other habits: what is drawn for training, and that the trained network reads them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from bentos.digits.model import preprocess

torch = pytest.importorskip("torch")
from bentos.digits import drawings, hands  # noqa: E402

# As a person would draw them on a sheet of 100 × 100, by eye and apart from the habits that are trained on.
UNSEEN = {
    "2 with a loop": [[
        (30, 30), (36, 20), (48, 15), (60, 20), (64, 32), (58, 48), (46, 64), (36, 78), (28, 83), (24, 78), (29, 72),
        (38, 72), (50, 79), (62, 84), (72, 80),
    ]],
    "2 with a wide loop": [[
        (28, 26), (42, 16), (58, 18), (66, 30), (60, 48), (46, 66), (32, 80), (22, 82), (18, 74), (26, 66), (38, 66),
        (52, 74), (66, 86),
    ]],
    "2 with a loop and no head": [[
        (52, 12), (52, 32), (46, 56), (36, 76), (26, 84), (20, 76), (28, 66), (42, 68), (56, 78), (72, 76),
    ]],
    "9 open at the top": [
        [(52, 18), (38, 22), (30, 34), (34, 46), (46, 48), (58, 40), (66, 30)], [(68, 20), (65, 50), (62, 85)],
    ],
    "9 open and slanted": [[
        (58, 16), (44, 22), (34, 34), (36, 44), (48, 44), (62, 34), (70, 24), (62, 52), (50, 70), (40, 84),
    ]],
    "9 with a hook": [[
        (64, 28), (50, 18), (37, 26), (36, 42), (50, 48), (63, 36), (66, 30), (68, 55), (62, 75), (48, 84), (32, 76),
    ]],
    "9 with a large bowl": [[
        (66, 24), (50, 15), (32, 28), (28, 52), (42, 66), (58, 52), (66, 24), (66, 50), (70, 84),
    ]],
    "4 open at the top": [[(34, 16), (30, 36), (32, 52), (50, 54), (70, 48)], [(62, 18), (60, 50), (56, 86)]],
    "6 with a small loop": [[
        (58, 14), (42, 34), (34, 58), (36, 78), (46, 84), (56, 76), (54, 64), (44, 62), (34, 72),
    ]],
    "1 with flag and foot": [[(38, 28), (52, 14), (52, 84)], [(32, 85), (70, 84)]],
}  # fmt: skip


def picture(strokes: list[list[tuple[int, int]]], width: int) -> bytes:
    """A PNG of dark strokes on white."""
    sheet, file = Image.new("L", (100, 100), 255), io.BytesIO()
    for stroke in strokes:
        ImageDraw.Draw(sheet).line(stroke, fill=0, width=width, joint="curve")
    sheet.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def read(store: Path):  # type: ignore[no-untyped-def]
    """Picture file → the digit that the stored ONNX form reads."""
    import onnxruntime

    folder = store / "models" / "digits-onnx"
    session = onnxruntime.InferenceSession(folder / (folder / "latest").read_text().strip() / "model.onnx")
    return lambda file: int(session.run(None, {"image": preprocess(file)[0][None]})[0].argmax())


@pytest.mark.parametrize("width", [4, 7, 10])
@pytest.mark.parametrize("name", UNSEEN)
def test_a_digit_of_another_habit_reads_right(name: str, width: int, read) -> None:  # type: ignore[no-untyped-def]
    assert read(picture(UNSEEN[name], width)) == int(name[0])


def seeded(seed: int) -> Any:
    return torch.Generator().manual_seed(seed)


def test_every_digit_is_written_equally_often_and_with_all_its_habits() -> None:
    assert {digit for digit, _, _ in hands.HABITS} == set(range(10))
    assert hands.write(40, seeded(0))[1].bincount().tolist() == [4] * 10


def test_writing_is_seeded_and_each_time_other() -> None:
    once, twice, other = (hands.write(20, seeded(seed))[0] for seed in (1, 1, 2))
    assert (once == twice).all()
    assert (once - other).abs().mean() > 0.2


def test_distances_are_those_to_the_stroke_in_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hands, "HABITS", tuple((digit, "upright", ("3,0 3,5 3,10",)) for digit in range(10)))
    monkeypatch.setattr(hands, "SHAKE", 0.0)
    fields, _ = hands.write(10, seeded(0))
    assert fields.shape == (10, 2, 56, 56)
    from_the_middle = (torch.arange(56) + 0.5) / 2 - 14
    assert (fields[0, 0, 28] - from_the_middle.abs()).abs().max() < 0.1
    assert fields[0, 0, 0, 28] == pytest.approx(14 - 10, abs=0.5)  # the digit is 20 pixels high


def test_strokes_that_share_a_corner_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    angle = (7, "angle", ("0,0 3,0 6,0", "6,0 4,5 2,10"))
    monkeypatch.setattr(hands, "HABITS", tuple((digit, *angle[1:]) for digit in range(10)))
    fields, _ = hands.write(50, seeded(0))
    ink = (fields[:, 0] < 0.8).numpy()
    assert all(n_parts(one) == 1 for one in ink)


def n_parts(ink: np.ndarray) -> int:
    from scipy.ndimage import label

    return int(label(ink, np.ones((3, 3)))[1])


def test_written_digits_are_as_many_as_asked_for_and_framed_as_served_ones() -> None:
    images, labels = drawings.written(199, 2, seeded(0), lambda steps, _: steps)
    assert images.shape == (200, 1, 28, 28) and labels.shape == (200,)
    assert images.min() >= 0 and images.max() <= 1
    assert (images.amax((1, 2, 3)) > 0.5).float().mean() > 0.99
