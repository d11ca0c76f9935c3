"""The installed ``speciesnet`` package: its version and its constants, read without importing it (an import takes seconds)."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bioclip_core.errors import ModelError, ModelUnavailable

INSTALL = "pip install 'bioclip-plugin[detector]'"
SIDE, STRIDE, THRESHOLD = 1280, 64, 0.01
"""Longer side of the network's input, the number that its sides are multiples of, and the lowest confidence of a box."""

_KNOWN = {"IMG_SIZE": SIDE, "STRIDE": STRIDE, "DETECTION_THRESHOLD": THRESHOLD}
_PACKAGES = ("speciesnet", "yolov5")


@dataclass(frozen=True, slots=True)
class Package:
    """The parts of the installed packages that matter for boxes."""

    version: str
    yolov5_version: str
    default_model: str
    """Hub and name of the model that the package itself uses, such as ``kaggle:google/speciesnet/pyTorch/v4.0.3a/1``."""


def missing() -> str:
    """Return the command that installs what is missing; empty if nothing is."""
    return INSTALL if any(find_spec(name) is None for name in _PACKAGES) else ""


def installed_package() -> Package:
    """Return the installed package.

    Raises:
        ModelUnavailable: if it is not installed.
        ModelError: if it prepares images in another way than this program does.
    """
    if missing():
        lacking = next(name for name in _PACKAGES if find_spec(name) is None)
        raise ModelUnavailable(
            f"detector speciesnet: the package {lacking} is not installed; install it with: {INSTALL}"
        )
    return _read_package()


@cache
def _read_package() -> Package:
    spec = find_spec("speciesnet")
    assert spec is not None
    folder = Path(next(iter(spec.submodule_search_locations or [])))
    release = _version("speciesnet")
    stated = _constants(folder / "detector.py", "SpeciesNetDetector")
    for name, known in _KNOWN.items():
        if stated.get(name) != known:
            raise ModelError(
                f"detector speciesnet: speciesnet {release} has {name} {stated.get(name)!r}, and this version of bioclip-plugin "
                f"knows {known}: its boxes would be others; install another one of the two"
            )
    default = _constants(folder / "__init__.py").get("DEFAULT_MODEL")
    return Package(release, _version("yolov5"), default if isinstance(default, str) else "")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a copy without its metadata
        return "unknown"


def _constants(file: Path, class_name: str = "") -> Mapping[str, Any]:
    """Return the literals that a module or one of its classes assigns to names."""
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return {}
    if class_name:
        body = next((node.body for node in body if isinstance(node, ast.ClassDef) and node.name == class_name), [])
    return {
        target.id: node.value.value
        for node in body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
