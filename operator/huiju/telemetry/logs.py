"""Logs as text for people or JSON for machines; every record carries its context as fields.

Decides the two formats. Invariant: one record is one line, and nothing that a caller did not pass
as a field is added to it.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

Format = Literal["text", "json"]
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller passed as `extra`."""
    return {k: v for k, v in record.__dict__.items() if k not in _STANDARD}


class TextFormatter(logging.Formatter):
    """`time LEVEL logger message key=value …`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below where there is one."""
        fields = " ".join(f"{k}={v}" for k, v in fields_of(record).items())
        name = record.name.removeprefix("huiju.")
        line = f"{_time(record)} {record.levelname:<7} {name}: {record.getMessage()}"
        if fields:
            line += f" {fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; values that JSON does not know as their text."""
        body: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        return json.dumps(body, default=str, ensure_ascii=False)


def configure(format_: Format = "text", level: str = "info") -> None:
    """Send all logs to standard error in one format; other libraries only from warnings up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format_ == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("huiju").setLevel(level.upper())
    # Kopf logs each event that it hands over, at info.
    logging.getLogger("kopf").setLevel(logging.WARNING)
