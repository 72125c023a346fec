"""A clock that jumps: nothing that decides about a request or a worker asks for the time of day."""

import ast

import httpx

from tests.conftest import ROOT
from tests.survival.conftest import Load, wait, workers

# `faults` tells people and other workers when a fault ends, the chain's `volume` how old a leftover file is.
MAY_ASK = {"faults.py", "metrics.py", "volume.py"}
JUMPING = """
import pathlib, time
told, real = pathlib.Path(__file__).with_name("jump"), time.time
def jumped():
    try:
        return real() + float(told.read_text())
    except (OSError, ValueError):
        return real()
time.time = jumped
"""


def test_the_serving_path_uses_clocks_that_only_go_forward():
    asking = set()
    for path in (ROOT / "serving").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in ("time.time", "time", "datetime.now", "datetime.utcnow"):
                asking.add(path.name)
    assert asking <= MAY_ASK


def test_a_clock_that_jumps_by_a_day_costs_nothing(serve, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(JUMPING)
    with serve(EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx", EKIBEN_HANG_S="600", PYTHONPATH=str(tmp_path)) as server:
        before = [worker.pid for worker in workers(server)]
        with Load(server.url, 2) as load:
            for jump in (86_400, -86_400):
                (tmp_path / "jump").write_text(str(jump))
                then = httpx.get(f"{server.url}/readyz").headers["date"]
                wait(lambda: httpx.get(f"{server.url}/readyz").headers["date"] != then, 120, "no new date")  # noqa: B023
                answered = load.answered
                wait(lambda: load.answered > answered + 50, 120, "hardly anything is answered")  # noqa: B023
        assert [worker.pid for worker in workers(server)] == before
    assert set(load.seen) == {200}
