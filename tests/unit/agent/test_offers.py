"""What the owner of a center lets shares be served from."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.agent.offers import OfferRefused, not_offered, offer
from huiju.agent.policy import PolicyRefused, parse
from huiju.api.reasons import Reason
from huiju.data.access import Share, share_of

KEY = {"endpoint": "https://s", "bucket": "corpora", "prefix": "zh/web", "secretName": "key"}


def share(key: str = "team-a/corpus", **source: Any) -> Share:
    namespace, _, name = key.partition("/")
    meta = {"namespace": namespace, "name": name, "uid": "u"}
    spec = {"license": "MIT", "source": {"center": "west", **source}}
    return share_of({"metadata": meta, "spec": spec})


def folder(path: str, key: str = "team-a/corpus") -> Share:
    return share(key, files={"path": path})


def web(url: str, secret: str | None = None) -> Share:
    return share(http={"url": url, "secretName": secret})


@pytest.mark.parametrize(
    ("word", "asked", "served"),
    [
        ("team-a/*=/exports/a", folder("/exports/a"), True),
        ("team-a/corpus=/exports/a", folder("/exports/a/zh"), True),
        ("team-a/corpus=/exports/a", folder("/exports/ab"), False),
        ("team-a/corpus=/exports/a", folder("/exports/a/../b"), False),
        ("team-a/*=/exports/a", folder("/exports/a", "team-b/corpus"), False),
        ("team-a/other=/exports/a", folder("/exports/a"), False),
        ("team-a/*=s3:key", share(s3=KEY), True),
        ("team-a/*=s3:key/corpora", share(s3=KEY), True),
        ("team-a/*=s3:key/corpora/zh", share(s3=KEY), True),
        ("team-a/*=s3:key/corpora/zh/", share(s3=KEY | {"prefix": "zh/"}), True),
        ("team-a/*=s3:key/corpora/zh/web", share(s3=KEY | {"prefix": "zh/webs"}), False),
        ("team-a/*=s3:key/corpora/zh", share(s3=KEY | {"prefix": None}), False),
        ("team-a/*=s3:key/other", share(s3=KEY), False),
        ("team-a/*=s3:other/corpora", share(s3=KEY), False),
        ("team-b/*=s3:key/corpora", share(s3=KEY), False),
        ("team-a/*=/exports/a", share(s3=KEY), False),
        ("team-a/*=web:https://m.example/sets", web("https://m.example/sets/zh"), True),
        ("team-a/*=web:https://m.example/sets", web("https://m.example.evil/sets"), False),
        ("team-a/*=web:https://m.example/sets", web("https://m.example/sets/%2E%2e/b"), False),
        ("team-a/*=web:https://m.example", web("https://m.example/a", "token"), False),
        ("team-a/*=web:token@https://m.example", web("https://m.example/a", "token"), True),
        ("team-a/*=web:token@https://m.example", web("https://evil.example", "token"), False),
    ],
)
def test_a_share_has_the_sources_that_its_name_is_offered(
    word: str, asked: Share, served: bool
) -> None:
    refused = not_offered([offer(word)], asked, "west")
    assert (refused is None) == served
    if refused is not None:
        assert refused.reason == Reason.PERMISSION_DENIED
        assert "dataSources" in refused.message


def test_the_refusal_has_the_word_that_would_cure_it() -> None:
    for asked in (folder("/a/b"), share(s3=KEY), web("https://m/x", "token"), web("https://m/x")):
        refused = not_offered([], asked, "west")
        assert refused is not None
        cure = refused.message.rpartition(" ")[2].rstrip(".")
        assert not_offered([offer(cure)], asked, "west") is None
        assert str(offer(cure)) == cure


@pytest.mark.parametrize(
    "word",
    [
        "/exports",
        "team-a=/exports",
        "team-a/*=",
        "team-a/*=exports",
        "a/b=s3:",
        "a/b=web:x",
        "a/b=/",
    ],
)
def test_a_word_that_makes_no_sense_closes_the_policy(word: str) -> None:
    with pytest.raises(OfferRefused):
        offer(word)
    with pytest.raises(PolicyRefused, match="dataSources"):
        parse({"dataSources": f"team-a/*=/fine, {word}"})


def test_the_policy_s_words_are_read() -> None:
    policy = parse({"dataSources": "team-a/*=/exports/a, team-b/x=s3:key/corpora\n"})
    assert list(map(str, policy.data_sources)) == ["team-a/*=/exports/a", "team-b/x=s3:key/corpora"]
