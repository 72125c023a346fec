"""Text → the ids of its word pieces, by the vocabulary that the weights were trained with."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from bentos.contract import PayloadError

LONGEST = 256  # tokens; what the weights were trained with
UNKNOWN = 100
# The recipe puts it here, and `preprocess` is of these bytes alone: with others no answer would mean anything.
VOCABULARY = Path(__file__).parent / "data" / "vocabulary.txt"
SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"


@cache
def tokenizer() -> Any:
    """BERT's tokenizer for English without capitals. FileNotFoundError, ValueError where the vocabulary is another"""
    from tokenizers import BertWordPieceTokenizer

    if not VOCABULARY.is_file():
        raise FileNotFoundError(f"{VOCABULARY} is not there: python -m train sentences puts it there")
    if (digest := hashlib.sha256(VOCABULARY.read_bytes()).hexdigest()) != SHA256:
        raise ValueError(f"{VOCABULARY} is not MiniLM's vocabulary: sha256 {digest[:12]}…")
    return BertWordPieceTokenizer(str(VOCABULARY), lowercase=True)


def ids(text: str) -> np.ndarray:
    """(tokens,) int64, [CLS] first and [SEP] last. PayloadError where there is no word, or too many"""
    found = tokenizer().encode(text).ids
    if len(found) <= 2:
        raise PayloadError("the text is empty: send a sentence")
    if len(found) > LONGEST:
        raise PayloadError(f"the text has {len(found)} tokens, at most {LONGEST} are taken: cut it into parts")
    return np.array(found, np.int64)
