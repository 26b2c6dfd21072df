"""What clients of OpenAI, vLLM and llama-server send and look for: their nulls, sentinels and lists, and errors by their codes."""
import openai
import pytest


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
