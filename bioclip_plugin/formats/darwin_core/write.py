"""Identifications as a Darwin Core archive: Occurrence, Identification and Audubon Core, with a ledger for the next time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bioclip_plugin.formats.darwin_core import ledger as ledgers
from bioclip_plugin.formats.darwin_core import profile
from bioclip_plugin.formats.darwin_core.check import check_archive
from bioclip_plugin.formats.darwin_core.ledger import Ledger
from bioclip_plugin.formats.darwin_core.read_files import holds_meta
from bioclip_plugin.formats.darwin_core.write_about import eml_xml, provenance_json
from bioclip_plugin.formats.darwin_core.write_findings import Findings, Occurrence
from bioclip_plugin.formats.darwin_core.write_rows import IdentificationRow, Identifier, winner
from bioclip_plugin.formats.shared.relative_names import NamesUnder, OutsideFolder, RelativeNames, common_names

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Export
    from bioclip_plugin.contracts.export_options import ExportOptions
    from bioclip_plugin.contracts.problem import Problem


class DarwinCoreExporter:
    """A folder (or .zip) with meta.xml, its tables, candidates and provenance."""

    name = "darwin-core"
    description = "a Darwin Core archive of identifications"
    folder = True
    files = profile.FILES

    def write(self, path: Path, export: Export) -> int:
        with ExitStack() as stack:
            ledger = stack.enter_context(Ledger(export.options.ledger, self.name)) if export.options.ledger else None
            findings = stack.enter_context(Findings())
            findings.gather(export)
            names = _names(findings, export.options)
            archive = stack.enter_context(_Archive(path, Identifier(export), names, ledger))
            for occurrence in findings.occurrences():
                archive.write(occurrence)
            counts = {
                "identifications": archive.rows,
                "occurrences": archive.occurrences,
                "left_out": dict(sorted(findings.left_out.items())),
            }
            (path / profile.META).write_text(profile.meta_xml(), "utf-8", newline="\n")
            (path / profile.EML).write_text(eml_xml(export), "utf-8", newline="\n")
            (path / profile.PROVENANCE).write_text(provenance_json(export, counts), "utf-8", newline="\n")
            if ledger is not None:
                self._withdraw(path, ledger, export)
            return archive.rows

    def recognises(self, path: Path) -> bool:
        return holds_meta(path)

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002 - the same for all options
        return check_archive(path)

    def committed(self, export: Export) -> list[str]:
        """Called when the export has its name: the ledger takes in what was sent. Lines for the person.

        Raises:
            UsageError: if the ledger cannot be changed; the next export sends the same again.
        """
        ledger = export.options.ledger
        return [f"Ledger {ledger}: {ledgers.commit(ledger)}"] if ledger is not None else []

    def abandoned(self, export: Export) -> None:
        """Called when the export did not come about: the ledger stays as it was."""
        if export.options.ledger is not None:
            ledgers.discard(export.options.ledger)

    def _withdraw(self, path: Path, ledger: Ledger, export: Export) -> None:
        """Say what was sent before and does not hold any more, unless only a part of the run is exported."""
        gone = [] if export.selection else ledger.withdraw()
        with (path / profile.WITHDRAWN).open("w", encoding="utf-8", newline="\n") as file:
            profile.write_line(file, profile.WITHDRAWN_COLUMNS)
            for identification, occurrence in gone:
                profile.write_line(file, (identification, occurrence))
        ledger.write_draft(export.moment.isoformat(timespec="seconds"))


class _Archive:
    """The open tables."""

    def __init__(self, path: Path, identifier: Identifier, names: RelativeNames, ledger: Ledger | None) -> None:
        self._identifier = identifier
        self._names = names
        self._ledger = ledger
        self._files = ExitStack()
        self._sheets = {sheet: self._open(path / sheet.file) for sheet in profile.SHEETS}
        self._candidates = self._open(path / profile.CANDIDATES)
        for sheet, file in self._sheets.items():
            profile.write_line(file, sheet.header)
        profile.write_line(self._candidates, profile.CANDIDATE_COLUMNS)
        self.rows = 0
        self.occurrences = 0

    def __enter__(self) -> _Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def write(self, occurrence: Occurrence) -> None:
        """Write what is said of a specimen; nothing where that is nothing, or nothing new."""
        rows = self._to_send(occurrence)
        if not rows:
            return
        self.occurrences += 1
        self.rows += len(rows)
        self._row(profile.OCCURRENCES, occurrence.id, occurrence.terms)
        for row in rows:
            self._row(profile.IDENTIFICATIONS, occurrence.id, row.terms)
        for _, uri, terms in occurrence.images:
            if "isROIOf" not in terms and "accessURI" not in terms:
                terms["accessURI"] = self._name(uri)
            self._row(profile.IMAGES, occurrence.id, terms)
        machine = next((row for row in rows if row.is_machine), None)
        if machine is not None:
            self._write_candidates(occurrence, machine)

    def _to_send(self, occurrence: Occurrence) -> list[IdentificationRow]:
        rows = self._identifier.rows(occurrence)
        if self._ledger is None:
            return rows
        self._ledger.saw(occurrence.id)
        return [row for row in rows if self._ledger.news(row.id, occurrence.id, row.digest) != "unchanged"]

    def _write_candidates(self, occurrence: Occurrence, machine: IdentificationRow) -> None:
        """All candidates of all images; those that the identification rests on name it."""
        agreeing = {vote.media for vote in winner(occurrence.votes)}
        for vote in occurrence.votes:
            rests = machine.id if vote.media in agreeing else ""
            for level, place, probability, name, rank, *lineage in vote.candidates:
                cells = (occurrence.id, rests, vote.media, level, str(place), f"{probability:.6f}", name, rank)
                profile.write_line(self._candidates, (*cells, *lineage, self._identifier.model))

    def _row(self, sheet: profile.Sheet, occurrence: str, terms: object) -> None:
        assert isinstance(terms, dict)
        profile.write_row(self._sheets[sheet], sheet, occurrence, terms)

    def _name(self, uri: str) -> str:
        try:
            name = self._names(uri)
            name.encode()
        except (OutsideFolder, UnicodeEncodeError):  # bytes that are not UTF-8 have escapes in the uri
            return uri
        return name

    def _open(self, path: Path) -> IO[str]:
        return self._files.enter_context(path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n"))


def _names(findings: Findings, options: ExportOptions) -> RelativeNames:
    if options.base_folder is not None:
        return NamesUnder(options.base_folder)
    return common_names(findings.uris())
