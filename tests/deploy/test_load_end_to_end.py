"""`make load` on the real service, watched by the real Prometheus and the committed rules: an hour takes 2 minutes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Serve
from tests.deploy.stack import watching

pytestmark = pytest.mark.long

DRIFT = 'ALERTS{alertname=~"InputDrift|PredictionDrift"}'  # pending or firing


@pytest.mark.parametrize("heeded", [True, False])
def test_load_is_no_drift_where_the_service_heeds_that_it_is_load(heeded: bool, serve: Serve, tmp_path: Path) -> None:
    """Of each model more rows than the rules ask for. Where it is not heeded, the same few pictures are drift."""
    with serve(EKIBEN_SYNTHETIC=str(int(heeded)), EKIBEN_FORMS="onnx") as server:
        port = int(server.url.rpartition(":")[2])
        with watching(tmp_path, port, scale=30, scrape="1s") as stack:
            stack.wait("ekiben:drift_expected:ratio")  # the counters have been seen at 0
            words = ["--host", server.url, "--out", str(tmp_path / "load"), "--seconds", "30", "--rate", "100"]
            done = subprocess.run(
                [sys.executable, "-m", "loadtest.load", *words], cwd=ROOT, capture_output=True, text=True
            )
            if heeded:
                stack.wait("sum(ekiben_unwatched_rows_total) > 2500")
                assert not stack.query(f"count_over_time({DRIFT}[5m])"), done.stdout
            else:
                assert "model=digits" in stack.wait(f"count by (model) ({DRIFT})"), done.stdout
