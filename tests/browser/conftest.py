"""Real Chromium at the pages of a running installation."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from tests.integration.house import House

USERNAME, PASSWORD = "operator", "walk-the-plank-7"
QUIET = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
FAKE_MICROPHONE = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]

Browse = Callable[..., AbstractAsyncContextManager[Page]]


def chromium() -> str:
    """The path of the installed Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "Chromium is missing: run tests/install-system-packages"
    return path


@pytest.fixture
def browse() -> Browse:
    """``async with browse(house, microphone=wav) as page``: logged into the admin as a superuser."""

    @asynccontextmanager
    async def open_page(built: House, *, microphone: Path | None = None) -> AsyncIterator[Page]:
        built.manage(
            "createsuperuser", "--noinput", "--username", USERNAME, "--email", "", DJANGO_SUPERUSER_PASSWORD=PASSWORD
        )
        args = [*QUIET, *FAKE_MICROPHONE]
        if microphone is not None:
            args.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium(), args=args, chromium_sandbox=False)
            page = await browser.new_page(base_url=f"http://127.0.0.1:{built.web_port}")
            page.on("pageerror", lambda error: pytest.fail(f"a script of the page failed: {error}"))
            await page.goto("/admin/login/")
            await page.fill("[name=username]", USERNAME)
            await page.fill("[name=password]", PASSWORD)
            await page.get_by_role("button", name="Log in").click()
            await page.wait_for_url("**/admin/")
            yield page
            await browser.close()

    return open_page
