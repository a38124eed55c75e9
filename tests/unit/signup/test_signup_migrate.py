"""The command that brings the tables up to date, and versions that share a database."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, inspect, text

from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_tables import metadata
from mailtopic_signup.bootstrap import EXIT_INTERRUPTED, migrate
from mailtopic_signup.settings import DatabaseSettings, MigrateSettings
from support.conditions import until


def settings_for(url: str, *, may_migrate: bool = True) -> DatabaseSettings:
    return DatabaseSettings(url=SecretStr(url), migrate=may_migrate)


async def test_the_command_makes_the_tables_even_where_the_service_may_not(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    assert await migrate(MigrateSettings(database=settings_for(url, may_migrate=False))) == 0
    engine = create_engine(url)
    assert set(inspect(engine).get_table_names()) == {*metadata.tables, "alembic_version"}
    engine.dispose()


async def test_the_command_may_run_again(tmp_path: Path) -> None:
    settings = MigrateSettings(database=settings_for(f"sqlite:///{tmp_path}/m.db"))
    assert [await migrate(settings) for _ in range(2)] == [0, 0]


async def test_tables_of_a_newer_version_stay_as_they_are(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/m.db"
    await migrate(MigrateSettings(database=settings_for(url)))
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE users ADD COLUMN added_later TEXT"))
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    older = Database(settings_for(url))
    await older.prepare()
    await older.close()

    with engine.begin() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    assert found == "9999"
    columns = [each["name"] for each in inspect(engine).get_columns("users")]
    assert "added_later" in columns
    engine.dispose()


async def test_a_database_that_does_not_answer_is_waited_for_until_sigterm(tmp_path: Path) -> None:
    pytest.importorskip("asyncpg", reason="asyncpg is not installed")
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mailtopic_signup", "migrate"),
            env=os.environ | {"MAILTOPIC_DATABASE__URL": "postgresql://nobody@127.0.0.1:9/none"},
            stdout=output,
            stderr=output,
        )
    await until(lambda: "database.unavailable" in log.read_text(), "the log tells of it")
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == EXIT_INTERRUPTED


async def test_the_command_needs_no_setting_of_the_service(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mailtopic_signup", "migrate"),
        env={"MAILTOPIC_DATABASE__URL": f"sqlite:///{tmp_path}/m.db"},
    )
    assert await process.wait() == 0
