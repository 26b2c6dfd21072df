"""One model over several CPU devices: the same text as from one, ledgers that show each rank's share, a rank that dies,
and refusals that say what would work."""
import concurrent.futures
import math
import os
import signal

import pytest

from conftest import Server, run_cli
from test_adapters import write_adapter

SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "count": {"type": "integer"}},
          "required": ["name", "count"], "additionalProperties": False}
PROMPTS = ["def fibonacci(n):", "The capital of France is", "import os\n\nfor name in", "SELECT id FROM"]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return f"--lora=poet={write_adapter(tmp_path_factory.mktemp('adapter') / 'poet', 3)}"


@pytest.fixture(scope="module")
def one(adapter):
    server = Server("--devices", "cpu:1:1", adapter)
    yield server
    server.stop()
    server.close()


@pytest.fixture(scope="module", params=[["--tensor-parallel-size", "2"], ["--tensor-parallel-size", "2", "--tensor-split", "3,1"],
                                        ["--tensor-parallel-size", "3", "--speculative-tokens", "3"],
                                        ["--pipeline-parallel-size", "2"],
                                        ["--pipeline-parallel-size", "3", "--pipeline-micro-batches", "5", "--speculative-tokens", "3"],
                                        ["--tensor-parallel-size", "2", "--pipeline-parallel-size", "2", "--pipeline-split", "even"]],
                ids=["tp2", "tp2-split", "tp3-guesses", "pp2", "pp3-guesses", "tp2-pp2-even"])
def several(request, adapter):
    ranks = math.prod(int(size) for flag, size in zip(request.param, request.param[1:]) if flag.endswith("-parallel-size"))
    server = Server("--devices", f"cpu:{ranks}:1", adapter, *request.param)
    yield server
    server.stop()
    server.close()


def answers(server):
    """All that must not depend on the layout, of requests at once."""
    client = server.openai()
    model = client.models.list().data[0].id

    def complete(prompt, model=model):
        out = client.completions.create(model=model, prompt=prompt, max_tokens=24, temperature=0.7, seed=11, logprobs=3)
        return out.choices[0].text, out.choices[0].logprobs.token_logprobs, out.choices[0].logprobs.top_logprobs

    def constrained(_):
        out = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Name a fruit and a number."}], max_tokens=40, temperature=0,
            response_format={"type": "json_schema", "json_schema": {"name": "fruit", "schema": SCHEMA, "strict": True}})
        return out.choices[0].message.content

    def embedded(texts):
        return [row.embedding for row in client.embeddings.create(model=model, input=texts, encoding_format="float").data]

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(complete, prompt) for prompt in PROMPTS]
        jobs += [pool.submit(complete, prompt, "poet") for prompt in PROMPTS[:2]]
        jobs += [pool.submit(constrained, None), pool.submit(embedded, PROMPTS[:2])]
        return [job.result() for job in jobs]


def test_same_text_as_one_device(one, several):
    assert answers(several) == answers(one)


def held(server):
    return [gpu["memory_used"] for gpu in server.get("/api/v1/gpus").json()["gpus"]]


def test_each_device_holds_its_share(one, start_server):
    whole = held(one)[0]
    halves = held(start_server("--devices", "cpu:2:1", "--tensor-parallel-size", "2"))
    assert max(halves) < 0.62 * whole and sum(halves) < 1.15 * whole, (halves, whole)
    large, small = held(start_server("--devices", "cpu:2:1", "--tensor-parallel-size", "2", "--tensor-split", "3,1"))
    assert large > 1.8 * small, (large, small)


def test_each_stage_holds_its_layers(one, start_server):
    """The head costs as much as nine of the 24 layers: a balanced first stage has 17 layers, an even one 12."""
    whole = held(one)[0]
    first, last = held(start_server("--devices", "cpu:2:1", "--pipeline-parallel-size", "2"))
    assert max(first, last) < 0.8 * whole, (first, last, whole)
    even, rest = held(start_server("--devices", "cpu:2:1", "--pipeline-parallel-size", "2", "--pipeline-split", "even"))
    assert even < first and rest > last, (first, last, even, rest)
    _, deep = held(start_server("--devices", "cpu:2:1", "--pipeline-parallel-size", "2", "--pipeline-micro-batches", "8"))
    assert deep > last + 5 * 512 * 896 * 4, "hidden states of eight steps on their way, where two were"


def test_a_rank_that_dies_takes_the_replica_and_no_task(start_server):
    server = start_server("--devices", "cpu:2:1", "--tensor-parallel-size", "2")
    body = {"text": "def fibonacci(n):", "max_length": 60, "temperature": 0}
    want = server.wait_task(server.post("/api/v1/predict", body).json()["task_id"])["result"]["text"]
    tasks = [server.post("/api/v1/predict", body).json()["task_id"] for _ in range(3)]
    deployment = server.get("/api/v1/deployments").json()["deployments"]["default"]
    (replica,) = deployment["replicas"]
    assert len(replica["devices"]) == 2
    os.kill(replica["pid"], signal.SIGKILL)
    for task in tasks:
        got = server.wait_task(task)
        assert got["status"] == "completed" and got["result"]["text"] == want


@pytest.mark.parametrize("arguments, words", [
    (["--devices", "cpu:15:1:1GiB", "--tensor-parallel-size", "15"], ["15", "14 query heads", "1 to 14"]),
    (["--devices", "cpu:1", "--tensor-parallel-size", "2"], ["needs 2 devices", "1"]),
    (["--devices", "cpu:25:1:1GiB", "--pipeline-parallel-size", "25"], ["25", "24 layers", "1 to 24"]),
    (["--devices", "cpu:2:1", "--pipeline-parallel-size", "2", "--pipeline-micro-batches", "17"], ["pipeline_micro_batches", "16"]),
    (["--devices", "cpu:2:1", "--pipeline-parallel-size", "2", "--pipeline-split", "fair"], ["fair", "balanced", "even"]),
    (["--devices", "cpu:2:1", "--tensor-parallel-size", "2", "--tensor-split", "3"], ["tensor_split", "1 shares", "size 2"]),
    (["--devices", "cpu:2:1", "--tensor-parallel-size", "2", "--tensor-split", "0,1"], ["tensor_split"]),
    (["--devices", "cpu:2:1", "--tensor-parallel-size", "2", "--tensor-split", "three,1"], ["tensor_split"]),
    (["--devices", "cpu:2:1:300MiB", "--tensor-parallel-size", "2"], ["does not fit", "weights"]),
])
def test_what_can_not_be_is_refused_with_the_numbers(arguments, words):
    done = run_cli("serve", "--port", "0", "--data-dir", "none", *arguments)
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr, done.stderr
