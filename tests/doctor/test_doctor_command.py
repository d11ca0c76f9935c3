"""``bioclip-plugin doctor``: well, broken, and where the command line itself cannot begin."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from bioclip_plugin import create_plugin_manager
from bioclip_plugin.cli import run
from bioclip_plugin.commands import doctor as command_module
from bioclip_plugin.doctor import DoctorOptions, Report, Result, examining
from bioclip_plugin.doctor.examining import CHECKS, Check

OWN = (
    "machine",
    "memory",
    "language",
    "environment",
    "options_file",
    "packages",
    "disks",
    "store",
    "plugins",
    "fetched",
    "models",
    "computing",
)
Said = tuple[int, str, str]


def run_apart(*arguments: str, cwd: Path, before: str = "", **environment: str) -> Said:
    """Run the program in a process and return its exit code, output and errors."""
    code = f"{before}\nimport sys; sys.argv[1:] = {list(arguments)!r}; from bioclip_plugin.__main__ import main; main()"
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=given, capture_output=True, text=True, timeout=300, check=False, encoding="utf-8"
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Command line whose checks are only those of the options file and the store."""
    monkeypatch.chdir(tmp_path)
    kept = [check for check in CHECKS if check.name == "store"]
    monkeypatch.setattr(command_module, "CHECKS", [Check("packages", "Packages", lambda _: []), *kept])

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments], create_plugin_manager(installed=False))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_healthy_machine_has_no_problems_and_the_report_has_its_documented_keys(tmp_path: Path) -> None:
    """Whatever the machine: its cores, units, locale, user and free space decide notes at most, unless it is really full."""
    code, out, err = run_apart(
        "doctor", "--json", "--patience", "60", cwd=tmp_path, BIOCLIP_CACHE=str(tmp_path / "cache")
    )
    report = json.loads(out)
    grave = [
        one for one in report["problems"] if one["grave"] and not one["code"].startswith(("disks.full", "memory.low"))
    ]
    assert (grave, err) == ([], "")
    assert code == (0 if report["healthy"] else 3)
    assert set(report) == {"report_version", "version", "healthy", "problems", "checks"}
    assert tuple(check["name"] for check in report["checks"]) == OWN
    assert {check["state"] for check in report["checks"]} == {"done"}
    computing = report["checks"][-1]["facts"]
    assert computing["images_per_s"] > 0
    assert {"torch", "threads", "device", "precision", "reason", "model", "images"} <= set(computing)
    assert not any(tmp_path.glob("*.db*"))


def test_an_options_file_that_cannot_be_read_is_a_problem_of_the_report(quick: Callable[..., Said]) -> None:
    Path("bioclip.toml").write_text("store = \n")
    code, out, err = quick("doctor")
    assert code == 3
    assert err == ""
    assert "Problem (options-file.unusable): bioclip.toml is not TOML" in out


def test_no_password_of_any_store_of_the_options_file_appears(quick: Callable[..., Said]) -> None:
    Path("bioclip.toml").write_text(
        "store = 'postgresql+psycopg://127.0.0.1:1/db?user=me&password=Zq9a,Zq9tail'\n"
        "nobodys_key = ['postgresql+psycopg://me:Zq9 x/Zq9y@127.0.0.1:1/db']\n"
        "[classify]\nstore = 'postgresql+psycopg://me:Zq9 pa/Zq9slash@127.0.0.1:1/db'\n"
        "[runs.list]\nstore = ['postgresql+psycopg://me:Zq9 in/Zq9list@127.0.0.1:1/db']\n"
    )
    for more in ((), ("--json",)):
        code, out, err = quick("doctor", *more)
        assert code == 3
        assert "127.0.0.1:1/db" in out
        assert "Zq9" not in out + err


def test_each_faulty_table_of_an_options_file_is_a_problem(quick: Callable[..., Said]) -> None:
    Path("bioclip.toml").write_text(
        "[classify]\nrnk = 'genus'\n[trian]\nsteps = 1\n[embed]\nmodel = 7\n[export]\nforce = true\n"
    )
    code, out, _ = quick("doctor", "--json")
    found = [one["found"] for one in json.loads(out)["problems"]]
    assert code == 3
    assert len(found) == 3
    assert all(any(word in one for one in found) for word in ("rnk", "[trian]", "model"))


def test_an_options_file_that_is_well_gives_the_store_once_it_exists(quick: Callable[..., Said]) -> None:
    Path("bioclip.toml").write_text("[classify]\nstore = 'mine.db'\n")
    code, out, _ = quick("doctor", "--json")
    assert (code, json.loads(out)["problems"]) == (0, [])
    Path("mine.db").write_text("x" * 5000)
    code, out, _ = quick("doctor", "--json")
    assert [one["code"] for one in json.loads(out)["problems"]] == ["store.damaged"]


def test_a_store_for_all_commands_is_found_and_the_option_takes_precedence(quick: Callable[..., Said]) -> None:
    Path("bioclip.toml").write_text("store = 'mine.db'\n")
    assert quick("doctor")[0] == 0
    code, out, _ = quick("doctor", "--store", "other.db")
    assert code == 3
    assert "there is no store at other.db" in out


def test_wrong_usage_ends_as_for_every_command(quick: Callable[..., Said]) -> None:
    assert quick("doctor", "--patience", "0")[0] == 2
    assert quick("doctor", "photos/")[0] == 2


def test_the_text_is_plain_and_has_one_line_per_problem(
    quick: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    Path("bioclip.db").write_text("x" * 5000)
    _, out, _ = quick("doctor")
    assert out.isascii()
    assert "\x1b" not in out
    assert [line.partition(":")[0] for line in out.splitlines() if line.startswith("Problem")] == [
        "Problem (store.damaged)"
    ]
    assert out.splitlines()[-1] == "1 problem found."


def test_plugins_are_not_imported_in_the_process_of_the_command(tmp_path: Path) -> None:
    """One that hangs would hang the command line itself."""
    before = (
        "import bioclip_plugin.plugins as p\n"
        "def fail(*_, **__): raise AssertionError('a plugin was imported here')\np.load_plugin = fail\n"
        "import bioclip_plugin.commands.doctor as d, bioclip_plugin.doctor.examining as e\n"
        "d.CHECKS = [e.Check('packages', 'Packages', lambda _: [])]"
    )
    for arguments in (["doctor"], ["--config", "x", "doctor"], ["--config=x", "doctor"]):
        code, _, err = run_apart(*arguments, cwd=tmp_path, before=before)
        assert (code in (0, 3), err) == (True, "")


def test_doctor_begins_without_the_packages_of_the_command_line(package: Callable[..., Path], tmp_path: Path) -> None:
    package("click", "raise ImportError('half of click')")
    before = "import bioclip_plugin.doctor.examining as e\ne.examine.__kwdefaults__['checks'] = e.CHECKS[:1]"
    code, out, err = run_apart("doctor", "--no-model", cwd=tmp_path, before=before)
    assert code == 0
    assert "No problems found" in out
    assert err == "The command line cannot begin (ImportError: half of click).\n"
    code, out, err = run_apart("classify", "photos/", cwd=tmp_path, before=before)
    assert (code, out) == (1, "")
    assert err.startswith("Error: bioclip-plugin cannot begin: ImportError: half of click")
    assert err.strip().endswith("-m bioclip_plugin.doctor")
    assert len(err.splitlines()) == 1


def test_the_examination_without_a_command_line_has_the_same_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bioclip_plugin.doctor.__main__ import main

    seen: list[Any] = []

    def fake(options: Any) -> Report:
        seen.append(options)
        return Report("1", (Result("x", "X"),))

    monkeypatch.setattr("bioclip_plugin.doctor.__main__.examine", fake)
    assert main(["--json", "--store", "a.db", "--model", "m", "--no-model", "--patience", "3"]) == 0
    assert (seen[0].store, seen[0].model, seen[0].no_model, seen[0].patience) == ("a.db", "m", True, 3.0)
    assert json.loads(capsys.readouterr().out)["healthy"] is True
    assert main(["--patience", "-1"]) == main(["--store", ""]) == 2


def test_doctor_imports_nothing_but_the_standard_library_until_it_looks() -> None:
    program = (
        "import sys; before = set(sys.modules); import bioclip_plugin.doctor, bioclip_plugin.doctor.__main__\n"
        "from bioclip_plugin.doctor import machine, language, environment, packages, disks, stores, plugin_faults, model_files, computing\n"
        "found = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "print(sorted(name for name in found if not name.startswith('_')))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "['bioclip_core', 'bioclip_plugin']"


def test_every_option_is_named_for_programs_too() -> None:
    page = (Path(__file__).parents[2] / "docs" / "hosts.md").read_text("utf-8")
    (sentence,) = [line for line in page.splitlines() if line.startswith("`DoctorOptions` has the fields")]
    assert [one.name for one in fields(DoctorOptions) if f"`{one.name}`" not in sentence.partition(". ")[0]] == []


def test_names_of_checks_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text("utf-8")
    assert all(f"`{name}`" in page for name in OWN)
    assert {check.name for check in examining.CHECKS} | {"options_file"} == set(OWN)


CODE = re.compile(
    r"[\"']((?:machine|memory|language|environment|options-file|packages|disks|store|plugins|detectors|fetched|models|computing|check)"
    r"\.[a-z0-9-]+)"
)


def test_every_code_of_a_problem_is_documented() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "command-line.md").read_text("utf-8")
    sources = [*(root / "bioclip_plugin" / "doctor").glob("*.py"), root / "bioclip_plugin" / "commands" / "doctor.py"]
    codes = {code for source in sources for code in CODE.findall(source.read_text("utf-8"))}
    looking = (root / "bioclip_plugin" / "store" / "looking.py").read_text("utf-8")
    codes |= {f"store.{code}" for code in re.findall(r"Fault\(\s*\"([a-z-]+)\"", looking)}
    assert len(codes) > 50
    assert sorted(code for code in codes if f"`{code}" not in page and not code.endswith(".no-answer")) == []


def test_only_a_name_that_a_plugin_may_have_is_not_taken_for_a_fault(
    quick: Callable[..., Said], package: Callable[..., Path]
) -> None:
    package("bioclip_colours", "raise AssertionError('not imported here')", "2.1", "colours")
    Path("bioclip.toml").write_text("of_plugin = 1\n[classify]\nrnk = 'genus'\n[paint]\ncolour = 'red'\n")
    _, out, _ = quick("doctor", "--json")
    found = [(one["code"], one["grave"]) for one in json.loads(out)["problems"]]
    assert ("options-file.unknown", False) in found
    Path("bioclip.toml").write_text("[classify]\nrnk = 'genus'\n")
    _, out, _ = quick("doctor", "--json")
    assert [(one["code"], one["grave"]) for one in json.loads(out)["problems"]] == [("options-file.unusable", True)]


def test_a_full_disk_behind_the_output_is_one_line_without_the_command_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bioclip_plugin.doctor.__main__ import main

    def full(*_given: object, **_named: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("bioclip_plugin.doctor.__main__.examine", lambda _options: None)
    monkeypatch.setattr("bioclip_plugin.doctor.__main__.show", full)
    assert main([]) == 1
    assert capsys.readouterr().err == "Error: [Errno 28] No space left on device\n"
