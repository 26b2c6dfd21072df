#!/usr/bin/env python3
"""What each layout of one model over CPU devices gives: tokens per second, memory per rank, bytes that ranks hand on, bubble.

    bench/parallel/layouts.py [--altlas build/altlas] [--model FILE] [--turns 3] [--out docs/parallelism.md]

Every turn runs each layout once, one right after the other, on a server of its own with one-thread devices; a row shows medians over
the turns, and the median of the ratios to the first row of the same turn. The bubble is the part of the time in which a rank did not
compute while 16 sequences decoded: 1 - busy / (ranks x time), from altlas_engine_rank_busy_seconds_total. More ranks than cores share
them: their rows show what a layout costs, not what devices of their own would give. With --out the table stands between the marks
`<!-- layouts: begin -->` and `<!-- layouts: end -->` of that file.
"""
import argparse
import concurrent.futures
import datetime
import os
import pathlib
import platform
import re
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "bench" / "engine")]

# Name, devices, flags; what follows a row's "one device" in this table is compared with it.
LAYOUTS = [
    ("one device, 2 threads", "cpu:1:2", []),
    ("one device, 1 thread", "cpu:1:1", []),
    ("DP2", "cpu:2:1", []),
    ("TP2", "cpu:2:1", ["--tensor-parallel-size", "2"]),
    ("TP2, split 3,1", "cpu:2:1", ["--tensor-parallel-size", "2", "--tensor-split", "3,1"]),
    ("TP3", "cpu:3:1", ["--tensor-parallel-size", "3"]),
    ("PP2", "cpu:2:1", ["--pipeline-parallel-size", "2"]),
    ("PP2, even", "cpu:2:1", ["--pipeline-parallel-size", "2", "--pipeline-split", "even"]),
    ("PP2, 4 micro batches", "cpu:2:1", ["--pipeline-parallel-size", "2", "--pipeline-micro-batches", "4"]),
    ("TP2 x PP2", "cpu:4:1", ["--tensor-parallel-size", "2", "--pipeline-parallel-size", "2"]),
]
LONG = "word and other " * 170


def busy(server):
    text = server.get("/metrics").text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("altlas_engine_rank_busy_seconds_total{"))


def generate(server, model, sequences, tokens, prompt):
    client = server.openai()

    def one(i):
        answer = client.completions.create(model=model, prompt=f"{i} {prompt}", max_tokens=tokens, temperature=0, extra_body={"ignore_eos": True})
        return answer.usage.prompt_tokens, answer.usage.completion_tokens

    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(sequences) as pool:
        counts = list(pool.map(one, range(sequences)))
    return sum(c[0] for c in counts), sum(c[1] for c in counts), time.perf_counter() - begin


def measure(devices, flags, arguments, turn):
    from conftest import Server
    server = Server("--devices", devices, "--max-num-seqs", "16", *flags, *(["--model", arguments.model] if arguments.model else []))
    try:
        model = server.openai().models.list().data[0].id
        generate(server, model, 2, 8, f"warm {turn}")
        _, tokens, seconds = generate(server, model, 1, 64, f"one {turn}")
        out = {"one": tokens / seconds}
        before, begin = busy(server), time.perf_counter()
        _, tokens, seconds = generate(server, model, 16, 48, f"many {turn}")
        time.sleep(1.2)  # A report comes each second.
        memory = [gpu["memory_used"] for gpu in server.get("/api/v1/gpus").json()["gpus"]]
        ranks = len(memory)
        out |= {"many": tokens / seconds, "memory": memory, "bubble": max(0.0, 1 - (busy(server) - before) / (ranks * seconds))}
        prompt, _, seconds = generate(server, model, 1, 1, f"{turn} {LONG}")
        return out | {"prefill": prompt / seconds}
    finally:
        server.stop()
        server.close()


def handed_on(name, hidden=896, layers=24, q_width=896, wide=4864):
    """Bytes of a token that ranks write for others, of the default model: per layer the attended heads and the gated product as int8
    with scales, and both branches as floats; between stages a hidden state."""
    quantized = (q_width + wide) * 36 / 32
    tensor = re.search(r"TP(\d+)", name)
    stages = re.search(r"PP(\d+)", name)
    gathered = layers * (quantized + 2 * hidden * 4) if tensor else 0
    return gathered + (int(stages.group(1)) - 1) * hidden * 4 if stages else gathered


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--altlas", default=str(ROOT / "build" / "altlas"))
    parser.add_argument("--model")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    os.environ["ALTLAS_BINARY"] = arguments.altlas
    turns = []
    for turn in range(arguments.turns):
        turns.append({name: measure(devices, flags, arguments, turn) for name, devices, flags in LAYOUTS})
        print(f"turn {turn + 1} of {arguments.turns} is done", file=sys.stderr)
    rows = ["| layout | decode, 1 sequence | ratio | decode, 16 sequences | ratio | prompt of some 510 tokens | ratio | memory per rank, MB "
            "| KiB handed on per token | bubble |", "|---|---|---|---|---|---|---|---|---|---|"]
    first = LAYOUTS[0][0]
    for name, _, _ in LAYOUTS:
        cells = [name]
        for what in ("one", "many", "prefill"):
            value = statistics.median(turn[name][what] for turn in turns)
            ratio = statistics.median(turn[name][what] / turn[first][what] for turn in turns)
            cells += [f"{value:.1f}", f"{ratio:.2f}"]
        memory = turns[-1][name]["memory"]
        moved = "–" if arguments.model else f"{handed_on(name) / 1024:.0f}"  # The default model's shape is known.
        cells += [", ".join(f"{used / 1e6:.0f}" for used in memory), moved,
                  f"{100 * statistics.median(turn[name]['bubble'] for turn in turns):.0f} %"]
        rows.append("| " + " | ".join(cells) + " |")
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.processor())
    said = (f"{datetime.date.today()}, {cpu}, {os.cpu_count()} cores, {arguments.turns} turns, {arguments.model or 'the default model'}; "
            "tokens/s, ratios to the first row.\n\n" + "\n".join(rows) + "\n")
    print(said)
    if arguments.out:
        from tables import write_between_marks
        write_between_marks(arguments.out, said, "layouts")


if __name__ == "__main__":
    main()
