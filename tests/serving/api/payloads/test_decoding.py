"""What decoding a picture may take, told by its header."""

import io

import numpy as np
import pytest
from PIL import Image

from serving.api.payloads.decoding import OVERHEAD_BYTES, decoding_bytes

SIDE = 1000


def file(kind, mode, **options):
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(written, kind, **options)
    return written.getvalue()


@pytest.mark.parametrize(
    ("kind", "mode", "options", "bytes_per_pixel"),
    [
        ("PNG", "L", {}, 1),
        ("PNG", "P", {}, 1),
        ("PNG", "RGBA", {}, 4),
        ("GIF", "P", {}, 1),
        ("BMP", "RGB", {}, 4),
        ("WEBP", "RGB", {"quality": 1}, 16),
        ("JPEG", "L", {}, 0.25),
        ("JPEG", "RGB", {}, 0.25),
        ("JPEG", "RGB", {"progressive": True}, 6.25),
        ("TIFF", "RGB", {}, 4),
        ("TIFF", "RGB", {"compression": "tiff_deflate", "tiffinfo": {278: SIDE}}, 7),  # one strip is all of it
        ("TIFF", "RGB", {"compression": "tiff_deflate", "tiffinfo": {278: SIDE // 10}}, 4.3),
    ],
)
def test_memory_is_told_by_kind_mode_and_how_the_file_is_written(kind, mode, options, bytes_per_pixel):
    data = file(kind, mode, **options)
    assert decoding_bytes(data) - len(data) - OVERHEAD_BYTES == pytest.approx(bytes_per_pixel * SIDE**2)


def test_a_jpeg_whose_first_scan_holds_one_band_is_kept_in_coefficients():
    data = file("JPEG", "RGB")
    place = data.index(b"\xff\xda")
    several = data[:place] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + data[place + 14 :]
    assert decoding_bytes(several) - decoding_bytes(data) == 6 * SIDE**2 - 4


def test_what_is_no_picture_takes_nothing():
    assert decoding_bytes(b"no picture") == 0
