"""The report in headless Chromium: no error, no request, nothing wider than the screen."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import pytest

from amplitune.report import build_report
from amplitune.study.results import Results

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    build_report(results, path)
    return path.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_report_in_a_browser(
    browser: "Browser", report: str, scheme: Literal["light", "dark"], width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    messages, requests = [], []
    page.on("console", lambda message: messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report)

    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    figures = page.locator("svg")
    assert figures.count() == 4
    for index in range(4):
        box = figures.nth(index).bounding_box()
        assert box is not None
        assert 250 < box["width"] <= width
        assert box["height"] > 150
    letters = page.evaluate(
        "Array.from(document.querySelectorAll('svg text'), (text) => text.getBoundingClientRect().height)"
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
    assert {url for url in requests if not url.startswith("data:")} == {report}
    context.close()


def brightness(colour: str) -> float:
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    return (red + green + blue) / 3
