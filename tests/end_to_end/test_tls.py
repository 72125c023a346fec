"""BentoML's own TLS options, over our connections, HTTP's and gRPC's."""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import time

import grpc
import httpx
import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.conftest import LATENCY_MS, ROOT, end, free_port, shared_home

IRIS = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [5, 3, 1, 0.2]}]}


def issued(folder, name="localhost"):
    """(certificate, private key) of this name, signed by itself."""
    made = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*new, "-out", made[0], "-keyout", made[1]], check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return issued(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """A client's."""
    return issued(tmp_path_factory.mktemp("client"), "client")


# What docs/security.md says; BentoML's own default is "TLSv1", by which OpenSSL means CBC with SHA-1.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
AEAD = ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305")
OTHERS = ("ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384", "AES128-SHA", "AES128-GCM-SHA256")


@contextlib.contextmanager
def serving(store, home, certificate, client, *options):
    """(process, port of HTTP, port of gRPC) of a service as docs/security.md starts one."""
    free, grpc_port, (public, private) = free_port(), free_port(), certificate
    where = ["--host", "127.0.0.1", "--port", str(free), "--ssl-certfile", str(public), "--ssl-keyfile", str(private)]
    settings = {"EKIBEN_MODELS": "iris", "EKIBEN_FORMS": "onnx", "EKIBEN_GRPC_PORT": str(grpc_port)}
    settings["EKIBEN_MAX_LATENCY_MS"] = LATENCY_MS
    process = subprocess.Popen(
        [sys.executable, "-m", "bentoml", "serve", ".", *where, "--ssl-ciphers", CIPHERS, *options],
        cwd=ROOT,
        env={**os.environ, "BENTOML_HOME": str(shared_home(store, home)), **settings},
        start_new_session=True,
    )
    context = ssl.create_default_context(cafile=str(public))
    context.load_cert_chain(*client)
    try:
        with httpx.Client(base_url=f"https://localhost:{free}", verify=context) as probe:
            wait_for(probe)
        yield process, free, grpc_port
    finally:
        end(process)


@pytest.fixture(scope="module")
def service(store, tmp_path_factory, certificate, known):
    with serving(store, tmp_path_factory.mktemp("home"), certificate, known) as started:
        yield started


@pytest.fixture
def port(service):
    return service[1]


@pytest.fixture(scope="module")
def mutual(store, tmp_path_factory, certificate, known):
    """The ports of a service that wants to know its clients."""
    wanted = ["--ssl-ca-certs", str(known[0]), "--ssl-cert-reqs", str(int(ssl.CERT_REQUIRED))]
    with serving(store, tmp_path_factory.mktemp("home"), certificate, known, *wanted) as (_, port, grpc_port):
        yield port, grpc_port


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
        socket.create_connection(("127.0.0.1", port), timeout=120) as plain,
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
        socket.create_connection(("127.0.0.1", port), timeout=120) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        assert secured.version() == "TLSv1.3"


def health(port, credentials):
    """What grpcio is told of the service; the status of a call that is not answered."""
    address = f"localhost:{port}"
    open_channel = grpc.insecure_channel(address) if credentials is None else grpc.secure_channel(address, credentials)
    with open_channel as channel:
        try:
            return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=120).status
        except grpc.RpcError as error:
            return error.code()


def credentials(certificate, client=(None, None)):
    root, chain, key = (path and path.read_bytes() for path in (certificate[0], *client))
    return grpc.ssl_channel_credentials(root, key, chain)


def label(port, certificate, client=(None, None)):
    """Of one flower, by NVIDIA's client."""
    chain, key = (path and str(path) for path in client)
    tensor = triton.InferInput("features", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.array([[5, 3, 1, 0.2]], np.float32))
    files = {"root_certificates": str(certificate[0]), "private_key": key, "certificate_chain": chain}
    with triton.InferenceServerClient(f"localhost:{port}", ssl=True, **files) as connected:
        return connected.infer("iris", [tensor], client_timeout=120).as_numpy("label").tolist()


def test_grpc_has_the_same_certificate(service, certificate, known):
    _, _, grpc_port = service
    assert health(grpc_port, credentials(certificate)) == health_pb2.HealthCheckResponse.SERVING
    assert label(grpc_port, certificate) == [0]
    assert health(grpc_port, None) == grpc.StatusCode.UNAVAILABLE  # in plain
    assert health(grpc_port, credentials(known)) == grpc.StatusCode.UNAVAILABLE  # the client trusts another
    assert agreed(grpc_port, certificate, AEAD[0]) == ("TLSv1.2", AEAD[0])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        agreed(grpc_port, certificate, OTHERS[0])


def test_grpcs_port_names_http_2_and_no_other_protocol(service, certificate):
    context = ssl.create_default_context(cafile=str(certificate[0]))
    for offered, chosen in ((["http/1.1", "h2"], "h2"), (["http/1.1"], None)):
        context.set_alpn_protocols(offered)
        with (
            socket.create_connection(("127.0.0.1", service[2]), timeout=120) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            assert secured.selected_alpn_protocol() == chosen


def test_only_clients_with_a_certificate_are_answered_where_one_is_wanted(mutual, certificate, known, tmp_path):
    port, grpc_port = mutual
    assert health(grpc_port, credentials(certificate, known)) == health_pb2.HealthCheckResponse.SERVING
    assert label(grpc_port, certificate, known) == [0]
    stranger = issued(tmp_path, "client")  # by the same name
    for client in ((None, None), stranger):
        assert health(grpc_port, credentials(certificate, client)) == grpc.StatusCode.UNAVAILABLE
        with pytest.raises(triton.InferenceServerException, match="UNAVAILABLE"):
            label(grpc_port, certificate, client)
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"https://localhost:{port}/readyz", verify=ssl.create_default_context(cafile=str(certificate[0])))


def test_handshakes_that_are_cut_anywhere_leave_nothing_behind(service, certificate):
    process, _, grpc_port = service
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(certificate[0]))
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    hello = outgoing.read()
    assert len(hello) > 200
    before = open_files(process)
    for cut in range(len(hello)):
        for garbled in (b"", bytes([hello[cut] ^ 0xFF])):
            with socket.create_connection(("127.0.0.1", grpc_port), timeout=120) as client:
                client.sendall(hello[:cut] + garbled)
    until = time.monotonic() + 120
    while open_files(process) > before:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert label(grpc_port, certificate) == [0]


def open_files(process):
    return sum(each.num_fds() for each in psutil.Process(process.pid).children(recursive=True))


def test_two_workers_share_the_port_of_grpc(store, tmp_path, certificate, known, monkeypatch):
    monkeypatch.setenv("EKIBEN_WORKERS", "2")
    with serving(store, tmp_path, certificate, known) as (process, _, port), contextlib.ExitStack() as clients:
        ours = [child for child in psutil.Process(process.pid).children() if "_bentoml_impl" in str(child.cmdline())]
        context = ssl.create_default_context(cafile=str(certificate[0]))
        context.set_alpn_protocols(["h2"])
        until, held = time.monotonic() + 300, [0, 0]
        while not all(held):  # the second may still be starting
            assert time.monotonic() < until, held
            plain = socket.create_connection(("127.0.0.1", port), timeout=120)
            clients.enter_context(context.wrap_socket(plain, server_hostname="localhost"))
            connections = [worker.net_connections("tcp") for worker in ours]
            held = [sum(c.laddr.port == port and c.status == "ESTABLISHED" for c in each) for each in connections]
            time.sleep(0.1)
        assert [label(port, certificate) for _ in range(4)] == [[0]] * 4


def test_the_documented_command_is_the_tested_one():
    assert f"--ssl-ciphers '{CIPHERS}'" in (ROOT / "docs" / "security.md").read_text()


def wait_for(client, seconds=300):
    until = time.monotonic() + seconds
    while True:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < until
        time.sleep(0.2)
