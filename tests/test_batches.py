"""/v1/files and /v1/batches with the official client: results, faults, cancelling, expiry, restarts, limits, owners."""
import json
import pathlib
import time

import openai
import pytest
import requests

SIM = ["--devices", "sim:h100:2", "--max-model-len", "512", "--served-model-name", "m"]


def lines(count, endpoint="/v1/completions", first=0, **body):
    body = {"model": "m", "prompt": "one two", "max_tokens": 4, **body}
    return "".join(json.dumps({"custom_id": f"id-{i}", "method": "POST", "url": endpoint, "body": {**body, "seed": i}}) + "\n"
                   for i in range(first, first + count))


def upload(client, text):
    return client.files.create(file=("in.jsonl", text.encode()), purpose="batch")


def wait_over(client, batch, seconds=120):
    deadline = time.monotonic() + seconds
    while batch.status not in ("completed", "failed", "expired", "cancelled"):
        assert time.monotonic() < deadline, batch
        batch = client.batches.retrieve(batch.id)
    return batch


def results(client, file_id):
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


@pytest.fixture(scope="module")
def server():
    from conftest import Server
    server = Server(*SIM)
    yield server
    server.stop()
    server.close()


@pytest.fixture
def client(server):
    return server.openai()


def test_files(client, server):
    text = lines(3)
    made = upload(client, text)
    assert made.bytes == len(text) and made.purpose == "batch" and made.filename == "in.jsonl" and made.object == "file"
    assert client.files.retrieve(made.id).id == made.id
    assert client.files.content(made.id).text == text
    for ask in (requests.get, requests.head):
        answer = ask(f"{server.url}/v1/files/{made.id}/content", timeout=60)
        assert answer.headers["Content-Length"] == str(len(text)) and "Transfer-Encoding" not in answer.headers
    other = upload(client, "x")
    assert [f.id for f in client.files.list(limit=1)][:2] == [other.id, made.id], "the client asks for the next page itself"
    assert made.id in [f.id for f in client.files.list(order="asc", purpose="batch")]
    assert client.files.delete(made.id).deleted
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)
    with pytest.raises(openai.BadRequestError) as wrong:
        client.files.create(file=("x", b"x"), purpose="fine-tune")
    assert wrong.value.param == "purpose"
    missing = requests.post(server.url + "/v1/files", files={"purpose": (None, "batch")})
    assert missing.status_code == 400 and missing.json()["error"]["param"] == "file"
    assert requests.post(server.url + "/v1/files", json={}).status_code == 415
    assert requests.get(server.url + "/v1/files?limit=0").status_code == 400
    assert requests.get(server.url + "/v1/files?order=up").json()["error"]["param"] == "order"
    assert requests.get(server.url + "/v1/files?after=file-none").status_code == 404


def test_batch_of_completions(client):
    source = upload(client, lines(20))
    batch = client.batches.create(input_file_id=source.id, endpoint="/v1/completions", completion_window="24h", metadata={"who": "me"})
    assert batch.status == "validating" and batch.metadata == {"who": "me"} and batch.expires_at - batch.created_at == 86400
    batch = wait_over(client, batch)
    assert batch.status == "completed" and batch.error_file_id is None, batch
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (20, 20, 0)
    assert batch.in_progress_at and batch.finalizing_at and batch.completed_at
    answers = results(client, batch.output_file_id)
    assert sorted(a["custom_id"] for a in answers) == sorted(f"id-{i}" for i in range(20))
    assert len({a["id"] for a in answers}) == 20
    for answer in answers:
        assert answer["error"] is None and answer["response"]["status_code"] == 200
        assert answer["response"]["body"]["usage"]["completion_tokens"] == 4
    one = next(a for a in answers if a["custom_id"] == "id-7")
    direct = client.completions.create(model="m", prompt="one two", max_tokens=4, seed=7)
    assert one["response"]["body"]["choices"][0]["text"] == direct.choices[0].text
    assert batch.id in [b.id for b in client.batches.list(limit=2)]


def test_batch_of_chats_with_faults(client):
    text = "".join(json.dumps({"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}) + "\n" for name, body in {
        "good": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2},
        "less": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2, "guided_json": {"type": "array", "uniqueItems": True}},
        "hot": {"messages": [{"role": "user", "content": "x"}], "temperature": 9},
        "model": {"messages": [{"role": "user", "content": "x"}], "model": "other"}}.items())
    batch = wait_over(client, client.batches.create(input_file_id=upload(client, text).id, endpoint="/v1/chat/completions", completion_window="24h"))
    assert batch.status == "completed"
    assert (batch.request_counts.completed, batch.request_counts.failed) == (2, 2)
    faults = {f["custom_id"]: f["response"] for f in results(client, batch.error_file_id)}
    assert faults["hot"]["status_code"] == 400 and faults["hot"]["body"]["error"]["param"] == "temperature"
    assert faults["model"]["status_code"] == 404
    answers = {a["custom_id"]: a["response"] for a in results(client, batch.output_file_id)}
    assert set(answers) == {"good", "less"} and answers["less"]["ignored"] == "guided_json#/uniqueItems" and "ignored" not in answers["good"]


def wait_gone(client, file_id, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        try:
            client.files.retrieve(file_id)
        except openai.NotFoundError:
            return
        assert time.monotonic() < deadline, f"{file_id} has not expired"


def test_files_expire(client, server):
    keep = {"anchor": "created_at", "seconds": 3600}
    kept = client.files.create(file=("a", b"x"), purpose="batch", expires_after=keep)
    assert kept.expires_at == kept.created_at + 3600
    assert upload(client, "x").expires_at is None
    short = client.files.create(file=("a", b"x"), purpose="batch", expires_after={**keep, "seconds": 1})
    source = upload(client, lines(2))
    batch = client.batches.create(input_file_id=source.id, endpoint="/v1/completions", completion_window="24h",
                                  extra_body={"output_expires_after": {**keep, "seconds": 2}})
    wait_gone(client, short.id)
    assert short.id not in [f.id for f in client.files.list()]
    for call in (client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(short.id)
    batch = wait_over(client, batch)
    assert batch.status == "completed" and batch.request_counts.completed == 2
    wait_gone(client, batch.output_file_id)
    assert client.files.retrieve(kept.id).id == kept.id and client.files.retrieve(source.id).id == source.id
    form = {"purpose": (None, "batch"), "file": ("x", "x")}
    whole = requests.post(server.url + "/v1/files", files={**form, "expires_after": (None, json.dumps(keep))}).json()
    assert whole["expires_at"] == whole["created_at"] + 3600
    for change, param in (({"expires_after[anchor]": "now", "expires_after[seconds]": "60"}, "expires_after.anchor"),
                          ({"expires_after[anchor]": "created_at", "expires_after[seconds]": "soon"}, "expires_after.seconds"),
                          ({"expires_after[seconds]": "60"}, "expires_after.anchor"), ({"expires_after": "60 s"}, "expires_after")):
        answer = requests.post(server.url + "/v1/files", files={**form, **{name: (None, text) for name, text in change.items()}})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), change
    with pytest.raises(openai.BadRequestError) as wrong:
        client.batches.create(input_file_id=source.id, endpoint="/v1/completions", completion_window="24h",
                              extra_body={"output_expires_after": {"anchor": "created_at", "seconds": 2592001}})
    assert wrong.value.param == "output_expires_after.seconds"


def test_a_download_ends_whole_though_the_file_is_deleted(client, server):
    text = lines(40_000)
    made = upload(client, text)
    with requests.get(f"{server.url}/v1/files/{made.id}/content", stream=True, timeout=60) as answer:
        pieces = answer.iter_content(1 << 16)
        first = next(pieces)
        assert client.files.delete(made.id).deleted
        assert (first + b"".join(pieces)).decode() == text


def test_every_line_of_lists_is_answered(client):
    """More tasks end at once than a server keeps finished ones."""
    words = [f"w {i}" for i in range(48)]
    for endpoint, body, count in (("/v1/embeddings", {"input": words}, 30), ("/v1/completions", {"prompt": words, "max_tokens": 1}, 20),
                                  ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "n": 40, "max_tokens": 1}, 20)):
        text = "".join(json.dumps({"custom_id": str(i), "method": "POST", "url": endpoint, "body": {"model": "m", **body}}) + "\n" for i in range(count))
        batch = wait_over(client, client.batches.create(input_file_id=upload(client, text).id, endpoint=endpoint, completion_window="24h"))
        assert batch.status == "completed" and batch.request_counts.completed == batch.request_counts.total == count, batch
        for answer in results(client, batch.output_file_id):
            found = answer["response"]["body"]
            assert len(found["data" if endpoint == "/v1/embeddings" else "choices"]) == (40 if "n" in body else 48)


def test_a_long_batch_does_not_hold_up_short_ones(start_server):
    server = start_server(*SIM, config="server: {batch_parallel_max: 2}")
    client = server.openai()

    def begin(count):
        return client.batches.create(input_file_id=upload(client, lines(count, max_tokens=100)).id, endpoint="/v1/completions", completion_window="24h")

    long = begin(300)
    while client.batches.retrieve(long.id).status == "validating":
        pass
    for _ in range(4):
        assert wait_over(client, begin(4)).status == "completed"
        assert client.batches.retrieve(long.id).status == "in_progress"
    client.batches.cancel(long.id)
    server.stop()


@pytest.mark.parametrize("away_s, done_before", [(0.1, 5), (0.5, 5), (1.5, 5), (1.0, 0)])
def test_an_input_that_cant_be_read_for_a_while(client, server, away_s, done_before):
    """Lines that come while the input can't be read must not get lost from a batch that says it is completed."""
    made = upload(client, lines(300))
    path = next(pathlib.Path(server.data_dir).rglob(f"{made.id}.data"))
    away = path.with_suffix(".away")
    if done_before == 0:
        path.rename(away)
    batch = client.batches.create(input_file_id=made.id, endpoint="/v1/completions", completion_window="24h")
    deadline = time.monotonic() + 30
    while client.batches.retrieve(batch.id).request_counts.completed < done_before:
        assert time.monotonic() < deadline
    if done_before > 0:
        path.rename(away)
    time.sleep(away_s)  # The input is away for this time.
    away.rename(path)
    batch = wait_over(client, batch)
    counts = batch.request_counts
    assert (batch.status, counts.completed, counts.failed) == ("completed", 300, 0), batch
    assert {one["custom_id"] for one in results(client, batch.output_file_id)} == {f"id-{i}" for i in range(300)}


def test_wrong_input_fails_the_batch(client):
    text = lines(1) + "{bad\n" + lines(1) + lines(1, first=5, endpoint="/v1/embeddings")
    batch = wait_over(client, client.batches.create(input_file_id=upload(client, text).id, endpoint="/v1/completions", completion_window="24h"))
    assert batch.status == "failed" and batch.output_file_id is None
    found = [(e.line, e.code, e.param) for e in batch.errors.data]
    assert found == [(2, "invalid_json_line", None), (3, "duplicate_custom_id", "custom_id"), (4, "invalid_request", "url")]


def test_wrong_requests(client):
    source = upload(client, lines(1))
    for change, param in (({"endpoint": "/v1/images"}, "endpoint"), ({"completion_window": "8d"}, "completion_window"),
                          ({"completion_window": "soon"}, "completion_window"), ({"metadata": {"a": "x" * 513}}, "metadata")):
        with pytest.raises(openai.BadRequestError) as wrong:
            client.batches.create(**{"input_file_id": source.id, "endpoint": "/v1/completions", "completion_window": "24h", **change})
        assert wrong.value.param == param
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="file-none", endpoint="/v1/completions", completion_window="24h")
    for call in (client.batches.retrieve, client.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            call("batch_none")


def test_cancel(client):
    source = upload(client, lines(2000, max_tokens=400, ignore_eos=True))
    batch = client.batches.create(input_file_id=source.id, endpoint="/v1/completions", completion_window="24h")
    with pytest.raises(openai.ConflictError):
        client.files.delete(source.id)
    assert client.batches.cancel(batch.id).status in ("cancelling", "cancelled")
    batch = wait_over(client, batch)
    assert batch.status == "cancelled" and batch.cancelled_at and batch.request_counts.completed < 2000
    counts = batch.request_counts
    assert counts.completed + counts.failed == counts.total == 2000
    done = results(client, batch.output_file_id) if batch.output_file_id else []
    rest = results(client, batch.error_file_id)
    assert (len(done), len(rest)) == (counts.completed, counts.failed)
    assert {line["error"]["code"] for line in rest} == {"batch_cancelled"}
    assert {line["custom_id"] for line in done + rest} == {f"id-{i}" for i in range(2000)}
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)
    assert client.files.delete(source.id).deleted


def test_expiry(client):
    source = upload(client, lines(3000, max_tokens=400, ignore_eos=True))
    batch = wait_over(client, client.batches.create(input_file_id=source.id, endpoint="/v1/completions", completion_window="1s"))
    assert batch.status == "expired" and batch.expired_at
    counts = batch.request_counts
    assert counts.total == 3000 and counts.completed + counts.failed == 3000 and counts.failed > 0
    expired = results(client, batch.error_file_id)
    assert len(expired) == counts.failed and expired[0]["response"] is None and expired[0]["error"]["code"] == "batch_expired"


def test_goes_on_after_kill(start_server):
    """Nothing whose result was written is done again, and the results are those of a run without a kill."""
    server = start_server(*SIM)
    client = server.openai()
    count = 1500
    source = upload(client, lines(count, max_tokens=40))
    batch = client.batches.create(input_file_id=source.id, endpoint="/v1/completions", completion_window="24h")
    kills = 0
    while kills < 3:
        while client.batches.retrieve(batch.id).request_counts.completed < (kills + 1) * 100:
            pass
        seen = client.batches.retrieve(batch.id).request_counts.completed
        server.kill()
        server = start_server(*SIM, data_dir=server.data_dir)
        client = server.openai()
        kills += 1
        assert client.batches.retrieve(batch.id).request_counts.completed >= seen
    batch = wait_over(client, batch)
    assert batch.status == "completed" and batch.request_counts.completed == count
    answers = results(client, batch.output_file_id)
    assert len(answers) == count and len({a["custom_id"] for a in answers}) == count
    for i in (0, 99, 700, count - 1):
        direct = client.completions.create(model="m", prompt="one two", max_tokens=40, seed=i)
        one = next(a for a in answers if a["custom_id"] == f"id-{i}")
        assert one["response"]["body"]["choices"][0]["text"] == direct.choices[0].text
    server.stop()


def test_stops_and_goes_on(start_server):
    """SIGTERM in the middle of a batch: exit 0, and the next start finishes it."""
    server = start_server(*SIM)
    client = server.openai()
    batch = client.batches.create(input_file_id=upload(client, lines(800, max_tokens=40)).id, endpoint="/v1/completions", completion_window="24h")
    while client.batches.retrieve(batch.id).request_counts.completed < 50:
        pass
    server.stop()
    server = start_server(*SIM, data_dir=server.data_dir)
    client = server.openai()
    batch = wait_over(client, batch)
    assert batch.status == "completed" and len(results(client, batch.output_file_id)) == 800 and batch.error_file_id is None
    server.stop()


LIMITS = """
server: {file_bytes_max: 20KiB, body_bytes_max: 4KiB, files_max: 4, files_bytes_max: 1MiB, batch_lines_max: 5, batches_max: 2}
auth:
  keys:
    - {name: ann, key: ann-key, role: user}
    - {name: bob, key: bob-key, role: user}
    - {name: root, key: root-key, role: admin}
"""


def test_limits_and_owners(start_server):
    server = start_server(*SIM, config=LIMITS)
    ann, bob, root = (server.openai(name + "-key") for name in ("ann", "bob", "root"))
    with pytest.raises(openai.AuthenticationError):
        server.openai("no").files.list()
    with pytest.raises(openai.APIStatusError) as large:
        upload(ann, "x" * (30 << 10))
    assert large.value.status_code == 413
    chunked = requests.post(server.url + "/v1/files", data=(b"x" * 8192 for _ in range(20)),
                            headers={"Authorization": "Bearer ann-key", "Content-Type": "multipart/form-data; boundary=b"})
    assert chunked.status_code == 413 and chunked.json()["error"]["type"] == "invalid_request_error"
    unknown = requests.post(server.url + "/v1/files", data=b"x" * (70 << 10), headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert unknown.status_code == 401
    mine = upload(ann, lines(5))
    assert requests.post(server.url + "/v1/completions", data=b"x" * 5000,
                         headers={"Authorization": "Bearer ann-key", "Content-Type": "application/json"}).status_code == 413
    for call in (bob.files.retrieve, bob.files.content, bob.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(mine.id)
    assert [f.id for f in bob.files.list()] == [] and [f.id for f in root.files.list()] == [mine.id]
    with pytest.raises(openai.NotFoundError):
        bob.batches.create(input_file_id=mine.id, endpoint="/v1/completions", completion_window="24h")
    batch = ann.batches.create(input_file_id=mine.id, endpoint="/v1/completions", completion_window="24h")
    with pytest.raises(openai.NotFoundError):
        bob.batches.retrieve(batch.id)
    assert root.batches.retrieve(batch.id).id == batch.id and bob.batches.list().data == []
    batch = wait_over(ann, batch)
    assert results(ann, batch.output_file_id)
    many = upload(ann, lines(6))
    with pytest.raises(openai.RateLimitError) as full:
        upload(ann, "x")
    assert "files_max" in full.value.message
    too_long = wait_over(ann, ann.batches.create(input_file_id=many.id, endpoint="/v1/completions", completion_window="24h"))
    assert too_long.status == "failed" and too_long.errors.data[0].code == "too_many_lines"
    # The oldest batch that is over makes room.
    ann.batches.create(input_file_id=mine.id, endpoint="/v1/completions", completion_window="24h")
    with pytest.raises(openai.NotFoundError):
        ann.batches.retrieve(batch.id)
    server.stop()


def test_without_data_directory(start_server):
    server = start_server(*SIM, data_dir="none")
    client = server.openai()
    batch = wait_over(client, client.batches.create(input_file_id=upload(client, lines(3)).id, endpoint="/v1/completions", completion_window="24h"))
    assert batch.status == "completed" and len(results(client, batch.output_file_id)) == 3
    server.stop()
