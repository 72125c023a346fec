"""`POST /v1/embeddings` in the words of OpenAI's API, so that its clients need another base URL and nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bentos.contract import Arrays, PayloadError, Route, UnknownError

NAMES = ("sentences", "all-MiniLM-L6-v2")
KNOWN = ("input", "model", "encoding_format", "dimensions", "user")
WIDTH = 384
TYPES = {429: "rate_limit_error", 503: "service_unavailable_error"}
CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


@dataclass(frozen=True)
class Asked:
    """What of a request the answer repeats."""

    model: str
    as_base64: bool


def read(document: Any) -> tuple[list[str], Asked]:
    """The texts. PayloadError, UnknownError"""
    if not isinstance(document, dict):
        raise PayloadError("the body must be a JSON object with input and model")
    if unknown := document.keys() - set(KNOWN):
        raise PayloadError(f"unrecognized argument: {min(unknown)[:60]!r}; there is {', '.join(KNOWN)}")
    model, encoding = document.get("model"), document.get("encoding_format") or "float"
    if not isinstance(model, str):
        raise PayloadError("model must be a string")
    if model not in NAMES:
        raise UnknownError(f"the model {model[:60]!r} does not exist; there is {', '.join(NAMES)}")
    if encoding not in ("float", "base64"):
        raise PayloadError("encoding_format must be float or base64")
    if document.get("dimensions") not in (None, WIDTH):
        raise PayloadError(f"dimensions must be {WIDTH}: this model has no others")
    return texts(document.get("input")), Asked(model, encoding == "base64")


def texts(said: Any) -> list[str]:
    """One text or several. PayloadError; token ids too, as they are of another model's vocabulary"""
    several = said if isinstance(said, list) else [said]
    if not several:
        raise PayloadError("input must not be empty")
    for place, text in enumerate(several):
        if not isinstance(text, str):
            where = f"input[{place}]" if isinstance(said, list) else "input"
            raise PayloadError(f"{where} must be a string: token ids of another model's tokenizer mean nothing here")
    return several


def answer(asked: Asked, inputs: Sequence[Sequence[np.ndarray]], outputs: Arrays) -> dict[str, Any]:
    """A vector of each text; the tokens are those that the model saw, its two marks included."""
    tokens = sum(ids.shape[1] for (ids,) in inputs)
    vectors = np.ascontiguousarray(outputs["embedding"], "<f4")
    shown = [base64.b64encode(v.tobytes()).decode() for v in vectors] if asked.as_base64 else vectors
    data = [{"object": "embedding", "index": place, "embedding": vector} for place, vector in enumerate(shown)]
    return {
        "object": "list",
        "data": data,
        "model": asked.model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def error(status: int, words: str) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": words, "type": kind, "param": None, "code": CODES.get(status)}}


EMBEDDINGS = Route(
    path="/v1/embeddings",
    doc="Embeddings, as OpenAI's API has them",
    example={"model": "sentences", "input": ["A cat sleeps on the sofa.", "Where is the station?"]},
    read=read,
    answer=answer,
    error=error,
)
