"""What clients of vLLM and llama-server send beside OpenAI's fields: it is taken as they mean it, or refused with a reason."""
import re
import socket

import pytest
import requests


@pytest.fixture(scope="module")
def ask(cpu_server):
    def post(path, **body):
        answer = requests.post(cpu_server.url + path, json=body, timeout=120)
        return answer.status_code, answer.json()
    return post


@pytest.fixture(scope="module")
def complete(ask):
    def post(status=200, **body):
        got, answer = ask("/v1/completions", **{"prompt": "1, 2, 3,", "temperature": 0, "max_tokens": 12, **body})
        assert got == status, answer
        return answer["choices"][0] if status == 200 else answer["error"]
    return post


@pytest.fixture(scope="module")
def chat(ask):
    def post(status=200, **body):
        got, answer = ask("/v1/chat/completions", **{"messages": [{"role": "user", "content": "x"}], "temperature": 0, "max_tokens": 8, **body})
        assert got == status, answer
        return answer if status == 200 else answer["error"]
    return post


def test_harmless_fields_are_ignored(complete, chat):
    plain = complete()
    assert complete(user="me", best_of=1, suffix="", stop_token_ids=[], skip_special_tokens=True, spaces_between_special_tokens=True, use_beam_search=False,
                    cache_prompt=True, n_predict=3, slot_id=-1, unknown={"a": 1}) == plain
    assert chat(service_tier="auto", store=False, metadata={"a": "b"}, parallel_tool_calls=True, reasoning_effort="low", user="me")["choices"]


def test_null_is_absent(complete, chat):
    names = ["n", "stop", "seed", "logprobs", "stream", "stream_options", "top_p", "top_k", "min_p", "logit_bias", "presence_penalty",
             "frequency_penalty", "repetition_penalty", "min_tokens", "ignore_eos", "priority", "gpu_options", "model", "echo", "best_of", "suffix",
             "stop_token_ids", "skip_special_tokens", "include_stop_str_in_output", "response_format", "user"]
    assert complete(**{name: None for name in names}) == complete()
    chat_names = ["tools", "tool_choice", "max_completion_tokens", "top_logprobs", "add_generation_prompt", "continue_final_message",
                  "chat_template", "chat_template_kwargs"]
    assert chat(**{name: None for name in names + chat_names})["choices"] == chat()["choices"]


@pytest.mark.parametrize("field, value", [("suffix", 3), ("best_of", 2), ("use_beam_search", True), ("skip_special_tokens", 3),
                                          ("prompt_logprobs", 21), ("prompt_logprobs", -1), ("stop_token_ids", [-1]), ("stop_token_ids", [1 << 30]),
                                          ("stop_token_ids", ["x"]), ("stop_token_ids", 3), ("stop_token_ids", [1] * 257),
                                          ("include_stop_str_in_output", "yes"), ("n", 0), ("priority", "urgent"), ("stop", [""]),
                                          ("logit_bias", {"x": 1}), ("logit_bias", {"1": 101}), ("min_tokens", -1), ("top_p", 1.5),
                                          ("presence_penalty", 3), ("repetition_penalty", 0), ("logprobs", 21)])
def test_refused_with_the_field(complete, field, value):
    assert complete(400, **{field: value})["param"] == field


@pytest.mark.parametrize("field, value", [("chat_template", "{{ x }}"), ("chat_template_kwargs", {"messages": []}), ("chat_template_kwargs", [1]),
                                          ("max_completion_tokens", 0), ("messages", []), ("messages", "x"), ("top_logprobs", 2)])
def test_chat_refused_with_the_field(chat, field, value):
    assert chat(400, **{field: value})["param"] == field


def test_stop_string_in_output(complete, cpu_server):
    assert complete(stop=["6"])["text"] == " 4, 5, "
    assert complete(stop=["6"], include_stop_str_in_output=True)["text"] == " 4, 5, 6"
    import json
    with cpu_server.post("/v1/completions", {"prompt": "1, 2, 3,", "temperature": 0, "max_tokens": 12, "stop": "6", "stream": True,
                                             "include_stop_str_in_output": True}, stream=True) as answer:
        chunks = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith(b"data: {")]
    assert "".join(c["choices"][0]["text"] for c in chunks) == " 4, 5, 6"


def test_stop_tokens_that_end_answers_anyway(complete, ask):
    end = ask("/tokenize", content="<|im_end|>")[1]["tokens"]
    assert len(end) == 1
    assert complete(stop_token_ids=end) == complete()


def test_any_token_may_stop(complete, chat, ask):
    plain = complete(logprobs=0, max_tokens=24)
    tokens = plain["logprobs"]["tokens"]
    stop = next(i for i in range(4, len(tokens)) if tokens[i] not in tokens[:i])
    number, = ask("/tokenize", prompt=tokens[stop], add_special_tokens=False)[1]["tokens"]
    cut = complete(stop_token_ids=[number, number], max_tokens=24)
    assert cut["text"] == "".join(tokens[:stop]) and cut["finish_reason"] == "stop" and cut["stop_reason"] == number
    assert complete(stop_token_ids=[number], max_tokens=24, include_stop_str_in_output=True)["text"] == "".join(tokens[:stop + 1])
    assert complete(stop_token_ids=[number], max_tokens=24, ignore_eos=True)["stop_reason"] == number
    late = complete(stop_token_ids=[number], max_tokens=24, min_tokens=stop + 4, logprobs=0)
    assert late["logprobs"]["tokens"][:stop] == tokens[:stop] and number not in late["logprobs"]["tokens"][:stop + 4]
    assert len(late["logprobs"]["tokens"]) >= stop + 4
    assert complete(stop=[tokens[stop]], max_tokens=24)["stop_reason"] == tokens[stop]
    assert complete(max_tokens=3)["stop_reason"] is None
    assert chat(stop_token_ids=[number])["choices"]


def test_control_tokens_are_shown_where_they_are_asked_for(complete, ask):
    number, = ask("/tokenize", content="<|im_start|>")[1]["tokens"]
    forced = dict(logit_bias={str(number): 100}, max_tokens=2)
    assert complete(**forced)["text"] == ""
    assert complete(**forced, skip_special_tokens=False)["text"] == "<|im_start|>" * 2
    # The token that ends the answer is no part of it in either case.
    end, = ask("/tokenize", content="<|im_end|>")[1]["tokens"]
    assert complete(logit_bias={str(end): 100}, skip_special_tokens=False)["text"] == ""


def test_prompt_logprobs(complete, ask):
    prompt = "The capital of France is Paris"
    ids = ask("/tokenize", prompt=prompt)[1]["tokens"]
    status, answer = ask("/v1/completions", prompt=prompt, max_tokens=1, temperature=0, prompt_logprobs=2)
    rows = answer["choices"][0]["prompt_logprobs"]
    assert status == 200 and rows[0] is None and len(rows) == len(ids)
    echo = ask("/v1/completions", prompt=prompt, max_tokens=1, temperature=0, echo=True, logprobs=0)[1]["choices"][0]["logprobs"]
    for row, number, p, token in zip(rows[1:], ids[1:], echo["token_logprobs"][1:], echo["tokens"][1:]):
        own = row[str(number)]
        assert own["logprob"] == p and own["decoded_token"] == token
        assert 2 <= len(row) <= 3 and {one["rank"] for one in row.values()} >= {1, 2}
        assert max(row.values(), key=lambda one: one["logprob"])["rank"] == 1
    chat = ask("/v1/chat/completions", messages=[{"role": "user", "content": "Hi"}], max_tokens=1, prompt_logprobs=0)[1]
    assert chat["prompt_logprobs"][0] is None and all(len(row) == 1 for row in chat["prompt_logprobs"][1:])
    assert "prompt_logprobs" not in complete()
    assert ask("/v1/completions", prompt=prompt, prompt_logprobs=1, stream=True)[1]["error"]["param"] == "prompt_logprobs"


def test_penalties_bias_and_lengths(complete, ask):
    space = ask("/tokenize", prompt=" ")[1]["tokens"][0]
    assert " " in complete(logprobs=0)["logprobs"]["tokens"]
    assert " " not in complete(logprobs=0, logit_bias={str(space): -100})["logprobs"]["tokens"]
    assert complete(logit_bias={str(space): 100}, max_tokens=3)["text"].strip() == ""
    assert complete(presence_penalty=2, frequency_penalty=2)["text"] != complete()["text"]
    assert complete(repetition_penalty=1.8)["text"] != complete()["text"]
    long = complete(prompt="Say hi", ignore_eos=True, max_tokens=60)
    assert long["finish_reason"] == "length"
    assert ask("/v1/completions", prompt="x", min_tokens=20, max_tokens=20, temperature=0)[1]["usage"]["completion_tokens"] == 20


def test_prompt_forms(ask):
    text = "def add(a, b):"
    ids = ask("/tokenize", prompt=text)[1]["tokens"]
    texts = [[c["text"] for c in ask("/v1/completions", prompt=form, temperature=0, max_tokens=6)[1]["choices"]]
             for form in (text, [text], ids, [ids], [text, text], [ids, ids])]
    assert all(t == texts[0][0] for some in texts for t in some) and [len(t) for t in texts] == [1, 1, 1, 1, 2, 2]
    for wrong in ("", [], [""], [[]], [-1], [10**7], [1.5], {"a": 1}, 3, [[1], "x" * 0]):
        status, answer = ask("/v1/completions", prompt=wrong)
        assert status == 400 and answer["error"]["param"] == "prompt", wrong


def test_only_the_prompt(ask):
    status, answer = ask("/v1/completions", prompt="one two three", max_tokens=0, echo=True, logprobs=1)
    choice = answer["choices"][0]
    assert choice["text"] == "one two three" and answer["usage"]["completion_tokens"] == 0
    assert "".join(choice["logprobs"]["tokens"]) == "one two three" and choice["logprobs"]["token_logprobs"][0] is None
    assert choice["logprobs"]["text_offset"][0] == 0


def test_roles_and_parts(chat):
    def text(messages):
        answer = chat(messages=messages)
        return answer["choices"][0]["message"]["content"], answer["usage"]["prompt_tokens"]
    system = text([{"role": "system", "content": "Answer only: ok"}, {"role": "user", "content": "hello"}])
    assert text([{"role": "developer", "content": "Answer only: ok"}, {"role": "user", "content": "hello"}]) == system
    seam = text([{"role": "system", "content": "Answer only:\nok"}, {"role": "user", "content": "hello"}])
    assert text([{"role": "system", "content": [{"type": "text", "text": "Answer only:"}, {"type": "text", "text": "ok"}]},
                 {"role": "user", "content": "hello"}]) == seam
    error = chat(400, messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}])
    assert error["param"] == "messages[0].content"
    assert chat(400, messages=[{"role": "robot", "content": "x"}])["param"] == "messages[0].role"


def test_going_on_with_the_last_message(chat, ask):
    messages = [{"role": "user", "content": "What is 1+1? Answer with a digit."}, {"role": "assistant", "content": "The answer is "}]
    answer = chat(messages=messages, continue_final_message=True)["choices"][0]["message"]["content"]
    assert answer.startswith("2"), answer
    got = ask("/tokenize", messages=messages, continue_final_message=True)[1]["tokens"]
    assert ask("/detokenize", tokens=got)[1]["prompt"].endswith("The answer is ")
    assert chat(400, messages=messages, continue_final_message=True, add_generation_prompt=True)["param"] == "add_generation_prompt"
    empty = messages[:1] + [{"role": "assistant", "content": " "}]
    assert chat(400, messages=empty, continue_final_message=True)["param"] == "continue_final_message"
    without = ask("/tokenize", messages=messages[:1], add_generation_prompt=False)[1]["tokens"]
    with_prompt = ask("/tokenize", messages=messages[:1])[1]["tokens"]
    assert with_prompt[:len(without)] == without and len(with_prompt) > len(without)


def test_tokenize_of_both_servers(ask):
    vllm = ask("/tokenize", prompt="héllo wörld", add_special_tokens=True, return_token_strs=True)[1]
    assert vllm["count"] == len(vllm["tokens"]) == len(vllm["token_strs"]) and vllm["max_model_len"] > 0
    assert "".join(vllm["token_strs"]) == "héllo wörld"
    llama = ask("/tokenize", content="héllo wörld", with_pieces=True)[1]
    assert [t["id"] for t in llama["tokens"]] == vllm["tokens"]
    assert ask("/tokenize", content="a<|im_end|>", parse_special=False)[1]["count"] > ask("/tokenize", content="a<|im_end|>")[1]["count"]
    emoji = ask("/tokenize", content="🦄", with_pieces=True)[1]["tokens"]
    raw = b"".join(bytes(t["piece"]) if isinstance(t["piece"], list) else t["piece"].encode() for t in emoji)
    assert raw.decode() == "🦄"
    both = ask("/detokenize", tokens=vllm["tokens"])[1]
    assert both["prompt"] == both["content"] == "héllo wörld"
    assert ask("/detokenize", tokens=[])[1]["content"] == ""
    for body in ({}, {"prompt": 3}, {"content": None}):
        assert ask("/tokenize", **body)[0] == 400
    for tokens in (None, "x", [-1], [10**9], ["a"]):
        assert ask("/detokenize", tokens=tokens)[0] == 400


def test_errors_have_openais_shape(cpu_server):
    base = cpu_server.url
    for answer, status in ((requests.post(base + "/v1/completions", data="{", headers={"Content-Type": "application/json"}), 400),
                           (requests.post(base + "/v1/completions", data="x"), 415), (requests.get(base + "/v1/none"), 404),
                           (requests.put(base + "/v1/completions", json={}), 405),
                           (requests.post(base + "/v1/completions", data=b"x" * (9 << 20), headers={"Content-Type": "application/json"}), 413),
                           (requests.get(base + "/v1/models/none"), 404), (requests.get(base + "/v1/models/%F0%9F"), 404)):
        assert answer.status_code == status
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"} and error["message"], error
    assert requests.put(base + "/v1/completions", json={}).headers["Allow"] == "POST"


def test_stream_with_usage(cpu_server):
    import json
    with cpu_server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 4, "stream": True,
                                                  "stream_options": {"include_usage": True}}, stream=True) as answer:
        lines = [line[6:] for line in answer.iter_lines() if line]
    assert lines[-1] == b"[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert all(c["usage"] is None and c["system_fingerprint"] for c in chunks[:-1])
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] <= 4
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"


def test_options_of_the_server(cpu_server):
    """"OPTIONS *" asks for no path (RFC 9110, section 9.3.7); the connection stays open for the next request."""
    host, port = cpu_server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\nGET * HTTP/1.1\r\nHost: localhost\r\n\r\n"
                           b"GET /version HTTP/1.1\r\nHost: localhost\r\nConnection: x\r\nConnection: close\r\n\r\n")
        answers = b""
        while piece := connection.recv(1 << 16):
            answers += piece
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answers) == [b"204", b"404", b"200"], answers
    assert b"\r\nAllow: GET, HEAD, POST, DELETE, OPTIONS\r\n" in answers


def test_version(cpu_server):
    assert cpu_server.get("/version").json()["version"]


def test_pages_of_allowed_origins_may_ask(start_server):
    """Browsers ask for permission without a key; the answer itself still needs one."""
    server = start_server("--devices", "sim:h100:1", "--max-model-len", "512", "--api-key", "k",
                          config="server: {cors_origins: [\"http://a.example\"]}")
    ask = {"Origin": "http://a.example", "Access-Control-Request-Method": "POST"}
    leave = requests.options(server.url + "/v1/completions", headers=ask)
    assert leave.status_code == 204 and leave.headers["Access-Control-Allow-Origin"] == "http://a.example"
    assert leave.headers["Access-Control-Allow-Methods"] == "POST" and "Authorization" in leave.headers["Access-Control-Allow-Headers"]
    assert requests.options(server.url + "/v1/completions", headers={**ask, "Origin": "http://b.example"}).status_code == 401
    answer = requests.post(server.url + "/v1/completions", json={"prompt": "x"}, headers=ask)
    assert answer.status_code == 401 and answer.headers["Access-Control-Allow-Origin"] == "http://a.example"
    assert requests.get(server.url + "/v1/models", headers={"Authorization": "Bearer k", "Origin": "http://b.example"}).headers.get(
        "Access-Control-Allow-Origin") is None
    server.stop()
