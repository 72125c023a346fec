"""What is in a box: the software bill of materials of a container image, as CycloneDX 1.6 JSON.

The image itself is asked, without network: its models by the files of their folders, its Python and what is installed
for it and for the box by importlib.metadata, its Debian packages by dpkg. The same image has the same serial number.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

INSIDE = r"""
import glob, hashlib, json, os, platform, subprocess, sys, yaml

LIST = "import importlib.metadata as m, json; print(json.dumps([(d.name, d.version) for d in m.distributions()]))"

def installed(python):
    return json.loads(subprocess.run([python, "-c", LIST], check=True, capture_output=True).stdout)

def model(folder):
    with open(os.path.join(folder, "model.yaml")) as file:
        described = yaml.safe_load(file)
    files = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as file:
            files[name] = hashlib.sha256(file.read()).hexdigest()
    return {"name": described["name"], "version": described["version"], "files": files}

print(json.dumps({
    "python": platform.python_version(),
    "distributions": installed(sys.executable) + installed(sys._base_executable),
    "models": [model(folder) for folder in sorted(glob.glob("/home/bentoml/bento/models/*/*/"))],
}))
"""
PACKAGES = ("dpkg-query", "-W", "-f", "${Package} ${Version}\\n")
Named = set[tuple[str, str]]


@dataclass(frozen=True)
class Contents:
    """What an image has: (name, version) of what is installed, and each model's name, version and files by sha256."""

    python: str
    distributions: Named
    packages: Named
    models: list[dict[str, Any]]


def contents(image: str) -> Contents:
    """Asked of a container of the image. SystemExit"""
    box = ["run", "--rm", "--network=none", "--read-only", "--entrypoint"]
    answer = json.loads(_docker(*box, "python", image, "-c", INSIDE))
    lines = _docker(*box, PACKAGES[0], image, *PACKAGES[1:]).splitlines()
    packages = {(name, version) for name, _, version in (line.partition(" ") for line in lines)}
    distributions = {(name, version) for name, version in answer["distributions"]}
    return Contents(answer["python"], distributions, packages, answer["models"])


def _docker(*words: str) -> str:
    try:
        return subprocess.run(["docker", *words], check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise SystemExit("docker is not installed, and the image has to be asked") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"docker {words[0]}: {error.stderr.strip()}") from None


def bill(image: str, identity: str, created: datetime, contents: Contents) -> Bom:
    """The bill of an image; its serial number follows from the image's id (sha256:…), its time is the image's."""
    box = Component(name=image, version=identity, type=ComponentType.CONTAINER, bom_ref=image)
    serial = uuid.uuid5(uuid.NAMESPACE_OID, identity)
    bom = Bom(serial_number=serial, metadata=BomMetaData(component=box, timestamp=created))
    bom.components.add(_python(contents.python))
    bom.components.update(_components("pypi", None, contents.distributions))
    bom.components.update(_components("deb", "debian", contents.packages))
    bom.components.update(map(_model, contents.models))
    bom.register_dependency(box, bom.components)
    return bom


def _python(version: str) -> Component:
    url = PackageURL("generic", None, "python", version)
    cpe = f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*"  # what vulnerabilities of the interpreter are listed under
    return Component(name="python", version=version, type=ComponentType.PLATFORM, purl=url, cpe=cpe, bom_ref=str(url))


def _components(kind: str, namespace: str | None, named: Named) -> Iterable[Component]:
    for name, version in sorted(named):
        url = PackageURL(kind, namespace, name.lower() if kind == "pypi" else name, version)
        yield Component(name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=str(url))


def _model(model: Mapping[str, Any]) -> Component:
    name, version = model["name"], model["version"]
    files = [
        Component(
            name=file,
            type=ComponentType.FILE,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest)],
            bom_ref=f"{name}:{version}/{file}",
        )
        for file, digest in model["files"].items()
    ]
    kind = ComponentType.MACHINE_LEARNING_MODEL
    return Component(name=name, version=version, type=kind, components=files, bom_ref=f"{name}:{version}")


def main(arguments: list[str] | None = None) -> None:
    """Writes the bill, or prints it."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.sbom", description=(__doc__ or "").split("\n")[0], epilog="Needs a container engine."
    )
    parser.add_argument("image", help="such as ekiben:slim")
    parser.add_argument("--out", type=Path, help="file to write (standard output)")
    options = parser.parse_args(arguments)
    identity, created = _docker("image", "inspect", "--format={{.Id}} {{.Created}}", options.image).split()
    found = contents(options.image)
    written = JsonV1Dot6(bill(options.image, identity, datetime.fromisoformat(created), found))
    text = written.output_as_string(indent=2)
    if options.out is None:
        print(text)
    else:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    print(
        f"{options.image}: {len(found.models)} models, {len(found.distributions)} Python distributions, "
        f"{len(found.packages)} Debian packages",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
