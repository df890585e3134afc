from tests.browser.axe import find_barriers


def test_click_on_a_cell_opens_its_rows_and_one_of_them_on_predict(visit, default_application):
    page = visit(default_application, "model?section=decisions")
    page.page.get_by_role("heading", name="How to set it").wait_for()
    matrix = page.settle().page.get_by_test_id("stVegaLiteChart").first
    box = matrix.bounding_box()
    page.page.mouse.click(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"])  # benign, and rightly so
    page.page.get_by_role("heading", name="Actual benign, predicted benign").wait_for()
    assert find_barriers(page.settle().page) == []
    page.page.get_by_role("button", name="on the page Predict").click()
    page.page.get_by_role("heading", name="Predict", exact=True).wait_for()
    page.settle().press("Predict").page.get_by_test_id("stMetric").wait_for()
    assert "benign" in page.read()
