"""Goal: no client can end the server, whatever it does with its connections. Method: many connections at once, each with its
own habit, on the real binary; every answer that a well-behaved client gets is checked, and the server must end with code 0."""
import asyncio
import os
import urllib.parse

SECONDS = float(os.environ.get("ALTLAS_HAMMER_SECONDS", "4"))


async def read_answer(reader):
    """One answer with a Content-Length: its status and its body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length:")[1].split("\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def keep_alive(host, port, path, until):
    """Requests one after another on one connection, as wrk sends them."""
    reader, writer = await asyncio.open_connection(host, port)
    count = 0
    while asyncio.get_running_loop().time() < until:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        status, body = await read_answer(reader)
        assert status == 200 and body.startswith(b"{"), (path, status, body[:200])
        count += 1
    writer.close()
    return count


def test_keep_alive_connections(start_server):
    """Before: a request's watch for its client used memory that the next request had given back; this ended five servers of
    six within seconds."""
    server = start_server("--devices", "sim:h100:1")
    url = urllib.parse.urlsplit(server.url)

    async def hammer():
        until = asyncio.get_running_loop().time() + SECONDS
        paths = ["/health", "/v1/models", "/version", "/api/v1/tasks"]
        return await asyncio.gather(*(keep_alive(url.hostname, url.port, paths[i % 4], until) for i in range(8)))

    assert min(asyncio.run(hammer())) > 10
    server.stop()
