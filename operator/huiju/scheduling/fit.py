"""Whether a gang fits in a center now, node shape by node shape, and on which nodes.

Decides fit and packing for one job shape in one center. Invariants: a plan gives every worker a
node at once, with all its resources together, on legal positions, within the owner's limits; what
does not fit is refused with the numbers that were missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from huiju.scheduling import reasons
from huiju.scheduling.capacity import Block, CenterState
from huiju.scheduling.filter import allowed_image, refuse, refuse_node
from huiju.scheduling.model import Avoid, JobShape, Refusal, Vector, vector
from huiju.scheduling.pack import Slot, pack
from huiju.scheduling.refusal import NO_HOLDS, Holds, Want, tell
from huiju.scheduling.topology import legal, slots


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
    words: tuple[tuple[str, int | None], ...]
    """Reasons of refusals, each with its alternative."""
    told: tuple[int, tuple[Refusal, ...]] | None = None
    """The refusals in full, and the center's version that they speak of."""


class Fitter:
    """One job shape (and the centers it avoids) against all centers, remembering the answers."""

    def __init__(self, shape: JobShape, avoid: tuple[Avoid, ...]) -> None:
        self.shape = shape
        self.avoid = avoid
        self.users = 0
        """Classes of waiting jobs that have this shape."""
        self.hopeless: tuple[int, str, str] | None = None
        """The growth of the world at which no center could take it, reason and message."""
        self.forecasts: dict[object, object] = {}
        """What `reserve` remembers of this shape."""
        self._verdicts: dict[tuple[str, Holds], Verdict] = {}
        self._rules: dict[str, tuple[CenterState, int, Refusal | None]] = {}
        self._most: dict[tuple[str, int, str], tuple[CenterState, int, int]] = {}
        self._nodes: dict[int, str] = {}
        self._wants: dict[tuple[int, str], Want] = {}
        self._seen = 0.0

    def forget(self, center: str) -> None:
        """The center is gone."""
        self._verdicts = {k: v for k, v in self._verdicts.items() if k[0] != center}
        self._rules.pop(center, None)
        self._most = {k: v for k, v in self._most.items() if k[0] != center}
        self.forecasts.clear()

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
        if holds:
            # Holds are made anew in each cycle: what was said under old ones is of no use.
            self._verdicts = {k: v for k, v in self._verdicts.items() if k[0] != key[0] or not k[1]}
        made = self._verdicts[key] = self._judge(state, now, holds)
        return made

    def _expire(self, now: float) -> None:
        if any(self._seen < entry.until <= now for entry in self.avoid):
            self._verdicts.clear()
            self._rules.clear()
        self._seen = now

    def refused(self, state: CenterState, now: float) -> Refusal | None:
        """Why the rules keep the job out of the center, None if they let it in."""
        name = state.center.name
        known = self._rules.get(name)
        if known is None or known[0] is not state or known[1] != state.policy:
            answer = refuse(self.shape, self.avoid, state.center, now)
            known = self._rules[name] = (state, state.policy, answer)
        return known[2]

    def refusals(
        self, state: CenterState, now: float, holds: Holds = NO_HOLDS
    ) -> tuple[Refusal, ...]:
        """The center's refusals in full, with the numbers of this moment."""
        verdict = self.verdict(state, now, holds)
        if not verdict.words:
            return ()
        if verdict.told is None or verdict.told[0] != state.version:
            rule = self.refused(state, now)
            if rule is not None and self.avoid:
                # How long a center is avoided yet changes with the time.
                rule = refuse(self.shape, self.avoid, state.center, now)
            found = (
                (rule,)
                if rule is not None
                else tuple(tell(self, state, w, index, holds) for w, index in verdict.words)
            )
            verdict.told = (state.version, found)
        return verdict.told[1]

    def _judge(self, state: CenterState, now: float, holds: Holds) -> Verdict:
        rule = self.refused(state, now)
        if rule is not None:
            return Verdict(state, state.version, state.growth, (), ((rule.reason, None),))
        options: list[Option] = []
        words: list[tuple[str, int | None]] = []
        for index in range(len(self.shape.alternatives)):
            answer = self._alternative(index, state, holds)
            if isinstance(answer, str):
                words.append((answer, index))
            else:
                options.append(answer)
        if not self.shape.alternatives:
            words.append((reasons.NO_SUCH_ACCELERATOR, None))
        return Verdict(state, state.version, state.growth, tuple(options), tuple(words))

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

    def _alternative(self, index: int, state: CenterState, holds: Holds) -> Option | str:
        """An option, or the reason why there is none."""
        chosen = self.shape.alternatives[index]
        wants = self.wants(index, state)
        if not wants:
            return reasons.NO_SUCH_ACCELERATOR
        if not allowed_image(chosen.image, state.center):
            return reasons.SHARING_POLICY
        room = state.room(chosen.model)
        if room is not None and chosen.per_worker * self.shape.workers > room:
            return reasons.SHARING_LIMIT
        for want in wants:
            option = self._option(want, state, holds)
            if option is not None:
                return option
        return self._shortage(wants[0], state)

    def _option(self, want: Want, state: CenterState, holds: Holds) -> Option | None:
        found = [
            Slot(block, len(block.nodes), here, block.free[want.resource])
            for block, here in self.places(want, state.offers(want.model, want.resource), holds)
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
        if self.refused_node(block):
            return 0
        total = block.kind.allocatable.get(want.resource, 0)
        units = free[want.resource]
        return min(here, slots(accelerator.topology, size, total, units, block.devices))

    def refused_node(self, block: Block) -> str:
        """What the job asks of a node and these nodes lack, empty if nothing."""
        if not self.shape.node_selector and not block.kind.shape.taints:
            return ""
        serial = block.kind.serial
        known = self._nodes.get(serial)
        if known is None:
            if len(self._nodes) > 4096:
                self._nodes.clear()
            known = self._nodes[serial] = refuse_node(self.shape, block.kind)
        return known

    def legal(self, want: Want, block: Block) -> bool:
        """Whether nodes of this kind serve that many units to one worker at all."""
        accelerator = block.kind.accelerators[want.model, want.resource]
        return legal(accelerator.topology, want.per_worker, self.shape.workers > 1)

    def _shortage(self, want: Want, state: CenterState) -> str:
        blocks = state.offers(want.model, want.resource)
        if not any(self.legal(want, b) for b in blocks):
            return reasons.ILLEGAL_ACCELERATOR_COUNT
        if state.holds and self.room(want, blocks) >= self.shape.workers:
            return reasons.RESERVED_FOR_OTHER
        return reasons.NO_NODE_FITS

    def room(self, want: Want, blocks: Iterable[Block]) -> int:
        """Workers that the blocks can take, whoever holds them."""
        return sum(self.workers_on(want, block) * len(block.nodes) for block in blocks)

    def most(self, want: Want, state: CenterState) -> int:
        """Workers that the center could take if all its nodes were empty."""
        key = (state.center.name, want.alternative, want.resource)
        known = self._most.get(key)
        if known is None or known[:2] != (state, state.growth):
            empty = (
                (Block(b.kind, b.kind.allocatable, None, b.nodes), b)
                for b in state.offers(want.model, want.resource)
            )
            count = sum(self.workers_on(want, each) * len(b.nodes) for each, b in empty)
            known = self._most[key] = (state, state.growth, count)
        return known[2]
