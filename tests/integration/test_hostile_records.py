"""Records that no producer should write, in every topic, and every consumer among them."""

from hashlib import sha256
from pathlib import Path

import pytest

from mailtopic_cli.kafka_node import KafkaNode
from mailtopic_client.adapters.kafka_partition import FetchedRecord
from support.hostile_batches import DAMAGED, Laid, hostile
from support.hostile_bench import MAX_PEAK_MIB, Found, run

MARKERS = ("control", "all attributes", "abort marker of no transaction")
"""Damage that makes a batch a transaction marker, which is no mail."""


@pytest.mark.timeout(600)
async def test_no_record_stops_a_consumer_and_each_one_is_found_in_the_dlq(
    own_kafka: KafkaNode, topic: str, tmp_path: Path
) -> None:
    found = await run(tmp_path, own_kafka, topic)
    assert len([place for place in found.laid[topic] if not place.error]) >= 60
    assert [
        (name, place.name)
        for name in (found.names.main, found.names.retries[0])
        for place in found.laid[name]
        if not place.error and place.name not in MARKERS and not found.letters_of(name, place)
    ] == []
    assert max(found.peak_kb.values()) < MAX_PEAK_MIB * 1024
    assert "Traceback" not in found.logs
    assert "consumer.restarts" not in found.logs
    assert set(found.exit_codes.values()) == {0}
    assert set(found.waiting.values()) == {0}
    assert {words: code for words, (code, _) in found.commands.items() if code not in {0, 1}} == {}
    check_letters(found)


def check_letters(found: Found) -> None:
    """Spot checks of what the letters hold."""
    topic = found.names.main
    places = {place.name: place for place in found.laid[topic]}

    def letter(name: str) -> FetchedRecord:
        (one,) = found.letters_of(topic, places[name])
        return one

    odd = letter("a mail with a header name in latin-1")
    assert (odd.key, odd.value) == (b"k", b'{"email":"stranger@example.test","code":"123456"}')
    assert ("gr\\xf6\\xdfe", b"1") in odd.headers
    assert dict(odd.headers)["mt-unread-name"] == b"gr\xf6\xdfe".hex().encode()
    null = letter("null header value")
    assert ("n", None) in null.headers
    bomb = letter("zstd, 400 MB of zeros")
    assert dict(bomb.headers)["mt-unread-form"] == b"batch"
    check_stored_form(bomb, places["zstd, 400 MB of zeros"], hostile()["zstd, 400 MB of zeros"])
    text = letter("zstd, 5 MB of honest text")
    assert (text.key, text.value) == (b"k", None)
    headers = dict(text.headers)
    assert headers["mt-unread-bytes"] == b"5000000"
    value = (b"A line of honest text, again and again. " * 130_000)[:5_000_000]
    assert headers["mt-unread-sha256"] == sha256(value).hexdigest().encode()
    for name in DAMAGED:
        for one in found.letters_of(topic, places[name]):
            headers = dict(one.headers)
            assert headers["mt-error-class"] == b"poison"
            if headers.get("mt-unread-form") == b"batch":
                digest = sha256(one.value or b"").hexdigest().encode()
                assert headers["mt-unread-sha256"] == digest


def check_stored_form(letter: FetchedRecord, place: Laid, sent: bytes) -> None:
    """The batch as it was sent; the broker gives it its offset and its leader's epoch."""
    stored = letter.value or b""
    assert stored[16:] == sent[16:]
    assert int.from_bytes(stored[:8], "big") == place.offset
