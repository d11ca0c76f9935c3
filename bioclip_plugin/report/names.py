"""Common names in a chosen language, from a table of the user; a label set has only one per taxon."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from bioclip_core.cells import column_name
from bioclip_core.errors import DataError, SourceError
from bioclip_core.findings import Findings
from bioclip_core.names import clean_name
from bioclip_core.tables.options import TableOptions
from bioclip_core.tables.reading import open_table
from bioclip_core.taxonomy import Taxon

_COLUMNS = ("scientificName", "language", "vernacularName")
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
    def read(
        cls,
        path: Path | None,
        language: str | None,
        options: TableOptions | None = None,
        findings: Findings | None = None,
    ) -> CommonNames:
        """Return the names of one language of a table.

        Args:
            path: the table.
            language: the language; None: the only one.
            options: options of reading tables.
            findings: for what is wrong with its rows.

        Raises:
            SourceError: if the table cannot be read or lacks a column.
            DataError: if it has only other languages, or several and none was chosen.
        """
        if path is None:
            return cls()
        tables = _by_language(path, options, findings)
        if not tables:
            raise SourceError(f"the table of names {path} is empty")
        chosen = _chosen(path, tables, language)
        return cls(tables[chosen], chosen)


def _by_language(path: Path, options: TableOptions | None, findings: Findings | None) -> dict[str, dict[str, str]]:
    """Return names by language and scientific name in lower case; the first of several counts."""
    shown, findings = f"of names {path}", Findings() if findings is None else findings
    table = open_table(path, options, findings, name=shown, fields=_COLUMNS, needed=_COLUMNS)
    headings = {column_name(heading): heading for heading in reversed(table.header)}
    missing = [column for column in _COLUMNS if column_name(column) not in headings]
    if missing:
        raise SourceError(
            f"the table {shown} lacks {', '.join(missing)}; its columns are {table.headings.shown()}; needed are "
            f"{', '.join(_COLUMNS)}; --column {missing[0]}=HEADING names one"
        )
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in table:
        if row.fault:
            findings.add("rows cannot be read and are left out", f"the table {shown}, row {row.number}: {row.fault}")
        scientific, language, common = (clean_name(row.cells.get(headings[column_name(name)], "")) for name in _COLUMNS)
        if scientific and common:
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
