"""Forks in mid-stream: the child gets one clear error or a working Session, exits, and changes nothing of the parent's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image
from ready_processes import run_ready

from bioclip_plugin.store import Store

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

# The parent forks while its threads decode, commit and hold locks; the child tries everything, and says what came of it.
PROGRAM = """
import multiprocessing, os, sys, threading, time
from PIL import Image
from bioclip_plugin import ClassifyRequest, MediaItem, Session, create_plugin_manager, hookimpl
from bioclip_plugin.plugin_api import ListingOptions
from bioclip_plugin.testing import FakeModel

LABELS = ("a red fish", "a blue fish")
store, kind = sys.argv[1:3]
holding = threading.Event()

class Observer:
    def __init__(self):
        self.release = threading.Event()

    @hookimpl
    def answers_stored(self, answers):
        holding.set()
        self.release.wait()

observer = Observer()
manager = create_plugin_manager(installed=False)
manager.register(FakeModel())
session = Session(model="fake", labels=LABELS, store=store, batch_size=2, plugins=manager)

def item(n):
    return MediaItem(f"red/{n}", image=Image.new("RGB", (8, 8), (255 - n, 0, 0)))

def tried(*uses):
    for use in uses:
        try:
            print("child:", use(), flush=True)
        except Exception as error:
            print("child:", type(error).__name__, error, flush=True)

def use_all():
    tried(
        lambda: session.classify(item(50)).failure,
        lambda: list(session.classify_stream([item(51)])),
        lambda: next(stream),
        lambda: session.apply_rules(),
        lambda: session.close(),
        lambda: session.store.summary(session.store.run()).failed,
        lambda: [a.failure for a in manager.hook.classify_images(items=[item(52)], request=request)],
    )

request = ClassifyRequest(model="fake", labels=LABELS)
if kind == "unused":  # as a web server that forks its workers after it has loaded the program
    child = os.fork()
    if not child:
        with session:
            tried(lambda: session.classify(item(50)).failure)
        sys.exit(3)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print("parent:", code, session.classify(item(51)).failure)
    session.close()
    sys.exit()

with session.listing([sys.argv[3]]) as listing:
    unpacked = [listing._options.temporary.new(), *(entry.path for entry in listing)]
    manager.hook.classify_images(items=[item(0)], request=request)
    stream = session.classify_stream(item(n) for n in range(40))
    next(stream)
    manager.register(observer)
    holders = [threading.Thread(target=lambda: list(session.classify_stream(item(n) for n in range(60, 90))))]
    for lock in (session._lock, session._run_lock, session.engine.lock, session.store._taxa._lock):
        holders.append(threading.Thread(target=lambda lock=lock: (lock.acquire(), observer.release.wait(), lock.release())))
    holders[0].start()
    holding.wait()
    for holder in holders[1:]:
        holder.start()
    time.sleep(0.2)
    if kind == "multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=use_all)
        process.start()
        process.join()
        code = process.exitcode
    else:
        child = os.fork()
        if not child:
            with listing:
                use_all()
            sys.exit(3)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print("parent:", code, [path.exists() for path in unpacked])
    observer.release.set()
    for holder in holders:
        holder.join()
    print("parent:", len(list(stream)))
session.close()
manager.close()
"""


def run(tmp_path: Path, kind: str) -> list[str]:
    folder = tmp_path / "film"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    done = run_ready(PROGRAM, str(tmp_path / "r.db"), kind, str(folder))
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout.splitlines()


@pytest.mark.parametrize("kind", ["sys.exit", "multiprocessing"])
def test_a_child_forked_in_mid_stream_is_told_at_once_and_the_parent_goes_on(tmp_path: Path, kind: str) -> None:
    lines = run(tmp_path, kind)
    told = [line for line in lines if line.startswith("child:")]
    assert [line.split()[1] for line in told] == ["UsageError"] * 4 + ["None", "0", "[None]"]
    assert all("was opened in process" in line or "its threads do not exist" in line for line in told[:4])
    assert lines[-2].startswith("parent: 0" if kind == "multiprocessing" else "parent: 3")
    assert lines[-2].endswith("[True, True]")
    assert lines[-1] == "parent: 39"
    with Store.open(tmp_path / "r.db") as store:
        found = store.run()
        assert found.status == "finished"
        assert (store.summary(found).done, store.summary(found).failed) == (70, 0)
        assert store.verify(found).problems == []


def test_a_session_that_was_not_used_before_the_fork_works_in_the_child_and_in_the_parent(tmp_path: Path) -> None:
    assert run(tmp_path, "unused") == ["child: None", "parent: 3 None"]
    with Store.open(tmp_path / "r.db") as store:
        assert store.summary(store.run()).done == 2


WITH_TORCH = """
import os, sys
from PIL import Image
from bioclip_plugin import Session

images = [Image.new("RGB", (64, 64), (n, 9, 9)) for n in range(20)]
with Session(model="demo", batch_size=8) as session:
    stream = session.classify_stream(iter(images))
    next(stream)
    child = os.fork()
    if not child:
        with Session(model="demo", batch_size=8) as own:
            print("child", len(list(own.classify_stream(images))), flush=True)
        sys.exit(4)
    print("parent", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(list(stream)))
"""


def test_a_new_session_in_the_child_of_a_process_whose_model_has_computed_does_not_hang() -> None:
    done = run_ready(WITH_TORCH)
    assert (done.stdout, done.stderr) == ("child 20\nparent 4 19\n", "")
