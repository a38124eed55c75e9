"""Topic names, outcomes and key rings."""

import hmac
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailtopic_contract import (
    ContractError,
    KeyRing,
    KeyRingError,
    Outcome,
    RecordError,
    Sealed,
    StatusEvent,
    TopicNames,
    decode_status,
    parse_address,
    parse_tier,
)

ID = UUID("11111111-2222-4333-8444-555555555555")


def test_all_topics_are_named_after_the_main_one() -> None:
    assert TopicNames("mails").all == (
        "mails",
        "mails.retry.10s",
        "mails.retry.1m",
        "mails.retry.5m",
        "mails.dlq",
        "mails.status",
    )


@pytest.mark.parametrize("name", ["", ".", "..", "my mails", "письма", "x" * 240, "a/b", "a\n"])
def test_a_name_that_kafka_would_refuse_is_refused(name: str) -> None:
    with pytest.raises(ContractError):
        TopicNames(name)


def test_tiers_that_do_not_grow_are_refused() -> None:
    with pytest.raises(ContractError):
        TopicNames("mails", (parse_tier("60s"), parse_tier("1m")))


@pytest.mark.parametrize(
    ("text", "delay_ms"), [("10s", 10_000), ("1m", 60_000), ("2h", 7_200_000), ("90s", 90_000)]
)
def test_a_tier_is_named_by_its_delay(text: str, delay_ms: int) -> None:
    assert parse_tier(text).delay_ms == delay_ms


@pytest.mark.parametrize("text", ["", "s", "0s", "-1s", "1d", "1 m", "1.5m", "٣s", "10s\n"])
def test_a_text_that_is_no_tier_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        parse_tier(text)


def test_only_deferred_is_not_final() -> None:
    assert [outcome for outcome in Outcome if not outcome.final] == [Outcome.DEFERRED]


def test_a_status_event_is_written_compactly_and_read_again() -> None:
    event = StatusEvent(
        id=ID,
        outcome=Outcome.ACCEPTED,
        at=1_790_000_000_000,
        attempt=1,
        purpose="signup",
        relay="main",
        reply_class="accepted",
        smtp="250 2.0.0",
    )
    assert event.encode() == (
        b'{"v":1,"id":"11111111-2222-4333-8444-555555555555","outcome":"accepted",'
        b'"at":1790000000000,"attempt":1,"purpose":"signup","relay":"main",'
        b'"reply_class":"accepted","smtp":"250 2.0.0"}'
    )
    assert decode_status(event.encode()) == event
    assert event.key == str(ID).encode()


@given(st.none() | st.binary(max_size=200))
def test_hostile_status_records_raise_nothing_but_the_documented_error(
    value: bytes | None,
) -> None:
    with pytest.raises(RecordError):
        decode_status(value)


def test_a_key_ring_survives_its_file_and_shows_no_key(tmp_path: Path) -> None:
    ring = KeyRing.generate()
    path = tmp_path / "keys.json"
    path.write_text(ring.dump())
    again = KeyRing.load(path)
    kid, nonce, text = ring.seal_texts({"code": "123456"}, b"bound")
    sealed = Sealed(kid=kid, n=nonce, ct=text)
    assert again.open(sealed, b"bound") == {"code": "123456"}
    assert repr(ring) == "KeyRing(active='k1', ids=['k1'])"


def test_a_key_that_is_no_longer_active_still_opens() -> None:
    old = KeyRing.generate("old")
    kid, nonce, text = old.seal_texts({"code": "1"}, b"bound")
    sealed = Sealed(kid=kid, n=nonce, ct=text)
    keys = {"old": old._keys["old"], "new": bytes(32)}  # noqa: SLF001 - there is no other way in
    rotated = KeyRing(active="new", keys=keys)
    assert rotated.open(sealed, b"bound") == {"code": "1"}
    assert rotated.seal_texts({"code": "1"}, b"bound")[0] == "new"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"active":"a","keys":{}}',
        '{"active":"a","keys":{"a":"!!"}}',
        '{"active":"a","keys":{"a":"AAAA"}}',
        '{"active":"b","keys":{"a":5}}',
        "[" * 100_000,
    ],
)
def test_a_key_file_that_is_not_one_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(KeyRingError) as refused:
        KeyRing.load(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyRingError, match="No such file"):
        KeyRing.load(tmp_path / "keys.json")


@given(
    key=st.binary(min_size=32, max_size=32), local=st.from_regex(r"[a-zя]{1,60}", fullmatch=True)
)
def test_a_recipients_tag_is_hmac_under_a_key_that_derives_from_the_sealing_key(
    key: bytes, local: str
) -> None:
    address = parse_address(f"{local}@b.test")
    derived = hmac.digest(key, b"mailtopic: tags of recipients", "sha256")
    expected = hmac.digest(derived, address.normalised.encode(), "sha256").hex()[:12]
    ring = KeyRing(active="k1", keys={"k1": key, "k2": bytes(32)})
    assert ring.recipient_tag(address) == expected
    assert expected in ring.recipient_tags(address)
