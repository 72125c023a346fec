"""What may be asked of picture decoders, judged by the files' headers before any pixel is decoded."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from PIL import Image

from bentos.contract import PICTURE_FORMATS
from serving.errors import BadInput, TooLarge, UnsupportedMedia

# Pillow decodes these in Python, byte by byte: 16 MB can take minutes.
_TEXTUAL_PPM = re.compile(rb"P[123]\s")
_PPM = re.compile(rb"P[0456fy]")
_COMMENTS = re.compile(rb"#[^\n]*")
_LONGEST_PPM_HEADER = 256
_RUN_LENGTHS = (1, 2)  # of a BMP's compression
# Pillow reads what stands before the pixels in Python too; a photograph's preview and profile fit well into this.
_LONGEST_HEADER = 2 * 2**20
_HEADER_FIRST = (b"\xff\xd8", b"\x89P")  # how JPEG and PNG begin; a TIFF's may stand at its end


def check_pictures(files: Sequence[bytes], most_pixels: int) -> int:
    """The pixels of all files of one request, if they may be decoded. BadInput, TooLarge, UnsupportedMedia

    Reading a header can take a while where a file has a million of them, so large files belong into a thread.
    """
    pixels = 0
    for place, data in enumerate(files):
        which = f"[{place}] image" if len(files) > 1 else "image"
        _check_encoding(data, which)
        pixels += _pixels(data, which)
        if pixels > most_pixels:
            raise TooLarge(
                f"{which} brings the request to {pixels:,} pixels; at most {most_pixels:,}",
                "EKIBEN_MAX_REQUEST_PIXELS",
            )
    return pixels


def _check_encoding(data: bytes, which: str) -> None:
    if _TEXTUAL_PPM.match(data):
        raise UnsupportedMedia(f"{which} is a textual PPM file (P1, P2 or P3): send a binary one (P4, P5 or P6) or PNG")
    if _PPM.match(data) and len(_COMMENTS.sub(b"", data[:_LONGEST_PPM_HEADER]).split()) < 3:
        raise BadInput(f"{which} is a PPM file without its size in its first {_LONGEST_PPM_HEADER} bytes")
    if data[:2] == b"BM" and int.from_bytes(data[30:34], "little") in _RUN_LENGTHS and data[14:18] != b"\x0c\0\0\0":
        raise UnsupportedMedia(f"{which} is a run-length encoded BMP file: send an uncompressed one or PNG")


def _pixels(data: bytes, which: str) -> int:
    start = data[:_LONGEST_HEADER] if data[:2] in _HEADER_FIRST else data
    try:
        width, height = Image.open(
            io.BytesIO(start), formats=PICTURE_FORMATS
        ).size  # what is of another kind the model refuses in its own words
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TooLarge(f"{which} has far too many pixels") from None
    except (
        Exception
    ):  # Pillow's parsers raise anything on a broken header, or another kind; the model says what is wrong
        if len(start) < len(data):
            raise BadInput(f"{which} has no size in its first {_LONGEST_HEADER:,} bytes") from None
        return 0
    return width * height
