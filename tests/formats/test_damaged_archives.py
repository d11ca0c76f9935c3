"""Truncated or locked archives: one line of error from every command that reads them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from archive_samples import tarred, zipped
from PIL import Image

from bioclip_core.errors import SourceError
from bioclip_plugin import create_plugin_manager
from bioclip_plugin.formats.camtrap_dp.package import is_package, opened_package
from bioclip_plugin.running.listing import Listing


@pytest.mark.parametrize("call", ["classify", "validate", "review import"])
def test_a_truncated_zip_file_is_reported_in_one_line_by_every_command(
    call: str, command: Callable[..., tuple[int, str, str]], colour_labels: str, tmp_path: Path
) -> None:
    whole = zipped(tmp_path / "cut.zip", ("datapackage.json", b"{}"), ("a.jpg", os.urandom(5_000))).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "photos" / "a.png")
    options = {
        "classify": ("--model", "fake", "--labels", colour_labels, "--store", "r.db"),
        "review import": ("--store", "r.db"),
    }
    assert command("classify", "photos", *options["classify"])[0] == 0  # makes a store to import into
    code, _, error = command(*call.split(), "cut.zip", *options.get(call, ()))
    assert code != 0
    assert "the archive cut.zip is truncated or damaged: copy it again" in " ".join(error.split())


def test_a_package_whose_descriptor_is_damaged_or_locked_is_reported_too(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("datapackage.json", b"x" * 1000), compression=zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"xxxx", b"xxyx", 1))
    with pytest.raises(SourceError, match=r"a\.zip is truncated or damaged: copy it again .*CRC"):
        is_package(str(path))
    data = zipped(path, ("datapackage.json", b"{}")).read_bytes()
    for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = data.index(mark) + place
        data = data[:at] + b"\x01" + data[at + 1 :]
    path.write_bytes(data)
    assert is_package(str(path))
    with pytest.raises(SourceError, match="is encrypted"), opened_package(str(path)):
        pass


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_file_that_is_cut_off_behind_its_meta_xml_is_a_damaged_archive_and_no_shard(
    tmp_path: Path, mode: str
) -> None:
    members = [("meta.xml", b"<archive/>"), *((f"{n}.jpg", os.urandom(5_000)) for n in range(9))]
    whole = tarred(tmp_path / "cut.tar.gz", *members, mode=mode).read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"cut\.tar\.gz is truncated or damaged: copy it again"):
        list(Listing([str(tmp_path / "cut.tar.gz")], create_plugin_manager(installed=False).sources()))
