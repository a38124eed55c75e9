"""docs/benchmarks.md is written from what a run found, and says what falls short."""

from email.message import EmailMessage
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.side_by_side.latency import Latency
from benchmarks.side_by_side.measuring import (
    Case,
    Round,
    RoundFailed,
    Sample,
    cpu_of,
    is_the_mail,
    rate_of,
)
from benchmarks.side_by_side.peer_programs import PEERS
from benchmarks.side_by_side.records import CODE, Format, RecordMaker, address
from benchmarks.side_by_side.relay_sink import Arrival
from benchmarks.side_by_side.report import GUIDE, picture, section, with_section
from benchmarks.side_by_side.results import Measured, Results, Steady
from benchmarks.side_by_side.targets import verdicts
from mailtopic_contract import (
    KeyRing,
    LegacyDefaults,
    MailSeal,
    RecordOrigin,
    decode_record,
    open_variables,
)


def rounds(*rates: float, rss_mb: float = 80) -> list[Round]:
    return [Round(1000, rate, 1e6 / rate, rss_mb, 0, 32, 700, 0.1) for rate in rates]


@pytest.fixture
def results() -> Results:
    return Results(
        day="2026-01-31",
        machine={"cores": "2"},
        versions={"aiokafka": "0.14.0"},
        ceilings={"pipelined over STARTTLS": 40_000},
        measured=[
            Measured(Case("original", 0), rounds(90, 100, 80)),
            Measured(Case("ours", 0), rounds(9000, 9900, 8000)),
            Measured(Case("ours", 50, 128), rounds(2500, rss_mb=130)),
        ],
        steady=[Steady("ours", [Latency(4500, 20_000, 3.2, 55.0, kept_up=True)])],
    )


def test_the_median_round_counts(results: Results) -> None:
    ours = results.of("ours", 0)
    assert ours is not None
    assert (ours.mails_per_s, ours.spread) == (9000, (8000, 9900))


def test_what_was_saved_is_loaded_again(results: Results, tmp_path: Path) -> None:
    results.save(tmp_path / "deep" / "results.json")
    assert Results.load(tmp_path / "deep" / "results.json") == results


def test_targets_that_were_missed_are_called_so(results: Results) -> None:
    found = {each.asked: each for each in verdicts(results, dict.fromkeys(PEERS, "x"))}
    assert {asked: each.is_met for asked, each in found.items()} == {
        "≥ 100 × x, relay without delay": True,
        "≥ 0.95 of 128 connections ÷ 50 ms": True,
        "accepted → 250, p99 ≤ 50 ms at half of the maximum": False,
        "peak resident memory ≤ 120 MB": False,
    }
    lines = section(results)
    assert lines[0] == "2 of 4 targets are met."
    assert "| peak resident memory ≤ 120 MB | 130 MB | **falls short** |" in lines


def test_each_row_says_how_many_times_as_fast_ours_is(results: Results) -> None:
    title = PEERS["original"].title
    assert f"| {title} | 90 | 80 … 100 | 11,111 | 80 | 100.00 × |" in section(results)


def test_the_section_takes_its_place_in_the_guide(results: Results) -> None:
    guide = GUIDE.read_text("utf-8")
    once = with_section(guide, "measured", section(results))
    assert "2 of 4 targets are met." in once
    assert with_section(once, "measured", section(results)) == once
    with pytest.raises(ValueError, match="no marks"):
        with_section("nothing", "measured", [])


def test_the_picture_has_a_bar_for_each_case(results: Results) -> None:
    svg = ET.fromstring(picture(results))  # noqa: S314 - we drew it
    names = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert f"{PEERS['ours'].title}, 128 connections" in names
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}rect"))) == 1 + len(results.measured)


def test_start_and_end_of_a_round_do_not_count() -> None:
    slow_start = [Arrival(0, 0)] + [Arrival(n, 10**10 + n * 10**6) for n in range(1, 99)]
    arrivals = [*slow_start, Arrival(99, 10**12)]
    assert rate_of(arrivals) == pytest.approx(1000)
    samples = [Sample(0, 0), Sample(20, 10**9), Sample(80, 10**9 + 6 * 10**7), Sample(100, 10**12)]
    assert cpu_of(samples, 100) == pytest.approx(1000)
    with pytest.raises(RoundFailed, match="too few"):
        cpu_of([Sample(0, 0), Sample(100, 1)], 100)


def test_both_formats_carry_the_same_mails() -> None:
    keyring = KeyRing.generate()
    maker = RecordMaker(keyring)
    origin, legacy = RecordOrigin("t", 0, 0, 5), LegacyDefaults("ru", 60_000)
    for form in Format:
        record = maker.records(form, 3)[2]
        value = record.accepted_at(1_700_000_000_000)
        mail = decode_record(value, origin=origin, legacy=legacy)
        assert mail.email == address(2)
        assert open_variables(mail, MailSeal(keyring, "t")) == {"code": CODE}
        assert mail.accepted_at == (5 if form is Format.ORIGINAL else 1_700_000_000_000)
    assert maker.records(Format.VERSION_1, 2) == maker.records(Format.VERSION_1, 3)[:2]


def test_a_mail_that_lacks_a_part_is_no_match() -> None:
    message = EmailMessage()
    message.set_content(f"Ваш код: {CODE}")
    assert not is_the_mail(message.as_bytes())
    message.add_alternative(f"<p>{CODE}</p>", subtype="html")
    assert is_the_mail(message.as_bytes())
