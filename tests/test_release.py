"""The wheel and the source distribution, built from a copy of the project: their contents, their metadata and their bytes."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import bioclip_plugin

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
INSTALL = (ROOT / "docs" / "install.md").read_text("utf-8")
PACKAGES = {
    "bioclip_core": ROOT / "core" / "bioclip_core",
    "bioclip_plugin": ROOT / "bioclip_plugin",
    "bioclip_training": ROOT / "training" / "bioclip_training",
}
NOT_PACKAGED = {"bioclip_plugin/store/database/migrations/script.py.mako"}
"""Files beside the code that only a developer needs: alembic begins a new migration with it."""
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "build", "dist", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis", ".benchmarks", "*.db*"
)


def build(folder: Path, *args: str) -> None:
    """Run a command of setup.py, which unlike PEP 517 can leave out gzip: half a minute for the demo's weights."""
    program = (
        "import runpy, sys; sys.argv = ['setup.py', *sys.argv[1:]]; runpy.run_path('setup.py', run_name='__main__')"
    )
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1735689600", "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, "-q", *args], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def build_wheel(source: Path, target: Path) -> Path:
    build(source, "bdist_wheel", "--compression=stored", "--dist-dir", str(target))
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project as its user has it after an upgrade: with what an earlier version's build left."""
    copy = tmp_path_factory.mktemp("project") / "checkout"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    old = copy / "build" / "lib" / "bioclip_plugin" / "store" / "database" / "migrations" / "versions" / "0000_gone.py"
    old.parent.mkdir(parents=True)
    old.write_text("raise RuntimeError('of another version')\n")
    return copy


@pytest.fixture(scope="module")
def sdist(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    folder = tmp_path_factory.mktemp("sdist")
    build(project, "sdist", "--formats=tar", "--dist-dir", str(folder))
    (archive,) = folder.glob("*.tar")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built from the source distribution, where there is no git."""
    return build_wheel(sdist, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode("utf-8"))


def files_of(folder: Path) -> list[Path]:
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != ".DS_Store"
    ]


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    own = {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in PACKAGES.items()
        for path in files_of(folder)
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        others = {name.partition("/")[2] for name in archive.namelist() if ".dist-info/" in name}
    assert packed == own - NOT_PACKAGED
    assert others == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE"}
    assert own > NOT_PACKAGED


def test_the_wheel_has_what_runs_without_a_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    for name in (
        "bioclip_core/py.typed", "bioclip_plugin/py.typed", "bioclip_training/py.typed",
        "bioclip_plugin/demo_model/label_set/label_set.json", "bioclip_plugin/report/script.js",
        "bioclip_plugin/store/database/migrations/env.py",
    ):  # fmt: skip
        assert name in sizes
    assert sizes["bioclip_plugin/demo_model/open_clip_model.safetensors"] > 1_000_000
    migrations = [name for name in sizes if "/migrations/versions/0" in name]
    assert len(migrations) == len(list((ROOT / "bioclip_plugin/store/database/migrations/versions").glob("0*.py")))


def test_the_checkout_and_the_source_distribution_build_the_same_bytes(
    project: Path, wheel: Path, tmp_path: Path
) -> None:
    """Also where an earlier version was built before, and at another time."""
    again = build_wheel(project, tmp_path)
    assert again.name == wheel.name == f"bioclip_plugin-{bioclip_plugin.__version__}-py3-none-any.whl"
    assert again.read_bytes() == wheel.read_bytes()


def test_the_source_distribution_has_the_tests_the_docs_and_the_benchmarks(sdist: Path) -> None:
    for folder in ("bioclip_plugin", "core", "training", "tests", "docs", "benchmarks"):
        own = {
            path.relative_to(ROOT)
            for path in files_of(ROOT / folder)
            if ".egg-info" not in str(path) and path.name != ".gitignore"
        }
        packed = {path.relative_to(sdist) for path in files_of(sdist / folder)}
        assert {path.as_posix() for path in own - packed} <= NOT_PACKAGED
    for page in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "CITATION.cff", "Makefile", "mkdocs.yml"):
        assert (sdist / page).is_file()
    assert not [*sdist.rglob("*.pyc"), *sdist.rglob(".gitignore")]


def test_twine_finds_no_fault_in_the_wheel(wheel: Path) -> None:
    from twine.commands.check import check

    assert check([str(wheel)], strict=True) is False


def test_the_page_on_an_index_is_the_readme_without_links_into_the_repository(metadata: Message) -> None:
    page = metadata.get_payload()
    assert metadata["Description-Content-Type"] == "text/markdown"
    targets = re.findall(r"\[[^\]]*\]\(([^)]*)\)", page)
    headings = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", page, re.M)
    }
    assert len(targets) > 10
    assert [to for to in targets if not to.startswith("https://") and to.removeprefix("#") not in headings] == []
    assert "<!--" not in page
    assert "pip install" in page


def test_the_metadata_says_who_what_and_under_which_licence(metadata: Message) -> None:
    assert metadata["Version"] == bioclip_plugin.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_all("License-File") == ["LICENSE"]
    assert metadata["Author"] == "The bioclip-plugin developers"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra") or ()) >= {
        "postgres",
        "train",
        "video",
        "raw",
        "heif",
        "excel",
        "detector",
    }


def test_every_place_that_states_the_oldest_python_says_the_same() -> None:
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert f"sys.version_info < ({oldest.replace('.', ', ')})" in makefile
    assert f"Python {oldest} or later" in (ROOT / "README.md").read_text("utf-8")
    pythons = [name.rpartition(" ")[2] for name in PROJECT["project"]["classifiers"] if "Python :: 3." in name]
    assert pythons[0] == oldest


def make(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-n", *args], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_make_does_not_ignore_another_python_for_an_environment_that_is_there(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    there = tmp_path / ".venv" / "bin" / "python"
    there.parent.mkdir(parents=True)
    there.write_text("#!/bin/sh\necho 3.9\n")
    there.chmod(0o755)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    refused = make(tmp_path, "demo", f"PYTHON={sys.executable}")
    assert refused.returncode == 2
    assert f".venv has Python 3.9, and {sys.executable} is Python {version}: make clean first" in refused.stderr
    (tmp_path / "pyproject.toml").touch()
    for args in (["clean", f"PYTHON={sys.executable}"], ["demo", f"PYTHON={sys.executable}", f"VENV=.venv-{version}"]):
        assert make(tmp_path, *args).returncode == 0
    assert make(tmp_path, "demo").returncode == 0, "without PYTHON the environment is taken as it is"


def test_the_classifiers_name_the_pythons_that_the_page_says_were_tried() -> None:
    named = [name.rpartition(" ")[2] for name in PROJECT["project"]["classifiers"] if "Python :: 3." in name]
    assert re.findall(r"^\| (3\.\d+) \| yes \|", INSTALL, re.M) == named


def test_the_page_about_installation_names_every_extra_and_each_requirement_that_it_states() -> None:
    extras = PROJECT["project"]["optional-dependencies"].keys() - {"dev", "docs"}
    rows = re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \| [^|]+ \|$", INSTALL.partition("## Extras")[2].partition("\n## ")[0], re.M
    )
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == extras
    lowest = next(one for one in requirements() if one.name == "torch").specifier
    assert Version(re.findall(r"'torch==([\d.]+)\.\*'", INSTALL)[0]) == Version(str(lowest).removeprefix(">="))


def requirements() -> list[Requirement]:
    extras = PROJECT["project"]["optional-dependencies"].values()
    listed = [PROJECT["project"]["dependencies"], *extras]
    return [Requirement(line) for lines in listed for line in lines]


def test_each_dependency_has_a_lowest_version_and_it_is_stated_once() -> None:
    bounds: dict[str, set[str]] = {}
    for requirement in requirements():
        lowest = {str(one) for one in requirement.specifier if one.operator == ">="}
        bounds.setdefault(requirement.name.lower(), set()).update(lowest)
    assert {name: found for name, found in bounds.items() if len(found) > 1} == {}
    needed = {Requirement(line).name.lower() for line in PROJECT["project"]["dependencies"]} - {"tzdata"}
    assert {name for name in needed if not bounds[name]} == set()
    (backend,) = map(Requirement, PROJECT["build-system"]["requires"])
    assert {str(backend.specifier)} == bounds["setuptools"]


def test_the_lowest_versions_do_not_contradict_the_pins_of_the_tests() -> None:
    pinned = {one.name.lower(): str(one.specifier)[2:] for one in requirements() if str(one.specifier).startswith("==")}
    for requirement in requirements():
        exact = pinned.get(requirement.name.lower())
        assert exact is None or Version(exact) in SpecifierSet(str(requirement.specifier)), str(requirement)


OF_OTHERS = {
    "certifi": "in suppress(ImportError): the system's certificates come first",
    "cv2": "required by speciesnet",
    "idna": "in try: the standard library's rules otherwise",
    "kagglehub": "required by speciesnet",
    "pydantic": "required by fastapi",
    "requests": "required by kagglehub",
    "scipy": "required by scikit-learn",
    "starlette": "required by fastapi",
    "threadpoolctl": "required by scikit-learn",
    "timm": "required by open_clip_torch",
    "tqdm": "required by huggingface_hub",
    "transformers": "in suppress(ImportError): open_clip says what is missing",
    "yolov5": "required by speciesnet",
}
"""Packages that our code imports without a requirement of its own, with the reason."""
FOR_READERS = {"tzdata", "pandas", "webdataset"}
"""Required without an import of ours: time zones of Windows, and what people read our tables and shards with."""
DISTRIBUTIONS = {
    "PIL": "pillow",
    "open_clip": "open_clip_torch",
    "sklearn": "scikit-learn",
    "pillow_heif": "pillow-heif",
    "prometheus_client": "prometheus-client",
    "yaml": "pyyaml",
}


def test_the_code_imports_what_is_required_and_everything_required_is_imported() -> None:
    imported = set()
    for folder in PACKAGES.values():
        for file in folder.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    names = [node.module]
                imported |= {name.partition(".")[0] for name in names}
    foreign = {name for name in imported if name not in sys.stdlib_module_names and name not in PACKAGES}
    foreign -= {*OF_OTHERS, "_typeshed"}
    extras = PROJECT["project"]["optional-dependencies"]
    not_ours = {"dev", "docs"}
    required = {Requirement(line).name.lower() for line in PROJECT["project"]["dependencies"]}
    optional = {Requirement(line).name.lower() for name in extras.keys() - not_ours for line in extras[name]}
    named = {DISTRIBUTIONS.get(name, name).lower() for name in foreign}
    assert named - required - optional == set()
    assert required - named <= FOR_READERS
