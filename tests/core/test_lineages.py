"""One taxon, one lineage: what is joined, what stays apart, and that nothing depends on the order."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_core.lineages import Lineage, added_ranks, compatible, join_lineages, join_taxa
from bioclip_core.taxonomy import Rank, Taxon

OAK = ("Plantae", "Tracheophyta", "Magnoliopsida", "Fagales", "Fagaceae", "Quercus", "robur")


def without(lineage: Lineage, *depths: int) -> Lineage:
    return tuple("" if depth in depths else name for depth, name in enumerate(lineage))


def species(kingdom: str, family: str, name: str, order: str = "") -> Lineage:
    genus, epithet = name.split()
    return (kingdom, "", "", order, family, genus, epithet)


@pytest.mark.parametrize("missing", [(3,), (0, 1, 2, 3, 4), (0,), (1, 2), (4,)])
def test_a_lineage_with_ranks_missing_is_that_of_the_same_name(missing: tuple[int, ...]) -> None:
    partial = without(OAK, *missing)
    found = join_lineages([partial, OAK])
    assert found.of == {partial: OAK, OAK: OAK}
    assert found.apart == ()
    assert found.joined == [(partial, OAK)]


def test_two_partial_lineages_complete_each_other() -> None:
    one, other = without(OAK, 0, 3), without(OAK, 1, 4)
    assert set(join_lineages([one, other]).of.values()) == {OAK}
    assert added_ranks(one, OAK) == "kingdom Plantae, order Fagales"


def test_the_order_of_a_family_is_that_of_all_its_species() -> None:
    alba = (*without(OAK, 3)[:6], "alba")
    beech = (*OAK[:5], "Fagus", "sylvatica")
    assert join_lineages([alba, beech]).of[alba] == (*OAK[:6], "alba")


def test_what_a_species_learns_its_family_learns_too() -> None:
    order = ("Plantae", "", "", "Fagales", "", "Quercus", "robur")
    family = species("Plantae", "Fagaceae", "Quercus robur")
    beech = species("Plantae", "Fagaceae", "Fagus sylvatica")
    assert join_lineages([order, family, beech]).of[beech] == species(
        "Plantae", "Fagaceae", "Fagus sylvatica", "Fagales"
    )


def test_a_genus_alone_does_not_place_other_species() -> None:
    """Prunella is a plant and a bird."""
    selfheal, dunnock = species("Plantae", "Lamiaceae", "Prunella vulgaris"), species("", "", "Prunella modularis")
    assert join_lineages([selfheal, dunnock]).of[dunnock] == dunnock
    assert (
        join_lineages([selfheal, species("", "", "Prunella vulgaris")]).of[species("", "", "Prunella vulgaris")]
        == selfheal
    )


def test_a_label_of_a_genus_is_the_genus_of_the_species() -> None:
    genus = ("", "", "", "", "", "Quercus", "")
    assert join_lineages([OAK, genus]).of[genus] == (*OAK[:6], "")


def test_a_genus_in_two_kingdoms_stays_two_and_is_listed() -> None:
    plant, bird = (
        species("Plantae", "Lamiaceae", "Prunella vulgaris"),
        species("Animalia", "Prunellidae", "Prunella modularis"),
    )
    found = join_lineages([plant, bird])
    assert set(found.of.values()) == {plant, bird}
    (apart,) = found.apart
    assert (apart.rank, apart.name, apart.is_label) == (Rank.GENUS, "Prunella", False)
    assert apart.differs_at == (Rank.KINGDOM, Rank.FAMILY)
    assert str(apart) == "genus Prunella: Animalia Prunellidae Prunella or Plantae Lamiaceae Prunella"


def test_two_families_of_one_species_stay_apart_as_one_entry() -> None:
    one, other = species("Animalia", "Labridae", "Scarus ghobban"), species("Animalia", "Scaridae", "Scarus ghobban")
    found = join_lineages([one, other])
    assert set(found.of.values()) == {one, other}
    assert [(apart.rank, apart.name, apart.is_label) for apart in found.apart] == [
        (Rank.SPECIES, "Scarus ghobban", True)
    ]


def test_a_name_that_fits_two_contradicting_taxa_is_ambiguous_and_joins_neither() -> None:
    plant, animal = species("Plantae", "Moraceae", "Ficus variegata"), species("Animalia", "Ficidae", "Ficus variegata")
    bare, half = species("", "", "Ficus variegata"), species("Plantae", "", "Ficus variegata")
    found = join_lineages([bare, plant, animal, half])
    assert found.of == {bare: bare, plant: plant, animal: animal, half: plant}
    (apart,) = found.apart
    assert apart.ambiguous == {bare}
    assert apart.lineages == (bare, animal, plant)


def test_a_name_that_a_taxonomy_cannot_place_is_not_placed_by_other_rows() -> None:
    plant, bare = species("Plantae", "Moraceae", "Ficus variegata"), species("", "", "Ficus variegata")
    found = join_lineages([plant, bare], unsure=[bare])
    assert found.of[bare] == bare
    (apart,) = found.apart
    assert apart.ambiguous == {bare}


def test_a_family_and_its_species_are_two_labels() -> None:
    family = ("Plantae", "", "", "", "Fagaceae", "", "")
    assert len(set(join_lineages([family, OAK]).of.values())) == 2


def test_equal_epithets_of_two_genera_are_two_species() -> None:
    one, other = species("Plantae", "Fagaceae", "Quercus alba"), species("Plantae", "Fagaceae", "Fagus alba")
    assert join_lineages([one, other]).apart == ()
    assert len(set(join_lineages([one, other]).of.values())) == 2


def test_taxa_keep_their_order_and_common_names() -> None:
    taxa = [Taxon.of(without(OAK, 3), "oak", "7"), Taxon.of(OAK)]
    joined, _ = join_taxa(taxa)
    assert joined == [Taxon.of(OAK, "oak", "7"), Taxon.of(OAK)]


NAMES = st.tuples(
    st.sampled_from(["", "K1", "K2"]), st.just(""), st.just(""), st.sampled_from(["", "O1", "O2"]), st.sampled_from(["", "F1", "F2"]),
    st.sampled_from(["G1", "G2"]), st.sampled_from(["", "e1", "e2"]),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_joining_is_safe_whatever_is_joined(lineages: list[Lineage], random: object) -> None:
    found = join_lineages(lineages)
    for given_one, joined in found.of.items():
        assert compatible(given_one, joined)  # nothing is replaced, only filled
        assert joined[5:] == given_one[5:]
    shuffled = list(lineages)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert join_lineages(shuffled) == found
    # Of one name no two lineages fit each other, except one that is listed as ambiguous.
    labels = sorted(set(found.of.values()))
    unclear = {lineage for apart in found.apart for lineage in apart.ambiguous}
    for place, one in enumerate(labels):
        for other in labels[:place]:
            if one[5:] == other[5:] and compatible(one, other):
                depth = 7 if one[6] else 6
                assert {one[:depth], other[:depth]} & unclear
    again = join_lineages(found.of.values())
    assert all(given_one == joined for given_one, joined in again.of.items())  # nothing is left to join


def test_twenty_thousand_species_are_joined_in_a_second_or_two() -> None:
    full = [("K", "P", "C", f"O{n % 200}", f"F{n % 2000}", f"G{n % 4000}", f"e{n}") for n in range(20_000)]
    partial = [without(lineage, 3) for lineage in full[::2]]
    began = time.process_time()
    found = join_lineages([*full, *partial])
    assert time.process_time() - began < 10  # one second on a slow core
    assert len(set(found.of.values())) == 20_000


def test_thousands_of_lineages_of_one_name_do_not_take_forever() -> None:
    many = [("K", "", "", f"O{n % 70}", f"F{n // 70}", "G", "e") for n in range(1200)]
    began = time.process_time()
    found = join_lineages(many)
    assert time.process_time() - began < 20
    assert len(set(found.of.values())) == 1200
    assert [apart.name for apart in found.apart][-1] == "G e"
