"""Rows of a hub data set, through the `datasets` package."""

from harness.data.row import Row
from harness.errors import InvalidData, MissingPackage


def read_hub(source: str, *, split: str, revision: str | None = None) -> tuple[Row, ...]:
    """Return the rows of one split of a hub data set ("owner/name"), or of a folder in a form that `datasets` reads.

    Raises InvalidData where it cannot be had: no such set, revision or split, or no connection.
    """
    try:
        # Imported here: it takes about a second and a declaration needs none of it.
        import datasets
    except ImportError:
        raise MissingPackage(f"hub data set {source!r}: needs the package datasets; pip install datasets") from None
    try:
        rows = datasets.load_dataset(source, split=split, revision=revision)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InvalidData(
            f"hub data set {source!r}, split {split!r}, revision {revision or 'latest'!r}: "
            f"{type(error).__name__}: {error}; "
            "check the name and the connection, or save the rows as a file and give files="
        ) from error
    name = f"{source}[{split}]"
    return tuple(Row(name, number, dict(row)) for number, row in enumerate(rows, start=1))
