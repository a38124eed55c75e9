"""The inbox as a pod runs it: a program that is told everything by its environment."""

import asyncio
import ssl
import subprocess
import sysconfig
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest
import trustme
from aiosmtplib import SMTP

from support.conditions import until
from support.ports import free_ports
from support.programs import answers

PROGRAM = str(Path(sysconfig.get_path("scripts")) / "mailtopic-inbox")


@asynccontextmanager
async def running(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[tuple[str, int]]:
    """Yield the URL and the SMTP port of an inbox; it has to end well."""
    smtp_port, http_port = free_ports(2)
    settings = {"SMTP_PORT": str(smtp_port), "HTTP_PORT": str(http_port), **settings}
    env = {f"MAILTOPIC_INBOX__{name}": value for name, value in settings.items()}
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            PROGRAM, env=env, cwd=folder, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{http_port}"
    try:
        await until(partial(asyncio.to_thread, answers, f"{url}/readyz"), "the inbox to be ready")
        yield url, smtp_port
    finally:
        process.terminate()
        code = await asyncio.wait_for(process.wait(), 20)
    assert code == 0, (folder / "log").read_text()
    assert "@" not in (folder / "log").read_text()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def run(folder: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    env = {f"MAILTOPIC_INBOX__{name}": value for name, value in settings.items()}
    return subprocess.run(  # noqa: S603 - our own program
        [PROGRAM], env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    issued.private_key_pem.write_to_path(tmp_path / "tls.key")
    return {"TLS_CERT_FILE": str(tmp_path / "tls.crt"), "TLS_KEY_FILE": str(tmp_path / "tls.key")}


async def test_given_a_certificate_it_takes_mails_and_logins_over_starttls(
    tmp_path: Path, certificate: dict[str, str]
) -> None:
    tls = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    before = names_in(tmp_path)
    async with running(tmp_path, certificate) as (url, port):
        async with SMTP(hostname="127.0.0.1", port=port, start_tls=True, tls_context=tls) as smtp:
            await smtp.login("anybody", "any password")
            await smtp.sendmail("a@example.com", "b@example.com", b"Subject: s\r\n\r\nx")
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{url}/api/v1/messages")).json()["total"] == 1
    assert names_in(tmp_path) - before == {"log"}


async def test_without_a_certificate_neither_starttls_nor_logins_are_offered(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path, {}) as (_, port),
        SMTP(hostname="127.0.0.1", port=port, start_tls=False) as smtp,
    ):
        await smtp.ehlo()
        assert not smtp.supports_extension("starttls")
        assert not smtp.supports_extension("auth")
        await smtp.sendmail("a@example.com", "b@example.com", b"Subject: s\r\n\r\nx")


async def test_page_and_api_answer_to_the_names_that_it_was_told_and_probes_to_any(
    tmp_path: Path,
) -> None:
    told = {"ALLOWED_HOSTS": "inbox, *.svc.cluster.local"}
    statuses: dict[tuple[str, str], int] = {}
    async with running(tmp_path, told) as (url, _), httpx.AsyncClient() as http:
        for host in ("localhost", "inbox:8025", "inbox.ns.svc.cluster.local", "evil.example"):
            for path in ("/", "/api/v1/messages", "/static/inbox.js", "/readyz", "/livez"):
                answer = await http.get(f"{url}{path}", headers={"Host": host})
                statuses[host, path] = answer.status_code
    refused = {key for key, status in statuses.items() if status == 400}
    assert refused == {("evil.example", p) for p in ("/", "/api/v1/messages", "/static/inbox.js")}
    assert set(statuses.values()) == {200, 400}


async def test_it_listens_on_loopback_unless_it_is_told(tmp_path: Path) -> None:
    async with running(tmp_path, {}) as (_, port):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", port)
    async with running(tmp_path, {"HOST": "0.0.0.0"}) as (_, port):  # noqa: S104 - what a pod does
        _, writer = await asyncio.open_connection("127.0.0.2", port)
        writer.close()


@pytest.mark.parametrize("given", ["TLS_CERT_FILE", "TLS_KEY_FILE"])
def test_a_certificate_without_its_key_is_one_line_and_exit_code_2(
    tmp_path: Path, certificate: dict[str, str], given: str
) -> None:
    missing = next(name for name in certificate if name != given)
    done = run(tmp_path, **{given: certificate[given]})
    line = f"MAILTOPIC_INBOX__{missing}: is required with MAILTOPIC_INBOX__{given}"
    assert (done.returncode, done.stderr) == (2, f"mailtopic-inbox: {line}\n")


def test_files_that_cannot_be_used_are_one_line_and_exit_code_2(
    tmp_path: Path, certificate: dict[str, str]
) -> None:
    done = run(tmp_path, **{**certificate, "TLS_KEY_FILE": str(tmp_path / "gone.key")})
    assert done.returncode == 2
    line = f"the file {tmp_path}/gone.key can't be read: No such file or directory\n"
    assert done.stderr == f"mailtopic-inbox: MAILTOPIC_INBOX__TLS_KEY_FILE: {line}"
    done = run(tmp_path, **{**certificate, "TLS_KEY_FILE": certificate["TLS_CERT_FILE"]})
    assert done.returncode == 2
    assert "are no PEM certificate with its key" in done.stderr
    assert done.stderr.count("\n") == 1
    done = run(tmp_path, DATA_FILE=str(tmp_path / "no-folder" / "mails.db"))
    assert done.returncode == 2
    assert "MAILTOPIC_INBOX__DATA_FILE: the file" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_address_that_is_not_this_machines_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = run(tmp_path, HOST="192.0.2.1")
    assert done.returncode == 2
    assert "MAILTOPIC_INBOX__HOST: can't listen on 192.0.2.1" in done.stderr
    assert done.stderr.count("\n") == 1
