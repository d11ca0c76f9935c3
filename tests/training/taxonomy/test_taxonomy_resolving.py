"""Names resolved against an invented checklist: accepted names, refused names, and the reasons."""

from __future__ import annotations

import pytest
from taxonomy_samples import FAUNA, FLORA, Name, gbif_text, opened, plant

from bioclip_core.taxonomy import Rank, Taxon
from bioclip_training.taxonomy import Outcome, TaxonomyIndex, relation

MORE: tuple[Name, ...] = (
    ("20", "6", "", "Fictomala × schmittii", "Rehd.", "species", "accepted"),
    ("21", "6", "", "Fictomala platanoides", "Inv.", "species", "accepted"),
    ("22", "6", "", "Fictomala grandiflora", "Inv.", "species", "accepted"),
    ("23", "6", "", "Fictomala grandiflava", "Inv.", "species", "accepted"),
    ("24", "6", "8", "Fictomala alba", "Mak.", "species", "synonym"),
    ("25", "5", "", "Fictophiladelphus", "Inv.", "genus", "accepted"),
    ("26", "55", "", "Fictomyia", "Inv.", "genus", "accepted"),
    ("27", "54", "", "Fictolestidae", "", "family", "accepted"),
    ("28", "27", "", "Fictomyia", "Mak.", "genus", "accepted"),
)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> TaxonomyIndex:
    return opened(tmp_path_factory.mktemp("taxonomy"), gbif_text([*FLORA, *FAUNA, *MORE]))


def name_of(index: TaxonomyIndex, taxon: Taxon, verbatim: str = "") -> str:
    found = index.resolve(taxon, verbatim).taxon
    return found.scientific_name if found else ""


def test_an_accepted_name_gets_its_ranks_and_keeps_its_common_name(index: TaxonomyIndex) -> None:
    found = index.resolve(Taxon(genus="Fictomala", species="rubescens", common_name="red invention"))
    assert found.taxon == Taxon(
        "Fictoplantae", "Fictophyta", "Fictopsida", "Fictales", "Fictaceae", "Fictomala", "rubescens", "red invention"
    )
    assert (found.outcome, found.taxon_id) == (Outcome.EXACT, "Inventa:8")
    assert found.reason == "Fictomala rubescens is an accepted name (Inventa 2024)"


def test_a_synonym_becomes_its_accepted_name_and_says_so(index: TaxonomyIndex) -> None:
    found = index.resolve(plant("Fictomala", "candida"))
    assert found.taxon is not None
    assert (found.taxon.scientific_name, found.outcome) == ("Fictomala alba", Outcome.SYNONYM)
    assert found.reason == "Fictomala candida is a synonym of Fictomala alba (Inventa 2024)"


def test_a_doubtful_name_is_taken_and_called_doubtful(index: TaxonomyIndex) -> None:
    found = index.resolve(plant("Fictomala", "dubiosa"))
    assert (found.taxon is not None, found.outcome) == (True, Outcome.DOUBTFUL)
    assert "doubtful" in found.reason


def test_a_name_that_was_only_misapplied_is_not_resolved(index: TaxonomyIndex) -> None:
    found = index.resolve(plant("Fictomala", "erronea"))
    assert (found.taxon, found.outcome) == (None, Outcome.MISAPPLIED)
    assert "misapplied to Fictomala rubescens" in found.reason


def test_homonyms_are_distinguished_by_their_kingdom(index: TaxonomyIndex) -> None:
    found = index.resolve(plant("Fictomala"))
    assert found.taxon is not None
    assert (found.taxon.family, found.outcome) == ("Fictaceae", Outcome.EXACT)
    assert "homonym (2)" in found.reason
    assert [c.outcome for c in found.candidates] == [Outcome.EXACT, Outcome.HOMONYM]


def test_homonyms_without_a_kingdom_are_ambiguous_and_named(index: TaxonomyIndex) -> None:
    found = index.resolve(Taxon(genus="Fictomala"))
    assert (found.taxon, found.taxon_id, found.outcome) == (None, "", Outcome.HOMONYM)
    assert "Fictoplantae" in found.reason
    assert "Fictanimalia" in found.reason
    assert [c.outcome for c in found.candidates] == [Outcome.HOMONYM, Outcome.HOMONYM]


def test_homonyms_are_distinguished_by_any_rank_above(index: TaxonomyIndex) -> None:
    assert index.resolve(Taxon(genus="Fictomala", class_="Fictaves")).taxon_id == "Inventa:58"
    assert index.resolve(Taxon(kingdom="Fictanimalia", genus="Fictomyia")).taxon is None
    assert (
        index.resolve(Taxon(kingdom="Fictanimalia", family="Fictolestidae", genus="Fictomyia")).taxon_id == "Inventa:28"
    )


def test_homonyms_are_distinguished_by_the_author_in_the_source(index: TaxonomyIndex) -> None:
    assert index.resolve(Taxon(genus="Fictomala"), "Fictomala Mak., 1801").taxon_id == "Inventa:58"


def test_an_accepted_name_goes_before_a_later_authors_synonym_unless_that_author_is_named(index: TaxonomyIndex) -> None:
    found = index.resolve(plant("Fictomala", "alba"))
    assert (found.taxon_id, found.outcome) == ("Inventa:7", Outcome.EXACT)
    assert "not Fictomala rubescens" in found.reason
    assert index.resolve(plant("Fictomala", "alba"), "Fictomala alba Mak.").taxon_id == "Inventa:8"
    assert index.candidates("Fictomala alba", authorship="Mak.")[0].outcome == Outcome.EXACT


def test_the_only_hit_in_another_kingdom_is_not_taken(index: TaxonomyIndex) -> None:
    found = index.resolve(plant("Rufictipes", "volans"))
    assert (found.taxon, found.outcome) == (None, Outcome.HOMONYM)
    assert "Fictanimalia" in found.reason
    assert "the given Fictoplantae: a homonym in another kingdom" in found.reason


def test_a_genus_of_another_class_is_not_taken_for_it(index: TaxonomyIndex) -> None:
    beetle = Taxon("Fictanimalia", "Fictarthropoda", "Fictinsecta", "Fictocoleoptera", "", "Rufictipes")
    found = index.resolve(beetle)
    assert (found.taxon, found.outcome) == (None, Outcome.HOMONYM)


def test_an_epithet_alone_never_matches_a_genus(index: TaxonomyIndex) -> None:
    for taxon, verbatim in (
        (Taxon(kingdom="Fictanimalia", species="rufictipes"), ""),
        (Taxon(kingdom="Fictanimalia", species="rufictipes"), "rufictipes"),
        (Taxon(kingdom="Fictanimalia"), "rufictipes"),
        (Taxon(), "rufictipes"),
    ):
        found = index.resolve(taxon, verbatim)
        assert (found.taxon, "epithet" in found.reason) == (None, True)
    (candidate,) = index.candidates("rufictipes")
    assert (candidate.outcome, candidate.name) == (Outcome.WRONG_RANK, "Rufictipes")
    assert index.candidates("Rufictipes", rank=Rank.SPECIES)[0].outcome == Outcome.WRONG_RANK
    assert index.candidates("rufictipes", rank=Rank.GENUS)[0].outcome == Outcome.EXACT  # stated to be a genus


def test_a_name_at_another_rank_is_wrong(index: TaxonomyIndex) -> None:
    found = index.resolve(Taxon(family="Fictales"))
    assert (found.taxon, found.outcome) == (None, Outcome.WRONG_RANK)
    assert "Fictales is listed as order, not as family" in found.reason


def test_another_family_is_accepted_and_traced(index: TaxonomyIndex) -> None:
    found = index.resolve(plant("Fictomala", "rubescens", family="Fictobaceae"))
    assert found.taxon is not None
    assert found.taxon.family == "Fictaceae"
    assert "the given family Fictobaceae is Fictaceae there" in found.reason


@pytest.mark.parametrize(
    ("taxon", "verbatim"),
    [
        (plant("Fictomala", "× schmittii"), "Fictomala x schmittii"),
        (plant("Fictomala", "schmittii"), ""),
        (plant("Fictomala", "× shmittii"), "Fictomala X Shmittii"),
        (plant(), "Fictomala X Shmittii"),
        (plant("Fictomala"), "Fictomala × schmittii Rehd."),
    ],
)
def test_a_hybrid_is_found_however_its_mark_is_written(index: TaxonomyIndex, taxon: Taxon, verbatim: str) -> None:
    assert name_of(index, taxon, verbatim) == "Fictomala × schmittii"


def test_a_missing_hybrid_mark_is_reported(index: TaxonomyIndex) -> None:
    assert "without its mark" in index.resolve(plant("Fictomala", "schmittii")).reason


@pytest.mark.parametrize(
    ("written", "accepted", "distance"),
    [
        ("Fictomala platanoids", "Fictomala platanoides", 1),
        ("Fictomala Platanoids", "Fictomala platanoides", 1),
        ("Fictomala albus", "Fictomala alba", 0),
        ("Fitcomala rubescens", "Fictomala rubescens", 1),
        ("Fictomalla rubesens", "Fictomala rubescens", 2),
        ("Fictophildelphus", "Fictophiladelphus", 1),
    ],
)
def test_a_misspelt_name_is_read_as_the_only_one_near(
    index: TaxonomyIndex, written: str, accepted: str, distance: int
) -> None:
    found = index.resolve(Taxon(), written)
    assert found.taxon is not None
    assert (found.taxon.scientific_name, found.outcome) == (accepted, Outcome.FUZZY)
    assert found.candidates[0].distance == distance
    assert "is not listed" in found.reason


@pytest.mark.parametrize("written", ["Fictomala alda", "Fictomala dubs", "Gictomala rubescens", "Fictomala xubescens"])
def test_short_words_and_other_first_letters_are_not_corrected(index: TaxonomyIndex, written: str) -> None:
    found = index.resolve(Taxon(), written)
    assert (found.taxon, found.outcome) == (None, Outcome.NONE)


def test_a_misspelling_as_near_to_two_names_is_ambiguous(index: TaxonomyIndex) -> None:
    found = index.resolve(Taxon(), "Fictomala grandiflwra")
    assert found.taxon is not None
    two = index.resolve(Taxon(), "Fictomala grandiflara")
    assert (two.taxon, two.outcome) == (None, Outcome.FUZZY)
    assert "grandiflora" in two.reason
    assert "grandiflava" in two.reason


def test_a_misspelling_is_not_corrected_into_another_kingdom(index: TaxonomyIndex) -> None:
    found = index.resolve(plant("Rufictipes", "volanss"))
    assert (found.taxon, found.outcome) == (None, Outcome.HOMONYM)


@pytest.mark.parametrize(
    "written",
    ["Fictomala sp.", "Fictomala cf. alba", "Fictomala aff. alba", "Fictomala alba x rubescens", "Fictomala alba?", "?Fictomala alba",
     "Fictomala alba ?", "Fictomala alba cf.", "Fictomala alba / rubescens", "Fictomala alba vel rubescens", "Fictomala alba or rubescens",
     "Fictomala alba × Fictomala rubescens", "Fictomala alba nr.", "probably Fictomala alba", "Fictomala (alba group)"],
)  # fmt: skip
def test_a_name_certain_only_of_its_genus_becomes_the_genus(index: TaxonomyIndex, written: str) -> None:
    found = index.resolve(plant(), written)
    assert found.taxon is not None
    assert (found.taxon.scientific_name, found.outcome) == ("Fictomala", Outcome.HIGHER_RANK)
    assert written in found.reason


@pytest.mark.parametrize(
    "written",
    ["Fictomala alba, det. A. Smith 1975", "Fictomala alba; leg. B", "Fictomala (s. str.) alba", "Fictomala alba juv.", "† Fictomala alba",
     "*Fictomala alba", "Fictomala alba TYPE!", "Fictomala (Subfictus) alba Inv.", "Fictomala álba", "Fictomala alba (white)"],
)  # fmt: skip
def test_remarks_do_not_change_the_taxon(index: TaxonomyIndex, written: str) -> None:
    found = index.resolve(plant(), written)
    assert (found.taxon_id, found.outcome) == ("Inventa:7", Outcome.EXACT)


def test_a_doubt_that_a_row_states_beside_its_columns_is_kept(index: TaxonomyIndex) -> None:
    found = index.resolve(plant("Fictomala", "alba"), "Fictomala cf. alba")
    assert (found.taxon_id, found.outcome) == ("Inventa:6", Outcome.HIGHER_RANK)
    below = index.resolve(plant(), "Fictomala alba subsp. cf. minor")
    assert (below.taxon_id, below.outcome) == ("Inventa:7", Outcome.HIGHER_RANK)


def test_another_author_than_the_checklists_is_reported(index: TaxonomyIndex) -> None:
    found = index.resolve(plant(), "Fictomala alba ten Berge")
    assert (found.taxon_id, found.outcome) == ("Inventa:7", Outcome.EXACT)
    assert "its author there is Inv., not ten Berge as written" in found.reason


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("F. alba", "its genus is abbreviated"), ("Unidentified moth", "a placeholder, not a name"),
        ("Fictomala alba × Rufictipes volans", "its genera differ"),
    ],
)  # fmt: skip
def test_a_text_that_names_no_taxon_is_not_resolved_and_says_why(
    index: TaxonomyIndex, written: str, reason: str
) -> None:
    found = index.resolve(Taxon(), written)
    assert (found.taxon, found.outcome, reason in found.reason) == (None, Outcome.NONE, True)


def test_a_family_with_sp_is_the_family_and_a_misspelt_genus_with_sp_the_genus(index: TaxonomyIndex) -> None:
    assert index.resolve(Taxon(), "Fictaceae sp.").taxon_id == "Inventa:5"
    assert index.resolve(Taxon(), "Fictophildelphus sp. 2").taxon_id == "Inventa:25"


def test_a_subspecies_becomes_its_species_and_says_so(index: TaxonomyIndex) -> None:
    listed = index.resolve(plant("Fictomala", "alba"), "Fictomala alba subsp. minor Inv.")
    assert (listed.taxon and listed.taxon.scientific_name, listed.taxon_id) == ("Fictomala alba", "Inventa:7")
    assert (listed.outcome, "belongs to Fictomala alba" in listed.reason) == (Outcome.HIGHER_RANK, True)
    other = index.resolve(plant("Fictomala", "rubescens"), "Fictomala rubescens var. nova Inv.")
    assert (other.taxon and other.taxon.scientific_name, other.outcome) == ("Fictomala rubescens", Outcome.HIGHER_RANK)
    assert "not listed" in other.reason


def test_a_species_that_is_not_listed_is_not_its_genus(index: TaxonomyIndex) -> None:
    found = index.resolve(plant("Fictomala", "inaudita"))
    assert (found.taxon, found.outcome) == (None, Outcome.NONE)
    assert [(c.outcome, c.taxon_id) for c in found.candidates] == [
        (Outcome.HIGHER_RANK, "Inventa:6"),
        (Outcome.HIGHER_RANK, "Inventa:58"),
    ]


def test_a_capitalised_epithet_goes_before_an_author_and_a_known_author_before_a_misspelling(
    index: TaxonomyIndex,
) -> None:
    assert name_of(index, plant("Fictomala"), "Fictomala Rubescens") == "Fictomala rubescens"
    found = index.resolve(plant("Fictomala"), "Fictomala Inv.")
    assert (found.taxon_id, found.outcome) == ("Inventa:6", Outcome.EXACT)
    stranger = index.resolve(plant("Fictomala"), "Fictomala Stranger")
    assert (stranger.taxon_id, stranger.outcome) == ("Inventa:6", Outcome.HIGHER_RANK)


def test_a_name_without_similar_ones_has_one_candidate_that_says_so(index: TaxonomyIndex) -> None:
    (candidate,) = index.candidates("Nihilus nullus")
    assert (candidate.outcome, candidate.accepted) == (Outcome.NONE, None)
    assert "not in Inventa 2024" in candidate.reason
    assert index.resolve(Taxon()).reason == "no name was given"


def test_an_unlisted_name_resolves_to_its_family_and_both_are_reported(index: TaxonomyIndex) -> None:
    found = index.resolve(Taxon(family="Fictaceae"), "Nihilus nullus")
    assert (found.taxon_id, found.outcome) == ("Inventa:5", Outcome.HIGHER_RANK)
    assert "Nihilus nullus is not in Inventa 2024" in found.reason


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("Fictomala", "alba"), ("Fictomala", "alba"), "agree"),
        (("Fictomala", ""), ("Fictomala", "alba"), "agree"),
        (("Fictomala", "candida"), ("Fictomala", "alba"), "synonym"),
        (("Fictomala", "rubescens"), ("Fictomala", "alba"), "agree at genus"),
        (("Fictophiladelphus", ""), ("Fictomala", "alba"), "conflict"),
        (("Nihilus", "nullus"), ("Fictomala", "alba"), "unknown"),
    ],
)
def test_two_names_are_compared_through_synonymy(
    index: TaxonomyIndex, one: tuple[str, str], other: tuple[str, str], expected: str
) -> None:
    assert relation(index, plant(*one), plant(*other)) == expected
    assert relation(index, plant(*other), plant(*one)) == expected


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Fictomala platan...", "Fictomala platanoides"),
        ("Fictomala platano\ufffddes", "Fictomala platanoides"),
        ("Fictomala platano?des Inv.", "Fictomala platanoides"),
        ("Fictomala platanoid", "Fictomala platanoides"),
        ("Fictomalaplatanoides", "Fictomala platanoides"),
        ("Fictomala grandif…", "Fictomala"),  # grandiflora and grandiflava
    ],
)
def test_a_damaged_name_is_the_only_one_that_fits(index: TaxonomyIndex, written: str, meant: str) -> None:
    found = index.resolve(Taxon(kingdom="Fictoplantae"), written)
    assert found.taxon is not None
    assert found.taxon.scientific_name == meant
    assert (found.outcome is Outcome.FUZZY) == (" " in meant)


def test_an_epithet_with_a_latin_ending_is_not_taken_for_the_beginning_of_another_one(index: TaxonomyIndex) -> None:
    assert index.resolve(plant("Fictomala", "platanoi")).taxon is None
    assert index.resolve(plant("Fictomala", "pla")).taxon is None


def test_the_first_two_letters_may_be_swapped(index: TaxonomyIndex) -> None:
    assert name_of(index, plant("Fictomala", "urbescens")) == "Fictomala rubescens"
