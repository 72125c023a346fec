"""A drawn 7 as every kind of picture that people or attackers send, and pictures that are none."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
TURNED = {  # EXIF's orientation → what undoes it, so that the file as stored shows the 7 otherwise
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def drawn(side: int = 64) -> Image.Image:
    """A 7, dark on light."""
    grey = np.full((28, 28), 255, np.uint8)
    grey[5:8, 8:20] = 20
    for row in range(8, 24):
        column = 18 - (row - 8) // 2
        grey[row, column - 1 : column + 2] = 20
    return Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def turned(orientation: int) -> bytes:
    """A file whose pixels lie otherwise than its EXIF tag says it is to be shown."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(drawn().transpose(TURNED[orientation]), "JPEG", exif=exif, quality=95)


def good() -> dict[str, bytes]:
    """Pictures that must be answered with a 7."""
    seven = drawn()
    blank = Image.new("L", seven.size, 255)
    clear = seven.convert("RGBA")
    clear.putalpha(Image.fromarray(255 - np.asarray(seven)))
    deep = Image.fromarray(np.asarray(seven).astype(np.uint16) * 257)
    return {
        **{kind: encoded(seven.convert("RGB"), kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")},
        **{f"EXIF {orientation}": turned(orientation) for orientation in TURNED},
        "animated GIF": encoded(seven, "GIF", save_all=True, append_images=[blank]),
        "animated PNG": encoded(seven, "PNG", save_all=True, append_images=[blank]),
        "animated WEBP": encoded(seven, "WEBP", save_all=True, append_images=[blank]),
        "CMYK": encoded(seven.convert("CMYK"), "JPEG"),
        "CMYK TIFF": encoded(seven.convert("CMYK"), "TIFF"),
        "16 bit": encoded(deep, "PNG"),
        "16 bit TIFF": encoded(deep, "TIFF"),
        "one bit": encoded(seven.convert("1"), "PNG"),
        "palette": encoded(seven.convert("P"), "PNG"),
        "palette and alpha": encoded(clear.quantize(32), "PNG"),
        "alpha": encoded(clear, "PNG"),
        "28 x 28": encoded(drawn(28), "PNG"),
        "1500 x 1500": encoded(drawn(1500), "PNG"),
    }


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(side: int, rows: int = 0) -> bytes:
    """A PNG that says it is side × side, with data for so many rows."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes((side + 1) * rows), 9)
    return PNG_START + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def run_length_bmp(width: int, height: int, data: bytes) -> bytes:
    palette = b"".join(bytes((i, i, i, 0)) for i in range(256))
    start = 14 + 40 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0) + palette + data


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1:1/x.png"/></svg>'


def bad() -> dict[str, tuple[bytes, int, str]]:
    """name → file, status, and a word of why."""
    png = encoded(drawn(), "PNG")
    text = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26)))
    return {
        "empty": (b"", 400, "image is empty"),
        "not a picture": (b"hello", 400, "no picture that can be read"),
        "SVG": (SVG, 400, "no picture that can be read"),
        "PDF": (b"%PDF-1.7\n1 0 obj", 400, "no picture that can be read"),
        "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 400, "no picture that can be read"),
        "PNG's first bytes": (png[:8], 400, "image"),
        "PNG cut in half": (png[: len(png) // 2], 400, "broken or truncated PNG"),
        "JPEG cut in half": (encoded(drawn(400), "JPEG")[:1500], 400, "broken or truncated JPEG"),
        "GIF cut": (encoded(drawn(), "GIF")[:900], 400, "image"),
        "TIFF cut": (encoded(drawn(), "TIFF")[:300], 400, "TIFF"),
        "WEBP cut": (encoded(drawn(), "WEBP")[:100], 400, "image"),
        "1 x 1": (encoded(Image.new("L", (1, 1), 255), "PNG"), 400, "blank"),
        "blank": (encoded(Image.new("RGB", (64, 64), (9, 9, 9)), "PNG"), 400, "blank"),
        "20,000 x 20,000": (huge_png(20_000, 500), 413, "far too many pixels"),
        "20,000 x 20,000 without data": (huge_png(20_000), 413, "far too many pixels"),
        "6,000 x 6,000": (huge_png(6_000, 6_000), 413, "36,000,000 pixels"),
        "2^31 wide": (huge_png(2**31 - 1), 413, "far too many pixels"),
        "JPEG of 4,000,000 markers": (b"\xff\xd8" + b"\xff\xe9\0\2" * 4_000_000, 400, "no size in its first 2,097,152"),
        "0 x 0": (huge_png(0), 400, "image"),
        "PNG with a text bomb": (png[:33] + text + png[33:], 400, "broken header"),
        "textual PPM": (b"P2\n28 28\n255\n" + b"0 " * 784, 415, "textual PPM"),
        "textual PPM of comments": (b"P2\n9 9\n255\n" + b"#\n" * 10**6, 415, "textual PPM"),
        "PPM of blanks": (b"P5" + b" " * 10**6, 400, "without its size"),
        "run-length BMP": (run_length_bmp(3000, 3000, b"\0\2\0\0" * 10**6), 415, "run-length encoded BMP"),
    }
