"""One row per setting: a value that is not its default, and what a client, the log or the exit code then shows differently.
What nothing reads yet is marked so in the settings' metadata, and is an error away from its default. A setting with neither
a row nor a mark fails."""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest
import requests
import yaml

from conftest import ROOT, free_port, run_cli, until
from settings_servers import Files, Group, Nvml, gguf_file, refused

SCHEMA = json.loads(run_cli("validate-config", "--schema", check=True).stdout)


def inner(schema):
    """Yields the schemas at a place: alternatives and references are followed."""
    if "$ref" in schema:
        yield SCHEMA["$defs"][schema["$ref"].split("/")[-1]]
    elif "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from inner(one)
    else:
        yield schema


def walk(schema, path="", mark=None):
    """Yields every setting of the schema, also those inside lists: its path, what the schema says of it, its not-yet mark."""
    for name, field in schema["properties"].items():
        if field.get("deprecated"):  # Another setting's old name.
            continue
        at, own = f"{path}.{name}" if path else name, field.get("x-not-yet", mark)
        forms = list(inner(field))
        section = next((one for one in forms if "properties" in one), None)
        items = [one for form in forms if isinstance(form.get("items"), dict) for one in inner(form["items"])]
        element = next((one for one in items if "properties" in one), None)
        if section or element:
            yield from walk(section or element, at if section else at + "[]", own)
        else:
            yield at, field, own


SETTINGS = {path: (field, mark) for path, field, mark in walk(SCHEMA)}
ROWS = {}     # Path: group, check.
ELSEWHERE = {  # Settings that no client sees here, and who tests them instead.
    "engine.executor_depth": ("src/engine/grammar_test.cc", "for (const uint32_t depth : {1u, 2u, 4u})"),
    "cluster.enabled": ("tests/test_cluster.py", "enabled: true"),
    "cluster.listen": ("tests/test_cluster.py", "listen: 127.0.0.1:{port}"),
    "cluster.workers": ("tests/test_cluster.py", "workers: [{"),
    "cluster.tls_ca": ("tests/test_cluster.py", "tls_ca: {certificates}/ca.pem"),
    "cluster.tls_cert": ("tests/test_cluster.py", "tls_cert: {certificates}/localhost.pem"),
    "cluster.tls_key": ("tests/test_cluster.py", "tls_key: {certificates}/localhost-key.pem"),
    "cluster.worker_timeout_s": ("tests/test_cluster.py", "worker_timeout_s: 3"),
    "cluster.heartbeat_interval_s": ("tests/test_cluster.py", "heartbeat_interval_s: 0.2"),
    "cluster.start_timeout_s": ("tests/test_cluster.py", "start_timeout_s: 2"),
    "engine.offload_layers": ("tests/test_memory.py", "engine: {devices: cpu:1, offload_layers: 10}"),
    "engine.stream_weights": ("tests/test_memory.py", '("--stream-weights",)'),
    "deployments[].offload_layers": ("tests/test_memory.py", "offload_layers: 20"),
    "deployments[].stream_weights": ("tests/test_memory.py", "stream_weights: true"),
    **{f"deployments[].autoscaling_config.{name}": ("tests/data/ray_decisions.json", f'"{name}":{value}') for name, value in [
        ("min_replicas", 2), ("max_replicas", 10), ("initial_replicas", 2), ("target_ongoing_requests", 7.7), ("upscale_delay_s", 30),
        ("downscale_delay_s", 60), ("downscale_to_zero_delay_s", 20), ("upscaling_factor", 0.5), ("downscaling_factor", 0.3)]},
    "deployments[].autoscaling_config.look_back_period_s": ("tests/test_autoscaling.py", "look_back_period_s=3600"),
    "deployments[].autoscaling_config.metrics_interval_s": ("tests/test_autoscaling.py", "metrics_interval_s=0.1"),
    "deployments[].autoscaling_config.aggregation_function": ("tests/test_autoscaling.py", "aggregation_function=function"),
    "deployments[].graceful_shutdown_timeout_s": ("tests/test_autoscaling.py", '["graceful_shutdown_timeout_s"] = 0.2'),
    "engine.distributed_executor_backend": ("tests/test_workers.py", "distributed_executor_backend: mp"),
    "engine.distributed_timeout_seconds": ("tests/test_workers.py", "distributed_timeout_seconds: 2"),
    "engine.pipeline_split": ("tests/test_layouts.py", '"--pipeline-split", "even"'),
    "engine.pipeline_micro_batches": ("tests/test_layouts.py", '"--pipeline-micro-batches", "8"'),
    "gpu.multi_gpu.priority_aging_s": ("src/control/setup_test.cc", "config.gpu.multi_gpu.priority_aging_s = seconds"),
    "server.allowed_hosts": ("tests/test_admission.py", "allowed_hosts: [gpu.example]"),
    "server.connections_per_address_max": ("tests/test_admission.py", "connections_per_address_max: 3"),
    "server.request_bytes_max": ("tests/test_admission.py", "request_bytes_max: 16777216"),
    "server.stream_buffer_bytes_max": ("src/control/service_test.cc", "AStreamThatIsNotReadIsGivenUp"),
}


def row(group, *paths):
    def keep(check):
        for path in paths:
            assert path not in ROWS, path
            ROWS[path] = (group, check)
        return check
    return keep


# ---- The groups: servers whose configuration holds the values of many rows ----

def limits(files):
    small = {
        "server": {
            "host": "127.0.0.2", "port": free_port(), "cors_origins": ["https://a.example"], "io_threads": 3, "text_threads": 5,
            "connections_max": 24, "body_bytes_max": 4096, "header_bytes_max": 2048, "header_count_max": 12, "target_bytes_max": 300,
            "json_depth_max": 6, "batch_items_max": 3, "list_limit_max": 2, "file_bytes_max": 1024, "files_max": 4,
            "batch_lines_max": 1, "idle_timeout_s": 1, "slow_sender_timeout_s": 1, "wait_max_s": 0.2},
        "auth": {"keys": [{"name": "anna", "key": "key-of-anna", "role": "user"}, {"name": "watcher", "key": "key-of-watcher", "role": "metrics"}],
                 "keys_file": str(files.keys), "api_keys": ["direct"]},
        "api_metadata": {"enabled": True, "processing_time": False, "gpu_resources": False, "trace_id": False, "version": False},
        "engine": {"devices": "sim:h100:1"}, "models": [{"name": "tiny", "path": str(files.tiny)}],
        "deployments": [{"name": "main", "model": "tiny"}],
        "monitoring": {"prometheus_metrics": False},
    }
    return Group(files, small, "--port", str(small["server"]["port"]), key="direct")


def threads(files):
    config = {"server": {"io_threads": 2, "text_threads": 2}, "engine": {"devices": "sim:h100:1"},
              "store": {"tasks_kept_bytes_max": 300, "idempotency_key_ttl_s": 1}}
    return Group(files, config, "--model", str(files.tiny))


def queue(files):
    config = {
        "gpu": {"memory_threshold": 0, "multi_gpu": {
            "queue_processing_interval": 1, "queue_priority_levels": ["low", "normal", "high"], "default_queue_priority": "low",
            "max_queue_size": 3, "queue_timeout": 2}},
        "monitoring": {"enabled": False}, "store": {"tasks_kept_max": 2}, "engine": {"devices": "sim:h100:1"}}
    return Group(files, config, "--model", str(files.tiny))


def place(files):
    config = {
        "gpu": {"multi_gpu": {"default_strategy": "random", "strategies": ["random", "task_specific", "least_loaded"], "random_seed": 5,
                              "task_specific_mappings": {"special": ["gpu_2"]}, "batch_split": False}},
        "monitoring": {"log_level": "error", "trace_spans_max": 3}, "engine": {"devices": "sim:h100:4", "max_model_len": 128, "speculative_tokens": 4}}
    return Group(files, config, "--model", str(files.tiny))


def alone(files):
    config = {
        "gpu": {"multi_gpu": {"enabled": False, "max_concurrent_tasks_per_gpu": 1}},
        "server": {"batch_parallel_max": 1, "batches_max": 1, "slow_reader_timeout_s": 1, "files_bytes_max": 40 << 20, "file_bytes_max": 32 << 20,
                   "tls_cert": str(files.cert), "tls_key": str(files.key), "body_bytes_max": 40 << 20},
        "engine": {"devices": "sim:h100:2", "in_process_workers": True, "tensor_parallel_size": 1},
        "api_metadata": {"enabled": True}}
    return Group(files, config, "--model", str(files.tiny), "--served-model-name", "m")


def cpu(files):
    config = {
        "gpu": {"max_temperature": 50, "multi_gpu": {"min_batch_size_per_gpu": 2}},
        "monitoring": {"interval": 0.05, "prometheus_endpoint": "/measures", "detailed_gpu_metrics": False, "task_metrics": False, "queue_metrics": False,
                       "inference_extension_metrics": True},
        "engine": {"devices": "cpu:2:1:1GiB", "simd": "scalar", "kv_block_tokens": 32, "kv_tokens_max": 100, "max_sequences": 3,
                   "lora_modules": {"poet": str(files.adapter)}, "lora_folders": [str(files.root)], "max_loras": 2, "tool_call_parser": "mistral"},
        "models": [{"name": "plain", "path": str(files.tiny)},
                   {"name": "tiny", "path": str(files.tiny), "tokenizer": str(files.merged), "chat_template": str(files.template),
                    "adapters": {"lawyer": str(files.adapter)}}],
        "deployments": [{"name": "first", "model": "plain"}, {"name": "second", "model": "tiny", "task_types": ["special"]}]}
    return Group(files, config, data_dir=str(files.root / "own-data"))


def layouts(files):
    own = {
        "usual": {"model": "plain"}, "third": {"num_gpus": 0.02}, "replicas": {"num_replicas": 2}, "tensor": {"tensor_parallel_size": 2},
        "pipeline": {"pipeline_parallel_size": 2}, "less": {"gpu_memory_utilization": 0.1}, "short": {"max_model_len": 64},
        "wide": {"kv_dtype": "f32"}, "forgetful": {"enable_prefix_caching": False}, "few": {"kv_tokens_max": 320},
        "guessing": {"speculative_tokens": 4},
        "one": {"max_ongoing_requests": 1, "max_queued_requests": 1}, "stuck": {"health_check_timeout_s": 1}}
    config = {"engine": {"devices": "sim:l4:2", "max_sequences": 65536}, "models": {"plain": {"path": str(files.tiny)}},
              "deployments": {name: {"model": str(files.tiny), **more} for name, more in own.items()},
              "store": {"url": f"sqlite:{files.root}/own.db", "tokens": "off", "event_log_bytes_max": 2048}}
    return Group(files, config)


def engine(files):
    config = {"engine": {"devices": "sim:h100:4", "tensor_parallel_size": 2, "pipeline_parallel_size": 2, "max_model_len": 64,
                         "enable_prefix_caching": False}}
    return Group(files, config, "--model", str(files.tiny))


def shares(files):
    config = {"engine": {"devices": "cpu:2:1:1GiB", "tensor_parallel_size": 2, "tensor_split": [30, 1]}}
    return Group(files, config, "--model", str(files.tiny))


def memory(files):
    """The KV cache is what the device's memory leaves."""
    config = {"engine": {"devices": "sim:l4:1", "max_sequences": 65536, "gpu_memory_utilization": 0.05, "kv_dtype": "f32", "step_tokens_max": 524288}}
    return Group(files, config, "--model", str(files.tiny))


def nvml(files):
    return Nvml(files)


GROUPS = {one.__name__: one for one in (limits, threads, queue, place, alone, cpu, layouts, engine, shares, memory, nvml)}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("settings"))


@pytest.fixture(scope="module")
def groups(files):
    """Starts the groups' servers, all at once."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        started = {name: pool.submit(make, files) for name, make in GROUPS.items()}
    servers = {}
    try:
        for name, future in started.items():
            servers[name] = future.result()
        yield servers
    finally:
        for future in started.values():
            if future.exception() is None:
                future.result().close()


# ---- gpu ----

@row("queue", "gpu.memory_threshold")
def memory_threshold(one):
    task = one.predict().json()
    assert task["status"] == "queued"
    assert "memory" in json.dumps(one.get(f"/api/v1/task/{task['task_id']}/explain").json())
    one.cancel(task["task_id"])


@row("cpu", "gpu.max_temperature")
def max_temperature(one):
    one.files.heat(60)
    until(lambda: one.get("/api/v1/gpus").json()["gpus"][0]["temperature"] == 60)
    task = one.predict().json()
    assert task["status"] == "queued"
    one.files.heat(40)
    assert one.task(task["task_id"])["status"] == "completed"


@row(None, "gpu.utilization_threshold")
def utilization_threshold(files):
    """A process beside the server keeps the cores busy: the device closes, which by default it does not."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    one = Group(files, {"gpu": {"utilization_threshold": 0}, "monitoring": {"interval": 0.1}, "engine": {"devices": "cpu:1:1:1GiB"}},
                "--model", str(files.tiny))
    try:
        until(lambda: one.predict().json()["status"] == "queued")
    finally:
        busy.kill()
        busy.wait()
        one.close()


@row("nvml", "gpu.enabled")
def gpu_enabled(one):
    notice = "2 GPUs (NVIDIA H100 80GB HBM3) are left alone"
    assert notice in one.serve("{}") and notice not in one.serve("gpu: {enabled: false}")


@row("alone", "gpu.multi_gpu.enabled")
def only_the_first_device(one):
    assert len(one.get("/api/v1/gpus").json()["gpus"]) == 2
    assert [r["devices"] for r in one.deployment("default")["replicas"]] == [[0]]


@row("place", "gpu.multi_gpu.default_strategy")
def default_strategy(one):
    assert one.get("/api/v1/config/gpu/strategy").json()["strategy"] == "random"


@row("place", "gpu.multi_gpu.strategies")
def strategies(one):
    answer = one.predict(gpu_options={"strategy": "round_robin"})
    assert answer.status_code == 400 and "random, task_specific, least_loaded" in answer.text, answer.text


@row("place", "gpu.multi_gpu.random_seed")
def random_seed(one):
    """The same seed draws the same devices in a server of its own."""
    twin = place(one.files)
    try:
        other = [twin.predict().json()["gpu_id"] for _ in range(12)]
    finally:
        twin.close()
    third = GROUPS["place"](one.files)
    try:
        assert [third.predict().json()["gpu_id"] for _ in range(12)] == other and len(set(other)) > 1
    finally:
        third.close()


@row("place", "gpu.multi_gpu.task_specific_mappings")
def task_specific_mappings(one):
    for _ in range(3):
        assert one.predict(type="special", gpu_options={"strategy": "task_specific"}).json()["gpu_id"] == 2


@row("place", "gpu.multi_gpu.batch_split")
def batch_split(one):
    answer = one.post("/api/v1/batch_predict", {"batch": [{"text": "a", "max_length": 4}] * 2}).json()
    assert "gpu_id" in answer and len(answer["task_ids"]) == 2, answer


@row("cpu", "gpu.multi_gpu.min_batch_size_per_gpu")
def min_batch_size_per_gpu(one):
    tasks = one.post("/api/v1/batch_predict", {"batch": [{"text": "a", "max_length": 1}] * 2}).json()["tasks"]
    assert len({task["gpu_id"] for task in tasks}) == 1, tasks


@row("alone", "gpu.multi_gpu.max_concurrent_tasks_per_gpu")
def max_concurrent_tasks(one):
    tasks = one.post("/api/v1/batch_predict", {"batch": [{"text": "a", "max_length": 200}] * 4}).json()["tasks"]
    assert [task["status"] for task in tasks] == ["running"] + ["queued"] * 3, tasks
    one.cancel(*(task["task_id"] for task in tasks))


@row("queue", "gpu.multi_gpu.queue_processing_interval")
def queue_processing_interval(one):
    """A deadline that passes right after a look at the queue is noticed at the next look, not at once."""
    ends = []
    for _ in range(2):
        answer = one.predict(deadline_s=0.05)
        assert one.task(answer.json()["task_id"])["status"] == "failed"
        ends.append(time.monotonic())
    assert ends[1] - ends[0] > 0.8


@row("queue", "gpu.multi_gpu.queue_priority_levels")
def queue_priority_levels(one):
    high, low = (one.predict(priority=p).json()["task_id"] for p in ("high", "low"))
    assert one.task(low, 0)["queue_position"] == 1 and one.task(high, 0)["queue_position"] == 2
    one.cancel(high, low)


@row("queue", "gpu.multi_gpu.default_queue_priority")
def default_queue_priority(one):
    normal, own = one.predict(priority="normal").json()["task_id"], one.predict().json()["task_id"]
    assert one.task(own, 0)["queue_position"] == 1 and one.task(normal, 0)["queue_position"] == 2
    one.cancel(normal, own)


@row("queue", "gpu.multi_gpu.max_queue_size")
def max_queue_size(one):
    ids = [one.predict().json()["task_id"] for _ in range(3)]
    fourth = one.predict()
    assert fourth.status_code == 429 and "3" in fourth.text, fourth.text
    one.cancel(*ids)


@row("queue", "gpu.multi_gpu.queue_timeout")
def queue_timeout(one):
    task = one.run()
    assert task["status"] == "failed" and "the limit is 2.000 s" in task["error"], task


# ---- monitoring, api_metadata ----

@row("queue", "monitoring.enabled")
def monitoring_enabled(one):
    assert one.get("/metrics").status_code == 404
    assert one.get("/api/v1/trace").status_code == 404


@row("cpu", "monitoring.interval")
def monitoring_interval(one):
    """Five changes of a sensor, each seen before the next: at the default, one a second, that takes more than 4 s."""
    from_start = time.monotonic()
    for celsius in (41, 42, 43, 44, 45):
        one.files.heat(celsius)
        until(lambda: one.get("/api/v1/gpus").json()["gpus"][0]["temperature"] == celsius)
    assert time.monotonic() - from_start < 3


@row("limits", "monitoring.prometheus_metrics")
def prometheus_metrics(one):
    assert one.get("/metrics").status_code == 404
    assert "/metrics" not in one.get("/openapi.json").json()["paths"]


@row("cpu", "monitoring.prometheus_endpoint")
def prometheus_endpoint(one):
    assert "gpu_memory_used_mb" in one.get("/measures").text and one.get("/metrics").status_code == 404
    refused({"monitoring": {"prometheus_endpoint": "/health"}}, words=["prometheus_endpoint", "/health"])


@row("cpu", "monitoring.detailed_gpu_metrics")
def detailed_gpu_metrics(one):
    assert "DCGM_FI" not in one.get("/measures").text


@row("cpu", "monitoring.task_metrics")
def task_metrics(one):
    assert one.run()["status"] == "completed"
    text = one.get("/measures").text
    assert "altlas_control_tasks_total" not in text and "altlas_server_requests_total" in text


@row("cpu", "monitoring.queue_metrics")
def queue_metrics(one):
    assert "altlas_control_queue_tasks" not in one.get("/measures").text


@row("cpu", "monitoring.inference_extension_metrics")
def inference_extension_metrics(one):
    text = one.get("/measures").text
    for name in ("num_requests_waiting", "num_requests_running", "kv_cache_usage_perc", "cache_config_info"):
        assert f"\nvllm:{name}{{" in text, text


@row("place", "monitoring.log_level")
def log_level(one):
    """What is logged at every reload is logged here only if nothing is taken."""
    one.config_path.write_text("server: [")
    one.server.process.send_signal(signal.SIGHUP)
    until(lambda: "not taken" in one.log())
    one.config_path.write_text(one.text)
    assert " info " not in one.log().lower().replace("[", " ").replace("]", " "), one.log()


@row("place", "monitoring.trace_spans_max")
def trace_spans_max(one):
    for _ in range(5):
        one.get("/health")
    spans = [event for event in one.get("/api/v1/trace?seconds=100").json()["traceEvents"] if event["ph"] == "X"]
    assert 1 <= len(spans) <= 16, len(spans)  # Each thread's stripe holds this many.


@row("limits", "api_metadata.enabled")
def api_metadata(one):
    assert "meta" in one.get("/version").json()


def part_of_meta(name):
    @row("limits", f"api_metadata.{name}")
    def absent(one):
        assert name not in one.get("/version").json()["meta"]

    @row("alone", f"api_metadata.{name} (default)")
    def present(one):
        assert name in one.get("/version").json()["meta"]


for part in ("processing_time", "gpu_resources", "trace_id", "version"):
    part_of_meta(part)


# ---- server, auth ----

def address(one):
    host, port = one.url.split("://")[1].split(":")
    return host, int(port)


def closed_after(one, sent):
    """Returns the seconds until the server closes a connection that says no more than this."""
    with socket.create_connection(address(one), timeout=30) as connection:
        connection.sendall(sent)
        begin = time.monotonic()
        while connection.recv(4096):
            pass
        return time.monotonic() - begin


@row("limits", "server.host", "server.port")
def host_and_port(one):
    assert one.url == f"http://127.0.0.2:{one.config['server']['port']}"


@row("alone", "server.tls_cert", "server.tls_key")
def tls(one):
    assert one.url.startswith("https://") and one.get("/health").status_code == 200
    refused({"server": {"tls_cert": str(one.files.cert)}}, words=["tls_key"])


@row("limits", "server.cors_origins")
def cors_origins(one):
    for origin, allowed in (("https://a.example", "https://a.example"), ("https://b.example", None)):
        assert one.get("/version", headers={"Origin": origin}).headers.get("Access-Control-Allow-Origin") == allowed


def thread_count(one):
    return len(list(pathlib.Path(f"/proc/{one.pid}/task").iterdir()))


@row("threads", "server.io_threads", "server.text_threads")
def thread_counts(one):
    """Two servers that differ in nothing but one of the two settings."""
    count = thread_count(one)
    for name, more in (("io_threads", 5), ("text_threads", 7)):
        config = json.loads(json.dumps(one.config))
        config["server"][name] += more
        other = Group(one.files, config, "--model", str(one.files.tiny))
        try:
            assert thread_count(other) == count + more, name
        finally:
            other.close()


@row("limits", "server.connections_max")
def connections_max(one):
    held = [socket.create_connection(address(one), timeout=30) for _ in range(24)]
    try:
        def is_full():
            with socket.create_connection(address(one), timeout=30) as more:
                more.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                return more.recv(100).startswith(b"HTTP/1.1 503")
        until(is_full, 5)
    finally:
        for connection in held:
            connection.close()
    until(lambda: one.get("/health").status_code == 200)


@row("limits", "server.body_bytes_max")
def body_bytes_max(one):
    assert one.predict(text="x" * 5000).status_code == 413


@row("limits", "server.header_bytes_max")
def header_bytes_max(one):
    assert one.get("/version", headers={"X-Long": "x" * 3000}).status_code == 431


@row("limits", "server.header_count_max")
def header_count_max(one):
    assert one.get("/version", headers={f"X-{i}": "x" for i in range(20)}).status_code == 431


@row("limits", "server.target_bytes_max")
def target_bytes_max(one):
    assert one.get("/version?" + "x" * 400).status_code == 414


@row("limits", "server.json_depth_max")
def json_depth_max(one):
    deep = "[" * 8 + "]" * 8
    answer = one.call("POST", "/api/v1/predict", data='{"text": "x", "y": %s}' % deep, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and "deep" in answer.text, answer.text


@row("limits", "server.batch_items_max")
def batch_items_max(one):
    answer = one.post("/api/v1/batch_predict", {"batch": [{"text": "a"}] * 4})
    assert answer.status_code == 400 and "1 to 3" in answer.text, answer.text


@row("limits", "server.list_limit_max")
def list_limit_max(one):
    for _ in range(3):
        one.run(max_length=1)
    answer = one.get("/api/v1/tasks?limit=100").json()
    assert len(answer["tasks"]) == 2 and answer["total"] >= 3


def upload(one, data, name="in.jsonl"):
    return one.call("POST", "/v1/files", files={"file": (name, data)}, data={"purpose": "batch"})


def lines(count):
    request = {"method": "POST", "url": "/v1/completions", "body": {"model": "m", "prompt": "x", "max_tokens": 40}}
    return "".join(json.dumps({"custom_id": str(i), **request}) + "\n" for i in range(count)).encode()


@row("limits", "server.file_bytes_max")
def file_bytes_max(one):
    assert upload(one, b"x" * 1500).status_code == 413


@row("limits", "server.files_max")
def files_max(one):
    answers = [upload(one, b"x") for _ in range(5)]
    codes = [answer.status_code for answer in answers]
    assert codes[0] == 200 and codes[-1] != 200 and "4" in answers[-1].text, answers[-1].text
    for answer in answers:
        if answer.status_code == 200:
            one.call("DELETE", f"/v1/files/{answer.json()['id']}")


@row("alone", "server.files_bytes_max")
def files_bytes_max(one):
    first, second = upload(one, b"x" * (30 << 20)), upload(one, b"x" * (12 << 20))
    assert first.status_code == 200 and second.status_code >= 400, second.text
    assert one.call("DELETE", f"/v1/files/{first.json()['id']}").status_code == 200


def batch(one, count):
    file = upload(one, lines(count)).json()["id"]
    return one.post("/v1/batches", {"input_file_id": file, "endpoint": "/v1/completions", "completion_window": "24h"})


def over(one, batch_id):
    def ended():
        state = one.get(f"/v1/batches/{batch_id}").json()
        return state if state["status"] in ("completed", "failed", "cancelled", "expired") else None
    return until(ended)


@row("limits", "server.batch_lines_max")
def batch_lines_max(one):
    answer = batch(one, 2).json()
    ended = over(one, answer["id"])
    assert ended["status"] == "failed" and "1" in json.dumps(ended["errors"]), ended


@row("alone", "server.batches_max")
def batches_max(one):
    first = batch(one, 1).json()
    over(one, first["id"])
    second = batch(one, 1).json()
    over(one, second["id"])
    assert one.get(f"/v1/batches/{first['id']}").status_code == 404, "the oldest ended one has gone"


@row("alone", "server.batch_parallel_max")
def batch_parallel_max(one):
    """The trace shows one line after the other."""
    begin = time.time()
    assert over(one, batch(one, 4).json()["id"])["status"] == "completed"
    events = one.get("/api/v1/trace").json()["traceEvents"]
    spans = sorted((event["ts"], event["ts"] + event["dur"]) for event in events if event["ph"] == "X" and event["cat"] == "control")
    own = [span for span in spans if span[0] >= begin * 1e6]
    runs = [span for span in own if span[1] - span[0] > 0]
    assert len(runs) >= 4 and all(a[1] <= b[0] for a, b in zip(runs, runs[1:])), runs


@row("limits", "server.idle_timeout_s")
def idle_timeout(one):
    assert 0.5 < closed_after(one, b"") < 10


@row("limits", "server.slow_sender_timeout_s")
def slow_sender_timeout(one):
    assert 0.5 < closed_after(one, b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer direct\r\nContent-Length: 100\r\n\r\n{") < 10


@row("alone", "server.slow_reader_timeout_s")
def slow_reader_timeout(one):
    """A large answer that is not read for 2 s does not arrive in full."""
    size = 30 << 20
    file = upload(one, b"x" * size).json()["id"]
    answer = one.get(f"/v1/files/{file}/content", stream=True)
    time.sleep(2.5)
    read = 0
    try:
        for chunk in answer.iter_content(1 << 16):
            read += len(chunk)
    except requests.exceptions.RequestException:
        pass
    assert read < size
    one.call("DELETE", f"/v1/files/{file}")


@row("limits", "server.wait_max_s")
def wait_max(one):
    task = one.predict(max_length=200).json()["task_id"]
    begin = time.monotonic()
    one.task(task, 30)
    assert time.monotonic() - begin < 5
    one.cancel(task)


@row(None, "server.graceful_shutdown_timeout_s")
def graceful_shutdown_timeout(files):
    one = Group(files, {"server": {"graceful_shutdown_timeout_s": 0.5}, "gpu": {"memory_threshold": 0}, "engine": {"devices": "sim:h100:1"}},
                "--model", str(files.tiny))
    try:
        one.predict()  # This task waits for ever.
        begin = time.monotonic()
        one.server.stop()
        assert time.monotonic() - begin < 10 and "up to 0.5 s" in one.log()
    finally:
        one.close()


@row("limits", "auth.keys[].name", "auth.keys[].key")
def keys(one):
    answer = one.post("/api/v1/config/gpu/strategy", {"strategy": "random"}, key="key-of-anna")
    assert answer.status_code == 403 and "'anna'" in answer.text, answer.text
    assert one.get("/version", key="key-of-nobody").status_code == 401


@row("limits", "auth.keys[].role")
def roles(one):
    assert one.get("/version", key="key-of-anna").status_code == 200
    assert one.get("/version", key="key-of-watcher").status_code == 403


@row("limits", "auth.keys_file")
def keys_file(one):
    assert one.get("/version", key="from-file").status_code == 200


@row("limits", "auth.api_keys")
def api_keys(one):
    assert one.get("/version", key="direct").status_code == 200


# ---- models ----

@row("limits", "models[].name", "deployments[].model")
def model_name(one):
    assert "tiny" in [model["id"] for model in one.get("/v1/models").json()["data"]]
    refused({"deployments": [{"name": "a", "model": "teeny"}]}, words=["deployments[0].model", "teeny"])


@row("limits", "models[].path")
def model_path(one):
    assert one.post("/tokenize", {"prompt": "hello"}).json()["count"] == 5, "a token a byte: the small model's"
    refused({"models": {"a": {"path": "/nowhere"}}}, words=["models[0].path", "/nowhere"])


@row("cpu", "models[].tokenizer")
def tokenizer(one):
    assert one.post("/tokenize", {"model": "second", "prompt": "ab"}).json()["tokens"] == [257]
    answer = one.post("/v1/completions", {"model": "second", "prompt": "ab", "max_tokens": 2, "logit_bias": {"257": 100}}).json()
    assert "ab" in answer["choices"][0]["text"] and answer["usage"]["prompt_tokens"] == 1, "the replica has it too"


@row("cpu", "models[].chat_template")
def chat_template(one):
    answer = one.post("/v1/chat/completions", {"model": "second", "messages": [{"role": "user", "content": "hey"}], "max_tokens": 1}).json()
    assert answer["usage"]["prompt_tokens"] == len("<user>hey"), answer
    wrong = one.files.root / "wrong.jinja"
    wrong.write_text("{% for %}")
    model = {"path": str(one.files.tiny), "chat_template": str(wrong)}
    refused({"models": {"a": model}, "engine": {"devices": "sim:h100:1"}}, "--model", "a", words=["chat_template", str(wrong)])


@row(None, "models[].draft_model")
def models_draft(files):
    refused({"models": {"a": {"path": str(files.tiny), "draft_model": "/nowhere"}}}, "--model", "a", words=["/nowhere"])


@row("cpu", "models[].adapters")
def models_adapters(one):
    assert one.deployment("second")["adapters"] == ["lawyer"]


@row(None, "models[].sha256")
def sha256(files):
    file = gguf_file(files)
    right = hashlib.sha256(file.read_bytes()).hexdigest()
    wrong = "0" * 63 + "1"
    said = refused({"models": {"a": {"path": str(file), "sha256": wrong}}, "engine": {"devices": "sim:h100:1"}}, "--model", "a")
    assert right in said and wrong in said
    for bad in (right[:-1], right[:-1] + "g"):
        refused({"models": {"a": {"path": str(file), "sha256": bad}}}, words=["models[0].sha256"])
    folder = {"path": str(files.tiny), "sha256": wrong}
    refused({"models": {"a": folder}, "engine": {"devices": "sim:h100:1"}}, "--model", "a", words=["several files"])
    one = Group(files, {"models": {"a": {"path": str(file), "sha256": right.upper()}}, "engine": {"devices": "sim:h100:1"}}, "--model", "a")
    one.close()
    assert "checksum is right" in one.last_log


# ---- deployments ----

@row("layouts", "deployments[].name")
def deployment_name(one):
    assert "guessing" in one.get("/api/v1/deployments").json()["deployments"]


@row("cpu", "deployments[].task_types")
def task_types(one):
    """The trace says whose task it was."""
    assert one.run(type="special", max_length=1)["status"] == "completed"
    spans = one.get("/api/v1/trace").json()["traceEvents"]
    assert "second" in [event["name"] for event in spans if event["ph"] == "X" and event["cat"] == "control"]


@row("layouts", "deployments[].num_replicas")
def num_replicas(one):
    assert len(one.deployment("replicas")["replicas"]) == 2 and len(one.deployment("usual")["replicas"]) == 1


@row("layouts", "deployments[].num_gpus")
def num_gpus(one):
    refused({"deployments": [{"name": "a", "model": "m", "num_gpus": 3}]}, words=["deployments[0].num_gpus", "is 3", "take 1"])
    assert one.replica("third")["kv_tokens"] < one.replica("usual")["kv_tokens"]


@row("layouts", "deployments[].tensor_parallel_size")
def own_tensor_parallel(one):
    assert len(one.replica("tensor")["devices"]) == 2


@row("layouts", "deployments[].pipeline_parallel_size")
def own_pipeline_parallel(one):
    assert len(one.replica("pipeline")["devices"]) == 2


@row(None, "engine.expert_parallel_size", "deployments[].expert_parallel_size")
def experts_of_a_dense_model(files):
    """Spread experts give the same bits (engine/layout_test.cc); a model without any, or ranks that form no such groups, are refused."""
    for devices in ("cpu:2:1:1GiB", "sim:h100:2"):
        engine = {"devices": devices, "tensor_parallel_size": 2, "expert_parallel_size": 2}
        refused({"engine": engine}, "--model", str(files.tiny), words=["expert_parallel_size is 2", "no experts"])
        refused({"engine": {"devices": devices}, "deployments": {"a": {
            "model": str(files.tiny), "num_replicas": 1, "tensor_parallel_size": 2, "expert_parallel_size": 2}}}, words=["no experts"])
        refused({"engine": {**engine, "expert_parallel_size": 3}}, "--model", str(files.tiny), words=["expert_parallel_size is 3"])


@row(None, "deployments[].pipeline_micro_batches")
def own_micro_batches(files):
    """The second stage keeps hidden states of as many steps as are on their way."""
    held = []
    for steps in (1, 16):
        one = Group(files, {"engine": {"devices": "cpu:2:1:1GiB"}, "deployments": {"a": {
            "model": str(files.tiny), "num_replicas": 1, "pipeline_parallel_size": 2, "pipeline_micro_batches": steps}}})
        held.append(one.get("/api/v1/gpus").json()["gpus"][1]["memory_used"])
        one.close()
    assert held[1] > held[0]
    refused({"deployments": {"a": {"model": str(files.tiny), "pipeline_micro_batches": 17}}}, words=["pipeline_micro_batches", "16"])


@row("layouts", "deployments[].gpu_memory_utilization")
def own_memory_utilization(one):
    assert one.replica("less")["kv_tokens"] < one.replica("usual")["kv_tokens"]


@row("layouts", "deployments[].max_model_len")
def own_max_model_len(one):
    assert one.replica("short")["max_model_len"] == 64 and one.replica("usual")["max_model_len"] == 256


@row(None, "deployments[].dtype", "engine.dtype")
def dtype(files):
    model = {"models": {"a": {"path": str(files.tiny)}}, "engine": {"devices": "sim:h100:1"}}
    for where in ({"engine": {"devices": "sim:h100:1", "dtype": "f16"}}, {"deployments": {"d": {"model": "a", "dtype": "f16"}}}):
        refused({**model, **where}, "--model", "a", words=["dtype", "f16", "F32"])
    refused(model, "--model", "a", "--dtype", "bf16", words=["dtype", "bf16"])


@row("layouts", "deployments[].kv_dtype")
def own_kv_dtype(one):
    assert one.replica("wide")["kv_tokens"] < one.replica("usual")["kv_tokens"]


REPEATED = "one two three four five six seven eight nine ten " * 3


def same_prompt_twice(one, model, **more):
    for _ in range(2):
        answer = one.post("/v1/completions", {"model": model, "prompt": REPEATED, "max_tokens": 8, **more})
        assert answer.status_code == 200, answer.text


def own_metric(one, name, deployment):
    text = one.get("/metrics").text
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name + "{") and f'deployment="{deployment}"' in line)


@row("layouts", "deployments[].enable_prefix_caching")
def own_prefix_caching(one):
    hits = "altlas_kv_prefix_hit_tokens_total"
    for model in ("plain", "forgetful"):
        same_prompt_twice(one, model)
    until(lambda: own_metric(one, hits, "usual") > 0)
    assert own_metric(one, hits, "forgetful") == 0


@row("layouts", "deployments[].kv_tokens_max")
def own_kv_tokens_max(one):
    assert one.replica("few")["kv_tokens"] == 320


@row(None, "deployments[].swap_bytes", "engine.swap_bytes")
def swap_bytes(files):
    """More swap than the host has; tests/test_kv_budget.py tests what comes back from there."""
    config = {"engine": {"devices": "cpu:1:1:1GiB", "kv_block_tokens": 1024}, "models": {"a": {"path": str(files.tiny)}}}
    own = {**config, "deployments": {"d": {"model": "a", "swap_bytes": "1000TiB"}}}
    refused(own, words=["swap_bytes: the host has no"])
    config["engine"]["swap_bytes"] = "1000TiB"
    refused(config, "--model", "a", words=["swap_bytes: the host has no"])


def guesses(one, deployment, model=None):
    """Returns the tokens that were guessed ahead while a deployment continues a text that repeats itself."""
    body = {"prompt": "abcdefgh" * 8, "max_tokens": 50, "ignore_eos": True, **({"model": model} if model else {})}
    assert one.post("/v1/completions", body).status_code == 200
    return own_metric(one, "altlas_engine_speculative_drafted_tokens_total", deployment)


@row("layouts", "deployments[].speculative_tokens")
def own_speculative_tokens(one):
    until(lambda: guesses(one, "guessing", "guessing") > 0)
    assert guesses(one, "usual", "plain") == 0


@row(None, "deployments[].draft_model", "engine.draft_model")
def draft_models(files):
    refused({"models": {"a": {"path": str(files.tiny)}}, "deployments": {"d": {"model": "a", "draft_model": "/nowhere"}}}, words=["/nowhere"])
    refused({"engine": {"draft_model": "/nowhere"}}, "--model", str(files.tiny), words=["/nowhere"])


@row("layouts", "deployments[].max_ongoing_requests", "deployments[].max_queued_requests")
def own_requests(one):
    """One request runs, one waits, the third is one too many; the worker stands still meanwhile."""
    pid = one.worker("one")
    os.kill(pid, signal.SIGSTOP)
    try:
        answers = [one.predict(model="one") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429], [answer.text for answer in answers]
        assert [answer.json()["status"] for answer in answers[:2]] == ["running", "queued"]
    finally:
        os.kill(pid, signal.SIGCONT)
    for answer in answers[:2]:
        assert one.task(answer.json()["task_id"])["status"] == "completed"


@row("layouts", "deployments[].health_check_timeout_s")
def health_check_timeout(one):
    pid = one.worker("stuck")
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: one.replica("stuck")["restarts"] > 0, 15)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@row(None, "deployments[].startup_timeout_s", "engine.repack_cache")
def startup_timeout(files):
    """Six replicas that pack a model anew on one core take more than the second that they have, also on a fast one; nothing of it
    is kept where that is switched off."""
    cache = files.root / "cache"
    cache.mkdir(exist_ok=True)
    file = gguf_file(files)
    config = {"models": {"a": {"path": str(file)}}, "deployments": {"d": {"model": "a", "num_replicas": 6, "startup_timeout_s": 1}},
              "engine": {"devices": "cpu:1:1", "repack_cache": False}}
    refused(config, words=["startup_timeout_s, 1.0 s"], env={"ALTLAS_CACHE": str(cache)}, code=1)
    assert not (cache / "panels").exists()


# ---- engine ----

@row("engine", "engine.devices")
def devices(one):
    assert [gpu["kind"] for gpu in one.get("/api/v1/gpus").json()["gpus"]] == ["sim"] * 4


@row("engine", "engine.tensor_parallel_size", "engine.pipeline_parallel_size")
def parallel_sizes(one):
    assert len(one.replica("default")["devices"]) == 4
    for name in ("tensor", "pipeline"):
        wrong = {"engine": {"devices": "sim:h100:2", f"{name}_parallel_size": 3}}
        refused(wrong, "--model", str(one.files.tiny), words=[f"{name}_parallel_size 3", "2"])


@row("shares", "engine.tensor_split")
def tensor_split(one):
    """All that can be cut of so small a model falls to the first rank, but for one head."""
    large, small = [gpu["memory_used"] for gpu in one.get("/api/v1/gpus").json()["gpus"]]
    assert large > small
    refused({"engine": {"devices": "cpu:2:1", "tensor_parallel_size": 2, "tensor_split": [1]}}, "--model", str(one.files.tiny),
            words=["tensor_split", "1 shares"])
    old = run_cli("validate-config", "/dev/stdin", input="engine:\n  tensor_parallel_size: 2\n  tensor_parallel_shares: [3, 1]\n")
    assert "tensor_split" in old.stdout + old.stderr


@row("alone", "engine.in_process_workers")
def in_process_workers(one):
    assert one.replica("default")["pid"] == one.pid


@row("cpu", "engine.simd")
def simd(one):
    assert one.replica("first")["simd"] == "scalar"


@row("memory", "engine.gpu_memory_utilization", "engine.kv_dtype", "engine.step_tokens_max")
def what_memory_leaves(one):
    """Twins that each leave out one of the three have more room for the KV cache."""
    tokens = one.replica("default")["kv_tokens"]
    for name in ("gpu_memory_utilization", "kv_dtype", "step_tokens_max"):
        config = {"engine": {key: value for key, value in one.config["engine"].items() if key != name}}
        twin = Group(one.files, config, "--model", str(one.files.tiny))
        try:
            assert twin.replica("default")["kv_tokens"] > tokens, name
        finally:
            twin.close()


@row("engine", "engine.max_model_len")
def max_model_len(one):
    assert one.replica("default")["max_model_len"] == 64
    assert one.post("/tokenize", {"prompt": "x"}).json()["max_model_len"] == 64


@row("cpu", "engine.kv_block_tokens", "engine.kv_tokens_max")
def kv_blocks(one):
    assert one.replica("first")["kv_tokens"] in (96, 128), "blocks of 32, at most 100 tokens"


@row("cpu", "engine.max_sequences")
def max_sequences(one):
    assert one.replica("first")["max_sequences"] == 3


@row("engine", "engine.enable_prefix_caching")
def prefix_caching(one):
    prompt = "one two three four five six seven eight "
    for _ in range(2):
        assert one.post("/v1/completions", {"prompt": prompt, "max_tokens": 4}).status_code == 200
    assert one.metric("altlas_kv_prefix_hit_tokens_total") == 0


@row("place", "engine.speculative_tokens")
def speculative_tokens(one):
    until(lambda: guesses(one, "default") > 0)


@row("cpu", "engine.lora_modules")
def lora_modules(one):
    assert one.deployment("first")["adapters"][0] == "poet"


@row("cpu", "engine.lora_folders", "engine.max_loras")
def lora_folders(one):
    load = {"lora_name": "third", "lora_path": str(one.files.adapter)}
    assert one.post("/v1/load_lora_adapter", load).status_code == 200
    answer = one.post("/v1/load_lora_adapter", {**load, "lora_name": "fourth"})
    assert answer.status_code == 400 and "2" in answer.text, answer.text
    assert one.post("/v1/unload_lora_adapter", {"lora_name": "third"}).status_code == 200
    elsewhere = one.post("/v1/load_lora_adapter", {"lora_name": "fifth", "lora_path": "/etc"})
    assert elsewhere.status_code in (400, 403) and "lora_folders" in elsewhere.text, elsewhere.text


@row(None, "engine.max_lora_rank")
def max_lora_rank(files):
    refused({"engine": {"devices": "cpu:1:1:1GiB", "max_lora_rank": 3, "lora_modules": {"poet": str(files.adapter)}}},
            "--model", str(files.tiny), words=["rank 4", "3"])


@row("cpu", "engine.tool_call_parser")
def tool_call_parser(one):
    """A call in the named notation is a call; one in the usual notation is text."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}}
    for said, calls in ((r'\[TOOL_CALLS\]\[\{"name":"f","arguments":\{\}\}\]', 1),
                        (r'<tool_call>\{"name":"f","arguments":\{\}\}</tool_call>', 0)):
        answer = one.post("/v1/chat/completions", {
            "model": "second", "messages": [{"role": "user", "content": "x"}], "tools": [tool], "max_tokens": 100,
            "structured_outputs": {"regex": said}}).json()
        assert len(answer["choices"][0]["message"].get("tool_calls") or []) == calls, answer


# ---- store ----

@row("layouts", "store.url")
def store_url(one):
    assert (one.files.root / "own.db").exists() and not (pathlib.Path(one.server.data_dir) / "journal.db").exists()
    for bad in ("postgresql://me@127.0.0.1:1/x", "mysql://x", "sqlite:"):
        refused({"store": {"url": bad}}, words=["store.url"])


@row("cpu", "store.data_dir")
def data_dir(one):
    assert (one.files.root / "own-data" / "journal.db").exists()


@row("layouts", "store.tokens")
def store_tokens(one):
    task = one.run(max_length=30, model="plain")
    assert task["status"] == "completed"
    copy = one.files.root / "copy.db"  # The server has a lock on its own journal.
    for end in ("", "-wal"):
        shutil.copy(f"{one.files.root}/own.db{end}", f"{copy}{end}")
    with sqlite3.connect(copy) as store:
        rows = store.execute("SELECT count(*) FROM event WHERE hex(task) = ?", (task["task_id"].upper(),)).fetchone()[0]
    assert rows == 3, "accepted, started, completed; no tokens"


@row("queue", "store.tasks_kept_max")
def tasks_kept_max(one):
    ids = [one.predict(deadline_s=0.01).json()["task_id"] for _ in range(3)]
    for task_id in ids:
        one.task(task_id)
    one.cancel(one.predict().json()["task_id"])
    until(lambda: one.get(f"/api/v1/task/{ids[0]}").status_code == 404)


@row("threads", "store.tasks_kept_bytes_max")
def tasks_kept_bytes_max(one):
    tasks = [one.run(max_length=100) for _ in range(4)]
    assert all(len(task["result"]["text"].encode()) > 80 for task in tasks), tasks
    until(lambda: one.get(f"/api/v1/task/{tasks[0]['task_id']}").status_code == 404)
    assert one.get(f"/api/v1/task/{tasks[-1]['task_id']}").status_code == 200


@row("threads", "store.idempotency_key_ttl_s")
def idempotency_key_ttl_s(one):
    def again():
        return one.predict(text="x", max_length=1, idempotency_key="again").json()["task_id"]
    first = again()
    assert again() == first
    until(lambda: again() != first)


@row("layouts", "store.event_log_bytes_max")
def event_log_bytes_max(one):
    sizes = {path.name: path.stat().st_size for path in pathlib.Path(one.server.data_dir).rglob("*event*") if path.is_file()}
    assert sizes and max(sizes.values()) < 16384, sizes


# ---- The table is whole ----

@pytest.mark.parametrize("path", sorted(ROWS))
def test_setting(path, groups, files):
    name, check = ROWS[path]
    if name is None:
        return check(files)
    if path in SETTINGS and "[]" not in path and name in groups and hasattr(groups[name], "config"):
        value = groups[name].config
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        assert value is None or value != SETTINGS[path][0].get("default"), "the value is the default"
    check(groups[name])


def test_every_setting_has_a_row_or_a_mark():
    read = {path for path, (_, mark) in SETTINGS.items() if not mark}
    rows = {path for path in ROWS if not path.endswith("(default)")} | set(ELSEWHERE)
    assert read - rows == set(), "a setting without a row: say what it does, or mark it not_yet"
    assert rows - read == set(), "a row without a setting, or for one that is marked not_yet"
    for path, (file, text) in ELSEWHERE.items():
        assert text in (ROOT / file).read_text(), path


def other_value(field):
    """Returns a value that is not the default."""
    default = field.get("default")
    for form in inner(field):
        kind = form.get("type", ["string"] if "enum" not in form else None)
        kind = kind[0] if isinstance(kind, list) else kind
        if "enum" in form:
            return next(one for one in form["enum"] if one != default)
        if kind == "boolean":
            return not default
        if kind in ("integer", "number"):
            low = form.get("minimum", 0)
            return next(one for one in (low + 1, low + 2) if one != default)
        if kind == "array":
            return [1.5] if any(one.get("type") == "number" for one in inner(form["items"])) else ["x:1"]
        if kind == "object":
            return {"x": 1}
        if kind == "string":
            return "x"
    raise AssertionError(field)


def test_what_nothing_reads_is_an_error_away_from_its_default(tmp_path):
    marked = {path: field for path, (field, mark) in SETTINGS.items() if mark}
    assert len(marked) > 15
    listed = run_cli("validate-config", "--not-yet", check=True).stdout.splitlines()
    config = {"deployments": [{"name": "a", "model": "m"}], "spot": {"pools": [{"name": "p"}]}}
    for path, field in marked.items():
        assert any(line.startswith(path.split("[]")[0]) for line in listed), path
        if path.startswith("spot.pools"):
            continue  # It is inside a setting that is refused as a whole.
        section, name = path.rsplit(".", 1)
        place = config["deployments"][0] if section == "deployments[]" else config
        for part in [] if section == "deployments[]" else section.split("."):
            place = place.setdefault(part, {})
        place[name] = other_value(field)
    file = tmp_path / "altlas.yaml"
    file.write_text(yaml.safe_dump(config))
    done = run_cli("validate-config", str(file))
    assert done.returncode == 2
    for path in marked:
        if path.startswith("spot.pools[]"):
            continue
        shown = path.replace("[]", "[0]")
        assert any(f" {shown}: nothing reads it yet" in line for line in done.stderr.splitlines()), (path, done.stderr)


def test_defaults_written_out_are_no_error(tmp_path):
    """A file with every setting at its default, as other programs write them, is accepted."""
    config = {}
    for path, (field, _) in SETTINGS.items():
        if "[]" in path or "default" not in field or field["default"] in (None, ""):
            continue
        place = config
        *sections, name = path.split(".")
        for part in sections:
            place = place.setdefault(part, {})
        place[name] = field["default"]
    config["deployments"] = [{"name": "a", "model": "qwen2.5-coder-0.5b-instruct", "num_cpus": 0, "weight": 1, "health_check_period_s": 10}]
    file = tmp_path / "altlas.yaml"
    file.write_text(yaml.safe_dump(config))
    done = run_cli("validate-config", str(file))
    assert done.returncode == 0, done.stderr
