"""Prototypes joined to text labels: order and scale of the rows by brute force, and the fit written out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core_samples import ENCODER, random_rows, random_taxa
from numpy.typing import NDArray

from bioclip_core.classify import Classifier
from bioclip_core.classifying import matrix
from bioclip_core.errors import LabelSetError
from bioclip_core.labels.joining import JOINED_SCALES, OLD_WEIGHS, join_prototypes, matching_rows
from bioclip_core.labels.label_set import LabelSet, custom_labels
from bioclip_core.labels.manifest import Block
from bioclip_core.labels.merging import row_of, write_merged
from bioclip_core.labels.prototypes import build_prototypes
from bioclip_core.labels.writing import write_label_set
from bioclip_core.taxonomy import RANKS, Taxon
from bioclip_plugin.testing import FakeEncoder

DIMENSION = 8
SCALES = Block(0, 0, "prototype", 6.0, -1.5, tuple(np.linspace(-0.2, 0.2, DIMENSION).tolist()))


def text_set(folder: Path, taxa: Sequence[Taxon], rows_ND: NDArray[Any] | None = None, scale: float = 12.0) -> LabelSet:
    rows_ND = random_rows(len(taxa), DIMENSION, 5) if rows_ND is None else rows_ND
    return write_label_set(
        folder, taxa, rows_ND, ENCODER, Block(0, len(taxa), "text", scale), {"captions": "taxonomic"}
    )


def around(centre_D: NDArray[Any], count: int, spread: float, seed: int) -> NDArray[np.float16]:
    """Return features near a direction."""
    random = np.random.default_rng(seed)
    rows = centre_D / np.linalg.norm(centre_D) + spread * random.standard_normal((count, len(centre_D)))
    unit: NDArray[np.float16] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    return unit


@pytest.mark.parametrize("seed", range(4))
def test_merged_rows_are_in_taxonomic_order_and_replaced_ones_stand_in_their_place(seed: int, tmp_path: Path) -> None:
    every = random_taxa(120, seed)
    taxa, added, replaced = every[:90], every[90:], every[:90:9]
    text = text_set(tmp_path / "text", taxa)
    prototypes = random_rows(len(added) + len(replaced), DIMENSION, 6)
    joined = write_merged(tmp_path / "joined", text, [*added, *replaced], prototypes.astype(np.float32), SCALES, {})
    expected = {taxon.lineage: row for taxon, row in zip(taxa, random_rows(90, DIMENSION, 5), strict=True)}
    expected |= {taxon.lineage: row for taxon, row in zip([*added, *replaced], prototypes, strict=True)}
    lineages = [joined.taxon(row).lineage for row in range(len(joined))]
    assert lineages == sorted(expected)
    for row, lineage in enumerate(lineages):
        np.testing.assert_array_equal(joined.embeddings_ND[row], expected[lineage])
    new = {taxon.lineage for taxon in (*added, *replaced)}
    kinds = [block.kind for block in joined.blocks for _ in range(block.start, block.stop)]
    assert kinds == ["prototype" if lineage in new else "text" for lineage in lineages]
    for rank in RANKS:  # every taxon at every rank is one contiguous run
        starts = joined.spans(rank).starts_S
        paths = [lineages[start][: rank.depth + 1] for start in starts]
        assert len(set(paths)) == len(paths) == len({lineage[: rank.depth + 1] for lineage in lineages})
    assert [row_of(joined, joined.taxon(row)) for row in range(len(joined))] == list(range(len(joined)))
    assert row_of(joined, Taxon("Nobody")) is None


def test_the_manifest_says_each_scale_once_and_the_identity_hangs_on_it(tmp_path: Path) -> None:
    taxa = random_taxa(60, 1)
    text = text_set(tmp_path / "text", taxa[:40])
    rows = random_rows(20, DIMENSION, 2).astype(np.float32)
    joined = write_merged(tmp_path / "joined", text, taxa[40:], rows, SCALES, {"captions": "taxonomic"})
    manifest = json.loads((tmp_path / "joined" / "label_set.json").read_text())
    assert manifest["format_version"] == 2
    assert sorted(kind["kind"] for kind in manifest["kinds"]) == ["prototype", "text"]
    assert len(manifest["blocks"]) > 5
    assert all(len(block) == 3 for block in manifest["blocks"])
    other = write_merged(
        tmp_path / "other", text, taxa[40:], rows, Block(0, 0, "prototype", 6.0, -1.4, SCALES.feature_mean), {}
    )
    ids = {labels.identity()["label_set"] for labels in (text, joined, other)}
    assert len(ids) == 3  # the files of the last two are equal
    again = write_merged(tmp_path / "joined", text, taxa[40:], rows, SCALES, {"captions": "taxonomic"})
    assert again.identity() == joined.identity()
    with pytest.raises(LabelSetError, match="choose another --output"):
        write_merged(tmp_path / "other", text, taxa[40:], rows, SCALES, {})


def softmax_by_row(labels: LabelSet, features_BD: NDArray[Any]) -> NDArray[np.float64]:
    """Compute the B×N probabilities in fp64, written out block by block."""
    parts = []
    for block in labels.blocks:
        queries = features_BD.astype(np.float64)
        if block.feature_mean is not None:
            queries = queries - np.array(block.feature_mean)
            queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        rows = np.asarray(labels.embeddings_ND[block.start : block.stop], dtype=np.float64)
        parts.append(block.scale * queries @ rows.T + block.bias)
    logits = np.concatenate(parts, axis=1)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True)) * labels.kept_N
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


@pytest.mark.parametrize("sizes", [{}, {"_RESIDENT_BYTES": 0, "_CHUNK_BYTES": 7 * 4 * DIMENSION, "BLOCK": 7}])
def test_many_short_blocks_are_answered_as_each_on_its_own(
    sizes: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taxa = random_taxa(80, 3)
    text = text_set(tmp_path / "text", taxa[:50])
    rows = random_rows(30, DIMENSION, 4).astype(np.float32)
    joined = write_merged(tmp_path / "joined", text, taxa[50:], rows, SCALES, {})
    features = random_rows(9, DIMENSION, 7)
    expected = softmax_by_row(joined, features)
    for name, size in sizes.items():
        monkeypatch.setattr(matrix, name, size)
    for found, probabilities in zip(Classifier(joined).classify(features, top=80), expected, strict=True):
        assert {c.taxon.lineage: c.probability for c in found.by_rank["species"]} == pytest.approx(
            {joined.taxon(row).lineage: float(value) for row, value in enumerate(probabilities)}, abs=1e-5
        )


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_of_a_joined_set_add_up_to_one_at_every_rank(seed: int, tmp_path: Path) -> None:
    taxa = random_taxa(70, seed)
    text = text_set(tmp_path / "text", taxa[:45])
    rows = random_rows(25, DIMENSION, seed).astype(np.float32)
    joined = write_merged(tmp_path / "joined", text, taxa[45:], rows, SCALES, {})
    classifier = Classifier(joined)
    for rank in RANKS:
        for found in classifier.classify(random_rows(3, DIMENSION, 9), rank=rank.value, top=70):
            assert sum(c.probability for c in found.by_rank[rank.value]) == pytest.approx(1.0, abs=1e-5)


NAMES = [Taxon("Fictia", "", "", "", "Inventidae", "Nemo", name) for name in "abcdefgh"]


def test_scale_and_bias_are_the_likeliest_for_left_out_examples_and_stand_ins(tmp_path: Path) -> None:
    """Three new taxa beside five text labels. The stand-ins are the examples without their own prototype, written out in loops."""
    axes = np.eye(DIMENSION)
    text = text_set(tmp_path / "text", NAMES[:5], axes[:5].astype(np.float16))
    features = np.concatenate([around(axes[5 + n] + 0.5 * axes[n], 6, 0.45, n) for n in range(3)])
    taxa = [NAMES[5 + n] for n in range(3) for _ in range(6)]
    _, fit = join_prototypes(text, features, taxa, tmp_path / "joined")
    assert (fit.added, fit.replaced, fit.new_rows, fit.old_rows, fit.old_stand_ins) == (3, 0, 18, 0, 18)

    def likelihood(scale: float, bias: float) -> float:
        total = 0.0
        rows = features.astype(np.float64)
        for row, own in enumerate(taxa):
            logits = {}
            for name in NAMES[5:]:
                others = [rows[r] for r in range(18) if taxa[r] == name and r != row]
                mean = np.mean(others, axis=0)
                logits[name] = scale * float(mean @ rows[row]) / float(np.linalg.norm(mean)) + bias
            text_weight = float(np.exp(12.0 * rows[row, :5]).sum())
            weights = {name: float(np.exp(logit)) for name, logit in logits.items()}
            total += np.log(weights[own] / (text_weight + sum(weights.values())))
            total += OLD_WEIGHS * np.log(text_weight / (text_weight + sum(weights.values()) - weights[own]))
        return total

    grid = {
        scale: max(likelihood(scale, float(bias)) for bias in np.arange(-20, 20, 0.25)) for scale in JOINED_SCALES[:16]
    }
    best, chosen = max(grid.values()), likelihood(fit.scale, fit.bias)
    # within 0.02 nats per image around the smallest scale that is as good as the best, plus the error of one bias step
    assert best / 18 - 0.02 <= chosen / 18 <= best / 18 + 0.005
    assert all(value / 18 < best / 18 - 0.015 for scale, value in grid.items() if scale < fit.scale)
    assert chosen / 18 >= grid[fit.scale] / 18


def test_a_text_row_is_replaced_only_if_examples_are_likelier_under_the_prototype(
    tmp_path: Path,
) -> None:
    axes = np.eye(DIMENSION)
    text = text_set(tmp_path / "text", NAMES[:6], axes[:6].astype(np.float16))
    # The images of the first taxon are at its text row, those of the second elsewhere; a third taxon is new.
    features = np.concatenate([around(axes[0], 6, 0.2, 1), around(axes[6], 6, 0.2, 2), around(axes[7], 6, 0.2, 3),
                               around(axes[3], 1, 0.2, 4)])  # fmt: skip
    taxa = [NAMES[0]] * 6 + [NAMES[1]] * 6 + [NAMES[7]] * 6 + [NAMES[3]]
    joined, fit = join_prototypes(text, features, taxa, tmp_path / "joined")
    assert (fit.added, fit.replaced, set(fit.kept)) == (1, 1, {"Nemo a", "Nemo d"})  # d has a single example
    assert len(joined) == 7
    kinds = {joined.taxon(row).species: block.kind for block in joined.blocks for row in range(block.start, block.stop)}
    assert kinds == {**dict.fromkeys("acdef", "text"), "b": "prototype", "h": "prototype"}
    found = Classifier(joined).classify(np.concatenate([around(axes[n], 3, 0.1, 9) for n in (0, 2, 6, 7)]))
    assert "".join(c.by_rank["species"][0].taxon.species for c in found) == "aaacccbbbhhh"


def test_without_an_example_to_leave_out_old_and_new_taxa_are_still_both_answered(tmp_path: Path) -> None:
    axes = np.eye(DIMENSION)
    text = text_set(tmp_path / "text", NAMES[:4], axes[:4].astype(np.float16))
    features = np.concatenate([around(axes[4 + n], 1, 0.1, n) for n in range(3)])
    joined, fit = join_prototypes(text, features, NAMES[4:7], tmp_path / "joined")
    assert (fit.new_rows, fit.old_stand_ins) == (0, 3)
    assert "no example that could be left out" in fit.rests_on
    queries = np.concatenate([around(axes[n], 1, 0.1, 8) for n in range(7)])
    assert "".join(c.by_rank["species"][0].taxon.species for c in Classifier(joined).classify(queries)) == "abcdefg"


def test_a_single_new_taxon_is_joined_too(tmp_path: Path) -> None:
    axes = np.eye(DIMENSION)
    text = text_set(tmp_path / "text", NAMES[:4], axes[:4].astype(np.float16))
    joined, fit = join_prototypes(text, around(axes[5], 4, 0.1, 1), [NAMES[5]] * 4, tmp_path / "joined")
    assert "there are no images of other taxa" in fit.rests_on
    queries = np.concatenate([around(axes[n], 2, 0.1, 8) for n in (0, 1, 2, 3, 5)])
    assert "".join(c.by_rank["species"][0].taxon.species for c in Classifier(joined).classify(queries)) == "aabbccddff"


def test_if_every_text_row_is_better_the_set_stays_unchanged(tmp_path: Path) -> None:
    axes = np.eye(DIMENSION)
    text = text_set(tmp_path / "text", NAMES[:4], axes[:4].astype(np.float16))
    features = np.concatenate([around(axes[n], 5, 0.3, n) for n in range(3)])
    joined, fit = join_prototypes(text, features, [NAMES[n] for n in range(3) for _ in range(5)], tmp_path / "joined")
    assert (fit.added, fit.replaced, len(fit.kept)) == (0, 0, 3)
    np.testing.assert_array_equal(joined.embeddings_ND, text.embeddings_ND)
    before, after = (Classifier(labels).classify(features) for labels in (text, joined))
    assert [c.by_rank for c in before] == [c.by_rank for c in after]


def test_a_taxon_is_found_by_its_name_despite_other_higher_ranks_but_not_in_another_kingdom(tmp_path: Path) -> None:
    text = text_set(
        tmp_path / "text",
        [
            Taxon("Animalia", "Chordata", "Aves", "Passeriformes", "Turdidae", "Turdus", "merula"),
            Taxon("Plantae", "Tracheophyta", "", "", "", "Oenanthe", "aquatica"),
            Taxon("Animalia", "Chordata", "", "", "", "Turdus"),
        ],
    )
    asked = [
        Taxon("Animalia", "", "", "", "", "Turdus", "merula"), Taxon("Animalia", "", "", "", "", "Oenanthe", "aquatica"),
        Taxon("Animalia", "", "", "", "Turdidae", "Turdus"), Taxon("", "", "", "", "", "Parus", "major"),
    ]  # fmt: skip
    names = [text.taxon(row).scientific_name if row >= 0 else "" for row in matching_rows(text, asked)]
    assert names == ["Turdus merula", "", "Turdus", ""]


def test_sets_that_cannot_be_joined_are_refused(tmp_path: Path) -> None:
    features, taxa = random_rows(4, DIMENSION, 1), [NAMES[5], NAMES[5], NAMES[6], NAMES[6]]
    text = text_set(tmp_path / "text", NAMES[:4])
    with pytest.raises(LabelSetError, match="a single example"):
        join_prototypes(text, features[:1], taxa[:1], tmp_path / "x")
    with pytest.raises(LabelSetError, match="there are no examples"):
        join_prototypes(text, features[:0], [], tmp_path / "x")
    joined, _ = join_prototypes(text, features, taxa, tmp_path / "joined")
    prototypes = build_prototypes(features, taxa, ENCODER, tmp_path / "prototypes")
    for labels in (joined, prototypes):
        with pytest.raises(LabelSetError, match="holds prototypes; prototypes are joined to a label set of text alone"):
            join_prototypes(labels, features, taxa, tmp_path / "x")
    with pytest.raises(LabelSetError, match="holds custom labels"):
        join_prototypes(custom_labels(["red"], FakeEncoder()), features[:, :3], taxa, tmp_path / "x")
    assert not (tmp_path / "x").exists()
