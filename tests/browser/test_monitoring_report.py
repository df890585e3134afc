"""The monitoring report in Chromium: on a desktop, on a phone and on paper."""

import pytest

from mlops_project.monitoring.report.page import build_report
from mlops_project.utils import load_config
from tests.evaluations import make_alert, make_drift, make_evaluation, make_feature

A4 = 718  # CSS pixels between margins of 12 mm on 210 mm
LEAST = 7  # pixels of a plot's letters
PLACES = {"desktop": (1280, "screen"), "phone": (390, "screen"), "small phone": (320, "screen"), "paper": (A4, "print")}
CLIPPED = """() => [...document.querySelectorAll("body *")]  // a phone hides the heads: the cells have their names
    .filter(item => !item.closest("thead") && item.checkVisibility() && item.getBoundingClientRect().right > innerWidth + 1)
    .map(item => item.outerHTML.slice(0, 120))"""
HIDDEN = """() => [...document.querySelectorAll(".scroll")]
    .filter(item => item.scrollWidth > item.clientWidth + 1).map(item => item.innerText.slice(0, 120))"""
LETTERS = """() => [...document.querySelectorAll("svg text")].filter(item => item.checkVisibility())
    .map(item => parseFloat(getComputedStyle(item).fontSize) * item.getScreenCTM().a)"""


@pytest.fixture(scope="module")
def text() -> str:
    faulty = make_feature("worst concave points error", shift=0.8, quality=("33.2% missing (reference: 0.5%)",))
    many = [make_feature(f"measurement number {number}") for number in range(9)]
    drift = make_drift(
        [make_feature("age", shift=1), faulty, *many, make_feature("city", kind="category")],
        scores=[make_feature("yes", shift=1)],
    )
    alerts = [make_alert(), make_alert("data-quality")]
    evaluations = [make_evaluation(hour, drift=drift, alerts=alerts) for hour in range(8)]
    return build_report(evaluations, load_config())


@pytest.fixture
def shown(browser, text):
    page = browser.new_page()

    def show(place: str):
        width, media = PLACES[place]
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(media=media, color_scheme="dark")
        page.set_content(text)
        return page

    yield show
    page.close()


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_clipped_and_letters_are_readable(shown, place):
    page = shown(place)
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate(HIDDEN) == []
    assert min(page.evaluate(LETTERS)) >= LEAST


def test_columns_of_a_row_stand_below_each_other_with_their_names_on_a_phone(shown):
    page = shown("phone")
    cells = page.locator("table").first.locator("tbody tr").first.locator("td")
    boxes = [cells.nth(number).bounding_box() for number in range(cells.count())]
    assert len({round(box["x"]) for box in boxes}) == 1
    names = cells.evaluate_all("""all => all.map(one => getComputedStyle(one, "::before").content.replaceAll('"', ""))""")
    assert names == ["What", "State", "Windows in a row", "Since (UTC)", "Why"]


def test_paper_is_white_and_shows_every_feature(shown, text):
    page = shown("paper")
    page.evaluate("document.querySelectorAll('details').forEach(item => item.open = false)")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.get_by_text("measurement number 8").evaluate("item => item.checkVisibility({contentVisibilityAuto: true})")
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
