"""What clients of OpenAI, vLLM and llama-server send and look for: nulls, sentinel values, lists, and errors by their codes."""
import json
import re
import time

import openai
import pytest
import requests

from conftest import Server, run_cli
from test_folder import write_decoder


@pytest.fixture(scope="module")
def client(sim_server):
    return sim_server.openai()


@pytest.fixture(scope="module")
def chat(sim_server):
    def post(messages, **body):
        return sim_server.post("/v1/chat/completions", {"messages": messages, "max_tokens": 4, **body})
    return post


USER = {"role": "user", "content": "x"}
LONG = "word " * 40000


@pytest.mark.parametrize("path, body, param", [("/v1/chat/completions", {"messages": [{"role": "user", "content": LONG}]}, "messages"),
                                               ("/v1/completions", {"prompt": LONG}, "prompt"), ("/v1/completions", {"prompt": [7] * 600}, "prompt"),
                                               ("/v1/completions", {"prompt": "a", "suffix": LONG}, "prompt"),
                                               ("/v1/chat/completions", {"messages": [USER], "max_tokens": 600}, "max_tokens"),
                                               ("/v1/completions", {"prompt": ["a", LONG]}, "prompt")])
def test_too_long(sim_server, path, body, param):
    answer = sim_server.post(path, body)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert (error["code"], error["param"], error["type"]) == ("context_length_exceeded", param, "invalid_request_error"), error
    assert "maximum context length" in error["message"] and " 512 tokens" in error["message"], error


@pytest.mark.parametrize("path, body, begin", [("/v1/completions", {"prompt": ["x", LONG]}, "prompt[1]: This model"),
                                               ("/v1/completions", {"prompt": [LONG, "x"], "n": 3}, "prompt[0]: This model"),
                                               ("/v1/completions", {"prompt": LONG, "n": 2}, "This model"),
                                               ("/v1/embeddings", {"input": ["x", "y", LONG]}, "input[2]: This model"),
                                               ("/v1/completions", {"prompt": ["x", "y"], "guided_regex": "("}, "guided_regex: ")])
def test_which_of_several_is_wrong(sim_server, path, body, begin):
    answer = sim_server.post(path, body)
    assert answer.status_code == 400 and answer.json()["error"]["message"].startswith(begin), answer.text


def test_the_official_client_knows_the_codes(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="qwen2.5-coder-0.5b-instruct", messages=[{"role": "user", "content": LONG}])
    assert refused.value.code == "context_length_exceeded" and refused.value.param == "messages"
    with pytest.raises(openai.NotFoundError) as refused:
        client.completions.create(model="gpt-4o", prompt="x")
    assert refused.value.code == "model_not_found"


@pytest.mark.parametrize("message", [{"content": None}, {}, {"content": None, "reasoning_content": "r"},
                                     {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
                                     {"content": None, "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                                     {"content": "x", "tool_calls": None, "function_call": None, "refusal": None, "audio": None, "annotations": []},
                                     {"content": [{"type": "text", "text": "x"}], "tool_calls": []}])
def test_answers_as_clients_keep_them(chat, message):
    answer = chat([USER, {"role": "assistant", **message}, USER])
    assert answer.status_code == 200, answer.text


def test_an_answer_goes_back_as_it_came(client, chat):
    answer = client.chat.completions.create(model="", max_tokens=4, messages=[USER]).choices[0].message
    assert chat([USER, answer.model_dump(), USER]).status_code == 200
    assert client.chat.completions.create(model="", max_tokens=4, messages=[USER, answer, USER]).choices


@pytest.mark.parametrize("role", ["user", "system", "assistant", "tool", "developer"])
def test_parts_have_a_line_end_between(chat, role):
    rest = [] if role == "user" else [USER]
    parts = [{"type": "text", "text": t} for t in ("Fix the bug.", "Environment: linux", "Go.")]
    sizes = [chat([{"role": role, "content": content}] + rest).json()["usage"]["prompt_tokens"]
             for content in (parts, "Fix the bug.\nEnvironment: linux\nGo.", "Fix the bug.Environment: linuxGo.")]
    assert sizes[0] == sizes[1] != sizes[2]


@pytest.mark.parametrize("count", [17, 100, 1024])
def test_many_stop_strings(chat, count):
    assert chat([USER], stop=[f"stop {i}" for i in range(count)]).status_code == 200


@pytest.mark.parametrize("path, body", [("/v1/completions", {"prompt": "x", "max_tokens": -1}), ("/v1/completions", {"prompt": "x", "n_predict": -1}),
                                        ("/v1/chat/completions", {"messages": [USER], "max_tokens": -1}),
                                        ("/v1/chat/completions", {"messages": [USER], "max_completion_tokens": -1})])
def test_as_many_tokens_as_the_model_has_left(sim_server, path, body):
    usage = sim_server.post(path, {**body, "ignore_eos": True, "top_k": -1}).json()["usage"]
    assert usage["total_tokens"] == 512


def test_no_tokens_at_all(sim_server):
    answer = sim_server.post("/v1/completions", {"prompt": "x", "max_tokens": 0}).json()
    assert answer["choices"][0]["text"] == "" and answer["usage"]["completion_tokens"] == 0


def test_ids_of_calls(sim_server):
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"],
                                                                           "additionalProperties": False}}}]
    message = sim_server.post("/v1/chat/completions", {"messages": [USER], "tools": tools, "tool_choice": "required", "max_tokens": 100,
                                                       "parallel_tool_calls": False}).json()["choices"][0]["message"]
    call = message["tool_calls"][0]
    assert len(call["id"]) <= 40 and call["id"].startswith("call_")
    back = sim_server.post("/v1/chat/completions", {"messages": [USER, message, {"role": "tool", "tool_call_id": call["id"], "content": None}],
                                                    "tools": tools, "max_tokens": 2})
    assert back.status_code == 200, back.text


PLAIN = {"prompt": "x", "max_tokens": 1}
ERRORS = [
    # Columns: method, path, what is sent, status, code, param.
    ("POST", "/v1/completions", {"json": {}}, 400, "missing_required_parameter", "prompt"),
    ("POST", "/v1/completions", {"json": {"prompt": {}}}, 400, "invalid_type", "prompt"),
    ("POST", "/v1/completions", {"json": {**PLAIN, "top_p": 2}}, 400, "invalid_value", "top_p"),
    ("POST", "/v1/completions", {"json": {**PLAIN, "model": "m"}}, 404, "model_not_found", "model"),
    ("POST", "/v1/completions", {"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "invalid_json", None),
    ("POST", "/v1/completions", {"data": b"a=b", "headers": {"Content-Type": "text/plain"}}, 415, "unsupported_media_type", None),
    ("POST", "/v1/completions", {"json": {"prompt": "y" * 70_000}}, 413, "request_too_large", None),
    ("POST", "/v1/chat/completions", {"json": {"messages": [{"role": "user"}]}}, 400, "missing_required_parameter", "messages[0].content"),
    ("POST", "/v1/embeddings", {"json": {"input": 3.5}}, 400, "invalid_type", "input"),
    ("GET", "/v1/models/nobody", {}, 404, "model_not_found", "model"),
    ("GET", "/v1/files/file-0", {}, 404, "not_found", None),
    ("GET", "/v1/batches/batch_0", {}, 404, "not_found", None),
    ("POST", "/v1/batches", {"json": {}}, 400, "missing_required_parameter", "input_file_id"),
    ("POST", "/v1/files", {"json": {}}, 415, "unsupported_media_type", None),
    ("GET", "/v1/threads", {}, 404, "unknown_url", None),
    ("POST", "/v1/audio/speech", {"json": {}}, 404, "unknown_url", None),
    ("DELETE", "/v1/models", {}, 405, "method_not_supported", None),
    ("GET", "/v1/chat/completions", {}, 405, "method_not_supported", None),
    ("GET", "/v1/models", {"headers": {"Authorization": "Bearer wrong"}}, 401, "invalid_api_key", None),
    ("POST", "/v1/completions", {"json": PLAIN, "headers": {"Authorization": ""}}, 401, "invalid_api_key", None),
    ("GET", "/v1/nowhere", {"headers": {"Authorization": "Bearer wrong"}}, 401, "invalid_api_key", None),
    ("POST", "/v1/load_lora_adapter", {"json": {}, "headers": {"Authorization": "Bearer user-key"}}, 403, "insufficient_permissions", None),
    ("GET", "/v1/models", {"headers": {"X-Long": "z" * 40_000}}, 431, "headers_too_large", None),
    ("GET", "/v1/models?" + "q" * 20_000, {}, 414, "uri_too_long", None),
]
TYPES = {403: "permission_error"}


@pytest.fixture(scope="module")
def keyed_server():
    server = Server("--devices", "sim:h100:1", "--max-model-len", "512", config="""
auth: {keys: [{name: root, key: admin-key, role: admin}, {name: anna, key: user-key, role: user}]}
server: {body_bytes_max: 64KiB}
""")
    yield server
    server.stop()
    server.close()


@pytest.mark.parametrize("method, path, sent, status, code, param", ERRORS)
def test_every_error_has_a_code(keyed_server, method, path, sent, status, code, param):
    headers = {"Authorization": "Bearer admin-key", **sent.get("headers", {})}
    answer = requests.request(method, keyed_server.url + path, timeout=60, **{**sent, "headers": headers})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["param"], error["type"]) == (code, param, TYPES.get(status, "invalid_request_error")), error
    assert error["message"]


def test_a_full_server_says_rate_limit(start_server):
    server = start_server("--devices", "sim:h100:1", config="gpu: {multi_gpu: {max_queue_size: 1, max_concurrent_tasks_per_gpu: 1}}")
    client = server.openai()
    busy = client.completions.create(model="", prompt=["a", "b"], max_tokens=2000, stream=True, extra_body={"ignore_eos": True})
    next(iter(busy))
    with pytest.raises(openai.RateLimitError) as refused:
        client.completions.create(model="", prompt="c", max_tokens=4)
    busy.close()
    assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "rate_limit_error")


BROKEN = {"no end": "{% for m in messages %}{{ m.content }}", "no such tag": "{% frobnicate %}", "half an expression": "{{ messages[0"}


@pytest.mark.parametrize("template", BROKEN.values(), ids=BROKEN)
def test_a_template_that_cant_be_compiled(start_server, tmp_path, template):
    hub = tmp_path / "hub"
    folder = hub / "models--t--odd" / "snapshots" / "1"
    folder.parent.mkdir(parents=True)
    write_decoder(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "chat_template": template}))
    server = start_server("--devices", "cpu:1", "--model", str(folder))
    why = server.get("/v1/models").json()["data"][0]["chat_template_error"]
    assert "chat template, line 1" in why
    error = server.post("/v1/chat/completions", {"messages": [USER]}).json()["error"]
    assert error["param"] == "model" and why in error["message"] and "can't be used" in error["message"]
    assert server.post("/v1/completions", PLAIN).status_code == 200
    deployments = server.get("/api/v1/deployments").json()["deployments"]
    assert [one["chat_template_error"] for one in deployments.values() if "chat_template_error" in one] == [why], deployments
    for shown in (run_cli("status", "--url", server.url), run_cli("doctor", env={"HF_HUB_CACHE": str(hub)})):
        assert "its chat template can't be used: " + why[:40] in " ".join(shown.stdout.split()), shown.stdout
    chat = run_cli("chat", "--model", str(folder), "--devices", "cpu:1", input="x\n")
    assert chat.returncode != 0 and why in chat.stderr


MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("path, body", [("/v1/completions", PLAIN), ("/v1/chat/completions", {"messages": [USER], "max_tokens": 1}),
                                        ("/v1/embeddings", {"input": "ö"}), ("/api/v1/predict", {"text": "x"}), ("/tokenize", {"prompt": "x"})])
def test_marks_of_an_encoding(sim_server, path, body):
    text = json.dumps(body)

    def post(data):
        return requests.post(sim_server.url + path, data=data, headers={"Content-Type": "application/json"}, timeout=60)
    assert post(MARK + text.encode()).status_code == 200
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        refused = post(text.encode(encoding))
        assert refused.status_code == 400 and "UTF-16" in refused.text, refused.text
        if path.startswith("/v1/"):
            assert refused.json()["error"]["code"] == "unsupported_encoding"


@pytest.mark.parametrize("encoding, ending", [("utf-8-sig", "\n"), ("utf-8-sig", "\r\n"), ("utf-8", "\n")])
def test_batches_of_marked_files(sim_server, client, encoding, ending):
    lines = [json.dumps({"custom_id": f"r{i}", "method": "POST", "url": "/v1/completions", "body": PLAIN}) for i in range(3)]
    content = b"".join((line + ending).encode(encoding) for line in lines)
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint="/v1/completions", completion_window="24h")
    deadline = time.monotonic() + 60
    while (batch := client.batches.retrieve(batch.id)).status not in ("completed", "failed"):
        assert time.monotonic() < deadline
    assert batch.status == "completed" and batch.request_counts.completed == 3, batch


def test_files_that_editors_saved(start_server, tmp_path):
    keys, config = tmp_path / "keys", tmp_path / "altlas.yaml"
    keys.write_bytes(MARK + b"first\r\nsecond\r\n")
    config.write_bytes(MARK + f"auth:\r\n  keys_file: {keys}\r\n".encode())
    server = start_server("--devices", "sim:h100:1", "--config", str(config))
    for key, status in (("first", 200), ("second", 200), ("third", 401)):
        assert server.get("/v1/models", headers={"Authorization": "Bearer " + key}).status_code == status
    config.write_bytes("server: {port: 0}\n".encode("utf-16"))
    refused = run_cli("validate-config", str(config))
    assert refused.returncode != 0 and "UTF-16" in refused.stdout + refused.stderr


def test_a_model_whose_files_editors_saved(start_server, tmp_path):
    folder = write_decoder(tmp_path / "model", shards=2)
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    for name in ("model.safetensors.index.json", "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes(MARK + (folder / name).read_bytes())
    server = start_server("--devices", "cpu:1", "--model", str(folder))
    prompt = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "abc"}], "max_tokens": 1}).json()["usage"]
    assert prompt["prompt_tokens"] == 3
    (folder / "config.json").write_bytes((folder / "config.json").read_bytes()[3:].decode().encode("utf-16"))
    refused = run_cli("generate", "--model", str(folder), "--prompt", "a", "--devices", "cpu:1")
    assert refused.returncode != 0 and "UTF-16" in refused.stderr


def test_texts_that_editors_saved(tmp_path):
    folder, file = write_decoder(tmp_path / "model"), tmp_path / "text"
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")

    def run(text, *command, **kwargs):
        file.write_bytes(text)
        return run_cli(*command, "--model", str(folder), "--devices", "cpu:1", **kwargs)
    perplexity = ["perplexity", "--file", str(file), "--json"]
    chat = ["chat", "--max-tokens", "8", "--temperature", "0"]
    for text in ("hello", "größe\r\nx", "[1, 2, 3]"):
        marked, plain = (run(mark + text.encode(), *perplexity) for mark in (MARK, b""))
        assert marked.returncode == 0 and marked.stdout == plain.stdout, marked.stderr
        marked, plain = (run(b"", *chat, input=mark + text, errors="replace") for mark in ("\ufeff", ""))
        assert marked.returncode == 0 and marked.stdout == plain.stdout, marked.stderr
        for encoding in ("utf-16", "utf-16-be"):
            refused = run(text.encode(encoding), *perplexity)
            assert refused.returncode != 0 and "UTF-16" in refused.stderr, refused.stderr
    marked = run(MARK + b"[1, 2, 3]", *perplexity, "--ids")
    assert marked.returncode == 0 and '"ids":[1,2,3]' in marked.stdout, marked.stderr


# Mistral's template does this: it refuses other ids.
NINE = """{%- for m in messages %}{%- if m.tool_calls is defined %}{%- for tool_call in m.tool_calls %}
{%- if tool_call.id is not defined or tool_call.id|length != 9 %}{{ raise_exception("ids should have 9 letters or digits") }}{%- endif %}
[TOOL_CALLS] [{"name": "{{ tool_call.function.name }}", "id": "{{ tool_call.id }}"}]{%- endfor %}
{%- elif m.role == "tool" %}{%- if m.tool_call_id is not defined or m.tool_call_id|length != 9 %}{{ raise_exception("no id") }}{%- endif %}
[TOOL_RESULTS] {{ m.tool_call_id }} {{ m.content }}{%- else %}{{ m.content }}{%- endif %}{%- endfor %}"""


@pytest.fixture(scope="module")
def nine_server(tmp_path_factory):
    folder = write_decoder(tmp_path_factory.mktemp("nine") / "model")
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", "chat_template": NINE}))
    server = Server("--devices", "cpu:1", "--model", str(folder))
    yield server
    server.stop()
    server.close()


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"],
                                                                     "additionalProperties": False}}}


@pytest.mark.parametrize("stream", [False, True])
def test_ids_of_nine_letters(nine_server, stream):
    client = nine_server.openai()
    answer = client.chat.completions.create(model="", messages=[USER], tools=[TOOL], tool_choice="required", parallel_tool_calls=False, stream=stream,
                                            max_tokens=100)
    if stream:
        ids = [call.id for chunk in answer for choice in chunk.choices for call in choice.delta.tool_calls or [] if call.id]
    else:
        ids = [call.id for call in answer.choices[0].message.tool_calls]
    assert len(ids) == 1 and re.fullmatch("[A-Za-z0-9]{9}", ids[0]), ids
    call = {"id": ids[0], "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    back = nine_server.post("/v1/chat/completions", {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [call]},
                                                                  {"role": "tool", "tool_call_id": ids[0], "content": "ok"}], "max_tokens": 1})
    assert back.status_code == 200, back.text


@pytest.mark.parametrize("given", ["call_8f2b1c0d9e8f4a5b6c7d8e9f", "toolu_01A09q90qw90lq917835lq9", "chatcmpl-tool-3f2c9d0e1b4a4c5d8e7f6a5b4c3d2e1f", "0", "functions.f:0",
                                   "", None])
def test_ids_of_other_servers(nine_server, given):
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}} | ({} if given is None else {"id": given})
    answered = {"role": "tool", "content": "ok"} | ({} if given is None else {"tool_call_id": given})
    back = nine_server.post("/v1/chat/completions", {"messages": [USER, {"role": "assistant", "content": "", "tool_calls": [call]}, answered], "max_tokens": 1})
    assert back.status_code == 200, back.text


def test_certificates_that_editors_saved(start_server, certificate, tmp_path):
    cert, key, config = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "altlas.yaml"
    for to, source in ((cert, certificate[0]), (key, certificate[1])):
        with open(source, "rb") as file:
            to.write_bytes(MARK + file.read())
    config.write_text(f"server: {{tls_cert: {cert}, tls_key: {key}}}")
    server = start_server("--devices", "sim:h100:1", "--config", str(config))
    assert requests.get(server.url + "/health", verify=certificate[0], timeout=60).status_code == 200
    key.write_bytes(key.read_bytes()[3:].decode().encode("utf-16"))
    refused = run_cli("serve", "--port", "0", "--devices", "sim:h100:1", "--data-dir", "none", "--config", str(config))
    assert refused.returncode != 0 and "server.tls_key" in refused.stderr and "UTF-16" in refused.stderr
