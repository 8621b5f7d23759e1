"""Sealed links and tokens: for one puller, one need, one version, and a short while."""

from __future__ import annotations

import base64

import msgspec
import pytest

from huiju.data import links, tokens
from huiju.data.links import Batch, Need
from huiju.data.sealing import Recipient, SealRefused, seal
from huiju.data.tokens import Claim, TokenRefused

KEY = b"k" * 32
NOW = 1_800_000_000.0
CLAIM = Claim("uid", "sha256:" + "a" * 64, "ulanqab", ("team-b",), "replica", 3, NOW + 900)


def test_only_the_reader_opens_and_only_in_its_context() -> None:
    ours, other = Recipient(), Recipient()
    sealed = seal(ours.public, b"secret", "a")
    assert ours.open(sealed, "a") == b"secret"
    assert b"secret" not in sealed
    assert seal(ours.public, b"secret", "a") != sealed
    changed = sealed[:40] + bytes([sealed[40] ^ 1]) + sealed[41:]
    for reader, text, context in (
        (other, sealed, "a"),
        (ours, sealed, "b"),
        (ours, changed, "a"),
        (ours, b"\x01", "a"),
        (ours, b"\x02" + sealed[1:], "a"),
        (ours, b"\x01" + bytes(32) + sealed[33:], "a"),
    ):
        with pytest.raises(SealRefused):
            reader.open(text, context)


@pytest.mark.parametrize("public", ["", "AAAA", "ä", base64.b64encode(bytes(32)).decode()])
def test_what_is_no_key_seals_nothing(public: str) -> None:
    with pytest.raises(SealRefused):
        seal(public, b"x", "a")


def test_a_batch_answers_one_need_of_one_transfer() -> None:
    ours = Recipient()
    batch = Batch(seq=4, until=NOW, manifest="https://m", first=10, urls=("https://a", "https://b"))
    sealed = links.pack(batch, ours.public, "replica", 3)
    assert links.unpack(sealed, ours, "replica", 3, 4) == batch
    assert [batch.url(n, "x") for n in (9, 10, 11, 12)] == [None, "https://a", "https://b", None]
    for replica, epoch, seq in (("other", 3, 4), ("replica", 2, 4), ("replica", 3, 5)):
        with pytest.raises(SealRefused):
            links.unpack(sealed, ours, replica, epoch, seq)


def test_a_full_batch_fits_a_secret() -> None:
    url = "https://obs.guiyang.example/corpora/{n:040x}?X-Amz-Signature={n:064x}&" + "X" * 300
    urls = tuple(url.format(n=hash((n, "x")) & 2**255 - 1) for n in range(links.MOST))
    batch = Batch(seq=1, until=NOW, manifest="https://m", urls=urls)
    assert len(links.pack(batch, Recipient().public, "r", 1)) < links.LARGEST


def test_a_gateway_serves_every_path_by_one_token() -> None:
    batch = Batch(seq=1, until=NOW, manifest="m", base="https://g/v1/u/d", token="t.t")
    assert batch.url(7, "语料/a b.tar") == ("https://g/v1/u/d/%E8%AF%AD%E6%96%99/a%20b.tar?t=t.t")


def test_a_need_asks_for_so_many_files_only() -> None:
    good = msgspec.json.encode(Need(1, 0, links.MOST))
    assert msgspec.json.decode(good, type=Need).count == links.MOST
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(good.replace(b"5000", b"5001"), type=Need)


def test_a_token_holds_until_its_end_and_under_one_key() -> None:
    token = tokens.mint(KEY, CLAIM)
    assert tokens.read(KEY, token, NOW) == CLAIM
    with pytest.raises(TokenRefused) as caught:
        tokens.read(KEY, token, NOW + 900)
    assert caught.value.late
    body, _, mac = token.partition(".")
    forged = tokens.mint(KEY, msgspec.structs.replace(CLAIM, share="x"))
    for key, text, now in (
        (b"z" * 32, token, NOW),
        (KEY, f"{forged.partition('.')[0]}.{mac}", NOW),
        (KEY, f"{body}.", NOW),
        (KEY, body, NOW),
        (KEY, "", NOW),
        (KEY, "ä.ö", NOW),
        (KEY, token, NOW - 3600),
        (b"", tokens.mint(b"", CLAIM), NOW),
    ):
        with pytest.raises(TokenRefused) as refused:
            tokens.read(key, text, now)
        assert not refused.value.late
