"""altlas.Client and AsyncClient against a real server: every call, retries that never make two tasks of one, streams that go
on behind what was read, and errors with the server's words."""
import asyncio
import json
import socket
import sys
import threading

import pytest
import requests

from conftest import ROOT

sys.path.insert(0, str(ROOT / "python"))

import altlas  # noqa: E402
from altlas import _calls, _protocol  # noqa: E402


@pytest.fixture
def client(sim_server):
    with altlas.Client(sim_server.url) as made:
        yield made


class Calls:
    """The same names for both clients: an AsyncClient is driven by a loop of its own."""

    def __init__(self, client):
        self.client = client
        self.loop = asyncio.new_event_loop() if isinstance(client, altlas.AsyncClient) else None

    def __getattr__(self, name):
        method = getattr(self.client, name)

        def call(*arguments, **named):
            made = method(*arguments, **named)
            if hasattr(made, "__aiter__"):
                async def all_of():
                    return [one async for one in made]
                return self.loop.run_until_complete(all_of())
            return self.loop.run_until_complete(made) if self.loop else made
        return call


@pytest.fixture(params=["blocking", "asyncio"])
def calls(request, sim_server):
    made = Calls(altlas.Client(sim_server.url) if request.param == "blocking" else altlas.AsyncClient(sim_server.url))
    yield made
    made.close()
    if made.loop:
        made.loop.close()


def test_a_task_from_submission_to_its_text(calls):
    placed = calls.predict("Sample input text", max_length=12, temperature=0.7, gpu_options={"strategy": "least_loaded"})
    assert placed.status in ("queued", "running") and placed.gpu_id in range(4)
    task = calls.wait(placed.task_id, timeout_s=60)
    assert task.ended and task.status == "completed"
    assert task.text() == task.result.text and task.result.tokens == 12 and task.result.execution_time > 0
    assert calls.task(placed.task_id) == task
    assert placed.task_id in {one.task_id for one in calls.tasks(status="completed", limit=1000).tasks}
    assert calls.explain(placed.task_id)["strategy"] == "least_loaded"


@pytest.mark.parametrize("split", [True, False])
def test_a_batch_tells_its_tasks_either_way(calls, split):
    batch = calls.batch_predict(["one", {"text": "two", "max_length": 3}], gpu_options={"batch_split": split})
    assert len(batch.task_ids) == 2
    assert (batch.gpu_id is None) == split and (len(batch.tasks) == 2) == split
    ends = [calls.wait(one, timeout_s=60) for one in batch.task_ids]
    assert [one.result.tokens for one in ends] == [128, 3]
    if not split:
        assert {one.gpu_id for one in ends} == {batch.gpu_id}


def test_what_the_server_is_like(calls):
    gpus = calls.gpus()
    assert [one.id for one in gpus] == [0, 1, 2, 3] and gpus[0].kind == "sim" and gpus[0].memory_total == 80 << 30
    assert calls.gpu(2).id == 2
    assert calls.deployments()["default"].replica_states == {"RUNNING": 4}
    assert calls.health().status == "ok"
    assert calls.version() == altlas.__version__
    before = calls.strategies()
    assert "round_robin" in before.strategies
    calls.set_strategy("round_robin")
    assert calls.strategies().strategy == "round_robin"
    calls.set_strategy(before.strategy)
    calls.predict("counted", max_length=2)
    assert calls.usage(hours=1)[0].key == ""


def test_a_stream_is_the_text(calls):
    placed = calls.predict("a stream", max_length=40, seed=5)
    events = list(calls.stream(placed.task_id))
    assert events[-1].task.status == "completed"
    assert "".join(one.text for one in events) == events[-1].task.text()


def test_cancel_and_errors(calls):
    placed = calls.predict("long", max_length=400)
    try:
        calls.cancel(placed.task_id)
    except altlas.Error as error:
        assert error.code == "conflict"  # It was over already.
    task = calls.wait(placed.task_id, timeout_s=60)
    with pytest.raises(altlas.Error) as caught:
        calls.cancel(placed.task_id)
    assert caught.value.code == "conflict" and caught.value.status == 409
    if task.status == "canceled":
        with pytest.raises(altlas.Error, match="was canceled"):
            task.text()
    with pytest.raises(altlas.Error) as caught:
        calls.predict("x", temperature=9)
    assert (caught.value.code, caught.value.field, caught.value.status) == ("invalid", "temperature", 400)
    with pytest.raises(altlas.Error) as caught:
        calls.task("none/../such")
    assert caught.value.status in (400, 404)


def test_no_server_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound and not listening: refused.
        url = "http://127.0.0.1:%d" % taken.getsockname()[1]
        with pytest.raises(altlas.Error, match="is the server running") as caught:
            altlas.Client(url, retries=0).gpus()
        assert caught.value.code == "unavailable"


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://x:99999", "http://", "http://u:p@x/", "http://x/?q"])
def test_no_address(url):
    with pytest.raises(altlas.Error) as caught:
        altlas.Client(url)
    assert caught.value.field == "url"


def test_what_has_no_json_or_header_is_refused_before_it_is_sent(client):
    with pytest.raises(altlas.Error, match="no JSON"):
        client.predict("x", temperature=float("nan"))
    with pytest.raises(altlas.Error, match="api_key"):
        altlas.Client("http://127.0.0.1:1", "line\nbreak").gpus()


class Relay:
    """A server between client and server that cuts answers: of each connection, the first `cuts` after so many bytes."""

    def __init__(self, url, cuts):
        self.address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        self.cuts = list(cuts)
        self.requests = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            self.relay(near, self.cuts.pop(0) if self.cuts else None)

    def relay(self, near, cut):
        with near, socket.create_connection(self.address) as far:
            request = b""
            while b"\r\n\r\n" not in request:
                request += near.recv(65536)
            head, _, body = request.partition(b"\r\n\r\n")
            length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
            while length and len(body) < length[0]:
                body += near.recv(65536)
            self.requests.append((head.decode(), body))
            lines = [line for line in head.split(b"\r\n")]
            lines[1:1] = [b"Connection: close"]
            far.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            sent = 0
            while cut is None or sent < cut:
                piece = far.recv(4096 if cut is None else min(4096, cut - sent))
                if not piece:
                    return
                near.sendall(piece)
                sent += len(piece)


@pytest.fixture
def relay(sim_server):
    made = []

    def start(*cuts):
        made.append(Relay(sim_server.url, cuts))
        return made[-1]
    yield start
    for one in made:
        one.listener.close()


@pytest.mark.parametrize("kind", [altlas.Client, altlas.AsyncClient])
def test_an_answer_that_was_lost_makes_no_second_task(sim_server, relay, kind):
    between = relay(0, 20)
    calls = Calls(kind(between.url))
    placed = calls.predict("lost answer", max_length=4)
    assert len(between.requests) == 3
    assert len({body for _, body in between.requests}) == 1, "the same body, with the same idempotency key"
    key = json.loads(between.requests[0][1])["idempotency_key"]
    again = requests.post(sim_server.api + "/predict", json={"text": "lost answer", "max_length": 4, "idempotency_key": key},
                          timeout=60).json()
    assert again["task_id"] == placed.task_id
    calls.close()


@pytest.mark.parametrize("kind", [altlas.Client, altlas.AsyncClient])
def test_a_stream_goes_on_behind_what_was_read(sim_server, relay, kind):
    with altlas.Client(sim_server.url) as direct:
        placed = direct.predict("resumed stream", max_length=300, seed=11)
        whole = direct.wait(placed.task_id, timeout_s=60).text()
        # Live and finished streams: the second task is read while it runs.
        running = direct.predict("resumed stream", max_length=300, seed=11)
    for task_id in (placed.task_id, running.task_id):
        between = relay(700, 900, 1500)
        calls = Calls(kind(between.url))
        events = list(calls.stream(task_id))
        assert "".join(one.text for one in events) == whole == events[-1].task.text()
        assert len(between.requests) == 4
        calls.close()


def test_last_event_id_of_the_server(sim_server):
    with altlas.Client(sim_server.url) as direct:
        placed = direct.predict("by hand ✓", max_length=60, seed=2)
        whole = direct.wait(placed.task_id).text()
    url = f"{sim_server.api}/task/{placed.task_id}/stream"
    size = len(whole.encode())
    for seen in (0, 1, size // 2, size - 1, size, size + 1000, 2**64 - 1):
        answer = requests.get(url, headers={"Last-Event-ID": str(seen)}, timeout=60)
        assert answer.status_code == 200
        data = [json.loads(line[6:]) for line in answer.content.decode().split("\n")
                if line.startswith("data: {")]
        text = "".join(one["text"] for one in data if "task_id" not in one)
        assert whole.encode().endswith(text.encode())
        # A character that the id cuts comes whole.
        assert 0 <= len(text.encode()) - max(0, size - seen) < 4
        assert data[-1]["task_id"] == placed.task_id
    for bad in ("x", "-1", "1.5", "99999999999999999999"):
        answer = requests.get(url, headers={"Last-Event-ID": bad}, timeout=60)
        assert answer.status_code == 400 and "Last-Event-ID" in answer.json()["error"]


def test_retries_are_decided_by_what_was_done():
    again, once = _protocol.Call("GET", "/", again=True), _protocol.Call("POST", "/")

    def delay(call, tries=1, retries=2, **error):
        return _protocol.retry_delay(altlas.Error("x", **error), call, tries, retries)

    assert delay(once, status=429, code="busy") == 0.1
    assert delay(once, status=429, code="busy", retry_after_s=7.0) == 7.0
    assert delay(once, status=503, code="unavailable") is not None
    assert delay(once, code="io") is None and delay(again, code="io") == 0.1 and delay(again, tries=2, code="io") == 0.2
    assert delay(again, tries=3, code="io") is None
    assert delay(again, status=500) is None and delay(again, status=400, code="invalid") is None
    assert delay(again, code="deadline") is None


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_in_pieces_of_any_size(size):
    wire = "id: 3\r\ndata: {\"text\":\"ü\"}\r\n\r\n: comment\ndata: a\ndata:b\n\nid: 9\n\ndata: [DONE]\n\n".encode()
    reader = _protocol.EventReader()
    events = [event for at in range(0, len(wire), size) for event in reader.push(wire[at:at + size])]
    assert events == [("3", '{"text":"ü"}'), ("3", "a\nb"), ("9", "[DONE]")]


def test_a_stream_that_breaks_for_ever_ends():
    state, call = _calls.StreamState(), _calls.stream("x")
    error = altlas.Error("gone", "io")
    assert [state.broke(error, call, 2) for _ in range(2)] == [0.1, 0.2]
    with pytest.raises(altlas.Error, match="gone"):
        state.broke(error, call, 2)
