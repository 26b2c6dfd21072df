"""A KV cache that is too small for the requests at hand: sequences give way to one another, every answer is what it would be
alone, and what never fits is refused with the numbers."""
import concurrent.futures
import re

import pytest

TOKENS = 64  # The size of the KV cache: less than two of the requests take in the end.
CONFIG = f"engine:\n  kv_tokens_max: {TOKENS}\n"
REQUESTS = [{"prompt": f"# file {i}\ndef function_{i}(a, b):\n    ", "max_tokens": 20 + 3 * i, "temperature": 0.8 * (i % 2), "seed": i}
            for i in range(5)]


def texts(server, at_once):
    def answer(request):
        response = server.post("/v1/completions", {**request, "ignore_eos": True})
        assert response.status_code == 200, response.text
        assert response.json()["usage"]["completion_tokens"] == request["max_tokens"]
        return response.json()["choices"][0]["text"]

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(answer, REQUESTS))


def metric(server, name):
    return sum(float(value) for value in re.findall(rf"^{name}{{.*}} (\S+)$", server.get("/metrics").text, re.M))


@pytest.mark.parametrize("swap", ["0", "64MiB"])
def test_sequences_give_way_and_lose_nothing(start_server, swap):
    server = start_server("--devices", "cpu:1", "--swap-bytes", swap, config=CONFIG)
    alone = texts(server, 1)
    assert metric(server, "altlas_engine_preemptions_total") == 0
    assert texts(server, len(REQUESTS)) == alone
    assert metric(server, "altlas_engine_preemptions_total") > 0
    assert (metric(server, "altlas_kv_swapped_blocks_total") > 0) == (swap != "0")
    server.stop()


def test_what_never_fits_is_refused_with_the_numbers(start_server):
    server = start_server("--devices", "cpu:1", config=CONFIG)
    long = "word " * (TOKENS + 50)
    answer = server.post("/v1/completions", {"prompt": long, "max_tokens": 5})
    assert answer.status_code == 400 and str(TOKENS) in answer.text, answer.text
    answer = server.post("/v1/completions", {"prompt": "a", "max_tokens": TOKENS + 300})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == "max_tokens" and f"{TOKENS + 301} tokens" in error["message"] and f"maximum context length is {TOKENS}" in error["message"], error
    answer = server.post("/api/v1/predict", {"text": long})
    assert answer.status_code == 400 and str(TOKENS) in answer.json()["error"], answer.text
    server.stop()
