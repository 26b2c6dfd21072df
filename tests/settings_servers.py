"""Small models, and servers that start when a row of tests/test_settings.py first asks for them."""
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess

import requests
import yaml

from conftest import Server, run_cli, until
from test_folder import HIDDEN, LAYERS, write_decoder, write_encoder

RANK = 4


def write_adapter(folder):
    """Writes a PEFT folder for q_proj of the small decoder."""
    draw, header, data = random.Random(3), {}, bytearray()
    for layer in range(LAYERS):
        base = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        for name, shape in ((f"{base}.lora_A.weight", [RANK, HIDDEN]), (f"{base}.lora_B.weight", [HIDDEN, RANK])):
            begin, count = len(data), shape[0] * shape[1]
            data += struct.pack(f"<{count}f", *(draw.uniform(-0.5, 0.5) for _ in range(count)))
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "bias": "none"}))
    return folder


class Files:
    """Everything that the table's configurations name."""

    def __init__(self, root):
        self.root = root
        self.tiny = write_decoder(root / "tiny")
        self.encoder = root / "encoder"
        write_encoder(self.encoder)
        self.adapter = write_adapter(root / "poet")
        self.merged = shutil.copytree(self.tiny, root / "merged")
        tokenizer = json.loads((self.merged / "tokenizer.json").read_text())
        tokenizer["model"]["vocab"]["ab"] = 257
        tokenizer["model"]["merges"] = [["a", "b"]]
        (self.merged / "tokenizer.json").write_text(json.dumps(tokenizer))
        self.template = root / "chat.jinja"
        self.template.write_text("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}")
        self.keys = root / "keys"
        self.keys.write_text("# admins\nfrom-file\n")
        self.cert, self.key = root / "cert.pem", root / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-keyout", self.key, "-out", self.cert], check=True, capture_output=True)
        self.hwmon = root / "hwmon"
        (self.hwmon / "hwmon0").mkdir(parents=True)
        (self.hwmon / "hwmon0" / "name").write_text("coretemp\n")
        self.heat(40)

    def heat(self, celsius):
        path = self.hwmon / "hwmon0" / "temp1_input"
        path.with_suffix(".new").write_text(f"{celsius * 1000}\n")
        os.replace(path.with_suffix(".new"), path)


class Group:
    """A server with a configuration of its own, and ways for the table's rows to talk to it."""

    def __init__(self, files, config, *arguments, key=None, env=None, data_dir=None):
        self.files, self.config = files, config
        self.text = yaml.safe_dump(config, sort_keys=False)
        self.server = Server(*arguments, config=self.text, env={"ALTLAS_TEST_HWMON": str(files.hwmon), **(env or {})}, data_dir=data_dir)
        self.url, self.key, self.pid = self.server.url, key, self.server.process.pid
        self.config_path = pathlib.Path(self.server.folder.name) / "altlas.yaml"

    def call(self, method, path, key=None, **more):
        headers = {**more.pop("headers", {})}
        if key or self.key:
            headers.setdefault("Authorization", f"Bearer {key or self.key}")
        return requests.request(method, self.url + path, headers=headers, timeout=60, verify=False, **more)

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.call("POST", path, json=body, **more)

    def predict(self, **body):
        return self.post("/api/v1/predict", {"text": "x", "max_length": 4, **body})

    def task(self, task_id, wait=30):
        return self.get(f"/api/v1/task/{task_id}?wait={wait}").json()

    def run(self, **body):
        answer = self.predict(**body)
        assert answer.status_code == 200, answer.text
        return self.task(answer.json()["task_id"])

    def cancel(self, *ids):
        for one in ids:
            self.call("DELETE", f"/api/v1/task/{one}")

    def metric(self, name, path="/metrics"):
        lines = [line for line in self.get(path).text.splitlines() if line.startswith((name + "{", name + " "))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def deployment(self, name):
        return self.get("/api/v1/deployments").json()["deployments"][name]

    def replica(self, name):
        return self.deployment(name)["replicas"][0]

    def worker(self, name):
        """Returns the process id of its replica, for signals. It is never 0, which would mean everybody."""
        pid = until(lambda: self.replica(name)["pid"])
        assert pid > 1 and pid != self.pid
        return pid

    def log(self):
        return self.server.log()

    def close(self):
        self.last_log = self.log()
        self.server.close()


# The functions of NVML that altlas asks for, with two GPUs.
NVML = r"""
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned* n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void** h) { *h = (void*)(size_t)(i + 1); return 0; }
int nvmlDeviceGetName(void* h, char* name, unsigned n) { strncpy(name, "NVIDIA H100 80GB HBM3", n); return 0; }
int nvmlDeviceGetMemoryInfo(void* h, unsigned long long* m) { m[0] = 80ull << 30; m[1] = m[0]; m[2] = 0; return 0; }
"""


class Nvml:
    """Runs the program where the driver names two GPUs."""

    def __init__(self, files):
        folder = files.root / "nvml"
        folder.mkdir()
        (folder / "nvml.c").write_text(NVML)
        compiler = next(path for name in ("cc", "clang", "clang-19", "gcc") if (path := shutil.which(name)))
        subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", folder / "nvml.c"], check=True, capture_output=True)
        self.env = {"LD_LIBRARY_PATH": str(folder)}

    def serve(self, text):
        """Returns what a server says that has no model to serve."""
        return refused(text, "--model", "/nowhere", env=self.env)

    def run(self, *arguments):
        return run_cli(*arguments, env=self.env)

    def close(self):
        pass


def gguf_file(files):
    """Returns a model in one file: the default one, which is fetched if it is missing."""
    if not hasattr(files, "gguf"):
        files.gguf = pathlib.Path(run_cli("pull", "qwen2.5-coder-0.5b-instruct", check=True, timeout=600).stdout.strip())
    return files.gguf


def refused(config, *arguments, words=(), command="serve", env=None, code=2):
    """Expects `altlas serve` with this configuration to end before it listens, and to say why."""
    text = config if isinstance(config, str) else yaml.safe_dump(config)
    read, write = os.pipe()
    os.write(write, text.encode())
    os.close(write)
    start = [command, "--config", f"/proc/self/fd/{read}"]
    if command == "serve":
        start += ["--port", "0", "--data-dir", "none"]
    try:
        done = run_cli(*start, *arguments, pass_fds=[read], env=env, timeout=20)
    finally:
        os.close(read)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    for word in words:
        assert str(word) in done.stderr, done.stderr
    return done.stderr
