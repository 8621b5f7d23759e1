"""How long a test waits for what must come, and why it is so long."""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 120.0
"""Seconds. A verdict never hangs on it: what works comes in a moment, and on a machine that does a
hundred other things in several. Only what never comes lasts so long."""
