"""What it takes to decode a picture, told by its header: bytes of memory by kind of file, as measured with Pillow."""

from __future__ import annotations

import io

from PIL import Image, ImageFile, PngImagePlugin

from bentos.contract import PICTURE_FORMATS

# Of the text in a PNG, inflated; Pillow would keep 64 MB.
PngImagePlugin.MAX_TEXT_MEMORY = 4 * 2**20
# What the decoder keeps beside the picture, and the strip of it that is made grey.
OVERHEAD_BYTES = 10 * 2**20
SMALL_MODES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}  # bytes a pixel; 4 of others
WEBP_BYTES = 16  # two canvases, the frame and the picture
JPEG_SCALED_BYTES = 0.25  # decoded at an eighth of its size, or at more pixels than that only if it is small
COEFFICIENT_BYTES = 2
STRIP_ROWS, TILE_WIDTH, TILE_LENGTH, BITS, SAMPLES = 278, 322, 323, 258, 277  # tags of TIFF


def decoding_bytes(data: bytes) -> int:
    """Bytes that decoding this file takes at most, the file among them; 0 for what is none that can be read."""
    try:
        picture = Image.open(io.BytesIO(data), formats=PICTURE_FORMATS)
    except Exception:  # Pillow's parsers raise anything on a broken header; nothing will be decoded
        return 0
    try:
        bytes_per_pixel = _bytes_per_pixel(picture)
    except Exception:  # tags that are not what they should be
        bytes_per_pixel = WEBP_BYTES
    return len(data) + OVERHEAD_BYTES + int(picture.width * picture.height * bytes_per_pixel)


def _bytes_per_pixel(picture: ImageFile.ImageFile) -> float:
    decoded = SMALL_MODES.get(picture.mode, 4)
    if picture.format == "WEBP":
        return WEBP_BYTES
    if picture.format == "JPEG":
        return JPEG_SCALED_BYTES + _coefficient_bytes(picture)
    if picture.format == "MPO":
        return decoded + _coefficient_bytes(picture)
    if picture.format == "TIFF":
        return decoded + _block_share(picture) * _raw_bytes(picture)
    return decoded


def _coefficient_bytes(picture: ImageFile.ImageFile) -> int:
    """A JPEG whose scans hold a part each, as a progressive one's, is kept whole in coefficients until the last."""
    n_bands = len(picture.getbands())
    assert picture.fp is not None
    length = 6 + 2 * n_bands  # of the head of a scan that holds all bands; Pillow has read up to the first one's end
    picture.fp.seek(-2 - length, io.SEEK_CUR)
    holds_all = picture.fp.read(5) == b"\xff\xda" + bytes((0, length, n_bands))
    return 0 if holds_all and not picture.info.get("progressive") else COEFFICIENT_BYTES * n_bands


def _block_share(picture: ImageFile.ImageFile) -> float:
    """How much of a TIFF is read at a time: a strip, or a tile, which may be larger than the picture."""
    tags = picture.tag_v2  # type: ignore[attr-defined]
    if picture.info.get("compression") == "raw":
        return 0.0
    if TILE_WIDTH in tags:
        return float(tags[TILE_WIDTH] * tags[TILE_LENGTH] / (picture.width * picture.height))
    return min(1.0, float(tags.get(STRIP_ROWS, picture.height) / picture.height))


def _raw_bytes(picture: ImageFile.ImageFile) -> float:
    """Bytes of a pixel in the file."""
    tags = picture.tag_v2  # type: ignore[attr-defined]
    return float(max(tags.get(BITS, (1,))) / 8 * tags.get(SAMPLES, 1))
