"""The gallery's data as the page's script reads them: tables of texts, and rows of numbers that refer to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bioclip_core.classify import Candidate
from bioclip_core.images.thumbnails import mime_type
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_plugin.items.media import MediaItem, Region
from bioclip_plugin.report.decisions import AGREEMENTS, REPORT_VERDICTS, Entry
from bioclip_plugin.report.gathering import Gathered
from bioclip_plugin.report.map_picture import east, north
from bioclip_plugin.report.names import CommonNames
from bioclip_plugin.report.text import legible, running, without_place
from bioclip_plugin.store.records import Review

_TRAIL_HEAD = ("rule", "did", "from", "to", "why")


class PageData:
    """Builder of the page's one data block."""

    def __init__(self, gathered: Gathered, names: CommonNames, coordinate_precision: int | None) -> None:
        self._gathered, self._names, self._decimals = gathered, names, coordinate_precision
        self._taxa: dict[tuple[Taxon, str, str], int] = {}
        self._taxon_rows: list[list[Any]] = []
        self._reviews: dict[int, int] = {}
        self._review_rows: list[list[Any]] = []

    def as_dict(self) -> dict[str, Any]:
        """Return the whole block: plain JSON, every text made legible."""
        gathered = self._gathered
        images, entries = [], []
        for number, sheet in enumerate(gathered.sheets):
            images.append(self._image(sheet.item, sheet.station))
            entries += [self._entry(entry, number, place, sheet.item) for place, entry in enumerate(sheet.entries)]
        return {
            "ranks": [rank.value for rank in RANKS],
            "level": gathered.level,
            "verdicts": REPORT_VERDICTS,
            "agreements": AGREEMENTS,
            "mime": mime_type(),
            "stations": [[self.station_name(n), self.place_of(n)] for n in range(len(gathered.figures.stations))],
            "images": images,
            "entries": entries,
            "taxa": self._taxon_rows,
            "reviews": self._review_rows,
            "failures": [
                [self._shown(item.uri, item), item.frame, legible(failure.stage), self._shown(failure.reason, item)]
                for item, failure in gathered.failed
            ],
        }

    def station_name(self, number: int) -> str:
        """Return a camera's name, or its place if it has none."""
        return legible(self._gathered.figures.stations[number].name) or self.place_of(number) or "not stated"

    def place_of(self, number: int) -> str:
        """Return a camera's coordinates, rounded as requested; empty if they are unknown."""
        place = self._gathered.figures.stations[number].place(self._decimals)
        return f"{north(place[0])}, {east(place[1])}" if place else ""

    def _image(self, item: MediaItem, station: int) -> list[Any]:
        """Return name, frame, time on the camera's clock, offset, station, country and region."""
        moment = item.captured_at
        offset = moment.isoformat()[19:].lstrip(".0123456789") if moment is not None and moment.tzinfo else ""
        place = ", ".join(legible(part) for part in (item.place.region, item.place.country) if part)
        clock = moment.replace(tzinfo=None, microsecond=0).isoformat() if moment is not None else ""
        return [self._shown(item.uri, item), item.frame, clock, offset, station, place]

    def _entry(self, entry: Entry, image: int, place: int, item: MediaItem) -> list[Any]:
        region, answer = entry.region, entry.answer
        return [
            image,
            place,
            list(region.box) if region is not None else None,
            _detector(region) if region is not None else None,
            REPORT_VERDICTS.index(answer.verdict),
            self._named(answer.candidate) if answer.candidate is not None else None,
            [self._named(candidate) for candidate in entry.candidates],
            [legible(flag) for flag in entry.flags],
            legible(entry.event or ""),
            [running(self._without_place(said_of(step), item)) for step in answer.trail],
            [self._review(review, item) for review in entry.reviews],
            AGREEMENTS.index(entry.agreement),
        ]

    def _named(self, candidate: Candidate) -> list[Any]:
        return [self._taxon(candidate.taxon, candidate.name, candidate.rank), round(candidate.probability, 4)]

    def _taxon(self, taxon: Taxon, name: str, rank: str) -> int:
        """Return the number of a taxon's row: name, rank, common name, and its name at each of the seven ranks."""
        key = (taxon, name, rank)
        if key not in self._taxa:
            self._taxa[key] = len(self._taxon_rows)
            self._taxon_rows.append(
                [
                    legible(name),
                    rank,
                    legible(self._names.of(taxon)),
                    [legible(taxon.name_at(level)) for level in RANKS],
                ]
            )
        return self._taxa[key]

    def _review(self, review: Review, item: MediaItem) -> int:
        if review.id not in self._reviews:
            self._reviews[review.id] = len(self._review_rows)
            taxon, number = review.taxon, -1
            if taxon is not None:
                name = taxon.scientific_name or taxon.common_name
                number = self._taxon(taxon, name, taxon.rank.value if taxon.rank else "label")
            self._review_rows.append(
                [review.verdict, number, running(review.reviewer), review.reviewed_at.strftime("%Y-%m-%d"),
                 self._shown(" ".join(review.comment.split()), item), review.target.kind]
            )  # fmt: skip
        return self._reviews[review.id]

    def _shown(self, text: str, item: MediaItem) -> str:
        return legible(self._without_place(text, item))

    def _without_place(self, text: str, item: MediaItem) -> str:
        return without_place(text, item.place.latitude, item.place.longitude, self._decimals)


def said_of(step: Mapping[str, Any]) -> str:
    """Return one step of a decision's trail as a line: the rule, its action, the reason, and its further notes."""
    rest = {key: value for key, value in step.items() if key not in _TRAIL_HEAD and value not in (None, "", [], {})}
    parts = (
        f"{step.get('rule', 'rule')}: {step.get('did', '')}".rstrip(": "),
        *(f"{word} {step[word]}" for word in ("from", "to") if step.get(word)),
        *([f"({step['why']})"] if step.get("why") else []),
    )
    noted = ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in sorted(rest.items()))
    return " ".join(parts) + (f"; {noted}" if noted else "")


def _value(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_value(part) for part in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _detector(region: Region) -> list[Any]:
    return [
        legible(region.category),
        None if region.confidence is None else round(region.confidence, 3),
        legible(f"{region.detector} {region.detector_version}".strip()),
    ]
