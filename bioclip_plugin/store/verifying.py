"""The proof that a run's listing equals its results and failures, as queries that the database answers alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, or_, select

from bioclip_plugin.store.database import schema
from bioclip_plugin.store.listing import DONE, FAILED
from bioclip_plugin.store.reading import summary
from bioclip_plugin.store.records import Run, Verification

_EXAMPLES = 3


def verify(connection: Connection, run: Run) -> Verification:
    """Count a run's items and name everything that does not add up."""
    counts = summary(connection, run)
    problems = [
        *_listing_problems(connection, run),
        *_region_problems(connection, run),
        *_orphans(connection, run),
    ]
    return Verification(counts.listed, counts.done, counts.failed, counts.todo, problems)


def undecided(connection: Connection, run: Run) -> int:
    """How many answered regions the run's rules have not decided on yet; 0 for a run without rules."""
    if len(run.rule_settings.get("rules", ())) < 2:  # the first one is the consensus
        return 0
    decision, ruled = _decided(run)
    query = _classified_regions(run).where(decision, ~ruled)
    return int(connection.execute(select(func.count()).select_from(query.subquery())).scalar_one())


def _listing_problems(connection: Connection, run: Run) -> list[str]:
    listed, failed, regions = schema.listing.c, schema.failures.c, schema.listed_regions.c
    failure = exists().where(failed.run == run.id, failed.media == listed.media)
    region = exists().where(regions.run == run.id, regions.media == listed.media)
    media = (
        select(schema.media.c.uri).join(schema.listing, listed.media == schema.media.c.id).where(listed.run == run.id)
    )
    found = [
        _named(connection, "failed items have no reason", media.where(listed.status == FAILED, ~failure)),
        _named(connection, "items that are not failed have a failure", media.where(listed.status != FAILED, failure)),
        _named(connection, "items that are not done have regions", media.where(listed.status != DONE, region)),
        _named(
            connection, "items have a status that does not exist", media.where(listed.status.not_in([0, DONE, FAILED]))
        ),
        _named(connection, "positions of the listing are given twice", _twice(run)),
    ]
    unlisted = ~exists().where(listed.run == run.id, listed.media == failed.media)
    beside = select(schema.media.c.uri).join(schema.failures, failed.media == schema.media.c.id)
    found.append(_named(connection, "failures are of items not listed", beside.where(failed.run == run.id, unlisted)))
    return [problem for problem in found if problem]


def _twice(run: Run) -> Any:
    listed = schema.listing.c
    return select(listed.position).where(listed.run == run.id).group_by(listed.position).having(func.count() > 1)


def _region_problems(connection: Connection, run: Run) -> list[str]:
    """Every region of a done item has an answer, a decision and features of the right length."""
    here, listed = schema.listed_regions.c, schema.listing.c
    answers, features = schema.answers.c, schema.features.c
    regions, media = schema.regions.c, schema.media.c
    base = _classified_regions(run)
    answer = exists().where(answers.answer_set == run.answer_set, answers.region == here.region)
    decision, ruled = _decided(run)
    box = [features[name] == regions[name] for name in ("x", "y", "w", "h")]
    right = func.length(features.vector) == 2 * run.dimension  # float16
    has_rules = len(run.rule_settings.get("rules", ())) > 1
    feature = exists().where(features.feature_set == run.feature_set, features.content == media.content, *box, right)
    found = [
        _named(connection, "regions have no answer", base.where(~answer)),
        _named(connection, "regions have no decision", base.where(~decision)),
        _named(connection, "regions are not decided by the run's rules yet", base.where(decision, ~ruled))
        if has_rules
        else None,
        _named(connection, f"regions have no features of {run.dimension} numbers", base.where(~feature)),
        _named(connection, "regions are of items not listed", base.where(listed.media.is_(None))),
        _named(connection, "regions are of another image", base.where(regions.media != here.media)),
    ]
    return [problem for problem in found if problem]


def _classified_regions(run: Run) -> Select[Any]:
    """The uris of a run's regions that are to be answered, one a region."""
    here, listed, media = schema.listed_regions.c, schema.listing.c, schema.media.c
    return (
        select(media.uri)
        .select_from(
            schema.listed_regions.join(schema.regions, here.region == schema.regions.c.id)
            .join(schema.media, here.media == media.id)
            .outerjoin(schema.listing, and_(listed.run == run.id, listed.media == here.media))
        )
        .where(here.run == run.id, or_(here.classified.is_(None), here.classified != 0))
    )


def _decided(run: Run) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Whether a listed region has a decision, and whether that is one by rules."""
    decisions = schema.decisions.c
    here = (decisions.decision_set == run.decision_set, decisions.region == schema.listed_regions.c.region)
    # A trail, be it an empty one, is what a pass of rules leaves; before it stands the consensus alone.
    return exists().where(*here), exists().where(*here, decisions.trail.is_not(None))


def _orphans(connection: Connection, run: Run) -> list[str]:
    """Candidates without an answer, and probabilities that are none; over the run's whole answer set."""
    rows, answers, regions, media = schema.candidates.c, schema.answers.c, schema.regions.c, schema.media.c
    base = (
        select(media.uri)
        .select_from(
            schema.candidates.join(schema.regions, rows.region == regions.id).join(
                schema.media, regions.media == media.id
            )
        )
        .where(rows.answer_set == run.answer_set)
    )
    answer = exists().where(answers.answer_set == rows.answer_set, answers.region == rows.region)
    wrong: ColumnElement[bool] = or_(rows.probability < 0, rows.probability > 1.001)  # float32 sums overshoot a little
    taxon = exists().where(schema.taxa.c.id == rows.taxon)
    found = [
        _named(connection, "candidates have no taxon", base.where(~taxon)),
        _named(connection, "candidates belong to no answer", base.where(~answer)),
        _named(connection, "candidates have a probability outside 0 to 1", base.where(wrong)),
    ]
    return [problem for problem in found if problem]


def _named(connection: Connection, sentence: str, query: Any) -> str | None:
    """The sentence with a count and a few examples, None where the query finds nothing."""
    number = connection.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    if not number:
        return None
    examples = ", ".join(str(value) for value in connection.execute(query.limit(_EXAMPLES)).scalars())
    return f"{number} {sentence}: {examples}{', …' if number > _EXAMPLES else ''}"
