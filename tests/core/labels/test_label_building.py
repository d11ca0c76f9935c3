"""Building of label sets: texts that are encoded, masked rows, and interruptions that lose no work."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_samples import ENCODER, DigestEncoder, Interrupted, digest_feature, random_rows, random_taxa

from bioclip_core.captions import Caption, captions_for_labels
from bioclip_core.classify import Classifier
from bioclip_core.errors import LabelSetError, NoTextTower
from bioclip_core.findings import Findings
from bioclip_core.labels import building as label_building
from bioclip_core.labels import writing as label_writing
from bioclip_core.labels.building import build_label_set, import_label_set
from bioclip_core.labels.label_set import LabelSet
from bioclip_core.labels.manifest import Block
from bioclip_core.labels.writing import write_label_set
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.testing import FakeEncoder

TAXA = random_taxa(30, 5)
FILES = ("taxa.parquet", "embeddings.npy")


def contents(folder: Path) -> tuple[bytes, ...]:
    """Return the bytes of the files, and the manifest without its time."""
    manifest = json.loads((folder / "label_set.json").read_text("utf-8"))
    assert manifest.pop("made_at")
    return (*((folder / name).read_bytes() for name in FILES), json.dumps(manifest).encode())


def test_a_label_is_the_feature_of_its_caption(tmp_path: Path) -> None:
    built = build_label_set(TAXA, DigestEncoder(), tmp_path / "set")
    labels = built.labels
    assert (len(labels), labels.dimension, built.merged, built.empty, built.resumed_at) == (30, 8, 0, 0, 0)
    for row in range(30):
        caption = f"a photo of {labels.taxon(row).taxonomic_name}."
        np.testing.assert_array_equal(labels.embeddings_ND[row], digest_feature(caption, 8).astype(np.float16))
    assert labels.blocks == (Block(0, 30, "text", 20.0, 0.0),)
    assert labels.manifest["captions"] == "taxonomic"
    assert labels.manifest["encoder"] == ENCODER
    labels.check_encoder(ENCODER)
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        "embeddings.npy",
        "label_set.json",
        "taxa.parquet",
    ]


def test_templates_are_averaged_after_each_is_normalised_and_normalised_again(tmp_path: Path) -> None:
    taxon = Taxon("Animalia")
    labels = build_label_set([taxon], DigestEncoder(), tmp_path / "set", caption=Caption.TEMPLATES).labels
    mean = np.mean([digest_feature(text, 8) for text in captions_for_labels(taxon, Caption.TEMPLATES)], axis=0)
    np.testing.assert_allclose(labels.embeddings_ND[0].astype(np.float32), mean / np.linalg.norm(mean), atol=5e-4)


def test_a_duplicate_lineage_in_the_table_is_one_label_with_the_first_common_name(tmp_path: Path) -> None:
    taxa = [Taxon("Animalia", genus="Turdus"), Taxon(), Taxon("Animalia", genus="Turdus", common_name="thrush"),
            Taxon("Animalia", genus="Turdus", common_name="other"), Taxon("Plantae")]  # fmt: skip
    built = build_label_set(taxa, DigestEncoder(), tmp_path / "set")
    assert (len(built.labels), built.merged, built.empty) == (2, 2, 1)
    assert built.labels.taxon(0).common_name == "thrush"


def test_a_table_without_a_single_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelSetError, match="no taxa: the table has no row with a name"):
        build_label_set([Taxon(), Taxon(common_name="fish")], DigestEncoder(), tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_a_label_set_in_another_precision_is_another_one_and_says_so(tmp_path: Path) -> None:
    encoder = DigestEncoder()
    plain = build_label_set(TAXA, encoder, tmp_path / "plain").labels
    encoder.text_precision = "bf16"  # type: ignore[attr-defined]
    lower = build_label_set(TAXA, encoder, tmp_path / "lower").labels
    assert "precision" not in plain.manifest
    assert lower.manifest["precision"] == "bf16"
    assert lower.manifest["recipe"] != plain.manifest["recipe"]
    with pytest.raises(LabelSetError, match="or in another precision; choose another --output"):
        build_label_set(TAXA, encoder, tmp_path / "plain")


def test_an_image_only_encoder_is_sent_to_prototypes(tmp_path: Path) -> None:
    with pytest.raises(NoTextTower, match="prototypes"):
        build_label_set(TAXA, FakeEncoder(text_tower=False), tmp_path / "set")


@pytest.mark.parametrize("stopped_after", [0, 3, 4, 17, 28])
def test_an_interrupted_build_continues_and_ends_like_an_uninterrupted_one(
    stopped_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_building, "_CAPTIONS_PER_BATCH", 4)
    build_label_set(TAXA, DigestEncoder(), tmp_path / "whole")
    first, second = DigestEncoder(fail_after=stopped_after), DigestEncoder()
    with pytest.raises(Interrupted):
        build_label_set(TAXA, first, tmp_path / "set")
    with pytest.raises(LabelSetError, match="was not finished; run the same labels build again"):
        LabelSet.open(tmp_path / "set")
    seen: list[tuple[int, int]] = []
    built = build_label_set(TAXA, second, tmp_path / "set", progress=lambda done, total: seen.append((done, total)))
    assert built.resumed_at == len(first.texts) == stopped_after // 4 * 4
    assert len(second.texts) == 30 - len(first.texts)
    assert seen[0][0] > built.resumed_at
    assert seen[-1] == (30, 30)
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_a_killed_build_continues_from_its_last_saved_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_building, "_CAPTIONS_PER_BATCH", 4)
    monkeypatch.setattr(label_building, "_SAVE_EVERY_S", 0.0)
    folder = tmp_path / "set"
    copies: dict[int, dict[str, bytes]] = {}

    def copy(done: int, _total: int) -> None:  # copies the state that a kill at this moment would leave
        copies[done] = {path.name: path.read_bytes() for path in folder.iterdir()}

    build_label_set(TAXA, DigestEncoder(), folder, progress=copy)
    for done, files in copies.items():
        left = tmp_path / f"killed at {done}"
        left.mkdir()
        for name, content in files.items():
            (left / name).write_bytes(content)
        encoder = DigestEncoder()
        build_label_set(TAXA, encoder, left)
        assert len(encoder.texts) <= 30 - done + 4  # only the current batch is lost
        assert contents(left) == contents(folder)


def test_a_draft_of_other_labels_or_a_damaged_one_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_building, "_CAPTIONS_PER_BATCH", 4)
    build_label_set(TAXA, DigestEncoder(), tmp_path / "whole")

    def interrupted(folder: Path, **settings: Any) -> None:
        with pytest.raises(Interrupted):
            build_label_set(TAXA, DigestEncoder(fail_after=8), folder, **settings)

    interrupted(tmp_path / "other", caption=Caption.SCIENTIFIC)
    interrupted(tmp_path / "state")
    (tmp_path / "state" / "build.json").write_text('{"recipe"')
    interrupted(tmp_path / "draft")
    (tmp_path / "draft" / "embeddings.npy.part").write_bytes(b"short")
    for name in ("other", "state", "draft"):
        encoder = DigestEncoder()
        assert build_label_set(TAXA, encoder, tmp_path / name).resumed_at == 0
        assert len(encoder.texts) == 30
        assert contents(tmp_path / name) == contents(tmp_path / "whole")


def test_a_build_that_is_done_encodes_nothing(tmp_path: Path) -> None:
    build_label_set(TAXA, DigestEncoder(), tmp_path / "set")
    before = contents(tmp_path / "set")
    encoder = DigestEncoder()
    built = build_label_set(reversed(TAXA), encoder, tmp_path / "set")  # the order of the table does not matter
    assert encoder.texts == []
    assert built.resumed_at == 30
    assert contents(tmp_path / "set") == before


def test_a_damaged_label_set_is_made_again_by_the_command_that_its_message_names(tmp_path: Path) -> None:
    build_label_set(TAXA, DigestEncoder(), tmp_path / "set")
    before = contents(tmp_path / "set")
    (tmp_path / "set" / "embeddings.npy").write_bytes(b"")
    with pytest.raises(LabelSetError, match=r"damaged.*build or import it again"):
        LabelSet.open(tmp_path / "set")
    build_label_set(TAXA, DigestEncoder(), tmp_path / "set")
    assert contents(tmp_path / "set") == before


@pytest.mark.parametrize("manifest", [None, "{", "[]"])
def test_another_label_set_is_not_overwritten(manifest: str | None, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    build_label_set(TAXA, DigestEncoder(), folder)
    if manifest is not None:
        (folder / "label_set.json").write_text(manifest)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(LabelSetError, match=r"holds a label set made from other.*choose another --output"):
        build_label_set(TAXA[:20], DigestEncoder(), folder)
    with pytest.raises(LabelSetError, match="choose another --output"):
        write_label_set(folder, TAXA, random_rows(30, 8, 1), ENCODER, Block(0, 30, "text", 1.0), {})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LabelSetError, match="cannot be written"):
        build_label_set(TAXA, DigestEncoder(), tmp_path / "file")


def test_zero_nan_infinite_and_repeated_vectors_are_counted_and_masked(tmp_path: Path) -> None:
    taxa = [Taxon(species=f"n{n}") for n in range(9)]
    rows = random_rows(9, 6, 1)
    rows[1] = 0
    rows[2, 3] = np.nan
    rows[3, 0] = np.inf
    rows[5] = rows[4]
    rows[8] = rows[4]
    labels = write_label_set(tmp_path / "set", taxa, rows, ENCODER, Block(0, 9, "text", 1.0), {})
    assert labels.manifest["masked"] == [1, 2, 3, 5, 8]
    assert labels.manifest["masked_by"] == {"zero": 1, "not a number": 2, "duplicate": 2}
    assert labels.usable_N.tolist() == [True, False, False, False, True, False, True, True, False]
    assert LabelSet.open(tmp_path / "set").kept_N.tolist() == labels.usable_N.tolist()


def test_vectors_that_repeat_across_chunks_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_writing, "ROWS_PER_CHUNK", 7)
    rows = random_rows(40, 6, 1)
    rows[39] = rows[0]
    rows[20] = rows[19]
    taxa = [Taxon(species=f"n{n:02d}") for n in range(40)]
    labels = write_label_set(tmp_path / "set", taxa, rows, ENCODER, Block(0, 40, "text", 1.0), {})
    assert labels.manifest["masked"] == [20, 39]


def published(folder: Path, names: Any, vectors_DN: Any) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    np.save(folder / "txt_emb.npy", vectors_DN)
    (folder / "txt_emb.json").write_text(json.dumps(names), "utf-8")
    return folder / "txt_emb.npy", folder / "txt_emb.json"


@pytest.mark.parametrize("chunk", [7, 8192])
def test_published_files_are_imported_label_by_label(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_building, "ROWS_PER_CHUNK", chunk)
    names = [[list(taxon.lineage), f"common {n}" if n % 3 else None] for n, taxon in enumerate(TAXA)]
    vectors_DN = np.random.default_rng(1).standard_normal((8, 30)).astype(np.float32) * 3
    vectors_DN[:, 4] = np.nan
    vectors_DN[:, 5] = 0
    files = published(tmp_path / "published", names, vectors_DN)
    labels = import_label_set(*files, DigestEncoder(), tmp_path / "set")
    column = {tuple(lineage): n for n, (lineage, _) in enumerate(names)}
    for row in range(30):
        taxon = labels.taxon(row)
        n = column[taxon.lineage]
        assert taxon.common_name == (f"common {n}" if n % 3 else "")
        if n not in (4, 5):
            expected = vectors_DN[:, n] / math.sqrt(float((vectors_DN[:, n].astype(np.float64) ** 2).sum()))
            np.testing.assert_array_equal(labels.embeddings_ND[row], expected.astype(np.float16))
        assert labels.usable_N[row] == (n not in (4, 5))
    assert labels.manifest["masked_by"] == {"zero": 1, "not a number": 1, "duplicate": 0}
    assert labels.blocks == (Block(0, 30, "text", 20.0, 0.0),)


def test_placeholders_of_published_files_are_never_an_answer_and_are_counted(tmp_path: Path) -> None:
    lineages = [
        ["Animalia", "Arthropoda", "Insecta", "Incertae sedis", "Fictidae", "Fictus", "albus"],
        ["Animalia", "Arthropoda", "Insecta", "Coleoptera", "Fictidae", "Fictus", "sp."],
        ["Animalia", "Arthropoda", "Insecta", "Coleoptera", "Fictidae", "Unidentified", "niger"],
        ["Animalia", "Arthropoda", "Insecta", "Coleoptera", "Fictidae", "Fictus", "bat"],
    ]
    vectors_DN = np.random.default_rng(2).standard_normal((8, 4)).astype(np.float32)
    findings = Findings()
    files = published(tmp_path / "published", [[lineage, None] for lineage in lineages], vectors_DN)
    labels = import_label_set(*files, DigestEncoder(), tmp_path / "set", findings=findings)
    usable = {labels.taxon(row).lineage[3:] for row in range(4) if labels.usable_N[row]}
    assert usable == {("", "Fictidae", "Fictus", "albus"), ("Coleoptera", "Fictidae", "Fictus", "bat")}
    assert findings.count("labels are placeholders and never an answer") == 2
    assert findings.count("labels have a placeholder at a rank above, which is left empty") == 1


def test_an_imported_label_set_sums_genera_as_brute_force_does(tmp_path: Path) -> None:
    names = [[["K", "P", "C", "O", "F", f"G{n % 4}", f"s{n}"], ""] for n in range(24)]
    vectors_DN = random_rows(24, 8, 2).T.astype(np.float32)
    labels = import_label_set(*published(tmp_path / "p", names, vectors_DN), DigestEncoder(), tmp_path / "set")
    feature = random_rows(1, 8, 9)
    logits = 20.0 * feature[0].astype(np.float64) @ vectors_DN.astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum()
    sums: Counter[str] = Counter()
    for (lineage, _), probability in zip(names, probabilities, strict=True):
        sums[lineage[5]] += float(probability)
    (found,) = Classifier(labels).classify(feature, rank="genus", top=4)
    assert {c.name: c.probability for c in found.by_rank["genus"]} == pytest.approx(
        dict(sums), abs=1e-3
    )  # labels are float16


NAME = [["K", "P", "C", "O", "F", "G", "s"], "common"]


@pytest.mark.parametrize(
    ("names", "vectors", "says"),
    [
        (
            [NAME] * 4,
            np.zeros((4, 8), np.float32),
            "has shape 4x8; expected 8x4: 8 numbers for the model's features, and 4 columns",
        ),
        ([NAME] * 4, np.zeros((8, 5), np.float32), "has shape 8x5; expected 8x4"),
        ([NAME] * 4, np.zeros(8, np.float32), "has shape 8; expected 8x4"),
        ([NAME] * 4, np.zeros((8, 4), np.int64), "numbers of type int64; expected"),
        ([NAME] * 4, np.array([None] * 4), "cannot be read as label embeddings"),
        (["Acer palmatum"], np.zeros((8, 1), np.float32), "cannot be read as label names"),
        ([["Animalia", "x"]], np.zeros((8, 1), np.float32), "'Animalia' is not a list of seven ranks"),
        ([[["K", "P"], "x"]], np.zeros((8, 1), np.float32), "is not a list of seven ranks"),
        ([[1, 2, 3]], np.zeros((8, 1), np.float32), "expected a JSON list of"),
        ([], np.zeros((8, 0), np.float32), "it is empty"),
        ({}, np.zeros((8, 0), np.float32), "expected 'array', got 'object'"),
    ],
)
def test_published_files_that_do_not_fit_are_refused_with_the_expected_shape(
    names: Any, vectors: Any, says: str, tmp_path: Path
) -> None:
    files = published(tmp_path / "published", names, vectors)
    with pytest.raises(LabelSetError, match=says) as failure:
        import_label_set(*files, DigestEncoder(), tmp_path / "set")
    assert "\n" not in str(failure.value)
    assert not (tmp_path / "set").exists()


def test_published_files_that_are_no_such_files_say_so(tmp_path: Path) -> None:
    embeddings, names = published(tmp_path / "published", [NAME], np.ones((8, 1), np.float32))
    with pytest.raises(LabelSetError, match="cannot be read as label names"):
        import_label_set(embeddings, embeddings, DigestEncoder(), tmp_path / "set")
    with pytest.raises(LabelSetError, match="cannot be read as label embeddings"):
        import_label_set(names, names, DigestEncoder(), tmp_path / "set")
    with pytest.raises(LabelSetError, match="cannot be read as label embeddings"):
        import_label_set(tmp_path / "nowhere.npy", names, DigestEncoder(), tmp_path / "set")
    np.savez(tmp_path / "several.npz", a=np.ones(3))
    with pytest.raises(LabelSetError, match="holds several arrays"):
        import_label_set(tmp_path / "several.npz", names, DigestEncoder(), tmp_path / "set")


def test_a_finished_import_is_left_as_it_is(tmp_path: Path) -> None:
    files = published(tmp_path / "published", [NAME], np.ones((8, 1), np.float32))
    import_label_set(*files, DigestEncoder(), tmp_path / "set")
    modified = (tmp_path / "set" / "embeddings.npy").stat().st_mtime_ns
    import_label_set(*files, DigestEncoder(), tmp_path / "set")
    assert (tmp_path / "set" / "embeddings.npy").stat().st_mtime_ns == modified
