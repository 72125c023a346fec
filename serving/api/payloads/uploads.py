"""Files in a request's body: multipart/form-data as browsers and curl send it, or one picture as the body itself.

Read whole, by RFC 2046, 5.1 and RFC 7578: a body is in memory anyway, and cutting it at its boundaries takes a
fraction of what a parser of streams takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from serving.errors import BadInput, UnsupportedMedia

MAX_PARTS = 1024
MAX_BOUNDARY_BYTES = 200  # RFC 2046 allows 70
MAX_PART_HEAD_BYTES = 8 * 1024
PARAMETER = re.compile(rb"""\s*;\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))""", re.DOTALL)
ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
# What may stand between a boundary and its line's end.
BOUNDARY_END = re.compile(rb"[ \t]*\r\n")


def uploaded_files(body: bytes, content_type: bytes, name: str) -> list[bytes]:
    """The files of the form field `name`, in order. BadInput, UnsupportedMedia"""
    media_type, parameters = parse_parameters(content_type)
    if media_type.startswith(b"image/") or media_type == b"application/octet-stream":
        return [body]
    if media_type != b"multipart/form-data":
        raise UnsupportedMedia(
            f"content type {content_type[:60].decode('latin-1')!r}: send multipart/form-data with a file field {name!r}"
            f" (curl -F {name}=@picture.png), or the picture itself as image/*"
        )
    boundary = parameters.get(b"boundary")
    if not boundary or len(boundary) > MAX_BOUNDARY_BYTES:
        raise BadInput("multipart/form-data without a boundary in its content type, or with a very long one")
    files, others = [], []
    for head, data in split_parts(body, boundary):
        field = _disposition(head)
        if field.get(b"name") != name.encode():
            others.append(field.get(b"name", b"").decode("utf-8", "replace")[:40])
        elif b"filename" in field or b"filename*" in field:
            files.append(data)
        else:
            raise BadInput(f"{name} is text: it must be a file, and is never fetched from elsewhere")
    if others:
        raise BadInput(f"form field {others[0]!r} is unknown; the file field is {name!r}")
    if not files:
        raise BadInput(f"no file: send at least one as form field {name!r}")
    return files


def parse_parameters(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """`Form-Data; name="image"` → (`form-data`, {`name`: `image`}), as far as it is well formed."""
    kind = value.partition(b";")[0]
    parameters: dict[bytes, bytes] = {}
    place = len(kind)
    while (match := PARAMETER.match(value, place)) is not None:
        key, quoted, plain = match.groups()
        parameters.setdefault(key.lower(), plain if quoted is None else ESCAPE.sub(rb"\1", quoted))
        place = match.end()
    return kind.strip().lower(), parameters


def split_parts(body: bytes, boundary: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(head, data) of each part; what stands before the first boundary and after the last is dropped. BadInput"""
    delimiter = b"\r\n--" + boundary
    if body.count(delimiter) > MAX_PARTS:
        raise BadInput(f"more than {MAX_PARTS} parts in one form")
    part: list[bytes] | None = None  # None before the first boundary
    pieces = (b"\r\n" + body).split(delimiter)
    for piece in pieces[1:]:
        if piece.startswith(b"--"):
            if part is not None:
                yield _split_part(part, delimiter)
            return
        start = BOUNDARY_END.match(piece)
        if start is None:  # only the beginning is alike: data
            if part is not None:
                part.append(piece)
            continue
        if part is not None:
            yield _split_part(part, delimiter)
        part = [piece[start.end() :]]
    raise BadInput("the form ends before its last boundary")


def _split_part(pieces: list[bytes], delimiter: bytes) -> tuple[bytes, bytes]:
    part = pieces[0] if len(pieces) == 1 else delimiter.join(pieces)
    if part.startswith(b"\r\n"):
        return b"", part[2:]
    head, end, data = part.partition(b"\r\n\r\n")
    if not end or len(head) > MAX_PART_HEAD_BYTES:
        raise BadInput("the form cannot be read: a part's head has no end, or is too long")
    return head, data


def _disposition(head: bytes) -> dict[bytes, bytes]:
    """The parameters of a part's Content-Disposition."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            return parse_parameters(value.strip())[1]
    return {}
