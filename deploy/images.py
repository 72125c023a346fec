"""`python -m deploy.images`: the images that are built on or run, by digest, so that a moved tag changes nothing.

Asks the registry of each image, through the container engine's own client, and writes deploy/images.env, which make
reads: `PROMETHEUS_IMAGE=prom/prometheus:v2.42.0@sha256:…`. Without that file the tags hold. With --check nothing is
written, and a digest that is no longer its tag's fails: time to renew, and to look at what has changed.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
LOCK = HERE / "images.env"
SOURCES = ("compose/*.yaml", "swarm/*.yaml", "image/Dockerfile.j2")
NAMED = re.compile(r"\$\{(\w+_IMAGE):-([^}]+)\}|^ARG (BASE_IMAGE)=(\S+)", re.MULTILINE)
OURS = "EKIBEN_IMAGE"  # is built here
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ImagesError(RuntimeError):
    """An image has no digest to be had, or two files name different tags of it."""


def named(root: Path = HERE) -> dict[str, str]:
    """Variable → image with its tag, as the files have it."""
    images: dict[str, str] = {}
    for file in sorted(path for source in SOURCES for path in root.glob(source)):
        for match in NAMED.finditer(file.read_text()):
            variable, image = (part for part in match.groups() if part)
            if variable != OURS and images.setdefault(variable, image) != image:
                raise ImagesError(f"{file.name} has {variable} as {image}, another file as {images[variable]}")
    return images


def digest(image: str) -> str:
    """What the image's registry has under its tag now."""
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", image]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        raise ImagesError("docker is not installed, and the registry is asked through it") from None
    if process.returncode or not DIGEST.fullmatch(process.stdout.strip()):
        raise ImagesError(f"{image}: {(process.stderr or process.stdout).strip()}")
    return process.stdout.strip()


def lock(images: Mapping[str, str]) -> str:
    """The text of images.env."""
    head = "# Made by python -m deploy.images; delete it, and the tags hold.\n"
    return head + "".join(f"{variable}={image}@{digest(image)}\n" for variable, image in sorted(images.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """0, 1 if --check finds another digest, 2 if an image cannot be asked for."""
    parser = argparse.ArgumentParser(prog="python -m deploy.images", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a digest is no longer its tag's")
    options = parser.parse_args(arguments)
    try:
        text = lock(named())
    except ImagesError as error:
        print(error, file=sys.stderr)
        return 2
    if not options.check:
        LOCK.write_text(text)
        return 0
    before = LOCK.read_text().splitlines() if LOCK.exists() else []
    changed = [line for line in text.splitlines() if line not in before]
    print("\n".join(changed) or "every digest is its tag's")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
