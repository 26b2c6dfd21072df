"""HTTP by hand, for tests that send what no library would: requests as bytes, answers from a stream, connections that are reset,
and what /proc says of the server's process."""
import asyncio
import contextlib
import json
import os
import re
import socket
import struct


def request(method, path, body=None, key=None, kind="application/json", **headers):
    """Returns a request. `body` is bytes as they are, or anything else as JSON. Names of headers are written with underscores."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    lines = {"Host": "localhost"} | ({"Content-Type": kind} if data else {}) | ({"Authorization": f"Bearer {key}"} if key else {})
    lines |= {name.replace("_", "-"): str(value) for name, value in headers.items()}
    lines.setdefault("Content-Length", str(len(data)))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data


async def read_head(reader):
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    return int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:] if line)


async def read_answer(reader):
    """Reads one answer. Returns its status and its body."""
    status, head = await read_head(reader)
    if "content-length" in head:
        return status, await reader.readexactly(int(head["content-length"]))
    assert head["transfer-encoding"] == "chunked", head
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readexactly(2)
    return status, body


class Client:
    """What the habits share: where the server is, when to end, how many rounds each has done."""

    def __init__(self, url, context, until, address=None, key=None):
        self.host, self.port, self.context, self.until = url.hostname, url.port, context, until
        self.address, self.key = address and (address, 0), key
        self.rounds = {}

    def going(self):
        return asyncio.get_running_loop().time() < self.until

    async def connect(self):
        return await asyncio.open_connection(self.host, self.port, ssl=self.context, local_addr=self.address)

    async def ask(self, method, path, body=None, **more):
        reader, writer = await self.connect()
        try:
            writer.write(request(method, path, body, **{"key": self.key, **more}))
            return await read_answer(reader)
        finally:
            writer.close()

    async def run(self, habit, *arguments):
        done = 0
        while self.going() or done == 0:
            await habit(self, *arguments)
            done += 1
        name = habit.__name__
        self.rounds[name] = self.rounds.get(name, 0) + done


def reset(writer):
    own = writer.get_extra_info("socket")
    if own is not None:  # Under TLS there is none any more once the server has closed.
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def open_sockets(server):
    folder, count = f"/proc/{server.process.pid}/fd", 0
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # The descriptor has just been closed.
            count += os.readlink(os.path.join(folder, name)).startswith("socket:")
    return count


def memory_mib(server, which="VmRSS"):
    with open(f"/proc/{server.process.pid}/status") as status:
        return int(re.search(which + r":\s+(\d+)", status.read())[1]) / 1024
