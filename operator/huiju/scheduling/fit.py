"""Whether a gang fits in a center now, node shape by node shape, and on which nodes.

Decides fit and packing for one job shape in one center. Invariants: a plan gives every worker a
node at once, with all its resources together, on legal positions, within the owner's limits; what
does not fit is refused with the numbers that were missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from huiju.scheduling import reasons
from huiju.scheduling.capacity import Block, CenterState, Hold
from huiju.scheduling.filter import allowed_image, image_message, refuse, refuse_node
from huiju.scheduling.model import Avoid, JobShape, Refusal, Vector, vector
from huiju.scheduling.pack import Slot, pack
from huiju.scheduling.topology import legal, slots

Holds = frozenset[Hold]
NO_HOLDS: Holds = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """A way to run the shape in a center now; holds until the center's version changes."""

    center: str
    alternative: int
    model: str
    resource: str
    request: Vector
    """Per worker, the accelerator included."""
    units: int
    gflops: int
    plan: tuple[tuple[Block, int, int], ...]
    """Blocks, how many of their first nodes, workers on each."""
    broken: float
    """Sum over the touched nodes of the share of their units that stays free."""


@dataclass(slots=True, eq=False)
class Verdict:
    """What one center says to one shape, and at which state of the center it said so."""

    state: CenterState
    version: int
    growth: int
    options: tuple[Option, ...]
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Want:
    """One alternative under one resource name."""

    alternative: int
    model: str
    resource: str
    per_worker: int
    request: Vector


class Fitter:
    """One job shape (and the centers it avoids) against all centers, remembering the answers."""

    def __init__(self, shape: JobShape, avoid: tuple[Avoid, ...]) -> None:
        self.shape = shape
        self.avoid = avoid
        self.users = 0
        """Classes of waiting jobs that have this shape."""
        self.hopeless: tuple[int, str, str] | None = None
        """The growth of the world at which no center could take it, reason and message."""
        self._verdicts: dict[tuple[str, Holds], Verdict] = {}
        self._nodes: dict[int, str] = {}
        self._wants: dict[tuple[int, str], Want] = {}
        self._seen = 0.0

    def forget(self, center: str) -> None:
        """The center is gone."""
        self._verdicts = {k: v for k, v in self._verdicts.items() if k[0] != center}

    def verdict(self, state: CenterState, now: float, holds: Holds = NO_HOLDS) -> Verdict:
        """What the center says now to a job that may use nodes under these holds."""
        if self.avoid:
            self._expire(now)
        key = (state.center.name, holds)
        known = self._verdicts.get(key)
        if known is not None and known.state is state:
            if known.version == state.version:
                return known
            if not known.options and known.growth == state.growth:
                # Since then the center has only lost room, so it still refuses.
                known.version = state.version
                return known
        made = self._judge(state, now, holds)
        if holds and len(self._verdicts) > 4096:
            self._verdicts.clear()
        self._verdicts[key] = made
        return made

    def _expire(self, now: float) -> None:
        if any(self._seen < entry.until <= now for entry in self.avoid):
            self._verdicts.clear()
        self._seen = now

    def _judge(self, state: CenterState, now: float, holds: Holds) -> Verdict:
        refused = refuse(self.shape, self.avoid, state.center, now)
        if refused is not None:
            return Verdict(state, state.version, state.growth, (), (refused,))
        options: list[Option] = []
        refusals: list[Refusal] = []
        for index in range(len(self.shape.alternatives)):
            answer = self._alternative(index, state, holds)
            if isinstance(answer, Refusal):
                refusals.append(answer)
            else:
                options.append(answer)
        if not self.shape.alternatives:
            message = "the job names no accelerator"
            refusals.append(Refusal(state.center.name, reasons.NO_SUCH_ACCELERATOR, message))
        return Verdict(state, state.version, state.growth, tuple(options), tuple(refusals))

    def wants(self, index: int, state: CenterState) -> list[Want]:
        """The alternative under each resource name by which the center advertises its model."""
        model = self.shape.alternatives[index].model
        return [self._want(index, name) for name in state.resources.get(model, ())]

    def _want(self, index: int, resource: str) -> Want:
        known = self._wants.get((index, resource))
        if known is None:
            chosen = self.shape.alternatives[index]
            request = vector({**dict(self.shape.request), resource: chosen.per_worker})
            known = Want(index, chosen.model, resource, chosen.per_worker, request)
            self._wants[index, resource] = known
        return known

    def _alternative(self, index: int, state: CenterState, holds: Holds) -> Option | Refusal:
        chosen, name = self.shape.alternatives[index], state.center.name
        wants = self.wants(index, state)
        if not wants:
            has = ", ".join(sorted(state.resources)) or "no accelerator"
            message = f"has no {chosen.model}, only {has}"
            return Refusal(name, reasons.NO_SUCH_ACCELERATOR, message, index)
        if not allowed_image(chosen.image, state.center):
            message = image_message(chosen.image, state.center)
            return Refusal(name, reasons.SHARING_POLICY, message, index)
        units = chosen.per_worker * self.shape.workers
        room = state.room(chosen.model)
        if room is not None and units > room:
            limit, held = state.limits[chosen.model]
            message = (
                f"needs {units} {chosen.model}; the owner lends {limit}"
                f" and the network holds {held} of them"
            )
            return Refusal(name, reasons.SHARING_LIMIT, message, index)
        for want in wants:
            option = self._option(want, state, holds)
            if option is not None:
                return option
        return self._shortage(wants[0], state, holds)

    def _option(self, want: Want, state: CenterState, holds: Holds) -> Option | None:
        found = [
            Slot(block, len(block.nodes), here, block.free[want.resource])
            for block, here in self.places(want, state.blocks.values(), holds)
        ]
        plan = pack(found, self.shape.workers, want.per_worker)
        if plan is None:
            return None
        gflops, broken = 0, 0.0
        for block, nodes, workers in plan:
            accelerator = block.kind.accelerators[want.model, want.resource]
            taken = workers * want.per_worker
            gflops += nodes * taken * accelerator.gflops
            total = max(1, block.kind.allocatable.get(want.resource, 1))
            broken += nodes * (block.free[want.resource] - taken) / total
        return Option(
            state.center.name,
            want.alternative,
            want.model,
            want.resource,
            want.request,
            want.per_worker * self.shape.workers,
            gflops,
            plan,
            broken,
        )

    def places(
        self, want: Want, blocks: Iterable[Block], holds: Holds
    ) -> Iterable[tuple[Block, int]]:
        """Blocks that can take at least one worker on a node, and how many each node takes."""
        for block in blocks:
            if block.hold is not None and block.hold not in holds:
                continue
            here = self.workers_on(want, block)
            if here:
                yield block, here

    def workers_on(self, want: Want, block: Block) -> int:
        """Workers that one node of the block can take."""
        accelerator = block.kind.accelerators.get((want.model, want.resource))
        if accelerator is None:
            return 0
        free = block.free
        here = self.shape.workers
        for name, amount in want.request:
            have = free.get(name, 0) // amount
            if have < here:
                if not have:
                    return 0
                here = have
        size = want.per_worker
        if not legal(accelerator.topology, size, self.shape.workers > 1):
            return 0
        if self._refused_node(block):
            return 0
        total = block.kind.allocatable.get(want.resource, 0)
        units = free[want.resource]
        return min(here, slots(accelerator.topology, size, total, units, block.devices))

    def _refused_node(self, block: Block) -> str:
        if not self.shape.node_selector and not block.kind.shape.taints:
            return ""
        serial = block.kind.serial
        known = self._nodes.get(serial)
        if known is None:
            if len(self._nodes) > 4096:
                self._nodes.clear()
            known = self._nodes[serial] = refuse_node(self.shape, block.kind)
        return known

    # --- the numbers of a refusal --------------------------------------------------------------

    def _shortage(self, want: Want, state: CenterState, holds: Holds) -> Refusal:
        name, index = state.center.name, want.alternative
        reason, message = reasons.NO_NODE_FITS, self._numbers(want, state, holds)
        blocks = [b for b in state.blocks.values() if self._has(want, b)]
        gang = self.shape.workers > 1
        if not any(self._legal(want, b, gang) for b in blocks):
            reason = reasons.ILLEGAL_ACCELERATOR_COUNT
            message = f"no {want.model} node here serves {want.per_worker} units to one worker"
        elif all(self._refused_node(b) for b in blocks):
            message = f"no {want.model} node has {self._refused_node(blocks[0])}"
        elif state.holds and self._without_holds(want, state):
            waiting = sorted({h.job for h in state.holds if h not in holds})
            reason = reasons.RESERVED_FOR_OTHER
            message = f"{message}; nodes are kept for {len(waiting)} job(s) that waited longer"
        return Refusal(name, reason, message, index)

    def _has(self, want: Want, block: Block) -> bool:
        return (want.model, want.resource) in block.kind.accelerators

    def _legal(self, want: Want, block: Block, gang: bool) -> bool:
        accelerator = block.kind.accelerators[want.model, want.resource]
        return legal(accelerator.topology, want.per_worker, gang)

    def _without_holds(self, want: Want, state: CenterState) -> bool:
        total = sum(self.workers_on(want, b) * len(b.nodes) for b in state.blocks.values())
        return total >= self.shape.workers

    def _numbers(self, want: Want, state: CenterState, holds: Holds) -> str:
        fitting, largest, enough = 0, 0, 0
        short: dict[str, int] = {}
        for block in state.blocks.values():
            if not self._has(want, block) or (block.hold and block.hold not in holds):
                continue
            units = block.free.get(want.resource, 0)
            largest = max(largest, units)
            fitting += self.workers_on(want, block) * len(block.nodes)
            if units < want.per_worker:
                continue
            enough += len(block.nodes)
            for name, amount in want.request:
                if block.free.get(name, 0) < amount:
                    short[name] = short.get(name, 0) + len(block.nodes)
        workers, size = self.shape.workers, want.per_worker
        if workers == 1:
            text = f"needs a node with {size} free {want.model}, has none"
        else:
            text = f"needs room for {workers} workers with {size} free {want.model} each,"
            text += f" has {fitting}"
        text += f"; largest free block {largest}"
        if short:
            lack = ", ".join(f"{n} on {count}" for n, count in sorted(short.items()))
            text += f"; of {enough} nodes with {size} free there is too little {lack}"
        elif enough > fitting:
            text += f"; of {enough} nodes with {size} free not all have a legal position for it"
        return text
