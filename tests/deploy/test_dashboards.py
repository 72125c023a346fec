"""The dashboards: current, whole, and no query in vain: each is asked of a real Prometheus after a real load."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
import yaml
from matplotlib.pyplot import close
from matplotlib.text import Text

from bentos import contract
from deploy.dashboards import exported, handbook
from deploy.dashboards.__main__ import PAGES, dashboards, files, main, stale, unknown
from deploy.dashboards.prometheus import Prometheus, QueryError, panels, seconds, silent, variables
from deploy.dashboards.render import draw, picture, selections
from deploy.dashboards.units import shown
from deploy.objectives import read
from deploy.slo import files as rule_files
from deploy.slo import write
from loadtest.service import ServiceProcess, serve
from tests.conftest import free_port
from tests.deploy.conftest import DEPLOY, tool
from tests.deploy.stack import program, ready

SCALE, SCRAPE = 240, "500ms"  # an hour of the rules takes 15 seconds
ROWS = 600  # above the volume that drift asks for
PICTURE = (contract.BENTOS / "digits" / contract.examples("digits")[0]).read_bytes()


@pytest.fixture(scope="module")
def boards() -> dict:
    return dashboards(read())


def test_the_files_are_current(capsys: pytest.CaptureFixture) -> None:
    assert main(["--check"]) == 0, capsys.readouterr()


def test_a_stale_file_is_told_and_so_is_one_that_nothing_makes(boards: dict, tmp_path: Path) -> None:
    texts = {path: text for path, text in files(boards).items() if path != handbook.PATH}
    write(texts, tmp_path)
    assert stale(texts, tmp_path) == []
    folder = tmp_path / "grafana/dashboards"
    (folder / "drift.json").write_text((folder / "drift.json").read_text().replace("PSI", "ISP"))
    (folder / "old.json").write_text("{}")
    assert stale(texts, tmp_path) == [
        "deploy/grafana/dashboards/drift.json is stale",
        "deploy/grafana/dashboards/old.json is generated from nothing: remove it",
    ]


def test_a_query_of_a_metric_that_nobody_has_is_told(boards: dict) -> None:
    assert unknown(boards) == []
    changed = json.loads(json.dumps(boards).replace("ekiben_batch_rows_count", "ekiben_batch_row_count"))
    complaints = unknown(changed)
    assert (
        "Ekiben · model · Rows and engine calls: ekiben_batch_row_count is neither exported nor recorded" in complaints
    )


GROUPED = 'sum by (job) (rate(a_total{b=~"$c",d="e{f}"}[$__rate_interval])) / on (g) group_left (h) i:j:k'


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        (GROUPED, "a_total i:j:k"),
        ("histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m] offset 1h)))", "x_bucket"),
        ('count({__name__="y"} > 1) or vector(0) - max_over_time(z[1h:1m]) + time()', "y z"),
        ('label_replace(up, "quantity", "$1", "bin", "(.*)") unless ALERTS', "up ALERTS"),
    ],
)
def test_metric_names_are_read_from_promql(expr: str, names: str) -> None:
    assert exported.metric_names(expr) == set(names.split())


def test_what_is_no_promql_is_an_error() -> None:
    with pytest.raises(ValueError, match="parenthesis"):
        exported.metric_names("sum(rate(x[5m])")


def test_histograms_and_summaries_are_asked_by_their_samples() -> None:
    text = (
        "# HELP h H\n# TYPE h histogram\n# HELP s S\n# TYPE s summary\n# HELP c_total C\n# TYPE c_total counter\n"
        "# HELP bentoml_x X\n# TYPE bentoml_x gauge\n"
    )
    results = exported.families(text)
    assert exported.series(results) == {"h_bucket", "h_sum", "h_count", "s_sum", "s_count", "c_total"}
    assert exported.families(exported.recording(results)) == results


@pytest.mark.parametrize("name", PAGES)
def test_every_panel_says_what_it_is_and_fits(boards: dict, name: str) -> None:
    dashboard = boards[name]
    taken: set[tuple[int, int]] = set()
    for panel in panels(dashboard):
        title, grid = panel["title"], panel["gridPos"]
        assert title and panel["description"].endswith("."), title
        assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["datasource"]["uid"] == source()["uid"], title
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert grid["x"] + grid["w"] <= 24 and not cells & taken, title
        taken |= cells
        used = {w for t in panel["targets"] for w in re.findall(r"\$(\w+)", t["expr"])} - set(exported.WINDOWS)
        assert used <= {variable["name"] for variable in variables(dashboard)}, title


def source() -> dict:
    (results,) = yaml.safe_load((DEPLOY / "compose/grafana-datasource.yml").read_text())["datasources"]
    return results


def test_dashboards_link_one_another_and_sections_of_the_runbook_that_are_there(boards: dict) -> None:
    runbook = (DEPLOY / "runbook.md").read_text()
    sections = {heading.lower() for heading in re.findall(r"^## (\w+)$", runbook, re.MULTILINE)}
    assert len({dashboard["uid"] for dashboard in boards.values()}) == len(boards)
    for dashboard in boards.values():
        (others,) = (link for link in dashboard["links"] if link["type"] == "dashboards")
        assert others["tags"] == dashboard["tags"] and others["keepTime"]
        for link in (link for holder in (dashboard, *panels(dashboard)) for link in holder.get("links", [])):
            address, _, section = (link.get("url") or read().runbook).partition("#")
            assert address == read().runbook and (not section or section in sections), link["url"]


def test_an_objective_of_one_model_gets_its_tiles(tmp_path: Path) -> None:
    written = yaml.safe_load((DEPLOY / "slo.yaml").read_text())
    written["models"] = {"iris": {"latency": {"target": 99, "within": "100ms"}}}
    (tmp_path / "slo.yaml").write_text(yaml.safe_dump(written))
    results = dashboards(read(tmp_path / "slo.yaml"))
    titles = {panel["title"] for panel in panels(results["overview"])}
    assert {"Iris-latency: budget left", "Iris-latency: burn rate"} <= titles
    assert unknown(results) == []


def test_figures_are_shown_as_people_read_them() -> None:
    figures = [(0.25, "percentunit"), (0.0042, "s"), (93784, "s"), (3e9, "bytes"), (12345.0, "reqps"), (0.0, "Bps")]
    assert [shown(*f) for f in figures] == ["25 %", "4.2 ms", "1.09 d", "2.79 GiB", "12.3k req/s", "0B/s"]
    assert shown(float("nan"), "s") == "–" and shown(-1500, "none") == "-1.5k"


def test_durations_of_prometheus() -> None:
    assert [seconds(text) for text in ("15s", "1m30s", "200ms", "1d")] == [15, 90, 0.2, 86400]


# Against the real thing


@pytest.fixture(scope="module")
def started(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ServiceProcess]]:
    """The service with two workers, and the three of the chain."""
    with ExitStack() as stack:
        stack.enter_context(pytest.MonkeyPatch.context()).setenv("BENTOML_HOME", str(store))
        logs, services = tmp_path_factory.mktemp("services"), list[ServiceProcess]()

        def start(target: str, settings: dict[str, str]) -> ServiceProcess:
            services.append(
                stack.enter_context(serve(target, settings, logs / f"{len(services)}.log", grace_seconds=15))
            )
            return services[-1]

        common = {"EKIBEN_FORMS": "onnx", "EKIBEN_ENGINE_THREADS": "1", "EKIBEN_CHAIN_MODEL": "digits"}
        start("service:Ekiben", {**common, "EKIBEN_WORKERS": "2"})
        model = start("serving.chain.model:ModelStage", common)
        asking = {**common, "EKIBEN_CHAIN_MODEL_AT": f"127.0.0.1:{model.port}"}
        pre = start("serving.chain.preprocess:PreprocessStage", asking)
        asking = {**common, "EKIBEN_CHAIN_PREPROCESS_AT": f"127.0.0.1:{pre.port}"}
        start("serving.chain.postprocess:PostprocessStage", asking)
        for service in services:
            service.wait_healthy()
        yield services


@pytest.fixture(scope="module")
def prometheus(started: list[ServiceProcess], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus that scrapes them and evaluates the committed rules, faster."""
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    write(rule_files(read(scale=SCALE)), folder)
    whole, *stages = (f"127.0.0.1:{service.port}" for service in started)
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE}
    jobs = {config["scrape_configs"][0]["job_name"]: [whole], "chain": stages}
    config["scrape_configs"] = [{"job_name": job, "static_configs": [{"targets": at}]} for job, at in jobs.items()]
    del config["alerting"]
    file = folder / "prometheus" / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    listen, data = f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder}/data"
    with program(folder, tool("prometheus"), f"--config.file={file}", listen, data):
        ready(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"


def post(url: str, body: bytes, kind: str = "application/json") -> int:
    try:
        with urlopen(Request(url, body, {"content-type": kind}), timeout=300) as answer:  # noqa: S310
            return int(answer.status)
    except OSError as error:
        return int(getattr(error, "code", 0))


def load(started: list[ServiceProcess]) -> None:
    """A round of everything that panels show: each model over both interfaces, the chain, and bad input to both."""
    whole, front = started[0].url, started[-1].url
    random = np.random.default_rng(0)
    for name in contract.names():
        (tensor,) = contract.model(name).signature.inputs
        rows = random.random((ROWS, *tensor.sizes[1:]))
        described = {"name": tensor.name, "shape": list(rows.shape), "datatype": tensor.datatype}
        body = json.dumps({"inputs": [{**described, "data": rows.reshape(-1).tolist()}]}).encode()
        assert post(f"{whole}/v2/models/{name}/infer", body) == 200
        with urlopen(f"{whole}/{name}/random") as answer:  # noqa: S310
            assert answer.status == 200
    assert post(f"{whole}/iris/classify", b"{}") == 400
    assert post(f"{front}/finalize", *form(PICTURE)) == 200
    assert post(f"{front}/finalize", *form(b"no picture")) == 400


def form(file: bytes) -> tuple[bytes, str]:
    head = b'--b\r\ncontent-disposition: form-data; name="image"; filename="i"\r\n\r\n'
    return head + file + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


def test_every_query_returns_something_after_a_load(
    boards: dict, started: list[ServiceProcess], prometheus: str
) -> None:
    until = time.monotonic() + 300
    quiet = [""]
    while quiet:
        load(started)
        time.sleep(1)
        server = Prometheus(prometheus)
        quiet = [line for dashboard in boards.values() for line in silent(dashboard, server)]
        assert time.monotonic() < until, "\n".join(quiet)


def test_the_dashboards_are_drawn(boards: dict, prometheus: str, tmp_path: Path) -> None:
    server = Prometheus(prometheus, points=30)
    assert draw({"overview": boards["overview"]}, server, tmp_path) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["overview.png"]
    assert int.from_bytes((tmp_path / "overview.png").read_bytes()[16:20]) == 1440  # pixels wide
    for name in ("model", "drift"):
        (suffix, values), *_ = selections(boards[name], server)
        titles = {panel["title"] for panel in panels(boards[name]) if "$" not in panel["title"]}
        figure = picture(boards[name], server, values)
        texts = [text.get_text() for text in figure.findobj(Text)]
        close(figure)
        assert suffix == "-digits" and titles <= set(texts)
        assert "no data" not in texts


def test_a_query_that_prometheus_refuses_is_an_error_with_the_query(prometheus: str) -> None:
    with pytest.raises(QueryError, match=r"sum\(: .*"):
        Prometheus(prometheus).now("sum(")


def test_the_recording_is_what_the_services_export(started: list[ServiceProcess]) -> None:
    """python -m deploy.dashboards --metrics takes it anew."""
    load(started)  # a family whose labels are not known beforehand is there from its first observation on
    results = {f for service in started for f in exported.of_service(f"{service.url}/metrics")}
    recorded = set(exported.recorded())
    assert results == recorded, f"not recorded: {results - recorded}; not exported: {recorded - results}"


def test_counts_add_up_over_the_workers(started: list[ServiceProcess]) -> None:
    """What two workers have counted, whichever of them is asked, is what was sent."""
    url = started[0].url
    rows = np.zeros((100, 4)).tolist()
    body = json.dumps({"inputs": [{"name": "features", "shape": [100, 4], "datatype": "FP32", "data": rows}]}).encode()

    def counted() -> float:
        with urlopen(f"{url}/metrics") as answer:  # noqa: S310
            text = answer.read().decode()
        return sum(
            float(v) for v in re.findall(r'^ekiben_predictions_total{.*model="iris".* (\S+)$', text, re.MULTILINE)
        )

    def beats() -> list[float]:
        with urlopen(f"{url}/metrics") as answer:  # noqa: S310
            found = re.findall(r"^ekiben_worker_heartbeats_total{.*} (\S+)$", answer.read().decode(), re.MULTILINE)
        return [float(each) for each in found]

    first, until = beats(), time.monotonic() + 120
    # A worker bins once a second, as it gives signs of life: what came before this test is counted.
    while any(now < then + 3 for now, then in zip(beats(), first, strict=True)):
        assert time.monotonic() < until
        time.sleep(0.2)
    before = counted()
    assert {post(f"{url}/v2/models/iris/infer", body) for _ in range(40)} == {200}
    until = time.monotonic() + 120
    while counted() < before + 4000:
        assert time.monotonic() < until, f"{counted() - before} of 4000"
        time.sleep(0.2)
    assert counted() == before + 4000
