"""AsyncLLM: a model for asyncio, whose answers stream."""
import asyncio
import itertools
from typing import Any, AsyncIterator, Dict, Mapping, Optional, Sequence

from . import _protocol as protocol
from ._async_http import AsyncTransport
from ._engine import Engine
from ._engine_args import engine_args
from .errors import Error
from .llm import Prompt, completion_body, prompt_field
from .outputs import Collector, EmbeddingOutput, EmbeddingRequestOutput, RequestOutput
from .sampling_params import SamplingParams
from .tokenizer import Tokenizer


class AsyncEngineArgs:
    """The arguments of an engine, as vLLM passes them to from_engine_args()."""

    def __init__(self, model: str, **arguments: Any) -> None:
        self.model = model
        self.arguments = arguments


class AsyncLLM:
    """As LLM, for one event loop. The constructor blocks until the model is loaded; in a running loop use
    `await asyncio.get_running_loop().run_in_executor(None, lambda: AsyncLLM(...))`."""

    def __init__(self, model: str, **arguments: Any) -> None:
        flags, settings = engine_args(model, arguments)
        self._engine = Engine(flags, settings)
        self._transport = AsyncTransport(protocol.read_address(self._engine.url), self._engine.api_key, 86400.0, None, True)
        self._tokenizer = Tokenizer(self._engine.client)
        self._running: Dict[str, "asyncio.Event"] = {}
        self._counter = itertools.count()

    @classmethod
    def from_engine_args(cls, engine_args: AsyncEngineArgs, **_: Any) -> "AsyncLLM":
        """Makes one of vLLM's way to say arguments."""
        return cls(engine_args.model, **engine_args.arguments)

    def __del__(self) -> None:
        if hasattr(self, "_engine"):
            self._engine.close()

    async def get_tokenizer(self) -> Tokenizer:
        """Returns the model's tokenizer, whose calls block for less than a millisecond."""
        return self._tokenizer

    async def generate(self, prompt: Prompt, sampling_params: Optional[SamplingParams] = None,
                       request_id: Optional[str] = None, *, lora_request: Optional[str] = None) -> AsyncIterator[RequestOutput]:
        """Yields the output so far, each time that tokens came; the last is finished. Leaving the loop ends the request."""
        self._engine.check()
        params = sampling_params or SamplingParams()
        name = request_id if request_id is not None else str(next(self._counter))
        if name in self._running:
            raise Error("request_id: %r is running already" % name, "conflict", "request_id")
        body = completion_body(prompt, params, lora_request)
        body["stream"] = True
        collector = Collector(name, body["prompt"] if isinstance(body["prompt"], str) else None, params.n)
        aborted = self._running[name] = asyncio.Event()
        events = self._transport.stream(protocol.Call("POST", "/v1/completions", protocol.to_json(body)), None)
        try:
            async for event in _until(events, aborted):
                value = protocol.read_event(event)
                if value is not None and collector.add(value):
                    yield collector.snapshot()
            if not collector.output.finished:
                self._engine.check()
                raise Error("request %s was aborted" % name if aborted.is_set() else "the answer ended early",
                            "canceled" if aborted.is_set() else "io")
        finally:
            del self._running[name]
            await _close(events)

    async def encode(self, prompt: Prompt, request_id: Optional[str] = None) -> EmbeddingRequestOutput:
        """Returns the prompt's embedding, of length 1."""
        self._engine.check()
        call = protocol.Call("POST", "/v1/embeddings", protocol.to_json({"input": prompt_field(prompt)}), again=True)
        answer = protocol.read_object(await self._transport.send(call))
        name = request_id if request_id is not None else str(next(self._counter))
        return EmbeddingRequestOutput(name, EmbeddingOutput(list(answer["data"][0]["embedding"])))

    async def chat(self, messages: Sequence[Mapping[str, Any]], sampling_params: Optional[SamplingParams] = None,
                   request_id: Optional[str] = None) -> AsyncIterator[RequestOutput]:
        """As generate() for a conversation through the model's chat template."""
        ids = self._tokenizer.chat_ids(messages, True, False, None, {})
        async for output in self.generate({"prompt_token_ids": ids}, sampling_params, request_id):
            yield output

    async def abort(self, request_id: str) -> None:
        """Ends a request; its generate() raises Error `canceled`. Nothing happens where it is over."""
        aborted = self._running.get(request_id)
        if aborted is not None:
            aborted.set()

    async def check_health(self) -> None:
        """Raises Error where the engine can't serve."""
        self._engine.check()
        answer = await self._transport.send(protocol.Call("GET", "/health", again=True))
        if answer.status != 200:
            raise Error("the engine is not ready: %s" % answer.body.decode("utf-8", "replace"), "unavailable", None,
                        answer.status)

    def shutdown(self) -> None:
        """Ends the engine's process."""
        self._engine.close()


AsyncLLMEngine = AsyncLLM


async def _close(events: AsyncIterator[Any]) -> None:
    close = getattr(events, "aclose", None)
    if close is not None:
        await close()


async def _until(events: AsyncIterator[protocol.ServerEvent], stop: "asyncio.Event") -> AsyncIterator[protocol.ServerEvent]:
    """Yields events until there are no more, or until `stop` is set."""
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while not stop.is_set():
            following = asyncio.ensure_future(_next(events))
            try:
                await asyncio.wait({following, stopped}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if not following.done():
                    following.cancel()
                    await asyncio.wait({following})
            event = None if following.cancelled() else following.result()
            if event is None:
                return
            yield event
    finally:
        stopped.cancel()


async def _next(events: AsyncIterator[protocol.ServerEvent]) -> Optional[protocol.ServerEvent]:
    try:
        return await events.__anext__()
    except StopAsyncIteration:
        return None
