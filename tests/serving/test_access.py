"""Who may use the server: hosts, pages of other origins, links, tokens and cookies."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving_samples import ADDRESS, BEARER, TOKEN, client_of
from starlette.testclient import TestClient

from bioclip_core.errors import DataError, UsageError
from bioclip_plugin.serving.options import ServeOptions
from bioclip_plugin.serving.security import Access, token_of
from bioclip_plugin.serving.state import Workbench


@pytest.fixture
def alone() -> Workbench:
    return Workbench(Access(8710, TOKEN))


def entered(bench: Workbench) -> TestClient:
    """A browser that followed the printed link."""
    browser = client_of(bench, {})
    link = bench.access.link("127.0.0.1")
    assert link.startswith(f"{ADDRESS}/enter?code=")
    assert TOKEN not in link
    answer = browser.get(link)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("bioclip-8710=", "HttpOnly", "SameSite=Strict", "Path=/"))
    assert TOKEN not in cookie
    return browser


def test_a_link_is_taken_once_and_its_cookie_lets_a_browser_in(alone: Workbench) -> None:
    browser = entered(alone)
    assert browser.get("/v1/health").status_code == 200
    second = client_of(alone, {})
    answer = second.get(alone.access.link("127.0.0.1"))
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert second.get("/v1/health").status_code == 401


def test_the_page_takes_the_token_and_nothing_else(alone: Workbench) -> None:
    browser = client_of(alone, {"Origin": ADDRESS})
    assert "<form" in browser.get("/enter").text
    for wrong in ("", "x", TOKEN + "x", "é"):
        assert browser.post("/enter", data={"token": wrong}).status_code == 403
    assert browser.post("/enter", content=b"\xff=\xff").status_code == 403
    assert browser.post("/enter", content=b"x" * 20_000).status_code == 413
    assert browser.post("/enter", data={"token": TOKEN}).status_code == 303
    assert browser.get("/v1/health").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Cookie": f"bioclip-8710={TOKEN}"}, 401),
        (BEARER, 200),
        ({**BEARER, "Host": "localhost:8710"}, 200),
        ({**BEARER, "Host": "[::1]:8710"}, 200),
        ({**BEARER, "Host": "127.0.0.1:9000", "Origin": "http://127.0.0.1:9000"}, 200),
        ({**BEARER, "Host": "evil.example"}, 400),
        ({**BEARER, "Host": "127.0.0.1.evil.example"}, 400),
        ({**BEARER, "Host": "192.168.1.7:8710"}, 400),
        ({**BEARER, "Host": "user@127.0.0.1:8710"}, 400),
        ({**BEARER, "Host": "127.0.0.1:8710/x"}, 400),
        ({**BEARER, "Host": "[::1"}, 400),
        ({**BEARER, "Host": ""}, 400),
        ({**BEARER, "Origin": "http://evil.example"}, 403),
        ({**BEARER, "Origin": "http://127.0.0.1:3000"}, 403),
        ({**BEARER, "Origin": "null"}, 403),
        ({**BEARER, "Sec-Fetch-Site": "same-site"}, 403),
        ({**BEARER, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403),
        ({**BEARER, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({**BEARER, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        ({**BEARER, "Sec-Fetch-Site": "same-origin", "Origin": ADDRESS}, 200),
    ],
)
def test_what_is_let_in(alone: Workbench, headers: dict[str, str], status: int) -> None:
    assert client_of(alone, {}).get("/v1/health", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),  # neither header: no browser of today
        ({"Origin": ADDRESS}, 415),
        ({"Sec-Fetch-Site": "same-origin"}, 415),
        ({"Origin": "http://127.0.0.1:3000", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 403),
    ],
)
def test_a_cookie_alone_changes_nothing_for_a_foreign_page(
    bench: Workbench, headers: dict[str, str], status: int
) -> None:
    assert entered(bench).post("/v1/classify", headers=headers).status_code == status


def test_only_liveness_and_the_page_for_the_token_are_open(alone: Workbench) -> None:
    browser = client_of(alone, {})
    assert browser.get("/health").json() == {"status": "ok"}
    for path in (
        "/",
        "/v1/docs",
        "/v1/openapi.json",
        "/v1/metrics",
        "/v1/runs",
        "/serving.css",
        "/nothing",
        "/enter/x",
        "//enter",
    ):
        assert browser.get(f"{ADDRESS}{path}").status_code == 401, path


def test_off_loopback_addresses_and_given_names_may_be_addressed_and_others_not() -> None:
    options = ServeOptions(host="0.0.0.0", allowed_hosts=("Museum.example.org",))
    bench = Workbench(Access.of(options, 8710))
    headers = {"Authorization": f"Bearer {bench.access.token}"}
    codes = {
        host: client_of(bench, headers).get("/v1/health", headers={"Host": host}).status_code
        for host in ("museum.example.org", "192.168.1.7:8710", "evil.example")
    }
    assert list(codes.values()) == [200, 200, 400]


def test_without_a_token_only_this_machine_is_served_and_foreign_pages_are_still_refused() -> None:
    with pytest.raises(UsageError, match="every machine in the network"):
        ServeOptions(host="0.0.0.0", no_token=True)
    with pytest.raises(UsageError, match="contradict"):
        ServeOptions(no_token=True, token_file=Path("token"))
    bench = Workbench(Access.of(ServeOptions(no_token=True), 8710))
    assert bench.access.link("127.0.0.1") == ADDRESS
    browser = client_of(bench, {})
    assert browser.get("/v1/health").status_code == 200
    assert browser.get("/v1/health", headers={"Host": "evil.example"}).status_code == 400
    assert browser.post("/v1/classify", headers={"Origin": "http://127.0.0.1:3000"}).status_code == 403


def test_a_token_file_is_made_for_its_owner_alone_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "token"
    token = token_of(file)
    assert (len(token) > 40, file.stat().st_mode & 0o077, token_of(file)) == (True, 0, token)
    assert token_of(None) != token_of(None)
    file.chmod(0o644)
    with pytest.raises(DataError, match="chmod 600"):
        token_of(file)
    file.chmod(0o600)
    for text in ("", "short", "two words of more than twenty letters"):
        file.write_text(text)
        with pytest.raises(DataError, match="holds no token"):
            token_of(file)
    with pytest.raises(DataError, match="cannot be written"):
        token_of(tmp_path / "missing" / "token")
