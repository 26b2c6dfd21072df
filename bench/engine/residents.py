"""Rivals that are Python packages: the xllamacpp wheel and vLLM. Their engines are loaded once and asked row by row over pipes;
their servers are started anew each time. A resident engine sleeps while it is not asked.
"""
import json
import os
import pathlib
import re
import select
import subprocess
import sys
import tempfile

from engines import Failed, run, start

HERE = pathlib.Path(__file__).resolve().parent
ANSWER_SECONDS = 400  # An engine that says nothing for this long is ended; torch.compile takes minutes.
KV_GIB = 1  # vLLM's KV cache: 16 sequences of 1,024 tokens and one of 4,096 fit many times.


class Resident:
    """A process that answers one JSON line with one JSON line. Its first question starts it."""

    def __init__(self, command, env):
        self.command, self.env, self.process, self.greeting, self.log = list(map(str, command)), env, None, None, None

    def open(self):
        if self.process is None:
            self.log = tempfile.TemporaryFile("w+", errors="replace")
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                            env=self.env)
            self.greeting = self._line()
        return self.greeting

    def ask(self, request):
        self.open()
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # The process has ended; reading its answer says so.
        return self._line()

    def _line(self):
        # An answer is one line, so no part of it stays in the reader's buffer.
        if not select.select([self.process.stdout], [], [], ANSWER_SECONDS)[0]:
            self.process.kill()
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.log.seek(0)
            raise Failed(f"{' '.join(self.command)}\nended with {code}: {self.log.read()[-2000:]}")
        return json.loads(line)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def install_xllamacpp(root):
    """Returns the Python of build/xllamacpp with the wheel from the package index, and makes it if it is missing."""
    folder = root / "build" / "xllamacpp"
    python = folder / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-I", "-m", "venv", folder])
    if subprocess.run([python, "-I", "-c", "import xllamacpp"], capture_output=True).returncode != 0:
        run([python, "-I", "-m", "pip", "install", "--quiet", "--only-binary", ":all:", "xllamacpp"])
    return python


class Wheel:
    """llama.cpp of the xllamacpp wheel."""
    name = key = "xllamacpp"

    def __init__(self, python, model, options):
        self.python, self.model, self.options, self.ubatch = python, model, options, 512
        self.command = [python, HERE / "xllamacpp_engine.py"]
        self.resident = Resident([*self.command, "engine", model.path, options.threads], dict(os.environ))

    def choose(self, prefill):
        """Chooses the ubatch with which prefill is fastest."""
        self.ubatch = max((128, 512), key=lambda ubatch: self._speed({"work": "prefill", "tokens": prefill, "ubatch": ubatch}))

    def _speed(self, request):
        return self.resident.ask(request)["tokens_per_s"]

    def measure(self, row, request):
        return self._speed({**request, "ubatch": self.ubatch if request["work"] == "prefill" else 512})

    def server(self, port, log):
        return start([*self.command, "serve", self.model.path, self.options.threads, port], dict(os.environ), log)

    def about(self):
        said = self.resident.open()
        return f"xllamacpp {said['version']}: prefill `ubatch {self.ubatch}`; system_info {said['system_info']}"

    def own_bytes(self):
        return self.model.bytes

    def close(self):
        self.resident.close()


def preload(python):
    """Returns libtcmalloc and Intel's OpenMP if they are installed: vLLM's documentation asks for both."""
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True).stdout
    tcmalloc = re.findall(r"=> (\S*libtcmalloc(?:_minimal)?\.so\.4)$", listed, re.M)[:1]
    openmp = [str(file) for file in pathlib.Path(python).parent.parent.glob("lib/libiomp5.so")]
    already = [os.environ["LD_PRELOAD"]] if os.environ.get("LD_PRELOAD") else []
    return ":".join(already + tcmalloc + openmp)


class Vllm:
    """vLLM on the CPU, on the BF16 folder of the model."""
    name = key = "vLLM"

    def __init__(self, python, model, options, longest, compiled):
        self.python, self.model, self.options, self.longest, self.compiled = python, model, options, longest, compiled
        cpus = sorted(os.sched_getaffinity(0))[:options.threads]
        # vLLM gets all threads that altlas has: by default it keeps one core for its HTTP process.
        defaults = {"VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cpus)), "VLLM_CPU_KVCACHE_SPACE": str(KV_GIB), "HF_HUB_OFFLINE": "1",
                    "VLLM_NO_USAGE_STATS": "1", "LD_PRELOAD": preload(python)}
        self.env = {**defaults, **os.environ, "LD_PRELOAD": defaults["LD_PRELOAD"]}
        self.resident = Resident([python, HERE / "vllm_engine.py", model.folder, longest, int(compiled)], self.env)

    def choose(self, prefill):
        self.resident.open()

    def measure(self, row, request):
        return self.resident.ask(request)["tokens_per_s"]

    def server(self, port, log):
        words = ["--model", self.model.folder, "--host", "127.0.0.1", "--port", port, "--dtype", "bfloat16", "--max-num-seqs", 16,
                 "--max-model-len", self.longest, "--max-num-batched-tokens", max(2048, self.longest), "--no-enable-prefix-caching"]
        eager = [] if self.compiled else ["--enforce-eager"]
        return start([self.python, "-m", "vllm.entrypoints.openai.api_server", *words, *eager], self.env, log)

    def about(self):
        said = self.resident.open()
        return (f"vLLM {said['version']}, torch {said['torch']}, {said['simd']}, BF16, {said['threads']} threads on CPUs {said['cpus']}, "
                f"{'torch.compile' if said['compiled'] else 'eager'}, {self.env['VLLM_CPU_KVCACHE_SPACE']} GiB KV (not counted as memory)")

    def own_bytes(self):
        weights = sum(file.stat().st_size for file in pathlib.Path(self.model.folder).glob("*.safetensors"))
        return weights + int(float(self.env["VLLM_CPU_KVCACHE_SPACE"]) * 2**30)

    def close(self):
        self.resident.close()
