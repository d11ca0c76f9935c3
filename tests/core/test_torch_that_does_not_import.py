"""Installations in which torch cannot be imported, as people report them: one line with what mends it, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from bioclip_core.errors import InstallationError
from bioclip_core.process import imports
from bioclip_core.process.imports import explained_import, importing_torch

REPORTED = {
    "a package that was left out": (
        ModuleNotFoundError("No module named 'torchvision'", name="torchvision"),
        "torchvision cannot be imported", f"install it into this environment ({sys.prefix}): pip install torch torchvision",
    ),
    "torch for CPUs beside torchvision from another index": (
        RuntimeError("operator torchvision::nms does not exist"), "were not made for each other", "one command from one index",
    ),
    "torchvision of another release": (
        ImportError("/env/torchvision/_C.so: undefined symbol: _ZN3c1017RegisterOperators"), "were not made for each other",
    ),
    "the CUDA build without NVIDIA's libraries": (
        OSError("libcublas.so.13: cannot open shared object file: No such file or directory"), "CUDA build", "build for CPUs",
    ),
    "NVIDIA's runtime left out": (
        ValueError("libcudart.so.*[0-9] not found in the system path ['', '/usr/lib/python311.zip']"), "NVIDIA's libraries",
    ),
    "NVIDIA's collective library left out": (
        ImportError("libnccl.so.2: cannot open shared object file: No such file or directory"), "CUDA build",
    ),
    "an old C++ library on a cluster": (
        ImportError("/lib64/libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by libtorch_python.so)"), "gcc module",
    ),
    "an old C library": (ImportError("/lib64/libc.so.6: version `GLIBC_2.28' not found"), "is older than this build"),
    "Windows without the C++ runtime": (
        OSError('[WinError 126] The specified module could not be found. Error loading "C:\\env\\torch\\lib\\c10.dll"'),
        "Visual C++ Redistributable",
    ),
    "Windows with an old C++ runtime": (
        OSError("[WinError 1114] A dynamic link library (DLL) initialization routine failed."), "Visual C++ Redistributable",
    ),
    "a mount without programs": (
        ImportError("/scratch/env/torch/_C.so: failed to map segment from shared object: Operation not permitted"), "noexec",
    ),
    "a disk that was full during the installation": (
        OSError("/env/torch/lib/libtorch_cpu.so: file too short"), "--force-reinstall --no-cache-dir",
    ),
    "anything else": (AttributeError("partially initialized module 'torch' has no attribute 'Tensor'"), "install torch and"),
}  # fmt: skip


@pytest.mark.parametrize("case", REPORTED)
def test_an_import_that_fails_says_what_mends_it(case: str) -> None:
    error, *expected = REPORTED[case]
    with pytest.raises(InstallationError) as refusal, importing_torch():
        raise error
    line = str(refusal.value)
    assert "\n" not in line
    assert str(error).splitlines()[0] in line
    assert [part for part in expected if part not in line] == []


@pytest.mark.parametrize("library", ["libtorch_cpu.so", "libtorch_cuda.so"])
def test_a_limit_of_the_address_space_is_named_where_a_library_finds_no_room(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """glibc says the same of a folder without programs, which only a process without a limit can have met."""
    error = ImportError(f"{library}: failed to map segment from shared object")
    monkeypatch.setattr(imports, "address_space_limit", lambda: 3_000_000_000)
    line = explained_import(error)
    assert "3000.0 MB of address space (ulimit -v)" in line
    assert "noexec" not in line
    assert "noexec" in explained_import(ImportError("_C.so: failed to map segment: Operation not permitted"))
    monkeypatch.setattr(imports, "address_space_limit", lambda: None)
    assert "ulimit" not in explained_import(error)


def test_the_versions_of_torch_and_torchvision_are_in_the_line() -> None:
    from importlib.metadata import version

    line = explained_import(RuntimeError("operator torchvision::nms does not exist"))
    assert f"torch {version('torch')} and torchvision {version('torchvision')}" in line


def test_a_time_out_of_the_host_is_no_fault_of_the_installation() -> None:
    with pytest.raises(TimeoutError), importing_torch():
        raise TimeoutError("the host's own limit")


def test_a_command_without_a_usable_torch_blames_neither_an_image_nor_its_output(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        'raise OSError("libcudart.so.13: cannot open shared object file")\n'
    )
    (tmp_path / "photo.jpg").write_bytes(b"not opened")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, "-m", "bioclip_plugin", "embed", "photo.jpg", "--model", "demo", "--output", "features.parquet"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("Error"))
    assert line.startswith(
        "Error: torch cannot be imported: libcudart.so.13: cannot open shared object file; this is the CUDA"
    )
    assert not (tmp_path / "features.parquet").exists()


def test_metadata_of_another_package_that_cannot_be_read_are_not_taken_for_a_broken_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch looks through the entry points of all packages."""
    (tmp_path / "bad_one-1.0.dist-info").mkdir()
    (tmp_path / "bad_one-1.0.dist-info" / "entry_points.txt").write_bytes(b"[x]\n\xff\xfe = a:b\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InstallationError) as refusal, importing_torch():
        entry_points(group="torch.backends")
    assert "the metadata of another package cannot be read, which the command doctor names" in str(refusal.value)
    assert "install torch" not in str(refusal.value)
