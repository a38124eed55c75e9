"""Many rows in one statement: arrays on PostgreSQL, one statement run for each row on SQLite.

PostgreSQL prepares a statement once for any number of rows, and each is one round trip. SQLite has
no arrays and no round trips.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    CursorResult,
    Executable,
    Select,
    bindparam,
    column,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.types import TypeEngine

Row = Mapping[str, Any]
# A parameter with a column's name would be taken for the column's new value.
_PREFIX = "new_"


class Rows:
    """The rows that a statement writes, as its source; ``rows["name"]`` is one of its columns.

    Args:
        types: the columns' names and types.
        is_sqlite: for which database.
    """

    def __init__(self, types: Mapping[str, TypeEngine[Any]], *, is_sqlite: bool) -> None:
        self._names = tuple(types)
        self._is_sqlite = is_sqlite
        if is_sqlite:
            self._columns: dict[str, ColumnElement[Any]] = {
                name: bindparam(_PREFIX + name, type_=kind) for name, kind in types.items()
            }
            return
        arrays = [bindparam(_PREFIX + name, type_=ARRAY(kind)) for name, kind in types.items()]
        table = func.unnest(*arrays).table_valued(
            *(column(name, kind) for name, kind in types.items()), name="new_rows"
        )
        self._columns = dict(table.render_derived().c.items())

    def __getitem__(self, name: str) -> ColumnElement[Any]:
        """Return a column."""
        return self._columns[name]

    def select(self, *columns: ColumnElement[Any]) -> Select[Any]:
        """Return a query of expressions over these rows, with one result for each row."""
        # Without a WHERE, SQLite can't distinguish ON CONFLICT from a join's ON.
        return select(*columns).where(true())

    def run(
        self, connection: Connection, statement: Executable, rows: Sequence[Row], **shared: Any
    ) -> CursorResult[Any]:
        """Run a statement on these rows; ``shared`` are its other parameters."""
        if self._is_sqlite:
            given = [{_PREFIX + name: row[name] for name in self._names} | shared for row in rows]
            return connection.execute(statement, given)
        arrays = {_PREFIX + name: [row[name] for row in rows] for name in self._names}
        return connection.execute(statement, arrays | shared)


def upsert_into(table: Any, *, is_sqlite: bool) -> Any:
    """Return an INSERT with ON CONFLICT; SQLAlchemy has a separate one for each database."""
    return sqlite_insert(table) if is_sqlite else postgresql_insert(table)


class Lookup:
    """Finds rows by many values of a unique column.

    Each by the index: given a list of values, PostgreSQL would choose to scan the whole table until
    its statistics are updated.

    Args:
        wanted: the unique column.
        columns: the columns to return.
        is_sqlite: in which database.
    """

    def __init__(
        self, wanted: Column[Any], columns: Sequence[Column[Any]], *, is_sqlite: bool
    ) -> None:
        if is_sqlite:
            values = bindparam("values", expanding=True, type_=wanted.type)
            self._statement = select(*columns).where(wanted.in_(values))
            return
        given = func.unnest(bindparam("values", type_=ARRAY(wanted.type)))
        table = given.table_valued(column("value", wanted.type), name="given").render_derived()
        one = select(*columns).where(wanted == table.c.value).limit(literal_column("1"))
        found = one.lateral("found")
        self._statement = select(found).select_from(table.join(found, true()))

    def run(self, connection: Connection, values: Sequence[Any]) -> CursorResult[Any]:
        """Return the rows that exist, in no order."""
        return connection.execute(self._statement, {"values": list(values)})
