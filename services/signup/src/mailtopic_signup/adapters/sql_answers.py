"""Answers to requests with an idempotency key, in SQL, for a group of signups at once."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Executable, String, bindparam, func, select

from mailtopic_signup.adapters.sql_bulk import Lookup, Rows, upsert_into
from mailtopic_signup.adapters.sql_tables import idempotent_answers
from mailtopic_signup.ports import Begun, IdempotentAnswer

_ROW = {column.name: column.type for column in idempotent_answers.c}


class SqlAnswers:
    """Stores answers, or finds the earlier answer to a key."""

    def __init__(self, *, is_sqlite: bool) -> None:
        self._is_sqlite = is_sqlite
        self._rows = Rows(_ROW, is_sqlite=is_sqlite)
        self._remember = _remember(self._rows, is_sqlite=is_sqlite)
        table = idempotent_answers.c
        columns = (table.key, table.fingerprint, table.body)
        self._find = Lookup(table.key, columns, is_sqlite=is_sqlite)
        self._keys = Rows({"key": String()}, is_sqlite=is_sqlite)
        hashed = func.hashtextextended(self._keys["key"], 0)
        try_lock = func.pg_try_advisory_xact_lock(hashed).label("is_free")
        self._try_locks = select(self._keys["key"], try_lock)

    def remember(
        self, connection: Connection, answers: Sequence[IdempotentAnswer], *, now_ms: int
    ) -> dict[str, Begun]:
        """Store answers, all of different keys; returns the results of requests that came before.

        A key that isn't in the result is new, and its answer is stored.
        """
        found: dict[str, Begun] = {}
        free = self._lock(connection, answers)
        found |= {each.key: Begun("in_flight", b"") for each in answers if each.key not in free}
        mine = sorted((each for each in answers if each.key in free), key=lambda each: each.key)
        if not mine:
            return found
        rows = [{name: getattr(each, name) for name in _ROW} for each in mine]
        self._rows.run(connection, self._remember, rows, now=now_ms)
        found_rows = self._find.run(connection, [each.key for each in mine])
        stored = {row.key: row for row in found_rows}
        for each in mine:
            row = stored[each.key]
            # Every answer names its own challenge: a request that finds its own answer was the
            # first.
            if row.body != each.body:
                found[each.key] = _earlier(row, each)
        return found

    def _lock(self, connection: Connection, answers: Sequence[IdempotentAnswer]) -> set[str]:
        """Lock keys until the transaction ends; returns those that no other process holds."""
        keys = {each.key for each in answers}
        if self._is_sqlite:  # it has one writer, so no request is in flight
            return keys
        tried = self._keys.run(connection, self._try_locks, [{"key": key} for key in keys])
        return {row.key for row in tried if row.is_free}


def _earlier(row: Any, answer: IdempotentAnswer) -> Begun:
    if row.fingerprint != answer.fingerprint:
        return Begun("mismatch", b"")
    return Begun("replayed", row.body)


def _remember(rows: Rows, *, is_sqlite: bool) -> Executable:
    table = idempotent_answers
    new = upsert_into(table, is_sqlite=is_sqlite)
    new = new.from_select(list(_ROW), rows.select(*(rows[name] for name in _ROW)))
    statement: Executable = new.on_conflict_do_update(
        index_elements=["key"],
        set_={name: new.excluded[name] for name in ("fingerprint", "body", "expires_at")},
        where=table.c.expires_at <= bindparam("now"),
    )
    return statement
