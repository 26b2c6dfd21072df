"""What a request gave, in the shapes of vLLM."""
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Union


@dataclass
class Logprob:
    """rank: 1 is the likeliest token; None where it is not among those that were asked for."""

    logprob: float
    rank: Optional[int] = None
    decoded_token: Optional[str] = None


@dataclass
class CompletionOutput:
    """One answer. finish_reason: stop or length, None while it goes on. stop_reason: the stop string or token that
    ended it, None for the model's own end. logprobs: one entry for each token, by token id."""

    index: int
    text: str
    token_ids: List[int]
    cumulative_logprob: Optional[float] = None
    logprobs: Optional[List[Dict[int, Logprob]]] = None
    finish_reason: Optional[str] = None
    stop_reason: Optional[Union[int, str]] = None

    def finished(self) -> bool:
        """Returns whether it is over."""
        return self.finish_reason is not None


@dataclass
class RequestOutput:
    """A prompt and its answers. prompt: None where token ids were given."""

    request_id: str
    prompt: Optional[str]
    prompt_token_ids: List[int]
    prompt_logprobs: Optional[List[Optional[Dict[int, Logprob]]]]
    outputs: List[CompletionOutput]
    finished: bool


@dataclass
class EmbeddingOutput:
    embedding: List[float]

    @property
    def hidden_size(self) -> int:
        """The number of values."""
        return len(self.embedding)


@dataclass
class EmbeddingRequestOutput:
    request_id: str
    outputs: EmbeddingOutput
    prompt_token_ids: List[int] = field(default_factory=list)
    finished: bool = True


@dataclass
class ScoringOutput:
    """score: the cosine of the two texts' embeddings."""

    score: float


@dataclass
class ScoringRequestOutput:
    request_id: str
    outputs: ScoringOutput
    prompt_token_ids: List[int] = field(default_factory=list)
    finished: bool = True


def _places(told: List[Any]) -> List[Dict[int, Logprob]]:
    return [{int(token): Logprob(one["logprob"], one.get("rank"), one.get("decoded_token")) for token, one in place.items()}
            for place in told]


class Collector:
    """Makes a RequestOutput of a whole answer of /v1/completions, or of its chunks. Pure."""

    def __init__(self, request_id: str, prompt: Optional[str], n: int) -> None:
        self.output = RequestOutput(request_id, prompt, [], None, [CompletionOutput(i, "", []) for i in range(n)], False)

    def add(self, answer: Dict[str, Any]) -> bool:
        """Takes an answer or a chunk; returns whether it said anything."""
        said = False
        for choice in answer.get("choices", []):
            said = True
            out = self.output.outputs[choice["index"]]
            out.text += choice.get("text", "")
            out.token_ids += choice.get("token_ids") or []
            if choice.get("prompt_token_ids") is not None:
                self.output.prompt_token_ids = choice["prompt_token_ids"]
            prompt_logprobs = choice.get("prompt_logprobs")
            if prompt_logprobs is not None:
                self.output.prompt_logprobs = [None, *_places(prompt_logprobs[1:])]
            logprobs = choice.get("logprobs")
            if logprobs:
                by_id = _places(logprobs["by_id"])
                out.logprobs = (out.logprobs or []) + by_id
                out.cumulative_logprob = sum(place[token].logprob for place, token in zip(out.logprobs, out.token_ids))
            if choice.get("finish_reason") is not None:
                out.finish_reason = choice["finish_reason"]
                out.stop_reason = choice.get("stop_reason")
        self.output.finished = all(one.finished() for one in self.output.outputs)
        return said

    def snapshot(self) -> RequestOutput:
        """Returns the output so far; what comes later does not change it."""
        now = self.output
        outputs = [CompletionOutput(one.index, one.text, list(one.token_ids), one.cumulative_logprob,
                                    None if one.logprobs is None else list(one.logprobs), one.finish_reason, one.stop_reason)
                   for one in now.outputs]
        return RequestOutput(now.request_id, now.prompt, now.prompt_token_ids, now.prompt_logprobs, outputs, now.finished)
