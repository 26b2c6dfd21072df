"""What vLLM's arguments are in altlas's flags and settings. Pure."""
import logging
from typing import Any, Dict, List, Optional, Tuple

from .errors import Error

log = logging.getLogger("altlas")

# Argument: the flag that says the same.
_FLAGS = {
    "tensor_parallel_size": "--tensor-parallel-size", "pipeline_parallel_size": "--pipeline-parallel-size",
    "gpu_memory_utilization": "--gpu-memory-utilization", "max_model_len": "--max-model-len", "max_num_seqs": "--max-num-seqs",
    "max_num_batched_tokens": "--max-num-batched-tokens", "devices": "--devices", "max_loras": "--max-loras",
    "max_lora_rank": "--max-lora-rank", "served_model_name": "--served-model-name", "kv_cache_dtype": "--kv-dtype",
}
_DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32")
_BACKENDS = (None, "mp", "uni", "ray", "external_launcher")
# Arguments that have one value here, and why.
_FIXED: Dict[str, Tuple[Tuple[Any, ...], str]] = {
    "tokenizer": ((None,), "the model's own tokenizer is used"),
    "tokenizer_mode": (("auto",), "the model's own tokenizer is used"),
    "revision": ((None, "main"), "the model that is here is used"),
    "quantization": ((None,), "weights stay as they are in the model's file"),
    "load_format": (("auto", "gguf", "safetensors"), "the file says what it is"),
    "data_parallel_size": ((1,), "devices beside those of one replica hold further ones by themselves"),
}
# Arguments that change nothing here, whatever they say.
_WITHOUT_EFFECT = ("enforce_eager", "trust_remote_code", "disable_log_stats", "seed", "task", "runner")


def engine_args(model: str, arguments: Dict[str, Any]) -> Tuple[List[str], Dict[str, Any]]:
    """Returns the flags and settings for `model`. Raises Error for an argument that is not known or not possible."""
    if not isinstance(model, str) or not model:
        raise Error("model: should be a name, a file or a folder, not %r" % (model,), "invalid", "model")
    flags = ["--model", model]
    # This process is the only one who asks, and nothing of it outlives it.
    settings: Dict[str, Any] = {"server": {"graceful_shutdown_timeout_s": 0}, "gpu": {"multi_gpu": {"max_queue_size": 100000}}}
    for name, value in arguments.items():
        if name in _FLAGS:
            if value not in (None, "auto"):
                flags += [_FLAGS[name], str(value)]
        elif name == "enable_prefix_caching":
            if value is not None:
                settings.setdefault("engine", {})["enable_prefix_caching"] = bool(value)
        elif name == "swap_space":  # GiB, as vLLM has it.
            flags += ["--swap-bytes", str(int(value * (1 << 30)))]
        elif name == "dtype":
            _check_dtype(value)
        elif name == "distributed_executor_backend":
            _check_backend(value)
        elif name in _FIXED:
            values, why = _FIXED[name]
            if value not in values:
                raise Error("%s: %r is not possible, %s" % (name, value, why), "invalid", name)
        elif name not in _WITHOUT_EFFECT:
            raise Error("%s: is no argument of LLM here" % name, "invalid", name)
    return flags, settings


def _check_dtype(value: Optional[str]) -> None:
    if value not in _DTYPES:
        raise Error("dtype: should be one of %s, not %r" % (", ".join(_DTYPES), value), "invalid", "dtype")
    if value != "auto":
        log.info("dtype=%s: weights are computed with as the model's file has them, they are not converted", value)


def _check_backend(value: Optional[str]) -> None:
    if value not in _BACKENDS:
        raise Error("distributed_executor_backend: should be one of mp, uni and ray, not %r" % value, "invalid",
                    "distributed_executor_backend")
    if value == "ray":
        log.warning("distributed_executor_backend='ray': all ranks run on this machine's devices")
