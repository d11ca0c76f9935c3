"""Runs in shards: the rows of a plain run, whoever works, however often, and whatever is lost on the way."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from engine_samples import REQUEST, rows_of, run_command, shards_of
from PIL import Image

from bioclip_core.errors import UsageError
from bioclip_core.files.leftovers import mark
from bioclip_core.files.locks import lock
from bioclip_plugin import hookimpl
from bioclip_plugin.contracts.engine import ShardJob, ShardResult
from bioclip_plugin.engines.attempts import FATAL_AFTER, MOST_LOST, Attempts
from bioclip_plugin.engines.folder import WorkFolder
from bioclip_plugin.engines.slurm import SlurmEngine, ordered, place_of_task
from bioclip_plugin.engines.worker import Worker
from bioclip_plugin.plugin_api import Answer, BioclipPluginManager, Run
from bioclip_plugin.store import Store

Command = Callable[..., tuple[int, str]]


def work_as_slurm(pm: BioclipPluginManager, store: str, workers: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the tasks of an array work on the shards, each in turn; return the number of shards that each has done."""
    job = ShardJob(
        Path(f"work-{store}"),
        REQUEST,
        tuple(shards_of(store)),
        partial(Worker, Path(f"work-{store}"), REQUEST, pm),
        print,
    )
    tasks: list[Iterator[ShardResult]] = []
    done = [0] * workers
    for number in range(workers):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(number))
        monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", str(workers))
        tasks.append(SlurmEngine().work(job))
        done[number] += not next(tasks[number]).was_done
    for number, task in enumerate(tasks):
        done[number] += sum(not result.was_done for result in task)
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    monkeypatch.delenv("SLURM_ARRAY_TASK_COUNT")
    return done


def test_a_run_in_shards_has_the_rows_and_the_summary_of_a_plain_run(command: Command, plain: list[object]) -> None:
    code, output = command("local.db", "local")
    assert code == 3
    assert rows_of("local.db") == plain
    assert "17 images, 16 done, 1 failed, 16 regions" in output
    assert "1 x decode: the file is truncated" in output
    with Store.open("local.db") as store:
        engine = store.run().counts["engine"]
    assert (engine["name"], engine["shards"], engine["workers"][0]["images"]) == ("local", 4, 17)


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_the_tasks_of_an_array_answer_every_image_once(
    command: Command, plain: list[object], pm: BioclipPluginManager, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    code, output = command("slurm.db", "slurm")
    assert code == 3
    assert "0 of 4 shards loaded" in output
    assert "sbatch --array=0-3" in output
    done = work_as_slurm(pm, "slurm.db", workers, monkeypatch)
    assert (sum(done), min(done) > 0) == (4, True)
    assert command("slurm.db", "slurm")[0] == 3
    assert rows_of("slurm.db") == plain


def test_json_has_the_lines_of_a_plain_run(command: Command) -> None:
    plain = lines_of(command("p.db", "", "--json")[1])
    assert len(plain) == 17
    assert lines_of(command("l.db", "local", "--json")[1]) == plain


def lines_of(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("{")]


def test_a_task_runs_the_same_command_and_opens_no_store(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    code, output = command("s.db", "slurm")
    assert code == 1
    assert "no plan in the work folder" in output
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    command("s.db", "slurm")
    before = Path("s.db").read_bytes()
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    code, output = command("s.db", "slurm")
    assert (code, "Worked on 17 images, 1 failed" in output) == (0, True)
    assert Path("s.db").read_bytes() == before
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    command("s.db", "slurm")  # loads
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    code, output = command("s.db", "slurm")
    assert (code, "is finished: nothing is to do" in output) == (0, True)


def test_an_empty_variable_of_slurm_makes_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is how a script takes the variable from a command inside of a job."""
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "")
    assert not SlurmEngine().is_worker()
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    assert SlurmEngine().is_worker()


def test_an_array_with_holes_does_every_shard() -> None:
    """The ids of tasks that are submitted again do not begin at 0 and are not consecutive: canu#861, datatrove#238."""
    shards = [f"{n}" for n in range(10)]
    for task, count in (("3", "2"), ("7", "2"), ("1041", "9"), ("0", "100000")):
        number, of = place_of_task({"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": count})
        assert sorted(ordered(shards, number, of)) == shards
    with pytest.raises(UsageError, match="SLURM_ARRAY_TASK_ID is 'x', and a whole number is needed"):
        place_of_task({"SLURM_ARRAY_TASK_ID": "x"})


def test_the_same_command_continues_and_a_finished_one_does_nothing(
    command: Command, plain: list[object], pm: BioclipPluginManager
) -> None:
    heard: list[str] = []

    class Observer:
        @hookimpl
        def answers_stored(self, run: Run, answers: list[Answer]) -> None:
            heard.extend(answer.item.uri for answer in answers)

    pm.register(Observer())
    command("r.db", "slurm")  # plans
    first = shards_of("r.db")
    worker = Worker(Path("work-r.db"), REQUEST, pm)
    worker.work(first[0])
    assert "1 of 4 shards loaded (5 of 17 images)" in command("r.db", "slurm")[1]
    assert len(heard) == 5
    code, output = command("r.db", "local", work="work-r.db")  # another engine continues
    assert code == 3
    assert shards_of("r.db") == first
    assert rows_of("r.db") == plain
    assert sorted(heard) == sorted(path.as_posix() for path in Path("photos").iterdir())
    Image.new("RGB", (16, 16), (255, 0, 0)).save("photos/corrupt.jpg", "PNG")  # what failed is tried again, and no more
    code, output = command("r.db", "local", work="work-r.db")
    assert (code, "17 done, 0 failed, 17 regions; 16 were done before" in output) == (0, True), output
    code, output = command("r.db", "local", work="work-r.db")
    assert (code, "All 17 images were done already" in output) == (0, True)
    assert shards_of("r.db") == []


def test_a_listing_that_was_cut_short_finds_its_shards_and_parts_again(command: Command, plain: list[object]) -> None:
    command("c.db", "local")
    parts = {path.name: path.stat().st_mtime_ns for path in Path("work-c.db").rglob("*.parquet")}
    Path("work-c.db/plan.json").unlink()  # a plan is written last: as if the listing had been killed
    Path("c.db").unlink()  # and the store lost
    command("c.db", "local")
    assert {path.name: path.stat().st_mtime_ns for path in Path("work-c.db").rglob("*.parquet")} == parts
    assert rows_of("c.db") == plain


def test_parts_are_loaded_again_into_an_older_copy_of_the_store(
    command: Command, plain: list[object], pm: BioclipPluginManager
) -> None:
    command("o.db", "slurm")
    shutil.copy("o.db", "older.db")
    worker = Worker(Path("work-o.db"), REQUEST, pm)
    for shard in shards_of("o.db")[:3]:
        worker.work(shard)
    assert "3 of 4 shards loaded" in command("o.db", "slurm")[1]
    shutil.copy("older.db", "o.db")
    for rest in Path().glob("o.db-*"):
        rest.unlink()
    command("o.db", "local", work="work-o.db")
    assert rows_of("o.db") == plain


def test_a_damaged_part_is_put_aside_counted_and_made_again(command: Command, plain: list[object]) -> None:
    command("d.db", "slurm")
    command("d.db", "local", work="work-d.db")
    plan = json.loads(Path("work-d.db/plan.json").read_text("utf-8"))
    Path("work-d.db/plan.json").write_text(json.dumps({**plan, "is_finished": False}), "utf-8")
    part = next(Path("work-d.db").rglob("*.parquet"))
    data = bytearray(part.read_bytes())
    data[::64] = bytes(byte ^ 255 for byte in data[::64])  # in a header of Parquet, one alone need not be noticed
    part.write_bytes(data)
    shutil.rmtree("work-d.db/loaded")
    code, output = command("d.db", "local", work="work-d.db")
    assert code == 3
    assert "parts of shards were damaged and put aside; their shards are worked on again: 1" in output
    assert len(list(Path("work-d.db").rglob("*.damaged"))) == 1
    assert rows_of("d.db") == plain


def test_a_damaged_plan_is_refused_with_what_to_do(command: Command) -> None:
    command("d.db", "slurm")
    Path("work-d.db/plan.json").write_text('{"key', "utf-8")
    code, output = command("d.db", "slurm")
    assert (code, "give a new work folder: what is loaded into the store stays" in output) == (1, True), output


@pytest.mark.parametrize("harm", ["cut", "flipped", "removed"])
def test_images_of_a_lost_list_are_listed_again(
    command: Command, plain: list[object], pm: BioclipPluginManager, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    """Or else every call would say that the same command continues, and none would."""
    command("d.db", "slurm")
    folder, shards = WorkFolder(Path("work-d.db")), shards_of("d.db")
    Worker(folder.folder, REQUEST, pm).work(shards[0])
    command("d.db", "slurm")  # loads one
    path = folder.shard_file(shards[1])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data[:20] if harm == "cut" else data)
    if harm == "removed":
        path.unlink()
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    code, output = command("d.db", "slurm")
    assert code == 1
    assert "give the same command where images are listed, which lists them again" in output
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    output = command("d.db", "slurm")[1]
    assert "lists of shards were missing or damaged, so that the images were listed again: 1" in output
    assert command("d.db", "local", work="work-d.db")[0] == 3
    assert rows_of("d.db") == plain


def test_rules_decide_on_a_run_in_shards_and_loading_again_leaves_their_decisions(command: Command) -> None:
    Path("only.txt").write_text("a red fish\na blue fish\n", "utf-8")
    rule = ("--rule", "only:file=only.txt")
    code, output = command("plain.db", "", *rule)
    assert code == 3, output
    command("r.db", "local", *rule)
    decided = rows_of("r.db")
    assert decided == rows_of("plain.db")
    plan = json.loads(Path("work-r.db/plan.json").read_text("utf-8"))
    Path("work-r.db/plan.json").write_text(json.dumps({**plan, "is_finished": False}), "utf-8")
    shutil.rmtree("work-r.db/loaded")
    command("r.db", "local", *rule)
    assert rows_of("r.db") == decided


def test_images_that_are_listed_twice_are_answered_once_and_with_the_boxes_of_their_last_place(
    command: Command, plain: list[object], folder: Path, pm: BioclipPluginManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioclip_plugin.engines.planning._LISTED_AT_ONCE", 4)  # so that the second place is far away
    given = [
        "classify",
        "photos",
        "--model",
        "mortal",
        "--labels",
        "fish.txt",
        "--engine",
        "local",
        "--shard-size",
        "4",
    ]
    code, output = run_command(pm, *given, "photos", "--store", "s.db", "--work-folder", "w")
    assert (code, rows_of("s.db")) == (3, plain), output
    boxes = {"images": [{"file": f"{n:02}.png", "detections": [{"category": "1", "conf": 0.9, "bbox": [0, 0, 0.5, 0.5]}]}
                        for n in range(3)], "detection_categories": {"1": "animal"}, "info": {"format_version": "1.3"}}  # fmt: skip
    (folder / "photos" / "md.json").write_text(json.dumps(boxes), "utf-8")
    code, output = run_command(pm, *given, "photos/md.json", "--store", "b.db", "--work-folder", "b")
    assert code == 3, output
    with Store.open("b.db") as store:
        items = list(store.items_of(store.run()))
    assert [len(item.item.regions) for item in items] == [1, 1, 1] + [0] * 14
    assert len(items[0].regions) == 1
    assert items[0].regions[0].by_rank


def test_parts_that_a_shared_disk_shows_late_are_loaded_at_the_end(
    command: Command, plain: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network disk remembers for a while that a file was not there, but lists it."""
    monkeypatch.setattr(WorkFolder, "has_part", lambda *_: False)
    code, output = command("late.db", "local")
    assert (code, rows_of("late.db")) == (3, plain), output
    assert "damaged" not in output


def test_what_the_listing_program_answers_itself_is_counted_though_the_workers_have_not_finished(
    command: Command, folder: Path
) -> None:
    (folder / "photos" / "web.csv").write_text("image\nhttps://example.org/fish.jpg\n", "utf-8")
    code, output = command("w.db", "slurm", "photos/web.csv")
    assert (code, "answered by this program and not by workers" in output) == (3, True), output
    assert ": 1 (the first: https://example.org/fish.jpg)" in output
    assert "0 of 4 shards loaded" in output


def test_known_features_need_no_worker(command: Command, pm: BioclipPluginManager) -> None:
    command("k.db")
    given = ["classify", "photos", "--model", "mortal", "--labels", "fish.txt", "--store", "k.db", "--threshold", "0.9"]
    code, output = run_command(pm, *given, "--engine", "slurm", "--work-folder", "w")
    assert code == 3
    assert "0 of 1 shards loaded (0 of 1 images)" in output  # the corrupt image is tried again


def test_what_cannot_go_on_is_refused_in_one_line(
    command: Command, pm: BioclipPluginManager, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "the engine slurm needs a folder that every worker sees" in command("x.db", "", "--engine", "slurm")[1]
    assert "engine 'slrm' is not known; there are local, ray, slurm; did you mean slurm" in command("x.db", "slrm")[1]
    refused = command("x.db", "slurm", "--engine-workers", "4")
    assert (refused[0], "sbatch --array=0-3 for 4" in refused[1]) == (2, True)
    refused = command("x.db", "local", "--engine-workers", "4")
    assert (refused[0], "not for the engine local, which has one worker" in refused[1]) == (2, True)
    assert not Path("work-x.db").exists()
    command("x.db", "slurm")
    with Store.open("x.db") as store:
        before = store.runs()
        code, output = command("x.db", "slurm", "--rank", "label")
        assert (code, "belongs to another run" in output) == (1, True)
        assert [run.id for run in store.runs()] == [run.id for run in before], (
            "a new run would be the latest one, and empty"
        )
    with Path("work-x.db/driver.lock").open("r+b") as file:
        assert lock(file.fileno(), exclusive=True)
        code, output = command("x.db", "slurm")
        assert (code, "another program plans or loads" in output) == (1, True)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    code, output = command("x.db", "slurm", "--top", "2")
    assert (code, "top is 2 here and 5 in the plan" in output) == (1, True)
    (folder / "full").mkdir()
    (folder / "full" / "thesis.odt").touch()
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    code, output = command("x.db", "slurm", work="full")
    assert (code, "holds other things (thesis.odt)" in output) == (1, True)
    code, output = command("x.db", "slurm", work="fish.txt")
    assert (code, "fish.txt is a file; give an empty or new folder" in output) == (1, True)


_BEGUN: list[AbstractContextManager[None]] = []
"""Attempts that never end, not even by the garbage collector."""


def lose(folder: WorkFolder, shard: str, times: int, at: int | None = None) -> None:
    """Note attempts as workers leave them that end without a word."""
    for _ in range(times):
        _BEGUN.append(Attempts(folder.folder, shard).one())
        _BEGUN[-1].__enter__()
        if at is not None:
            Attempts(folder.folder, shard).note(at)


def test_an_image_that_ends_several_workers_is_a_failure(command: Command, pm: BioclipPluginManager) -> None:
    command("p.db", "slurm")
    folder, shard = WorkFolder(Path("work-p.db")), shards_of("p.db")[1]
    lose(folder, shard, 2)
    lose(folder, shard, FATAL_AFTER, at=3)
    result = Worker(Path("work-p.db"), REQUEST, pm).work(shard)
    assert result is not None
    assert (result.images, result.failed) == (5, 1)
    output = command("p.db", "local", work="work-p.db")[1]
    assert f"their shards were worked on again: 4 (the first: {shard})" in output
    with Store.open("p.db") as store:
        failures = [(one.item.uri, one.failure.stage, one.failure.reason) for one in store.failures(store.run())]
    reason = "2 workers ended without a word while they worked on this image alone"
    assert ("photos/08.png", "decode", reason) in failures
    assert len(failures) == 2


def test_a_shard_that_loses_every_worker_is_given_up_until_the_command_is_given_again(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("h.db", "slurm")
    folder, shard = WorkFolder(Path("work-h.db")), shards_of("h.db")[0]
    lose(folder, shard, MOST_LOST)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    code, output = command("h.db", "slurm")
    assert (code, f"shard {shard}: {MOST_LOST} workers were lost" in output) == (1, True)
    assert folder.with_parts() == {*shards_of("h.db")} - {shard}, "the task went on with the other shards"
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    assert "17 images, 16 done, 1 failed" in command("h.db", "local", work="work-h.db")[1]


def test_images_that_end_workers_stay_known_when_a_shard_gets_further_attempts(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten such images in a shard cost twenty workers; forgotten with them, they would cost the next twenty too."""
    command("h.db", "slurm")
    folder, shard = WorkFolder(Path("work-h.db")), shards_of("h.db")[0]
    lose(folder, shard, 2, at=1)
    lose(folder, shard, MOST_LOST)
    assert Attempts(folder.folder, shard).is_hopeless
    command("h.db", "slurm")  # gives it further attempts
    again = Attempts(folder.folder, shard)
    assert (again.lost, again.fatal, again.is_careful) == (0, {1: 2}, True)
    assert "17 images, 15 done, 2 failed" in command("h.db", "local", work="work-h.db")[1]


def test_an_interrupted_worker_is_not_a_lost_one(tmp_path: Path) -> None:
    for _ in range(5):
        with pytest.raises(KeyboardInterrupt), Attempts(tmp_path, "ab12").one():
            raise KeyboardInterrupt
    assert Attempts(tmp_path, "ab12").lost == 0


def test_a_shard_is_worked_on_by_one_worker_at_a_time(command: Command, pm: BioclipPluginManager) -> None:
    command("b.db", "slurm")
    folder, shard = WorkFolder(Path("work-b.db")), shards_of("b.db")[0]
    worker = Worker(Path("work-b.db"), REQUEST, pm)
    with folder.claimed(shard) as is_ours:
        assert is_ours
        assert worker.work(shard, waits=False) is None
    again = worker.work(shard, waits=False)
    assert again is not None
    assert not again.was_done


def test_without_locks_of_the_file_system_shards_are_worked_on_all_the_same(
    command: Command, plain: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bioclip_plugin.engines.folder.lock", lambda *_, **__: None)
    command("n.db", "local")
    assert rows_of("n.db") == plain


def test_without_locks_workers_that_go_on_are_not_taken_for_lost(
    command: Command, plain: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lustre without flock: at the end of an array all tasks come to the last shards. An image that two of them were at was a failure."""
    command("n.db", "slurm")
    folder, shard = WorkFolder(Path("work-n.db")), shards_of("n.db")[0]
    monkeypatch.setattr("bioclip_plugin.engines.folder.lock", lambda *_, **__: None)
    ended = mark().rpartition("-")[0] + "-99999999"  # a number that no process has
    for worker in ("0a0a0a0a-1", "0b0b0b0b-1", "0c0c0c0c-1", "0d0d0d0d-1", ended):
        monkeypatch.setattr("bioclip_plugin.engines.attempts.mark", lambda worker=worker: worker)
        lose(folder, shard, 1, at=0)
    seen = Attempts(folder.folder, shard, is_alone=False)
    assert (seen.lost, seen.fatal) == (1, {}), "that of this machine, whose process has ended"
    command("n.db", "local")
    assert rows_of("n.db") == plain


def test_bash_reads_the_script_of_the_docs() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "scale.md"
    script = re.search(r"```bash\n(#!/bin/bash\n.*?)```", page.read_text("utf-8"), re.DOTALL)
    assert script is not None
    bash = shutil.which("bash")
    assert bash is None or subprocess.run([bash, "-n"], input=script[1], text=True, check=False).returncode == 0
