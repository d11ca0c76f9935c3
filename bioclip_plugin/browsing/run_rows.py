"""The rows of a run as they are kept, brought up to date from its store, and made into columns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from bioclip_core.errors import UsageError
from bioclip_core.findings import Findings
from bioclip_core.progress import Progress, silent
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.browsing.columns import Columns, ReviewMark
from bioclip_plugin.browsing.places import names_of, table_of
from bioclip_plugin.browsing.reading import (
    BLOCK,
    RAW_TYPES,
    Blocks,
    Raw,
    Vocabulary,
    blocks_of,
    changed_blocks,
    empty_rows,
    names_in_order,
    read_block,
    totals_of,
)
from bioclip_plugin.browsing.review_rows import ReviewTable, places_of
from bioclip_plugin.browsing.tree import Tree, tree_of
from bioclip_plugin.items.deployment_options import DeploymentOptions
from bioclip_plugin.store import Run, Store
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import rows_with
from bioclip_plugin.store.database.schema import RANK_CODES
from bioclip_plugin.store.taxa import NAMES


@dataclass
class RunRows:
    """Rows of a run with the store's numbers, and what they were made of."""

    stamp: str
    """State of the run; see :func:`stamp_of`. With another one, all is read again."""
    blocks: Blocks = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    raw: Raw = field(default_factory=empty_rows)
    names: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """Place of each row's image in the order of names."""
    vocabulary: Vocabulary = field(default_factory=Vocabulary)


def stamp_of(run: Run) -> str:
    """Return a text that changes whenever a run was begun, ended or decided anew, or another run has its number."""
    options = DeploymentOptions.from_settings(run.settings)
    try:
        table = str(sorted(options.identity().items()))
    except UsageError:  # gone; the images then have the deployments of their folders
        table = "none"
    moments = (run.created_at.isoformat(), run.begun_at.isoformat(), str(run.ended_at))
    return " ".join((run.key, *moments, run.status, str(run.decision_set), table))


def up_to_date(
    store: Store, run: Run, rows: RunRows | None, findings: Findings, progress: Progress = silent
) -> tuple[RunRows, bool]:
    """Return the rows of a run as the store has them now, and True if they differ from those given.

    Only blocks of the listing whose numbers of answered and failed images changed are read again, and all of them after the run
    began, ended or was decided anew: rules decide on the whole run at its end.

    Args:
        store: the store of the run.
        run: the run, just read.
        rows: of an earlier call, which stay as they are; None reads all.
        findings: for what is wrong with the run's table of deployments.
        progress: called with the number of blocks read and of all to read.

    Raises:
        StoreError: for a run that was deleted.
    """
    stamp = stamp_of(run)
    if rows is None or rows.stamp != stamp:
        rows, is_new = RunRows(stamp), True
    else:
        is_new = False
    # While nobody works on a run, its images can only be forgotten: one that was changed, in another run.
    if not is_new and run.status != "running" and store.read(totals_of, run) == rows.blocks.sum(axis=0).tolist():
        return rows, False
    # First: what is written while rows are read shows as a difference the next time.
    blocks = store.read(blocks_of, run)
    changed = list(changed_blocks(rows.blocks, blocks))
    if not changed:
        return rows, is_new
    vocabulary = rows.vocabulary
    vocabulary.deployments = table_of(store, run, findings)
    kept = ~np.isin(rows.raw["position"] // BLOCK, changed)
    parts = [{name: array[kept] for name, array in rows.raw.items()}]
    for done, block in enumerate(changed):
        progress(done, len(changed))
        parts.append(store.read(read_block, run, block, vocabulary))
    progress(len(changed), len(changed))
    order = np.argsort(np.concatenate([part["position"] for part in parts]), kind="stable")
    raw = {name: np.concatenate([part[name] for part in parts])[order] for name in RAW_TYPES}
    return RunRows(stamp, blocks, raw, _name_places(store, run, raw["media"]), vocabulary), True


def _name_places(store: Store, run: Run, media: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the place of each image (N) in the order of names; images that came meanwhile are last."""
    named = store.read(names_in_order, run)
    if not len(named):
        return np.zeros(len(media), np.int32)
    order = np.argsort(named, kind="stable")
    found = np.minimum(np.searchsorted(named, media, sorter=order), len(named) - 1)
    places = order[found]
    return np.where(named[places] == media, places, len(named)).astype(np.int32)


def columns_of(connection: Connection, run: Run, rows: RunRows, reviews: ReviewTable) -> Columns:
    """Return the columns of a run's rows with the reviews in force."""
    raw, words = rows.raw, rows.vocabulary
    in_force = reviews.in_force()
    events = words.events.words
    review = places_of(connection, in_force, raw["media"], raw["region"], raw["event"], events)
    used = np.unique(review[review >= 0])
    marked = [in_force[place] for place in used.tolist()]
    tree, numbers = _tree(connection, raw["taxon"], {row.taxon for row in marked if row.taxon is not None})
    cameras, camera = _cameras(words.places.places, run)
    return Columns(
        media_N=raw["media"], region_N=raw["region"], position_N=raw["position"], name_N=rows.names,
        taxon_N=numbers[raw["taxon"]], rank_N=raw["rank"], probability_N=raw["probability"], best_N=raw["best"],
        margin_N=raw["margin"], verdict_N=raw["verdict"], flags_N=raw["flags"], camera_N=camera[raw["place"]],
        event_N=raw["event"], moment_N=raw["moment"],
        review_N=np.where(review >= 0, np.searchsorted(used, review), -1).astype(np.int32),
        failure_N=raw["failure"], taxa=tree.nodes, cameras=cameras, events=events, flags=words.flags.words,
        failures=words.failures.words,
        reviews=tuple(
            ReviewMark(
                row.id, row.kind, row.verdict, -1 if row.taxon is None else int(numbers[row.taxon]), row.reviewer, row.seconds
            )
            for row in marked
        ),
    )  # fmt: skip


def _tree(connection: Connection, taxon: NDArray[np.int64], of_reviews: set[int]) -> tuple[Tree, NDArray[np.int32]]:
    """Return the tree of a run's taxa, and their places in it by the store's numbers; the last one is -1."""
    largest = max(int(taxon.max(initial=0)), *of_reviews, 0)
    there = np.zeros(largest + 2, np.bool_)
    there[taxon] = True  # those without a taxon are -1, the last place
    there[-1] = False
    there[list(of_reviews)] = True
    table = schema.taxa.c
    query = select(table.id, table.rank, *(table[name] for name in NAMES))
    stored = rows_with(connection, query, table.id, np.flatnonzero(there).tolist())
    tree = tree_of({row[0]: (Taxon(*row[2:]), RANK_CODES[row[1]]) for row in stored})
    numbers = np.full(largest + 2, -1, np.int32)
    for number, place in tree.numbers.items():
        numbers[number] = place
    return tree, numbers


def _cameras(places: tuple, run: Run) -> tuple[tuple[str, ...], NDArray[np.int32]]:  # type: ignore[type-arg]
    """Return the names of deployments, sorted, and the number of that of each place."""
    names = names_of(places, run)
    cameras = tuple(sorted({*names} - {""}))
    numbers = {name: number for number, name in enumerate(cameras)}
    return cameras, np.array([numbers.get(name, -1) for name in names] or [-1], np.int32)
