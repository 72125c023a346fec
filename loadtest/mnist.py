"""python -m loadtest.mnist FOLDER: how many of MNIST's test images a running service reads, into README.md.

FOLDER has t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, as MNIST has them. Every image is sent as a picture, a PNG
of its own, to POST /digits/classify: what is measured is all that becomes of it, not the network alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import binomtest

from loadtest.documents import Progress, add_section, command_line, table
from loadtest.service import ServiceError, request, run_command

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def main(words: Sequence[str] | None = None) -> None:
    """The command. SystemExit where the folder has no MNIST, ServiceError where an image is not answered"""
    parser = command_line("loadtest.mnist", __doc__)
    parser.add_argument("folder", type=Path, help="of MNIST's test images")
    parser.add_argument("--url", default="http://localhost:3000", help="the service (http://localhost:3000)")
    add_section(parser, "mnist", "README.md")
    options = parser.parse_args(words)
    try:
        images, labels = read(options.folder)
    except (OSError, ValueError) as error:
        sys.exit(f"{options.folder}: {error}")
    options.document.publish(markdown(labels, classify(options.url, images)))


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """MNIST's test images and their digits. → (n, 28, 28) and (n,) uint8; OSError, ValueError"""
    images = np.frombuffer((folder / IMAGES).read_bytes(), np.uint8, offset=16).reshape(-1, 28, 28)
    labels = np.frombuffer((folder / LABELS).read_bytes(), np.uint8, offset=8)
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images and {len(labels)} labels")
    return images, labels


def classify(url: str, images: np.ndarray) -> np.ndarray:
    """What the service reads in each. (n, 28, 28) uint8 → (n,) int; ServiceError where an image is not answered"""
    headers = {"Content-Type": "image/png", "X-Ekiben-Synthetic": "1"}
    digits: list[int] = []
    with Progress(len(images)) as progress:
        for image in images:
            file = BytesIO()
            Image.fromarray(image).save(file, "PNG")
            try:
                body = request(f"{url.rstrip('/')}/digits/classify", file.getvalue(), headers)[1]
            except ServiceError as error:
                raise ServiceError(f"image {len(digits)}: {error}") from None
            digits.append(int(json.loads(body)["label"]))
            progress.tell("")
    return np.array(digits)


def markdown(labels: np.ndarray, read_as: np.ndarray) -> str:
    """How many are right of all and of each digit, with intervals, and what else was read most often."""
    rows = [row(str(digit), labels == digit, read_as == digit, wrong(labels, read_as, digit)) for digit in range(10)]
    rows.append(row("all", labels == labels, read_as == labels, ""))
    return table(("digit", "images", "right, %", "95 % interval", "else read as"), rows)


def row(name: str, shown: np.ndarray, right: np.ndarray, instead: str) -> tuple[str, ...]:
    """The cells of a digit, with Clopper and Pearson's interval."""
    n, k = int(shown.sum()), int((shown & right).sum())
    low, high = binomtest(k, n).proportion_ci(method="exact")
    return name, f"{n:,}", f"{100 * k / n:.1f}", f"{100 * low:.1f}–{100 * high:.1f}", instead


def wrong(labels: np.ndarray, read_as: np.ndarray, digit: int) -> str:
    """`8 (21), 3 (9), 7 (4)`: the commonest wrong answers."""
    counts = np.bincount(read_as[labels == digit], minlength=10)
    counts[digit] = 0
    return ", ".join(f"{other} ({counts[other]})" for other in np.argsort(-counts, kind="stable")[:3] if counts[other])


if __name__ == "__main__":
    run_command(main)
