"""The inbox as a process: mails in over SMTP with STARTTLS, out over its API."""

import asyncio
import json
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiosmtplib import SMTP, SMTPException, SMTPSenderRefused

pytestmark = pytest.mark.integration
DEADLINE_S = 20


@dataclass
class Inbox:
    data_dir: Path
    http_port: int
    smtp_port: int
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def smtp(self) -> SMTP:
        tls = ssl.create_default_context(cafile=self.data_dir / "ca.pem")
        return SMTP(hostname="127.0.0.1", port=self.smtp_port, start_tls=True, tls_context=tls)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@asynccontextmanager
async def running_inbox(data_dir: Path) -> AsyncIterator[Inbox]:
    http_port, smtp_port = free_ports(2)
    command = [sys.executable, "-m", "mailtopic_cli", "inbox", "--data-dir", str(data_dir)]
    command += ["--http-port", str(http_port), "--smtp-port", str(smtp_port)]
    with (data_dir / "inbox.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    inbox = Inbox(data_dir, http_port, smtp_port, process)
    try:
        await wait_until_live(inbox)
        yield inbox
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), DEADLINE_S)


async def wait_until_live(inbox: Inbox) -> None:
    async with asyncio.timeout(DEADLINE_S), httpx.AsyncClient() as client:
        while True:
            try:
                (await client.get(f"{inbox.url}/livez")).raise_for_status()
            except httpx.TransportError:
                assert inbox.process.returncode is None, (inbox.data_dir / "inbox.log").read_text()
                await asyncio.sleep(0.05)
            else:
                return


def a_mail(subject: str = "Ваш одноразовый код", to: str = "Борис <b@example.com>") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "MailTopic <no-reply@example.com>"
    message["To"] = to
    message["Subject"] = subject
    message["Date"] = "Mon, 23 Nov 2026 12:00:00 +0300"
    message["Message-ID"] = "<one@example.com>"
    message.set_content("Ваш код: 123456")
    message.add_alternative("<p>Ваш код: <b>123456</b></p>", subtype="html")
    return message


@pytest.fixture
def no_log(tmp_path: Path) -> Iterator[None]:
    yield
    log = (tmp_path / "inbox.log").read_text()
    assert "Traceback" not in log
    assert "@" not in log


async def messages(inbox: Inbox, **params: int) -> dict[str, Any]:
    async with httpx.AsyncClient() as client:
        response = await client.get(f"{inbox.url}/api/v1/messages", params=params)
        assert response.status_code == 200
        listed: dict[str, Any] = response.json()
        return listed


@pytest.mark.usefixtures("no_log")
async def test_a_mail_sent_over_starttls_is_listed_and_shown_in_mailpits_shapes(
    tmp_path: Path,
) -> None:
    async with running_inbox(tmp_path) as inbox:
        async with inbox.smtp() as smtp:
            await smtp.send_message(a_mail())
        listed = await messages(inbox)
        assert (listed["total"], listed["unread"], listed["count"], listed["start"]) == (1, 1, 1, 0)
        (summary,) = listed["messages"]
        assert summary["From"] == {"Name": "MailTopic", "Address": "no-reply@example.com"}
        assert summary["To"] == [{"Name": "Борис", "Address": "b@example.com"}]
        assert summary["Subject"] == "Ваш одноразовый код"
        assert summary["Snippet"] == "Ваш код: 123456"
        assert summary["Created"].endswith("Z")
        async with httpx.AsyncClient() as client:
            shown = (await client.get(f"{inbox.url}/api/v1/message/{summary['ID']}")).json()
            raw = await client.get(f"{inbox.url}/api/v1/message/{summary['ID']}/raw")
        assert shown["Text"].strip() == "Ваш код: 123456"
        assert shown["HTML"].strip() == "<p>Ваш код: <b>123456</b></p>"
        assert shown["Date"] == "2026-11-23T12:00:00+03:00"
        assert shown["Size"] == len(raw.content) == summary["Size"]
        assert raw.headers["content-type"].startswith("text/plain")
        assert (await messages(inbox))["unread"] == 0


@pytest.mark.usefixtures("no_log")
async def test_mails_outlive_a_crash_of_the_inbox_and_delete_empties_it(tmp_path: Path) -> None:
    async with running_inbox(tmp_path) as inbox:
        async with inbox.smtp() as smtp:
            for number in range(3):
                await smtp.send_message(a_mail(subject=f"mail {number}"))
        inbox.process.kill()
        await inbox.process.wait()
    ca = (tmp_path / "ca.pem").read_bytes()
    async with running_inbox(tmp_path) as inbox:
        assert (tmp_path / "ca.pem").read_bytes() == ca
        listed = await messages(inbox, start=1, limit=1)
        assert (listed["total"], listed["count"], listed["start"]) == (3, 1, 1)
        assert [m["Subject"] for m in listed["messages"]] == ["mail 1"]
        async with httpx.AsyncClient() as client:
            gone = listed["messages"][0]["ID"]
            body = {"IDs": [gone]}
            await client.request("DELETE", f"{inbox.url}/api/v1/messages", json=body)
            assert (await messages(inbox))["total"] == 2
            assert (await client.get(f"{inbox.url}/api/v1/message/{gone}")).status_code == 404
            await client.delete(f"{inbox.url}/api/v1/messages")
        assert await messages(inbox) | {"messages": []} == {
            "total": 0,
            "unread": 0,
            "count": 0,
            "messages_count": 0,
            "start": 0,
            "messages": [],
        }


@pytest.mark.usefixtures("no_log")
async def test_a_page_that_listens_hears_of_each_new_mail(tmp_path: Path) -> None:
    async with (
        running_inbox(tmp_path) as inbox,
        asyncio.timeout(DEADLINE_S),
        httpx.AsyncClient(timeout=DEADLINE_S) as client,
        client.stream("GET", f"{inbox.url}/api/v1/events") as events,
    ):
        assert events.headers["content-type"].startswith("text/event-stream")
        lines = events.aiter_lines()
        assert (await anext(lines)).startswith(":")
        async with inbox.smtp() as smtp:
            await smtp.send_message(a_mail(subject="news"))
        heard = [line async for line in until_data(lines)]
        assert json.loads(heard[-1].removeprefix("data:"))["Subject"] == "news"


async def until_data(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if line.startswith("data:"):
            return


@pytest.mark.usefixtures("no_log")
async def test_awkward_addresses_and_hostile_bytes_are_kept_and_shown(tmp_path: Path) -> None:
    recipients = ["почта@пример.рф", '"john doe"@example.com', "a" * 64 + "@example.com"]
    hostile = [
        b"Subject: =?utf-8?b?/w==?=\r\nTo: \xff\xfe <<>>,,;\r\n\r\n\xff",
        b"Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n",
        b"Content-Type: text/plain; charset=no-such\r\n\r\nhello",
        b"no header at all",
    ]
    async with running_inbox(tmp_path) as inbox, inbox.smtp() as smtp:
        for recipient in recipients:
            raw = f"From: x@example.com\r\nTo: {recipient}\r\nSubject: s\r\n\r\nt\r\n".encode()
            options = ["SMTPUTF8"] if not recipient.isascii() else []
            await smtp.sendmail("x@example.com", recipient, raw, mail_options=options)
        for raw in hostile:
            await smtp.sendmail("x@example.com", "y@example.com", raw)
        listed = (await messages(inbox))["messages"]
        shown = [m["To"][0]["Address"] for m in reversed(listed)][: len(recipients)]
        assert shown == recipients
        async with httpx.AsyncClient() as client:
            for message in listed:
                answer = await client.get(f"{inbox.url}/api/v1/message/{message['ID']}")
                assert answer.status_code == 200


@pytest.mark.usefixtures("no_log")
async def test_commands_and_data_may_be_sent_in_one_write(tmp_path: Path) -> None:
    async with running_inbox(tmp_path) as inbox, asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", inbox.smtp_port)
        with closing(writer):
            await reader.readline()
            writer.write(b"EHLO client\r\n")
            offered = await reader.readuntil(b"250 HELP\r\n")
            assert b"250-PIPELINING" in offered
            assert b"250-STARTTLS" in offered
            assert b"250-SMTPUTF8" in offered
            envelope = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"
            writer.write((envelope + b"Subject: x\r\n\r\nx\r\n.\r\n") * 2)
            codes = [(await reader.readline())[:3] for _ in range(8)]
            assert codes == [b"250", b"250", b"354", b"250"] * 2
        assert (await messages(inbox))["total"] == 2


@pytest.mark.usefixtures("no_log")
async def test_a_mail_above_the_size_limit_is_refused_and_the_next_one_is_taken(
    tmp_path: Path,
) -> None:
    async with running_inbox(tmp_path) as inbox, inbox.smtp() as smtp:
        big = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" * (6 * 1024 * 1024)
        with pytest.raises((SMTPSenderRefused, SMTPException)) as refused:
            await smtp.sendmail("a@example.com", "b@example.com", big)
        assert "552" in repr(refused.value)
        await smtp.sendmail("a@example.com", "b@example.com", b"Subject: small\r\n\r\nx")
        assert [m["Subject"] for m in (await messages(inbox))["messages"]] == ["small"]


BAD_REQUESTS = [
    ("GET", "/api/v1/messages?limit=many", b"", 400),
    ("GET", "/api/v1/messages?limit=-1", b"", 400),
    ("GET", "/api/v1/messages?start=" + "9" * 30, b"", 400),
    ("GET", "/api/v1/message/none", b"", 404),
    ("GET", "/api/v1/nothing", b"", 404),
    ("POST", "/api/v1/messages", b"", 405),
    ("DELETE", "/api/v1/messages", b"{", 400),
    ("DELETE", "/api/v1/messages", b"[]", 400),
    ("DELETE", "/api/v1/messages", b'{"IDs":[1]}', 400),
    ("DELETE", "/api/v1/messages", b"x" * 1_100_000, 413),
]


@pytest.mark.usefixtures("no_log")
async def test_bad_requests_get_problem_details(tmp_path: Path) -> None:
    async with running_inbox(tmp_path) as inbox, httpx.AsyncClient() as client:
        for method, path, content, status in BAD_REQUESTS:
            answer = await client.request(method, inbox.url + path, content=content)
            assert answer.status_code == status, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == status


@pytest.mark.usefixtures("no_log")
async def test_a_page_from_elsewhere_cannot_reach_the_api_by_its_own_name(tmp_path: Path) -> None:
    async with running_inbox(tmp_path) as inbox, httpx.AsyncClient() as client:
        headers = {"Host": "evil.example"}
        answer = await client.get(f"{inbox.url}/api/v1/messages", headers=headers)
        assert answer.status_code == 400
        page = await client.get(inbox.url)
        assert page.status_code == 200
        assert "script-src 'self'" in page.headers["content-security-policy"]


async def test_a_taken_port_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "mailtopic_cli", "inbox", "--data-dir", str(tmp_path)]
        process = await asyncio.create_subprocess_exec(
            *command, "--http-port", str(port), stderr=asyncio.subprocess.PIPE
        )
        _, stderr = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 2
    assert stderr.decode() == f"mailtopic-inbox: MAILTOPIC_INBOX__HTTP_PORT: port {port} is taken\n"
