"""Identifications of one image as rows of Wildlife Insights' images.csv: one per taxon or verdict, of people or of the computer."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from bioclip_core.cells import number_of
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.formats.shared.image_verdicts import Seen
from bioclip_plugin.formats.shared.species_labels import BLANK, HUMAN, UNKNOWN, VEHICLE
from bioclip_plugin.formats.wildlife_insights.layout import COMPUTER, RANKS
from bioclip_plugin.store.records import Review

MOST_OBJECTS = 175
"""Largest ``number_of_objects`` that is taken."""
AGES = ("Adult", "Juvenile", "Unknown")
SEXES = ("Male", "Female", "Unknown")

_AGE_OF = {"adult": "Adult", "subadult": "Juvenile", "juvenile": "Juvenile", "unknown": "Unknown"}
_SEX_OF = {"male": "Male", "female": "Female", "unknown": "Unknown"}
# Kingdoms that Wildlife Insights' taxonomy does not have.
_NO_ANIMALS = frozenset(
    {"plantae", "fungi", "chromista", "protozoa", "bacteria", "archaea", "viruses", "archaeplastida"}
)
Cells = dict[str, Any]


class Named(NamedTuple):
    """Name of a row: a taxon or a verdict, in the words of Wildlife Insights."""

    wi_taxon_id: str
    lineage: tuple[str, ...]
    """Class, order, family, genus and epithet."""
    common_name: str

    def cells(self) -> Cells:
        """Return the cells of the name."""
        ranks = dict(zip(RANKS, self.lineage or ("",) * len(RANKS), strict=True))
        return {"wi_taxon_id": self.wi_taxon_id, **ranks, "common_name": self.common_name}


def _fixed(label: str, common_name: str, lineage: tuple[str, ...] = ()) -> Named:
    return Named(label.partition(";")[0], lineage, common_name)


BLANK_NAME = _fixed(BLANK, "Blank")
_VERDICTS: Mapping[str, Named] = {
    "blank": BLANK_NAME,
    "person": _fixed(HUMAN, "Human", ("Mammalia", "Primates", "Hominidae", "Homo", "sapiens")),
    "vehicle": _fixed(VEHICLE, "Vehicle"),
    "unknown": _fixed(UNKNOWN, "No CV Result"),
    "unidentifiable": Named("", (), "Unknown"),
    "not_in_label_set": Named("", (), "Unknown"),
}

_WITHOUT_OBJECTS = frozenset({BLANK_NAME, _VERDICTS["unknown"], _VERDICTS["unidentifiable"]})


def named(verdict: str, taxon: Taxon | None) -> Named:
    """Return a taxon, or the verdict without one, in Wildlife Insights' words; what it does not have is "unknown"."""
    if verdict not in ("taxon", "") or taxon is None:
        return _VERDICTS.get(verdict, _VERDICTS["unknown"])
    if not is_animal(taxon):
        return _VERDICTS["unknown"]
    if not taxon.genus:  # an epithet without its genus does not name anything
        taxon = replace(taxon, species="")
    lineage = tuple(taxon.lineage[2:])
    if not any(lineage):
        # Custom labels, and taxa above class.
        return Named(_identifier(taxon), (), taxon.common_name or taxon.scientific_name or "Animal")
    return Named(_identifier(taxon), lineage, taxon.common_name or taxon.scientific_name)


def _identifier(taxon: Taxon) -> str:
    """Return the identifier of a taxon if it is one of Wildlife Insights', which are UUIDs."""
    try:
        return str(uuid.UUID(taxon.source_id))
    except ValueError:
        return ""


def is_animal(taxon: Taxon | None) -> bool:
    """False for a taxon of a kingdom that Wildlife Insights does not have."""
    return taxon is None or taxon.lineage[0].lower() not in _NO_ANIMALS


def identifications(found: Sequence[Seen], reviews: Sequence[Review]) -> Iterator[Cells]:
    """Yield the cells of each identification of an image: those by people if there are any, else the computer's.

    Of a person's reviews of an image, or of one box in it, the last ones count: several taxa that were stated together.
    """
    last: dict[tuple[str, Any], list[Review]] = {}
    for review in sorted(reviews, key=lambda one: (one.reviewed_at, one.id)):
        box = review.target.region.box if review.target.region is not None else None
        together = last.setdefault((review.reviewer, box), [])
        if together and together[-1].reviewed_at != review.reviewed_at:
            together.clear()
        together.append(review)
    if last:
        yield from _by_people([review for together in last.values() for review in together])
        return
    counts: Counter[Named] = Counter()
    for seen in found:
        counts[named(seen.verdict, seen.candidate.taxon if seen.candidate else None)] += 1
    if len(counts) > 1:
        del counts[BLANK_NAME]
    for name, count in counts.items():
        objects = "" if name in _WITHOUT_OBJECTS else str(min(count, MOST_OBJECTS))
        yield {"identified_by": COMPUTER, **name.cells(), "number_of_objects": objects}


def _by_people(reviews: Sequence[Review]) -> Iterator[Cells]:
    rows: dict[tuple[str, Named], Cells] = {}
    for review in reviews:
        name = named(review.verdict, review.taxon)
        stated = number_of(review.details.get("count"))
        count = min(max(int(stated or 1), 1), MOST_OBJECTS)
        row = rows.get((review.reviewer, name))
        if row is not None and name not in _WITHOUT_OBJECTS:
            row["number_of_objects"] = str(min(int(row["number_of_objects"] or 0) + count, MOST_OBJECTS))
            continue
        rows[review.reviewer, name] = {
            "identified_by": review.reviewer,
            **name.cells(),
            "number_of_objects": "" if name in _WITHOUT_OBJECTS else str(count),
            "age": _AGE_OF.get(str(review.details.get("lifeStage", "")).strip().lower(), ""),
            "sex": _SEX_OF.get(str(review.details.get("sex", "")).strip().lower(), ""),
            "individual_animal_notes": " ".join(review.comment.split()),
        }
    yield from rows.values()
