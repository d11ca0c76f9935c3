"""Probabilities against a plain float64 softmax over the same stored numbers, on the exact path and after a first look in bf16."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from core_samples import ENCODER, random_rows, random_taxa
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bioclip_core.classify import Classification, Classifier
from bioclip_core.classifying import closer, crew, floors, look, looking, matrix, whole
from bioclip_core.classifying.columns import Columns
from bioclip_core.classifying.largest import largest
from bioclip_core.labels.label_set import LabelSet, in_memory
from bioclip_core.labels.manifest import Block, RowScales
from bioclip_core.taxonomy import RANKS, Taxon

DIMENSION = 16
RELATIVE = 1e-4
SMALLEST = 1e-25
"""Smaller probabilities are compared only with zero: fp32 ends near 1e-38 of the largest of a chunk."""


@dataclass(frozen=True)
class Case:
    """Labels, features and settings of one call."""

    labels: LabelSet
    features: NDArray[np.float16]
    temperature: float = 1.0
    weights: NDArray[np.float32] | None = None
    members: Sequence[int] | None = None

    def expected(self) -> NDArray[np.float64]:
        """Return the probabilities, G×N, written out in float64."""
        labels, rows = self.labels, self.features.astype(np.float64)
        logits = np.empty((len(rows), len(labels)))
        for block in labels.blocks:
            query = rows
            if block.feature_mean is not None:
                query = rows - np.array(block.feature_mean)
                query = query / np.maximum(np.linalg.norm(query, axis=1, keepdims=True), 1e-12)
            own = slice(block.start, block.stop)
            logits[:, own] = block.scale * query @ labels.embeddings_ND[own].astype(np.float64).T + block.bias
        if labels.row_scales is not None:
            logits = logits * np.array(labels.row_scales.factor) + np.array(labels.row_scales.bias)
        if self.members is not None:
            ends = np.cumsum(self.members)
            logits = np.stack(
                [logits[end - size : end].mean(axis=0) for end, size in zip(ends, self.members, strict=True)]
            )
        logits /= self.temperature
        logits[:, ~labels.kept_N] = -np.inf
        if self.weights is not None and (self.weights[labels.kept_N] > 0).any():
            with np.errstate(divide="ignore"):
                logits += np.log(self.weights.astype(np.float64))
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return found

    def check(self, found: Sequence[Classification], rank: str, top: int) -> None:
        """Compare every candidate with the sum of its labels, and the sums with the largest ones."""
        places = {level: places_of(self.labels, level) for level in self.labels.levels}
        for classification, probabilities_N in zip(found, self.expected(), strict=True):
            for level in self.labels.levels:
                spans = self.labels.spans(level)
                sums_S = np.add.reduceat(probabilities_N, spans.starts_S)
                possible_S = sums_S if level == rank else np.where(spans.named_S, sums_S, 0.0)
                largest = np.sort(possible_S)[::-1][: top if level == rank else 1]
                candidates = classification.by_rank.get(level, ())
                values = [candidate.probability for candidate in candidates]
                own = [
                    min((sums_S[place] for place in places[level][one.taxon]), key=partial(_distance, one.probability))
                    for one in candidates
                ]
                assert values == sorted(values, reverse=True)
                for number, expected in enumerate(largest.tolist()):
                    if expected >= SMALLEST:
                        assert values[number] == pytest.approx(expected, rel=RELATIVE), (level, number)
                        assert own[number] == pytest.approx(expected, rel=2 * RELATIVE), (level, number)
                for value in values[len(largest) :]:
                    raise AssertionError(f"{level} has a further candidate of {value}")


def _distance(one: float, other: float) -> float:
    return abs(one - other)


def places_of(labels: LabelSet, level: str) -> dict[Taxon, list[int]]:
    """Return the spans of each taxon of a level; a hole has the taxon of its nearest named ancestor."""
    places: dict[Taxon, list[int]] = {}
    for place, start in enumerate(labels.spans(level).starts_S.tolist()):
        places.setdefault(labels.taxon_at(start, level)[0], []).append(place)
    return places


def make_case(seed: int, count: int, scale: float, shape: str, kind: str, extras: Sequence[str]) -> Case:
    """Return a random case.

    Args:
        seed: of all random numbers.
        count: number of labels.
        scale: of logits.
        shape: ``peaked`` features are near a label, ``flat`` ones near none, ``equal`` labels are the same few vectors.
        kind: ``text``, ``prototypes``, ``joined`` or ``probe``.
        extras: any of ``subset``, ``prior``, ``pooled``, ``warm`` (a temperature) and ``doubled`` (lineages with two labels).
    """
    rng = np.random.default_rng(seed)
    taxa: list[Taxon] = random_taxa(count, seed, names_a_rank=2 + seed % 3)
    if "doubled" in extras:
        taxa = [taxa[number // 2] for number in range(count)]
    rows = random_rows(count, DIMENSION, seed).astype(np.float32)
    if shape == "equal":
        rows = rows[rng.integers(0, max(1, count // 8), count)]
    mean = tuple((0.3 * random_rows(1, DIMENSION, seed + 1)[0].astype(np.float64)).tolist())
    blocks, row_scales = [Block(0, count, "text", scale, -3.0)], None
    if kind == "prototypes":
        blocks = [Block(0, count, "prototype", scale, 0.0, mean)]
    if kind == "probe":
        blocks = [Block(0, count, "probe", scale, 0.0, mean)]
        row_scales = RowScales(tuple(rng.uniform(0.2, 1, count).tolist()), tuple(rng.normal(0, 2, count).tolist()))
    if kind == "joined" and count > 2:
        middle = int(rng.integers(1, count))
        blocks = [Block(0, middle, "text", scale), Block(middle, count, "prototype", 0.7 * scale, 1.5, mean)]
    labels = in_memory(taxa, rows, ENCODER, blocks, row_scales=row_scales)
    kept = None
    if "subset" in extras:
        kept = rng.random(count) < 0.3
        kept[int(rng.integers(count))] = True
    labels = LabelSet(labels.table, labels.embeddings_ND, labels.manifest, kept_N=kept)
    features = random_rows(9, DIMENSION, seed + 2).astype(np.float32)
    if shape == "peaked":
        features = 0.4 * features + labels.embeddings_ND[rng.integers(0, count, 9)].astype(np.float32)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
    weights = rng.choice([0.0, 1e-3, 1.0, 7.0], count).astype(np.float32) if "prior" in extras else None
    members = (1, 4, 2, 2) if "pooled" in extras else None
    return Case(labels, features.astype(np.float16), 0.8 if "warm" in extras else 1.0, weights, members)


@pytest.fixture(params=["exact", "exact without keeping logits", "first look"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Compute on the exact path, or after a first look in bf16, whether or not this machine has units for it."""
    if request.param == "exact without keeping logits":
        monkeypatch.setattr(whole, "_KEPT_BYTES", 0)
        monkeypatch.setattr(whole, "_FEW_BLOCKS", 1)
    monkeypatch.setattr(looking, "multiplies_bf16", lambda _device: request.param == "first look")
    monkeypatch.setattr(looking, "_FEWEST_LABELS", 1)
    monkeypatch.setattr(floors, "_FEWEST_LOOKED_AT", 60)
    monkeypatch.setattr(looking, "_UNDECIDED", 2.0)
    monkeypatch.setattr(matrix, "BLOCK", 4)
    monkeypatch.setattr(matrix, "_CHUNK_BYTES", 4 * DIMENSION * 64)
    return str(request.param)


EXTRAS = ("subset", "prior", "pooled", "warm", "doubled")


def test_probabilities_are_those_of_float64_at_every_rank(path: str) -> None:
    @settings(max_examples=30, deadline=None)
    @given(
        seed=st.integers(0, 1 << 20),
        count=st.integers(1, 400),
        scale=st.sampled_from([1.0, 20.0, 100.0, 1000.0]),
        shape=st.sampled_from(["peaked", "flat", "equal"]),
        kind=st.sampled_from(["text", "prototypes", "joined", "probe"]),
        extras=st.sets(st.sampled_from(EXTRAS)),
        rank=st.sampled_from(RANKS),
        top=st.sampled_from([1, 5, 40]),
    )
    def check(
        seed: int, count: int, scale: float, shape: str, kind: str, extras: set[str], rank: str, top: int
    ) -> None:
        case = make_case(seed, count, scale, shape, kind, sorted(extras))
        classifier = Classifier(case.labels, temperature=case.temperature)
        found = classifier.classify(case.features, rank=rank, top=top, weights_N=case.weights, members_G=case.members)
        case.check(found, rank, top)

    check()


def in_orders(unnamed: Sequence[int]) -> list[Taxon]:
    """Return 4,096 species in eight orders, some of which have no name."""
    orders = ["" if number in unnamed else f"Order{number}" for number in range(8)]
    return [Taxon(order=orders[n // 512], genus=f"Genus{n // 8:04d}", species=f"s{n}") for n in range(4096)]


def decided(case: Case, rank: str = "species") -> NDArray[np.bool_]:
    """Return True for the rows that the first look decides, after a check of all answers."""
    classifier = Classifier(case.labels, temperature=case.temperature)
    seen: list[NDArray[np.bool_]] = []
    original = look.look

    def noted(*given: Any) -> look.Look:
        found = original(*given)
        seen.append(found.decided_B)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looking, "look", noted)
        case.check(classifier.classify(case.features, rank=rank), rank, 5)
    return np.concatenate(seen) if seen else np.zeros(0, dtype=bool)


@pytest.mark.parametrize("path", ["first look"], indirect=True)
@pytest.mark.parametrize("rank", ["species", "genus"])
def test_the_first_look_decides_peaked_answers_and_leaves_flat_ones_to_the_exact_path(path: str, rank: str) -> None:
    assert decided(make_case(3, 1500, 100.0, "peaked", "text", ()), rank).mean() > 0.3
    assert not decided(make_case(3, 1500, 2.0, "flat", "text", ()), rank).any()


@pytest.mark.parametrize("path", ["first look"], indirect=True)
def test_labels_without_a_second_look_count_by_an_estimate_where_it_is_close_enough(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = []
    original = look.Rest.of

    def noted(*given: Any) -> look.Rest:
        found = original(*given)
        shares.extend(found.sums_LB[-1].tolist())
        return found

    monkeypatch.setattr(look.Rest, "of", noted)
    case = make_case(23, 3000, 1.0, "peaked", "text", ())
    count = 0
    for scale in (24.0, 28.0, 32.0, 36.0):
        labels = in_memory(
            [case.labels.taxon(row) for row in range(3000)], case.labels.embeddings_ND, ENCODER, [Block(0, 3000, "text", scale)]
        )  # fmt: skip
        is_decided = decided(Case(labels, case.features))
        rest = np.array(shares[-len(case.features) :])
        count += int((is_decided & (rest > look.SHARE)).sum())
    assert count > 2, "rows of which the rest would have been too much without an estimate"


@pytest.mark.parametrize("path", ["first look"], indirect=True)
def test_few_rows_that_the_first_look_leaves_open_have_more_labels_looked_at_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = in_memory(in_orders(()), random_rows(4096, 64, 2), ENCODER, [Block(0, 4096, "text", 36.0)])
    near = labels.embeddings_ND[::64].astype(np.float32)
    near[[5, 40]] += 0.14 * np.random.default_rng(3).standard_normal((2, 64)).astype(np.float32)
    case = Case(labels, (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float16))
    deeper = decided(case)
    monkeypatch.setattr(floors, "_deep_floor", lambda *_: None)
    assert np.flatnonzero(deeper & ~decided(case)).tolist() == [5, 40]


@pytest.mark.parametrize("path", ["first look"], indirect=True)
def test_the_best_named_taxon_of_many_labels_is_found_by_the_sums_of_blocks(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = in_memory(in_orders((3,)), random_rows(4096, 64, 4), ENCODER, [Block(0, 4096, "text", 36.0)])
    vectors = labels.embeddings_ND.astype(np.float32)
    (unnamed,) = np.flatnonzero([not labels.taxon(row).order for row in range(4096)])[:1]
    features = vectors[::256] + 0.0
    features[4] = 0.8 * vectors[unnamed] + 0.6 * vectors[unnamed - 1000]
    other = closer.Closer._likely
    levels = []

    def noted(self: closer.Closer, level: Any, *given: Any, **options: Any) -> Any:
        levels.append(level.name)
        return other(self, level, *given, **options)

    monkeypatch.setattr(closer.Closer, "_likely", noted)
    assert decided(Case(labels, features.astype(np.float16)))[4]
    assert "order" not in levels


@pytest.mark.parametrize("path", ["first look"], indirect=True)
def test_a_product_outside_its_bound_ends_the_first_look_with_a_warning(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    case = make_case(5, 2000, 100.0, "peaked", "text", ())
    classifier = Classifier(case.labels)
    product = matrix.LabelMatrix.product

    def wrong(self: Any, chunk: torch.Tensor, start: int, queries: Any, out: torch.Tensor) -> None:
        product(self, chunk, start, queries, out)
        if out.dtype == torch.bfloat16:
            out.mul_(0.5)

    monkeypatch.setattr(matrix.LabelMatrix, "product", wrong)
    case.check(classifier.classify(case.features), "species", 5)
    assert "in bfloat16 are not what this machine should compute" in caplog.text
    caplog.clear()
    case.check(classifier.classify(case.features), "species", 5)
    assert not caplog.text


def test_products_that_the_host_lets_torch_round_are_computed_in_fp64(path: str) -> None:
    case = make_case(7, 500, 100.0, "flat", "joined", ("prior",))
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = Classifier(case.labels).classify(case.features, weights_N=case.weights)
    finally:
        torch.set_float32_matmul_precision(before)
    case.check(found, "species", 5)


def test_equally_probable_labels_stand_in_the_order_of_the_label_set(path: str) -> None:
    count, distinct = 900, 3
    vectors = random_rows(distinct, DIMENSION, 1)
    taxa = [Taxon(genus=f"A{number // 40:03d}us", species=f"s{number:04d}") for number in range(count)]
    vector_of = np.random.default_rng(2).integers(0, distinct, count)
    labels = in_memory(taxa, vectors[vector_of], ENCODER, [Block(0, count, "text", 60.0)])
    classifier = Classifier(labels)
    features = np.repeat(vectors, 4, axis=0).astype(np.float16)
    expected = [np.flatnonzero(vector_of == row // 4)[:7] for row in range(len(features))]
    for found, places in zip(classifier.classify(features, top=7), expected, strict=True):
        assert [one.name for one in found.by_rank["species"]] == [f"A{n // 40:03d}us s{n:04d}" for n in places.tolist()]
    for row, places in enumerate(expected[::4]):
        (alone,) = classifier.classify(features[4 * row : 4 * row + 1], top=7)
        assert [one.name[-4:] for one in alone.by_rank["species"]] == [f"{n:04d}" for n in places.tolist()]
    for start, sums_at in classifier.sums(features):  # and in evaluations
        own = largest(sums_at("species"), 7)[1].tolist()
        assert own == [places.tolist() for places in expected[start : start + len(own)]]


def test_the_largest_values_are_those_of_a_stable_sort() -> None:
    rng = np.random.default_rng(0)
    for width, kinds, count in ((1, 1, 1), (6, 2, 6), (40, 3, 1), (40, 3, 5), (300, 20, 30), (300, 10**9, 5)):
        values = torch.from_numpy(rng.integers(0, kinds, (8, width)).astype(np.float32))
        values[0] = -torch.inf
        expected = values.sort(dim=1, descending=True, stable=True)
        found, places = largest(values, count)
        assert torch.equal(found, expected.values[:, :count])
        assert torch.equal(places, expected.indices[:, :count])


def test_answers_do_not_depend_on_the_hosts_defaults(path: str) -> None:
    case = make_case(3, 1500, 100.0, "peaked", "joined", ("prior",))
    with np.errstate(all="raise"):
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        try:
            found = Classifier(case.labels).classify(case.features, weights_N=case.weights)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(crew, "threads_on", lambda _device: 1)
                patch.setattr(torch, "get_num_threads", lambda: 1)  # without threads of our own
                alone = Classifier(case.labels).classify(case.features, weights_N=case.weights)
        finally:
            torch.set_default_device(None)
            torch.set_default_dtype(torch.float32)
    case.check(found, "species", 5)
    case.check(alone, "species", 5)


def test_on_apples_gpus_the_cpu_compares_labels() -> None:
    """embedding_bag is missing there before torch 2.10 (pytorch/pytorch#162270), and fp64 always."""
    case = make_case(5, 40, 20.0, "flat", "text", ())
    case.check(Classifier(case.labels, "mps").classify(case.features), "species", 5)


def test_cublas_does_not_add_up_in_bf16_and_the_host_keeps_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch lets it by default, with errors beyond any bound of the inputs (pytorch/pytorch#89172)."""

    class Settings:
        allow_bf16_reduced_precision_reduction: Any = True
        allow_bf16_reduced_precision_reduction_split_k = True

    class Rows:
        dtype, device = torch.bfloat16, torch.device("cuda")

    settings = Settings()
    monkeypatch.setattr(torch.backends.cuda, "matmul", settings)
    rows: Any = Rows()
    with matrix._sums_in_fp32(rows):
        assert settings.allow_bf16_reduced_precision_reduction is False
    assert settings.allow_bf16_reduced_precision_reduction is True
    settings.allow_bf16_reduced_precision_reduction_split_k = False
    with matrix._sums_in_fp32(rows):
        assert settings.allow_bf16_reduced_precision_reduction is False
    assert settings.allow_bf16_reduced_precision_reduction == (True, False)


def test_many_equal_labels_of_one_genus_add_up_to_one() -> None:
    count = 1 << 15
    taxa_at_once = [Taxon(genus="Aus", species=f"s{number:06d}") for number in range(count)]
    labels = in_memory(taxa_at_once, np.tile(np.eye(1, 8), (count, 1)), ENCODER, [Block(0, count, "text", 30.0)])
    (found,) = Classifier(labels).classify(np.full((1, 8), 8**-0.5, dtype=np.float16))
    assert found.by_rank["genus"][0].probability == pytest.approx(1, abs=1e-6)
    assert [one.probability for one in found.by_rank["species"]] == pytest.approx([1 / count] * 5, rel=RELATIVE)


def test_rows_are_answered_alike_alone_and_in_a_group(path: str) -> None:
    case = make_case(11, 900, 60.0, "peaked", "text", ("subset",))
    classifier = Classifier(case.labels)
    together = classifier.classify(case.features)
    for row, grouped in enumerate(together):
        (alone,) = classifier.classify(case.features[row : row + 1])
        assert alone.by_rank.keys() == grouped.by_rank.keys()
        for level, candidates in grouped.by_rank.items():
            own = [one.probability for one in alone.by_rank[level]]
            assert own == pytest.approx([one.probability for one in candidates], rel=RELATIVE)


@pytest.mark.parametrize("extras", [(), ("subset", "prior")])
def test_answers_of_few_labels_are_the_same_bits_whatever_is_answered_beside_them(extras: Sequence[str]) -> None:
    """Groups are cut as the stages of a pipeline come along: two runs, and their shards, have the same rows all the same."""
    case = make_case(12, 300, 100.0, "peaked", "joined", extras)
    classifier = Classifier(case.labels)
    features = random_rows(40, DIMENSION, 5)
    features[:9] = case.features
    together = classifier.classify(features, weights_N=case.weights)
    for size in (1, 3, 7, 16, 29):
        starts = range(0, len(features), size)
        parts = [classifier.classify(features[at : at + size], weights_N=case.weights) for at in starts]
        assert [one for part in parts for one in part] == together, size


def test_threads_of_the_host_keep_their_number() -> None:
    before = torch.get_num_threads()
    assert set(crew.on_each(lambda _number: torch.get_num_threads(), 8, "cpu")) == {1}
    assert torch.get_num_threads() == before
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert seen == [before]


def test_sums_for_evaluation_have_a_column_for_every_span_also_of_unused_labels() -> None:
    case = make_case(13, 300, 20.0, "flat", "text", ("subset", "doubled"))
    expected = case.expected()
    for start, sums_at in Classifier(case.labels).sums(case.features):
        for level in case.labels.levels:
            found = sums_at(level).double().numpy()
            own = np.add.reduceat(expected[start : start + len(found)], case.labels.spans(level).starts_S, axis=1)
            np.testing.assert_allclose(found, own, rtol=RELATIVE, atol=1e-12)


def test_features_that_are_no_numbers_have_no_answer(path: str) -> None:
    case = make_case(17, 200, 20.0, "flat", "text", ())
    features = case.features.copy()
    features[2] = np.nan
    found = Classifier(case.labels).classify(features)
    assert not found[2].by_rank
    assert found[3].by_rank
    assert math.isfinite(found[3].by_rank["species"][0].probability)


def test_a_group_of_few_rows_needs_no_first_look_over_labels_that_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "multiplies_bf16", lambda _device: True)
    monkeypatch.setattr(looking, "_FEWEST_LABELS", 1)
    monkeypatch.setattr(matrix, "_RESIDENT_BYTES", 0)
    seen: list[int] = []
    original = look.look
    monkeypatch.setattr(looking, "look", lambda *given: (seen.append(len(given[2][0])), original(*given))[1])
    case = make_case(19, 400, 100.0, "peaked", "text", ())
    classifier = Classifier(case.labels)
    classifier.classify(case.features[:1])
    classifier.classify(case.features)
    assert seen == [9]


def test_labels_stay_converted_only_where_memory_is_plentiful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "multiplies_bf16", lambda _device: True)
    monkeypatch.setattr(looking, "_FEWEST_LABELS", 1)
    labels = make_case(19, 400, 100.0, "peaked", "text", ()).labels
    size = 2 * 400 * DIMENSION
    for available, is_kept in ((None, True), (8 * size, True), (8 * size - 1, False)):
        monkeypatch.setattr(matrix, "available_bytes", lambda given=available: given)
        assert Classifier(labels)._matrix.is_kept is is_kept


def test_the_rounding_of_kept_labels_is_known_and_that_of_others_is_bounded() -> None:
    labels = in_memory(random_taxa(300, 1), random_rows(300, 64, 1), ENCODER, [Block(0, 300, "text", 40.0)])
    rows = torch.from_numpy(labels.embeddings_ND).double()
    expected = float((rows - rows.bfloat16().double()).norm(dim=1).max())
    columns = Columns.of(labels, 64)
    kept = matrix.LabelMatrix(labels, columns, 64, "cpu")
    bound = kept.off(torch.bfloat16)
    kept.keep(torch.bfloat16)
    assert kept.is_kept
    assert expected <= kept.off(torch.bfloat16) <= 1.001 * expected < bound <= 1.03 * 2**-8
