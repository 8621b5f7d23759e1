"""The placement, lease and epoch protocol as a small model: every state, and every step from it.

A model of what hub, centers, guards and network may do, not of their code. Time runs in ticks; a
center's clock may stand still for a tick, once in the life of each lease (the drift bound). A
message is lost, late, or delivered twice as the explorer likes; a lost one simply never arrives.
Decides nothing; `explore.py` walks it. Invariant: a state holds only what decides the future.

What stands for what: a lease is granted by an *answer* to an *ask* of the center, and counts from
the moment of asking on the center's own clock. The hub reads an ask no sooner than it was made, so
it may count from its reading. The worst case, an ask read the moment it was made, is modeled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

LEASE = 2
"""Ticks that an answer keeps a center's jobs alive."""
DRIFT = 1
"""Ticks that a center's clock may lag behind in the life of one lease."""
GRACE = 1
"""Ticks from a lapsed lease to the death of the main container: probes and termination grace."""
WAIT = LEASE + DRIFT + GRACE
"""Ticks of silence after which a job may be placed elsewhere."""
CREATE_LIFE = 2
"""Ticks after which a create that was sent can no longer arrive; less than `WAIT`."""

# Where one epoch of a job stands in its center.
NONE, SENT, SENT_LATE, GATED, LIVE, ENDING, STOPPED, DONE = "-sSGLEXD"
RUNS = (LIVE, ENDING)
OPEN = (SENT, SENT_LATE, GATED, LIVE, ENDING)


class Clock(NamedTuple):
    """A span on a center's clock: ticks left, and whether that clock has lagged in it."""

    left: int
    lagged: bool


OVER = Clock(0, False)


class Center(NamedTuple):
    """One center, the hub's view of it included."""

    link: bool = True
    read: bool = False
    """The hub knows all that it holds (volatile)."""
    lost: bool = False
    """`lostSince` is in its status (durable)."""
    silent: int = 0
    """Ticks since the hub last read an ask that it answered, as far as it knows."""
    lease: Clock = OVER
    answer: int = 0
    """An answer on its way: ticks that its lease would have left."""


class Job(NamedTuple):
    """One job: what its status says, and what the centers hold of it."""

    epoch: int = 0
    place: int = -1
    """Index of the center, -1 for none."""
    end: str = ""
    """`done`, or empty."""
    where: tuple[int, ...] = ()
    """Center of each epoch ever placed."""
    state: tuple[str, ...] = ()
    """State of each epoch ever placed."""
    reused: bool = False
    """An epoch was given twice."""


class State(NamedTuple):
    """The whole network."""

    up: bool
    centers: tuple[Center, ...]
    jobs: tuple[Job, ...]
    faults: int
    """Faults that may still happen."""
    restored: int = -1
    """After a restore from a backup: ticks before anything may be placed; -1 for no restore."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The protocol; each field is one rule that a mutation can take away."""

    wait: int = WAIT
    """Silence before re-placing."""
    count_from_asking: bool = True
    """A lease counts from the ask; else from the arrival of the answer."""
    clean_before_renewal: bool = True
    """A returning center loses old epochs before its lease is renewed."""
    read_before_placing: bool = True
    """After a restore nothing is placed before the epochs in all centers were read."""
    gate: bool = True
    """The main container starts only under a valid lease."""
    creates_die: bool = True
    """A create does not arrive after `CREATE_LIFE` (an assumption, not a rule)."""
    create_is_a_word: bool = True
    """Silence counts from the last create too, not from the last answer alone."""
    stop_seen: bool = True
    """A move gives the placement up only when its workload was seen stopped."""
    epochs: int = 2


Step = tuple[str, State]


def start(centers: int, jobs: int, faults: int) -> State:
    """Nothing placed, every link up, the hub just started."""
    return State(True, (Center(),) * centers, (Job(),) * jobs, faults)


def steps(s: State, rules: Rules) -> Iterator[tuple[bool, str, State]]:
    """Whether a step is a fault, its name, and the state after it."""
    yield from _ticks(s, rules)
    for c, center in enumerate(s.centers):
        yield from _network(s, c, center, rules)
        if s.up:
            yield from _hub_on_center(s, c, center, rules)
    for j, job in enumerate(s.jobs):
        yield from _job(s, j, job, rules)
    if s.up:
        if s.faults:
            yield True, "hub dies", _crashed(s)
    else:
        yield False, "hub starts", _restarted(s)
        if s.faults and s.restored < 0 and any(job.epoch for job in s.jobs):
            yield True, "hub starts from an old backup", _from_backup(s)


# --- time ----------------------------------------------------------------------------------------


def _ticks(s: State, rules: Rules) -> Iterator[tuple[bool, str, State]]:
    """One tick for all; each center's clock runs, or lags where it still may."""
    choices: list[tuple[int, ...]] = [()]
    for center in s.centers:
        # A lag before an answer arrives is as good as one after it.
        may_lag = center.lease.left > 0 and not center.lease.lagged
        choices = [(*one, lag) for one in choices for lag in ((0, 1) if may_lag else (0,))]
    for lags in choices:
        centers = tuple(
            center._replace(
                silent=min(center.silent + 1, WAIT),
                lease=_run(center.lease, lag),
                answer=max(0, center.answer - 1),
            )
            for center, lag in zip(s.centers, lags, strict=True)
        )
        jobs = tuple(_aged(job, centers, rules) for job in s.jobs)
        name = "tick" + "".join(f", clock of {c} lags" for c, lag in enumerate(lags) if lag)
        restored = s.restored - 1 if s.restored > 0 else s.restored
        yield False, name, s._replace(centers=centers, jobs=jobs, restored=restored)


def _run(span: Clock, lag: int) -> Clock:
    if not span.left:
        return OVER
    return Clock(span.left, True) if lag else _span(span.left - 1, span.lagged)


def _span(left: int, lagged: bool) -> Clock:
    return Clock(left, lagged) if left > 0 else OVER


def _aged(job: Job, centers: tuple[Center, ...], rules: Rules) -> Job:
    """A tick of the job's workloads: guards that see a lapsed lease stop the main container."""
    after = []
    for state, c in zip(job.state, job.where, strict=True):
        if state == ENDING:
            after.append(STOPPED)
        elif state == LIVE and not centers[c].lease.left:
            after.append(ENDING)
        elif state == SENT and rules.creates_die:
            after.append(SENT_LATE)
        elif state == SENT_LATE and rules.creates_die:
            after.append(NONE)
        else:
            after.append(state)
    return job._replace(state=tuple(after))


# --- network, center and hub ---------------------------------------------------------------------


def _network(s: State, c: int, center: Center, rules: Rules) -> Iterator[tuple[bool, str, State]]:
    if center.link and s.faults:
        cut = center._replace(link=False, read=False)
        yield True, f"link to {c} cut", _with(s, c, cut, fault=True)
    if not center.link:
        yield False, f"link to {c} heals", _with(s, c, center._replace(link=True))
    if center.answer:
        granted = Clock(center.answer if rules.count_from_asking else LEASE, False)
        longer = max(center.lease, granted, key=lambda span: (span.left, not span.lagged))
        arrived = center._replace(lease=longer, answer=0)
        yield False, f"answer reaches {c}", _with(s, c, arrived)
        if s.faults:
            twice = center._replace(lease=longer)
            yield True, f"answer reaches {c} and stays", _with(s, c, twice, fault=True)


def _hub_on_center(
    s: State, c: int, center: Center, rules: Rules
) -> Iterator[tuple[bool, str, State]]:
    if center.link and not center.read:
        yield False, f"hub reads {c}", _with(s, c, center._replace(read=True))
    if not center.lost and not center.link:
        lost = center._replace(lost=True)
        yield False, f"hub calls {c} lost", _with(s, c, lost)
    if not (center.link and center.read):
        return
    stale = [
        (j, e)
        for j, job in enumerate(s.jobs)
        for e, state in enumerate(job.state)
        if job.where[e] == c and state in (GATED, LIVE, ENDING) and not _called_for(job, e, c)
    ]
    for j, e in stale:
        if s.jobs[j].state[e] != ENDING:
            yield False, f"hub stops {j}/{e + 1} in {c}", _stopped(s, j, e)
    clean = not stale or not rules.clean_before_renewal
    if center.lost and clean:
        yield False, f"hub finds {c} again", _with(s, c, center._replace(lost=False))
    if not center.lost and clean and not center.answer:
        renewed = center._replace(silent=0, answer=LEASE)
        yield False, f"hub answers {c}", _with(s, c, renewed)


def _called_for(job: Job, e: int, c: int) -> bool:
    return job.place == c and job.epoch == e + 1 and not job.end


def _job(s: State, j: int, job: Job, rules: Rules) -> Iterator[tuple[bool, str, State]]:
    for e, (state, c) in enumerate(zip(job.state, job.where, strict=True)):
        center = s.centers[c]
        if state in (SENT, SENT_LATE):
            yield False, f"create of {j}/{e + 1} reaches {c}", _put(s, j, e, GATED)
        if state == GATED and (center.lease.left or not rules.gate):
            yield False, f"{j}/{e + 1} starts in {c}", _put(s, j, e, LIVE)
        if state == LIVE:
            yield False, f"{j}/{e + 1} succeeds in {c}", _put(s, j, e, DONE)
    if s.up and not job.end:
        yield from _hub_on_job(s, j, job, rules)


def _hub_on_job(s: State, j: int, job: Job, rules: Rules) -> Iterator[tuple[bool, str, State]]:
    if job.place < 0:
        yield from _place(s, j, job, rules)
        return
    c, e = job.place, job.epoch - 1
    center, state = s.centers[c], job.state[e]
    reads = center.link and center.read
    if reads and not center.lost and state == NONE:
        sent = _put(s, j, e, SENT)
        if rules.create_is_a_word:
            sent = _with(sent, c, center._replace(silent=0))
        yield False, f"hub creates {j}/{e + 1} in {c}", sent
    if reads and state == DONE:
        yield False, f"hub sees {j} done", _job_is(s, j, job._replace(end="done"))
    if reads and not center.lost and state == STOPPED:
        yield False, f"hub requeues {j}", _job_is(s, j, job._replace(place=-1))
    if reads and not center.lost and state in (GATED, LIVE):
        yield False, f"a move stops {j}/{e + 1} in {c}", _stopped(s, j, e)
        if not rules.stop_seen:
            yield (
                False,
                f"a move gives {j}/{e + 1} up unseen",
                _job_is(s, j, job._replace(place=-1)),
            )
    if center.lost and center.silent >= rules.wait:
        yield False, f"hub gives up {j}/{e + 1} in {c}", _job_is(s, j, job._replace(place=-1))


def _place(s: State, j: int, job: Job, rules: Rules) -> Iterator[tuple[bool, str, State]]:
    all_read = all(center.read for center in s.centers)
    if s.restored >= 0 and rules.read_before_placing and (s.restored or not all_read):
        return
    # What a read center shows decides; a backup's status may know less.
    held = [e for e, c in enumerate(job.where) if s.centers[c].read]
    unknown = any(job.state[e] in OPEN[2:] and e + 1 > job.epoch for e in held)
    if unknown and rules.read_before_placing:
        adopted = job._replace(epoch=max(held) + 1)
        yield False, f"hub learns the epoch of {j}", _job_is(s, j, adopted)
        return
    known = [e + 1 for e in held] if rules.read_before_placing else []
    epoch = max([job.epoch, *known]) + 1
    stray = any(job.state[e] in (GATED, *RUNS) for e in held)
    if epoch > rules.epochs or (stray and rules.read_before_placing):
        return
    for c, center in enumerate(s.centers):
        if not center.read or center.lost:
            continue
        reused = job.reused or epoch <= len(job.where)
        placed = job._replace(epoch=epoch, place=c, reused=reused)
        if epoch > len(job.where):
            placed = placed._replace(where=(*job.where, c), state=(*job.state, NONE))
        yield False, f"hub places {j}/{epoch} in {c}", _job_is(s, j, placed)


# --- small changes -------------------------------------------------------------------------------


def _with(s: State, c: int, center: Center, *, fault: bool = False) -> State:
    centers = (*s.centers[:c], center, *s.centers[c + 1 :])
    return s._replace(centers=centers, faults=s.faults - fault)


def _job_is(s: State, j: int, job: Job) -> State:
    return s._replace(jobs=(*s.jobs[:j], job, *s.jobs[j + 1 :]))


def _put(s: State, j: int, e: int, state: str) -> State:
    job = s.jobs[j]
    return _job_is(s, j, job._replace(state=(*job.state[:e], state, *job.state[e + 1 :])))


def _stopped(s: State, j: int, e: int) -> State:
    return _put(s, j, e, ENDING if s.jobs[j].state[e] == LIVE else STOPPED)


def _crashed(s: State) -> State:
    centers = tuple(center._replace(read=False) for center in s.centers)
    return s._replace(up=False, centers=centers, faults=s.faults - 1)


def _restarted(s: State) -> State:
    """What was volatile is new: silence counts afresh but where the status says since when."""
    centers = tuple(c if c.lost else c._replace(silent=0) for c in s.centers)
    return s._replace(up=True, centers=centers)


def _from_backup(s: State) -> State:
    """The backup is older than every placement."""
    jobs = tuple(job._replace(epoch=0, place=-1, end="") for job in s.jobs)
    restarted = _restarted(s)
    return restarted._replace(jobs=jobs, faults=s.faults - 1, restored=CREATE_LIFE)
