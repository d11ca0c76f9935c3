"""Rules that decide: thresholds by rank, unknown, blanks with people and vehicles, geofence, SpeciesNet's ensemble."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from rules_samples import FOX, JACKAL, MAPLE, RED, WOLF, World, names, of, photo, stripe, subject

from bioclip_core.classify import Candidate
from bioclip_core.errors import PluginError, UsageError
from bioclip_core.taxonomy import Rank, Taxon
from bioclip_plugin import hookimpl
from bioclip_plugin.contracts.rule import Rule, Ruling, Subject
from bioclip_plugin.items.media import Place, Region
from bioclip_plugin.rules.settings import parse_rules
from bioclip_plugin.store import Store

GENUS, FAMILY = WOLF.truncated(Rank.GENUS), WOLF.truncated(Rank.FAMILY)
BY_RANK = {
    "species": (of(WOLF, 0.5), of(JACKAL, 0.3), of(FOX, 0.1)),
    "genus": (of(GENUS, 0.8),),
    "family": (of(FAMILY, 0.9),),
    "kingdom": (of(WOLF.truncated(Rank.KINGDOM), 0.99),),
}


def rule(world: World, text: str) -> Rule:
    (one,) = parse_rules([text], world.manager.rules())
    one.read()
    return one


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("thresholds:species=0.5", "Canis lupus"),
        ("thresholds:species=0.51", "Canis"),  # genus needs the run's 0.65
        ("thresholds:genus=0.81", "Canidae"),
        ("thresholds:genus=0.85,family=0.95", "Animalia"),
        ("thresholds:genus=0.85,family=0.95,kingdom=1", "unknown"),
    ],
)
def test_the_most_specific_rank_that_reaches_its_own_threshold_is_the_answer(
    world: World, text: str, expected: str
) -> None:
    case = subject(BY_RANK)
    ruling = rule(world, text).decide(case)
    assert (ruling or case.decided).verdict == ("unknown" if expected == "unknown" else "taxon")
    if expected != "unknown":
        assert ruling is not None
        assert ruling.candidate is not None
        assert ruling.candidate.name == expected


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("thresholds:species=0.95", "taxon"), ("thresholds:label=0.85", "taxon"), ("thresholds:label=0.95", "unknown")],
)
def test_a_plain_label_needs_the_probability_of_labels(world: World, text: str, verdict: str) -> None:
    case = subject({"species": (Candidate(Taxon(common_name="arctic fox"), "label", 0.9),)})
    ruling = rule(world, text).decide(case)
    assert (ruling or case.decided).verdict == verdict


def test_a_candidate_that_fills_a_gap_at_a_rank_is_not_an_answer_at_that_rank(world: World) -> None:
    case = subject({"species": (Candidate(FAMILY, "family", 0.9),), "family": (of(FAMILY, 0.9),)})
    ruling = rule(world, "thresholds:species=0.5,family=0.95").decide(case)
    assert ruling is None or ruling.verdict == "unknown"


def test_unknown_says_its_best_guess(world: World) -> None:
    ruling = rule(world, "unknown").decide(subject({"species": (of(WOLF, 0.4),)}))
    assert ruling is not None
    assert (ruling.verdict, ruling.candidate, dict(ruling.details)) == (
        "unknown", None, {"best": "Canis lupus", "probability": 0.4}
    )  # fmt: skip
    assert rule(world, "unknown").decide(subject(BY_RANK, decided=of(GENUS, 0.8))) is None
    below = rule(world, "unknown:below=0.85").decide(subject(BY_RANK, decided=of(GENUS, 0.8)))
    assert below is not None
    assert below.why == "0.800 is below 0.85"


def test_an_answer_above_the_most_general_rank_is_unknown(world: World) -> None:
    general = rule(world, "unknown:rank=genus")
    assert general.decide(subject(BY_RANK, decided=of(GENUS, 0.8))) is None
    ruling = general.decide(subject(BY_RANK, decided=of(FAMILY, 0.9)))
    assert ruling is not None
    assert ruling.why == "family is more general than genus"


def test_boxes_below_the_confidence_are_blank_and_people_and_vehicles_keep_their_verdict(world: World) -> None:
    boxes = (
        stripe(0, 4, confidence=0.1, classified=False),
        stripe(1, 4, category="person", classified=False),
        stripe(2, 4, category="vehicle", confidence=0.3, classified=False),
        stripe(3, 4),
    )
    item = photo("a", RED, RED, RED, RED, regions=boxes)
    decisions = world.decided("blanks", items=[item])
    assert names(decisions) == ["blank", "person", "vehicle", "Canis lupus"]
    assert decisions[0] is not None
    assert decisions[0].trail == (
        {"rule": "blanks", "did": "made blank", "from": "unknown", "why": "the detector's confidence 0.1 is below 0.2"},
    )
    assert names(world.decided("blanks:confidence=0.5", items=[item])) == ["blank", "person", "blank", "Canis lupus"]


def test_without_the_rule_regions_that_are_not_classified_get_no_decision(world: World) -> None:
    person = stripe(0, 1, category="person", classified=False)
    assert world.decided("unknown", items=[photo("a", RED, regions=(person,))]) == [None]


@pytest.mark.parametrize(("word", "verdict"), [("Blank", "blank"), ("human", "person"), ("vehicle", "vehicle")])
def test_a_label_of_that_name_is_a_verdict(world: World, word: str, verdict: str) -> None:
    label = Candidate(Taxon(common_name=word), "label", 0.9)
    ruling = rule(world, "blanks").decide(subject({"label": (label,)}, decided=label))
    assert ruling is not None
    assert ruling.verdict == verdict


def test_custom_labels_that_name_nothing_make_blanks_in_a_run(world: World) -> None:
    items = [photo("a", RED), photo("b", (0, 255, 0))]
    decisions = world.decided("blanks", items=items, labels=("a red vehicle", "empty"))
    # "empty" does not name a colour, so it is equally near to all three; a green image shares nothing with the red vehicle
    assert [decision.verdict for decision in decisions if decision] == ["taxon", "blank"]
    assert names(decisions) == ["a red vehicle", "empty"]


def test_faint_boxes_are_blank_and_an_image_without_boxes_has_no_decision(world: World) -> None:
    faint = stripe(0, 1, confidence=0.05, classified=False)
    items = [
        photo("nothing", RED, detected=True),
        photo("faint", RED, regions=(faint,)),
        photo("animal", RED, regions=(stripe(0, 1),)),
        photo("whole", RED),
    ]
    world.decided("blanks", items=items)
    with Store.open(world.store) as store:
        found = {
            stored.item.uri: [region.decision.verdict for region in stored.regions if region.decision]
            for stored in store.items_of(store.run())
        }
    assert found == {"nothing": [], "faint": ["blank"], "animal": ["taxon"], "whole": ["taxon"]}


MAP = {
    "mammalia;carnivora;canidae;canis;lupus": {"allow": {"USA": []}},
    "mammalia;carnivora;canidae;;": {"block": {"AUS": []}},
}


def test_a_blocked_species_rolls_up_to_its_family_with_the_sum_over_all_labels(world: World) -> None:
    fence = world.write("map.json", json.dumps(MAP))
    geofence = rule(world, f"geofence:file={fence}")
    blocked = geofence.decide(subject(BY_RANK, decided=of(WOLF, 0.5), place=Place(country="KE")))
    assert blocked is not None
    assert blocked.candidate == of(FAMILY, 0.9)
    assert (blocked.did, blocked.why) == ("rolled up", "it is allowed in 1 countries, and KEN is not one of them")
    assert geofence.decide(subject(BY_RANK, decided=of(WOLF, 0.5), place=Place(country="USA"))) is None
    assert geofence.decide(subject(BY_RANK, decided=of(WOLF, 0.5))) is None  # the place is unknown


def test_a_blocked_family_rolls_up_further_and_a_setting_says_where(world: World) -> None:
    fence = world.write("map.json", json.dumps(MAP))
    ruling = rule(world, f"geofence:file={fence},country=AU").decide(subject(BY_RANK, decided=of(WOLF, 0.5)))
    assert ruling is not None
    assert ruling.candidate is not None
    assert ruling.candidate.rank == "order"


def test_the_geofence_names_how_many_of_its_taxa_the_label_set_lacks(world: World) -> None:
    fence = world.write(
        "map.json", json.dumps({**MAP, "aves;piciformes;picidae;picus;viridis": {"block": {"USA": []}}})
    )
    with world.session(f"geofence:file={fence},country=KEN") as session:
        list(session.classify_stream([photo("a", RED)]))
        applied = session.apply_rules()
    assert applied.notes == ["geofence: map.json: 1 of 3 taxa are not in the label set: picus viridis"]
    assert names(world.decisions()) == ["Canidae"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("geofence:file=missing.json", "missing.json cannot be read"),
        ("geofence", "geofence needs file"),
        ("geofence:file={map},country=Kenya", "ISO 3166-1 code"),
        ("geofence:file={map},country=US,region=California", "second half of ISO 3166-2"),
        ("speciesnet-ensemble:country=US", "give geofence=MAP.json with them"),
        ("blanks:confidence=2", "allowed are numbers above 0 and at most 1"),
        ("thresholds:species=80", "allowed are numbers above 0 and at most 1"),
        ("thresholds:specis=0.8", "'specis=0.8' is not one of its settings; write thresholds:species=VALUE"),
        ("unknown:rank=subspecies", "allowed are kingdom, phylum"),
        ("fence", "rule 'fence' is not known; there are blanks, geofence"),
        ("only:file=", "file is empty"),
        ("sequences:gap=5,gap=6", "gap is given twice"),
    ],
)
def test_unusable_settings_are_named_with_the_allowed_values(world: World, text: str, said: str) -> None:
    fence = world.write("map.json", json.dumps(MAP))
    with pytest.raises(UsageError, match=said):
        world.session(text.replace("{map}", str(fence)))


def test_a_rule_given_twice_is_refused_and_settings_differ_in_identity(world: World) -> None:
    with pytest.raises(UsageError, match="rule unknown is given twice"):
        world.session("unknown", "unknown:below=0.5")
    known = world.manager.rules()
    one, other = (parse_rules([f"unknown:below={value}"], known)[0].identity() for value in ("0.5", "0.6"))
    assert one != other
    assert one["settings"] == {"below": 0.5, "rank": "kingdom"}


def test_a_file_counts_by_its_contents_and_not_by_its_name(world: World) -> None:
    known = world.manager.rules()
    same = [world.write(name, "Canis lupus\n") for name in ("a.txt", "b,x.txt")]
    one, other = (parse_rules([f"only:file={path}"], known)[0].identity() for path in same)
    assert one == other
    same[1].write_text("Canis\n")
    assert parse_rules([f"only:file={same[1]}"], known)[0].identity() != one


def test_rules_are_asked_in_their_own_order_however_they_are_given(world: World) -> None:
    given = ["unknown", "blanks", "thresholds", "sequences"]
    assert [one.name for one in parse_rules(given, world.manager.rules())] == [*reversed(given)]


def ensemble(world: World, region: Region | None, *candidates: Candidate, text: str = "speciesnet-ensemble") -> str:
    case = subject({"species": candidates}, region=region)
    ruling = rule(world, text).decide(case) or case.decided
    return ruling.candidate.name if ruling.candidate is not None else ruling.verdict


def test_the_ensemble_goes_by_the_box_and_the_classes(world: World) -> None:
    person, animal = stripe(0, 1, category="person"), stripe(0, 1)
    assert ensemble(world, person) == "person"
    assert ensemble(world, animal, of(WOLF, 0.7)) == "Canis lupus"
    assert ensemble(world, None, of(WOLF, 0.7)) == "Canis"  # not confident enough without a box
    assert ensemble(world, animal, of(WOLF, 0.4), of(FOX, 0.3)) == "Canidae"
    assert ensemble(world, animal, of(WOLF, 0.3), of(MAPLE, 0.3)) == "Animalia"  # only the box supports it
    assert ensemble(world, stripe(0, 1, confidence=0.1), of(WOLF, 0.3), of(MAPLE, 0.3)) == "unknown"


def test_the_ensembles_own_geofence_is_part_of_its_table(world: World) -> None:
    fence = world.write("map.json", json.dumps(MAP))
    text = f"speciesnet-ensemble:geofence={fence},country=KEN"
    assert ensemble(world, stripe(0, 1), of(WOLF, 0.9), text=text) == "Canidae"


def test_an_item_of_another_form_of_country_is_understood(world: World) -> None:
    fence = world.write("map.json", json.dumps({"mammalia;carnivora;canidae;canis;lupus": {"block": {"USA": ["CA"]}}}))
    geofence = rule(world, f"geofence:file={fence}")
    decided = of(WOLF, 0.5)
    for place, blocks in (
        (Place("us", "US-CA"), True),
        (Place("USA", "CA"), True),
        (Place("US", "NV"), False),
        # not a code, so the part of the country is unknown, and the fence blocks only one part
        (Place("US", "California"), False),
        (Place("Utopia"), False),
    ):
        assert (geofence.decide(subject(BY_RANK, decided=decided, place=place)) is not None) is blocks, place


# -- rules of plugins that fail ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gives", "said"),
    [
        (ZeroDivisionError("x"), "at a, failed: ZeroDivisionError: x"),
        ("unknown", "gave 'unknown'"),
        (Ruling("nonsense"), "gave"),  # type: ignore[arg-type]
    ],
)
def test_a_rule_that_breaks_its_contract_is_named(world: World, gives: object, said: str) -> None:
    class Faulty(Rule):
        name, description = "faulty", "It is."

        def decide(self, subject: Subject) -> Ruling | None:
            assert subject
            if isinstance(gives, Exception):
                raise gives
            return gives  # type: ignore[return-value]

    class Plugin:
        @hookimpl
        def register_rules(self, register: Callable[[type[Rule]], None]) -> None:
            register(Faulty)

    world.manager.register(Plugin(), name="faulty-plugin")
    with pytest.raises(PluginError, match=f"plugin faulty-plugin: the rule faulty.*{said}"):
        world.decided("faulty", items=[photo("a", RED)])
