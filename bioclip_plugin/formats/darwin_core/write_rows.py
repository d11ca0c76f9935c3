"""What is said of a specimen as rows of the identification table: one of the machine, and each person's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_plugin.formats.darwin_core.identities import (
    machine_identification,
    model_address,
    model_key,
    model_name,
    person_address,
    person_identification,
)
from bioclip_plugin.formats.darwin_core.terms import MACHINE_REMARK

if TYPE_CHECKING:
    from bioclip_plugin.contracts.export import Export
    from bioclip_plugin.formats.darwin_core.write_findings import Occurrence, Vote

_REFERENCES = 20  # images that are named as what an answer rests on
# When and how surely it was said may differ from run to run; it is the same statement.
_PASSING = frozenset({"dateIdentified", "identificationRemarks", "identificationReferences"})


@dataclass(frozen=True, slots=True)
class IdentificationRow:
    """One row, with what the ledger knows it by."""

    terms: Mapping[str, str]
    is_machine: bool

    @property
    def id(self) -> str:
        return self.terms["identificationID"]

    @property
    def digest(self) -> str:
        """Of what is stated: not of when it was, nor of the score."""
        lasting = sorted((term, value) for term, value in self.terms.items() if value and term not in _PASSING)
        return hashlib.sha256(json.dumps(lasting).encode()).hexdigest()[:32]


class Identifier:
    """Makes rows for one export; what is the same in all of them is worked out once."""

    def __init__(self, export: Export) -> None:
        self._model = model_key(export)
        self._name = model_name(export)
        self._address = model_address(export)
        self._labels = str(export.run.answer_settings.get("label_set", ""))
        self._moment = export.moment.isoformat(timespec="seconds").replace("+00:00", "Z")
        version = export.run.provenance.get("bioclip_plugin", "")
        self._run = f"run {export.run.id} ({export.run.key[:12]}) of bioclip-plugin {version}".rstrip()

    @property
    def model(self) -> str:
        """Who identified."""
        return self._name

    def rows(self, occurrence: Occurrence) -> list[IdentificationRow]:
        """The machine's row first, then each person's; none where nothing is said."""
        machine = [self._machine(occurrence)] if occurrence.votes else []
        return machine + self._persons(occurrence)

    def _machine(self, occurrence: Occurrence) -> IdentificationRow:
        agreeing = winner(occurrence.votes)
        taxon, best = agreeing[0].taxon, agreeing[0].probability
        many = f", {len(agreeing)} of {len(occurrence.votes)} images agree" if len(occurrence.votes) > 1 else ""
        source = taxon.source_id
        terms = {
            "identificationID": machine_identification(occurrence.id, self._model, taxon),
            "identifiedBy": self._name,
            "identifiedByID": self._address,
            "dateIdentified": self._moment,
            **name_terms(taxon),
            "taxonID": source,
            "nameAccordingTo": f"BioCLIP label set {self._labels[:16]}" if self._labels else "",
            "identificationVerificationStatus": "unverified",
            "identificationReferences": " | ".join(vote.media for vote in agreeing[:_REFERENCES]),
            "identificationRemarks": f"{MACHINE_REMARK}, probability {best:.4f}{many}; {self._run}",
        }
        return IdentificationRow(terms, is_machine=True)

    def _persons(self, occurrence: Occurrence) -> list[IdentificationRow]:
        rows: dict[str, dict[str, str]] = {}
        for said in occurrence.said:
            name = person_identification(occurrence.id, said.reviewer, said.taxon)
            row = rows.get(name)
            if row is None:
                rows[name] = {
                    "identificationID": name,
                    "identifiedBy": said.reviewer,
                    "identifiedByID": person_address(said.reviewer),
                    "dateIdentified": said.moment,
                    **name_terms(said.taxon),
                    "identificationReferences": said.media,
                    "identificationRemarks": said.comment,
                }
                continue
            row["dateIdentified"] = max(row["dateIdentified"], said.moment)
            if said.media not in row["identificationReferences"]:
                row["identificationReferences"] += f" | {said.media}"
        return [IdentificationRow(terms, is_machine=False) for terms in rows.values()]


def winner(votes: list[Vote]) -> list[Vote]:
    """The votes of the taxon with the greatest sum of probabilities, the surest first; equal sums go by probability, then name."""
    by_taxon: dict[tuple[str, ...], list[Vote]] = {}
    for vote in votes:
        by_taxon.setdefault(vote.taxon.lineage, []).append(vote)
    for same in by_taxon.values():
        same.sort(key=lambda vote: -vote.probability)

    def weight(lineage: tuple[str, ...]) -> tuple[Any, ...]:
        same = by_taxon[lineage]
        return (-round(sum(vote.probability for vote in same), 6), -same[0].probability, lineage)

    return by_taxon[min(by_taxon, key=weight)]


def name_terms(taxon: Taxon) -> dict[str, str]:
    """The name at the taxon's own rank, without a qualifier, and the names above it."""
    terms = {rank.value: taxon.lineage[rank.depth] for rank in RANKS[:-1]}
    return {
        "scientificName": taxon.scientific_name,
        "taxonRank": taxon.rank.value if taxon.rank else "",
        **terms,
        "specificEpithet": taxon.species.removeprefix("× "),
    }
