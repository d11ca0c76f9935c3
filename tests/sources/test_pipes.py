"""Pipes and devices in the place of files: each reader refuses them without waiting for a writer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bioclip_core.files.regular import is_special, open_regular

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes")

_READERS = {
    "a table": "from bioclip_core.tables.reading import open_table; open_table(path)",
    "a list": "from bioclip_core.tables.reading import lines_of; list(lines_of(path))",
    "a JSON document": "from bioclip_core.files.documents import read_document; read_document(path, dict, name='document')",
    "an options file": "from bioclip_core.files.documents import read_toml; read_toml(path, name='options')",
    "an archive": "from bioclip_core.files.archives import open_archive; open_archive(path)",
    "a streamed document": "from bioclip_core.files.streamed_json import walk; list(walk(path))",
    "a list of a rule": "from bioclip_plugin.rules.tables import read_text; read_text(path, 'list')",
    "a checklist": "from bioclip_training.taxonomy.formats import open_checklist; open_checklist(path)",
    "labelled data": "from bioclip_plugin.labelled.sources import _kind_of; _kind_of(str(path))",
    "images": "from bioclip_plugin.running.listing import source_of; from bioclip_plugin import create_plugin_manager; "
    "source_of(str(path), create_plugin_manager().sources())",
}


def test_a_pipe_is_refused_by_every_reader(tmp_path: Path) -> None:
    for suffix in ("", ".csv", ".json", ".parquet", ".zip"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
    lines = [
        "import sys, pathlib, signal",
        "from bioclip_core.errors import BioclipError",
        "signal.alarm(60)",
        f"for path in sorted(pathlib.Path({str(tmp_path)!r}).iterdir()):",
    ]
    for name, reader in _READERS.items():
        lines += ["    try:", f"        {reader}", f"        print({name!r}, path.name, 'accepted')"]
        lines += ["    except BioclipError as error:", "        assert 'not a file' in str(error), error"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_files_and_links_to_files_are_opened_and_folders_are_left_to_the_caller(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"text"
    assert not is_special(tmp_path)
    assert not is_special(tmp_path / "none")
    assert is_special(Path(os.devnull))
    with pytest.raises(OSError, match="a pipe or device, not a file"):
        open_regular(Path(os.devnull))
