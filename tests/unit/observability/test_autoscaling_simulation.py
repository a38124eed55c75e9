"""The burst of docs/guides/autoscaling.md: what was simulated is what is shown."""

import os
from functools import cache

import pytest

from benchmarks.autoscaling import (
    BASE_PER_S,
    BURST_FACTOR,
    BURST_S,
    DURATION_S,
    SCENES,
    STABILIZE_S,
    Autoscaler,
    Run,
    Seen,
    by_records,
    by_seconds,
    mailtopic,
)
from benchmarks.autoscaling_report import GUIDE, PICTURE, Found, found, guide_with, main, picture

MAILS = BASE_PER_S * (DURATION_S - BURST_S) + BASE_PER_S * BURST_FACTOR * BURST_S
THRESHOLD = 30 * 50


@cache
def results() -> Found:
    return found()


def run(scene: int, name: str) -> Run:
    (one,) = [each for each in results()[SCENES[scene].title] if each.name == name]
    return one


def test_the_guide_and_its_picture_show_what_is_simulated() -> None:
    if os.environ.get("MAILTOPIC_UPDATE_GOLDEN"):
        main()
    text = GUIDE.read_text("utf-8")
    assert guide_with(text, results()) == text, "python -m benchmarks.autoscaling_report"
    assert PICTURE.read_text("utf-8") == picture(results())


def test_every_mail_is_delivered_once_in_every_run() -> None:
    for scene in results().values():
        for each in scene:
            # Fixed senders that are too few may still be at it when the time is over.
            assert each.mails <= MAILS
            if each.lag_s[-1] == 0:
                assert each.mails == MAILS, each.name


def test_the_same_burst_ends_in_the_same_way() -> None:
    assert found() == results()


def seen(records: int, senders: int, lag_s: int = 0) -> Seen:
    return Seen(records=records, scraped_lag_s=lag_s, senders=senders)


@pytest.mark.parametrize(
    ("records", "senders", "after"),
    [
        (THRESHOLD * 2, 1, 2),
        (THRESHOLD * 2 + 1, 2, 2),  # within the tolerance of a tenth
        (THRESHOLD * 100, 1, 5),  # four pods in 15 s
        (THRESHOLD * 100, 8, 12),  # no more than partitions
        (0, 3, 1),
    ],
)
def test_the_autoscaler_follows_kubernetes_rules(records: int, senders: int, after: int) -> None:
    scaler = Autoscaler(by_records(mailtopic()), least=1, most=12)
    assert scaler.decide(seen(records, senders), 0) == after


def test_senders_are_taken_away_when_none_was_wanted_for_five_minutes() -> None:
    scaler = Autoscaler(by_seconds(mailtopic()), least=1, most=12)
    assert scaler.decide(seen(0, 2, lag_s=60), 0) == 4
    assert scaler.decide(seen(0, 4), STABILIZE_S - 15) == 4
    assert scaler.decide(seen(0, 4), STABILIZE_S + 15) == 1


def test_what_the_guide_concludes_is_what_came_out() -> None:
    assert run(0, "records, target 30 s").in_time < 0.9
    assert run(0, "records, target 10 s").in_time > 0.99
    assert run(0, "lag seconds, target 10 s").in_time < run(0, "records, target 10 s").in_time
    assert max(run(0, "lag seconds, target 10 s").replicas) == 12
    assert max(run(2, "both, target 10 s").replicas) == 3
    least = min(each.worst_s for each in results()[SCENES[2].title])
    assert least > 120
    cost = run(0, "fixed, 4 senders").sender_minutes / run(0, "records, target 10 s").sender_minutes
    assert 1.4 < cost < 1.7
