"""What is asked: a model's own examples, through its native route, V2 in JSON and V2 in binary."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from loadtest.load import answers, tensors
from loadtest.load.described import Described

BENTOS = Path(__file__).parents[2] / "bentos"
BOUNDARY = "ekiben-load-7d1c"
OCTETS, JSON = "application/octet-stream", "application/json"


def folders(bentos: Path = BENTOS) -> list[str]:
    """The models that have examples, in alphabetical order."""
    return sorted(path.parent.name for path in bentos.glob("*/examples.json"))


def examples(model: str, bentos: Path = BENTOS) -> list[Any]:
    """The payloads of a model: objects, or the paths of files."""
    found = json.loads((bentos / model / "examples.json").read_text())
    return [bentos / model / payload if isinstance(payload, str) else payload for payload in found]


class Question:
    """One request that can be sent again and again, under a new id each time, and knows a right answer to itself."""

    def __init__(self, model: Described, interface: str, path: str, kind: str, rows: int, parts: tuple[bytes, bytes]):
        self.model, self.interface, self.path, self.rows = model, interface, path, rows
        self.headers = {"Content-Type": kind}
        self._before, self._after = parts  # the id goes between them
        self._first: answers.Answer | None = None

    @property
    def kind(self) -> tuple[str, str]:
        return self.model.name, self.interface

    def body(self, number: int) -> bytes:
        """The body of the nth request; V2's has an id of fixed length."""
        return self._before if self.interface == "native" else self._before + _id(number) + self._after

    def judge(self, number: int, body: bytes, headers: Mapping[str, str]) -> None:
        """WrongAnswer says what is wrong with a 200's body."""
        try:
            answer = self._read(number, body, headers)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise answers.WrongAnswer(f"unreadable ({error!r}): {body[:80]!r}") from None
        if self._first is None:
            self._first = answer
        answers.agree(answer, self._first)

    def _read(self, number: int, body: bytes, headers: Mapping[str, str]) -> answers.Answer:
        if self.interface == "native" and self.model.native:
            return answers.of_native(body, self.model.name, self.model.native, self.rows)
        return answers.of_v2(body, headers, self.model, _id(number).decode(), self.rows)


def _id(number: int) -> bytes:
    return b"%012d" % number


def questions(model: Described, payloads: list[Any], rows: int) -> list[Question]:
    """Every example as a question through every interface; with rows > 1 each begins at another example."""
    made = []
    if model.native:
        made += [_native(model, window) for window in _windows(payloads, rows)]
    each = tensors.rows(model, payloads)
    if each is not None:
        made += [_binary(model, np.stack(window)) for window in _windows(list(each), rows)]
        finite = [row for row in each if np.isfinite(row).all()]  # JSON has no NaN
        made += [_json(model, np.stack(window)) for window in _windows(finite, rows)]
    return made


def _windows(items: list[Any], size: int) -> list[list[Any]]:
    return [[items[(start + i) % len(items)] for i in range(size)] for start in range(len(items))]


def _native(model: Described, payloads: list[Any]) -> Question:
    assert model.native
    if model.native.file_field:
        kind, body = f"multipart/form-data; boundary={BOUNDARY}", _multipart(model.native.file_field, payloads)
    else:
        kind, body = JSON, orjson.dumps(payloads if len(payloads) > 1 else payloads[0])
    return Question(model, "native", model.native.path, kind, len(payloads), (body, b""))


def _multipart(field: str, files: list[Path]) -> bytes:
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{file.name}"\r\n'
        f"Content-Type: {mimetypes.guess_type(file)[0] or OCTETS}\r\n\r\n".encode()
        + file.read_bytes()
        + b"\r\n"
        for file in files
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def _json(model: Described, batch: np.ndarray) -> Question:
    parts = _around_id({"inputs": [_tensor(model, batch) | {"data": batch.ravel()}]})
    return Question(model, "v2", _infer(model), JSON, len(batch), parts)


def _binary(model: Described, batch: np.ndarray) -> Question:
    tensor = _tensor(model, batch) | {"parameters": {"binary_data_size": batch.nbytes}}
    before, after = _around_id({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    question = Question(model, "binary", _infer(model), OCTETS, len(batch), (before, after + batch.tobytes()))
    question.headers["Inference-Header-Content-Length"] = str(len(before) + len(_id(0)) + len(after))
    return question


def _infer(model: Described) -> str:
    return f"/v2/models/{model.name}/infer"


def _tensor(model: Described, batch: np.ndarray) -> dict[str, Any]:
    (described,) = model.inputs
    return {"name": described["name"], "datatype": described["datatype"], "shape": list(batch.shape)}


def _around_id(request: dict[str, Any]) -> tuple[bytes, bytes]:
    before, after = orjson.dumps({"id": "?", **request}, option=orjson.OPT_SERIALIZE_NUMPY).split(b"?", 1)
    return before, after
