"""Rows of a hub data set, through the `datasets` package."""

from dataclasses import replace

from harness.data.files.arrow import rows_of_arrow
from harness.data.files.row import DataFile, Row
from harness.data.files.whole_numbers import with_whole_numbers
from harness.errors import InvalidData, MissingPackage


def read_hub(source: str, *, split: str, revision: str | None = None) -> tuple[Row, ...]:
    """Return the rows of one split of a hub data set ("owner/name"), or of a folder in a form that `datasets` reads.

    Raises:
        InvalidData: If it cannot be had: no such set, revision or split, or no connection.
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
    # As Arrow: a row by itself would decode every picture and sound of the set.
    read = rows_of_arrow(rows.with_format("arrow")[:], f"{source}[{split}]")
    names = {field: _names(feature) for field, feature in rows.features.items()}
    label_names = {field: given for field, given in names.items() if given}
    found = tuple(replace(row, label_names=label_names) for row in read.rows)
    return with_whole_numbers([DataFile(found)])[0].rows


def _names(feature: object) -> tuple[str, ...]:
    """Return the names of a feature that is a class, or a list of such; none for another."""
    names = getattr(getattr(feature, "feature", feature), "names", None)
    return tuple(names) if isinstance(names, list) else ()
