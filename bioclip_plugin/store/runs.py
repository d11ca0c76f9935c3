"""Runs: begun or resumed, derived, ended, listed; the identities of their three layers, and their failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, and_, delete, insert, literal, or_, select, update

from bioclip_core.errors import StoreError
from bioclip_core.next_commands import command
from bioclip_core.options import LARGEST_WHOLE
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.web import FETCH_STAGE, NOT_FETCHED, NOT_FETCHED_IN_PYTHON
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.address import shown
from bioclip_plugin.store.database.bulk import execute, insert_new, keys_parameter, upsert
from bioclip_plugin.store.database.holds import Holds
from bioclip_plugin.store.database.values import from_json, moment_of, now, to_json
from bioclip_plugin.store.records import ENCODED_WITH, FAILED, TODO, Run, RunPlan
from bioclip_plugin.store.statuses import RUN_STATUSES, RunStatus

LIST_STAGE = "list"
"""The stage of failures of the listing itself; they last until the run is resumed and lists again."""
DERIVED = "rules_of_run"
"""Key in the provenance of a derived run: the number of the run whose listing it has."""
DELETING, DELETED = "deleting", "deleted"
"""Statuses of runs that no reader sees: half deleted, and deleted but for the listing that a review needs."""
HIDDEN = (DELETING, DELETED)
GONE = "listed earlier and not answered; now it is not in the listing any more"

_KEPT_PROVENANCES = 50
_LISTING = (schema.listing, schema.listed_regions, schema.failures)


def begin(connection: Connection, plan: RunPlan) -> Run:
    """Resume the run with the plan's sources and ``rule_id``, or make it."""
    key = plan.key
    decision_set = _decision_set(connection, plan)
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
        insert_new(connection, schema.runs, list(row), [tuple(row.values())])
    else:
        _resume(connection, found, plan, moment)
    return _run_of(connection.execute(_joined().where(schema.runs.c.key == key)).one(), resumed=found is not None)


def _resume(connection: Connection, found: Row[Any], plan: RunPlan, moment: str) -> None:
    earlier, last = from_json(found.earlier_provenance), from_json(found.provenance)
    provenance = dict(from_json(to_json(plan.provenance)))
    if ENCODED_WITH in last:  # of the features that the run has, until it computes others
        provenance[ENCODED_WITH] = last[ENCODED_WITH]
    if provenance != last:
        earlier = _with_last(earlier, last)
    change = {
        "status": "running",
        "begun_at": moment,
        "ended_at": None,
        "settings": to_json(plan.settings),
        "provenance": to_json(provenance),
        "earlier_provenance": to_json(earlier),
    }
    connection.execute(update(schema.runs).where(schema.runs.c.id == found.id).values(**change))
    if not plan.keeps_listing:
        _forget_unlisted(connection, found.id)


def forget_unlisted(connection: Connection, run: Run) -> None:
    """Forget the failures of a run's listing, before it is listed again."""
    check(connection, run, alone=True)
    _forget_unlisted(connection, run.id)


def _forget_unlisted(connection: Connection, run: int) -> None:
    failed, listed = schema.failures.c, schema.listing.c
    # An image on the web that was not asked for may now be listed as a file.
    is_unasked = and_(failed.stage == FETCH_STAGE, failed.reason.in_((NOT_FETCHED, NOT_FETCHED_IN_PYTHON)))
    unlisted = (failed.run == run, or_(failed.stage == LIST_STAGE, is_unasked))
    connection.execute(
        delete(schema.listing).where(listed.run == run, listed.media.in_(select(failed.media).where(*unlisted)))
    )
    connection.execute(delete(schema.failures).where(*unlisted))


def _with_last(earlier: list[Any], last: Any) -> list[Any]:
    """Return earlier provenances with the last one at the end; the first one is always kept."""
    earlier = [entry for entry in earlier if entry != last] + [last]
    return earlier if len(earlier) <= _KEPT_PROVENANCES else earlier[:1] + earlier[1 - _KEPT_PROVENANCES :]


def note_encoder(connection: Connection, run: Run, encoded_with: Mapping[str, Any]) -> None:
    """Record what computes the features of a run from now on; another encoder of before moves to the earlier provenances."""
    check(connection, run)
    columns = schema.runs.c
    found = connection.execute(select(columns.provenance, columns.earlier_provenance).where(columns.id == run.id)).one()
    earlier, last = from_json(found.earlier_provenance), from_json(found.provenance)
    if last.get(ENCODED_WITH) == encoded_with:
        return
    change = {"provenance": to_json({**last, ENCODED_WITH: dict(encoded_with)})}
    if ENCODED_WITH in last:
        change["earlier_provenance"] = to_json(_with_last(earlier, last))
    connection.execute(update(schema.runs).where(columns.id == run.id).values(**change))


def check(connection: Connection, run: Run, *, alone: bool = False, writes: bool = False) -> None:
    """Check that a run is still there: its key changes when its deletion begins.

    Args:
        alone: True to be the only one that changes the run's listing until the end of the transaction.
        writes: True to keep the run, and so the layers that it refers to, from being removed until then: most rows that refer
            to them have no foreign keys on PostgreSQL.

    Raises:
        StoreError: if it was deleted, or a later run has its number.
    """
    locked = ""
    if connection.dialect.name == "postgresql":
        locked = " FOR NO KEY UPDATE" if alone else " FOR KEY SHARE" if writes else ""
    query = f"SELECT created_at FROM {schema.runs.name} WHERE id = ? AND key = ?{locked}"
    created = execute(connection, query, run.id, run.key).scalar()
    if created is None or moment_of(created) != run.created_at:
        raise StoreError(f"run {run.id} was deleted while it was in use: its classify command makes it again")


def derive(connection: Connection, base: Run, plan: RunPlan) -> Run:
    """Make or find the plan's run, and give it the present listing of ``base``."""
    check(connection, base)
    key = plan.key
    if key == base.key:
        return base
    known = schema.runs.c
    found = connection.execute(select(known.id, known.provenance).where(known.key == key)).first()
    if found is not None and DERIVED not in from_json(found.provenance):
        return one_run(connection, found.id)
    run = begin(connection, replace(plan, provenance={**plan.provenance, DERIVED: base.id}))
    for table in reversed(_LISTING):
        connection.execute(delete(table).where(table.c.run == run.id))
    for table in _LISTING:
        names = [column.name for column in table.columns if column.name != "run"]
        rows = select(literal(run.id), *(table.c[name] for name in names)).where(table.c.run == base.id)
        connection.execute(insert(table).from_select(["run", *names], rows))
    return run


def end(connection: Connection, run: Run, status: RunStatus, counts: dict[str, Any]) -> None:
    """Record how a run ended; in a finished run, items that were not listed again become failures."""
    if status not in RUN_STATUSES:
        raise ValueError(f"run status {status!r}: allowed are {', '.join(RUN_STATUSES)}")
    check(connection, run)
    change = {"status": status, "ended_at": None if status == "running" else now(), "counts": to_json(counts)}
    connection.execute(update(schema.runs).where(schema.runs.c.id == run.id).values(**change))
    if status == "finished":
        listed = schema.listing.c
        todo = connection.execute(select(listed.media).where(listed.run == run.id, listed.status == TODO)).scalars()
        fail(connection, run, dict.fromkeys(todo, Failure(LIST_STAGE, GONE)))


def fail(connection: Connection, run: Run, failures: Mapping[int, Failure]) -> None:
    """Record failures by the numbers of their media; a medium that failed before has one more attempt."""
    if not failures:
        return
    names, moment = ("run", "media", "stage", "reason", "failed_at", "attempts"), now()
    rows = [(run.id, media, failure.stage, failure.reason, moment, 1) for media, failure in sorted(failures.items())]
    upsert(connection, schema.failures, names, rows, changing={"attempts": f"{schema.failures.name}.attempts + 1"})
    media = keys_parameter(connection, list(failures))
    execute(
        connection,
        f"UPDATE {schema.listing.name} SET status = {FAILED} WHERE run = ? AND media {{keys}}",
        run.id,
        media,
    )


def all_runs(connection: Connection) -> list[Run]:
    """Return every run, oldest first."""
    return [_run_of(row, resumed=False) for row in connection.execute(_joined().order_by(schema.runs.c.id))]


def one_run(connection: Connection, number: int | None) -> Run:
    """Return the run of this number, or the one that was begun last.

    Raises:
        StoreError: if it does not exist, with the latest runs that do.
    """
    runs = schema.runs.c
    query = _joined().order_by(runs.begun_at.desc(), runs.id.desc()).limit(1)
    is_possible = number is None or 0 < number <= LARGEST_WHOLE
    row = (
        connection.execute(query if number is None else query.where(runs.id == number)).first() if is_possible else None
    )
    if row is not None:
        return _run_of(row, resumed=False)
    where = shown(connection.engine.url)
    if number in half_deleted(connection):
        raise StoreError(
            f"run {number} is half deleted: `{command('runs delete', number, store=where, yes=True)}` finishes that"
        )
    latest = (
        connection.execute(select(runs.id).where(runs.status.not_in(HIDDEN)).order_by(runs.id.desc()).limit(10))
        .scalars()
        .all()
    )
    if not latest:
        raise StoreError("there are no runs in this store yet: `classify` makes one")
    raise StoreError(
        f"there is no run {number} in this store; the latest are {', '.join(map(str, reversed(latest)))} "
        f"(see `{command('runs list', store=where)}`)"
    )


def half_deleted(connection: Connection) -> list[int]:
    """Return the numbers of the runs whose deletion was begun and not finished."""
    runs = schema.runs.c
    return list(connection.execute(select(runs.id).where(runs.status == DELETING).order_by(runs.id)).scalars())


def held_runs(connection: Connection, holds: Holds) -> list[int]:
    """Return the numbers of the runs that a program works on."""
    numbers = connection.execute(select(schema.runs.c.id).order_by(schema.runs.c.id)).scalars().all()
    return [number for number in numbers if holds.is_held(connection, number)]


def worked_on(connection: Connection, holds: Holds) -> list[int]:
    """Return the numbers of the runs that others work on, or other connections of this program."""
    runs = schema.runs.c
    numbers = connection.execute(select(runs.id).where(runs.status == "running").order_by(runs.id)).scalars().all()
    return [number for number in numbers if not holds.is_mine(number) and holds.is_held(connection, number)]


def beside(run: Run, others: Sequence[int], *, is_sqlite: bool) -> str:
    """Return a line about programs that work beside the one that began a run; empty if it need not be said."""
    if run.id in others:
        return (
            f"another program works on run {run.id}, too: both do the same work, each row is stored once, and nothing is lost; "
            "end one of them to save its time"
        )
    if others and is_sqlite:
        words = f"run {others[0]}" if len(others) == 1 else f"runs {', '.join(map(str, others))}"
        return (
            f"another program works on {words}: SQLite has one writer at a time, so commits wait for each other; nothing is "
            "lost, and PostgreSQL would let both write"
        )
    return ""


def last_feature_settings(connection: Connection, weights_sha256: str) -> list[dict[str, Any]]:
    """Return the settings of earlier feature sets of these weights, the one used last first."""
    runs = schema.runs.c
    found: dict[int, dict[str, Any]] = {}
    for row in connection.execute(_joined().order_by(runs.begun_at.desc(), runs.id.desc())):
        found.setdefault(row.feature_set, from_json(row.feature_settings))
    return [settings for settings in found.values() if settings.get("weights_sha256") == weights_sha256]


def _decision_set(connection: Connection, plan: RunPlan) -> int:
    """Return the number of the plan's decision set; the three nested layers are made if they are new."""
    number = _layer(
        connection, schema.feature_sets, feature_id=plan.feature_id, settings=to_json(plan.feature_settings),
        dimension=plan.dimension,
    )  # fmt: skip
    number = _layer(
        connection, schema.answer_sets, answer_id=plan.answer_id, settings=to_json(plan.answer_settings), feature_set=number
    )  # fmt: skip
    return _layer(
        connection, schema.decision_sets, rule_id=plan.rule_id, settings=to_json(plan.rule_settings), answer_set=number
    )  # fmt: skip


def _layer(connection: Connection, table: Table, **values: Any) -> int:
    """Return the number of one layer, which its first value identifies."""
    name, identity = next(iter(values.items()))
    query = select(table.c.id).where(table.c[name] == identity)
    number = connection.execute(query).scalar()
    if number is None:
        insert_new(connection, table, list(values), [tuple(values.values())])
        number = connection.execute(query).scalar_one()
    return int(number)


def _joined() -> Select[Any]:
    """Return a query of the runs that are not deleted, with the settings of their layers."""
    features, answers, decisions = schema.feature_sets.c, schema.answer_sets.c, schema.decision_sets.c
    return (
        select(
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
        )
        .select_from(
            schema.runs.join(schema.decision_sets, schema.runs.c.decision_set == decisions.id)
            .join(schema.answer_sets, decisions.answer_set == answers.id)
            .join(schema.feature_sets, answers.feature_set == features.id)
        )
        .where(schema.runs.c.status.not_in(HIDDEN))
    )


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
