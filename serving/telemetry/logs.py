"""Log lines: every one of this process as JSON or for people to read, and one for each request.

EKIBEN_LOG_FORMAT and EKIBEN_LOG_LEVEL say how and which; EKIBEN_LOG_REQUESTS_PER_SECOND bounds the requests' lines.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Protocol

import orjson

from serving.errors import ServingError
from serving.token_bucket import TokenBucket

log = logging.getLogger("bentoml.ekiben.request")
# Failures have their own budget, so that no flood of answers hides them, nor they each other for long.
FAILURES_PER_SECOND = 100
PLAIN = re.compile(r"[!#-\[\]-~]+")  # no blank, quote, backslash or control character
# What BentoML's logging configuration gives handlers to.
LOGGERS = ("", "bentoml", "circus", "uvicorn.error")


def line_budget(per_second: int) -> TokenBucket:
    """So many lines a second, a tenth of a second's at once: more would hold requests up by milliseconds."""
    return TokenBucket(per_second, per_second / 10)


class RequestLog:
    """One line for each request, as far as the budgets reach."""

    def __init__(self) -> None:
        self.answers = line_budget(0)
        self._failures = line_budget(FAILURES_PER_SECOND)

    def answered(self, trace: bytes, who: tuple[str, str, str, str], fields: dict[str, float]) -> None:
        """`who` is model, form, version and interface; `fields` hold rows, batch_rows and durations in ms."""
        self._write(logging.INFO, self.answers, trace, 200, who, fields)

    def failed(
        self, trace: bytes, error: ServingError, who: tuple[str, str, str, str] | None = None, **further: Any
    ) -> None:
        """Where no model is known, `further` tells method and path."""
        if self._failures.take(perf_counter()):
            level = logging.WARNING if error.status >= 500 else logging.INFO
            further |= {"reason": error.reason, "error": str(error)}
            if error.setting:
                further["setting"] = error.setting
            self._write(level, self._failures, trace, error.status, who, further)

    def _write(
        self,
        level: int,
        budget: TokenBucket,
        trace: bytes,
        status: int,
        who: tuple[str, str, str, str] | None,
        further: dict[str, Any],
    ) -> None:
        fields: dict[str, Any] = {"status": status, "trace": trace.decode()}
        fields |= zip(("model", "form", "version", "interface"), who or (), strict=False)
        fields |= further
        if budget.refused:
            fields["left_out_before"], budget.refused = budget.refused, 0
        words = " ".join(f"{key}={_shown(value)}" for key, value in fields.items())
        log.log(level, "%s", words, extra={"fields": fields})


REQUESTS = RequestLog()


class AsJson(logging.Formatter):
    """One object per line: time, level, logger, message, and a request's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON: time, level, logger, and the record's fields or message."""
        fields = getattr(record, "fields", None)
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **(fields or {"message": record.getMessage()}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _visible(orjson.dumps(line, default=str).decode())


class LogSettings(Protocol):
    """What is set of the log."""

    @property
    def log_format(self) -> str:
        """`human` or `json`."""

    @property
    def log_level(self) -> str:
        """As logging names it."""

    @property
    def log_requests_per_second(self) -> int:
        """Lines for answered requests at most; 0: none."""


def configure(settings: LogSettings) -> None:
    """Have this process's log so, on whatever handlers BentoML has set up."""
    REQUESTS.answers = line_budget(settings.log_requests_per_second)
    logging.getLogger("bentoml").setLevel(settings.log_level.upper())
    if settings.log_format == "json":
        for name in LOGGERS:
            for handler in logging.getLogger(name).handlers:
                handler.setFormatter(AsJson())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, str) and PLAIN.fullmatch(value) is None:
        return _visible(orjson.dumps(value).decode())  # quoted and escaped: no client forges a line
    return str(value)


def _visible(text: str) -> str:
    """JSON in which what ends a line, turns its direction or controls a terminal is escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return "".join(f"\\u{unit:04x}" for unit in memoryview(char.encode("utf-16")[2:]).cast("H"))
