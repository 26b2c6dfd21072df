"""The dashboard's smoke test: its files by HTTP, and each view once in a real browser. test_dashboard_slow.py has the rest."""
import gzip
import re

import pytest
import requests
from dashboard import VIEWS, browser, open_page  # noqa: F401 (fixtures)
from playwright.sync_api import expect


def names(server):
    """The files that the page and its modules name, themselves included."""
    found, open_ = set(), ["/"]
    while open_:
        text = server.get(open_.pop()).text
        for name in re.findall(r'(?:"/dashboard/|from "\./)([\w.]+)"', text):
            if name not in found:
                found.add(name)
                open_.append("/dashboard/" + name)
    return sorted(found)


TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}


def test_files(sim_server):
    files = names(sim_server)
    assert {"app.js", "style.css", "uplot.js", "words.js", "icon.svg"} <= set(files)
    total = packed = 0
    for path in ["/"] + ["/dashboard/" + one for one in files]:
        plain = sim_server.get(path, headers={"Accept-Encoding": "identity"})
        small = requests.get(sim_server.url + path, headers={"Accept-Encoding": "br, gzip;q=0.5"}, stream=True, timeout=60)
        raw = small.raw.read(decode_content=False)
        assert plain.status_code == small.status_code == 200, path
        assert small.headers["Content-Encoding"] == "gzip" and "Content-Encoding" not in plain.headers
        assert gzip.decompress(raw) == plain.content and plain.headers["ETag"] != small.headers["ETag"]
        total, packed = total + len(plain.content), packed + len(raw)
        assert plain.headers["Content-Type"] == TYPES.get(path.rsplit(".", 1)[-1], "text/html; charset=utf-8"), path
        assert plain.headers["X-Content-Type-Options"] == "nosniff"
        policy = plain.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        again = sim_server.get(path, headers={"If-None-Match": f'"x", W/{small.headers["ETag"]}'})
        assert (again.status_code, again.content) == (304, b"") and "Content-Length" not in again.headers, path
        assert sim_server.get(path, headers={"If-None-Match": '"x"'}).status_code == 200
        head = requests.head(sim_server.url + path, headers={"Accept-Encoding": "identity"}, timeout=60)
        assert head.headers["Content-Length"] == str(len(plain.content)) and head.content == b""
    assert total <= 400 << 10
    print(f"\n{len(files) + 1} files, {total / 1024:.0f} KiB, packed {packed / 1024:.0f} KiB")


@pytest.mark.parametrize("path", ["/dashboard/none.js", "/dashboard/", "/dashboard/a/b", "/dashboard/..%2f..%2fetc%2fpasswd", "/index.html"])
def test_other_files_are_not_there(sim_server, path):
    assert sim_server.get(path).status_code == 404
    assert sim_server.post("/").status_code == 405


def test_every_view(sim_server, open_page):
    one = open_page(sim_server)
    page = one.open()
    expect(page.locator("#state .pill")).to_have_text("Ready")
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    print(f"\nfirst contentful paint after {paint:.0f} ms")
    for view in VIEWS:
        one.open(view)
        expect(page.get_by_text("Loading…")).to_have_count(0)
        one.check(view)
    sim_server.post("/api/v1/predict", {"text": "one for the list", "max_length": 3})
    one.open("tasks")
    expect(page.locator(".vrow").first).to_contain_text("completed")
