"""The report in Chromium, with real clicks and keys: filters, pages, the detail view, hostile names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect
from report_samples import ANIMAL, NOON, PERSON, House, item, trapped

from bioclip_core.taxonomy import Taxon
from bioclip_plugin import MediaItem, Place, Region
from bioclip_plugin.items.media import Unlisted
from bioclip_plugin.store import Store
from bioclip_plugin.store.records import ReviewTarget

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

HOSTILE = (
    "<script>window.hacked=1</script>.jpg",
    "</script><script>window.hacked=2</script>.jpg",
    '"><img src=x onerror=window.hacked=3>.jpg',
    "' onmouseover='window.hacked=4.jpg",
    "<!--<script>.jpg",
    "a\u2028b\u2029c.jpg",
    "a\x01\x1b[31mb\nc\td.jpg",
    "\u202egpj.exe.jpg",
    "&lt;b&gt;&amp;.jpg",
    "${window.hacked=5}`$`.jpg",
    "javascript:window.hacked=6",
    "]]></style><svg onload=window.hacked=7>.jpg",
)


@dataclass
class Opened:
    """Report in the browser, with its requests and log messages."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def titles(self) -> list[str]:
        """Return the names on the cards of the current page."""
        return self.page.locator(".card .name").evaluate_all(
            "all => all.map((one) => one.firstElementChild.textContent)"
        )  # type: ignore[no-any-return]

    def count(self) -> str:
        """Return the page's own count of the filtered entries."""
        self.page.wait_for_timeout(80)  # waits for the next frame
        return self.page.locator("#count").inner_text()


Opener = Callable[..., Opened]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opener]:
    """Function that opens reports. At the end, there must be no requests to other addresses and no log messages."""
    contexts = []
    seen: list[Opened] = []

    def open_(path: Path, width: int = 1280, **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        one = Opened(context.new_page())
        seen.append(one)
        one.page.on("request", lambda request: one.requests.append(request.url))
        one.page.on("console", lambda message: one.complaints.append(message.text))
        one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
        one.page.on("dialog", lambda dialog: one.complaints.append(f"dialog {dialog.message}"))
        one.page.goto(path.as_uri())
        one.page.wait_for_selector("html[data-ready]")
        return one

    yield open_
    for context in contexts:
        context.close()
    for one in seen:
        assert one.complaints == []
        assert [url[:60] for url in one.requests[1:] if not url.startswith("data:image/")] == []


def test_a_taxon_is_found_by_the_list_and_by_a_click_on_its_name(large_report: Path, opened: Opener) -> None:
    report = opened(large_report)
    assert report.count() == "150 in all, page 1 of 3"
    label = report.page.locator("#taxon option", has_text="Blue pictus").inner_text()
    assert label == "Blue pictus · azure invention (30)"
    report.page.get_by_role("combobox", name="Taxon").select_option(label=label)
    assert report.count() == "30 of 150, page 1 of 1"
    assert set(report.titles()) == {"Blue pictus"}
    report.page.get_by_role("combobox", name="Group by").select_option("family")
    assert report.count() == "150 in all, page 1 of 3"
    report.page.get_by_role("button", name="Green fictus", exact=True).first.click()
    assert report.count() == "30 of 150, page 1 of 1"
    assert set(report.titles()) == {"Green fictus"}
    assert report.page.locator(".cards .group").all_inner_texts() == ["Green fictus leafy invention"]
    report.page.get_by_role("button", name="Clear filters").click()
    assert report.count() == "150 in all, page 1 of 3"


def test_pages_turn_forth_and_back_and_by_number(large_report: Path, opened: Opener) -> None:
    report = opened(large_report)
    first = report.page.locator(".card").first.get_attribute("data-entry")
    above = report.page.get_by_role("navigation", name="Pages of the gallery", exact=True)
    assert above.get_by_role("button", name="Previous").is_disabled()
    above.get_by_role("button", name="Next").click()
    assert report.count() == "150 in all, page 2 of 3"
    assert report.page.locator(".card").count() == 60
    report.page.get_by_role("spinbutton", name="Page").fill("3")
    report.page.keyboard.press("Enter")
    assert report.count() == "150 in all, page 3 of 3"
    assert report.page.locator(".card").count() == 30
    assert above.get_by_role("button", name="Next").is_disabled()
    report.page.get_by_role("spinbutton", name="Page").fill("99")
    report.page.keyboard.press("Tab")
    assert report.count() == "150 in all, page 3 of 3"
    above.get_by_role("button", name="Previous").click()
    above.get_by_role("button", name="Previous").click()
    assert report.page.locator(".card").first.get_attribute("data-entry") == first


def test_the_detail_view_opens_by_key_turns_by_arrows_and_closes_by_escape(house: House, opened: Opener) -> None:
    house.classify([item(house.photo("red.jpg", "red"), regions=(ANIMAL, Region(0.5, 0.5, 0.3, 0.3)), captured_at=NOON),
                    item(house.photo("blue.jpg", "blue"), deployment="CAM 9")])  # fmt: skip
    with Store.open(house.address) as store:
        taxon = Taxon("Fictia", "", "", "", "Coldidae", "Blue", "pictus")
        store.add_review(
            ReviewTarget("media", str(house.folder / "red.jpg")), "taxon", taxon, reviewer="Ada", comment="sure"
        )
    report = opened(house.write()[0])
    page, dialog = report.page, report.page.get_by_role("dialog")
    page.locator(".card").first.focus()
    page.keyboard.press("Enter")
    assert dialog.is_visible()
    assert page.locator("#detail-title").inner_text() == "Red fictus"
    assert page.locator("#detail-place").inner_text() == "1 of 3"
    text = dialog.inner_text()
    for expected in ("Candidates", "Decision", "Review ✗ differs", "Ada", "sure", "2031-05-01 12:00:00", "detector 5"):
        assert expected in text
    assert (
        page.locator("#detail-body svg.picture").first.get_attribute("aria-label")
        == "Whole image: Red fictus, >99%, red.jpg, box drawn"
    )
    assert page.locator("#detail-body svg.picture").first.locator("rect.box").count() == 2
    assert page.locator("#detail-body svg.picture").first.locator("rect.own").count() == 1
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.locator("#detail-title").inner_text() == "Blue pictus"
    assert "CAM 9" in dialog.inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#detail-place").inner_text() == "3 of 3"
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    # The browser returns the focus first, and the page moves it to the last card in a later event.
    expect(page.locator(".card", has_text="Blue pictus")).to_be_focused()


def test_the_box_is_drawn_at_its_place(house: House, opened: Opener) -> None:
    house.classify([item(house.photo("red.jpg", "red", (400, 300)), regions=(Region(0.25, 0.5, 0.5, 0.25),))])
    page = opened(house.write()[0]).page
    page.locator(".card").click()
    whole = page.locator("#detail-body svg.picture").first
    picture, box = whole.locator("image").bounding_box(), whole.locator("rect.box").bounding_box()
    assert picture
    assert box
    shares = [(box["x"] - picture["x"]) / picture["width"], (box["y"] - picture["y"]) / picture["height"],
              box["width"] / picture["width"], box["height"] / picture["height"]]  # fmt: skip
    assert shares == pytest.approx([0.25, 0.5, 0.5, 0.25], abs=0.02)  # the stroke is 2 pixels wide


def test_the_slider_of_probability_and_the_days_narrow_the_gallery(house: House, opened: Opener) -> None:
    """A purple image is half red and half blue, so its probability is far from one."""
    from PIL import Image

    items = [item(house.photo(f"red{n}.jpg", "red"), captured_at=NOON + timedelta(days=n)) for n in range(4)]
    Image.new("RGB", (60, 60), (200, 20, 190)).save(house.folder / "purple.jpg")
    house.classify([*items, item(house.folder / "purple.jpg")], labels=("a red fish", "a blue fish"))
    page = (report := opened(house.write()[0])).page
    slider = page.get_by_label("Probability from")
    slider.focus()
    page.keyboard.press("End")
    assert report.count() == "0 of 5, page 1 of 1"
    assert page.locator("#least-shown").inner_text() == "100%"
    assert "No entry passes these filters." in page.locator("#cards").inner_text()
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    assert report.count() == "4 of 5, page 1 of 1"
    assert page.locator("#least-shown").inner_text() == "95%"
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_label("From day").fill("2031-05-02")
    page.get_by_label("To day").fill("2031-05-03")
    assert report.count() == "2 of 5, page 1 of 1"
    assert [one[:10] for one in page.locator(".card .file").all_inner_texts()[::2]] == ["2031-05-02", "2031-05-03"]


def test_camera_verdict_and_file_name_narrow_the_gallery_and_the_charts(house: House, opened: Opener) -> None:
    house.classify([*trapped(house, 30), item(house.photo("walker.jpg", "red"), regions=(PERSON,), detected=True)])
    page = (report := opened(house.write()[0])).page
    page.get_by_role("combobox", name="Camera").select_option(label="CAM 1")
    assert report.count() == "10 of 31, page 1 of 1"
    assert page.locator("circle.spot.none").count() == 2
    heights = page.locator("rect.left").evaluate_all("all => all.map((one) => Number(one.getAttribute('height')))")
    assert sum(height > 0 for height in heights) == 4
    page.get_by_role("button", name="Clear filters").click()
    assert report.count() == "31 in all, page 1 of 1"
    assert page.locator("circle.spot.none").count() == 0
    page.get_by_role("combobox", name="Verdict").select_option("person")
    assert (report.count(), report.titles()) == ("1 of 31, page 1 of 1", ["person"])
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_role("searchbox", name="File name").fill("BLUE_00")
    assert report.count() == "2 of 31, page 1 of 1"
    page.get_by_role("searchbox", name="File name").fill("(.*)[")
    assert report.count() == "0 of 31, page 1 of 1"


def test_the_least_sure_come_first_when_asked(house: House, opened: Opener) -> None:
    house.classify(trapped(house, 15))
    page = (report := opened(house.write()[0])).page
    page.get_by_role("combobox", name="Order").select_option(label="file name")
    report.count()
    folders = page.locator(".card .file[title]").evaluate_all("all => all.map((one) => one.title)")
    assert (len(folders), folders) == (15, sorted(folders))
    page.get_by_role("combobox", name="Order").select_option("unsure")
    report.count()
    shown = page.locator(".card meter").evaluate_all("all => all.map((one) => one.value)")
    assert shown == sorted(shown)


def test_failures_are_listed_with_their_reasons_and_searched(house: House, opened: Opener) -> None:
    broken = house.folder / "broken.jpg"
    broken.write_bytes(b"no image at all")
    gone = [MediaItem(f"gone/{number:03}.jpg") for number in range(120)]
    house.classify([item(broken), *gone, Unlisted("list.csv#7", "a row without an image")])
    page = opened(house.write()[0]).page
    assert page.get_by_role("link", name="Failures 122").is_visible()
    assert "the file does not exist (any more)" in page.locator("#failures table").inner_text()
    assert page.locator("#failure-count").inner_text() == "122 images, page 1 of 2"
    page.locator("#failure-next").click()
    assert page.locator("#failure-list li").count() == 22
    page.get_by_label("Find a name or a reason").fill("no image at")
    assert page.locator("#failure-list").inner_text().startswith(str(broken))
    page.get_by_label("Find a name or a reason").fill("a row without")
    assert page.locator("#failure-list").inner_text() == "list.csv#7\nlist: a row without an image"


def hostile_run(house: House) -> None:
    """Store every text that a person or a file can supply, each with markup in it."""
    evil = "</script><img src=x onerror=window.hacked=9>"
    items: list[MediaItem | Unlisted] = []
    for number, name in enumerate(HOSTILE):
        photo = house.photo(f"plain{number}.jpg", "red")
        region = Region(0.1, 0.1, 0.3, 0.3, evil, evil, evil, 0.5)
        items.append(
            MediaItem(
                name, path=photo, regions=(region,), deployment=f"{evil}{number}", sequence=evil,
                place=Place(evil, evil, 10.0 + number, 10.0), captured_at=NOON,
            )
        )  # fmt: skip
    items.append(Unlisted(evil, evil))
    house.classify(items, sources=(evil,))
    with Store.open(house.address) as store:
        for name in HOSTILE:
            taxon = Taxon(evil, evil, evil, evil, evil, evil, evil, evil)
            store.add_review(ReviewTarget("media", name), "taxon", taxon, reviewer=evil, comment=evil)


def test_hostile_names_are_text_and_nothing_runs(house: House, opened: Opener) -> None:
    hostile_run(house)
    (house.folder / "names.csv").write_text(
        'scientificName,language,vernacularName\nRed fictus,xx,"<img src=x onerror=window.hacked=10 "\n'
    )
    page = (report := opened(house.write(names=house.folder / "names.csv")[0])).page
    assert report.count() == f"{len(HOSTILE)} in all, page 1 of 1"
    page.locator(".card").first.click()
    for number in range(len(HOSTILE)):
        assert page.locator("#detail-body").inner_text()
        assert page.locator("#detail-place").inner_text() == f"{number + 1} of {len(HOSTILE)}"
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    shown = " ".join(page.locator(".card .file").all_inner_texts())
    for part in (
        "script>.jpg",
        "a\\u2028b\\u2029c.jpg",
        "\\u202egpj.exe.jpg",
        "&lt;b&gt;&amp;.jpg",
        "<!--<script>.jpg",
    ):
        assert part in shown
    page.get_by_role("combobox", name="Camera").select_option(index=3)
    page.get_by_role("searchbox", name="File name").fill("</script>")
    report.count()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img, iframe, object, embed").count() == 0
    assert page.locator("script:not([type])").count() == 1


def test_an_injected_script_does_not_run(house: House, opened: Opener) -> None:
    """This tests the policy itself, in case a text is ever not escaped: inline scripts, handlers and addresses are blocked."""
    house.classify(trapped(house, 3))
    path = house.write()[0]
    text = path.read_text("utf-8")
    added = "<script>window.hacked=1</script><img src=x onerror='window.hacked=2'><a id=lure href='javascript:window.hacked=3'>x</a>"
    path.write_text(text.replace("<main>", f"<main>{added}"), "utf-8")
    report = opened(path)
    report.page.locator("#lure").click()
    report.page.wait_for_timeout(200)
    assert report.page.evaluate("window.hacked") is None
    assert len(report.complaints) >= 3
    assert all("Content Security Policy" in complaint for complaint in report.complaints)
    report.complaints.clear()
    report.requests.clear()


def test_every_control_has_a_name_and_the_page_its_landmarks(house: House, opened: Opener) -> None:
    house.classify([*trapped(house, 70), MediaItem("gone.jpg")])
    page = opened(house.write()[0]).page
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, select, button")].filter((one) =>
             !(one.labels && one.labels.length) && !one.getAttribute("aria-label") && !one.textContent.trim()
           ).map((one) => one.outerHTML)"""
    )
    assert nameless == []
    silent = page.evaluate(
        """() => [...document.querySelectorAll("svg")].filter((one) =>
             !one.getAttribute("aria-label") && !one.getAttribute("aria-hidden")).length"""
    )
    assert silent == 0
    for role in ("main", "banner", "contentinfo"):
        assert page.get_by_role(role).count() == 1  # type: ignore[arg-type]
    identifiers = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(identifiers) == len(set(identifiers))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the gallery"


@pytest.mark.parametrize("width", [360, 768, 1920])
def test_no_width_makes_the_page_scroll_sideways(house: House, opened: Opener, width: int) -> None:
    house.classify(
        [item(house.photo(f"{'a_long_name_without_an_end' * 6}.jpg", "red"), deployment="C" * 90), MediaItem("g" * 200)]
    )
    page = opened(house.write()[0], width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".card").first.click()
    assert page.evaluate("document.getElementById('detail').getBoundingClientRect().right") <= width


def test_dark_and_light_follow_the_reader_and_print_is_light(house: House, opened: Opener) -> None:
    house.classify(trapped(house, 3))
    path = house.write()[0]
    ground = "getComputedStyle(document.body).backgroundColor"
    assert opened(path, color_scheme="light").page.evaluate(ground) == "rgb(246, 246, 242)"
    dark = opened(path, color_scheme="dark").page
    assert dark.evaluate(ground) == "rgb(20, 24, 22)"
    dark.emulate_media(media="print")
    assert dark.evaluate(ground) == "rgb(255, 255, 255)"
    assert not dark.locator("#filters").is_visible()
    assert dark.locator("#provenance").is_visible()


def test_without_javascript_the_figures_are_there(house: House, opened: Opener, browser: Browser) -> None:
    house.classify(trapped(house, 6))
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(house.write()[0].as_uri())
    text = page.locator("main").inner_text()
    context.close()
    assert "The gallery needs JavaScript" in text
    assert "Red fictus" in text
