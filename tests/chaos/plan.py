"""What will go wrong in a storm, and when: drawn from a seed, so that it can be had again.

Decides kinds, places and times of faults; does none of them. Invariants: the same words give the
same plan; a plan survives the way through JSON; every fault ends by itself or is ended by the calm.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from lab.faultrules import Fault

PUSH: Final = ("east", "west")
PULL: Final = "north"
CENTERS: Final = (*PUSH, PULL)
SENTINELS: Final = tuple(f"sentinel-{center}" for center in CENTERS)
"""Both a sentinel and its link to the API server of its center."""
LINKS: Final = ("hub", *PUSH, "agent", PULL, *SENTINELS)
"""Hub to its API server, hub to push centers, agent to the hub's API server, agent to its own,
sentinels to those of their centers."""


class Step(StrEnum):
    """A step of the protocol: what is written or read where."""

    DECIDE = "decide"
    """The hub writes a job's status: its place, its end."""
    INTAKE = "intake"
    """The hub reads jobs, queues and centers."""
    LEAD = "lead"
    """Leases: leadership, the agent's own, heartbeats."""
    ANNOUNCE = "announce"
    """What the hub writes of centers and queues."""
    DISPATCH = "dispatch"
    """A workload and what belongs to it are made."""
    STOP = "stop"
    """A workload is suspended."""
    REMOVE = "remove"
    """A workload and what belongs to it are removed."""
    FOLLOW = "follow"
    """Workloads and pods are read."""
    SENSE = "sense"
    """Nodes and what is on them are read."""
    CARRY = "carry"
    """The hub writes wishes into a mailbox."""
    TAKE = "take"
    """Wishes are read from a mailbox, and reports by the hub."""
    REPORT = "report"
    """The agent writes what it sees and has."""
    ASK = "ask"
    """A sentinel asks for its center's lease, and hears the answer."""
    GRANT = "grant"
    """The hub reads the asks of push centers and answers them."""


@dataclass(frozen=True, slots=True)
class Where:
    """The requests that are a step."""

    links: tuple[str, ...]
    verbs: tuple[str, ...]
    path: str


_MADE: Final = r"/(jobs|services|configmaps|secrets|namespaces)(/|\?|$)"
_READ: Final = ("list", "watch")
STEPS: Final[dict[Step, Where]] = {
    Step.DECIDE: Where(("hub",), ("update", "patch"), "/crossregionjobs/"),
    Step.INTAKE: Where(("hub",), _READ, "/(crossregionjobs|computequeues|computecenters)"),
    Step.LEAD: Where(("hub", "agent", PULL), ("get", "create", "update", "patch"), "/leases"),
    Step.ANNOUNCE: Where(("hub",), ("patch",), "/(computecenters|computequeues)/"),
    Step.DISPATCH: Where((*PUSH, PULL), ("create",), _MADE),
    Step.STOP: Where((*PUSH, PULL), ("patch",), "/jobs/"),
    Step.REMOVE: Where((*PUSH, PULL), ("delete",), _MADE),
    Step.FOLLOW: Where((*PUSH, PULL), _READ, "/(jobs|pods)"),
    Step.SENSE: Where((*PUSH, PULL), ("get", *_READ), "/(nodes|namespaces|deviceclasses|resource)"),
    Step.CARRY: Where(("hub",), ("create", "update", "patch", "delete"), "/centerworks"),
    Step.TAKE: Where(("hub", "agent"), _READ, "/(centerworks|centerinventories)"),
    Step.REPORT: Where(("agent",), ("patch", "create", "update"), "/center(works|inventories)"),
    Step.ASK: Where(SENTINELS, ("get", *_READ, "create", "update", "patch"), "/leases"),
    Step.GRANT: Where(PUSH, ("get", *_READ, "create", "update", "patch"), "/leases"),
}

READING: Final = frozenset({Step.INTAKE, Step.FOLLOW, Step.SENSE, Step.TAKE})
_EVERYWHERE: Final = (Fault.DELAY, Fault.ANSWER, Fault.DROP, Fault.HANG, Fault.CUT, Fault.SLOW)
_OF_READS: Final = (Fault.STALL, Fault.REPEAT, Fault.REORDER)
_OF_WRITES: Final = (Fault.LOSE, Fault.TWICE)
_CODES_OF_READS: Final = (401, 410, 429, 500, 503)
_CODES_OF_WRITES: Final = (401, 409, 429, 500, 503)


class Deed(StrEnum):
    """What happens to processes, clusters and objects."""

    KILL = "kill"
    """A program of Huiju's dies and is started again."""
    FREEZE = "freeze"
    """A program of Huiju's stands still for a while."""
    LEAP = "leap"
    """The wall clock of a program of Huiju's leaps."""
    SERVER_DIES = "server-dies"
    STORE_DIES = "store-dies"
    SERVER_FREEZES = "server-freezes"
    FORGET_HISTORY = "forget-history"
    """etcd is compacted: old resource versions are gone."""
    PARTITION = "partition"
    LOST = "lost"
    """A partition that outlasts a center's lease."""
    MUTE = "mute"
    """Requests arrive, answers do not."""
    BREAK = "break"
    """All connections of a link break at once."""
    POD_DELETED = "pod-deleted"
    WORKLOAD_DELETED = "workload-deleted"
    WORKLOAD_EDITED = "workload-edited"
    """By hand: suspended, or given labels that claim another epoch."""
    NAMESPACE_DELETED = "namespace-deleted"
    FOREIGN = "foreign"
    """An object that is not ours has the name that a job's workload will want."""
    WIPED = "wiped"
    """A center is built anew, and joined under the name that it had."""
    MISLED = "misled"
    """The kubeconfig of a center leads to another one for a while."""


_OF_PROGRAMS: Final = (Deed.KILL, Deed.FREEZE, Deed.LEAP)
_OF_LINKS: Final = (Deed.PARTITION, Deed.MUTE, Deed.BREAK)
_OF_SERVERS: Final = (Deed.SERVER_DIES, Deed.STORE_DIES, Deed.SERVER_FREEZES, Deed.FORGET_HISTORY)
_TO_CENTERS: Final = (*PUSH, "agent")
"""The link that a center is lost with."""
_STEPS_IN_A_TURN: Final = 4
_LOST_FOR: Final = (24.0, 32.0)
_RARE: Final = (Deed.WIPED, Deed.MISLED, Deed.NAMESPACE_DELETED)
PROGRAMS: Final = ("hub", "agent", *SENTINELS)


@dataclass(frozen=True, slots=True)
class Glitch:
    """A fault of requests: the next `count` ones of a step on a link have it."""

    at: float
    link: str
    step: Step
    fault: Fault
    count: int
    code: int
    seconds: float
    size: int


@dataclass(frozen=True, slots=True)
class Blow:
    """A deed at a time; `seconds` until its end where it has one."""

    at: float
    deed: Deed
    where: str
    seconds: float


Misfortune = Glitch | Blow


def cells() -> list[tuple[Step, Fault]]:
    """Every kind of fault at every step that can have it."""
    return [
        (step, fault)
        for step in Step
        for fault in (*_EVERYWHERE, *(_OF_READS if step in READING else _OF_WRITES))
    ]


def draw(
    seed: int,
    seconds: float,
    *,
    every: float = 0.25,
    blows: float = 4.0,
    focus: Sequence[tuple[Step, Fault]] = (),
    share: float = 1.0,
    turn: float = 0.0,
) -> list[Misfortune]:
    """A plan: a glitch `every` so many seconds and a blow every `blows`, at random times.

    `focus` draws this `share` of the glitches from these cells alone, the others from all. Every
    `turn` seconds, where it is not 0, glitches turn to few other steps, so that work gets as far as
    the steps that come late in a job's life.
    """
    chance = random.Random(seed)
    rare = list(focus) or cells()
    rares, others = (_turns(chance, among, seconds, turn) for among in (rare, cells()))
    found: list[Misfortune] = []
    at = chance.expovariate(1 / every)
    while at < seconds:
        turns = rares if chance.random() < share else others
        now = turns[int(at / turn) if turn else 0]
        found.append(_glitch(chance, at, *chance.choice(now)))
        at += chance.expovariate(1 / every)
    at = chance.expovariate(1 / blows)
    while at < seconds:
        found.append(_blow(chance, at))
        at += chance.expovariate(1 / blows)
    return sorted(found, key=lambda one: one.at)


def _turns(
    chance: random.Random, among: Sequence[tuple[Step, Fault]], seconds: float, turn: float
) -> list[list[tuple[Step, Fault]]]:
    """The cells of each turn; without turns, of the only one."""
    if not turn:
        return [list(among)]
    steps = sorted({step for step, _ in among})
    drawn = [
        chance.sample(steps, min(_STEPS_IN_A_TURN, len(steps)))
        for _ in range(math.ceil(seconds / turn))
    ]
    return [[one for one in among if one[0] in now] for now in drawn]


def _glitch(chance: random.Random, at: float, step: Step, fault: Fault) -> Glitch:
    codes = _CODES_OF_READS if step in READING else _CODES_OF_WRITES
    return Glitch(
        at=round(at, 3),
        link=chance.choice(STEPS[step].links),
        step=step,
        fault=fault,
        count=chance.choice((1, 2, 4, 8)),
        code=chance.choice(codes),
        seconds=round(chance.uniform(0.05, 2.0), 2),
        size=chance.choice((0, 1, 2, 5)) if fault in _OF_READS else chance.randrange(400),
    )


def _blow(chance: random.Random, at: float) -> Blow:
    common = [deed for deed in Deed if deed not in _RARE]
    deed = chance.choice(_RARE) if chance.random() < 0.1 else chance.choice(common)
    if deed in _OF_PROGRAMS:
        where = chance.choice(PROGRAMS)
    elif deed in _OF_LINKS:
        where = chance.choice(LINKS)
    elif deed is Deed.LOST:
        return Blow(
            round(at, 3), deed, chance.choice(_TO_CENTERS), round(chance.uniform(*_LOST_FOR), 2)
        )
    elif deed in _OF_SERVERS:
        where = chance.choice(("hub", *CENTERS))
    elif deed in (Deed.WIPED, Deed.MISLED):
        where = chance.choice(PUSH)
    else:
        where = chance.choice(CENTERS)
    longest = 4.0 if deed in (Deed.SERVER_DIES, Deed.STORE_DIES, Deed.SERVER_FREEZES) else 8.0
    return Blow(round(at, 3), deed, where, round(chance.uniform(0.5, longest), 2))


# --- as text --------------------------------------------------------------------------------------


def dump(plan: Iterable[Misfortune]) -> str:
    """One fault a line."""
    return "".join(json.dumps({"kind": type(one).__name__, **asdict(one)}) + "\n" for one in plan)


def load(text: str) -> list[Misfortune]:
    """What `dump` wrote."""
    return [_read(json.loads(line)) for line in text.splitlines() if line.strip()]


def _read(told: dict[str, Any]) -> Misfortune:
    if told.pop("kind") == "Blow":
        return Blow(**told | {"deed": Deed(told["deed"])})
    return Glitch(**told | {"step": Step(told["step"]), "fault": Fault(told["fault"])})
