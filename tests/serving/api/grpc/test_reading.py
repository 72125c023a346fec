"""What reading a message takes is told before it is parsed, and is had before it is read."""

import asyncio
import gzip
import random
import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from serving.api.grpc.infer import Inference
from serving.api.grpc.reading import FACTOR, MAX_FIELDS, RAW_FACTOR, model_name, reading_bytes
from serving.api.grpc.schema import Schema
from serving.errors import BadInput, NotFound, TooLarge
from serving.grpc.call import PEEK_BYTES, inflated_start
from serving.inference.dataplane import DataPlane
from serving.memory import MemoryBudget
from serving.settings import Settings


def message(n_values: int, typed: bool = False) -> bytes:
    request = service_pb2.ModelInferRequest(model_name="m")
    item = request.inputs.add(name="x", datatype="FP32", shape=[1, n_values])
    if typed:
        item.contents.fp32_contents.extend([1.0] * n_values)
    else:
        request.raw_input_contents.append(np.arange(n_values, dtype=np.float32).tobytes())
    return bytes(request.SerializeToString())


def test_raw_contents_are_copied_and_all_else_becomes_objects() -> None:
    raw, typed = message(100_000), message(100_000, typed=True)
    assert reading_bytes(raw) == 400_000 * RAW_FACTOR + (len(raw) - 400_000) * FACTOR
    assert reading_bytes(typed) == len(typed) * FACTOR


@pytest.mark.parametrize("field", [b"\x2a\x00", b"\x32\x00", b"\x3a\x00", b"\x22\x00"])
def test_fields_that_would_become_forty_times_their_bytes_are_counted_before(field: bytes) -> None:
    with pytest.raises(BadInput, match="more than 4096 inputs, outputs and parameters"):
        reading_bytes(field * (MAX_FIELDS + 1))


@pytest.mark.parametrize("octets", [b"\x3a", b"\x3a\x05ab", b"\x3a\xff", b"\x2b\x00", b"\xff" * 11, b"\x29abc"])
def test_what_is_no_message_is_said(octets: bytes) -> None:
    with pytest.raises(BadInput, match="not a ModelInferRequest"):
        reading_bytes(octets)


def test_a_name_is_read_of_what_has_come_or_none_is() -> None:
    whole = message(10)
    assert [model_name(whole[:cut]) for cut in range(len(whole) + 1)] == [""] * 3 + ["m"] * (len(whole) - 2)
    long = bytes(service_pb2.ModelInferRequest(model_name="m" * 300, id="1").SerializeToString())
    assert {model_name(long[:cut]) for cut in range(len(long))} == {"", "m" * 300}
    draw = random.Random(1)  # noqa: S311
    for _ in range(2000):
        name = model_name(b"\x0a" + draw.randbytes(draw.randrange(40)))
        assert len(name) < 40


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_the_start_of_a_compressed_message_is_read_of_what_has_come(pack: Callable[[bytes], bytes]) -> None:
    plain = message(10)
    packed = pack(plain)
    for cut in range(len(packed) + 1):
        assert plain.startswith(inflated_start(packed[:cut]))
        inflated_start(packed[:cut] + b"\xff" + packed[cut + 1 :])  # of whatever it is
    assert inflated_start(packed) == plain
    assert len(inflated_start(pack(bytes(10**6)))) == PEEK_BYTES


class Unserved:
    """A repository that serves nothing."""

    settings, served, refused = Settings(), {}, {}  # type: ignore[var-annotated]

    def get(self, name: str) -> Any:
        raise NotFound(f"no model {name!r}")


@pytest.mark.parametrize("coding", [None, b"gzip"])
async def test_a_large_message_is_read_once_there_is_memory_and_gives_it_back(
    coding: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    budget, plain = MemoryBudget(10**8), message(100_000)
    sent = plain if coding is None else gzip.compress(plain, 1)
    call: Any = SimpleNamespace(coding=coding, begun=0.0, on_end=None, disconnected=False, deadline=None)
    responder: Any = SimpleNamespace(name="m", call=call)
    inference = Inference(Unserved(), DataPlane(memory=budget), Schema())  # type: ignore[arg-type]
    decode = inference.decoder.decode

    def noted(octets: bytes) -> Any:
        taken.append(budget.taken)
        return decode(octets)

    monkeypatch.setattr(inference.decoder, "decode", noted)
    for limit, expected in ((10**8, NotFound), (10**5, TooLarge)):
        budget.limit = limit
        failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        tell = failed.set_result
        inference.infer(call, sent, coding is not None, lambda _: responder, lambda error, *_, tell=tell: tell(error))
        assert isinstance(await failed, expected)
        assert budget.taken == 0
    (held,) = taken
    assert held >= reading_bytes(plain)
