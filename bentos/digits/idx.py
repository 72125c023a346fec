"""MNIST's own file format: big-endian IDX, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

import numpy as np

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "held_out": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read(file: Path, dimensions: int) -> np.ndarray:
    """The unsigned bytes of an IDX file. → `dimensions`-dimensional uint8; ValueError names the file and its fault."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise ValueError(f"{file}: cannot be read: {error}") from error
    header = 4 + 4 * dimensions
    magic = 0x0800 + dimensions
    if len(content) < header:
        raise ValueError(f"{file}: truncated: {len(content)} bytes, its header alone has {header}")
    file_magic, *shape = struct.unpack(f">{1 + dimensions}I", content[:header])
    if file_magic != magic:
        raise ValueError(
            f"{file}: magic number is {file_magic:#010x}, unsigned bytes in {dimensions} dimensions have {magic:#010x}"
        )
    if len(content) - header != math.prod(shape):
        expected = f"{math.prod(shape)} bytes for {' × '.join(map(str, shape))}"
        raise ValueError(
            f"{file}: truncated or overlong: {len(content) - header} bytes after its header, not {expected}"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def pair(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """The pictures and digits of `train` or `held_out`. → (n, 28, 28) and (n,) uint8; ValueError names the fault."""
    images, labels = (locate(folder, name) for name in FILES[part])
    pictures, digits = read(images, 3), read(labels, 1)
    if pictures.shape[1:] != (28, 28):
        raise ValueError(f"{images}: pictures of {pictures.shape[1]} × {pictures.shape[2]} pixels, not 28 × 28")
    if len(pictures) != len(digits):
        raise ValueError(f"{images} has {len(pictures)} pictures, {labels} has {len(digits)} labels")
    if not len(digits):
        raise ValueError(f"{images} has no pictures")
    if digits.max() > 9:
        raise ValueError(f"{labels}: label {digits.max()} is no digit")
    return pictures, digits


def locate(folder: Path, name: str) -> Path:
    """The file of that name, as any of its mirrors spells it: `-idx3` or `.idx3`, with `.gz` or without."""
    spellings = [name + end for name in (name, name.replace("-idx", ".idx")) for end in ("", ".gz")]
    for spelling in spellings:
        if (folder / spelling).is_file():
            return folder / spelling
    raise ValueError(f"{folder}: has none of {', '.join(spellings)}")
