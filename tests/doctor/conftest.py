"""One check of the examination at a time, and packages that are laid down as pip does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bioclip_plugin.doctor import DoctorOptions, Report, examine
from bioclip_plugin.doctor.examining import CHECKS

Examine = Callable[..., Report]


@pytest.fixture(autouse=True)
def no_variables_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out the variables with which the tests are begun: doctor would speak of them on some machines."""
    for name in ("BIOCLIP_DATA", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "")  # which the timed classification sets


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """Function that makes some of the checks, by name, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIOCLIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))

    def call(*names: str, **options: Any) -> Report:
        return examine(DoctorOptions(**options), checks=[check for check in CHECKS if check.name in names])

    return call


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Function that lays down a package: a module, and a dist-info folder unless ``version`` is None."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    before: dict[str, ModuleType | None] = {}

    def lay_down(name: str, code: str, version: str | None = None, entry: str = "") -> Path:
        before.setdefault(name, sys.modules.get(name))
        (site / f"{name}.py").write_text(code)
        if version is not None:
            info = site / f"{name}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            if entry:
                (info / "entry_points.txt").write_text(f"[bioclip]\n{entry} = {name}:plugin\n")
        return site

    yield lay_down
    for name, module in before.items():
        if module is None:
            sys.modules.pop(name, None)
        else:  # such as the real torch, which cannot be imported twice
            sys.modules[name] = module
