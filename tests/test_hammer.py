"""Goal: no client can end the server or another client's answer, whatever it does with its connections. Method: many connections
at once, each with its own habit, on two real servers, one of them with TLS; every answer that a well-behaved client gets is
checked, and both servers must end with code 0 and without a finding. Sanitized builds run the same for longer
(ALTLAS_HAMMER_SECONDS)."""
import asyncio
import json
import os
import ssl
import socket
import time
import urllib.parse

from conftest import Server
from raw_http import Client, open_sockets, read_answer, request, reset

SECONDS = float(os.environ.get("ALTLAS_HAMMER_SECONDS", "8"))
ENOUGH = 30.0  # After this many seconds without an answer the server counts as stalled: no habit ends without one.


async def keep_alive(client, path):
    """Sends requests one after another on one connection, as wrk does."""
    reader, writer = await client.connect()
    for _ in range(50):
        writer.write(request("GET", path))
        status, body = await read_answer(reader)
        assert status == 200 and body[:1] in (b"{", b"#"), (path, status, body[:200])
    writer.close()


async def pipelined(client):
    """The answers come in the order of the requests, each with its own body."""
    reader, writer = await client.connect()
    for first in range(0, 64, 16):
        writer.write(b"".join(request("POST", "/echo", {"i": i}) for i in range(first, first + 16)))
        for i in range(first, first + 16):
            status, body = await read_answer(reader)
            assert status == 200 and json.loads(body)["echo"] == {"i": i}, body
    writer.close()


async def half_closed(client):
    reader, writer = await client.connect()
    writer.write(request("POST", "/echo", {"half": 1}) + request("GET", "/health"))
    if writer.can_write_eof():
        writer.write_eof()
    for _ in range(2):
        status, body = await read_answer(reader)
        assert status == 200 and json.loads(body)
    writer.close()


async def slow(client):
    """Sends some bytes at a time, each in a packet of its own."""
    reader, writer = await client.connect()
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = request("POST", "/echo", {"slow": "x" * 40})
    for at in range(0, len(data), 7):
        writer.write(data[at:at + 7])
        await writer.drain()
        await asyncio.sleep(0.001)  # The pace is the input.
    status, body = await read_answer(reader)
    assert status == 200 and json.loads(body)["echo"] == {"slow": "x" * 40}
    writer.close()


async def sound(client):
    """A well-behaved request beside each hostile one. It also keeps the hostile ones no faster than the server."""
    status, body = await client.ask("GET", "/health")
    assert status == 200 and json.loads(body)["status"] == "ok", body


async def resetting(client, data, wait):
    """Sends that much, maybe sees the first bytes of an answer, and resets."""
    reader, writer = await client.connect()
    writer.write(data)
    await writer.drain()
    if wait:
        await reader.read(1)
    reset(writer)
    await sound(client)


async def closing(client, data):
    _, writer = await client.connect()
    writer.write(data)
    writer.close()
    await sound(client)


async def predict(client):
    """A task from its beginning to its end."""
    status, body = await client.ask("POST", "/api/v1/predict", {"text": "Count:", "max_length": 4})
    assert status == 200, body
    status, body = await client.ask("GET", f"/api/v1/task/{json.loads(body)['task_id']}?wait=60")
    answer = json.loads(body)
    assert status == 200 and answer["status"] == "completed", body
    assert answer["result"]["tokens"] == 4, body


async def streamed(client):
    """A stream from its beginning to its end: as many tokens as were asked for, then the end mark."""
    status, body = await client.ask("POST", "/v1/completions", {
        "prompt": "Count:", "max_tokens": 6, "ignore_eos": True, "stream": True, "stream_options": {"include_usage": True}})
    events = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
    assert status == 200 and events[-1] == "[DONE]", (status, body[-300:])
    assert json.loads(events[-2])["usage"]["completion_tokens"] == 6, events[-2]


async def stream_unread(client):
    """Reads the first bytes of a long stream, then leaves."""
    reader, writer = await client.connect()
    writer.write(request("POST", "/v1/completions", {"prompt": "Count:", "max_tokens": 400, "ignore_eos": True, "stream": True}))
    assert (await reader.read(300)).startswith(b"HTTP/1.1 200")
    writer.close()
    await sound(client)


LONG = {"prompt": "Count:", "max_tokens": 400, "ignore_eos": True}
ODD = [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 200, b"\0" * 100,
       b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
       b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100000 + b"\r\n\r\n"]


async def odd(client):
    """Bytes that are no request are answered or not, and end only their own connection."""
    for data in ODD:
        reader, writer = await client.connect()
        try:
            writer.write(data)
            if writer.can_write_eof():
                writer.write_eof()
            else:
                await writer.drain()
                reset(writer)
            await reader.read()
        except OSError:  # The server has closed it already, maybe while we still sent.
            pass
        writer.close()


def habits():
    """Some 32 connections: good clients, and some hostile ones."""
    good = [(keep_alive, path) for path in ("/health", "/v1/models", "/metrics", "/api/v1/gpus", "/health", "/version")]
    good += [(pipelined,)] * 4 + [(half_closed,)] * 3 + [(slow,)] * 3 + [(predict,)] * 3 + [(streamed,)] * 3
    bad = [(resetting, request("GET", "/health"), False), (resetting, request("GET", "/health") * 20, True),
           (resetting, request("POST", "/v1/completions", LONG), False),
           (resetting, request("POST", "/v1/completions", dict(LONG, stream=True)), True),
           (closing, request("POST", "/api/v1/predict", {"text": "a", "max_length": 1})),
           (closing, request("POST", "/v1/completions", LONG) + b"\r\n"), (closing, request("GET", "/metrics") * 10),
           (stream_unread,), (stream_unread,)]
    return good + bad + [(odd,)]


def test_hostile_beside_good_clients(certificate):
    """A request's watch for its client must not use memory that the next request has given back. (Such a fault ends most servers
    within seconds here.)"""
    arguments = ("--devices", "sim:h100:2", "--max-model-len", "1024")
    servers = [Server(*arguments), Server(*arguments, "--tls-cert", certificate[0], "--tls-key", certificate[1])]
    sockets = [open_sockets(server) for server in servers]
    contexts = [None, ssl.create_default_context(cafile=certificate[0])]

    async def hammer():
        until = asyncio.get_running_loop().time() + SECONDS
        clients = [Client(urllib.parse.urlsplit(s.url), c, until) for s, c in zip(servers, contexts)]
        work = [client.run(*habit) for client in clients for habit in habits()]
        await asyncio.wait_for(asyncio.gather(*work), SECONDS + ENOUGH * (1 + SECONDS / 10))
        return clients

    try:
        for client in asyncio.run(hammer()):
            print(client.rounds)
            assert min(client.rounds.values()) > 0
        deadline = time.monotonic() + ENOUGH
        while any(open_sockets(server) > before for server, before in zip(servers, sockets)):
            assert time.monotonic() < deadline, "connections stay open without their clients"
        for server in servers:
            server.stop()
            assert "Sanitizer" not in server.log(), server.log()[-8000:]
    finally:
        for server in servers:
            server.close()
