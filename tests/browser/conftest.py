"""Pages open in a real browser; whatever they ask from elsewhere or stumble over fails the test."""

import contextlib
import os

import pytest

from tests.browser import chromium


@pytest.fixture(scope="package")
def browser():
    """Skipped without a browser, except in CI. Not for the session: its event loop would be in other tests' way."""
    if not chromium.EXECUTABLE.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{chromium.EXECUTABLE} is not installed")
    with chromium.launched() as found:
        yield found


@pytest.fixture
def visit(browser, service_url):
    """`visit("/ui/model", color_scheme="dark")` → the page, with the browser set up so."""
    errors = []
    with contextlib.ExitStack() as contexts:

        def opened(path, **options):
            context = browser.new_context(viewport=options.pop("viewport", chromium.DESKTOP), **options)
            contexts.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(120_000)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text) if "Policy" in message.text else None)
            page.on("request", lambda request: errors.append(request.url) if _elsewhere(request.url) else None)
            page.goto(service_url + path)
            return page

        def _elsewhere(url):
            return not url.startswith((service_url, "data:", "blob:"))

        yield opened
    assert not errors
