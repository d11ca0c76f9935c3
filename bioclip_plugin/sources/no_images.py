"""The reason why a folder has no images: it is empty, or holds other files, or only those of an operating system."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from bioclip_plugin.items.media import uri_of

# Files that a file browser leaves in every folder that it shows, beside those whose names begin with a dot.
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
# Folders of operating systems and storage devices, with copies and thumbnails of the user's images.
SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"})

_LISTS = frozenset({".csv", ".tsv", ".parquet", ".xlsx", ".json", ".zip", ".tar"})  # a user names such a file itself
_MOST_ENTRIES = 100_000
_SHOWN = 8


def why_no_images(folder: Path, suffixes: frozenset[str]) -> str:
    """Return the reason why no image is in a folder or below it, with the suffixes that are read.

    Args:
        folder: the folder.
        suffixes: suffixes of images and other media, in lower case.
    """
    shown = uri_of(folder)
    kinds, system, first = _contents(folder)
    read = f"read are {' '.join(sorted(suffixes))}"
    if kinds:
        named = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common(_SHOWN))
        more = f" and {len(kinds) - _SHOWN} other kinds" if len(kinds) > _SHOWN else ""
        lists = (
            "; to classify what a table or another program's file lists, name that file" if _LISTS & set(kinds) else ""
        )
        return f"the folder {shown} has no images, but {kinds.total():,} other files ({named}{more}); {read}{lists}"
    if system:
        return (
            f"the folder {shown} has only hidden files and files of an operating system, which are skipped ({system:,}, the first: "
            f"{first}); {read}"
        )
    return f"the folder {shown} is empty; give a folder with images, or a table that lists them"


def is_of_a_system(name: str) -> bool:
    """True for a hidden file, or one that an operating system made."""
    return name.startswith(".") or name.lower() in SYSTEM_FILES


def _contents(folder: Path) -> tuple[Counter[str], int, str]:
    """Return the number of files of each suffix, of hidden files, and the first hidden one."""
    kinds: Counter[str] = Counter()
    system, first = 0, ""
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            if is_of_a_system(name) or (place != os.fspath(folder) and _is_hidden(Path(place).relative_to(folder))):
                system, first = system + 1, first or uri_of(Path(place) / name)
            else:
                kinds[Path(name).suffix.lower() or "without a suffix"] += 1
        if kinds.total() + system > _MOST_ENTRIES:
            break
    return kinds, system, first


def _is_hidden(folder: Path) -> bool:
    return any(part.startswith(".") or part.lower() in SYSTEM_FOLDERS for part in folder.parts)
