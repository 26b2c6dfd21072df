"""Writes the descriptions of the tests' tiny random models, with transformers' logits for them.

    python src/model/testdata/make_fixtures.py [NAME…]        (a Python with torch and transformers)

NAME.json describes one model completely, without weights: `config` is its Hugging Face config.json, `gguf` the metadata
of its GGUF file, `tensors` the tensors under both names, and `tokens` and `logits` [tokens][vocab] what transformers
computes in float32. The weights follow from a recipe (`recipe` here, test_tiny_model.h in C++): element i of a tensor is

    offset + scale * k / 64,   k = top 7 bits of splitmix64(fnv1a64(Hugging Face name) + i), as a signed number

All numbers are chosen so that this is exact in BF16 and F16 too, so one golden serves files of each type.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import transformers as tf

HERE = pathlib.Path(__file__).parent
TOKENS = 24
COMMON = dict(vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
              num_key_value_heads=1, max_position_embeddings=512, attn_implementation="eager")
ROPE = dict(rope_type="default", rope_theta=10000.0)

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}
GEMMA_NAMES = NAMES | {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                       "post_feedforward_layernorm": "post_ffw_norm"}
OUTER = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}


def recipe(name, count, scale, offset):
    """Element i is the same float32 on every machine."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    x = np.arange(count, dtype=np.uint64) + np.uint64(seed)
    x += np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    k = ((x ^ (x >> np.uint64(31))) >> np.uint64(57)).astype(np.int64) - 64
    return (offset + scale * k / 64.0).astype(np.float32)


def gguf_name(name, names):
    if name in OUTER:
        return OUTER[name]
    _, _, layer, rest = name.split(".", 3)
    module, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{names[module]}.{kind}"


def power_of_two(value):
    return float(2.0 ** round(np.log2(value)))


def describe_tensor(name, shape, config, architecture):
    gemma = architecture.startswith("gemma")
    tensor = dict(name=name, gguf=gguf_name(name, GEMMA_NAMES if gemma else NAMES), shape=list(shape), scale=0.5)
    if "norm" in name:
        # Gemma stores gamma - 1; converters to GGUF add the 1.
        tensor.update(dict(gguf_add=1.0) if gemma else dict(offset=1.0))
    elif "embed" in name:
        tensor.update(scale=0.25 if gemma else 2.0)  # Gemma multiplies it by sqrt(hidden).
    elif not name.endswith("bias"):
        tensor.update(scale=power_of_two(2.6 / shape[1] ** 0.5))
    if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
        # Heads whose rows the GGUF file has in another order: rope pairs beside each other.
        tensor.update(gguf_heads=config.num_attention_heads if "q_proj" in name else config.num_key_value_heads)
    return tensor


def rope_base(config):
    parameters = config.rope_parameters
    return parameters.get("full_attention", parameters)["rope_theta"]


def gguf_metadata(architecture, config, extra):
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    values = {
        "block_count": config.num_hidden_layers, "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size, "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads, "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps, "attention.key_length": head_dim,
        "attention.value_length": head_dim, "rope.freq_base": float(rope_base(config)),
    }
    return {"general.architecture": architecture} | {f"{architecture}.{key}": v for key, v in (values | extra).items()}


def write(name, architecture, model, seed, **extra):
    config = model.config
    parameters = dict(model.named_parameters())  # Without the head where it is the embedding.
    tensors = [describe_tensor(key, value.shape, config, architecture) for key, value in parameters.items()]
    with torch.no_grad():
        for tensor in tensors:
            value = recipe(tensor["name"], int(np.prod(tensor["shape"])), tensor["scale"], tensor.get("offset", 0.0))
            parameters[tensor["name"]].copy_(torch.from_numpy(value.reshape(tensor["shape"])))
    model.eval()
    torch.manual_seed(seed)
    tokens = torch.randint(0, config.vocab_size, (1, TOKENS))
    with torch.no_grad():
        logits = model(tokens).logits[0].float().numpy()
    config.architectures = [type(model).__name__]
    lines = [f'"config": {json.dumps(json.loads(config.to_json_string()))}',
             f'"gguf": {json.dumps(gguf_metadata(architecture, config, extra))}',
             '"tensors": [\n' + ",\n".join(json.dumps(tensor) for tensor in tensors) + "]",
             f'"tokens": {tokens[0].tolist()}',
             '"logits": [\n' + ",\n".join("[" + ",".join(f"{x:.8g}" for x in row) + "]" for row in logits) + "]"]
    (HERE / f"{name}.json").write_text("{" + ",\n".join(lines) + "}\n")
    top = np.sort(logits, axis=1)
    print(f"{name}: |logit| up to {np.abs(logits).max():.3g}, best before second by {np.median(top[:, -1] - top[:, -2]):.3g}")


def qwen2(name, tied):
    model = tf.Qwen2ForCausalLM(tf.Qwen2Config(**COMMON, tie_word_embeddings=tied, rope_parameters=ROPE))
    write(name, "qwen2", model, seed=1)


def qwen3(name):
    config = tf.Qwen3Config(**COMMON | dict(num_attention_heads=4, num_key_value_heads=2), head_dim=16,
                            tie_word_embeddings=True, rope_parameters=ROPE)
    write(name, "qwen3", tf.Qwen3ForCausalLM(config), seed=3)


def llama(name):
    config = tf.LlamaConfig(**COMMON, tie_word_embeddings=False, rope_parameters=ROPE)
    write(name, "llama", tf.LlamaForCausalLM(config), seed=4)


def gemma3(name):
    config = tf.Gemma3TextConfig(**COMMON | dict(num_hidden_layers=6, intermediate_size=16), head_dim=16,
                                 query_pre_attn_scalar=16, sliding_window=5, hidden_activation="gelu_pytorch_tanh",
                                 rope_parameters={"full_attention": ROPE | dict(rope_theta=1000000.0),
                                                  "sliding_attention": ROPE})
    write(name, "gemma3", tf.Gemma3ForCausalLM(config), seed=5, **{"attention.sliding_window": config.sliding_window})


MODELS = {
    "qwen2_tied": lambda name: qwen2(name, True),
    "qwen2_untied": lambda name: qwen2(name, False),
    "qwen3": qwen3,
    "llama": llama,
    "gemma3": gemma3,
}


def main():
    torch.set_num_threads(1)
    for name in sys.argv[1:] or MODELS:
        MODELS[name](name)


main()
