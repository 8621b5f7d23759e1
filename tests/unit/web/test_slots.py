from __future__ import annotations

from contextlib import ExitStack

import pytest

from huiju.web.statuses import Refused
from huiju.web.view import Slots


def test_one_user_takes_only_a_part() -> None:
    slots = Slots(most=3, of_one=2)
    with ExitStack() as open_streams:
        open_streams.enter_context(slots.taken("ann"))
        open_streams.enter_context(slots.taken("ann"))
        with pytest.raises(Refused) as refused, slots.taken("ann"):
            pass
        assert refused.value.code == 429
        assert refused.value.retry_after
        open_streams.enter_context(slots.taken("bob"))
        with pytest.raises(Refused, match="too many"), slots.taken("eve"):
            pass
    with ExitStack() as again:
        for user in ("ann", "ann", "eve"):
            again.enter_context(slots.taken(user))


def test_a_place_is_given_back_after_a_failure() -> None:
    slots = Slots(most=1, of_one=1)
    with pytest.raises(RuntimeError), slots.taken("ann"):
        raise RuntimeError
    with slots.taken("bob"):
        pass
