"""Columns that the stages of curation hand to each other, as Arrow schemas; every table is joined by ``key``."""

from __future__ import annotations

import pyarrow as pa

from bioclip_training.published.columns import KEY, RANK_COLUMNS, RECORDS

__all__ = ["DUPLICATES", "IMAGES", "KEY", "KINDS", "LABELS", "LEAKS", "RANK_COLUMNS", "RECORDS", "SPLITS"]


def _texts(*names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, pa.string()) for name in names]


LABELS = pa.schema(
    [
        *_texts("key", *RANK_COLUMNS, "scientific_name", "rank", "common_name", "taxon_id", "outcome", "unresolved"),
        ("changes", pa.list_(pa.string())),  # every change made to the name, in order, as sentences
        ("common_name_language", pa.string()),  # BCP 47; empty if the source of the common name does not say
    ]
)
"""Stage ``names``: the clean label of each record; ``unresolved`` has the reason of one without a label."""

IMAGES = pa.schema(
    [
        *_texts("key", "sha256", "md5", "unreadable"),  # unreadable: the reason, empty for an image
        ("hash_mismatch", pa.string()),  # published hash and that of the bytes, if they differ; else empty
        ("phash", pa.binary()),  # empty for an image of one colour
        ("phash_inner", pa.binary()),  # hashes without the margins that copies may have lost, one after the other
        ("colours", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
    ]
)
"""Stage ``images``: hashes and size of each record's image; ``width`` and ``height`` are those of the upright image, in pixels."""

DUPLICATES = pa.schema(
    [
        *_texts(
            "key",
            "exact_group",  # smallest key of the records with these bytes and this region
            "near_group",  # smallest key of the records whose images are equal, near or regions of one image; never split
            "duplicate_of",
            "duplicate_kind",  # equal or near, for a duplicate
            "conflict",  # how its label contradicts that of another record with equal bytes; the record is excluded
        ),
    ]
)
"""Stage ``duplicates``: ``duplicate_of`` is the key of the record that stays in place of this one; empty if it stays itself."""

LEAKS = pa.schema([*_texts("key", "evaluation_set", "kind", "evaluation_item")])
"""Stage ``leakage``: a row per leak; ``kind`` is image, near, observation or taxon."""

SPLITS = pa.schema([*_texts("key", "group", "split", "excluded")])
"""Stage ``splits``: ``group`` is the cluster that is never on both sides of a split; ``excluded`` is the reason why a record is in no
split, and then ``split`` is empty."""

KINDS = pa.schema([*_texts("key", "image_kind", "kind_reason")])
"""Stage ``kinds``: how an image was made, and the rule that says so."""
