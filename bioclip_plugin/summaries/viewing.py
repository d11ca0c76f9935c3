"""Sightings of a run's columns, which pages of a server have in memory: no pass over the store."""

from __future__ import annotations

from itertools import islice

import numpy as np

from bioclip_core.findings import Findings
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.browsing.columns import UNKNOWN_MOMENT, VERDICTS, Columns
from bioclip_plugin.browsing.places import table_of
from bioclip_plugin.browsing.tree import TaxonNode
from bioclip_plugin.reviews.pairing import reviews_of_events
from bioclip_plugin.store import Review, Run, Store
from bioclip_plugin.summaries.reading import REVIEWED_AS, ReadRun, stated_in
from bioclip_plugin.summaries.sightings import KINDS, NO_TIME, PERSON, UNANSWERED, UNCLASSIFIED, Sightings

_VERDICT_KINDS = np.array([*(KINDS.index(verdict) for verdict in VERDICTS), UNCLASSIFIED], dtype=np.int8)


_PAGE = 500


def read_columns(store: Store, run: Run, columns: Columns) -> ReadRun:
    """Return what the figures of a run are made of, from its columns; only reviewed images are read from the store.

    Args:
        store: the store of the run.
        run: the run.
        columns: its columns, with the deployments that the run began with.
    """
    findings = Findings()
    deployments = table_of(store, run, findings)
    own = set(columns.events)
    reviews: list[Review] = [one for name, given in reviews_of_events(store).items() if name in own for one in given]
    items = store.reviewed_items(run, ranks=())
    while page := [(stored.item.uri, stored.item.frame) for stored in islice(items, _PAGE)]:
        reviews += (one for given in store.reviews_of(page).values() for one in given)
    return ReadRun(sightings_of_columns(columns), stated_in(deployments), reviews, findings)


def sightings_of_columns(columns: Columns) -> Sightings:
    """Return the sightings of a run's columns, without reading its store.

    Columns have one review per region. So a review with several taxa at once, and a box that only a reviewer drew, are what the
    columns make of them; :func:`~bioclip_plugin.summaries.reading.read_run` counts each of their taxa.
    """
    is_reviewed = columns.review_N >= 0
    of_reviews = np.array([REVIEWED_AS[mark.verdict] for mark in columns.reviews] or [0], dtype=np.int8)
    kind_N = _VERDICT_KINDS[columns.verdict_N]  # -1 is the last place
    kind_N = np.where(columns.failure_N >= 0, UNANSWERED, kind_N)
    kind_N = np.where(is_reviewed, of_reviews[columns.review_N], kind_N).astype(np.int8)
    taxon_N = np.where(kind_N == 0, columns.current_taxa, -1).astype(np.int32)
    is_human_T = np.array([*(node.lineage[5] == "Homo" for node in columns.taxa), False])
    is_human_N = is_human_T[taxon_N]
    return Sightings(
        columns.media_N,
        np.where(is_human_N, PERSON, kind_N).astype(np.int8),
        np.where(is_human_N, -1, taxon_N).astype(np.int32),
        columns.camera_N,
        columns.event_N,
        np.where(columns.moment_N == UNKNOWN_MOMENT, NO_TIME, columns.moment_N),
        is_reviewed,
        tuple(map(_taxon, columns.taxa)),
        columns.cameras,
    )


def _taxon(node: TaxonNode) -> Taxon:
    """Return the taxon of a node; the words of a custom label as a plain one."""
    return Taxon.of(node.lineage, node.common_name) if any(node.lineage) else Taxon.plain(node.name)
