"""What reads strangers' bytes, each alone: it may return or refuse in words, and do nothing else."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bentos import contract
from bentos.contract import PayloadError
from serving.api.payloads.checks import field_reader
from serving.api.payloads.pictures import check_pictures
from serving.api.payloads.uploads import uploaded_files
from serving.api.v2.decode import decode
from serving.errors import ServingError
from serving.inference.onnx_files import check_onnx
from tests.conftest import ROOT
from tests.hostile.fuzz import small_pictures
from tests.hostile.requests import DOCUMENT, FEATURES, FLOWER, FORM, binary, dumped, form, part, seven


@dataclass(frozen=True)
class Target:
    """`read` is given bytes; `seeds` are some that it takes."""

    read: Callable[[bytes], Any]
    seeds: Callable[[], list[bytes]]
    at_load: bool = False  # what it reads is no request, so that a refusal is an error of the service

    def survives(self, data: bytes) -> None:
        """Any other error than a refusal goes through; a refusal must say something, and not much."""
        try:
            self.read(data)
        except (ServingError, PayloadError) as refusal:
            assert 0 < len(str(refusal)) < 4000
            assert self.at_load or getattr(refusal, "status", 400) < 500


@cache
def _reader() -> Callable[[bytes], Any]:
    payload = contract.model("iris").payload
    assert isinstance(payload, contract.Fields)
    return field_reader(payload)


def _tensors(data: bytes) -> None:
    """The first two bytes say how long the JSON before the binary data is; none if they are 0xffff."""
    length = int.from_bytes(data[:2], "big")
    body = data[2:]
    iris = contract.model("iris")
    decode(body, None if length == 0xFFFF else min(length, len(body))).bind(iris.signature, iris.finite, 1024)


def _picture(data: bytes) -> None:
    check_pictures([data], 25_000_000)
    contract.model("digits").rows(data)


def _onnx(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(data)
        check_onnx(file)


def _binary_seed() -> bytes:
    body, length = binary(FEATURES)
    return int(length.rpartition(b" ")[2]).to_bytes(2, "big") + body


@cache
def _stored() -> list[bytes]:
    models = ROOT / "build" / "test-home" / "models"
    return [sorted(models.glob(f"{name}-onnx/*/model.onnx"))[-1].read_bytes() for name in ("iris", "wine")]


TARGETS = {
    "fields": Target(lambda data: _reader()(data), lambda: [dumped(FLOWER), dumped([FLOWER, FLOWER])]),
    "tensors": Target(_tensors, lambda: [b"\xff\xff" + dumped(DOCUMENT), _binary_seed()]),
    "form": Target(lambda data: uploaded_files(data, FORM, "image"), lambda: [form(part(seven())), form()]),
    "picture": Target(_picture, small_pictures),
    "onnx": Target(_onnx, _stored, at_load=True),
}
