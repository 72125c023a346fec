"""Forms of fields: filled, slid, got wrong, and used without a script."""

import json
import shlex

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.chromium import PHONE

pytestmark = pytest.mark.browser


def fill(page, **values):
    for name, value in values.items():
        page.fill(f"#field-{name}", str(value))


def test_an_iris_is_classified_while_it_is_measured(visit):
    page = visit("/ui/iris")
    verdict = page.locator("#verdict")
    fill(page, sepal_length=5.1, sepal_width=3.5, petal_length=1.4, petal_width=0.2)
    expect(verdict).to_contain_text("setosa")
    expect(verdict).to_contain_text("% sure")
    expect(page.locator(".card .answer")).to_have_text(["setosa", "setosa"])
    expect(page.locator(".card .took").last).to_contain_text(" ms")
    fill(page, sepal_length=7.7, sepal_width=2.6, petal_length=6.9, petal_width=2.3)
    expect(verdict).to_contain_text("virginica")
    bars = page.locator(".card").first.locator("meter")
    assert sum(float(m.evaluate("m => m.value")) for m in bars.all()) == pytest.approx(1, abs=1e-3)


def test_a_wine_and_a_price(visit):
    page = visit("/ui/wine")
    page.get_by_role("link", name="Example 1", exact=True).click()
    expect(page.locator("#field-alcohol")).to_have_value("14.1")
    expect(page.locator("#verdict")).to_contain_text("cultivar 1")
    page = visit("/ui/homes")
    expect(page.locator("#verdict")).to_contain_text("roubles")
    before = page.inner_text("#verdict strong")
    page.check("#field-is_apartment")
    fill(page, total_area=120, living_area=80)
    expect(page.locator("#verdict strong")).not_to_have_text(before)
    expect(page.locator("body")).to_contain_text("Synthetic.")


def test_slider_and_number_move_together(visit):
    page = visit("/ui/iris")
    slider = page.get_by_label("Petal length, slider")
    fill(page, petal_length=2.5)
    expect(slider).to_have_value("2.5")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#field-petal_length")).to_have_value("2.6")
    expect(page.locator("#curl")).to_contain_text('"petal_length": 2.6')


def test_an_error_is_shown_where_it_belongs_and_goes_away(visit):
    page = visit("/ui/homes")
    fill(page, floor=200)
    error = page.locator("#field-floor-error")
    expect(error).to_have_text("floor is 200: it must be a whole number from 1 to 100")
    expect(page.locator("#field-floor")).to_have_attribute("aria-invalid", "")
    expect(page.locator("#verdict")).to_have_class("wrong")
    expect(page.locator(".card .answer").first).to_have_text("")
    fill(page, floor=20)
    expect(error).to_contain_text("which is above floors_total, 12")
    fill(page, floor=2)
    expect(error).to_be_hidden()
    expect(page.locator("#verdict")).to_contain_text("roubles")
    fill(page, total_area="")
    expect(page.locator("#field-total_area-error")).to_contain_text("total_area is missing")


def test_unknown_is_null(visit):
    page = visit("/ui/homes")
    page.get_by_label("Kitchen area is unknown").check()
    expect(page.locator("#field-kitchen_area")).to_be_disabled()
    expect(page.locator("#curl")).to_contain_text('"kitchen_area": null')
    expect(page.locator("#verdict")).to_contain_text("roubles")
    page.get_by_label("Kitchen area is unknown").uncheck()
    expect(page.locator("#curl")).to_contain_text('"kitchen_area": 9')


def test_a_choice_is_sent_as_its_word(visit):
    page = visit("/ui/homes")
    walls = page.get_by_label("Building type")
    expect(walls).to_have_value("panel")
    expect(page.locator("#curl")).to_contain_text('"building_type_int": "panel"')
    expect(page.locator("#verdict")).to_contain_text("roubles")
    before = page.inner_text("#verdict strong")
    walls.select_option("wood")
    expect(page.locator("#curl")).to_contain_text('"building_type_int": "wood"')
    expect(page.locator("#verdict strong")).not_to_have_text(before)
    page.get_by_role("link", name="Example 3", exact=True).click()  # which has its code
    expect(walls).to_have_value("monolith")


def test_random_fills_the_form(visit):
    page = visit("/ui/wine")
    before = page.input_value("#field-proline")
    page.get_by_role("link", name="random").click()
    expect(page.locator("#field-proline")).not_to_have_value(before)
    expect(page.locator("#verdict")).to_contain_text("cultivar")


def test_the_curl_does_the_same(visit):
    page = visit("/ui/homes")
    expect(page.locator("#verdict")).to_contain_text("roubles")
    curl, url, *options = shlex.split(page.inner_text("#curl").replace("\\\n", ""))
    assert curl == "curl"
    assert options[:3] == ["-H", "Content-Type: application/json", "-d"]
    answer = httpx.post(url, json=json.loads(options[3])).json()
    expect(page.locator("#verdict strong")).to_have_text(f"{answer['price']:,.0f} roubles")


def test_without_a_script_a_form_is_posted(visit):
    page = visit("/ui/homes", java_script_enabled=False, viewport=PHONE)
    expect(page.get_by_label("Floor, slider")).to_be_hidden()
    page.get_by_role("link", name="Example 5", exact=True).click()
    expect(page.locator("#field-floor")).to_have_value("17")
    page.get_by_role("button", name="Price").click()
    expect(page.locator("#verdict")).to_contain_text("roubles")
    expect(page.locator(".card .answer").last).to_contain_text(",")
    expect(page.locator("#field-floor")).to_have_value("17")
    expect(page.get_by_label("Living area is unknown")).to_be_checked()


def test_without_a_script_errors_keep_what_was_typed(visit):
    page = visit("/ui/iris", java_script_enabled=False)
    fill(page, sepal_length=99, petal_width=1.5)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#field-sepal_length-error")).to_contain_text("must be a number from 0.1 to 15 cm")
    expect(page.locator("#field-sepal_length")).to_have_value("99")
    expect(page.locator("#field-petal_width")).to_have_value("1.5")
    fill(page, sepal_length=5)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#verdict")).to_contain_text("% sure")


def test_on_a_phone_the_answer_stays_in_sight(visit):
    page = visit("/ui/homes", viewport=PHONE, has_touch=True)
    expect(page.locator("#verdict")).to_contain_text("roubles")
    page.locator("#field-rooms").scroll_into_view_if_needed()
    expect(page.locator("#verdict")).to_be_in_viewport()
