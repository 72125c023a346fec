"""One model that is refused takes no other with it: readiness, unless EKIBEN_STRICT asks for all."""

from types import SimpleNamespace
from typing import Any

import pytest

from serving.inference.repository import Repository
from serving.settings import Settings


def repository(strict: int, served: list[str], refused: list[str]) -> Repository:
    families: Any = None
    loaded = Repository(Settings(strict=strict), families)
    loaded.served = {name: SimpleNamespace(model=SimpleNamespace(name=name)) for name in served}  # type: ignore[misc]
    loaded.refused = {f"{name}-onnx": SimpleNamespace(model=name) for name in refused}  # type: ignore[misc]
    return loaded


@pytest.mark.parametrize(
    ("strict", "served", "refused", "ready"),
    [
        (0, ["a", "b"], [], True),
        (0, ["a"], ["b"], True),
        (0, [], ["b"], False),
        (0, [], [], False),
        (1, ["a", "b"], [], True),
        (1, ["a"], ["b"], False),
    ],
)
def test_ready_while_a_model_answers(strict: int, served: list[str], refused: list[str], ready: bool) -> None:
    assert repository(strict, served, refused).ready is ready
