"""The task API as the specification defines it: fields, statuses, limits, bad input."""
import base64
import json
import signal
import socket
import ssl
import subprocess
import time

import pytest
import requests

from conftest import run_cli


def predict(server, **body):
    return server.post("/api/v1/predict", {"text": "Hello", "max_length": 8, **body})


def test_predict_to_result(cpu_server):
    answer = predict(cpu_server, text="def fibonacci(n):", max_length=24, temperature=0).json()
    assert set(answer) == {"task_id", "gpu_id", "status"} and isinstance(answer["gpu_id"], int)
    task = cpu_server.wait_task(answer["task_id"])
    assert task["status"] == "completed" and task["type"] == "text_generation"
    assert "return" in task["result"]["text"] and task["result"]["tokens"] == 24 and task["result"]["finish_reason"] == "length"
    assert task["created_at"] <= task["started_at"] <= task["finished_at"]


def test_text_does_not_depend_on_the_batch(cpu_server):
    body = {"text": "The capital of France is", "max_length": 16, "temperature": 0.9, "seed": 11}
    alone = cpu_server.wait_task(predict(cpu_server, **body).json()["task_id"])["result"]["text"]
    ids = [predict(cpu_server, **body).json()["task_id"] for _ in range(12)]
    texts = {cpu_server.wait_task(i)["result"]["text"] for i in ids}
    assert texts == {alone}


def test_strategies(sim_server):
    ids = [predict(sim_server, gpu_options={"strategy": "round_robin"}).json()["gpu_id"] for _ in range(8)]
    start = ids[0]
    assert ids == [(start + i) % 4 for i in range(8)]
    assert predict(sim_server, gpu_options={"specific_gpu_id": 2}).json()["gpu_id"] == 2
    assert predict(sim_server, gpu_options={"specific_gpu_id": "gpu_3"}).json()["gpu_id"] == 3
    for strategy in ("least_loaded", "memory_optimized", "task_specific", "random", "prefix_affinity", "earliest_finish"):
        assert predict(sim_server, gpu_options={"strategy": strategy}).status_code == 200, strategy


def test_batch_split_and_unsplit(sim_server):
    batch = [{"text": f"item {i}", "max_length": 4} for i in range(8)]
    split = sim_server.post("/api/v1/batch_predict", {"batch": batch, "gpu_options": {"strategy": "round_robin", "batch_split": True}}).json()
    assert {t["gpu_id"] for t in split["tasks"]} == {0, 1, 2, 3}
    assert split["status"] in ("all_distributed", "all_queued", "mixed")
    whole = sim_server.post("/api/v1/batch_predict", {"batch": batch, "gpu_options": {"batch_split": False}}).json()
    assert len(whole["task_ids"]) == 8 and isinstance(whole["gpu_id"], int) and whole["status"] in ("running", "queued", "mixed")
    devices = {sim_server.wait_task(i)["gpu_id"] for i in whole["task_ids"]}
    assert devices == {whole["gpu_id"]}


def test_batch_is_all_or_nothing(sim_server):
    before = sim_server.get("/api/v1/tasks?limit=1").json()["total"]
    answer = sim_server.post("/api/v1/batch_predict", {"batch": [{"text": "ok"}, {"text": "x", "temperature": 9}]})
    assert answer.status_code == 400 and "batch[1].temperature" in answer.json()["error"]
    assert sim_server.get("/api/v1/tasks?limit=1").json()["total"] == before


def test_idempotency(sim_server):
    body = {"idempotency_key": "k1", "text": "same"}
    first, again = predict(sim_server, **body), predict(sim_server, **body)
    assert first.json()["task_id"] == again.json()["task_id"]
    assert predict(sim_server, **{**body, "text": "other"}).status_code == 409


def test_cancel(cpu_server):
    task = predict(cpu_server, text="Count: 1 2 3", max_length=4000).json()["task_id"]
    assert requests.delete(f"{cpu_server.api}/task/{task}", timeout=30).status_code == 200
    assert cpu_server.wait_task(task)["status"] == "canceled"
    assert requests.delete(f"{cpu_server.api}/task/{task}", timeout=30).status_code == 409


def test_what_a_cancellation_says_is_what_others_see(sim_server):
    """For tasks that wait, run or end just then: whatever DELETE answers, the next look agrees, also in the list."""
    seen = set()
    for i in range(60):
        task = predict(sim_server, text=f"t {i}", max_length=400 if i % 3 else 1).json()["task_id"]
        answer = requests.delete(f"{sim_server.api}/task/{task}", timeout=30)
        status = sim_server.get(f"/api/v1/task/{task}").json()["status"]
        assert status == ("canceled" if answer.status_code == 200 else "completed"), (i, answer.text, status)
        assert task in sim_server.get(f"/api/v1/tasks?status={status}").json()["tasks"]
        seen.add(answer.status_code)
    assert 200 in seen and seen <= {200, 409}


def test_disconnect_cancels(cpu_server):
    body = json.dumps({"prompt": "Count: 1 2 3", "max_tokens": 4000, "ignore_eos": True}).encode()
    host, port = cpu_server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /llm/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and not any(g["task_count"] for g in cpu_server.get("/api/v1/gpus").json()["gpus"]):
            time.sleep(0.05)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(g["task_count"] for g in cpu_server.get("/api/v1/gpus").json()["gpus"]):
        time.sleep(0.05)
    assert not any(g["task_count"] for g in cpu_server.get("/api/v1/gpus").json()["gpus"])


def test_explain(sim_server):
    task = predict(sim_server, gpu_options={"strategy": "least_loaded"}).json()
    why = sim_server.get(f"/api/v1/task/{task['task_id']}/explain").json()
    assert why["strategy"] == "least_loaded" and why["winner"] == task["gpu_id"] and why["reason"]
    assert "round_robin" in why["alternatives"]


def test_stream(cpu_server):
    task = predict(cpu_server, text="Once upon a time", max_length=12).json()["task_id"]
    text, done = "", None
    for line in requests.get(f"{cpu_server.api}/task/{task}/stream", stream=True, timeout=60).iter_lines():
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            text += event.get("text", "")
            done = event if "task_id" in event else done
    assert done["status"] == "completed" and done["result"]["text"] == text


@pytest.mark.parametrize("body, status, says", [
    ({"text": 5}, 400, "text"), ({}, 400, "text"), ({"text": "x", "temperature": 2.5}, 400, "temperature"),
    ({"text": "x", "max_length": 0}, 400, "max_length"), ({"text": "x", "max_length": 1e9}, 400, "tokens"),
    ({"text": "x", "gpu_options": {"strategy": "round_robbin"}}, 400, "did you mean 'round_robin'"),
    ({"text": "x", "gpu_options": {"specific_gpu_id": 99}}, 400, "99"), ({"text": "x", "priority": "urgent"}, 400, "priority"),
    ({"text": "x", "model": "nope"}, 404, "nope"), ({"text": "x", "estimated_memory": 1 << 62}, 400, "memory"),
    ({"text": "x", "unknown_field": 1, "top_k": None}, 200, ""),
])
def test_bad_fields(sim_server, body, status, says):
    answer = sim_server.post("/api/v1/predict", body)
    assert answer.status_code == status, answer.text
    assert says in answer.text


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'{"text": "\xff"}', b'{"text":' + b"[" * 100 + b"]" * 100 + b"}"])
def test_bad_json(sim_server, data):
    answer = requests.post(sim_server.api + "/predict", data=data, headers={"Content-Type": "application/json"}, timeout=30)
    assert answer.status_code == 400 and answer.json()["error"]


def test_http_limits(sim_server):
    assert requests.post(sim_server.api + "/predict", data=b"x" * (9 << 20), headers={"Content-Type": "application/json"}, timeout=60).status_code == 413
    assert requests.post(sim_server.api + "/predict", data=b"{}", headers={"Content-Type": "text/plain"}, timeout=30).status_code == 415
    wrong = requests.put(sim_server.api + "/predict", timeout=30)
    assert wrong.status_code == 405 and "POST" in wrong.headers["Allow"]
    assert sim_server.get("/nowhere").status_code == 404
    assert sim_server.get("/api/v1/task/" + "0" * 32).status_code == 404
    assert sim_server.get("/api/v1/tasks?limit=x").status_code == 400
    assert sim_server.get("/api/v1/tasks?status=sleeping").status_code == 400


def test_keys_and_roles(start_server):
    server = start_server("--devices", "sim:h100:1", config="""
auth:
  keys:
    - {name: anna, key: user-key, role: user}
    - {name: bert, key: other-key, role: user}
    - {name: root, key: admin-key, role: admin}
    - {name: prom, key: metrics-key, role: metrics}
""")
    bearer = lambda key: {"Authorization": f"Bearer {key}"}
    assert server.get("/health").status_code == 200
    assert server.get("/api/v1/gpus").status_code == 401
    assert server.get("/api/v1/gpus", headers=bearer("nope")).status_code == 401
    assert server.get("/metrics", headers=bearer("metrics-key")).status_code == 200
    assert server.get("/api/v1/gpus", headers=bearer("metrics-key")).status_code == 403
    basic = base64.b64encode(b"any:user-key").decode()
    assert server.get("/api/v1/gpus", headers={"Authorization": f"Basic {basic}"}).status_code == 200
    task = server.post("/api/v1/predict", {"text": "x", "max_length": 2}, headers=bearer("user-key")).json()["task_id"]
    assert server.get(f"/api/v1/task/{task}", headers=bearer("other-key")).status_code == 404
    assert server.get(f"/api/v1/task/{task}", headers=bearer("admin-key")).status_code == 200
    assert server.get("/api/v1/tasks", headers=bearer("other-key")).json()["total"] == 0
    assert server.post("/api/v1/config/gpu/strategy", {"strategy": "random"}, headers=bearer("user-key")).status_code == 403
    assert server.post("/api/v1/config/gpu/strategy", {"strategy": "random"}, headers=bearer("admin-key")).status_code == 200
    server.stop()


def test_queue_limit_and_concurrency(start_server):
    server = start_server("--devices", "cpu:1", config="gpu: {multi_gpu: {max_queue_size: 3, max_concurrent_tasks_per_gpu: 1}}")
    answers = [server.post("/api/v1/predict", {"text": "Count", "max_length": 2000}) for _ in range(8)]
    codes = [a.status_code for a in answers]
    assert codes.count(200) == 4 and codes.count(429) == 4, codes
    assert all(int(a.headers["Retry-After"]) >= 1 for a in answers if a.status_code == 429)
    gpu = server.get("/api/v1/gpus").json()["gpus"][0]
    assert gpu["task_count"] == 4 and gpu["queued_count"] == 3
    assert server.post("/api/v1/config/gpu/max_concurrent_tasks", {"value": 4}).status_code == 200
    for answer in answers[:4]:
        requests.delete(f"{server.api}/task/{answer.json()['task_id']}", timeout=30)
    server.stop()


def test_meta(start_server):
    server = start_server("--devices", "sim:h100:1", config="api_metadata: {enabled: true}")
    meta = server.get("/api/v1/gpus").json()["meta"]
    assert meta["processing_time"]["total_ms"] >= 0 and meta["request_id"] and meta["version"]
    server.stop()


def test_metrics(sim_server):
    predict(sim_server)
    text = sim_server.get("/metrics").text
    for name in ("gpu_utilization_percent", "gpu_memory_used_mb", "gpu_tasks_count", "altlas_server_requests_total"):
        assert f"# TYPE {name} " in text, name
    assert 'gpu_id="0"' in text


def test_tls_and_reload(start_server, tmp_path):
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")

    def make(name):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                        "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)

    def subject(server):
        host, port = server.url.removeprefix("https://").split(":")
        return ssl.get_server_certificate((host, int(port)))

    make("first")
    server = start_server("--devices", "sim:h100:1", "--tls-cert", cert, "--tls-key", key)
    assert server.url.startswith("https://")
    assert requests.get(server.url + "/health", verify=cert, timeout=30).json()["status"] == "ok"
    before = subject(server)
    make("second")
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and subject(server) == before:
        time.sleep(0.05)
    assert subject(server) != before
    assert requests.get(server.url + "/health", verify=cert, timeout=30).status_code == 200
    server.stop()


def test_slow_sender_is_closed(start_server):
    server = start_server("--devices", "sim:h100:1", config="server: {slow_sender_timeout_s: 1}")
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        started = time.monotonic()
        assert connection.recv(1) == b""
        assert time.monotonic() - started < 10
    server.stop()


def test_too_many_connections(start_server):
    server = start_server("--devices", "sim:h100:1", config="server: {connections_max: 4}")
    host, port = server.url.removeprefix("http://").split(":")
    open_ones = [socket.create_connection((host, int(port)), timeout=30) for _ in range(4)]
    time.sleep(0.3)
    with socket.create_connection((host, int(port)), timeout=30) as fifth:
        assert fifth.recv(100).startswith(b"HTTP/1.1 503")
    for one in open_ones:
        one.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if server.get("/health").status_code == 200:
                break
        except requests.ConnectionError:
            time.sleep(0.05)
    assert server.get("/health").status_code == 200
    server.stop()


def test_bad_arguments_leave_with_2():
    for arguments, says in ((["serve", "--devices", "gpu:1"], "gpu"), (["serve", "--port", "70000"], "65535"), (["serve", "--nonsense"], "nonsense"),
                            (["serve", "--host", "0.0.0.0", "--port", "0"], "key"), (["serve", "--model", "/does/not/exist.gguf"], "exist"),
                            (["serve", "--devices", "cpu:1:1:100MiB", "--port", "0", "--data-dir", "none"], "fit")):
        done = run_cli(*arguments)
        assert done.returncode == 2 and says in done.stderr, (arguments, done.stderr)
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
