"""Silence of the libraries that we call: their warnings, log records and lines on standard error do not reach the host.

Everything here depends on a context variable that is set only while a library works for us, so the host's own use of the same
libraries is as loud as before, in every thread and at any time. Filters, levels, handlers and other settings of the process are
not touched: ``warnings.catch_warnings`` and file descriptor 2 belong to all threads.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  registers its own work at a fork, which must not happen while a fork waits
import ctypes
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

_LIBRARIES = frozenset(
    "PIL absl alembic botocore datasets exifread filelock fsspec h5py httpcore httpx huggingface_hub imagecodecs kagglehub "
    "libav matplotlib nncf numexpr open_clip openpyxl openvino peft pillow_heif psycopg rawpy requests safetensors sklearn "
    "sqlalchemy tifffile timm tokenizers torch transformers urllib3 webdataset yolov5".split()
)
"""Packages whose log records are dropped while they work for us."""
_WARN_IN_PYTHON = frozenset(
    "PIL huggingface_hub matplotlib open_clip openpyxl openvino peft scipy sklearn timm transformers".split()
)
"""Packages whose warnings are dropped while they work for us: those that call :func:`warnings.warn` about files and models."""
_WARN_IN_MODULES = frozenset(("ray.data.context", "torch.jit._trace"))
"""Single modules of which the same is true, of packages whose other warnings are the host's."""

_REPORT_WHEN_IMPORTED = tuple(
    "alembic.runtime.migration alembic.runtime.plugins datasets h5py._conv matplotlib matplotlib.font_manager numexpr.utils".split()
)
"""Loggers of which the first record comes with the import of their module, or soon after."""

_SET_BY_IMPORTS = ("TOKENIZERS_PARALLELISM", "TORCHINDUCTOR_CACHE_DIR")
"""Environment variables that open_clip and torchvision set when they are imported, and need for nothing that we do."""
_one_import = threading.RLock()
_LONGEST_IMPORT_S = 60.0

_working: ContextVar[bool] = ContextVar("_working", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what libraries report while they work for us in this thread, whatever the host's filters and handlers.

    The block must not contain a ``yield`` to the caller, whose own use of the libraries it would silence. A library that is
    imported in it is silent from the end of the block on, so an import inside a larger block has a small one of its own.
    """
    _stand_between()
    token = _working.set(True)
    try:
        yield
    finally:
        _working.reset(token)
        _stand_between()  # what was imported meanwhile


@contextmanager
def importing() -> Iterator[None]:
    """Import libraries quietly, and take back the environment variables that they set for the whole process."""
    with _one_import:
        before = {name: os.environ.get(name) for name in _SET_BY_IMPORTS}
        try:
            with quiet():
                yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                elif os.environ.get(name) != value:
                    os.environ[name] = value


class _Fork:
    """A fork waits for an import of ours: in the child the module would be half there, and its lock held for ever."""

    is_held = False

    @classmethod
    def before(cls) -> None:
        # With a limit, for a host that forks while it imports what our import waits for.
        cls.is_held = _one_import.acquire(timeout=_LONGEST_IMPORT_S)

    @classmethod
    def after(cls) -> None:
        if cls.is_held:
            _one_import.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_Fork.before, after_in_parent=_Fork.after, after_in_child=_Fork.after)


# -- what stands between the libraries and the process -----------------------------------------------------------------


class _OutsideOnly(logging.Filter):
    def filter(self, _record: logging.LogRecord) -> bool:
        return not _working.get()


class _Outside(ModuleType):
    """A module of the standard library as a library sees it: while it works for us, the functions that report do nothing."""

    def __init__(self, module: ModuleType, silent: tuple[str, ...]) -> None:
        super().__init__(module.__name__, module.__doc__)
        self._module, self._silent = module, silent

    def __getattr__(self, name: str) -> Any:
        if name in self._silent and _working.get():
            return _nothing
        return getattr(self._module, name)

    def __dir__(self) -> list[str]:
        return dir(self._module)


def _nothing(*_args: object, **_named: object) -> None:
    return


def _warn(message: Any, category: Any = None, stacklevel: int = 1, source: Any = None) -> None:
    if not _working.get():
        warnings.warn(message, category, stacklevel + 1, source)


_quiet_warnings = _Outside(warnings, ("warn", "warn_explicit"))
_quiet_logging = _Outside(logging, ("debug", "info", "warning", "error", "exception", "critical", "log"))
_outside_only = _OutsideOnly()
_seen = {"modules": 0, "loggers": 0}


def _stand_between() -> None:
    """Put ourselves between the libraries that are imported by now and the process; the rest follows at the next call."""
    known = logging.root.manager.loggerDict
    modules, loggers = len(sys.modules), len(known)
    if (modules, loggers) == (_seen["modules"], _seen["loggers"]):
        return
    if modules != _seen["modules"]:
        for name, module in sys.modules.copy().items():  # copied at once; list() may run others' code between two items
            package = name.partition(".")[0]
            if (package in _WARN_IN_PYTHON or name in _WARN_IN_MODULES) and module is not None:
                _replace(vars(module), package)
        if "PIL._imaging" in sys.modules:
            _stand_behind_libtiff()
        for name in _REPORT_WHEN_IMPORTED:
            logging.getLogger(name)
        _seen["modules"] = modules
    for name, logger in known.copy().items():
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _LIBRARIES:
            logger.addFilter(_outside_only)  # adds it once
    _seen["loggers"] = loggers


def _replace(names: dict[str, Any], package: str) -> None:
    """Replace what a library's module has imported for reporting."""
    if names.get("warnings") is warnings:
        names["warnings"] = _quiet_warnings
    if names.get("warn") is warnings.warn:
        names["warn"] = _warn
    if package == "open_clip" and names.get("logging") is logging:  # it uses the root logger, and so gives it a handler
        names["logging"] = _quiet_logging


# -- libtiff -----------------------------------------------------------------------------------------------------------

_Handler = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
"""Receives the place, the format and the list of its values."""
_behind: list[Callable[..., None]] = []


def _stand_behind_libtiff() -> None:
    """Receive what Pillow's libtiff reports about damaged files, and pass it on unless the file is ours.

    By default libtiff writes to file descriptor 2. Where it is linked into Pillow itself, as on Windows, it cannot be found.
    """
    if _behind:
        return
    try:
        set_handler = ctypes.CDLL(sys.modules["PIL._imaging"].__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        _behind.append(_nothing)
        return
    earlier: list[Callable[..., None]] = []

    def report(place: int | None, text: int | None, values: int | None) -> None:
        if not _working.get():
            for handler in earlier:
                handler(place, text, values)

    ours = _Handler(report)
    _behind.append(ours)  # libtiff keeps its address only
    set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    if before := set_handler(ctypes.cast(ours, ctypes.c_void_p)):
        earlier.append(_Handler(before))
