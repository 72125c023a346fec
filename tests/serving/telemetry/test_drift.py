"""Requests fall into training's bins, exactly."""

from dataclasses import replace

import numpy as np
import pytest

from bentos.certificate import Histogram
from bentos.contract import Field, Fields, Model, Signature, Tensor
from serving.telemetry.drift import ELEMENTS, DriftMonitor
from serving.telemetry.metrics import Metrics
from tests.certificates import certificate

MODEL = Model(
    name="m",
    title="M",
    doc="",
    verb="v",
    payload=Fields((Field("a", "", 0, 9, 1), Field("b", "", 0, 9, 1, nullable=True))),
    signature=Signature((Tensor("x", "FP32", (-1, 2)),), (Tensor("probabilities", "FP32", (-1, 2)),)),
    labels=("no", "yes"),
)
CERTIFICATE = certificate(
    reference={
        "input:a": Histogram((0.25, 0.25, 0.5), edges=(1.0, 2.0)),
        "input:b": Histogram((0.5, 0.5), edges=(5.0,), missing=0.2),
        "prediction:class": Histogram((0.7, 0.3), classes=("no", "yes")),
        "prediction:confidence": Histogram((0.5, 0.5), edges=(0.75,)),
    }
)


@pytest.fixture
def families():
    return Metrics()


def value(families, metric, quantity, name):
    (family,) = (f for f in families.registry.collect() if f.name == metric)
    (found,) = (
        s.value for s in family.samples
        if s.labels.get("quantity") == quantity and s.labels.get("bin") == name and not s.name.endswith("_created")
    )  # fmt: skip
    return found


def test_values_are_counted_into_the_bins_of_training(families):
    watch = DriftMonitor(MODEL, CERTIFICATE, families)
    x = np.array([[1.0, 5.0], [1.5, np.nan], [2.5, 9.0], [100, np.nan]], np.float32)
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.4, 0.6]], np.float32)
    watch.add([x[:3]], [probabilities[:3]])
    watch.add([x[3:]], [probabilities[3:]])
    watch.flush()
    watch.flush()  # nothing is counted twice
    counted = {
        ("input:a", "00"): 1, ("input:a", "01"): 1, ("input:a", "02"): 2, ("input:a", "missing"): 0,
        ("input:b", "00"): 1, ("input:b", "01"): 1, ("input:b", "missing"): 2,
        ("prediction:class", "00"): 2, ("prediction:class", "01"): 2,
        ("prediction:confidence", "00"): 2, ("prediction:confidence", "01"): 2,
    }  # fmt: skip
    for (quantity, name), rows in counted.items():
        assert value(families, "ekiben_drift_observed", quantity, name) == rows, (quantity, name)


def test_categories_have_bins_of_their_own_and_one_for_what_training_had_not(families):
    fields = (
        Field("walls", "", choices={1: "brick", 2: "panel", 9: "wood"}, nullable=True, into="x"),
        Field("city", "", type=str, into="y"),
    )
    model = replace(
        MODEL,
        payload=Fields(fields),
        signature=Signature((Tensor("x", "FP32", (-1, 1)), Tensor("y", "BYTES", (-1,))), MODEL.signature.outputs),
    )
    walls = Histogram((0.5, 0.5, 0.0), classes=("brick", "wood"))  # training had no panel
    city = Histogram((0.5, 0.3, 0.2), classes=("Lyon", "Paris"))
    watch = DriftMonitor(model, replace(CERTIFICATE, reference={"input:walls": walls, "input:city": city}), families)
    x = np.array([[1], [9], [9], [2], [np.nan], [77]], np.float32)
    y = np.array(["Paris", "Lyon", "Paris", "", "Nantes", "Paris "], object)
    watch.add([x, y], [np.full((6, 2), 0.5, np.float32)])
    watch.flush()
    counted = {
        ("input:walls", "c00"): 1, ("input:walls", "c01"): 2, ("input:walls", "c02"): 2, ("input:walls", "missing"): 1,
        ("input:city", "c00"): 1, ("input:city", "c01"): 2, ("input:city", "c02"): 3, ("input:city", "missing"): 0,
    }  # fmt: skip
    for (quantity, name), rows in counted.items():
        assert value(families, "ekiben_drift_observed", quantity, name) == rows, (quantity, name)
    assert value(families, "ekiben_drift_reference_ratio", "input:city", "c02") == 0.2


def test_codes_are_counted_between_deciles_where_the_certificate_has_those(families):
    model = replace(MODEL, payload=Fields((Field("a", "", choices={1: "x", 2: "y"}), MODEL.payload.fields[1])))
    watch = DriftMonitor(model, CERTIFICATE, families)
    watch.add([np.array([[1, 5], [2, 5]], np.float32)], [np.full((2, 2), 0.5, np.float32)])
    watch.flush()
    assert [value(families, "ekiben_drift_observed", "input:a", name) for name in ("00", "01", "02")] == [1, 1, 0]


def test_the_reference_is_exported_beside_them_and_sums_to_one(families):
    DriftMonitor(MODEL, CERTIFICATE, families)
    shares = [value(families, "ekiben_drift_reference_ratio", "input:b", name) for name in ("00", "01", "missing")]
    assert shares == pytest.approx([0.4, 0.4, 0.2])


def test_predictions_are_referred_to_the_rows_held_out_of_training(families):
    DriftMonitor(MODEL, CERTIFICATE, families)
    (family,) = (f for f in families.registry.collect() if f.name == "ekiben_drift_reference_rows")
    rows = {sample.labels["quantity"]: sample.value for sample in family.samples}
    assert rows == {"input:a": 40, "input:b": 40, "prediction:class": 10, "prediction:confidence": 10}


def test_what_is_held_is_bounded(families):
    watch = DriftMonitor(MODEL, CERTIFICATE, families)
    batch = np.ones((ELEMENTS // 4, 2), np.float32)
    for _ in range(5):
        watch.add([batch], [batch])
    watch.flush()
    assert value(families, "ekiben_drift_observed", "input:a", "00") == 2 * len(batch)


def test_a_model_without_a_reference_is_not_watched(families):
    watch = DriftMonitor(MODEL, replace(CERTIFICATE, reference={}), families)
    watch.add([np.ones((1, 2))], [np.ones((1, 2))])
    watch.flush()
    assert not watch._held


def test_rows_that_are_left_out_are_counted_as_unwatched(families):
    watch = DriftMonitor(MODEL, CERTIFICATE, families)
    watch.leave_out([np.ones((3, 2), np.float32)])
    watch.flush()
    assert (
        families.registry.get_sample_value(
            "ekiben_unwatched_rows_total", {"model": "m", "form": CERTIFICATE.form, "version": CERTIFICATE.version}
        )
        == 3
    )
    assert value(families, "ekiben_drift_observed", "input:a", "00") == 0
