"""Rows in and out of one table: dataclass fields are columns, fields typed `object` are JSON."""

import json
from collections.abc import Sequence
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Row = TypeVar("Row")


def insert(connection: "DuckDBPyConnection", table: str, rows: Sequence[object]) -> None:
    """Append `rows`, all of one row dataclass, to `table` in one Arrow batch."""
    if not rows:
        return
    columns = fields(rows[0])  # type: ignore[arg-type]
    batch = pa.table({column.name: [_out(column, row) for row in rows] for column in columns})
    names = ", ".join(f'"{column.name}"' for column in columns)
    connection.register("incoming", batch)
    connection.execute(f'INSERT INTO "{table}" ({names}) SELECT {names} FROM incoming')  # noqa: S608 - names are ours
    connection.unregister("incoming")


def select(
    connection: "DuckDBPyConnection",
    kind: type[Row],
    table: str,
    *,
    where: str = "TRUE",
    parameters: Sequence[object] = (),
    order: str = "ALL",
) -> tuple[Row, ...]:
    """Return the rows of `table` that satisfy `where` (SQL with ? parameters), as dataclasses."""
    columns = fields(kind)  # type: ignore[arg-type]
    names = ", ".join(f'"{column.name}"' for column in columns)
    query = f'SELECT {names} FROM "{table}" WHERE {where} ORDER BY {order}'  # noqa: S608 - names are ours
    found = connection.execute(query, list(parameters)).fetchall()
    return tuple(
        kind(**{column.name: _in(column, value) for column, value in zip(columns, record, strict=True)})
        for record in found
    )


def _out(column: "Field[Any]", row: object) -> object:
    value = getattr(row, column.name)
    if column.type is object:
        return None if value is None else json.dumps(value, ensure_ascii=False, allow_nan=False)
    return value


def _in(column: "Field[Any]", value: Any) -> Any:
    return json.loads(value) if column.type is object and value is not None else value
