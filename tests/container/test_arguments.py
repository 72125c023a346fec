"""Arguments after the image's name: they are added to the image's own, and the health check follows them."""

import json
import subprocess

import pytest

from tests.container.conftest import HARDENED, docker, logs, wait

pytestmark = pytest.mark.container


def test_a_container_that_serves_tls_is_healthy_and_keeps_its_graceful_time(slim, tmp_path):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*new, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    tmp_path.chmod(0o755)
    key.chmod(0o644)
    arguments = ("--ssl-certfile=/tls/cert.pem", "--ssl-keyfile=/tls/key.pem", "--ssl-ciphers=ECDHE+AESGCM")
    mount = f"--volume={tmp_path}:/tls:ro"
    box = docker("run", "--detach", *HARDENED, mount, "--env=EKIBEN_MODELS=iris", slim, *arguments)
    try:
        check = json.loads(docker("inspect", "--format={{json .Config.Healthcheck.Test}}", box))[1:]

        def healthy():
            return subprocess.run(["docker", "exec", box, *check], capture_output=True).returncode == 0

        wait(healthy, lambda: f"not healthy:\n{logs(box)}", pause=0.5)
        words = docker("exec", box, "python", "-Sc", "print(open('/proc/1/cmdline').read().split('\\0'))")
        assert "'--timeout-graceful-shutdown', '8', '--ssl-certfile=/tls/cert.pem'" in words
    finally:
        docker("rm", "--force", "--volumes", box)
