"""The truth of a rendering beside the catalog that ``curate`` made of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import parquet

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
_COLUMNS = (
    "key", "source", "uri", *RANKS, "common", "verbatim_name", "outcome", "exact_group", "near_group", "duplicate_of", "split", "excluded",
    "leaks", "event_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    """One record: what is true of it, and what the catalog says, if it has it."""

    true: dict[str, Any]
    """A row of ``truth/records.parquet``."""
    said: dict[str, Any] | None
    """A row of the catalog."""

    @property
    def kinds(self) -> list[str]:
        return list(self.true["kinds"])

    @property
    def true_species(self) -> str:
        """Kingdom and binomial without the mark of hybrids."""
        return species_of(self.true)

    @property
    def said_species(self) -> str:
        """The same as the catalog says, empty without a label at this rank."""
        return species_of(self.said) if self.said is not None else ""

    @property
    def is_kept(self) -> bool:
        """True if the record is in a split."""
        return self.said is not None and bool(self.said["split"])


@dataclass(frozen=True, slots=True)
class Joined:
    """All records of a rendering, and the rest of both sides."""

    told: list[Told]
    extra: list[dict[str, Any]]
    """Rows of the catalog for which the truth has no file."""
    by_key: dict[str, Told]
    leaks: list[dict[str, Any]]
    """Rows of ``truth/leaks.parquet``."""
    not_curated: tuple[str, ...] = ()
    """Sources of the rendering that the catalog has no record of; they are not scored."""

    def known(self) -> Iterator[Told]:
        """Yield the records that the catalog has."""
        return (one for one in self.told if one.said is not None)


def species_of(row: dict[str, Any]) -> str:
    """Return kingdom, genus and epithet, empty without an epithet."""
    epithet = (row["species"] or "").replace("×", "").strip()
    return f"{row['kingdom']} {row['genus']} {epithet}".replace("× ", "") if epithet else ""


def join(rendered: Path, curated: Path) -> Joined:
    """Join both by source and uri; a row that a source states twice may be there twice.

    Raises:
        FileNotFoundError: if the truth or the catalog is missing.
    """
    truth = rendered / "truth" / "records.parquet"
    parts = sorted((curated / "catalog").glob("part-*.parquet"))
    if not truth.is_file():
        raise FileNotFoundError(
            f"{truth} does not exist: write it with python -m bioclip_training.biosphere.publishing"
        )
    if not parts:
        raise FileNotFoundError(f"{curated} holds no catalog: write it with bioclip-plugin curate")
    by_place: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for part in parts:
        for row in parquet.read_table(part, columns=list(_COLUMNS)).to_pylist():
            by_place[row["source"], row["uri"]].append(row)
    curated_sources = {source for source, _ in by_place}
    told: list[Told] = []
    true_rows = parquet.read_table(truth).to_pylist()
    for true in true_rows:
        if true["source"] not in curated_sources:
            continue
        rows = by_place.pop((true["source"], true["uri"]), [None]) if true["uri"] else [None]
        told.extend(Told(true, row) for row in rows)
    extra = [row for rows in by_place.values() for row in rows]
    leaks = [
        row
        for row in parquet.read_table(rendered / "truth" / "leaks.parquet").to_pylist()
        if row["source"] in curated_sources
    ]
    not_curated = tuple(sorted({row["source"] for row in true_rows} - curated_sources))
    return Joined(told, extra, {one.said["key"]: one for one in told if one.said is not None}, leaks, not_curated)
