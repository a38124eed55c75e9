"""When mails arrived, held against a rate."""

from collections.abc import Sequence

from support.smtp_relay_link import ReceivedMail


def largest_excess(mails: Sequence[ReceivedMail], rate_per_s: float) -> float:
    """By how many mails the fullest span of time exceeds the rate; a burst, if all is well.

    A reply that is late at the beginning of a span looks like a mail too many at its end, so the
    scheduling of the test's machine is in it, too.
    """
    times = sorted(mail.received_at for mail in mails)
    worst = 0.0
    for first, from_s in enumerate(times):
        for last in range(first, len(times)):
            worst = max(worst, last - first + 1 - rate_per_s * (times[last] - from_s))
    return worst
