"""A server and machines that lend it their devices: real processes, mutual TLS, loopback."""
import os
import pathlib
import signal
import socket
import subprocess
import time

import pytest
import requests

from conftest import BINARY, clean_environment, free_port, run_cli, until


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certs") / "own"
    made = run_cli("certs", str(folder), "--host", "localhost", "--host", "beta", "--host", "gamma")
    assert made.returncode == 0, made.stderr
    assert "beta: certificate" in made.stdout
    return folder


def config_for(certificates, port, workers, more=""):
    return f"""
cluster:
  enabled: true
  listen: 127.0.0.1:{port}
  workers: [{", ".join(workers)}]
  tls_ca: {certificates}/ca.pem
  tls_cert: {certificates}/localhost.pem
  tls_key: {certificates}/localhost-key.pem
  worker_timeout_s: 3
{more}"""


class Worker:
    """`altlas worker --connect` as the machine of this name."""

    def __init__(self, certificates, name, port, folder, *arguments, devices="cpu:1:1:2GiB"):
        self.log_path = folder / f"{name}-{time.monotonic_ns()}.log"
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(
                [BINARY, "worker", "--connect", f"127.0.0.1:{port}", "--tls-ca", f"{certificates}/ca.pem", "--tls-cert", f"{certificates}/{name}.pem",
                 "--tls-key", f"{certificates}/{name}-key.pem", "--devices", devices, *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean_environment())

    def log(self):
        return self.log_path.read_text()

    def children(self):
        return [int(pid) for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir() for pid in (task / "children").read_text().split()]

    def kill(self):
        self.process.kill()
        self.process.wait(timeout=30)


@pytest.fixture
def start_worker(certificates, tmp_path):
    workers = []

    def start(name, port, *arguments, **kwargs):
        workers.append(Worker(certificates, name, port, tmp_path, *arguments, **kwargs))
        return workers[-1]

    yield start
    for one in workers:
        if one.process.poll() is None:
            one.kill()


DEPLOYMENT = "deployments: {{default: {{model: qwen2.5-coder-0.5b-instruct, num_replicas: {}}}}}\n"


def test_devices_of_other_machines_serve(certificates, start_worker, start_server):
    port = free_port()
    beta = start_worker("beta", port, devices="cpu:1:1:2GiB")
    server = start_server("--devices", "cpu:1:1:2GiB", config=config_for(certificates, port, ["beta"], DEPLOYMENT.format(2)))
    assert "waiting for 1 of 1 workers to connect to 127.0.0.1" in server.log()
    gpus = server.get("/api/v1/gpus").json()["gpus"]
    assert [gpu["node"] for gpu in gpus] == [None, "beta"]
    assert all(gpu["deployments"][0] == "default" for gpu in gpus)
    assert len(beta.children()) == 1, "the replica is a process of that machine"
    body = {"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}
    texts = [server.post("/v1/completions", body).json()["choices"][0]["text"] for _ in range(2)]
    assert texts[0] == texts[1]
    ask = {"text": "x", "max_length": 4, "temperature": 0, "gpu_options": {"strategy": "round_robin"}}
    tasks = [server.wait_task(server.post("/api/v1/predict", ask).json()["task_id"]) for _ in range(4)]
    assert {task["gpu_id"] for task in tasks} == {0, 1} and len({task["result"]["text"] for task in tasks}) == 1
    assert "beta" in run_cli("status", "--url", server.url).stdout
    server.stop()
    assert beta.process.wait(timeout=10) == 0, beta.log()


@pytest.mark.parametrize("how", ["kill", "freeze", "kill the replica"])
def test_a_lost_machine_loses_no_task(certificates, start_worker, start_server, how):
    port = free_port()
    beta = start_worker("beta", port)
    server = start_server("--devices", "cpu:1:1:2GiB", config=config_for(certificates, port, ["beta"], DEPLOYMENT.format(2)))
    body = {"text": "Count:", "max_length": 60, "temperature": 0, "ignore_eos": True}
    alone = server.wait_task(server.post("/api/v1/predict", body).json()["task_id"])["result"]["text"]
    tasks = [server.post("/api/v1/predict", body).json()["task_id"] for _ in range(8)]
    until(lambda: server.get("/api/v1/gpus").json()["gpus"][1]["task_count"] > 0, 60)
    worker = beta.children()[0]
    if how == "kill":
        os.kill(beta.process.pid, signal.SIGKILL)
    elif how == "freeze":
        os.kill(worker, signal.SIGSTOP)
        os.kill(beta.process.pid, signal.SIGSTOP)
    else:
        os.kill(worker, signal.SIGKILL)
    ends = [server.wait_task(task) for task in tasks]
    assert [end["status"] for end in ends] == ["completed"] * 8
    assert {end["result"]["text"] for end in ends} == {alone}
    if how == "freeze":
        until(lambda: "worker 'beta' is gone: nothing was heard" in server.log(), 60)
        os.kill(beta.process.pid, signal.SIGCONT)
        os.kill(worker, signal.SIGCONT)
        beta.process.wait(timeout=30)
    if how != "kill the replica":
        assert server.get("/api/v1/gpus").json()["gpus"][1]["healthy"] is False
        again = start_worker("beta", port)
        until(lambda: server.get("/api/v1/gpus").json()["gpus"][1]["healthy"], 60)
        until(lambda: len(again.children()) == 1, 60)
    else:
        until(lambda: len(beta.children()) == 1, 60)
        assert server.get("/api/v1/gpus").json()["gpus"][1]["healthy"] is True
        assert "on 'beta': killed by signal 9" in server.log()


def test_heartbeats_keep_an_idle_machine(certificates, start_worker, start_server):
    """A machine may be silent for less than the usual time between two heartbeats: shorter ones keep it."""
    port = free_port()
    start_worker("beta", port)
    config = config_for(certificates, port, ["beta"], "  heartbeat_interval_s: 0.2\n" + DEPLOYMENT.format(1)).replace("worker_timeout_s: 3", "worker_timeout_s: 0.8")
    server = start_server("--devices", "cpu:1:1:2GiB", config=config)
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert server.get("/api/v1/gpus").json()["gpus"][1]["healthy"], server.log()
    assert "is gone" not in server.log()


def test_who_does_not_come_is_named(certificates, start_worker, tmp_path):
    port = free_port()
    path = tmp_path / "a.yaml"
    path.write_text(config_for(certificates, port, ["beta", "gamma"], "  start_timeout_s: 2\n"))
    start_worker("beta", port)
    ended = run_cli("serve", "--port", "0", "--data-dir", "none", "--config", str(path))
    assert ended.returncode == 1
    assert "cluster.workers: gamma did not connect to 127.0.0.1" in ended.stderr
    assert "waiting for 1 of 2 workers" in ended.stderr or "waiting for 2 of 2 workers" in ended.stderr


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def test_refused_workers_hear_why(certificates, start_worker, start_server, tmp_path):
    """Another authority, a name nobody expects, an expired certificate: both ends say so, and the server goes on."""
    port = free_port()
    beta = start_worker("beta", port)
    server = start_server("--devices", "cpu:1:1:2GiB", config=config_for(certificates, port, ["beta"], DEPLOYMENT.format(1)))
    run_cli("certs", str(tmp_path / "other"), "--host", "beta", check=True)
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for name in ("beta.pem", "beta-key.pem"):
        (mixed / name).write_bytes((tmp_path / "other" / name).read_bytes())
        os.chmod(mixed / name, 0o600)
    (mixed / "ca.pem").write_bytes((certificates / "ca.pem").read_bytes())
    cases = [(mixed, "beta", "refused this side's certificate"), (certificates, "gamma", "does not expect 'gamma'"),
             (tmp_path / "other", "beta", "certificate is not trusted")]
    for folder, name, words in cases:
        stranger = Worker(folder, name, port, tmp_path)
        assert stranger.process.wait(timeout=20) == 11, stranger.log()
        assert words in stranger.log()
    until(lambda: "to the workers' port was refused: the other side's certificate is not trusted" in server.log(), 60)
    assert "this server does not expect 'gamma'" in server.log()
    assert server.get("/health").status_code == 200 and beta.process.poll() is None


def test_strangers_at_the_port_are_refused(certificates, start_worker, start_server):
    port = free_port()
    start_worker("beta", port)
    server = start_server("--devices", "cpu:1:1:2GiB", config=config_for(certificates, port, ["beta"], DEPLOYMENT.format(1)))
    with pytest.raises(requests.exceptions.RequestException):
        requests.get(f"http://127.0.0.1:{port}/", timeout=10)
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://127.0.0.1:{port}/", timeout=10, verify=f"{certificates}/ca.pem")
    for garbage in (b"\x00" * 5000, os.urandom(5000), b"\x16\x03\x01\xff\xff" + b"x" * 100):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
            one.sendall(garbage)
            one.settimeout(15)
            try:
                while one.recv(4096):
                    pass
            except ConnectionResetError:
                pass
    assert server.log().count("to the workers' port was refused") >= 4
    assert server.get("/health").status_code == 200


@pytest.mark.parametrize("arguments,words", [
    (["--connect", "x"], "no address: write HOST:PORT"), (["--connect", "127.0.0.1:1"], "needs --tls-ca"), ([], "--connect HOST:PORT is missing"),
    (["--connect", "127.0.0.1:1", "--tls-ca", "/no", "--tls-cert", "/no", "--tls-key", "/no"], "is no file")])
def test_a_worker_that_can_not_connect_says_so(arguments, words):
    ended = run_cli("worker", *arguments)
    assert ended.returncode == 2 and words in ended.stderr, ended.stderr


def test_nobody_listens(certificates):
    ended = run_cli("worker", "--connect", f"127.0.0.1:{free_port()}", "--tls-ca", f"{certificates}/ca.pem", "--tls-cert", f"{certificates}/beta.pem",
                    "--tls-key", f"{certificates}/beta-key.pem", "--wait", "0.3")
    assert ended.returncode == 14 and "nobody listened" in ended.stderr


def test_keys_are_closed(certificates):
    for key in certificates.glob("*-key.pem"):
        assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("lines,words", [
    ("cluster: {listen: '127.0.0.1:1'}", "cluster.enabled: it is off"), ("cluster: {enabled: true, listen: 'a:1', workers: [a]}", "need mutual TLS"),
    ("cluster: {enabled: true, workers: [a], tls_ca: a, tls_cert: b, tls_key: c}", "cluster.listen: write HOST:PORT"),
    ("cluster: {enabled: true, listen: 'a:1', tls_ca: a, tls_cert: b, tls_key: c}", "cluster.workers: name the machines"),
    ("cluster: {enabled: true, listen: 'a:1', workers: [a, a], tls_ca: a, tls_cert: b, tls_key: c}", "named twice"),
    ("cluster: {worker_timeout_s: 1}", "less than two heartbeats")])
def test_clusters_that_can_not_be(tmp_path, lines, words):
    path = tmp_path / "a.yaml"
    path.write_text(lines)
    ended = run_cli("validate-config", str(path))
    assert ended.returncode == 2 and words in ended.stderr + ended.stdout
