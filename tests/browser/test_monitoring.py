from datetime import UTC, datetime
from pathlib import Path

import msgspec

from mlops_project.monitoring.store import EvaluationStore

MODEL = "breast-cancer"
ROW_PIXELS = 35


def wait_for_charts(page, count: int = 3):
    page.page.get_by_test_id("stVegaLiteChart").nth(count - 1).wait_for()
    return page.settle()


def chosen(page) -> str:
    return page.page.get_by_label("Distribution of").first.input_value()


def find_places(page, chart: int = 0) -> set[float]:
    """Return how far to the right a chart's points are."""
    drawn = page.page.get_by_test_id("stVegaLiteChart").nth(chart)
    return set(drawn.evaluate("it => [...it.querySelectorAll('.mark-symbol.role-mark path')].map(point => point.getCTM().e)"))


def test_alerts_figures_charts_and_story_are_on_the_page(visit, monitored_application):
    page = wait_for_charts(visit(monitored_application, "monitoring"))
    words = page.read()
    for text in ("Alert: the model lost performance.", "The inputs changed", "from labels", "What happened"):
        assert text in words
    assert page.page.get_by_test_id("stVegaLiteChart").count() == 3
    assert min(len(find_places(page)), len(find_places(page, 1))) > 1  # windows stand beside each other
    assert page.page.get_by_test_id("stException").count() == 0


def test_row_of_the_table_shows_its_distribution(visit, monitored_application):
    page = wait_for_charts(visit(monitored_application, "monitoring"))
    first = chosen(page)
    table = page.page.get_by_test_id("stDataFrame").first
    table.click(position={"x": 18, "y": ROW_PIXELS * 2.5})  # the box before the second row
    page.page.wait_for_function("name => document.querySelector('[aria-label*=\"Distribution of\"]').value !== name", arg=first)
    assert chosen(wait_for_charts(page)) != first


def test_report_is_downloaded_whole(visit, monitored_application, monitored_folder):
    page = visit(monitored_application, "monitoring")
    with page.page.expect_download() as started:
        page.page.get_by_role("button", name="Download the report").click()
    content = Path(started.value.path()).read_bytes()
    assert content == EvaluationStore(str(monitored_folder / "artifacts/monitoring")).read_bytes(MODEL, "report.html")
    assert started.value.suggested_filename == f"{MODEL}-monitoring.html"


def test_phone_shows_everything_without_scrolling_sideways(visit, monitored_application):
    page = visit(monitored_application, "monitoring", width=390, height=844, is_mobile=True, has_touch=True)
    wide = wait_for_charts(page).page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1]


def test_new_window_appears_without_a_reload(visit, monitored_application, monitored_folder):
    page = wait_for_charts(visit(monitored_application, "monitoring"))
    store = EvaluationStore(str(monitored_folder / "artifacts/monitoring"))
    newest, now = store.read(MODEL, last=1)[0], datetime.now(UTC).isoformat()
    store.append(msgspec.structs.replace(newest, start=newest.end, end=now, evaluated_at=now, rows=4321))
    page.page.get_by_text("4,321").wait_for(timeout=40_000)


def test_page_speaks_portuguese(visit, monitored_application):
    page = wait_for_charts(visit(monitored_application, "monitoring?lang=pt"))
    assert "Alerta: o modelo perdeu desempenho." in page.read()
