"""The plan of a rendering: which species each record shows, with which picture, and what is wrong with image and row."""

from __future__ import annotations

import numpy as np

from bioclip_training.biosphere.publishing.dirt import Dirt, Kind
from bioclip_training.biosphere.publishing.plan import HOLDOUT, RARE, Item, Leak, Picture, Plan, Record
from bioclip_training.biosphere.publishing.tree import ANIMALIA, Species, Tree
from bioclip_training.biosphere.publishing.tree import grow as grow_tree
from bioclip_training.biosphere.publishing.unit_plan import add_units

NEAR = ("near_resized", "near_recompressed", "near_cropped", "near_brighter", "near_other_format")
COPIES = ("copy_across_sources", "copy_within_source", "conflicting_labels", *NEAR)
_ORIGINALS = ("inat21", "eol", "gbif", "gbif-parquet", "treeoflife-200m")
"""Formats whose images are found in others too."""
_PLATES = {"bioscan-5m": 1.0, "gbif": 0.3, "gbif-parquet": 0.3, "treeoflife-200m": 0.25, "eol": 0.2}
"""Share of specimen plates."""
_SIZES = ((128, 96), (128, 96), (128, 96), (112, 112), (160, 120))
_OCCURRENCES = ("gbif", "gbif-parquet")
_ITEMS_PER_SPECIES, _HOLDOUT_SHARE = 12, 0.015
_MOST_SPECIES, _IMAGES_PER_SPECIES, _FEWEST_SPECIES = 600, 30, 100


def make_plan(seed: int, images: int, dirt: Dirt) -> Plan:
    """Return the plan of a rendering; equal seeds and numbers of images give equal plans."""
    number = min(_MOST_SPECIES, max(_FEWEST_SPECIES, images // _IMAGES_PER_SPECIES))
    plan = Plan(seed, grow_tree(seed, number))
    planner = _Planner(plan, dirt, np.random.default_rng([seed, 20]))
    planner.evaluation_sets(images)
    for layout, share in dirt.shares.items():
        planner.originals(layout, round(images * share))
    planner.copies()
    planner.leaks()
    planner.wrong_labels()
    add_units(plan, dirt, np.random.default_rng([seed, 21]))
    return plan


class _Planner:
    """The steps of a plan, with one random stream."""

    def __init__(self, plan: Plan, dirt: Dirt, rng: np.random.Generator) -> None:
        self.plan, self.dirt, self.rng = plan, dirt, rng
        self._tree: Tree = plan.tree
        self._waiting: list[tuple[Record, str]] = []
        """Records whose picture depends on other records, each with its kind."""
        self._blank = -1
        self._chances: dict[str, np.ndarray] = {}
        """Cumulative chance of each species by format."""
        weights = np.arange(5, 5 + len(self._tree.species)) ** -0.6  # a long tail, as in every collection
        self._weights = rng.permutation(weights)
        for one in self._tree.species:
            if one.is_hemihomonym:
                self._weights[one.number] *= 0.5

    def evaluation_sets(self, images: int) -> None:
        """Plan the items of both sets."""
        per_species = _ITEMS_PER_SPECIES if images >= 5000 else 2
        unseen = [one for one in self._tree.species if one.is_unseen]
        for number in range(per_species * len(unseen)):
            one = unseen[number // per_species]
            self.plan.items.append(Item(RARE, number, one.number, self._picture(one.number, "photo")))
        for number in range(max(8, round(images * _HOLDOUT_SHARE))):
            species = self._drawn_species("gbif")
            self.plan.items.append(Item(HOLDOUT, number, species, self._picture(species, "photo")))

    def originals(self, layout: str, number: int) -> None:
        """Plan the records of a format; those that need another record's picture wait for ``copies`` and ``leaks``."""
        last: Record | None = None
        empty = self.dirt.kinds["empty_frame"]
        for place in range(number):
            kind = self._drawn(self.dirt.of("image", layout))
            row = self._drawn(self.dirt.of("row", layout)) if kind is None else None
            record = Record(layout, place, -1, -1, -1)
            self.plan.records.append(record)
            if kind is not None and (kind.name in COPIES or kind.name.startswith("leak_")):
                self._waiting.append((record, kind.name))
                last = None
                continue
            if layout in empty.formats and kind is None and row is None and self.rng.random() < empty.rate:
                record.kinds.append(empty.name)
                record.picture = self._picture(-1, "empty")
                last = None
                continue
            record.joined = (
                layout in _OCCURRENCES and last is not None and kind is row is None and self.rng.random() < 0.12
            )
            species = last.species if record.joined and last is not None else self._drawn_species(layout)
            self._show(record, species)
            for one in (kind, row):
                if one is not None:
                    self._spoil(record, one)
            last = record if kind is row is None else None

    def copies(self) -> None:
        """Give copies and near duplicates the picture of a record that is itself in order."""
        free = [record for record in self.plan.records if record.layout in _ORIGINALS and _is_original(record)]
        free = [free[int(at)] for at in self.rng.permutation(len(free))]
        for record, kind in self._waiting:
            if kind not in COPIES:
                continue
            original = self._taken(free, record.layout, kind)
            if original is None:
                self._show(record, self._drawn_species(record.layout))
                continue
            record.kinds.append(kind)
            record.species = record.label = original.species
            record.picture = self._derived(original.picture, kind) if kind in NEAR else original.picture
            if kind == "conflicting_labels":
                original.kinds.append(kind)
                while record.label == record.species:
                    record.label = self._drawn_species(record.layout)

    def leaks(self) -> None:
        """Plant the leaks."""
        for record, kind in self._waiting:
            if not kind.startswith("leak_"):
                continue
            record.kinds.append(kind)
            if kind == "leak_taxon":
                self._show(record, self._unseen(record.layout))
            else:
                self._leak(record, kind.removeprefix("leak_"))
            one = self._tree.species[record.species]
            if one.is_unseen:
                record.leaks.append(Leak(RARE, "taxon", -1))

    def _leak(self, record: Record, kind: str) -> None:
        name = RARE if record.layout == "eol" or (kind != "observation" and self.rng.random() < 0.5) else HOLDOUT
        items = self.plan.items_of(name)
        item = items[int(self.rng.integers(len(items)))]
        record.leaks.append(Leak(name, kind, item.number))
        if kind == "observation":
            self._show(record, item.species)
            record.shares = item.number
            return
        record.species = record.label = item.species
        if kind == "near":
            record.picture = self._derived(item.picture, NEAR[int(self.rng.integers(len(NEAR)))])
        else:
            record.picture = item.picture

    def wrong_labels(self) -> None:
        """Misidentify single images."""
        kind = self.dirt.kinds["misidentified"]
        for record, after in zip(self.plan.records, [*self.plan.records[1:], None], strict=True):
            if after is not None and after.joined:  # the whole occurrence would be wrong
                continue
            if record.layout in kind.formats and _is_original(record) and self.rng.random() < kind.rate:
                record.kinds.append(kind.name)
                while record.label == record.species:
                    record.label = self._drawn_species(record.layout)

    def _spoil(self, record: Record, kind: Kind) -> None:
        record.kinds.append(kind.name)
        match kind.name:
            case "unreadable":
                record.state = ("short", "empty", "html")[int(self.rng.choice(3, p=(0.6, 0.2, 0.2)))]
            case "placeholder_image":
                if self._blank < 0:
                    self._blank = self._picture(-1, "blank")
                record.species, record.picture = -1, self._blank
            case "row_without_image":
                record.state = "missing"
            case "image_without_row":
                record.state = "unlisted"
            case "doubled_row":
                record.doubled = True

    def _show(self, record: Record, species: int) -> None:
        plate = self.rng.random() < _PLATES.get(record.layout, 0.0)
        record.species = record.label = species
        if record.layout == "bioscan-5m":  # insects that fell into alcohol lie at any angle
            self.plan.pictures.append(Picture(len(self.plan.pictures), species, "plate", (96, 96), turn=180.0))
            record.picture = len(self.plan.pictures) - 1
        else:
            record.picture = self._picture(species, "plate" if plate else "photo")

    def _picture(self, species: int, style: str) -> int:
        size = _SIZES[int(self.rng.integers(len(_SIZES)))]
        self.plan.pictures.append(Picture(len(self.plan.pictures), species, style, size))
        return len(self.plan.pictures) - 1

    def _derived(self, base: int, kind: str) -> int:
        of, suffix = self.plan.pictures[base], ".jpg"
        match kind:
            case "near_resized":
                amount = float(self.rng.uniform(0.6, 0.9) if self.rng.random() < 0.5 else self.rng.uniform(1.1, 1.6))
            case "near_recompressed":
                amount = float(self.rng.integers(45, 76))
            case "near_cropped":
                amount = float(self.rng.uniform(0.01, 0.03))
            case "near_brighter":
                amount = float(
                    self.rng.uniform(0.85, 0.95) if self.rng.random() < 0.5 else self.rng.uniform(1.05, 1.15)
                )
            case _:
                amount, suffix = float(self.rng.integers(80, 95)), (".png", ".webp")[int(self.rng.integers(2))]
        number = len(self.plan.pictures)
        self.plan.pictures.append(Picture(number, of.species, of.style, of.size, base, kind, amount, suffix))
        return number

    def _drawn(self, kinds: tuple[Kind, ...]) -> Kind | None:
        at = self.rng.random()
        for kind in kinds:
            if at < kind.rate:
                return kind
            at -= kind.rate
        return None

    def _drawn_species(self, layout: str) -> int:
        if layout not in self._chances:
            able = np.array([not one.is_unseen and lives_in(layout, one) for one in self._tree.species])
            self._chances[layout] = np.cumsum(np.where(able, self._weights, 0.0))
        chances = self._chances[layout]
        return int(np.searchsorted(chances, self.rng.random() * chances[-1], side="right"))

    def _unseen(self, layout: str) -> int:
        able = [one.number for one in self._tree.species if one.is_unseen and lives_in(layout, one)]
        able = able or [one.number for one in self._tree.species if one.is_unseen]
        return able[int(self.rng.integers(len(able)))]

    @staticmethod
    def _taken(free: list[Record], layout: str, kind: str) -> Record | None:
        """Remove and return the next record whose picture may be shared with a record of this format."""
        for at in range(len(free) - 1, -1, -1):
            same = free[at].layout == layout
            if kind in NEAR or same == (kind == "copy_within_source"):
                return free.pop(at)
        return None


def lives_in(layout: str, species: Species) -> bool:
    """True if a format may show a species: BIOSCAN insects, camera traps animals on land, the others everything."""
    if layout == "bioscan-5m":
        return species.kingdom == ANIMALIA and species.drawn.traits.plan == "hexapod"
    if layout == "lila":
        return (
            species.kingdom == ANIMALIA
            and species.drawn.traits.plan in ("quadruped", "bird", "lizard")
            and not species.is_hemihomonym
        )
    return True


def _is_original(record: Record) -> bool:
    return (
        record.state == "whole"
        and not record.kinds
        and not record.joined
        and not record.doubled
        and record.picture >= 0
    )
