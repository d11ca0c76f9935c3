"""Label sets: order, spans, subsets, and errors for folders that are not a label set."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from core_samples import ENCODER, DigestEncoder, label_set, random_rows, random_taxa

from bioclip_core.classify import Classifier
from bioclip_core.errors import LabelSetError, NoTextTower, UsageError
from bioclip_core.labels.checklist import subset_of
from bioclip_core.labels.label_set import LabelSet, custom_labels
from bioclip_core.labels.manifest import Block
from bioclip_core.labels.writing import write_label_set
from bioclip_core.taxonomy import RANKS, Rank, Taxon
from bioclip_plugin.testing import FakeEncoder

TAXA = [
    Taxon("Plantae", "", "", "", "Sapindaceae", "Acer", "rubrum", "red maple", "id:1"),
    Taxon("Animalia", "Chordata", "Aves", "Passeriformes", "Turdidae", "Turdus", "merula", "blackbird", "id:2"),
    Taxon("Plantae", "", "", "", "Sapindaceae"),
    Taxon("Plantae", "", "", "", "Sapindaceae", "Acer", "palmatum"),
    Taxon("Animalia", "Chordata", "Aves", "Passeriformes", "Turdidae", "Turdus"),
]


def written(folder: Path, taxa: list[Taxon] = TAXA, dimension: int = 4) -> LabelSet:
    rows = random_rows(len(taxa), dimension, 3)
    return write_label_set(folder, taxa, rows, ENCODER, Block(0, len(taxa), "text", 7.5, -1.0), {"captions": "none"})


def test_rows_are_in_taxonomic_order_and_keep_their_own_embedding() -> None:
    rows = np.eye(5, dtype=np.float16)
    labels = label_set(TAXA, rows)
    names = [labels.taxon(n).scientific_name for n in range(5)]
    assert names == ["Turdus", "Turdus merula", "Sapindaceae", "Acer palmatum", "Acer rubrum"]
    assert [int(row.argmax()) for row in labels.embeddings_ND] == [4, 1, 2, 3, 0]
    assert labels.taxon(4) == TAXA[0]  # with its common name and source id


def test_every_taxon_at_every_rank_is_one_run_of_rows() -> None:
    labels = label_set(TAXA)
    runs = {
        rank.value: [
            (int(start), int(end), bool(named))
            for start, end, named in zip(*(getattr(labels.spans(rank), key) for key in ("starts_S", "ends_S", "named_S")), strict=True)
        ]
        for rank in (Rank.KINGDOM, Rank.ORDER, Rank.GENUS, Rank.SPECIES)
    }  # fmt: skip
    assert runs == {
        "kingdom": [(0, 2, True), (2, 5, True)],
        "order": [(0, 2, True), (2, 5, False)],
        "genus": [(0, 2, True), (2, 3, False), (3, 5, True)],
        "species": [(0, 1, False), (1, 2, True), (2, 3, False), (3, 4, True), (4, 5, True)],
    }
    assert len(labels.spans("species").starts_S) == len(labels)
    assert len(labels.spans("genus").starts_S) < len(labels)


@pytest.mark.parametrize("seed", range(3))
def test_spans_of_random_trees_are_the_distinct_paths(seed: int) -> None:
    labels = label_set(random_taxa(150, seed))
    for rank in RANKS:
        spans = labels.spans(rank)
        paths = [labels.taxon(int(row)).lineage[: rank.depth + 1] for row in spans.starts_S]
        assert len(set(paths)) == len(paths)
        for start, end, path, named in zip(spans.starts_S, spans.ends_S, paths, spans.named_S, strict=True):
            assert {labels.taxon(int(row)).lineage[: rank.depth + 1] for row in range(start, end)} == {path}
            assert bool(path[-1]) == bool(named)
        assert (spans.starts_S[0], spans.ends_S[-1]) == (0, 150)


def test_a_label_set_survives_the_disk_and_gives_the_same_answers(tmp_path: Path) -> None:
    made = written(tmp_path / "set")
    opened = LabelSet.open(tmp_path / "set")
    assert [opened.taxon(n) for n in range(5)] == [made.taxon(n) for n in range(5)]
    assert opened.identity() == made.identity()
    assert opened.blocks == (Block(0, 5, "text", 7.5, -1.0),)
    assert isinstance(opened.embeddings_ND, np.memmap)
    assert opened.embeddings_ND.dtype == np.float16
    np.testing.assert_array_equal(opened.embeddings_ND, made.embeddings_ND)
    in_memory = label_set(TAXA, random_rows(5, 4, 3), scale=7.5)
    features = random_rows(3, 4, 8)
    for one, other in zip(Classifier(opened).classify(features), Classifier(in_memory).classify(features), strict=True):
        assert [c.name for c in one.by_rank["species"]] == [c.name for c in other.by_rank["species"]]


def test_an_open_label_set_cannot_change_its_file(tmp_path: Path) -> None:
    labels = written(tmp_path / "set")
    before = (tmp_path / "set" / "embeddings.npy").read_bytes()
    labels.embeddings_ND[:] = 0
    del labels
    assert (tmp_path / "set" / "embeddings.npy").read_bytes() == before


def test_fifty_thousand_labels_are_opened_as_a_memory_map(tmp_path: Path) -> None:
    count = 50_000
    taxa = [Taxon("K", f"P{n % 7}", "C", "O", f"F{n % 400}", f"Genus{n % 9000}", f"species{n}") for n in range(count)]
    rows = random_rows(count, 16, 0)
    write_label_set(tmp_path / "set", taxa, rows, ENCODER, Block(0, count, "text", 10.0), {})
    labels = LabelSet.open(tmp_path / "set")
    assert isinstance(labels.embeddings_ND, np.memmap)
    assert len(labels.spans("species").starts_S) == count
    # "species31" is residue 31 modulo 9000, 400 and 7
    (row,) = np.flatnonzero(subset_of(labels, ["Genus31 species31"]).kept_N)
    assert labels.taxon(int(row)) == taxa[31]
    assert subset_of(labels, ["Genus31"]).kept_N.sum() == len([n for n in range(count) if n % 9000 == 31])


def test_identity_changes_with_the_subset_and_not_with_the_order_of_its_names() -> None:
    labels = label_set(TAXA)
    identities = [
        labels.identity(),
        subset_of(labels, ["Acer", "Aves"]).identity(),
        subset_of(labels, ["Acer"]).identity(),
    ]
    assert identities[0]["subset"] is None
    assert len({identity["subset"] for identity in identities}) == 3
    assert subset_of(labels, ["Aves", "Acer"]).identity() == identities[1]
    assert subset_of(labels, ["Plantae", "Animalia"]).identity() == identities[0]
    assert label_set(TAXA[:4]).identity()["label_set"] != identities[0]["label_set"]


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["Acer"], ["Acer palmatum", "Acer rubrum"]), (["acer RUBRUM"], ["Acer rubrum"]), (["Acer rubrum L."], ["Acer rubrum"]),
        (["Sapindaceae"], ["Sapindaceae", "Acer palmatum", "Acer rubrum"]),
        (["Aves", "Acer palmatum", " "], ["Turdus", "Turdus merula", "Acer palmatum"]),
        (["Turdus"], ["Turdus", "Turdus merula"]),
    ],
)  # fmt: skip
def test_a_subset_keeps_the_taxa_below_names_of_any_rank(names: list[str], kept: list[str]) -> None:
    labels = subset_of(label_set(TAXA), names)
    assert [labels.taxon(int(row)).scientific_name for row in np.flatnonzero(labels.kept_N)] == kept


def test_a_subset_of_a_subset_has_the_taxa_that_both_keep() -> None:
    labels = subset_of(subset_of(label_set(TAXA), ["Sapindaceae"]), ["Acer"])
    assert labels.kept_N.sum() == 2
    with pytest.raises(LabelSetError, match="any of the taxa given"):
        subset_of(labels, ["Aves"])


def test_names_that_are_not_there_are_listed() -> None:
    names = ["Acer", *(f"Nemo{n}" for n in range(7))]
    with pytest.raises(
        LabelSetError, match="not in the label set: Nemo0, Nemo1, Nemo2, Nemo3, Nemo4 and 2 more; look names up"
    ):
        subset_of(label_set(TAXA), names)


def test_a_label_set_of_another_model_is_refused_with_both_names() -> None:
    labels = label_set(TAXA)
    labels.check_encoder({**ENCODER, "source": "moved elsewhere"})  # the same weights from another location
    with pytest.raises(
        LabelSetError, match=r"made for local-dir:invented \(weights c0ffee.*not for other \(weights beef.*labels build"
    ):
        labels.check_encoder({"weights_sha256": "beef" * 16, "source": "other", "revision": ""})


def edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "label_set.json"
        manifest = json.loads(path.read_text("utf-8"))
        change(manifest)
        path.write_text(json.dumps(manifest), "utf-8")

    return apply


def cut(folder: Path) -> None:
    path = folder / "embeddings.npy"
    path.write_bytes(path.read_bytes()[:-8])


def drop_a_column(folder: Path) -> None:
    pq.write_table(pq.read_table(folder / "taxa.parquet").drop_columns(["genus"]), folder / "taxa.parquet")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: (folder / "label_set.json").unlink(), "has no label_set.json: .*labels build TABLE"),
        (lambda folder: (folder / "label_set.json").write_text("{"), "label_set.json is not JSON"),
        (
            lambda folder: (folder / "label_set.json").write_text("[]"),
            "is not as it must be: expected 'object', got 'array'",
        ),
        (lambda folder: (folder / "embeddings.npy").unlink(), "is damaged"),
        (lambda folder: (folder / "taxa.parquet").unlink(), "is damaged"),
        (lambda folder: (folder / "taxa.parquet").write_bytes(b"not parquet"), "is damaged"),
        (lambda folder: (folder / "embeddings.npy").write_bytes(b""), "is damaged"),
        (
            lambda folder: np.save(folder / "embeddings.npy", np.zeros((4, 4), np.float16)),
            "is damaged: .*5 labels of 4 numbers",
        ),
        (lambda folder: np.save(folder / "embeddings.npy", np.zeros((5, 4), np.float32)), "is damaged: .*float32"),
        (cut, "is damaged"),
        (drop_a_column, "is damaged: taxa.parquet is not the file that was made"),
        (edit(lambda manifest: manifest.update(format_version=4)), "format 4; this version reads 1 to 3: upgrade"),
        (edit(lambda manifest: manifest.pop("count")), "is damaged: .* missing required field 'count'"),
        (edit(lambda manifest: manifest["blocks"][0].update(stop=3)), "blocks of 3 rows for 5 labels"),
        (edit(lambda manifest: manifest["blocks"][0].update(start=1)), "does not start at 0"),
        (
            edit(lambda manifest: manifest["blocks"][0].update(feature_mean=[0.0])),
            "feature mean does not have 4 numbers",
        ),
    ],
)
def test_a_damaged_folder_is_refused_with_the_fault_and_the_remedy(
    damage: Callable[[Path], Any], says: str, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    written(folder)
    damage(folder)
    with pytest.raises(LabelSetError, match=says) as failure:
        LabelSet.open(folder)
    assert str(folder) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_folder_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LabelSetError, match="no such folder; make one with: bioclip-plugin labels build"):
        LabelSet.open(tmp_path / "nowhere")


def test_an_unfinished_folder_says_that_the_same_command_goes_on(tmp_path: Path) -> None:
    (tmp_path / "build.json").write_text("{}", "utf-8")
    with pytest.raises(LabelSetError, match="was not finished; run the same labels build again, which resumes it"):
        LabelSet.open(tmp_path)


def test_custom_labels_are_sorted_by_group_and_looked_up_by_their_own_words() -> None:
    labels = custom_labels(["small_mammal", "unknown", "bird"], DigestEncoder(), ["beast", "", "beast"])
    assert [labels.taxon(n).common_name for n in range(3)] == ["unknown", "bird", "small_mammal"]
    assert [labels.group(n) for n in range(3)] == ["", "beast", "beast"]
    assert labels.levels == ("group", "label")
    assert labels.level("species") == "label"
    kept = subset_of(labels, ["Small_Mammal", "unknown"])
    assert [labels.taxon(int(n)).common_name for n in np.flatnonzero(kept.kept_N)] == ["unknown", "small_mammal"]


@pytest.mark.parametrize(
    ("words", "groups", "says"),
    [([], None, "at least one"), (["a", " "], None, "without empty"), (["a", "b", "a "], None, "duplicate labels"),
     (["a", "b"], ["g"], "1 groups for 2 labels")],
)  # fmt: skip
def test_custom_labels_that_cannot_be_used_are_refused(words: list[str], groups: list[str] | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        custom_labels(words, FakeEncoder(), groups)


def test_an_image_only_encoder_has_no_custom_labels() -> None:
    with pytest.raises(NoTextTower, match="prototypes"):
        custom_labels(["red"], FakeEncoder(text_tower=False))


@pytest.mark.parametrize("place", ["bioclip_core.labels.label_set.open_embeddings", "pyarrow.parquet.read_table"])
def test_a_time_out_of_the_host_is_not_a_damage_of_the_label_set(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise TimeoutError("the host's alarm")

    written(tmp_path / "set")
    monkeypatch.setattr(place, interrupted)
    with pytest.raises(TimeoutError, match="the host's alarm"):
        LabelSet.open(tmp_path / "set")


def test_a_disk_that_does_not_answer_is_named_with_the_label_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise TimeoutError(110, "Connection timed out")

    written(tmp_path / "set")
    monkeypatch.setattr("bioclip_core.labels.label_set.open_embeddings", interrupted)
    with pytest.raises(LabelSetError, match="Connection timed out"):
        LabelSet.open(tmp_path / "set")
