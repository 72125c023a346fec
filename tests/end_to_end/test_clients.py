"""The clients of docs/clients.md, each run as its reader runs it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.peers import peer
from tests.conftest import ROOT, free_port

PAGE = (ROOT / "docs" / "clients.md").read_text()
PROTO = ROOT / "serving" / "api" / "grpc" / "proto" / "inference.proto"
PACKAGES = ["@grpc/grpc-js@1.14.0", "@grpc/proto-loader@0.8.0"]


@pytest.fixture(scope="module")
def address(serve):
    port = free_port()
    with serve(EKIBEN_GRPC_PORT=str(port), EKIBEN_MODELS="iris", EKIBEN_FORMS="onnx"):
        yield f"127.0.0.1:{port}"


def blocks(language, *words):
    """The page's blocks of code in this language that hold one of these words, as one program."""
    found = [block for block in re.findall(rf"```{language}\n(.*?)```", PAGE, re.S) if any(w in block for w in words)]
    assert len(found) >= len(words)
    return "\n".join(found)


def run(words, program, address, cwd=ROOT):
    """What a program prints that asks this address."""
    assert "localhost:3001" in program
    done = subprocess.run(
        [*words, program.replace("localhost:3001", address)],
        cwd=cwd,
        env={**os.environ, "NODE_PATH": str(Path(cwd) / "node_modules")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_tritons_client_calls_and_streams(address):
    printed = run([sys.executable, "-c"], blocks("python", "triton.InferInput", "start_stream"), address)
    assert printed.count("[0]") == 3 and printed.startswith("[[")


def test_grpcs_health_client(address):
    assert run([sys.executable, "-c"], blocks("python", "health_pb2"), address) == "1\n"


@pytest.mark.long
def test_kserves_client(address):
    """In the environment that the benchmark makes for KServe: its requirements are not ours."""
    kserve = peer.read("kserve")
    if not kserve.python.exists():
        pytest.skip("`python -m loadtest.peers --peers kserve` installs KServe, in an environment of its own")
    assert "[0]" in run([str(kserve.python), "-c"], blocks("python", "InferenceGRPCClient"), address)


@pytest.mark.long
@pytest.mark.skipif(bool(os.environ.get("CI")) or shutil.which("npm") is None, reason="fetches packages with npm")
def test_nodes_client(address, tmp_path):
    install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--prefix", str(tmp_path), *PACKAGES]
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    shutil.copy(PROTO, tmp_path)
    assert run(["node", "-e"], blocks("js", "grpc-js"), address, tmp_path) == "0\n"
