"""The stage that reads the sources: keys, duplicate ids, counts that do not match, and what a kill leaves."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from published_numbers import CsvLayout, write_source
from pyarrow import parquet
from tiny_stages import digests

from bioclip_core.errors import SourceError, UsageError
from bioclip_training.curation import records, sorted_runs
from bioclip_training.curation.columns import RECORDS
from bioclip_training.curation.configuration import Curation, SourceConfig
from bioclip_training.curation.plan import plan
from bioclip_training.curation.records import RecordsStage, key_of
from bioclip_training.curation.running import Outcome, run_stages
from bioclip_training.published import known


@pytest.fixture(autouse=True)
def csv_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "layouts", lambda: (CsvLayout(),))


def rows_of(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"record_id": f"id{n}", "uri": f"{n}.jpg", "verbatim_name": "Rosa canina"} for n in range(start, start + count)
    ]


def read(folder: Path, **sources: SourceConfig) -> tuple[Outcome, pa.Table]:
    [outcome] = run_stages(Curation(folder / "out", sources), (RecordsStage(),))
    return outcome, parquet.read_table(folder / "out/records")


def test_records_have_the_source_the_layout_and_a_key_that_both_decide(tmp_path: Path) -> None:
    a, b = (SourceConfig(write_source(tmp_path / name, rows_of(2))) for name in "ab")
    outcome, table = read(tmp_path, a=a, b=b)
    assert table.schema.equals(RECORDS)
    assert table["key"].to_pylist() == sorted(key_of(source, f"id{n}") for source in "ab" for n in (0, 1))
    assert key_of("a", "id0") == "517cebadcd98ded75e50205a53f47ad7"
    assert set(table["layout"].to_pylist()) == {"csv"}
    assert (outcome.manifest.rows_in, outcome.manifest.rows_out) == (4, 4)
    assert outcome.manifest.counts == {"records of a": 2, "records of b": 2, "source a: rows": 2, "source b: rows": 2}


def test_what_was_taken_for_what_is_said(tmp_path: Path) -> None:
    outcome, _ = read(tmp_path, a=SourceConfig(write_source(tmp_path / "a", rows_of(1))))
    assert outcome.manifest.notes == (
        "source a: read as csv: it has records.csv; records.csv → the records; the layout was not stated, but recognised",
    )


def test_rows_that_the_reader_skips_are_counted_with_an_example(tmp_path: Path) -> None:
    rows = [*rows_of(2), {"record_id": "x9", "uri": ""}]
    outcome, _ = read(tmp_path, a=SourceConfig(write_source(tmp_path / "a", rows)))
    [dropped] = outcome.manifest.dropped
    assert (dropped.reason, dropped.count, dropped.example) == ("source a: rows without an image", 1, "x9")
    assert (outcome.manifest.rows_in, outcome.manifest.rows_out) == (3, 2)


def test_a_record_id_that_is_stated_twice_is_kept_once_and_counted(tmp_path: Path) -> None:
    rows = [*rows_of(3), *rows_of(1), {"record_id": "id1", "uri": "0other.jpg"}]
    outcome, table = read(tmp_path, a=SourceConfig(write_source(tmp_path / "a", rows)))
    assert sorted(table["uri"].to_pylist()) == ["0.jpg", "0other.jpg", "2.jpg"]
    assert [(entry.reason, entry.count, entry.example) for entry in outcome.manifest.dropped] == [
        ("stated twice with the same values", 1, "a: id0"),
        ("with the record id of another record of the same source, but other values", 1, "a: id1"),
    ]  # fmt: skip


def test_one_id_in_two_sources_is_two_records(tmp_path: Path) -> None:
    a, b = (SourceConfig(write_source(tmp_path / name, rows_of(1))) for name in "ab")
    assert read(tmp_path, a=a, b=b)[1].num_rows == 2
    c = SourceConfig(write_source(tmp_path / "c", rows_of(1)))
    (tmp_path / "c" / "gone.jpg").symlink_to("nowhere.jpg")  # of no interest to the reader, and no end of the run
    outcome, records = read(tmp_path, a=a, b=SourceConfig(tmp_path / "b" / ".." / "a"), c=c)
    assert records.num_rows == 3
    assert "sources a, b are one folder or file, so that each of its records is there 2 times" in outcome.manifest.notes


def test_a_number_of_rows_that_the_publisher_states_otherwise_is_reported(tmp_path: Path) -> None:
    outcome, _ = read(tmp_path, a=SourceConfig(write_source(tmp_path / "a", rows_of(3)), rows=4))
    assert (
        "source a: the configuration states 4 rows and the source has 3; see that its download is complete"
        in outcome.manifest.notes
    )


def test_an_error_of_a_reader_names_the_source(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "a", rows_of(3))
    (folder / "records.csv").write_bytes((folder / "records.csv").read_bytes()[:-1])
    with pytest.raises(SourceError, match=r"^source a: .*records.csv is cut short"):
        read(tmp_path, a=SourceConfig(folder))


def test_all_sources_are_recognised_before_the_first_is_read(tmp_path: Path) -> None:
    a = SourceConfig(write_source(tmp_path / "a", rows_of(2)))
    (tmp_path / "b").mkdir()
    for b, kind, told in (
        (SourceConfig(tmp_path / "b"), SourceError, "source b: .* has no known layout"),
        (
            SourceConfig(tmp_path / "a", options={"nothin": 1}), UsageError,
            r"source b: layout csv has no option 'nothin'; it has nothing, .*; did you mean nothing\?",
        ),
        (SourceConfig(tmp_path / "a", "cvs"), UsageError, r"source b: layout 'cvs' is not known; known are csv; did you mean csv\?"),
        (
            SourceConfig(tmp_path / "a", options={"nothing": "somethin"}), UsageError,
            r"source b: option nothing: 'somethin' of layout csv is not a file in .*a, nor one of something; did you mean something\?",
        ),
    ):  # fmt: skip
        for call in (run_stages, plan):
            with pytest.raises(kind, match=told):
                call(Curation(tmp_path / "out", {"a": a, "b": b}), (RecordsStage(),))
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.zip", "b.tar", "c.tar.gz", "d.tar.bz2", "e.tar.xz", "f.parquet"])
def test_an_archive_that_is_cut_short_is_refused_before_the_first_source_is_read(tmp_path: Path, name: str) -> None:
    folder = write_source(tmp_path / "a", rows_of(1))
    archive = folder / "within" / name
    archive.parent.mkdir()
    pixels = random.Random(1).randbytes(3000)
    if name.endswith(".parquet"):
        parquet.write_table(pa.table({"image": [pixels]}), archive)
    elif name.endswith(".zip"):
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr("1.jpg", pixels)
    else:
        with tarfile.open(archive, f"w:{name.rpartition('.')[2].removeprefix('tar')}") as tar:
            entry = tarfile.TarInfo("1.jpg")
            entry.size = len(pixels)
            tar.addfile(entry, io.BytesIO(pixels))
    config = Curation(tmp_path / "out", {"a": SourceConfig(folder)})
    assert plan(config, (RecordsStage(),)).stages[0].certain
    whole = archive.read_bytes()
    archive.write_bytes(whole[:2000])
    for call in (run_stages, plan):
        with pytest.raises(
            SourceError, match=rf"^source a: 1 archive is cut short: within/{name} \(it.*\); fetch it again"
        ):
            call(config, (RecordsStage(),))
    read_on = Curation(tmp_path / "out", {"a": SourceConfig(folder, cut_archives="read")})
    if name == "b.tar":
        assert run_stages(read_on, (RecordsStage(),))[0].manifest.rows_out == 1
    else:
        with pytest.raises(SourceError, match="is cut short"):
            plan(read_on, (RecordsStage(),))


def test_a_source_without_its_metadata_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(
        SourceError,
        match=r"^source a: .* has no known layout: found is an empty folder; known are csv\. Give the folder",
    ):
        read(tmp_path, a=SourceConfig(tmp_path / "a"))


def test_a_source_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"source a: .*a has no record in the layout csv"):
        read(tmp_path, a=SourceConfig(write_source(tmp_path / "a", [{"record_id": "1", "uri": ""}])))


def test_the_order_of_rows_and_sources_and_the_cut_into_runs_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sorted_runs, "PART_ROWS", 100)
    monkeypatch.setattr(sorted_runs, "_GROUP_ROWS", 16)
    rows = {"a": [*rows_of(500), {"record_id": "id1", "uri": "other.jpg"}], "b": rows_of(100, start=450)}
    found = []
    for name, order, run_rows in (("first", "ab", 10**6), ("second", "ba", 64)):
        monkeypatch.setattr(sorted_runs, "RUN_ROWS", run_rows)
        sources = {}
        for source in order:
            random.Random(name).shuffle(rows[source])
            sources[source] = SourceConfig(write_source(tmp_path / name / source, rows[source]))
        read(tmp_path / name, **sources)
        found.append({file: digest for file, digest in digests(tmp_path / name / "out").items() if "part-" in file})
    assert found[0] == found[1]
    assert len(found[0]) == 8


def test_sources_that_were_read_are_not_read_again_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (SourceConfig(write_source(tmp_path / name, rows_of(2))) for name in "ab")
    read_one, asked = records._read, []

    def interrupted(name: str, *rest: Any) -> Any:
        asked.append(name)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return read_one(name, *rest)

    monkeypatch.setattr(records, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read(tmp_path, a=a, b=b)
    outcome, table = read(tmp_path, a=a, b=b)
    assert asked == ["a", "b", "b"]
    assert (table.num_rows, outcome.manifest.rows_in, len(outcome.manifest.notes)) == (4, 4, 2)
    assert not list((tmp_path / "out/kept/records").iterdir())
