"""Goal: the generation of a client that goes away stops at once, whatever else it sent and however it went; a client that only
closes its sending side gets its whole answer. Method: raw sockets that send, leave and half-close in many ways, on a simulated
device whose generations would take minutes; the server's own list says which tasks were canceled."""
import contextlib
import json
import socket
import ssl
import struct
import threading
import time
import urllib.parse

import pytest
import requests

# A simulated device gives some 100 tokens a second, so these would take minutes.
LONG = {"prompt": "Count:", "max_tokens": 30000, "ignore_eos": True}
SHORT = {"prompt": "Count:", "max_tokens": 40, "ignore_eos": True}


@pytest.fixture(scope="module", params=["plain", "tls"])
def server(request, certificate):
    from conftest import Server
    tls = ["--tls-cert", certificate[0], "--tls-key", certificate[1]] if request.param == "tls" else []
    one = Server("--devices", "sim:h100:1", *tls)
    one.context, one.verify = None, True
    if tls:
        one.verify = certificate[0]
        one.context = ssl.create_default_context(cafile=certificate[0])
    yield one
    one.stop()
    one.close()


def get(server, path):
    return requests.get(server.url + path, timeout=60, verify=server.verify).json()


def connect(server, address=None):
    url = urllib.parse.urlsplit(server.url)
    raw = socket.create_connection(address or (url.hostname, url.port), timeout=60)
    return server.context.wrap_socket(raw, server_hostname=url.hostname) if server.context else raw


def post(path, body):
    data = json.dumps(body).encode()
    return b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(data), data)


def running(server):
    return sum(gpu["task_count"] for gpu in get(server, "/api/v1/gpus")["gpus"])


def wait_until(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def shut(connection):
    connection.shutdown(socket.SHUT_RDWR)


GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
LEAVING = {
    "close": (b"", lambda c: c.close()),
    "empty line, close": (b"\r\n", lambda c: c.close()),
    "garbage, close": (b"\0\xffgarbage", lambda c: c.close()),
    "half a request, close": (b"POST /echo HTT", lambda c: c.close()),
    "pipelined, close": (GET, lambda c: c.close()),
    "many pipelined, close": (GET * 100, lambda c: c.close()),
    "generations pipelined, close": (post("/v1/completions", LONG) * 3, lambda c: c.close()),
    "reset": (b"", reset),
    "empty line, reset": (b"\r\n", reset),
    "pipelined, reset": (GET * 3, reset),
    "both ways shut": (b"", shut),
    "empty line, both ways shut": (b"\r\n", shut),
}


@pytest.mark.parametrize("path, stream", [("/v1/completions", False), ("/v1/completions", True), ("/v1/chat/completions", False),
                                          ("/chat", True), ("/llm/generate", False)])
@pytest.mark.parametrize("leaving", LEAVING)
def test_gone_clients_stop_their_work(server, path, stream, leaving):
    more, leave = LEAVING[leaving]
    body = dict(LONG, stream=stream, messages=[{"role": "user", "content": "Count"}])
    connection = connect(server)
    connection.sendall(post(path, body))
    wait_until(lambda: running(server) == 1, 20)
    if stream:
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    connection.sendall(more)
    leave(connection)
    left = time.monotonic()
    wait_until(lambda: running(server) == 0, 5)
    assert time.monotonic() - left < 2, "the generation went on"
    connection.close()


def test_more_unread_bytes_than_a_socket_takes(server):
    """The end of the client's bytes stays behind the unread ones, in the client's own system."""
    connection = connect(server)
    connection.sendall(post("/v1/completions", LONG))
    wait_until(lambda: running(server) == 1, 20)
    connection.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        connection.sendall(b"x" * (64 << 20))
    connection.close()
    wait_until(lambda: running(server) == 0, 10)


def read_all(connection):
    data = b""
    while piece := connection.recv(1 << 16):
        data += piece
    return data


def half_closed(server, data):
    """Returns what comes back when the client sends `data` and closes its sending side."""
    if server.context is None:
        with connect(server) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)
    # Python's sockets end TLS on both sides at once, so the bytes are carried by hand here.
    url = urllib.parse.urlsplit(server.url)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = server.context.wrap_bio(incoming, outgoing, server_hostname=url.hostname)
    answer = b""
    with socket.create_connection((url.hostname, url.port), timeout=60) as raw:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(1 << 16))
        tls.write(data)
        raw.sendall(outgoing.read())
        raw.shutdown(socket.SHUT_WR)
        while piece := raw.recv(1 << 16):
            incoming.write(piece)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                while plain := tls.read(1 << 16):
                    answer += plain
    return answer


@pytest.mark.parametrize("sent", ["", "\r\n", GET.decode()])
@pytest.mark.parametrize("path, stream", [("/v1/completions", False), ("/v1/completions", True), ("/llm/generate", False), ("/echo", False)])
def test_half_closing_clients_get_their_answers(server, path, stream, sent):
    answer = half_closed(server, post(path, dict(SHORT, stream=stream)) + sent.encode()).decode()
    assert answer.startswith("HTTP/1.1 200 OK\r\n"), answer[:200]
    if stream:  # Tokens that come together share an event.
        assert "data: [DONE]\n\n\r\n0\r\n\r\n" in answer and answer.count('"text"') > 20
    else:
        head, body = answer.split("\r\n\r\n", 1)
        length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        assert isinstance(json.loads(body.encode()[:length]), dict)
    assert answer.count("HTTP/1.1 200 OK") == (2 if sent.startswith("GET") else 1)


def test_half_closed_streams_stay_silent_without_harm(server):
    """The stream waits behind others: meanwhile the server asks for its client with comments, which clients skip."""
    def limit(tasks):
        answer = requests.post(server.url + "/api/v1/config/gpu/max_concurrent_tasks", json={"value": tasks}, verify=server.verify, timeout=60)
        assert answer.status_code == 200, answer.text

    limit(1)
    with connect(server) as first:
        first.sendall(post("/v1/completions", LONG))
        wait_until(lambda: running(server) == 1, 20)
        ended = threading.Timer(2, first.close)
        ended.start()
        answer = half_closed(server, post("/v1/completions", dict(SHORT, stream=True))).decode()
        ended.join()
    limit(64)
    assert answer.startswith("HTTP/1.1 200 OK\r\n") and answer.count('"text"') > 20 and "[DONE]" in answer


def relay(server):
    """A relay as containers have them: it passes an end on in one direction, and notices a broken other side only by writing."""
    url = urllib.parse.urlsplit(server.url)
    listener = socket.create_server(("127.0.0.1", 0))

    def carry(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end, side in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                end.shutdown(side)

    def accept():
        client, _ = listener.accept()
        upstream = socket.create_connection((url.hostname, url.port))
        threading.Thread(target=carry, args=(client, upstream), daemon=True).start()
        threading.Thread(target=carry, args=(upstream, client), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


def test_gone_clients_behind_a_relay(server):
    with relay(server) as listener:
        connection = connect(server, listener.getsockname())
        connection.sendall(post("/v1/completions", LONG))
        wait_until(lambda: running(server) == 1, 20)
        connection.close()
        wait_until(lambda: running(server) == 0, 10)
