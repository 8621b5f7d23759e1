"""What a puller has said, line by line, and the status that follows from it.

Pure. Decides which lines are believed: those of the transfer that is meant, in JSON. Invariants:
the last word of a puller stands; equal words give an equal status, so nothing is written twice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from huiju.api.reasons import Reason
from huiju.api.transfer import CenterCopySpec

Fields = dict[str, Any]
_LONGEST: Final = 1024
_NUMBERS: Final = {
    "bytesDone": "bytesDone",
    "bytesTotal": "bytesTotal",
    "filesDone": "filesDone",
    "filesTotal": "filesTotal",
    "rate": "rate",
    "limit": "limit",
    "fetched": "fetched",
}
_SPOKEN: Final = {str(reason) for reason in Reason}
ENDED: Final = frozenset({"Done", "Failed", "Removed"})
"""States after which nothing of the transfer is at work."""


@dataclass(slots=True)
class Heard:
    """All that one transfer's pullers have said so far."""

    uid: str
    epoch: int
    mode: str
    state: str = "Pending"
    need: Fields | None = None
    figures: dict[str, int] = field(default_factory=dict)
    until: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    waited: float = 0.0
    """Seconds for which the link was closed."""
    digest: str = ""
    reason: str = ""
    message: str = ""
    path: str = ""
    _closed_at: float = 0.0
    _last: dict[str, float] = field(default_factory=dict)
    """When each pod spoke last: a log that is read again says nothing new."""
    _fetched: dict[str, int] = field(default_factory=dict)
    """Bytes that each pod's puller had over the network."""

    @property
    def over(self) -> bool:
        """Whether the last word was said."""
        return self.state in ENDED

    def line(self, text: str, pod: str) -> None:
        """Take one line of a pod; what is none of a puller's is let pass."""
        try:
            said = json.loads(text)
            meant = said["replica"] == self.uid and said["epoch"] == self.epoch
            event, at = str(said["event"]), float(said.get("at") or 0.0)
        except (ValueError, KeyError, TypeError):
            return
        if not meant or self.over or at < self._last.get(pod, 0.0):
            return
        self.began = self.began or at
        self.ended = self._last[pod] = at
        self._take(event, said, at)
        if event in ("progress", "done"):
            self._fetched[pod] = int(said.get("fetched") or 0)
            self.figures["fetched"] = sum(self._fetched.values())

    def _take(self, event: str, said: Fields, at: float) -> None:
        if event != "need" and self._closed_at:
            self.waited += max(0.0, at - self._closed_at)
            self._closed_at = 0.0
        match event:
            case "need":
                self.need = {n: said.get(n) for n in ("seq", "first", "count", "publicKey")}
                self._goes_on("Running")
            case "progress":
                self.figures = {name: int(said.get(key) or 0) for key, name in _NUMBERS.items()}
                self._goes_on("Running")
            case "waiting":
                self._closed_at = at
                self.until = float(said.get("until") or 0.0)
                self.figures["rate"] = 0
                self._goes_on("Waiting")
            case "verified":
                self.digest = str(said.get("digest") or "")
                files, bad = int(said.get("files") or 0), int(said.get("bad") or 0)
                self.figures |= {"filesDone": files - bad, "filesTotal": files}
                if not bad:
                    self._goes_on("Done")
            case "done":
                self._done(said)
            case "removed":
                self.figures = {}
                self._goes_on("Removed")
            case "failed":
                self.fail(
                    str(said.get("reason") or ""),
                    str(said.get("message") or ""),
                    str(said.get("path") or ""),
                )
            case _:
                return

    def _done(self, said: Fields) -> None:
        self.digest = str(said.get("digest") or "")
        size, files = int(said.get("bytes") or 0), int(said.get("files") or 0)
        self.figures = {
            "bytesDone": size,
            "bytesTotal": size,
            "filesDone": files,
            "filesTotal": files,
        }
        self._goes_on("Done")

    def _goes_on(self, state: str) -> None:
        self.state = state
        self.reason = self.message = self.path = ""

    def pending(self, message: str) -> None:
        """The puller's pod does not run yet, and why."""
        if self.state == "Pending":
            self.message = message[:_LONGEST]

    def fail(self, reason: str, message: str, path: str = "") -> None:
        """The end without a copy."""
        self.state = "Failed"
        self.reason = reason if reason in _SPOKEN else str(Reason.TRANSFER_FAILED)
        self.message, self.path = message[:_LONGEST], path[:_LONGEST]
        self.figures["rate"] = 0

    def status(self, before: Fields, generation: int, now: float) -> Fields:
        """The status of the CenterCopy."""
        fields: Fields = {
            "observedGeneration": generation,
            "epoch": self.epoch,
            "mode": self.mode,
            "state": self.state,
            "conditions": [self._condition(before, generation, now)],
            "need": self.need,
            "until": _stamp(self.until) if self.state == "Waiting" else None,
            "startedAt": _stamp(self.began),
            # Waiting apart, so that what was carried in it tells of the link.
            "endedAt": _stamp(self.ended - self.waited) if self.over else None,
            "digest": self.digest or None,
            "reason": self.reason or None,
            "message": self.message or None,
            "path": self.path or None,
            **self.figures,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def _condition(self, before: Fields, generation: int, now: float) -> Fields:
        done = self.state in ("Done", "Removed")
        status = str(done)
        known: Fields = next(iter(before.get("conditions") or []), {})
        since = known.get("lastTransitionTime") if known.get("status") == status else None
        reason = Reason.VERIFIED if self.state == "Done" else Reason.COPY_EVICTED
        return {
            "type": "Done",
            "status": status,
            "reason": str(reason) if done else self.reason or str(_UNDER_WAY[self.state]),
            "message": self.message,
            "observedGeneration": generation,
            "lastTransitionTime": since or _stamp(now),
        }


_UNDER_WAY: Final = {
    "Pending": Reason.TRANSFER_PENDING,
    "Running": Reason.COPYING,
    "Waiting": Reason.WINDOW_CLOSED,
    "Failed": Reason.TRANSFER_FAILED,
}


def heard_before(uid: str, spec: CenterCopySpec, status: Fields) -> Heard:
    """What an earlier agent wrote of the very transfer; a new one where it wrote of another."""
    heard = Heard(uid, spec.epoch, spec.mode)
    same = status.get("epoch") == spec.epoch and status.get("mode") == spec.mode
    if same and status.get("state") in ENDED:
        heard.state = str(status["state"])
        heard.reason, heard.message = str(status.get("reason", "")), str(status.get("message", ""))
        heard.path, heard.digest = str(status.get("path", "")), str(status.get("digest", ""))
        heard.figures = {n: int(status[n]) for n in _NUMBERS.values() if n in status}
        heard.began, heard.ended = (
            _seconds(status.get("startedAt")),
            _seconds(status.get("endedAt")),
        )
        heard.need = status.get("need")
    return heard


def _seconds(stamp: object) -> float:
    try:
        return datetime.fromisoformat(str(stamp)).timestamp()
    except ValueError:
        return 0.0


def _stamp(at: float) -> str | None:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ") if at else None
