"""Probabilities computed again: pooled features, lists and priors, each compared with a softmax written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from rules_samples import FOX, GREEN, JACKAL, LABELS, MAPLE, RED, SCALE, WOLF, World, names, photo, softmax

from bioclip_core.classify import Classifier
from bioclip_core.errors import UsageError
from bioclip_core.labels.label_set import in_memory
from bioclip_core.labels.manifest import Block
from bioclip_core.taxonomy import Taxon
from bioclip_plugin.items.media import Place

ORANGE = (200, 150, 0)  # as features 0.8, 0.6, 0: the jackal's own direction


def rows(count: int, dimension: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, dimension))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


@pytest.mark.parametrize("mean", [None, (0.1, -0.2, 0.05, 0.0)], ids=["text", "prototypes, which are centred"])
def test_rows_answered_together_have_the_softmax_of_the_mean_of_their_logits(mean: tuple[float, ...] | None) -> None:
    taxa = [Taxon(species=f"n{n:02d}") for n in range(30)]
    labels = in_memory(taxa, rows(30, 4, 1), {}, [Block(0, 30, "text", 12.0, 0.5, mean)])
    features, sizes = rows(9, 4, 2), [1, 5, 3]
    centred = features.astype(np.float64) - np.array(mean or [0.0])
    if mean is not None:
        centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    logits = 12.0 * centred @ labels.embeddings_ND.astype(np.float64).T + 0.5
    found = Classifier(labels).classify(features, top=30, members_G=sizes)
    assert len(found) == 3
    for answer, members in zip(found, np.split(logits, [1, 6]), strict=True):
        powers = np.exp(members.mean(axis=0))
        expected = powers / powers.sum()
        got = {int(one.taxon.species[1:]): one.probability for one in answer.by_rank["species"]}
        assert [got[n] for n in range(30)] == pytest.approx(expected.tolist(), abs=1e-6)  # fp32 against fp64


def test_pools_are_the_same_in_one_pass_and_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = in_memory(
        [Taxon(species=f"n{n:02d}") for n in range(30)], rows(30, 4, 1), {}, [Block(0, 30, "text", 12.0)]
    )
    features, sizes = rows(10, 4, 3), [4, 1, 2, 3]
    whole = Classifier(labels).classify(features, members_G=sizes)
    monkeypatch.setattr("bioclip_core.classifying.looking._PASS_BYTES", 4 * 30)  # one answer per pass
    apart = Classifier(labels).classify(features, members_G=sizes)
    for one, other in zip(whole, apart, strict=True):
        assert [c.probability for c in one.by_rank["species"]] == pytest.approx(
            [c.probability for c in other.by_rank["species"]], abs=1e-6
        )


@pytest.mark.parametrize("sizes", [[1, 1], [2, 0, 1], [4]])
def test_sizes_that_do_not_add_up_are_refused(sizes: list[int]) -> None:
    labels = in_memory([Taxon(species="a"), Taxon(species="b")], rows(2, 4, 1), {}, [Block(0, 2, "text", 1.0)])
    with pytest.raises(ValueError, match="add up to 3 rows"):
        Classifier(labels).classify(rows(3, 4, 1), members_G=sizes)


def test_a_list_leaves_its_taxa_alone_with_a_full_softmax_and_names_the_best_excluded(world: World) -> None:
    listed = world.write("park.txt", "# what lives here\nVulpes vulpes\nAcer\n")
    (decision,) = world.decided(f"only:file={listed}", items=[photo("a", RED)])
    assert decision is not None
    left = softmax(
        (1, 0, 0), {WOLF: 0.0, JACKAL: 0.0, **dict.fromkeys([t for t in LABELS if t.genus == "Gallus"], 0.0)}
    )
    assert names([decision]) == ["Vulpes vulpes"]
    assert decision.candidate is not None
    assert decision.candidate.probability == pytest.approx(left[FOX], abs=1e-3)  # features are rounded to float16
    weighed, excluded = decision.trail
    assert (weighed["rule"], weighed["did"], weighed["from"]) == ("only", "weighed", "Canis lupus")
    own = softmax((1, 0, 0))[WOLF]
    assert (excluded["did"], excluded["best"]) == ("excluded", "Canis lupus")
    assert excluded["probability"] == pytest.approx(own, abs=1e-3)
    assert "park.txt" in excluded["why"]


def test_a_list_says_how_many_labels_it_excludes_and_which_names_are_missing(world: World) -> None:
    listed = world.write("park.csv", "scientificName,note\nCanis lupus,x\nPanthera leo,y\nTyrannosaurus,z\n")
    with world.session(f"only:file={listed}") as session:
        list(session.classify_stream([photo("a", RED)]))
        applied = session.apply_rules()
    assert applied.notes == [
        "only: park.csv: 4 of 5 labels are excluded",
        "only: park.csv: 2 of 3 names are not in the label set: Panthera leo, Tyrannosaurus",
    ]


def test_a_list_with_no_name_of_the_label_set_is_refused_before_anything_is_decided(world: World) -> None:
    listed = world.write("park.txt", "Panthera leo\n")
    session = world.session(f"only:file={listed}")
    list(session.classify_stream([photo("a", RED)]))
    with pytest.raises(UsageError, match="the label set has none of its 1 names"):
        session.apply_rules()


def test_columns_of_ranks_name_the_taxa_of_a_list(world: World) -> None:
    listed = world.write("park.csv", "genus,species\nVulpes,vulpes\nAcer,\n")
    assert names(world.decided(f"only:file={listed}", items=[photo("a", RED)])) == ["Vulpes vulpes"]


def test_a_prior_multiplies_probabilities_and_keeps_taxa_that_it_does_not_name(world: World) -> None:
    ranges = world.write("ranges.csv", "taxon,weight,country\nCanis lupus,0.001,KEN\n")
    items = [photo("a", RED, place=Place(country="KE")), photo("b", RED, place=Place())]
    here, nowhere = world.decided(f"prior:file={ranges}", items=items, threshold=0.5)
    weighed = softmax((1, 0, 0), {WOLF: 0.001})
    assert names([here, nowhere]) == ["Canis aureus", "Canis lupus"]
    assert here is not None
    assert here.candidate is not None
    assert here.candidate.probability == pytest.approx(weighed[JACKAL], abs=1e-3)
    assert nowhere is not None
    assert nowhere.candidate is not None
    assert nowhere.candidate.probability == pytest.approx(softmax((1, 0, 0))[WOLF], abs=1e-3)
    assert nowhere.trail == ()  # the row cannot be compared with an unknown place, so its weight is 1


def test_a_prior_that_leaves_nothing_is_ignored_and_says_so(world: World) -> None:
    ranges = world.write("ranges.csv", "taxon,weight,country\nAnimalia,0,KEN\nPlantae,0,KEN\n")
    (decision,) = world.decided(f"prior:file={ranges}", items=[photo("a", RED, place=Place(country="KEN"))])
    assert decision is not None
    assert names([decision]) == ["Canis lupus"]
    assert decision.trail == ({"rule": "prior", "did": "ignored", "why": "it leaves no label at this place"},)


def test_a_prior_that_a_list_leaves_nothing_is_ignored_and_the_list_still_holds(world: World) -> None:
    ranges = world.write("ranges.csv", "taxon,weight,country\nCanidae,0,KEN\n")
    listed = world.write("dogs.txt", "Canidae\n")
    item = photo("a", GREEN, place=Place(country="KEN"))  # a maple, unless it is excluded
    (decision,) = world.decided(f"prior:file={ranges}", f"only:file={listed}", items=[item])
    assert decision is not None
    assert names([decision]) == ["Canis aureus"]
    assert [entry["did"] for entry in decision.trail if entry["rule"] == "prior"] == ["ignored"]


def test_the_narrower_of_two_taxa_counts_and_the_floor_applies_without_a_matching_row(world: World) -> None:
    table = "taxon,weight,country\nCanis,0.5,KEN\nCanis lupus,2,KEN\nVulpes vulpes,3,USA\n"
    ranges = world.write("ranges.csv", table)
    (decision,) = world.decided(
        f"prior:file={ranges},floor=0.25", items=[photo("a", ORANGE, place=Place(country="KEN"))], threshold=0.01
    )
    feature = (0.8, 0.6, 0.0)
    expected = softmax(feature, {WOLF: 2.0, JACKAL: 0.5, FOX: 0.25})
    assert decision is not None
    assert decision.candidate is not None
    best = max(expected, key=lambda taxon: expected[taxon])
    assert decision.candidate.name == best.scientific_name
    assert decision.candidate.probability == pytest.approx(expected[best], abs=2e-3)


def test_the_scale_of_this_world_is_that_of_the_label_set(world: World) -> None:
    (decision,) = world.decided("unknown", items=[photo("a", GREEN)])
    assert SCALE == 10.0
    assert decision is not None
    assert decision.candidate is not None
    assert decision.candidate.probability == pytest.approx(softmax((0, 1, 0))[MAPLE], abs=1e-3)
