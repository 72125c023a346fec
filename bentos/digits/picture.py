"""The bytes of a picture file → its grey values, whatever kind of picture it is."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from bentos.contract import PICTURE_FORMATS as FORMATS
from bentos.contract import PayloadError

MAX_PIXELS = 25_000_000
WORKING = 256  # pixels of the longest side at which a digit is looked for
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


def grey(data: bytes) -> np.ndarray:
    """The picture upright, its longest side about WORKING at most. → (h, w) float32 in [0, 1], PayloadError"""
    if not data:
        raise PayloadError(f"image is empty: {ALLOWED}")
    picture = _opened(data)
    try:
        if picture.format == "JPEG":
            picture.draft("L" if picture.mode in ("L", "RGB") else None, (WORKING, WORKING))
        picture.load()
        turn = UPRIGHT.get(picture.getexif().get(ORIENTATION, 1))
    except Exception as error:  # Pillow's decoders raise anything on a broken file
        raise PayloadError(f"image is a broken or truncated {picture.format} file ({error}): {ALLOWED}") from error
    values = _values(picture)
    return values if turn is None else np.asarray(Image.fromarray(values).transpose(turn))


def _opened(data: bytes) -> Image.Image:
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
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        deep = _reduced(Image.fromarray(np.asarray(picture).astype(np.float32)))
        return _scaled(np.asarray(deep), picture.mode)
    if picture.has_transparency_data:
        return _without_transparency(np.asarray(_reduced(picture.convert("RGBA").convert("LA"))))
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB") if picture.mode != "1" else picture.convert("L")
    return np.asarray(_reduced(picture.convert("L")), np.float32) / 255


def _reduced(picture: Image.Image) -> Image.Image:
    factor = -(-max(picture.size) // WORKING)
    return picture.reduce((min(factor, picture.width), min(factor, picture.height))) if factor > 1 else picture


def _scaled(deep: np.ndarray, mode: str) -> np.ndarray:
    """More than eight bits: whole numbers of sixteen, unless their range or their kind says otherwise."""
    deep = np.nan_to_num(deep, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = min(0.0, float(deep.min())), float(deep.max())
    full = max(1.0 if mode == "F" else 65535.0, high - low)
    values: np.ndarray = (deep - low) / full
    return values


def _without_transparency(grey_alpha: np.ndarray) -> np.ndarray:
    """What a person sees: a drawing on nothing is its own shape, any other picture lies on its own commonest grey."""
    luminance, alpha = (grey_alpha[..., band].astype(np.float32) / 255 for band in (0, 1))
    solid = luminance[alpha > 0.8] if (alpha > 0.8).any() else luminance[alpha > 0]
    if alpha.min() == 1:
        return luminance
    if not solid.size or np.ptp(solid) < 0.3:
        return alpha
    values: np.ndarray = luminance * alpha + np.median(solid) * (1 - alpha)
    return values
