"""Goal: no request, however its fields multiply, ends a server on a machine of 1 GiB. Method: a control group of that size with
the kernel's own limit, each request several times at once; the server answers with numbers or streams, stays alive, and serves
the next request."""
import concurrent.futures
import json
import socket
import time
import urllib.parse

import pytest
import requests

from cgroup import memory_group, peak_mib
from conftest import Server
from raw_http import request

LIMIT = 1 << 30
AT_ONCE = 8
PATIENCE_S = 2  # What fits is generated, which may take minutes; the memory that it needs is taken within this time.


@pytest.fixture(scope="module")
def group():
    with memory_group(LIMIT) as folder:
        yield folder


@pytest.fixture(scope="module")
def server(group):
    server = Server("--devices", "sim:h100:2", "--max-model-len", "4096", cgroup=group)
    yield server
    server.stop()
    server.close()


LONG = "a " * 4_000_000
CHAT = [{"role": "user", "content": "x"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {
    f"property {i}": {"type": "array", "items": {"type": "object", "properties": {"a": {"enum": ["x" * 30, i]}}}} for i in range(60)}}}}
REQUESTS = {
    "n of a long echo": ("/v1/completions", {"prompt": LONG, "n": 128, "echo": True}, {400, 413, 429}),
    "log-probabilities of prompts": ("/v1/completions", {"prompt": ["a " * 480] * 1000, "max_tokens": 1, "prompt_logprobs": 20}, {200, 413, 429}),
    "log-probabilities of answers": ("/v1/completions", {"prompt": "a", "n": 128, "max_tokens": 4000, "logprobs": 5, "ignore_eos": True}, {200, 413, 429}),
    "log-probabilities of a chat": ("/v1/chat/completions", {"messages": CHAT, "n": 128, "max_tokens": 4000, "logprobs": True, "top_logprobs": 20,
                                                             "ignore_eos": True}, {200, 413, 429}),
    "echoes with log-probabilities": ("/v1/completions", {"prompt": ["a " * 2000] * 100, "n": 8, "echo": True, "logprobs": 5, "max_tokens": 1}, {200, 413, 429}),
    "text of answers": ("/v1/completions", {"prompt": ["a"] * 900, "max_tokens": 4000, "ignore_eos": True}, {200, 400, 413, 429}),
    "prompts": ("/v1/completions", {"prompt": ["a " * 3900] * 1000, "max_tokens": 1}, {200, 413, 429}),
    "prompts of ids": ("/v1/completions", {"prompt": [[1] * 3900] * 1000, "max_tokens": 1}, {200, 413, 429}),
    "messages": ("/v1/chat/completions", {"messages": CHAT * 200_000, "max_tokens": 1}, {400, 413, 429}),
    "tools": ("/v1/chat/completions", {"messages": CHAT, "tools": [TOOL] * 900, "tool_choice": "required", "max_tokens": 1}, {400, 413, 429}),
    "tools with n": ("/v1/chat/completions", {"messages": CHAT, "tools": [{**TOOL, "function": {**TOOL["function"], "name": f"f{i}"}} for i in range(100)],
                                              "tool_choice": "required", "n": 64, "max_tokens": 2}, {200, 400, 413, 429}),
    "stop strings": ("/v1/completions", {"prompt": "a", "max_tokens": 1, "stop": ["s" * 30] * 200_000}, {400, 413, 429}),
    "stop strings with n": ("/v1/completions", {"prompt": ["a"] * 400, "n": 2, "max_tokens": 2, "stop": ["s" * 1000] * 16}, {200, 400, 413, 429}),
    "biases with n": ("/v1/completions", {"prompt": "a", "n": 128, "max_tokens": 2, "logit_bias": {str(i): 1 for i in range(16_000)}}, {200, 400, 413, 429}),
    "a grammar with n": ("/v1/completions", {"prompt": ["a"] * 900, "max_tokens": 1, "guided_choice": [f"{i:0200}" for i in range(500)]},
                         {200, 400, 413, 429}),
    "a grammar that is too large": ("/v1/completions", {"prompt": ["a"] * 900, "max_tokens": 1, "guided_choice": ["x" * 1000] * 4000}, {400, 413, 429}),
    "a suffix of prompts": ("/v1/completions", {"prompt": ["a"] * 1000, "suffix": LONG[:7_000_000], "max_tokens": 1}, {400, 413, 429}),
    "embeddings": ("/v1/embeddings", {"input": ["a"] * 1000, "encoding_format": "float"}, {200, 413, 429}),
    "embeddings of ids": ("/v1/embeddings", {"input": [[1] * 3900] * 1000, "dimensions": 1}, {200, 413, 429}),
    "tokens": ("/tokenize", {"content": LONG, "with_pieces": True}, {200, 400, 413, 429}),
    "token texts": ("/tokenize", {"prompt": "a " * 4000, "return_token_strs": True}, {200, 400}),
    "ids": ("/detokenize", {"tokens": [1] * 3_000_000}, {200, 400, 413, 429}),
    "infill": ("/infill", {"input_prefix": LONG[:4_000_000], "input_suffix": LONG[:3_900_000], "n_predict": 1}, {200, 400, 413, 429}),
    "extra of infill": ("/infill", {"input_prefix": "a", "input_suffix": "b", "n_predict": 1, "input_extra": [{"text": "x" * 30, "filename": "f"}] * 100_000},
                        {200, 400, 413, 429}),
    "generate": ("/generate", {"prompt": LONG}, {200, 400, 413, 429}),
    "an echo": ("/echo", {"x": LONG}, {200, 413, 429}),
    "values": ("/echo", {"x": [[]] * 2_000_000}, {200, 413, 429}),
    "tasks": ("/api/v1/batch_predict", {"batch": [{"text": "a " * 800, "max_length": 200, "ignore_eos": True}] * 1000}, {200, 400, 413, 429}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_products(server, group, name):
    """Uncounted, the first two would end the server within a second."""
    path, body, statuses = REQUESTS[name]
    data = json.dumps(body)

    def ask(_):
        """Returns None if the server still works on it, and the client leaves."""
        try:
            return requests.post(server.url + path, data=data, headers={"Content-Type": "application/json"}, timeout=(60, PATIENCE_S))
        except requests.exceptions.RequestException as error:
            assert "timed out" in str(error), error
            return None
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        answers = [answer for answer in pool.map(ask, range(AT_ONCE)) if answer is not None]
    assert server.process.poll() is None, server.log()[-2000:]
    for answer in answers:
        assert answer.status_code in statuses, answer.text[:400]
        assert answer.status_code in (200, 429) or any(c.isdigit() for c in answer.text), answer.text[:400]
    print(name, sorted(answer.status_code for answer in answers), peak_mib(group), "MiB at most so far")
    deadline = time.monotonic() + 60
    while server.post("/v1/completions", {"prompt": "a", "max_tokens": 1}).status_code != 200:
        assert time.monotonic() < deadline, "the server takes nothing more"


def test_many_bodies(server):
    """100 bodies of 8 MiB at once must not take 837 MB."""
    url = urllib.parse.urlsplit(server.url)
    data = request("POST", "/v1/completions", b" " * (8 << 20), Connection="close")

    def send(_):
        with socket.create_connection((url.hostname, url.port), timeout=60) as connection:
            try:
                connection.sendall(data)
            except ConnectionError:
                pass
            try:
                return connection.recv(4096)
            except ConnectionError:
                return b""
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        answers = [answer for answer in pool.map(send, range(100)) if answer]
    assert answers and all(int(answer.split()[1]) in (400, 429) for answer in answers), answers[:3]
    assert server.process.poll() is None and server.get("/health").status_code == 200


def test_batches_with_large_answers(server):
    """Lines with large answers are written one after another, however many wait."""
    body = {"prompt": "a", "n": 64, "max_tokens": 200, "ignore_eos": True, "logprobs": 5}
    lines = "".join(json.dumps({"custom_id": str(i), "method": "POST", "url": "/v1/completions", "body": body}) + "\n" for i in range(12))
    client = server.openai()
    file = client.files.create(file=("in.jsonl", lines.encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/completions", completion_window="24h")
    deadline = time.monotonic() + 300
    while batch.status not in ("completed", "failed"):
        assert time.monotonic() < deadline and server.process.poll() is None, batch
        time.sleep(0.2)  # Clients look after their batches like this.
        batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed" and batch.request_counts.completed == 12, batch
