"""A real altlas server per test module, on a free loopback port, ended by its process id."""
import os
import pathlib
import re
import select
import signal
import socket
import subprocess
import tempfile
import time

import openai
import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = os.environ.get("ALTLAS_BINARY", str(ROOT / "build" / "altlas"))
SEEDS = ROOT.parent / "shared" / "seeds"


def clean_environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ALTLAS_") or k in ("ALTLAS_CACHE", "ALTLAS_SIMD")}
    return {**kept, **more}


def run_cli(*arguments, timeout=120, check=False, env=None, **kwargs):
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=timeout, check=check,
                          env=clean_environment(**(env or {})), **kwargs)


class Server:
    """`altlas serve` with these arguments; .url once it listens."""

    def __init__(self, *arguments, config=None, env=None, data_dir=None, start_timeout=180, cgroup=None):
        self.folder = tempfile.TemporaryDirectory(prefix="altlas-test-")
        self.data_dir = data_dir or os.path.join(self.folder.name, "data")
        command = [BINARY, "serve", "--port", "0", "--data-dir", self.data_dir, *arguments]
        if config is not None:
            path = os.path.join(self.folder.name, "altlas.yaml")
            pathlib.Path(path).write_text(config)
            command += ["--config", path]
        self.log_path = os.path.join(self.folder.name, "log")
        enters = {"preexec_fn": lambda: (cgroup / "cgroup.procs").write_text(str(os.getpid()))} if cgroup else {}
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=clean_environment(**(env or {})), **enters)
        self.banner = self._read_banner(start_timeout)
        self.url = re.search(r"listening on (\S+)", self.banner).group(1)
        self.api = self.url + "/api/v1"

    def _read_banner(self, timeout):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.process.stdout], [], [], 1)
            if ready:
                line = self.process.stdout.readline()
                if line.startswith("listening on"):
                    return line
                if not line:
                    break
        self.process.kill()
        raise AssertionError(f"no server: {self.log()[-4000:]}")

    def log(self):
        return pathlib.Path(self.log_path).read_text()

    def stop(self, expect=0):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.process.stdout.close()
        assert code == expect, f"exit code {code}: {self.log()[-4000:]}"

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=30)
        self.process.stdout.close()

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self.folder.cleanup()

    def openai(self, key="none"):
        """Returns the official client for this server, without retries that would hide an error."""
        return openai.OpenAI(base_url=self.url + "/v1", api_key=key, max_retries=0)

    def get(self, path, **kwargs):
        return requests.get(self.url + path, timeout=120, **kwargs)

    def post(self, path, body=None, **kwargs):
        return requests.post(self.url + path, json=body, timeout=120, **kwargs)

    def wait_task(self, task_id, seconds=120, **kwargs):
        answer = requests.get(f"{self.api}/task/{task_id}?wait={seconds}", timeout=seconds + 30, **kwargs).json()
        assert answer["status"] in ("completed", "failed", "canceled"), answer
        return answer


def free_port():
    """Returns a loopback port that nobody has now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def until(true, seconds=20):
    """Returns the first true answer, and asks again until the time has passed."""
    end = time.monotonic() + seconds
    while not (answer := true()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)  # Nothing announces it.
    return answer


def certificate_for(folder):
    """Makes a self-signed certificate for 127.0.0.1 and its key. Returns their two paths."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                    "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return certificate_for(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def start_server():
    """Starts servers that end with the test."""
    servers = []

    def start(*arguments, **kwargs):
        servers.append(Server(*arguments, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="module")
def cpu_server():
    """The default model on two CPU devices."""
    server = Server("--devices", "cpu:2")
    yield server
    server.stop()
    server.close()


@pytest.fixture(scope="module")
def sim_server():
    """The default model's tokenizer and shape on four simulated devices: fast and deterministic. They never end a text by
    themselves, so the length is kept short."""
    server = Server("--devices", "sim:h100:4", "--max-model-len", "512")
    yield server
    server.stop()
    server.close()
