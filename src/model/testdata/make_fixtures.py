"""Writes the tiny random models of the tests and their golden logits.

Each model is made by transformers in float32 with a fixed seed, written as GGUF (F32), and run over fixed tokens; the
logits of every position are the golden ones. Run it in a Python with torch, transformers and gguf:

    python src/model/testdata/make_fixtures.py

Files per model: NAME.gguf; NAME.golden: int32 count, int32 vocab, then the tokens (int32) and logits (float32).
"""
import pathlib

import gguf
import numpy as np
import torch
from transformers import (Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, Qwen2Config,
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

HERE = pathlib.Path(__file__).parent
COMMON = dict(vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
              num_key_value_heads=1, max_position_embeddings=512, attn_implementation="eager")
TOKENS = 24

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}
GEMMA_NAMES = NAMES | {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
                       "post_feedforward_layernorm": "post_ffw_norm"}


def gguf_name(name, names):
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    if name == "lm_head.weight":
        return "output.weight"
    _, _, layer, rest = name.split(".", 3)
    module, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{names[module]}.{kind}"


def adjacent_pairs(weight, heads):
    """Rows of q or k in the order that llama's GGUF files have: pairs beside each other."""
    rows, cols = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, cols).swapaxes(1, 2).reshape(rows, cols)


def write(name, architecture, model, config, seed):
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key:
                parameter.copy_((0.0 if architecture == "gemma3" else 1.0) + 0.2 * torch.randn_like(parameter))
            elif key.endswith("bias"):
                parameter.copy_(0.3 * torch.randn_like(parameter))
            else:
                parameter.copy_(torch.randn_like(parameter) * (1.0 if "embed" in key else 1.5 / parameter.shape[1] ** 0.5))
    model.eval()
    tokens = torch.randint(0, config.vocab_size, (1, TOKENS))
    with torch.no_grad():
        logits = model(tokens).logits[0].float().numpy()

    writer = gguf.GGUFWriter(HERE / f"{name}.gguf", architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"] if architecture == "gemma3"
                              else config.rope_parameters["rope_theta"])
    if architecture == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    names = GEMMA_NAMES if architecture == "gemma3" else NAMES
    tied = config.tie_word_embeddings
    for key, tensor in model.state_dict().items():
        if tied and key == "lm_head.weight":
            continue
        value = tensor.float().numpy()
        if architecture == "gemma3" and "norm" in key:
            value = value + 1.0
        if architecture == "llama" and ("q_proj" in key or "k_proj" in key):
            value = adjacent_pairs(value, config.num_attention_heads if "q_proj" in key else config.num_key_value_heads)
        writer.add_tensor(gguf_name(key, names), np.ascontiguousarray(value, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with open(HERE / f"{name}.golden", "wb") as file:
        np.array(logits.shape, dtype=np.int32).tofile(file)
        tokens[0].numpy().astype(np.int32).tofile(file)
        logits.astype(np.float32).tofile(file)
    print(name, logits.shape, float(np.abs(logits).max()))


def main():
    torch.set_num_threads(1)
    rope = dict(rope_type="default", rope_theta=10000.0)
    for tied in (True, False):
        config = Qwen2Config(**COMMON, tie_word_embeddings=tied, rope_parameters=rope)
        write(f"qwen2_{'tied' if tied else 'untied'}", "qwen2", Qwen2ForCausalLM(config), config, seed=1 + tied)
    config = Qwen3Config(**COMMON | dict(num_attention_heads=4, num_key_value_heads=2), head_dim=16, tie_word_embeddings=True, rope_parameters=rope)
    write("qwen3", "qwen3", Qwen3ForCausalLM(config), config, seed=3)
    config = LlamaConfig(**COMMON, tie_word_embeddings=False, rope_parameters=rope)
    write("llama", "llama", LlamaForCausalLM(config), config, seed=4)
    gemma = COMMON | dict(num_hidden_layers=6, intermediate_size=16)
    config = Gemma3TextConfig(**gemma, head_dim=16, query_pre_attn_scalar=16, sliding_window=5,
                              hidden_activation="gelu_pytorch_tanh",
                              rope_parameters={"full_attention": dict(rope_type="default", rope_theta=1000000.0),
                                               "sliding_attention": dict(rope_type="default", rope_theta=10000.0)})
    write("gemma3", "gemma3", Gemma3ForCausalLM(config), config, seed=5)


main()
