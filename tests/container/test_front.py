"""compose.yaml with front.yaml and tls.yaml: two replicas, TLS, an upgrade that loses nothing, one taken back."""

import os
import ssl
import subprocess
from urllib.request import urlopen

import pytest

from deploy.swarm.clients import clients
from deploy.swarm.fleet import releases
from tests.conftest import ROOT, free_port
from tests.container.conftest import command, docker, wait

pytestmark = pytest.mark.container
NAME = f"ekiben-front-test-{os.getpid()}"
COMPOSE = ROOT / "deploy" / "compose"


class Fronted:
    """The stack under a name and on ports of its own."""

    def __init__(self, image, front, folder):
        subject = ["-subj", "/CN=localhost", "-days", "1", "-keyout", str(folder / "key"), "-out", str(folder / "crt")]
        command(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject], 30)
        certificate = folder / "certificate.pem"
        certificate.write_text((folder / "crt").read_text() + (folder / "key").read_text())
        certificate.chmod(0o644)  # a certificate of nobody, read by whatever user HAProxy's image has
        # No answer is too late: two more replicas start beside these, and on few cores.
        self.patience = folder / "patience.yaml"
        self.patience.write_text('services: {ekiben: {environment: {EKIBEN_MAX_LATENCY_MS: "20000"}}}')
        names = ("EKIBEN_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "TLS_PORT")
        self.ports = {name: free_port() for name in names}
        self.environment = {name: str(port) for name, port in self.ports.items()}
        self.environment |= {"EKIBEN_IMAGE": image, "HAPROXY_IMAGE": front, "TLS_CERTIFICATE_FILE": str(certificate)}

    def compose(self, *words, seconds=300):
        files = [f"--file={COMPOSE / name}.yaml" for name in ("compose", "front", "tls")]
        files.append(f"--file={self.patience}")
        return command(["docker", "compose", "--project-name", NAME, *files, *words], seconds, **self.environment)

    def upgrade(self, image):
        environment = {**os.environ, **self.environment, "EKIBEN_IMAGE": image}
        words = [str(COMPOSE / "upgrade.sh"), "--project-name", NAME, f"--file={self.patience}"]
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=300)

    def replicas(self):
        return self.compose("ps", "--all", "--quiet", "ekiben").split()

    def images(self):
        return {docker("inspect", "--format={{.Config.Image}}", identity) for identity in self.replicas()}


@pytest.fixture(scope="module")
def release(slim):
    docker("tag", slim, f"{NAME}:first")
    with releases(f"{NAME}:first", NAME) as tags:
        yield dict(zip(("good", "bad"), tags, strict=True))
    docker("image", "rm", f"{NAME}:first")


@pytest.fixture(scope="module")
def stack(release, front, tmp_path_factory):
    started = Fronted(f"{NAME}:first", front, tmp_path_factory.mktemp("front"))
    try:
        started.compose("up", "--detach", "--wait", "--wait-timeout", "280", "ekiben", "front", seconds=300)
        yield started
    finally:
        started.compose("down", "--volumes", "--timeout", "25", seconds=300)


def test_two_replicas_answer_by_http_and_by_https(stack):
    assert len(stack.replicas()) == 2
    context = ssl._create_unverified_context()  # noqa: S323 - the certificate was made a second ago
    address = f"https://127.0.0.1:{stack.ports['TLS_PORT']}/iris/random"
    with clients(stack.ports["EKIBEN_PORT"]) as counts:
        wait(lambda: counts.answered > 50, lambda: f"{counts.answered} answers: {counts.why}")
    assert not counts.lost
    with urlopen(address, context=context, timeout=240) as answer:
        assert answer.status == 200


def test_an_upgrade_loses_no_accepted_request(stack, release):
    before = stack.replicas()
    with clients(stack.ports["EKIBEN_PORT"]) as counts:
        done = stack.upgrade(release["good"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(stack.replicas()) == 2 and not set(before) & set(stack.replicas())
    assert stack.images() == {release["good"]}
    assert counts.answered > 100 and not counts.lost and not counts.refused, counts.why


def test_an_upgrade_that_does_not_start_is_taken_back_and_nobody_sees_it(stack, release):
    before = stack.replicas()
    with clients(stack.ports["EKIBEN_PORT"]) as counts:
        done = stack.upgrade(release["bad"])
    assert done.returncode == 1 and "the former stay" in done.stderr, done.stdout + done.stderr
    assert stack.replicas() == before
    assert counts.answered > 100 and not counts.lost and not counts.refused, counts.why
