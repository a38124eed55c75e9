"""The connection to the database: SQLite (WAL) or PostgreSQL, the same SQL for both.

A transaction is a plain function of a connection. On PostgreSQL it runs in the event loop, over
asyncpg; on SQLite in a thread, as a whole. An asynchronous driver for SQLite would switch threads
for every statement, which made a signup several times as expensive (measured).
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Select,
    create_engine,
    event,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import create_async_engine

from mailtopic_runtime import SettingError, StateLog, get_logger
from mailtopic_signup.migrations import is_newer, upgrade
from mailtopic_signup.ports import DatabaseUnavailable
from mailtopic_signup.settings import DatabaseSettings, default_database_file

_URL_SETTING = "MAILTOPIC_DATABASE__URL"
_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+asyncpg"}
_RETRY_S = 1.0
ANSWER_TIMEOUT_S = 20.0
"""How long a transaction on PostgreSQL may take. A frozen server closes no connection."""

_START_PATIENCE_S = 2.0
_READS = {"mailtopic_writes": False}
# SQLSTATEs with which PostgreSQL refuses a connection until its configuration is changed.
_REFUSALS = {
    "28P01": "the database refuses the user or the password",
    "28000": "the database refuses the user",
    "3D000": "there is no database of that name",
}
_NO_TABLE = "42P01"
# Classes of SQLSTATEs that are not caused by the statement: a lost connection, a transaction to be
# repeated, insufficient resources, a server that stops or starts, a failing disk.
_PASSING = ("08", "40", "53", "57", "58")

T = TypeVar("T")


def unlocked(rows: Select[Any]) -> Select[Any]:
    """Return a subquery for the rows of one column and a limit, locked, without locked ones.

    A CTE: PostgreSQL may run a plain subquery more than once, and each run locks as many rows
    again. SQLite has no SKIP LOCKED and, with one writer, no need for it.
    """
    return select(rows.with_for_update(skip_locked=True).cte("candidates"))


Work = Callable[[Connection], T]


class _Runner(Protocol):
    """Runs a transaction: commits when the work returns, rolls back when it raises."""

    async def write(self, work: Work[T]) -> T: ...
    async def read(self, work: Work[T]) -> T: ...
    async def close(self) -> None: ...


class Database:
    """Runs transactions, and tracks whether the database works.

    Before `prepare` has returned, transactions wait for a moment, and then find it unavailable.

    Raises:
        SettingError: it isn't the URL of a supported database.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self.url = _parse_url(settings)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._is_prepared = asyncio.Event()
        self._state = StateLog(get_logger(__name__), "database")
        runner = _SqliteRunner if self.is_sqlite else _PostgresRunner
        try:
            self._runner: _Runner = runner(self.url, settings)
        except ModuleNotFoundError as error:
            raise SettingError(_URL_SETTING, f"needs the package {error.name}") from None

    async def write(self, work: Work[T]) -> T:
        """Run work in a transaction that writes; commits before it returns.

        Raises:
            DatabaseUnavailable: it was not committed, or that is unknown.
        """
        await self._wait_until_prepared()
        async with self._in_time():
            return await self._runner.write(work)

    async def read(self, work: Work[T]) -> T:
        """Run work in a transaction that only reads.

        Raises:
            DatabaseUnavailable: the database doesn't answer.
        """
        await self._wait_until_prepared()
        async with self._in_time():
            return await self._runner.read(work)

    async def prepare(self) -> None:
        """Wait until the database answers, and bring its tables up to date.

        Tables that a newer version made are left alone. One line is logged if there is no answer.

        Raises:
            SettingError: the SQLite file can't be opened, or PostgreSQL refuses the login.
        """
        while not await self._try_to_prepare(self._settings.migrate):  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(_RETRY_S)
        self._is_prepared.set()

    async def prepare_once(self) -> None:
        """Use the tables as they are; the database must answer now. For short commands.

        Raises:
            DatabaseUnavailable: it doesn't answer.
            SettingError: as for `prepare`.
        """
        if not await self._try_to_prepare(False):
            raise DatabaseUnavailable("the database does not answer")
        self._is_prepared.set()

    async def close(self) -> None:
        """Close all connections."""
        await self._runner.close()

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """Limit the time of what is done inside, and translate the database's errors to ours.

        Raises:
            DatabaseUnavailable: the database doesn't answer, or not in time.
        """
        # SQLite has its own timeout, busy_timeout_s, and its thread can't be cancelled.
        limit_s = None if self.is_sqlite else ANSWER_TIMEOUT_S
        async with self._translated_errors(), asyncio.timeout(limit_s):
            yield

    async def _wait_until_prepared(self) -> None:
        if self._is_prepared.is_set():
            return
        try:
            await asyncio.wait_for(self._is_prepared.wait(), _START_PATIENCE_S)
        except TimeoutError:
            raise DatabaseUnavailable("the database is not ready yet") from None

    async def _write(self, work: Work[T]) -> T:
        async with self._translated_errors():
            return await self._runner.write(work)

    async def _try_to_prepare(self, may_migrate: bool) -> bool:  # noqa: FBT001 - private
        try:
            await self._write(_upgrade_alone if may_migrate else _ask)
        except DatabaseUnavailable as error:
            cause = error.__cause__
            if isinstance(cause, DBAPIError) and _sqlstate(cause) in _REFUSALS:
                raise SettingError(_URL_SETTING, _REFUSALS[_sqlstate(cause)]) from None
            if self.is_sqlite and isinstance(cause, DBAPIError) and not _is_busy(cause):
                raise SettingError(
                    _URL_SETTING, f"the file {self.url.database} can't be used: {cause.orig}"
                ) from None
            return False
        return True

    @asynccontextmanager
    async def _translated_errors(self) -> AsyncIterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError, PoolTimeoutError, OSError) as error:
            self._state.down(_describe(error))
            raise DatabaseUnavailable("the database does not answer") from error
        except DBAPIError as error:
            if not error.connection_invalidated and not _is_unusable(error):
                raise
            self._state.down(_describe(error))
            raise DatabaseUnavailable("the database does not answer") from error
        self._state.up()


class _SqliteRunner:
    """SQLite has one writer at a time, so one thread writes, and writers queue up in order.

    SQLite's own busy handler is needed only between processes.
    """

    def __init__(self, url: URL, settings: DatabaseSettings) -> None:
        self._synchronous = settings.synchronous
        self._engine = create_engine(
            url,
            pool_size=settings.pool_size,
            max_overflow=1,
            hide_parameters=True,  # errors must not show addresses
            connect_args={
                # Transactions begin where we begin them, not where the driver guesses.
                "isolation_level": None,
                "timeout": settings.busy_timeout_s,
                "check_same_thread": False,
            },
        )
        self._reads = self._engine.execution_options(**_READS)
        event.listen(self._engine, "connect", self._prepare)
        event.listen(self._engine, "begin", _begin)
        self._writer = ThreadPoolExecutor(1, "database-writer")
        self._readers = ThreadPoolExecutor(settings.pool_size, "database-reader")

    async def write(self, work: Work[T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writer, _transact, self._engine, work)

    async def read(self, work: Work[T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, _transact, self._reads, work)

    async def close(self) -> None:
        # A transaction that began ends first; SQLite then folds the WAL into the file.
        await asyncio.to_thread(self._writer.shutdown)
        await asyncio.to_thread(self._readers.shutdown)
        self._engine.dispose()

    def _prepare(self, connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {self._synchronous}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()


class _PostgresRunner:
    """PostgreSQL allows as many writers as there are connections."""

    def __init__(self, url: URL, settings: DatabaseSettings) -> None:
        self._engine = create_async_engine(
            url,
            pool_size=settings.pool_size,
            max_overflow=0,
            hide_parameters=True,
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_closed)

    async def write(self, work: Work[T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def read(self, work: Work[T]) -> T:
        return await self.write(work)

    async def close(self) -> None:
        await self._engine.dispose()


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    # The driver notices at once when a server closes a connection; a ping each time would cost
    # three round trips. The pool then opens another one.
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _transact(engine: Engine, work: Work[T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later can't wait for another writer (SQLITE_BUSY
    # at once, whatever the timeout), so writers declare themselves at the start.
    writes = connection.get_execution_options().get("mailtopic_writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _ask(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))


def _upgrade_alone(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Several processes start at the same time; On SQLite, BEGIN IMMEDIATE does the same.
        connection.execute(text("SELECT pg_advisory_xact_lock(4711080)"))
    if is_newer(connection):
        # After a rollback; migrations are compatible with the version before.
        get_logger(__name__).warning("database.newer", detail="left as a newer version made it")
    else:
        upgrade(connection)


def _parse_url(settings: DatabaseSettings) -> URL:
    if settings.url is None:
        return URL.create(_DRIVERS["sqlite"], database=str(default_database_file()))
    try:
        url = make_url(settings.url.get_secret_value())
    except (ArgumentError, ValueError):
        raise SettingError(_URL_SETTING, "is not a database URL") from None
    backend = url.get_backend_name()
    if backend not in _DRIVERS:
        raise SettingError(_URL_SETTING, "must begin with sqlite:// or postgresql://")
    if backend == "sqlite" and url.database in {None, "", ":memory:"}:
        raise SettingError(_URL_SETTING, "must name a file: sqlite:////path/to/file")
    return url.set(drivername=_DRIVERS[backend])


def _describe(error: Exception) -> str:
    if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error):
        return f"SQLite says: {error.orig}"
    if isinstance(error, PoolTimeoutError):
        return "no connection became free"
    return "the database does not answer"


def _is_busy(error: DBAPIError) -> bool:
    return isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig)


def _is_unusable(error: DBAPIError) -> bool:
    # A file that is no database; on PostgreSQL a missing table, a changed password, or a server
    # that was killed: drivers don't always raise OperationalError for these.
    is_no_database = type(error.orig) is sqlite3.DatabaseError
    state = _sqlstate(error)
    return is_no_database or state in {_NO_TABLE, *_REFUSALS} or state.startswith(_PASSING)


def _sqlstate(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", ""))
