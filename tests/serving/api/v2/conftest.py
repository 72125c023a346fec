"""Both ways in which numbers are read."""

import pytest

from serving.api.v2 import numbers


@pytest.fixture(params=["simdjson", "msgspec"])
def reader(request, monkeypatch):
    """Both ways of reading numbers, of which a Python without simdjson's wheel has but one."""
    if request.param == "simdjson":
        pytest.importorskip("simdjson")
    else:
        monkeypatch.setattr(numbers, "simdjson", None)
