"""Pictures as squares, and what a detector gives as boxes."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from bentos import boxes
from bentos.contract import PayloadError

LABELS = ("cat", "dog")


def candidates(*rows: tuple[float, ...]) -> np.ndarray:
    """(centre x, centre y, width, height, cat, dog) each → (6, n)"""
    return np.array(rows, np.float32).T


def test_a_box_is_in_shares_of_the_side_and_the_surest_comes_first() -> None:
    output = candidates((160, 80, 64, 32, 0.3, 0.1), (32, 32, 128, 16, 0.2, 0.9))
    assert boxes.found(output, LABELS, 320) == [
        {"label": "dog", "score": 0.9, "box": [0, 0.075, 0.3, 0.125]},  # cut at the edge
        {"label": "cat", "score": 0.3, "box": [0.4, 0.2, 0.6, 0.3]},
    ]


def test_a_threshold_leaves_out_what_is_below_it() -> None:
    output = candidates(*((40 * i + 20, 20, 20, 20, score, 0) for i, score in enumerate((0.25, 0.5, 0.75))))
    assert [len(boxes.found(output, LABELS, 320, threshold)) for threshold in (0, 0.25, 0.26, 0.75, 1)] == [
        3,
        3,
        2,
        1,
        0,
    ]


def test_of_two_that_overlap_the_surer_stays_unless_they_are_of_two_labels() -> None:
    one, beside, other = (50, 50, 40, 40, 0.8, 0), (55, 50, 40, 40, 0.9, 0), (50, 50, 40, 40, 0, 0.7)
    found = boxes.found(candidates(one, beside, other), LABELS, 320)
    assert [(each["label"], each["score"]) for each in found] == [("cat", 0.9), ("dog", 0.7)]
    assert len(boxes.found(candidates(one, beside), LABELS, 320, overlap=0.8)) == 2


def by_hand(rectangles: np.ndarray, kinds: np.ndarray, overlap: float) -> list[int]:
    kept: list[int] = []
    for i in range(len(kinds)):
        for j in kept:
            width, height = (
                max(0.0, min(rectangles[2 + a, i], rectangles[2 + a, j]) - max(rectangles[a, i], rectangles[a, j]))
                for a in (0, 1)
            )
            sizes = [np.prod(rectangles[2:, k] - rectangles[:2, k]) for k in (i, j)]
            if kinds[i] == kinds[j] and width * height > overlap * (sum(sizes) - width * height):
                break
        else:
            kept.append(i)
    return kept


@pytest.mark.parametrize("seed", range(5))
def test_what_is_suppressed_is_what_the_definition_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.random((2, 2, 60))
    rectangles = np.concatenate([corners.min(0), corners.max(0)])
    kinds = random.integers(0, 3, 60)
    assert boxes.unsuppressed(rectangles, kinds, 0.3) == by_hand(rectangles, kinds, 0.3)


def test_the_work_is_bounded_whatever_the_threshold_is() -> None:
    random = np.random.default_rng(0)
    output = np.concatenate([random.uniform(0, 320, (2, 9000)), np.full((2, 9000), 1.0), random.random((2, 9000))])
    assert len(boxes.found(output.astype(np.float32), LABELS, 320, 0)) == boxes.MOST_BOXES


def test_scores_that_are_no_numbers_are_nothing_found() -> None:
    assert boxes.found(candidates((50, 50, 9, 9, np.nan, np.nan)), LABELS, 320, 0) == []


def test_an_output_of_other_labels_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="6 values a box are not 4 and one for each of 3 labels"):
        boxes.found(candidates((0, 0, 1, 1, 0, 0)), (*LABELS, "emu"), 320)


def file(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(64, 32), (32, 64), (400, 200), (1, 9), (7, 7)])
def test_the_longer_side_fills_the_square_and_the_rest_is_black(size: tuple[int, int]) -> None:
    pixels = boxes.square(file(Image.new("RGB", size, (255, 51, 0))), 32)
    assert pixels.shape == (3, 32, 32) and pixels.dtype == np.float32
    width, height = (max(1, round(32 * each / max(size))) for each in size)
    assert (pixels[:, :height, :width] == np.array([1, 0.2, 0], np.float32)[:, None, None]).all()
    assert pixels.sum() == pytest.approx(1.2 * width * height, rel=1e-5)


def test_a_picture_lies_as_its_camera_says() -> None:
    picture = Image.new("RGB", (40, 20))
    picture.paste((255, 255, 255), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: its left is up
    pixels = boxes.square(file(picture, "JPEG", exif=exif, quality=95), 40)[0]
    assert pixels[:18, :20].min() > 0.9 and pixels[22:, :20].max() < 0.1


@pytest.mark.parametrize("data", [b"", b"no picture", file(Image.new("L", (9, 9)))[:40]])
def test_what_is_no_picture_is_said(data: bytes) -> None:
    with pytest.raises(PayloadError, match="the picture cannot be read"):
        boxes.square(data, 32)
