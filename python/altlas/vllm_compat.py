"""After `import altlas.vllm_compat`, `from vllm import LLM, SamplingParams` gives altlas's."""
import sys

import altlas

if "vllm" in sys.modules and sys.modules["vllm"] is not altlas:
    raise altlas.Error("vllm is imported already: import altlas.vllm_compat before it", "conflict")
sys.modules["vllm"] = altlas
