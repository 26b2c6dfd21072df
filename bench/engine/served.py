"""One life of a server: the seconds from its start to the first token, tokens/s of HTTP clients, memory."""
import asyncio
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time

import aiohttp

from engines import Failed

PROMPTS = ["Write a function that sorts a list of numbers.", "Explain what a mutex is.", "def fibonacci(n):",
           "The history of Istanbul begins", "SELECT name FROM users WHERE", "A short poem about the sea:"]
START_SECONDS = 400
START, MEMORY = "start to first token", "memory over the file"


def http_row(clients):
    return f"HTTP {clients} client{'s' if clients > 1 else ''}"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def resident_bytes(pid):
    """Returns the proportional memory of a process and its children."""
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        try:
            total += int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{one}/smaps_rollup").read_text(), re.M).group(1))
            for task in pathlib.Path(f"/proc/{one}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except (OSError, AttributeError):
            pass
    return total * 1024


async def first_token(session, url, process, started):
    """Returns the seconds until a streamed completion gives its first bytes of text. It asks until somebody answers."""
    body = {"prompt": PROMPTS[0], "max_tokens": 1, "temperature": 0, "stream": True}
    while process.poll() is None:
        if time.monotonic() - started > START_SECONDS:
            raise Failed(f"the server gave no token within {START_SECONDS} s")
        try:
            async with session.post(url + "/v1/completions", json=body) as answer:
                if answer.status == 200:
                    async for line in answer.content:
                        if line.startswith(b"data: {"):
                            return time.monotonic() - started
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.005)
    raise Failed(f"the server ended with {process.returncode}")


async def load(session, url, clients, tokens, rounds):
    async def client(k):
        done = 0
        for r in range(rounds):
            body = {"prompt": PROMPTS[(k + r) % len(PROMPTS)], "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
            async with session.post(url + "/v1/completions", json=body) as answer:
                answer.raise_for_status()
                done += (await answer.json())["usage"]["completion_tokens"]
        return done

    started = time.perf_counter()
    generated = sum(await asyncio.gather(*(client(k) for k in range(clients))))
    return generated / (time.perf_counter() - started)


async def _rows(engine, url, process, started):
    figures = {}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600)) as session:
        figures[START] = await first_token(session, url, process, started)
        for clients in engine.options.clients:
            figures[http_row(clients)] = await load(session, url, clients, engine.options.tokens, 2 if clients == 1 else 1)
        figures[MEMORY] = (resident_bytes(process.pid) - engine.own_bytes()) / 2**20
    return figures


def serve_once(engine):
    """Returns the server rows of one engine: row -> figure."""
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        port, started = free_port(), time.monotonic()
        process = engine.server(port, log)
        try:
            return asyncio.run(_rows(engine, f"http://127.0.0.1:{port}", process, started))
        except (Failed, aiohttp.ClientError, asyncio.TimeoutError, KeyError, ValueError) as error:
            log.seek(0)
            raise Failed(f"{engine.key}, server: {error}: {log.read()[-2000:]}") from error
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
            if hasattr(engine, "read_log"):
                log.seek(0)
                engine.read_log(log.read())
