"""Goal: whatever strangers and holders of other keys do, a client that keeps to its share gets its answers, right and soon, and
the server's memory and sockets go back. Method: one real server at a time, plain and TLS, under all hostile habits at once,
with good clients beside them; each of their answers is compared with what the idle server gave. Sanitized builds run the same
for longer (ALTLAS_SIEGE_SECONDS)."""
import asyncio
import base64
import json
import os
import pathlib
import random
import re
import ssl
import time
import urllib.parse

import pytest

from conftest import BINARY, Server
from hostile import bodies_of, hostile_habits
from raw_http import Client, memory_mib, open_sockets, request, read_answer

SECONDS = float(os.environ.get("ALTLAS_SIEGE_SECONDS", "6"))  # For both servers together, without the warm-up.
WARM_UP = min(max(SECONDS / 4, 3.0), 60.0)
ENOUGH = 60.0  # Seconds within which a good client gets its answer, even if the machine is busy with others.
PIPELINED = 16  # Requests that a client sends at once on one connection.
SETTLED = 60.0  # Seconds within which memory and sockets are back.
KEPT = 0.2      # Memory may stay above that after the warm-up by this share,
KEPT_MIB = 32   # and by this much more: bounded stores (the latest events, finished tasks, spans) are not full after a short warm-up.
# AddressSanitizer's allocator gives little back to the system, and keeps a record of each call path. There the bytes count that the
# program has not freed; elsewhere resident memory.
SANITIZED = b"__asan_init" in pathlib.Path(BINARY).read_bytes()
ENVIRONMENT = {"ASAN_OPTIONS": ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=8", "thread_local_quarantine_size_kb=64",
                                                      "allocator_release_to_os_interval_ms=500")))}
CONFIG = """
auth: {keys: [{name: ada, key: key-of-ada}, {name: ben, key: key-of-ben}, {name: eve, key: eve}, {name: mallory, key: key-of-mallory},
              {name: root, key: key-of-root, role: admin}]}
server: {slow_sender_timeout_s: 10, slow_reader_timeout_s: 10, files_max: 400, files_bytes_max: 200MiB, batches_max: 100}
store: {tasks_kept_max: 400}
engine: {max_model_len: 1024}
"""


def right(status, body):
    """Returns what a good client is entitled to: an answer, as JSON."""
    assert status == 200, (status, body[:500])
    return json.loads(body)


# The requests of good clients. Each returns what must be the same whenever it is asked.

async def completion(client, seed):
    answer = right(*await client.ask("POST", "/v1/completions", {"prompt": f"Count {seed}:", "max_tokens": 8, "seed": seed, "temperature": 1, "logprobs": 1}))
    return answer["choices"][0]["text"], answer["usage"], answer["choices"][0]["logprobs"]["token_logprobs"]


def chat_body(seed, **more):
    return {"messages": [{"role": "user", "content": f"Say {seed}"}], "max_tokens": 8, "seed": seed, "temperature": 1, **more}


async def chat(client, seed):
    return right(*await client.ask("POST", "/v1/chat/completions", chat_body(seed)))["choices"][0]["message"]["content"]


async def streamed_chat(client, seed):
    """The pieces of a stream make up the whole text; then comes the end mark."""
    status, body = await client.ask("POST", "/v1/chat/completions", chat_body(seed, stream=True, stream_options={"include_usage": True}))
    events = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
    assert status == 200 and events and events[-1] == "[DONE]", (status, body[-500:])
    chunks = [json.loads(event) for event in events[:-1]]
    assert chunks[-1]["usage"]["completion_tokens"] == 8, chunks[-1]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


async def predicted(client, seed):
    """A durable task: it is accepted, waited for, and found again under its idempotency key."""
    asked = {"text": f"Task {seed}", "max_length": 6, "temperature": 1, "seed": seed, "idempotency_key": f"{client.key} {seed}"}
    task = right(*await client.ask("POST", "/api/v1/predict", asked))["task_id"]
    done = right(*await client.ask("GET", f"/api/v1/task/{task}?wait=50"))
    assert done["status"] == "completed", done
    return done["result"]["text"]


async def embedded(client, seed):
    answer = right(*await client.ask("POST", "/v1/embeddings", {"input": [f"text {seed}", "x"], "encoding_format": "base64", "dimensions": 32}))
    return [base64.b64decode(one["embedding"]) for one in answer["data"]]


async def tokenized(client, seed):
    return right(*await client.ask("POST", "/tokenize", {"prompt": f"some text of number {seed}"}))["tokens"]


async def constrained(client, seed):
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y", seed]}}, "required": ["a"], "additionalProperties": False}
    asked = chat_body(seed, max_tokens=40, response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema, "strict": True}})
    text = right(*await client.ask("POST", "/v1/chat/completions", asked))["choices"][0]["message"]["content"]
    assert json.loads(text)["a"] in ("x", "y", seed), text
    return text


async def pipelined(client, seed):
    """The answers come in the order of the requests, each with its own body and in time."""
    reader, writer = await client.connect()
    writer.write(b"".join(request("POST", "/echo", {"i": [seed, i]}, client.key) for i in range(PIPELINED)))
    for i in range(PIPELINED):
        assert right(*await asyncio.wait_for(read_answer(reader), ENOUGH))["echo"] == {"i": [seed, i]}
    writer.close()


def form(text):
    return b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\nContent-Disposition: form-data; ' \
           b'name="file"; filename="in.jsonl"\r\n\r\n' + text + b"\r\n--b--\r\n"


async def upload(client, text):
    return right(*await client.ask("POST", "/v1/files", form(text), kind="multipart/form-data; boundary=b"))["id"]


async def filed(client, seed):
    """What was sent comes back, byte for byte, and can be deleted."""
    text = random.Random(seed).randbytes(200000).hex().encode()
    file = await upload(client, text)
    status, body = await client.ask("GET", f"/v1/files/{file}/content")
    assert status == 200 and body == text, (status, body[:200])
    assert right(*await client.ask("DELETE", f"/v1/files/{file}"))["deleted"]


async def batched(client, seed):
    """Every line of a batch has the answer that the same request has alone."""
    lines = [{"custom_id": f"line {i}", "method": "POST", "url": "/v1/chat/completions", "body": chat_body(seed + i)} for i in range(4)]
    source = await upload(client, "".join(json.dumps(line) + "\n" for line in lines).encode())
    asked = {"input_file_id": source, "endpoint": "/v1/chat/completions", "completion_window": "1h"}
    batch = right(*await client.ask("POST", "/v1/batches", asked))
    while batch["status"] in ("validating", "in_progress", "finalizing"):
        await asyncio.sleep(0.1)  # Clients look after their batches like this.
        batch = right(*await client.ask("GET", "/v1/batches/" + batch["id"]))
    assert batch["status"] == "completed" and batch["request_counts"] == {"total": 4, "completed": 4, "failed": 0}, batch
    status, body = await client.ask("GET", f"/v1/files/{batch['output_file_id']}/content")
    assert status == 200, body[:500]
    for file in (source, batch["output_file_id"]):
        right(*await client.ask("DELETE", "/v1/files/" + file))
    answers = {one["custom_id"]: one["response"]["body"]["choices"][0]["message"]["content"] for one in map(json.loads, body.splitlines())}
    return [answers[line["custom_id"]] for line in lines]


async def healthy(client, seed):
    """Looks again and again, on one connection."""
    reader, writer = await client.connect()
    for path in ("/health", "/ready", "/version") * 5:
        writer.write(request("GET", path, key=client.key))
        answer = right(*await read_answer(reader))
        assert path != "/health" or answer["status"] == "ok", answer
    writer.close()


GOOD = [completion, chat, streamed_chat, predicted, embedded, tokenized, constrained, pipelined, filed, batched, healthy]
ANSWERS = {pipelined: PIPELINED}  # That a round of a habit waits for one after another, where it is more than a few.
VARIANTS = range(6)


class Siege:
    """One server, its besiegers and its good clients; and what went wrong."""

    def __init__(self, server, context):
        self.server, self.context, self.url = server, context, urllib.parse.urlsplit(server.url)
        self.expected, self.wrong, self.slowest = {}, [], {}
        self.rounds = {}
        self.bodies = {key: bodies_of(key) for key in ("eve", "key-of-mallory")}

    def client(self, address, key):
        return Client(self.url, self.context, 0, address, key)

    async def learn(self):
        """Asks for the answers of the idle server."""
        ada = self.client("127.0.0.1", "key-of-ada")
        for habit in GOOD:
            for seed in VARIANTS:
                self.expected[habit, seed] = await habit(ada, seed)

    def note(self, what, fault):
        if len(self.wrong) < 50:
            self.wrong.append(f"{what}: {type(fault).__name__}: {fault}"[:1500])

    async def live(self, client, habit, until, draw):
        """A good client: one request after another, each answered as when the server was idle."""
        while asyncio.get_running_loop().time() < until:
            seed = draw.choice(VARIANTS)
            begun = time.monotonic()
            try:
                found = await asyncio.wait_for(habit(client, seed), ENOUGH * ANSWERS.get(habit, 1))
                assert found == self.expected[habit, seed], (found, self.expected[habit, seed])
            except Exception as fault:  # All faults are reported at the end.
                self.note(f"{habit.__name__} of {client.key}", fault)
            taken = time.monotonic() - begun
            self.slowest[habit.__name__] = max(self.slowest.get(habit.__name__, 0), round(taken, 2))
            self.rounds[habit.__name__] = self.rounds.get(habit.__name__, 0) + 1

    async def besiege(self, client, habit, arguments, until):
        while asyncio.get_running_loop().time() < until:
            try:
                await habit(client, *arguments)
            except OSError:  # The server may close the connection at any moment.
                await asyncio.sleep(0.05)
            except Exception as fault:
                self.note(habit.__name__, fault)
            self.rounds[habit.__name__] = self.rounds.get(habit.__name__, 0) + 1

    async def run(self, seconds, seed):
        until = asyncio.get_running_loop().time() + seconds
        good = [self.client("127.0.0.1", "key-of-ada"), self.client("127.0.0.4", "key-of-ben")]
        hostile = hostile_habits(self.client("127.0.0.2", "eve"), self.client("127.0.0.3", "key-of-mallory"), self.bodies, seed)
        work = [self.live(client, habit, until, random.Random(i)) for i, client in enumerate(good) for habit in GOOD]
        work += [self.besiege(client, habit, arguments, until) for client, habit, *arguments in hostile]
        await asyncio.gather(*work)

    def settled(self, sockets, most):
        """Returns memory and sockets once they are back, or after the time for it. Memory is asked for over a connection, which
        the server closes a moment after its answer, so sockets are counted until they are back too."""
        deadline = time.monotonic() + SETTLED
        memory = held_mib(self.server)
        while True:
            left = open_sockets(self.server)
            if (memory <= most and left <= sockets) or time.monotonic() >= deadline:
                return memory, left
            time.sleep(0.2)  # Nothing announces a process' memory.
            if memory > most:
                memory = held_mib(self.server)


def metrics(server):
    return server.get("/metrics", headers={"Authorization": "Bearer key-of-root"}, verify=False).text


def held_mib(server):
    if not SANITIZED:
        return memory_mib(server)
    return float(re.search(r"^altlas_process_heap_bytes (\S+)$", metrics(server), re.M)[1]) / (1 << 20)


def counted(server, status):
    text = metrics(server)
    lines = [line for line in text.splitlines() if line.startswith("altlas_server_requests_total{")]
    assert any('status="200"' in line for line in lines), text[:500]
    return [line for line in lines if f'status="{status}"' in line and not line.endswith(" 0")]


@pytest.mark.filterwarnings("ignore:Unverified HTTPS")
@pytest.mark.parametrize("tls", [False, True] if "ALTLAS_SIEGE_SECONDS" in os.environ else [False], ids=lambda tls: "tls" if tls else "plain")
def test_good_clients_live_through_it(certificate, tls):
    secret = ("--tls-cert", certificate[0], "--tls-key", certificate[1]) if tls else ()
    server = Server("--devices", "sim:h100:2", *secret, config=CONFIG, env=ENVIRONMENT)
    siege = Siege(server, ssl.create_default_context(cafile=certificate[0]) if tls else None)
    try:
        sockets = open_sockets(server)
        asyncio.run(siege.learn())
        asyncio.run(siege.run(WARM_UP, 1))
        start, _ = siege.settled(sockets, 0 if SECONDS > 60 else held_mib(server))
        asyncio.run(siege.run(SECONDS / 2, 2))
        memory, left = siege.settled(sockets, start * (1 + KEPT) + KEPT_MIB)
        most = memory_mib(server, "VmHWM")
        print(f"{siege.rounds}\nslowest: {siege.slowest}\nmemory: {start:.0f} MiB, {memory:.0f} afterwards; resident {memory_mib(server):.0f}, {most:.0f} at most; "
              f"{left - sockets} sockets more")
        assert not siege.wrong, "\n".join(siege.wrong)
        assert min(siege.rounds[habit.__name__] for habit in GOOD) >= 2
        assert left <= sockets, "connections stay open without their clients"
        assert memory <= start * (1 + KEPT) + KEPT_MIB, (start, memory)
        assert not counted(server, 500)
        server.stop()
        assert not any(word in server.log() for word in ("Sanitizer", "runtime error")), server.log()[-8000:]
    finally:
        server.close()
