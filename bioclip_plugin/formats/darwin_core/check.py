"""Checks of a Darwin Core archive: meta.xml against the files, ids that refer to each other, and the cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from bioclip_core.cells import plain_number_of
from bioclip_core.errors import SourceError
from bioclip_core.files.meta_xml import META, Description, Table, read_description, safe_xml, short
from bioclip_core.files.present import is_file
from bioclip_core.files.scratch import Scratch
from bioclip_plugin.contracts.problem import Problem, Severity
from bioclip_plugin.contracts.source import ListingOptions
from bioclip_plugin.formats.darwin_core import check_cells
from bioclip_plugin.formats.darwin_core.profile import CANDIDATE_COLUMNS, CANDIDATES, IMAGES
from bioclip_plugin.formats.darwin_core.read_files import Record, header_of, opened_files, records

MOST = 1_000
"""Limit of the reported errors, and of the warnings: more come from one mistake in all records, and are only counted."""

_METADATA_BYTES = 16 << 20
_CHECKS: dict[str, Callable[[check_cells.Cells], Iterator[check_cells.Finding]]] = {
    "Occurrence": check_cells.of_occurrence,
    "Identification": check_cells.of_identification,
    "Multimedia": check_cells.of_media,
}
_KEYS = {"Identification": "identificationID", "Multimedia": "identifier"}
_LINE_CHARACTERS = 1 << 20
_TABLES = """
CREATE TABLE known (kind TEXT, id TEXT, place TEXT, PRIMARY KEY (kind, id)) WITHOUT ROWID;
CREATE TABLE link (number INTEGER PRIMARY KEY, term TEXT, kind TEXT, id TEXT, file TEXT, line INTEGER);
"""


def check_archive(path: Path) -> Iterator[Problem]:
    """Yield the problems of a Darwin Core archive: a folder, its meta.xml, or a zip or tar file. Memory is flat."""
    counts: Counter[Severity] = Counter()
    for problem in _problems(path):
        counts[problem.severity] += 1
        if counts[problem.severity] <= MOST:
            yield problem
    for severity, count in counts.items():
        if count > MOST:
            yield Problem(path.name, "", f"{count - MOST:,} more {severity}s, of {count:,}", severity=severity)


def _problems(path: Path) -> Iterator[Problem]:
    path = path.parent if path.name == META and is_file(path) else path
    shown = path.name or str(path)
    try:
        with opened_files(path, ListingOptions(), [CANDIDATES]) as files, Ids(_TABLES) as ids:
            description = read_description(files.folder, shown)
            yield from _check_metadata(files.folder, description)
            for table in description.tables:
                yield from _check_table(files.folder, table, ids)
            names = {"core": description.core.names[0], "Multimedia": "the multimedia table"}
            for term, kind, name, file, line in ids.loose():
                yield Problem(file, f"line {line}", f"{term} points nowhere: {names[kind]} does not have this id", name)
            has_identifications = any(table.kind == "Identification" for table in description.tables)
            for number, message, value in _candidate_faults(files.folder, ids if has_identifications else None):
                yield Problem(CANDIDATES, f"line {number}", message, value)
    except SourceError as error:
        yield Problem(shown, "", str(error))


class Ids(Scratch):
    """The ids of an archive, on disk. To be used with ``with``."""

    def add(self, kind: str, name: str, where: str) -> str | None:
        """Store an id; return the place of an equal one before it, or None."""
        found = self._database.execute("SELECT place FROM known WHERE kind = ? AND id = ?", (kind, name)).fetchone()
        if found:
            return str(found[0])
        self._database.execute("INSERT INTO known VALUES (?, ?, ?)", (kind, name, where))
        return None

    def link(self, term: str, kind: str, name: str, record: Record) -> None:
        """Store a reference of a row to an id, which may come later."""
        self._database.execute(
            "INSERT INTO link (term, kind, id, file, line) VALUES (?, ?, ?, ?, ?)",
            (term, kind, name, record.file, record.number),
        )

    def loose(self) -> Iterator[tuple[str, str, str, str, int]]:
        """Yield the references to missing ids: term, kind, id, file, line."""
        yield from self._database.execute(
            "SELECT term, kind, id, file, line FROM link "
            "WHERE NOT EXISTS (SELECT 1 FROM known WHERE known.kind = link.kind AND known.id = link.id) ORDER BY number"
        )

    def has_identification(self, name: str) -> bool:
        """True if the archive has an identification with this id."""
        asked = self._database.execute("SELECT 1 FROM known WHERE kind = 'Identification' AND id = ?", (name,))
        return asked.fetchone() is not None


def _check_metadata(folder: Path, description: Description) -> Iterator[Problem]:
    name, path = description.metadata, folder / description.metadata
    if not name or "://" in name:
        return
    if not path.resolve().is_relative_to(folder.resolve()):
        yield Problem(META, "metadata", "the file that describes the data set must be inside the archive", name)
    elif is_file(path):
        try:
            with path.open("rb") as file:
                safe_xml(file.read(_METADATA_BYTES), name)
        except SourceError as error:
            yield Problem(name, "", str(error))
    else:
        yield Problem(META, "metadata", "the file that describes the data set is not in the archive", name)


def _check_table(folder: Path, table: Table, ids: Ids) -> Iterator[Problem]:
    record = None
    try:
        for name in table.names:
            yield from _check_header(folder, name, table)
        for record in records(folder, table):
            yield from _check_record(record, table, ids)
    except SourceError as error:
        yield Problem(table.names[0], "", str(error))
        return
    if record is None and table.is_core:
        yield Problem(table.names[0], "", "the table is empty", severity="warning")


def _check_header(folder: Path, name: str, table: Table) -> Iterator[Problem]:
    """Compare a file's heading with meta.xml: if they differ, one of them has the columns in the wrong order."""
    header = header_of(folder, name, table) or []
    for column in table.columns:
        if column.index is None or column.index >= len(header):
            continue
        cell = header[column.index].strip()
        if cell and short(cell.rsplit(":", 1)[-1] if "://" not in cell else cell).casefold() != column.name.casefold():
            yield Problem(
                name,
                f"line {table.header_lines}",
                f"column {column.index + 1} is {column.name!r} in meta.xml and has another heading in the file",
                cell,
            )


def _check_record(record: Record, table: Table, ids: Ids) -> Iterator[Problem]:
    if record.fault:
        yield _problem(record, record.fault)
        return
    if record.stray_mark:
        yield _problem(
            record, "a quotation mark does not quote its cell; double it and quote the cell", record.stray_mark
        )
    if record.is_latin_1:
        yield _problem(record, f"it holds bytes that are not {table.encoding}; write the file anew in UTF-8")
    if not record.id:
        yield _problem(record, f"its {'id' if table.is_core else 'core id'} is empty")
    elif not table.is_core:
        ids.link("coreid", "core", record.id, record)
    elif before := ids.add("core", record.id, record.where):
        yield _problem(record, f"the id is already in {before}; it must be unique", record.id)
    yield from _check_key(record, table, ids)
    if parent := record.values.get("isROIOf"):
        ids.link("isROIOf", "Multimedia", parent, record)
    if table.kind == "Identification":
        for name in check_cells.our_media(record.values):
            ids.link("identificationReferences", "Multimedia", name, record)
    for message, value, severity in _CHECKS.get(table.kind, check_cells.of_anything)(record.values):
        yield _problem(record, message, value, severity)


def _check_key(record: Record, table: Table, ids: Ids) -> Iterator[Problem]:
    """Check the row's own id: an identification has one, and an image one for each specimen that it shows."""
    term = _KEYS.get(table.kind, "")
    name = record.values.get(term, "")
    if not name:
        return
    ids.add(table.kind, name, record.where)
    is_identification = table.kind == "Identification"
    key = name if is_identification else f"{record.id}\t{name}"
    if before := ids.add(f"{table.names[0]} {term}", key, record.where):
        # In GBIF's simple table it is the image's address, which two sizes of one image may share.
        severity: Severity = "error" if is_identification or table.row_type == IMAGES.row_type else "warning"
        yield _problem(record, f"{term} is already in {before}; it must be unique", name, severity)


def _problem(record: Record, message: str, value: str = "", severity: Severity = "error") -> Problem:
    return Problem(record.file, f"line {record.number}", message, value, severity)


def _candidate_faults(folder: Path, ids: Ids | None) -> Iterator[tuple[int, str, str]]:
    """Yield faults of the columns, the order of probabilities and the ids: line, message, value. The file may be missing.

    Args:
        folder: of the archive.
        ids: the ids of the archive; None for an archive without a table of identifications.
    """
    if not is_file(folder / CANDIDATES):
        return
    with (folder / CANDIDATES).open(encoding="utf-8", errors="replace", newline="\n") as file:
        header = tuple(file.readline(_LINE_CHARACTERS).rstrip("\n").split("\t"))
        if header != CANDIDATE_COLUMNS:
            yield 1, f"the columns must be {', '.join(CANDIDATE_COLUMNS)}", ", ".join(header)[:200]
            return
        before: tuple[str, str, float] = ("", "", 1.0)
        for number, line in enumerate(iter(lambda: file.readline(_LINE_CHARACTERS), ""), start=2):
            cells = dict(zip(CANDIDATE_COLUMNS, line.rstrip("\n").split("\t"), strict=False))
            probability, name = plain_number_of(cells.get("probability")), cells.get("identificationID")
            if len(cells) != len(CANDIDATE_COLUMNS):
                yield number, f"it has {len(cells)} columns; needed are {len(CANDIDATE_COLUMNS)}", ""
            elif probability is None or not 0 <= probability <= 1:
                yield number, "probability must be a number from 0 to 1", cells["probability"]
            else:
                if before[:2] == (cells["mediaID"], cells["level"]) and probability > before[2] + 1e-6:
                    yield number, "candidates must be in order, the most probable first", cells["probability"]
                before = cells["mediaID"], cells["level"], probability
                if name and ids and not ids.has_identification(name):
                    yield number, "identificationID points nowhere: the archive does not have this identification", name
