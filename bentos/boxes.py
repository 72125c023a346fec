"""For models that find things in pictures: a file as the square that they see, and what they give as boxes.

The picture lies in the upper left corner of the square, so that a place in shares of the square's side is one in shares
of the picture's longer side, whatever its size was.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from bentos.contract import PICTURE_FORMATS, PayloadError

MOST_CANDIDATES = 1000  # the surest boxes, which suppress each other: the work is as the square of their number
MOST_BOXES = 100  # of one picture


def square(file: bytes, side: int) -> np.ndarray:
    """A picture's colours, its longer side `side` pixels, the rest black. (3, side, side) float32 in [0, 1]

    PayloadError where it is no picture.
    """
    try:
        with Image.open(io.BytesIO(file), formats=PICTURE_FORMATS) as picture:
            picture.draft("RGB", (side, side))
            upright = ImageOps.exif_transpose(picture).convert("RGB")
    except Exception as error:  # Pillow's decoders raise anything on a broken file
        raise PayloadError(f"the picture cannot be read: {error}") from error
    longer = max(upright.size)
    width, height = (max(1, round(side * size / longer)) for size in upright.size)
    pixels = np.zeros((3, side, side), np.float32)
    pixels[:, :height, :width] = np.moveaxis(np.asarray(upright.resize((width, height))), 2, 0) / np.float32(255)
    return pixels


def found(
    output: np.ndarray, labels: Sequence[str], side: int, threshold: float = 0.25, overlap: float = 0.45
) -> list[dict[str, Any]]:
    """What a detector finds in one picture, the surest first: `{"label": "cat", "score": 0.9, "box": [0.1, 0.2, …]}`.

    output: (4 + labels, candidates), as YOLO of version 8 and later gives it: the box's centre, width and height in
    pixels of the square, and a score in [0, 1] for each label. A box is left, top, right, bottom, in shares of the
    side. Of two with one label whose intersection is more than `overlap` of their union, the surer stays.
    """
    if len(output) != 4 + len(labels):
        raise ValueError(f"{len(output)} values a box are not 4 and one for each of {len(labels)} labels")
    scores = output[4:].max(0)
    order = np.argsort(-scores, kind="stable")[:MOST_CANDIDATES]
    order = order[scores[order] >= threshold]
    kinds, scores = output[4:, order].argmax(0), scores[order]
    centres, halves = output[:2, order], output[2:4, order] / 2
    boxes = np.clip(np.concatenate([centres - halves, centres + halves]) / side, 0, 1).astype(np.float64)
    return [
        {"label": labels[kinds[i]], "score": round(float(scores[i]), 4), "box": boxes[:, i].round(4).tolist()}
        for i in unsuppressed(boxes, kinds, overlap)
    ]


def unsuppressed(boxes: np.ndarray, kinds: np.ndarray, overlap: float) -> list[int]:
    """The places of the boxes that stay; the surest come first. (4, n) left, top, right, bottom, and (n,)"""
    sizes = np.prod(boxes[2:] - boxes[:2], axis=0)
    left, kept = np.arange(len(kinds)), list[int]()
    while len(left) and len(kept) < MOST_BOXES:
        best, left = left[0], left[1:]
        kept.append(int(best))
        ends = np.minimum(boxes[2:, left], boxes[2:, [best]]) - np.maximum(boxes[:2, left], boxes[:2, [best]])
        shared = np.prod(ends.clip(0), axis=0)
        hidden = (kinds[left] == kinds[best]) & (shared > overlap * (sizes[left] + sizes[best] - shared))
        left = left[~hidden]
    return kept
