#!/usr/bin/env python3
"""altlas beside llama-server: tokens/s for several numbers of clients, with the same model file on the same machine, in pairs.

    bench/serving/compare.py --model FILE.gguf --llama-server PATH [--clients 1,4,16] [--tokens 64] [--pairs 3]

Each pair starts one server after the other, warms it up, and runs every load; the table gives medians over pairs and the
median of the ratios. Needs aiohttp (tests/requirements.txt).
"""
import argparse
import asyncio
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

import aiohttp

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPTS = ["Write a function that sorts a list of numbers.", "Explain what a mutex is.", "def fibonacci(n):",
           "The history of Istanbul begins", "SELECT name FROM users WHERE", "A short poem about the sea:"]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Running:
    """A server process, which is ended by its id."""

    def __init__(self, name, command, port):
        self.name, self.url = name, f"http://127.0.0.1:{port}"
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)

    def resident_mib(self):
        """Returns the proportional memory of the process and its children."""
        total, waiting = 0, [self.process.pid]
        while waiting:
            pid = waiting.pop()
            try:
                rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
                total += int(re.search(r"^Pss:\s+(\d+)", rollup, re.M).group(1))
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    waiting += [int(c) for c in (task / "children").read_text().split()]
            except (OSError, AttributeError):
                pass
        return total / 1024


def start_altlas(arguments):
    port = free_port()
    command = [arguments.altlas, "serve", "--port", str(port), "--data-dir", "none", "--model", arguments.model,
               "--devices", f"cpu:1:{arguments.threads}"]
    return Running("altlas", command, port)


def start_llama(arguments):
    port = free_port()
    command = [arguments.llama_server, "-m", arguments.model, "--host", "127.0.0.1", "--port", str(port), "-t", str(arguments.threads),
               "-c", str(1024 * 16), "-np", "16", "--no-webui"]
    return Running("llama-server", command, port)


async def complete(session, url, prompt, tokens):
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    async with session.post(url + "/v1/completions", json=body) as answer:
        answer.raise_for_status()
        result = await answer.json()
        return result["usage"]["completion_tokens"]


async def wait_ready(session, server):
    while True:
        try:
            async with session.get(server.url + "/health") as answer:
                if answer.status == 200:
                    return time.monotonic() - server.started
        except aiohttp.ClientError:
            pass
        if server.process.poll() is not None:
            raise SystemExit(f"{server.name} ended with {server.process.returncode}")
        await asyncio.sleep(0.02)


async def load(session, url, clients, tokens, rounds):
    started = time.perf_counter()

    async def client(k):
        return sum([await complete(session, url, PROMPTS[(k + r) % len(PROMPTS)], tokens) for r in range(rounds)])

    generated = sum(await asyncio.gather(*(client(k) for k in range(clients))))
    return generated / (time.perf_counter() - started)


async def measure(server, arguments):
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600)) as session:
        figures = {"start s": await wait_ready(session, server)}
        await complete(session, server.url, PROMPTS[0], 8)
        for clients in arguments.clients:
            figures[f"{clients} clients tok/s"] = await load(session, server.url, clients, arguments.tokens, 2 if clients == 1 else 1)
        figures["memory MiB"] = server.resident_mib()
        return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--llama-server", required=True)
    parser.add_argument("--altlas", default=str(ROOT / "build" / "altlas"))
    parser.add_argument("--clients", type=lambda s: [int(x) for x in s.split(",")], default=[1, 4, 16])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    results = {"altlas": [], "llama-server": []}
    for pair in range(arguments.pairs):
        for start in (start_altlas, start_llama):
            server = start(arguments)
            try:
                results[server.name].append(asyncio.run(measure(server, arguments)))
            finally:
                server.stop()
        print(f"pair {pair + 1} of {arguments.pairs} done", file=sys.stderr)
    print(f"{'':>18} {'altlas':>10} {'llama':>10} {'ratio':>7}")
    for key in results["altlas"][0]:
        ours, theirs = [[r[key] for r in results[name]] for name in ("altlas", "llama-server")]
        ratio = statistics.median(a / b for a, b in zip(ours, theirs))
        print(f"{key:>18} {statistics.median(ours):>10.2f} {statistics.median(theirs):>10.2f} {ratio:>7.2f}")


if __name__ == "__main__":
    main()
