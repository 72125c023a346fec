"""A V2 request read member by member, and what is wrong with it in words. Slower than typed decoding, and exact."""

from __future__ import annotations

import json
import secrets
from typing import Any, NoReturn

import msgspec
from msgspec import UNSET

from serving.api.depth import check_depth
from serving.api.v2.documents import MISSING, Document, Input, Output
from serving.errors import BadInput
from serving.inference.validation import MAX_DIMENSIONS, brief

# Values, keys not counted, that a request may hold beside the numbers of its tensors; reading one takes about 0.1 µs.
MAX_VALUES = 16_384
_PIECE_BYTES = 64 * 1024
_skip = msgspec.json.Decoder(msgspec.Raw).decode


def decode(text: bytes, gaps: list[bytes], lists: list[bytes], max_depth: int) -> Document:
    """The members of a request, of whatever type they are, from its text and what `envelope.split` makes of that.

    BadInput where they are no JSON of a request.
    """
    _check_count(gaps)
    # No client knows the names that stand for the lists, so that none can write one.
    secret = secrets.token_hex(8)
    named = {f"{secret}{place}": numbers for place, numbers in enumerate(lists)}
    words = [gaps[0], *(b'"%b"%b' % (name.encode(), gap) for name, gap in zip(named, gaps[1:], strict=True))]
    members = _loads(b"".join(words))
    check_depth(text if lists and max_depth < MAX_DIMENSIONS + 3 else b"".join(gaps), max_depth)
    if not isinstance(members, dict):
        raise BadInput("the request must be a JSON object with inputs")
    inputs: Any = members.get("inputs")
    if isinstance(inputs, list):
        inputs = [_input(item, named) for item in inputs]
    for numbers in named.values():  # those that are no input's, which nobody reads
        _check_json(numbers)
    return Document(
        inputs=inputs,
        id=_text(members.get("id"), "id"),
        outputs=_outputs(members["outputs"]) if "outputs" in members else UNSET,
        parameters=_object(members.get("parameters"), "parameters"),
    )


def _loads(text: bytes) -> Any:
    """Each key may be there once: parsers differ in which of two counts."""
    try:
        if b"\\u" in text:
            msgspec.json.decode(text)  # json takes half of a surrogate pair, which no answer could hold
        return json.loads(text.decode(), object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise BadInput("the request is not JSON, or nested too deeply") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"the request is not JSON: {error.msg if text.strip() else 'it is empty'}") from None
    except ValueError as error:  # not UTF-8, half of a surrogate pair, a whole number of thousands of digits
        raise BadInput(f"the request is not JSON: {str(error)[:100]}") from None


def _check_json(text: bytes) -> None:
    try:
        _skip(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInput(f"the request is not JSON: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        keys = [key for key, _ in pairs]
        raise BadInput(f"the request has a key twice: {brief(max(keys, key=keys.count))}")
    return members


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _check_count(gaps: list[bytes]) -> None:
    """BadInput where there are too many values to read them all. Every value follows one of three characters."""
    count = 0
    for gap in gaps:
        for start in range(0, len(gap), _PIECE_BYTES):
            count += sum(gap.count(mark, start, start + _PIECE_BYTES) for mark in (b",", b"[", b"{"))
            if count > MAX_VALUES:
                raise _too_many(b"".join(gaps))


def _too_many(text: bytes) -> BadInput:
    """The words are for the member whose key is the last before there are too many."""
    last = max((b"inputs", b"outputs", b"parameters"), key=lambda key: text.rfind(b'"%b"' % key, 0, MAX_VALUES))
    if text.rfind(b'"%b"' % last, 0, MAX_VALUES) < 0:
        return BadInput(
            f"the request is not JSON of the protocol: it holds over {MAX_VALUES} values beside its numbers"
        )
    twice = {b"inputs": "; no input may be given twice", b"outputs": "; outputs are asked for each at most once"}
    more = twice.get(last, "")
    return BadInput(f"{last.decode()} hold over {MAX_VALUES} values beside the numbers of tensors{more}")


def _input(item: Any, named: dict[str, bytes]) -> Input:
    if not isinstance(item, dict):
        raise BadInput("every input must be an object with name, shape, datatype and data")
    data = MISSING
    if "data" in item:
        value = item["data"]
        # What was left in the text is no plain list of numbers, which it is told where it is read.
        is_list = isinstance(value, str) and value in named
        data = msgspec.Raw(named.pop(value) if is_list else json.dumps(value).encode())
    name: Any = item.get("name")
    datatype: Any = item.get("datatype")
    shape: Any = item.get("shape")
    return Input(name, datatype, shape, data, _object(item.get("parameters"), f"input {brief(name)}: parameters"))


def _outputs(items: Any) -> list[Output]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadInput("outputs must be a list of objects with a name")
    return [_output(item) for item in items]


def _output(item: dict[str, Any]) -> Output:
    name: Any = item.get("name")
    return Output(name, _object(item.get("parameters"), f"output {brief(name)}: parameters"))


def _object(value: Any, key: str) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise BadInput(f"{key} must be an object, not {brief(value)}")
    return value


def _text(value: Any, key: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise BadInput(f"{key} must be a string, not {brief(value)}")
