"""Labels of all combinations as Arrow columns, and what the manifest says of them: counts by reason and by kind of change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pyarrow as pa

from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_training.catalog.naming.changes import kinds_of
from bioclip_training.curation.columns import KEY, LABELS
from bioclip_training.curation.naming.combinations import Reading
from bioclip_training.curation.naming.settling import KeptApart
from bioclip_training.curation.tallies import Tally

_CHUNK = 20_000
_SCHEMA = pa.schema([field for field in LABELS if field.name != KEY])


def labels_table(readings: Sequence[Reading], common: Mapping[Taxon, tuple[str, str]]) -> pa.Table:
    """Return the columns of ``LABELS`` but for the key, a row per combination in their order.

    Args:
        readings: of all combinations.
        common: common name and its language by taxon.
    """
    batches = []
    for start in range(0, len(readings), _CHUNK):
        rows = [_row(reading, common) for reading in readings[start : start + _CHUNK]]
        batches.append(pa.RecordBatch.from_pylist(rows, _SCHEMA))
    return pa.Table.from_batches(batches, _SCHEMA).combine_chunks()


def _row(reading: Reading, common: Mapping[Taxon, tuple[str, str]]) -> dict[str, object]:
    taxon = reading.taxon
    name, language = common.get(taxon, ("", "")) if taxon.rank is not None else ("", "")
    return {
        **{rank.value: taxon.lineage[rank.depth] for rank in RANKS},
        "scientific_name": taxon.scientific_name, "rank": str(taxon.rank or ""), "common_name": name, "taxon_id": reading.taxon_id,
        "outcome": reading.outcome, "unresolved": _reason(reading), "changes": list(dict.fromkeys(reading.changes)),
        "common_name_language": language,
    }  # fmt: skip


def _reason(reading: Reading) -> str:
    if reading.unresolved is None:
        return ""
    meant = f" (proposed: {reading.proposal.scientific_name})" if reading.proposal is not None else ""
    return f"{reading.unresolved.reason}{meant}"


def summarise(readings: Sequence[Reading], apart: Sequence[KeptApart], tally: Tally) -> None:
    """Count the records without a label by reason, the labelled ones by rank, and the changes by kind, each with an example."""
    changed: Counter[str] = Counter()
    first: dict[str, str] = {}
    for reading in readings:
        rows = sum(count for _, count in reading.rows)
        if reading.unresolved is not None:
            tally.drop(
                reading.unresolved.kind, rows, f"{reading.written!r} of {reading.rows[0][0]}: {_reason(reading)}"
            )
            continue
        tally.count(f"records labelled at the rank {reading.taxon.rank}", rows)
        if reading.outcome:
            tally.count(f"records with the outcome {reading.outcome}", rows)
        for kind in kinds_of(reading.changes):
            changed[kind] += rows
            example = f"{reading.written!r} → {reading.taxon.scientific_name!r}"
            first[kind] = min(first.get(kind, example), example)
    for kind, rows in changed.items():
        tally.count(f"records with a changed name: {kind} (the first: {first[kind]})", rows)
    if apart:
        shown = "; ".join(map(str, sorted(apart, key=str)[:3]))
        tally.note(
            f"names with contradictory lineages in one kingdom that stay several taxa, since nothing decides: {len(apart)} ({shown}); "
            "state precedence for the sources, or give a taxonomy that has them"
        )
