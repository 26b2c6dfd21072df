"""The meaning of a request counts, not how it is written: idempotency keys, documented lengths, whole numbers."""
import json

import pytest

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def predict(server, body):
    return server.post("/api/v1/predict", body)


def swapped(value):
    """Returns the same value with its members in another order."""
    if isinstance(value, dict):
        return {key: swapped(value[key]) for key in reversed(value)}
    return [swapped(one) for one in value] if isinstance(value, list) else value


SAME = {
    "order": ({"max_length": 8, "temperature": 0.5, "stop": ["x", "y"]}, {"stop": ["x", "y"], "temperature": 0.5, "max_length": 8}),
    "whole doubles": ({"max_length": 9, "top_k": 40, "temperature": 1}, {"max_length": 9.0, "top_k": 4e1, "temperature": 1.0}),
    "defaults": ({}, {"max_length": 128, "temperature": 0.7, "type": "text_generation", "priority": "normal", "template": "raw",
                      "estimated_memory": 0, "top_p": 1.0, "min_p": -0.0, "presence_penalty": 0, "repetition_penalty": 1, "ignore_eos": False}),
    "nulls": ({}, {"seed": None, "stop": None, "model": None, "gpu_options": None, "deadline_s": None, "response_format": None}),
    "a seed that is drawn": ({}, {"seed": -1}),
    "all tokens": ({"top_k": 0}, {"top_k": -1}),
    "one stop string": ({"stop": "end"}, {"stop": ["end"]}),
    "device": ({"gpu_options": {"specific_gpu_id": 2}}, {"gpu_options": {"specific_gpu_id": "gpu_2"}}),
    "strategy": ({"gpu_options": {}}, {"gpu_options": {"strategy": "least_loaded"}}),
    "bias": ({"logit_bias": {"5": 1, "6": -2.5}}, {"logit_bias": {"6": -2.5, "5": 1.0}}),
    "deadline": ({"deadline_s": 3000}, {"deadline_s": 3e3}),
    "schema": ({"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}},
               {"response_format": {"json_schema": {"schema": swapped(SCHEMA), "name": "s"}, "type": "json_schema"}}),
    "unknown": ({"user": "me"}, {}),
}


@pytest.mark.parametrize("name", SAME)
def test_one_key_and_meaning_is_one_task(sim_server, name):
    first, other = ({"text": "same", "idempotency_key": f"same {name}", **body} for body in SAME[name])
    ids = []
    for body in (first, other, swapped(other), first):
        answer = predict(sim_server, body)
        assert answer.status_code == 200, (body, answer.text)
        ids.append(answer.json()["task_id"])
    assert len(set(ids)) == 1, ids


OTHER = [{"text": "other"}, {"max_length": 9}, {"temperature": 0.71}, {"top_p": 0.9}, {"top_k": 3}, {"min_p": 0.1}, {"seed": 1}, {"seed": -2},
         {"stop": "x"}, {"priority": "low"}, {"estimated_memory": 1000}, {"deadline_s": 3000}, {"template": "chat"}, {"type": "other"},
         {"logit_bias": {"5": 1}}, {"response_format": {"type": "json_object"}}, {"gpu_options": {"strategy": "random"}},
         {"gpu_options": {"specific_gpu_id": 1}}, {"ignore_eos": True}, {"min_tokens": 2}, {"frequency_penalty": 0.5}]


@pytest.mark.parametrize("change", OTHER, ids=json.dumps)
def test_one_key_with_another_meaning_is_refused(sim_server, change):
    body = {"text": "same", "max_length": 8, "idempotency_key": f"other {json.dumps(change)}"}
    assert predict(sim_server, body).status_code == 200
    answer = predict(sim_server, {**body, **change})
    assert answer.status_code == 409 and "idempotency_key" in answer.text


def test_keys_in_batches_and_after_a_restart(start_server, tmp_path):
    spellings = [{"text": "t", "max_length": 8, "idempotency_key": "k", "top_k": 5}, {"top_k": 5.0, "idempotency_key": "k", "max_length": 8, "text": "t"},
                 {"idempotency_key": "k", "text": "t", "temperature": 0.7, "top_k": 5, "max_length": 8e0}]
    arguments = dict(data_dir=str(tmp_path / "data"))
    server = start_server("--devices", "sim:h100:2", "--max-model-len", "512", **arguments)
    answer = server.post("/api/v1/batch_predict", {"batch": spellings}).json()
    ids = {one["task_id"] for one in answer["tasks"]}
    assert len(ids) == 1
    server.wait_task(ids.copy().pop())
    server.stop()
    server = start_server("--devices", "sim:h100:2", "--max-model-len", "512", **arguments)
    for body in spellings:
        ids.add(predict(server, body).json()["task_id"])
    assert len(ids) == 1
    assert predict(server, {**spellings[0], "top_k": 6}).status_code == 409
    server.stop()


@pytest.mark.parametrize("field", ["idempotency_key", "type"])
@pytest.mark.parametrize("letter", ["k", "ğ", "字", "🙂"])
def test_documented_length_is_the_real_one(sim_server, field, letter):
    documented = sim_server.get("/openapi.json").json()["components"]["schemas"]["PredictRequest"]["properties"][field]["maxLength"]
    assert predict(sim_server, {"text": "t", "max_length": 2, field: letter * documented}).status_code == 200
    answer = predict(sim_server, {"text": "t", "max_length": 2, field: letter * (documented + 1)})
    assert answer.status_code == 400 and str(documented) in answer.json()["error"]


@pytest.mark.parametrize("path, ints, doubles", [
    ("/v1/completions", {"prompt": [9707, 11], "n": 2}, {"prompt": [9707.0, 1.1e1], "n": 2.0}),
    ("/v1/completions", {"prompt": [[9707], [11]]}, {"prompt": [[9707.0], [11e0]]}),
    ("/v1/completions", {"prompt": "x", "stop_token_ids": [3, 5], "logprobs": 2}, {"prompt": "x", "stop_token_ids": [3.0, 5.0], "logprobs": 2.0}),
    ("/tokenize", {"prompt": "x", "add_special_tokens": False}, {"add_special_tokens": False, "prompt": "x"}),
    ("/detokenize", {"tokens": [9707, 11]}, {"tokens": [9707.0, 11.0]}),
    ("/v1/embeddings", {"input": [9707, 11], "dimensions": 4}, {"input": [9707.0, 11.0], "dimensions": 4.0}),
], ids=str)
def test_whole_doubles_are_integers_everywhere(sim_server, path, ints, doubles):
    answers = [sim_server.post(path, {**body, **({"seed": 3, "max_tokens": 8} if "completions" in path else {})}) for body in (ints, doubles)]
    assert [answer.status_code for answer in answers] == [200, 200], [answer.text for answer in answers]
    one, other = ({key: value for key, value in answer.json().items() if key not in ("id", "created")} for answer in answers)
    assert one == other
