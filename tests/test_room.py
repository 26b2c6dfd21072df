"""The server keeps what it promises: requests that can never have room, batches that end, shared devices."""
import concurrent.futures
import json

import pytest

from conftest import run_cli

SMALL = "gpu: {multi_gpu: {max_queue_size: 10}}\nengine: {max_sequences: 4}\nserver: {batch_parallel_max: 8}\n"


@pytest.fixture(scope="module")
def small_server():
    """There is room for 14 tasks at once: 4 run, 10 wait."""
    from conftest import Server
    server = Server("--devices", "sim:h100:1", "--max-model-len", "512", config=SMALL)
    yield server
    server.stop()
    server.close()


def ask(server, route, count, **more):
    """Sends a request that makes `count` tasks."""
    chat = [{"role": "user", "content": "Hi"}]
    bodies = {
        "/v1/completions": {"prompt": "x", "max_tokens": 4, "n": count},
        "/v1/completions prompts": {"prompt": ["x"] * count, "max_tokens": 4},
        "/v1/completions both": {"prompt": ["x", "y"], "max_tokens": 4, "n": (count + 1) // 2},
        "/v1/chat/completions": {"messages": chat, "max_tokens": 4, "n": count},
        "/v1/chat/completions stream": {"messages": chat, "max_tokens": 4, "n": count, "stream": True},
        "/v1/embeddings": {"input": ["x"] * count},
        "/api/v1/batch_predict": {"batch": [{"text": "x", "max_length": 4}] * count},
        "/api/v1/batch_predict unsplit": {"batch": [{"text": "x", "max_length": 4}] * count, "gpu_options": {"batch_split": False}},
        "/api/v1/batch_predict one device": {"batch": [{"text": "x", "max_length": 4}] * count, "gpu_options": {"specific_gpu_id": 0}},
    }
    return server.post(route.split()[0], {**bodies[route], **more})


ROUTES = ["/v1/completions", "/v1/completions prompts", "/v1/completions both", "/v1/chat/completions", "/v1/chat/completions stream", "/v1/embeddings",
          "/api/v1/batch_predict", "/api/v1/batch_predict unsplit", "/api/v1/batch_predict one device"]


def finish_all(server):
    for task in server.get("/api/v1/tasks?limit=1000").json()["tasks"]:
        server.wait_task(task)


@pytest.mark.parametrize("route", ROUTES)
def test_what_never_fits_is_refused_for_good(small_server, route):
    for count in (15, 17, 100):
        finish_all(small_server)
        answer = ask(small_server, route, count)
        assert answer.status_code == 400 and "max_queue_size" in answer.text and "14" in answer.text, answer.text
        assert "Retry-After" not in answer.headers
    for count in (14, 2):
        finish_all(small_server)
        answer = ask(small_server, route, count)
        assert answer.status_code == 200, answer.text


def test_what_may_fit_later_is_asked_to_come_again(small_server):
    finish_all(small_server)
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(lambda i: ask(small_server, ROUTES[i % 4], 14), range(48)))
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 429)


BATCHES = {
    "all fit": ([1, 2, 14], 3),
    "some never fit": ([1, 15, 2, 64, 3], 3),
    "none fits": ([20, 30], 0),
    "more than fit at once": ([14] * 6, 6),
}


@pytest.mark.parametrize("name", BATCHES)
def test_every_line_of_a_batch_ends_in_one_file(small_server, name):
    counts, fit = BATCHES[name]
    client = small_server.openai()
    model = client.models.list().data[0].id
    lines = [json.dumps({"custom_id": f"line {i}", "method": "POST", "url": "/v1/completions",
                         "body": {"model": model, "prompt": "x", "max_tokens": 4, "n": n}}) for i, n in enumerate(counts)]
    made = client.files.create(file=("in.jsonl", "\n".join(lines).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=made.id, endpoint="/v1/completions", completion_window="60s")
    while batch.status not in ("completed", "failed", "expired"):
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed"
    assert (batch.request_counts.completed, batch.request_counts.failed, batch.request_counts.total) == (fit, len(counts) - fit, len(counts))
    ended = []
    for file, good in ((batch.output_file_id, True), (batch.error_file_id, False)):
        for line in client.files.content(file).text.splitlines() if file else []:
            line = json.loads(line)
            n = counts[int(line["custom_id"].split()[1])]
            assert line["response"]["status_code"] == (200 if good else 400) and (n <= 14) == good
            assert not good or len(line["response"]["body"]["choices"]) == n
            ended.append(line["custom_id"])
    assert sorted(ended) == sorted(f"line {i}" for i in range(len(counts)))


def test_deployments_share_devices(start_server):
    """num_gpus does what docs/config.md says: parts of one device are on one device, and no device is promised twice."""
    tables = [
        ("sim:l4:2", {"a": 0.75, "b": 0.75}, 2),
        ("sim:l4:2", {"a": 0.5, "b": 0.5, "c": 1}, 2),
        ("sim:l4:3", {"a": 0.4, "b": 0.8, "c": 0.6}, 3),
    ]
    for devices, parts, used in tables:
        config = "deployments:\n" + "".join(f"  {name}: {{model: qwen2.5-coder-0.5b-instruct, num_gpus: {part}}}\n" for name, part in parts.items())
        server = start_server("--devices", devices, "--max-model-len", "512", config=config)
        places, gpus = {}, server.get("/api/v1/gpus").json()["gpus"]
        for gpu in gpus:
            for name in gpu["deployments"]:
                if name != "echo":
                    places.setdefault(gpu["id"], []).append(parts[name])
            assert gpu["memory_used"] <= gpu["memory_total"]
        assert sorted(part for own in places.values() for part in own) == sorted(parts.values())
        assert len(places) == used and all(sum(own) <= 1 for own in places.values()), places
        for name in parts:
            assert server.post("/v1/completions", {"model": name, "prompt": "x", "max_tokens": 2}).status_code == 200
        server.stop()


@pytest.mark.parametrize("devices, parts", [("sim:l4:1", [0.75, 0.75]), ("sim:l4:2", [0.6, 0.6, 0.6]), ("sim:h100:2", [1, 1, 0.1])])
def test_deployments_that_do_not_fit_say_so(tmp_path, devices, parts):
    path = tmp_path / "altlas.yaml"
    path.write_text("deployments:\n" + "".join(f"  d{i}: {{model: qwen2.5-coder-0.5b-instruct, num_gpus: {part}}}\n" for i, part in enumerate(parts)))
    done = run_cli("serve", "--port", "0", "--data-dir", "none", "--devices", devices, "--config", str(path))
    assert done.returncode != 0 and "num_gpus" in done.stderr and "left" in done.stderr, done.stderr
