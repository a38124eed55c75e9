"""Tables, migrations and bad settings."""

from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, inspect

from mailtopic_client import MemoryBroker
from mailtopic_runtime import ManualClock, SettingError
from mailtopic_signup.adapters.sql_database import Database
from mailtopic_signup.adapters.sql_tables import metadata
from mailtopic_signup.bootstrap import assemble
from mailtopic_signup.migrations import downgrade, upgrade
from mailtopic_signup.settings import (
    DatabaseSettings,
    PepperSettings,
    SealingSettings,
    SignupSettings,
)


def test_the_migrations_go_up_to_the_tables_of_the_code_and_down_to_none(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/m.db")
    with engine.begin() as connection:
        upgrade(connection)
    found = inspect(engine)
    assert set(found.get_table_names()) == {*metadata.tables, "alembic_version"}
    for name, table in metadata.tables.items():
        columns = {each["name"]: each for each in found.get_columns(name)}
        assert list(columns) == [column.name for column in table.columns]
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, (name, column.name)
        indexes = {each["name"] for each in found.get_indexes(name)}
        assert indexes == {index.name for index in table.indexes}
    with engine.begin() as connection:
        downgrade(connection, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()


async def test_several_processes_may_prepare_the_same_file(tmp_path: Path) -> None:
    settings = DatabaseSettings(url=SecretStr(f"sqlite:///{tmp_path}/m.db"))
    for _ in range(2):
        database = Database(settings)
        await database.prepare()
        await database.close()


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "sqlite:////proc/none/x"]
)
async def test_a_bad_database_url_is_named_in_one_line(url: str) -> None:
    with pytest.raises(SettingError) as error:
        await Database(DatabaseSettings(url=SecretStr(url))).prepare()
    assert error.value.name == "MAILTOPIC_DATABASE__URL"
    assert "\n" not in str(error.value)


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is no database, and long enough to be looked at" * 100)
    database = Database(DatabaseSettings(url=SecretStr(f"sqlite:///{tmp_path}/x.db")))
    with pytest.raises(SettingError, match="MAILTOPIC_DATABASE__URL"):
        await database.prepare()
    await database.close()


async def test_sealing_needs_keys_and_codes_need_a_pepper(
    settings: SignupSettings, tmp_path: Path
) -> None:
    cases: dict[str, list[dict[str, object]]] = {
        "MAILTOPIC_SEALING__KEYS_FILE": [
            {"sealing": SealingSettings()},
            {"sealing": SealingSettings(keys_file=tmp_path / "none.json")},
        ],
        "MAILTOPIC_PEPPER__KEYS_FILE": [
            {"pepper": PepperSettings(keys_file=tmp_path / "none.json")},
        ],
    }
    for name, changes in cases.items():
        for change in changes:
            with pytest.raises(SettingError) as error:
                assemble(settings.model_copy(update=change), ManualClock(), MemoryBroker())
            assert error.value.name == name
