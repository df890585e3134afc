import pytest
from playwright.sync_api import expect


def number(visit, label: str):
    return visit.page.get_by_label(label, exact=True).first


def test_fill_in_predict_and_send_the_true_label(visit, default_application, default_folder):
    page = visit(default_application)
    number(page, "mean radius").fill("25.5")
    number(page, "worst area").fill("3000")
    page.press("Predict")
    page.page.get_by_test_id("stMetric").wait_for()
    words = page.settle().read()
    assert "malignant" in words
    assert "Model server" in words
    assert "Exact Shapley values: they add up to the answer." in words
    prediction_id = page.page.get_by_test_id("stMain").locator("code").first.inner_text()
    page.page.get_by_text("What was it really?").first.click()
    page.settle().page.get_by_label("What was it really?", exact=True).last.click()
    page.page.get_by_role("option", name="malignant").click()
    page.press("Send")
    page.page.get_by_text("Thank you, noted.").wait_for()
    logged = b"".join(file.read_bytes() for file in (default_folder / "logs/predictions").glob("*.open"))
    assert logged.count(prediction_id.encode()) >= 2


def test_enter_in_an_input_predicts(visit, default_application):
    page = visit(default_application)
    number(page, "mean radius").fill("12")
    number(page, "mean radius").press("Enter")
    page.page.get_by_test_id("stMetric").wait_for()


def test_keyboard_alone_reaches_the_prediction(visit, default_application):
    page = visit(default_application)
    page.page.get_by_role("button", name="Random plausible values").focus()
    for _ in range(200):
        page.page.keyboard.press("Tab")
        if page.page.evaluate("document.activeElement.innerText.includes('Predict')"):
            break
    page.page.keyboard.press("Enter")
    page.page.get_by_test_id("stMetric").wait_for()


def test_random_values_differ_and_lie_in_the_inputs(visit, default_application):
    page = visit(default_application)
    expect(number(page, "mean radius")).to_have_value("13.27")
    for _ in range(3):
        before = number(page, "mean radius").input_value()
        page.press("Random plausible values")
        expect(number(page, "mean radius")).not_to_have_value(before)


def test_small_values_are_shown_with_their_digits(visit, default_application):
    page = visit(default_application)
    expect(number(page, "fractal dimension error")).to_have_value("0.003114")


def test_charts_are_drawn(visit, default_application):
    page = visit(default_application).press("Predict")
    page.page.get_by_test_id("stVegaLiteChart").nth(2).wait_for()
    assert page.settle().page.get_by_test_id("stVegaLiteChart").count() == 3


def test_language_follows_the_browser_and_the_switch(visit, default_application):
    page = visit(default_application, locale="pt-BR")
    page.page.get_by_role("button", name="Valores plausíveis aleatórios").wait_for()
    page.page.get_by_text("English").click()
    page.page.get_by_role("button", name="Random plausible values").wait_for()
    page.page.get_by_role("link", name="Model").click()
    page.page.get_by_role("heading", name="Metrics").wait_for()


def test_address_chooses_the_language(visit, default_application):
    page = visit(default_application, "?lang=pt")
    page.page.get_by_role("button", name="Valores plausíveis aleatórios").wait_for()


def test_mixed_model_is_filled_in_and_predicted(visit, mixed_application):
    page = visit(mixed_application)
    page.page.get_by_role("combobox").first.click()
    page.page.get_by_role("option", name="mixed").click()
    page.settle()
    number(page, "age").fill("80")
    page.page.get_by_text("smoker", exact=True).click()
    page.press("Predict")
    page.page.get_by_test_id("stMetric").wait_for()
    words = page.settle().read()
    assert "income <k$>" in words
    assert "not logged" in words
    page.press("Random plausible values")
    page.press("Predict")
    page.page.get_by_test_id("stMetric").wait_for()


def test_names_are_never_read_as_html(visit, mixed_application):
    page = visit(mixed_application)
    page.page.get_by_role("combobox").first.click()
    page.page.get_by_role("option", name="mixed").click()
    page.settle().page.get_by_label("city", exact=True).first.click()
    page.page.get_by_role("option", name="<b>Natal</b>").click()
    page.settle().press("Predict")
    page.page.get_by_test_id("stMetric").wait_for()
    assert page.page.locator("b", has_text="Natal").count() == 0


def test_model_is_switched_and_each_keeps_its_values(visit, mixed_application):
    page = visit(mixed_application)
    label = "petal width (cm)"
    number(page, label).fill("1.7")
    page.press("Predict")
    for name in ("mixed", "iris"):
        page.page.get_by_role("combobox").first.click()
        page.page.get_by_role("option", name=name).click()
        page.settle()
    expect(number(page, label)).to_have_value("1.7")


@pytest.mark.parametrize("path", ["", "batch", "model", "monitoring", "operations"])
def test_phone_shows_everything_without_scrolling_sideways(visit, default_application, path):
    page = visit(default_application, path, width=390, height=844, is_mobile=True, has_touch=True)
    page.page.wait_for_timeout(500)
    wide = page.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1]


def leave(visit, label: str, text: str) -> None:
    """Type into an input and go on to the next; *Predict* is not pressed."""
    number(visit, label).fill(text)
    number(visit, label).press("Tab")
    visit.settle()


def test_typed_values_outlive_a_search_another_page_and_another_language(visit, default_application):
    page = visit(default_application)
    leave(page, "mean radius", "25.5")
    number(page, "worst area").fill("3000")  # still in the field when the search begins
    search = page.page.get_by_label("Find an input")
    search.fill("texture")
    expect(number(page, "mean radius")).to_have_count(0)
    search.fill("")
    expect(number(page, "mean radius")).to_have_value("25.5")
    expect(number(page, "worst area")).to_have_value("3000")
    page.settle().page.get_by_role("link", name="Operations").click()
    page.page.get_by_role("heading", name="Operations").wait_for()
    page.settle().page.get_by_role("link", name="Predict").click()
    expect(number(page, "mean radius")).to_have_value("25.5")
    page.settle().page.get_by_text("Português").click()
    expect(number(page, "mean radius")).to_have_value("25,5")
    expect(number(page, "worst area")).to_have_value("3000")


@pytest.mark.parametrize(
    ("locale", "predict", "typed"),
    [("en-US", "Predict", "25,53125"), ("pt-BR", "Prever", "25.53125"), ("pt-BR", "Prever", "25,53125")],
)
def test_decimal_comma_and_point_mean_the_same(visit, default_application, default_folder, locale, predict, typed):
    page = visit(default_application, locale=locale)
    number(page, "mean radius").fill("")
    number(page, "mean radius").press_sequentially(typed)  # as a keyboard does: a field of numbers drops the comma
    number(page, "mean radius").press("Tab")
    page.settle().press(predict)
    page.page.get_by_test_id("stMetric").wait_for()
    prediction_id = page.settle().page.get_by_test_id("stMain").locator("code").first.inner_text()
    logged = b"".join(file.read_bytes() for file in (default_folder / "logs/predictions").glob("*.open"))
    assert b"25.53125" in logged.partition(prediction_id.encode())[2][:2000]


def test_input_without_a_value_is_said_and_nothing_is_answered(visit, default_application):
    page = visit(default_application)
    for text in ("", "1,234"):
        leave(page, "mean area", text)
        page.press("Predict")
        page.page.get_by_test_id("stAlert").filter(has_text="mean area").wait_for()
        assert page.page.get_by_test_id("stMetric").count() == 0
        expect(number(page, "mean area")).to_have_value(text)
        leave(page, "mean area", "655")
        page.press("Predict")
        page.page.get_by_test_id("stMetric").wait_for()


def test_answer_and_its_reasons_go_when_an_input_changes(visit, default_application):
    page = visit(default_application).press("Predict")
    page.page.get_by_test_id("stVegaLiteChart").nth(2).wait_for()
    leave(page.settle(), "mean area", "999")
    expect(page.page.get_by_test_id("stMetric")).to_have_count(0)
    expect(page.page.get_by_test_id("stVegaLiteChart")).to_have_count(0)
    assert "The inputs have changed" in page.read()


def test_every_input_is_reached_by_scrolling_the_page_alone(visit, default_application):
    page = visit(default_application, height=800)
    boxes = page.page.locator(".st-key-inputs")
    expect(boxes.locator("input")).to_have_count(30)
    folds = """found => [...found.querySelectorAll("input")].flatMap(item => {
        const folds = [];
        for (let box = item.parentElement; box && box.dataset.testid !== "stMain"; box = box.parentElement)
            if (box.scrollHeight > box.clientHeight + 2 && /auto|scroll|hidden/.test(getComputedStyle(box).overflowY)
                && box.clientHeight > 100) folds.push(box.className);
        return folds;
    })"""
    assert boxes.evaluate(folds) == []
    page.page.set_viewport_size({"width": 390, "height": 844})
    assert page.settle().page.locator(".st-key-inputs").evaluate(folds) == []


def test_button_and_answer_stay_in_sight_of_a_long_form(visit, default_application):
    page = visit(default_application, width=390, height=844, is_mobile=True, has_touch=True)
    number(page, "worst fractal dimension").scroll_into_view_if_needed()
    button = page.page.get_by_role("button", name="Predict", exact=True)
    expect(button).to_be_in_viewport()
    number(page, "mean radius").scroll_into_view_if_needed()
    expect(button).to_be_in_viewport()
    button.click()
    expect(page.page.locator(".st-key-ask").get_by_text("benign")).to_be_in_viewport()
