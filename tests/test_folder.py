"""Hugging Face folders as --model: a tiny random decoder and a tiny random encoder, written here without torch."""
import json
import math
import random
import struct

import pytest
import requests

from conftest import Server, run_cli

HIDDEN, WIDE, LAYERS, HEADS = 32, 64, 2, 2


def byte_characters():
    """Returns the letters with which byte-level BPE writes the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in plain}
    for b in range(256):
        table.setdefault(b, chr(256 + len(table) - len(plain)))
    return [table[b] for b in range(256)]


def random_tensors(shapes):
    numbers = random.Random(7)
    out = {}
    for name, shape in shapes.items():
        norm = "norm" in name.lower() and name.endswith("weight")
        scale = 0.1 if norm or len(shape) == 1 else 1.5 / math.sqrt(shape[1])
        out[name] = (shape, [numbers.gauss(1.0 if norm else 0.0, scale) for _ in range(math.prod(shape))])
    return out


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        packed = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(packed)]}
        data += packed
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_decoder(folder, shards=1):
    shapes = {"model.embed_tokens.weight": [260, HIDDEN], "model.norm.weight": [HIDDEN]}
    for i in range(LAYERS):
        base = f"model.layers.{i}."
        shapes |= {base + "input_layernorm.weight": [HIDDEN], base + "post_attention_layernorm.weight": [HIDDEN]}
        for name, rows, cols in (("q", HIDDEN, HIDDEN), ("k", 16, HIDDEN), ("v", 16, HIDDEN)):
            shapes |= {f"{base}self_attn.{name}_proj.weight": [rows, cols], f"{base}self_attn.{name}_proj.bias": [rows]}
        shapes |= {base + "self_attn.o_proj.weight": [HIDDEN, HIDDEN], base + "mlp.gate_proj.weight": [WIDE, HIDDEN],
                   base + "mlp.up_proj.weight": [WIDE, HIDDEN], base + "mlp.down_proj.weight": [HIDDEN, WIDE]}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({
        "model_type": "qwen2", "hidden_size": HIDDEN, "intermediate_size": WIDE, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": 1, "vocab_size": 260, "max_position_embeddings": 256,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": True, "hidden_act": "silu"}))
    vocabulary = {letter: i for i, letter in enumerate(byte_characters())}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [{"id": 256, "content": "<|end|>", "special": True, "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                  "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": vocabulary, "merges": []}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"}))
    tensors = random_tensors(shapes)
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors)
        return folder
    places = {name: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, name in enumerate(tensors)}
    for file in sorted(set(places.values())):
        write_safetensors(folder / file, {name: t for name, t in tensors.items() if places[name] == file})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


def write_encoder(folder):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "the", "fox", ".", ","]
    words += [chr(c) for c in range(97, 123)] + ["##" + chr(c) for c in range(97, 123)]
    shapes = {"embeddings.word_embeddings.weight": [len(words), HIDDEN], "embeddings.position_embeddings.weight": [64, HIDDEN],
              "embeddings.token_type_embeddings.weight": [2, HIDDEN], "embeddings.LayerNorm.weight": [HIDDEN],
              "embeddings.LayerNorm.bias": [HIDDEN]}
    for i in range(LAYERS):
        base = f"encoder.layer.{i}."
        for name, rows, cols in (("attention.self.query", HIDDEN, HIDDEN), ("attention.self.key", HIDDEN, HIDDEN),
                                 ("attention.self.value", HIDDEN, HIDDEN), ("attention.output.dense", HIDDEN, HIDDEN),
                                 ("intermediate.dense", WIDE, HIDDEN), ("output.dense", HIDDEN, WIDE)):
            shapes |= {f"{base}{name}.weight": [rows, cols], f"{base}{name}.bias": [rows]}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{base}{name}.weight": [HIDDEN], f"{base}{name}.bias": [HIDDEN]}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({
        "model_type": "bert", "hidden_size": HIDDEN, "intermediate_size": WIDE, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "vocab_size": len(words), "max_position_embeddings": 64, "hidden_act": "gelu",
        "layer_norm_eps": 1e-12}))
    special = {word: i for i, word in enumerate(words[:5])}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": word, "special": True, "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False} for word, i in special.items()],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None,
                       "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                                      {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {word: {"id": word, "ids": [special[word]], "tokens": [word]}
                                              for word in ("[CLS]", "[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {word: i for i, word in enumerate(words)}}}))
    write_safetensors(folder / "model.safetensors", random_tensors(shapes))
    return folder


def test_perplexity_of_one_file_and_of_shards(tmp_path):
    """The same weights in one file and in three give the same numbers. Every byte is a token."""
    text = tmp_path / "text"
    text.write_text("Hello, fox.\n")
    answers = [json.loads(run_cli("perplexity", "--model", str(write_decoder(tmp_path / f"m{shards}", shards)), "--file",
                                  str(text), "--json", check=True).stdout) for shards in (1, 3)]
    assert answers[0] == answers[1]
    assert len(answers[0]["ids"]) == 12 and len(answers[0]["logprobs"]) == 11
    assert all(p < 0 for p in answers[0]["logprobs"])


def test_serves_a_decoder(tmp_path):
    server = Server("--model", str(write_decoder(tmp_path / "decoder")), "--served-model-name", "tiny")
    try:
        body = {"model": "tiny", "prompt": "abc", "max_tokens": 8, "temperature": 0}
        first, second = (requests.post(server.url + "/v1/completions", json=body, timeout=60).json() for _ in range(2))
        assert first["usage"]["prompt_tokens"] == 3
        assert first["choices"][0]["text"] == second["choices"][0]["text"]
        vector = requests.post(server.url + "/v1/embeddings", json={"input": "abc"}, timeout=60).json()["data"][0]["embedding"]
        assert len(vector) == HIDDEN and math.fsum(x * x for x in vector) == pytest.approx(1, abs=1e-5)
        server.stop()
    finally:
        server.close()


def test_serves_an_encoder(tmp_path):
    server = Server("--model", str(write_encoder(tmp_path / "encoder")), "--served-model-name", "tiny")
    try:
        def embed(text):
            return requests.post(server.url + "/v1/embeddings", json={"input": text}, timeout=60)

        many = embed(["hello world", "the fox", "hello world"]).json()
        vectors = [one["embedding"] for one in many["data"]]
        assert many["usage"]["prompt_tokens"] == 12  # [CLS] and [SEP] are around two words each.
        assert vectors[0] == vectors[2] == embed("Hello WORLD").json()["data"][0]["embedding"]
        assert vectors[0] != vectors[1]
        assert all(math.fsum(x * x for x in v) == pytest.approx(1, abs=1e-5) for v in vectors)
        long = embed("fox " * 63)
        assert long.status_code == 400 and "65" in long.text and "64" in long.text
        refused = requests.post(server.url + "/v1/completions", json={"prompt": "hello"}, timeout=60)
        assert refused.status_code == 400 and "embeddings" in refused.text
        server.stop()
    finally:
        server.close()


@pytest.mark.parametrize("change, words", [
    (lambda config: config | {"model_type": "rwkv"}, ["config.json", "rwkv", "qwen2"]),
    (lambda config: config | {"hidden_size": 0}, ["config.json", "hidden_size"]),
    (lambda config: config | {"num_hidden_layers": 3}, ["blk.2."]),
])
def test_faults_are_named(tmp_path, change, words):
    folder = write_decoder(tmp_path / "decoder")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(change(config)))
    result = run_cli("generate", "--model", str(folder), "--prompt", "x")
    assert result.returncode == 2 and result.stdout == ""
    assert all(word in result.stderr for word in words) and len(result.stderr.strip().splitlines()) == 1, result.stderr
