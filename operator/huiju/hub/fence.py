"""One center's fence: whether it may get a word of the hub, and how long the last one works.

Decides what counts as a word and how long it lasts. A *word* is whatever lets a guarded container
run on or come to be: an answer to an ask, and a create. Invariants: no answer is given while the
fence is closed; `ends_by` is never before the time at which the last guarded container of this
center can have ended; a fence that has just been made counts its own making as a word, since an
earlier hub may have spoken until then.

Times are seconds on this machine's boot-time clock. Safe to be used from several threads: answers
are given in another one than that which opens and closes.
"""

from __future__ import annotations

import threading

from huiju.centers.lease import LeaseProfile, give_up_after


class Fence:
    """The hub's word to one center."""

    def __init__(self, profile: LeaseProfile, now: float) -> None:
        self._lock = threading.Lock()
        self._profile = profile
        self._open = False
        self._ends_by = now + give_up_after(profile)
        self._leased_until = float("-inf")
        self._asked_at = float("-inf")
        self._trouble = ""

    # --- the word ------------------------------------------------------------------------------

    def grant(self, now: float) -> float | None:
        """Seconds to answer with to an ask that was read by `now`; None while the fence is closed.

        The center counts from its ask, which is older than `now`: however late the answer comes, it
        prolongs nothing beyond what is noted here.
        """
        with self._lock:
            if not self._open:
                return None
            self._note(now)
            return self._profile.lease

    def answered(self, read: float, seconds: float) -> None:
        """The ask that was read by `read` has its answer."""
        self._leased_until = max(self._leased_until, read + seconds)

    def created(self, now: float) -> None:
        """Something was sent to the center by `now` that may start there."""
        with self._lock:
            self._note(now)

    def _note(self, now: float) -> None:
        self._ends_by = max(self._ends_by, now + give_up_after(self._profile))

    # --- open or closed ------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether asks are answered."""
        return self._open

    def open(self) -> None:
        """Answer asks: nothing of an old epoch is left in the center."""
        with self._lock:
            self._open = True

    def close(self) -> None:
        """Answer none until it is opened again."""
        with self._lock:
            self._open = False

    def use(self, profile: LeaseProfile) -> None:
        """Take other times; what was said under the former ones stays."""
        with self._lock:
            self._profile = profile

    @property
    def profile(self) -> LeaseProfile:
        """The times that hold."""
        return self._profile

    # --- silence -------------------------------------------------------------------------------

    @property
    def ends_by(self) -> float:
        """From then on no guarded container runs in the center, unless there is another word."""
        return self._ends_by

    def recall(self, ends_by: float) -> None:
        """An earlier hub noted that its last word ends so; only ever brings the end forward.

        To be told before the fence was ever opened, of a center that is lost since.
        """
        with self._lock:
            self._ends_by = min(self._ends_by, ends_by)

    # --- who asks ------------------------------------------------------------------------------

    def asked(self, now: float) -> None:
        """A new ask was seen."""
        self._asked_at = now

    def asks(self, now: float) -> bool:
        """Whether somebody in the center has asked within the length of a lease."""
        return now - self._asked_at < self._profile.lease

    def expect(self, now: float) -> None:
        """An earlier hub was asked by this center: so it will be, for a while, until it shows."""
        self._asked_at = max(self._asked_at, now - self._profile.lease + _EXPECTED)

    def remaining(self, now: float) -> float:
        """Seconds that the lease holds at least, by the answers given here; 0 for none."""
        return max(0.0, self._leased_until - now)

    @property
    def trouble(self) -> str:
        """Why asks cannot be read or answered now, empty if they can."""
        return self._trouble

    def note_trouble(self, trouble: str) -> None:
        """Say why asks cannot be read or answered, empty once they can."""
        self._trouble = trouble


_EXPECTED = 60.0
"""Seconds in which a sentinel that is at work asks at least once."""
