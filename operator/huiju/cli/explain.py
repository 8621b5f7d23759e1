"""Saying what became of an object, why it is needed and, of a role, what it allows and why.

Decides the layout only. Invariant: a role is never shown without the reason of each of its rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from huiju.cli.failures import UsageError
from huiju.cli.session import Session

if TYPE_CHECKING:
    from huiju.cli.joining import Step


def explain(session: Session, step: Step, outcome: str) -> None:
    """Print a step and its outcome."""
    session.say(f"  {step.side:6}  {step}: {outcome}")
    session.say(_indented(step.why, 10))
    for rule in step.rules:
        names = f" named {', '.join(rule.names)}" if rule.names else ""
        session.say(f"{'':12}- {', '.join(rule.verbs)} {', '.join(rule.resources)}{names}")
        session.say(_indented(rule.why, 14))


def _indented(words: str, columns: int) -> str:
    from textwrap import fill

    margin = " " * columns
    return fill(words, 100, initial_indent=margin, subsequent_indent=margin)


def https_address(session: Session, server: str, who: str) -> str:
    """The address for the other side; warns of one that only this machine can reach."""
    url = urlsplit(server)
    if url.scheme != "https":
        raise UsageError(f"--server: {who} by https only, not {server}")
    if url.hostname in ("localhost", "127.0.0.1", "::1"):
        session.note(
            f"warning: {server} is this machine only: fine if both sides run here, else give"
            " another address with --server"
        )
    return server


def token_seconds(given: str | None) -> int | None:
    """The lifetime asked for on the command line, None where none was."""
    from huiju.api.durations import parse_duration

    if given is None:
        return None
    try:
        seconds = int(parse_duration(given))
    except ValueError as error:
        raise UsageError(f"--token-lifetime: {error}") from error
    if seconds < 600:
        raise UsageError("--token-lifetime must be at least 10m, API servers give no shorter one")
    return seconds
