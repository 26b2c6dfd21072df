"""SamplingParams and StructuredOutputsParams, with vLLM's names, defaults and checks."""
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Union

from .errors import Error

LOGPROBS_MAX = 20


def _fail(name: str, should: str, value: object) -> Error:
    return Error("%s: should be %s, not %r" % (name, should, value), "invalid", name)


@dataclass
class StructuredOutputsParams:
    """What the text is held to: exactly one of these. json: a schema as object or text. grammar: GBNF."""

    json: Optional[Union[str, Dict[str, Any]]] = None
    regex: Optional[str] = None
    choice: Optional[List[str]] = None
    grammar: Optional[str] = None
    json_object: Optional[bool] = None

    def __post_init__(self) -> None:
        given = [name for name in ("json", "regex", "choice", "grammar", "json_object") if getattr(self, name) is not None]
        if len(given) != 1:
            raise Error("structured_outputs: one of json, regex, choice, grammar and json_object should be given, not %s"
                        % (" and ".join(given) or "none"), "invalid", "structured_outputs")

    def body(self) -> Dict[str, Any]:
        """Returns the field `structured_outputs` of a request."""
        given = {name: getattr(self, name) for name in ("json", "regex", "choice", "grammar", "json_object")}
        return {name: value for name, value in given.items() if value is not None}


@dataclass
class SamplingParams:
    """How tokens are drawn. Raises altlas.Error with the field's name for a value out of range.

    seed: the same seed gives the same text; choice k of n draws from seed + k. max_tokens None: what the model has left.
    logprobs: log-probabilities of the answer's tokens, each with so many most likely ones (at most 20).
    detokenize=False and skip_special_tokens change only the text.
    """

    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: Optional[int] = None
    stop: Optional[Union[str, List[str]]] = None
    stop_token_ids: Optional[List[int]] = None
    ignore_eos: bool = False
    max_tokens: Optional[int] = 16
    min_tokens: int = 0
    logprobs: Optional[int] = None
    prompt_logprobs: Optional[int] = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    include_stop_str_in_output: bool = False
    logit_bias: Optional[Dict[int, float]] = None
    structured_outputs: Optional[StructuredOutputsParams] = None
    extra_args: Dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):
            self.stop = [self.stop]
        self.stop = list(self.stop or [])
        self.stop_token_ids = list(self.stop_token_ids or [])
        self._check_ranges()
        if any(not isinstance(one, str) or not one for one in self.stop):
            raise _fail("stop", "texts that are not empty", self.stop)
        if self.stop and not self.detokenize:
            raise Error("stop: needs detokenize, since stop strings are found in the text", "invalid", "stop")

    def _check_ranges(self) -> None:
        ranges = (("presence_penalty", -2, 2), ("frequency_penalty", -2, 2), ("repetition_penalty", 0.01, 100),
                  ("temperature", 0, 2), ("min_p", 0, 1), ("n", 1, 128))
        for name, low, high in ranges:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise _fail(name, "from %s to %s" % (low, high), value)
        if not isinstance(self.n, int):
            raise _fail("n", "an integer", self.n)
        if not 0 < self.top_p <= 1:
            raise _fail("top_p", "above 0 and at most 1", self.top_p)
        if not isinstance(self.top_k, int) or self.top_k < -1:
            raise _fail("top_k", "an integer: 0 or -1 for all, or at least 1", self.top_k)
        if self.max_tokens is not None and self.max_tokens < 1:
            raise _fail("max_tokens", "at least 1", self.max_tokens)
        if self.min_tokens < 0:
            raise _fail("min_tokens", "at least 0", self.min_tokens)
        if self.max_tokens is not None and self.min_tokens > self.max_tokens:
            raise _fail("min_tokens", "at most max_tokens, %d" % self.max_tokens, self.min_tokens)
        for name in ("logprobs", "prompt_logprobs"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= LOGPROBS_MAX:
                raise _fail(name, "from 0 to %d" % LOGPROBS_MAX, value)

    def clone(self) -> "SamplingParams":
        """Returns a copy that shares nothing that can change."""
        import copy
        return copy.deepcopy(self)

    def body(self) -> Dict[str, Any]:
        """Returns the fields of a request to /v1/completions."""
        out: Dict[str, Any] = {name: getattr(self, name) for name in (
            "n", "presence_penalty", "frequency_penalty", "repetition_penalty", "temperature", "top_p", "top_k", "min_p",
            "ignore_eos", "min_tokens", "skip_special_tokens", "include_stop_str_in_output")}
        out["max_tokens"] = -1 if self.max_tokens is None else self.max_tokens
        for name in ("seed", "stop", "stop_token_ids", "logprobs", "prompt_logprobs"):
            if getattr(self, name) not in (None, []):
                out[name] = getattr(self, name)
        if self.logit_bias:
            out["logit_bias"] = {str(token): bias for token, bias in self.logit_bias.items()}
        if self.structured_outputs is not None:
            out["structured_outputs"] = self.structured_outputs.body()
        out.update(self.extra_args)
        return out
