"""Report of an analysis as one HTML file, in the style of evaluations: findings in words, tables, pictures, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bioclip_training.analysis.comparing import figures_of
from bioclip_training.analysis.measure import Measure
from bioclip_training.analysis.measuring import Structure, TraitFindings
from bioclip_training.analysis.neighbours import beyond_of
from bioclip_training.analysis.pictures import Picture
from bioclip_training.analysis.sentences import NEIGHBOURS, outcome_of, rank_of
from bioclip_training.evaluation.markup import image, number, remark, section, table
from bioclip_training.evaluation.report.style import STYLE

_DIFFERENCE = ("this model's is higher", "this model's is lower", "not told apart")
_HEADER = ("figure", "value", "95% interval", "chance", "p", "over", "independent units", "what it says")


def page_html(
    title: str, about: Sequence[str], findings: Sequence[str], found: Structure, pictures: Sequence[Picture],
    compared: Mapping[str, Structure], differences: Mapping[str, Mapping[str, Measure]], provenance: Mapping[str, Any],
) -> str:  # fmt: skip
    """Return the page.

    Args:
        title: what was analysed.
        about: sentences on the images, cautions and what was skipped.
        findings: the findings in words.
        found: the figures.
        pictures: the pictures, by whose names the sections choose theirs.
        compared: figures of other models for the same images, by name.
        differences: figures minus those of the other models, by name of the model and of the figure.
        provenance: what the figures were made from.
    """
    drawn = {picture.name: image(picture.png, picture.described) for picture in pictures}
    parts = [
        _tree(found, drawn), _neighbours(found, drawn), _traits(found, drawn), _within(found, drawn), _classes(found, drawn),
        _maps(drawn), _compared(found, compared, differences), _provenance(provenance),
    ]  # fmt: skip
    listed = "".join(f"<li>{escape(line)}</li>" for line in findings)
    notes = "".join(f'<p class="note">{escape(line)}</p>' for line in about)
    body = "\n".join(filter(None, parts))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n<main><h1>{escape(title)}</h1>{notes}"
        f"<h2>Findings</h2><ul>{listed}</ul>\n{body}</main>\n</body></html>\n"
    )


def _row(name: str, measure: Measure) -> list[str]:
    low, high = measure.ci95
    ends = f"{number(low)} to {number(high)}" if low == low else "–"
    over = f"{measure.n} {measure.of}" if measure.n else "–"
    units = f"{measure.units:.1f} ({measure.unit})" if measure.units else "–"
    differs = measure.differs_from_chance
    says = measure.caution or {True: "differs from chance", False: "not told from chance", None: ""}[differs]
    return [name, number(measure.value), ends, number(measure.chance), number(measure.p), over, units, says]


def _tree(found: Structure, drawn: Mapping[str, str]) -> str:
    rank = found.cophenetic.spearman
    rows = [_row("share of comparisons in order", found.cophenetic.in_order), _row("rank correlation (Spearman)", rank)]
    more = ""
    if not rank.is_missing:
        more = (
            f"The tree has few heights and most pairs meet high up, so that a perfect order has a rank correlation of "
            f"{number(rank.more['highest'])} here. Distances of two halves of the images have one of {number(rank.more['halves'])}: the "
            "noise of the prototypes."
        )
    return section(
        "Do distances follow the tree?",
        table(_HEADER, rows, "Agreement with the tree"),
        remark(
            "A species' prototype is the mean of its images' features; distance is 1 minus the cosine of two prototypes, and height the "
            f"number of ranks up to the lowest one that both have. {more} Intervals are a jackknife over independent units; p is Mantel's, "
            "with whole species permuted."
        ),
        drawn.get("distances", ""),
        anchor="tree",
    )


def _neighbours(found: Structure, drawn: Mapping[str, str]) -> str:
    rows = []
    for of, by_rank in found.purity.items():
        for rank, measure in by_rank.items():
            if measure.is_missing:
                continue
            stricter = beyond_of(measure)
            says = "" if stricter.is_missing else outcome_of(stricter, NEIGHBOURS)
            rows.append(
                [*_row(f"{of}, {rank.value}", measure)[:4], outcome_of(measure, NEIGHBOURS), *_row("", stricter)[1:4], says, measure.n]
            )  # fmt: skip
    errors = [_row("height of mistakes", found.errors.mistakes), _row("height of all answers", found.errors.all)]
    at = ", ".join(f"{rank_of(height)} {count}" for height, count in sorted(found.errors.mistakes_at.items()))
    return section(
        "Who is nearest, and how far up do mistakes lie?",
        table(
            (
                "neighbour of, rank",
                "same clade",
                "95%",
                "chance",
                "how often",
                "beyond the rank below",
                "95%",
                "chance",
                "how often",
                "asked",
            ),
            rows,
            "Purity",
        ),
        remark(
            "Beyond the rank below: the nearest one outside of the own genus must be of the family, and so on, since a neighbour of the "
            "own genus is of the family anyway. Images of the same group are not neighbours. "
        ),
        drawn.get("purity_species", "") + drawn.get("purity_images", ""),
        table(_HEADER, errors, "Mistakes"),
        remark(
            "An answer is the species with the nearest prototype, made without the image's own group. Height 1 is the genus, 7 nothing in "
            f"common. Mistakes by the rank that is shared: {at or 'none'}."
        ),
        drawn.get("mistakes", ""),
        anchor="neighbours",
    )


def _traits(found: Structure, drawn: Mapping[str, str]) -> str:
    traits: dict[str, TraitFindings] = {**found.traits, **found.image_traits}
    if not traits:
        return ""
    correlations, probes = [], []
    nothing = "".join(remark(f"{name}: {trait.reason}.") for name, trait in traits.items() if trait.reason)
    for name, trait in traits.items():
        if (measure := trait.correlation) is not None:
            more = [number(measure.more.get(key)) for key in ("tree", "beyond_tree", "p_within")]
            _, value, ends, _, p, over, units, says = _row(name, measure)
            correlations.append([name, value, ends, p, says, *more, f"{units} of {over}" if measure.units else over])
        for rank, probe in trait.probes.items():
            probes.append(
                [
                    *_row(f"{name}, {rank.value} held out", probe)[:4],
                    number(probe.more.get("relatives")),
                    *_row("", probe)[5:],
                ]
            )
    header = (
        "figure", "value", "95% interval", "p", "what it says", "trait and tree", "with the tree held", "p within clades",
        "independent units",
    )  # fmt: skip
    return section(
        "Traits of species",
        nothing,
        table(header, correlations, "Correlation with traits") if correlations else "",
        remark(
            "Relatives resemble each other, so that features and traits agree wherever both follow the tree. With the tree held is the "
            "partial rank correlation; p within clades permutes species among their relatives only. The correlation of chance is 0."
        ) if correlations else "",
        table((*_HEADER[:4], "nearest relatives", *_HEADER[5:]), probes, "Prediction of traits") if probes else "",
        remark(
            "A ridge regression on features, tested on species, genera or families that it did not learn from. Of words, the mean over "
            "words of the share right; of numbers, the rank correlation. Nearest relatives is the guess without features: what the nearest "
            "species of the tree have that were learnt from."
        ) if probes else "",
        remark(_by_chance([one for trait in traits.values() for one in (trait.correlation, *trait.probes.values())])),
        drawn.get("trait_correlations", "") + drawn.get("traits", ""),
        anchor="traits",
    )  # fmt: skip


def _by_chance(measures: Sequence[Measure | None]) -> str:
    """Return how many of several figures differ from chance, and how many would without any effect."""
    told = [one.differs_from_chance for one in measures if one is not None and one.differs_from_chance is not None]
    return (
        f"Figures of traits with an interval and enough independent units: {len(told)}; of these different from chance: {sum(told)}; "
        f"expected if no trait mattered: about {0.05 * len(told):.1f}."
    )


def _within(found: Structure, drawn: Mapping[str, str]) -> str:
    within = found.within
    rows = [
        _row("orthogonal to all species means", within.orthogonal), _row("orthogonal to the main directions", within.main_orthogonal),
        _row("overlap with differences between species", within.overlap),
    ]  # fmt: skip
    shuffled, same = within.orthogonal.more.get("shuffled"), within.overlap.more.get("same_shape")
    return section(
        "Variation within species",
        table(_HEADER, rows, "Variation within species"),
        remark(
            "Means are of one half of each species' images, variation is of the other half. Means of few images are noisy, and their noise "
            f"is variation within species: outside of means of as many images without regard to species lies {number(shuffled)}. The main "
            "directions carry 95% of the variance between species on which both halves agree. Overlap is 0 for orthogonal variation, 1 for "
            f"random directions, and {number(same)} if species differed as individuals do."
        ),
        drawn.get("within", "") + drawn.get("overlap", ""),
        anchor="within",
    )


def _classes(found: Structure, drawn: Mapping[str, str]) -> str:
    if not found.classes:
        return ""
    rows = [
        _row(
            f"{name}, {figure.replace('_', ' ')} ({span})" if figure else f"{name} ({span})",
            getattr(separation, figure or "gain"),
        )
        for name, spans in found.classes.items()
        for span, separation in spans.items()
        # Of classes that cannot be measured, all figures have one reason.
        for figure in (("",) if separation.gain.is_missing else ("outside", "inside", "whole", "gain", "outside_share"))
    ]
    return section(
        "Life stage, sex and other classes within species",
        table(_HEADER, rows, "Classes within species"),
        remark(
            "Fisher ratio: variance between the means of a class's values over the variance around them, within species, without what "
            "noise adds to means. Inside and outside of the span of species means: its main directions (main), or all (all). Gain is "
            "outside minus inside."
        ),
        drawn.get("classes", ""),
        anchor="classes",
    )


def _maps(drawn: Mapping[str, str]) -> str:
    maps = [picture for name, picture in drawn.items() if name.startswith("map_")]
    if not maps:
        return ""
    return section(
        "Maps",
        *maps,
        remark(
            "Colours and marks are the eight largest clades of a rank. Distances between clusters, and their sizes, mean nothing."
        ),
        anchor="maps",
    )


def _compared(
    found: Structure, compared: Mapping[str, Structure], differences: Mapping[str, Mapping[str, Measure]]
) -> str:
    own = figures_of(found)
    sections = []
    for name, other in compared.items():
        theirs = figures_of(other)
        rows = [
            [text, *_row("", own[text])[1:3], *_row("", theirs[text])[1:3], *_difference(measure)]
            for text, measure in differences[name].items()
            if not measure.is_missing
        ]
        header = ("figure", "this model", "95%", name, "95%", "difference", "95%", "what it says")
        sections.append(
            section(
                f"Beside {name}",
                table(header, rows, f"Beside {name}"),
                remark(
                    "Both for the same images. A difference has an interval of its own, over the same units of both models: of hits, "
                    "image by image or species by species; of other figures, with the same clades left out of both. The models' own "
                    "intervals may overlap where the difference is clear."
                ),
                anchor="compared",
            )
        )
    return "\n".join(sections)


def _difference(measure: Measure) -> list[str]:
    low, high = measure.ci95
    ends = f"{low:+.3f} to {high:+.3f}" if low == low else "–"
    return [f"{measure.value:+.3f}", ends, outcome_of(measure, _DIFFERENCE)]


def _provenance(found: Mapping[str, Any]) -> str:
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in found.items())
    return section("What was analysed", f"<dl>{listed}</dl>", anchor="analysed")
