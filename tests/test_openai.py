"""The official openai client works unchanged: chat, completions, streaming, logprobs, errors."""
import openai
import pytest


@pytest.fixture(scope="module")
def client(cpu_server):
    return cpu_server.openai()


@pytest.fixture(scope="module")
def model(client):
    return client.models.list().data[0].id


def test_models(client, model):
    assert client.models.retrieve(model).id == model


def test_chat(client, model):
    answer = client.chat.completions.create(model=model, temperature=0, max_tokens=48,
                                            messages=[{"role": "user", "content": "Write a Python function that adds two numbers."}])
    assert "def " in answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_chat_stream_is_the_same_text(client, model):
    request = dict(model=model, temperature=0.8, seed=7, max_tokens=32, messages=[{"role": "user", "content": "Say hello in Turkish."}])
    whole = client.chat.completions.create(**request).choices[0].message.content
    pieces, usage, finish = [], None, None
    for chunk in client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **request):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
    assert "".join(pieces) == whole
    assert usage.completion_tokens > 0 and finish in ("stop", "length")


def test_completion_with_logprobs_and_echo(client, model):
    answer = client.completions.create(model=model, prompt="def fibonacci(n):", max_tokens=8, temperature=0, logprobs=3, echo=True)
    choice = answer.choices[0]
    assert choice.text.startswith("def fibonacci(n):")
    assert "".join(choice.logprobs.tokens) == choice.text
    assert choice.logprobs.token_logprobs[0] is None
    assert all(p <= 0 for p in choice.logprobs.token_logprobs[1:])
    # Under greedy sampling every generated token is its position's most likely one.
    for token, top, p in list(zip(choice.logprobs.tokens, choice.logprobs.top_logprobs, choice.logprobs.token_logprobs))[-8:]:
        assert max(top.values()) == pytest.approx(p), token


@pytest.mark.parametrize("tokens", [8, 0])
def test_streamed_echo_has_the_prompts_logprobs_first(client, model, cpu_server, tokens):
    request = dict(model=model, prompt="def fibonacci(n):", max_tokens=tokens, temperature=0, logprobs=2, echo=True)
    whole = client.completions.create(**request).choices[0]
    chunks = [chunk.choices[0] for chunk in client.completions.create(stream=True, **request)]
    assert "".join(chunk.text for chunk in chunks) == whole.text
    first = chunks[0].logprobs
    prompt = len(cpu_server.post("/tokenize", {"prompt": request["prompt"]}).json()["tokens"])
    assert len(first.tokens) >= prompt and first.tokens[:prompt] == whole.logprobs.tokens[:prompt] and first.token_logprobs[0] is None
    for field in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        joined = [one for chunk in chunks if chunk.logprobs for one in getattr(chunk.logprobs, field)]
        assert joined == getattr(whole.logprobs, field), field


def test_logprobs_name_the_token_and_count_characters(client, model):
    """A sampled token is among its position's log-probabilities, however unlikely it is; offsets cut the text where tokens begin."""
    request = dict(model=model, prompt="Türkçe: ağaç,", max_tokens=12, temperature=2, seed=3, logprobs=1, echo=True)
    whole = client.completions.create(**request).choices[0]
    pieces, stream = "", {"tokens": [], "text_offset": [], "top_logprobs": []}
    for chunk in client.completions.create(stream=True, **request):
        for choice in chunk.choices:
            pieces += choice.text
            for name, values in stream.items():
                values += getattr(choice.logprobs, name, None) or []
    assert pieces == whole.text
    for got in (whole.logprobs.model_dump(), stream):
        assert len(got["tokens"]) == len(got["text_offset"]) == len(got["top_logprobs"])
        assert all(token in top for token, top in list(zip(got["tokens"], got["top_logprobs"]))[1:])
        if "\ufffd" not in "".join(got["tokens"]):
            assert all(whole.text[at:].startswith(token) for token, at in zip(got["tokens"], got["text_offset"]))
    client_zero = client.completions.create(model=model, prompt="1, 2,", max_tokens=2, temperature=0, logprobs=0).choices[0]
    assert all(list(top) == [token] for token, top in zip(client_zero.logprobs.tokens, client_zero.logprobs.top_logprobs))


def test_chat_logprobs(client, model):
    answer = client.chat.completions.create(model=model, temperature=0, max_tokens=4, logprobs=True, top_logprobs=2,
                                            messages=[{"role": "user", "content": "1+1="}])
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens or answer.choices[0].finish_reason == "stop"
    assert all(len(one.top_logprobs) == 2 for one in content)
    text = b"".join(bytes(one.bytes) for one in content).decode()
    assert text.startswith(answer.choices[0].message.content)


def test_n_choices_differ_and_repeat_by_seed(client, model):
    request = dict(model=model, prompt="Once upon a time", max_tokens=12, temperature=1.0, seed=3, n=3)
    first = [c.text for c in client.completions.create(**request).choices]
    again = [c.text for c in client.completions.create(**request).choices]
    assert first == again and len(set(first)) > 1


def test_several_prompts(client, model):
    answer = client.completions.create(model=model, prompt=["1, 2, 3,", "a, b, c,"], max_tokens=4, temperature=0)
    assert [c.index for c in answer.choices] == [0, 1]
    assert "4" in answer.choices[0].text and "d" in answer.choices[1].text


def test_stop(client, model):
    answer = client.completions.create(model=model, prompt="1, 2, 3, 4, 5, 6,", max_tokens=40, temperature=0, stop=["10"])
    assert "10" not in answer.choices[0].text and answer.choices[0].finish_reason == "stop"


def test_errors(client, model):
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="no-such-model", messages=[{"role": "user", "content": "x"}])
    assert "no-such-model" in missing.value.message
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}], temperature=3)
    assert wrong.value.param == "temperature"
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model=model, prompt="x " * 200_000, max_tokens=4)


def test_wrong_key(start_server):
    server = start_server("--devices", "sim:h100:1", "--api-key", "right")
    wrong = server.openai("wrong")
    with pytest.raises(openai.AuthenticationError):
        wrong.models.list()
    right = server.openai("right")
    assert right.models.list().data
    server.stop()
