"""The proof that a run's listing equals its results and failures, as queries that the database answers alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select

from bioclip_plugin.store.database import schema
from bioclip_plugin.store.deciding import is_classified
from bioclip_plugin.store.detections import BY_DETECTOR, NOTHING_BY_DETECTOR, detection_of
from bioclip_plugin.store.reading import summary
from bioclip_plugin.store.records import DONE, FAILED, TODO, Run, Verification

_EXAMPLES = 3
Checks = Iterator[tuple[str, Select[Any]]]
"""Sentences about problems, each with the query that finds the examples of the problem."""


def verify(connection: Connection, run: Run) -> Verification:
    """Count a run's items and name every difference between its listing and its results."""
    problems = []
    for checks in (_listing_checks(run), _detector_checks(run), _region_checks(run), _candidate_checks(run)):
        for sentence, query in checks:
            number = _count(connection, query)
            if number:
                examples = ", ".join(str(value) for value in connection.execute(query.limit(_EXAMPLES)).scalars())
                problems.append(f"{number} {sentence}: {examples}{', …' if number > _EXAMPLES else ''}")
    counts = summary(connection, run)
    return Verification(counts.listed, counts.done, counts.failed, counts.todo, problems)


def undecided(connection: Connection, run: Run) -> int:
    """Return the number of answered regions without a decision by the run's rules; 0 for a run without rules."""
    if not _has_rules(run):
        return 0
    decision, by_rules = _decided(run)
    return _count(connection, _classified_regions(run).where(decision, ~by_rules))


def _count(connection: Connection, query: Select[Any]) -> int:
    return int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())


def _has_rules(run: Run) -> bool:
    return len(run.rule_settings.get("rules", ())) > 1  # the first one is the consensus


def _listing_checks(run: Run) -> Checks:
    listed, failed, regions = schema.listing.c, schema.failures.c, schema.listed_regions.c
    failure = exists().where(failed.run == run.id, failed.media == listed.media)
    uris = select(schema.media.c.uri)
    media = uris.join(schema.listing, listed.media == schema.media.c.id).where(listed.run == run.id)
    yield "failed items have no reason", media.where(listed.status == FAILED, ~failure)
    yield "items that are not failed have a failure", media.where(listed.status != FAILED, failure)
    yield (
        "items that are not done have regions",
        media.where(listed.status != DONE, exists().where(regions.run == run.id, regions.media == listed.media)),
    )
    yield "items have a status that does not exist", media.where(listed.status.not_in([TODO, DONE, FAILED]))
    yield (
        "positions of the listing are given twice",
        select(listed.position).where(listed.run == run.id).group_by(listed.position).having(func.count() > 1),
    )
    yield (
        "failures are of items not listed",
        uris.join(schema.failures, failed.media == schema.media.c.id).where(
            failed.run == run.id, ~exists().where(listed.run == run.id, listed.media == failed.media)
        ),
    )


def _region_checks(run: Run) -> Checks:
    """Yield the checks that every region of a done item has an answer, a decision and features of the right length."""
    here, listed = schema.listed_regions.c, schema.listing.c
    answers, features = schema.answers.c, schema.features.c
    regions, media = schema.regions.c, schema.media.c
    base = _classified_regions(run)
    answer = exists().where(answers.answer_set == run.answer_set, answers.region == here.region)
    decision, by_rules = _decided(run)
    feature = exists().where(
        features.feature_set == run.feature_set,
        features.content == media.content,
        *(features[name] == regions[name] for name in ("x", "y", "w", "h")),
        func.length(features.vector) == 2 * run.dimension,  # bytes of float16
    )
    yield "regions have no answer", base.where(~answer)
    yield "regions have no decision", base.where(~decision)
    if _has_rules(run):
        yield "regions are not decided by the run's rules yet", base.where(decision, ~by_rules)
    yield f"regions have no features of {run.dimension} numbers", base.where(~feature)
    yield "regions are of items not listed", base.where(listed.media.is_(None))
    yield "regions are of another image", base.where(regions.media != here.media)


def _detector_checks(run: Run) -> Checks:
    """Yield the check that every image that the run's detector has processed has its boxes stored."""
    detection = detection_of(run.rule_settings)
    if detection is None:
        return
    listed, media, found, sets = schema.listing.c, schema.media.c, schema.detections.c, schema.detector_sets.c
    stored = exists().where(
        found.content == media.content, found.detector_set == sets.id, sets.detector_id == detection["detector_id"]
    )
    done = select(media.uri).join(schema.listing, listed.media == media.id).where(listed.run == run.id)
    mine = done.where(listed.status == DONE, listed.stated.in_([BY_DETECTOR, NOTHING_BY_DETECTOR]))
    yield "images lost the boxes of the detector", mine.where(~stored)


def _classified_regions(run: Run) -> Select[Any]:
    """Return a query of the uris of a run's regions that are to be answered, one per region."""
    here, listed, media = schema.listed_regions.c, schema.listing.c, schema.media.c
    return (
        select(media.uri)
        .select_from(
            schema.listed_regions.join(schema.regions, here.region == schema.regions.c.id)
            .join(schema.media, here.media == media.id)
            .outerjoin(schema.listing, and_(listed.run == run.id, listed.media == here.media))
        )
        .where(here.run == run.id, is_classified())
    )


def _decided(run: Run) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions that a listed region has a decision, and that it has one by rules."""
    decisions = schema.decisions.c
    here = (decisions.decision_set == run.decision_set, decisions.region == schema.listed_regions.c.region)
    # A pass of rules leaves a trail, even an empty one; before it, the decision is the consensus alone.
    return exists().where(*here), exists().where(*here, decisions.trail.is_not(None))


def _candidate_checks(run: Run) -> Checks:
    """Yield the checks of candidates without a taxon or an answer and of probabilities, over the whole answer set."""
    rows, answers, regions, media = schema.candidates.c, schema.answers.c, schema.regions.c, schema.media
    joined = schema.candidates.join(schema.regions, rows.region == regions.id).join(media, regions.media == media.c.id)
    base = select(media.c.uri).select_from(joined).where(rows.answer_set == run.answer_set)
    yield "candidates have no taxon", base.where(~exists().where(schema.taxa.c.id == rows.taxon))
    answer = exists().where(answers.answer_set == rows.answer_set, answers.region == rows.region)
    yield "candidates belong to no answer", base.where(~answer)
    wrong: ColumnElement[bool] = or_(rows.probability < 0, rows.probability > 1.001)  # float32 sums overshoot a little
    yield "candidates have a probability outside 0 to 1", base.where(wrong)
