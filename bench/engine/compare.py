#!/usr/bin/env python3
"""altlas's CPU engine beside its rivals: the same files, machine and minutes, in pairs.

    bench/engine/compare.py --llama DIR [--llama-avx2 DIR] [--xllamacpp [PYTHON]] [--vllm PYTHON --vllm-model FOLDER ...]
        --model FILE.gguf [--model FILE.gguf ...] [--columns best,avx2] [--minutes 20] [--threads N] [--out docs/performance.md]

DIR has llama-bench, llama-batched-bench and llama-server with their libraries: for --llama built with every SIMD that the CPU has,
for --llama-avx2 with -DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON. In column `best` both engines choose their
kernels, in column `avx2` altlas with ALTLAS_SIMD=avx2 runs against the second build. --xllamacpp adds the wheel of that name (AVX2
only) to both columns: from a Python that has it, else from the package index into build/xllamacpp. --vllm adds that Python's vLLM to
column `best`, on the folder with the same weights as BF16; the k-th --vllm-model belongs to the k-th --model.

Each row gets at least two turns, whatever --minutes says; a turn runs altlas and each rival once, one right after the other. A row
shows medians over the turns, and the median of the turns' ratios with the least and the greatest. llama.cpp's flash attention and
ubatch are the best of a trial before. With --out the tables are written between the marks `<!-- compare: begin -->` and
`<!-- compare: end -->` of that file. Needs aiohttp (tests/requirements.txt).
"""
import argparse
import datetime
import os
import pathlib
import re
import shlex
import sys
import time

from engines import Altlas, Failed, Llama, Model, Options
from residents import Vllm, Wheel, install_xllamacpp
from schedule import Part, Schedule
from served import serve_once
from tables import Table, write_between_marks

ROOT = pathlib.Path(__file__).resolve().parents[2]


def numbers(text):
    return tuple(int(word) for word in text.split(","))


def parse(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", required=True, type=pathlib.Path)
    parser.add_argument("--llama", required=True)
    parser.add_argument("--llama-avx2")
    parser.add_argument("--xllamacpp", nargs="?", const="install", metavar="PYTHON")
    parser.add_argument("--vllm", metavar="PYTHON")
    parser.add_argument("--vllm-model", action="append", default=[], type=pathlib.Path, metavar="FOLDER")
    parser.add_argument("--vllm-eager", action="store_true", help="without torch.compile")
    parser.add_argument("--columns", default="best,avx2")
    parser.add_argument("--altlas", default=str(ROOT / "build" / "altlas"))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--pairs", type=int, default=2, help="turns that every row gets at least")
    parser.add_argument("--minutes", type=float, default=20, help="beyond the least turns, none begins that would last longer")
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--context", type=int, default=4096, help="0 leaves the long decode out")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--batches", type=numbers, default=(1, 4, 16))
    parser.add_argument("--clients", type=numbers, default=(1, 4, 16), help="0 leaves the servers out")
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args(words)
    arguments.columns = arguments.columns.split(",")
    if not set(arguments.columns) <= {"best", "avx2"}:
        parser.error("--columns: best, avx2 or both")
    if "avx2" in arguments.columns and not arguments.llama_avx2:
        parser.error("--llama-avx2: column avx2 needs it")
    if bool(arguments.vllm) != bool(arguments.vllm_model) or len(arguments.vllm_model) > len(arguments.model):
        parser.error("--vllm and --vllm-model: give both, and a folder for each of the first models")
    if arguments.pairs < 1:
        parser.error("--pairs: at least 1")
    return arguments


def engines_of(model, arguments, wheel_python):
    """Returns [(column, its engines)]. An engine that both columns have is one object, which is measured once a turn."""
    options = Options(arguments.threads, arguments.tokens, arguments.clients)
    wheel = [Wheel(wheel_python, model, options)] if wheel_python else []
    longest = max(arguments.context + arguments.tokens, 2 * arguments.prefill, 1024) + 64
    columns = []
    for column in arguments.columns:
        if column == "best":
            vllm = [Vllm(arguments.vllm, model, options, longest, not arguments.vllm_eager)] if model.folder else []
            columns.append((column, [Altlas("altlas", arguments.altlas, model, options, ""), Llama("llama.cpp", arguments.llama, model, options),
                                     *wheel, *vllm]))
        else:
            columns.append((column, [Altlas("altlas avx2", arguments.altlas, model, options, "avx2"),
                                     Llama("llama.cpp avx2", arguments.llama_avx2, model, options), *wheel]))
    return columns


def in_turn(columns):
    """Returns the order of a turn: each altlas has its rivals beside it, and the wheel comes between the columns."""
    (altlas, llama, *others), second = columns[0][1], columns[1][1][:2] if len(columns) > 1 else []
    vllm, wheel = [engine for engine in others if engine.name == "vLLM"], [engine for engine in others if engine.name != "vLLM"]
    return [*vllm, altlas, llama, *wheel, *reversed(second[1:]), *second[:1]] if second else [*vllm, altlas, llama, *wheel]


def parts_of(model, engines, arguments):
    requests = [(f"prefill {arguments.prefill}", {"work": "prefill", "tokens": arguments.prefill})]
    requests += [(f"decode {n}", {"work": "decode", "sequences": n, "tokens": arguments.tokens}) for n in arguments.batches]
    if arguments.context:
        requests.append((f"decode 1 at {arguments.context}", {"work": "context", "depth": arguments.context, "tokens": arguments.tokens}))
    parts = [Part(f"{model.path.name}, {row}", request["work"], engines,
                  lambda engine, row=row, request=request: {row: engine.measure(row, request)}) for row, request in requests]
    if any(arguments.clients):
        parts.append(Part(f"{model.path.name}, server", "server", engines, serve_once))
    return parts


def cpu_name():
    found = re.search(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return found.group(1) if found else "CPU"


def choose(engines, prefill):
    """Tries out every rival's flags. Returns the rivals that could not even do that."""
    lost = {}
    for engine in engines:
        if hasattr(engine, "choose"):
            print(f"{engine.model.path.name}: trial of {engine.key}", file=sys.stderr, flush=True)
            try:
                engine.choose(prefill)
            except Failed as error:
                print(f"{engine.key} is left out: {error}", file=sys.stderr)
                lost[engine.key] = str(error)
    return lost


def compare(arguments, words):
    started = time.monotonic()
    wheel_python = install_xllamacpp(ROOT) if arguments.xllamacpp == "install" else arguments.xllamacpp
    folders = arguments.vllm_model + [None] * (len(arguments.model) - len(arguments.vllm_model))
    everything, tables, parts = [], [], []
    try:
        for path, folder in zip(arguments.model, folders):
            model = Model(path, folder)
            columns = engines_of(model, arguments, wheel_python)
            engines = in_turn(columns)
            everything += engines
            lost = choose(engines, arguments.prefill)
            mine = parts_of(model, engines, arguments)
            for part in mine:
                part.failed.update(lost)
            parts += mine
            tables += [(model, column, of_column, mine) for column, of_column in columns]
        Schedule(parts, arguments.minutes - (time.monotonic() - started) / 60, arguments.pairs).run()
        texts = [Table(f"{model.path.name}, {of_column[0].simd}, {arguments.threads} threads", column, of_column, mine).text()
                 for column in arguments.columns for model, its, of_column, mine in tables if its == column]
    finally:
        for engine in everything:
            engine.close()
    head = (f"{cpu_name()}, {datetime.date.today()}, {(time.monotonic() - started) / 60:.1f} minutes: `bench/engine/compare.py "
            f"{shown(words)}`. Tokens per second unless said; ratios: median (least..greatest) of the pairs.\n")
    return "\n".join([head, *texts]).rstrip()


def shown(words):
    """Returns the command without the folders of this machine."""
    return " ".join(shlex.quote(pathlib.Path(word).name if "/" in word else word) for word in words)


def main():
    arguments = parse(sys.argv[1:])
    try:
        text = compare(arguments, sys.argv[1:])
    except Failed as error:
        raise SystemExit(f"compare.py: {error}") from error
    if arguments.out:
        write_between_marks(arguments.out, text)
    print(text)


if __name__ == "__main__":
    main()
