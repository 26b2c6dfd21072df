"""LLM: offline inference with vLLM's names, in an engine process that it owns."""
import itertools
import logging
import sys
import threading
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, TypeVar, Union

from ._engine import Engine
from ._engine_args import engine_args
from .errors import Error
from .outputs import (Collector, EmbeddingOutput, EmbeddingRequestOutput, RequestOutput, ScoringOutput,
                      ScoringRequestOutput)
from .sampling_params import SamplingParams
from .tokenizer import Message, Tokenizer

log = logging.getLogger("altlas")
T = TypeVar("T")
# Requests that are sent at a time. A thread waits for each; the engine batches them.
IN_FLIGHT_MAX = 128

# A text, token ids, or {"prompt": text} or {"prompt_token_ids": ids}.
Prompt = Union[str, Sequence[int], Mapping[str, Any]]


def prompt_field(prompt: Prompt) -> Union[str, List[int]]:
    """Returns what /v1/completions takes for a prompt. Raises Error for what is none."""
    value: Any = prompt
    if isinstance(prompt, Mapping):
        value = prompt.get("prompt_token_ids", prompt.get("prompt"))
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence) and not isinstance(value, bytes) and all(type(one) is int for one in value):
        return list(value)
    raise Error("prompt: should be a text, a list of token ids, or an object with prompt or prompt_token_ids, not %r"
                % (prompt,), "invalid", "prompt")


def as_list(prompts: Union[Prompt, Sequence[Prompt]]) -> List[Prompt]:
    """Returns a list of prompts of one prompt or several."""
    if isinstance(prompts, (str, Mapping)):
        return [prompts]
    items: List[Any] = list(prompts)
    if items and type(items[0]) is int:
        return [items]
    return items


def completion_body(prompt: Prompt, params: SamplingParams, model: Optional[str]) -> Dict[str, Any]:
    """Returns the request for one prompt."""
    body = {"prompt": prompt_field(prompt), "return_token_ids": True, **params.body()}
    if model is not None:
        body["model"] = model
    return body


class LLM:
    """A model, loaded into a process of its own which ends with this object, with close(), or with this process.

    model: a catalogue name, a GGUF file, a folder, or a cached Hugging Face or Ollama name.
    devices: such as cpu:2, cuda:0,1 or sim:h100:8 (docs/cli.md); else ALTLAS_ENGINE_DEVICES, else what is there.
    Other arguments are vLLM's; docs/python.md says what each does. Raises altlas.Error with the reason where the model
    does not load.

    Threads: any number may call at a time; the engine batches what they ask. Waiting releases the GIL. Ctrl-C ends the
    call and its requests. After a fork the child's calls raise altlas.Error.
    """

    def __init__(self, model: str, *, tensor_parallel_size: int = 1, pipeline_parallel_size: int = 1,
                 gpu_memory_utilization: Optional[float] = None, max_model_len: Optional[int] = None, dtype: str = "auto",
                 enable_prefix_caching: Optional[bool] = None, enforce_eager: bool = False,
                 distributed_executor_backend: Optional[str] = None, devices: Optional[str] = None,
                 **more: Any) -> None:
        arguments = {"tensor_parallel_size": tensor_parallel_size, "pipeline_parallel_size": pipeline_parallel_size,
                     "gpu_memory_utilization": gpu_memory_utilization, "max_model_len": max_model_len, "dtype": dtype,
                     "enable_prefix_caching": enable_prefix_caching, "enforce_eager": enforce_eager,
                     "distributed_executor_backend": distributed_executor_backend, "devices": devices, **more}
        flags, settings = engine_args(model, arguments)
        self._engine = Engine(flags, settings)
        self._tokenizer = Tokenizer(self._engine.client)
        self._counter = itertools.count()

    def __enter__(self) -> "LLM":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_engine"):
            self._engine.close()

    def close(self) -> None:
        """Ends the engine's process. Calls under way raise altlas.Error."""
        self._engine.close()

    def get_tokenizer(self) -> Tokenizer:
        """Returns the model's tokenizer."""
        self._engine.check()
        return self._tokenizer

    def get_default_sampling_params(self) -> SamplingParams:
        """Returns the parameters of generate() without any."""
        return SamplingParams()

    def generate(self, prompts: Union[Prompt, Sequence[Prompt]],
                 sampling_params: Optional[Union[SamplingParams, Sequence[SamplingParams]]] = None, *,
                 use_tqdm: bool = True, lora_request: Optional[str] = None) -> List[RequestOutput]:
        """Completes prompts; answers come in the order of the prompts.

        Control tokens spelled in a text are read as such, and a text that begins with the model's BOS gets no second one.
        sampling_params: for all prompts, or one for each. lora_request: the name of a loaded adapter.
        use_tqdm: a bar on a terminal, where tqdm is installed and there are several prompts."""
        self._engine.check()
        items = as_list(prompts)
        params = self._params_of(sampling_params, len(items))
        bodies = [completion_body(item, one, lora_request) for item, one in zip(items, params)]
        answers = self._all([self._asker("/v1/completions", body) for body in bodies], use_tqdm)
        outputs = []
        for item, one, body, answer in zip(items, params, bodies, answers):
            prompt = body["prompt"] if isinstance(body["prompt"], str) else None
            if prompt is None and isinstance(item, Mapping):
                prompt = item.get("prompt")
            collector = Collector(str(next(self._counter)), prompt, one.n)
            collector.add(answer)
            outputs.append(_without_text(collector.output) if not one.detokenize else collector.output)
        return outputs

    def chat(self, messages: Union[Sequence[Message], Sequence[Sequence[Message]]],
             sampling_params: Optional[Union[SamplingParams, Sequence[SamplingParams]]] = None, *, use_tqdm: bool = True,
             lora_request: Optional[str] = None, add_generation_prompt: bool = True, continue_final_message: bool = False,
             tools: Optional[Sequence[Mapping[str, Any]]] = None,
             chat_template_kwargs: Optional[Mapping[str, Any]] = None) -> List[RequestOutput]:
        """Answers one conversation or several, each through the model's chat template. The text is as the model wrote it."""
        self._engine.check()
        several: Any = [messages] if messages and isinstance(messages[0], Mapping) else messages
        prompts: List[Prompt] = []
        for conversation in several:
            ids = self._tokenizer.chat_ids(conversation, add_generation_prompt, continue_final_message, tools,
                                           chat_template_kwargs or {})
            prompts.append({"prompt_token_ids": ids, "prompt": self._tokenizer.decode(ids)})
        return self.generate(prompts, sampling_params, use_tqdm=use_tqdm, lora_request=lora_request)

    def embed(self, prompts: Union[Prompt, Sequence[Prompt]], *, use_tqdm: bool = True) -> List[EmbeddingRequestOutput]:
        """Returns an embedding of each prompt, of length 1."""
        self._engine.check()
        bodies = [{"input": prompt_field(one)} for one in as_list(prompts)]
        answers = self._all([self._asker("/v1/embeddings", body) for body in bodies], use_tqdm)
        return [EmbeddingRequestOutput(str(next(self._counter)), EmbeddingOutput(list(answer["data"][0]["embedding"])))
                for answer in answers]

    def score(self, text_1: Union[str, Sequence[str]], text_2: Union[str, Sequence[str]], *,
              use_tqdm: bool = True) -> List[ScoringRequestOutput]:
        """Returns the cosine of the embeddings of each pair; one text_1 is paired with every text_2."""
        first = [text_1] if isinstance(text_1, str) else list(text_1)
        second = [text_2] if isinstance(text_2, str) else list(text_2)
        if len(first) not in (1, len(second)):
            raise Error("text_1: should be one text or as many as text_2, %d, not %d" % (len(second), len(first)), "invalid",
                        "text_1")
        vectors = [one.outputs.embedding for one in self.embed([*first, *second], use_tqdm=use_tqdm)]
        left, right = vectors[:len(first)], vectors[len(first):]
        left = left * (len(second) if len(first) == 1 else 1)
        return [ScoringRequestOutput(str(next(self._counter)), ScoringOutput(sum(a * b for a, b in zip(one, other))))
                for one, other in zip(left, right)]

    def _params_of(self, given: Optional[Union[SamplingParams, Sequence[SamplingParams]]], count: int) -> List[SamplingParams]:
        if given is None:
            return [SamplingParams()] * count
        if isinstance(given, SamplingParams):
            return [given] * count
        if len(given) != count:
            raise Error("sampling_params: should be one, or one for each of the %d prompts, not %d" % (count, len(given)),
                        "invalid", "sampling_params")
        return list(given)

    def _asker(self, path: str, body: Mapping[str, Any]) -> Callable[[], Dict[str, Any]]:
        return lambda: self._engine.client.post(path, body, again=True)

    def _all(self, jobs: List[Callable[[], T]], use_tqdm: bool) -> List[T]:
        """Runs jobs at once. Raises the first error. On Ctrl-C, or an error, requests under way are ended."""
        if len(jobs) == 1:
            return [self._checked(jobs[0])]
        bar = _bar(len(jobs)) if use_tqdm and len(jobs) > 1 else None
        run = _Run(jobs, bar)
        try:
            run.join()
        except BaseException:
            run.stop()
            raise
        finally:
            if bar is not None:
                bar.close()
        if run.error is not None:
            self._engine.check()
            raise run.error
        return run.results

    def _checked(self, job: Callable[[], T]) -> T:
        try:
            return job()
        except Error:
            self._engine.check()  # Where the process has ended, that is the reason.
            raise


class _Run:
    """Jobs on threads. A thread that is told to stop takes no further job; one that waits is left to its answer."""

    def __init__(self, jobs: "Sequence[Callable[[], Any]]", bar: Any) -> None:
        self.results: List[Any] = [None] * len(jobs)
        self.error: Optional[BaseException] = None
        self._jobs = list(enumerate(jobs))[::-1]
        self._left = len(jobs)
        self._bar = bar
        self._lock = threading.Lock()
        self._over = threading.Event()
        if not jobs:
            self._over.set()
        for _ in range(min(len(jobs), IN_FLIGHT_MAX)):
            threading.Thread(target=self._work, name="altlas-request", daemon=True).start()

    def join(self) -> None:
        self._over.wait()

    def stop(self) -> None:
        with self._lock:
            self._jobs = []
            self._over.set()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._jobs or self.error is not None:
                    return
                index, job = self._jobs.pop()
            try:
                result = job()
            except BaseException as problem:  # It is raised in the caller's thread.
                with self._lock:
                    self.error = self.error or problem
                self._over.set()
                return
            with self._lock:
                self.results[index] = result
                self._left -= 1
                if self._bar is not None:
                    self._bar.update(1)
                if self._left == 0:
                    self._over.set()


def _bar(total: int) -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        return None
    return tqdm(total=total, desc="Processed prompts", unit="prompt")


def _without_text(output: RequestOutput) -> RequestOutput:
    for one in output.outputs:
        one.text = ""
    return output
