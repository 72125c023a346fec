"""Drift through the real service, two workers, and the real Prometheus: an hour takes 30 seconds."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from prometheus_client.multiprocess import MultiProcessCollector
from tritonclient import http as triton

from bentos import contract
from deploy.objectives import read
from tests.conftest import ROOT, Serve, Server
from tests.deploy.stack import RUNBOOK, Stack, watching

pytestmark = pytest.mark.long

BATCH = 5  # rows of a request; each comes over a connection of its own, so that both workers take part
DRIFT = read().drift


@dataclass
class Streams:
    """What was sent to which model, in rows as training had them."""

    server: Server
    sent: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def send(self, model: str, rows: np.ndarray) -> None:
        self.sent.setdefault(model, []).append(rows)
        batches = np.array_split(rows, -(-len(rows) // BATCH))
        with ThreadPoolExecutor(8) as callers:
            list(callers.map(lambda batch: self._ask(model, batch), batches))

    def _ask(self, model: str, rows: np.ndarray) -> None:
        tensor = triton.InferInput("features", list(rows.shape), "FP32").set_data_from_numpy(rows)
        with triton.InferenceServerClient(self.server.url.removeprefix("http://")) as client:
            client.infer(model, [tensor])


@pytest.fixture(scope="module")
def streams(serve: Serve) -> Iterator[Streams]:
    with serve(EKIBEN_WORKERS="2", EKIBEN_MODELS="homes,iris,wine", EKIBEN_FORMS="onnx") as server:
        yield Streams(server)


@pytest.fixture(scope="module")
def stack(streams: Streams, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    port = int(streams.server.url.rpartition(":")[2])
    with watching(tmp_path_factory.mktemp("stack"), port, scale=120, scrape="400ms", drift="20h") as running:
        running.wait("ekiben:drift_expected:ratio")  # the counters have been seen at 0
        yield running


def trained_on(model: str, rows: int) -> np.ndarray:
    """Rows from the very distribution of the reference: training's, drawn with replacement."""
    train = contract.recipe(model).load({}).train.inputs
    return train[np.random.default_rng(0).integers(0, len(train), rows)].astype(np.float32)


def record(model: str) -> dict:
    return json.loads((ROOT / "artifacts" / model / "training.json").read_text())


def counted(reference: dict, values: np.ndarray, field: Any = None) -> list[int]:
    """How many values fall into each bin, the last for those that are missing; of the codes of a field, if there is."""
    present = values[~np.isnan(values)]
    if reference["classes"]:
        places = {field.codes[word]: place for place, word in enumerate(reference["classes"])}
        bins = np.array([places.get(code, len(places)) for code in present.tolist()], np.intp)
    else:
        bins = np.searchsorted(reference["edges"], present, side="left")
    counts = np.bincount(bins, minlength=len(reference["shares"])).tolist()
    return [*counts, len(values) - len(present)]


def by_hand(reference: dict, values: np.ndarray) -> float:
    """PSI of values against training."""
    trained = [share * (1 - reference["missing"]) for share in reference["shares"]] + [reference["missing"]]
    p, q = (np.maximum(shares, 1e-4) for shares in (np.array(counted(reference, values)) / len(values), trained))
    return float(((p - q) * np.log(p / q)).sum())


def test_a_stream_that_moved_is_told_and_one_that_did_not_is_not(streams: Streams, stack: Stack) -> None:
    """Flowers measured in inches; flats as they were; and too few wines to tell, however strange."""
    flowers, flats = trained_on("iris", 1000) / 2.54, trained_on("homes", 3000)
    few = DRIFT.samples - 100
    streams.send("homes", flats)
    streams.send("wine", trained_on("wine", few) * 2)
    streams.send("iris", flowers)
    message = stack.telegram.wait("🎫", ">InputDrift</a>", "<b>ekiben iris: ", "PSI")
    assert f'href="{RUNBOOK}#inputdrift"' in message["text"] and message["disable_notification"] == "true"
    stack.inhibited("PredictionDrift")
    alerting = stack.query('count by (model) (ALERTS{alertname=~".*Drift"})')
    assert set(alerting) == {"model=iris"}

    stack.wait('ekiben:drift_samples:increase{model="iris",quantity="input:petal_length"} > 990')
    reference = record("iris")["reference"]["input:petal_length"]
    (psi,) = stack.query('ekiben:drift_psi{model="iris",quantity="input:petal_length"}').values()
    assert psi == pytest.approx(by_hand(reference, flowers[:, 2]), rel=0.01) and psi > 1

    homes = stack.query('ekiben:drift_psi{model="homes"}')
    assert len(homes) == len(record("homes")["reference"]) and max(homes.values()) < DRIFT.psi / 2

    assert not stack.query('ekiben:drift_psi{model="wine"}')
    wines = stack.query('ekiben:drift_samples:increase{model="wine"}')
    assert wines and max(wines.values()) == pytest.approx(few, rel=0.15)  # Prometheus extrapolates


def test_volume_was_all_that_was_missing(streams: Streams, stack: Stack) -> None:
    streams.send("wine", trained_on("wine", DRIFT.samples + 100) * 2)
    stack.telegram.wait("🎫", ">InputDrift</a>", "<b>ekiben wine: ")
    assert "model=homes" not in stack.query('count by (model) (ALERTS{alertname=~".*Drift"})')


def test_the_counters_of_all_workers_add_up_to_what_was_sent(streams: Streams, stack: Stack) -> None:
    """Bin by bin; each worker keeps a file of its own, and both have their share."""
    files = sorted((streams.server.home / "prometheus_multiproc_dir").glob("counter_*.db"))
    assert len(files) == 2
    for _ in range(10):
        streams.send("iris", trained_on("iris", 400))
        sent_rows = sum(map(len, streams.sent["iris"]))

        def all_counted(rows: int = sent_rows) -> bool:
            return sum(observed(list(map(str, files)))["iris", "input:petal_length"]) >= rows

        stack.wait_until(all_counted, "not all rows are counted")
        workers = [observed([str(file)]) for file in files]
        if all(sum(map(sum, worker.values())) for worker in workers):
            break
    else:
        pytest.fail("ten streams, and one of two workers took no part")
    together = observed([str(file) for file in files])
    for model, sent in streams.sent.items():
        rows = np.concatenate(sent)
        fields = contract.model(model).payload.fields  # type: ignore[union-attr]
        names = [f.name for f in fields]
        for quantity, reference in record(model)["reference"].items():
            counts = together[model, quantity]
            assert sum(counts) == len(rows)
            if quantity.startswith("input:"):
                column = names.index(quantity.removeprefix("input:"))
                assert counts == counted(reference, rows[:, column], fields[column])
        parts = [sum(worker[model, "input:" + names[0]]) for worker in workers]
        assert sum(parts) == len(rows)


def observed(files: list[str]) -> dict[tuple[str, str], list[int]]:
    """(model, quantity) → rows by bin, the missing last, in these files of prometheus_client's."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for family in MultiProcessCollector.merge(files):
        for sample in family.samples if family.name == "ekiben_drift_observed" else ():
            labels = sample.labels
            counts.setdefault((labels["model"], labels["quantity"]), {})[labels["bin"]] = int(sample.value)
    return {key: [bins[name] for name in sorted(bins)] for key, bins in counts.items()}


@pytest.mark.parametrize("model", ["homes", "iris", "wine"])
def test_each_reference_says_how_many_rows_it_is_of(stack: Stack, model: str) -> None:
    """Inputs are held against the rows trained on; predictions against those of the rows held out."""
    dataset = record(model)["dataset"]
    for side, rows in (("input", dataset["rows"]), ("prediction", dataset["held_out_rows"])):
        exported = stack.query(f'ekiben_drift_reference_rows{{model="{model}",quantity=~"{side}:.+"}}')
        assert exported and set(exported.values()) == {rows}, side
