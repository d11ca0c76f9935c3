"""Runs derived from the answers of another run: the same sources and listing, other rules."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, delete, literal, select

from bioclip_plugin.store import runs
from bioclip_plugin.store.database import schema
from bioclip_plugin.store.database.bulk import insert_for
from bioclip_plugin.store.database.values import digest, from_json
from bioclip_plugin.store.records import Run, RunPlan

DERIVED = "rules_of_run"
"""Key in the provenance of a derived run: the number of the run whose listing it has."""

_LISTING = (schema.listing, schema.listed_regions, schema.failures)


def derive(connection: Connection, base: Run, plan: RunPlan) -> Run:
    """Make or find the plan's run, and give it the present listing of ``base``."""
    key = digest(list(plan.sources), plan.rule_id)
    if key == base.key:
        return base
    known = schema.runs.c
    found = connection.execute(select(known.id, known.provenance).where(known.key == key)).first()
    if found is not None and DERIVED not in from_json(found.provenance):
        return runs.one_run(connection, found.id)
    run = runs.begin(connection, replace(plan, provenance={**plan.provenance, DERIVED: base.id}))
    for table in reversed(_LISTING):
        connection.execute(delete(table).where(table.c.run == run.id))
    for table in _LISTING:
        names = [column.name for column in table.columns if column.name != "run"]
        rows = select(literal(run.id), *(table.c[name] for name in names)).where(table.c.run == base.id)
        connection.execute(insert_for(connection, table).from_select(["run", *names], rows))
    return run
