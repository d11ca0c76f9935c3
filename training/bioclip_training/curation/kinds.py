"""Stage ``kinds``: how each image was made (camera trap, specimen, citizen science, illustration), from metadata alone.

The kinds are the published categories of TreeOfLife-200M, with illustrations apart; :data:`RULES` is the whole table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from bioclip_core.errors import UsageError
from bioclip_core.listed_names import did_you_mean
from bioclip_training.curation.columns import KINDS
from bioclip_training.curation.configuration import Curation
from bioclip_training.curation.stages import Stage, StageWork, name_of_part

CAMERA_TRAP, SPECIMEN, CITIZEN_SCIENCE, ILLUSTRATION, UNKNOWN = (
    "camera trap", "specimen", "citizen science", "illustration", "unknown",
)  # fmt: skip
IMAGE_KINDS = (CAMERA_TRAP, SPECIMEN, CITIZEN_SCIENCE, ILLUSTRATION, UNKNOWN)

_COLUMNS = ("key", "source", "layout", "basis_of_record", "url", "rights_holder")


@dataclass(frozen=True, slots=True)
class KindRule:
    """A pattern in one column that says how an image was made."""

    kind: str
    column: str
    pattern: str
    """Regular expression that is found in the value, without case."""
    reason: str


RULES: tuple[KindRule, ...] = (
    KindRule(ILLUSTRATION, "basis_of_record", r"illustration|drawing|painting|artwork|engraving", "the source calls it an illustration"),
    KindRule(ILLUSTRATION, "url", r"^https?://[^/]*biodiversitylibrary\.org/", "its address is in the Biodiversity Heritage Library"),
    KindRule(ILLUSTRATION, "rights_holder", r"biodiversity heritage library", "the Biodiversity Heritage Library holds its rights"),
    KindRule(CAMERA_TRAP, "layout", r"^(?:lila|coco-camera-traps|idle-oo)", "collections of this layout are camera-trap images"),
    KindRule(CAMERA_TRAP, "basis_of_record", r"machine.?observation", "basis of record: a machine observation"),
    KindRule(SPECIMEN, "layout", r"^bioscan", "BIOSCAN photographs specimens"),
    KindRule(SPECIMEN, "basis_of_record", r"(?:preserved|fossil).?specimen|material.?(?:sample|citation)", "basis of record: a specimen"),
    KindRule(CITIZEN_SCIENCE, "layout", r"^inat", "iNaturalist's images are of citizen science"),
    KindRule(CITIZEN_SCIENCE, "url", r"^https?://[^/]*inaturalist", "its address is iNaturalist's"),
    KindRule(CITIZEN_SCIENCE, "basis_of_record", r"human.?observation", "basis of record: a human observation"),
)  # fmt: skip
"""The first rule that fits decides. ``living specimen``, ``observation`` and ``occurrence`` say too little."""


@dataclass(frozen=True)
class KindsStage(Stage):
    """Find the kind of every record."""

    name: str = "kinds"
    version: int = 1
    needs: tuple[str, ...] = ("records",)

    def settings(self, config: Curation) -> dict[str, Any]:
        stated = [(f"kinds.by_source.{source}", kind) for source, kind in config.kinds.by_source.items()]
        for where, kind in (*stated, *(("kinds.exclude", kind) for kind in config.kinds.exclude)):
            if kind not in IMAGE_KINDS:
                raise UsageError(
                    f"{where} {kind!r}: allowed are {', '.join(IMAGE_KINDS)}{did_you_mean(str(kind), IMAGE_KINDS)}"
                )
        return {"by_source": dict(config.kinds.by_source)}

    def inputs(self, config: Curation) -> Mapping[str, Path]:  # noqa: ARG002
        return {}

    def run(self, work: StageWork) -> None:
        parts = work.parts_of("records")
        for number, path in enumerate(parts):
            work.progress(number, len(parts))
            if work.is_finished(name_of_part(path)):
                continue
            records = parquet.read_table(path, columns=list(_COLUMNS))
            table = kinds_of(records, work.config.kinds.by_source)
            with work.part(name_of_part(path), KINDS) as part:
                part.write(table)
                for entry in table.group_by(["image_kind", "kind_reason"]).aggregate([([], "count_all")]).to_pylist():
                    part.tally.count(f"{entry['image_kind']}: {entry['kind_reason']}", entry["count_all"])


def kinds_of(records: pa.Table, by_source: Mapping[str, str]) -> pa.Table:
    """Return the kind of each record, and the reason.

    Args:
        records: a table with the columns that the rules read.
        by_source: kinds that the configuration states.
    """
    conditions, kinds, reasons = [], [], []
    for source, kind in sorted(by_source.items()):
        conditions.append(pc.equal(records["source"], source))
        kinds.append(kind)
        reasons.append("stated in the configuration")
    for rule in RULES:
        conditions.append(pc.match_substring_regex(records[rule.column], rule.pattern, ignore_case=True))
        kinds.append(rule.kind)
        reasons.append(rule.reason)
    fits = pa.StructArray.from_arrays(
        [entry.combine_chunks() for entry in conditions], [str(n) for n in range(len(conditions))]
    )
    return pa.table({
        "key": records["key"],
        "image_kind": pc.case_when(fits, *map(pa.scalar, kinds), pa.scalar(UNKNOWN)),
        "kind_reason": pc.case_when(fits, *map(pa.scalar, reasons), pa.scalar("no rule fits")),
    })  # fmt: skip
