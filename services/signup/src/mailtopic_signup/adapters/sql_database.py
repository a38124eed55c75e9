"""The connection to the database: SQLite (WAL) or PostgreSQL through one code path."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from mailtopic_runtime import SettingError, StateLog, get_logger
from mailtopic_signup.migrations import upgrade
from mailtopic_signup.ports import DatabaseUnavailable
from mailtopic_signup.settings import DatabaseSettings, default_database_file

_URL_SETTING = "MAILTOPIC_DATABASE__URL"
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_RETRY_S = 1.0
_READ = {"mailtopic_writes": False}


class Database:
    """An engine, and who may write when.

    SQLite has one writer at a time. Within the process writers queue up in order here, where
    waiting costs nothing; between processes SQLite's busy handler polls.

    Raises:
        SettingError: the URL is no URL of a database that is supported.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self.url = _parse_url(settings)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._writer = asyncio.Lock() if self.is_sqlite else None
        self.state = StateLog(get_logger(__name__), "database")
        arguments: dict[str, Any] = {"poolclass": AsyncAdaptedQueuePool}
        if self.is_sqlite:
            arguments["connect_args"] = {
                # Transactions begin where we say so, not where the driver guesses.
                "isolation_level": None,
                "timeout": settings.busy_timeout_s,
            }
        try:
            self._engine = create_async_engine(
                self.url,
                pool_size=settings.pool_size,
                max_overflow=0,
                hide_parameters=True,  # errors must not show addresses
                **arguments,
            )
        except ModuleNotFoundError as error:
            raise SettingError(_URL_SETTING, f"needs the package {error.name}") from None
        self._reads = self._engine.execution_options(**_READ)
        if self.is_sqlite:
            event.listen(self._engine.sync_engine, "connect", self._prepare_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that writes; commits at the end, rolls back on an exception."""
        async with self._translated_errors():
            if self._writer is None:
                async with self._engine.begin() as connection:
                    yield connection
                return
            async with self._writer, self._engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that only reads."""
        async with self._translated_errors(), self._reads.begin() as connection:
            yield connection

    async def prepare(self) -> None:
        """Wait until the database answers, and bring its tables up to date.

        One line is logged if it doesn't answer.

        Raises:
            SettingError: the SQLite file can't be opened.
        """
        while not await self._try_to_prepare():  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(_RETRY_S)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    async def _try_to_prepare(self) -> bool:
        try:
            async with self.write() as connection:
                if self._settings.migrate:
                    await connection.run_sync(_upgrade_alone)
                else:
                    await connection.execute(text("SELECT 1"))
        except DatabaseUnavailable as error:
            cause = error.__cause__
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
            self.state.down(_describe(error))
            raise DatabaseUnavailable("the database does not answer") from error
        except DBAPIError as error:
            if not error.connection_invalidated and not _has_no_tables(error):
                raise
            self.state.down(_describe(error))
            raise DatabaseUnavailable("the database does not answer") from error
        self.state.up()

    def _prepare_sqlite(self, connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute(f"PRAGMA synchronous = {self._settings.synchronous}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later can't wait for another writer (SQLITE_BUSY
    # at once, whatever the timeout): who will write says so at the start.
    writes = connection.get_execution_options().get("mailtopic_writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _upgrade_alone(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # Several processes start at the same time; SQLite's BEGIN IMMEDIATE does the same.
        connection.execute(text("SELECT pg_advisory_xact_lock(4_711_080)"))
    upgrade(connection)


def _parse_url(settings: DatabaseSettings) -> URL:
    if settings.url is None:
        return URL.create("sqlite+aiosqlite", database=str(default_database_file()))
    try:
        url = make_url(settings.url.get_secret_value())
    except ArgumentError:
        raise SettingError(_URL_SETTING, "is not a database URL") from None
    driver = _DRIVERS.get(url.get_backend_name())
    if driver is None:
        raise SettingError(_URL_SETTING, "must begin with sqlite:// or postgresql://")
    if driver.startswith("sqlite") and url.database in {None, "", ":memory:"}:
        raise SettingError(_URL_SETTING, "must name a file: sqlite:////path/to/file")
    return url.set(drivername=driver)


def _describe(error: Exception) -> str:
    if isinstance(error, DBAPIError) and isinstance(error.orig, sqlite3.Error):
        return f"SQLite says: {error.orig}"
    if isinstance(error, PoolTimeoutError):
        return "no connection became free"
    return "the database does not answer"


def _is_busy(error: DBAPIError) -> bool:
    return isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig)


def _has_no_tables(error: DBAPIError) -> bool:
    # asyncpg's error for a missing table has SQLSTATE 42P01; SQLite's is an OperationalError.
    return getattr(error.orig, "sqlstate", None) == "42P01"
