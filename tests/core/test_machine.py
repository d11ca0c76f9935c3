"""Memory of the machine and of the job: the limits of control groups count, and cached files do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bioclip_core.process import machine
from bioclip_core.process.machine import PeakMemory, available_bytes, machine_bytes, used_bytes

GB = 1 << 30


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system with 64 GB of memory, of which 60 are available, without control groups."""
    (tmp_path / "meminfo").write_text(f"MemTotal: {64 * GB // 1024} kB\nMemAvailable: {60 * GB // 1024} kB\n")
    (tmp_path / "groups").mkdir()
    for name, place in (("_MEMINFO", "meminfo"), ("_GROUPS", "groups"), ("_OF_PROCESS", "cgroup")):
        monkeypatch.setattr(machine, name, tmp_path / place)
    return tmp_path


def group(folder: Path, limit: object, used: int, cached: int = 0, version: int = 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{'' if version == 2 else 'total_'}inactive_file {cached}\n")


def test_without_limits_the_available_memory_of_the_machine_counts(system: Path) -> None:
    assert available_bytes() == 60 * GB
    group(system / "groups", "max", 5)
    assert available_bytes() == 60 * GB


def test_a_container_has_no_more_than_its_own_limit(system: Path) -> None:
    group(system / "groups", 8 * GB, 3 * GB)
    assert available_bytes() == 5 * GB
    assert machine_bytes() <= 8 * GB


def test_a_job_of_slurm_is_limited_by_the_group_above_its_step(system: Path) -> None:
    (system / "cgroup").write_text("0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n")
    job = system / "groups/system.slice/slurmstepd.scope/job_7"
    group(job / "step_0/user/task_0", "max", 1)
    group(job, 16 * GB, 4 * GB, cached=3 * GB)
    assert available_bytes() == 15 * GB, "cached files are given up before anything is killed"


def test_groups_of_version_1_count_too_and_their_huge_number_is_no_limit(system: Path) -> None:
    (system / "cgroup").write_text("9:name=systemd:/\n4:cpu,memory:/jobs/me\n0::/\n")
    group(system / "groups/memory", 9223372036854771712, 5, version=1)
    group(system / "groups/memory/jobs/me", 2 * GB, GB, version=1)
    assert available_bytes() == GB


def test_a_system_that_tells_nothing_is_unknown(system: Path) -> None:
    (system / "meminfo").unlink()
    assert available_bytes() is None


@pytest.mark.parametrize("text", ["", "MemAvailable:", "MemAvailable: many kB", "MemTotal: 5 kB"])
def test_a_damaged_table_of_memory_is_unknown(text: str, system: Path) -> None:
    (system / "meminfo").write_text(text)
    assert available_bytes() is None


def test_the_peak_sees_memory_that_is_free_again_at_the_end() -> None:
    with PeakMemory() as peak:
        block = bytearray(200_000_000)
        del block
    now = used_bytes()
    if now is not None:
        assert peak.bytes is not None
        assert peak.bytes >= now
