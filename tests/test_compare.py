"""Tests of bench/engine/compare.py: the real altlas in pairs with rivals that answer like llama.cpp's tools, the wheel and vLLM,
on small input; its schedule by a clock of the test's own; its tables by figures worked out by hand."""
import io
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys

import pytest

from conftest import BINARY, ROOT, clean_environment

FOLDER = ROOT / "bench" / "engine"
sys.path.insert(0, str(FOLDER))

import residents  # noqa: E402
import schedule  # noqa: E402
import tables  # noqa: E402
from engines import Failed, Model  # noqa: E402

COMPARE = [sys.executable, "-B", str(FOLDER / "compare.py")]
MODEL = pathlib.Path(os.environ.get("ALTLAS_CACHE", pathlib.Path.home() / ".cache" / "altlas")) / "models" / "qwen2.5-coder-0.5b-instruct.gguf"

# One program that answers like each of llama.cpp's tools and like a Python with the wheel or vLLM, a thousand times slower than
# anything real: it computes nothing.
TOOL = '''#!{python}
import http.server, json, pathlib, sys
name, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
value = lambda flag: words[words.index(flag) + 1]
if name == "llama-bench" and "," in value("-ub"):
    rows = [(p, int(u), f) for p in (1, 0) for u in value("-ub").split(",") for f in (0, 1)]
    print(json.dumps([dict(n_prompt=p, n_ubatch=u, flash_attn=f, avg_ts=(u if p else 1000 - u) + f) for p, u, f in rows]))
elif name == "llama-bench":
    print(json.dumps([dict(samples_ts=[0.25, 0.5])]))
elif name == "llama-batched-bench":
    print("noise\\n" + json.dumps(dict(pl=int(value("-npl")), speed_tg=0.5)))
elif name == "python" and words[0].endswith("_engine.py") and "serve" not in words:
    said = dict(version="1.2", torch="2.3", simd="NONE", threads=1, cpus="0", compiled=True, system_info="WHEEL = 1")
    print(json.dumps(said), flush=True)
    for line in sys.stdin:
        print(json.dumps(dict(tokens_per_s=0.25 if "ubatch" in line else 0.75)), flush=True)
else:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = dict(usage=dict(completion_tokens=body["max_tokens"]))
            text = ("data: " if body.get("stream") else "") + json.dumps(answer) + "\\n\\n"
            self.send_response(200), self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text))), self.end_headers()
            self.wfile.write(text.encode())
        def log_message(self, *_): pass
    http.server.ThreadingHTTPServer(("127.0.0.1", int(value("--port") if "--port" in words else words[-1])), Handler).serve_forever()
'''


@pytest.fixture
def tools(tmp_path):
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("llama-bench", "llama-batched-bench", "llama-server", "python"):
        (folder / name).write_text(TOOL.format(python=sys.executable))
        (folder / name).chmod((folder / name).stat().st_mode | stat.S_IXUSR)
    # system_info comes from a real library in a real folder.
    (folder / "info.c").write_text('const char * llama_print_system_info(void) { return "CPU : NONE = 1 | "; }\n')
    subprocess.run([os.environ.get("CC") or shutil.which("cc") or "clang-19", "-shared", "-fPIC", "-o", folder / "libllama.so", folder / "info.c"], check=True)
    return folder


def compare(*words):
    return subprocess.run([*COMPARE, *map(str, words)], capture_output=True, text=True, timeout=600, env=clean_environment())


def test_whole_run(tools, tmp_path):
    if not MODEL.exists():
        pytest.skip(f"no {MODEL}: `altlas pull` brings it")
    page = tmp_path / "page.md"
    begin, end = tables.marks()
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    done = compare("--altlas", BINARY, "--llama", tools, "--llama-avx2", tools, "--xllamacpp", tools / "python", "--vllm", tools / "python",
                   "--vllm-model", tools, "--model", MODEL, "--prefill", 8, "--context", 20, "--tokens", 2,
                   "--batches", "1,2", "--clients", "1,2", "--threads", 1, "--minutes", 0.01, "--out", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    assert text.startswith("before\n" + begin) and text.endswith(end + "\nafter\n") and "old" not in text
    assert "100 %, 0:00 left, done" in done.stderr and "more than --minutes" in done.stderr
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    for row in ("prefill 8", "decode 1", "decode 2", "decode 1 at 20", "start to first token", "HTTP 1 client", "HTTP 2 clients",
                "memory over the file"):
        mine = [line for line in lines if line[0] == "| " + row]
        assert len(mine) == 2, (row, text)  # The row is in both columns.
        assert all(line[-1] == "2 |" for line in mine), mine  # There are two pairs of each.
    prefill = next(line for line in lines if line[0] == "| prefill 8")
    assert prefill[2:5] == ["0.5", "0.2", "0.8"]  # The best sample of each tool, rounded.
    assert float(prefill[5].split()[0]) > float(prefill[6].split()[0]) > 1  # A real engine is faster than the rivals claim to be.
    assert "xllamacpp 1.2: prefill `ubatch 128`; system_info WHEEL = 1." in text and "vLLM 1.2, torch 2.3, NONE, BF16" in text
    assert "prefill `-ub 512 -fa on`, decode `-ub 128 -fa on`; system_info CPU : NONE = 1" in text


def test_altlas_that_fails_ends_the_run(tools, tmp_path):
    model = tmp_path / "none.gguf"
    model.write_bytes(b"no model")
    done = compare("--altlas", BINARY, "--llama", tools, "--columns", "best", "--model", model, "--prefill", 8, "--context", 0, "--clients", 0)
    assert done.returncode == 1 and "none.gguf" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("words, said", [
    (["--columns", "worst"], "--columns"), (["--columns", "avx2"], "--llama-avx2"), (["--columns", "best", "--vllm", "p"], "--vllm-model"),
    (["--columns", "best", "--pairs", "0"], "--pairs")])
def test_refuses(words, said):
    done = compare("--llama", "x", "--model", "m.gguf", *words)
    assert done.returncode == 2 and said in done.stderr.splitlines()[-1], done.stderr


class Engine:
    def __init__(self, name, seconds, speed, clock):
        self.name = self.key = name
        self.seconds, self.speed, self.clock, self.asked = seconds, speed, clock, []


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def rest(self, seconds):
        self.now += seconds


def part(name, engines, kind="decode", broken=()):
    def measure(engine):
        if engine.name in broken:
            raise Failed("it broke")
        engine.clock.now += engine.seconds
        engine.asked.append(name)
        return {name: engine.speed}
    return schedule.Part(name, kind, engines, measure)


def run_schedule(parts, minutes, clock, **more):
    stream = io.StringIO()
    schedule.Schedule(parts, minutes, clock=clock, rest=clock.rest, stream=stream, **more).run()
    return stream.getvalue()


def test_every_row_has_two_turns_and_time_left_is_shared():
    clock = Clock()
    engines = [Engine("altlas", 1, 10, clock), Engine("llama.cpp", 3, 5, clock)]
    parts = [part(name, engines) for name in "abc"]
    run_schedule(parts, 0.1, clock)
    assert [len(one.turns) for one in parts] == [2, 2, 2]
    clock.now = 0
    parts = [part(name, engines) for name in "abc"]
    said = run_schedule(parts, 1, clock)  # A turn takes 4.6 s, so 13 fit.
    assert [len(one.turns) for one in parts] == [5, 4, 4] and clock.now <= 60
    assert said.splitlines()[-1].startswith("[########################] 100 %")


def test_a_rival_far_behind_is_measured_twice():
    clock = Clock()
    engines = [Engine("altlas", 1, 1, clock), Engine("llama.cpp", 1, 10, clock), Engine("xllamacpp", 1, 7, clock)]
    run_schedule([part("a", engines)], 10, clock, most=5)
    assert [len(engine.asked) for engine in engines] == [5, 5, 2]
    near = [Engine("altlas", 1, 1, clock), Engine("llama.cpp", 1, 10, clock), Engine("xllamacpp", 1, 9, clock)]
    run_schedule([part("a", near)], 10, clock, most=5)
    assert [len(engine.asked) for engine in near] == [5, 5, 5]
    late = [Engine("altlas", 1, 1, clock), Engine("llama.cpp", 1, 10, clock), Engine("xllamacpp", 1, 7, clock)]
    run_schedule([part("start to first token", late)], 10, clock, most=5)  # The figures are seconds: less is better.
    assert [len(engine.asked) for engine in late] == [5, 2, 5]


def test_a_rival_that_fails_is_left_out_and_altlas_is_not():
    clock = Clock()
    engines = [Engine("altlas", 1, 1, clock), Engine("vLLM", 1, 1, clock)]
    one = part("a", engines, broken=("vLLM",))
    said = run_schedule([one], 0.01, clock)
    assert said.count("it broke") == 1 and len(one.turns) == 2 and one.failed == {"vLLM": "it broke"}
    with pytest.raises(Failed):
        run_schedule([part("a", engines, broken=("altlas",))], 0.01, clock)


def test_table_takes_the_better_rival_and_says_what_is_short():
    clock = Clock()
    altlas, llama, wheel, vllm = (Engine(name, 1, 1, clock) for name in ("altlas", "llama.cpp", "xllamacpp", "vLLM"))
    altlas.shares, altlas.start_line = {"decode 1": [(0.8, "read"), (0.9, "read")]}, ""
    altlas.roofs = {"read_bytes_per_s": 4e10, "int8_macs_per_s": 9e11, "float_macs_per_s": 2e11}
    for rival in (llama, wheel, vllm):
        rival.about = lambda rival=rival: f"about {rival.name}"
    engines = [altlas, llama, wheel, vllm]
    decode, prefill, server = (schedule.Part(name, "decode", engines, None) for name in ("decode", "prefill", "server"))
    decode.turns = [{"altlas": {"decode 1": 30.0}, "llama.cpp": {"decode 1": 10.0}, "xllamacpp": {"decode 1": 20.0}},
                    {"altlas": {"decode 1": 36.0}, "llama.cpp": {"decode 1": 40.0}, "xllamacpp": {"decode 1": 30.0}}]
    prefill.turns = [{"altlas": {"prefill 512": 800.0}, "llama.cpp": {"prefill 512": 100.0}, "vLLM": {"prefill 512": 600.0}}]
    server.turns = [{"altlas": {"start to first token": 0.5, "memory over the file": 151.0},
                     "llama.cpp": {"start to first token": 1.5, "memory over the file": 300.0},
                     "xllamacpp": {"start to first token": 1.2, "memory over the file": 310.0}}]
    text = tables.Table("title", "best", engines, [decode, prefill, server]).text()
    rows = {line.split(" | ")[0][2:]: line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")}
    # Both medians are 25. altlas's turns are compared with one of them, never with the best of each turn.
    assert rows["decode 1"] == ["decode 1", "33.0", "25.0", "25.0", "", "1.35 (1.20..1.50)", "", "1.6; 85 % of read", "85 % of read", "2"]
    assert rows["prefill 512"][5:8] == ["8.00 (8.00..8.00)", "1.33 (1.33..1.33)", "4; 1.6 to vLLM"]
    assert rows["start to first token"][1:6] == ["0.50 s", "1.50 s", "1.20 s", "", "2.40 (2.40..2.40)"]
    short = next(line for line in text.splitlines() if "Short of the goals" in line)
    for words in ("decode 1 1.35, goal 1.6", "prefill 512 1.33 to vLLM, goal 1.6", "151 MiB, goal 150"):
        assert words in short
    assert "start" not in short and "85 %" not in short


def test_resident_answers_and_says_why_it_ended(tmp_path):
    program = tmp_path / "engine.py"
    program.write_text("import json, sys\nprint(json.dumps({'version': '1'}), flush=True)\n"
                       "for line in sys.stdin:\n"
                       "    if 'stop' in line: sys.exit('out of luck')\n"
                       "    print(json.dumps({'tokens_per_s': json.loads(line)['tokens'] * 2}), flush=True)\n")
    wheel = residents.Wheel(sys.executable, Model(program, None), type("O", (), {"threads": 1}))
    wheel.resident.command = [sys.executable, str(program)]
    assert wheel.measure("prefill 4", {"work": "prefill", "tokens": 4}) == 8
    assert wheel.resident.open() == {"version": "1"}
    with pytest.raises(Failed, match="out of luck"):
        wheel.resident.ask({"work": "stop"})
    wheel.close()


def test_resident_that_says_nothing_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(residents, "ANSWER_SECONDS", 0.1)
    with pytest.raises(Failed, match="ended with -9"):
        residents.Resident([sys.executable, "-c", "input()"], dict(os.environ)).open()


def test_wheel_of_a_python(tmp_path):
    """Tests the real wheel if it is installed (compare.py --xllamacpp makes build/xllamacpp)."""
    python = ROOT / "build" / "xllamacpp" / "bin" / "python"
    if not python.exists() or not MODEL.exists():
        pytest.skip(f"no {python}: `compare.py --xllamacpp` makes it")
    requests = [{"work": "prefill", "tokens": 8}, {"work": "decode", "sequences": 2, "tokens": 2}, {"work": "context", "depth": 20, "tokens": 2}]
    done = subprocess.run([python, FOLDER / "xllamacpp_engine.py", "engine", MODEL, "1"], input="".join(json.dumps(r) + "\n" for r in requests),
                          capture_output=True, text=True, timeout=300)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 4 and "AVX2" in lines[0]["system_info"] and all(line["tokens_per_s"] > 0 for line in lines[1:]), done.stderr[-2000:]
