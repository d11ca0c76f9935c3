"""Outputs that are whole or absent: drafts, replaced files, and untouched neighbours."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from bioclip_core.errors import BioclipError
from bioclip_core.files.leftovers import _machine, temporary_folder
from bioclip_core.files.whole import (
    check_folder,
    check_output,
    replacing_file,
    replacing_folder,
    whole_file,
    whole_folder,
    write_whole,
    zip_folder,
)

needs_kill = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


def full_disk(draft: Path) -> None:
    draft.write_text("half")
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted(draft: Path) -> None:
    draft.write_text("half")
    raise KeyboardInterrupt


TROUBLES = [(full_disk, BioclipError), (interrupted, KeyboardInterrupt)]


@pytest.mark.parametrize(("trouble", "raised"), TROUBLES)
def test_a_draft_is_removed_whatever_ends_the_writing(
    tmp_path: Path, trouble: Callable[[Path], None], raised: type[BaseException]
) -> None:
    with pytest.raises(raised), whole_file(tmp_path / "r.csv") as draft:
        trouble(draft)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("trouble", "raised"), TROUBLES)
def test_an_old_folder_stays_whatever_ends_the_writing_of_the_new_one(
    tmp_path: Path, trouble: Callable[[Path], None], raised: type[BaseException]
) -> None:
    output = tmp_path / "package"
    output.mkdir()
    (output / "data.csv").write_text("old")
    with (
        pytest.raises(raised),
        whole_folder(output, partial(check_folder, output, force=True, ours=["data.csv"])) as draft,
    ):
        trouble(draft / "data.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["package"]
    assert (output / "data.csv").read_text() == "old"


@pytest.mark.parametrize("output", ["missing/r.csv", "folder"])
def test_an_output_that_cannot_be_is_refused_before_the_work(tmp_path: Path, output: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BioclipError, match=r"does not exist|is a folder"), whole_file(tmp_path / output, force=True):
        pytest.fail("the work was begun")


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "r.csv")
    with whole_file(tmp_path / "link.csv") as draft:
        draft.write_text("whole")
    assert (tmp_path / "real" / "r.csv").read_text() == "whole"
    assert (tmp_path / "link.csv").is_symlink()


def test_an_error_about_another_file_keeps_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "r.csv"):
        (tmp_path / "input.csv").read_text()
    assert not list(tmp_path.iterdir())


def test_a_finished_folder_replaces_an_older_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with replacing_folder(tmp_path / "new" / "demo") as draft:
            (draft / "from.txt").write_text(text)
    assert (tmp_path / "new" / "demo" / "from.txt").read_text() == "new"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["demo"]


def put_a_photograph_into(folder: Path) -> None:
    folder.mkdir()
    (folder / "fox.jpg").write_text("a photograph")


def test_a_folder_that_another_process_fills_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    output = tmp_path / "package"
    with (
        pytest.raises(BioclipError, match=r"holds more than an earlier output \(fox.jpg\)"),
        whole_folder(output, partial(check_folder, output, force=True, ours=["data.csv"])),
    ):
        put_a_photograph_into(output)
    assert (output / "fox.jpg").read_text() == "a photograph"
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def test_a_reader_finds_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "cache.json", "öld")
    with replacing_file(tmp_path / "cache.json") as draft:
        draft.write_bytes(b"new")
        assert (tmp_path / "cache.json").read_text("utf-8") == "öld"
    assert (tmp_path / "cache.json").read_bytes() == b"new"


def test_databases_are_replaced_only_on_request(tmp_path: Path) -> None:
    store = tmp_path / "results.db"
    store.write_bytes(b"SQLite format 3\0 and more")
    (tmp_path / "results.db-wal").touch()
    for name in ("results.db", "results.db-wal"):
        with pytest.raises(BioclipError, match="perhaps a result store"):
            check_output(tmp_path / name, force=True)
    check_output(store, force=True, database=True)
    with pytest.raises(BioclipError, match="--force to replace it"):
        check_output(store, database=True)


def test_inputs_of_the_command_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "table.csv").touch()
    os.link(tmp_path / "table.csv", tmp_path / "same.csv")
    with pytest.raises(BioclipError, match="is an input of this command"):
        check_output(tmp_path / "same.csv", force=True, reads=["postgresql://host/db", "a\0b", tmp_path / "table.csv"])


def test_equal_folders_are_packed_into_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "media").mkdir(parents=True)
        for member in ("z.csv", "media/fox.jpg", "a.csv") if name == "a" else ("a.csv", "z.csv", "media/fox.jpg"):
            (tmp_path / name / member).write_text(member)
        zip_folder(tmp_path / name, tmp_path / f"{name}.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


KILLED = """
import os, signal, sys
from pathlib import Path
from bioclip_core.files import whole
output = Path(sys.argv[1])
if sys.argv[2] == "file":
    with whole.replacing_file(output) as draft:
        draft.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
elif sys.argv[2] == "parts":
    with whole.folder_beside(output) as folder:
        (folder / "data.csv").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
elif sys.argv[2] == "folder":
    with whole.replacing_folder(output) as draft:
        (draft / "data.csv").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
else:  # between the two renames
    whole._flush_to_disk = lambda path: None
    replace = os.replace
    def stop(path, to):
        replace(path, to)
        os.kill(os.getpid(), signal.SIGKILL)
    os.replace = stop
    with whole.replacing_folder(output) as draft:
        (draft / "data.csv").write_text("new")
"""


def killed(output: Path, when: str) -> None:
    """Write an output in a process that is killed at a moment."""
    ended = subprocess.run([sys.executable, "-c", KILLED, str(output), when], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL


@needs_kill
def test_drafts_of_killed_programs_are_removed_by_the_next_one(tmp_path: Path) -> None:
    killed(tmp_path / "r.csv", "file")
    killed(tmp_path / "r.csv", "parts")  # removes the draft of the first one
    killed(tmp_path / "package", "folder")
    assert len(list(tmp_path.iterdir())) == 2
    write_whole(tmp_path / "r.csv", "whole")
    with replacing_folder(tmp_path / "package") as draft:
        (draft / "data.csv").write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["package", "r.csv"]


@needs_kill
def test_a_folder_whose_replacement_was_killed_between_two_renames_is_given_back(tmp_path: Path) -> None:
    output = tmp_path / "package"
    output.mkdir()
    (output / "data.csv").write_text("old")
    killed(output, "between")
    assert not output.exists()
    with (
        pytest.raises(BioclipError, match="exists already"),
        whole_folder(output, partial(check_folder, output, ours=["data.csv"])),
    ):
        pass
    assert (output / "data.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["package"]


def test_drafts_of_living_programs_and_of_other_machines_stay(tmp_path: Path) -> None:
    theirs = [
        f".r.csv.{_machine()}-{os.getppid()}.part",
        ".r.csv.0123abcd-1.part",
        ".r.csv.part",
        ".r.csv.7.part",
    ]
    for name in theirs:
        (tmp_path / name).write_text("theirs")
    write_whole(tmp_path / "r.csv", "ours")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*theirs, "r.csv"])


@needs_kill
def test_temporary_folders_of_killed_programs_are_removed_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import os, signal; from bioclip_core.files.leftovers import temporary_folder; "
        "folder = temporary_folder('bioclip-images-'); open(folder.name + '/a.jpg', 'w').close(); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run(
        [sys.executable, "-c", program], check=False, timeout=60, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    others = ["bioclip-images-theirs", f"bioclip-images-{_machine()}-{os.getppid()}-x", "bioclip-images-0123abcd-1-y"]
    for name in others:
        (tmp_path / name).mkdir()
    assert len(list(tmp_path.iterdir())) == 4
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder("bioclip-images-") as folder:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, Path(folder).name])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)
