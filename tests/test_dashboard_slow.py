"""The dashboard as people use it, in a real browser: every view on a desktop and a phone, light and dark, in English and
Turkish, with a picture of each in build/screenshots; what it says when the server is gone, the key is wrong or nothing is there;
tasks, strategy, usage and chats; a list of 10,000 tasks."""
import json
import os
import re
import signal
import threading
import time

import pytest
import requests
from conftest import ROOT, run_cli
from dashboard import DESKTOP, PHONE, VIEWS, browser, open_page  # noqa: F401 (fixtures)
from playwright.sync_api import expect

# One file under two names, as a second model.
TWO_MODELS = """models:
- {{name: coder, path: {path}}}
- {{name: writer, path: {path}}}
deployments:
- {{name: coder, model: coder}}
- {{name: writer, model: writer}}
"""


@pytest.fixture
def busy(start_server):
    """A server with tasks that ended, that run for long, that wait, that were cancelled, and one that failed."""
    server = start_server("--devices", "sim:cpu:4", "--max-model-len", "8192")
    for i in range(30):
        server.post("/api/v1/predict", {"text": f"short {i}", "max_length": 3, "type": ("text_generation", "letters")[i % 2]})
    long = [server.post("/api/v1/predict", {"text": "a long one " * (i + 1), "max_length": 8000}).json()["task_id"] for i in range(8)]
    server.post("/api/v1/predict", {"text": "too late", "max_length": 8000, "deadline_s": 0.05})
    requests.delete(f"{server.api}/task/{long[0]}", timeout=60)
    server.long = long
    yield server


def words():
    text = (ROOT / "src/server/dashboard/files/words.js").read_text()
    tables = {}
    for language in ("en", "tr"):
        body = re.search(rf"^const {language} = \{{(.*?)^\}};", text, re.M | re.S).group(1)
        tables[language] = dict(re.findall(r'(\w+): "((?:[^"\\]|\\.)*)"', body))
    return tables


def test_both_languages_have_the_same_words():
    tables = words()
    assert tables["en"].keys() == tables["tr"].keys() and len(tables["en"]) > 200
    for name, english in tables["en"].items():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", tables["tr"][name])), name
    files = ROOT / "src/server/dashboard/files"
    used = {name for path in files.glob("*.js") for name in re.findall(r'\bt\("(\w+)"', path.read_text())}
    assert used <= tables["en"].keys(), used - tables["en"].keys()


@pytest.mark.parametrize("language", ["en", "tr"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_views(busy, open_page, size, theme, language):
    one = open_page(busy, size=size, theme=theme, language=language)
    for view in VIEWS:
        page = one.open(view)
        expect(page.locator("#state .pill.good")).to_have_count(1)
        if view == "overview":
            expect(page.locator("main tbody tr a.mono").first).to_be_visible()
        if view == "tasks":
            page.locator(".vrow").nth(2).click()
            expect(page.locator(".tasks.open dl.pairs")).to_be_visible()
            expect(page.locator(".tasks.open table")).to_be_visible()
        if view == "usage":
            expect(page.locator("main tbody tr").first).to_be_visible()
        if view == "chat":
            page.locator("form.send textarea").fill("Say something.")
            page.locator("form.send textarea").press("Enter")
            expect(page.locator(".turn.assistant .meta")).to_contain_text("token", timeout=60_000)
        one.check(view)
        one.picture(view)


def test_numbers_are_those_of_the_server(busy, open_page):
    page = open_page(busy).open()
    facts = page.locator(".facts .fact .value")
    running = sum(gpu["task_count"] - gpu["queued_count"] for gpu in busy.get("/api/v1/gpus").json()["gpus"])
    assert running == 7
    expect(facts.nth(1)).to_have_text("7")
    expect(facts.nth(0)).to_have_text("0")
    expect(page.locator("main section").filter(has_text="Running requests").locator("tbody tr")).to_have_count(7)
    speed = page.locator("main section").filter(has_text="Running requests").locator("tbody tr").first.locator("td").last
    expect(speed).to_have_text(re.compile(r"[1-9]"))
    page.goto(busy.url + "/#/devices")
    gpu = busy.get("/api/v1/gpus").json()["gpus"][0]
    assert sum(share["bytes"] for share in gpu["memory"]) == gpu["memory_used"]
    assert {share["what"] for share in gpu["memory"]} >= {"weights", "kv"}
    expect(page.locator("section.card", has_text="Device 0").first).to_contain_text("weights")


def test_a_task_is_opened_explained_and_cancelled(busy, open_page):
    one = open_page(busy)
    page = one.open("tasks")
    page.get_by_role("group", name="State").get_by_role("button", name="failed").click()
    expect(page.locator(".vrow")).to_have_count(1)
    page.locator(".vrow").first.press("Enter")
    expect(page.locator(".tasks.open")).to_contain_text("deadline")
    page.get_by_role("searchbox").fill(busy.long[1])
    page.get_by_role("searchbox").press("Enter")
    detail = page.locator("section[aria-label=Task]")
    why = busy.get(f"/api/v1/task/{busy.long[1]}/explain").json()
    expect(detail.locator("tr", has_text=f"Device {why['winner']}")).to_contain_text("chosen")
    expect(detail).to_contain_text("What other strategies would have chosen")
    detail.get_by_role("button", name="Cancel task").click()
    detail.get_by_role("button", name="Cancel task").click()
    expect(detail.locator("dl")).to_contain_text("canceled")
    assert busy.get(f"/api/v1/task/{busy.long[1]}").json()["status"] == "canceled"
    page.goto(busy.url + "/#/tasks/" + "0" * 32)
    expect(page.locator("section[aria-label=Task]")).to_contain_text("No task has this id")
    one.check("a task that is not there")


def test_the_strategy_is_switched(busy, open_page):
    page = open_page(busy).open("devices")
    page.get_by_label("How a device is chosen for the next task").select_option("round_robin")
    expect(page.get_by_role("status").filter(has_text="Round robin")).to_be_visible()
    assert busy.get("/api/v1/config/gpu/strategy").json()["strategy"] == "round_robin"
    page.goto(busy.url + "/#/deployments")
    expect(page.locator(".log")).to_contain_text("Round robin")
    expect(page.locator(".log")).to_contain_text("running")


def test_a_killed_worker_shows_with_its_reason(start_server, open_page):
    server = start_server("--devices", "sim:h100:2", "--max-model-len", "512")
    page = open_page(server).open("deployments")
    expect(page.locator("tbody tr").first).to_contain_text("running")
    deployments = server.get("/api/v1/deployments").json()["deployments"]
    pid = next(one for name, one in deployments.items() if name != "echo")["replicas"][0]["pid"]
    os.kill(pid, signal.SIGKILL)
    expect(page.locator(".log")).to_contain_text("signal 9", timeout=15_000)
    expect(page.locator(".log li").first).to_contain_text("running", timeout=30_000)
    lane = page.locator(".lane svg[role=img]").first
    assert lane.locator("rect").count() >= 2


def test_ten_thousand_tasks(start_server, open_page):
    server = start_server("--devices", "sim:h100:8", "--max-model-len", "64")
    sent = 0
    while sent < 10_000:
        answer = server.post("/api/v1/batch_predict", {"batch": [{"text": "x", "max_length": 1}] * 500})
        sent += 500 if answer.status_code == 200 else 0
        assert answer.status_code in (200, 429), answer.text
        if answer.status_code == 429:
            time.sleep(0.2)
    page = open_page(server).open("tasks")
    expect(page.locator("main")).to_contain_text("10,000 tasks")
    # The list is scrolled from end to end; what the longest frame took is printed, and rows stay few.
    measured = page.evaluate("""async () => {
      const view = document.querySelector(".vlist .view");
      const frames = [];
      let rows = 0;
      let before = performance.now();
      for (let top = 0; top < view.scrollHeight; top += view.scrollHeight / 240) {
        view.scrollTop = top;
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        frames.push(now - before);
        before = now;
        rows = Math.max(rows, document.querySelectorAll(".vrow").length);
      }
      frames.sort((a, b) => a - b);
      return {median: frames[frames.length >> 1], longest: frames.at(-1), rows};
    }""")
    print(f"\n10,000 tasks: a frame takes {measured['median']:.1f} ms, the longest {measured['longest']:.0f} ms")
    assert measured["rows"] < 60
    page.locator(".vlist .view").press("End")
    oldest = list(server.get("/api/v1/tasks?limit=1&offset=9999").json()["tasks"])[0]
    expect(page.locator(f".vrow[aria-rowindex='10001']")).to_contain_text(oldest)


def test_chat_streams_stops_and_answers_again(start_server, open_page):
    server = start_server("--devices", "sim:cpu:2", "--max-model-len", "8192", config=TWO_MODELS.format(path=run_cli("pull", check=True).stdout.strip()))
    one = open_page(server)
    page = one.open("chat")
    page.get_by_text("Options").click()
    page.get_by_label("System prompt").fill("You are brief.")
    page.get_by_label("Most tokens").fill("4000")
    page.get_by_label("Most tokens").blur()
    page.get_by_role("button", name="Two models").click()
    expect(page.locator(".side")).to_have_count(2)
    models = page.locator(".side select").all()
    assert len({model.input_value() for model in models}) == len(server.get("/v1/models").json()["data"])
    sent = []
    page.on("request", lambda request: sent.append(json.loads(request.post_data)) if request.method == "POST" else None)
    page.get_by_label("Message", exact=True).fill("Hello there")
    page.get_by_label("Message", exact=True).press("Enter")
    answers = page.locator(".turn.assistant .say")
    expect(answers).to_have_count(4)  # With one of its thinking each.
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    for i in range(2):
        expect(page.locator(".turn.assistant > .say").nth(i)).to_have_text(re.compile(".{20}", re.S))
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".turn.assistant .meta").first).to_contain_text("stopped")
    assert [body["messages"] for body in sent] == [[{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Hello there"}]] * 2
    assert {body["model"] for body in sent} == {model.input_value() for model in models}
    one.check("two models")
    one.picture("chat-two")
    page.get_by_label("Most tokens").fill("8")
    page.get_by_label("Most tokens").blur()
    page.get_by_role("button", name="Answer again").first.click()
    expect(page.locator(".turn.assistant .meta").first).to_contain_text("8 tokens")
    # A stopped answer leaves nothing running.
    deadline = time.monotonic() + 60
    while any(gpu["task_count"] for gpu in server.get("/api/v1/gpus").json()["gpus"]):
        assert time.monotonic() < deadline


def test_keys(start_server, open_page):
    config = "auth: {keys: [{name: ann, key: ann-key, role: user}, {name: root, key: root-key, role: admin}, {name: mon, key: mon-key, role: metrics}]}"
    server = start_server("--devices", "sim:h100:2", "--max-model-len", "512", config=config)
    ann, root = ({"headers": {"Authorization": f"Bearer {key}"}} for key in ("ann-key", "root-key"))
    for who in (ann, root):
        server.wait_task(server.post("/api/v1/predict", {"text": "x", "max_length": 2}, **who).json()["task_id"], **who)
    for path in ("/api/v1/live", "/api/v1/history", "/api/v1/usage", "/api/v1/whoami"):
        assert server.get(path).status_code == 401
    assert server.get("/api/v1/live", headers={"Authorization": "Bearer mon-key"}).status_code == 403
    assert [one["key"] for one in server.get("/api/v1/usage", **ann).json()["keys"]] == ["ann"]
    assert {one["key"] for one in server.get("/api/v1/usage", **root).json()["keys"]} == {"ann", "root"}

    one = open_page(server)
    page = one.open()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    one.check("key")
    one.picture("key")
    dialog.get_by_label("API key").fill("wrong")
    dialog.get_by_role("button", name="Open").click()
    expect(dialog).to_contain_text("does not know this key", timeout=15_000)
    one.picture("key-wrong")
    dialog.get_by_label("API key").fill("ann-key")
    dialog.get_by_role("button", name="Open").click()
    expect(dialog).to_have_count(0)
    expect(page.locator("#state .pill")).to_have_text("Ready")
    page.goto(server.url + "/#/devices")
    expect(page.locator("main")).to_contain_text("Only a key with the role admin")
    expect(page.locator("#strategy")).to_be_disabled()
    page.reload()  # The key is kept for the tab.
    expect(page.locator("#state .pill")).to_have_text("Ready")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.evaluate("localStorage.length + document.cookie.length") == 0
    page.goto(server.url + "/#/usage")
    expect(page.locator("main tbody")).to_contain_text("ann")
    expect(page.locator("main tbody")).not_to_contain_text("root")

    page.evaluate("sessionStorage.setItem('altlas.key', 'mon-key')")
    page.reload()
    page.goto(server.url + "/#/overview")
    expect(page.locator("main")).to_contain_text("This key may not look at the server")
    one.check("denied")
    one.picture("denied")


def test_a_server_that_goes_and_comes_back(start_server, open_page):
    server = start_server("--devices", "sim:h100:1", "--max-model-len", "512")
    one = open_page(server)
    for view in VIEWS:
        one.open(view)
    page = one.open()
    expect(page.locator("#state .pill")).to_have_text("Ready")
    server.kill()
    expect(page.locator("#state .pill")).to_have_text("Server not reachable", timeout=15_000)
    for view in VIEWS:
        page.goto(f"{server.url}/#/{view}")
        expect(page.locator("main h1")).to_have_text(one.headings[view])
        if view in ("tasks", "usage", "chat"):
            expect(page.locator("main")).to_contain_text("This could not be loaded")
        one.check(f"{view} without a server")
        one.picture(f"{view}-gone")
    port = server.url.rsplit(":", 1)[1]
    page.goto(f"{server.url}/#/overview")
    back = start_server("--devices", "sim:h100:1", "--max-model-len", "512", "--port", port)
    assert back.url == server.url
    expect(page.locator("#state .pill")).to_have_text("Ready", timeout=30_000)


def test_a_server_with_nothing_to_show(start_server, open_page):
    server = start_server("--devices", "sim:h100:1", "--max-model-len", "512")
    one = open_page(server)
    for view, text in (("overview", "Nothing runs"), ("tasks", "No tasks"), ("usage", "Nothing used yet"), ("chat", "Say something to")):
        page = one.open(view)
        expect(page.locator("main")).to_contain_text(text)
        one.check(f"{view} without anything")
        one.picture(f"{view}-empty")


def test_keyboard_alone(busy, open_page):
    page = open_page(busy).open("overview")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.locator("nav a", has_text="Tasks").press("Enter")
    expect(page.locator("main h1")).to_have_text("Tasks")
    expect(page.locator(".vrow").first).to_be_visible()
    page.locator(".vlist .view").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("section[aria-label=Task]")).to_be_visible()
    expect(page.locator(".vrow[aria-selected=true]")).to_have_attribute("aria-rowindex", "3")


def test_language_and_colours_are_kept(sim_server, open_page):
    page = open_page(sim_server).open()
    page.get_by_label("Language").select_option("tr")
    expect(page.locator("main h1")).to_have_text("Genel")
    page.get_by_label("Renkler").select_option("dark")
    page.reload()
    expect(page.locator("main h1")).to_have_text("Genel")
    assert page.evaluate("[document.documentElement.lang, document.documentElement.dataset.theme]") == ["tr", "dark"]


def test_a_key_that_is_taken_away_ends_the_stream(start_server, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("first-key\nsecond-key\n")
    keys.chmod(0o600)
    server = start_server("--devices", "sim:h100:1", "--max-model-len", "512", config=f"auth: {{keys_file: {keys}}}")
    streams = {key: requests.get(server.api + "/live", headers={"Authorization": "Bearer " + key}, stream=True, timeout=60)
               for key in ("first-key", "second-key")}
    lines = {key: stream.iter_lines() for key, stream in streams.items()}
    for one in lines.values():
        assert json.loads(next(line for line in one if line.startswith(b"data:"))[5:])["health"]["status"] == "ok"
    keys.write_text("second-key\n")
    server.process.send_signal(1)
    assert sum(1 for _ in lines["first-key"]) < 100  # It comes to its end.
    assert any(line.startswith(b"data:") for line in lines["second-key"])
    streams["second-key"].close()


def test_usage_outlives_the_server(start_server, tmp_path):
    data = str(tmp_path / "data")
    first = start_server("--devices", "sim:h100:1", "--max-model-len", "512", data_dir=data)
    for _ in range(3):
        first.wait_task(first.post("/api/v1/predict", {"text": "one two", "max_length": 5}).json()["task_id"])
    before = first.get("/api/v1/usage?hours=720").json()
    total = before["keys"][0]["total"]
    assert (total["completed"], total["generated_tokens"]) == (3, 15) and total["prompt_tokens"] >= 3
    first.stop()
    second = start_server("--devices", "sim:h100:1", "--max-model-len", "512", data_dir=data)
    after = second.get("/api/v1/usage?hours=720").json()
    assert after["since"] == before["since"] and after["keys"][0]["total"]["generated_tokens"] == 15
    for wrong in ("0", "721", "x", "-1", "1.5", ""):
        assert second.get(f"/api/v1/usage?hours={wrong}").status_code == 400, wrong
    assert second.get("/api/v1/history?by=hours").status_code == 400


def test_streams_end_when_the_server_stops(start_server):
    server = start_server("--devices", "sim:h100:1", "--max-model-len", "512")
    stream = requests.get(server.api + "/live", stream=True, timeout=60)
    lines = stream.iter_lines()
    next(lines)
    ended = threading.Event()

    def read():
        try:
            for _ in lines:
                pass
        except requests.exceptions.ChunkedEncodingError:
            pass  # The server may not have time for the last chunk.
        ended.set()

    threading.Thread(target=read).start()
    begun = time.monotonic()
    server.stop()
    assert ended.wait(10)
    print(f"\nstopped within {time.monotonic() - begun:.1f} s, with a stream open")
