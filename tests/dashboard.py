"""The dashboard in a real browser: Chromium, what it must never do, and where pictures of it go."""
import os
import pathlib
import shutil
import urllib.parse

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import ROOT
from playwright.sync_api import expect, sync_playwright

PICTURES = pathlib.Path(os.environ.get("ALTLAS_SCREENSHOTS", ROOT / "build" / "screenshots"))
VIEWS = ("overview", "devices", "deployments", "tasks", "usage", "chat")
HEADINGS = {"en": ("Overview", "Devices", "Deployments", "Tasks", "Usage", "Chat"),
            "tr": ("Genel", "Aygıtlar", "Dağıtımlar", "Görevler", "Kullanım", "Sohbet")}
# With ALTLAS_DASHBOARD_FILES=src/server/dashboard/files a change of the page shows without a build.
FROM_DISK = os.environ.get("ALTLAS_DASHBOARD_FILES")
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
DESKTOP, PHONE = {"width": 1360, "height": 900}, {"width": 390, "height": 844}
# What the browser itself writes when a request is refused or a server is gone, as some tests want it.
OF_THE_NETWORK = ("Failed to load resource", "net::ERR_")


# A machine that is busy with other tests is slow; what is waited for still has to come.
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium is installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Page:
    """One page of a server, in a context of its own. close() fails where the page has said an error or asked another host."""

    def __init__(self, browser, server, size=None, theme="light", language="en"):
        self.server = server
        self.context = browser.new_context(viewport=size or DESKTOP, color_scheme=theme, locale={"en": "en-US", "tr": "tr-TR"}[language],
                                           reduced_motion="reduce")
        self.context.set_default_timeout(120_000)
        self.page = self.context.new_page()
        self.name = f"{'phone' if size == PHONE else 'desktop'}-{theme}-{language}"
        self.headings = dict(zip(VIEWS, HEADINGS[language]))
        self.faults, self.others = [], []
        if FROM_DISK:
            self.page.route("**/dashboard/*", self._from_disk)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        host = urllib.parse.urlsplit(server.url).netloc
        self.page.on("request", lambda one: urllib.parse.urlsplit(one.url).netloc == host or self.others.append(one.url))

    @staticmethod
    def _from_disk(route):
        path = pathlib.Path(FROM_DISK, urllib.parse.urlsplit(route.request.url).path.rsplit("/", 1)[1])
        if path.exists():
            route.fulfill(body=path.read_bytes(), content_type=TYPES[path.suffix])
        else:
            route.continue_()

    def _console(self, message):
        if message.type in ("error", "warning") and not any(one in message.text for one in OF_THE_NETWORK):
            self.faults.append(message.text)

    def open(self, view="overview", detail=""):
        self.page.goto(f"{self.server.url}/#/{view}{detail}")
        expect(self.page.locator("main h1")).to_have_text(self.headings[view])
        return self.page

    def picture(self, name):
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{self.name}-{name}.png", full_page=True)

    def check(self, what=""):
        """Nothing serious for people with a screen reader, and nothing wider than the screen."""
        found = Axe().run(self.page).response["violations"]
        serious = [(one["id"], [node["target"] for node in one["nodes"]]) for one in found if one["impact"] in ("serious", "critical")]
        assert not serious, (self.name, what, serious)
        wide, screen = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide <= screen, f"{self.name} {what}: {wide} pixels wide on a screen of {screen}"

    def close(self):
        self.context.close()
        assert not self.faults, (self.name, self.faults)
        assert not self.others, f"requests to other hosts: {self.others}"


@pytest.fixture
def open_page(browser):
    pages = []

    def start(server, **kwargs):
        pages.append(Page(browser, server, **kwargs))
        return pages[-1]

    yield start
    for page in pages:
        page.close()
