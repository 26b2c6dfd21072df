"""altlas: offline inference with vLLM's names (LLM, AsyncLLM), and a typed client of a running server (Client, AsyncClient).

What is imported is loaded when it is first named, so that `import altlas` costs little."""
from typing import TYPE_CHECKING, Any, List

from ._version import __version__
from .errors import Error

if TYPE_CHECKING:
    from .async_client import AsyncClient
    from .async_llm import AsyncEngineArgs, AsyncLLM, AsyncLLMEngine
    from .client import Client
    from .llm import LLM
    from .outputs import (CompletionOutput, EmbeddingOutput, EmbeddingRequestOutput, Logprob, RequestOutput, ScoringOutput,
                          ScoringRequestOutput)
    from .sampling_params import SamplingParams, StructuredOutputsParams
    from .tokenizer import Tokenizer

_MODULES = {
    "async_client": ["AsyncClient"], "async_llm": ["AsyncEngineArgs", "AsyncLLM", "AsyncLLMEngine"], "client": ["Client"],
    "llm": ["LLM"], "outputs": ["CompletionOutput", "EmbeddingOutput", "EmbeddingRequestOutput", "Logprob", "RequestOutput",
                                "ScoringOutput", "ScoringRequestOutput"],
    "sampling_params": ["SamplingParams", "StructuredOutputsParams"], "tokenizer": ["Tokenizer"],
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "AsyncClient", "AsyncEngineArgs", "AsyncLLM", "AsyncLLMEngine", "Client", "CompletionOutput", "EmbeddingOutput",
    "EmbeddingRequestOutput", "Error", "LLM", "Logprob", "RequestOutput", "SamplingParams", "ScoringOutput",
    "ScoringRequestOutput", "StructuredOutputsParams", "Tokenizer", "__version__",
]


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError("module 'altlas' has no attribute %r" % name)
    import importlib
    value = getattr(importlib.import_module("." + module, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted(__all__)
