#!/usr/bin/env python3
"""What each technique that saves memory saves and costs, on one model and one CPU device.

    bench/memory/techniques.py [--altlas build/altlas] [--model FILE] [--turns 3] [--out docs/memory.md]

Every turn runs each row once, one right after the other, on a server of its own. The ledger's columns are what `altlas memory` says
before the load (KV for 16 sequences of 2,048 tokens); "resident" is what the worker has in memory at the end of the run, its mapped
weights included. Ratios are medians over the turns, each beside the first row of the same turn. With --out the table stands between the
marks `<!-- techniques: begin -->` and `<!-- techniques: end -->` of that file.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("tests", "bench/engine", "bench/parallel")]

LIMITS = ["--max-model-len", "2048", "--max-num-seqs", "16"]
ROWS = [
    ("as served: KV f16, steps of 512 tokens", []),
    ("KV bf16", ["--kv-dtype", "bf16"]),
    ("KV f32", ["--kv-dtype", "f32"]),
    ("KV q8_0", ["--kv-dtype", "q8_0"]),
    ("steps of 64 tokens", ["--max-num-batched-tokens", "64"]),
    ("steps of 2048 tokens", ["--max-num-batched-tokens", "2048"]),
    ("8 layers offloaded", ["--offload-layers", "8"]),
    ("16 layers offloaded", ["--offload-layers", "16"]),
    ("weights streamed", ["--stream-weights"]),
]


def resident(server):
    pids = [replica["pid"] for deployment in server.get("/api/v1/deployments").json()["deployments"].values() for replica in deployment["replicas"]]
    return max(int(re.search(r"^VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1]) * 1024 for pid in pids if pid)


def ledger(arguments, flags):
    said = subprocess.run([arguments.altlas, "memory", "--json", "--devices", "cpu:1", *LIMITS, *flags, *arguments.flags], check=True, capture_output=True)
    return json.loads(said.stdout)["ranks"][0]


def measure(arguments, flags, turn):
    from conftest import Server
    from layouts import LONG, generate
    server = Server("--devices", "cpu:1", *LIMITS, *flags, *arguments.flags)
    try:
        model = server.openai().models.list().data[0].id
        generate(server, model, 2, 8, f"warm {turn}")
        out = {}
        for name, sequences, tokens in (("one", 1, 64), ("many", 16, 48)):
            _, count, seconds = generate(server, model, sequences, tokens, f"{name} {turn}")
            out[name] = count / seconds
        prompt, _, seconds = generate(server, model, 1, 1, f"{turn} {LONG}")
        return out | {"prefill": prompt / seconds, "resident": resident(server)}
    finally:
        server.stop()
        server.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--altlas", default=str(ROOT / "build" / "altlas"))
    parser.add_argument("--model")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.flags = ["--model", arguments.model] if arguments.model else []
    os.environ["ALTLAS_BINARY"] = arguments.altlas
    turns = []
    for turn in range(arguments.turns):
        turns.append({name: measure(arguments, flags, turn) for name, flags in ROWS})
        print(f"turn {turn + 1} of {arguments.turns} is done", file=sys.stderr)
    lines = ["| technique | weights, MB | activations, MB | KV, MB | resident, MB | decode, 1 sequence | ratio | decode, 16 sequences | ratio "
             "| prompt of some 510 tokens | ratio |", "|---|---|---|---|---|---|---|---|---|---|---|"]
    first = ROWS[0][0]
    for name, flags in ROWS:
        rank = ledger(arguments, flags)
        cells = [name, *(f"{rank[f'{part}_bytes'] / 1e6:.0f}" for part in ("weight", "activation", "kv")),
                 f"{statistics.median(turn[name]['resident'] for turn in turns) / 1e6:.0f}"]
        for what in ("one", "many", "prefill"):
            value = statistics.median(turn[name][what] for turn in turns)
            ratio = statistics.median(turn[name][what] / turn[first][what] for turn in turns)
            cells += [f"{value:.1f}", f"{ratio:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    said = (f"{datetime.date.today()}, {cpu}, {os.cpu_count()} cores, {arguments.turns} turns, {arguments.model or 'the default model'}; "
            "tokens/s, ratios to the first row.\n\n" + "\n".join(lines) + "\n")
    print(said)
    if arguments.out:
        from tables import write_between_marks
        write_between_marks(arguments.out, said, "techniques")


if __name__ == "__main__":
    main()
