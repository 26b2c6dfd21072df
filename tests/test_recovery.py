"""Nothing accepted is lost: kill -9 of workers and of the server, SIGTERM, a data directory in use."""
import concurrent.futures
import json
import os
import signal
import time

import pytest

from conftest import Server, run_cli

BODY = {"text": "Once upon a time", "max_length": 200, "temperature": 0.8, "seed": 5, "stop": ["\u0000never"]}


@pytest.fixture(scope="module")
def want():
    """Returns the text for BODY, from a server that nothing befalls."""
    server = Server("--devices", "cpu:2")
    try:
        task = server.post("/api/v1/predict", BODY).json()["task_id"]
        text = server.wait_task(task)["result"]["text"]
        server.stop()
    finally:
        server.close()
    return text


def worker_pids(server):
    replicas = [r for d in server.get("/api/v1/deployments").json()["deployments"].values() for r in d["replicas"]]
    return [r["pid"] for r in replicas if r["pid"] and r["pid"] != server.process.pid]


def running(server, task, tokens_after=0.4):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if server.get(f"/api/v1/task/{task}").json()["status"] == "running":
            time.sleep(tokens_after)
            return
        time.sleep(0.02)
    raise AssertionError("the task did not start")


def test_killed_worker(start_server, want):
    server = start_server("--devices", "cpu:2")
    tasks = [server.post("/api/v1/predict", BODY).json()["task_id"] for _ in range(4)]
    running(server, tasks[0])
    pids = worker_pids(server)
    assert pids, "workers are processes of their own"
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for task in tasks:
        done = server.wait_task(task)
        assert done["status"] == "completed" and done["result"]["text"] == want
    assert not set(pids) & set(worker_pids(server))
    server.stop()


def test_a_server_that_stood_still_keeps_its_replicas(start_server, want):
    """A server that stood still must not take its workers for gone, nor they the server: every model would be loaded again."""
    server = start_server("--devices", "cpu:2")
    tasks = [server.post("/api/v1/predict", BODY).json()["task_id"] for _ in range(3)]
    running(server, tasks[0], tokens_after=0)
    pids = worker_pids(server)
    server.process.send_signal(signal.SIGSTOP)
    time.sleep(6)  # This is longer than the silence that counts.
    server.process.send_signal(signal.SIGCONT)
    for task in tasks:
        assert server.wait_task(task)["result"]["text"] == want
    assert sorted(worker_pids(server)) == sorted(pids) and pids
    server.stop()


@pytest.mark.parametrize("payload", [[[]] * 1300000, {f"k{i}": i for i in range(300000)}, "a" * 5000000], ids=["nested", "members", "text"])
def test_large_tasks_in_hand_do_not_stop_the_core(start_server, payload):
    """Several large tasks at once make the core's state larger than the event log likes. They are answered all the same, by replicas that stay."""
    server = start_server("--devices", "sim:h100:2")
    pids, body = sorted(worker_pids(server)), json.dumps({"x": payload})
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: server.post("/echo", data=body, headers={"Content-Type": "application/json"}), range(18)))
    assert [answer.status_code for answer in answers] == [200] * 18, server.log()[-2000:]
    assert all(answer.json()["echo"] == {"x": payload} for answer in answers[:3])
    assert sorted(worker_pids(server)) == pids and "is gone" not in server.log()
    server.stop()


def test_killed_server(start_server, tmp_path, want):
    data = str(tmp_path / "data")
    server = start_server("--devices", "cpu:2", data_dir=data)
    tasks = [server.post("/api/v1/predict", BODY).json()["task_id"] for _ in range(3)]
    running(server, tasks[0])
    pids = worker_pids(server)
    server.kill()
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline and any(os.path.exists(f"/proc/{pid}") for pid in pids):
        time.sleep(0.1)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids), "a worker outlives its server by at most 5 s"
    again = start_server("--devices", "cpu:2", data_dir=data)
    for task in tasks:
        done = again.wait_task(task)
        assert done["status"] == "completed" and done["result"]["text"] == want, done
    assert again.get("/api/v1/tasks").json()["total"] == 3
    again.stop()


def test_data_directory_in_use(start_server, tmp_path):
    data = str(tmp_path / "data")
    server = start_server("--devices", "sim:h100:1", data_dir=data)
    second = run_cli("serve", "--devices", "sim:h100:1", "--port", "0", "--data-dir", data)
    assert second.returncode == 1 and data in second.stderr and "in use" in second.stderr
    server.stop()


def test_port_in_use(start_server):
    server = start_server("--devices", "sim:h100:1")
    port = server.url.rsplit(":", 1)[1]
    second = run_cli("serve", "--devices", "sim:h100:1", "--port", port, "--data-dir", "none")
    assert second.returncode == 1 and port in second.stderr and "listening" not in second.stdout


def test_sigterm_hands_over(start_server, tmp_path, want):
    data = str(tmp_path / "data")
    server = start_server("--devices", "cpu:1", data_dir=data, config="server: {graceful_shutdown_timeout_s: 1}")
    task = server.post("/api/v1/predict", BODY).json()["task_id"]
    server.stop(expect=0)
    again = start_server("--devices", "cpu:1", data_dir=data)
    done = again.wait_task(task)
    assert done["status"] == "completed" and done["result"]["text"] == want
    again.stop()


def test_a_stop_at_the_banner_is_a_stop(start_server):
    """Whoever waits for the banner may end the server at once; the signal must be handled by then."""
    for _ in range(5):
        start_server("--devices", "sim:h100:1", "--max-model-len", "128").stop(expect=0)
