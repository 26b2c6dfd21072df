"""The engines that compare.py measures: altlas and llama.cpp's tools. Each knows how to run one row and how to start a server.

A request is {"work": "prefill", "tokens"}, {"work": "decode", "sequences", "tokens"} or {"work": "context", "depth", "tokens"}; measure()
returns its tokens/s. server() starts an OpenAI server whose output goes to an open log file.
"""
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys


class Failed(Exception):
    """An engine could not do a row. The message has the command and its output."""


@dataclasses.dataclass
class Model:
    path: pathlib.Path
    folder: pathlib.Path | None  # The same weights as BF16 in Hugging Face's layout, for vLLM.

    @property
    def bytes(self):
        return self.path.stat().st_size


@dataclasses.dataclass
class Options:
    threads: int
    tokens: int
    clients: tuple


def run(command, env=None, timeout=600):
    try:
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(str(error)) from error
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}\nended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def start(command, env, log):
    return subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)


class Altlas:
    name = "altlas"

    def __init__(self, key, binary, model, options, simd):
        self.key, self.binary, self.model, self.options = key, binary, model, options
        self.env = dict(os.environ, **({"ALTLAS_SIMD": simd} if simd else {}))
        self.simd, self.roofs, self.shares, self.start_line = None, {}, {}, ""

    def measure(self, row, request):
        # The bench always prefills and decodes: the part that was not asked for is made as small as possible.
        prefill, batch, context, tokens = 1, 1, 0, request["tokens"]
        if request["work"] == "prefill":
            prefill, tokens = request["tokens"], 1
        elif request["work"] == "decode":
            batch = request["sequences"]
        else:
            context = request["depth"]
        report = json.loads(run([self.binary, "bench", "engine", "--json", "--model", self.model.path, "--devices",
                                 f"cpu:1:{self.options.threads}", "--rounds", 2 if request["work"] == "prefill" else 1, "--prefill", prefill,
                                 "--batches", batch, "--context", context, "--tokens", tokens], self.env))
        self.simd = report["simd"]
        for roof, value in report["roofs"].items():
            self.roofs[roof] = max(value, self.roofs.get(roof, 0))
        work = next(work for work in report["works"] if work["name"] == row)
        self.shares.setdefault(row, []).append((work["roof_share"], work["bound"]))
        return work["tokens_per_s_best"]

    def server(self, port, log):
        return start([self.binary, "serve", "--port", port, "--data-dir", "none", "--model", self.model.path, "--devices",
                      f"cpu:1:{self.options.threads}"], self.env, log)

    def read_log(self, text):
        """Keeps the line on which a server says what its start took, if there is one."""
        found = re.findall(r"^.*\bstart\w*\b.*\d\s*m?s\b.*$", text, re.M)
        self.start_line = found[-1].strip() if found else self.start_line

    def own_bytes(self):
        """Returns how much of its resident memory is the file."""
        return self.model.bytes

    def close(self):
        pass


class Llama:
    """llama-bench, llama-batched-bench and llama-server in one folder with their libraries."""
    name = "llama.cpp"

    def __init__(self, key, folder, model, options):
        self.key, self.folder, self.model, self.options = key, pathlib.Path(folder), model, options
        self.env = dict(os.environ, LD_LIBRARY_PATH=str(self.folder))
        self.flags = {"prefill": [], "decode": []}

    def bench(self, *arguments):
        command = [self.folder / "llama-bench", "-m", self.model.path, "-t", self.options.threads, "-o", "json", *arguments]
        return json.loads(run(command, self.env))

    def choose(self, prefill):
        """Chooses the flash attention and ubatch with which prefill and decode are fastest."""
        best = {}
        for row in self.bench("-p", prefill, "-n", "24", "-r", "1", "-fa", "off,on", "-ub", "128,512"):
            kind = "prefill" if row["n_prompt"] else "decode"
            if row["avg_ts"] > best.get(kind, (0,))[0]:
                best[kind] = (row["avg_ts"], str(row["n_ubatch"]), "on" if row["flash_attn"] not in (0, "off", False) else "off")
        self.flags = {kind: ["-ub", ubatch, "-fa", flash] for kind, (_, ubatch, flash) in best.items()}

    def measure(self, row, request):
        if request["work"] == "prefill":
            return max(self.bench("-p", request["tokens"], "-n", "0", "-r", "2", *self.flags["prefill"])[0]["samples_ts"])
        if request["work"] == "context":
            rows = self.bench("-p", "0", "-n", request["tokens"], "-d", request["depth"], "-r", "1", *self.flags["decode"])
            return max(rows[0]["samples_ts"])
        command = [self.folder / "llama-batched-bench", "-m", self.model.path, "-t", self.options.threads, "-c",
                   request["sequences"] * (16 + request["tokens"]) + 64, "-npp", "16", "-ntg", request["tokens"], "-npl",
                   request["sequences"], "--output-format", "jsonl", *self.flags["decode"]]
        for line in run(command, self.env).splitlines():
            if line.startswith("{"):
                return json.loads(line)["speed_tg"]
        raise Failed("llama-batched-bench printed no row")

    def server(self, port, log):
        return start([self.folder / "llama-server", "-m", self.model.path, "--host", "127.0.0.1", "--port", port, "-t",
                      self.options.threads, "-c", 1024 * 16, "-np", "16", "--no-webui", *self.flags["decode"]], self.env, log)

    def about(self):
        ask = ("import ctypes; f = ctypes.CDLL('libllama.so').llama_print_system_info; f.restype = ctypes.c_char_p; "
               "print(f().decode())")
        flags = ", ".join(f"{kind} `{' '.join(value)}`" for kind, value in self.flags.items() if value)
        return f"{self.key}: {flags}; system_info {run([sys.executable, '-c', ask], self.env).strip(' |')}".rstrip(" |\n")

    def own_bytes(self):
        return self.model.bytes

    def close(self):
        pass
