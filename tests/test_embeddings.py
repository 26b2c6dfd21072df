"""/v1/embeddings with the official client and task type `embedding`: shapes, encodings, limits, the journal."""
import base64
import math
import struct

import pytest
import requests

from conftest import Server


@pytest.fixture(scope="module")
def server():
    server = Server("--devices", "sim:h100:2", "--max-model-len", "512")
    yield server
    server.stop()
    server.close()


@pytest.fixture
def client(server):
    return server.openai()


def length(values):
    return math.sqrt(sum(v * v for v in values))


def embed(server, **body):
    return requests.post(server.url + "/v1/embeddings", json=body, timeout=60)


def test_one_and_many(client, server):
    model = client.models.list().data[0].id
    answer = client.embeddings.create(model=model, input="The quick brown fox")  # The client asks for base64.
    one = answer.data[0].embedding
    assert answer.model == model and len(one) == 896 and length(one) == pytest.approx(1, abs=1e-5)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    many = client.embeddings.create(model=model, input=["Something else", "The quick brown fox"])
    assert [d.index for d in many.data] == [0, 1]
    assert many.data[1].embedding == one and many.data[0].embedding != one
    ids = server.post("/tokenize", {"prompt": "The quick brown fox"}).json()["tokens"]
    assert client.embeddings.create(model=model, input=ids).data[0].embedding == one
    assert client.embeddings.create(model=model, input=[ids, ids[:2]]).data[0].embedding == one


def test_encodings_and_dimensions(server):
    plain = embed(server, input="x", encoding_format="float").json()["data"][0]["embedding"]
    coded = embed(server, input="x", encoding_format="base64").json()["data"][0]["embedding"]
    raw = base64.b64decode(coded)
    assert list(struct.unpack(f"<{len(raw) // 4}f", raw)) == pytest.approx(plain, abs=1e-7)
    short = embed(server, input="x", dimensions=64).json()["data"][0]["embedding"]
    assert len(short) == 64 and length(short) == pytest.approx(1, abs=1e-5)
    scale = length(plain[:64])
    assert short == pytest.approx([v / scale for v in plain[:64]], abs=1e-5)


@pytest.mark.parametrize("body, status, param", [
    ({}, 400, "input"), ({"input": ""}, 400, "input"), ({"input": []}, 400, "input"), ({"input": [""]}, 400, "input"),
    ({"input": {"a": 1}}, 400, "input"), ({"input": [1, "a"]}, 400, "input"), ({"input": [-1]}, 400, "input"),
    ({"input": [[1], []]}, 400, "input"), ({"input": ["x"] * 1001}, 400, "input"),
    ({"input": "x", "dimensions": 0}, 400, "dimensions"), ({"input": "x", "dimensions": 897}, 400, "dimensions"),
    ({"input": "x", "encoding_format": "hex"}, 400, "encoding_format"), ({"input": "x", "model": "none"}, 404, "model"),
    ({"input": "word " * 2000}, 400, "input")])
def test_wrong_requests(server, body, status, param):
    answer = embed(server, **body)
    assert answer.status_code == status and answer.json()["error"]["param"] == param, answer.text


def test_as_long_as_the_model(server):
    assert embed(server, input=[5] * 512).json()["usage"]["prompt_tokens"] == 512
    assert "513" in embed(server, input=[5] * 513).json()["error"]["message"]


def test_task_type_embedding(server):
    placed = server.post("/api/v1/predict", {"text": "The quick brown fox", "type": "embedding"}).json()
    task = server.wait_task(placed["task_id"])
    assert task["type"] == "embedding" and task["status"] == "completed"
    result = task["result"]
    assert result["text"] == "" and result["tokens"] == 0 and result["finish_reason"] == "stop"
    direct = embed(server, input="The quick brown fox").json()["data"][0]["embedding"]
    assert result["embedding"] == pytest.approx(direct, abs=1e-7)
    batch = server.post("/api/v1/batch_predict", {"batch": [{"text": t, "type": "embedding"} for t in "abc"]}).json()
    assert all(server.wait_task(t["task_id"])["result"]["embedding"] for t in batch["tasks"])


def test_survives_a_restart(start_server):
    server = start_server("--devices", "sim:h100:1", "--max-model-len", "512")
    task = server.post("/api/v1/predict", {"text": "kept", "type": "embedding"}).json()["task_id"]
    before = server.wait_task(task)["result"]["embedding"]
    server.kill()
    server = start_server("--devices", "sim:h100:1", "--max-model-len", "512", data_dir=server.data_dir)
    assert server.wait_task(task)["result"]["embedding"] == before
    server.stop()


def test_batch_of_embeddings(client):
    import json
    text = "".join(json.dumps({"custom_id": str(i), "method": "POST", "url": "/v1/embeddings", "body": {"input": f"text {i}"}}) + "\n" for i in range(5))
    source = client.files.create(file=("e.jsonl", text.encode()), purpose="batch")
    batch = client.batches.create(input_file_id=source.id, endpoint="/v1/embeddings", completion_window="24h")
    while batch.status not in ("completed", "failed", "expired"):
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed", batch
    assert len(client.files.content(batch.output_file_id).text.splitlines()) == 5


TWO_MODELS = """
deployments:
  - {name: text, model: qwen2.5-coder-0.5b-instruct, task_types: [text_generation]}
  - {name: vectors, model: qwen2.5-coder-0.5b-instruct, task_types: [embedding]}
"""


def test_type_goes_to_its_deployment(start_server):
    server = start_server("--devices", "sim:h100:1", "--max-model-len", "512", config=TWO_MODELS)
    server.wait_task(server.post("/api/v1/predict", {"text": "x", "type": "embedding"}).json()["task_id"])
    deployments = {name: one["replicas"][0] for name, one in server.get("/api/v1/deployments").json()["deployments"].items()}
    text = server.get("/metrics").text
    assert deployments.keys() >= {"text", "vectors"}
    counts = {line.split('deployment="')[1].split('"')[0]: float(line.split()[-1]) for line in text.splitlines()
              if line.startswith("altlas_") and "tasks_total" in line and 'deployment="' in line and 'completed' in line}
    assert counts.get("vectors") == 1, text[:3000]
    server.stop()


def test_of_the_default_model_on_cpu(cpu_server):
    """Real computation: vectors have length 1, the same bits whatever else is in the batch and however long its step, and are
    near for texts that are near."""
    texts = ["def add(a, b): return a + b", "def sum_of(x, y): return x + y", "The weather in Izmir is sunny today.", "x " * 900]
    together = [d["embedding"] for d in embed(cpu_server, input=texts).json()["data"]]
    for text, values in zip(texts, together):
        assert length(values) == pytest.approx(1, abs=1e-5) and len(values) == 896
        assert embed(cpu_server, input=text).json()["data"][0]["embedding"] == values

    def cosine(a, b):
        return sum(x * y for x, y in zip(a, b))
    assert cosine(together[0], together[1]) > cosine(together[0], together[2]) + 0.02
    placed = cpu_server.post("/api/v1/predict", {"text": texts[0], "type": "embedding"}).json()
    assert cpu_server.wait_task(placed["task_id"])["result"]["embedding"] == pytest.approx(together[0], abs=1e-7)
