"""What is in a box: the software bill of materials of a container image, as CycloneDX 1.6 JSON.

The image itself is asked, without network: its Python distributions by importlib.metadata, its Debian packages by dpkg.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

DISTRIBUTIONS = "import importlib.metadata as m; [print(d.name, d.version) for d in m.distributions()]"
PACKAGES = ("dpkg-query", "-W", "-f", "${Package} ${Version}\\n")
Named = set[tuple[str, str]]


def contents(image: str) -> tuple[Named, Named]:
    """(name, version) of the Python distributions and of the Debian packages in an image."""
    return _asked(image, "python", "-c", DISTRIBUTIONS), _asked(image, *PACKAGES)


def _asked(image: str, program: str, *arguments: str) -> Named:
    box = ["docker", "run", "--rm", "--network", "none", "--read-only", "--entrypoint", program, image]
    try:
        process = subprocess.run([*box, *arguments], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit("docker is not installed, and the image has to be asked") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"image {image}: {error.stderr.strip()}") from None
    return {(name, version) for name, _, version in (line.partition(" ") for line in process.stdout.splitlines())}


def bill(image: str, distributions: Named, packages: Named) -> Bom:
    """The bill of an image with these."""
    bom = Bom()
    bom.metadata.component = box = Component(name=image, type=ComponentType.CONTAINER, bom_ref=image)
    bom.components.update(_components("pypi", None, distributions))
    bom.components.update(_components("deb", "debian", packages))
    bom.register_dependency(box, bom.components)
    return bom


def _components(kind: str, namespace: str | None, named: Named) -> Iterable[Component]:
    for name, version in sorted(named):
        url = PackageURL(kind, namespace, name.lower() if kind == "pypi" else name, version)
        yield Component(name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=str(url))


def main(arguments: list[str] | None = None) -> None:
    """Writes the bill, or prints it."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.sbom", description=(__doc__ or "").split("\n")[0], epilog="Needs a container engine."
    )
    parser.add_argument("image", help="such as ekiben:slim")
    parser.add_argument("--out", type=Path, help="file to write (standard output)")
    options = parser.parse_args(arguments)
    distributions, packages = contents(options.image)
    text = JsonV1Dot6(bill(options.image, distributions, packages)).output_as_string(indent=2)
    if options.out is None:
        print(text)
    else:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    print(
        f"{options.image}: {len(distributions)} Python distributions, {len(packages)} Debian packages", file=sys.stderr
    )


if __name__ == "__main__":
    main()
