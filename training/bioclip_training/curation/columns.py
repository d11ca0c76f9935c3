"""Columns that the stages of curation hand to each other, as Arrow schemas; every table is joined by ``key``."""

from __future__ import annotations

import pyarrow as pa

from bioclip_core.taxonomy import RANKS

KEY = "key"
"""Hex md5 of source, NUL and record id: the same whatever the order of sources and rows."""
RANK_COLUMNS = tuple(rank.value for rank in RANKS)
"""kingdom … species; ``species`` holds the epithet, as in TreeOfLife's own catalogs."""


def _texts(*names: str) -> list[tuple[str, pa.DataType]]:
    return [(name, pa.string()) for name in names]


RECORDS = pa.schema(
    [
        *_texts(
            "key",
            "source",  # name in the configuration
            "layout",  # published layout that it was read as
            "record_id",  # the source's own stable id of this image; never a row number
            "uri",  # file relative to the source's folder; a member of a tar is FILE#MEMBER, a row of a Parquet file FILE#ROW
            "url",  # address that the source states
            "verbatim_name",  # the name as the source writes it, with authors and marks; empty if it only has ranks
            *RANK_COLUMNS,  # as the source writes them
            "taxon_rank",  # as the source writes it
            "source_taxon_id",  # the source's own id of the taxon: an EOL page, a GBIF taxonKey, an iNat21 category
            "common_name",
            "common_name_language",  # BCP 47; empty if the source does not say
            "caption",  # of sources with text instead of a taxon
            "basis_of_record",  # Darwin Core's word, as the source writes it
            "life_stage",
            "sex",
            "licence",
            "rights_holder",
            "event_id",  # camera-trap sequence, collecting event
            "observation_id",  # occurrence, specimen or observation: its images are never on both sides of a split
            "recorded_by",
            "country",
            "locality",
            "event_date",  # ISO 8601 as far as it is stated
            "published_split",
            "published_sha256",
            "published_md5",
            "treeoflife_id",
            "eol_content_id",
            "eol_page_id",
            "bioscan_part",
            "bioscan_filename",
            "inat21_filename",
            "inat21_cls_name",
            "inat21_cls_num",
        ),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("bboxX", pa.float64()),  # fractions of the upright image, origin top left; null: the whole image
        ("bboxY", pa.float64()),
        ("bboxWidth", pa.float64()),
        ("bboxHeight", pa.float64()),
    ]
)
"""A record: one image (or box) as a published source states it. Texts that are unknown are empty, numbers are null."""

LABELS = pa.schema(
    [
        *_texts("key", *RANK_COLUMNS, "scientific_name", "rank", "common_name", "taxon_id", "outcome", "unresolved"),
        ("changes", pa.list_(pa.string())),  # every change made to the name, in order, as sentences
    ]
)
"""Stage ``names``: the clean label of each record; ``unresolved`` has the reason of one without a label."""

IMAGES = pa.schema(
    [
        *_texts("key", "sha256", "md5", "unreadable"),  # unreadable: the reason, empty for an image
        ("phash", pa.binary()),  # empty for an image of one colour
        ("colours", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("bytes", pa.int64()),
    ]
)
"""Stage ``images``: hashes and size of each record's image; ``width`` and ``height`` are those of the upright image, in pixels."""

DUPLICATES = pa.schema(
    [
        *_texts("key", "exact_group", "near_group", "duplicate_of"),  # groups: the smallest key of the cluster
    ]
)
"""Stage ``duplicates``: ``duplicate_of`` is the key of the record that stays in place of this one; empty if it stays itself."""

LEAKS = pa.schema([*_texts("key", "evaluation_set", "kind", "evaluation_item")])
"""Stage ``leakage``: a row per leak; ``kind`` is image, near, observation or taxon."""

SPLITS = pa.schema([*_texts("key", "group", "split")])
"""Stage ``splits``: ``group`` is the cluster that is never on both sides of a split."""
