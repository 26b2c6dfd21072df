"""LoRA adapters that are loaded and unloaded while the server runs, as vLLM's users do it: on every replica or on none, again
after a worker was killed, without a trace in running requests. Refusals have a reason."""
import concurrent.futures
import os
import signal
import time

import openai
import pytest

from conftest import Server
from test_adapters import PROMPT, write_adapter
from test_recovery import worker_pids

ADMIN, USER = {"Authorization": "Bearer boss"}, {"Authorization": "Bearer guest"}
CONFIG = """
auth:
  keys:
    - {name: boss, key: boss, role: admin}
    - {name: guest, key: guest, role: user}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("loras")
    write_adapter(root / "poet", 0)
    write_adapter(root / "lawyer", 1)
    write_adapter(root / "wide", 2, hidden=512)
    cut = write_adapter(root / "cut", 3) / "adapter_model.safetensors"
    cut.write_bytes(cut.read_bytes()[:5000])
    write_adapter(root / "liar", 4)
    (root / "liar" / "adapter_model.safetensors").write_bytes(b"\xff" * 64)
    (root / "noise.gguf").write_bytes(b"GGUF" + bytes(range(256)))
    os.mkfifo(root / "pipe.gguf")
    (root / "loop").symlink_to(root / "loop")
    write_adapter(root.parent / "elsewhere", 5)
    return root


@pytest.fixture(scope="module")
def server(folder):
    server = Server("--devices", "cpu:2", "--max-model-len", "1024", "--lora-folder", str(folder), "--max-loras", "3", "--max-lora-rank", "4",
                    config=CONFIG)
    yield server
    server.stop()
    server.close()


@pytest.fixture
def client(server):
    return server.openai("boss")


def load(server, name, path, headers=ADMIN, **more):
    return server.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path), **more}, headers=headers)


def unload(server, name, headers=ADMIN):
    return server.post("/v1/unload_lora_adapter", {"lora_name": name}, headers=headers)


def models(client):
    return [one.id for one in client.models.list().data]


def complete(client, model, tokens=24):
    answer = client.completions.create(model=model, prompt=PROMPT, max_tokens=tokens, temperature=0, extra_body={"ignore_eos": True})
    return answer.choices[0].text


def gpu(server, number):
    return {"gpu_options": {"specific_gpu_id": number}}


def memory(server):
    return [device["memory_used"] for device in server.get("/api/v1/gpus", headers=ADMIN).json()["gpus"]]


def test_load_choose_unload(server, client, folder):
    base = models(client)[0]
    plain = complete(client, base)
    used = memory(server)
    done = load(server, "poet", "poet")
    assert done.status_code == 200 and "'poet' added" in done.text, done.text
    assert models(client) == [base, "poet"] and client.models.retrieve("poet").parent == base
    assert all(after > before for after, before in zip(memory(server), used))
    assert server.get("/api/v1/deployments", headers=ADMIN).json()["deployments"]["default"]["adapters"] == ["poet"]
    texts = {client.completions.create(model="poet", prompt=PROMPT, max_tokens=24, temperature=0, extra_body={"ignore_eos": True, **gpu(server, n)})
             .choices[0].text for n in (0, 1)}
    assert len(texts) == 1 and plain not in texts, "both replicas have it"
    assert complete(client, base) == plain
    again = load(server, "poet", folder / "poet")
    assert again.status_code == 400 and "loaded already" in again.json()["error"]["message"]
    assert load(server, base, "lawyer").status_code == 400
    assert unload(server, "poet").status_code == 200
    assert models(client) == [base] and memory(server) == used
    with pytest.raises(openai.NotFoundError):
        complete(client, "poet")
    missing = unload(server, "poet")
    assert missing.status_code == 404 and missing.json()["error"]["param"] == "lora_name"
    # Another file under the same name is another adapter: cached prefixes don't count for it.
    assert load(server, "poet", "lawyer").status_code == 200
    assert complete(client, "poet") not in texts | {plain}
    assert unload(server, "poet").status_code == 200


@pytest.mark.parametrize("path, status, reason", [
    ("wide", 400, "the model asks for [rank, 896] and [896, rank]"), ("cut", 400, "adapter_model.safetensors"), ("liar", 400, "safetensors"),
    ("noise.gguf", 400, "noise.gguf"), ("pipe.gguf", 400, "not a regular file"), ("none", 404, "is not there"),
    ("../elsewhere", 400, "is not below a folder"), ("/etc/passwd", 400, "is not below a folder"), ("loop", 400, "is not below"),
    (".", 400, "is not below"), ("", 400, "lora_path"), ("a\nb", 400, "lora_path"), ("x" * 5000, 400, "lora_path")])
def test_refused_with_the_reason(server, client, path, status, reason):
    before = models(client)
    done = load(server, "bad", path)
    assert done.status_code == status, done.text
    assert reason in done.json()["error"]["message"]
    assert models(client) == before


def test_roles_and_limits(server, client, folder):
    assert load(server, "poet", "poet", headers=USER).status_code == 403
    assert unload(server, "poet", headers=USER).status_code == 403
    assert load(server, "poet", "poet", headers={}).status_code == 401
    for name in ("a", "b", "c"):
        assert load(server, name, "poet").status_code == 200
    over = load(server, "d", "poet")
    assert over.status_code == 400 and "max_loras is 3" in over.json()["error"]["message"]
    for name in ("a", "b", "c"):
        assert unload(server, name).status_code == 200


def test_running_requests_do_not_notice_and_unload_waits_for_them(server, client):
    base = models(client)[0]
    want = complete(client, base, tokens=200)
    assert load(server, "poet", "poet").status_code == 200
    own = complete(client, "poet", tokens=200)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = [pool.submit(complete, client, model, 200) for model in (base, "poet", base, "poet")]
        time.sleep(0.3)
        assert load(server, "lawyer", "lawyer").status_code == 200
        assert unload(server, "lawyer").status_code == 200
        gone = pool.submit(unload, server, "poet")
        assert [one.result() for one in running] == [want, own, want, own]
        assert gone.result().status_code == 200
    assert models(client) == [base]


def test_a_killed_worker_loads_it_again(server, client):
    assert load(server, "poet", "poet").status_code == 200
    want = complete(client, "poet")
    for pid in worker_pids_of(server):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            assert complete(client, "poet") == want
            break
        except openai.APIStatusError as error:
            assert error.status_code == 503, error
            time.sleep(0.2)
    assert {client.completions.create(model="poet", prompt=PROMPT, max_tokens=24, temperature=0, extra_body={"ignore_eos": True, **gpu(server, n)})
            .choices[0].text for n in (0, 1)} == {want}
    assert unload(server, "poet").status_code == 200


def worker_pids_of(server):
    class Admin:
        process = server.process

        @staticmethod
        def get(path):
            return server.get(path, headers=ADMIN)
    return worker_pids(Admin)


def test_switched_off_without_folders(sim_server):
    done = sim_server.post("/v1/load_lora_adapter", {"lora_name": "a", "lora_path": "/tmp"})
    assert done.status_code == 403 and "--lora-folder" in done.json()["error"]["message"]
