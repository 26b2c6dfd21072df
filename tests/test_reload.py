"""One row per setting that SIGHUP can change: a new value in the file, the signal, and what then differs."""
import json
import signal
import subprocess
import sys
import time

import pytest
import yaml

from conftest import run_cli, until
from settings_servers import Files, Group

BASE = {
    "auth": {"api_keys": ["root"], "keys": [{"name": "anna", "key": "key-of-anna"}]},
    "engine": {"devices": "cpu:2:1:1GiB"},
}


class Live(Group):
    """A server whose file changes while it runs."""

    def reload(self, config, says="configuration read again"):
        if not isinstance(config, str):
            config = yaml.safe_dump(config)
        before = self.log().count(says)
        self.config_path.write_text(config)
        self.server.process.send_signal(signal.SIGHUP)
        until(lambda: self.log().count(says) > before)
        return self.log().splitlines()[-1]

    def changed(self, path, value):
        config = json.loads(json.dumps(BASE))
        place = config
        *sections, name = path.split(".")
        for part in sections:
            place = place.setdefault(part, {})
        place[name] = value
        return config


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    files = Files(tmp_path_factory.mktemp("reload"))
    one = Live(files, BASE, "--model", str(files.tiny), key="root")
    yield one
    one.close()


ROWS = {}


def row(path, value):
    def keep(check):
        ROWS[path] = (value, check)
        return check
    return keep


def queued(one, **body):
    """Returns the id of a task that had to wait."""
    answer = one.predict(**body).json()
    assert answer["status"] == "queued", answer
    return answer["task_id"]


@row("gpu.memory_threshold", 0)
def memory_threshold(one):
    one.cancel(queued(one))


@row("gpu.utilization_threshold", 0)
def utilization_threshold(one):
    """Foreign load counts on a cpu device from the reload on that names the threshold."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])

    def waits():
        answer = one.predict(max_length=1).json()
        if answer["status"] == "queued":
            one.cancel(answer["task_id"])
        return answer["status"] == "queued"
    try:
        until(waits)
    finally:
        busy.kill()
        busy.wait()


@row("gpu.max_temperature", 30)
def max_temperature(one):
    one.cancel(queued(one))


@row("gpu.multi_gpu.default_strategy", "round_robin")
def default_strategy(one):
    assert one.get("/api/v1/config/gpu/strategy").json()["strategy"] == "round_robin"


@row("gpu.multi_gpu.strategies", ["least_loaded"])
def strategies(one):
    assert one.predict(gpu_options={"strategy": "random"}).status_code == 400


@row("gpu.multi_gpu.task_specific_mappings", {"special": "gpu_1"})
def task_specific_mappings(one):
    assert [one.predict(type="special", max_length=1, gpu_options={"strategy": "task_specific"}).json()["gpu_id"] for _ in range(2)] == [1, 1]


@row("gpu.multi_gpu.batch_split", False)
def batch_split(one):
    assert "task_ids" in one.post("/api/v1/batch_predict", {"batch": [{"text": "a"}] * 2}).json()


@row("gpu.multi_gpu.min_batch_size_per_gpu", 2)
def min_batch_size_per_gpu(one):
    tasks = one.post("/api/v1/batch_predict", {"batch": [{"text": "a", "max_length": 1}] * 2}).json()["tasks"]
    assert len({task["gpu_id"] for task in tasks}) == 1


@row("gpu.multi_gpu.max_concurrent_tasks_per_gpu", 1)
def max_concurrent_tasks(one):
    batch = {"batch": [{"text": "a", "max_length": 50}] * 4, "gpu_options": {"specific_gpu_id": 0}}
    tasks = one.post("/api/v1/batch_predict", batch).json()["tasks"]
    assert [task["status"] for task in tasks] == ["running"] + ["queued"] * 3, tasks
    one.cancel(*(task["task_id"] for task in tasks))


@row("gpu.multi_gpu.default_queue_priority", "high")
def default_queue_priority(one):
    closed = one.changed("gpu.multi_gpu.default_queue_priority", "high")
    closed.setdefault("gpu", {})["memory_threshold"] = 0
    one.reload(closed)
    normal, own = queued(one, priority="normal", gpu_options={"specific_gpu_id": 0}), queued(one, gpu_options={"specific_gpu_id": 0})
    assert one.task(own, 0)["queue_position"] == 1
    one.cancel(normal, own)


@row("gpu.multi_gpu.max_queue_size", 1)
def max_queue_size(one):
    closed = one.changed("gpu.multi_gpu.max_queue_size", 1)
    closed.setdefault("gpu", {})["memory_threshold"] = 0
    one.reload(closed)
    first = queued(one)
    assert one.predict().status_code == 429
    one.cancel(first)


@row("gpu.multi_gpu.queue_timeout", 0.2)
def queue_timeout(one):
    closed = one.changed("gpu.multi_gpu.queue_timeout", 0.2)
    closed.setdefault("gpu", {})["memory_threshold"] = 0
    one.reload(closed)
    assert "the limit is 0.200 s" in one.task(queued(one))["error"]


@row("monitoring.interval", 0.05)
def interval(one):
    """Six changes of a sensor, each seen before the next: at one per second that takes more than 5 s."""
    begin = time.monotonic()
    for celsius in (51, 52, 53, 54, 55, 40):
        one.files.heat(celsius)
        until(lambda: one.get("/api/v1/gpus").json()["gpus"][0]["temperature"] == celsius)
    assert time.monotonic() - begin < 4


@row("monitoring.log_level", "debug")
def log_level(one):
    """The log says so at info in between: the level was taken, and stays."""
    quiet = one.changed("monitoring.log_level", "error")
    one.reload(quiet)
    lines = len(one.log().splitlines())
    one.config_path.write_text("server: [")
    one.server.process.send_signal(signal.SIGHUP)
    until(lambda: "not taken" in one.log())
    one.reload(BASE)
    assert len(one.log().splitlines()) > lines


def hides(path, name):
    @row(f"monitoring.{path}", False)
    def hidden(one):
        one.run()
        assert f"\n{name}{{" not in one.get("/metrics").text
        one.reload(BASE)
        assert f"\n{name}" in one.get("/metrics").text


hides("detailed_gpu_metrics", "DCGM_FI_DEV_FB_USED")
hides("task_metrics", "altlas_control_tasks_total")
hides("queue_metrics", "altlas_control_queue_seconds_count")


@row("monitoring.inference_extension_metrics", True)
def inference_extension_metrics(one):
    assert "\nvllm:num_requests_waiting{" in one.get("/metrics").text
    one.reload(BASE)
    assert "vllm:" not in one.get("/metrics").text


@row("api_metadata.enabled", True)
def api_metadata(one):
    assert "meta" in one.get("/version").json()


def part_of_meta(name):
    @row(f"api_metadata.{name}", False)
    def absent(one):
        config = one.changed(f"api_metadata.{name}", False)
        config["api_metadata"]["enabled"] = True
        one.reload(config)
        meta = one.get("/version").json()["meta"]
        assert name not in meta and len(meta) == 5, meta


for part in ("processing_time", "gpu_resources", "trace_id", "version"):
    part_of_meta(part)


@row("server.cors_origins", ["https://a.example"])
def cors_origins(one):
    answer = one.get("/version", headers={"Origin": "https://a.example"})
    assert answer.headers.get("Access-Control-Allow-Origin") == "https://a.example"
    early = one.get("/" + "x" * 10000, headers={"Origin": "https://a.example"})
    assert early.status_code == 414 and early.headers.get("Access-Control-Allow-Origin") == "https://a.example"


@row("server.graceful_shutdown_timeout_s", 0.25)
def graceful_shutdown_timeout(one):
    other = Live(one.files, BASE, "--model", str(one.files.tiny), key="root")
    try:
        other.reload(one.changed("server.graceful_shutdown_timeout_s", 0.25))
        other.server.stop()
        assert "up to 0.25 s" in other.log()
    finally:
        other.close()


@row("auth.keys", [{"name": "bert", "key": "key-of-bert"}])
def keys(one):
    for key, code in (("key-of-anna", 401), ("key-of-bert", 200), ("root", 200)):
        assert one.get("/version", key=key).status_code == code, key
    assert "auth.keys" in one.log() and "key-of-bert" not in one.log()


@row("auth.keys_file", "KEYS")
def keys_file(one):
    assert one.get("/version", key="from-file").status_code == 200
    one.files.keys.write_text("other\n")
    said = one.reload(one.config_path.read_text())
    assert "keys (3 now)" in said, said
    for key, code in (("from-file", 401), ("other", 200)):
        assert one.get("/version", key=key).status_code == code, key
    one.files.keys.unlink()
    assert "auth.keys_file" in one.reload(one.config_path.read_text(), says="is not taken")
    assert one.get("/version", key="other").status_code == 200, "the old ones go on"
    one.files.keys.write_text("from-file\n")


@row("auth.api_keys", ["root", "second"])
def api_keys(one):
    assert one.get("/version", key="second").status_code == 200


@row("store.tasks_kept_max", 1)
def tasks_kept_max(one):
    ids = [one.run(max_length=1)["task_id"] for _ in range(3)]
    until(lambda: one.get(f"/api/v1/task/{ids[0]}").status_code == 404)


@pytest.mark.parametrize("path", sorted(ROWS))
def test_reload(path, server):
    value, check = ROWS[path]
    said = server.reload(server.changed(path, str(server.files.keys) if value == "KEYS" else value))
    assert path in said and "taken" in said, said
    try:
        check(server)
    finally:
        said = server.reload(BASE)


def test_a_revoked_key_answers_no_more_and_comes_back(server):
    for keys, code in (([], 401), (BASE["auth"]["keys"], 200)):
        server.reload(server.changed("auth.keys", keys))
        assert server.get("/version", key="key-of-anna").status_code == code


def test_every_mark_has_a_row():
    schema = json.loads(run_cli("validate-config", "--schema", check=True).stdout)

    def marked(node, path):
        for name, field in node.get("properties", {}).items():
            at = f"{path}.{name}" if path else name
            if field.get("x-reload"):
                yield at
            for form in field["anyOf"]:
                yield from marked(form, at)

    assert set(marked(schema, "")) == set(ROWS)


def test_what_needs_a_restart_is_named(server):
    config = server.changed("server.connections_max", 7)
    config["engine"]["max_sequences"] = 5
    server.reload(config)
    for path in ("server.connections_max", "engine.max_sequences"):
        assert f"{path} changes with a restart only" in server.log()
    server.reload(BASE)


@pytest.mark.parametrize("config, words", [
    ("server: [", ["altlas.yaml:"]),
    ("gpu: {max_temperature: 999}", ["max_temperature"]),
    ({**BASE, "gpu": {"multi_gpu": {"task_specific_mappings": {"x": "gpu_9"}}}}, ["gpu_9|device 9"]),
    ({**BASE, "auth": {"api_keys": ["root"], "keys_file": "/nowhere"}}, ["/nowhere"]),
])
def test_a_wrong_file_changes_nothing(server, config, words):
    server.reload(config, says="is not taken")
    for word in words:
        assert any(one in server.log() for one in word.split("|")), server.log()
    assert server.get("/version", key="key-of-anna").status_code == 200
    server.reload(BASE)
