"""The runner of stages: what is run again and why, interruptions at every write, and tallies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
import tiny_stages
from pyarrow import parquet
from tiny_stages import STAGES, Numbers, Squares, configured, digests

from bioclip_core.errors import DataError, SourceError
from bioclip_core.files import whole
from bioclip_training.curation import manifests
from bioclip_training.curation.manifests import StageManifest
from bioclip_training.curation.plan import plan
from bioclip_training.curation.running import Listener, Outcome, run_stages, stages_until
from bioclip_training.curation.stages import ROW_GROUP, Part, StageWork


def reasons(outcomes: list[Outcome]) -> dict[str, str]:
    return {outcome.manifest.stage: outcome.why_run for outcome in outcomes}


def test_a_stage_leaves_parts_and_a_manifest_with_what_it_dropped_and_an_example(tmp_path: Path) -> None:
    outcomes = run_stages(configured(tmp_path), STAGES)
    numbers = outcomes[0].manifest
    assert (numbers.rows_in, numbers.rows_out) == (8, 5)
    assert [(entry.reason, entry.count, entry.example) for entry in numbers.dropped] == [("below zero", 3, "a: -3")]
    assert parquet.read_table(tmp_path / "out/numbers/part-odd.parquet")["number"].to_pylist() == [1, 5]
    squares = outcomes[1].manifest
    assert (squares.rows_in, squares.rows_out, squares.counts) == (5, 5, {"squares": 5})
    assert [entry.file for entry in squares.all_files] == ["part-even.parquet", "part-odd.parquet", "sum.txt"]
    assert StageManifest.read(tmp_path / "out/squares") == squares
    assert parquet.read_table(tmp_path / "out/numbers").num_rows == 5  # the manifest does not spoil the data set
    assert not (tmp_path / "out/temporary").exists()


def test_finished_stages_are_not_run_again(tmp_path: Path) -> None:
    assert reasons(run_stages(configured(tmp_path), STAGES)) == dict.fromkeys(
        ("numbers", "squares"), "it was not run yet"
    )
    assert reasons(run_stages(configured(tmp_path), STAGES)) == {"numbers": "", "squares": ""}


def test_another_setting_runs_the_stage_that_has_it_and_not_those_before(tmp_path: Path) -> None:
    run_stages(configured(tmp_path), STAGES)
    again = run_stages(configured(tmp_path, seed=7), STAGES)
    assert reasons(again) == {"numbers": "", "squares": "the setting seed changed"}
    assert again[1].manifest.rows_out == 5


def test_a_changed_source_runs_its_stage_and_those_whose_results_change(tmp_path: Path) -> None:
    run_stages(configured(tmp_path), STAGES)
    (tmp_path / "b").write_text("5 -3 -8 2 6")
    again = run_stages(configured(tmp_path), STAGES)
    assert reasons(again) == {
        "numbers": "the input source b changed", "squares": "the result of the stage numbers changed",
    }  # fmt: skip
    assert again[1].manifest.counts == {"squares": 6}


def test_a_stage_with_the_same_result_lets_the_stages_behind_it_be(tmp_path: Path) -> None:
    run_stages(configured(tmp_path), STAGES)
    (tmp_path / "b").write_text("2 5 -3 -8")  # the same numbers in another order
    assert reasons(run_stages(configured(tmp_path), STAGES)) == {"numbers": "the input source b changed", "squares": ""}


def test_a_newer_version_of_a_stage_runs_it_again(tmp_path: Path) -> None:
    run_stages(configured(tmp_path), STAGES)
    again = run_stages(configured(tmp_path), (Numbers(version=2), Squares()))
    assert reasons(again) == {"numbers": "this version of the program works in another way", "squares": ""}


def test_a_part_that_is_removed_cut_or_edited_runs_its_stage_again_and_says_so(tmp_path: Path) -> None:
    run_stages(configured(tmp_path), STAGES)
    before = digests(tmp_path / "out")
    part, document = tmp_path / "out/numbers/part-even.parquet", tmp_path / "out/squares/sum.txt"
    whole_part = part.read_bytes()
    for damage, numbers in (
        (lambda: part.write_bytes(whole_part[:-1]), f"has {len(whole_part) - 1} bytes and not {len(whole_part)}"),
        (lambda: part.write_bytes(whole_part[:20] + b"!" + whole_part[21:]), "was changed after the stage finished"),
        (lambda: (part.write_bytes(bytes(len(whole_part))), os.utime(part, (0, 0))), "is damaged and cannot be read"),
        (part.unlink, "is missing"),
    ):
        damage()
        again = run_stages(configured(tmp_path), STAGES)
        assert reasons(again) == {"numbers": f"part-even.parquet {numbers}", "squares": ""}
        assert digests(tmp_path / "out") == before
    document.write_text("7\n")
    assert reasons(run_stages(configured(tmp_path), STAGES)) == {
        "numbers": "", "squares": "sum.txt was changed after the stage finished",
    }  # fmt: skip
    assert digests(tmp_path / "out") == before


def test_a_part_that_no_stage_wrote_is_refused_and_kept(tmp_path: Path) -> None:
    run_stages(configured(tmp_path), STAGES)
    mine = tmp_path / "out/numbers/part-mine.parquet"
    mine.write_bytes((tmp_path / "out/numbers/part-even.parquet").read_bytes())
    with pytest.raises(
        DataError, match=r"out/numbers has part-mine.parquet, which the stage numbers did not write: move"
    ):
        run_stages(configured(tmp_path), STAGES)
    assert mine.exists()


def test_a_plan_lists_all_reasons_of_a_stage_and_tells_what_would_run_from_what_may(tmp_path: Path) -> None:
    stages = (*STAGES, Squares(name="last", needs=("squares",)))

    def planned(seed: int) -> list[tuple[str, bool]]:
        return [(entry.why, entry.certain) for entry in plan(configured(tmp_path, seed=seed), stages).stages]

    assert planned(0) == [("it was not run yet", True)] * 3
    run_stages(configured(tmp_path), stages)
    assert planned(0) == [("", False)] * 3
    (tmp_path / "a").write_text("4 1 -3 8 6")
    (tmp_path / "b").write_text("5 -3 -8 2 6")
    both = "the input source a changed, the input source b changed"
    assert planned(0) == [
        (both, True),
        ("numbers would run before it; with the same result it stays", False),
        ("squares may run before it; with the same result it stays", False),
    ]
    assert planned(7) == [
        (both, True),
        ("the setting seed changed, numbers would run before it", True),
        ("the setting seed changed, squares would run before it", True),
    ]


def test_threads_and_the_order_of_sources_do_not_matter(tmp_path: Path) -> None:
    run_stages(configured(tmp_path), STAGES)
    before = digests(tmp_path / "out")
    again = run_stages(configured(tmp_path, threads=7, order=("b", "a")), STAGES)
    assert reasons(again) == {"numbers": "", "squares": ""}
    other = tmp_path / "other"
    other.mkdir()
    run_stages(configured(other, threads=7, order=("b", "a")), STAGES)
    assert digests(other / "out") == before


class Fault(BaseException):
    """Stands for the end of the process: nothing catches it."""


def test_an_end_before_or_after_any_write_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    run_stages(configured(plain), STAGES)
    wanted = digests(plain / "out")
    rename, left, writes = whole.rename, [0], 0

    def failing(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Fault
        rename(source, target)
        left[0] -= 1
        if left[0] == 0:
            raise Fault

    monkeypatch.setattr(whole, "rename", failing)
    for at in range(1, 1000):
        folder = tmp_path / str(at)
        folder.mkdir()
        left[0] = at
        try:
            run_stages(configured(folder), STAGES)
        except Fault:
            writes += 1
        else:
            break
        left[0] = 0
        run_stages(configured(folder), STAGES)
        assert digests(folder / "out") == wanted, f"end at write {at}"
    # each stage: begun without and with its key, two parts with their records, and the manifest; before and after each
    assert writes == 2 * 2 * (2 + 2 * 2 + 1)


def test_finished_parts_of_an_interrupted_stage_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, written = StageWork.part, []

    @contextmanager
    def second_fails(self: StageWork, name: str, schema: pa.Schema) -> Iterator[Part]:
        written.append(name)
        with part(self, name, schema) as opened:
            yield opened
            if len(written) == 2:
                raise Fault

    monkeypatch.setattr(StageWork, "part", second_fails)
    with pytest.raises(Fault):
        run_stages(configured(tmp_path), STAGES, until="numbers")
    assert not list((tmp_path / "out/numbers").glob("*odd*"))
    again = run_stages(configured(tmp_path), STAGES, until="numbers")
    assert written == ["even", "odd", "odd"]
    assert reasons(again) == {"numbers": "it was interrupted"}
    assert again[0].manifest.dropped[0].count == 3  # the tally of the part of the first call is kept


def test_parts_of_an_interrupted_stage_are_not_used_with_another_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stages(configured(tmp_path), STAGES, until="numbers")
    monkeypatch.setattr(StageManifest, "write", lambda *_: (_ for _ in ()).throw(Fault()))
    with pytest.raises(Fault):
        run_stages(configured(tmp_path, seed=7), STAGES)
    monkeypatch.undo()
    run_stages(configured(tmp_path, seed=3), STAGES)
    assert parquet.read_table(tmp_path / "out/squares/part-even.parquet")["number"].to_pylist() == [1, 1, 1]


def test_a_killed_program_continues_to_the_same_bytes(tmp_path: Path) -> None:
    plain, killed = tmp_path / "plain", tmp_path / "killed"
    plain.mkdir()
    killed.mkdir()
    run_stages(configured(plain), STAGES)
    kill = (
        "import os, signal, sys, tiny_stages\nfrom pathlib import Path\nfrom bioclip_training.curation import stages\n"
        "write = stages.write_record\n"
        "def dying(folder, name, record):\n"
        "    if name == 'odd': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    write(folder, name, record)\n"
        "stages.write_record = dying\n"
        "tiny_stages.run_stages(tiny_stages.configured(Path(sys.argv[1])), tiny_stages.STAGES)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(tiny_stages.__file__).parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", kill, str(killed)], env=environment, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (killed / "out/temporary/numbers").is_dir()
    run_stages(configured(killed), STAGES)
    assert digests(killed / "out") == digests(plain / "out")


def test_a_source_that_changes_while_it_is_read_is_refused_and_nothing_is_finished(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Changed(Numbers):
        def run(self, work: StageWork) -> None:
            super().run(work)
            work.config.sources["a"].path.write_text("1")

    with pytest.raises(SourceError, match=r"source a .* changed while the stage numbers read it"):
        run_stages(configured(tmp_path), (Changed(), Squares()))
    assert StageManifest.read(tmp_path / "out/numbers") is None


def test_a_missing_source_is_named_and_finished_stages_stay(tmp_path: Path) -> None:
    config = configured(tmp_path)
    run_stages(config, STAGES)
    (tmp_path / "b").unlink()
    with pytest.raises(SourceError, match=r"^source b: .*/b does not exist"):
        run_stages(config, STAGES)
    assert StageManifest.read(tmp_path / "out/numbers") is not None


def test_a_full_disk_is_one_line_and_finished_stages_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Full(Squares):
        def run(self, work: StageWork) -> None:
            words = "Error writing bytes to file. Detail: [errno 28] No space left on device"  # Arrow's
            raise OSError(28, words, str(work.folder / "part-odd.parquet"))

    def full(file: Path, text: str) -> None:
        if "squares" in str(file) and "No space" in text:
            raise OSError(28, "No space left on device")
        write_whole(file, text)

    write_whole = manifests.write_whole
    monkeypatch.setattr(manifests, "write_whole", full)  # no room for the message either
    with pytest.raises(
        SourceError,
        match=r"squares stopped: .*part-odd.parquet: No space left on device; make room, then the same command",
    ):
        run_stages(configured(tmp_path), (Numbers(), Full()))
    stopped = "it stopped with an error: the stage squares stopped: "
    again = reasons(run_stages(configured(tmp_path, seed=3), STAGES))
    assert again["numbers"] == ""
    assert again["squares"].startswith(stopped)
    assert again["squares"].endswith("finished stages stay, the setting seed changed")


def test_a_part_that_changes_under_a_stage_is_named(tmp_path: Path) -> None:
    """As after a power cut or a failing disk: the file has its name and its size, and cannot be read."""
    part = tmp_path / "out/numbers/part-even.parquet"

    @dataclass(frozen=True)
    class Damaging(Squares):
        how: Callable[[], object] = part.unlink

        def run(self, work: StageWork) -> None:
            self.how()
            super().run(work)

    for how, told in (
        (part.unlink, "is missing"),
        (lambda: part.write_bytes(bytes(part.stat().st_size)), "is damaged, its sha256 is not that of the manifest"),
    ):
        with pytest.raises(SourceError, match=f"part-even.parquet {told}; remove the folder .*/out/numbers, "):
            run_stages(configured(tmp_path), (Numbers(), Damaging(how=how)))
    shutil.rmtree(part.parent)
    assert run_stages(configured(tmp_path), STAGES)[1].manifest.counts == {"squares": 5}


def test_two_programs_do_not_work_in_one_folder(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Twice(Squares):
        def run(self, work: StageWork) -> None:
            run_stages(work.config, STAGES)

    with pytest.raises(DataError, match="another program curates in"):
        run_stages(configured(tmp_path), (Numbers(), Twice()))


def test_stages_until_one_leave_out_what_it_does_not_need() -> None:
    aside = Squares(name="aside")
    assert [stage.name for stage in stages_until((Numbers(), aside, Squares()), "squares")] == ["numbers", "squares"]


def test_the_listener_hears_of_every_stage(tmp_path: Path) -> None:
    heard: list[str] = []
    listener = Listener(
        lambda stage, why: heard.append(f"{stage}: {why}") or (lambda *_: None),  # type: ignore[func-returns-value]
        lambda outcome: heard.append(f"{outcome.manifest.stage} done"),
    )
    run_stages(configured(tmp_path), STAGES, listener=listener)
    assert heard == ["numbers: it was not run yet", "numbers done", "squares: it was not run yet", "squares done"]


def test_the_bytes_of_a_part_do_not_depend_on_the_cut_into_batches(tmp_path: Path) -> None:
    rows = pa.table({"key": [f"{n:06d}" for n in range(ROW_GROUP + 10)], "number": range(ROW_GROUP + 10)})
    for name, size in (("one", 10**9), ("many", 9_973)):
        with Part(tmp_path / name, tiny_stages.NUMBERS) as part:
            for at in range(0, rows.num_rows, size):
                part.write(rows.slice(at, size))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "many").read_bytes()
    assert parquet.read_metadata(tmp_path / "one").num_row_groups == 2


def test_rows_that_are_not_sorted_by_key_are_a_mistake_of_the_stage(tmp_path: Path) -> None:
    with Part(tmp_path / "one", tiny_stages.NUMBERS) as part:
        part.write(pa.table({"key": ["b"], "number": [1]}))
        with pytest.raises(AssertionError, match="sorted by key"):
            part.write(pa.table({"key": ["a"], "number": [1]}))
