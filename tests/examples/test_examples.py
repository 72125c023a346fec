"""Every client in examples/, run as its reader runs it, against a running service."""

import hashlib
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
SEVEN, THREE = (str(ROOT / f"bentos/digits/examples/{name}.png") for name in ("seven", "three"))
MOST_LINES = 40
# File → its arguments, and what it prints.
RUNS = {
    "native_urllib.py": ((), ["setosa", "petal_width is -1: it must be a number from 0.05 to 10 cm"]),
    "picture_httpx.py": ((SEVEN, THREE), ["seven.png 7", "three.png 3"]),
    "v2_json.py": ((), ["0", "2"]),
    "v2_triton.py": ((), ["[0, 2]", None]),
    "bentoml_client.py": ((SEVEN,), ["setosa", "7"]),
    "curl.sh": ((), [None, None, None]),
}


def run(file, *arguments, url, **environment):
    """The lines that an example prints."""
    words = ["sh"] if file.endswith(".sh") else [sys.executable]
    ran = subprocess.run(
        [*words, str(EXAMPLES / file), *arguments],
        env={**os.environ, "EKIBEN_URL": url, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.parametrize("file", RUNS)
def test_an_example_prints_what_it_should(service_url, file):
    arguments, expected = RUNS[file]
    lines = run(file, *arguments, url=service_url)
    assert len(lines) == len(expected)
    for line, words in zip(lines, expected, strict=True):
        assert words is None or line == words


def test_curl_is_answered_by_all_three(service_url):
    picture, flower, tensor = run("curl.sh", url=service_url)
    assert '"label":"7"' in picture and '"form":"int8"' in picture
    assert '"label":"setosa"' in flower
    assert '"model_name":"iris"' in tensor


def test_a_key_opens_and_its_lack_is_told(serve, tmp_path):
    keys = tmp_path / "keys.txt"
    keys.write_text(f"shop predict {hashlib.sha256(b'open').hexdigest()}\n")
    with serve(EKIBEN_API_KEYS_FILE=str(keys), EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx") as server:
        assert run("with_a_key.py", url=server.url, EKIBEN_KEY="open") == ["200 features"]
        refusal, trace = run("with_a_key.py", url=server.url, EKIBEN_KEY="wrong")
    assert refusal.startswith("401 ")
    assert len(trace.removeprefix("x-trace-id: ")) == 32


def test_every_example_is_run_short_and_in_the_list():
    clients = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")}
    assert clients == {*RUNS, "with_a_key.py"}
    listed = (EXAMPLES / "README.md").read_text()
    for name in clients:
        assert len((EXAMPLES / name).read_text().splitlines()) <= MOST_LINES, name
        assert f"[{name}]({name})" in listed
