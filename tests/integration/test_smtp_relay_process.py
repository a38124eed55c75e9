"""The test relay as a process of its own: what fault tests read from the outside."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mailtopic_sender.adapters.smtp_settings import RelaySettings
from mailtopic_sender.domain.replies import ReplyClass
from support.smtp_mails import mail, mailer_to

TESTS = Path(__file__).parents[1]


@asynccontextmanager
async def relay_process(*arguments: str) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "support.smtp_relay",
        *arguments,
        cwd=TESTS,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        word, _, port = (await process.stdout.readline()).split()
        assert word == b"listening"
        yield int(port)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_it_spools_what_it_took_and_keeps_its_authority(tmp_path: Path) -> None:
    spool, certificates = tmp_path / "mails.jsonl", tmp_path / "certs"
    arguments = ("--spool", str(spool), "--cert-dir", str(certificates))
    sent = mail("иван@example.org")
    for _ in range(2):
        async with relay_process(*arguments) as port:
            settings = RelaySettings("localhost", port, ca_file=certificates / "ca.pem")
            async with mailer_to(settings) as mailer:
                assert (await mailer.send(sent)).reply_class is ReplyClass.ACCEPTED
    first, second = (json.loads(line) for line in spool.read_text().splitlines())
    assert first["recipients"] == ["иван@example.org"]
    assert first["sha256"] == second["sha256"]
    assert str(sent.mail_id) in first["content"]
