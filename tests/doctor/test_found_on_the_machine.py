"""Each problem of machine, memory, language, environment and disks, made and found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bioclip_core.files.leftovers import left_behind, mark
from bioclip_core.process import machine as process
from bioclip_plugin.doctor import DoctorOptions, Fact, Problem, disks, environment, language, machine
from bioclip_plugin.doctor.report import Finding


def problems(found: Iterable[Finding]) -> dict[str, str]:
    return {one.code: one.line() for one in found if isinstance(one, Problem)}


def facts(found: Iterable[Finding]) -> dict[str, Any]:
    return {one.key: one.value for one in found if isinstance(one, Fact)}


# Machine and memory


def test_a_processor_is_described_by_its_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Old CPU\nflags\t\t: fpu sse4_2 avx\n")
    monkeypatch.setattr(machine, "_CPUINFO", info)
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    found = list(machine.look(DoctorOptions()))
    assert facts(found)["units"] == ["avx"]
    assert facts(found)["processor"] == "Old CPU"
    assert "this processor has no AVX2 (avx)" in problems(found)["machine.no-avx2"]


def test_a_processor_that_does_not_tell_its_units_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "none")
    found = list(machine.look(DoctorOptions()))
    assert facts(found)["units"] is None
    assert problems(found) == {}


def test_an_arm_processor_without_avx_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    monkeypatch.setattr(machine, "_CPUINFO", info)
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    found = list(machine.look(DoctorOptions()))
    assert facts(found)["units"] == ["asimd", "bf16"]
    assert problems(found) == {}


def test_a_32_bit_python_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.struct, "calcsize", lambda _: 4)
    assert "machine.32-bit" in problems(machine.look(DoctorOptions()))


@pytest.mark.parametrize(("quota", "cores"), [("50000 100000", 1), ("max 100000", None), ("nonsense", None)])
def test_cores_are_those_that_the_container_lets_one_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int | None
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota)
    monkeypatch.setattr(process, "_QUOTA", file)
    assert process.usable_cores() == (cores or len(os.sched_getaffinity(0)))


def test_little_memory_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "available_bytes", lambda: 300 << 20)
    assert "only 314.6 MB of memory left" in problems(machine.look_at_memory(DoctorOptions()))["memory.low"]


def test_memory_that_is_not_known_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "available_bytes", lambda: None)
    assert problems(machine.look_at_memory(DoctorOptions())) == {}


# Language and time


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"LC_ALL": "xx_YY.UTF-8"}, "language.unknown-locale"),
        ({"TZ": "Europe/Atlantis"}, "language.time-zone"),
        ({"TZ": "Local time"}, "language.time-zone"),
    ],
)
def test_a_language_or_zone_that_the_machine_does_not_know_is_a_note(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], code: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = [one for one in language.look(DoctorOptions()) if isinstance(one, Problem)]
    assert [(one.code, one.grave) for one in found if one.code == code] == [(code, False)]
    assert next(iter(variables.values())) in " ".join(one.line() for one in found)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Brussels", "CET-1CEST", ":Europe/Brussels", "EST5EDT"])
def test_zones_that_a_machine_knows_are_no_note(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    assert "language.time-zone" not in problems(language.look(DoctorOptions()))


def test_a_machine_without_time_zones_has_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    import zoneinfo

    def none(_key: str) -> None:
        raise zoneinfo.ZoneInfoNotFoundError

    monkeypatch.setattr(zoneinfo, "ZoneInfo", none)
    assert "pip install tzdata" in problems(language.look(DoctorOptions()))["language.no-time-zones"]


def test_a_console_without_utf8_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(encoding="cp1252"))
    assert "takes cp1252" in problems(language.look(DoctorOptions()))["language.output-encoding"]


def test_a_clock_before_the_installation_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    class Early(datetime):
        @classmethod
        def now(cls, _zone: object = None) -> datetime:
            return datetime(2001, 1, 1, tzinfo=UTC)

    monkeypatch.setattr(language, "datetime", Early)
    assert "the clock says 2001-01-01" in problems(language.look(DoctorOptions()))["language.clock"]


# Environment


@pytest.mark.parametrize(
    ("name", "value", "code", "words"),
    [
        ("BIOCLIP_CACHEDIR", "/x", "environment.unknown", "did you mean BIOCLIP_CACHE?"),
        ("BIOCLIP_PRECISION", "fp8", "environment.value", "allowed are auto, fp32, bf16, fp16"),
        ("BIOCLIP_RUNTIME", "onnx", "environment.value", "allowed are auto, torch, openvino"),
        ("BIOCLIP_DECODE_MEMORY", "lots", "environment.value", "a whole number of megabytes"),
        ("BIOCLIP_DECODE_MEMORY", "²", "environment.value", "a whole number of megabytes"),
    ],
)
def test_a_variable_without_effect_or_with_an_unusable_value_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, code: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    assert words in problems(environment.look(DoctorOptions()))[code]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("HTTPS_PROXY", "http://marie:pa ss@proxy.lab:3128", "http://proxy.lab:3128"),
        ("https_proxy", "marie:p@ss@proxy.lab:3128", "proxy.lab:3128"),
        ("HF_TOKEN", "hf_abcdefghijklmnop", "set"),
        ("PGPASSWORD", "", "empty"),
        ("PGUSER", "marie", "set"),
        ("BIOCLIP_API_KEY", "abc", "set"),
        ("BIOCLIP_DB_PASS", "Zq9pass", "set"),
        ("BIOCLIP_DIARY", "Zq9 diary", "set"),
        ("HF_LOGIN_OF_LAB", "Zq9 login", "set"),
        ("HF_HUB_OFFLINE", "1", "1"),
    ],
)
def test_variables_are_shown_without_secrets(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str
) -> None:
    monkeypatch.setenv(name, value)
    assert facts(environment.look(DoctorOptions()))["variables"][name] == shown


def test_other_variables_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_DIARY", "private")
    assert "private" not in str(list(environment.look(DoctorOptions())))


# Disks


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, variable in (("cache", "BIOCLIP_CACHE"), ("hub", "HF_HUB_CACHE")):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(variable, str(tmp_path / name))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_healthy_disks_have_no_problems(folders: Path) -> None:
    found = list(disks.look(DoctorOptions(store="results.db")))
    assert problems(found) == {}
    assert facts(found)["store"]["folder"] == str(folders)


def test_a_disk_that_is_nearly_full_is_named_for_each_folder(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=7_000_000, total=10**12))
    found = problems(disks.look(DoctorOptions(store="results.db")))
    assert {f"disks.full.{name}" for name in ("cache", "hub", "temporary", "store", "working")} <= set(found)
    assert "has 7.0 MB left" in found["disks.full.temporary"]
    assert "TMPDIR" in found["disks.full.temporary"]


def test_a_disk_without_room_for_another_file_is_found(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        os,
        "statvfs",
        lambda _: SimpleNamespace(
            f_files=10, f_favail=0, f_bavail=1 << 30, f_bfree=1, f_blocks=1, f_frsize=1, f_flag=0
        ),
    )
    assert "cannot hold another file" in problems(disks.look(DoctorOptions()))["disks.no-more-files.temporary"]


def test_no_temporary_folder_is_a_problem(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert "TMPDIR" in problems(disks.look(DoctorOptions()))["disks.no-temporary-folder"]


def test_a_temporary_folder_that_cannot_be_written_is_found_by_writing(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert "No space left on device" in problems(disks.look(DoctorOptions()))["disks.no-temporary-file"]


def test_a_temporary_folder_that_python_does_not_use_is_named(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small disk that is full is left aside without a word, and files are written elsewhere."""
    monkeypatch.setenv("TMPDIR", str(folders / "full"))
    found = problems(disks.look(DoctorOptions()))
    assert f"TMPDIR names {folders / 'full'}, but {folders / 'tmp'} is used" in found["disks.other-temporary-folder"]
    monkeypatch.setenv("TMPDIR", f"{folders / 'tmp'}/")
    assert "disks.other-temporary-folder" not in problems(disks.look(DoctorOptions()))


def test_folders_without_the_right_to_write_are_named(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = problems(disks.look(DoctorOptions()))
    assert {"disks.unwritable.cache", "disks.unwritable.temporary", "disks.unreadable.hub"} <= set(found)


def test_a_file_in_place_of_the_cache_is_found(folders: Path) -> None:
    (folders / "cache").rmdir()
    (folders / "cache").write_text("")
    assert "is a file" in problems(disks.look(DoctorOptions()))["disks.not-a-folder.cache"]


def test_a_working_directory_that_is_gone_is_found(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folders / "gone").mkdir()
    monkeypatch.chdir(folders / "gone")
    (folders / "gone").rmdir()
    try:
        found = problems(disks.look(DoctorOptions()))
    finally:
        os.chdir(folders)
    assert "disks.no-working-folder" in found


def test_a_user_without_a_home_folder_gets_a_note(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    assert "BIOCLIP_CACHE" in problems(disks.look(DoctorOptions()))["disks.no-home"]


def test_a_folder_that_no_disk_can_hold_is_not_called_full(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIOCLIP_CACHE", str(folders / "nope" / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0, total=0))  # as of /proc
    found = problems(disks.look(DoctorOptions()))
    assert "disks.full.cache" not in found
    assert "cannot be made" in found["disks.no-disk.cache"]
    assert "HOME" in found["disks.no-disk.cache"]
    assert "BIOCLIP_CACHE" in found["disks.no-disk.cache"]


def test_what_killed_programs_left_is_counted_and_what_living_ones_use_is_not(folders: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    of_dead = mark().replace(f"-{os.getpid()}", f"-{dead.pid}")
    (folders / "tmp" / f"bioclip-images-{of_dead}-abc").mkdir()
    (folders / "tmp" / f"bioclip-images-{of_dead}-abc" / "a.jpg").write_bytes(b"x" * 5000)
    (folders / "tmp" / f"bioclip-images-{mark()}-abc").mkdir()
    (folders / "cache" / f".sha256.json.{of_dead}.part").touch()
    (folders / "cache" / f".sha256.json.{mark()}.part").touch()
    (folders / "cache" / "photo-of-12345678-1.jpg").touch()
    found = problems(disks.look(DoctorOptions()))
    assert "left 1 temporary file or folder in" in found["disks.leftovers.temporary"]
    assert "5.0 kB" in found["disks.leftovers.temporary"]
    assert [path.name for path in left_behind(folders / "cache")] == [f".sha256.json.{of_dead}.part"]


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_HUB_CACHE": "/a/hub"}, "/a/hub"), ({"HF_HOME": "/b"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"), ({"HF_HUB_CACHE": "$MY_DISK/hub", "MY_DISK": "/d"}, "/d/hub"),
    ],
)  # fmt: skip
def test_the_cache_of_the_hub_is_where_its_client_puts_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], folder: str
) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert disks.hub_cache() == Path(folder)


def test_a_store_in_the_home_folder_of_nobody_does_not_end_the_check(folders: Path) -> None:
    assert problems(disks.look(DoctorOptions(store="~no-such-user/results.db"))) == {}
