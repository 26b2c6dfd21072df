"""The official openai client under load: every answer is the one that an idle server gives.

Lists, n, streams and cancels come at once from many threads, and are more than a server keeps finished tasks for. The expected
answers are asked for one by one before."""
import concurrent.futures
import contextlib
import json
import os
import random
import time

import openai
import pytest

from conftest import Server
from test_folder import write_decoder

# The requests of a run: a few in ./test, 2,000 in ./test all; the real model is slow.
COUNT = int(os.environ.get("ALTLAS_LOAD_REQUESTS", "350"))
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
SERVERS = {
    # Columns: devices, requests at most, threads, longest text, texts in a list, choices.
    "simulated": ("sim:h100:8", COUNT, 24, 24, 64, 64),
    "small model": ("cpu:2", COUNT, 16, 16, 32, 32),
    "real model": ("cpu:2", COUNT // 7, 8, 6, 8, 6),
}


def start(name, folder):
    """Starts the server of a name. The small model is random, so what it says is long and odd."""
    options = ["--max-model-len", "1024"]
    if name == "small model":
        write_decoder(folder / "model")
        (folder / "model" / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "chat_template": TEMPLATE}))
        options = ["--model", str(folder / "model")]
    # All lists at once are more tasks than the usual queue takes: a 429 would be right, but is not what this test looks for.
    return Server("--devices", SERVERS[name][0], *options, config="gpu: {multi_gpu: {max_queue_size: 4000}}")


def answer_of(client, request):
    answer = (client.chat.completions if "messages" in request else client.completions).create(**request)
    return [(c.index, c.message.content if "messages" in request else c.text, c.finish_reason) for c in answer.choices]


def streamed_answer(client, request):
    """Returns the same answer from a stream: the pieces of each choice put together."""
    chat = "messages" in request
    texts, ends, usage = {}, {}, None
    for chunk in (client.chat.completions if chat else client.completions).create(
            stream=True, stream_options={"include_usage": True}, **request):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            piece = choice.delta.content if chat else choice.text
            texts[choice.index] = texts.get(choice.index, "") + (piece or "")
            ends[choice.index] = choice.finish_reason or ends.get(choice.index)
    assert usage is not None, "the last chunk says the usage"
    return [(i, texts[i], ends[i]) for i in sorted(texts)]


def embeddings_of(client, request):
    return [(one.index, one.embedding) for one in client.embeddings.create(**request).data]


def cancelled(client, request):
    """Reads one chunk of a long answer and leaves."""
    longer = dict(request, max_tokens=200)
    stream = client.completions.create(stream=True, **longer)
    next(iter(stream))
    stream.close()


def given_up(client, request):
    """Waits only a moment for a long answer."""
    with contextlib.suppress(openai.APITimeoutError):
        client.with_options(timeout=0.02).completions.create(**dict(request, max_tokens=200))


GOES = (cancelled, given_up)


def make_requests(model, tokens, listed, n):
    """Returns (name, how it is asked, request): what a client can vary, each with a seed of its own."""
    words = ["red", "ölçü", "def f(x):", "1 2 3", "{\"a\":"]
    out = []
    for i, word in enumerate(words):
        base = dict(model=model, seed=i + 1, temperature=0.8, max_tokens=tokens)
        chat = dict(base, messages=[{"role": "user", "content": f"Say {word}"}])
        text = dict(base, prompt=f"{word} and")
        out += [
            (f"chat {i}", answer_of, chat),
            (f"streamed chat {i}", streamed_answer, chat),
            (f"completion {i}", answer_of, text),
            (f"streamed completion {i}", streamed_answer, text),
            (f"list {i}", answer_of, dict(base, prompt=[f"{word} {k}" for k in range(listed // 4)], max_tokens=2)),
            (f"embedding {i}", embeddings_of, dict(model=model, input=[f"{word} {k}" for k in range(1 + i * listed // 4)])),
            (f"cancel {i}", cancelled, text),
            (f"give up {i}", given_up, text),
        ]
    few = dict(model=model, seed=77, temperature=0.9, max_tokens=2)
    out.append(("n chat", answer_of, dict(few, n=n, messages=[{"role": "user", "content": "Hi"}])))
    out.append(("n streamed", streamed_answer, dict(few, n=n, prompt="One")))
    out.append(("n of a list", streamed_answer, dict(few, n=n // 4, prompt=["One", "Two", "Three"])))
    return out


@pytest.mark.parametrize("name", SERVERS)
def test_no_wrong_answer_under_load(name, tmp_path):
    _, count, threads, tokens, listed, n = SERVERS[name]
    server = start(name, tmp_path)
    try:
        client = server.openai()
        kinds = make_requests(client.models.list().data[0].id, tokens, listed, n)
        right = {what: ask(client, request) for what, ask, request in kinds if ask not in GOES}
        assert len({json.dumps(answer) for answer in right.values()}) > len(right) // 2, "answers can be told apart"
        chosen = random.Random(5)
        plan = [kinds[i % len(kinds)] for i in range(count)]
        chosen.shuffle(plan)
        # The longest lists come first, all at once: they make far more tasks than a server keeps finished ones.
        lists = [kind for kind in kinds if kind[1] is embeddings_of]
        plan = [max(lists, key=lambda kind: len(kind[2]["input"]))] * (3 * threads) + plan

        def one(kind):
            what, ask, request = kind
            got = ask(client, request)
            assert ask in GOES or got == right[what], f"{what}: {json.dumps(got)[:300]}, alone {json.dumps(right[what])[:300]}"

        wrong = []
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            for future in concurrent.futures.as_completed([pool.submit(one, kind) for kind in plan]):
                if future.exception():
                    wrong.append(repr(future.exception())[:400])
        assert not wrong, f"{len(wrong)} of {len(plan)}: {wrong[:5]}"
        # Requests whose client has left leave nothing running.
        deadline = time.monotonic() + 30
        while busy := [gpu for gpu in server.get("/api/v1/gpus").json()["gpus"] if gpu["task_count"]]:
            assert time.monotonic() < deadline, busy
        server.stop()
    finally:
        server.close()
