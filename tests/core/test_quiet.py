"""A quiet guest: what libraries report while they work for us does not reach the host, and the host's own use of them stays loud."""

from __future__ import annotations

import gc
import hashlib
import io
import logging
import os
import random
import subprocess
import sys
import threading
import time
import types
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin
from PIL.TiffImagePlugin import TiffImageFile

from bioclip_core.errors import ImageError
from bioclip_core.images.decoding import decode_regions, prepare
from bioclip_core.preprocessing import Preprocessing
from bioclip_core.process.quiet import importing, quiet

SMALL = Preprocessing(size=8, resize_mode="squash")
_GRADIENT = np.add.outer(np.arange(40) * 5, np.arange(48) * 3)[..., None] * np.array([1, 2, 3]) % 251
PHOTO = Image.fromarray(_GRADIENT.astype(np.uint8))


def saved(kind: str, image: Image.Image = PHOTO, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x0132] = 6, "2021:05:06 07:08:09"
COMPRESSIONS = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "tiff_lzma", "zstd")
BILEVEL = ("tiff_ccitt", "group3", "group4")
TIFFS = [
    *(saved("TIFF", compression=name, exif=EXIF) for name in COMPRESSIONS),
    *(saved("TIFF", PHOTO.convert("1"), compression=name) for name in BILEVEL),
    saved("TIFF", PHOTO.convert("P"), compression="tiff_lzw"),
    saved("TIFF", PHOTO.convert("CMYK"), compression="tiff_adobe_deflate"),
]
OTHERS = [
    saved("JPEG", exif=EXIF), saved("JPEG", progressive=True), saved("PNG", exif=EXIF), saved("GIF"), saved("BMP"), saved("WEBP"),
    saved("PPM"), saved("JPEG2000"), saved("PNG", PHOTO.convert("P"), transparency=0),
    saved("PNG", save_all=True, append_images=[PHOTO.rotate(90)]),
]  # fmt: skip


def mutated(data: bytes, seed: int) -> bytes:
    """Return the bytes with some replaced, inserted or cut off."""
    draw = random.Random(seed)
    found = bytearray(data)
    kind = draw.randrange(4)
    if kind == 0:
        return bytes(found[: draw.randrange(8, len(found))])
    reach = len(found) if kind < 3 else min(len(found), 300)  # where most headers are
    for _ in range(draw.randrange(1, 8)):
        found[draw.randrange(4, reach)] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
    if kind == 2:
        at = draw.randrange(8, len(found))
        found[at:at] = draw.randbytes(draw.randrange(1, 40))
    return bytes(found)


def answer(data: bytes) -> str:
    """Return what comes of a file: its pixels, or the reason."""
    try:
        return hashlib.md5(decode_regions(data, [None], SMALL)[0].tobytes()).hexdigest()
    except ImageError as error:
        return str(error)


def damaged_lzw() -> bytes:
    """Return a TIFF of which libtiff says on standard error that a code is not in its table."""
    data = bytearray(TIFFS[1])
    data[40:60] = b"\xff" * 20
    return bytes(data)


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """Return what a host sees whose root logger takes everything."""
    handler, level = Records(), logging.root.level
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.DEBUG)
    yield handler.found
    logging.root.removeHandler(handler)
    logging.root.setLevel(level)


def test_damaged_tiffs_of_every_compression_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    answers = [answer(mutated(data, seed)) for data in TIFFS for seed in range(25)]
    assert capfd.readouterr() == ("", "")
    assert len({text for text in answers if " " in text}) > 10  # many kinds of damage were met


def test_the_hosts_own_use_of_pillow_is_as_loud_as_before(capfd: pytest.CaptureFixture[str]) -> None:
    data = damaged_lzw()
    for _ in range(2):
        assert " " in answer(data)
        assert capfd.readouterr().err == ""
        with pytest.raises(OSError, match="decoder error"), Image.open(io.BytesIO(data)) as image:
            image.load()
        assert "code not yet in table" in capfd.readouterr().err


def test_a_thread_of_the_host_stays_loud_while_ours_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    def of_the_host() -> None:
        with pytest.raises(OSError, match="decoder error"), Image.open(io.BytesIO(damaged_lzw())) as image:
            image.load()

    with quiet(), ThreadPoolExecutor(1) as pool:
        pool.submit(of_the_host).result()
    assert "code not yet in table" in capfd.readouterr().err


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(TIFFS + OTHERS), seed=st.integers(0, 2**32))
def test_no_answer_depends_on_the_hosts_warning_filters(
    kind: bytes, seed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    data = mutated(kind, seed)
    found = {}
    for action in ("error", "always", "ignore"):
        with warnings.catch_warnings(record=True) as issued:
            warnings.simplefilter(action)
            before = list(warnings.filters)
            found[action] = answer(data)
            assert list(warnings.filters) == before
        assert not issued
    assert found["error"] == found["always"] == found["ignore"]
    assert capfd.readouterr() == ("", "")


def test_an_image_that_the_host_opened_is_read_without_a_warning() -> None:
    """Pillow reads the camera metadata of a TIFF again while it loads the pixels."""
    with Image.open(io.BytesIO(saved("TIFF", exif=EXIF, compression="raw"))) as image:
        assert isinstance(image, TiffImageFile)
        image.tag_v2._tagdata[34665] = (2**31).to_bytes(4, "little")
        image.tag_v2.tagtype[34665] = 4
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert prepare(image, [None], SMALL)[0].shape == (8, 8, 3)


def test_records_of_pillow_reach_the_host_only_from_its_own_calls(records: list[logging.LogRecord]) -> None:
    for data in TIFFS[:3] + OTHERS:
        answer(data)
    assert records == []
    with Image.open(io.BytesIO(OTHERS[2])) as image:
        image.load()
    assert any(record.name.startswith("PIL.") for record in records)


def test_filters_survive_sixteen_threads_that_decode_damaged_files() -> None:
    before = list(warnings.filters)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        during = list(warnings.filters)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(answer, [mutated(data, seed) for seed in range(10) for data in TIFFS]))
        assert list(warnings.filters) == during
    assert list(warnings.filters) == before


def test_a_warning_of_the_host_is_seen_while_a_thread_of_ours_is_quiet() -> None:
    inside, done = threading.Event(), threading.Event()

    def ours() -> None:
        with quiet():
            inside.set()
            assert done.wait(30)

    with warnings.catch_warnings(record=True) as issued, ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("always")
        work = pool.submit(ours)
        assert inside.wait(30)
        vars(TiffImagePlugin)["warnings"].warn("the host's own TIFF", stacklevel=1)
        warnings.warn("the host's own", stacklevel=1)
        done.set()
        work.result()
    assert [str(one.message) for one in issued] == ["the host's own TIFF", "the host's own"]
    assert all(one.filename == __file__ for one in issued)


def test_letters_that_a_font_lacks_are_drawn_without_a_warning(records: list[logging.LogRecord]) -> None:
    with importing():
        from matplotlib.figure import Figure
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet():
            figure = Figure(figsize=(1, 1))
            figure.text(0, 0, "金雕")
            figure.savefig(io.BytesIO(), format="png")
        assert records == []
        with pytest.raises(UserWarning, match="missing from font"):
            figure.savefig(io.BytesIO(), format="png")


def test_a_warning_of_ours_needs_no_handler_of_the_host() -> None:
    """Python prints what no handler takes; programs may use the core alone."""
    program = "import logging, bioclip_core; logging.getLogger('bioclip_plugin.threads').warning('slow')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_logger_that_is_made_later_is_covered_by_the_next_call(records: list[logging.LogRecord]) -> None:
    with quiet():
        pass
    later = logging.getLogger("PIL.MadeLater")
    with quiet():
        later.warning("about a file")
    assert records == []
    later.warning("about a file of the host")
    assert [record.getMessage() for record in records] == ["about a file of the host"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_module_that_appears_while_the_modules_are_looked_at_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread, or a finalizer that a garbage collection runs, imports one."""
    appearing = [f"appears_{number}" for number in range(5)]
    monkeypatch.setitem(sys.modules, "makes_the_modules_look_new", types.ModuleType("makes_the_modules_look_new"))

    def appear(phase: str, _info: dict[str, int]) -> None:
        if phase == "start" and appearing:
            name = appearing.pop()
            sys.modules[name] = types.ModuleType(name)

    threshold = gc.get_threshold()
    gc.callbacks.append(appear)
    gc.set_threshold(1)
    try:
        with quiet():
            pass
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(appear)
        for number in range(5):
            sys.modules.pop(f"appears_{number}", None)


def test_a_fork_waits_for_an_import_of_another_thread() -> None:
    """In the child of a fork in mid-import the module stays half imported, and who imports it there waits for ever."""
    begun, imported = threading.Event(), []

    def imports() -> None:
        with importing():
            begun.set()
            time.sleep(0.3)
            imported.append("a library")

    thread = threading.Thread(target=imports)
    thread.start()
    begun.wait()
    child = os.fork()
    if not child:
        with importing():
            os._exit(0 if imported else 1)
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with importing():
        pass
