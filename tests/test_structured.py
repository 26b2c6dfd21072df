"""Text held to schemas, expressions and grammars, and tool calls, as the official openai client sees them, with the real default
model."""
import decimal
import json
import typing

import jsonschema
import pydantic
import pytest
import requests

from conftest import run_cli

CITY = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 30}, "people": {"type": "integer", "minimum": 1, "maximum": 99999999}},
        "required": ["name", "people"], "additionalProperties": False}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Current weather of a city.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "maxLength": 40}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"], "additionalProperties": False}}}
ADD = {"type": "function", "function": {"name": "add", "description": "Adds numbers.", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}}}
ASK = [{"role": "user", "content": "What is the weather in Paris in celsius?"}]


@pytest.fixture(scope="module")
def client(cpu_server):
    return cpu_server.openai()


@pytest.fixture(scope="module")
def model(client):
    return client.models.list().data[0].id


def schema_format(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_json_schema(client, model, temperature):
    for seed in range(3):
        answer = client.chat.completions.create(model=model, temperature=temperature, seed=seed, max_tokens=200, response_format=schema_format(CITY),
                                                messages=[{"role": "user", "content": "Name a city and its population."}])
        assert answer.choices[0].finish_reason == "stop"
        jsonschema.validate(json.loads(answer.choices[0].message.content), CITY)


def test_json_object_and_completions(client, model):
    answer = client.completions.create(model=model, prompt="A JSON object with the key a:", max_tokens=200, temperature=0,
                                       extra_body={"response_format": {"type": "json_object"}})
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].text), dict)
    assert answer.choices[0].text.lstrip().startswith("{")


def test_guided_fields(client, model):
    def text(**extra):
        answer = client.completions.create(model=model, prompt="The answer is", max_tokens=60, temperature=1, seed=1, extra_body=extra)
        assert answer.choices[0].finish_reason == "stop"
        return answer.choices[0].text
    assert text(guided_choice=["yes?", "no!"]) in ("yes?", "no!")
    assert text(guided_regex="[0-9]{2}-[a-f]{3}").count("-") == 1
    assert json.loads(text(guided_json={"type": "array", "items": {"type": "boolean"}, "minItems": 3, "maxItems": 3})) is not None
    assert text(guided_grammar='root ::= "<" [a-c]{2,4} ">"')[0] == "<"
    assert text(structured_outputs={"choice": ["left"]}) == "left"
    assert text(grammar='root ::= "ok"') == "ok"
    assert json.loads(text(json_schema={"const": [1]})) == [1]


def test_stream_and_logprobs_are_the_same_text(client, model):
    request = dict(model=model, temperature=0.9, seed=5, max_tokens=200, response_format=schema_format(CITY),
                   messages=[{"role": "user", "content": "Name a city."}])
    whole = client.chat.completions.create(logprobs=True, top_logprobs=2, **request).choices[0].message.content
    pieces = [c.delta.content or "" for chunk in client.chat.completions.create(stream=True, **request) for c in chunk.choices]
    assert "".join(pieces) == whole


def test_same_text_beside_others(client, model, cpu_server):
    """A grammar and its neighbours in the batch do not change one another."""
    request = dict(model=model, temperature=0, max_tokens=60, messages=[{"role": "user", "content": "Name a city."}], n=6)
    alone = client.chat.completions.create(response_format=schema_format(CITY), **{**request, "n": 1}).choices[0].message.content
    assert {c.message.content for c in client.chat.completions.create(response_format=schema_format(CITY), **request).choices} == {alone}


def test_predict(cpu_server):
    task = cpu_server.post("/api/v1/predict", {"text": "Yes or no?", "max_length": 30, "response_format": schema_format({"enum": ["yes", "no"]})}).json()
    assert json.loads(cpu_server.wait_task(task["task_id"])["result"]["text"]) in ("yes", "no")


@pytest.mark.parametrize("body, field", [
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": schema_format({"properties": {"a": {"uniqueItems": True}}})}, "response_format.json_schema.schema.properties.a.uniqueItems"),
    ({"guided_regex": "(?=a)"}, "guided_regex"),
    ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_choice"),
    ({"grammar": "root ::= root"}, "grammar"),
    ({"guided_json": {"$ref": "#/nowhere"}}, "guided_json.$ref"),
    ({"response_format": schema_format({"pattern": ".*a.{20}b", "type": "string", "maxLength": 3000})}, "response_format.json_schema.schema.pattern"),
    ({"tools": [{**ADD, "function": {**ADD["function"], "strict": True, "parameters": {"not": {"const": [1]}}}}], "tool_choice": "required"},
     "tools[0].function.parameters.not"),
    ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "none"}}}, "tool_choice"),
    ({"tools": [{}]}, "tools[0]"),
])
def test_refusals_name_the_field(cpu_server, body, field):
    answer = requests.post(cpu_server.url + "/v1/chat/completions", json={"messages": ASK, **body}, timeout=60)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == field, answer.text


def test_strict_parse(client, model):
    class Answer(pydantic.BaseModel):
        colours: set[typing.Literal["red", "green", "blue"]]
        sizes: pydantic.conset(int, min_length=2, max_length=2)
        amount: decimal.Decimal
        tags: pydantic.conset(frozenset[typing.Literal["a", "b"]], max_length=2)
        price: typing.Annotated[float, pydantic.Field(multiple_of=0.25, ge=0, le=9)]
        flags: dict[typing.Literal["new", "used"], bool]
        code: typing.Annotated[str, pydantic.Field(max_length=8, pattern=r"(?i)^\bx[a-z]+\b$")]
    for seed in range(3):
        answer = client.chat.completions.parse(model=model, temperature=1, seed=seed, max_tokens=300, response_format=Answer,
                                               messages=[{"role": "user", "content": "Describe a thing."}])
        assert isinstance(answer.choices[0].message.parsed, Answer)


@pytest.mark.parametrize("body, names", [
    ({"guided_json": {"type": "object", "properties": {"a": {"enum": [1]}, "b": {"uniqueItems": True, "maxItems": 2}}}},
     "guided_json#/properties/b/uniqueItems"),
    ({"tools": [{**ADD, "function": {**ADD["function"], "parameters": {"properties": {"é": {"const": 1, "type": "strnig"}}}}}, WEATHER],
      "tool_choice": "required"}, "tools[0].function.parameters#/properties/%C3%A9/type"),
    ({"guided_json": {"enum": ["a"]}}, None),
])
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_left_out_is_named(cpu_server, body, names, stream):
    answer = requests.post(cpu_server.url + "/v1/chat/completions", json={"messages": ASK, "max_tokens": 20, "stream": stream, **body}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.headers.get("X-Altlas-Ignored") == names


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_demanded_calls(client, model, choice):
    answer = client.chat.completions.create(model=model, temperature=0, max_tokens=200, messages=ASK, tools=[WEATHER, ADD], tool_choice=choice,
                                            parallel_tool_calls=False)
    call, = answer.choices[0].message.tool_calls
    # A call that the request names is not the model's choice, so OpenAI and vLLM say "stop".
    assert answer.choices[0].finish_reason == ("tool_calls" if choice == "required" else "stop") and answer.choices[0].message.content is None
    assert call.type == "function" and call.id
    arguments = json.loads(call.function.arguments)
    jsonschema.validate(arguments, {"get_weather": WEATHER, "add": ADD}[call.function.name]["function"]["parameters"])


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_streamed_calls_are_the_same(client, model, choice):
    request = dict(model=model, temperature=0, max_tokens=200, messages=ASK, tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False)
    whole = client.chat.completions.create(**request).choices[0].message.tool_calls[0].function
    names, arguments, pieces, finish = [], "", 0, None
    for chunk in client.chat.completions.create(stream=True, **request):
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            for call in choice.delta.tool_calls or []:
                assert call.index == 0
                if call.function.name:
                    names.append(call.function.name)
                arguments += call.function.arguments or ""
                pieces += bool(call.function.arguments)
    assert pieces > 3, "arguments come as they are written"
    assert names == [whole.name] and arguments == whole.arguments and finish == "tool_calls"


def test_a_conversation_with_a_tool(client, model):
    """The call and the tool's answer go back through the chat template."""
    call = client.chat.completions.create(model=model, temperature=0, max_tokens=100, messages=ASK, tools=[WEATHER],
                                          tool_choice={"type": "function", "function": {"name": "get_weather"}}).choices[0].message
    more = [*ASK, call.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": '{"degrees": 21}'}]
    answer = client.chat.completions.create(model=model, temperature=0, max_tokens=60, messages=more, tools=[WEATHER], tool_choice="none")
    assert "21" in answer.choices[0].message.content


def test_another_parser_may_be_named(start_server, client, model):
    """A call in the named parser's notation is a call; in another notation it is mere text."""
    def says(client, text):
        answer = client.chat.completions.create(
            model=client.models.list().data[0].id, temperature=0, max_tokens=100, messages=ASK, tools=[WEATHER], extra_body={"guided_choice": [text]})
        message = answer.choices[0].message
        return message.content, [(call.function.name, call.function.arguments) for call in message.tool_calls or []]

    other = start_server("--devices", "cpu", "--tool-call-parser", "mistral").openai()
    hermes = '<tool_call>{"name": "get_weather", "arguments": {"city": "Ankara"}}</tool_call>'
    mistral = '[TOOL_CALLS]get_weather[ARGS]{"city": "Ankara"}'
    call = [("get_weather", '{"city":"Ankara"}')]
    assert says(client, hermes) == (None, call) and says(client, mistral) == (mistral, [])
    assert says(other, hermes) == (hermes, []) and says(other, mistral) == (None, call)
    done = run_cli("serve", "--port", "0", "--tool-call-parser", "hermse")
    assert done.returncode == 2 and "one of auto, hermes, llama3_json" in done.stderr and "did you mean hermes" in done.stderr


def test_no_call_where_none_is_wanted(client, model):
    answer = client.chat.completions.create(model=model, temperature=0, max_tokens=20, messages=[{"role": "user", "content": "Say hello."}],
                                            tools=[WEATHER], tool_choice="none")
    assert answer.choices[0].message.tool_calls is None and answer.choices[0].message.content
