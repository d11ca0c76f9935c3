"""Rows of the identification table: one of the model per specimen, and one per reviewer and name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_plugin.contracts.export import Export
from bioclip_plugin.formats.darwin_core.identities import (
    derived,
    model_address,
    model_key,
    model_name,
    person_address,
)
from bioclip_plugin.formats.darwin_core.terms import MACHINE_REMARK
from bioclip_plugin.formats.darwin_core.write_specimens import Occurrence, Vote

_REFERENCES = 20  # at most this many images are named as the basis of an answer
# These may differ from run to run although the statement is the same.
_PASSING = frozenset({"dateIdentified", "identificationRemarks", "identificationReferences"})


@dataclass(frozen=True, slots=True)
class IdentificationRow:
    """One row, with the values by which the ledger knows it."""

    terms: Mapping[str, str]
    is_machine: bool

    @property
    def id(self) -> str:
        return self.terms["identificationID"]

    @property
    def digest(self) -> str:
        """Hash of the statement, without its date and score."""
        lasting = sorted((term, value) for term, value in self.terms.items() if value and term not in _PASSING)
        return hashlib.sha256(json.dumps(lasting).encode()).hexdigest()[:32]


class Identifier:
    """Makes the rows of one export."""

    def __init__(self, export: Export) -> None:
        self.model = model_name(export)
        """The model as ``identifiedBy`` names it."""
        self._key = model_key(export)
        self._moment = export.moment.isoformat(timespec="seconds").replace("+00:00", "Z")
        labels = str(export.run.answer_settings.get("label_set", ""))
        self._lasting = {
            "identifiedByID": model_address(export),
            "nameAccordingTo": f"BioCLIP label set {labels[:16]}" if labels else "",
            "identificationVerificationStatus": "unverified",
        }
        run = export.run
        self._run = (
            f"run {run.id} ({run.key[:12]}) of bioclip-plugin {run.provenance.get('bioclip_plugin', '')}".rstrip()
        )

    def rows(self, occurrence: Occurrence) -> list[IdentificationRow]:
        """Return the model's row, then each reviewer's; empty for a specimen without an identification."""
        return [*([self._machine(occurrence)] if occurrence.votes else []), *_persons(occurrence)]

    def _machine(self, occurrence: Occurrence) -> IdentificationRow:
        agreeing = winner(occurrence.votes)
        taxon, best = agreeing[0].taxon, agreeing[0].probability
        many = f", {len(agreeing)} of {len(occurrence.votes)} images agree" if len(occurrence.votes) > 1 else ""
        terms = {
            "identificationID": derived("identification", occurrence.id, self._key, taxon.lineage),
            "identifiedBy": self.model,
            "dateIdentified": self._moment,
            **self._lasting,
            **_name_terms(taxon),
            "taxonID": taxon.source_id,
            "identificationReferences": " | ".join(vote.media for vote in agreeing[:_REFERENCES]),
            "identificationRemarks": f"{MACHINE_REMARK}, probability {best:.4f}{many}; {self._run}",
        }
        return IdentificationRow(terms, is_machine=True)


def _persons(occurrence: Occurrence) -> list[IdentificationRow]:
    rows: dict[str, dict[str, str]] = {}
    for review in occurrence.reviews:
        name = derived("review", occurrence.id, review.reviewer, review.taxon.lineage)
        first = {
            "identificationID": name,
            "identifiedBy": review.reviewer,
            "identifiedByID": person_address(review.reviewer),
            "dateIdentified": review.moment,
            **_name_terms(review.taxon),
            "identificationReferences": review.media,
            "identificationRemarks": review.comment,
        }
        row = rows.setdefault(name, first)
        row["dateIdentified"] = max(row["dateIdentified"], review.moment)
        if review.media not in row["identificationReferences"]:
            row["identificationReferences"] += f" | {review.media}"
    return [IdentificationRow(terms, is_machine=False) for terms in rows.values()]


def winner(votes: list[Vote]) -> list[Vote]:
    """Return the votes for the taxon with the greatest sum of probabilities, the most probable first.

    Equal sums are decided by the greatest probability, then by name.
    """
    by_taxon: dict[tuple[str, ...], list[Vote]] = {}
    for vote in sorted(votes, key=lambda vote: -vote.probability):
        by_taxon.setdefault(vote.taxon.lineage, []).append(vote)

    def weight(lineage: tuple[str, ...]) -> tuple[Any, ...]:
        same = by_taxon[lineage]
        return (-round(sum(vote.probability for vote in same), 6), -same[0].probability, lineage)

    return by_taxon[min(by_taxon, key=weight)]


def _name_terms(taxon: Taxon) -> dict[str, str]:
    """Return the name at the taxon's own rank, without a qualifier, and the names above it."""
    return {
        "scientificName": taxon.scientific_name,
        "taxonRank": taxon.rank.value if taxon.rank else "",
        **{rank.value: taxon.lineage[rank.depth] for rank in RANKS[:-1]},
        "specificEpithet": taxon.species.removeprefix("× "),
    }
