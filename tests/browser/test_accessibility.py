import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest

from mlops_project.monitoring.store import EvaluationStore
from tests.browser.application import IS_STILL, Visit
from tests.browser.axe import find_barriers
from tests.browser.conftest import open_visits
from tests.browser.test_batch import reference, upload

THEMES = ("light", "dark")
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
SMALLEST = 24  # pixels of what is pressed: WCAG 2.2, 2.5.8
# The page has the theme's colours, and none is still fading into another.
HAS_COLOURS = """theme => {
    const page = document.querySelector("[data-testid=stApp]") ?? document.body;
    const [red, green, blue] = getComputedStyle(page).backgroundColor.match(/\\d+/g).map(Number);
    return (red + green + blue < 384) === (theme === "dark");
}"""
PREDICT = {"en": "Predict", "pt": "Prever"}


def predict(visit: Visit, language: str) -> None:
    visit.press(PREDICT[language])
    visit.page.get_by_test_id("stVegaLiteChart").nth(2).wait_for()


def wait_for_charts(count: int) -> Callable[[Visit, str], None]:
    return lambda visit, _: visit.page.get_by_test_id("stVegaLiteChart").nth(count - 1).wait_for()


def wait_for_nothing(visit: Visit, language: str) -> None:
    pass


# path → which application, and what is done there before it is looked at
PAGES: dict[str, tuple[str, Callable[[Visit, str], None]]] = {
    "": ("default_application", predict),
    "batch": ("mixed_application", wait_for_nothing),
    "model": ("default_application", wait_for_charts(5)),
    "monitoring": ("monitored_application", wait_for_charts(3)),
    "operations": ("default_application", wait_for_nothing),
}
every_size = pytest.mark.parametrize("size", SIZES)


def on_pages(*languages: str) -> pytest.MarkDecorator:
    """Run a test on every page in these languages; tests of one page run one after another, so that it is opened once."""
    views = [(path, language) for language in languages for path in PAGES]
    return pytest.mark.parametrize("opened", views, indirect=True, ids=str)


@pytest.fixture(scope="module")
def opened(browser, request):
    """Give a page that the tests share: they look at it and change nothing but its size and its colours."""
    path, language = request.param
    application, act = PAGES[path]
    with open_visits(browser) as start:
        visit = start(request.getfixturevalue(application), f"{path}?lang={language}")
        act(visit, language)
        yield visit


def resize(visit: Visit, size: str) -> Any:
    visit.page.set_viewport_size(SIZES[size])
    return visit.settle().page


def look_in_both_themes(page) -> list[str]:
    found = []
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        page.wait_for_function(HAS_COLOURS, arg=theme)
        page.wait_for_function(IS_STILL)
        found += [f"{theme}: {line}" for line in find_barriers(page)]
    return found


@on_pages("en", "pt")
@every_size
def test_page_has_no_barriers(opened, size):
    assert look_in_both_themes(resize(opened, size)) == []


def test_inputs_of_every_type_have_no_barriers(visit, mixed_application):
    page = visit(mixed_application)
    page.page.get_by_role("combobox").first.click()
    page.page.get_by_role("option", name="mixed").click()
    page.settle()
    predict(page, "en")
    assert look_in_both_themes(page.settle().page) == []


def test_scored_file_has_no_barriers(visit, default_application, default_folder):
    page = visit(default_application, "batch")
    rows = reference(default_folder)
    upload(page, "cases.csv", rows.to_csv(index=False).encode())
    page.press(f"Score {len(rows)} rows")
    page.page.get_by_test_id("stVegaLiteChart").nth(1).wait_for()
    assert look_in_both_themes(page.settle().page) == []


@pytest.fixture
def reports(monitored_folder, default_folder) -> dict[str, str]:
    monitoring = EvaluationStore(str(monitored_folder / "artifacts/monitoring")).read_bytes("breast-cancer", "report.html")
    assert monitoring is not None
    training = (default_folder / "artifacts/model/report.html").read_text(encoding="utf-8")
    return {"monitoring": monitoring.decode(), "training": training}


@pytest.mark.parametrize("name", ["monitoring", "training"])
@every_size
def test_report_has_no_barriers(browser, reports, name, size):
    with browser.new_context(viewport=SIZES[size]) as context:
        page = context.new_page()
        page.set_content(reports[name])
        assert look_in_both_themes(page) == []


@on_pages("en", "pt")
def test_document_says_its_language(opened):
    language = "pt-BR" if "lang=pt" in opened.page.url else "en"
    assert opened.page.evaluate("document.documentElement.lang") == language


def test_language_of_the_document_follows_the_switch(visit, default_application):
    page = visit(default_application, "?lang=en")
    page.page.get_by_text("Português").click()
    page.settle().page.wait_for_function("document.documentElement.lang === 'pt-BR'")


@on_pages("en", "pt")
def test_every_chart_says_what_it_shows(opened):
    charts = resize(opened, "desktop").get_by_test_id("stVegaLiteChart")
    names = charts.evaluate_all("charts => charts.map(chart => chart.getAttribute('aria-label'))")
    assert all(re.search(r": .*\d", name) for name in names)
    assert len(set(names)) == len(names)
    comma = re.compile(r"\d,\d" if "lang=pt" in opened.page.url else r"\d\.\d")
    assert not names or any(map(comma.search, names))


@on_pages("en")
@every_size
def test_what_is_pressed_is_large_enough(opened, size):
    buttons = resize(opened, size).locator("[data-testid=stMain] button:visible")
    sizes = buttons.evaluate_all(
        """all => all.map(one => {
            const box = one.getBoundingClientRect();
            return [box.width, box.height, one.outerHTML.slice(0, 200)];
        })"""
    )
    assert [item for item in sizes if min(item[:2]) < SMALLEST] == []


@on_pages("en")
def test_headings_go_down_step_by_step(opened):
    levels = resize(opened, "desktop").locator("h1,h2,h3,h4").evaluate_all("all => all.map(one => +one.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in itertools.pairwise(levels))


def test_answer_is_said_to_screen_readers_each_time(visit, default_application):
    page = visit(default_application)
    region = page.page.locator("#announcements[role=status][aria-live=polite]")
    page.page.evaluate("""() => {
        window.said = [];
        const region = document.getElementById("announcements");
        const note = () => region.textContent && window.said.push(region.textContent);
        new MutationObserver(note).observe(region, {childList: true});
    }""")
    for number in (1, 2):
        predict(page, "en")
        page.page.wait_for_function("count => window.said.length === count", arg=number)
    assert re.fullmatch(r"Prediction: \w+, probability [\d.]+%\. .* holds the true (answer|one)\.", region.inner_text())
    page.page.get_by_role("combobox", name="Change only").click()  # what is no answer is not said
    page.page.get_by_role("option").nth(3).click()
    page.settle()
    assert page.page.evaluate("window.said.length") == 2


def test_keyboard_alone_predicts_and_asks_what_if(visit, default_application):
    page = visit(default_application)
    keyboard = page.page.keyboard

    def go_to(text: str) -> None:
        for _ in range(250):
            keyboard.press("Tab")
            focused = "(document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || '')"
            if page.page.evaluate(f"text => {focused}.includes(text)", text):
                return
        raise AssertionError(f"{text} is not reached with the Tab key")

    go_to("Random plausible values")
    keyboard.press("Enter")
    page.settle()
    go_to("Predict")
    keyboard.press("Enter")
    page.settle().page.get_by_test_id("stMetric").wait_for()
    assert page.page.evaluate("document.activeElement !== document.body")  # whoever pressed Enter is still there
    chart = page.page.get_by_test_id("stVegaLiteChart").nth(2)
    before = chart.get_attribute("aria-label")
    go_to("Change only")
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    keyboard.press("Enter")
    page.settle()
    page.page.wait_for_function(
        "before => document.querySelectorAll('[data-testid=stVegaLiteChart]')[2]?.getAttribute('aria-label') !== before",
        arg=before,
    )
