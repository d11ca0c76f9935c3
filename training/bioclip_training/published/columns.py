"""Columns of a record, as an Arrow schema: what every reader of a published layout yields."""

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
            "published_sha256",  # of the bytes as they are stored here: a file, or the pixels in a row
            "published_md5",
            "published_original_sha256",  # of the file that was fetched, before it was made smaller or decoded
            "published_original_md5",
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
