"""BentoML's own TLS options, over our connections."""

import os
import socket
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


# What docs/security.md says; BentoML's own default is "TLSv1", by which OpenSSL means CBC with SHA-1.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
AEAD = ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305")
OTHERS = ("ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384", "AES128-SHA", "AES128-GCM-SHA256")


@pytest.fixture(scope="module")
def port(store, tmp_path_factory, certificate):
    """A service as docs/security.md starts one."""
    free, (public, private) = free_port(), certificate
    where = ["--host", "127.0.0.1", "--port", str(free), "--ssl-certfile", str(public), "--ssl-keyfile", str(private)]
    home = shared_home(store, tmp_path_factory.mktemp("home"))
    process = subprocess.Popen(
        [sys.executable, "-m", "bentoml", "serve", ".", *where, "--ssl-ciphers", CIPHERS],
        cwd=ROOT,
        env={**os.environ, "BENTOML_HOME": str(home), "EKIBEN_MODELS": "iris"},
        start_new_session=True,
    )
    try:
        with httpx.Client(base_url=f"https://localhost:{free}", verify=str(public)) as client:
            wait_for(client)
        yield free
    finally:
        end(process)


def test_requests_are_answered_over_tls(port, certificate):
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with httpx.Client(base_url=f"https://localhost:{port}", verify=context) as client:
        answers = [client.post("/v2/models/iris/infer", json=IRIS) for _ in range(3)]
    assert [a.json()["outputs"][0]["data"] for a in answers] == [[0]] * 3
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://localhost:{port}/readyz")


def agreed(port, certificate, ciphers):
    """(version, cipher) that service and client agree on where the client knows TLS 1.2 with these only. SSLError"""
    context = ssl.create_default_context(cafile=str(certificate[0]))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        return secured.version(), secured.cipher()[0]


@pytest.mark.parametrize("cipher", AEAD)
def test_authenticated_ciphers_with_forward_secrecy_are_offered(port, certificate, cipher):
    assert agreed(port, certificate, cipher) == ("TLSv1.2", cipher)


@pytest.mark.parametrize("cipher", OTHERS)
def test_no_other_cipher_is(port, certificate, cipher):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        agreed(port, certificate, cipher)


def test_tls_1_3_is_spoken(port, certificate):
    context = ssl.create_default_context(cafile=str(certificate[0]))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        assert secured.version() == "TLSv1.3"


def test_the_documented_command_is_the_tested_one():
    assert f"--ssl-ciphers '{CIPHERS}'" in (ROOT / "docs" / "security.md").read_text()


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
