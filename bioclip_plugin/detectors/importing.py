"""The import of ``yolov5`` without a trace in the process, which is often a host's.

The package changes the process when it is imported: it closes every handler of ``logging`` and forgets them, ignores all
``UserWarning``, changes how torch and NumPy print, sets the threads of OpenCV, replaces ``cv2.imread``, chooses the backend of
matplotlib, sets environment variables, adds its folder to ``sys.path`` (so that ``import utils`` finds its own) and makes a
folder in the user's configuration. Calls that it makes for this are dropped; they are told by the caller's module, so that
other threads are not concerned. The rest is taken back after the import.
"""

from __future__ import annotations

import logging.config
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from bioclip_core.errors import ModelError, first_line, raise_if_of_host
from bioclip_core.process.environment import environment
from bioclip_core.process.quiet import importing

_DROPPED_CALLERS = frozenset({"distutils", "pkg_resources", "setuptools", "thop", "yolov5"})
_ADDED_TO_PATH = (os.path.join("", "yolov5"), os.path.join("setuptools", "_vendor"))  # noqa: PTH118
_ENVIRONMENT = {
    "YOLOv5_AUTOINSTALL": "false",  # it would call pip for a requirement that it misses
    "YOLOv5_VERBOSE": "false",
    "YOLOV5_CONFIG_DIR": tempfile.gettempdir(),  # an existing folder, so that it makes none
    "NUMEXPR_MAX_THREADS": None,
    "OMP_NUM_THREADS": None,
}
"""Environment variables that the import reads, with their values for it, and those that it sets."""
_HINTS = {
    "libGL": "on a machine without a display: pip uninstall opencv-python, then pip install opencv-python-headless",
    "pkg_resources": "pip install 'setuptools<82'",
}


def import_yolov5() -> None:
    """Import the parts of ``yolov5`` that a checkpoint and its boxes need.

    Raises:
        ModelError: if it cannot be imported here, with what to do.
    """
    if "yolov5.models.yolo" in sys.modules:
        return
    try:
        with importing(), _without_trace():
            import yolov5.models.yolo
            import yolov5.utils.augmentations  # noqa: F401
    except Exception as error:  # its many dependencies raise errors of their own
        raise_if_of_host(error)
        reason = first_line(error)
        hint = next((f"; {hint}" for word, hint in _HINTS.items() if word in reason), "")
        raise ModelError(f"detector speciesnet: yolov5 cannot be imported here: {reason}{hint}") from error


@contextmanager
def _without_trace() -> Iterator[None]:
    """Drop the calls by which the import changes the process, and take back what is not a call."""
    import cv2
    import matplotlib as mpl
    import numpy as np
    import pandas as pd
    import torch

    shown_columns = pd.get_option("display.max_columns")
    replaced = {name: getattr(cv2, name, None) for name in ("imread", "imwrite", "imshow")}
    path_before = frozenset(sys.path)
    with ExitStack() as stack:
        stack.enter_context(environment(_ENVIRONMENT))
        for module, names in (
            (logging.config, ("dictConfig",)),
            (warnings, ("warn", "filterwarnings")),
            (torch, ("set_printoptions",)),
            (np, ("set_printoptions",)),
            (cv2, ("setNumThreads",)),
            (mpl, ("rc", "use")),
        ):
            for name in names:
                stack.enter_context(_dropped(module, name))
        try:
            yield
        finally:
            for name, function in replaced.items():
                if function is not None:
                    setattr(cv2, name, function)
            if pd.get_option("display.max_columns") != shown_columns:
                pd.set_option("display.max_columns", shown_columns)
            for entry in [entry for entry in sys.path if entry not in path_before and entry.endswith(_ADDED_TO_PATH)]:
                sys.path.remove(entry)


@contextmanager
def _dropped(module: Any, name: str) -> Iterator[None]:
    """Drop calls of a function that come from the packages that are imported."""
    original: Callable[..., Any] = getattr(module, name)

    @wraps(original)
    def stand_in(*given: Any, **named: Any) -> Any:
        caller = str(sys._getframe(1).f_globals.get("__name__", ""))
        if caller.partition(".")[0] in _DROPPED_CALLERS:
            return None
        if name == "warn":  # this frame is between the warning and the place that it is about
            if len(given) > 2:
                given = (*given[:2], given[2] + 1, *given[3:])
            else:
                named["stacklevel"] = named.get("stacklevel", 1) + 1
        return original(*given, **named)

    setattr(module, name, stand_in)
    try:
        yield
    finally:
        setattr(module, name, original)
