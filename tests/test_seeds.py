"""Seeds that are left out, null or -1 are drawn and shown, and draw the same when they are sent back; on every route that
generates."""
import json

import pytest
import requests


def events(answer):
    lines = answer.content.decode().split("\n")  # requests would guess the encoding, and find other ends of lines.
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]


def task_result(server, body):
    task = server.wait_task(server.post("/api/v1/predict", {"text": "Once", "max_length": 24, "temperature": 1, **body}).json()["task_id"])
    assert task["seed"] == task["result"]["seed"]
    return [(task["result"]["seed"], task["result"]["text"])]


def batch_of_tasks(server, body):
    batch = [{"text": text, "max_length": 24, "temperature": 1, **body} for text in ("Once", "Twice")]
    placed = server.post("/api/v1/batch_predict", {"batch": batch}).json()["tasks"]
    results = [server.wait_task(one["task_id"])["result"] for one in placed]
    return [(one["seed"], one["text"]) for one in results]


def seeds_of(answer):
    """Returns the seeds beside usage, and beside each of several choices."""
    assert "usage" in answer
    seeds = [one.get("seed") for one in answer["choices"]]
    assert seeds == [None] or seeds[0] == answer["seed"]
    return [answer["seed"]] if seeds == [None] else seeds


def completion(server, body, **more):
    answer = server.post("/v1/completions", {"prompt": "Once", "max_tokens": 24, **more, **body}).json()
    return [(seed, one["text"]) for seed, one in zip(seeds_of(answer), answer["choices"])]


def chat_choice(server, body, **more):
    answer = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "Once"}], "max_tokens": 24, **more, **body}).json()
    return [(seed, one["message"]["content"]) for seed, one in zip(seeds_of(answer), answer["choices"])]


def stream(server, body, path, text_of, **more):
    pieces = events(server.post(path, {"max_tokens": 24, "stream": True, **more, **body}))
    seeds, texts = {}, {}
    for piece in pieces:
        for choice in piece["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + text_of(choice)
            if choice["finish_reason"] is not None:
                seeds[choice["index"]] = choice.get("seed", piece["seed"])
        assert isinstance(piece["seed"], int)
    assert {piece["seed"] for piece in pieces} == {seeds[0]} and len(set(seeds.values())) == len(texts)
    return [(seeds[i], texts[i]) for i in sorted(texts)]


def completion_stream(server, body, **more):
    return stream(server, body, "/v1/completions", lambda choice: choice["text"], prompt="Once", **more)


def chat_stream(server, body, **more):
    messages = [{"role": "user", "content": "Once"}]
    return stream(server, body, "/v1/chat/completions", lambda choice: choice["delta"].get("content") or "", messages=messages, **more)


def llm_generate(server, body):
    answer = server.post("/llm/generate", {"prompt": "Once", "max_tokens": 24, "temperature": 1, **body}).json()
    return [(answer["seed"], answer["text"])]


def plain_generate(server, body):
    answer = server.post("/generate", {"prompt": "Once", "max_tokens": 24, "temperature": 1, **body})
    return [(int(answer.headers["X-Altlas-Seed"]), answer.text)]


def plain_chat(server, body):
    request = {"messages": [{"role": "user", "content": "Once"}], "max_tokens": 24, "temperature": 1, **body}
    answer = server.post("/chat", request).json()
    assert "usage" in answer
    return [(answer["seed"], answer["content"])]


def plain_chat_stream(server, body):
    request = {"messages": [{"role": "user", "content": "Once"}], "max_tokens": 24, "temperature": 1, "stream": True, **body}
    pieces = events(server.post("/chat", request))
    assert "usage" in pieces[-1]
    return [(pieces[-1]["seed"], "".join(piece.get("content", "") for piece in pieces))]


def infill(server, body):
    answer = server.post("/infill", {"input_prefix": "def a():", "input_suffix": "return", "n_predict": 24, "temperature": 1, **body}).json()
    return [(answer["seed"], answer["content"])]


def usage_stream(server, body):
    return completion_stream(server, body, stream_options={"include_usage": True})


ONE = {one.__name__: one for one in (task_result, batch_of_tasks, completion, chat_choice, completion_stream, chat_stream, llm_generate, plain_generate,
                                     plain_chat, plain_chat_stream, infill, usage_stream)}


@pytest.mark.parametrize("name", ONE)
def test_drawn_seeds_are_shown_and_draw_the_same_again(sim_server, name):
    ask = ONE[name]
    seen = set()
    for body in ({}, {"seed": None}, {"seed": -1}, {"seed": -1}, {"seed": -1.0}):
        drawn = ask(sim_server, body)
        assert all(isinstance(seed, int) and 0 <= seed < 2**53 for seed, _ in drawn)
        seen |= set(drawn)
        again = ask(sim_server, {"seed": drawn[0][0]})
        assert again[0] == drawn[0], "the seed that was shown gives the same text"
    assert len({seed for seed, _ in seen}) == 5 * len(drawn) and len({text for _, text in seen}) >= 5
    for seed in (0, 7, -2, 2**63 - 1, -2**63):
        first, again = ask(sim_server, {"seed": seed}), ask(sim_server, {"seed": seed})
        assert first == again and first[0][0] == seed


@pytest.mark.parametrize("name", ["completion", "chat_choice", "completion_stream", "chat_stream"])
@pytest.mark.parametrize("body", [{}, {"seed": -1}, {"seed": 41}, {"seed": -3}, {"seed": 2**63 - 2}], ids=json.dumps)
def test_every_choice_has_its_seed(sim_server, name, body):
    drawn = ONE[name](sim_server, {"n": 5, **body})
    assert len({seed for seed, _ in drawn}) == 5 and -1 not in {seed for seed, _ in drawn}
    assert len({text for _, text in drawn}) > 1
    for seed, text in drawn:
        assert ONE[name](sim_server, {"seed": seed}) == [(seed, text)]
    assert ONE[name](sim_server, {"n": 5, "seed": drawn[0][0]}) == drawn


@pytest.mark.parametrize("body", [{}, {"seed": None}, {"seed": -1}], ids=json.dumps)
def test_a_prompt_that_comes_again_is_drawn_anew(sim_server, body):
    drawn = completion(sim_server, {"prompt": ["Once", "Twice", "Once", "Once"], "n": 2, **body})
    once = [drawn[i] for i in (0, 1, 4, 5, 6, 7)]
    assert len({seed for seed, _ in once}) == 6 and len({text for _, text in once}) > 1
    for seed, text in once:
        assert completion(sim_server, {"seed": seed}) == [(seed, text)]
    fixed = completion(sim_server, {"prompt": ["Once", "Once"], "seed": 5})
    assert fixed[0] == fixed[1]


def test_a_batch_has_seeds_too(sim_server):
    client = sim_server.openai()
    model = client.models.list().data[0].id
    lines = [{"custom_id": str(i), "method": "POST", "url": "/v1/completions",
              "body": {"model": model, "prompt": "Once", "max_tokens": 24, **({"seed": -1} if i % 2 else {})}} for i in range(6)]
    made = client.files.create(file=("in.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    batch = client.batches.create(input_file_id=made.id, endpoint="/v1/completions", completion_window="24h")
    while batch.status not in ("completed", "failed"):
        batch = client.batches.retrieve(batch.id)
    answers = [json.loads(line)["response"]["body"] for line in client.files.content(batch.output_file_id).text.splitlines()]
    assert len({answer["seed"] for answer in answers}) == 6
    for answer in answers:
        assert completion(sim_server, {"seed": answer["seed"]}) == [(answer["seed"], answer["choices"][0]["text"])]


def test_what_draws_nothing_shows_no_seed(sim_server):
    assert "seed" not in requests.post(f"{sim_server.url}/v1/embeddings", json={"input": "x"}, timeout=60).json()
