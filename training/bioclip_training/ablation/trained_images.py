"""Images of a test that an arm or the start model is trained on: refused, not counted, or counted with a remark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bioclip_core.errors import DataError
from bioclip_core.nouns import number_of
from bioclip_training.ablation.answers import Test
from bioclip_training.ablation.arms import Arm
from bioclip_training.ablation.configuration import TestConfig
from bioclip_training.catalog.options import DEV_FRACTION
from bioclip_training.catalog.rows import Catalog
from bioclip_training.catalog.trained_on import Seen, region_numbers, trained_on
from bioclip_training.shards.collection import open_collection


def seen_by(arms: Iterable[Arm], catalog: Catalog, start: Path | None) -> Seen:
    """Return the images and groups that any arm, or the start model, is trained on."""
    shares = [float(arm.settings.get("dev_fraction", DEV_FRACTION)) for arm in arms]
    parts = [Seen.of(catalog, catalog.rows_of("train", dev_fraction=min(shares)))]
    for address, share in _replays(arms).items():
        replayed = open_collection(address, dev_fraction=share)
        parts.append(Seen.of(replayed, replayed.rows_of("train", dev_fraction=share)))
    return Seen.together([*parts, *filter(None, [trained_on(start)])])


def _replays(arms: Iterable[Arm]) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for arm in arms:
        if address := arm.settings.get("replay"):
            share = float(arm.settings.get("dev_fraction", DEV_FRACTION))
            found[address] = min(share, found.get(address, share))
    return found


def leave_out_trained(test: Test, config: TestConfig, seen: Seen) -> list[str]:
    """Mark the images of a test that are trained on, by their content, and return what is to be said of them.

    Raises:
        DataError: if there are such images and no setting decides, or if none is left.
    """
    trained_N = seen.has_regions(test.catalog, test.rows_N)
    unknown = int((region_numbers(test.catalog)[test.rows_N] == 0).sum())
    lines = []
    if unknown and config.data is not None:
        lines.append(
            f"{number_of(unknown, 'image')} without a recorded sha256: it is not known if a model is trained on them; catalog build "
            "records it"
        )
    if not trained_N.any():
        return lines
    first = test.catalog.key(int(test.rows_N[trained_N][0]))
    said = f"{int(trained_N.sum())} of {number_of(len(trained_N), 'image')} are trained on by an arm or the start model (first: {first})"
    if config.trained_images == "refuse":
        raise DataError(
            f"tests.{test.name}: {said}, so that their accuracy would be memory. Choose with tests.{test.name}.trained_images: leave-out "
            "(they are not counted) or keep (they are), or give a catalog of other images"
        )
    if config.trained_images == "keep":
        return [*lines, f"{said}, counted all the same: their accuracy is memory"]
    if trained_N.all():
        raise DataError(f"tests.{test.name}: {said}: nothing is left to count; give a catalog of other images")
    test.left_out_N = trained_N
    return [*lines, f"{said}, and not counted"]
