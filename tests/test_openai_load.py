"""The official openai client under load: every answer is the one that an idle server gives.

Lists, n, streams and cancels come at once from many threads, more of them than a server keeps finished tasks for. The
answers to compare with are asked for one by one before."""
import concurrent.futures
import json
import random
import time

import pytest

from conftest import Server

SERVERS = {
    # devices: requests, threads, longest text, texts in a list, choices
    "sim:h100:8": (2000, 24, 24, 64, 64),
    "cpu:2": (48, 8, 6, 8, 6),
}


def answer_of(client, request):
    answer = (client.chat.completions if "messages" in request else client.completions).create(**request)
    return [(c.index, c.message.content if "messages" in request else c.text, c.finish_reason) for c in answer.choices]


def streamed_answer(client, request):
    """The same from a stream: the pieces of each choice put together."""
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
    """Reads one chunk of a long answer and goes away."""
    longer = dict(request, max_tokens=400)
    stream = client.completions.create(stream=True, **longer)
    next(iter(stream))
    stream.close()


def make_requests(model, tokens, listed, n):
    """(name, how it is asked, request): what a client can vary, each with a seed of its own."""
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
            (f"cancel {i}", None, text),
        ]
    few = dict(model=model, seed=77, temperature=0.9, max_tokens=2)
    out.append(("n chat", answer_of, dict(few, n=n, messages=[{"role": "user", "content": "Hi"}])))
    out.append(("n streamed", streamed_answer, dict(few, n=n, prompt="One")))
    out.append(("n of a list", streamed_answer, dict(few, n=n // 4, prompt=["One", "Two", "Three"])))
    return out


@pytest.mark.parametrize("devices", SERVERS)
def test_no_wrong_answer_under_load(devices):
    count, threads, tokens, listed, n = SERVERS[devices]
    server = Server("--devices", devices, "--max-model-len", "1024")
    try:
        client = server.openai()
        kinds = make_requests(client.models.list().data[0].id, tokens, listed, n)
        right = {name: ask(client, request) for name, ask, request in kinds if ask}
        chosen = random.Random(5)
        plan = [kinds[i % len(kinds)] for i in range(count)]
        chosen.shuffle(plan)

        def one(kind):
            name, ask, request = kind
            if ask is None:
                return cancelled(client, request)
            got = ask(client, request)
            assert got == right[name], f"{name}: {json.dumps(got)[:300]}, alone {json.dumps(right[name])[:300]}"

        wrong = []
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            for future in concurrent.futures.as_completed([pool.submit(one, kind) for kind in plan]):
                if future.exception():
                    wrong.append(repr(future.exception())[:400])
        assert not wrong, f"{len(wrong)} of {count}: {wrong[:5]}"
        # Those that went away leave nothing running.
        deadline = time.monotonic() + 30
        while busy := [gpu for gpu in server.get("/api/v1/gpus").json()["gpus"] if gpu["task_count"]]:
            assert time.monotonic() < deadline, busy
        server.stop()
    finally:
        server.close()
