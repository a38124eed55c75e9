"""Where the inbox keeps its mails: one SQLite database, written by one thread.

A mail counts as stored when its transaction is on the disk, or in memory if there is no file.
Mails that arrive while a transaction is being written share the next one, so the rate is not
bound to the disk's flushes.
"""

import asyncio
import json
import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from mailtopic_inbox.message import ReceivedMail, detail_of, summary_of

_BATCH = 256
_SCHEMA = """
CREATE TABLE IF NOT EXISTS mails (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    mail_from TEXT NOT NULL,
    rcpt_to TEXT NOT NULL,
    summary TEXT NOT NULL,
    is_read INTEGER NOT NULL DEFAULT 0,
    raw BLOB NOT NULL
)"""

Listener = Callable[[dict[str, Any]], None]
_Waiting = tuple[ReceivedMail, asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class MailStore:
    """Keeps mails, across restarts if `path` is given. All methods are for the loop's thread.

    Does not promise: a bound on its size; `delete` is how it shrinks.

    Raises:
        sqlite3.Error: the file can't be opened.
    """

    def __init__(self, path: Path | None) -> None:
        # memdb is a database in memory that all connections of the process share by its name.
        self._uri = path.absolute().as_uri() if path else f"file:/{uuid.uuid4().hex}?vfs=memdb"
        self._listeners: list[Listener] = []
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        # Held until the end: a database in memory lasts as long as it is open somewhere.
        self._anchor = self._connect()
        self._anchor.execute("PRAGMA journal_mode=WAL")
        self._anchor.execute(_SCHEMA)
        self._writer = threading.Thread(target=self._write, name="inbox-writer", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Write queued mails, then close. Call it once, last."""
        self._queue.put(None)
        self._writer.join()
        self._anchor.close()

    def on_new_mail(self, listener: Listener) -> None:
        """Call `listener` in the event loop with the summary of each mail that was stored."""
        self._listeners.append(listener)

    async def add(self, *, mail_from: str, rcpt_to: Sequence[str], raw: bytes) -> None:
        """Store one mail; returns when it counts as stored.

        Raises:
            sqlite3.Error: it could not be stored.
        """
        now_ms = time.time_ns() // 1_000_000
        mail = ReceivedMail(uuid.uuid4().hex, now_ms, mail_from, tuple(rcpt_to), raw)
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[None] = loop.create_future()
        self._queue.put((mail, loop, stored))
        await stored

    async def page(self, *, start: int, limit: int) -> dict[str, Any]:
        """Mailpit's answer to a list request: newest first, `limit` mails from `start` on."""
        return await asyncio.to_thread(self._page, start, limit)

    async def detail(self, mail_id: str) -> dict[str, Any] | None:
        """One mail in full, marked as read from now on; None if there is no such mail."""
        mail = await asyncio.to_thread(self._read, mail_id, mark=True)
        return await asyncio.to_thread(detail_of, mail) if mail else None

    async def raw(self, mail_id: str) -> bytes | None:
        """One mail's bytes as they came; None if there is no such mail."""
        mail = await asyncio.to_thread(self._read, mail_id, mark=False)
        return mail.raw if mail else None

    async def delete(self, ids: Sequence[str] | None = None) -> None:
        """Delete the mails with these ids, or every mail when `ids` is None."""
        await asyncio.to_thread(self._delete, ids)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._uri, timeout=10, isolation_level=None, uri=True)
        db.execute("PRAGMA synchronous=FULL")
        return db

    def _page(self, start: int, limit: int) -> dict[str, Any]:
        with closing(self._connect()) as db:
            total, unread = db.execute(
                "SELECT count(*), count(*) FILTER (WHERE is_read = 0) FROM mails"
            ).fetchone()
            rows = db.execute(
                "SELECT summary, is_read FROM mails ORDER BY seq DESC LIMIT ? OFFSET ?",
                (limit, start),
            ).fetchall()
        messages = [{**json.loads(summary), "Read": bool(is_read)} for summary, is_read in rows]
        return {
            "total": total,
            "unread": unread,
            "count": len(messages),
            "messages_count": total,
            "start": start,
            "messages": messages,
        }

    def _read(self, mail_id: str, *, mark: bool) -> ReceivedMail | None:
        with closing(self._connect()) as db:
            row = db.execute(
                "SELECT created_ms, mail_from, rcpt_to, raw FROM mails WHERE id = ?", (mail_id,)
            ).fetchone()
            if row and mark:
                db.execute("UPDATE mails SET is_read = 1 WHERE id = ? AND is_read = 0", (mail_id,))
        return (
            ReceivedMail(mail_id, row[0], row[1], tuple(json.loads(row[2])), row[3])
            if row
            else None
        )

    def _delete(self, ids: Sequence[str] | None) -> None:
        with closing(self._connect()) as db:
            if ids is None:
                db.execute("DELETE FROM mails")
            else:
                db.execute("BEGIN IMMEDIATE")
                db.executemany("DELETE FROM mails WHERE id = ?", [(mail_id,) for mail_id in ids])
                db.execute("COMMIT")

    def _write(self) -> None:
        with closing(self._connect()) as db:
            while batch := self._next_batch():
                summaries = [summary_of(mail) for mail, _, _ in batch]
                error = _insert(db, batch, summaries)
                for (_, loop, stored), summary in zip(batch, summaries, strict=True):
                    loop.call_soon_threadsafe(self._settle, stored, error, summary)

    def _next_batch(self) -> list[_Waiting]:
        """At least one mail, with all others waiting; empty when the store closes."""
        item = self._queue.get()
        batch: list[_Waiting] = []
        while item is not None:
            batch.append(item)
            if len(batch) == _BATCH or self._queue.empty():
                return batch
            item = self._queue.get()
        self._queue.put(None)
        return batch

    def _settle(
        self, stored: asyncio.Future[None], error: sqlite3.Error | None, summary: dict[str, Any]
    ) -> None:
        if error is None:
            for listener in self._listeners:
                listener({**summary, "Read": False})
        if stored.cancelled():
            return
        if error is None:
            stored.set_result(None)
        else:
            stored.set_exception(error)


def _insert(
    db: sqlite3.Connection, batch: Sequence[_Waiting], summaries: Sequence[dict[str, Any]]
) -> sqlite3.Error | None:
    rows = [
        (m.id, m.created_ms, m.mail_from, json.dumps(m.rcpt_to), json.dumps(summary), m.raw)
        for (m, _, _), summary in zip(batch, summaries, strict=True)
    ]
    try:
        db.execute("BEGIN IMMEDIATE")
        db.executemany(
            "INSERT INTO mails (id, created_ms, mail_from, rcpt_to, summary, raw)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        db.execute("COMMIT")
    except sqlite3.Error as error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        return error
    return None
