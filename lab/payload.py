"""The program that a lab kubelet runs as a main container: it trains nothing, but as jobs do.

It works in small steps, saves a checkpoint now and then with the marker last, goes on from where an
earlier attempt was, and saves once more when it is told to stop. Standard library alone, and little
of it, since one runs for every played pod.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Final

STEP: Final = 0.05


class Payload:
    """One attempt; what it is to do comes from the environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.run_for = float(environment.get("LAB_RUN_FOR") or "inf")
        self.exit_code = int(environment.get("LAB_EXIT_CODE") or 0)
        self.term_code = int(environment.get("LAB_TERM_CODE") or 143)
        self.term_seconds = float(environment.get("LAB_TERM_SECONDS") or 0)
        self.every = float(environment.get("LAB_SAVE_EVERY") or 1)
        self.hangs_after = float(environment.get("LAB_HANG_AFTER") or "inf")
        self.folder = environment.get("HUIJU_CHECKPOINT_DIR", "")
        self.resume = environment.get("HUIJU_RESUME_FROM", "")
        self.outputs = environment.get("HUIJU_OUTPUT_DIR", "")
        self.progress = environment.get("LAB_PROGRESS_FILE", "")
        self.stopping = False
        self.done = 0.0

    def main(self) -> int:
        """Work to the end, or until told to stop; returns the exit code."""
        signal.signal(signal.SIGTERM, self._stop)
        if self.resume and os.path.exists(self.resume):
            with open(os.path.join(self.resume, "done"), encoding="utf-8") as file:
                self.done = float(file.read())
            print(f"goes on at {self.done:.2f}", flush=True)
        saved = began = time.monotonic()
        while self.done < self.run_for and not self.stopping:
            time.sleep(STEP)
            if time.monotonic() - began > self.hangs_after:
                continue
            self.done += STEP
            if self.progress:
                with open(self.progress, "w", encoding="utf-8") as file:
                    file.write(f"{self.done}")
            if time.monotonic() - saved >= self.every:
                self.save()
                saved = time.monotonic()
        if self.stopping:
            time.sleep(self.term_seconds)
            self.save()
            return self.term_code
        if self.outputs:
            os.makedirs(self.outputs, exist_ok=True)
            with open(os.path.join(self.outputs, "result"), "w", encoding="utf-8") as file:
                file.write(f"{self.done}")
        return self.exit_code

    def save(self) -> None:
        """A checkpoint, complete by its marker."""
        if not self.folder:
            return
        place = os.path.join(self.folder, f"at-{int(self.done * 1000)}")
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, "done"), "w", encoding="utf-8") as file:
            file.write(f"{self.done}")
        with open(os.path.join(place, "COMPLETE"), "w", encoding="utf-8"):
            pass

    def _stop(self, *_: object) -> None:
        self.stopping = True


if __name__ == "__main__":
    sys.exit(Payload(os.environ).main())
