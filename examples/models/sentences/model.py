"""Sentences as vectors: what means the same lies close together."""

from __future__ import annotations

from typing import Any

import numpy as np
from bentos.sentences.openai import EMBEDDINGS, WIDTH
from bentos.sentences.tokens import UNKNOWN, ids

from bentos.contract import Arrays, Model, Signature, Tensor, Text


def preprocess(text: str) -> tuple[np.ndarray, ...]:
    """(tokens,) int64"""
    return (ids(text),)


def postprocess(outputs: Arrays) -> list[dict[str, Any]]:
    return [{"embedding": vector.astype(float).round(7).tolist()} for vector in outputs["embedding"]]


def quantities(inputs: Arrays) -> Arrays:
    """How many tokens each sentence has, and which share of them the vocabulary does not know."""
    present = (inputs["ids"] != 0).sum(1)
    return {"tokens": present, "unknown": (inputs["ids"] == UNKNOWN).sum(1) / np.maximum(present, 1)}


MODEL = Model(
    name="sentences",
    title="Sentences",
    doc=(
        "A vector of 384 numbers for an English sentence, by all-MiniLM-L6-v2. What means the same lies close together:"
        " the product of two vectors is their similarity. At most 256 tokens, some 200 words. As tensors: ids of word"
        " pieces, shorter rows padded with 0."
    ),
    verb="embed",
    payload=Text(),
    signature=Signature(
        inputs=(Tensor("ids", "INT64", ("batch", "tokens")),),
        outputs=(Tensor("embedding", "FP32", ("batch", WIDTH)),),
    ),
    network="bentos.sentences.network:Network",
    preprocess=preprocess,
    postprocess=postprocess,
    quantities=quantities,
    routes=(EMBEDDINGS,),
)
