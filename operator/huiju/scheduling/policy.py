"""The few settings of the scheduler, each with its unit; the same for every center and trace."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """What a platform engineer may weigh; times in seconds."""

    priority_step: float = 86_400.0
    """One point of priority outweighs so long a wait, so that no job starves by priority."""
    away: float = 60.0
    """What running away from the queue's home center costs: no less than breaking open a node.

    As much again by the share that the job takes of what is free there, for those at home there.
    """
    fragmentation: float = 60.0
    """What it costs to break open a whole empty node."""
    scarcity: float = 60.0
    """What it costs a job with a choice of models to take all that a center has free of one.

    Enough to leave what is scarce to those who can use nothing else, little against run times.
    """
    per_money: float = 1.0
    """Seconds that one unit of money is worth."""
    default_runtime: float = 3600.0
    """Run time assumed in scores for jobs that do not tell theirs."""
    default_bandwidth: int = 125_000_000
    """Bytes per second assumed where no link is declared."""
    patience: float = 600.0
    """How long a blocked head waits before nodes are held for it when no end is known."""
    hold_after: float = 0.0
    """How long a blocked head waits before nodes are held for it when ends are known.

    Longer lets more jobs pass and shortens the mean wait; shorter shortens the longest wait.
    """
    certain: float = 300.0
    """A start that rests on learned run times is believed so long before it, and nodes are held."""
    uncertain: float = 3600.0
    """What each worker that has no place yet adds to a start that rests on learned run times.

    The ends of many jobs together come later than the latest of the middle ones that are expected.
    """
    starving: float = 14_400.0
    """A head that waited so long gets its nodes before any queue's turn."""
    reservations: int = 16
    """Blocked heads for which a start is looked for in one cycle, first in order."""
    backfill: bool = True
    """Whether blocked heads get reservations at all."""
    preemption: bool = True
    """Whether owed guarantees and higher priority stop other jobs."""
    dwell: float = 600.0
    """A job is not stopped before it has run so long."""
    soon: float = 120.0
    """No job is stopped for one that is expected to start so soon anyway."""
