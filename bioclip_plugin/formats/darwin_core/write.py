"""The Darwin Core exporter: Occurrence, Identification and Audubon Core, EML and provenance, with a ledger of earlier exports."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any
from xml.sax.saxutils import escape

from bioclip_core.files.meta_xml import META
from bioclip_core.findings import Findings
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.contracts.export_options import ExportOptions
from bioclip_plugin.contracts.problem import Problem
from bioclip_plugin.formats.darwin_core import check_cells, profile
from bioclip_plugin.formats.darwin_core.check import check_archive
from bioclip_plugin.formats.darwin_core.identities import derived, model_name
from bioclip_plugin.formats.darwin_core.ledger import Ledger, commit, discard
from bioclip_plugin.formats.darwin_core.read_files import holds_meta
from bioclip_plugin.formats.darwin_core.write_rows import IdentificationRow, Identifier, winner
from bioclip_plugin.formats.darwin_core.write_specimens import Occurrence, Specimens
from bioclip_plugin.formats.shared.relative_names import CommonFolder, NamesUnder, OutsideFolder, RelativeNames
from bioclip_plugin.items.deployment_options import DEPLOYMENT_SETTINGS

_UNIDENTIFIED = "specimens and observations have no identification, and are skipped; provenance.json counts the reasons"
_PACKAGES = ("torch", "open_clip_torch", "pillow")


class DarwinCoreExporter:
    """A folder (or .zip) with meta.xml, its tables, candidates and provenance."""

    name = "darwin-core"
    description = "a Darwin Core archive of identifications"
    folder = True
    options = frozenset(
        {"time_zone", "coordinate_precision", "base_folder", "title", "contributor", "licence", "top", "ledger"}
    ).union(DEPLOYMENT_SETTINGS)
    files = profile.FILES

    def write(self, path: Path, export: Export) -> int:
        with ExitStack() as stack:
            ledger = stack.enter_context(Ledger(export.options.ledger, self.name)) if export.options.ledger else None
            specimens = stack.enter_context(Specimens())
            specimens.gather(export)
            base = export.options.base_folder
            names = CommonFolder(specimens.uris()).names() if base is None else NamesUnder(base)
            archive = _Archive(path, Identifier(export), names, ledger, export.findings, stack)
            for occurrence in specimens.occurrences():
                archive.write(occurrence)
            counts = {
                "identifications": archive.rows,
                "occurrences": archive.occurrences,
                "left_out": dict(sorted(specimens.left_out.items())),
            }
            for name, text in (
                (META, profile.meta_xml()),
                (profile.EML, eml_xml(export)),
                (profile.PROVENANCE, provenance_json(export, counts)),
            ):
                (path / name).write_text(text, "utf-8", newline="\n")
            if ledger is not None:
                _write_withdrawn(path, ledger, export)
            return archive.rows

    def recognises(self, path: Path) -> bool:
        return holds_meta(path)

    def check(self, path: Path, options: ExportOptions) -> Iterator[Problem]:  # noqa: ARG002 - the same for all options
        return check_archive(path)

    def committed(self, export: Export) -> list[str]:
        """Let the ledger take over the rows of a finished export, and return lines for the user.

        Raises:
            UsageError: if the ledger cannot be changed; the next export sends the same rows again.
        """
        ledger = export.options.ledger
        return [f"Ledger {ledger}: {commit(ledger)}"] if ledger is not None else []

    def abandoned(self, export: Export) -> None:
        """Leave the ledger as it was before an export that failed."""
        if export.options.ledger is not None:
            discard(export.options.ledger)


def _write_withdrawn(path: Path, ledger: Ledger, export: Export) -> None:
    """Write the identifications that no longer hold, unless only a part of the run is exported, and the ledger's draft."""
    gone = [] if export.selection else ledger.withdraw()
    with (path / profile.WITHDRAWN).open("w", encoding="utf-8", newline="\n") as file:
        for cells in (profile.WITHDRAWN_COLUMNS, *gone):
            profile.write_line(file, cells)
    ledger.write_draft(export.moment.isoformat(timespec="seconds"))


class _Archive:
    """The open tables."""

    def __init__(
        self,
        path: Path,
        identifier: Identifier,
        names: RelativeNames,
        ledger: Ledger | None,
        findings: Findings,
        stack: ExitStack,
    ) -> None:
        """Open the tables, which the stack closes."""
        self._identifier = identifier
        self._names = names
        self._ledger = ledger
        self._findings = findings
        self._sheets = {sheet: _opened(path / sheet.file, sheet.header, stack) for sheet in profile.SHEETS}
        self._candidates = _opened(path / profile.CANDIDATES, profile.CANDIDATE_COLUMNS, stack)
        self.rows = self.occurrences = 0

    def write(self, occurrence: Occurrence) -> None:
        """Write the rows of a specimen, unless it has none or the ledger holds all of them."""
        rows = self._identifier.rows(occurrence)
        if not rows:
            self._findings.add(_UNIDENTIFIED, occurrence.id)
        rows = [row for row in rows if self._is_sound(occurrence, row)]
        if self._ledger is not None:
            self._ledger.saw(occurrence.id)
            rows = [row for row in rows if self._ledger.news(row.id, occurrence.id, row.digest) != "unchanged"]
        if not rows:
            return
        self.occurrences += 1
        self.rows += len(rows)
        self._row(profile.OCCURRENCES, occurrence.id, occurrence.terms)
        for row in rows:
            self._row(profile.IDENTIFICATIONS, occurrence.id, row.terms)
            if row.is_machine:
                self._write_candidates(occurrence, row)
        for uri, terms in occurrence.images:
            if "isROIOf" not in terms and "accessURI" not in terms:
                terms["accessURI"] = self._name(uri)
                if any(severity == "error" for _, _, severity in check_cells.of_media(terms)):
                    del terms["accessURI"]
                    self._findings.add("images are not below one folder; they are written without accessURI", uri)
            self._row(profile.IMAGES, occurrence.id, terms)

    def _is_sound(self, occurrence: Occurrence, row: IdentificationRow) -> bool:
        """Report an identification that the format cannot hold: it is left out, and all others are written."""
        fault = next((one for one in check_cells.of_identification(row.terms) if one[2] == "error"), None)
        if fault is not None:
            self._findings.add(f"identifications are left out: {fault[0]}", f"{occurrence.id}: {fault[1]!r}")
        return fault is None

    def _write_candidates(self, occurrence: Occurrence, machine: IdentificationRow) -> None:
        """Write all candidates of all images; those on which the identification is based name it."""
        agreeing = {vote.media for vote in winner(occurrence.votes)}
        for vote in occurrence.votes:
            identification = machine.id if vote.media in agreeing else ""
            for level, place, probability, name, rank, *lineage in vote.candidates:
                cells = (occurrence.id, identification, vote.media, level, str(place), f"{probability:.6f}", name, rank)
                profile.write_line(self._candidates, (*cells, *lineage, self._identifier.model))

    def _row(self, sheet: profile.Sheet, occurrence: str, terms: Mapping[str, str]) -> None:
        profile.write_line(self._sheets[sheet], [occurrence, *(terms.get(term, "") for term in sheet.terms)])

    def _name(self, uri: str) -> str:
        try:
            return self._names(uri).encode().decode()
        except (OutsideFolder, UnicodeEncodeError):  # bytes that are not UTF-8 are escaped in the uri
            return uri


def _opened(path: Path, header: tuple[str, ...], stack: ExitStack) -> IO[str]:
    file = stack.enter_context(path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n"))
    profile.write_line(file, header)
    return file


def eml_xml(export: Export) -> str:
    """Return a short description of the data set in the Ecological Metadata Language, GBIF's profile."""
    options = export.options
    title = escape(options.title or f"Identifications by {model_name(export)}")
    party = f"<organizationName>{escape(options.contributor or 'not stated')}</organizationName>"
    licence = f"<para>{escape(options.licence)}</para>" if options.licence else ""
    about = (
        f"Identifications of specimens and observations by {model_name(export)}, a machine, and by the persons who reviewed them. "
        "Those of the machine are unverified and do not replace other identifications. Each names the images that it is based on."
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<eml:eml xmlns:eml="https://eml.ecoinformatics.org/eml-2.2.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:schemaLocation="https://eml.ecoinformatics.org/eml-2.2.0 https://rs.gbif.org/schema/eml-gbif-profile/1.3/eml.xsd"'
        f' packageId="{derived("package", export.run.key)}" system="bioclip-plugin" scope="system" xml:lang="en">\n'
        f"  <dataset>\n    <title>{title}</title>\n    <creator>{party}</creator>\n"
        f"    <metadataProvider>{party}</metadataProvider>\n    <pubDate>{export.moment:%Y-%m-%d}</pubDate>\n"
        f"    <language>eng</language>\n    <abstract><para>{escape(about)}</para></abstract>\n"
        + (f"    <intellectualRights>{licence}</intellectualRights>\n" if licence else "")
        + f"    <contact>{party}</contact>\n  </dataset>\n</eml:eml>\n"
    )


def provenance_json(export: Export, counts: Mapping[str, Any]) -> str:
    """Return the identities of model, labels and rules with their settings, without details of the machine that ran them."""
    run = export.run
    model = dict(run.provenance.get("model", {}))
    if not str(model.get("source", "")).startswith("hf-hub:"):
        model["source"] = "local"  # a path on the user's machine stays private; sha256 identifies the weights
    packages = run.provenance.get("packages", {})
    provenance = {
        "profile": profile.PROFILE,
        "run": {"id": run.id, "key": run.key, "ended_at": export.moment.isoformat(timespec="seconds")},
        "model": {**model, "identified_by": model_name(export)},
        "software": {
            "bioclip-plugin": run.provenance.get("bioclip_plugin", ""),
            **{name: packages[name] for name in _PACKAGES if name in packages},
        },
        "feature_id": run.feature_id,
        "feature_settings": dict(run.feature_settings),
        "answer_id": run.answer_id,
        "answer_settings": dict(run.answer_settings),
        "rule_id": run.rule_id,
        "rule_settings": dict(run.rule_settings),
        "counts": counts,
    }
    return json.dumps(provenance, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n"
