"""`huiju guard`: learns of the lease, counts down, and tells the kubelet whether the pod may run.

Composition only. Invariants: as long as no lease was seen, nothing in the pod starts; when it ran
out, every question after a container is answered with 503 until a new one is seen, and what was
last said of the lease stays behind in the container's termination message and its exit code. What
was said to a container counts until that container is told otherwise: one that was stopped asks no
more, so the others' luck does not cover up why it ended.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Final

from huiju.guard.chain import Chain
from huiju.guard.countdown import Countdown, NoAnswer, boottime
from huiju.guard.progress import Watch
from huiju.guard.server import Answer, Server, listen
from huiju.guard.terms import (
    ALIVE_PATH,
    CODES,
    LEASE_ENDED,
    NO_PROGRESS,
    STARTED_PATH,
    Terms,
    TermsRefused,
    read_terms,
)
from huiju.guard.wire import WireError, get

_LONGEST_QUESTION: Final = 5.0
_IMPATIENT: Final = 1.0
"""Seconds between two questions as long as the lease is not seen valid."""
_MOST_CONTAINERS: Final = 64
"""As many as a pod of a job may have."""


class Guard:
    """One pod's guard; raises OSError where its port is taken."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._stopping = threading.Event()
        self._countdown = Countdown(terms.center)
        self._chains = {
            name: Chain(kinds, terms.pod_ip, self._stopping.wait)
            for name, kinds in terms.probes.items()
        }
        self._trouble = ""
        self._said = ""
        self._ended: dict[str, str] = {}
        self._watch: Watch | None = None
        if terms.progress is not None:
            self._watch = Watch(terms.progress, terms.pod_ip, self._stopping.wait)
        self._server = Server(listen(terms.bind, terms.port), self.answer)

    def run(self) -> None:
        """Guard until `stop`."""
        if self._terms.sentinel is not None:
            threading.Thread(target=self._follow, daemon=True).start()
        self._server.serve()

    @property
    def code(self) -> int:
        """What to exit with: why a container was last told to end, 0 where none was."""
        words = set(self._ended.values())
        return next((code for word, code in CODES.items() if word in words), 0)

    def stop(self) -> None:
        """End soon."""
        self._stopping.set()
        self._server.stop()

    # --- what the kubelet asks -----------------------------------------------------------------

    def answer(self, path: str) -> Answer:
        """What is said to a question."""
        if path == STARTED_PATH:
            return self._started()
        if path == ALIVE_PATH or path.startswith(f"{ALIVE_PATH}/"):
            return self._alive(path[len(ALIVE_PATH) + 1 :])
        return 404, f"there are {STARTED_PATH} and {ALIVE_PATH}/CONTAINER"

    def _started(self) -> Answer:
        left = self._left()
        if left > 0:
            return 200, f"the lease holds for {left:.1f} s"
        return 503, f"no valid lease: {self._why()}"

    def _left(self) -> float:
        """Seconds that the lease holds; without end where the pod runs under none."""
        return self._countdown.left(boottime()) if self._terms.sentinel is not None else math.inf

    def _alive(self, container: str) -> Answer:
        left = self._left()
        if left <= 0:
            return self._end(container, LEASE_ENDED, f"the center's lease ran out; {self._why()}")
        stalled = self._watch.trouble() if self._watch is not None else ""
        if stalled:
            return self._end(container, NO_PROGRESS, stalled)
        self._ended.pop(container, None)
        if not self._ended:
            self._leave("")
        chain = self._chains.get(container)
        trouble = chain.trouble() if chain is not None else ""
        if trouble:
            return 503, f"{container}: {trouble}"
        return 200, f"the lease holds for {left:.1f} s"

    def _end(self, container: str, word: str, why: str) -> Answer:
        """Have a container stopped, and let it be known why."""
        if len(self._ended) < _MOST_CONTAINERS:
            self._ended[container] = word
        self._leave(f"{word}: {why}")
        return 503, f"{word}: {why}"

    def _why(self) -> str:
        return self._trouble or "the hub has not renewed it"

    def _leave(self, words: str) -> None:
        """Let these be the last words, should the pod end now."""
        first = words.partition(":")[0]
        if first == self._said:
            return
        self._said = first
        _say(words or "the center's lease holds again")
        try:
            with open(self._terms.last_words, "w", encoding="utf-8") as file:
                file.write(words)
        except OSError as error:
            _say(f"cannot write {self._terms.last_words}: {error}")

    # --- the lease -----------------------------------------------------------------------------

    def _follow(self) -> None:
        """Ask the sentinel again and again."""
        while True:
            self._ask()
            if self._stopping.wait(self._pause()):
                return

    def _pause(self) -> float:
        """Seconds to the next question: fewer after none was answered, fewest without a lease."""
        poll = self._terms.poll
        if self._countdown.left(boottime()) <= 0:
            return min(poll, _IMPATIENT)
        return max(min(poll, _IMPATIENT), poll / 4) if self._trouble else poll

    def _ask(self) -> None:
        where = self._terms.sentinel
        if where is None:
            return
        seconds = min(self._terms.poll, _LONGEST_QUESTION)
        sent = boottime()
        try:
            status, body = get(where.host, where.port, where.path, seconds)
            if status != 200:
                raise NoAnswer(f"the sentinel answers {status}")
            self._countdown.hear(sent, body)
        except (WireError, NoAnswer) as error:
            if str(error) != self._trouble:
                _say(str(error))
            self._trouble = str(error)
        else:
            self._trouble = ""


def _say(words: str) -> None:
    print(f"huiju guard: {words}", file=sys.stderr, flush=True)


def main(environment: Mapping[str, str] | None = None) -> int:
    """Run the guard until it is told to end; returns its exit code."""
    try:
        terms = read_terms(os.environ if environment is None else environment)
    except TermsRefused as refusal:
        _say(str(refusal))
        return 2
    try:
        guard = Guard(terms)
    except OSError as error:
        _say(f"{terms.bind or 'all addresses'}, port {terms.port}: {error}")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: guard.stop())
    guard.run()
    return guard.code
