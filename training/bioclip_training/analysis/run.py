"""Run of an analysis from its settings to its folder: choose images, encode, measure, draw, write."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioclip_core.device import Compute, choose_compute
from bioclip_core.errors import BioclipError, DataError
from bioclip_core.files.homes import with_home
from bioclip_core.files.whole import whole_folder
from bioclip_core.findings import Findings
from bioclip_core.models import FoundModel, ModelEntry, find_model
from bioclip_core.open_clip_encoder import open_encoder
from bioclip_core.process.quiet import importing, quiet
from bioclip_core.progress import silent
from bioclip_core.taxonomy import Rank
from bioclip_training.analysis.config import AnalysisConfig
from bioclip_training.analysis.maps import maps_of, ranks_shown
from bioclip_training.analysis.measuring import Structure, independent_unit, measure_structure
from bioclip_training.analysis.pictures import Picture, pictures_of
from bioclip_training.analysis.result import NUMBERS, PICTURES, REPORT, Analysis
from bioclip_training.analysis.selection import Selection, select
from bioclip_training.analysis.space import Space, in_common
from bioclip_training.analysis.stored_features import Encoded, encoded_rows
from bioclip_training.analysis.trait_tables import (
    ImageProperties,
    SpeciesTraits,
    read_image_properties,
    read_species_traits,
)
from bioclip_training.analysis.traits import Trait
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.trained_models import dev_fraction_of
from bioclip_training.evaluation.features import StageProgress, say_first
from bioclip_training.evaluation.questions import groups_of
from bioclip_training.shards.collection import open_collection

log = logging.getLogger("bioclip_plugin.training")


@dataclass(frozen=True, slots=True)
class _Tables:
    """What the tables say of the chosen images and species; None without one."""

    species: SpeciesTraits | None
    images: ImageProperties | None
    findings: Findings


def analyze(
    config: AnalysisConfig, entries: Mapping[str, ModelEntry] | None = None, progress: StageProgress = silent
) -> dict[str, Any]:
    """Measure the structure of a model's features of a catalog, and write ``analysis.json``, ``report.html`` and ``pictures/``.

    Args:
        config: settings.
        entries: the registry of models, by name.
        progress: called with the stage, the number done so far and the total.

    Returns:
        The content of ``analysis.json``.

    Raises:
        UsageError: for an empty part, an output that exists, or a table that does not fit the catalog.
        SourceError: if the catalog, a table or all of the images cannot be read.
        BioclipError: without matplotlib or scikit-learn.
    """
    for name, does in (("matplotlib", "draws its pictures"), ("sklearn", "makes its maps")):
        if find_spec(name) is None:
            raise BioclipError(
                f"analyze {does} with {name}, which is not installed; install it with: pip install 'bioclip-plugin[train]'"
            )
    started = time.monotonic()
    output = with_home(config.output)
    check = partial(_check_output, output, force=config.force)
    check()  # before the model is opened
    found = [find_model(name, entries or {}) for name in (config.model, config.compare) if name]
    if len(found) > 1 and found[0].identity() == found[1].identity():
        raise DataError(f"compare {config.compare}: these are the weights of {config.model} itself; give another model")
    catalog = open_collection(
        config.data, dev_fraction=dev_fraction_of(found[0].folder), replace_prefix=config.replace_prefix, by_taxa=True
    )
    chosen = select(config, catalog, found)
    tables = _tables_of(config, catalog, chosen)
    say_first(catalog, chosen.rows_N, config.replace_prefix)
    compute = choose_compute(config.device, config.precision)
    folder = with_home(config.features) if config.features else output.with_name(f"{output.name}.features")
    encoded = [_encoded(config, catalog, chosen, model, compute, folder, progress) for model in found]
    with whole_folder(output, check) as draft:
        spaces, rows_of = in_common([_space(catalog, one) for one in encoded], [one.rows_N for one in encoded])
        unit = independent_unit(spaces[0], config.unit)
        structures = [
            _structure(config, catalog, chosen, tables, space, rows, unit, progress)
            for space, rows in zip(spaces, rows_of, strict=True)
        ]
        pictures = _drawn(spaces[0], structures[0], ranks_shown(spaces[0], config.ranks), config.seed, progress)
        analysis = Analysis(
            config, catalog, chosen, tables.species, tables.images, tables.findings, tuple(found), compute, tuple(spaces),
            tuple(structures), tuple(encoded), folder, time.monotonic() - started, _of_one_model(encoded, spaces),
        )  # fmt: skip
        return _written(analysis, pictures, draft, progress)


def _of_one_model(encoded: Sequence[Encoded], spaces: Sequence[Space]) -> int:
    """Return the number of images that only one of two models has usable features of."""
    if len(spaces) < 2:
        return 0
    return max(len(one.rows_N) for one in encoded) - len(spaces[0])


def _written(analysis: Analysis, pictures: Sequence[Picture], draft: Path, progress: StageProgress) -> dict[str, Any]:
    """Write the files of an analysis into a folder, and return the content of ``analysis.json``."""
    result = analysis.as_dict()
    progress("Writing", 0, 1)
    (draft / NUMBERS).write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", "utf-8")
    (draft / REPORT).write_text(analysis.page(pictures), "utf-8")
    (draft / PICTURES).mkdir()
    for picture in pictures:
        (draft / PICTURES / f"{picture.name}.png").write_bytes(picture.png)
        (draft / PICTURES / f"{picture.name}.svg").write_bytes(picture.svg)
    progress("Writing", 1, 1)
    return result


def _drawn(space: Space, found: Structure, ranks: Sequence[Rank], seed: int, progress: StageProgress) -> list[Picture]:
    progress("Drawing", 0, 1)
    with importing():
        import matplotlib.figure  # noqa: F401
    with quiet():  # matplotlib warns about letters that its font lacks
        pictures = [*pictures_of(space, found), *maps_of(space, ranks, seed)]
    progress("Drawing", 1, 1)
    return pictures


def _check_output(output: Path, *, force: bool) -> None:
    """Refuse to replace anything without ``force``, and anything but an analysis at all."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not force:
        raise DataError(f"--output {output} exists; give another folder, or --force to replace it")
    if not (output / NUMBERS).is_file() or not (output / REPORT).is_file():
        raise DataError(
            f"--output {output} exists and is not an analysis, so --force does not replace it; give another folder"
        )


def _tables_of(config: AnalysisConfig, catalog: Catalog, chosen: Selection) -> _Tables:
    findings = Findings()
    species = images = None
    if config.traits:
        species = read_species_traits(config.traits, config.trait, catalog.taxa, findings)
        wanted = set(chosen.taxa_T.tolist())
        if not any(np.isfinite(trait.values[place]) for trait in species.traits for place in wanted):
            raise DataError(
                f"--traits {config.traits}: its species are in the catalog, but none of them in {', '.join(config.splits)}; give --split "
                "another part, or a table of other species"
            )
    if config.image_table:
        images = read_image_properties(
            config.image_table, config.classes, config.image_traits, catalog, chosen.rows_N, findings
        )
    for line in findings.lines():
        log.warning(line)
    return _Tables(species, images, findings)


def _encoded(
    config: AnalysisConfig, catalog: Catalog, chosen: Selection, model: FoundModel, compute: Compute, folder: Path, progress: StageProgress,
) -> Encoded:  # fmt: skip
    def opened() -> Any:
        return open_encoder(model, compute)

    return encoded_rows(
        catalog, chosen.rows_N, model, compute, folder, opened, progress, batch_size=config.batch_size, workers=config.workers
    )  # fmt: skip


def _space(catalog: Catalog, encoded: Encoded) -> Space:
    return Space.of(
        encoded.features_ND, catalog.taxon_of_N[encoded.rows_N], catalog.taxa, groups_of(catalog)[encoded.rows_N]
    )


def _structure(
    config: AnalysisConfig, catalog: Catalog, chosen: Selection, tables: _Tables, space: Space, rows_N: NDArray[np.int64], unit: Rank,
    progress: StageProgress,
) -> Structure:  # fmt: skip
    place_of = {taxon.lineage: place for place, taxon in enumerate(catalog.taxa)}
    taxa_T = np.array([place_of[taxon.lineage] for taxon in space.taxa])
    row_N = np.searchsorted(chosen.rows_N, rows_N)

    def at(traits: Sequence[Trait], places: NDArray[np.int64]) -> list[Trait]:
        return [replace(trait, values=trait.values[places]) for trait in traits]

    return measure_structure(
        space, unit=unit,
        traits=at(tables.species.traits, taxa_T) if tables.species else (),
        image_traits=at(tables.images.traits, row_N) if tables.images else (),
        classes=at(tables.images.classes, row_N) if tables.images else (),
        permutations=config.permutations, seed=config.seed, progress=progress,
    )  # fmt: skip
