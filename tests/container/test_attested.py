"""`make attested`: an archive with the image and, beside it, how it was built; the image is the same each time."""

import json
import os
import subprocess
import tarfile

import pytest

from tests.conftest import ROOT, shared_home
from tests.container.conftest import command, docker, wait

pytestmark = [pytest.mark.container, pytest.mark.long]
BASE = "python:3.11-slim"
ARCHIVE = ROOT / "build" / "ekiben-slim.tar"


@pytest.fixture(scope="module")
def attesting(tmp_path_factory):
    """The address of an engine of its own with containerd's image store, since Docker's other one keeps no attestation.

    It leaves the packet filter and the bridge to the engine that is there (with no bridge at all it would remove that
    one's): what is built has this machine's network.
    """
    folder = tmp_path_factory.mktemp("engine")
    address = f"unix://{folder}/socket"
    places = [f"--{name}={folder / name}" for name in ("data-root", "exec-root", "pidfile")]
    settings = folder / "daemon.json"
    settings.write_text('{"features": {"containerd-snapshotter": true}}')
    bridge = f"ekiben{os.getpid()}"
    command(["ip", "link", "add", bridge, "type", "bridge"], 10)
    command(["ip", "address", "add", "192.168.253.1/30", "dev", bridge], 10)
    alone = [f"--bridge={bridge}", "--iptables=false", "--ip6tables=false"]
    with (folder / "log").open("wb") as log:
        words = ["dockerd", f"--config-file={settings}", f"--host={address}", *places, *alone]
        daemon = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)

    def answers():
        return subprocess.run(["docker", "--host", address, "info"], capture_output=True).returncode == 0

    try:
        wait(answers, lambda: (folder / "log").read_text()[-3000:], pause=0.2)
        command(["sh", "-c", f"docker save {BASE} | docker --host {address} load"], 120)
        yield address
    finally:
        daemon.terminate()
        daemon.wait(30)
        command(["ip", "link", "delete", bridge], 10)


@pytest.fixture(scope="module")
def attested(attesting, slim, store, tmp_path_factory):
    """Builds, and gives what the archive has: the image's entry in the index, and the statements about it.

    Packages are those of the image that is there: nothing is fetched a second time.
    """
    home, packages = shared_home(store, tmp_path_factory.mktemp("home")), tmp_path_factory.mktemp("packages")
    box = docker("create", slim)
    docker("cp", f"{box}:/app", str(packages / "app"))
    docker("rm", box)

    def build():
        options = f"BUILDX=--network=host --build-context=packages={packages}"
        make = ["make", "--old-file=models", "attested-slim", f"BENTOML_HOME={home}", options]
        command(make, 600, DOCKER_HOST=attesting)
        with tarfile.open(ARCHIVE) as archive:
            return read(archive)

    yield build
    ARCHIVE.unlink(missing_ok=True)


def read(archive):
    def blob(digest):
        return json.load(archive.extractfile("blobs/" + digest.replace(":", "/")))

    index = json.load(archive.extractfile("index.json"))
    (images,) = index["manifests"]
    image, about = blob(images["digest"])["manifests"]
    assert about["annotations"]["vnd.docker.reference.type"] == "attestation-manifest"
    assert about["annotations"]["vnd.docker.reference.digest"] == image["digest"]
    return image, [blob(layer["digest"]) for layer in blob(about["digest"])["layers"]]


def test_the_archive_says_how_its_image_was_built_and_the_image_is_the_same_each_time(attested):
    image, (statement,) = attested()
    assert image["platform"] == {"architecture": "amd64", "os": "linux"}
    assert statement["predicateType"].startswith("https://slsa.dev/provenance/")
    assert {f"sha256:{subject['digest']['sha256']}" for subject in statement["subject"]} == {image["digest"]}
    said = statement["predicate"]
    assert [material["uri"] for material in said["materials"] if "/python@3.11-slim" in material["uri"]]
    arguments = said["invocation"]["parameters"]["args"]
    assert arguments["build-arg:REVISION"] == command(["git", "rev-parse", "HEAD"], 10)
    assert arguments["build-arg:SOURCE_DATE_EPOCH"] == command(["git", "log", "-1", "--format=%ct"], 10)
    again, (another,) = attested()  # by a bento of its own, some seconds later
    assert again["digest"] == image["digest"]
    assert another["predicate"]["metadata"]["buildStartedOn"] != said["metadata"]["buildStartedOn"]
