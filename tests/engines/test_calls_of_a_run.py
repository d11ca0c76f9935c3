"""A run over several calls and workers: what one call has found stays, and no worker gives other answers than the plan's."""

from __future__ import annotations

import errno
import os
import pickle
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from engine_samples import REQUEST, rows_of, shards_of
from numpy.typing import NDArray
from PIL import Image

from bioclip_core.errors import UsageError
from bioclip_plugin import hookimpl
from bioclip_plugin.commands.distributing import Distribution
from bioclip_plugin.contracts.detector import Detection, Detector
from bioclip_plugin.contracts.engine import ShardJob
from bioclip_plugin.engines.attempts import Attempts
from bioclip_plugin.engines.folder import WorkFolder
from bioclip_plugin.engines.options import EngineOptions
from bioclip_plugin.engines.planning import Planner
from bioclip_plugin.engines.turns import in_turn
from bioclip_plugin.engines.watch import EXIT_STUCK, Watch
from bioclip_plugin.engines.worker import Worker
from bioclip_plugin.plugin_api import BioclipPluginManager

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def rows(folder: Path) -> Path:
    """A table with an address on the web and a row without an image."""
    table = folder / "photos" / "rows.csv"
    table.write_text('image,note\nhttps://example.org/fish.jpg,a\n"",b\n', "utf-8")
    return table


def test_failures_of_the_listing_stay_over_several_calls(command: Command, rows: Path) -> None:
    """Each call resumes the run; only one that lists again may forget what the listing had found."""
    given = "photos/rows.csv"
    assert command("plain.db", "", given)[0] == 3
    for engine in ("slurm", "slurm", "local"):
        code, output = command("r.db", engine, given, work="w")
        assert code == 3, output
    assert rows_of("r.db") == rows_of("plain.db")
    assert sum("rows.csv" in str(one) or "example.org" in str(one) for one in rows_of("r.db")[0]) == 2


def test_images_that_workers_do_not_get_are_listed_again_if_the_program_ended_before_they_were_answered(
    command: Command, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("plain.db", "", "photos/rows.csv")
    with monkeypatch.context() as patch:

        def killed(planner: Planner) -> None:
            raise KeyboardInterrupt

        patch.setattr(Planner, "answered", killed)
        assert command("r.db", "slurm", "photos/rows.csv")[0] == 130
    folder, shards = WorkFolder(Path("work-r.db")), shards_of("r.db")
    assert folder.plan() is not None, "workers may begin"
    assert not folder.is_planned()
    assert command("r.db", "slurm", "photos/rows.csv")[0] == 3
    assert (folder.is_planned(), shards_of("r.db")) == (True, shards)
    command("r.db", "local", "photos/rows.csv", work="work-r.db")
    assert rows_of("r.db") == rows_of("plain.db")


def test_images_on_the_web_are_announced_before_the_workers_begin(command: Command, rows: Path) -> None:
    output = command("r.db", "slurm", "photos/rows.csv")[1]
    announced = output.index("Images on the web and in packed files are answered here")
    assert announced < output.index("Workers are the tasks of an array")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--threshold", "0.9", "threshold is 0.9 here and 0.65 in the plan"),
        ("--top", "2", "top is 2 here and 5 in the plan"),
        ("--detector", "half", "detector is 'half' here and None in the plan"),
        ("--exact", "", "preprocessing decode is 'full' here and 'reduced' in the plan"),
        ("--detection-threshold", "0.9", ""),  # without a detector it is the listing's
        ("--workers", "2", ""),
    ],
)
def test_a_worker_that_would_decide_otherwise_says_what_differs(
    command: Command, pm: BioclipPluginManager, monkeypatch: pytest.MonkeyPatch, option: str, value: str, said: str
) -> None:
    """The consensus is made by workers, though its threshold is no setting of answers."""
    pm.register(Half())
    command("r.db", "slurm")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    code, output = command("r.db", "slurm", *filter(None, (option, value)))
    assert (code, said in output) == (1 if said else 0, True), output


class Half:
    """A detector that finds an animal in the left half of each image."""

    name, version, side, licence = "half", "1", 32, "MIT"

    def __init__(self) -> None:
        self.images = 0

    def identity(self) -> dict[str, Any]:
        return {"weights": "none"}

    def detect(self, images: list[NDArray[np.uint8]], device: str) -> list[list[Detection]]:
        self.images += len(images)
        return [[Detection(0.0, 0.0, 0.5, 1.0, "animal", 0.9)] for _ in images]

    @hookimpl
    def register_detectors(self, register: Callable[[Detector], None]) -> None:
        register(self)


def test_boxes_of_a_detector_are_found_by_workers_and_stored_once(command: Command, pm: BioclipPluginManager) -> None:
    half = Half()
    pm.register(half)
    assert command("plain.db", "", "--detector", "half")[0] == 3
    assert half.images == 15, "equal images are looked at once"
    half.images = 0
    code, output = command("r.db", "slurm", "--detector", "half")
    assert code == 3, output
    code, output = command("r.db", "local", "--detector", "half", work="work-r.db")
    assert code == 3, output
    assert rows_of("r.db") == rows_of("plain.db")
    assert 15 <= half.images <= 16, "the two equal images may be in two shards"
    half.images = 0
    command("r.db", "local", "--detector", "half", "--threshold", "0.9", work="again")
    assert half.images == 0, "stored boxes are not looked for again"


def test_shards_of_a_worker_that_was_lost_meanwhile_are_taken_up_after_the_others(
    command: Command, pm: BioclipPluginManager
) -> None:
    """A task that begins while another one holds a shard, and goes on after that one has died: submitit#1677 kept waiting."""
    command("r.db", "slurm")
    folder, shards = WorkFolder(Path("work-r.db")), shards_of("r.db")
    worker = Worker(folder.folder, REQUEST, pm)
    job = ShardJob(folder.folder, REQUEST, tuple(shards), lambda: worker, print)
    with folder.claimed(shards[0]):
        tasks = in_turn(job, shards, waits=False)
        first = next(tasks)
    assert first.shard == shards[1]
    assert [result.shard for result in tasks] == [*shards[2:], shards[0]]


def test_a_program_that_has_the_store_works_on_other_shards_before_it_waits_for_one(
    command: Command, pm: BioclipPluginManager
) -> None:
    """A worker beside it may be stopped, or slow; which shards are waited for is said once."""
    command("r.db", "slurm")
    folder, shards = WorkFolder(Path("work-r.db")), shards_of("r.db")
    worker, said = Worker(folder.folder, REQUEST, pm), list[str]()
    with ExitStack() as other:
        other.enter_context(folder.claimed(shards[0]))

        def report(text: str) -> None:
            said.append(text)
            other.close()  # the other worker ends

        tasks = in_turn(ShardJob(folder.folder, REQUEST, tuple(shards), lambda: worker, report), shards, waits=True)
        assert [result.shard for result in tasks] == [*shards[1:], shards[0]]
    assert said == ["Waiting for 1 shard that other workers have"]


@pytest.mark.parametrize("full_at", ["shards", "attempts", "parts"])
def test_a_full_disk_ends_the_work_in_one_line_and_is_not_a_lost_worker(
    command: Command, plain: list[object], monkeypatch: pytest.MonkeyPatch, full_at: str
) -> None:
    """The line names the work folder, and not the image that was at hand; a file whose end cannot be written can be removed."""
    if full_at != "shards":
        command("r.db", "slurm")
    with monkeypatch.context() as patch:
        fill(patch, full_at)
        code, output = command("r.db", "local", work="work-r.db")
        assert (code, "the work folder" in output.splitlines()[-1]) == (1, True), output
        assert (
            "work-r.db cannot be written: No space left on device; mend that, and give the same command again" in output
        )
    assert not any(Attempts(Path("work-r.db"), file.stem).lost for file in Path("work-r.db/attempts").rglob("*.jsonl"))
    assert command("r.db", "local", work="work-r.db")[0] == 3
    assert rows_of("r.db") == plain


def fill(patch: pytest.MonkeyPatch, place: str) -> None:
    """Let nothing more be written in a part of the work folder, except that files are opened."""
    full, touch = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Path.touch

    def is_full(path: object) -> bool:
        return place in Path(str(path)).parts or Path(str(path)).name.startswith(f".{place}")

    def touched(path: Path, *given: Any, **named: Any) -> None:
        if is_full(path):
            raise full
        touch(path, *given, **named)

    def flushed(file: int) -> None:
        if is_full(Path(f"/proc/self/fd/{file}").readlink() if Path("/proc/self/fd").exists() else place):
            raise full

    patch.setattr(Path, "touch", touched)
    patch.setattr(os, "fsync", flushed)


def test_a_folder_that_is_mounted_for_reading_is_refused_by_its_name(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("r.db", "slurm")

    def read_only(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "touch", read_only)
    code, output = command("r.db", "local", work="work-r.db")
    assert (code, "work-r.db cannot be written: Read-only file system; mend that" in output) == (1, True), output


def test_a_part_may_be_removed_once_it_is_loaded(
    command: Command, plain: list[object], pm: BioclipPluginManager
) -> None:
    """Parts take as much room as the store: whoever is short of it removes them before the run ends."""
    command("r.db", "slurm")
    folder, shards = WorkFolder(Path("work-r.db")), shards_of("r.db")
    worker = Worker(folder.folder, REQUEST, pm)
    for shard in shards[:2]:
        worker.work(shard)
    command("r.db", "slurm")
    for shard in shards[:2]:
        folder.part_file(shard).unlink()
    output = command("r.db", "slurm")[1]
    assert "2 of 4 shards loaded (10 of 17 images)" in output
    output = command("r.db", "local", work="work-r.db")[1]
    assert f"findings of their workers are not in this list: 2 (the first: {shards[0]})" in output
    assert rows_of("r.db") == plain
    assert folder.with_parts() == set(shards[2:]), "they are not made again"


@pytest.mark.parametrize("bytes_left", [0, 100])
def test_a_part_that_is_cut_short_after_it_was_loaded_does_not_keep_a_run_from_its_end(
    command: Command, plain: list[object], pm: BioclipPluginManager, bytes_left: int
) -> None:
    command("r.db", "slurm")
    folder, shards = WorkFolder(Path("work-r.db")), shards_of("r.db")
    Worker(folder.folder, REQUEST, pm).work(shards[0])
    assert "1 of 4 shards loaded" in command("r.db", "slurm")[1]
    with folder.part_file(shards[0]).open("r+b") as part:
        part.truncate(bytes_left)
    code, output = command("r.db", "local", work="work-r.db")
    assert code == 3, output
    assert f"findings of their workers are not in this list: 1 (the first: {shards[0]})" in output
    assert rows_of("r.db") == plain


def test_folders_may_have_names_that_are_not_utf_8(
    command: Command, plain: list[object], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Disks of older systems: the plan could not be read again, and Arrow could not write a part there."""
    place = folder / os.fsdecode(b"caf\xe9")
    with suppress(OSError):  # macOS has no such names
        place.mkdir()
        for name in ("photos", "fish.txt"):
            (folder / name).rename(place / name)
        monkeypatch.chdir(place)
    command("r.db", "slurm")
    code, output = command("r.db", "local", work="work-r.db")
    assert (code, rows_of("r.db")) == (3, plain), output


def test_options_that_a_plan_was_not_made_with_are_named(command: Command) -> None:
    command("r.db", "slurm")
    output = command("r.db", "slurm", "--rehash", "--shard-size", "3", "--time-zone", "Europe/Brussels")[1]
    named = [line.split()[0] for line in output.splitlines() if "has no effect, since the plan" in line]
    assert sorted(named) == ["--rehash", "--shard-size", "--time-zone"], output
    assert "has no effect" not in command("r.db", "slurm")[1]


def test_the_command_that_continues_has_its_folders_as_they_were_given(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store's name was replaced by its address wherever it stood: in work-sqlite:///r.db, too."""
    given = ["classify", "photos", "--store", "r.db", "--engine", "slurm", "--work-folder", "work-r.db"]
    monkeypatch.setattr(sys, "argv", ["bioclip-plugin", *given])
    output = command("r.db", "slurm")[1]
    assert "--store sqlite:///r.db --engine slurm --work-folder work-r.db\n" in output


def test_a_call_that_finishes_an_earlier_plan_says_that_it_listed_nothing(command: Command) -> None:
    """Images that were added since, or other names on standard input, would be left out without a word."""
    said = "The images are those that an earlier call listed"
    assert said not in command("r.db", "slurm")[1]
    Image.new("RGB", (16, 16), (9, 9, 200)).save("photos/new.png")
    output = command("r.db", "local", work="work-r.db")[1]
    assert "17 images" in output
    assert said in output
    output = command("r.db", "local", work="work-r.db")[1]
    assert "18 images" in output
    assert said not in output


def test_workers_elsewhere_do_not_get_the_password_of_the_store(
    pm: BioclipPluginManager, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Ray hands to its actors passes through the cluster's memory and its logs."""
    request = replace(REQUEST, store="postgresql+psycopg://curator:hunter2@db/museum")
    engine, session = SimpleNamespace(name="ray"), SimpleNamespace(request=request, plugins=pm)
    work = Distribution(engine, EngineOptions(work_folder=folder), WorkFolder(folder), *[None] * 3, rehash=False)  # type: ignore[arg-type]
    assert b"hunter2" not in pickle.dumps(work._opener(session))  # type: ignore[arg-type]


class Looks:
    """The event of a block that is over after some looks, at some of which an image has been finished."""

    def __init__(self, watch: Watch, count: int, finished: Collection[int] = ()) -> None:
        self._watch, self._count, self._finished, self._seen = watch, count, finished, 0

    def wait(self, timeout: float) -> bool:
        del timeout
        self._seen += 1
        if self._seen in self._finished:
            self._watch.progressed()
        return self._seen > self._count


@pytest.mark.parametrize(
    ("looks", "finished", "ends"),
    [
        (19, (), False),  # however long a process was stopped between two of them (scontrol suspend)
        (20, (), True),
        (57, (19, 38), False),
        (58, (19, 38), True),
    ],
)
def test_a_worker_that_is_stuck_ends_and_one_that_works_or_was_stopped_does_not(
    looks: int, finished: Collection[int], ends: bool
) -> None:
    """A batch that takes for ever stops a run for ever: ray#45661."""
    ended: list[int] = []
    watch = Watch(0.0, ended.append)
    watch._watch("shard a", cast("threading.Event", Looks(watch, looks, finished)))
    assert ended == [EXIT_STUCK] * ends


def test_a_worker_is_watched_while_its_block_lasts() -> None:
    ended: list[int] = []
    over = threading.Event()
    with Watch(0.02, lambda code: (ended.append(code), over.set())).watching("shard a"):
        assert over.wait(60)
    assert ended == [EXIT_STUCK]
    with Watch(3600.0, ended.append).watching("shard b"):
        pass
    assert ended == [EXIT_STUCK]


def test_a_worker_without_the_int8_model_of_the_plan_says_which_cache_it_needs(
    command: Command, pm: BioclipPluginManager
) -> None:
    """An int8 model depends on the images that calibrated it: each worker that made its own would give other features."""
    command("r.db", "slurm")
    folder = WorkFolder(Path("work-r.db"))
    plan = folder.plan()
    assert plan is not None
    settings = {**plan.feature_settings, "precision": "int8", "runtime": "openvino", "quantised": "ab12"}
    folder.write_plan(replace(plan, feature_settings=settings))
    with pytest.raises(UsageError, match=r"the int8 model of the plan in .* is not in the cache of .*BIOCLIP_CACHE"):
        Worker(folder.folder, REQUEST, pm)
