"""A million users and challenges: every endpoint beside the same one with an empty database.

The two services take turns, so that whatever else the machine does hits both.
"""

import contextlib
import random
import sqlite3
import statistics
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from string import Template

import pytest

from support.postgresql import PostgreSQL, running_postgresql
from support.raw_http import Answer, RawConnection, connected
from support.signup_process import SignupProcess

pytestmark = [pytest.mark.guarantees, pytest.mark.timeout(900)]

ROWS = 1_000_000
TURNS = 1000
MOST_TIMES_AS_LONG = 2.0
SLACK_MS = 5.0
# Each database makes its rows itself. Every tenth user never confirmed.
_SCRIPT = Template("""
INSERT INTO users (id, address, created_at, verified_at)
SELECT $uuid, 'u' || n || '@example.com', 1, CASE n % 10 WHEN 0 THEN NULL ELSE 1 END FROM $numbers;
INSERT INTO address_limits
  (address_key, next_mail_at, last_mail_id, failures, last_failure_at, asked_at)
SELECT $hex, 0, $uuid, 0, 0, $now FROM $numbers;
INSERT INTO challenges
  (id, user_id, address_key, purpose, locale, code_for, code_key_id, code_digest, tries,
   created_at, expires_at, resend_after, mail_id, delivery)
SELECT $hex, $uuid, $hex, 'signup', 'ru', $hex, 'p1', $bytes, 0,
   $now, $now + 600000, 0, $uuid, 'sent' FROM $numbers;
INSERT INTO outbox
  (id, aggregatetype, aggregateid, type, payload, topic, created_at, expires_at, attempts,
   published_at)
SELECT $uuid, 'mail', 'k', 'signup', $bytes, 'mails', $now, $now + 600000, 1, $now FROM $numbers;
INSERT INTO idempotent_answers (key, fingerprint, body, expires_at)
SELECT $hex || $hex, 'f', $bytes, $now + 86400000 FROM $numbers;
""")
_SQLITE = {
    "uuid": "printf('%032x', n)",
    "hex": "printf('%032x', n)",
    "bytes": "zeroblob(32)",
    "numbers": Template(
        "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < $rows) "
        "SELECT n FROM c)"
    ).substitute(rows=ROWS),
    "now": "CAST(1000 * unixepoch() AS INTEGER)",
}
_POSTGRESQL = {
    "uuid": "lpad(to_hex(n), 32, '0')::uuid",
    "hex": "lpad(to_hex(n), 32, '0')",
    "bytes": "decode(repeat('00', 32), 'hex')",
    "numbers": f"generate_series(1, {ROWS}) AS n",
    "now": "(1000 * extract(epoch FROM now()))::bigint",
}


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSQL]:
    yield from running_postgresql("integration")


@pytest.fixture(params=["sqlite", "postgresql"])
async def services(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[SignupProcess, SignupProcess]]:
    """A service with an empty database, and one with a million of everything."""
    made = []
    for name in ("empty", "full"):
        folder = tmp_path / name
        folder.mkdir()
        settings = {"DATABASE__SYNCHRONOUS": "NORMAL", "CODES__MAX_FAILURES_PER_DAY": "100"}
        server: PostgreSQL | None = None
        if request.param == "postgresql":
            server = request.getfixturevalue("postgresql")
            settings["DATABASE__URL"] = server.new_database()
        # Without Kafka: nothing but the requests works at the database.
        process = SignupProcess(folder, "127.0.0.1:1", "mails", settings=settings)
        await process.start()
        if name == "full":
            fill(process, server)
        made.append(process)
    yield made[0], made[1]
    for process in made:
        await process.kill()


def fill(process: SignupProcess, server: PostgreSQL | None) -> None:
    if server is None:
        file = process.folder / "signup.db"
        with contextlib.closing(sqlite3.connect(file, timeout=60)) as connection:
            connection.executescript(_SCRIPT.substitute(_SQLITE))
        return
    command = [str(server.programs / "psql"), "-q", "-v", "ON_ERROR_STOP=1"]
    # Statistics are what autovacuum would have made of it long ago.
    script = _SCRIPT.substitute(_POSTGRESQL) + "VACUUM ANALYZE;"
    subprocess.run(  # noqa: S603 - PostgreSQL's own program
        [*command, process.settings["DATABASE__URL"]],
        input=script.encode(),
        check=True,
        timeout=600,
    )


async def one_turn(connection: RawConnection, number: int) -> dict[str, Answer]:
    """Ask each endpoint once."""
    body = {"email": f"new{number}@example.com"}
    begun = await connection.request("POST", "/v1/signups", body)
    path = f"/v1/signups/{begun.body['challenge_id']}"
    # One of the million, or in the empty database one that isn't there.
    known = f"/v1/signups/{random.randrange(1, ROWS):032x}"  # noqa: S311
    answers = {
        "begin": begun,
        "begin, known": await connection.request(
            "POST", "/v1/signups", {"email": f"u{number * 7 % ROWS}@example.com"}
        ),
        "status": await connection.request("GET", path),
        "status, of the million": await connection.request("GET", known),
        "verify": await connection.request("POST", f"{path}/verify", {"code": "000000"}),
        "resend": await connection.request("POST", f"{path}/resend"),
    }
    assert [answers[name].status for name in ("begin", "begin, known", "status")] == [202, 202, 200]
    assert answers["verify"].status in {200, 422}
    assert answers["resend"].status in {409, 429}
    return answers


async def test_a_million_users_and_challenges_cost_no_endpoint_its_speed(
    services: tuple[SignupProcess, SignupProcess], figure: Callable[[str], None]
) -> None:
    took: dict[tuple[str, int], list[float]] = {}
    async with connected(services[0].port) as empty, connected(services[1].port) as full:
        for number in range(TURNS):
            for which, connection in enumerate((empty, full)):
                for name, answer in (await one_turn(connection, number)).items():
                    took.setdefault((name, which), []).append(answer.seconds * 1000)
    slower = []
    for name in dict.fromkeys(name for name, _ in took):
        empty_ms, full_ms = took[name, 0], took[name, 1]
        small, large = (statistics.quantiles(each, n=100)[98] for each in (empty_ms, full_ms))
        figure(
            f"{name}: p99 {large:.1f} ms, empty {small:.1f} ms; p50 "
            f"{statistics.median(full_ms):.2f} ms, empty {statistics.median(empty_ms):.2f} ms"
        )
        if large > small * MOST_TIMES_AS_LONG + SLACK_MS:
            slower.append(name)
    assert slower == []
