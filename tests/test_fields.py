"""Every field that /openapi.json tells of a request body is read: a value of another kind is refused with the field's name, and
so are numbers beyond its limits and unknown names. body_test.cc tries the rows of the bodies; here are also the fields that
handlers read after them. What is not described is not read: it changes nothing."""
import pytest

SOUND = {  # A body that each route takes, or refuses for another reason than a field's kind.
    "/api/v1/predict": {"text": "t", "max_length": 2},
    "/api/v1/batch_predict": {"batch": [{"text": "t", "max_length": 2}]},
    "/api/v1/config/gpu/strategy": {"strategy": "random"},
    "/api/v1/config/gpu/max_concurrent_tasks": {"value": 8},
    "/llm/generate": {"prompt": "t", "max_tokens": 2},
    "/generate": {"prompt": "t", "max_tokens": 2},
    "/chat": {"messages": [{"role": "user", "content": "t"}], "max_tokens": 2},
    "/v1/completions": {"prompt": "t", "max_tokens": 2},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "t"}], "max_tokens": 2},
    "/infill": {"input_prefix": "t", "input_suffix": "u", "n_predict": 2},
    "/tokenize": {"prompt": "t"},
    "/detokenize": {"tokens": [1]},
    "/v1/embeddings": {"input": "t"},
    "/v1/load_lora_adapter": {"lora_name": "a", "lora_path": "/nowhere"},
    "/v1/unload_lora_adapter": {"lora_name": "a"},
    "/v1/batches": {"input_file_id": "file-none", "endpoint": "/v1/completions"},
}
KINDS = {"string": "?", "integer": 1, "boolean": True, "array": [], "object": {}}


@pytest.fixture(scope="module")
def described(sim_server):
    return sim_server.get("/openapi.json").json()


def alternatives(schema, schemas):
    if "$ref" in schema:
        return alternatives(schemas[schema["$ref"].rsplit("/", 1)[1]], schemas)
    return [inner for one in schema.get("anyOf", []) for inner in alternatives(one, schemas)] or [schema]


def kinds_of(schema):
    if "enum" in schema:
        return {"string" if isinstance(one, str) else "integer" for one in schema["enum"] if one is not None}
    kinds = schema.get("type", list(KINDS))
    return {"integer" if kind == "number" else kind for kind in ([kinds] if isinstance(kinds, str) else kinds)}


def wrong_values(schema, schemas):
    possible = alternatives(schema, schemas)
    taken = set().union(*map(kinds_of, possible))
    yield from (value for kind, value in KINDS.items() if kind not in taken)
    for one in possible:
        if one.get("maximum", 1e18) < 1e18:
            yield one["maximum"] + 1
        if one.get("minimum", -1e18) > -1e18 and not any(other.get("enum") == [-1, -2] for other in possible):
            yield one["minimum"] - 1
        if kinds_of(one) == {"string"} and "enum" in one:
            yield "no such name"


def fields_of(schema, schemas, path=()):
    for name, field in schema.get("properties", {}).items():
        yield (*path, name), field
        for one in alternatives(field, schemas):
            if one.get("type") in ("object", ["object", "null"]) and field.get("anyOf", [{}])[0].get("$ref"):
                yield from fields_of(one, schemas, (*path, name))


def known_as(name, properties):
    """Returns the field's first name."""
    help_text = properties.get(name, {}).get("description", "")
    return help_text.removeprefix("Another name of ") if help_text.startswith("Another name of ") else name


def body_with(sound, path, value, properties):
    if len(path) == 1:  # If a field has several names, only the first one that is there counts.
        return {**{key: kept for key, kept in sound.items() if known_as(key, properties) != known_as(path[0], properties)}, path[0]: value}
    inner = {"type": "json_schema"} if path[0] == "response_format" else {}
    return {**sound, path[0]: {**inner, path[1]: value}}


def message_of(answer):
    error = answer.json()["error"]
    return error if isinstance(error, str) else error["message"]


@pytest.mark.parametrize("path", SOUND)
def test_every_described_field_is_read(sim_server, described, path):
    schemas = described["components"]["schemas"]
    content = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = alternatives(content, schemas)[0]
    tried = 0
    for name, field in fields_of(schema, schemas):
        for wrong in wrong_values(field, schemas):
            answer = sim_server.post(path, body_with(SOUND[path], name, wrong, schema["properties"]))
            assert answer.status_code == 400, (name, wrong, answer.text)
            assert message_of(answer).startswith((".".join(name), name[0])), (name, wrong, answer.text)
            tried += 1
    assert tried > len(schema["properties"]), "every field has several wrong values"


@pytest.mark.parametrize("path", SOUND)
def test_what_is_needed_is_missed_and_what_is_unknown_is_ignored(sim_server, described, path):
    schemas = described["components"]["schemas"]
    content = described["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    for name in alternatives(content, schemas)[0].get("required", []):
        for body in ({key: value for key, value in SOUND[path].items() if key != name}, {**SOUND[path], name: None}):
            answer = sim_server.post(path, body)
            assert answer.status_code == 400 and message_of(answer).startswith(f"{name}: is missing"), answer.text
    plain = sim_server.post(path, SOUND[path])
    other = sim_server.post(path, {**SOUND[path], "no_such_field": [1], "user": {"a": 1}, "kind": None})
    assert plain.status_code == other.status_code and plain.headers["Content-Type"] == other.headers["Content-Type"]


def test_limits_of_settings_are_in_the_description(start_server):
    server = start_server("--devices", "sim:h100:1", config="""
server: {batch_items_max: 3}
gpu: {multi_gpu: {strategies: [random, round_robin], default_strategy: random}}
""")
    schemas = server.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["BatchPredictRequest"]["properties"]["batch"]["maxItems"] == 3
    assert schemas["StrategyRequest"]["properties"]["strategy"]["enum"] == ["random", "round_robin"]
    items = [{"text": "t", "max_length": 2}]
    assert server.post("/api/v1/batch_predict", {"batch": items * 3}).status_code == 200
    assert server.post("/api/v1/batch_predict", {"batch": items * 4}).status_code == 400
    assert server.post("/api/v1/config/gpu/strategy", {"strategy": "round_robin"}).status_code == 200
    assert server.post("/api/v1/config/gpu/strategy", {"strategy": "least_loaded"}).status_code == 400
    server.stop()
