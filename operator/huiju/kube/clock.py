"""Elapsed time that also counts while the machine sleeps.

Invariant: never jumps back, and a suspended or paused process sees the time it missed.
"""

from __future__ import annotations

import time

if hasattr(time, "CLOCK_BOOTTIME"):

    def boottime() -> float:
        """Seconds since boot, sleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:  # macOS, where the command line may run; its monotonic clock is the nearest

    def boottime() -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()
