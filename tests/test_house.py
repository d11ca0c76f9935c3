"""Public names, the cost of an import, the rooms, and a test for every hook."""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from ready_processes import run_ready

import bioclip_plugin
import bioclip_training
from bioclip_core import errors
from bioclip_plugin import hookspecs, plugin_api

TESTS = Path(__file__).parent
ROOT = TESTS.parent

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
    """Return the report of a new process after it has imported every module of these packages."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, " ".join(HEAVY), *packages], env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    return report_of(done)


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    said: dict[str, object] = json.loads(done.stdout)
    return said


def test_importing_everything_that_a_host_sees_loads_nothing_heavy_and_sets_up_no_logging() -> None:
    said = imported("bioclip_plugin", "bioclip_core")
    assert said["heavy"] == {}
    assert said["handlers"] == 0
    assert {"bioclip_plugin.running.session", "bioclip_plugin.cli", "bioclip_core.encoder"} <= set(said["modules"])  # type: ignore[call-overload]


def test_no_two_test_files_have_one_name() -> None:
    """pytest collects the second one as an error."""
    names = Counter(file.name for file in TESTS.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_each_module_of_the_training_package_can_be_imported() -> None:
    root = Path(bioclip_training.__path__[0])
    files = [path.relative_to(root.parent).with_suffix("").parts for path in root.rglob("*.py")]
    names = {".".join(parts).removesuffix(".__init__") for parts in files if parts[-1] != "__main__"}
    assert len(names) > 50
    assert set(report_of(run_ready(IMPORT_ALL, "", "bioclip_training"))["modules"]) == names  # type: ignore[call-overload]


def test_importing_the_training_package_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"import bioclip_training, sys; print([n for n in {HEAVY!r} if n in sys.modules])"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_help_imports_neither_numbers_nor_images_nor_databases() -> None:
    program = (
        "import sys; from bioclip_plugin.cli import run; run(['--help']); "
        "print([n for n in ('numpy', 'PIL', 'pyarrow', 'sqlalchemy', 'torch', 'av', 'urllib3') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_public_names_are_these() -> None:
    assert bioclip_plugin.__all__ == [
        "Answer", "BioclipError", "ClassifyRequest", "Failure", "FetchOptions", "Keep", "MediaItem", "Place", "Region",
        "RegionAnswer", "Session", "Store", "create_plugin_manager", "hookimpl",
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
    assert hooks == tested


def test_a_plugin_author_imports_every_type_of_a_hook_from_one_place() -> None:
    module = ast.parse(inspect.getsource(hookspecs))
    imports = [node for node in ast.walk(module) if isinstance(node, ast.ImportFrom)]
    foreign = {alias.name for node in imports if not str(node.module).startswith("bioclip_") for alias in node.names}
    foreign |= {
        alias.asname or alias.name for node in ast.walk(module) if isinstance(node, ast.Import) for alias in node.names
    }
    hooks = [value for value in vars(hookspecs).values() if hasattr(value, f"{hookspecs.PROJECT}_spec")]
    texts = [text for hook in hooks for text in hook.__annotations__.values()]
    used = {node.id for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    types = used - foreign - set(vars(builtins))
    assert {"MediaItem", "ListingOptions", "Rule", "TrainResult"} <= types
    assert types - set(plugin_api.__all__) == set()


def test_a_plugin_author_imports_every_error_from_there_too() -> None:
    raised = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert raised <= set(plugin_api.__all__)


DOORS = {"bioclip_plugin", "bioclip_plugin.plugin_api", "bioclip_plugin.testing", "bioclip_plugin.doctor"}


def snippets(page: Path) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)
    assert len(blocks) > 3
    return "\n".join(blocks)


def test_the_examples_for_hosts_and_plugins_import_from_the_doors_alone() -> None:
    plugins = sorted((ROOT / "docs" / "examples").glob("*/bioclip_*/__init__.py"))
    assert len(plugins) == 2
    for text in (*(plugin.read_text("utf-8") for plugin in plugins), snippets(ROOT / "docs" / "hosts.md")):
        modules = set(re.findall(r"^\s*(?:from|import) (bioclip\w*(?:\.\w+)*)", text, re.M))
        assert {"bioclip_plugin", "bioclip_plugin.plugin_api"} <= modules
        assert modules - DOORS == set()


def test_names_from_data_are_looked_up_without_an_error_for_names_that_no_file_can_have() -> None:
    rooms = "formats items labelled reviews report sources opening".split()
    asked = re.compile(r"(?<!entry)(?<!member)(?<!info)\.(exists|is_file|is_dir)\(\)")
    files = [file for room in rooms for file in (ROOT / "bioclip_plugin" / room).rglob("*.py")]
    files.remove(ROOT / "bioclip_plugin/formats/addaxai/inference.py")  # it runs where nothing of ours is installed
    found = [f"{file.relative_to(ROOT)}: {match[0]}" for file in files for match in asked.finditer(file.read_text())]
    assert not found, "use bioclip_core.files.present"


PARSERS = re.compile(
    r"\bjson\.loads?\(|\.raw_decode\(|\btomllib\.loads?\(|\bElementTree\.(?:fromstring|parse|iterparse)\(|\byaml\.\w*load"
)
SCRATCH = "rows of its own temporary database, which it wrote itself in this run"
PARSE_ALONE = {
    "core/bioclip_core/files/documents.py": "the one reader",
    "core/bioclip_core/files/yaml_documents.py": "the one reader of YAML: scalars of YAML 1.2, unique names, no tags",
    "core/bioclip_core/files/meta_xml.py": "the one reader of XML: it refuses document type declarations",
    "core/bioclip_core/files/streamed_json.py": "the reader of large files, with the limits of documents.py per element",
    "bioclip_plugin/formats/addaxai/inference.py": "it runs in another program, without this package",
    "bioclip_plugin/contracts/contained_detectors.py": "a copy of a value in memory",
    "bioclip_plugin/formats/camtrap_dp/read_reviews.py": SCRATCH,
    "bioclip_plugin/formats/darwin_core/read.py": SCRATCH,
    "bioclip_plugin/formats/darwin_core/write_specimens.py": SCRATCH,
    "bioclip_plugin/formats/darwin_core/write_terms.py": SCRATCH,
    "bioclip_plugin/formats/tables/event_rows.py": SCRATCH,
    "bioclip_plugin/reviews/second_opinion.py": SCRATCH,
    "bioclip_plugin/doctor/apart.py": "lines of a process that it began; msgspec may be what is broken",
    "bioclip_plugin/doctor/child.py": "the request of the process that began it; msgspec may be what is broken",
    "bioclip_plugin/store/database/values.py": "text of the store, on the hot path; a fault is a StoreError",
    "training/bioclip_training/biosphere/publishing/dirt.py": "a file of its own package, with the standard library alone",
    "training/bioclip_training/biosphere/publishing/rendering.py": "its own settings, with the standard library alone",
    "training/bioclip_training/published/sample_texts.py": "JSON of img2dataset, in which NaN is a missing value",
    "training/bioclip_training/loop/journal.py": "its own lines, in which a loss may be NaN",
    "training/bioclip_training/loop/start.py": "a copy of a value in memory",
    "training/bioclip_training/towers/kernel_book.py": "a copy of a value in memory",
    "bioclip_plugin/engines/documents.py": "lines of our own work folder, as many as images",
}
"""Modules that call a parser of documents themselves, with the reason."""


def test_documents_from_outside_go_through_one_reader() -> None:
    packages = [ROOT / "core", ROOT / "training", ROOT / "bioclip_plugin"]
    parsing = {
        path.relative_to(ROOT).as_posix()
        for package in packages
        for path in package.rglob("*.py")
        if PARSERS.search(path.read_text("utf-8"))
    }
    assert parsing - set(PARSE_ALONE) == set(), "use read_document or parse_document of bioclip_core.files.documents"
    assert set(PARSE_ALONE) - parsing == set(), "an exception that is no longer needed"
