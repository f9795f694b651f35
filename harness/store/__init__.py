"""reports/results.duckdb: schema, migrations, one row dataclass a table; the only package that imports DuckDB."""
