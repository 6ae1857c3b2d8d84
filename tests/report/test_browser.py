"""The report in headless Chromium: no error, no request, nothing wider than the screen."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import pytest

from amplitune.report import build_report
from amplitune.study.statistics.findings import Findings
from amplitune.study.stored.results import Results

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
SWITCHES += ["--disable-component-update", "--disable-sync", "--disable-quic"]


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    executable = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="the Python package playwright is not installed"
    )
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=executable, args=SWITCHES)
        yield running
        running.close()


@pytest.fixture(scope="module")
def reports(
    results: Results,
    found: Findings,
    rich: Results,
    rich_found: Findings,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """Addresses of the page of a small, old study and of one with everything."""
    folder = tmp_path_factory.mktemp("report")
    build_report(results, folder / "old.html", found)
    build_report(rich, folder / "rich.html", rich_found)
    return {name: (folder / f"{name}.html").as_uri() for name in ("old", "rich")}


@pytest.fixture
def opened(browser: "Browser", reports: dict[str, str]) -> "Iterator[Page]":
    """The rich page at 1280 px; at the end it must have printed nothing on the console."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(reports["rich"])
    yield page
    assert messages == []
    context.close()


@pytest.mark.parametrize("which", ["old", "rich"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_report_in_a_browser(
    browser: "Browser", reports: dict[str, str], scheme: Literal["light", "dark"], width: int, which: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    messages, requests = [], []
    page.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(reports[which])

    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    figures = page.locator("svg:visible")
    assert figures.count() == {"old": 4, "rich": 12}[which]
    for index in range(figures.count()):
        box = figures.nth(index).bounding_box()
        assert box is not None
        assert 250 < box["width"] <= width
        assert box["height"] > 150
    letters = page.evaluate(
        "Array.from(document.querySelectorAll('svg text'), (text) => text.getBoundingClientRect().height)"
        ".filter((height) => height > 0)"
    )
    assert len(letters) > 20
    assert min(letters) >= 9
    background, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor,"
        " getComputedStyle(document.querySelector('svg text')).fill]"
    )
    assert (brightness(background) < 60) == (scheme == "dark")
    assert (brightness(ink) > 140) == (scheme == "dark")

    assert messages == []
    # The empty icon is a data: address, which leaves nothing to fetch.
    assert {url for url in requests if not url.startswith("data:")} == {reports[which]}
    context.close()


def column(page: "Page", number: int) -> list[str]:
    """Method and cell of a column of the first table, as sorted."""
    return [
        str(text).strip()
        for text in page.evaluate(
            "(number) => Array.from(document.querySelector('table.methods').tBodies[0].rows)"
            ".filter((row) => !row.classList.contains('follows'))"
            ".map((row) => row.cells[number].dataset.value ?? row.cells[number].textContent)",
            number,
        )
    ]


def test_a_click_sorts_by_number_and_a_second_one_the_other_way(opened: "Page") -> None:
    before = column(opened, 0)
    heading = opened.locator("table.methods").first.locator("thead th", has_text="ROUGE-L")
    heading.locator("button").click()
    values = [float(value) for value in column(opened, 3)]
    assert len(values) == 15
    assert values == sorted(values)
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.locator("button").click()
    assert [float(value) for value in column(opened, 3)] == sorted(values, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    assert sorted(column(opened, 0)) == sorted(before)
    assert opened.locator("table.methods").first.locator("[aria-sort]").count() == 1


def test_the_keyboard_sorts_and_what_is_missing_comes_last(opened: "Page") -> None:
    heading = opened.locator("table.methods").first.locator("thead th", has_text="Step")
    heading.locator("button").focus()
    for _ in range(2):
        opened.keyboard.press("Enter")
        cells = column(opened, 10)
        assert cells[-1] == ""
        assert "" not in cells[:-1]
    assert heading.get_attribute("aria-sort") == "descending"


def test_words_are_sorted_as_words(opened: "Page") -> None:
    opened.locator("table.methods").first.locator("thead button", has_text="Method").click()
    names = column(opened, 0)
    assert names == sorted(names)


def test_a_failed_run_stays_under_its_method(opened: "Page") -> None:
    table = opened.locator("#task-3 table.methods").first
    table.locator("thead button", has_text="Accuracy").click()
    assert table.locator("tr:has(> th:text('prefix')) + tr.failed").count() == 1


def test_curves_are_switched_by_click_and_by_keyboard(opened: "Page") -> None:
    switch = opened.locator("#task-1 fieldset.switch").first
    shown = switch.locator("svg:visible title")
    assert shown.text_content() == "Validation loss against optimizer steps"
    switch.locator("label", has_text="Seconds").click()
    assert shown.text_content() == "Validation loss against time of training"
    opened.keyboard.press("ArrowLeft")
    assert shown.text_content() == "Validation loss against tokens trained on"


def test_without_scripts_everything_can_be_read_and_switched(
    browser: "Browser", reports: dict[str, str]
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, java_script_enabled=False)
    page = context.new_page()
    page.goto(reports["rich"])
    assert page.locator("thead button").count() == 0
    assert page.locator("table.methods").first.locator("tbody tr").count() == 15
    page.locator("#task-1 fieldset.switch label", has_text="Tokens").first.click()
    shown = page.locator("#task-1 fieldset.switch").first.locator("svg:visible title")
    assert shown.text_content() == "Validation loss against tokens trained on"
    page.locator("summary", has_text="Tuning").first.click()
    assert page.locator("#task-1 table.chosen").is_visible()
    context.close()


def brightness(colour: str) -> float:
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return (red + green + blue) / 3
