"""What slo.yaml may say, and what it is told otherwise."""

from pathlib import Path

import pytest
import yaml

from deploy import boundaries, burn
from deploy.objectives import HERE, Slo, SloError, read, seconds
from tests.deploy.conftest import DEPLOY

WRITTEN = yaml.safe_load((HERE / "slo.yaml").read_text())


def slo(folder: Path, **changed: object) -> Slo:
    (folder / "slo.yaml").write_text(yaml.safe_dump(WRITTEN | changed))
    return read(folder / "slo.yaml")


def promised(folder: Path, **of_model: object) -> Slo:
    return slo(folder, models={"iris": of_model})


def test_the_service_promises_p95_of_a_second_and_three_nines() -> None:
    promises = read()
    latency, availability = promises.service_wide("latency"), promises.service_wide("availability")
    assert (latency.target, latency.within, availability.target) == (0.95, 1.0, 0.999)
    assert [(t.severity, t.burn, t.long, t.short) for t in availability.tiers] == [
        ("page", 14.4, "1h", "5m"),
        ("page", 6, "6h", "30m"),
        ("ticket", 3, "1d", "2h"),
        ("ticket", 1, "3d", "6h"),
    ]
    assert latency.tiers == availability.tiers  # 14.4 × 5 % = 72 %: p95 can burn as fast
    assert burn.lowered(promises) == []


def test_a_burn_rate_out_of_reach_is_lowered_and_said(tmp_path: Path) -> None:
    promises = promised(tmp_path, latency={"target": 90, "within": "1s"})
    assert [(t.burn, t.lowered_from) for t in promises.objectives[-1].tiers] == [(8, 14.4), (6, 0), (3, 0), (1, 0)]
    assert burn.lowered(promises) == [
        "iris-latency: burn rate 14.4 over 1h would need 144 % errors; lowered to 8, which is 80 %"
    ]


def test_a_tier_that_would_repeat_a_faster_one_is_left_out(tmp_path: Path) -> None:
    tiers = promised(tmp_path, availability={"target": 80}).objectives[-1].tiers
    assert [(t.severity, t.burn) for t in tiers] == [("page", 4), ("ticket", 3), ("ticket", 1)]


def test_an_objective_without_a_ticket_tier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SloError, match=r"iris-availability: target = 10 .* no ticket tier"):
        promised(tmp_path, availability={"target": 10})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"objectives": {"availability": {"target": 100}, "latency": {"target": 95, "within": "1s"}}}, "target = 100"),
        (
            {"objectives": {"availability": {"target": "many"}, "latency": {}}},
            "objectives.availability.target = 'many'",
        ),
        ({"objectives": {"availability": {"target": 99}}}, "objectives: latency is missing"),
        ({"models": {"iris": {"latency": {"target": 99}}}}, "models.iris.latency.within is missing"),
        ({"models": {"iris": {"latency": {"target": 99, "within": "fast"}}}}, "'fast' is no duration"),
        ({"models": {"iris": {"speed": {}}}}, "models.iris: unknown 'speed'"),
        ({"models": {'i"ris': {"availability": {"target": 99}}}}, "a model's name"),
        ({"models": {"iris": {"availability": 99}}}, "models.iris.availability = 99 must be a mapping"),
        (
            {"objectives": {"availability": {"target": True}, "latency": {}}},
            "availability.target = True must be",
        ),
        ({"capacity": "much"}, "capacity = 'much'"),
        ({"windows": []}, "slo.yaml: unknown 'windows'"),
        ({"drift": {"psi": -1, "samples": 500, "window": "1h"}}, "drift.psi = -1"),
    ],
)
def test_errors_name_the_key_and_the_value(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    with pytest.raises(SloError, match=message.replace("[", r"\[")):
        slo(tmp_path, **changed)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "slo.yaml").write_text("service: ekiben\n")
    with pytest.raises(SloError, match=r"slo\.yaml: drift, objectives, window is missing"):
        read(tmp_path / "slo.yaml")


def test_durations() -> None:
    assert [seconds(text) for text in ("250ms", "1s", "5m", "1.5h", "30d")] == [0.25, 1, 300, 5400, 2592000]


def test_a_threshold_between_two_boundaries_is_refused(tmp_path: Path) -> None:
    promises = promised(tmp_path, latency={"target": 99, "within": "300ms"})
    with pytest.raises(SloError, match=r"iris-latency: within = 0.3 s .* the nearest are 0.28 s and 0.315 s"):
        boundaries.check(promises.objectives, boundaries.of_file(boundaries.REQUEST))


def test_serving_has_the_boundary_that_the_service_promises() -> None:
    boundaries.check(read().objectives, boundaries.of_file(boundaries.REQUEST))


def test_boundaries_that_unpack_others(tmp_path: Path) -> None:
    source = tmp_path / "metrics.py"
    source.write_text(
        'A = (0.5, 1)\nB = (0.1, *A)\nclass F:\n    def __init__(self):\n        histogram("h", "doc", B)\n'
    )
    assert boundaries.of_file("h", source) == (0.1, 0.5, 1.0)
    with pytest.raises(SloError, match="no histogram 'other'"):
        boundaries.of_file("other", source)


def test_boundaries_of_a_running_service(tmp_path: Path) -> None:
    exported = "".join(f'h_bucket{{model="iris",le="{le}"}} 1\n' for le in ("0.5", "1.0", "+Inf"))
    (tmp_path / "metrics").write_text(exported)
    assert boundaries.of_service("h", (tmp_path / "metrics").as_uri()) == (0.5, 1.0)
    with pytest.raises(SloError, match="exports no other_bucket"):
        boundaries.of_service("other", (tmp_path / "metrics").as_uri())


def test_deploy_imports_nothing_of_the_project() -> None:
    sources = "\n".join(file.read_text() for file in DEPLOY.glob("*.py"))
    assert not [package for package in ("serving", "bentos", "train", "convert") if f"import {package}" in sources]
    assert "from serving" not in sources and "from bentos" not in sources
