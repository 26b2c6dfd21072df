"""altlas.LLM and AsyncLLM with a real engine process: vLLM's shapes, what ends the process, and errors with a reason."""
import asyncio
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from conftest import BINARY, ROOT

sys.path.insert(0, str(ROOT / "python"))

import altlas  # noqa: E402

MODEL = "qwen2.5-coder-0.5b-instruct"
SIM = {"devices": "sim:h100:2", "max_model_len": 512}


@pytest.fixture(scope="module", autouse=True)
def binary():
    os.environ["ALTLAS_BINARY"] = BINARY
    yield
    del os.environ["ALTLAS_BINARY"]


@pytest.fixture(scope="module")
def llm():
    with altlas.LLM(MODEL, tensor_parallel_size=1, enforce_eager=True, enable_prefix_caching=True, dtype="bfloat16", **SIM) as made:
        yield made


def script(text, **more):
    """Runs a program that imports altlas, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "ALTLAS_BINARY": BINARY}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(text)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, env=environment, **more)


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(condition):
    while not condition():
        time.sleep(0.01)


def test_outputs_have_the_shapes_of_vllm(llm):
    params = altlas.SamplingParams(max_tokens=6, n=2, seed=3, logprobs=2, prompt_logprobs=1)
    first, second = llm.generate(["<|im_start|>hello there", "a"], params)
    assert first.prompt == "<|im_start|>hello there" and first.finished
    assert first.prompt_token_ids == llm.get_tokenizer().encode(first.prompt)
    assert first.prompt_token_ids[0] == 151644, "control tokens are read in prompts"
    assert len(first.prompt_logprobs) == len(first.prompt_token_ids) and first.prompt_logprobs[0] is None
    assert [one.index for one in first.outputs] == [0, 1]
    assert second.request_id != first.request_id
    for one in first.outputs + second.outputs:
        assert len(one.token_ids) == 6 and one.finish_reason == "length" and one.stop_reason is None
        assert one.text == llm.get_tokenizer().decode(one.token_ids)
        assert len(one.logprobs) == 6
        for token, place in zip(one.token_ids, one.logprobs):
            assert place[token].logprob <= 0 and place[token].decoded_token is not None
        assert one.cumulative_logprob == pytest.approx(sum(p[t].logprob for t, p in zip(one.token_ids, one.logprobs)))


def test_answers_keep_the_order_of_their_prompts(llm):
    prompts = [f"prompt {i}" for i in range(300)]
    outputs = llm.generate(prompts, [altlas.SamplingParams(max_tokens=1 + i % 5, seed=i) for i in range(300)])
    assert [one.prompt for one in outputs] == prompts
    assert [len(one.outputs[0].token_ids) for one in outputs] == [1 + i % 5 for i in range(300)]


def test_prompts_in_every_form_are_the_same(llm):
    params = altlas.SamplingParams(max_tokens=5, seed=9)
    ids = llm.get_tokenizer().encode("some text")
    answers = [llm.generate(one, params)[0] for one in ("some text", {"prompt": "some text"}, ids, {"prompt_token_ids": ids}, [ids])]
    assert len({one.outputs[0].text for one in answers}) == 1
    assert all(one.prompt_token_ids == ids for one in answers)
    for bad in (5.0, [1.5], {"text": "x"}, b"x"):
        with pytest.raises(altlas.Error, match="prompt: should be"):
            llm.generate([bad], params)


def test_chat_is_the_template_then_generate(llm):
    messages = [{"role": "user", "content": "Say hi."}]
    tokenizer = llm.get_tokenizer()
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|im_start|>assistant\n")
    params = altlas.SamplingParams(max_tokens=8, seed=1)
    by_chat, by_text = llm.chat(messages, params)[0], llm.generate([text], params)[0]
    assert by_chat.outputs == by_text.outputs and by_chat.prompt_token_ids == by_text.prompt_token_ids and by_chat.prompt == text


def test_stop_and_detokenize(llm):
    whole = llm.generate("stop here", altlas.SamplingParams(max_tokens=12, seed=4))[0].outputs[0]
    token = whole.token_ids[5]
    cut = llm.generate("stop here", altlas.SamplingParams(max_tokens=12, seed=4, stop_token_ids=[token]))[0].outputs[0]
    assert cut.finish_reason == "stop" and cut.stop_reason == token and whole.text.startswith(cut.text)
    silent = llm.generate("stop here", altlas.SamplingParams(max_tokens=12, seed=4, detokenize=False))[0].outputs[0]
    assert silent.text == "" and silent.token_ids == whole.token_ids


def test_what_it_is_held_to(llm):
    held = altlas.StructuredOutputsParams(choice=["yes", "no"])
    out = llm.generate("Is it?", altlas.SamplingParams(structured_outputs=held, max_tokens=8))[0].outputs[0]
    assert out.text in ("yes", "no")


@pytest.mark.parametrize("field, value", [("temperature", -1), ("temperature", 3), ("top_p", 0), ("top_p", 1.1), ("top_k", -2),
                                          ("n", 0), ("max_tokens", 0), ("min_p", 2), ("stop", [""]), ("logprobs", 21),
                                          ("presence_penalty", 3), ("repetition_penalty", 0), ("min_tokens", 17)])
def test_parameters_out_of_range(field, value):
    with pytest.raises(altlas.Error) as caught:
        altlas.SamplingParams(**{field: value})
    assert caught.value.field == field and field in str(caught.value)


def test_structured_outputs_are_one():
    for given in ({}, {"regex": "a", "grammar": "b"}):
        with pytest.raises(altlas.Error, match="one of json"):
            altlas.StructuredOutputsParams(**given)


@pytest.mark.parametrize("given, said", [({"tensor_parallel_sizes": 2}, "is no argument"), ({"dtype": "int3"}, "dtype: should be"),
                                         ({"quantization": "awq"}, "not possible"), ({"tensor_parallel_size": 0}, "tensor"),
                                         ({"distributed_executor_backend": "mpi"}, "mp, uni and ray"),
                                         ({"devices": "tpu:1"}, "tpu"), ({"gpu_memory_utilization": 7}, "memory")])
def test_a_wrong_argument_is_said(given, said):
    with pytest.raises(altlas.Error, match=said):
        altlas.LLM(MODEL, **given)


def test_a_model_that_is_not_here():
    with pytest.raises(altlas.Error, match="no model 'nowhere'"):
        altlas.LLM("nowhere", devices="sim:h100:1")


def test_another_version_of_the_program_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("altlas._engine.__version__", "9.9.9")
    with pytest.raises(altlas.Error, match="altlas .* but this package is 9.9.9"):
        altlas.LLM(MODEL, devices="sim:h100:1")
    monkeypatch.setenv("ALTLAS_BINARY", str(tmp_path / "none"))
    with pytest.raises(altlas.Error, match="is no program"):
        altlas.LLM(MODEL)


def test_several_models_in_one_process_and_close():
    one, two = altlas.LLM(MODEL, **SIM), altlas.LLM(MODEL, **SIM)
    params = altlas.SamplingParams(max_tokens=4, seed=1)
    assert one.generate("x", params)[0].outputs == two.generate("x", params)[0].outputs
    pids = [one._engine.process.pid, two._engine.process.pid]
    folder = one._engine._folder
    one.close()
    assert not alive(pids[0]) and alive(pids[1]) and not os.path.exists(folder)
    with pytest.raises(altlas.Error, match="is closed"):
        one.generate("x")
    two.close()


def test_an_engine_that_died_is_said():
    with altlas.LLM(MODEL, **SIM) as llm:
        llm._engine.process.kill()
        llm._engine.process.wait()
        with pytest.raises(altlas.Error, match="process ended with -9"):
            llm.generate(["x", "y"])


START = f"""
import altlas, os, signal, sys, threading, time
made = []
thread = threading.Thread(target=lambda: made.append(altlas.LLM({MODEL!r}, devices='sim:h100:1', max_model_len=512)))
thread.start(); thread.join()  # The thread that made it is over: its engine lives on.
llm = made[0]
print(llm._engine.process.pid, flush=True)
"""


@pytest.mark.parametrize("end", ["sys.exit(0)", "sys.exit(3)", "raise ValueError('x')", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"])
def test_the_engine_ends_with_its_process(end):
    program = script(START + "assert llm.generate('x', altlas.SamplingParams(max_tokens=2))\n" + end)
    pid = int(program.stdout.readline())
    program.communicate()
    wait_until(lambda: not alive(pid))


def test_ctrl_c_ends_the_call_and_not_the_engine():
    program = script(START + """
try:
    print('ready', flush=True)
    while True:
        llm.generate(['x'] * 500, altlas.SamplingParams(max_tokens=400))
except KeyboardInterrupt:
    print('interrupted', len(llm.generate('x', altlas.SamplingParams(max_tokens=2))), flush=True)
""", start_new_session=True)
    pid = int(program.stdout.readline())
    assert program.stdout.readline() == "ready\n"
    os.killpg(program.pid, signal.SIGINT)  # As a terminal does: to the whole group.
    out, _ = program.communicate()
    assert "interrupted 1" in out and program.returncode == 0, out
    wait_until(lambda: not alive(pid))


def test_after_a_fork_the_child_is_told():
    program = script(START + """
child = os.fork()
if child == 0:
    try:
        llm.generate('x')
    except altlas.Error as error:
        print(error, flush=True)
    own = altlas.LLM('qwen2.5-coder-0.5b-instruct', devices='sim:h100:1', max_model_len=512)
    print(len(own.generate('x', altlas.SamplingParams(max_tokens=2))), flush=True)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print('parent', len(llm.generate('x', altlas.SamplingParams(max_tokens=2))), flush=True)
""")
    out, _ = program.communicate()
    assert "made before a fork" in out and "\n1\n" in out and "parent 1" in out, out


def test_import_loads_little_and_vllm_may_be_its_name():
    program = script("""
import sys, altlas
print(sorted(name for name in sys.modules if name in ('asyncio', 'http.client', 'ssl', 'numpy', 'subprocess', 'json')))
import altlas.vllm_compat
from vllm import LLM, SamplingParams
print(LLM is altlas.LLM, SamplingParams(stop='x').stop)
""")
    out, _ = program.communicate()
    assert out == "[]\nTrue ['x']\n"


def test_async_streams_and_aborts():
    async def main():
        llm = altlas.AsyncLLM(MODEL, **SIM)
        try:
            params = altlas.SamplingParams(max_tokens=30, seed=5, logprobs=1)
            seen = [one async for one in llm.generate("stream", params, "first")]
            assert len(seen) > 1 and seen[-1].finished and not seen[0].finished
            assert all(b.outputs[0].text.startswith(a.outputs[0].text) for a, b in zip(seen, seen[1:]))
            assert len(seen[-1].outputs[0].token_ids) == len(seen[-1].outputs[0].logprobs) == 30
            assert (await llm.get_tokenizer()).decode(seen[-1].outputs[0].token_ids) == seen[-1].outputs[0].text
            texts = await asyncio.gather(*(last(llm.generate("stream", params)) for _ in range(20)))
            assert {one.outputs[0].text for one in texts} == {seen[-1].outputs[0].text}
            assert (await last(llm.chat([{"role": "user", "content": "hi"}], params))).finished
            long = llm.generate("abort", altlas.SamplingParams(max_tokens=400), "long")
            await long.__anext__()
            with pytest.raises(altlas.Error, match="running already"):
                await last(llm.generate("x", params, "long"))
            await llm.abort("long")
            with pytest.raises(altlas.Error, match="aborted"):
                await last(long)
            await llm.abort("not there")
            await llm.check_health()
        finally:
            llm.shutdown()
        with pytest.raises(altlas.Error, match="closed"):
            await llm.check_health()

    async def last(outputs):
        async for one in outputs:
            pass
        return one
    asyncio.run(main())


def test_embeddings_and_scores(llm):
    first, second = llm.embed(["one text", "another"])
    assert len(first.outputs.embedding) == first.outputs.hidden_size > 0
    scores = llm.score("one text", ["one text", "another"])
    assert scores[0].outputs.score == pytest.approx(1, abs=1e-4)
    with pytest.raises(altlas.Error, match="text_1"):
        llm.score(["a", "b"], ["c"])


def test_programs_of_the_page_run():
    from conftest import Server
    import re
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.S)
    assert len(blocks) == 2
    server = Server("--devices", "sim:h100:2", "--max-model-len", "512")
    try:
        for block in blocks:
            program = script(block.replace("http://127.0.0.1:8000", server.url))
            out, _ = program.communicate()
            assert program.returncode == 0 and out, out
    finally:
        server.stop()
        server.close()
