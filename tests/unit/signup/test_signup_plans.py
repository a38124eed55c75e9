"""No statement of the service reads a whole table, however long the table is."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from support.signup_service import Signup

# An index of what waits only, and a batch taken from it, are short; nothing else may be read from
# end to end.
_SHORT = "ix_outbox_waiting"
_READS_ALL = re.compile(r"^SCAN (?!CONSTANT ROW|candidates$)", re.MULTILINE)

Executed = dict[str, Any]


@contextmanager
def executed() -> Iterator[Executed]:
    """All statements that run, with the parameters they ran with."""
    seen: Executed = {}

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.split(maxsplit=1)[0] in {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}:
            seen[statement] = parameters[0] if isinstance(parameters, list) else parameters

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


async def everything(signup: Signup) -> None:
    """Do everything that there is to do once."""
    for key in ("k-1", "k-1"):
        body = {"email": "anna@example.com"}
        challenge = (await signup.post("/v1/signups", body, idempotency_key=key)).json()
    path = f"/v1/signups/{challenge['challenge_id']}"
    await signup.client.get(path)
    await signup.verify(challenge["challenge_id"], await signup.wrong_code())
    signup.clock.advance(60)
    await signup.post(f"{path}/resend")
    await signup.verify(challenge["challenge_id"], await signup.code())
    await signup.delivered()
    outbox = signup.parts.outbox
    leased = await outbox.lease(limit=10, now_ms=signup.clock.now_ms(), lease_ms=1)
    await outbox.postpone(leased, until_ms=0)
    await outbox.mark_published([each.mail.id for each in leased], now_ms=signup.clock.now_ms())
    assert (await signup.client.get("/readyz")).status_code == 200
    assert (await signup.client.get("/metrics")).status_code == 200
    signup.clock.advance(30 * 86_400)
    await signup.parts.house.purge()


async def plans(signup: Signup, statements: Executed) -> dict[str, str]:
    def explain(connection: Connection) -> dict[str, str]:
        is_sqlite = connection.dialect.name == "sqlite"
        if not is_sqlite:
            # Tables are short here; what could use an index is to use it.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        prefix = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
        found = {}
        for statement, parameters in statements.items():
            rows = connection.exec_driver_sql(prefix + statement, parameters).all()
            found[statement] = "\n".join(str(row[-1]) for row in rows)
        return found

    return await signup.parts.database.write(explain)


async def test_every_statement_finds_its_rows_by_an_index(signup: Signup) -> None:
    with executed() as statements:
        await everything(signup)
    assert len(statements) >= 25
    for statement, plan in (await plans(signup, statements)).items():
        lines = [line for line in plan.splitlines() if _SHORT not in line]
        # The probe asks for any one row.
        if (
            statement.endswith(("LIMIT ? OFFSET ?", "LIMIT $1::INTEGER"))
            and "WHERE" not in statement
        ):
            continue
        assert not _READS_ALL.search("\n".join(lines)), (statement, plan)
        assert "Seq Scan" not in plan, (statement, plan)


@pytest.mark.parametrize("statement", ["SELECT * FROM users WHERE created_at = 1"])
async def test_a_statement_without_an_index_would_be_found(signup: Signup, statement: str) -> None:
    plan = (await plans(signup, {statement: ()}))[statement]
    assert _READS_ALL.search(plan) or "Seq Scan" in plan
