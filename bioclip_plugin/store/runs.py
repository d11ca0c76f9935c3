"""Runs: begun or taken up again, ended, listed; and the identities of their three layers."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, Table, delete, select, update

from bioclip_core.errors import StoreError
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import insert_new, upsert
from bioclip_plugin.store.database.values import digest, from_json, moment_of, now, to_json
from bioclip_plugin.store.records import RUN_STATUSES, Run, RunPlan, RunStatus

LIST_STAGE = "list"
"""The stage of failures that the listing itself makes; they last until the run is taken up again and lists anew."""
GONE = "listed earlier and not answered; now it is not in the listing any more"

_KEPT_PROVENANCES = 50


def begin(connection: Connection, plan: RunPlan) -> Run:
    """Take up the run with the plan's sources and ``rule_id``, or make it."""
    key = digest(list(plan.sources), plan.rule_id)
    decision_set = _layers(connection, plan)
    found = connection.execute(select(schema.runs).where(schema.runs.c.key == key)).first()
    moment = now()
    if found is None:
        row = {
            "key": key,
            "decision_set": decision_set,
            "status": "running",
            "created_at": moment,
            "begun_at": moment,
            "sources": to_json(list(plan.sources)),
            "settings": to_json(plan.settings),
            "provenance": to_json(plan.provenance),
            "earlier_provenance": "[]",
            "counts": "{}",
        }
        insert_new(connection, schema.runs, [row])
    else:
        _take_up(connection, found, plan, moment)
    return _one(connection, schema.runs.c.key == key, resumed=found is not None)


def _take_up(connection: Connection, found: Row[Any], plan: RunPlan, moment: str) -> None:
    earlier = from_json(found.earlier_provenance)
    provenance = to_json(plan.provenance)
    if provenance != found.provenance:
        last = from_json(found.provenance)
        earlier = [entry for entry in earlier if entry != last] + [last]
        if len(earlier) > _KEPT_PROVENANCES:  # the first time is always kept
            earlier = earlier[:1] + earlier[1 - _KEPT_PROVENANCES :]
    change = {
        "status": "running",
        "begun_at": moment,
        "ended_at": None,
        "settings": to_json(plan.settings),
        "provenance": provenance,
        "earlier_provenance": to_json(earlier),
    }
    connection.execute(update(schema.runs).where(schema.runs.c.id == found.id).values(**change))
    failed = schema.failures.c
    gone = select(failed.media).where(failed.run == found.id, failed.stage == LIST_STAGE)
    listed = schema.listing.c
    connection.execute(delete(schema.listing).where(listed.run == found.id, listed.media.in_(gone)))
    connection.execute(delete(schema.failures).where(failed.run == found.id, failed.stage == LIST_STAGE))


def end(connection: Connection, run: Run, status: RunStatus, counts: dict[str, Any]) -> None:
    """Note how a run ended; a finished one leaves nothing to do, so what nobody listed again becomes a failure."""
    if status not in RUN_STATUSES:
        raise ValueError(f"run status {status!r}: one of {', '.join(RUN_STATUSES)}")
    change = {"status": status, "ended_at": None if status == "running" else now(), "counts": to_json(counts)}
    connection.execute(update(schema.runs).where(schema.runs.c.id == run.id).values(**change))
    if status == "finished":
        _close_listing(connection, run)


def _close_listing(connection: Connection, run: Run) -> None:
    listed = schema.listing.c
    todo = connection.execute(select(listed.media).where(listed.run == run.id, listed.status == 0)).scalars().all()
    moment = now()
    rows = [
        {"run": run.id, "media": media, "stage": LIST_STAGE, "reason": GONE, "failed_at": moment, "attempts": 1}
        for media in todo
    ]
    upsert(connection, schema.failures, rows)
    if todo:
        connection.execute(update(schema.listing).where(listed.run == run.id, listed.status == 0).values(status=2))


def all_runs(connection: Connection) -> list[Run]:
    """Every run, oldest first."""
    rows = connection.execute(_joined().order_by(schema.runs.c.id))
    return [_run_of(row, resumed=False) for row in rows]


def one_run(connection: Connection, number: int | None) -> Run:
    """The run of this number, or the one begun last.

    Raises:
        StoreError: if there is none, with what there is.
    """
    runs = schema.runs.c
    query = _joined().order_by(runs.begun_at.desc(), runs.id.desc()).limit(1)
    row = connection.execute(query if number is None else query.where(runs.id == number)).first()
    if row is not None:
        return _run_of(row, resumed=False)
    there = connection.execute(select(runs.id).order_by(runs.id.desc()).limit(10)).scalars().all()
    if not there:
        raise StoreError("there are no runs in this store yet: `bioclip-plugin classify` makes one")
    numbers = ", ".join(map(str, reversed(there)))
    raise StoreError(
        f"there is no run {number} in this store; the latest are {numbers} (see `bioclip-plugin runs list`)"
    )


def last_feature_settings(connection: Connection, weights_sha256: str) -> list[dict[str, Any]]:
    """The settings of earlier feature sets of these weights, the one used last first."""
    runs, sets = schema.runs.c, schema.feature_sets.c
    query = (
        select(sets.id, sets.settings)
        .select_from(
            schema.runs.join(schema.decision_sets, runs.decision_set == schema.decision_sets.c.id)
            .join(schema.answer_sets, schema.decision_sets.c.answer_set == schema.answer_sets.c.id)
            .join(schema.feature_sets, schema.answer_sets.c.feature_set == sets.id)
        )
        .order_by(runs.begun_at.desc(), runs.id.desc())
    )
    found: dict[int, dict[str, Any]] = {}
    for number, text in connection.execute(query):
        settings = from_json(text)
        if settings.get("weights_sha256") == weights_sha256:
            found.setdefault(number, settings)
    return list(found.values())


def _layers(connection: Connection, plan: RunPlan) -> int:
    features = {"settings": to_json(plan.feature_settings), "dimension": plan.dimension}
    feature_set = _layer(connection, schema.feature_sets, "feature_id", plan.feature_id, features)
    answers = {"feature_set": feature_set, "settings": to_json(plan.answer_settings)}
    answer_set = _layer(connection, schema.answer_sets, "answer_id", plan.answer_id, answers)
    decisions = {"answer_set": answer_set, "settings": to_json(plan.rule_settings)}
    return _layer(connection, schema.decision_sets, "rule_id", plan.rule_id, decisions)


def _layer(connection: Connection, table: Table, name: str, identity: str, values: dict[str, Any]) -> int:
    query = select(table.c.id).where(table.c[name] == identity)
    number = connection.execute(query).scalar()
    if number is None:
        insert_new(connection, table, [{name: identity, **values}])
        number = connection.execute(query).scalar_one()
    return int(number)


def _joined() -> Select[Any]:
    features, answers, decisions = schema.feature_sets.c, schema.answer_sets.c, schema.decision_sets.c
    return select(
        schema.runs,
        features.id.label("feature_set"),
        features.feature_id,
        features.settings.label("feature_settings"),
        features.dimension,
        answers.id.label("answer_set"),
        answers.answer_id,
        answers.settings.label("answer_settings"),
        decisions.rule_id,
        decisions.settings.label("rule_settings"),
    ).select_from(
        schema.runs.join(schema.decision_sets, schema.runs.c.decision_set == decisions.id)
        .join(schema.answer_sets, decisions.answer_set == answers.id)
        .join(schema.feature_sets, answers.feature_set == features.id)
    )


def _one(connection: Connection, condition: Any, *, resumed: bool) -> Run:
    return _run_of(connection.execute(_joined().where(condition)).one(), resumed=resumed)


def _run_of(row: Row[Any], *, resumed: bool) -> Run:
    return Run(
        id=row.id,
        key=row.key,
        sources=tuple(from_json(row.sources)),
        created_at=moment_of(row.created_at),
        begun_at=moment_of(row.begun_at),
        ended_at=moment_of(row.ended_at) if row.ended_at else None,
        status=row.status,
        resumed=resumed,
        settings=from_json(row.settings),
        provenance=from_json(row.provenance),
        earlier_provenance=tuple(from_json(row.earlier_provenance)),
        feature_set=row.feature_set,
        answer_set=row.answer_set,
        decision_set=row.decision_set,
        feature_id=row.feature_id,
        answer_id=row.answer_id,
        rule_id=row.rule_id,
        feature_settings=from_json(row.feature_settings),
        answer_settings=from_json(row.answer_settings),
        rule_settings=from_json(row.rule_settings),
        dimension=row.dimension,
        counts=from_json(row.counts),
    )
