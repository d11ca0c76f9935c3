"""Manners: rate, concurrency, waits that a host asks for, and hosts that are left alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from image_server import (
    FastClock,
    ImageServer,
    OpenFetcher,
    hangs_up,
    html,
    photo,
    redirect,
    silent,
    status,
    truncated,
    unless_known,
)

from bioclip_plugin.fetching.errors import FetchError
from bioclip_plugin.fetching.fetcher import Fetcher
from bioclip_plugin.fetching.pending import Pending
from bioclip_plugin.fetching.reasons import retry_after
from bioclip_plugin.fetching.totals import Totals


def all_results(pending: list[Pending]) -> list[Any]:
    found: list[Any] = []
    for one in pending:
        try:
            found.append(one.result(20))
        except FetchError as error:
            found.append(error)
    return found


def test_a_host_gets_at_most_so_many_requests_at_once_and_per_second(
    server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    clock = FastClock()
    server.delay_s = 0.01
    fetcher = open_fetcher(clock=clock, fetch_per_host=3, fetch_rate=50)
    began = clock.seconds()
    all_results([fetcher.submit(server.url(f"/photos/{number}.jpg")) for number in range(40)])
    assert server.most_at_once == 3
    assert clock.seconds() - began >= 39 / 50
    assert server.connections <= 4  # kept alive


def test_the_rate_holds_when_addresses_come_one_by_one(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    """A host without waiting work must not be forgotten with its rate."""
    clock = FastClock()
    fetcher = open_fetcher(clock=clock, fetch_rate=2)
    began = clock.seconds()
    for number in range(7):
        fetcher.fetch(server.url(f"/photos/{number}.jpg"))
    assert clock.seconds() - began >= 3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("120", 120), ("0", 0), ("  7 ", 7), ("-3", None), ("soon", None), ("", None), (None, None), ("1e9", None),
        ("9" * 400, 999_999_999), ("0" * 20 + "7", 7)],
)  # fmt: skip
def test_a_wait_is_read_from_seconds(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, datetime.now(UTC)) == seconds


def test_a_wait_is_read_from_a_date() -> None:
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert retry_after("Thu, 01 Jan 2026 12:01:30 GMT", now) == 90
    assert retry_after("Thu, 01 Jan 2026 11:00:00 GMT", now) == 0
    assert retry_after(format_datetime(now), now) == 0


def test_the_whole_host_waits_as_long_as_one_answer_asks(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    clock = FastClock()
    busy = server.add("/busy.jpg", status(429, "Retry-After: 100"), photo("busy"))
    fetcher = open_fetcher(clock=clock, fetch_per_host=1)
    began = clock.seconds()
    first = fetcher.submit(busy)
    others = [fetcher.submit(server.url(f"/photos/{number}.jpg")) for number in range(5)]
    assert not any(isinstance(one, FetchError) for one in all_results([first, *others]))
    assert clock.seconds() - began >= 100
    assert server.requests[1].path in ("/busy.jpg", "/photos/0.jpg")
    assert fetcher.totals.waited_s >= 100


@pytest.mark.parametrize(
    ("asked", "length"),
    [
        ("86400", "24 h 0 min"),
        ("99999999999", "more than a year"),
        ("9" * 500, "more than a year"),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "more than a year"),
    ],
)
def test_a_host_that_asks_for_longer_than_the_limit_is_left_alone_for_that_time(
    server: ImageServer, open_fetcher: OpenFetcher, asked: str, length: str
) -> None:
    server.add("/busy.jpg", status(503, f"Retry-After: {asked}"))
    fetcher = open_fetcher()
    own = rf"^503 Service Unavailable \(asks to wait {length}, longer than --fetch-longest-wait\)$"
    with pytest.raises(FetchError, match=own):
        fetcher.fetch(server.url("/busy.jpg"))
    other = (
        rf"^host 127.0.0.1:\d+ asks to wait {length} \(503 Service Unavailable\) and is left alone for (24 h|23 h|more)"
    )
    with pytest.raises(FetchError, match=other):
        fetcher.fetch(server.url("/photos/a.jpg"))
    assert server.count() == 1


@pytest.mark.parametrize(
    ("answer", "times", "reason"),
    [
        (status(429), 4, "429 Too Many Requests"),
        (status(403), 40, "403 Forbidden"),
        (html(), 40, "an HTML page instead of an image"),
    ],
)
def test_a_host_that_blocks_is_left_alone_and_its_images_fail_at_once(
    server: ImageServer, open_fetcher: OpenFetcher, answer: Any, times: int, reason: str
) -> None:
    fetcher = open_fetcher(fetch_host_failures=4, fetch_per_host=1)
    found = all_results([fetcher.submit(server.add(f"/{number}.jpg", answer)) for number in range(90)])
    assert server.count() == times
    assert all(isinstance(one, FetchError) for one in found)
    why = rf"failed {times} times in a row \({reason}; --fetch-host-failures\) and is left alone for .*; the same command tries again"
    with pytest.raises(FetchError, match=rf"^host 127.0.0.1:\d+ {why}$"):
        fetcher.fetch(server.url("/other.jpg"))


def test_a_host_that_is_left_alone_is_tried_again_later_with_one_request_at_first(
    server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    clock = FastClock()
    fetcher = open_fetcher(clock=clock, fetch_host_failures=3)
    for number in range(30):
        with pytest.raises(FetchError):
            fetcher.fetch(server.add(f"/{number}.jpg", status(403)))
    with pytest.raises(FetchError, match="left alone"):
        fetcher.fetch(server.url("/photos/a.jpg"))
    clock.waited_s += 700
    assert fetcher.fetch(server.url("/photos/b.jpg")).status == 200
    assert fetcher.fetch(server.url("/photos/c.jpg")).status == 200


@pytest.mark.parametrize("bad", [status(500), status(403), html()])
def test_bad_images_at_the_top_of_a_table_hide_no_good_ones(
    server: ImageServer, open_fetcher: OpenFetcher, bad: Any
) -> None:
    fetcher = open_fetcher()
    bad_ones = [server.add(f"/{number}.jpg", bad) for number in range(120)]
    pending = [fetcher.submit(one) for one in [*bad_ones, *(server.url(f"/photos/{n}.jpg") for n in range(30))]]
    assert [isinstance(one, FetchError) for one in all_results(pending)] == [True] * 120 + [False] * 30


def test_a_host_that_is_gone_is_asked_few_times_for_many_images(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    fetcher = open_fetcher()
    found = all_results([fetcher.submit(server.add(f"/{number}.jpg", hangs_up())) for number in range(1_000)])
    assert all(isinstance(one, FetchError) for one in found)
    assert server.count() <= 12


def test_a_failure_behind_a_redirect_names_the_host_that_answered(
    server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    with ImageServer() as other:
        fetcher = open_fetcher()
        with pytest.raises(FetchError, match="404 Not Found") as caught:
            fetcher.fetch(server.add("/a.jpg", redirect(other.url("/gone.jpg"))))
        assert caught.value.host == f"127.0.0.1:{other.port}"
        assert f"at 127.0.0.1:{other.port}" in list(fetcher.totals.lines())[1]


def test_an_absurd_date_to_wait_for_is_no_date() -> None:
    assert retry_after("Thu, 01 Jan 99999999999 12:01:30 GMT", datetime.now(UTC)) is None


def test_missing_images_of_a_host_that_answers_are_no_reason_to_leave_it_alone(
    server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    fetcher = open_fetcher(fetch_host_failures=3)
    all_results([fetcher.submit(server.url(f"/gone/{number}.jpg")) for number in range(20)])
    assert server.count() == 20
    assert fetcher.fetch(server.url("/photos/a.jpg")).status == 200


def test_a_host_that_is_gone_fails_with_its_reason_and_the_same_address_comes_when_it_is_back(
    server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    server.stop()
    address = server.url("/photos/a.jpg")
    with pytest.raises(FetchError, match=r"refuses connections \(tried 2 times\)"):
        open_fetcher(fetch_tries=2).fetch(address)
    server.start()
    assert open_fetcher().fetch(address).path.read_bytes() == photo("/photos/a.jpg")


def test_a_slow_host_holds_up_no_other(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    with ImageServer() as slow:
        fetcher = open_fetcher(fetch_connections=4, fetch_per_host=2)
        waiting = [fetcher.submit(slow.add(f"/{number}.jpg", silent())) for number in range(20)]
        quick = [fetcher.submit(server.url(f"/photos/{number}.jpg")) for number in range(20)]
        assert not any(isinstance(one, FetchError) for one in all_results(quick))
        assert not any(one.done() for one in waiting)
        assert slow.count() == 2


def test_a_redirect_takes_its_turn_at_the_host_that_it_leads_to(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    server.delay_s = 0.005
    with ImageServer() as resolver:
        fetcher = open_fetcher(fetch_per_host=2, fetch_connections=16)
        pending = [
            fetcher.submit(resolver.add(f"/{number}", redirect(server.url(f"/photos/{number}.jpg")))) for number in range(20)
        ]  # fmt: skip
        assert not any(isinstance(one, FetchError) for one in all_results(pending))
        assert server.most_at_once == 2


def test_five_redirects_are_followed_and_six_are_not(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    for number in range(6):
        server.add(f"/{number}", redirect(f"/{number + 1}", 301))
    server.add("/6", photo("end"))
    assert open_fetcher().fetch(server.url("/1")).path.read_bytes() == photo("end")
    with pytest.raises(FetchError, match="redirected more than 5 times"):
        open_fetcher().fetch(server.url("/0"))


def test_hosts_learn_who_asks_and_get_no_cookies_back(
    server: ImageServer, open_fetcher: OpenFetcher, caplog: pytest.LogCaptureFixture
) -> None:
    server.add("/a.jpg", redirect("/b.jpg"))
    server.add("/b.jpg", photo("b"))
    open_fetcher(fetch_contact="curator@museum.example").fetch(server.url("/a.jpg"))
    agents = {request.headers["user-agent"] for request in server.requests}
    assert len(agents) == 1
    assert agents.pop().endswith(" (+curator@museum.example)")
    assert all("cookie" not in request.headers for request in server.requests)
    assert not caplog.records
    open_fetcher(fetch_contact="").fetch(server.url("/photos/a.jpg"))
    assert server.requests[-1].headers["user-agent"].startswith("bioclip-plugin/")
    assert "--fetch-contact" in caplog.text


def test_an_unchanged_image_is_not_sent_again(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    address = server.add(
        "/a.jpg",
        unless_known(photo("old"), '"1"'),
        unless_known(photo("old"), '"1"'),
        unless_known(photo("new"), '"2"'),
    )
    fetcher = open_fetcher()
    old = fetcher.fetch(address)
    assert fetcher.fetch(address, again=True) == type(old)(old.path, old.sha256, old.bytes, old.media_type, 200, True)
    new = fetcher.fetch(address, again=True)
    assert new.path.read_bytes() == photo("new")
    assert fetcher.fetch(address).sha256 == new.sha256
    assert server.requests[1].headers["if-none-match"] == '"1"'
    assert server.connections == 1


def test_an_image_stays_when_asking_for_it_again_fails(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    address = server.add("/a.jpg", photo("a"), status(404))
    fetcher = open_fetcher()
    fetcher.fetch(address)
    with pytest.raises(FetchError, match="404"):
        fetcher.fetch(address, again=True)
    assert open_fetcher().fetch(address).from_cache


def test_equal_addresses_of_many_threads_are_fetched_once(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    server.delay_s = 0.05
    fetcher, found = open_fetcher(), []
    threads = [
        threading.Thread(target=lambda: found.append(fetcher.fetch(server.url("/photos/a.jpg")).path)) for _ in range(12)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 12
    assert server.count() == 1


def test_an_address_that_failed_is_not_asked_again_for_the_next_row_but_by_the_next_run(
    server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    address = server.add("/a.jpg", status(404), photo("a"))
    fetcher = open_fetcher()
    for _ in range(3):
        with pytest.raises(FetchError, match="404"):
            fetcher.fetch(address)
    assert server.count() == 1
    assert open_fetcher().fetch(address).status == 200


def close_while(fetcher: Fetcher, is_at_work: Callable[[], bool], work: Callable[[], Any]) -> None:
    """Close the fetcher once another thread waits for its work, which would take ten minutes."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until = time.monotonic() + 60
    while not is_at_work() and time.monotonic() < until:
        time.sleep(0.001)
    fetcher.close()
    thread.join(60)
    assert not thread.is_alive()
    assert type(raised[0]).__name__ == "WorkersClosed"


def test_a_fetcher_closes_at_once_whatever_its_hosts_do(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    fetcher = open_fetcher(fetch_silence=600, fetch_connect_timeout=600)
    waiting = [fetcher.submit(server.add(f"/{number}.jpg", silent())) for number in range(9)]
    close_while(fetcher, lambda: server.count() > 0, lambda: waiting[0].result(300))
    assert all(one.done() for one in waiting)
    with pytest.raises(RuntimeError, match="closed"):
        fetcher.fetch(server.url("/photos/a.jpg"))


def test_a_host_that_limits_its_rate_is_asked_more_slowly_and_gives_every_image(open_fetcher: OpenFetcher) -> None:
    """As hosts do that answer 429 to every request above a rate: trying again at the same rate fails again."""
    clock = FastClock()
    last: list[float] = []

    class Limited(ImageServer):
        def _answer(self, path: str) -> Any:
            if last and clock.seconds() - last[0] < 1:
                return status(429, "Retry-After: 1")
            last[:] = [clock.seconds()]
            return super()._answer(path)

    with Limited() as server:
        # One at a time: while a request waits for a busy machine, this clock would go on by the turns of the others.
        fetcher = open_fetcher(clock=clock, fetch_rate=20, fetch_tries=5, fetch_per_host=1)
        found = all_results([fetcher.submit(server.url(f"/photos/{number}.jpg")) for number in range(60)])
        assert not [one for one in found if isinstance(one, FetchError)]
        assert server.count() < 120


def test_many_requests_that_are_refused_together_count_as_one_failure_of_their_host(
    server: ImageServer, open_fetcher: OpenFetcher
) -> None:
    server.delay_s = 0.05
    addresses = [
        server.add(f"/{number}.jpg", status(429, "Retry-After: 2"), photo(str(number))) for number in range(30)
    ]
    fetcher = open_fetcher(fetch_per_host=30, fetch_connections=30, fetch_host_failures=5)
    assert not [
        one for one in all_results([fetcher.submit(address) for address in addresses]) if isinstance(one, FetchError)
    ]


def test_hosts_that_do_not_answer_hold_up_one_thread_each(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    slow = [ImageServer() for _ in range(5)]
    fetcher = open_fetcher(fetch_connections=12, fetch_silence=600, fetch_tries=2)
    try:
        waiting = [
            fetcher.submit(host.add(f"/{number}.jpg", silent())) for number in range(8) for host in slow
        ]  # fmt: skip
        time.sleep(0.25)
        assert all(host.most_at_once <= 2 for host in slow)
        quick = [fetcher.submit(server.url(f"/photos/{number}.jpg")) for number in range(20)]
        assert not any(isinstance(one, FetchError) for one in all_results(quick))
        assert not all(one.done() for one in waiting)
    finally:
        fetcher.close()
        for host in slow:
            host.stop()


def test_a_turn_that_is_given_back_does_not_end_the_wait_that_a_host_asked_for() -> None:
    from bioclip_plugin.fetching.errors import TryFailed
    from bioclip_plugin.fetching.hosts import Turns
    from bioclip_plugin.fetching.options import FetchOptions

    class One:
        ready_at = begun_at = 0.0

    clock = FastClock()
    turns: Turns[One] = Turns(FetchOptions(fetch_per_host=2), clock, lambda *_: None)  # type: ignore[arg-type]
    for _ in range(3):
        turns.put("host", One())
    first, second = turns.take(), turns.take()
    assert first is not None
    assert second is not None
    turns.ended(first[0], TryFailed("429", blames_host=True, pauses_host=True, wait_s=100))
    turns.ended(second[0], None, asked=False)
    began = clock.seconds()
    turns.take()
    assert clock.seconds() - began > 99


def test_ten_thousand_waiting_addresses_cost_no_time_of_their_own() -> None:
    from bioclip_plugin.fetching.hosts import Turns
    from bioclip_plugin.fetching.options import FetchOptions

    class One:
        ready_at = begun_at = 0.0

    turns: Turns[One] = Turns(FetchOptions(fetch_rate=10_000), FastClock(), lambda *_: None)  # type: ignore[arg-type]
    for number in range(10_000):
        turns.put(f"host{number % 50}", One())
    began = time.process_time()
    for _ in range(10_000):
        taken = turns.take()
        assert taken is not None
        turns.ended(taken[0], None)
    assert time.process_time() - began < 5  # seconds; a search through all of them took minutes


def test_the_totals_name_each_reason_with_its_count_and_host(server: ImageServer, open_fetcher: OpenFetcher) -> None:
    fetcher = open_fetcher(fetch_tries=1)
    addresses = [server.add(f"/{number}.jpg", truncated(photo(str(number)))) for number in range(3)]
    addresses += [server.url("/gone.jpg"), server.url("/photos/a.jpg"), server.url("/photos/a.jpg#again")]
    found = all_results([fetcher.submit(address) for address in addresses])
    first, *reasons = fetcher.totals.lines()
    assert first.endswith("1 fetched (1.0 kB), 0 from the folder, 4 failed") or "1 from the folder" in first
    assert len(found) == 6
    host = server.url("").partition("//")[2]
    assert reasons[0].startswith(f"  3 failed at {host}: truncated: got ")
    assert reasons[0].endswith(" bytes (and the like)")
    assert reasons[1] == f"  1 failed at {host}: 404 Not Found"
    assert "http://" not in " ".join(reasons)


def test_reasons_beyond_the_shown_ones_and_those_that_differ_in_numbers_are_said() -> None:
    totals = Totals()
    for number in range(25):
        totals.failed("example.org", f"reason {chr(97 + number)}")
    for reason in ("truncated: got 5 bytes", "truncated: got 5 bytes", "tried 4 times", "tried 5 times"):
        totals.failed("example.org", reason)
    said = list(totals.lines("my images"))
    assert "  2 failed at example.org: truncated: got 5 bytes" in said
    assert "  2 failed at example.org: tried 4 times (and the like)" in said
    assert said[-1] == (
        "  7 failed for other reasons; the addresses with their reasons: bioclip-plugin fetch manifest 'my images' --failed"
    )
