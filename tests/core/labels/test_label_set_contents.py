"""The files of a label set are what its manifest says, and can be compared with a feature, or the label set is refused."""

from __future__ import annotations

import json
import logging
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from core_samples import ENCODER, random_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bioclip_core import identity
from bioclip_core.classify import Classifier
from bioclip_core.errors import LabelSetError
from bioclip_core.identity import file_sha256, sha256_of
from bioclip_core.labels import verifying
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.labels.manifest import Block, id_of, sealed
from bioclip_core.labels.writing import write_label_set
from bioclip_core.taxonomy import Taxon

TAXA = [Taxon("Animalia", "Chordata", "Aves", "Order", "Family", f"Genus{n}", f"species{n}") for n in range(6)]
ROWS = random_rows(6, 4, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_label_set(tmp_path / "set", TAXA, ROWS, ENCODER, Block(0, 6, "text", 7.5), {"captions": "none"})
    return tmp_path / "set"


def manifest_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "label_set.json").read_text("utf-8")))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object], *, consistent: bool = True) -> None:
    """Change the manifest; a consistent one has the hashes of the files as they are, like one of a hostile maker."""
    written = manifest_of(folder)
    written.pop("manifest_sha256")
    change(written)
    if consistent:
        written["sha256"] = {name: sha256_of(folder / name) for name in ("taxa.parquet", "embeddings.npy")}
        written["id"] = id_of(written)
        written = sealed(written)
    (folder / "label_set.json").write_text(json.dumps(written), "utf-8")


def unchanged(_manifest: dict[str, Any]) -> None:
    pass


def says(folder: Path) -> str:
    with pytest.raises(LabelSetError) as refusal:
        LabelSet.open(folder)
    text = str(refusal.value)
    assert str(folder) in text
    assert "\n" not in text
    return text


def test_reversed_rows_are_not_the_file_that_was_made(folder: Path) -> None:
    np.save(folder / "embeddings.npy", np.load(folder / "embeddings.npy")[::-1].copy())
    assert "embeddings.npy is not the file that was made" in says(folder)


def test_names_in_another_order_are_not_the_file_that_was_made(folder: Path) -> None:
    names = pq.read_table(folder / "taxa.parquet")
    pq.write_table(names.take(list(reversed(range(6)))), folder / "taxa.parquet")
    assert "taxa.parquet is not the file that was made" in says(folder)
    rewrite(folder, unchanged)  # also if the manifest has their hash
    assert "taxa.parquet is not in taxonomic order: row 1 sorts before the row above it" in says(folder)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda m: m["blocks"][0].update(scale=3.0), "was changed after it was written"),
        (lambda m: m.update(masked=[1, 2]), "masked_by"),
        (lambda m: m.update(masked=[1], masked_by={"zero": 1}), "was changed after it was written"),
        (lambda m: m["encoder"].update(weights_sha256="f" * 64), "was changed after it was written"),
    ],
)
def test_a_changed_manifest_is_found_by_its_own_hash(folder: Path, change: Any, fault: str) -> None:
    written = manifest_of(folder)
    change(written)
    (folder / "label_set.json").write_text(json.dumps(written), "utf-8")
    assert fault in says(folder)


def test_a_manifest_without_its_own_hash_still_cannot_name_another_model(folder: Path) -> None:
    rewrite(folder, lambda m: m["encoder"].update(weights_sha256="f" * 64), consistent=False)
    assert "the id in label_set.json does not fit" in says(folder)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda m: m["blocks"][0].update(scale=0), "scale 0.0: a number from 0.001 to 10000 is needed"),
        (lambda m: m["blocks"][0].update(scale=-1e308), "scale -1e+308"),
        (lambda m: m["blocks"][0].update(scale=1e30), "scale 1e+30"),
        (lambda m: m["blocks"][0].update(scale="7"), "blocks[0].scale: expected 'float', got 'str'"),
        (lambda m: m["blocks"][0].update(bias=1e300), "bias 1e+300"),
        (lambda m: m["blocks"][0].update(kind="picture"), "blocks[0].kind"),
        (lambda m: m["blocks"][0].update(feature_mean="xxxx"), "blocks[0].feature_mean"),
        (lambda m: m["blocks"][0].update(feature_mean=[9.0, 0, 0, 0]), "feature_mean has the length 9"),
        (lambda m: m["blocks"][0].update(start=0.0), "blocks[0].start: expected 'int', got 'float'"),
        (lambda m: m["blocks"].append(dict(m["blocks"][0])), "does not start at 6"),
        (lambda m: m["blocks"].insert(0, {**m["blocks"][0], "stop": 0}), "from row 0 to row 0, which is empty"),
        (lambda m: m.update(blocks=[]), "blocks of 0 rows for 6 labels"),
        (lambda m: m.update(masked={"a": 1}), "masked: expected 'array', got 'object'"),
        (lambda m: m.update(masked=[-1], masked_by={"zero": 1}), "masked has the row -1"),
        (lambda m: m.update(masked=[6], masked_by={"zero": 1}), "masked has the row 6"),
        (lambda m: m.update(masked=list(range(6)), masked_by={"zero": 6}), "nothing could be an answer"),
        (lambda m: m.update(encoder=None), "encoder: expected 'object', got 'null'"),
        (lambda m: m.update(encoder={"source": "x"}), "encoder: object missing required field 'weights_sha256'"),
        (lambda m: m.update(captions={"a": [1]}), "captions"),
        (lambda m: m.update(sha256="x"), "sha256: expected 'object', got 'str'"),
        (lambda m: m["sha256"].update({"embeddings.npy": "ABC"}), "not 64 hexadecimal digits"),
        (lambda m: m.update(dimension=10**12), "says 6 labels of 1000000000000 numbers"),
        (lambda m: m.update(count=True), "count: expected 'int', got 'bool'"),
        (lambda m: m.update(id=7), "id: expected 'str', got 'int'"),
        (lambda m: m.update(custom=True), "never kept in a folder"),
        (lambda m: m.update(format_version=True), "has format True"),
        (lambda m: m.update(format_version=2, blocks=[[0, 6, -1]], kinds=[{"kind": "text", "scale": 7.5}]), "the kind -1"),
        (lambda m: m.update(format_version=2, blocks=[[0, 6, 0]]), "missing required field 'kinds'"),
    ],
)  # fmt: skip
def test_members_that_cannot_be_used_are_named(folder: Path, change: Any, fault: str) -> None:
    rewrite(folder, change, consistent=False)
    assert fault in says(folder)


def test_a_manifest_with_nan_is_refused(folder: Path) -> None:
    path = folder / "label_set.json"
    path.write_text(path.read_text("utf-8").replace('"bias": 0.0', '"bias": NaN'), "utf-8")
    assert "has the value NaN" in says(folder)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda rows: rows.__setitem__(2, np.nan), "numbers that are not finite in row 2"),
        (lambda rows: rows.__setitem__((3, 1), np.inf), "numbers that are not finite in row 3"),
        (lambda rows: rows.__setitem__(4, 0), "the length 0 instead of 1 in row 4"),
        (lambda rows: rows.__imul__(np.float16(2)), "the length 2 instead of 1 in row 0"),
    ],
)
def test_rows_that_no_feature_can_be_compared_with_are_refused_even_with_a_right_hash(
    folder: Path, change: Callable[[NDArray[Any]], object], fault: str
) -> None:
    rows = np.load(folder / "embeddings.npy")
    change(rows)
    np.save(folder / "embeddings.npy", rows)
    rewrite(folder, unchanged)
    assert fault in says(folder)
    if "in row 0" not in fault:  # a masked row is never compared
        row = int(fault[-1])
        rewrite(folder, lambda m: m.update(masked=[row], masked_by={"zero": 1}))
        assert not LabelSet.open(folder).usable_N[row]


def npy(header: str | bytes, *, version: int = 1, length: int | None = None) -> bytes:
    text = header.encode() if isinstance(header, str) else header
    size = struct.pack("<H" if version == 1 else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + text


GOOD = "{'descr': '<f2', 'fortran_order': False, 'shape': (6, 4), }\n"


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (npy(GOOD.replace("<f2", ">f2")), "has type >f2"),
        (npy(GOOD.replace("<f2", "|O")), "has objects"),
        (npy(GOOD.replace("<f2", "<f4")), "has float32"),
        (npy(GOOD.replace("False", "True")), "in Fortran order"),
        (npy(GOOD.replace("(6, 4)", "(4, 6)")), "of shape 4x6"),
        (npy(GOOD.replace("(6, 4)", "(24,)")), "of shape 24"),
        (npy(GOOD.replace("(6, 4)", "(-6, -4)")), "does not state one array"),
        (npy(GOOD.replace("(6, 4)", "(6, 99999999999999999999)")), "of shape 6x99999999999999999999"),
        (npy(GOOD.replace("'<f2'", "[('a', '<f2')]")), "does not state one array"),
        (npy("__import__('os').abort()"), "does not state one array"),
        (npy(GOOD, length=9999), "a header of 9,999 bytes, which is more than the file"),
        (npy(GOOD, version=2, length=4_000_000_000), "a header of 4,000,000,000 bytes"),
        (npy(GOOD, version=9), "is not a .npy file"),
        (b"PK\x03\x04" + GOOD.encode(), "is not a .npy file"),
        (b"", "is not a .npy file"),
        (b"\x93NUMPY", "is not a .npy file"),
    ],
)
def test_headers_of_other_arrays_are_refused_without_evaluating_them(folder: Path, header: bytes, fault: str) -> None:
    (folder / "embeddings.npy").write_bytes(header + ROWS.tobytes())
    rewrite(folder, unchanged)
    assert fault in says(folder)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_header_is_read(folder: Path, version: int) -> None:
    rows = np.load(folder / "embeddings.npy")
    (folder / "embeddings.npy").write_bytes(npy(GOOD, version=version) + rows.tobytes())
    rewrite(folder, unchanged)
    assert np.array_equal(LabelSet.open(folder).embeddings_ND, rows)


@pytest.mark.parametrize("more", [-1, 1])
def test_a_file_of_another_length_is_refused(folder: Path, more: int) -> None:
    data = (folder / "embeddings.npy").read_bytes()
    (folder / "embeddings.npy").write_bytes(data[:more] if more < 0 else data + b"\0")
    rewrite(folder, unchanged)
    assert "bytes, but 176 are needed for 6 labels of 4 numbers" in says(folder)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda table: table.drop_columns(["genus"]), "has no column genus"),
        (lambda table: table.slice(0, 5), "says 6 labels, but taxa.parquet has 5 rows"),
        (lambda table: table.set_column(6, "genus", pa.array(range(6))), "int64 in the column genus"),
        (lambda table: table.set_column(6, "genus", pa.array(["a", None] * 3)), "3 cells without a value"),
    ],
)
def test_names_of_another_form_are_refused_even_with_a_right_hash(folder: Path, change: Any, fault: str) -> None:
    pq.write_table(change(pq.read_table(folder / "taxa.parquet")), folder / "taxa.parquet")
    rewrite(folder, unchanged)
    assert fault in says(folder)


@pytest.mark.parametrize("name", ["embeddings.npy", "taxa.parquet", "label_set.json"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes in folders")
def test_a_pipe_in_place_of_a_file_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert f"{name} is not a file" in says(folder)


@pytest.mark.parametrize("name", ["embeddings.npy", "taxa.parquet"])
def test_a_pointer_of_git_lfs_in_place_of_a_file_says_how_to_get_it(folder: Path, name: str) -> None:
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0a1b\nsize 176\n")
    assert f"{name} is a pointer of Git LFS, not the file itself; get it with: git lfs pull" in says(folder)


def test_a_header_with_numbers_of_numpy_in_it_is_refused(folder: Path) -> None:
    rows = np.load(folder / "embeddings.npy").tobytes()  # open_memmap writes it for a shape of np.int64
    (folder / "embeddings.npy").write_bytes(npy(GOOD.replace("(6, 4)", "(np.int64(6), np.int64(4))")) + rows)
    rewrite(folder, unchanged)
    assert "does not state one array" in says(folder)


def test_a_manifest_without_hashes_is_used_and_says_what_is_not_verified(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(folder, lambda m: (m.pop("sha256"), m.update(id="made by another program")), consistent=False)
    with caplog.at_level(logging.WARNING, "bioclip_plugin"):
        labels = LabelSet.open(folder)
    assert labels.identity()["label_set"] == "made by another program"
    (line,) = caplog.messages
    assert "label_set.json has no sha256 of embeddings.npy and taxa.parquet and scales and masked rows, which" in line


def test_an_id_of_ours_proves_the_files_of_a_manifest_without_hashes(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    identity_before = LabelSet.open(folder).identity()
    rewrite(folder, lambda m: m.pop("sha256"), consistent=False)
    with caplog.at_level(logging.WARNING, "bioclip_plugin"):
        assert LabelSet.open(folder).identity() == identity_before
    assert [message for message in caplog.messages if "embeddings" in message] == []
    np.save(folder / "embeddings.npy", np.load(folder / "embeddings.npy")[::-1].copy())
    assert "the id in label_set.json does not fit embeddings.npy and taxa.parquet" in says(folder)


def test_a_folder_that_is_replaced_while_it_is_opened_keeps_what_was_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = verifying._compare

    def compare_then_swap(name: str, found: str, manifest: Any) -> None:
        compare(name, found, manifest)
        np.save(folder / "new.npy", np.zeros((6, 4), np.float16))
        (folder / "new.npy").replace(folder / "embeddings.npy")

    expected = np.load(folder / "embeddings.npy")
    monkeypatch.setattr(verifying, "_compare", compare_then_swap)
    assert np.array_equal(LabelSet.open(folder).embeddings_ND, expected)


def test_features_of_another_length_are_refused_by_the_classifier(folder: Path) -> None:
    with pytest.raises(LabelSetError, match="features of 5 numbers, but the label set has embeddings of 4"):
        Classifier(LabelSet.open(folder)).classify(random_rows(1, 5, 1))


# The memory of checks


@pytest.fixture
def remembering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(identity, "_SMALL", 0)
    return tmp_path / "cache"


def test_a_large_unchanged_file_is_checked_once(
    folder: Path, remembering: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(identity.time, "time", lambda: now + 60)
    LabelSet.open(folder)
    monkeypatch.setattr(verifying, "_chunks", lambda *_: pytest.fail("read again"))
    LabelSet.open(folder)


def test_a_young_file_is_checked_again(folder: Path, remembering: Path) -> None:
    LabelSet.open(folder)
    assert not (remembering / "sha256.json").exists()


def test_a_change_that_keeps_size_and_modification_time_is_found(
    folder: Path, remembering: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now = folder / "embeddings.npy", time.time()
    monkeypatch.setattr(identity.time, "time", lambda: now + 60)
    LabelSet.open(folder)
    stat, rows = path.stat(), np.load(path)
    np.save(path, rows[::-1].copy())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert "is not the file that was made" in says(folder)


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "[]", '{"a": NaN}', "\udcff"])
def test_a_damaged_cache_is_a_cache_without_entries(folder: Path, remembering: Path, content: str) -> None:
    remembering.mkdir()
    for name in ("sha256.json", "checked.json"):
        (remembering / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    assert file_sha256(folder / "embeddings.npy") == sha256_of(folder / "embeddings.npy")
    LabelSet.open(folder)


def test_a_remembered_hash_that_is_wrong_does_not_refuse_a_good_file(
    folder: Path, remembering: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    monkeypatch.setattr(identity.time, "time", lambda: now + 60)
    LabelSet.open(folder)
    known = json.loads((remembering / "sha256.json").read_text("utf-8"))
    (remembering / "sha256.json").write_text(json.dumps(dict.fromkeys(known, "0" * 64)), "utf-8")
    LabelSet.open(folder)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good") / "set"
    write_label_set(folder, TAXA, ROWS, ENCODER, Block(0, 6, "text", 7.5), {"captions": "none"})
    return folder


@settings(max_examples=60)
@given(place=st.integers(0, 10**6), byte=st.integers(1, 255), name=st.sampled_from(["embeddings.npy", "taxa.parquet"]))
def test_no_changed_byte_goes_unnoticed(good: Path, place: int, byte: int, name: str) -> None:
    with TemporaryDirectory() as parent:
        folder = Path(shutil.copytree(good, Path(parent, "set")))
        data = bytearray((folder / name).read_bytes())
        data[place % len(data)] ^= byte
        (folder / name).write_bytes(data)
        says(folder)


def test_a_manifest_without_the_hash_of_its_content_is_read_and_reported(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    LabelSet.open(folder)
    assert "cannot be verified" not in caplog.text
    rewrite(folder, unchanged, consistent=False)
    LabelSet.open(folder)
    assert "label_set.json has no sha256 of scales and masked rows, which" in caplog.text
    rewrite_sealed(folder, None)
    assert "was changed after it was written" in says(folder)


def rewrite_sealed(folder: Path, seal: str | None) -> None:
    """Give the manifest a seal."""
    (folder / "label_set.json").write_text(json.dumps({**manifest_of(folder), "manifest_sha256": seal}), "utf-8")


def test_names_that_were_checked_are_known_by_their_hash_and_changed_ones_are_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[int] = []
    original = verifying.check_whole
    monkeypatch.setattr(verifying, "_MANY_NAMES", 1)
    monkeypatch.setattr(verifying, "check_whole", lambda source: (checks.append(1), original(source))[1])
    whole = LabelSet.open(folder).table
    assert LabelSet.open(folder).table.equals(whole)
    assert len(checks) == 1
    backwards = pq.read_table(folder / "taxa.parquet").take(list(range(whole.num_rows))[::-1])
    pq.write_table(backwards, folder / "taxa.parquet")
    rewrite(folder, unchanged)
    assert "not in taxonomic order" in says(folder)


def test_names_in_several_chunks_with_dictionaries_of_their_own_are_one_table(folder: Path) -> None:
    whole = LabelSet.open(folder).table
    pq.write_table(pq.read_table(folder / "taxa.parquet"), folder / "taxa.parquet", row_group_size=1)
    rewrite(folder, unchanged)
    assert LabelSet.open(folder).table.to_pydict() == whole.to_pydict()
