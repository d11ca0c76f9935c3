"""Kinds of images from metadata."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from bioclip_core.errors import UsageError
from bioclip_training.curation.configuration import Curation, KindsConfig, SourceConfig
from bioclip_training.curation.kinds import KindsStage, kinds_of


def kind(by_source: dict[str, str] | None = None, **given: str) -> tuple[str, str]:
    row = {"key": "k", "source": "s", "layout": "gbif", "basis_of_record": "", "url": "", "rights_holder": "", **given}
    [found] = kinds_of(pa.table({name: [text] for name, text in row.items()}), by_source or {}).to_pylist()
    return found["image_kind"], found["kind_reason"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"basis_of_record": "PRESERVED_SPECIMEN"}, "specimen"),
        ({"basis_of_record": "PreservedSpecimen"}, "specimen"),
        ({"basis_of_record": "fossil specimen"}, "specimen"),
        ({"basis_of_record": "MATERIAL_CITATION"}, "specimen"),
        ({"basis_of_record": "HUMAN_OBSERVATION"}, "citizen science"),
        ({"basis_of_record": "MachineObservation"}, "camera trap"),
        ({"basis_of_record": "LIVING_SPECIMEN"}, "unknown"),
        ({"basis_of_record": "OBSERVATION"}, "unknown"),
        ({"basis_of_record": ""}, "unknown"),
        ({"layout": "lila", "basis_of_record": "HUMAN_OBSERVATION"}, "camera trap"),
        ({"layout": "bioscan-5m"}, "specimen"),
        ({"layout": "inat21"}, "citizen science"),
        ({"url": "https://inaturalist-open-data.s3.amazonaws.com/photos/1/large.jpg"}, "citizen science"),
        ({"url": "https://www.biodiversitylibrary.org/pageimage/1", "basis_of_record": "HUMAN_OBSERVATION"}, "illustration"),
        ({"url": "https://example.org/?from=biodiversitylibrary.org/"}, "unknown"),
        ({"rights_holder": "Biodiversity Heritage Library"}, "illustration"),
    ],
)  # fmt: skip
def test_the_first_rule_that_fits_decides(given: dict[str, str], expected: str) -> None:
    assert kind(**given)[0] == expected


def test_the_reason_is_said() -> None:
    assert kind(basis_of_record="PRESERVED_SPECIMEN") == ("specimen", "basis of record: a specimen")
    assert kind() == ("unknown", "no rule fits")


def test_what_the_configuration_states_of_a_source_counts_more() -> None:
    assert kind({"s": "illustration", "t": "specimen"}, layout="lila") == (
        "illustration",
        "stated in the configuration",
    )


def test_a_kind_that_does_not_exist_is_refused_with_the_nearest_one() -> None:
    config = Curation(Path("out"), {"a": SourceConfig(Path("a"))}, kinds=KindsConfig(by_source={"a": "camera-trap"}))
    with pytest.raises(
        UsageError, match=r"kinds.by_source.a 'camera-trap': allowed are camera trap, .* did you mean camera trap\?"
    ):
        KindsStage().settings(config)


def test_no_records_have_no_kinds() -> None:
    empty = pa.table(
        {
            name: pa.array([], pa.string())
            for name in ("key", "source", "layout", "basis_of_record", "url", "rights_holder")
        }
    )
    assert kinds_of(empty, {"s": "specimen"}).num_rows == 0


def test_an_excluded_kind_that_does_not_exist_is_refused_with_the_nearest_one() -> None:
    config = Curation(
        Path("out"), {"a": SourceConfig(Path("a"))}, kinds=KindsConfig(exclude=("specimen", "cameratrap"))
    )
    with pytest.raises(UsageError, match=r"kinds\.exclude 'cameratrap': allowed are .*; did you mean camera trap"):
        KindsStage().settings(config)
