"""Goal: a request whose head already decides costs no memory, and pages of other sites can't use a server without keys. Method:
raw sockets against the real binary; its memory is read from /proc."""
import concurrent.futures
import contextlib
import json
import re
import socket
import time
import urllib.parse

import pytest

from raw_http import memory_mib

KEYS = "auth: {keys: [{name: ada, key: right, role: user}]}\n"


def connect(server):
    url = urllib.parse.urlsplit(server.url)
    return socket.create_connection((url.hostname, url.port), timeout=60)


def exchange(server, data):
    """Returns the status of the answer to these bytes, and the whole answer."""
    with connect(server) as connection:
        connection.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while not re.search(rb"\r\n\r\n.*[}\n]", answer, re.S) and (more := connection.recv(65536)):
                answer += more
    return int(answer.split()[1]), answer


def request(method, path, host, body=b"", **headers):
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += [f"Host: {host}"] * (host is not None) + [f"Content-Length: {len(body)}", "Connection: close"]
    return f"{method} {path} HTTP/1.1\r\n".encode() + "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture(scope="module")
def open_server():
    from conftest import Server
    server = Server("--devices", "sim:h100:1", config="server: {allowed_hosts: [gpu.example], cors_origins: ['https://ui.example']}")
    yield server
    server.stop()
    server.close()


FILE = b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; ' \
       b'name="file"; filename="f"\r\n\r\n{}\r\n--b--\r\n'


@pytest.mark.parametrize("host, status", [
    ("evil.example", 403), ("evil.example:8000", 403), ("127.0.0.1.evil.example", 403), ("localhost.evil", 403), ("10.1.2.3", 403),
    ("localhost", 200), ("LOCALHOST.:1", 200), ("127.0.0.1", 200), ("127.3.3.3:80", 200), ("[::1]:80", 200), ("gpu.example", 200),
    ("", 400), (None, 400), ("a b", 400), ("u@localhost", 400), ("localhost\r\nHost: localhost", 400), ("localhost:x", 400)])
def test_names_without_keys(open_server, host, status):
    """A server that took every name would give its whole API to a page whose name was made to point here."""
    got, answer = exchange(open_server, request("GET", "/v1/models", host))
    assert got == status, answer
    body = json.dumps({"text": "x", "max_length": 1}).encode()
    assert exchange(open_server, request("POST", "/api/v1/predict", host, body, Content_Type="application/json"))[0] == status


@pytest.mark.parametrize("origin, status", [
    ("http://evil.example", 403), ("null", 403), ("http://127.0.0.1:1", 403), ("https://127.0.0.1", 403), ("file://", 403),
    ("chrome-extension://abc", 403), (None, 200), ("own", 200), ("https://ui.example", 200)])
def test_pages_of_other_sites(open_server, origin, status):
    """Forms of any site could upload files if only preflights were checked, since multipart needs none."""
    netloc = urllib.parse.urlsplit(open_server.url).netloc
    headers = {"Content_Type": "multipart/form-data; boundary=b"}
    if origin:
        headers["Origin"] = "http://" + netloc if origin == "own" else origin
    got, answer = exchange(open_server, request("POST", "/v1/files", netloc, FILE, **headers))
    assert got == status, answer
    assert exchange(open_server, request("GET", "/v1/files", netloc, **headers))[0] == 200


def test_keys_come_before_bodies(start_server):
    """100 bodies of 8 MiB without a key must not take 800 MB."""
    server = start_server("--devices", "sim:h100:1", config=KEYS)
    before = memory_mib(server)
    body = b" " * (8 << 20)
    for count, path, headers, status in ((20, "/v1/completions", {}, 401), (20, "/v1/files", {}, 401), (20, "/nowhere", {}, 401),
                                         (3, "/api/v1/predict", {"Authorization": "Bearer wrong"}, 401),
                                         (2, "/v1/files", {"Authorization": "Basic Og=="}, 401),
                                         (20, "/v1/load_lora_adapter", {"Authorization": "Bearer right"}, 403)):
        connections = []
        for _ in range(count):
            connections.append(connect(server))
            head = request("POST", path, "x", **headers).replace(b"Content-Length: 0", b"Content-Length: %d" % len(body))
            with contextlib.suppress(ConnectionError):  # The server closes while we send.
                connections[-1].sendall(head)
                connections[-1].sendall(body)
        answers = []
        for connection in connections:
            with contextlib.suppress(ConnectionError):
                answers.append(connection.recv(4096))
            connection.close()
        assert any(answers) and all(int(one.split()[1]) == status for one in answers if one), (path, answers[:2])
        assert memory_mib(server) - before < 60
    assert re.search(r"wrong keys from 127\.0\.0\.1: 1 so far", server.log())
    assert server.get("/v1/models", headers={"Authorization": "Bearer right"}).status_code == 200
    server.stop()


def test_bodies_of_all_requests_are_bounded(start_server):
    """Bodies that never end: those that find no room are told so, and the room comes back."""
    server = start_server("--devices", "sim:h100:1", config="server: {request_bytes_max: 16777216}")
    before = memory_mib(server)
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 8388608\r\n\r\n"
    connections = [connect(server) for _ in range(12)]
    answers = {}
    for connection in connections:
        connection.setblocking(False)
        rest = head + b" " * (4 << 20)
        deadline = time.monotonic() + 20
        while rest and time.monotonic() < deadline:
            try:
                rest = rest[connection.send(rest):]
            except BlockingIOError:
                pass
            except ConnectionError:
                break
            with contextlib.suppress(BlockingIOError, ConnectionError):
                answers[connection] = connection.recv(4096)
                break
    for connection in connections:  # Bodies that are being read get no answer.
        connection.settimeout(0.3)
        with contextlib.suppress(TimeoutError, ConnectionError):
            answers[connection] = answers.get(connection) or connection.recv(4096)
    refused = [answer for answer in answers.values() if answer]
    assert len(refused) >= 6
    assert all(b" 429 " in answer.split(b"\r\n")[0] and b"Retry-After" in answer for answer in refused), refused
    assert memory_mib(server) - before < 60
    for connection in connections:
        connection.close()
    body = json.dumps({"prompt": "a" * 100, "max_tokens": 1}).encode()
    deadline = time.monotonic() + 10
    while server.post("/v1/completions", json.loads(body)).status_code != 200:
        assert time.monotonic() < deadline
    many = {"prompt": "a", "max_tokens": 1, "x": [1] * 1000000}  # 2 MB of text with 32 MB of values.
    assert server.post("/v1/completions", many).status_code == 413
    server.stop()


def test_connections_of_one_address(start_server):
    server = start_server("--devices", "sim:h100:1", config="server: {connections_per_address_max: 3}")
    url = urllib.parse.urlsplit(server.url)
    ones = [connect(server) for _ in range(3)]
    for one in ones:
        one.sendall(request("GET", "/health", "localhost").replace(b"Connection: close\r\n", b""))
        assert one.recv(100).startswith(b"HTTP/1.1 200")
    with connect(server) as fourth:
        assert fourth.recv(100).startswith(b"HTTP/1.1 503")
    with socket.create_connection((url.hostname, url.port), source_address=("127.0.0.2", 0), timeout=60) as other:
        other.sendall(request("GET", "/health", "localhost"))
        assert other.recv(100).startswith(b"HTTP/1.1 200")
    for one in ones:
        one.close()
    server.stop()


LOGPROBS = {"max_tokens": 1, "prompt_logprobs": 20}


@pytest.mark.parametrize("path, body, status, says", [
    ("/v1/completions", {"prompt": "a " * 4000000, "n": 128, "echo": True}, 400, "maximum context length"),
    ("/v1/completions", {"prompt": ["a " * 480] * 1000, **LOGPROBS}, 413, "log-probabilities"),
    ("/v1/completions", {"prompt": "a", "n": 128, "max_tokens": 3000, "logprobs": 5}, 413, "log-probabilities"),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "n": 128, "max_tokens": 2000, "logprobs": True,
                              "top_logprobs": 20}, 413, "answers of up to"),
    ("/v1/completions", {"prompt": ["a " * 2000] * 900, "max_tokens": 1}, 413, "prompts of"),
    ("/v1/embeddings", {"input": [[1] * 3000] * 700}, 413, "bytes of memory")])
def test_products_are_bounded(start_server, path, body, status, says):
    """Each field is within its own limit. Unchecked, the first request would take 2.5 GB and the second 3.7 GB."""
    server = start_server("--devices", "sim:h100:2", "--max-model-len", "4096", config="server: {request_bytes_max: 50331648}")
    server.post("/v1/completions", {"prompt": "a", "max_tokens": 1})
    before = memory_mib(server, "VmHWM")
    answer = server.post(path, body)
    message = answer.json()["error"]["message"]
    assert answer.status_code == status and says in message and re.search(r"\d{3,}", message), answer.text[:500]
    assert memory_mib(server, "VmHWM") - before < 250
    assert server.post("/v1/completions", {"prompt": "a", "max_tokens": 1}).status_code == 200
    server.stop()


def test_large_answers_are_sent_in_pieces(start_server):
    server = start_server("--devices", "sim:h100:2", "--max-model-len", "1024")
    prompts = [f"{i} " + "a b " * 100 for i in range(150)]
    one = server.post("/v1/completions", {"prompt": prompts[7], "seed": 1, **LOGPROBS})
    assert "Content-Length" in one.headers
    before = memory_mib(server, "VmHWM")
    answer = server.post("/v1/completions", {"prompt": prompts, "seed": 1, **LOGPROBS})
    assert answer.headers.get("Transfer-Encoding") == "chunked" and answer.headers["Content-Type"] == "application/json"
    choices = answer.json()["choices"]
    assert [choice["index"] for choice in choices] == list(range(150))
    assert choices[7]["prompt_logprobs"] == one.json()["choices"][0]["prompt_logprobs"]
    assert answer.json()["usage"]["completion_tokens"] == 150
    assert len(answer.content) > 2 << 20
    assert memory_mib(server, "VmHWM") - before < 60
    server.stop()


def test_memory_goes_back(start_server):
    """What large requests take goes back to the system."""
    server = start_server("--devices", "sim:h100:1")
    for _ in range(3):
        server.post("/echo", {"x": ["a" * 40] * 1000})
    before = memory_mib(server)
    many = json.dumps({"x": [[str(i)] * 3 for i in range(250000)]})
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for answer in pool.map(lambda _: server.post("/echo", data=many, headers={"Content-Type": "application/json"}), range(24)):
            assert answer.status_code in (200, 429), answer.text[:200]
    taken = memory_mib(server, "VmHWM") - before
    assert taken > 100
    deadline = time.monotonic() + 20
    while memory_mib(server) > before + taken / 10:  # Arenas of threads keep 1 MiB each.
        assert time.monotonic() < deadline, (before, taken, memory_mib(server))
    server.stop()


COMPLETION = {"prompt": "a", "max_tokens": 1}
LARGE = [("/echo", {"x": "a" * 3_000_000}, 20), ("/echo", {"x": ["b" * 2000] * 600}, 40), ("/echo", {"x": "é" * 700_000}, 40),
         ("/v1/completions", {**COMPLETION, "logit_bias": {str(i): 1 for i in range(16_000)}}, 40),
         ("/v1/completions", {**COMPLETION, "guided_choice": [f"{i:0200}" for i in range(500)]}, 40),
         ("/v1/completions", {"prompt": "a", "n": 128, "max_tokens": 900, "ignore_eos": True, "logprobs": 5}, 3)]


@pytest.mark.parametrize("path, body, count", LARGE)
def test_tasks_that_are_over_hold_little(start_server, path, body, count):
    """An ended task must not keep the memory of its body, prompt, tokens and text; and an echo of more than
    server.stream_buffer_bytes_max is answered."""
    server = start_server("--devices", "sim:h100:1", "--max-model-len", "1024", config="server: {request_bytes_max: 200MiB}")
    server.post(path, body)
    before = memory_mib(server)
    for i in range(count):
        answer = server.post(path, body | {"seed": i})
        assert answer.status_code == 200, answer.text[:300]
        assert path != "/echo" or answer.json()["echo"] == body | {"seed": i}
    deadline = time.monotonic() + 20
    while memory_mib(server) > before + 12:  # Allocators keep a little for each thread.
        assert time.monotonic() < deadline, (before, memory_mib(server))
    server.stop()
