"""Models whose weights make NaN or infinity: every way to ask says so with an error, none with text or a vector."""
import json
import struct
import time

import pytest
import requests

from conftest import Server
from test_folder import write_decoder, write_encoder


def spoil(folder, tensor, value):
    """Changes the first value of each row of a tensor of F32."""
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    length, = struct.unpack_from("<Q", data)
    entry = json.loads(data[8:8 + length])[tensor]
    begin, end = (8 + length + at for at in entry["data_offsets"])
    for at in range(begin, end, 4 * entry["shape"][-1]):
        struct.pack_into("<f", data, at, value)
    path.write_bytes(data)
    return folder


def served(folder):
    return Server("--devices", "cpu:2:1", "--model", str(folder))


@pytest.fixture(scope="module", params=[("model.layers.1.mlp.down_proj.weight", float("nan")),
                                        ("model.layers.0.self_attn.q_proj.bias", float("inf")),
                                        ("model.norm.weight", 3e38)], ids=lambda one: f"{one[0]}={one[1]}")
def server(request, tmp_path_factory):
    folder = write_decoder(tmp_path_factory.mktemp("broken") / "spoilt-model")
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {
        "chat_template": "{% for message in messages %}{{ message.content }}{% endfor %}"}))
    server = served(spoil(folder, *request.param))
    yield server
    server.stop()
    server.close()


CHAT = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8}
TEXT = {"prompt": "Hi", "max_tokens": 8}


def says_so(error):
    message = error["message"]
    return "not finite (NaN or infinity)" in message and "weights of model 'spoilt-model'" in message


@pytest.mark.parametrize("path, body", [
    ("/v1/completions", TEXT), ("/v1/completions", TEXT | {"temperature": 0}), ("/v1/completions", TEXT | {"logprobs": 3}),
    ("/v1/completions", TEXT | {"guided_regex": "[0-9]{4}"}), ("/v1/completions", TEXT | {"echo": True, "logprobs": 1}),
    ("/v1/chat/completions", CHAT), ("/v1/chat/completions", CHAT | {"logprobs": True, "top_logprobs": 2}),
    ("/v1/chat/completions", CHAT | {"response_format": {"type": "json_object"}}), ("/v1/embeddings", {"input": "Hi"}),
], ids=str)
def test_every_way_says_so(server, path, body):
    answer = server.post(path, body)
    assert answer.status_code == 500, answer.text
    assert says_so(answer.json()["error"]), answer.text


def test_streams_end_with_it(server):
    answer = requests.post(server.url + "/v1/chat/completions", json=CHAT | {"stream": True}, timeout=60)
    lines = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    errors = [one["error"] for one in lines if "error" in one] or ([answer.json()["error"]] if not lines else [])
    assert errors and says_so(errors[-1]), answer.text
    assert not any(choice["delta"].get("content") for one in lines for choice in one.get("choices", []))


def test_they_are_counted(server):
    server.post("/v1/completions", TEXT)
    for _ in range(100):  # Replicas tell their counts twice a second.
        text = requests.get(server.url + "/metrics", timeout=10).text
        lines = [one for one in text.splitlines() if one.startswith("altlas_engine_not_finite_outputs_total{")]
        if sum(float(one.split()[-1]) for one in lines) > 0:
            return
        time.sleep(0.1)
    pytest.fail(str(lines))


def test_an_encoder_says_so(tmp_path):
    folder = write_encoder(tmp_path / "spoilt-model")
    header = (folder / "model.safetensors").read_bytes()
    names = json.loads(header[8:8 + struct.unpack_from("<Q", header)[0]])
    tensor = next(name for name in names if name.endswith("intermediate.dense.weight"))
    server = served(spoil(folder, tensor, float("nan")))
    try:
        answer = server.post("/v1/embeddings", {"input": "Hi"})
        assert answer.status_code == 500, answer.text
        assert says_so(answer.json()["error"]), answer.text
    finally:
        server.stop()
        server.close()
