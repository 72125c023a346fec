"""The compose and stack files as text, and HAProxy's configuration in front of a stand-in; no engine is needed."""

import http.client
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tests.conftest import free_port
from tests.deploy.conftest import DEPLOY, run, tool
from tests.deploy.stack import program
from tests.deploy.stand_ins import serving

COMPOSE = DEPLOY / "compose"
FILES = ("compose/compose.yaml", "compose/chain.yaml", "compose/front.yaml", "swarm/stack.yaml")
SECRETS = "/run/secrets/"


class Loader(yaml.SafeLoader):
    """YAML with compose's own tags."""


Loader.add_constructor("!reset", lambda loader, node: None)


def services(file: str) -> dict[str, dict[str, Any]]:
    """Name → service, those that extend another left out, and those that only override."""
    listed = yaml.load((DEPLOY / file).read_text(), Loader)["services"]  # noqa: S506
    return {name: each for name, each in listed.items() if "image" in each}


@pytest.mark.parametrize("file", FILES)
def test_no_log_grows_for_ever(file: str) -> None:
    assert services(file)
    for name, service in services(file).items():
        options = service["logging"]["options"]
        assert re.fullmatch(r"\d+m", options["max-size"]) and int(options["max-file"]) > 1, name


@pytest.mark.parametrize("file", FILES)
def test_nobody_writes_to_an_image_or_has_privileges(file: str) -> None:
    for name, service in services(file).items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name


def test_swarm_has_every_rule_and_every_file_of_alertmanager() -> None:
    stack = yaml.safe_load((DEPLOY / "swarm" / "stack.yaml").read_text())
    files = {Path(config["file"]).name for config in stack["configs"].values()}
    rules = {file.name for file in (DEPLOY / "prometheus" / "rules").glob("*.yml")}
    assert files >= rules | {file.name for file in (DEPLOY / "alertmanager").iterdir()}
    used = {config["source"] for service in stack["services"].values() for config in service.get("configs", [])}
    assert used == set(stack["configs"])
    (token,) = stack["services"]["alertmanager"]["secrets"]
    assert token["mode"] == 0o400 and token["uid"] == "65534"


def test_the_chains_check_is_documented_by_a_command_that_leaves_the_chain_alone() -> None:
    """`up --exit-code-from` stops every container once one has ended."""
    page = (DEPLOY.parent / "docs" / "chain.md").read_text()
    for text in (page, (COMPOSE / "chain.yaml").read_text()):
        assert "run --rm tests" in text and "--exit-code-from" not in text


def configuration(
    folder: Path, replicas: list[int], plain: int, encrypted: int, grpc_port: int = 0, grpc_replicas: Sequence[int] = ()
) -> list[str]:
    """HAProxy's options for the committed files, with replicas and ports on loopback, and a certificate of today."""
    certificate = folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    subprocess.run(
        [*command, "-keyout", folder / "key", "-out", folder / "crt"], check=True, capture_output=True, timeout=300
    )
    certificate.write_text((folder / "crt").read_text() + (folder / "key").read_text())
    front = (DEPLOY / "swarm" / "haproxy.cfg").read_text()
    for port, free in (("3000", plain), ("3001", grpc_port or free_port()), ("8404", free_port())):
        front = front.replace(f"bind :{port}", f"bind 127.0.0.1:{free}")
    places = "\n".join(f"  server replica{number} 127.0.0.1:{port}" for number, port in enumerate(replicas))
    front, count = re.subn(r"  server-template .*ekiben:3000 .*", places, front)
    places = "\n".join(
        f"  server replica{number} 127.0.0.1:{port} proto h2 check port {checked}"
        for number, (port, checked) in enumerate(zip(grpc_replicas, replicas, strict=False))
    )
    front, grpc_count = re.subn(r"  server-template .*ekiben:3001 .* proto h2", places, front)
    front = front.replace("\nglobal\n", f"\nglobal\n  stats socket {folder / 'admin'} level admin\n")
    tls = (COMPOSE / "tls.cfg").read_text().replace("bind :3443", f"bind 127.0.0.1:{encrypted}")
    tls = tls.replace(f"{SECRETS}certificate", str(certificate))
    assert count == grpc_count == 1 and str(certificate) in tls
    (folder / "haproxy.cfg").write_text(front)
    (folder / "tls.cfg").write_text(tls)
    return ["-f", str(folder / "haproxy.cfg"), "-f", str(folder / "tls.cfg")]


def test_haproxy_takes_the_fleets_configuration_as_it_stands() -> None:
    checked = run(tool("haproxy"), "-c", "-f", DEPLOY / "swarm" / "haproxy.cfg")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def answer(path: str, body: bytes) -> tuple[int, str, bytes]:
    return 200, "text/plain", path.encode()


@pytest.fixture
def front(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The ports of the front, plain and encrypted, before a stand-in that answers with the path."""
    with serving(answer) as replica:
        ports = free_port(), free_port()
        options = configuration(tmp_path, [replica], *ports)
        if not shutil.which("openssl"):
            pytest.skip("openssl is not installed")
        with program(tmp_path, tool("haproxy"), "-db", *options):
            yield ports


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[int, str, str]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers.get("strict-transport-security", "")


def opened(port: int) -> http.client.HTTPConnection:
    """A connection to a front that has answered by it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    until = time.monotonic() + 120
    while True:
        try:
            if ask(connection, "/iris/random")[0] == 200:
                return connection
        except OSError:
            connection.close()
        assert time.monotonic() < until
        time.sleep(0.1)


def test_tls_ends_at_the_front_and_metrics_stay_inside(front: tuple[int, int]) -> None:
    plain = opened(front[0])
    context = ssl._create_unverified_context()  # noqa: S323 - the certificate was made a second ago
    outside = http.client.HTTPSConnection("127.0.0.1", front[1], timeout=10, context=context)
    assert ask(outside, "/iris/random") == (200, "/iris/random", "max-age=31536000")
    for path in ("/metrics", "/metrics?x=1", "/faults/latency"):
        assert ask(outside, path)[0] == 404, path
    assert ask(plain, "/metrics")[0] == 200


def test_grpc_goes_through_the_front_in_plain_and_over_tls(tmp_path: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    replica = grpc.server(ThreadPoolExecutor(4))
    servicer = health.HealthServicer()
    servicer.set("iris", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, replica)
    port = replica.add_insecure_port("127.0.0.1:0")
    replica.start()
    plain, encrypted = free_port(), free_port()
    with serving(answer) as probed:
        options = configuration(tmp_path, [probed], free_port(), encrypted, plain, [port])
        credentials = grpc.ssl_channel_credentials((tmp_path / "crt").read_bytes())
        name = [("grpc.ssl_target_name_override", "localhost")]
        with (
            program(tmp_path, tool("haproxy"), "-db", *options),
            grpc.insecure_channel(f"127.0.0.1:{plain}") as inside,
            grpc.secure_channel(f"127.0.0.1:{encrypted}", credentials, name) as outside,
        ):
            for channel in (inside, outside):
                stub = health_pb2_grpc.HealthStub(channel)
                asked = health_pb2.HealthCheckRequest(service="iris")
                assert stub.Check(asked, timeout=120, wait_for_ready=True).status == 1
                with pytest.raises(grpc.RpcError) as raised:
                    stub.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=120)
                assert raised.value.code() == grpc.StatusCode.NOT_FOUND
                watch = stub.Watch(asked, timeout=120)
                assert next(watch).status == 1
                for state in (2, 1):
                    servicer.set("iris", state)
                    assert next(watch).status == state
                watch.cancel()
    replica.stop(0)


def test_a_replica_that_does_not_listen_yet_costs_nobody_a_request(tmp_path: Path) -> None:
    """The DNS names replicas that start, and HAProxy takes each for a ready one until it has been checked."""
    counts: Counter[int] = Counter()
    stopped = threading.Event()

    def client(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while not stopped.wait(0.005):
            counts[ask(connection, "/iris/random")[0]] += 1
        connection.close()

    def admin(command: str) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(120)
            connection.connect(str(tmp_path / "admin"))
            connection.sendall(f"{command}\n".encode())
            connection.recv(4096)

    starting = ("replica2", "replica3")
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    with serving(answer) as first, serving(answer) as second:
        plain = free_port()
        options = configuration(tmp_path, [first, second, free_port(), free_port()], plain, free_port())
        with program(tmp_path, tool("haproxy"), "-db", *options), ThreadPoolExecutor(8) as threads:
            opened(plain)
            clients = [threads.submit(client, plain) for _ in range(8)]
            for state in ["maint", "ready"] * 5:
                for name in starting:
                    admin(f"set server ekiben/{name} state {state}")
                time.sleep(0.3)
            stopped.set()
            for each in clients:
                each.result()
    assert set(counts) == {200} and counts[200] > 100, counts
