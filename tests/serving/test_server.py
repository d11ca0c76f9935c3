"""A real uvicorn with real sockets: clients of the docs, slow clients, clients that leave, and the end in mid-batch."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from serving_samples import BEARER, TOKEN, jpeg
from test_batching import Gated

from bioclip_core.errors import DataError
from bioclip_plugin import Session
from bioclip_plugin.cli import run
from bioclip_plugin.serving import server
from bioclip_plugin.serving.app import create_app
from bioclip_plugin.serving.limits import Limits
from bioclip_plugin.serving.security import Access
from bioclip_plugin.serving.state import Workbench

DOCS = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")
PATIENCE_S = 30.0


class Running:
    """A server on a thread of its own."""

    def __init__(self, session: Session) -> None:
        self.opened = server.listening("127.0.0.1", 0)
        self.port = self.opened.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        limits = Limits(200_000, 1_000_000, silence_s=0.3, longest_s=2.0)
        self.bench = Workbench(Access(self.port, TOKEN), session, limits=limits)
        self.end = threading.Event()
        self.was_idle: bool | None = None
        started = threading.Event()

        def serve() -> None:
            self.was_idle = server.serve(create_app(self.bench), self.opened, self.end.is_set, started.set)

        self.thread = threading.Thread(target=serve)
        self.thread.start()
        assert started.wait(PATIENCE_S)

    def classify(self, data: bytes) -> tuple[int, dict[str, object]]:
        request = Request(f"{self.address}/v1/classify", data, {**BEARER, "Content-Type": "image/jpeg"})
        try:
            with urlopen(request, timeout=PATIENCE_S) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            return error.code, json.load(error)

    def connected(self, sent: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
        connection.sendall(sent)
        return connection


@contextmanager
def running(session: Session) -> Iterator[Running]:
    made = Running(session)
    try:
        yield made
    finally:
        made.end.set()
        made.thread.join(PATIENCE_S)
        assert not made.thread.is_alive()


def head(length: int) -> bytes:
    return (
        f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def until_closed(connection: socket.socket) -> bytes:
    received = b""
    while part := connection.recv(65_536):
        received += part
    return received


def test_the_clients_of_the_docs_get_their_answers(session: Session, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg())
    (tmp_path / "token.txt").write_text(TOKEN)
    (curl,) = re.findall(r"```bash\n(.*?)```", DOCS, re.S)
    (script,) = re.findall(r"```js\n(.*?)```", DOCS, re.S)
    (tmp_path / "client.mjs").write_text(script)
    best = session.classify(jpeg()).best
    assert best is not None
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    with running(session) as one:
        lines = curl.replace("http://127.0.0.1:8710", one.address)
        asked = subprocess.run(
            ["bash", "-e", "-c", lines], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert asked.returncode == 0, asked.stdout + asked.stderr
        assert asked.stdout.count(best.name) >= 3
        node = Path(__import__("playwright").__file__).parent / "driver" / ("node.exe" if os.name == "nt" else "node")
        named = subprocess.run(
            [node, "client.mjs", one.address, "photo.jpg"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        assert (named.stdout.strip(), named.stderr) == (best.name, "")


def test_slow_clients_are_sent_away_and_others_are_answered(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADERS_S", 0.3)
    with running(session) as one:
        silent, halfway = one.connected(b""), one.connected(b"POST /v1/classify HTTP/1.1\r\nHost: loc")
        slow = one.connected(head(1_000) + b"begins")
        assert one.classify(jpeg())[0] == 200
        assert until_closed(silent) == until_closed(halfway) == b""
        assert b" 408 " in until_closed(slow).split(b"\r\n")[0]


def test_a_client_that_leaves_takes_its_image_with_it(session: Session) -> None:
    gated = Gated(session.engine.encoder)
    plain = session.engine.encoder
    session.engine.use_encoder(gated)
    try:
        with running(session) as one:
            batcher = one.bench.batcher
            assert batcher is not None
            one.connected(head(1_000) + b"begins").close()
            data = jpeg()
            leaving = one.connected(head(len(data)) + data)
            assert gated.is_at_work.wait(PATIENCE_S)
            assert batcher.waiting == 1
            leaving.close()
            with batcher._changed:
                assert batcher._changed.wait_for(lambda: batcher.waiting == 0, PATIENCE_S)
            gated.gate.set()
            assert one.classify(data)[0] == 200
    finally:
        gated.gate.set()
        session.engine.use_encoder(plain)


def test_the_end_in_mid_batch_answers_every_request_and_takes_less_than_five_seconds(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "DRAIN_S", 0.2)
    gated, plain = Gated(session.engine.encoder), session.engine.encoder
    session.engine.use_encoder(gated)
    try:
        one = Running(session)
        answers: list[tuple[int, dict[str, object]]] = []
        asking = [
            threading.Thread(target=lambda seed=seed: answers.append(one.classify(jpeg(seed)))) for seed in (1, 2)
        ]
        for thread in asking:
            thread.start()
        assert gated.is_at_work.wait(PATIENCE_S)
        began_at = time.monotonic()
        one.end.set()
        one.thread.join(PATIENCE_S)
        took_s = time.monotonic() - began_at
        for thread in asking:
            thread.join(PATIENCE_S)
        assert one.was_idle is False
        assert took_s < 5
        assert {status for status, _ in answers} == {503}
        assert len(answers) == 2
    finally:
        gated.gate.set()
        session.engine.use_encoder(plain)


def test_small_parts_of_responses_are_sent_at_once() -> None:
    with server.listening("127.0.0.1", 0) as opened:
        assert opened.proto == socket.IPPROTO_TCP  # for which alone asyncio sets TCP_NODELAY


def test_a_port_in_use_is_named_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with server.listening("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        assert run(["serve", "--model", "demo", "--port", str(port)]) == 1
        assert f"port {port} of 127.0.0.1 is in use" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"--host 192\.0\.2\.1"):
        server.listening("192.0.2.1", 8710)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--host", "0.0.0.0", "--no-token"], 2, "every machine in the network"),
        (["--media-root", "no-such-folder"], 1, "there is no such folder"),
        (["--model", "no-such-model", "--store", "no-such-store.db", "--port", "0"], 1, "there is nothing to serve"),
    ],
)
def test_what_cannot_be_served_ends_in_one_line(
    options: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(["serve", *options]) == code
    assert words in capsys.readouterr().err


def test_a_signal_ends_the_command_with_code_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import signal

    from bioclip_plugin.commands import serve as command

    monkeypatch.chdir(tmp_path)
    seen: list[int] = []

    def started(bench: Workbench, _: object) -> None:
        plain(bench, _)
        bench.open_model()  # in the middle of which the end would be another one
        seen.append(bench.access.port)
        os.kill(os.getpid(), signal.SIGTERM)

    plain = command._say
    monkeypatch.setattr(command, "_say", started)

    given = ["serve", "--model", "demo", "--runtime", "torch", "--port", "0", "--token-file", "token.txt"]

    async def in_a_loop() -> int:  # as in a notebook
        return run(given)

    def has_loop() -> bool:  # browser tests in this process leave theirs running
        with suppress(RuntimeError):
            return asyncio.get_running_loop() is not None
        return False

    assert (run(given) if has_loop() else asyncio.run(in_a_loop())) == 0
    out, err = capsys.readouterr()
    assert f"http://127.0.0.1:{seen[0]}/enter?code=" in out
    assert (tmp_path / "token.txt").read_text().strip() not in out
    assert "Ended." in err
