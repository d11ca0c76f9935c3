"""Each problem of installed packages, made and found."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from bioclip_plugin.doctor import DoctorOptions, Problem, Report, packages
from bioclip_plugin.doctor.packages import EXTRAS
from bioclip_plugin.doctor.report import Fact, Finding
from bioclip_plugin.doctor.requirements import Requirement, _read

Package = Callable[..., Path]


def problems(found: Iterable[Finding]) -> dict[str, str]:
    return {one.code: one.line() for one in found if isinstance(one, Problem)}


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Function that lets bioclip-plugin need these and nothing else."""

    def call(*lines: str) -> None:
        monkeypatch.setattr(packages, "requirements", lambda: list(_read(list(lines))))

    return call


def look_at_packages() -> list[Finding]:
    return list(packages.look(DoctorOptions()))


def test_requirements_are_read_as_pip_writes_them() -> None:
    lines = [
        "torch>=2.6", "sqlalchemy>=2.0.37,<3", "psycopg[binary]>=3.2; extra == 'postgres'", 'tzdata; sys_platform == "win64"',
        "mkdocs<2,>=1.6; extra == 'docs'", "bioclip-plugin[postgres,train]; extra == 'dev'", "av (>=18) ; extra == 'video'",
    ]  # fmt: skip
    assert list(_read(lines)) == [
        Requirement("torch", ((">=", "2.6"),)),
        Requirement("sqlalchemy", ((">=", "2.0.37"), ("<", "3"))),
        Requirement("psycopg", ((">=", "3.2"),), "postgres"),
        Requirement("av", ((">=", "18"),), "video"),
    ]


@pytest.mark.parametrize(
    ("bounds", "version", "is_met"),
    [
        (">=2.6", "2.6", True), (">=2.6", "2.6.0+cpu", True), (">=2.6", "2.10", True), (">=2.6", "2.5.1", False),
        ("<2", "1.9.9", True), ("<2", "2.0", False), ("==10.0.28", "10.0.28", True), ("==10.*", "10.4", True),
        ("!=1.5", "1.5.0", False), ("~=1.4", "1.9", True), ("~=1.4", "2.0", False), (">1", "1.0", False), ("<=1", "1.0", True),
        (">=2.6", "unknown", True),
    ],
)  # fmt: skip
def test_versions_are_compared_as_numbers(bounds: str, version: str, is_met: bool) -> None:
    (requirement,) = _read([f"x{bounds}"])
    assert requirement.is_met_by(version) is is_met


def test_an_old_version_is_found_with_the_command_that_mends_it(package: Package, needs: Callable[..., None]) -> None:
    package("fakelib", "", "1.0")
    needs("fakelib>=2.6")
    assert "pip install 'fakelib>=2.6'" in problems(look_at_packages())["packages.version.fakelib"]


def test_an_old_version_of_an_extra_names_the_extra(package: Package, needs: Callable[..., None]) -> None:
    package("fakelib", "", "1.0")
    needs("fakelib>=2; extra == 'video'")
    assert "bioclip-plugin[video] needs >=2" in problems(look_at_packages())["packages.version.fakelib"]


def test_a_missing_package_is_a_problem_and_a_missing_extra_is_not(needs: Callable[..., None]) -> None:
    needs("no-such-lib>=1", "no-other-lib>=1; extra == 'video'")
    found = look_at_packages()
    assert list(problems(found)) == ["packages.missing.no-such-lib"]
    assert Fact("extras", {"video": "no-other-lib is missing; for videos"}) in found


def test_every_extra_of_the_project_has_its_purpose() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert EXTRAS.keys() == project["optional-dependencies"].keys() - {"dev", "docs"}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ImportError('libfoo.so.6: cannot open shared object file')", "a library is missing or damaged"),
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        (
            "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility')",
            "built for another numpy",
        ),
        ("raise SystemExit", "SystemExit"),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two; "),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_package_that_cannot_be_imported_is_named_with_the_reason(
    package: Package, needs: Callable[..., None], code: str, words: str
) -> None:
    package("fakelib", code, "3.0")
    needs("fakelib>=2")
    assert words in problems(look_at_packages())["packages.broken.fakelib"]


def test_a_package_whose_files_are_gone_is_found(package: Package, needs: Callable[..., None]) -> None:
    (package("fakelib", "", "3.0") / "fakelib.py").unlink()
    needs("fakelib>=2")
    assert "its files are gone, although pip lists it" in problems(look_at_packages())["packages.broken.fakelib"]


def test_a_file_of_the_user_in_place_of_a_package_is_found(
    package: Package, needs: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package("fakelib", "", "3.0")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "fakelib.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "mine")
    needs("fakelib>=2")
    assert f"is imported from {tmp_path / 'mine'}" in problems(look_at_packages())["packages.shadowed.fakelib"]


def test_two_versions_in_one_folder_are_an_interrupted_upgrade(package: Package, needs: Callable[..., None]) -> None:
    package("fakelib", "", "3.0")
    package("fakelib", "", "4.0")
    needs("fakelib>=2")
    assert "recorded as 3.0 and as 4.0" in problems(look_at_packages())["packages.doubled.fakelib"]


def test_what_an_interrupted_pip_left_is_a_note(package: Package, needs: Callable[..., None]) -> None:
    (package("fakelib", "", "3.0") / "~orch-2.6.dist-info").mkdir()
    needs("fakelib>=2")
    (note,) = [one for one in look_at_packages() if isinstance(one, Problem) and one.code == "packages.half-installed"]
    assert not note.grave
    assert "~orch-2.6.dist-info" in note.line()


@pytest.mark.parametrize(
    "content", [b"[x]\nno equals sign\n", b"[x]\n\xff\xfe = a:b\n"]
)  # fmt: skip
def test_entry_points_that_cannot_be_read_are_those_of_their_own_package(
    package: Package, needs: Callable[..., None], content: bytes
) -> None:
    """alembic and others look through the entry points of all packages when they are imported."""
    looks = "from importlib.metadata import entry_points\nentry_points(group='fakelib.plugins')"
    (package("fakelib", looks, "3.0") / "bad_one-1.0.dist-info").mkdir()
    info = package("otherlib", looks, "3.0") / "bad_one-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-one\nVersion: 1.0\n")
    (info / "entry_points.txt").write_bytes(content)
    needs("fakelib>=2", "otherlib>=2")
    found = [one for one in look_at_packages() if isinstance(one, Problem)]
    (grave,) = [one for one in found if one.grave]
    assert grave.code == "packages.entry-points.bad-one"
    assert str(info) in grave.found
    assert "pip install --force-reinstall --no-deps bad-one" in grave.advice
    notes = [one for one in found if not one.grave]
    assert [one.code for one in notes] == ["packages.broken.fakelib", "packages.broken.otherlib"]
    assert all("because of" in one.line() and "bad-one" in one.line() for one in notes)
    assert not any("reinstall" in one.line() for one in notes)


def test_torch_is_not_blamed_for_entry_points_that_cannot_be_read_either(
    package: Package, look: Callable[..., Report]
) -> None:
    site = package("torch", "from importlib.metadata import entry_points\nentry_points(group='torch.backends')", "9.0")
    (site / "bad_one-1.0.dist-info").mkdir()
    (site / "bad_one-1.0.dist-info" / "entry_points.txt").write_text("[x]\nno equals sign\n")
    report = look("computing", patience=5)
    (note,) = report.notes
    assert report.problems == []
    assert note.line() == "torch cannot be imported; because of the entry points of bad-one"
    assert report.results[0].facts == {"left_out": "everything that needs torch"}


def test_metadata_that_cannot_be_read_do_not_end_the_check(package: Package, needs: Callable[..., None]) -> None:
    site = package("fakelib", "", "3.0")
    (site / "otherlib-1.0.dist-info").mkdir()
    (site / "otherlib-1.0.dist-info" / "METADATA").write_bytes(b"\xff\xfe\x00broken")
    needs("fakelib>=2")
    assert problems(look_at_packages()) == {}


def test_a_source_tree_that_is_not_installed_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "requirements", lambda: None)
    assert "packages.not-installed" in problems(look_at_packages())
