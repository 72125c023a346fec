"""Pictures: drawn by mouse, finger and keys, opened, dropped, pasted and clicked."""

import base64

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import PHONE, STROKES, draw, draw_with_a_finger
from tests.conftest import ROOT

pytestmark = pytest.mark.browser
SEVEN = ROOT / "bentos" / "digits" / "examples" / "seven.png"
# A file as the system hands it over: event → what carries it.
HANDED_OVER = """([kind, carrier, data]) => {
  const bytes = Uint8Array.from(atob(data), (byte) => byte.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], "seven.png", { type: "image/png" }));
  const event = new (kind === "paste" ? ClipboardEvent : DragEvent)(kind, { [carrier]: files, bubbles: true });
  document.getElementById("canvas").dispatchEvent(event);
}"""


def recognised(page, digit):
    expect(page.locator("#verdict strong")).to_have_text(digit)
    expect(page.locator(".card .answer")).to_have_text([digit] * page.locator(".card").count())
    expect(page.locator(".card .best meter")).to_have_count(page.locator(".card").count())
    for side in ("naturalWidth", "naturalHeight"):  # 0 until the browser has read the picture
        expect(page.locator("#seen")).to_have_js_property(side, 28)


@pytest.mark.parametrize("digit", STROKES)
def test_a_drawn_digit_is_recognised(visit, digit):
    page = visit("/ui/digits")
    draw(page, digit)
    recognised(page, digit)
    expect(page.locator(".card .took").last).to_contain_text(" ms")


def test_a_digit_is_drawn_with_a_finger_and_the_page_does_not_move(visit):
    page = visit("/ui/digits", viewport=PHONE, has_touch=True)
    page.locator("#sheet").scroll_into_view_if_needed()
    before = page.evaluate("scrollY")
    draw_with_a_finger(page, "7")
    recognised(page, "7")
    assert page.evaluate("scrollY") == before


def test_a_digit_is_drawn_with_the_keyboard_and_cleared(visit):
    page = visit("/ui/digits")
    page.focus("#canvas")
    for _ in range(8):
        page.keyboard.press("Shift+ArrowUp")
    for _ in range(17):
        page.keyboard.press("ArrowDown")
    recognised(page, "1")
    page.keyboard.press("Delete")
    expect(page.locator("#verdict")).to_contain_text("No picture yet")
    expect(page.locator(".card .answer").first).to_have_text("")
    expect(page.locator("#seen")).to_be_hidden()


def test_clear_wipes_the_sheet(visit):
    page = visit("/ui/digits")
    blank = page.evaluate("document.getElementById('canvas').toDataURL()")
    draw(page, "0")
    recognised(page, "0")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#verdict")).to_contain_text("No picture yet")
    assert page.evaluate("document.getElementById('canvas').toDataURL()") == blank
    page.wait_for_timeout(400)  # nothing late may answer
    expect(page.locator(".card .answer").first).to_have_text("")


def test_a_file_is_opened_and_then_drawn_over(visit):
    page = visit("/ui/digits")
    page.set_input_files("#file", SEVEN)
    recognised(page, "7")
    expect(page.locator("#curl")).to_contain_text("image=@seven.png")
    assert page.get_attribute("#save", "download") == "seven.png"
    draw(page, "1")
    recognised(page, "1")


@pytest.mark.parametrize(("kind", "carrier"), [("drop", "dataTransfer"), ("paste", "clipboardData")])
def test_a_file_is_dropped_or_pasted(visit, kind, carrier):
    page = visit("/ui/digits")
    page.evaluate(HANDED_OVER, [kind, carrier, base64.b64encode(SEVEN.read_bytes()).decode()])
    recognised(page, "7")


def test_every_example_is_clicked(visit):
    page = visit("/ui/digits")
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    for digit, word in enumerate(words):
        page.get_by_role("link", name=f"Example: {word}").click()
        recognised(page, str(digit))


def test_what_is_no_picture_is_said(visit):
    page = visit("/ui/digits")
    page.set_input_files("#file", ROOT / "LICENSE")
    expect(page.locator("#verdict")).to_contain_text("image is no picture that can be read")
    expect(page.locator("#verdict")).to_have_class("wrong")
    draw(page, "1")
    recognised(page, "1")


def test_without_a_script_a_file_is_posted(visit):
    page = visit("/ui/digits", java_script_enabled=False)
    expect(page.locator("#canvas")).to_be_hidden()
    page.set_input_files("#file", SEVEN)
    page.get_by_role("button", name="Classify").click()
    expect(page.locator("#verdict strong")).to_have_text("7")
    expect(page.locator("#seen")).to_be_visible()
