"""Result of an analysis: its numbers as they are stored, and its page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bioclip_core.device import Compute
from bioclip_core.files.homes import with_home
from bioclip_core.files.present import is_file
from bioclip_core.findings import Findings
from bioclip_core.identity import sha256_of
from bioclip_core.model_names import described
from bioclip_core.models import FoundModel
from bioclip_core.nouns import number_of
from bioclip_core.taxonomy import RANKS
from bioclip_training.analysis.comparing import differences_of, summary
from bioclip_training.analysis.config import AnalysisConfig
from bioclip_training.analysis.measure import Measure
from bioclip_training.analysis.measuring import Structure
from bioclip_training.analysis.page import page_html
from bioclip_training.analysis.pictures import Picture
from bioclip_training.analysis.selection import Selection
from bioclip_training.analysis.sentences import findings_of, unit_sentence
from bioclip_training.analysis.space import Space
from bioclip_training.analysis.stored_features import Encoded
from bioclip_training.analysis.trait_tables import ImageProperties, SpeciesTraits
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.trained_models import origin_of
from bioclip_training.evaluation.features import counted_failures
from bioclip_training.evaluation.figures import plain
from bioclip_training.evaluation.provenance import library_versions
from bioclip_training.evidence.minima import FEWEST_TO_CHOOSE, counted

NUMBERS, REPORT, PICTURES = "analysis.json", "report.html", "pictures"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Analysis:
    """A finished analysis: of each model its features, its space and its figures, the first model's first."""

    config: AnalysisConfig
    catalog: Catalog
    chosen: Selection
    species: SpeciesTraits | None
    images: ImageProperties | None
    skipped: Findings
    models: Sequence[FoundModel]
    compute: Compute
    spaces: Sequence[Space]
    structures: Sequence[Structure]
    encoded: Sequence[Encoded]
    features: Path
    seconds: float
    of_one_model: int = 0
    """Number of images left out since only one of two models has features of them."""

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``analysis.json``."""
        space, found = self.spaces[0], self.structures[0]
        groups = len(np.unique(space.group_N))
        per_species = space.counts_T
        return dict(plain({
            "images": {
                "n": len(space), "groups": groups, "species": len(space.taxa), "failed": len(self.encoded[0].failures),
                "without_direction": space.dropped, "fewest_per_species": int(per_species.min()),
                "median_per_species": float(np.median(per_species)), "features_reused": self.encoded[0].reused,
                "clades": {rank.value: len(np.unique(space.units(rank))) for rank in RANKS[:-1]},
            },
            "findings": self._findings(), "about": list(self._about()), **found.as_dict(),
            "compared": {
                name: {**other.as_dict(), "differences": {text: one.as_dict() for text, one in self._differences[name].items()}}
                for name, other in self._compared.items()
            },
            "tables": self._tables(), "failures": counted_failures(self.catalog, self.encoded[0].failures),
            "seconds": round(self.seconds, 1), "provenance": self._provenance(),
        }))  # fmt: skip

    def page(self, pictures: Sequence[Picture]) -> str:
        """Return the report."""
        origin = origin_of(self.models[0].folder)
        title = f"Structure of the feature space of {described(self.models[0].name, origin.get('trained'))}"
        found = self.structures[0]
        return page_html(
            title, list(self._about()), self._findings(), found, pictures, self._compared, self._differences, self._shown()
        )  # fmt: skip

    @property
    def _compared(self) -> dict[str, Structure]:
        return {model.name: other for model, other in zip(self.models[1:], self.structures[1:], strict=True)}

    @cached_property
    def _differences(self) -> dict[str, dict[str, Measure]]:
        return {name: differences_of(self.structures[0], other) for name, other in self._compared.items()}

    def _findings(self) -> list[str]:
        differences = self._differences.items()
        return [*findings_of(self.structures[0]), *(summary(name, of) for name, of in differences)]

    def _about(self) -> Iterator[str]:
        space, found = self.spaces[0], self.structures[0]
        groups = len(np.unique(space.group_N))
        yield (
            f"On {', '.join(self.config.splits)} of {Path(self.catalog.name).name}: {counted(len(space), groups)}, "
            f"{number_of(len(space.taxa), 'species', 'species')}, {space.dimension} dimensions."
        )
        yield (
            f"{unit_sentence(found.unit, len(np.unique(space.units(found.unit))))} Nothing is concluded from fewer than {FEWEST_TO_CHOOSE}."
        )
        if found.pair_species < len(space.taxa):
            yield f"Pairs are made of {found.pair_species} of {len(space.taxa)} species, drawn from the families in turn."
        yield from self.chosen.remarks
        yield from self.skipped.lines()
        if self.species:
            yield (
                f"Trait table: {self.species.matched} of its {number_of(self.species.rows, 'row')} are species of the catalog "
                f"({', '.join(trait.name for trait in self.species.traits)})."
            )
            if without := self._without_row():
                yield (
                    f"{len(without)} of {number_of(len(space.taxa), 'analysed species', 'analysed species')} have no row in the trait table"
                    f" (the first: {without[0]}); analysis.json lists them."
                )
        if self.images:
            names = ", ".join(trait.name for trait in (*self.images.classes, *self.images.traits))
            yield f"Image table: {self.images.matched} of {len(self.chosen.rows_N)} images are in it ({names})."
        if space.dropped:
            yield f"{number_of(space.dropped, 'image')} with features that are not numbers or all zero: left out."
        if self.of_one_model:
            yield f"{number_of(self.of_one_model, 'image')} that one of the two models has no features of: left out for both."

    def _without_row(self) -> list[str]:
        """Return the names of the analysed species that the trait table lacks."""
        if self.species is None:
            return []
        missing = {
            taxon.lineage for taxon, has in zip(self.catalog.taxa, self.species.has_row_T, strict=True) if not has
        }
        return [taxon.name for taxon in self.spaces[0].taxa if taxon.lineage in missing]

    def _tables(self) -> dict[str, Any]:
        species, images = self.species, self.images
        return {
            "traits": {
                "rows": species.rows, "matched": species.matched, "species": int(species.has_row_T.sum()),
                "not_in_catalog": list(species.unmatched), "without_row": self._without_row(),
            } if species else None,
            "images": {"rows": images.rows, "matched": images.matched} if images else None,
            "skipped": [{"what": text, "count": count, "first": first} for text, count, first in self.skipped.found()],
        }  # fmt: skip

    def _provenance(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION, "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "options": asdict(self.config),
            "models": [{"name": model.name, **model.identity(), **origin_of(model.folder)} for model in self.models],
            "preprocessing": self.models[0].preprocessing.identity(), "device": self.compute.described(),
            "precision": self.compute.precision, "features": str(self.features),
            "catalog": {"file": self.catalog.name, "sha256": self.catalog.identity, "rows": len(self.catalog)},
            "tables": {
                name: sha256_of(with_home(file))
                for name, file in (("trait table", self.config.traits), ("image table", self.config.image_table))
                if file and is_file(with_home(file))
            },
            "versions": library_versions("scikit-learn", "matplotlib"),
        }  # fmt: skip

    def _shown(self) -> dict[str, Any]:
        found = self._provenance()
        model = found["models"][0]
        options = ", ".join(
            f"{name} {value}"
            for name, value in found["options"].items()
            if value not in (None, [], ()) and value is not False
        )
        others = {f"weights of {other['name']}": other["weights_sha256"] for other in found["models"][1:]}
        tables = {f"{name} sha256": digest for name, digest in found["tables"].items()}
        return {
            "model": model["source"], "weights": model["weights_sha256"], **others,
            "preprocessing": ", ".join(f"{name} {value}" for name, value in found["preprocessing"].items()),
            "computed on": found["device"], "catalog": f"{found['catalog']['file']}, {number_of(found['catalog']['rows'], 'row')}",
            "catalog sha256": found["catalog"]["sha256"], **tables, "options": options,
            "versions": ", ".join(f"{name} {value}" for name, value in found["versions"].items()),
            "made": f"{found['made_at']}, in {self.seconds:.1f} s",
        }  # fmt: skip
