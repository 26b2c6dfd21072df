"""Goal: one key's many tasks do not make another's wait behind all of them. Method: a replica that computes two at once, and a
backlog of one key; how much of it is done while another key's request is answered, for each way in which requests come."""
import pytest
import requests

from conftest import Server

CONFIG = """
auth: {keys: [{name: ada, key: key-of-ada}, {name: ben, key: key-of-ben}, {name: mallory, key: key-of-mallory}]}
engine: {devices: "sim:l4:1", max_model_len: 512, max_sequences: 2}
"""
# A backlog waits in the server's queue, or in the batch of a replica that is told of all of it.
WHERE = {"queue": "", "batch": "deployments: [{name: m, model: qwen2.5-coder-0.5b-instruct, max_ongoing_requests: 400}]\n"}
BACKLOG = 200
FEW = 8  # The most of the backlog that is done: the two that run, those of its rounds, and what ends while the test asks.


def bearer(name):
    return {"Authorization": f"Bearer key-of-{name}"}


@pytest.fixture(scope="module", params=WHERE)
def server(request):
    one = Server(config=CONFIG + WHERE[request.param])
    backlog = [{"text": f"Number {i}", "max_length": 80, "temperature": 1} for i in range(BACKLOG)]
    answer = one.post("/api/v1/batch_predict", {"batch": backlog}, headers=bearer("mallory"))
    assert answer.status_code == 200, answer.text
    yield one
    for task in answer.json()["tasks"]:
        requests.delete(f"{one.api}/task/{task['task_id']}", headers=bearer("mallory"), timeout=60)
    one.stop()
    one.close()


def done(server):
    return server.get("/api/v1/tasks?status=completed&limit=1", headers=bearer("mallory")).json()["total"]


def waits(server):
    return sum(server.get(f"/api/v1/tasks?status={status}&limit=1", headers=bearer("mallory")).json()["total"] for status in ("queued", "running"))


TEXT = {"prompt": "Hi", "max_tokens": 4}


@pytest.mark.parametrize("owner, path, body", [
    ("ada", "/v1/completions", TEXT), ("ben", "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}),
    ("ada", "/v1/completions", {**TEXT, "stream": True}), ("ben", "/v1/embeddings", {"input": "Hi"}),
    ("ada", "/api/v1/predict", {"text": "Hi", "max_length": 4}), ("ben", "/v1/completions", {**TEXT, "n": 3})])
def test_another_key_is_served_soon(server, owner, path, body):
    """Whoever comes later does not wait until all of the backlog is done."""
    before = done(server)
    answer = server.post(path, body, headers=bearer(owner))
    assert answer.status_code == 200, answer.text
    if path.endswith("predict"):
        assert server.wait_task(answer.json()["task_id"], headers=bearer(owner))["status"] == "completed"
    assert done(server) - before <= FEW
    assert waits(server) > BACKLOG / 4, "there is a backlog"
