"""Who may know whom: the rooms of the house, held against every import in the code."""

import ast
import subprocess
import sys
import tomllib

import pytest
import yaml

from serving import VERSION
from tests.conftest import ROOT

ROOMS = ("bentos", "serving", "train", "convert", "loadtest", "deploy")
# What the machinery may know of bentos/: what every model has, never a model.
SHARED = ("contract", "folders", "rehearsal", "certificate", "meaning", "golden", "trained", "imported")
COMMON = {f"bentos.{name}" for name in SHARED}
HEAVY = {"torch", "sklearn", "skops", "safetensors", "skl2onnx", "onnx", "matplotlib"}


def files(room):
    found = [p for p in (ROOT / room).rglob("*.py") if "peers" not in p.parts]
    assert found or room == "deploy"
    return found


def imports(path, top_level_only=False):
    """Every module that a file imports, `from a import b` as both a and a.b."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_of(path):
    return {name.split(".")[0] for name in imports(path)} & set(ROOMS)


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("bentos", {"bentos"}),
        ("serving", {"serving", "bentos"}),
        ("train", {"train", "bentos"}),
        ("convert", {"convert", "bentos"}),
        ("loadtest", {"loadtest"}),
        ("deploy", {"deploy"}),
    ],
)
def test_rooms_know_only_whom_they_may(room, allowed):
    breaches = {str(p): rooms_of(p) - allowed for p in files(room) if rooms_of(p) - allowed}
    assert not breaches


def test_serving_knows_what_every_model_has_and_no_model():
    for path in files("serving"):
        known = {name for name in imports(path) if name.startswith("bentos.")}
        strangers = {k for k in known if not any(k == c or k.startswith(c + ".") for c in COMMON)}
        assert not strangers, path


@pytest.mark.parametrize("room", ["serving", "train", "convert"])
def test_the_machinery_holds_no_models_name(room):
    models = {p.parent.name for p in (ROOT / "bentos").glob("*/model.py")}
    for path in files(room):
        words = {
            node.value for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }  # fmt: skip
        assert not words & models, path


def test_a_models_own_module_and_serving_import_no_training_library():
    for path in [*files("serving"), ROOT / "service.py", *(ROOT / "bentos").glob("*/model.py")]:
        heavy = {name.split(".")[0] for name in imports(path, top_level_only=True)} & HEAVY
        assert not heavy, path


IMPORTS_DO_NOTHING = """
import builtins, importlib, pathlib, sys
import prometheus_client
before = set(prometheus_client.REGISTRY._collector_to_names)
def refuse(*arguments, **_): raise AssertionError(f"opened {arguments}")
import bentoml, onnxruntime, uvicorn, numpy, orjson, msgspec, PIL.Image, jinja2, python_multipart.multipart
import contextlib
with contextlib.suppress(ImportError): import simdjson
import _bentoml_sdk.service, _bentoml_sdk.models, prometheus_client.multiprocess
import uvicorn.protocols.http.httptools_impl, starlette.responses, asyncio, urllib.request
pathlib.Path.open = pathlib.Path.read_text = pathlib.Path.read_bytes = builtins.open = refuse
for name in sys.argv[1:]:
    importlib.import_module(name)
assert set(prometheus_client.REGISTRY._collector_to_names) == before
"""


def test_importing_does_no_io_and_creates_no_metric():
    modules = [".".join(p.relative_to(ROOT).with_suffix("").parts) for p in files("serving")]
    names = [name.removesuffix(".__init__") for name in modules]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS_DO_NOTHING, "service", *names], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# Within serving, who may import whom. The four services (service.py and the chain's three) stand on top and put it all
# together; what lies loose in serving/ is known to all, but for the service class, which is a composition as well.
LOOSE_FILES = ("cgroup", "errors", "lifecycle", "memory", "settings", "token_bucket")
LOOSE = {"serving", *(f"serving.{name}" for name in LOOSE_FILES)}
LAYERS = {
    "telemetry": {"telemetry"},
    "http": {"http", "telemetry"},
    "inference": {"inference", "telemetry"},
    "http2": {"http2"},
    "grpc": {"grpc", "http2", "http", "telemetry"},
    "api": {"api", "inference", "grpc", "http", "telemetry"},
    "process": {"process", "api", "inference", "telemetry"},
    "chain": {"chain", "process", "api", "inference", "http", "telemetry", "service_class"},
}
MOST_LOOSE_FILES = 8
DEEPEST = 8
SERVICES = {f"serving.chain.{stage}" for stage in ("preprocess", "model", "postprocess")}


def serving_imports():
    """Module of serving → the modules of serving that it imports, wherever in it and for whatever purpose."""
    modules = {name_of(path): path for path in files("serving")}
    return {name: {known for known in imports(path) if known in modules} - {name} for name, path in modules.items()}


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def without_packages(imported):
    """`from a.b import c` is an import of a.b.c, and of a.b only where that is a file of something else."""
    return {name for name in imported if not any(other.startswith(name + ".") for other in imported)}


def longest_chain(graph):
    """The longest chain of modules of which each imports the next. AssertionError where they go in a circle."""
    chains = {}

    def chain(name, above=()):
        assert name not in above, f"a circle: {' → '.join([*above[above.index(name) :], name])}"
        if name not in chains:
            below = [chain(known, (*above, name)) for known in without_packages(graph[name]) if known in graph]
            chains[name] = [name, *max(below, key=len, default=[])]
        return chains[name]

    return max(map(chain, graph), key=len)


@pytest.mark.parametrize("room", LAYERS)
def test_the_rooms_of_serving_are_layers(room):
    for name, imported in serving_imports().items():
        if name.startswith(f"serving.{room}.") or name == f"serving.{room}":
            rooms = {known.split(".")[1] for known in imported - LOOSE}
            assert rooms <= LAYERS[room], name


def test_what_lies_loose_in_serving_is_little_and_knows_no_room():
    graph = serving_imports()
    loose = {name_of(path) for path in (ROOT / "serving").glob("*.py")}
    assert len(loose) <= MOST_LOOSE_FILES
    assert loose - LOOSE == {"serving.service_class"}
    for name in LOOSE:
        assert graph[name] <= LOOSE, name


def test_no_file_of_serving_is_deep_and_none_imports_itself_in_a_circle():
    graph = {name: imported for name, imported in serving_imports().items() if name not in SERVICES}
    chain = longest_chain(graph)
    assert len(chain) <= DEEPEST, " → ".join(chain)


def test_a_circle_and_a_deep_chain_would_be_seen():
    assert longest_chain({"a": {"b"}, "b": {"c"}, "c": set()}) == ["a", "b", "c"]
    with pytest.raises(AssertionError, match="a → b → a"):
        longest_chain({"a": {"b"}, "b": {"a"}})


def test_there_is_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "chart" / "Chart.yaml").read_text())
    assert VERSION == project["version"] == chart["version"]


def test_every_room_of_serving_has_one_line_that_says_what_belongs_there():
    rooms = [folder for folder in (ROOT / "serving").iterdir() if (folder / "__init__.py").is_file()]
    assert {room.name for room in rooms} == set(LAYERS)
    for room in rooms:
        assert ast.get_docstring(ast.parse((room / "__init__.py").read_text())), room
