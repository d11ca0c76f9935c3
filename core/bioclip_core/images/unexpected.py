"""Errors that nobody expected while an image is read: each is a failure of that image with its place in the code."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from bioclip_core.errors import BioclipError, ImageError
from bioclip_core.process.threads import WorkersClosed

log = logging.getLogger("bioclip_plugin.images")

NO_MEMORY = "there is not enough memory to decode it"

_OURS = ("bioclip_core", "bioclip_plugin", "bioclip_training")


@contextmanager
def contained(name: str = "") -> Iterator[None]:
    """Turn an exception that is not one of our errors into an ImageError, so that one image never ends a run.

    Args:
        name: the image, for the log.

    Raises:
        ImageError: with the type of the error and its place, or for want of memory.
        BioclipError: as it was raised; so are the end of the threads and of the program.
    """
    try:
        yield
    except (BioclipError, WorkersClosed):
        raise
    except Exception as error:
        raise unexpected(error, name) from error


def unexpected(error: Exception, name: str = "") -> ImageError:
    """Return the failure of an image by an error that only a fault of ours explains, and log its traceback."""
    if isinstance(error, MemoryError):
        return ImageError(NO_MEMORY)
    log.debug("%s cannot be read", name or "an image", exc_info=error)
    return ImageError(f"the file cannot be read: {type(error).__name__} ({_place(error)}); please report it")


def _place(error: Exception) -> str:
    """Return module and line of the innermost frame of our own code, or of any code."""
    frames = [
        (str(frame.f_globals.get("__name__", "?")), line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    ours = [place for place in frames if place[0].split(".")[0] in _OURS]
    module, line = (ours or frames or [("?", 0)])[-1]
    return f"{module}:{line}"
