"""Lines of items and parts: what goes in comes out."""

from __future__ import annotations

import math
import string
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from bioclip_core.classify import Candidate
from bioclip_core.errors import DataError
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.engines.documents import NOT_CARRIED, item_from, item_line, parsed_line
from bioclip_plugin.engines.folder import shard_id
from bioclip_plugin.engines.parts import About, PartRow, read_about, read_part, write_part
from bioclip_plugin.items.answers import Failure
from bioclip_plugin.items.media import MediaItem, Place, Region
from bioclip_plugin.store.records import ItemRecord, Listed, RegionRecord

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# Reasons are stored without NULs.
reasons = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
maybe = st.none() | texts
numbers = st.floats(allow_nan=False, allow_infinity=False)
fractions = st.floats(0.01, 0.49)
regions = st.builds(
    Region, fractions, fractions, fractions, fractions, texts, texts, texts, st.none() | st.floats(0, 1), st.booleans()
)
zones = st.none() | st.integers(-800, 800).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.none() | st.datetimes(timezones=zones)
plain = st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | texts,
                     lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=5)  # fmt: skip
places = st.builds(Place, maybe, maybe, st.none() | numbers, st.none() | numbers, st.none() | st.integers(1, 12))
items = st.builds(
    MediaItem,
    uri=names,
    path=st.none() | names.map(Path),
    frame=st.integers(0, 10**6),
    captured_at=moments,
    place=places,
    deployment=maybe.filter(lambda text: text != ""),
    sequence=maybe.filter(lambda text: text != ""),
    regions=st.lists(regions, max_size=3).map(tuple),
    metadata=st.dictionaries(texts, plain, max_size=3),
    span=st.none() | st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)),
    detected=st.booleans(),
    is_part=st.booleans(),
    unread=st.frozensets(st.sampled_from(["captured_at", "position", "country"])),
    within=st.none() | st.tuples(st.dates(), st.dates()),
    absent=st.frozensets(texts, max_size=3),
)
taxa = st.builds(Taxon.of, st.lists(texts, max_size=7), texts, texts)
candidates = st.builds(Candidate, taxa, texts, numbers)
by_rank = st.dictionaries(
    st.sampled_from(["species", "genus", "label"]), st.lists(candidates, min_size=1, max_size=3).map(tuple)
)
vectors = st.none() | st.lists(st.floats(-1, 1, width=16), min_size=3, max_size=3).map(
    lambda v: np.array(v, np.float16)
)
records = st.builds(RegionRecord, st.none() | regions, vectors, st.none() | by_rank, st.lists(texts, max_size=2).map(tuple),
                    st.none() | candidates)  # fmt: skip


def all_of(item: MediaItem) -> list[object]:
    """Return every field, also those that a comparison leaves out."""
    return [dict(getattr(item, f.name)) if f.name == "metadata" else getattr(item, f.name) for f in fields(MediaItem)]


@settings(max_examples=100, deadline=None)
@given(items)
def test_an_item_comes_back_from_its_line(item: MediaItem) -> None:
    line = item_line(item)
    assert line.isascii()
    assert "\n" not in line
    back = item_from(parsed_line(line))
    assert all_of(back) == all_of(item)
    moment = (back.captured_at, item.captured_at)
    assert moment[0] is None or moment[1] is None or moment[0].utcoffset() == moment[1].utcoffset()
    assert item_line(back) == line


def test_every_field_of_an_item_is_in_its_line_or_named_as_one_that_is_not() -> None:
    full = MediaItem("u", Path("p"), 3, datetime(2020, 1, 2, tzinfo=UTC), Place("BE"), "d", "s", (Region(0, 0, 1, 1),), {"a": 1},
                     None, (0, 9), None, True, True, frozenset({"country"}), (date(2020, 1, 1), date(2020, 1, 3)),
                     frozenset({"x"}))  # fmt: skip
    carried = set(parsed_line(item_line(full)))
    assert carried == {field.name for field in fields(MediaItem)} - set(NOT_CARRIED)
    assert all_of(item_from(parsed_line(item_line(full)))) == all_of(full)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(items, st.lists(records, max_size=3), st.booleans(), st.none() | reasons), max_size=4))
def test_the_records_of_a_part_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple]) -> None:  # type: ignore[type-arg]
    path = tmp_path_factory.mktemp("part") / "parts" / "part-a.parquet"
    path.parent.mkdir()
    written = [
        PartRow(
            ItemRecord(Listed(item, n, n, False, "ab"), item, (5, 6) if was_read else None, "ab", 5,
                       () if failed is not None else tuple(regions),
                       failure=None if failed is None else Failure("decode", failed),
                       found=((0.1, 0.2, 0.3, 0.4, "animal", 0.5),) if was_read else None, by_detector=was_read),
            (5, 6),
        )
        for n, (item, regions, was_read, failed) in enumerate(rows)
    ]  # fmt: skip
    about = About("a", "id", len(written), 0, 1.5, {"host": "h"}, [["found", 2, "é"]])
    write_part(path, written, about)
    assert read_about(path) == about
    again, read = read_part(path)
    assert again == about
    for before, after in zip(written, read, strict=True):
        assert after.stat == before.stat
        assert all_of(after.record.item) == all_of(before.record.item)
        for name in ("stat", "content_sha256", "content_size", "failure", "found", "by_detector"):
            assert getattr(after.record, name) == getattr(before.record, name)
        for one, other in zip(before.record.regions, after.record.regions, strict=True):
            assert (one.region, one.by_rank, one.flags, one.consensus) == (
                other.region, other.by_rank, other.flags, other.consensus,
            )  # fmt: skip
            assert (one.features is None) == (other.features is None)
            assert one.features is None or (one.features.tobytes() == other.features.tobytes())


def test_findings_with_half_a_surrogate_pair_do_not_damage_a_part(tmp_path: Path) -> None:
    """A file's name of bytes that are not UTF-8 in a finding: the part was put aside and made again, for ever."""
    (tmp_path / "parts").mkdir()
    path = tmp_path / "parts" / "part-a.parquet"
    write_part(path, [], About("a", "id", 0, 0, 0.0, {}, [["odd \udcff", 1, "caf\udce9.jpg"]]))
    assert read_about(path).findings == [["odd \\udcff", 1, "caf\\udce9.jpg"]]


def test_a_part_is_readable_without_this_program(tmp_path: Path) -> None:
    item = MediaItem("a.jpg")
    region = RegionRecord(None, np.ones(3, np.float16), {"species": (Candidate(Taxon(genus="Apis"), "genus", 0.5),)})
    (tmp_path / "parts").mkdir()
    path = tmp_path / "parts" / "part-a.parquet"
    write_part(path, [PartRow(ItemRecord(Listed(item, 0, 0, False, None), item, regions=(region,)), None)],
               About("a", "id", 1, 0, 0.0, {}))  # fmt: skip
    (row,) = parquet.read_table(path).to_pylist()
    assert (row["uri"], row["regions"][0]["levels"], row["regions"][0]["probabilities"]) == (
        "a.jpg",
        ["species"],
        [0.5],
    )


def test_another_file_is_not_taken_for_a_part(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DataError, match=r"the part .* cannot be read"):
        read_part(path)
    parquet.write_table(parquet.read_table(_other(tmp_path)), path)
    with pytest.raises(DataError, match="without the facts of a part"):
        read_about(path)


def _other(folder: Path) -> Path:
    import pyarrow as pa

    parquet.write_table(pa.table({"a": [1]}), folder / "other.parquet")
    return folder / "other.parquet"


def test_the_id_of_a_shard_depends_on_its_run_its_plan_and_its_items_alone() -> None:
    lines = [item_line(MediaItem(f"{name}.jpg"), stat=(1, 2)) for name in string.ascii_lowercase]
    name = shard_id("run", 1, lines)
    assert name == shard_id("run", 1, list(lines))
    changed = [item_line(replace(MediaItem("a.jpg"), frame=1), stat=(1, 2)), *lines[1:]]
    others = {
        shard_id("other", 1, lines),
        shard_id("run", 2, lines),
        shard_id("run", 1, lines[1:]),
        shard_id("run", 1, changed),
    }
    assert len(others | {name}) == 5
    assert math.log2(16 ** len(name)) == 128
