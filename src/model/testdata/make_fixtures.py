"""Writes the descriptions of the tests' tiny random models, with transformers' logits for them.

    python src/model/testdata/make_fixtures.py [NAME…]        (a Python with torch and transformers)

NAME.json describes one model completely, without weights. `config` is its Hugging Face config.json, `gguf` the metadata of its GGUF
file (null for a model that GGUF files can't express), `tensors` the tensors under both names, `gguf_tensors` those that only GGUF
files have. For `tokens` transformers computes in float32 `logits` [tokens][vocab] and `embedding` (of the last token; as `pooling`
says for encoders; `mean_embedding` is the mean). The weights follow from a recipe (`recipe` here, test_tiny_model.h in C++): element
i of a tensor is

    offset + scale * k / 64,   k = top 7 bits of splitmix64(fnv1a64(Hugging Face name) + i), as a signed number

All numbers are chosen so that this is exact in BF16 and F16 too, so one golden serves files of each type.
"""
import json
import pathlib
import sys
import tempfile

import numpy as np
import safetensors.numpy
import torch
import transformers as tf
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

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
    "mlp.gate": "ffn_gate_inp", "block_sparse_moe.gate": "ffn_gate_inp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp", "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp", "mlp.shared_expert.down_proj": "ffn_down_shexp",
}
GEMMA_NAMES = NAMES | {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                       "post_feedforward_layernorm": "post_ffw_norm"}
EXPERTS = {"gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down", "w1": "ffn_gate", "w3": "ffn_up",
           "w2": "ffn_down"}
OUTER = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
         "lm_head.weight": "output.weight"}


def recipe(name, count, scale, offset):
    """Returns the recipe's values: element i is the same float32 on every machine."""
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
    """Returns (name in GGUF, expert or None)."""
    if name in OUTER:
        return OUTER[name], None
    _, _, layer, rest = name.split(".", 3)
    module, kind = rest.rsplit(".", 1)
    if ".experts." in module:
        _, expert, part = module.rsplit(".", 2)
        return f"blk.{layer}.{EXPERTS[part]}_exps.{kind}", int(expert)
    return f"blk.{layer}.{names[module]}.{kind}", None


def power_of_two(value):
    return float(2.0 ** round(np.log2(value)))


def describe_tensor(name, shape, config, architecture):
    gemma = architecture.startswith("gemma")
    gguf, expert = gguf_name(name, GEMMA_NAMES if gemma else NAMES)
    tensor = dict(name=name, gguf=gguf, shape=list(shape), scale=0.5)
    if expert is not None:
        tensor.update(expert=expert)  # GGUF has a layer's experts in one tensor, in this order.
    if "norm" in name:
        # Gemma stores gamma - 1, and converters to GGUF add the 1.
        tensor.update(dict(gguf_add=1.0) if gemma else dict(offset=1.0))
    elif "embed" in name:
        tensor.update(scale=0.25 if gemma else 2.0)  # Gemma multiplies the embedding by sqrt(hidden).
    elif not name.endswith("bias"):
        tensor.update(scale=power_of_two(2.6 / shape[1] ** 0.5))
    if architecture == "llama" and ("q_proj" in name or "k_proj" in name):
        # In GGUF the rows of each of these heads have another order: the two of a rope pair side by side.
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
    if sliding := getattr(config, "sliding_window", None):
        if architecture.startswith("gemma"):
            values["attention.sliding_window"] = sliding
    return {"general.architecture": architecture} | {f"{architecture}.{key}": v for key, v in (values | extra).items()}


def save(name, config, gguf, gguf_tensors, tensors, tokens, **golden):
    def numbers(values):
        return "[" + ",".join(f"{x:.7g}" for x in values) + "]"

    lines = [f'"config": {json.dumps(config)}', f'"gguf": {json.dumps(gguf)}',
             f'"gguf_tensors": {json.dumps(gguf_tensors)}',
             '"tensors": [\n' + ",\n".join(json.dumps(tensor) for tensor in tensors) + "]",
             f'"tokens": {tokens.tolist()}']
    for key, value in golden.items():
        if isinstance(value, str):
            lines.append(f'"{key}": "{value}"')
        elif value.ndim == 2:
            lines.append(f'"{key}": [\n' + ",\n".join(map(numbers, value)) + "]")
        else:
            lines.append(f'"{key}": {numbers(value)}')
    (HERE / f"{name}.json").write_text("{" + ",\n".join(lines) + "}\n")


def write(name, architecture, model, seed, gguf=None, gguf_tensors=None):
    """`gguf` has keys beside the usual ones, or is False if GGUF has no such model."""
    config = model.config
    # Names, shapes and config.json are those of a checkpoint.
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        path = pathlib.Path(folder) / "model.safetensors"
        with safetensors.safe_open(path, "np") as file:
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}
        config_json = json.loads((pathlib.Path(folder) / "config.json").read_text())
        tensors = [describe_tensor(key, shape, config, architecture) for key, shape in shapes.items()]
        safetensors.numpy.save_file(
            {t["name"]: recipe(t["name"], int(np.prod(t["shape"])), t["scale"], t.get("offset", 0.0)).reshape(t["shape"])
             for t in tensors}, path, {"format": "pt"})
        model = type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    torch.manual_seed(seed)
    tokens = torch.randint(0, config.vocab_size, (1, TOKENS))
    with torch.no_grad():
        out = model(tokens, output_hidden_states=True)
    logits = out.logits[0].float().numpy()
    last = out.hidden_states[-1][0]  # The hidden state after the last norm.
    metadata = None if gguf is False else gguf_metadata(architecture, config, gguf or {})
    mean = last.mean(0)
    save(name, config_json, metadata, gguf_tensors or {}, tensors, tokens[0], logits=logits,
         embedding=last[-1] / last[-1].norm(), mean_embedding=mean / mean.norm())
    top = np.sort(logits, axis=1)
    print(f"{name}: |logit| up to {np.abs(logits).max():.3g}, best before second by {np.median(top[:, -1] - top[:, -2]):.3g}")


def write_encoder(name, model, pooling, seed):
    """Writes a BERT. Its golden value is the prompt's embedding, of length 1."""
    config = model.config
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        path = pathlib.Path(folder) / "model.safetensors"
        with safetensors.safe_open(path, "np") as file:
            shapes = {key: file.get_slice(key).get_shape() for key in file.keys() if "pooler" not in key}
        config_json = json.loads((pathlib.Path(folder) / "config.json").read_text())
        tensors = []
        for key, shape in shapes.items():
            tensor = dict(name=key, gguf=encoder_name(key), shape=list(shape), scale=0.5)
            if key.endswith("LayerNorm.weight"):
                tensor.update(offset=1.0)
            elif len(shape) > 1:
                tensor.update(scale=1.0 if "embeddings" in key else power_of_two(2.6 / shape[1] ** 0.5))
            tensors.append(tensor)
        safetensors.numpy.save_file(
            {t["name"]: recipe(t["name"], int(np.prod(t["shape"])), t["scale"], t.get("offset", 0.0)).reshape(t["shape"])
             for t in tensors}, path, {"format": "pt"})
        model = type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    torch.manual_seed(seed)
    tokens = torch.randint(0, config.vocab_size, (1, TOKENS))
    with torch.no_grad():
        hidden = model(tokens).last_hidden_state[0]
    vector = hidden.mean(0) if pooling == "mean" else hidden[0]
    keys = {"block_count": config.num_hidden_layers, "context_length": config.max_position_embeddings,
            "embedding_length": config.hidden_size, "feed_forward_length": config.intermediate_size,
            "attention.head_count": config.num_attention_heads, "attention.layer_norm_epsilon": config.layer_norm_eps,
            "attention.causal": False, "pooling_type": {"mean": 1, "cls": 2}[pooling]}
    save(name, config_json, {"general.architecture": "bert"} | {f"bert.{k}": v for k, v in keys.items()}, {}, tensors,
         tokens[0], pooling=pooling, embedding=vector / vector.norm())


def encoder_name(name):
    if not name.startswith("encoder."):
        return {"embeddings.word_embeddings.weight": "token_embd.weight",
                "embeddings.position_embeddings.weight": "position_embd.weight",
                "embeddings.token_type_embeddings.weight": "token_types.weight",
                "embeddings.LayerNorm.weight": "token_embd_norm.weight",
                "embeddings.LayerNorm.bias": "token_embd_norm.bias"}[name]
    _, _, layer, rest = name.split(".", 3)
    module, kind = rest.rsplit(".", 1)
    return f"blk.{layer}." + {
        "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
        "attention.output.dense": "attn_output", "attention.output.LayerNorm": "attn_output_norm",
        "intermediate.dense": "ffn_up", "output.dense": "ffn_down", "output.LayerNorm": "layer_output_norm"}[module] + f".{kind}"


def bert(name, pooling):
    config = tf.BertConfig(**{k: v for k, v in COMMON.items() if k not in ("num_key_value_heads", "max_position_embeddings")},
                           max_position_embeddings=64)
    write_encoder(name, tf.BertModel(config, add_pooling_layer=False), pooling, seed=11)


def qwen2(name, tied):
    model = tf.Qwen2ForCausalLM(tf.Qwen2Config(**COMMON, tie_word_embeddings=tied, rope_parameters=ROPE))
    write(name, "qwen2", model, seed=1)


def qwen2_window(name):
    config = tf.Qwen2Config(**COMMON | dict(num_hidden_layers=3), rope_parameters=ROPE, use_sliding_window=True,
                            sliding_window=6, max_window_layers=1)
    write(name, "qwen2", tf.Qwen2ForCausalLM(config), seed=2, gguf=False)


def qwen3(name):
    config = tf.Qwen3Config(**COMMON | dict(num_attention_heads=4, num_key_value_heads=2), head_dim=16,
                            tie_word_embeddings=True, rope_parameters=ROPE)
    write(name, "qwen3", tf.Qwen3ForCausalLM(config), seed=3)


def llama(name, rope=ROPE, gguf=None, gguf_tensors=None, context=512):
    config = tf.LlamaConfig(**COMMON | dict(max_position_embeddings=context), tie_word_embeddings=False,
                            rope_parameters=rope)
    write(name, "llama", tf.LlamaForCausalLM(config), 4, gguf, gguf_tensors)


def llama_linear(name):
    llama(name, ROPE | dict(rope_type="linear", factor=4.0),
          {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0})


def llama_yarn(name):
    llama(name, ROPE | dict(rope_type="yarn", factor=8.0, original_max_position_embeddings=64),
          {"rope.scaling.type": "yarn", "rope.scaling.factor": 8.0, "rope.scaling.original_context_length": 64})


def llama3(name):
    rope = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=64)
    # GGUF files have the divisors of the frequencies instead.
    plain = 500000.0 ** (-np.arange(8) / 8)
    config = tf.LlamaConfig(**COMMON, rope_parameters=rope)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    llama(name, rope, None, {"rope_freqs.weight": [float(np.float32(x)) for x in plain / scaled.double().numpy()]})


def mistral(name, window):
    config = tf.MistralConfig(**COMMON | dict(num_attention_heads=4, num_key_value_heads=2), head_dim=16,
                              sliding_window=window, rope_parameters=ROPE)
    write(name, "llama", tf.MistralForCausalLM(config), seed=6, gguf=False if window else None)


def mixtral(name):
    config = tf.MixtralConfig(**COMMON, num_local_experts=4, num_experts_per_tok=2, rope_parameters=ROPE)
    write(name, "llama", tf.MixtralForCausalLM(config), seed=7, gguf={"expert_count": 4, "expert_used_count": 2})


def qwen2_moe(name):
    config = tf.Qwen2MoeConfig(**COMMON, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=16,
                               shared_expert_intermediate_size=32, rope_parameters=ROPE)
    write(name, "qwen2moe", tf.Qwen2MoeForCausalLM(config), seed=8, gguf={
        "expert_count": 6, "expert_used_count": 3, "expert_feed_forward_length": 16,
        "expert_shared_feed_forward_length": 32})


def qwen3_moe(name):
    config = tf.Qwen3MoeConfig(**COMMON | dict(num_hidden_layers=3), head_dim=16, num_experts=8, num_experts_per_tok=2,
                               moe_intermediate_size=16, norm_topk_prob=True, mlp_only_layers=[1], rope_parameters=ROPE)
    write(name, "qwen3moe", tf.Qwen3MoeForCausalLM(config), seed=9, gguf={
        "expert_count": 8, "expert_used_count": 2, "expert_feed_forward_length": 16})


def gemma2(name):
    config = tf.Gemma2Config(**COMMON | dict(num_hidden_layers=4, intermediate_size=16), head_dim=16,
                             query_pre_attn_scalar=16, sliding_window=5, attn_logit_softcapping=2.0,
                             final_logit_softcapping=3.0, rope_parameters=ROPE)
    write(name, "gemma2", tf.Gemma2ForCausalLM(config), seed=10, gguf={
        "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0})


def gemma3(name, scaled):
    full = dict(rope_type="linear", factor=8.0, rope_theta=1000000.0) if scaled else ROPE | dict(rope_theta=1000000.0)
    config = tf.Gemma3TextConfig(**COMMON | dict(num_hidden_layers=6, intermediate_size=16), head_dim=16,
                                 query_pre_attn_scalar=16, sliding_window=5, hidden_activation="gelu_pytorch_tanh",
                                 rope_parameters={"full_attention": full, "sliding_attention": ROPE})
    write(name, "gemma3", tf.Gemma3ForCausalLM(config), seed=5, gguf={
        "rope.scaling.type": "linear", "rope.scaling.factor": 8.0} if scaled else None)


MODELS = {
    "qwen2_tied": lambda name: qwen2(name, True),
    "qwen2_untied": lambda name: qwen2(name, False),
    "qwen2_window": qwen2_window,
    "qwen2_moe": qwen2_moe,
    "qwen3": qwen3,
    "qwen3_moe": qwen3_moe,
    "llama": llama,
    "llama_linear": llama_linear,
    "llama_yarn": llama_yarn,
    "llama3": llama3,
    "mistral": lambda name: mistral(name, None),
    "mistral_window": lambda name: mistral(name, 7),
    "mixtral": mixtral,
    "bert_mean": lambda name: bert(name, "mean"),
    "bert_cls": lambda name: bert(name, "cls"),
    "gemma2": gemma2,
    "gemma3": lambda name: gemma3(name, False),
    "gemma3_scaled": lambda name: gemma3(name, True),
}


def main():
    torch.set_num_threads(1)
    for name in sys.argv[1:] or MODELS:
        MODELS[name](name)


main()
