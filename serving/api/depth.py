"""How deep JSON may be nested; deep nesting is only ever sent to exhaust somebody's stack."""

from __future__ import annotations

import numpy as np

from serving.errors import BadInput

MAX_JSON_DEPTH = 64  # what EKIBEN_MAX_JSON_DEPTH is where it is not set
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1
_OTHERS = bytes(set(range(256)) - set(b'[]{}"'))
_PIECE_BYTES = 64 * 1024  # what is looked at at once: it stays in the cache, and other threads get their turn between


def check_depth(text: bytes, most: int = MAX_JSON_DEPTH) -> None:
    """BadInput for well-formed JSON with lists and objects more than `most` deep within each other."""
    # Nearly every text has fewer brackets than that, and is not looked at twice.
    if text.count(b"[") + text.count(b"{") > most and (deep := depth(text)) > most:
        raise BadInput(f"the JSON is nested {deep} deep, the limit is {most}", "EKIBEN_MAX_JSON_DEPTH")


def depth(text: bytes) -> int:
    """The deepest nesting of well-formed JSON; brackets within strings are none."""
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    marks = plain.translate(None, _OTHERS)
    deepest = level = 0
    quoted = False
    for start in range(0, len(marks), _PIECE_BYTES):
        piece = np.frombuffer(marks, np.uint8, min(_PIECE_BYTES, len(marks) - start), start)
        steps = _STEPS[piece]
        if quoted or (piece == ord('"')).any():
            inside = np.logical_xor.accumulate(piece == ord('"')) ^ quoted
            steps[inside] = 0
            quoted = bool(inside[-1])
        levels = steps.cumsum(dtype=np.int32)
        deepest = max(deepest, level + int(levels.max()))
        level += int(levels[-1])
    return deepest
