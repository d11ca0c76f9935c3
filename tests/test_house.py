"""The house as others may rely on it: what is public, what an import costs, and that every hook has its test."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bioclip_plugin
from bioclip_plugin import hookspecs

TESTS = Path(__file__).parent

HEAVY = (
    "torch",
    "torchvision",
    "open_clip",
    "pandas",
    "huggingface_hub",
    "transformers",
    "matplotlib",
    "sklearn",
    "webdataset",
)

IMPORT_ALL = """
import importlib, json, pkgutil, sys, logging
heavy = sys.argv[1].split()
found, modules = {}, []
for name in sys.argv[2:]:
    package = importlib.import_module(name)
    modules.append(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        # alembic runs these; outside of it there is nothing that they could migrate
        if ".migrations." in module.name or module.name.endswith("__main__"):
            continue
        importlib.import_module(module.name)
        modules.append(module.name)
        loaded = [heavy_name for heavy_name in heavy if heavy_name in sys.modules and heavy_name not in found]
        found.update(dict.fromkeys(loaded, module.name))
print(json.dumps({"heavy": found, "modules": modules, "handlers": len(logging.getLogger().handlers)}))
"""


def imported(*packages: str) -> dict[str, object]:
    """What a fresh process says after it imported every module of these packages."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, " ".join(HEAVY), *packages], env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said: dict[str, object] = json.loads(done.stdout)
    return said


def test_importing_everything_that_a_host_sees_loads_nothing_heavy_and_sets_up_no_logging() -> None:
    said = imported("bioclip_plugin", "bioclip_core")
    assert said["heavy"] == {}
    assert said["handlers"] == 0
    assert {"bioclip_plugin.running.session", "bioclip_plugin.cli", "bioclip_core.encoder"} <= set(said["modules"])  # type: ignore[call-overload]


def test_importing_the_training_package_loads_nothing_heavy() -> None:
    said = imported("bioclip_training")
    assert not {"bioclip_training"} - set(said["modules"])  # type: ignore[call-overload]
    done = subprocess.run(
        [sys.executable, "-c", f"import bioclip_training, sys; print([n for n in {HEAVY!r} if n in sys.modules])"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_these() -> None:
    assert bioclip_plugin.__all__ == [
        "Answer", "BioclipError", "ClassifyRequest", "Failure", "MediaItem", "Place", "Region", "RegionAnswer", "Session",
        "create_plugin_manager", "hookimpl",
    ]  # fmt: skip


@pytest.mark.parametrize("name", bioclip_plugin.__all__)
def test_each_public_name_is_there_and_nothing_else_pretends_to_be(name: str) -> None:
    assert getattr(bioclip_plugin, name).__module__.startswith(("bioclip_plugin.", "bioclip_core.", "pluggy"))
    assert name in dir(bioclip_plugin)
    with pytest.raises(AttributeError, match="no attribute 'Sesion'"):
        bioclip_plugin.Sesion  # noqa: B018


def test_each_hook_has_a_test_of_its_name() -> None:
    hooks = {name for name, value in vars(hookspecs).items() if hasattr(value, f"{hookspecs.PROJECT}_spec")}
    tested = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^def test_hook_(\w+)\(", path.read_text("utf-8"), re.M)
    }
    assert len(hooks) >= 8
    assert hooks - tested == set()
    assert tested - hooks == set()
