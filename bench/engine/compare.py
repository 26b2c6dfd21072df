#!/usr/bin/env python3
"""altlas's CPU engine beside llama.cpp: the same files, machine and minutes, in pairs.

    bench/engine/compare.py --llama DIR [--llama-avx2 DIR] --model FILE.gguf [--model FILE.gguf ...]
        [--columns best,avx2] [--pairs 2] [--threads N] [--out docs/performance.md]

DIR holds llama-bench, llama-batched-bench and llama-server with their libraries: in --llama built with every SIMD
the CPU has, in --llama-avx2 with -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON. Column `best` runs
both engines as they choose, column `avx2` runs altlas with ALTLAS_SIMD=avx2 against the second build.

A pair is one run of altlas and one of llama.cpp right after it; a row shows medians over pairs and the median of the
pairs' ratios. llama.cpp's flash attention and ubatch are the best of a trial before the pairs. With --out the tables
stand between the marks `<!-- compare: begin -->` and `<!-- compare: end -->` of that file. Needs aiohttp
(tests/requirements.txt).
"""
import argparse
import asyncio
import datetime
import json
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
BATCHES = (1, 4, 16)
CLIENTS = (1, 4, 16)
BEGIN, END = "<!-- compare: begin -->", "<!-- compare: end -->"
# What issue 5 asks: row -> (column best, column avx2).
GOALS = {"decode 1": (1.6, 1.4), "decode 4": (4, 2), "decode 16": (5, 2.2), "prefill 512": (4, 2), "decode 1 at 4096": (1.5, 1.2),
         "HTTP 16 clients": (5, 2.5), "start to first token": (2, 2)}


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def run(command, env=None, timeout=600):
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=timeout)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\nended with {done.returncode}: {done.stderr[-2000:]}")
    return done


class Altlas:
    name = "altlas"

    def __init__(self, arguments, simd):
        self.binary, self.threads, self.tokens = arguments.altlas, arguments.threads, arguments.tokens
        self.env = dict(os.environ, **({"ALTLAS_SIMD": simd} if simd else {}))

    def engine(self, model, prefill, context):
        command = [self.binary, "bench", "engine", "--json", "--model", model, "--devices", f"cpu:1:{self.threads}", "--rounds", "1",
                   "--prefill", str(prefill), "--context", str(context), "--tokens", str(self.tokens),
                   "--batches", ",".join(map(str, BATCHES))]
        result = json.loads(run(command, self.env).stdout)
        figures = {work["name"]: work["tokens_per_s_best"] for work in result["works"]}
        return figures, result

    def server(self, model, port):
        command = [self.binary, "serve", "--port", str(port), "--data-dir", "none", "--model", model,
                   "--devices", f"cpu:1:{self.threads}"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.env)


class Llama:
    name = "llama.cpp"

    def __init__(self, arguments, folder):
        self.folder, self.threads, self.tokens = pathlib.Path(folder), arguments.threads, arguments.tokens
        self.env = dict(os.environ, LD_LIBRARY_PATH=str(self.folder))
        self.flags = {}

    def bench(self, model, *arguments):
        command = [self.folder / "llama-bench", "-m", model, "-t", str(self.threads), "-o", "json", *arguments]
        return json.loads(run(command, self.env).stdout)

    def choose(self, model, prefill):
        """The flash attention and ubatch at which prefill and decode are fastest."""
        best = {}
        for row in self.bench(model, "-p", str(prefill), "-n", "24", "-r", "1", "-fa", "off,on", "-ub", "128,512"):
            kind = "prefill" if row["n_prompt"] else "decode"
            if row["avg_ts"] > best.get(kind, (0,))[0]:
                best[kind] = (row["avg_ts"], str(row["n_ubatch"]), "on" if row["flash_attn"] not in (0, "off", False) else "off")
        self.flags[model] = {kind: ["-ub", ubatch, "-fa", flash] for kind, (_, ubatch, flash) in best.items()}
        return self.flags[model]

    def engine(self, model, prefill, context):
        flags, figures = self.flags[model], {}
        rows = self.bench(model, "-p", str(prefill), "-n", "0", "-r", "2", *flags["prefill"])
        figures[f"prefill {prefill}"] = max(rows[0]["samples_ts"])
        if context:
            rows = self.bench(model, "-p", "0", "-n", str(self.tokens), "-d", str(context), "-r", "1", *flags["decode"])
            figures[f"decode 1 at {context}"] = max(rows[0]["samples_ts"])
        command = [self.folder / "llama-batched-bench", "-m", model, "-t", str(self.threads), "-c", str(max(BATCHES) * 128),
                   "-npp", "16", "-ntg", str(self.tokens), "-npl", ",".join(map(str, BATCHES)), "--output-format", "jsonl",
                   *flags["decode"]]
        for line in run(command, self.env).stdout.splitlines():
            if line.startswith("{"):
                row = json.loads(line)
                figures[f"decode {row['pl']}"] = row["speed_tg"]
        return figures, None

    def server(self, model, port):
        command = [self.folder / "llama-server", "-m", model, "--host", "127.0.0.1", "--port", str(port), "-t", str(self.threads),
                   "-c", str(1024 * 16), "-np", "16", "--no-webui", *self.flags[model]["decode"]]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.env)

    def system_info(self):
        ask = ("import ctypes; f = ctypes.CDLL('libllama.so').llama_print_system_info; f.restype = ctypes.c_char_p; "
               "print(f().decode())")
        return "system_info " + run([sys.executable, "-c", ask], self.env).stdout.strip(" |\n")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def resident_bytes(pid):
    """Proportional memory of a process and its children."""
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
    """Seconds until a streamed completion gives its first bytes of text, asking until somebody answers."""
    body = {"prompt": PROMPTS[0], "max_tokens": 1, "temperature": 0, "stream": True}
    while process.poll() is None:
        try:
            async with session.post(url + "/v1/completions", json=body) as answer:
                if answer.status == 200:
                    async for line in answer.content:
                        if line.startswith(b"data: {"):
                            return time.monotonic() - started
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.005)
    raise SystemExit(f"the server ended with {process.returncode}")


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


async def serve_once(engine, model, tokens):
    port, started = free_port(), time.monotonic()
    process, url = engine.server(model, port), f"http://127.0.0.1:{port}"
    figures = {}
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600)) as session:
            figures["start to first token"] = await first_token(session, url, process, started)
            for clients in CLIENTS:
                figures[f"HTTP {clients} client{'s' if clients > 1 else ''}"] = await load(session, url, clients, tokens,
                                                                                        2 if clients == 1 else 1)
            figures["memory over the file"] = (resident_bytes(process.pid) - pathlib.Path(model).stat().st_size) / 2**20
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
    return figures


def measure(engines, model, arguments, end):
    """[pair][engine] -> figures, no pair begun that would last beyond `end`; and altlas's own reports."""
    pairs, reports = [], []
    for pair in range(arguments.pairs):
        began = time.monotonic()
        if pair and began + lasted > end:
            say(f"{pathlib.Path(model).name}: no time for another pair")
            break
        figures = {}
        for engine in engines:
            say(f"{pathlib.Path(model).name}: pair {pair + 1} of {arguments.pairs}, {engine.name}, engine")
            figures[engine.name], report = engine.engine(model, arguments.prefill, arguments.context)
            reports += [report] if report else []
        for engine in engines:
            say(f"{pathlib.Path(model).name}: pair {pair + 1} of {arguments.pairs}, {engine.name}, server")
            figures[engine.name].update(asyncio.run(serve_once(engine, model, arguments.tokens)))
        pairs.append(figures)
        lasted = time.monotonic() - began
    return pairs, reports


def table(pairs, reports, column):
    """Lines of markdown."""
    lines = ["| work | altlas | llama.cpp | ratio | goal | of the roof |", "|---|---|---|---|---|---|"]
    shares = {}
    for report in reports:
        for work in report["works"]:
            shares.setdefault(work["name"], []).append((work["roof_share"], work["bound"]))
    for row in pairs[0]["altlas"]:
        both = [(pair["altlas"][row], pair["llama.cpp"][row]) for pair in pairs if row in pair["llama.cpp"]]
        if not both:
            continue
        ours, theirs = (statistics.median(x) for x in zip(*both))
        upside_down = row.startswith(("start", "memory"))
        ratio = statistics.median(b / a if upside_down else a / b for a, b in both)
        unit = " s" if row.startswith("start") else " MiB" if row.startswith("memory") else ""
        digits = 2 if row.startswith("start") else 1
        goal = GOALS.get(row)
        goal_text = f"{goal[column == 'avx2']:g}" if goal else "at most 150 MiB" if unit == " MiB" else ""
        share = shares.get(row)
        share_text = f"{100 * statistics.median(s for s, _ in share):.0f} % of {share[0][1]}" if share else ""
        ratio_text = "" if unit == " MiB" else f"{ratio:.2f}"
        lines.append(f"| {row} | {ours:.{digits}f}{unit} | {theirs:.{digits}f}{unit} | {ratio_text} | {goal_text} | {share_text} |")
    return lines


def write_between_marks(path, text):
    whole = path.read_text()
    before, rest = whole.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    path.write_text(before + BEGIN + "\n" + text + "\n" + END + after)


def cpu_name():
    found = re.search(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return found.group(1) if found else "CPU"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--llama", required=True)
    parser.add_argument("--llama-avx2")
    parser.add_argument("--columns", default="best,avx2")
    parser.add_argument("--altlas", default=str(ROOT / "build" / "altlas"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=10, help="no pair begins that would last beyond its share of them")
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--context", type=int, default=4096)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    columns = arguments.columns.split(",")
    if not set(columns) <= {"best", "avx2"}:
        parser.error("--columns: best, avx2 or both")
    if "avx2" in columns and not arguments.llama_avx2:
        parser.error("--llama-avx2: column avx2 needs it")
    started, parts, done = time.monotonic(), [], 0
    for column in columns:
        altlas = Altlas(arguments, "avx2" if column == "avx2" else "")
        llama = Llama(arguments, arguments.llama_avx2 if column == "avx2" else arguments.llama)
        for model in arguments.model:
            say(f"{pathlib.Path(model).name}: trial of llama.cpp's flags")
            flags = llama.choose(model, arguments.prefill)
            done += 1
            end = started + arguments.minutes * 60 * done / (len(columns) * len(arguments.model))
            pairs, reports = measure([altlas, llama], model, arguments, end)
            best = {key: max(report["roofs"][key] for report in reports) for key in reports[0]["roofs"]}
            parts += [f"### {pathlib.Path(model).name}, {reports[0]['simd']}, {arguments.threads} threads, {len(pairs)} pairs", "",
                      *table(pairs, reports, column), "",
                      f"Roofs in the same runs: read {best['read_bytes_per_s'] / 1e9:.1f} GB/s, int8 "
                      f"{best['int8_macs_per_s'] / 1e9:.0f} GMAC/s, float {best['float_macs_per_s'] / 1e9:.0f} GMAC/s. llama.cpp: prefill "
                      f"`{' '.join(flags['prefill'])}`, decode `{' '.join(flags['decode'])}`; {llama.system_info()}", ""]
            print("\n".join(parts[-len(pairs[0]['altlas']) - 8:]), flush=True)
    head = [f"{cpu_name()}, {datetime.date.today()}, {(time.monotonic() - started) / 60:.1f} minutes: "
            f"`bench/engine/compare.py --columns {arguments.columns} --pairs {arguments.pairs}`. Tokens per second unless said.", ""]
    if arguments.out:
        write_between_marks(arguments.out, "\n".join(head + parts).rstrip())
    print("\n".join(head))


if __name__ == "__main__":
    main()
