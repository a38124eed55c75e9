"""What the sink itself can take: it must be more than any peer sends."""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from benchmarks.side_by_side.measuring import Workshop
from benchmarks.side_by_side.relay_sink import HOST, Sink
from benchmarks.side_by_side.tools import Report, go_program, run
from support.mail_servers import packages
from support.ports import free_port

_SECONDS = 3
_SOURCE_MAILS = 20_000
_OCTETS = 700
_START_S = 10
_PROGRAMS = packages.TREES / "postfix/usr/sbin"
_LIBRARIES = {"LD_LIBRARY_PATH": str(packages.TREES / "postfix/usr/lib/postfix")}


def ceilings(workshop: Workshop, report: Report, *, rounds: int) -> dict[str, float]:
    """Return mails a second by way of sending; each is the median round's.

    Those of postfix's smtp-source are in the clear, as it knows no STARTTLS, and it sends command
    by command. Without Debian's postfix (`make mail-servers`) they are left out.
    """
    load, sink = go_program("load", report), go_program("sink", report)
    workshop.sink.begin(delay_ms=0)
    found = {
        "pipelined over STARTTLS": _median(rounds, lambda: _loaded(str(load), workshop.sink.port))
    }
    if problem := packages.problem():
        report(f"smtp-source is left out: {problem}")
    else:
        directory = workshop.directory / "plain"
        directory.mkdir()
        with Sink(sink, directory, takes_plain=True) as plain:
            found["smtp-source, in the clear"] = _median(rounds, lambda: _by_source(plain.port))
        with _smtp_sink() as port:
            found["smtp-source to postfix's smtp-sink"] = _median(rounds, lambda: _by_source(port))
    for name, rate in found.items():
        report(f"{rate:.0f} mails/s: {name}")
    return found


def _median(rounds: int, way: Callable[[], float]) -> float:
    return median(way() for _ in range(rounds))


def _loaded(program: str, port: int) -> float:
    return float(run(program, "-relay", f"{HOST}:{port}", "-seconds", str(_SECONDS)))


def _by_source(port: int) -> float:
    command = ["-s", "32", "-m", str(_SOURCE_MAILS), "-l", str(_OCTETS), "-d", f"{HOST}:{port}"]
    began_s = time.monotonic()
    run(_PROGRAMS / "smtp-source", *command, env=_LIBRARIES)
    return _SOURCE_MAILS / (time.monotonic() - began_s)


@contextmanager
def _smtp_sink() -> Iterator[int]:
    port = free_port()
    command = [str(_PROGRAMS / "smtp-sink"), "-u", "nobody", f"{HOST}:{port}", "1024"]
    process = subprocess.Popen(command, env=os.environ | _LIBRARIES)  # noqa: S603 - Debian's
    try:
        _wait_for(port)
        yield port
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection((HOST, port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)
        else:
            return
