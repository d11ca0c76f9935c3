"""The list of published layouts, and the question which of them a folder has."""

from __future__ import annotations

from pathlib import Path

from bioclip_core.errors import SourceError, UsageError
from bioclip_core.files.near_names import near_hint
from bioclip_core.files.present import exists
from bioclip_core.listed_names import did_you_mean, listed
from bioclip_core.tables.rows import shown_path
from bioclip_training.published.layout import Layout, Recognition

_MOST_FOLDERS = 50


def layouts() -> tuple[Layout, ...]:
    """Return every layout, in the order of the documentation."""
    # Imported here, so that a command which only names the layouts loads no Arrow.
    from bioclip_training.published.bioscan import Bioscan1M, Bioscan5M
    from bioclip_training.published.downloaded import DistributedDownloader
    from bioclip_training.published.eol import Eol
    from bioclip_training.published.evaluation_sets import IMAGE_TABLES
    from bioclip_training.published.gbif import Gbif
    from bioclip_training.published.inat21 import Inat21
    from bioclip_training.published.label_folders import HERBARIUM_19, PLANTDOC, NABirds
    from bioclip_training.published.lila import Lila
    from bioclip_training.published.rare_species import RareSpecies
    from bioclip_training.published.shards import ImageCaptions, Img2dataset, TreeOfLifeShards
    from bioclip_training.published.treeoflife import TREE_OF_LIFE_10M, TREE_OF_LIFE_200M

    return (
        Inat21(), Bioscan1M(), Bioscan5M(), Eol(), Gbif(), Lila(), RareSpecies(), NABirds(), PLANTDOC, HERBARIUM_19, *IMAGE_TABLES,
        TREE_OF_LIFE_10M, TREE_OF_LIFE_200M, TreeOfLifeShards(), DistributedDownloader(), Img2dataset(), ImageCaptions(),
    )  # fmt: skip


def layout_named(name: str) -> Layout:
    """Return the layout of a name.

    Raises:
        UsageError: for an unknown one.
    """
    by_name = {layout.name: layout for layout in layouts()}
    if name not in by_name:
        raise UsageError(f"layout {name!r} is not known; known are {', '.join(by_name)}{did_you_mean(name, by_name)}")
    return by_name[name]


def candidates(path: Path) -> list[tuple[Layout, Recognition]]:
    """Return each layout that a folder or file has.

    Raises:
        SourceError: if it does not exist.
    """
    if not exists(path):
        raise SourceError(
            f"{shown_path(path)} does not exist{near_hint(path)}; give the folder of a published collection"
        )
    return [(layout, found) for layout in layouts() if (found := layout.recognise(path)) is not None]


def recognise(path: Path, name: str = "") -> tuple[Layout, Recognition]:
    """Return the one layout that a folder or file has, with what was taken for what.

    Args:
        path: the folder or file.
        name: the layout that the user states; empty: it is recognised.

    Raises:
        SourceError: if it has no known layout, or several, or not the stated one.
        UsageError: for a stated layout that is not known.
    """
    if name:
        layout = layout_named(name)
        found = [(one, taken) for one, taken in candidates(path) if one.name == name]
        if not found:
            raise SourceError(
                f"{shown_path(path)} is not {layout.title} as published: needed is {layout.needs}; found is {_found(path)}"
            )
        return found[0]
    found = candidates(path)
    if len(found) > 1:
        choices = "; ".join(f"layout: {layout.name} ({taken.confidence})" for layout, taken in found)
        raise SourceError(f"{shown_path(path)} may be read as several layouts; state one of: {choices}")
    if not found:
        raise SourceError(_unknown(path))
    return found[0]


def _unknown(path: Path) -> str:
    inside = [(folder, taken) for folder in _folders(path) for _, taken in candidates(folder)]
    if inside:
        places = ", ".join(dict.fromkeys(f"{folder.name} ({taken.layout})" for folder, taken in inside))
        return f"{shown_path(path)} has no published layout itself, but folders in it have: {places}; give one source per folder"
    known = ", ".join(layout.name for layout in layouts())
    return (
        f"{shown_path(path)} has no known layout: found is {_found(path)}; known are {known}. "
        "Give the folder of one, or state its layout to see what it lacks"
    )


def _folders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))[
        :_MOST_FOLDERS
    ]


def _found(path: Path) -> str:
    if not path.is_dir():
        return f"the file {path.name}"
    names = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in path.iterdir())
    return listed(names) if names else "an empty folder"
