"""llama.cpp as the xllamacpp wheel brings it, measured inside the wheel's Python.

    PYTHON xllamacpp_engine.py engine MODEL.gguf THREADS       one request per line in, one answer per line out, like vllm_engine.py
    PYTHON xllamacpp_engine.py serve MODEL.gguf THREADS PORT   its HTTP server with 16 slots, until SIGTERM

A request may name its "ubatch". The wheel has no llama-bench, so the engine is driven as llama-bench does it: llama_decode by the C
interface that its library exports, tokens not sampled, flash attention as the library chooses.
"""
import ctypes
import json
import os
import signal
import sys
import time

import xllamacpp

PROMPT = 16  # Tokens of the prompt before a short decode.


class Batch(ctypes.Structure):
    """llama_batch as llama.h defines it."""
    _fields_ = [("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8))]


class Params(ctypes.Structure):
    """llama_model_params or llama_context_params, with more room than they need. They are returned through memory and passed
    last, so the rest is never read. The first four numbers of the context's are its tokens, batch, ubatch and sequences;
    Engine checks that."""
    _fields_ = [("n_ctx", ctypes.c_uint32), ("n_batch", ctypes.c_uint32), ("n_ubatch", ctypes.c_uint32), ("n_seq_max", ctypes.c_uint32),
                ("rest", ctypes.c_char * 496)]


def library():
    lib = ctypes.CDLL(sys.modules["xllamacpp.xllamacpp"].__file__)
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    for name, result, arguments in [
            ("llama_model_default_params", Params, []), ("llama_context_default_params", Params, []),
            ("llama_model_load_from_file", pointer, [ctypes.c_char_p, Params]), ("llama_init_from_model", pointer, [pointer, Params]),
            ("llama_model_get_vocab", pointer, [pointer]), ("llama_vocab_n_tokens", number, [pointer]),
            ("llama_n_ctx", ctypes.c_uint32, [pointer]), ("llama_n_batch", ctypes.c_uint32, [pointer]),
            ("llama_n_ubatch", ctypes.c_uint32, [pointer]), ("llama_n_seq_max", ctypes.c_uint32, [pointer]),
            ("llama_set_n_threads", None, [pointer, number, number]), ("llama_get_memory", pointer, [pointer]),
            ("llama_memory_clear", None, [pointer, ctypes.c_bool]), ("llama_synchronize", None, [pointer]), ("llama_free", None, [pointer]),
            ("llama_memory_seq_rm", ctypes.c_bool, [pointer, number, number, number]),
            ("llama_batch_init", Batch, [number, number, number]), ("llama_decode", number, [pointer, Batch])]:
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Engine:
    def __init__(self, path, threads):
        self.lib, self.threads, self.ubatch = library(), threads, 512
        self.lib.llama_backend_init()
        self.model = self.lib.llama_model_load_from_file(path.encode(), self.lib.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"{path}: the wheel cannot load it")
        self.vocabulary = self.lib.llama_vocab_n_tokens(self.lib.llama_model_get_vocab(self.model))
        self.batch = self.lib.llama_batch_init(2048, 0, 1)
        self.context, self.shape = None, None

    def open(self, tokens, sequences):
        """Returns an empty context: the last request's, if that has this shape."""
        if self.shape != (tokens, sequences, self.ubatch):
            if self.context:
                self.lib.llama_free(self.context)
            params = self.lib.llama_context_default_params()
            params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = tokens * sequences, 2048, self.ubatch, sequences
            self.context = self.lib.llama_init_from_model(self.model, params)
            wanted = (tokens * sequences, min(self.ubatch, tokens * sequences), sequences)
            if not self.context or wanted != tuple(getattr(self.lib, f"llama_n_{what}")(self.context) for what in ("ctx", "ubatch", "seq_max")):
                raise SystemExit("llama_context_params: this version lays them out differently")
            self.lib.llama_set_n_threads(self.context, self.threads, self.threads)
            self.shape = (tokens, sequences, self.ubatch)
            self.feed([(0, 0)])  # The first step lays out memory and touches it.
        self.clear()

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)

    def feed(self, places, logits_of_all=False):
        """Runs one llama_decode of a token at each (sequence, position)."""
        batch = self.batch
        batch.n_tokens = len(places)
        for k, (sequence, position) in enumerate(places):
            batch.token[k] = (100 + 7919 * (sequence + 1) + 31 * position) % self.vocabulary
            batch.pos[k], batch.n_seq_id[k], batch.seq_id[k][0] = position, 1, sequence
            batch.logits[k] = logits_of_all or k + 1 == len(places)
        failed = self.lib.llama_decode(self.context, batch)
        self.lib.llama_synchronize(self.context)
        if failed:
            raise SystemExit(f"llama_decode: {failed}")

    def prefill(self, tokens):
        best = None
        for _ in range(3):
            self.open(max(tokens, 256), 1)
            begun = time.perf_counter()
            for start in range(0, tokens, 2048):
                self.feed([(0, position) for position in range(start, min(start + 2048, tokens))])
            took = time.perf_counter() - begun
            best = took if best is None else min(best, took)
        return tokens / best

    def decode(self, sequences, depth, tokens):
        self.open(-(-(depth + tokens + 1) // 256) * 256, sequences)
        for sequence in range(sequences):
            for start in range(0, depth, 2048):
                self.feed([(sequence, position) for position in range(start, min(start + 2048, depth))])
        begun = time.perf_counter()
        for step in range(tokens):
            self.feed([(sequence, depth + step) for sequence in range(sequences)], logits_of_all=True)
        return sequences * tokens / (time.perf_counter() - begun)

    def answer(self, request):
        self.ubatch = request.get("ubatch", 512)
        if request["work"] == "prefill":
            return self.prefill(request["tokens"])
        if request["work"] == "decode":
            return self.decode(request["sequences"], PROMPT, request["tokens"])
        return self.decode(1, request["depth"], request["tokens"])


def info():
    return {"version": xllamacpp.__version__, "system_info": xllamacpp.get_system_info().strip(" |\n")}


def engine(path, threads):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # The library's own output must not be taken for an answer.
    runs = Engine(path, threads)
    print(json.dumps(info()), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps({"tokens_per_s": runs.answer(json.loads(line))}), file=answers, flush=True)


def serve(path, threads, port):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    params = xllamacpp.CommonParams()
    params.model.path, params.hostnames, params.port = path, ["127.0.0.1"], port
    params.n_ctx, params.n_parallel, params.ui = 1024 * 16, 16, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    signal.pause()
    del server


def main():
    if sys.argv[1] == "engine":
        engine(sys.argv[2], int(sys.argv[3]))
    else:
        serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))


if __name__ == "__main__":
    main()
