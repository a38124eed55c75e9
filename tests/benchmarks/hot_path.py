"""What each part of a mail's way costs beside SMTP and Kafka, in microseconds of one core.

`PYTHONPATH=tests python -m benchmarks.hot_path [--part NAME ...]`

Every part is timed alone, with what a mail brings: a sealed code, the headers that the signup API
writes, an outcome that a relay accepted. The best of several rounds counts: other work on the
machine can only slow a round down.
"""

import argparse
import asyncio
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from prometheus_client import CollectorRegistry

from mailtopic_contract import (
    KeyRing,
    LegacyDefaults,
    MailHeaders,
    MailRecord,
    MailSeal,
    Outcome,
    RecordOrigin,
    StatusEvent,
    decode_headers,
    decode_record,
    decode_status,
    encode_outcome,
    new_record,
    open_variables,
    parse_address,
)
from mailtopic_runtime import LogSettings, SystemClock, configure_logging
from mailtopic_runtime.tracing import NO_TRACER, child_span
from mailtopic_sender.domain.replies import ReplyClass
from mailtopic_sender.engine.incoming import Incoming, decode_incoming
from mailtopic_sender.engine.telling import Teller
from mailtopic_sender.mail_ports import DeliveryResult
from mailtopic_sender.metrics import SenderMetrics
from mailtopic_sender.ports import ConsumedRecord

_ROUNDS = 7
_ROUND_S = 0.1
_TURN = 50  # mails whose outcome is stored at once, under load
_NOW_MS = 1_790_000_000_000
_LEGACY = LegacyDefaults(locale="ru", max_age_ms=600_000)
_ORIGIN = RecordOrigin("mails", 3, 123_456, _NOW_MS)
_RESULT = DeliveryResult(
    ReplyClass.ACCEPTED,
    relay="primary",
    phase="data",
    smtp="250 2.0.0",
    wait_s=0.0012,
    transmit_s=0.034,
)


def main() -> int:
    """Print the table of the parts asked for, or of all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", action="append", help="only parts whose names hold this")
    options = parser.parse_args()
    parts = {
        name: part
        for name, part in _parts().items()
        if not options.part or any(word in name for word in options.part)
    }
    _log_to_nowhere()
    width = max(map(len, parts), default=0)
    for name, part in parts.items():
        mails = _TURN if name.startswith("log") else 1
        sys.stderr.write(f"{name:{width}}  {_cost_us(part) / mails:8.2f} µs\n")
    return 0


def _cost_us(part: Callable[[], object]) -> float:
    timer = timeit.Timer(part, timer=time.process_time)
    part()
    number = max(1, round(_ROUND_S / max(timer.timeit(10) / 10, 1e-7)))
    return min(timer.repeat(_ROUNDS, number)) / number * 1e6


def _log_to_nowhere() -> None:
    # A real descriptor: what a line costs includes the call into the kernel.
    sys.stdout = Path("/dev/null").open("w", encoding="utf-8")  # noqa: SIM115 - for the process
    configure_logging(LogSettings(format="json"))


def _parts() -> dict[str, Callable[[], object]]:
    return _of_records() | _of_outcomes() | _of_telling()


def _record(seal: MailSeal | None) -> MailRecord:
    return new_record(
        email="someone.else@mail.example.com",
        variables={"code": "123456"},
        purpose="signup",
        locale="ru",
        accepted_at_ms=_NOW_MS,
        expires_at_ms=_NOW_MS + 600_000,
        seal=seal,
    )


def _incoming(seal: MailSeal) -> Incoming:
    return decode_incoming(_consumed(_record(seal)), _LEGACY)


def _consumed(record: MailRecord) -> ConsumedRecord:
    return ConsumedRecord(
        topic="mails",
        partition=3,
        offset=123_456,
        timestamp_ms=_NOW_MS,
        key=record.address.partition_key,
        value=record.encode(),
        headers=tuple(MailHeaders(mail_id=record.id).encode()),
    )


def _of_records() -> dict[str, Callable[[], object]]:
    seal = MailSeal(KeyRing.generate(), "mails")
    sealed, plain = _record(seal), _record(None)
    values = sealed.encode(), plain.encode()
    consumed = _consumed(sealed)
    retried = MailHeaders(
        mail_id=sealed.id,
        attempt=2,
        not_before_ms=_NOW_MS,
        first_failure_at_ms=_NOW_MS,
        origin=_ORIGIN,
    )
    again = retried.encode()
    return {
        "record: decode, sealed": lambda: decode_record(values[0], origin=_ORIGIN, legacy=_LEGACY),
        "record: decode, readable": lambda: decode_record(
            values[1], origin=_ORIGIN, legacy=_LEGACY
        ),
        "record: decode with headers": lambda: decode_incoming(consumed, _LEGACY),
        "record: encode": sealed.encode,
        "record: open": lambda: open_variables(sealed, seal),
        "record: make and seal": lambda: _record(seal),
        "address: parse": lambda: parse_address("someone.else@mail.example.com"),
        "headers: decode": lambda: decode_headers(consumed.headers),
        "headers: decode, second attempt": lambda: decode_headers(again),
        "headers: encode": MailHeaders(mail_id=sealed.id).encode,
        "headers: encode, second attempt": retried.encode,
    }


def _event() -> StatusEvent:
    return StatusEvent(
        id=_ID,
        outcome=Outcome.ACCEPTED,
        at=_NOW_MS,
        attempt=1,
        purpose="signup",
        relay="primary",
        reply_class="accepted",
        smtp="250 2.0.0",
    )


_ID = UUID("6f0b5d3c-9c55-4f3f-8b1f-5a100f6a3d0e")


def _encoded_event() -> tuple[bytes, bytes]:
    return encode_outcome(
        _ID,
        Outcome.ACCEPTED,
        at_ms=_NOW_MS,
        attempt=1,
        purpose="signup",
        relay="primary",
        reply_class="accepted",
        smtp="250 2.0.0",
    )


def _of_outcomes() -> dict[str, Callable[[], object]]:
    event = _event()
    value = event.encode()
    return {
        "status: key and value of a delivery": _encoded_event,
        "status: make": _event,
        "status: key and value": lambda: (event.key, event.encode()),
        "status: decode": lambda: decode_status(value),
    }


def _of_telling() -> dict[str, Callable[[], object]]:
    keyring = KeyRing.generate()
    incoming = _incoming(MailSeal(keyring, "mails"))
    metrics = SenderMetrics(CollectorRegistry(), "mails", relays=("primary",))
    teller = Teller(tracer=NO_TRACER, metrics=metrics, clock=SystemClock(), keyring=keyring)

    async def turn() -> None:
        for _ in range(_TURN):
            teller.ended(incoming, Outcome.ACCEPTED, _RESULT)

    run = asyncio.new_event_loop().run_until_complete

    def measure() -> None:
        metrics.queued(0.02)
        metrics.attempt(0.001, 0.0, 0.034)
        metrics.delivered(0.2, _NOW_MS)
        metrics.outcome("accepted", "primary")

    def spans() -> None:
        with teller.span(incoming), child_span("decode"), child_span("send"):
            pass

    return {
        "metrics: one mail": measure,
        "spans: one mail, off": spans,
        "log: an outcome's line": lambda: run(turn()),
    }


if __name__ == "__main__":
    sys.exit(main())
