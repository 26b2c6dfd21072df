"""LoRA adapters as models of their own, guesses and the prefix cache in the metrics, with the real model."""
import json
import random
import struct

import openai
import pytest
import requests

from conftest import Server, run_cli

HIDDEN, LAYERS, RANK = 896, 24, 4


def write_adapter(folder, seed, hidden=HIDDEN, last=None):
    """Writes a PEFT folder with random matrices for q_proj and down_proj of every layer. `last` replaces the last matrix' last
    value."""
    draw = random.Random(seed)
    header, data = {}, bytearray()
    for layer in range(LAYERS):
        for module, rows, cols in (("self_attn.q_proj", hidden, hidden), ("mlp.down_proj", hidden, 4864)):
            base = f"base_model.model.model.layers.{layer}.{module}"
            for name, shape in ((f"{base}.lora_A.weight", [RANK, cols]), (f"{base}.lora_B.weight", [rows, RANK])):
                begin = len(data)
                count = shape[0] * shape[1]
                data += struct.pack(f"<{count}f", *(draw.uniform(-0.1, 0.1) for _ in range(count)))
                header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    if last is not None:
        data[-4:] = struct.pack("<f", last)
    text = json.dumps(header).encode()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": 8, "bias": "none"}))
    return folder


@pytest.fixture(scope="module")
def adapters(tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    return {name: write_adapter(root / name, seed) for seed, name in enumerate(("poet", "lawyer"))}


@pytest.fixture(scope="module")
def server(adapters):
    server = Server("--devices", "cpu", "--max-model-len", "1024", "--speculative-tokens", "8",
                    *(f"--lora={name}={path}" for name, path in adapters.items()))
    yield server
    server.stop()
    server.close()


@pytest.fixture
def client(server):
    return server.openai()


PROMPT = "def add(a, b):\n    return a + b\n\ndef add(a, b):\n    return a + b\n\ndef add(a, b):\n"


def complete(client, model, **more):
    more = {"max_tokens": 24, "temperature": 0} | more
    return client.completions.create(model=model, prompt=PROMPT, **more).choices[0].text


def test_adapters_are_models(client):
    base, *others = client.models.list().data
    assert [one.id for one in others] == ["lawyer", "poet"]
    assert all(one.parent == base.id for one in others)
    assert not hasattr(base, "parent")
    assert client.models.retrieve("poet").id == "poet"
    with pytest.raises(openai.NotFoundError, match="'painter' is not served here.*'poet'"):
        complete(client, "painter")


def test_each_request_has_its_own(client):
    base = client.models.list().data[0].id
    texts = {model: complete(client, model) for model in (base, "poet", "lawyer")}
    assert len(set(texts.values())) == 3
    assert "return a + b" in texts[base]
    for model, text in texts.items():
        assert complete(client, model) == text


def test_metrics_and_text_with_guesses(client, server):
    def value(name):
        text = requests.get(server.url + "/metrics", timeout=10).text
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + "{"))

    base = client.models.list().data[0].id
    for seed in (1, 2):
        assert complete(client, base, seed=seed, temperature=0.7) == complete(client, base, seed=seed, temperature=0.7)
    deadline = 100
    while value("altlas_engine_speculative_accepted_tokens_total") == 0 and deadline > 0:
        deadline -= 1  # Replicas report their counts twice a second, and asking takes time, too.
        complete(client, base)
    assert value("altlas_engine_speculative_accepted_tokens_total") > 0
    assert value("altlas_kv_prefix_hit_tokens_total") > 0
    assert value("altlas_kv_prefix_query_tokens_total") > value("altlas_kv_prefix_hit_tokens_total")


def test_bad_adapters_are_refused(tmp_path, adapters):
    wide = write_adapter(tmp_path / "wide", 9, hidden=512)
    nan = write_adapter(tmp_path / "nan", 9, last=float("nan"))
    infinite = write_adapter(tmp_path / "infinite", 9, last=float("-inf"))
    not_finite = "layers.23.mlp.down_proj.lora_B.weight' holds values that are not finite"
    for path, reason in ((wide, "the model asks for [rank, 896] and [896, rank]"), (tmp_path / "none", "none"),
                         (nan, not_finite), (infinite, not_finite)):
        done = run_cli("generate", "--devices", "cpu", f"--lora=x={path}", "--prompt", "a", "--max-tokens", "1")
        assert done.returncode == 2, done.stderr
        assert reason in done.stderr, done.stderr
    done = run_cli("generate", "--devices", "cpu", "--lora=nonsense", "--prompt", "a")
    assert done.returncode == 2
