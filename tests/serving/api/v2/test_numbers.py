"""Lists of numbers, read in each of the ways that there are: all must give the same."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.api.v2 import numbers
from serving.api.v2.numbers import PIECE_BYTES, SHORT, OutOfRange, read

FP32, INT8, BOOL = np.dtype(np.float32), np.dtype(np.int8), np.dtype(np.bool_)


@pytest.fixture(params=["simdjson", "msgspec"], autouse=True)
def reader(request, monkeypatch):
    if request.param == "simdjson":
        pytest.importorskip("simdjson")
    else:
        monkeypatch.setattr(numbers, "simdjson", None)


@pytest.mark.parametrize("count", [1, SHORT, SHORT + 1, 30_000])
@pytest.mark.parametrize("dtype", [FP32, np.dtype(np.float16), np.dtype(np.float64), np.dtype(np.uint64), BOOL])
def test_lists_of_any_length(count, dtype):
    words = ["true", "false"] if dtype == BOOL else ["0", "17"] if dtype.kind == "u" else ["-1.5", "7"]
    text = ",".join(words[i % 2] for i in range(count))
    array = read(f"[{text}]".encode(), dtype, count)
    expected = np.resize(np.array([True, False] if dtype == BOOL else [float(w) for w in words]).astype(dtype), count)
    assert array.dtype == dtype
    assert (array == expected).all()


@pytest.mark.parametrize("place", [0, 1, 20_000, 39_998, 39_999])
@pytest.mark.parametrize("spoiled", ["", "01", "1.", "x", '"1"', "true", "[1]", "1]", "[1", "1 1", "NaN", "1e999"])
def test_one_wrong_number_among_many_is_an_error(place, spoiled):
    words = ["1.25"] * 40_000
    words[place] = spoiled
    text = f"[{','.join(words)}]".encode()
    assert len(text) > 2 * PIECE_BYTES
    if spoiled == "[1]":
        text = text.replace(b"[1]", b"[")
    with pytest.raises(ValueError, match=r".") as caught:
        read(text, FP32, 40_000)
    assert not isinstance(caught.value, OutOfRange)


@pytest.mark.parametrize("count", range(13_100, 13_112))  # so that a piece ends at the last comma
def test_a_comma_at_the_end_is_an_error(count):
    text = b"[%b]" % (b"1.25," * count)
    assert len(text) > PIECE_BYTES - 100
    for expected in (count, count + 1):
        with pytest.raises(ValueError, match=r"."):
            read(text, FP32, expected)
    assert (read(text[:-2] + b"]", FP32, count) == 1.25).all()


def test_too_few_and_too_many_are_an_error():
    for count in (4, 40, 40_000):
        text = f"[{','.join(['1'] * count)}]".encode()
        for other in (count - 1, count + 1):
            with pytest.raises(ValueError, match=r"."):
                read(text, FP32, other)


def test_a_large_whole_number_anywhere_leaves_its_neighbours_alone():
    words = ["0.1"] * 60_000
    words[30_000] = "1" + "0" * 30
    array = read(f"[{','.join(words)}]".encode(), FP32, 60_000)
    assert array[30_000] == np.float32(1e30)
    assert (np.delete(array, 30_000) == np.float32(0.1)).all()


@pytest.mark.parametrize("count", [3, 300])
def test_out_of_range(count):
    with pytest.raises(OutOfRange):
        read(f"[{','.join(['1'] * (count - 1))},128]".encode(), INT8, count)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=80))
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_floats_to_the_bit(values):
    text = f"[{','.join(map(repr, values))}]".encode()
    array = read(text, np.dtype(np.float64), len(values))
    assert (array.view(np.uint64) == np.array(values).view(np.uint64)).all()
