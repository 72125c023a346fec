"""Handwritten digits: what callers send and what comes out."""

from __future__ import annotations

import numpy as np

from bentos.contract import Arrays, Image, Model, PayloadError, Signature, Tensor
from bentos.digits.ink import SIZE, centre, extract
from bentos.digits.picture import read_grey


def preprocess(data: bytes) -> tuple[np.ndarray, ...]:
    """Any picture of one digit, as MNIST has it. → (1, 28, 28) float32 in [0, 1], light on dark; PayloadError"""
    ink = extract(read_grey(data))
    digit = None if ink is None else centre(ink)
    if digit is None:
        raise PayloadError(
            "no digit found: image is blank; send a picture of one digit, dark on light or light on dark"
        )
    return (digit[None],)


def quantities(inputs: Arrays) -> Arrays:
    """How bright, how contrasty and how inky each picture is. (n, 1, 28, 28) → (n,) each"""
    pixels = inputs["image"].reshape(-1, SIZE * SIZE)
    return {"brightness": pixels.mean(1), "contrast": pixels.std(1), "ink": (pixels > 0.5).mean(1)}


MODEL = Model(
    name="digits",
    title="Handwritten digits",
    doc=(
        "Which digit a picture shows. Send a picture file of one digit: any size, colour or grey, dark on light or "
        "light on dark; it is found, cropped and centred. Tensors are as MNIST has them: 28 × 28 pixels in [0, 1], "
        "light on dark."
    ),
    verb="classify",
    payload=Image(),
    signature=Signature(
        inputs=(Tensor("image", "FP32", (-1, 1, SIZE, SIZE)),),
        outputs=(Tensor("logits", "FP32", (-1, 10)),),
    ),
    labels=tuple("0123456789"),
    network="bentos.digits.network:Network",
    preprocess=preprocess,
    quantities=quantities,
)
