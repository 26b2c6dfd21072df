"""Control tokens in prompts, and texts between two others: /v1/completions with `suffix`, and llama-server's /infill. The default
model is a coder, so it has the tokens."""
import json

import pytest

PREFIX, SUFFIX = "def add(a, b):\n    return ", "\n\nprint(add(1, 2))\n"
FIM = f"<|fim_prefix|>{PREFIX}<|fim_suffix|>{SUFFIX}<|fim_middle|>"


@pytest.fixture(scope="module")
def complete(cpu_server):
    def post(path="/v1/completions", **body):
        return cpu_server.post(path, {"temperature": 0, "max_tokens": 12, **body})
    return post


@pytest.fixture(scope="module")
def sizes(cpu_server):
    def count(text, **more):
        return cpu_server.post("/tokenize", {"prompt": text, **more}).json()["count"]
    return count


def events(response):
    lines = [line[6:] for line in response.iter_lines() if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def test_a_gap_is_filled(complete):
    answer = complete(prompt=PREFIX, suffix=SUFFIX, max_tokens=60).json()
    choice = answer["choices"][0]
    assert choice["text"].startswith("a + b")
    assert choice["finish_reason"] == "stop" and choice["stop_reason"] is None
    assert complete(prompt=FIM, stop=["\n\n"]).json()["choices"][0]["text"].startswith("a + b")
    streamed = complete(prompt=PREFIX, suffix=SUFFIX, max_tokens=60, stream=True)
    assert "".join(e["choices"][0]["text"] for e in events(streamed)) == choice["text"]


@pytest.mark.parametrize("prefix, suffix", [(PREFIX, SUFFIX), ("", "x = 1\n"), ("if x <|im_end|> y:\n", "<|fim_middle|>"), ("é", "ü")])
def test_a_suffix_is_the_prompt_that_the_model_knows(complete, sizes, prefix, suffix):
    answer = complete(prompt=prefix or [1], suffix=suffix, max_tokens=1).json()
    parts = sizes(prefix, parse_special=False) if prefix else 1
    assert answer["usage"]["prompt_tokens"] == 3 + parts + sizes(suffix, parse_special=False)


@pytest.mark.parametrize("text, tokens", [("<|im_start|>", 1), (FIM, None), ("<|endoftext|><|endoftext|>", 2), ("<|file_sep|>a", 2)])
def test_control_tokens_in_prompts(complete, sizes, cpu_server, text, tokens):
    read = complete(prompt=text, max_tokens=1).json()["usage"]["prompt_tokens"]
    literal = complete(prompt=text, max_tokens=1, parse_special=False).json()["usage"]["prompt_tokens"]
    assert read < literal and (tokens is None or read == tokens)
    assert sizes(text) == read and sizes(text, parse_special=False) == literal
    for path in ("/llm/generate", "/generate"):
        assert complete(path, prompt=text, max_tokens=1).ok
    chat = complete("/v1/chat/completions", messages=[{"role": "user", "content": text}], max_tokens=1, parse_special=True).json()
    plain = complete("/v1/chat/completions", messages=[{"role": "user", "content": "a"}], max_tokens=1).json()
    assert chat["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"] + literal - 1


def test_generate_and_predict_read_them_where_they_should(complete, cpu_server):
    want = complete(prompt=FIM, max_tokens=6).json()["choices"][0]["text"]
    literal = complete(prompt=FIM, max_tokens=6, parse_special=False).json()["choices"][0]["text"]
    assert want != literal
    assert complete("/llm/generate", prompt=FIM, max_tokens=6).json()["text"] == want
    assert complete("/generate", prompt=FIM, max_tokens=6).text == want
    assert complete("/generate", prompt=FIM, max_tokens=6, parse_special=False).text == literal
    for more, text in (({"parse_special": True}, want), ({}, literal), ({"parse_special": False}, literal)):
        task = cpu_server.post("/api/v1/predict", {"text": FIM, "max_length": 6, "temperature": 0, **more}).json()
        assert cpu_server.wait_task(task["task_id"])["result"]["text"] == text


def test_infill(complete, cpu_server):
    body = dict(input_prefix=PREFIX, input_suffix=SUFFIX, n_predict=12)
    answer = complete("/infill", **body).json()
    assert answer["content"].startswith("a + b") and answer["stop"] is True and answer["stop_type"] in ("eos", "limit")
    assert answer["tokens_predicted"] <= 12 and answer["timings"]["predicted_n"] == answer["tokens_predicted"]
    pieces = events(complete("/infill", stream=True, **body))
    assert "".join(piece["content"] for piece in pieces) == answer["content"]
    assert [piece["stop"] for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    begun = complete("/infill", **{**body, "prompt": "a +"}).json()["content"]
    assert begun.strip().startswith("b")
    files = [{"filename": "names.py", "text": "def add_numbers(first_number, second_number): ...\n"}, {"text": "x = 1\n"}]
    more = complete("/infill", **body, input_extra=files).json()
    assert more["tokens_evaluated"] > answer["tokens_evaluated"] + 15
    assert complete("/infill", **body, stop=["+"]).json()["stopping_word"] == "+"


@pytest.mark.parametrize("body, field", [({"input_suffix": "x"}, "input_prefix"), ({"input_prefix": "x"}, "input_suffix"),
                                         ({"input_prefix": "x", "input_suffix": 3}, "input_suffix"),
                                         ({"input_prefix": "x", "input_suffix": "y", "input_extra": [{"filename": "a"}]}, "input_extra[0].text"),
                                         ({"input_prefix": "x", "input_suffix": "y", "input_extra": ["a"]}, "input_extra[0]"),
                                         ({"input_prefix": "x", "input_suffix": "y", "n_predict": "1"}, "n_predict")])
def test_infill_refuses_with_the_field(cpu_server, body, field):
    answer = cpu_server.post("/infill", body)
    assert answer.status_code == 400 and answer.json()["error"].startswith(field)


def test_infill_of_nothing_only_reads(complete):
    answer = complete("/infill", input_prefix=PREFIX, input_suffix="", n_predict=0).json()
    assert answer["content"] == "" and answer["tokens_predicted"] == 0 and answer["tokens_evaluated"] > 5
