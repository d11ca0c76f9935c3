"""Names of frames: ``FILE/frame000012.jpg`` for a frame of a video or a page of a TIFF, as detectors' tools write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from bioclip_core.files.present import is_folder

LARGEST_FRAME = 2**31 - 1
"""Largest number of a frame that databases take."""

_FRAME = re.compile(r"(.+)[/\\]frame_?([0-9]{1,10})\.jpe?g", re.IGNORECASE | re.DOTALL)
_HAVE_FRAMES = frozenset(
    ".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .asf .mts .m2ts .3gp .3g2 .flv .ogv .tif .tiff".split()
)


def frame_name(name: str, frame: int) -> str:
    """Return the name of a frame of a file."""
    return f"{name}/frame{frame:06}.jpg"


def located_frame(name: str, locate: Callable[[str], tuple[str, Path]]) -> tuple[str, Path, int | None]:
    """Return uri, path and frame of a name; the frame is None for the name of a file.

    A folder of extracted frames is a folder: its files are images of their own.

    Args:
        name: the name, as another program's file has it.
        locate: finds the uri and the path of a file's name.

    Raises:
        UsageError: if ``locate`` refuses the name.
    """
    match = _FRAME.fullmatch(name)
    if match is not None and int(match[2]) <= LARGEST_FRAME:
        suffix = match[1][match[1].rfind(".") :].lower()
        if suffix in _HAVE_FRAMES:
            uri, path = locate(match[1])
            if not is_folder(path):
                return uri, path, int(match[2])
    return *locate(name), None
