"""The lines that LibRaw prints about damaged files: rawpy cannot switch them off, but LibRaw's C interface can."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

_FIRST, _LAST = (0, 21), (0, 28)
"""Versions of rawpy in which an object holds its address of LibRaw's object directly behind that of its methods."""
_POINTER = ctypes.sizeof(ctypes.c_void_p)
_METHODS, _LIBRAW = 2 * _POINTER, 3 * _POINTER  # offsets in a Python object, which begins with its count and its type
_SIZES = (
    ("raw_height", "libraw_get_raw_height"), ("raw_width", "libraw_get_raw_width"), ("iheight", "libraw_get_iheight"),
    ("iwidth", "libraw_get_iwidth"),
)  # fmt: skip


def silence(raw: Any) -> bool:
    """Switch off LibRaw's lines on standard error for one opened file; damage is still counted, and an error of rawpy.

    Returns False and changes nothing if rawpy's object is not built as expected: the sizes that LibRaw states for the address
    must be those that rawpy states for the file.
    """
    library = _library()
    if library is None:
        return False
    here = id(raw)
    if ctypes.c_void_p.from_address(here + _METHODS).value != _methods(type(raw)):
        return False
    address = ctypes.c_void_p.from_address(here + _LIBRAW).value
    if not address or address % _POINTER:
        return False
    data = ctypes.c_void_p(address + _POINTER)  # behind the address of the virtual methods
    if any(getattr(library, function)(data) != getattr(raw.sizes, name) for name, function in _SIZES):
        return False
    library.libraw_set_dataerror_handler(data, None, None)
    return True


@cache
def _library() -> ctypes.CDLL | None:
    """Return LibRaw as rawpy has loaded it; None if it is not found, as on Windows, or this rawpy is unknown."""
    import rawpy

    version = tuple(int(part) for part in getattr(rawpy, "__version__", "").split(".")[:2] if part.isdigit())
    if not _FIRST <= version <= _LAST or getattr(rawpy.RawPy, "__basicsize__", 0) < _LIBRAW + _POINTER:
        return None
    try:
        library = ctypes.CDLL(rawpy._rawpy.__file__)
        library.libraw_set_dataerror_handler.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
        library.libraw_set_dataerror_handler.restype = None
        for _, function in _SIZES:
            getattr(library, function).argtypes = [ctypes.c_void_p]
    except (AttributeError, OSError):
        return None
    return library


def _methods(kind: type) -> int | None:
    """Return the address of the methods that objects of this compiled class hold; None if it has none."""
    capsule = getattr(kind, "__pyx_vtable__", None)
    if capsule is None:
        return None
    address_of = ctypes.pythonapi.PyCapsule_GetPointer
    address_of.argtypes, address_of.restype = [ctypes.py_object, ctypes.c_char_p], ctypes.c_void_p
    found: int | None = address_of(capsule, None)
    return found
