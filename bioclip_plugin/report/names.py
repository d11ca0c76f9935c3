"""Common names in a chosen language, from a table of the user; a label set has only one per taxon."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from bioclip_core.cells import column_name
from bioclip_core.errors import DataError, SourceError
from bioclip_core.names import clean_name
from bioclip_core.taxonomy import Taxon

_COLUMNS = ("scientificname", "language", "vernacularname")
_SHOWN = 20


class CommonNames:
    """Common names of taxa: the label set's own, or those of a table."""

    def __init__(self, by_name: Mapping[str, str] | None = None, language: str = "") -> None:
        self._by_name = by_name
        self.language = language
        """Empty: the label set's own names, whose language is not stated."""

    def of(self, taxon: Taxon) -> str:
        """Return the common name; empty if there is none (in this language)."""
        if self._by_name is None:
            return taxon.common_name if taxon.scientific_name else ""
        return self._by_name.get(taxon.scientific_name.casefold(), "")

    @classmethod
    def read(cls, path: Path | None, language: str | None) -> CommonNames:
        """Return the names of one language of a table.

        Raises:
            SourceError: if the table cannot be read or lacks a column.
            DataError: if it has only other languages, or several and none was chosen.
        """
        if path is None:
            return cls()
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                tables = _by_language(path, file)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise SourceError(f"the table of names {path} cannot be read: {error}") from None
        if not tables:
            raise SourceError(f"the table of names {path} is empty")
        chosen = _chosen(path, tables, language)
        return cls(tables[chosen], chosen)


def _by_language(path: Path, lines: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return names by language and scientific name in lower case; the first of several counts."""
    rows = iter(lines)
    first = next(rows, "")
    delimiter = "\t" if "\t" in first else ";" if first.count(";") > first.count(",") else ","
    header = [column_name(cell) for cell in next(csv.reader([first], delimiter=delimiter), [])]
    missing = [column for column in _COLUMNS if column not in header]
    if missing:
        raise SourceError(
            f"the table of names {path} lacks {', '.join(missing)}; its columns are {', '.join(header) or 'none'}; "
            "needed are scientificName, language, vernacularName"
        )
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in csv.DictReader(rows, header, delimiter=delimiter):
        scientific, language, common = (clean_name(row[column]) for column in _COLUMNS)
        if scientific and common and row["language"] is not None:  # None in a row that is too short
            found[language].setdefault(scientific.casefold(), common)
    return dict(found)


def _chosen(path: Path, tables: Mapping[str, Mapping[str, str]], language: str | None) -> str:
    if language is None:
        if len(tables) == 1:
            return next(iter(tables))
        raise DataError(
            f"the table of names {path} has several languages: {_listed(tables)}; choose one with --language"
        )
    asked = language.casefold().replace("_", "-")
    plain = {name: name.casefold().replace("_", "-") for name in tables}
    similar = [name for name, code in plain.items() if code.split("-")[0] == asked.split("-")[0]]
    if not similar:
        raise DataError(
            f"language {language!r}: the table of names {path} is empty; its languages are {_listed(tables)}"
        )
    return max(similar, key=lambda name: plain[name] == asked)  # the first exact one, else the first similar one


def _listed(tables: Mapping[str, object]) -> str:
    known = sorted(name or "(not stated)" for name in tables)
    return ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
