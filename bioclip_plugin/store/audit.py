"""The audit sample: rows of images that are drawn once, and read by everything that must not train on them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from bioclip_core.errors import StoreError
from bioclip_core.nouns import number_of
from bioclip_plugin.store.database import schema, versions
from bioclip_plugin.store.database.bulk import insert_new, rows_with
from bioclip_plugin.store.database.values import clean_text, moment_of, moment_text
from bioclip_plugin.store.records import AuditItem, DrawnItem


def items(connection: Connection) -> list[AuditItem]:
    """Return the audit sample in the order of the images' numbers; empty if none was drawn."""
    if versions.lacks_audit(connection):
        return []
    table, media = schema.audit_items, schema.media
    query = select(table, media.c.uri, media.c.frame).join(media, table.c.media == media.c.id).order_by(table.c.media)
    return [
        AuditItem(row.media, row.uri, row.frame, row.event, row.stratum, row.inclusion, moment_of(row.drawn_at))
        for row in connection.execute(query)
    ]


def audited(connection: Connection, media: Collection[int]) -> set[int]:
    """Return those of these images that are in the audit sample."""
    if versions.lacks_audit(connection):
        return set()
    table = schema.audit_items.c
    return {row.media for row in rows_with(connection, select(table.media), table.media, media)}


def keep(connection: Connection, drawn: Sequence[DrawnItem]) -> None:
    """Store an audit sample.

    Raises:
        StoreError: if the store has another one.
    """
    table = schema.audit_items
    if connection.dialect.name == "postgresql":  # two programs may draw at once
        connection.exec_driver_sql(f"LOCK TABLE {table.name} IN EXCLUSIVE MODE")
    stored = select(table.c.media, table.c.event, table.c.stratum, table.c.inclusion)
    known = {DrawnItem(*row) for row in connection.execute(stored)}
    drawn = [one._replace(event=clean_text(one.event), stratum=clean_text(one.stratum)) for one in drawn]
    if known == set(drawn):  # a repeated transaction whose commit was not confirmed
        return
    if known:
        when = connection.execute(select(func.min(table.c.drawn_at))).scalar_one()
        raise StoreError(
            f"the audit sample was drawn on {moment_of(when):%Y-%m-%d} ({number_of(len(known), 'image')}) and is drawn only once: "
            "a later draw would depend on what was reviewed since; go on with that one"
        )
    now = moment_text(datetime.now(UTC))
    names = ("media", "event", "stratum", "inclusion", "drawn_at")
    insert_new(connection, table, names, [(one.media_id, one.event, one.stratum, one.inclusion, now) for one in drawn])
