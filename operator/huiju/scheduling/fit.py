"""Whether a gang fits in a center now, node shape by node shape, and on which nodes.

Decides fit and packing for one job shape in one center. Invariants: a plan gives every worker a
node at once, with all its resources together, on legal positions, within the owner's limits; what
does not fit is refused with the numbers that were missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from huiju.scheduling import reasons
from huiju.scheduling.ask import Ask
from huiju.scheduling.capacity import Block, CenterState, Offer
from huiju.scheduling.filter import allowed_image, doubted, refuse
from huiju.scheduling.market import ANY, Market
from huiju.scheduling.model import Avoid, JobShape, Refusal
from huiju.scheduling.pack import Plan, Slot, pack, tightest
from huiju.scheduling.refusal import NO_HOLDS, Holds, Want, tell


@dataclass(slots=True, eq=False)
class Found:
    """Nodes for a gang in one center; hold until the offer changes. Never changed."""

    plan: Plan
    gflops: int
    broken: float
    """Sum over the touched nodes of the share of their units that stays free."""
    share: float
    """Of the free units of the model there, held ones included, the share that it takes."""


@dataclass(slots=True, eq=False)
class Option:
    """A way to run the shape in a center now; holds until the center's version changes."""

    center: str
    alternative: int
    want: Want
    found: Found

    @property
    def units(self) -> int:
        """Units of the whole gang."""
        return self.want.per_worker * self.want.key[1]

    @property
    def gflops(self) -> int:
        """Normalized compute of the whole gang."""
        return self.found.gflops


Words = tuple[tuple[str, int | None], ...]
Site = tuple[CenterState, Want]
"""A center, and an alternative under a name by which that center advertises its model."""
_Ways = tuple[tuple[Want, Offer], ...]
_Try = tuple[int, _Ways, str]
"""An alternative, the names under which it is offered, and why it can never run there."""
_Answer = tuple[tuple[Option, ...], Words]
"""Ways to run the shape in a center, and refusals, each with its alternative."""


@dataclass(slots=True)
class _Case:
    """What a center's answer rests on besides what is free; holds while rules and wares do."""

    state: CenterState
    policy: int
    wares: int
    rule: Refusal | None
    """Why it takes the shape on no nodes at all."""
    tries: tuple[_Try, ...]

    def stands(self, state: CenterState) -> bool:
        return self.state is state and self.policy == state.policy and self.wares == state.wares


class Fitter:
    """One job shape (and the centers it avoids) against all centers, remembering the answers.

    `refresh` asks only the centers in which something about the shape's models has changed since.
    """

    def __init__(self, shape: JobShape, avoid: tuple[Avoid, ...]) -> None:
        self.shape = shape
        self.avoid = avoid
        self.models = tuple(dict.fromkeys(a.model for a in shape.alternatives))
        self.kinds: dict[tuple[float | None, float | None], Kind] = {}
        """Kinds of waiting jobs that have this shape, by expected and longest run time."""
        self.options: dict[str, tuple[Option, ...]] = {}
        """By center, on nodes that are held for nobody; as of the latest `refresh`."""
        self.words: dict[str, Words] = {}
        """Refusals by center, as of the latest `refresh`."""
        self.counts: dict[str, int] = {}
        """How often each reason is among `words`."""
        self.asked = 0
        """Rises when a `refresh` found that something has changed somewhere."""
        self.message: tuple[int, str, str] | None = None
        """What is told to jobs that fit nowhere: `asked` at that time, reason, message."""
        self.forecasts: dict[object, object] = {}
        """What `reserve` remembers of this shape."""
        self._tick = -1
        self._under: dict[tuple[str, Holds], tuple[CenterState, int, _Answer]] = {}
        """Answers on nodes under holds, and the center's version that they speak of."""
        self._told: dict[str, tuple[CenterState, int, tuple[Refusal, ...]]] = {}
        """Refusals in full, and the center's version that they speak of."""
        self._cases: dict[str, _Case] = {}
        self._most: dict[tuple[str, int, str], tuple[CenterState, int, int]] = {}
        self._wants: dict[tuple[int, str], Want] = {}
        self._seen = 0.0
        self._sites: tuple[int, tuple[Site, ...]] | None = None

    def refresh(self, centers: Mapping[str, CenterState], market: Market, now: float) -> None:
        """Ask the centers that have changed since the last time."""
        if self.avoid and self._expire(now):
            self._tick = -1
        tick, self._tick = self._tick, market.tick
        if tick == market.tick:
            return
        self.asked += 1
        options, changed = self.options, dict[str, None]()
        for model in (ANY, *self.models):
            for name, grown in market.since(model, tick):
                # A center that refuses goes on refusing while it only loses room.
                if grown or name in options:
                    changed[name] = None
        for name in changed:
            state = centers.get(name)
            if state is None:
                self._forget(name)
            else:
                self._note(name, *self._judge(state, now, NO_HOLDS))

    def _note(self, name: str, options: tuple[Option, ...], words: Words) -> None:
        if options:
            self.options[name] = options
        else:
            self.options.pop(name, None)
        before = self.words.get(name, ())
        # Equal words are one object.
        if words is before:
            return
        counts = self.counts
        for word, _ in before:
            counts[word] -= 1
        for word, _ in words:
            counts[word] = counts.get(word, 0) + 1
        self.words[name] = words

    def _forget(self, name: str) -> None:
        self.options.pop(name, None)
        for word, _ in self.words.pop(name, ()):
            self.counts[word] -= 1
        self._under = {k: v for k, v in self._under.items() if k[0] != name}
        self._told.pop(name, None)
        self._cases.pop(name, None)
        self._most = {k: v for k, v in self._most.items() if k[0] != name}
        self.forecasts.clear()

    def under(self, state: CenterState, now: float, holds: Holds) -> _Answer:
        """What the center says now to a job that may use nodes under these holds as well."""
        if self.avoid and self._expire(now):
            self._tick = -1
        name = state.center.name
        known = self._under.get((name, holds))
        if known is not None and known[0] is state and known[1] == state.version:
            return known[2]
        # Holds are made anew in each cycle: what was said under old ones is of no use.
        self._under = {k: v for k, v in self._under.items() if k[0] != name}
        found = self._judge(state, now, holds)
        self._under[name, holds] = (state, state.version, found)
        return found

    def _expire(self, now: float) -> bool:
        """Whether a center that was avoided is no longer; then nothing remembered holds."""
        expired = any(self._seen < entry.until <= now for entry in self.avoid)
        if expired:
            self._under.clear()
            self._told.clear()
            self._cases.clear()
            self._sites = None
        self._seen = now
        return expired

    def refused(self, state: CenterState, now: float) -> Refusal | None:
        """Why the rules keep the job out of the center, None if they let it in."""
        return self._case(state, now).rule

    def refusals(
        self, state: CenterState, now: float, holds: Holds = NO_HOLDS
    ) -> tuple[Refusal, ...]:
        """The center's refusals in full, as of the latest `refresh`, with the numbers of now."""
        if holds:
            return self._tell(state, now, holds, self.under(state, now, holds)[1])
        name = state.center.name
        words = self.words.get(name, ())
        if not words:
            return ()
        known = self._told.get(name)
        if known is None or known[0] is not state or known[1] != state.version or self.avoid:
            found = self._tell(state, now, holds, words)
            known = self._told[name] = (state, state.version, found)
        return known[2]

    def _tell(
        self, state: CenterState, now: float, holds: Holds, words: Words
    ) -> tuple[Refusal, ...]:
        rule = self.refused(state, now)
        if rule is None:
            return tuple(tell(self, state, word, index, holds) for word, index in words)
        if self.avoid:
            # How long a center is avoided yet changes with the time.
            rule = refuse(self.shape, self.avoid, state.center, now) or rule
        return (rule,)

    def _judge(self, state: CenterState, now: float, holds: Holds) -> _Answer:
        case = self._case(state, now)
        if case.rule is not None:
            return (), _one(((case.rule.reason, None),))
        options: list[Option] = []
        words: list[tuple[str, int | None]] = []
        for index, ways, never in case.tries:
            answer = never or self._try(state, ways, holds)
            if isinstance(answer, str):
                words.append((answer, index))
            else:
                options.append(Option(state.center.name, index, *answer))
        if not case.tries:
            words.append((reasons.NO_SUCH_ACCELERATOR, None))
        return tuple(options), _one(tuple(words))

    def _case(self, state: CenterState, now: float) -> _Case:
        name = state.center.name
        known = self._cases.get(name)
        if known is None or not known.stands(state):
            rule = refuse(self.shape, self.avoid, state.center, now)
            tries = () if rule is not None else tuple(self._tries(state))
            known = _Case(state, state.policy, state.wares, rule, tries)
            self._cases[name] = known
        return known

    def _tries(self, state: CenterState) -> Iterator[_Try]:
        for index, chosen in enumerate(self.shape.alternatives):
            wants = self.wants(index, state)
            if not wants:
                yield index, (), reasons.NO_SUCH_ACCELERATOR
            elif not allowed_image(chosen.image, state.center):
                yield index, (), reasons.SHARING_POLICY
            elif doubted(self.shape, chosen, state.center) is not None:
                yield index, (), reasons.PROMISE_BROKEN
            else:
                ways = tuple((want, state.index[want.model, want.resource]) for want in wants)
                yield index, ways, ""

    def _try(self, state: CenterState, ways: _Ways, holds: Holds) -> tuple[Want, Found] | str:
        """A way to run one alternative, or the reason why there is none."""
        if state.limits:
            want = ways[0][0]
            room = state.room(want.model)
            if room is not None and want.per_worker * self.shape.workers > room:
                tried = want.model in state.trials
                return reasons.PROMISE_BROKEN if tried else reasons.SHARING_LIMIT
        first: str | None = None
        for want, offer in ways:
            found = None if holds else offer.answers.get(want.key)
            if found is None:
                found = self._search(want, offer, holds) or self._shortage(want, state)
                if not holds:
                    offer.answers[want.key] = found
            if isinstance(found, Found):
                return want, found
            first = first or str(found)
        return first or reasons.NO_NODE_FITS

    def sites(
        self, centers: Mapping[str, CenterState], prices: int, now: float
    ) -> tuple[Site, ...]:
        """Every center and alternative that the rules allow, whatever is free."""
        if self.avoid and self._expire(now):
            self._tick = -1
        if self._sites is None or self._sites[0] != prices:
            self._sites = (prices, tuple(self._allowed(centers, now)))
        return self._sites[1]

    def _allowed(self, centers: Mapping[str, CenterState], now: float) -> Iterator[Site]:
        for state in centers.values():
            if self.refused(state, now) is not None:
                continue
            for index, alternative in enumerate(self.shape.alternatives):
                if not allowed_image(alternative.image, state.center):
                    continue
                if doubted(self.shape, alternative, state.center) is None:
                    for want in self.wants(index, state):
                        yield state, want

    def wants(self, index: int, state: CenterState) -> list[Want]:
        """The alternative under each resource name by which the center advertises its model."""
        model = self.shape.alternatives[index].model
        return [self._want(index, name) for name in state.resources.get(model, ())]

    def _want(self, index: int, resource: str) -> Want:
        known = self._wants.get((index, resource))
        if known is None:
            chosen = self.shape.alternatives[index]
            ask = Ask.of(self.shape, index, resource)
            key = (ask.serial, self.shape.workers)
            known = Want(index, chosen.model, resource, chosen.per_worker, ask.request, ask, key)
            self._wants[index, resource] = known
        return known

    def _search(self, want: Want, offer: Offer, holds: Holds) -> Found | None:
        """The nodes for the gang; the same for all that ask the same."""
        plan = self._plan(want, offer, holds)
        if plan is None:
            return None
        gflops, broken = 0, 0.0
        for block, nodes, workers in plan:
            accelerator = block.kind.accelerators[want.model, want.resource]
            taken = workers * want.per_worker
            gflops += nodes * taken * accelerator.gflops
            total = max(1, block.kind.allocatable.get(want.resource, 1))
            broken += nodes * (block.free[want.resource] - taken) / total
        units = want.per_worker * self.shape.workers
        return Found(plan, gflops, broken, units / max(units, offer.free()))

    def _plan(self, want: Want, offer: Offer, holds: Holds) -> Plan | None:
        """The nodes that the gang takes, on nodes that nobody holds or under these holds."""
        workers, size, name = self.shape.workers, want.per_worker, want.resource
        if workers == 1:
            found = tightest(offer.blocks.values(), want.ask, holds)
            return None if found is None else ((found, 1, 1),)
        if not holds and offer.room(size) < workers:
            return None
        slots = [
            Slot(block, len(block.nodes), min(here, workers), block.free[name])
            for block in offer.blocks.values()
            if block.free.get(name, 0) >= size
            and (block.hold is None or block.hold in holds)
            and (here := want.ask.on(block))
        ]
        return pack(slots, workers, size)

    def workers_on(self, want: Want, block: Block) -> int:
        """Workers that one node of the block can take."""
        return min(self.shape.workers, want.ask.on(block))

    def _shortage(self, want: Want, state: CenterState) -> str:
        offer = state.index[want.model, want.resource]
        if not any(want.ask.legal(kind) for kind in offer.kinds):
            return reasons.ILLEGAL_ACCELERATOR_COUNT
        if state.holds and self.room(want, offer.blocks.values()) >= self.shape.workers:
            return reasons.RESERVED_FOR_OTHER
        return reasons.NO_NODE_FITS

    def room(self, want: Want, blocks: Iterable[Block]) -> int:
        """Workers that the blocks can take, whoever holds them."""
        workers, on = self.shape.workers, want.ask.on
        return sum(min(workers, on(block)) * len(block.nodes) for block in blocks)

    def most(self, want: Want, state: CenterState) -> int:
        """Workers that the center could take if all its nodes were empty."""
        key = (state.center.name, want.alternative, want.resource)
        known = self._most.get(key)
        if known is None or known[:2] != (state, state.models):
            workers = self.shape.workers
            count = sum(
                nodes * min(workers, want.ask.count(kind, kind.allocatable, None))
                for kind, nodes in state.index[want.model, want.resource].kinds.items()
            )
            known = self._most[key] = (state, state.models, count)
        return known[2]


_words: dict[Words, Words] = {}


def _one(words: Words) -> Words:
    """The one object for these words; there are few, and everybody says them."""
    return _words.setdefault(words, words)


class Kind:
    """Waiting jobs of one shape and equal run times: what a decision looks at but queue and age."""

    __slots__ = ("answer", "end", "expected_runtime", "fitter", "max_runtime", "users", "wishes")

    def __init__(
        self, fitter: Fitter, expected_runtime: float | None, max_runtime: float | None
    ) -> None:
        self.fitter = fitter
        self.expected_runtime = expected_runtime
        self.max_runtime = max_runtime
        self.users = 0
        """Classes of waiting jobs that are of this kind."""
        self.answer: tuple[str, str] | None = None
        """Why none of them fits, reason and message; None if one may fit, for all that is known."""
        self.end: tuple[float, float] = (-1.0, 0.0)
        """A time, and when a job that starts then has ended at the latest."""
        self.wishes: dict[str, object] = {}
        """What `score` takes from it, by home center."""
