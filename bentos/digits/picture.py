"""The bytes of a picture file → its grey values, whatever kind of picture it is."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, UnidentifiedImageError

from bentos.contract import PICTURE_FORMATS as FORMATS
from bentos.contract import PayloadError
from bentos.digits.transparency import fill_paper

MAX_PIXELS = 25_000_000
WORKING_PIXELS = 256  # pixels of the longest side at which a digit is looked for
STRIP_PIXELS = 500_000  # converted at once
DEPTHS = tuple(2.0**bits - 1 for bits in (1, 8, 10, 12, 14, 16))  # largest whole numbers of pictures
ALLOWED = f"send a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file of at most {MAX_PIXELS // 1_000_000} megapixels"
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_grey(data: bytes) -> np.ndarray:
    """The picture upright, its longest side about WORKING_PIXELS at most. → (h, w) float32 in [0, 1], PayloadError"""
    if not data:
        raise PayloadError(f"image is empty: {ALLOWED}")
    picture = _open(data)
    try:
        if picture.format == "JPEG":
            picture.draft("L" if picture.mode in ("L", "RGB") else None, (WORKING_PIXELS, WORKING_PIXELS))
        picture.load()
        turn = UPRIGHT.get(picture.getexif().get(ORIENTATION, 1))
    except Exception as error:  # Pillow's decoders raise anything on a broken file
        raise PayloadError(f"image is a broken or truncated {picture.format} file ({error}): {ALLOWED}") from error
    values = _values(picture)
    return values if turn is None else np.asarray(Image.fromarray(values).transpose(turn))


def _open(data: bytes) -> Image.Image:
    """The picture with only its header read, so that a small file cannot ask for a huge memory."""
    try:
        picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise PayloadError(f"image is no picture that can be read ({len(data)} bytes): {ALLOWED}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PayloadError(f"image has too many pixels: {ALLOWED}") from error
    except Exception as error:  # Pillow's parsers raise anything on a broken header
        raise PayloadError(f"image has a broken header ({error}): {ALLOWED}") from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise PayloadError(f"image has {width} × {height} pixels: {ALLOWED}")
    return picture


def _values(picture: Image.Image) -> np.ndarray:
    """Grey values; where the picture is transparent, as a person sees it. → (h, w) float32 in [0, 1]"""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _deep_values(picture)
    if picture.has_transparency_data:
        luminance, alpha = np.moveaxis(_reduce(picture, _to_grey_and_alpha) / 255, 2, 0)
        return fill_paper(luminance, alpha)
    return _reduce(picture, _to_grey) / 255


def _reduce(picture: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Converted, and averaged so that a side has WORKING_PIXELS pixels at most. → (h, w) or (h, w, bands) float32

    A strip at a time: a large picture is in memory once, as it was decoded.
    """
    width, height = picture.size
    factor = -(-max(width, height) // WORKING_PIXELS)
    if factor == 1:
        return np.asarray(convert(picture), np.float32)
    box = (min(factor, width), min(factor, height))
    n_rows = box[1] * max(1, STRIP_PIXELS // (width * box[1]))
    strips = (picture.crop((0, y, width, min(y + n_rows, height))) for y in range(0, height, n_rows))
    return np.concatenate([np.asarray(convert(strip).reduce(box), np.float32) for strip in strips])


def _to_grey(strip: Image.Image) -> Image.Image:
    return strip.convert("L") if strip.mode in ("1", "L", "RGB") else strip.convert("RGB").convert("L")


def _to_grey_and_alpha(strip: Image.Image) -> Image.Image:
    return strip if strip.mode == "LA" else strip.convert("RGBA").convert("LA")


def _deep_values(picture: Image.Image) -> np.ndarray:
    deep = _scale(_reduce(picture, _to_floats), picture.mode)
    transparent = picture.info.get("transparency")  # a grey that is to be seen through
    if not isinstance(transparent, int):
        return deep
    alpha = _reduce(picture, lambda strip: Image.fromarray(np.asarray(strip) != transparent).convert("L"))
    return fill_paper(deep, alpha / 255)


def _to_floats(strip: Image.Image) -> Image.Image:
    return Image.fromarray(np.nan_to_num(np.asarray(strip).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0))


def _scale(deep: np.ndarray, mode: str) -> np.ndarray:
    """Whole numbers by the depth that holds their range, as cameras put ten bits in files of sixteen. → in [0, 1]"""
    low = min(0.0, float(deep.min()))
    extent = float(deep.max()) - low
    depths = (1.0,) if mode == "F" else DEPTHS
    values: np.ndarray = (deep - low) / next((depth for depth in depths if extent <= depth), extent)
    return values
