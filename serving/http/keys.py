"""Who may enter: API keys from a file, each with what it opens and how often. No file, no keys: everybody may.

The file holds hashes, never keys: a line `name opens sha256 [requests per second]` each, # before comments.
`python -m serving.http.keys NAME` makes a key and its line. What changes in the file holds within a second; keys that
are gone end.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic

from serving.errors import Forbidden, Overloaded, Unauthorized
from serving.token_bucket import TokenBucket

log = logging.getLogger("bentoml.ekiben")
LOOK_SECONDS = 1.0
# What a key opens, and the paths of each; what is in none is `predict`'s.
RIGHTS = {"predict": (), "metrics": ("/metrics",), "faults": ("/faults",), "synthetic": ()}
SYNTHETIC = b"x-ekiben-synthetic"  # its value is 1 where rows are a load test's, and no word of drift
# Probes carry no key.
KEYLESS_PATHS = ("/livez", "/readyz", "/healthz", "/v2/health/")


class Key:
    """One key, and its rate limit: a bucket that holds a second's worth of requests."""

    def __init__(self, name: str, opens: frozenset[str], digest: bytes, per_second: float) -> None:
        self.name, self.opens, self.digest, self.per_second = name, opens, digest, per_second
        self._bucket = TokenBucket(per_second, per_second)

    def spend(self) -> None:
        """One request. Overloaded over its rate"""
        if self.per_second and not self._bucket.take(monotonic()):
            raise Overloaded(f"key {self.name!r} may ask {self.per_second:g} times a second")


def is_synthetic(headers: Mapping[bytes, bytes], everybody: bool, key: Key | None) -> bool:
    """Whether a request says that it is a load test's, and may: everybody may, or its key opens that."""
    return headers.get(SYNTHETIC) == b"1" and (everybody or (key is not None and "synthetic" in key.opens))


class Keys:
    """The keys of a file, looked at again as it changes. ValueError names the line at the first reading."""

    def __init__(self, file: Path, workers: int = 1) -> None:
        """A rate is shared out among the `workers`, which do not know of each other's requests."""
        self._file, self._workers = file, workers
        self._keys = _read(file, workers)
        self._stamp, self._look_at = _stamp(file), monotonic() + LOOK_SECONDS

    def of(self, path: str, authorization: bytes | None) -> Key | None:
        """The key that opens a path; None where none is needed. Unauthorized, Forbidden"""
        if path.startswith(KEYLESS_PATHS):
            return None
        self.reload_if_changed()
        digest = hashlib.sha256(_presented(authorization)).digest()
        match = None
        for key in self._keys:  # all are compared, so that time tells nothing
            if hmac.compare_digest(key.digest, digest):
                match = key
        if match is None:
            raise Unauthorized("this key is not known; who runs the service gives them out")
        right = next((name for name, paths in RIGHTS.items() if paths and path.startswith(paths)), "predict")
        if right not in match.opens:
            raise Forbidden(f"key {match.name!r} opens {', '.join(sorted(match.opens))}, not {right}")
        return match

    def reload_if_changed(self) -> None:
        """Read the file again if it has changed; one that cannot be read changes nothing."""
        if monotonic() < self._look_at:
            return
        self._look_at = monotonic() + LOOK_SECONDS
        if (stamp := _stamp(self._file)) == self._stamp:
            return
        self._stamp = stamp
        try:
            new = _read(self._file, self._workers)
        except (OSError, ValueError) as error:
            return log.error("the API keys stay as they were: %s", error)
        current = {(k.name, k.opens, k.digest, k.per_second): k for k in self._keys}
        self._keys = [current.pop((k.name, k.opens, k.digest, k.per_second), k) for k in new]
        log.info("API keys: %s", ", ".join(key.name for key in self._keys) or "none")


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def _read(file: Path, workers: int) -> list[Key]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"EKIBEN_API_KEYS_FILE={file} cannot be read: {error}") from None
    where = f"EKIBEN_API_KEYS_FILE={file}, line"
    return [
        _key(line.split(), f"{where} {n}", workers) for n, line in enumerate(lines, 1) if line.split("#")[0].strip()
    ]


def _key(words: list[str], where: str, workers: int) -> Key:
    if len(words) not in (3, 4):
        raise ValueError(f"{where} must be: name opens sha256 [requests per second]")
    opens = frozenset(words[1].split(","))
    if unknown := opens - RIGHTS.keys():
        raise ValueError(f"{where}: {min(unknown)!r} is nothing to open; there is {', '.join(RIGHTS)}")
    try:
        digest, rate = bytes.fromhex(words[2]), float(words[3]) if len(words) == 4 else 0.0
    except ValueError:
        raise ValueError(f"{where}: the hash must be hexadecimal and the rate a number") from None
    if len(digest) != 32 or not 0 <= rate < float("inf"):
        raise ValueError(f"{where}: the hash must be a SHA-256, of 64 digits, and the rate 0 or more")
    return Key(words[0], opens, digest, rate / workers)


def _presented(authorization: bytes | None) -> bytes:
    """The key in `Authorization: Bearer KEY`, or a browser's `Basic` with the key as password. Unauthorized"""
    kind, _, value = (authorization or b"").partition(b" ")
    if kind.lower() == b"bearer" and value:
        return value.strip()
    if kind.lower() == b"basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except binascii.Error:
            pass
    raise Unauthorized("a key is needed: Authorization: Bearer KEY")


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> None:
    """`python -m serving.http.keys`: make a key, and the line for the file that lets it in."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.http.keys",
        description="Make an API key, and the line for EKIBEN_API_KEYS_FILE that lets it in. The key is shown once.",
    )
    parser.add_argument("name", help="whose key it is; the log's name for it")
    parser.add_argument("--opens", default="predict", help=f"comma-separated: {', '.join(RIGHTS)} (predict)")
    parser.add_argument("--per-second", type=float, default=0.0, help="requests a second at most; 0: no bound")
    options = parser.parse_args(arguments)
    key = secrets.token_urlsafe(32)
    line = f"{options.name} {options.opens} {hashlib.sha256(key.encode()).hexdigest()} {options.per_second:g}"
    try:
        _key(line.split(), line, 1)
    except ValueError as error:
        parser.error(str(error))
    say(f"key:  {key}\nline: {line}")


if __name__ == "__main__":
    main()
