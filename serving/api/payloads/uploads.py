"""Files in a request's body: multipart/form-data as browsers and curl send it, or one picture as the body itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from serving.errors import BadInput, UnsupportedMedia

MAX_PARTS = 1024


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    data: list[bytes] = field(default_factory=list)


def uploaded_files(body: bytes, content_type: bytes, name: str) -> list[bytes]:
    """The files of the form field `name`, in order. BadInput, UnsupportedMedia."""
    kind, options = parse_options_header(content_type)
    if kind.startswith(b"image/") or kind == b"application/octet-stream":
        return [body]
    if kind != b"multipart/form-data":
        raise UnsupportedMedia(
            f"content type {content_type[:60].decode('latin-1')!r}: send multipart/form-data with a file field {name!r}"
            f" (curl -F {name}=@picture.png), or the picture itself as image/*"
        )
    if not options.get(b"boundary"):
        raise BadInput("multipart/form-data without a boundary in its content type")
    files, others = [], []
    for part in _parts(body, options[b"boundary"]):
        _, said = parse_options_header(part.headers.get(b"content-disposition", b""))
        if said.get(b"name") != name.encode():
            others.append(said.get(b"name", b"").decode("utf-8", "replace")[:40])
        elif b"filename" not in said:
            raise BadInput(f"{name} is text: it must be a file, and is never fetched from elsewhere")
        else:
            files.append(b"".join(part.data))
    if others:
        raise BadInput(f"form field {others[0]!r} is unknown; the file field is {name!r}")
    if not files:
        raise BadInput(f"no file: send at least one as form field {name!r}")
    return files


def _parts(body: bytes, boundary: bytes) -> list[_Part]:
    parts: list[_Part] = []
    key: list[bytes] = []
    value: list[bytes] = []
    ended = False

    def begin() -> None:
        if len(parts) >= MAX_PARTS:
            raise BadInput(f"more than {MAX_PARTS} parts in one form")
        parts.append(_Part())

    def header_end() -> None:
        parts[-1].headers[b"".join(key).lower()] = b"".join(value)
        key.clear()
        value.clear()

    def end() -> None:
        nonlocal ended
        ended = True

    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": begin,
                "on_header_field": lambda data, start, stop: key.append(data[start:stop]),
                "on_header_value": lambda data, start, stop: value.append(data[start:stop]),
                "on_header_end": header_end,
                "on_part_data": lambda data, start, stop: parts[-1].data.append(data[start:stop]),
                "on_end": end,
            },
        )
        parser.write(body)
    except FormParserError as error:
        raise BadInput(f"the form cannot be read: {error}") from None
    if not ended:
        raise BadInput("the form ends before its last boundary")
    return parts
