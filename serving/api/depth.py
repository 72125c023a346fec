"""How deep JSON may be nested; deep nesting is only ever sent to exhaust somebody's stack."""

from __future__ import annotations

import numpy as np

from serving.errors import BadInput

MOST = 64  # what EKIBEN_MAX_JSON_DEPTH is where it is not set
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1
_OTHERS = bytes(set(range(256)) - set(b'[]{}"'))


def check_depth(text: bytes, most: int = MOST) -> None:
    """BadInput for well-formed JSON with lists and objects more than `most` deep within each other."""
    # Nearly every text has fewer brackets than that, and is not looked at twice.
    if text.count(b"[") + text.count(b"{") > most and (deep := depth(text)) > most:
        raise BadInput(f"the JSON is nested {deep} deep, the limit is {most}, which EKIBEN_MAX_JSON_DEPTH sets")


def depth(text: bytes) -> int:
    """The deepest nesting of well-formed JSON; brackets within strings are none."""
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    marks = np.frombuffer(plain.translate(None, _OTHERS), np.uint8)
    steps = _STEPS[marks]
    if (quotes := marks == ord('"')).any():
        steps[np.logical_xor.accumulate(quotes)] = 0
    return int(steps.cumsum(dtype=np.int32).max(initial=0))
