"""Regions with their stored candidates, flags and decision, many at a time: three queries, and few objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, Select, and_, literal, select

from bioclip_core.classify import Candidate
from bioclip_plugin.items.media import BOX_UNIT, WHOLE_BOX, Region
from bioclip_plugin.items.verdicts import Verdict
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import chunked
from bioclip_plugin.store.database.schema import RANK_CODES
from bioclip_plugin.store.database.values import from_json
from bioclip_plugin.store.records import Run, StoredDecision, StoredRegion
from bioclip_plugin.store.taxa import TaxonCache, rank_code

Ranks = Collection[str] | None
"""The levels whose candidates are wanted; None: all of them. Asking for one reads a tenth of the rows."""

ByRank = dict[str, tuple[Candidate, ...]]
Found = dict[int, list[StoredRegion]]
"""By media number, in the order of the query."""


def of_run(connection: Connection, run: Run, media: Iterable[int], cache: TaxonCache, ranks: Ranks = None) -> Found:
    """Return the regions that these media have in a run, in their order."""
    regions, listed = schema.regions, schema.listed_regions.c
    query = _with_decisions(run, listed.classified)
    query = query.join(schema.listed_regions, listed.region == regions.c.id).where(listed.run == run.id)
    return _found(connection, run, query.order_by(listed.media, listed.position), listed.media, media, cache, ranks)


def answered(connection: Connection, run: Run, media: Iterable[int], cache: TaxonCache) -> Found:
    """Return the regions of these media that have an answer in the run's answer set, whichever run wrote it."""
    regions, answers = schema.regions.c, schema.answers.c
    query = _with_decisions(run, literal(1)).where(answers.region.is_not(None))
    return _found(connection, run, query.order_by(regions.id), regions.media, media, cache, None)


def _with_decisions(run: Run, classified: Any) -> Select[Any]:
    """Return a query of regions with flags and decision; both may be missing."""
    regions, answers, decisions = schema.regions, schema.answers.c, schema.decisions.c
    columns = [regions.c[name] for name in "media id x y w h detector detector_version category confidence".split()]
    decided = [decisions[name] for name in "region taxon rank probability verdict event trail".split()]
    return select(*columns, classified, answers.flags, *decided).select_from(
        regions.outerjoin(schema.answers, and_(answers.region == regions.c.id, answers.answer_set == run.answer_set))
        .outerjoin(schema.decisions, and_(decisions.region == regions.c.id, decisions.decision_set == run.decision_set))
    )  # fmt: skip


def _found(
    connection: Connection, run: Run, query: Select[Any], of: Any, media: Iterable[int], cache: TaxonCache, ranks: Ranks
) -> Found:
    found: Found = {}
    for chunk in chunked(sorted(set(media))):
        rows = connection.execute(query.where(of.in_(chunk))).all()
        candidates = _candidates(connection, run, [row[1] for row in rows], cache, ranks)
        taxa = cache.taxa(connection, {row[13] for row in rows if row[13] is not None})
        for (number, region, x, y, w, h, detector, version, category, confidence, classified, flags, decided, taxon,
             rank, probability, verdict, event, trail) in rows:  # fmt: skip
            box = decision = None
            if detector or category or (x, y, w, h) != WHOLE_BOX:
                box = Region(
                    x / BOX_UNIT, y / BOX_UNIT, w / BOX_UNIT, h / BOX_UNIT, detector, version, category, confidence,
                    classified != 0,
                )  # fmt: skip
            if decided is not None:
                best = Candidate(taxa[taxon][0], RANK_CODES[rank], probability) if taxon is not None else None
                said: Verdict = verdict or ("taxon" if best else "unknown")
                decision = StoredDecision(said, best, event, tuple(from_json(trail)) if trail else ())
            words = tuple(flags.split()) if flags else ()
            stored = StoredRegion(box, region, candidates.get(region, {}), words, decision)
            found.setdefault(number, []).append(stored)
    return found


def _candidates(
    connection: Connection, run: Run, regions: Iterable[int], cache: TaxonCache, ranks: Ranks
) -> dict[int, ByRank]:
    """Return the candidates at each wanted level by region number, most probable first."""
    table = schema.candidates.c
    query = select(table.region, table.rank, table.taxon, table.probability).where(table.answer_set == run.answer_set)
    if ranks is not None:
        query = query.where(table.rank.in_([rank_code(rank) for rank in ranks]))
    query = query.order_by(table.region, table.rank, table.position)
    found: dict[int, ByRank] = {}
    for chunk in chunked(regions):
        rows = connection.execute(query.where(table.region.in_(chunk))).all()
        taxa = cache.taxa(connection, {row[2] for row in rows})
        named = {number: (taxon, RANK_CODES[code]) for number, (taxon, code) in taxa.items()}
        for (region, rank), level in groupby(rows, itemgetter(0, 1)):  # rows are in the order of region and rank
            found.setdefault(region, {})[RANK_CODES[rank]] = tuple(
                [Candidate(*named[number], probability) for _, _, number, probability in level]
            )
    return found
