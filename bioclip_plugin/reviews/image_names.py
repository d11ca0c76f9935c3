"""What an image that a file names may be called in a store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from bioclip_plugin.items.media import uri_of


def image_names(written: Sequence[str], folder: Path) -> list[str]:
    """The uris that an image may have been listed under, best first. Nothing is opened.

    Args:
        written: the image as the file writes it, and what else it may be called.
        folder: where relative names begin.
    """
    names: dict[str, None] = {}
    for text in written:
        for image in dict.fromkeys((text, text.replace("\\", "/"))):
            names[image] = names[uri_of(image)] = None
            if "://" not in image:
                names |= dict.fromkeys(_below(folder / image))
    return list(names)


def _below(path: Path) -> Iterator[str]:
    """A path as a run may have listed it: as it is written, from the root, or from here."""
    yield uri_of(path)
    whole = os.path.normpath(Path.cwd() / path)
    yield uri_of(whole)
    yield uri_of(os.path.normpath(path))
    yield uri_of(os.path.relpath(whole))
