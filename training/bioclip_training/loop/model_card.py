"""The model card of a trained checkpoint (``README.md``): use, data with licences, limits and figures, filled in to be published."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bioclip_core.model_names import described, short_name
from bioclip_core.next_commands import command
from bioclip_core.taxonomy import RANKS
from bioclip_training.catalog.rows import Catalog
from bioclip_training.evidence.minima import counted

OPEN_CLIP = "3.0"
"""First version of open_clip that opens a folder with ``local-dir:``."""

_FEW = 10
_LISTED = 20
_OPEN = re.compile(r"\b(cc0|cc[ -]?zero|public ?domain|pddl|mit|cc[ -]?by|licenses/by|attribution)\b", re.IGNORECASE)
_BINDING = re.compile(r"\b(nc|nd|sa|non-?commercial|no-?deriv\w*|share-?alike|all rights reserved)\b", re.IGNORECASE)
_TAGS = ("biology", "species", "bioclip", "clip", "image-classification")


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything that a card states."""

    name: str
    config: Mapping[str, Any]
    """The recipe as it was asked for."""
    steps: int
    ladder: Mapping[str, Any]
    shows: str
    """What the held-out images can show, as a sentence."""
    can_choose: bool
    leakage: Mapping[str, Any]
    made_with: Mapping[str, Any]
    data: Catalog
    replay: Catalog | None
    start_licence: str
    """Licence of the start model as its registry states it; empty if unknown."""
    start_citation: str
    start_source: str


def model_card(facts: CardFacts) -> str:
    """Return the card as Markdown, with a header that Hugging Face accepts."""
    parts = (
        _header(facts),
        _opening(facts),
        _use(facts),
        _data(facts),
        _limits(facts),
        _figures(facts),
        _training(facts),
        _licence(facts),
    )
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _header(facts: CardFacts) -> str:
    """Return the YAML header; nothing in it is empty, since the hub refuses a card with an empty entry."""
    lines = [
        "---",
        "library_name: open_clip",
        "pipeline_tag: zero-shot-image-classification",
        f"license: {_licence_word(facts)}",
    ]
    lines += ["tags:", *(f"- {tag}" for tag in _TAGS)]
    if facts.start_source.startswith("hf-hub:"):
        lines.append(f"base_model: {json.dumps(facts.start_source.removeprefix('hf-hub:').partition('@')[0])}")
    return "\n".join([*lines, "---"])


def _licence_word(facts: CardFacts) -> str:
    word = facts.start_licence.strip().lower()
    return word if word in ("mit", "apache-2.0", "cc0-1.0", "cc-by-4.0") and not _restricting(facts) else "other"


def _opening(facts: CardFacts) -> str:
    trained = {"start": facts.config["start"], "method": facts.config["method"]}
    catalog = facts.data
    rows = _learnt(facts, catalog)
    taxa, images = len(set(catalog.taxon_of_N[rows].tolist())), len(rows)
    replay = " with replay of an earlier collection" if facts.replay is not None else ""
    dev = len(catalog.rows_of("dev", dev_fraction=facts.config.get("dev_fraction")))
    if dev:
        replay += f"; {dev:,} further ones, the part `dev`, were not learnt from but measured on"
    return f"""# {short_name(facts.name)}

{described(facts.name, trained)}: a model that names {taxa} taxa in images, trained with bioclip-plugin on
{images:,} labelled images{replay}."""


def _use(facts: CardFacts) -> str:
    ranks = Counter(taxon.rank.value for taxon in facts.data.taxa if taxon.rank)
    named = ", ".join(f"{ranks[rank.value]} at rank {rank.value}" for rank in reversed(RANKS) if ranks[rank.value])
    return f"""## Intended use

For naming organisms in images like those it was trained on: the same region, the same kind of camera or specimen, the taxa
of its label set ({named}). A probability is no proof: have a person review rare, protected or surprising
taxa. It is not meant for other regions or kinds of images, for identifying people, or for taxa that it does not list: it
answers with one of its own taxa even if none is right.

    {command("classify", "photos/", model=f"local-dir:{short_name(facts.name)}")}

Other programs open the folder with open_clip {OPEN_CLIP} or newer: `open_clip.create_model_from_pretrained("local-dir:FOLDER")`.
Version 2 does not know `local-dir:`. `label_set/` has the names in taxonomic order with their text features."""


def _data(facts: CardFacts) -> str:
    parts = ["## Data"]
    for title, catalog in (("Trained on", facts.data), ("Replayed, to keep earlier knowledge", facts.replay)):
        if catalog is not None:
            parts.append(_statement(title, catalog, facts))
    return "\n\n".join(parts)


def _statement(title: str, catalog: Catalog, facts: CardFacts) -> str:
    """Return sources, splits, images per taxon and licences of a collection."""
    rows = _learnt(facts, catalog)
    sources = Counter(_column(catalog, "source", rows))
    counts = np.array(sorted(Counter(catalog.taxon_of_N[rows].tolist()).values()) or [0])
    groups = Counter(catalog.group(row) for row in rows)
    listed = sources.most_common(_LISTED)
    splits = Counter(split or "(no split)" for split in catalog.column("split"))
    parts = {
        part: len(catalog.rows_of(part, dev_fraction=facts.config.get("dev_fraction"))) for part in ("train", "dev")
    }
    splits = Counter({**splits, **{part: count for part, count in parts.items() if count}})
    lines = [
        f"**{title}**: `{catalog.file.name}`, {counted(len(rows), len(groups))} (a group is one specimen, individual, track or camera; "
        "never on both sides of a split).", "",
        "| source | images |", "|---|---|", *(f"| {_cell(name or 'not named')} | {count} |" for name, count in listed),
        "",
        "| split | images |", "|---|---|", *(f"| {_cell(name)} | {count} |" for name, count in sorted(splits.items())), "",
        f"Images per taxon in training: {counts.min()} to {counts.max()}, median {np.median(counts):g}; "
        f"{int((counts < _FEW).sum())} of {len(counts)} taxa have fewer than {_FEW}.", "",
        "| licence of the images, as their sources state it | images |", "|---|---|",
        *(f"| {_cell(name or 'not stated')} | {count} |" for name, count in _licences(facts, catalog).most_common(_LISTED)),
    ]  # fmt: skip
    return "\n".join(lines)


def _limits(facts: CardFacts) -> str:
    data = facts.data
    counts = Counter(data.taxon_of_N[_learnt(facts, data)].tolist())
    few = sorted(data.taxa[taxon].scientific_name for taxon, count in counts.items() if count < _FEW)
    untrained = sorted(data.taxa[taxon].scientific_name for taxon in range(len(data.taxa)) if taxon not in counts)
    lines = ["## Limits", ""]
    if few:
        lines.append(
            f"- {len(few)} taxa have fewer than {_FEW} training images and are named less reliably: {_some(few)}."
        )
    if untrained:
        lines.append(
            f"- {len(untrained)} taxa of the label set have no training image and are known by name only: {_some(untrained)}."
        )
    for split, found in facts.leakage.items():
        if isinstance(found, Mapping) and (shared := found["same_file_as_in_train"] + found["same_group_as_in_train"]):
            lines.append(
                f"- {shared} images of `{split}` share a file or group with training: figures on `{split}` are too good."
            )
    for catalog in filter(None, (facts.data, facts.replay)):
        lines += _curated_leakage(catalog)
    lines.append(
        "- Its probabilities are not calibrated for other collections; `bioclip-plugin calibrate` fits a temperature."
    )
    lines.append(
        "- Accuracy differs between species; `by_taxon.csv` of `bioclip-plugin evaluate` has each with its interval."
    )
    return "\n".join(lines)


def _curated_leakage(catalog: Catalog) -> Iterator[str]:
    """Yield what the curation of a collection found of each evaluation set in its sources."""
    for name, found in sorted(catalog.leakage.items()):
        left_out = sum(leak["records"] for leak in found["leaks"].values() if leak["excluded"])
        text = f"images that leak into it and were left out: {left_out:,}"
        if (taxa := found["leaks"].get("taxon")) and not taxa["excluded"]:
            text += (
                f"; images of its species that are in the collection, so that these are not unseen: {taxa['records']:,}"
            )
        yield f"- Evaluation set {_cell(name)}: {text}."


def _figures(facts: CardFacts) -> str:
    ladder = facts.ladder
    rows = [
        f"| {_cell(rung['name'])} | {rung['top1']:.1%} ({_interval_text(rung['top1_ci95'])}) | {rung['images']} | {rung['groups']} |"
        for rung in ladder["rungs"]
    ]
    chosen = ", too good a figure since the weights were chosen on it" if facts.can_choose else ""
    lines = [
        "## Figures", "", f"The weights: {ladder['rule']}.",
        f"Accuracy on `dev`, held-out images of `train`{chosen}; measure the model "
        f"with `evaluate`, on images outside of `train`. {facts.shows[:1].upper()}{facts.shows[1:]}.",
    ]  # fmt: skip
    if rows:
        lines += ["", "| | right (95% interval) | images | groups |", "|---|---|---|---|", *rows]
    if advice := ladder.get("recommendation"):
        lines += ["", advice["sentence"], "", *(f"    {text}" for text in advice["commands"])]
    return "\n".join(lines)


def _training(facts: CardFacts) -> str:
    config, made = facts.config, facts.made_with
    versions = ", ".join(
        f"{name} {made[name]}" for name in ("bioclip-plugin", "torch", "open_clip_torch") if made.get(name)
    )
    device = made.get("device", "a device that is not recorded")
    return f"""## Training

{facts.steps} steps of {config["batch_size"]} images, method {config["method"]}, loss {config["loss"]}, seed {config["seed"]};
on {device}; {versions}. `training/settings.json` has every setting, `metrics.jsonl` every step, `leakage.json` the overlap of held-out
images with the training data. On a CPU the same settings, data and number of threads
give the same weights."""


def _licence(facts: CardFacts) -> str:
    start = f"Started from `{short_name(facts.config['start'])}`" + (
        f", licence {facts.start_licence}" if facts.start_licence else ", whose licence is not recorded here"
    )
    restricting = _restricting(facts)
    lines = ["## Licence", "", f"{start}."]
    if facts.config["start"].startswith("new:"):
        lines = ["## Licence", "", "Trained from random weights."]
    if restricting:
        named = ", ".join(f"{name or 'not stated'} ({count} images)" for name, count in restricting.most_common(5))
        lines.append(f"Some training images have licences that may bind the model too, or none that is known: {named}.")
        lines.append("Choose the licence of the model with that in mind, and replace `license: other` in the header.")
    else:
        lines.append("All training images have licences that allow any use with attribution.")
    if facts.start_citation:
        lines += ["", f"Cite the start model too: {facts.start_citation}"]
    return "\n".join(lines)


def _restricting(facts: CardFacts) -> Counter[str]:
    """Count the training images whose licence is not plainly open."""
    found: Counter[str] = Counter()
    for catalog in (facts.data, facts.replay):
        for name, count in _licences(facts, catalog).items() if catalog is not None else ():
            words = name.replace("_", " ")
            if _BINDING.search(words) or not _OPEN.search(words):
                found[name] += count
    return found


def _licences(facts: CardFacts, catalog: Catalog) -> Counter[str]:
    return Counter(" ".join(name.split()) for name in _column(catalog, "licence", _learnt(facts, catalog)))


def _learnt(facts: CardFacts, catalog: Catalog) -> list[int]:
    """Return the rows that the model learnt from: ``train`` without its ``dev``, as the run had it."""
    rows: list[int] = catalog.rows_of("train", dev_fraction=facts.config.get("dev_fraction")).tolist()
    return rows


def _column(catalog: Catalog, name: str, rows: Sequence[int]) -> list[str]:
    column = catalog.column(name)
    return [column[row] or "" for row in rows]


def _cell(text: str) -> str:
    """Return text for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _interval_text(ends: Sequence[float | None]) -> str:
    low, high = ends
    return "no interval" if low is None or high is None else f"{low:.1%} to {high:.1%}"
