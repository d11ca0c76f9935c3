"""Ids by which two sources tell that an image belongs to one observation, as texts that can be compared.

Plain numbers say nothing without the place that counts them, so they are compared within one kind of source only.
"""

from __future__ import annotations

_KIND = "split_part(layout, '-', 1)"
_NUMBER = "'^[0-9]+$'"
# The sites of iNaturalist's network share the numbers of observations.
_INAT = "'^(?:https?://)?(?:[a-z0-9-]+\\.)*(?:inaturalist|naturalista|argentinat|biodiversity4all)\\.[a-z.]+/observations/([0-9]+)/?$'"
_INAT_PHOTO = "'inaturalist[^/]*/photos/([0-9]+)/'"
_EOL_FILE = "'(?:^|[/#])([0-9]+)_[0-9]+_eol[^/#]*$'"

_OBSERVATION = f"""CASE
    WHEN observation_id = '' THEN ''
    WHEN regexp_extract(observation_id, {_INAT}, 1) <> ''
        THEN 'iNaturalist observation ' || regexp_extract(observation_id, {_INAT}, 1)
    WHEN regexp_matches(observation_id, {_NUMBER}) THEN {_KIND} || ' observation ' || observation_id
    ELSE 'observation ' || lower(trim(observation_id)) END"""
_EVENT = f"""CASE
    WHEN event_id = '' OR regexp_matches(event_id, {_NUMBER}) THEN ''
    ELSE {_KIND} || ' event ' || event_id END"""
_CONTENT = f"""CASE
    WHEN eol_content_id <> '' THEN 'EOL content ' || eol_content_id
    WHEN regexp_extract(uri, {_EOL_FILE}, 1) <> '' THEN 'EOL content ' || regexp_extract(uri, {_EOL_FILE}, 1)
    ELSE '' END"""
_PHOTO = f"""CASE
    WHEN regexp_extract(url, {_INAT_PHOTO}, 1) <> '' THEN 'iNaturalist photo ' || regexp_extract(url, {_INAT_PHOTO}, 1)
    WHEN url <> '' THEN 'address ' || regexp_replace(url, '^https?://(www\\.)?', '')
    ELSE '' END"""
_TREEOFLIFE = "CASE WHEN treeoflife_id <> '' THEN 'TreeOfLife ' || treeoflife_id ELSE '' END"
_STEM = "'file ' || lower(regexp_replace(regexp_extract(uri, '[^/#]*$'), '\\.[^.]*$', ''))"


def identities(records: str, *, file_names: bool) -> str:
    """Return a query for the ids of records: the columns ``key``, ``source`` and ``id``, a row per id.

    Args:
        records: table with the columns of ``RECORDS``, in SQL.
        file_names: compare the names of files without their suffixes, too.
    """
    texts = [_OBSERVATION, _EVENT, _CONTENT, _PHOTO, _TREEOFLIFE, *([_STEM] if file_names else [])]
    listed = ", ".join(f"({text})" for text in texts)
    return f"SELECT key, source, id FROM (SELECT key, source, unnest([{listed}]) AS id FROM {records}) WHERE id <> '' AND id <> 'file '"
