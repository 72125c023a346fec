"""BentoML's own TLS options, over our connections."""

import os
import ssl
import subprocess
import sys
import time

import httpx
import pytest

from tests.conftest import ROOT, end, free_port, shared_home

IRIS = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [5, 3, 1, 0.2]}]}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """(certificate, private key) of localhost, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "certificate.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*new, "-out", made[0], "-keyout", made[1]], check=True, capture_output=True)
    return made


def test_requests_are_answered_over_tls(store, tmp_path, certificate):
    port, (public, private) = free_port(), certificate
    context = ssl.create_default_context(cafile=str(public))
    where = ["--host", "127.0.0.1", "--port", str(port), "--ssl-certfile", str(public), "--ssl-keyfile", str(private)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bentoml", "serve", ".", *where],
        cwd=ROOT,
        env={**os.environ, "BENTOML_HOME": str(shared_home(store, tmp_path)), "EKIBEN_MODELS": "iris"},
        start_new_session=True,
    )
    try:
        with httpx.Client(base_url=f"https://localhost:{port}", verify=context) as client:
            wait_for(client)
            answers = [client.post("/v2/models/iris/infer", json=IRIS) for _ in range(3)]
        assert [a.json()["outputs"][0]["data"] for a in answers] == [[0]] * 3
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://localhost:{port}/readyz")
    finally:
        end(process)


def wait_for(client, seconds=60):
    until = time.monotonic() + seconds
    while True:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < until
        time.sleep(0.2)
