"""vLLM's CPU engine, measured inside its own Python: one request a line on standard input, one answer a line on standard output.

    PYTHON vllm_engine.py MODEL-FOLDER LONGEST COMPILE

Requests are JSON: {"work": "prefill", "tokens": 512}, {"work": "decode", "sequences": 4, "tokens": 64} and
{"work": "context", "depth": 4096, "tokens": 64}; the answer is {"tokens_per_s": ...}. The first line says what runs:
version, threads, instruction set. The engine's own steps are timed, without HTTP and without text: a decode counts from the step
after every sequence's first token. COMPILE is 1 (torch.compile) or 0 (eager). Threads and KV are set by vLLM's
environment variables: compare.py sets them and starts this.
"""
import json
import os
import sys
import time

PROMPT = 16  # Tokens of the prompt before a short decode.


class Engine:
    def __init__(self, folder, longest, compiled):
        from vllm import LLM, SamplingParams
        self.sampling, self.requests = SamplingParams, 0
        self.llm = LLM(model=folder, dtype="bfloat16", max_model_len=longest, max_num_seqs=16, enable_prefix_caching=False,
                       enforce_eager=not compiled, max_num_batched_tokens=max(2048, longest), seed=0)
        self.engine = self.llm.llm_engine

    def steps(self, sequences, prompt, tokens):
        """Returns the seconds of every step until all sequences have their tokens, and the tokens after each step."""
        wanted = self.sampling(max_tokens=tokens, temperature=0, ignore_eos=True, detokenize=False)
        for k in range(sequences):
            self.requests += 1
            ids = [100 + (7919 * (k + 1) + 31 * i) % 20000 for i in range(prompt)]
            self.engine.add_request(str(self.requests), {"prompt_token_ids": ids}, wanted)
        begun, times = time.perf_counter(), []
        while self.engine.has_unfinished_requests():
            counts = {output.request_id: len(output.outputs[0].token_ids) for output in self.engine.step()}
            times.append((time.perf_counter() - begun, counts))
        return times

    def prefill(self, tokens):
        return tokens / min(self.steps(1, tokens, 1)[-1][0] for _ in range(2))

    def decode(self, sequences, prompt, tokens):
        times = self.steps(sequences, prompt, tokens + 1)
        first = next(k for k, (_, counts) in enumerate(times) if len(counts) == sequences and min(counts.values()) >= 1)
        began, counts = times[first]
        generated = sequences * (tokens + 1) - sum(counts.values())
        return generated / (times[-1][0] - began)

    def answer(self, request):
        if request["work"] == "prefill":
            return self.prefill(request["tokens"])
        if request["work"] == "decode":
            return self.decode(request["sequences"], PROMPT, request["tokens"])
        return self.decode(1, request["depth"], request["tokens"])


def main():
    folder, longest, compiled = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1"
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # The engine's steps run in this process. vLLM's import reads the variable.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # vLLM's own output must not be taken for an answer.
    engine = Engine(folder, longest, compiled)
    import torch
    import vllm
    print(json.dumps({"version": vllm.__version__, "torch": torch.__version__, "simd": torch.backends.cpu.get_cpu_capability(),
                      "threads": torch.get_num_threads(), "cpus": os.environ.get("VLLM_CPU_OMP_THREADS_BIND", "auto"), "compiled": compiled}),
          file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps({"tokens_per_s": engine.answer(json.loads(line))}), file=answers, flush=True)


if __name__ == "__main__":
    main()
