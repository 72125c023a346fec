"""What is made of the runs: report, plots, the winner's files, the sweep's winner, and sections of documents."""

import json
import shutil
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import pytest

from deploy import boundaries, objectives
from loadtest.documents import Progress
from loadtest.machine import Cores
from loadtest.measurement import Limit
from loadtest.tune import __main__ as cli
from loadtest.tune import report, space, sweep
from loadtest.tune.report import Findings, bound_by, front
from loadtest.tune.search import Bracket, Journal, Results, Trial, Trials
from loadtest.tune.space import candidates
from loadtest.tune.sweep import Swept, markdown
from loadtest.tune.verdict import Verdict
from serving.settings import Settings
from tests.conftest import ROOT
from tests.loadtest.runs import run
from tests.loadtest.test_tune_search import Pool

PNG = b"\x89PNG"
DEFAULT, TWO = candidates(["onnx"], {"workers": [1, 2], "max_batch_size": [64]})


def found(tmp_path: Path, gains: dict[int, float]) -> Findings:
    """A search in which two workers took `gain` times the defaults' 1000/s in each round."""
    results = Results(DEFAULT, {DEFAULT: {}, TWO: {}})
    pool: Any = Pool(None)
    trials = Trials(pool, DEFAULT, Journal(tmp_path / "j", {}), Limit(0.99, 0.05), 60, 2.0, Progress(60))
    for number, gain in gains.items():
        for setting, rate in ((DEFAULT, 1000.0), (TWO, 1000 * gain)):
            results.brackets[setting][number] = Bracket(rate, 1.05 * rate, finished=True)
            good, bad = (
                run(rate=rate, achieved=rate, at_percentile=40.0),
                run(rate=1.05 * rate, achieved=1.05 * rate, slow=90, cpu_cores=0.97),
            )
            trials.all.append(Trial(setting, number, rate, [good], Verdict.PASS))
            trials.all.append(Trial(setting, number, 1.05 * rate, [bad], Verdict.FAIL))
    return Findings("iris", trials, results, "a machine", str(Cores((0,), (1,))))


ROUNDS = {1: 1.5, 2: 1.30, 3: 1.31, 4: 1.32}


def test_the_report_claims_the_gain_of_the_later_rounds_with_an_interval(tmp_path: Path) -> None:
    text = report.markdown(found(tmp_path, ROUNDS), "latency.png")
    assert "requests/s** of iris-onnx meet p99=50ms with 95 % confidence" in text and "with workers=2" in text
    assert "prediction bound of 3 rounds, whose mean is 1,310" in text
    assert "× 1.31 (1.29–1.34)" in text
    assert "First rate that did not pass: 1,386/s (fail: 90 of 1,000" in text and "Bound by CPU: 0.97 of 1 core" in text
    assert "| **workers=2** |" in text and "| defaults | 1,000 (mean 1,000) |" in text
    assert "workers=2 passed last 8 s in all: stalls of which none came in them are 3 s or more apart" in text


def test_without_a_gain_the_defaults_are_kept(tmp_path: Path) -> None:
    text = report.markdown(found(tmp_path, {1: 1.5, 2: 0.9, 3: 1.2, 4: 1.1}), "latency.png")
    assert "No setting beats the defaults beyond doubt" in text and "| **defaults** |" in text


def test_two_rounds_are_too_few_to_claim_a_gain(tmp_path: Path) -> None:
    text = report.markdown(found(tmp_path, {1: 1.5, 2: 1.5}), "latency.png")
    assert (
        "No gain over the defaults can be claimed" in text
        and "No rate can be claimed**: too few rounds; 1,000 requests/s met" in text
    )


def test_thrown_away_runs_and_other_programs_are_told(tmp_path: Path) -> None:
    search = found(tmp_path, ROUNDS)
    search.trials.all[0].runs.insert(0, run(rejected="the generator was late: p99 of 9 ms", background_cores=0.7))
    text = report.markdown(search, "latency.png")
    assert (
        "17 loads, 1 thrown away" in text
        and "p99 of 9 ms" in text
        and "up to 0.7 cores" in text
        and "quiet machine" in text
    )


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    report.draw(found(tmp_path, ROUNDS), tmp_path / "a.png")
    report.draw(found(tmp_path, {1: 1.0}), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == (tmp_path / "b.png").read_bytes()[:4] == PNG


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"cpu_cores": 0.95, "engine_cores": 0.1}, "CPU: 0.95 of 1 core used"),
        ({"cpu_cores": 0.95, "engine_cores": 0.7}, "engine: the engine ran 70 %"),
        ({"cpu_cores": 0.3, "engine_cores": 0.1, "queue": 20, "mean": 30}, "queue: 20.0 of 30.0 ms"),
        ({"cpu_cores": 0.3, "engine_cores": 0.1}, "none of CPU"),
        ({"cpu_cores": 0.3, "background_cores": 1.2}, "other programs"),
        ({"rejected": "the generator was late"}, "generator: the generator was late"),
    ],
)
def test_what_bounds_a_rate_is_read_from_its_first_failing_run(more: dict[str, Any], word: str) -> None:
    assert bound_by(run(**more), 1, 1).startswith(word)


def test_the_pareto_front_is_what_nothing_beats_in_everything() -> None:
    points = [(1.0, 5.0), (2.0, 2.0), (5.0, 1.0), (2.0, 3.0), (5.0, 5.0), (2.0, 2.0)]
    assert front(points) == [0, 1, 2, 5]


def test_a_search_of_which_most_was_thrown_away_is_not_usable_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = found(tmp_path, ROUNDS)
    assert search.unusable == ""
    for trial in search.trials.all[1:]:
        trial.runs = [run(rejected="the generator was late: p99 of 9 ms")]
    text = report.markdown(search, "x.png")
    assert text.startswith("**Not usable, because 15 of 16 loads were thrown away**") and "requests/s" not in text
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(SystemExit) as exit:
        cli.publish(search, folder, cli.arguments(["--model", "iris", "--write", "--docs"]))
    assert exit.value.code not in (0, None) and not list(folder.iterdir())
    assert capsys.readouterr().out.startswith("**Not usable, because")


def test_the_rate_that_is_written_is_the_bound_and_not_the_mean(tmp_path: Path) -> None:
    search = found(tmp_path, ROUNDS)
    rate = search.results.rate(TWO, since=2)  # the first round selected it
    assert search.rate == rate.bound < 1300 < rate.mean < 1320
    assert found(tmp_path, {1: 1.5, 2: 1.5}).rate == 0


# Where it goes


def test_the_service_reads_the_winner_from_the_settings_file(tmp_path: Path) -> None:
    search = found(tmp_path, ROUNDS)
    path = tmp_path / "ekiben.env"
    path.write_text(space.settings_file(search.winner.values, report.comment(search)))
    read = Settings.read({"EKIBEN_SETTINGS": str(path)})
    assert (read.workers, read.max_batch_size) == (2, 64)


def test_the_capacity_goes_into_the_slo_and_nothing_else_changes(tmp_path: Path) -> None:
    before = (ROOT / "deploy" / "slo.yaml").read_text()
    after = space.with_capacity(before, 4321.4)
    (tmp_path / "slo.yaml").write_text(after)
    assert objectives.read(tmp_path / "slo.yaml").capacity == 4321
    differing = [pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(differing) == 1 and differing[0][0].partition("#")[2] == differing[0][1].partition("#")[2] != ""
    assert space.with_capacity(after, 5) == space.with_capacity(before, 5)
    with pytest.raises(ValueError, match="capacity"):
        space.with_capacity("service: x\n", 5)


def test_written_are_the_settings_file_and_all_that_the_capacity_decides(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    metrics = boundaries.METRICS.relative_to(ROOT)  # the boundaries that objectives are held to
    (tmp_path / metrics).parent.mkdir(parents=True)
    shutil.copy(ROOT / metrics, tmp_path / metrics)
    said = space.write("EKIBEN_WORKERS=2\n", 4321.4, tmp_path)
    assert (tmp_path / "ekiben.env").read_text() == "EKIBEN_WORKERS=2\n" and len(said) == 2
    thresholds = json.loads((tmp_path / "deploy" / "thresholds.json").read_text())
    assert thresholds["capacity_requests_per_second"] == 4321
    assert "4321" in (tmp_path / "deploy" / "prometheus" / "rules" / "causes.yml").read_text()


# The command line


def test_the_objective_is_written_as_people_write_it() -> None:
    assert space.parse_slo("p99=50ms") == Limit(0.99, 0.05) and space.parse_slo("p99.9=0.5s") == Limit(0.999, 0.5)
    assert space.slo_text(space.parse_slo("p99.9=500us")) == "p99.9=0.5ms"
    assert cli.arguments(["--model", "iris"]).slo == space.parse_slo(space.promised_slo())


@pytest.mark.parametrize("words", [["--slo", "p99"], ["--slo", "p100=1s"], ["--slo", "p99=0s"], ["--budget", "10"]])
def test_the_command_line_says_what_is_allowed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.arguments(["--model", "iris", *words])
    assert "as in" in capsys.readouterr().err


# The sweep


def swept(rates: dict[tuple[int, int], float], **more: Any) -> Swept:
    asked = changed(sweep.read(sweep.GRID), rows=[1, 4], columns=[0, 1000])
    one = {cell: [run(achieved=rate, **more)] for cell, rate in rates.items()}
    one[asked.reference] *= 3
    return Swept(asked, one)


FLAT = {(1, 0): 1000.0, (1, 1000): 500.0, (4, 0): 990.0, (4, 1000): 480.0}


def test_every_cell_is_planned_and_the_reference_at_both_ends_and_between() -> None:
    asked = sweep.read(sweep.GRID)
    plan = asked.plan()
    assert len(plan) == 35 + 2 and len(set(plan)) == 35
    places = [place for place, cell in enumerate(plan) if cell == asked.reference]
    assert places[0] == 0 and len(places) == 3 and places[2] >= len(plan) - 2
    assert [cell for cell in plan if cell != asked.reference] != sorted(set(plan) - {asked.reference})


def test_the_simplest_of_what_noise_does_not_tell_apart_wins() -> None:
    noisy = swept({**FLAT, (4, 0): 1040.0})
    noisy.runs[noisy.grid.reference] = [run(achieved=rate) for rate in (970.0, 1000.0, 1030.0)]
    assert noisy.noise == pytest.approx(0.062, abs=0.001) and noisy.best == (4, 0) and noisy.winner == (1, 0)
    assert swept({**FLAT, (4, 0): 1200.0}).winner == (4, 0)


def summary(of: Swept) -> str:
    return markdown(of, "a machine", "h.png")


def test_the_summary_follows_the_figures() -> None:
    assert summary(swept(FLAT, p50=2.5)).startswith(
        "a machine. **Winner: workers=1 queue_delay_us=0**, 1,000 requests/s, p50 2.50 ms. The first cell, measured 3 "
        "times, differed by 0 % from itself.\n\n|"
    )
    assert "**Winner: workers=4 queue_delay_us=0**, 1,900" in summary(swept({**FLAT, (4, 0): 1900.0}))
    noisy = swept({**FLAT, (4, 0): 1040.0})
    noisy.runs[noisy.grid.reference] = [run(achieved=rate) for rate in (970.0, 1000.0, 1030.0)]
    assert "workers=4 queue_delay_us=0 measured 1,040, which the noise does not tell apart" in summary(noisy)
    assert "quiet machine" in summary(swept(FLAT, background_cores=0.5))


def test_the_heat_map_and_the_tables_show_every_cell(tmp_path: Path) -> None:
    sweep.draw(swept(FLAT), tmp_path / "h.png", "a machine")
    assert (tmp_path / "h.png").read_bytes().startswith(PNG)
    text = summary(swept(FLAT))
    assert "| 1 | **1,000** | 500 |" in text and "| 4 | 990 | 480 |" in text


@pytest.mark.parametrize("text", ["model: iris\n", "[]\n"])
def test_a_grid_says_what_it_needs(tmp_path: Path, text: str) -> None:
    (tmp_path / "g.yaml").write_text(text)
    with pytest.raises(SystemExit, match="columns, concurrency, fixed, form, model, rows"):
        sweep.read(tmp_path / "g.yaml")
