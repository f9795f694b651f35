"""Rows out of files: JSON, CSV, Excel, Parquet, folders, logs of other tools; each bad byte or row is named."""
