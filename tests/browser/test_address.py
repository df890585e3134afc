import re

import pytest
from playwright.sync_api import expect


def number(visit, label: str):
    return visit.page.get_by_label(label, exact=True).first


def reopen(visit, application: str, address: str):
    """Open an address of an application as another visitor."""
    assert address.startswith(f"{application}/")
    return visit(application, address.removeprefix(f"{application}/"))


@pytest.mark.parametrize(
    ("language", "titles"),
    [
        ("en", ["Predict", "Batch", "Model", "Monitoring", "Operations"]),
        ("pt", ["Prever", "Lote", "Modelo", "Monitoramento", "Operações"]),
    ],
)
def test_each_page_has_a_title_of_its_own_in_the_visitors_language(visit, default_application, language, titles):
    page = visit(default_application, f"operations?lang={language}").page
    expect(page).to_have_title(f"{titles[-1]} · mlops")  # as it is opened
    for title in titles:
        page.get_by_role("link", name=title, exact=True).click()
        expect(page).to_have_title(f"{title} · mlops")


def test_reload_shows_the_same_section_language_and_model(visit, mixed_application):
    page = visit(mixed_application, "model")
    page.page.get_by_role("combobox").first.click()
    page.page.get_by_role("option", name="mixed").click()
    page.settle()
    page.page.get_by_text("Português").click()
    page.settle().page.get_by_test_id("stMain").get_by_text("Ficha", exact=True).click()
    page.settle()
    address, words = page.page.url, page.read()
    assert {"lang=pt", "model=mixed", "section=card"} <= {*re.split("[?&]", address)}
    page.page.reload()
    expect(page.page.get_by_test_id("stMain")).to_have_text(words, use_inner_text=True)
    assert reopen(visit, mixed_application, address).read() == words  # for somebody else, too


def test_page_that_was_left_is_as_it_was(visit, default_application):
    page = visit(default_application, "model")
    page.page.get_by_test_id("stMain").get_by_text("Card", exact=True).click()
    words = page.settle().read()
    for name in ("Operations", "Model"):
        page.page.get_by_role("link", name=name).click()
        page.page.get_by_role("heading", name=name, exact=True).first.wait_for()
        page.settle()
    expect(page.page.get_by_test_id("stMain")).to_have_text(words, use_inner_text=True)


def test_feature_on_the_monitoring_page_outlives_a_reload(visit, monitored_application):
    page = visit(monitored_application, "monitoring")
    chosen = page.page.get_by_role("combobox", name="Distribution of")
    expect(chosen).not_to_have_value("mean smoothness")
    chosen.click()
    chosen.fill("mean smoothness")  # the list alone draws its first lines
    page.page.get_by_role("option", name="mean smoothness", exact=True).click()
    expect(page.page).to_have_url(re.compile("feature=mean.smoothness"))
    page.settle().page.reload()
    expect(chosen).to_have_value("mean smoothness")


def test_link_opens_the_case_in_another_browser(visit, default_application):
    page = visit(default_application)
    number(page, "mean radius").fill("25.5")
    number(page, "mean radius").press("Tab")
    page.settle().press("Link")
    link = page.page.get_by_test_id("stPopoverBody").locator("code").inner_text()
    other = reopen(visit, default_application, link.replace("\n", ""))
    expect(number(other, "mean radius")).to_have_value("25.5")
    expect(number(other, "mean texture")).to_have_value(number(page, "mean texture").input_value())
    assert other.page.get_by_test_id("stMetric").count() == 0
    number(other, "mean radius").fill("12")
    number(other, "mean radius").press("Tab")
    expect(other.settle().page).not_to_have_url(re.compile("case="))


def test_addresses_in_messages_keep_their_port(visit, lonely_application):
    page = visit(lonely_application)
    for name in ("Predict", "Model", "Monitoring", "Operations"):
        page.page.get_by_role("link", name=name, exact=True).click()
        page.page.get_by_role("heading", name=name, exact=True, level=1).wait_for()
        main = page.settle().page.get_by_test_id("stMain")
        main.get_by_test_id("stAlert").filter(has_text="http://127.0.0.1:9").first.wait_for()
        links = main.locator('a[href^="http"]:not([href*="#"])')
        assert links.evaluate_all("found => found.map(item => item.href)") == []
