"""The commands that fit a catalog or a checkpoint that was just made: with its own splits, and only if they can be carried out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bioclip_core.errors import BioclipError
from bioclip_core.next_commands import command, free_name, next_lines

if TYPE_CHECKING:
    from bioclip_training.catalog.rows import Catalog

_HELD_OUT = ("val", "test", "unseen")
_LOCAL = "local-dir:"
_NO_HELD_OUT = "No part is held out (val, test or unseen), so accuracy on new images cannot be measured."


def after_catalog(catalog: Catalog, file: Path) -> list[str]:
    """Return what to do with a catalog: train and evaluate, or less if it is without what these need."""
    splits = _splits(catalog)
    held_out = _held_out(splits)
    if splits.get("train") and _taxa_of(catalog, "train") > 1:
        training = command("train", data=file, start="MODEL", output="FOLDER")
        measuring = _evaluate(
            file, held_out, "local-dir:FOLDER", "REPORT", trained_images=_trained_images(catalog, held_out)
        )
        return [*([] if held_out else [_NO_HELD_OUT]), *next_lines(training, then=[measuring] if held_out else [])]
    why = (
        "Its part `train` has a single taxon, and training needs two: this catalog is for evaluation."
        if splits.get("train")
        else "No row is in `train`: this catalog is for evaluation."
    )
    split = held_out or next(iter(splits), "all")
    return [why, *next_lines(_evaluate(file, split or "all", "MODEL", "REPORT"))]


def after_training(
    output: Path, data: str, replace_prefix: Sequence[str] = (), recommended: Sequence[str] = ()
) -> list[str]:
    """Return what to do after a training run: what was recommended, and with its checkpoint: compare it with its start, and use it.

    Args:
        output: folder of the checkpoint.
        data: the catalog or folder of shards.
        replace_prefix: as the run had it.
        recommended: commands of the recommended way, in order.
    """
    model = f"local-dir:{output}"
    classifying = command("classify", "PATHS", model=model)
    measuring, notes = _measuring(output, data, model, replace_prefix)
    if len(recommended) > 1:  # another way than this checkpoint
        return [*notes, *next_lines(recommended[0], then=recommended[1:], either=[*measuring, classifying])]
    if Path(data).is_dir():
        return [*notes, *next_lines(classifying, then=measuring)]
    first, *then = [*measuring, classifying]
    return [*notes, *next_lines(first, then=then)]


def _measuring(output: Path, data: str, model: str, replace_prefix: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the command that measures a checkpoint, if a part of its data is held out, and a note if none is."""
    catalog, report, start = _opened(data), free_name(f"{output}_report"), _start_of(output)
    held_out = _held_out(_splits(catalog)) if catalog else None
    if catalog is None or Path(data).is_dir():  # the images of shards are not those of a catalog
        return ([_evaluate("CATALOG", held_out, model, report, compare=start)] if held_out else []), []
    if held_out is None:
        return [], [_NO_HELD_OUT]
    decision = _trained_images(catalog, held_out, output, start)
    return [_evaluate(data, held_out, model, report, replace_prefix, start, trained_images=decision)], []


def after_shards(folder: Path) -> list[str]:
    """Return what to do with a folder of shards."""
    checking, catalog = command("shards check", folder), _opened(str(folder))
    if catalog is None or _taxa_of(catalog, "train") < 2:
        return next_lines(checking)
    return next_lines(command("train", data=folder, start="MODEL", output="FOLDER"), either=[checking])


def _evaluate(
    data: str | Path,
    split: str | None,
    model: str,
    report: str,
    replace_prefix: Sequence[str] = (),
    compare: str | None = None,
    trained_images: str | None = None,
) -> str:
    return command(
        "evaluate", data=data, split=split, model=model, compare=compare, output=report, replace_prefix=replace_prefix,
        trained_images=trained_images,
    )  # fmt: skip


def _start_of(output: Path) -> str | None:
    """Return the start of a checkpoint, to compare it with; None for random weights, or if the start's weights were kept."""
    from bioclip_training.catalog.trained_models import ladder_of, origin_of

    start: str = origin_of(output).get("trained", {}).get("start", "new:")
    is_start = ladder_of(output).get("ladder", {}).get("share_of_trained_weights") == 0
    return None if is_start or start.startswith("new:") else start


def _trained_images(
    catalog: Catalog, split: str | None, model: Path | None = None, start: str | None = None
) -> str | None:
    """Return the decision about held-out images that are trained on too, which whoever made the catalog kept; None without any.

    They are left out, unless nothing would be left.

    Args:
        catalog: the catalog.
        split: its held-out part.
        model: a checkpoint that lists its images; without one those of the catalog's ``train`` count.
        start: the model that it is compared with, which lists its images too if it was trained here.
    """
    from bioclip_training.catalog.trained_on import Seen, trained_on

    if model is None:
        seen = Seen.of(catalog, catalog.rows_of("train"))
    else:
        folders = [model, *([Path(start.removeprefix(_LOCAL))] if start and start.startswith(_LOCAL) else [])]
        seen = Seen.together(filter(None, map(trained_on, folders)))
    seen_N = seen.has_regions(catalog, catalog.rows_of(split or ""))
    return None if not seen_N.any() else "keep" if seen_N.all() else "leave-out"


def _splits(catalog: Catalog) -> Mapping[str, int]:
    """Return the number of rows of each split, in the order of their words."""
    code_of_N, words = catalog.numbered("split")
    counts = {word: int((code_of_N == code).sum()) for code, word in enumerate(words)}
    return {word: counts[word] for word in sorted(counts)}


def _held_out(splits: Mapping[str, int]) -> str | None:
    return next((word for word in _HELD_OUT if splits.get(word)), None)


def _taxa_of(catalog: Catalog, split: str) -> int:
    return len(set(catalog.taxon_of_N[catalog.rows_of(split)].tolist()))


def _opened(data: str) -> Catalog | None:
    """Open the catalog, or the index of shards; None if it is gone since."""
    from bioclip_training.shards.collection import open_collection

    try:
        return open_collection(data)
    except BioclipError:
        return None
