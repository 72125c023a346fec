"""Files that pages need, each at an exact path: read once, answered with an ETag, and never from elsewhere."""

from __future__ import annotations

import hashlib
import mimetypes
from pathlib import Path

from serving.http.endpoint import Endpoint
from serving.http.gateway import Routes
from serving.http.messages import Handler, Header, Request, Response

STATIC = Path(__file__).parent / "static"
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
# Nothing but what this service serves may run, load, be posted to or frame a page. data: and blob: are the pictures
# that a page makes by itself.
SECURITY: tuple[Header, ...] = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self';"
        b" frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
)


def routes() -> Routes:
    """`/ui/static/<file>` of every file in static/."""
    return {f"/ui/static/{file.name}": asset(file) for file in sorted(STATIC.iterdir()) if file.is_file()}


def asset(file: Path) -> dict[str, Handler]:
    """The route of one file: 304 to a browser that has it already."""
    body = file.read_bytes()
    kind = TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    tag = b'"%b"' % hashlib.sha256(body).hexdigest()[:16].encode()
    headers = ((b"etag", tag), (b"cache-control", b"no-cache"), *SECURITY)

    content_type = kind.encode()

    def respond(request: Request) -> Response:
        if request.headers.get(b"if-none-match") == tag:
            return Response(b"", content_type, 304, headers)
        return Response(body, content_type, 200, headers)

    return {"GET": Endpoint(respond)}
