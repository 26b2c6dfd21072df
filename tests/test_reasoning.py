"""Models that think: if a template begins the thinking, the answer ends it. The model is tiny and random, so its tokens are
steered with logit_bias. A grammar holds for the text after the thinking."""
import json

import pytest

from conftest import Server
from test_folder import write_decoder

TEMPLATES = {
    "think": ("<think>", "</think>"),
    "mistral": ("[THINK]", "[/THINK]"),
    "seed": ("<seed:think>", "</seed:think>"),
}


@pytest.fixture(scope="module", params=TEMPLATES)
def thinker(tmp_path_factory, request):
    begin, end = TEMPLATES[request.param]
    folder = write_decoder(tmp_path_factory.mktemp("thinker") / request.param)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    special = request.param == "mistral"  # Its marks are control tokens.
    tokenizer["added_tokens"] += [{"id": 257 + i, "content": mark, "special": special, "single_word": False, "lstrip": False,
                                   "rstrip": False, "normalized": False} for i, mark in enumerate((begin, end))]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: " + begin + "\n{% endif %}"
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "chat_template": template}))
    server = Server("--devices", "cpu:1", "--model", str(folder))
    yield server
    server.stop()
    server.close()


NEVER_END = {"256": -100}
LETTERS = {str(b): 30 for b in range(64, 90)}  # Printable tokens of the vocabulary.


def ask(server, **body):
    return server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "temperature": 1, "seed": 5, "max_tokens": 40, **body})


def streamed(server, **body):
    out = {"content": "", "reasoning_content": "", "arguments": ""}
    for line in ask(server, stream=True, **body).iter_lines():
        if not line.startswith(b"data: {"):
            continue
        for choice in json.loads(line[6:])["choices"]:
            for key in ("content", "reasoning_content"):
                out[key] += choice["delta"].get(key) or ""
            for call in choice["delta"].get("tool_calls", []):
                out["arguments"] += call["function"]["arguments"]
    return out


def test_the_thinking_is_told_apart(thinker):
    body = dict(logit_bias={**NEVER_END, **LETTERS, "258": 31}, n=4)
    whole = [c["message"] for c in ask(thinker, **body).json()["choices"]]
    assert any(m.get("reasoning_content") and m["content"] for m in whole), whole
    for end in ("</think>", "[/THINK]", "</seed:think>"):
        assert all(end not in m.get("reasoning_content", "") for m in whole)
    one = ask(thinker, logit_bias=body["logit_bias"]).json()["choices"][0]["message"]
    parts = streamed(thinker, logit_bias=body["logit_bias"])
    assert parts["content"] == (one["content"] or "") and parts["reasoning_content"] == one.get("reasoning_content", "")


def test_plain_chat_tells_it_apart_too(thinker):
    body = dict(messages=[{"role": "user", "content": "x"}], temperature=1, top_p=1, max_tokens=40, logit_bias={**NEVER_END, **LETTERS, "258": 31})
    both = 0
    for seed in range(6):
        body["seed"] = seed
        answer = thinker.post("/chat", body).json()
        whole = thinker.post("/v1/chat/completions", body).json()["choices"][0]["message"]
        assert answer["content"] == (whole["content"] or "") and answer.get("reasoning_content") == whole.get("reasoning_content")
        both += bool(answer["content"] and answer.get("reasoning_content"))
        events = [json.loads(line[6:]) for line in thinker.post("/chat", {**body, "stream": True}).iter_lines() if line.startswith(b"data: {")]
        for key in ("content", "reasoning_content"):
            assert "".join(event.get(key, "") for event in events) == answer.get(key, "")
    assert both, "a draw that thinks and answers"


def test_cut_within_the_thinking(thinker):
    body = dict(logit_bias={**NEVER_END, **LETTERS, "258": -100}, max_tokens=9)
    message = ask(thinker, **body).json()["choices"][0]["message"]
    assert len(message["reasoning_content"]) == 9 and message["content"] == ""
    assert streamed(thinker, **body)["reasoning_content"] == message["reasoning_content"]


SCHEMA = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"], "additionalProperties": False}
HELD = [{"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}}, {"guided_regex": r"\{\"a\": ?[0-9]{3}\}"},
        {"grammar": 'root ::= "{" [a-z] "}"'},
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}], "tool_choice": "required"}]


@pytest.mark.parametrize("held", HELD)
def test_constraints_begin_behind_the_thinking(thinker, held):
    body = dict(held, logit_bias={**LETTERS, "258": 30.5}, max_tokens=150, seed=11)
    message = ask(thinker, **body).json()["choices"][0]["message"]
    assert message["reasoning_content"], message
    parts = streamed(thinker, **body)
    assert parts["reasoning_content"] == message["reasoning_content"]
    if "tools" in held:
        arguments = message["tool_calls"][0]["function"]["arguments"]
        assert json.loads(arguments)["a"] in ("x", "y") and parts["arguments"].startswith(arguments)
    else:
        assert message["content"].startswith("{") and message["content"].endswith("}")
        assert parts["content"] == message["content"]
