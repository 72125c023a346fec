"""What holds for every page: it fits, it can be read and reached, in light and dark, on a desk and on a phone."""

import pytest

from tests.browser.chromium import DESKTOP, PHONE

pytestmark = pytest.mark.browser
PAGES = ("/ui", "/ui/digits", "/ui/iris", "/ui/wine", "/ui/homes")
CONTRAST = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => parts(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if ((parts(colour)[3] ?? 1) === 1) return colour;
    }
  };
  const poor = [];
  const texts = "h1, h2, h3, p, a, button, label, code, td, th, dd, dt, summary, span";
  for (const node of document.querySelectorAll(texts)) {
    if (!node.innerText?.trim() || !node.checkVisibility() || node.closest(".is-unknown")) continue;
    const [a, b] = [light(getComputedStyle(node).color), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${node.innerText.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("viewport", [PHONE, {"width": 320, "height": 640}, {"width": 768, "height": 1024}, DESKTOP])
def test_no_page_scrolls_sideways(visit, path, viewport):
    page = visit(path, viewport=viewport)
    for details in page.locator("summary").all():
        details.click()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    if viewport == DESKTOP:
        assert page.evaluate("[...document.querySelectorAll('.scroll')].every(e => e.scrollWidth <= e.clientWidth)")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(visit, path, scheme):
    page = visit(path, color_scheme=scheme)
    page.wait_for_timeout(300)
    assert page.evaluate(CONTRAST) == []


def test_dark_is_dark_and_light_is_light(visit):
    shade = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3"
    assert visit("/ui", color_scheme="dark").evaluate(shade) < 64
    assert visit("/ui", color_scheme="light").evaluate(shade) > 192


@pytest.mark.parametrize("path", PAGES)
def test_all_that_can_be_used_has_a_name_and_shows_focus(visit, path):
    page = visit(path)
    page.wait_for_timeout(300)
    nameless = "e => !(e.ariaLabel || e.labels?.length || e.innerText?.trim() || e.querySelector('img[alt]'))"
    for element in page.locator("a, button, input, canvas, summary, [tabindex]").all():
        assert not element.evaluate(nameless), element.evaluate("e => e.outerHTML")
    seen = set()
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.outerHTML"))
        assert page.evaluate(
            "[document.activeElement, document.activeElement.parentElement]"
            ".some((e) => getComputedStyle(e).outlineStyle !== 'none')"
        )
    assert len(seen) == 8


def test_the_index_leads_to_every_page(visit, service_url):
    page = visit("/ui")
    for name in ("digits", "iris", "wine", "homes"):
        page.locator(f"#{name} .button").click()
        page.wait_for_url(f"{service_url}/ui/{name}")
        page.get_by_role("link", name="Ekiben").click()
        page.wait_for_url(f"{service_url}/ui")
    page.locator("#iris summary", has_text="Certificate").click()
    assert page.locator("#iris").get_by_text("File sha256").first.is_visible()
    assert "Synthetic" in page.inner_text("#homes")
