"""Log lines: every one of this process as JSON or for people to read, and one for each request.

EKIBEN_LOG_FORMAT and EKIBEN_LOG_LEVEL say how and which; EKIBEN_LOG_REQUESTS_PER_SECOND bounds the requests' lines.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import orjson

from serving.errors import ServingError
from serving.settings import Settings

log = logging.getLogger("bentoml.ekiben.request")
# Failures have their own room, so that no flood of answers hides them, nor they each other for long.
FAILURES_PER_SECOND = 100
# What BentoML's logging configuration gives handlers to.
LOGGERS = ("", "bentoml", "circus", "uvicorn.error")


class Room:
    """So many lines a second, spread over it: a second's worth at once would hold requests up by milliseconds.

    A token bucket that holds a tenth of a second's lines. `left_out` counts the rest.
    """

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self.left_out = 0
        self._tokens, self._at = 1.0, 0.0

    def take(self, now: float) -> bool:
        """Whether there is room for a line at `now`, in seconds of a monotonic clock."""
        most = max(1.0, self.per_second / 10)
        self._tokens = min(most, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        if self._tokens >= 1 and self.per_second:
            self._tokens -= 1
            return True
        self.left_out += 1
        return False


class RequestLog:
    """One line for each request, while there is room."""

    def __init__(self) -> None:
        self.answers = Room(0)
        self._failures = Room(FAILURES_PER_SECOND)

    def answered(self, trace: bytes, who: tuple[str, str, str, str], said: dict[str, float]) -> None:
        """`who` is model, form, version and interface; `said` holds rows, batch_rows and durations in ms."""
        self._write(logging.INFO, self.answers, trace, 200, who, said)

    def failed(
        self, trace: bytes, error: ServingError, who: tuple[str, str, str, str] | None = None, **said: Any
    ) -> None:
        """Where no model is known, method and path are said."""
        if self._failures.take(perf_counter()):
            level = logging.WARNING if error.status >= 500 else logging.INFO
            said |= {"reason": error.reason, "error": str(error)}
            self._write(level, self._failures, trace, error.status, who, said)

    def _write(
        self,
        level: int,
        room: Room,
        trace: bytes,
        status: int,
        who: tuple[str, str, str, str] | None,
        said: dict[str, Any],
    ) -> None:
        fields: dict[str, Any] = {"status": status, "trace": trace.decode()}
        fields |= zip(("model", "form", "version", "interface"), who or (), strict=False)
        fields |= said
        if room.left_out:
            fields["left_out_before"], room.left_out = room.left_out, 0
        words = " ".join(f"{key}={_shown(value)}" for key, value in fields.items())
        log.log(level, "%s", words, extra={"fields": fields})


REQUESTS = RequestLog()


class AsJson(logging.Formatter):
    """One object per line: time, level, logger, message, and a request's fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", None)
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **(fields or {"message": record.getMessage()}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure(settings: Settings) -> None:
    """Have this process's log so, on whatever handlers BentoML has set up."""
    REQUESTS.answers.per_second = settings.log_requests_per_second
    logging.getLogger("bentoml").setLevel(settings.log_level.upper())
    if settings.log_format == "json":
        for name in LOGGERS:
            for handler in logging.getLogger(name).handlers:
                handler.setFormatter(AsJson())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f'"{value}"' if isinstance(value, str) and " " in value else str(value)
