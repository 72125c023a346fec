"""Whatever is read from strangers is taken or refused in words, for arbitrary bytes and for right ones spoiled."""

import json
import random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from serving.api.depth import depth
from serving.api.payloads.uploads import uploaded_files
from serving.errors import ServingError
from tests.hostile.fuzz import HOSTILE, spoiled
from tests.hostile.requests import FLOWER, FORM, dumped, form, part
from tests.hostile.targets import TARGETS

KEYS = st.text() | st.sampled_from(list(FLOWER))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(HOSTILE),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)
pytestmark = pytest.mark.usefixtures("store")  # the ONNX files to spoil
quick = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=300))
@example(data=b"")
@quick
def test_arbitrary_bytes(name, data):
    TARGETS[name].survives(data)


@pytest.mark.parametrize("name", TARGETS)
@given(seed=st.integers(0, 2**64))
@quick
def test_right_ones_spoiled(name, seed):
    draw = random.Random(seed)  # noqa: S311
    TARGETS[name].survives(spoiled(draw, draw.choice(TARGETS[name].seeds())))


@given(value=JSON)
@quick
def test_arbitrary_values_of_fields(value):
    TARGETS["fields"].survives(dumped(value))
    TARGETS["fields"].survives(dumped({**FLOWER, "sepal_length": value}))


@given(where=st.sampled_from(["inputs", "outputs", "parameters", "id"]), value=JSON)
@quick
def test_arbitrary_values_in_v2(where, value):
    TARGETS["tensors"].survives(b"\xff\xff" + dumped({where: value}))


@given(key=st.sampled_from(["name", "shape", "datatype", "data", "parameters"]), value=JSON)
@quick
def test_arbitrary_values_in_a_tensor(key, value):
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    TARGETS["tensors"].survives(b"\xff\xff" + dumped({"inputs": [{**tensor, key: value}]}))


@given(disposition=st.binary(max_size=60), kind=st.binary(max_size=80), data=st.binary(max_size=40))
@quick
def test_arbitrary_headers_of_a_form(disposition, kind, data):
    for content_type in (FORM, kind, b"multipart/form-data; " + kind, b"multipart/form-data; boundary=" + kind):
        try:
            uploaded_files(form(part(data, disposition)), content_type, "image")
        except ServingError as refusal:
            assert refusal.status < 500


@given(value=JSON)
@quick
def test_depth_is_what_the_nesting_is(value):
    def nested(of):
        inner = of.values() if isinstance(of, dict) else of if isinstance(of, list) else None
        return 0 if inner is None else 1 + max(map(nested, inner), default=0)

    assert depth(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")) == nested(value)


def test_a_target_that_breaks_is_seen():
    def broken(data):
        raise RecursionError

    with pytest.raises(RecursionError):
        type(TARGETS["fields"])(broken, list).survives(b"")
