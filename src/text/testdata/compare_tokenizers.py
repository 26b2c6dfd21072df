#!/usr/bin/env python3
"""Encodes 10,000 lines with Hugging Face's tokenizers and writes what text_test compares its own ids with.

  python3 compare_tokenizers.py [--gguf FILE.gguf]... [--hf FOLDER]... [--cases OUT] [--hf-copies OUT]

Needs `tokenizers`, `transformers` and `gguf` from PyPI. A GGUF file's vocabulary becomes the Hugging Face tokenizer of its public
tokenizer.json. Rewrites these vocabularies' lines in tokenizer_hashes.txt (key, name, and a hash of the ids per 100 lines of
tokenizer_lines.py), and tokenizer_decodings.txt (ids and their text). --cases writes each line with its ids to OUT/NAME.cases, for
RealTokenizers with ALTLAS_TEST_TOKENIZERS=OUT; --hf-copies saves each GGUF vocabulary as a Hugging Face folder and compares that
too. The trained vocabularies tiny_*.json of this folder always take part; --train makes them anew.
"""
import argparse
import base64
import json
import pathlib
import sys

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

import make_fixtures
import tokenizer_lines

HERE = pathlib.Path(__file__).parent
LINES, BLOCK = 10_000, 100
FNV, PRIME, MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def fnv(data, value=FNV):
    for byte in data:
        value = ((value ^ byte) * PRIME) & MASK
    return value


def split(pattern, behavior="isolated"):
    return pre_tokenizers.Split(Regex(pattern), behavior=behavior, invert=False)


def byte_level(use_regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def pre_tokenizer(pre, llama_cpp):
    """Returns the pre-tokenizer in the public tokenizer.json of the models that `pre` names."""
    word, tail = make_fixtures.WORD, make_fixtures.TAIL
    if pre in ("gpt-2", "mpt", "", "default"):
        return byte_level(True)
    if pre in ("starcoder", "refact", "command-r"):
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True)])
    if pre == "falcon":
        return pre_tokenizers.Sequence([
            pre_tokenizers.Punctuation(behavior="contiguous"), byte_level(True),
            pre_tokenizers.Digits(individual_digits=False), split("[0-9][0-9][0-9]")])
    if pre == "deepseek-coder":
        return pre_tokenizers.Sequence([
            split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split("[一-龥ࠀ-一가-\ud7ff]+"),
            pre_tokenizers.Digits(individual_digits=True), byte_level()])
    if pre == "deepseek-llm":
        return pre_tokenizers.Sequence(
            [split("[\r\n]")] + [split(e) for e in llama_cpp[1:5]] +
            [pre_tokenizers.Digits(individual_digits=True), byte_level()])
    expression = {
        "qwen2": word + r"|\p{N}" + tail,
        "llama-bpe": word + r"|\p{N}{1,3}" + tail,
        "tekken": make_fixtures.TEKKEN,
        "qwen35": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
                  r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    }[pre]
    return pre_tokenizers.Sequence([split(expression), byte_level()])


class Gguf:
    def __init__(self, path):
        from gguf import GGUFReader
        self.path, self.fields = path, GGUFReader(path).fields

    def get(self, name, default=None):
        field = self.fields.get("tokenizer.ggml." + name)
        return default if field is None else field.contents()

    def tokenizer(self):
        self.tokens, self.model, self.pre = self.get("tokens"), self.get("model"), self.get("pre", "")
        self.types = self.get("token_type")
        made = {"gpt2": self.byte_bpe, "llama": self.sentence_piece, "gemma4": self.sentence_piece, "bert": self.bert,
                "t5": self.unigram}[self.model]()
        for index, (token, kind) in enumerate(zip(self.spelled, self.types)):
            if kind == 2 and index == self.get("unknown_token_id", -1):
                made.add_special_tokens([AddedToken(token, special=True, normalized=False)])
            if kind in (3, 4):
                rstrip = "phi-3" in str(self.path) and token not in ("<unk>", "<s>", "<|endoftext|>")
                lstrip = self.model == "t5" and token == "<mask>"
                add = made.add_special_tokens if kind == 3 else made.add_tokens
                add([AddedToken(token, special=kind == 3, normalized=False, rstrip=rstrip, lstrip=lstrip)])
        return made

    def key(self):
        tail = fnv("".join(t + "\n" for t in self.tokens[-3000:]).encode())
        return f"gguf:{self.model}:{self.pre}:{len(self.tokens)}:{tail:016x}"

    def byte_bpe(self):
        self.spelled = self.tokens
        merges = [tuple(m.split(" ")) for m in self.get("merges")]
        made = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(self.tokens)}, merges=merges,
                                    ignore_merges=self.pre in ("llama-bpe", "tekken")))
        if self.pre in ("qwen2", "command-r", "mpt"):
            made.normalizer = normalizers.NFC()
        made.pre_tokenizer = pre_tokenizer(self.pre, DEEPSEEK)
        made.decoder = decoders.ByteLevel()
        return made

    def sentence_piece(self):
        from transformers.convert_slow_tokenizer import generate_merges
        # Gemma's file spells runs of spaces as spaces; its tokenizer.json, like SentencePiece, spells them with "▁".
        self.spelled = [t.replace(" ", "▁") for t in self.tokens]
        vocab = {t: i for i, t in enumerate(self.spelled)}
        if self.get("merges"):
            merges = [tuple(m.split(" ")) for m in self.get("merges")]
        else:
            pieces = {t: i for t, i, y in zip(self.spelled, range(len(vocab)), self.types) if y in (1, 4)}
            runs = {t for t, y in zip(self.tokens, self.types) if y == 4 and " " in t}
            scores = {t: float("inf") if self.tokens[i] in runs else s
                      for (t, i), s in ((p, self.get_score(p[1])) for p in pieces.items())}
            merges = generate_merges(pieces, scores)
        made = Tokenizer(models.BPE(vocab=vocab, merges=merges, fuse_unk=True, byte_fallback=True,
                                    unk_token=self.spelled[self.get("unknown_token_id", 0)]))
        prefix = self.get("add_space_prefix", self.model == "llama")
        steps = [normalizers.Prepend("▁")] if prefix else []
        made.normalizer = normalizers.Sequence(steps + [normalizers.Replace(" ", "▁")])
        made.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()] +
            ([decoders.Strip(content=" ", left=1)] if prefix else []))
        return made

    def get_score(self, index):
        if not hasattr(self, "scores"):
            self.scores = self.get("scores")
        return self.scores[index]

    def bert(self):
        self.spelled = [t[1:] if t.startswith("▁") else t if t.startswith("[") and t.endswith("]") else "##" + t for t in self.tokens]
        made = Tokenizer(models.WordPiece(vocab={t: i for i, t in enumerate(self.spelled)}, unk_token="[UNK]"))
        made.normalizer = normalizers.BertNormalizer()
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[(t, self.spelled.index(t)) for t in ("[CLS]", "[SEP]")])
        return made

    def unigram(self):
        self.spelled = self.tokens
        made = Tokenizer(models.Unigram(list(zip(self.tokens, self.get("scores"))),
                                        unk_id=self.get("unknown_token_id")))
        charsmap = bytes(b & 0xFF for b in self.get("precompiled_charsmap"))
        made.normalizer = normalizers.Precompiled(charsmap)
        made.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")])
        made.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
        return made


def folder_key(folder):
    data = (folder / "tokenizer.json").read_bytes()
    return f"json:{len(data)}:{fnv(data[-20000:]):016x}"


def plain_tokenizer(tokenizer):
    """Returns the tokenizer without special tokens. Unigram's would still be pieces of a text, which only the template may write:
    here, unlike in transformers, they are not."""
    state = json.loads(tokenizer.to_str())
    if state["model"]["type"] == "Unigram":
        special = {t["content"] for t in state["added_tokens"] if t["special"]} | {"<unk>"}
        state["added_tokens"] = [t for t in state["added_tokens"] if not t["special"]]
        state["post_processor"] = None
        for index, item in enumerate(state["model"]["vocab"]):
            if item[0] in special:
                item[0] = f"\U0010FFF0{index}"
    plain = Tokenizer.from_str(json.dumps(state))
    plain.encode_special_tokens = True
    return plain


def encode_all(tokenizer, count):
    plain = plain_tokenizer(tokenizer)
    for parse, line in tokenizer_lines.lines(count):
        yield parse, line, (tokenizer if parse else plain).encode(line.decode("utf-8", "replace"), add_special_tokens=False).ids


def compare(tokenizer, key, name, path, cases, count=LINES):
    hashes, value = [], FNV
    out = open(cases / f"{name}.cases", "w") if cases else None
    if out:
        out.write(f"{path}\n")
    for index, (parse, line, ids) in enumerate(encode_all(tokenizer, count)):
        for number in ids + [0xFFFFFFFF]:
            value = fnv(number.to_bytes(4, "little"), value)
        if out:
            out.write(f"{'parse' if parse else 'plain'} {line.hex() or '-'} {' '.join(map(str, ids))}\n")
        if (index + 1) % BLOCK == 0:
            hashes.append(f"{value & 0xFFFFFFFF:08x}")
            value = FNV
    print(f"{name}: {count} lines", flush=True)
    return key, f"{key} {name} {' '.join(hashes)}"


def decodings(count=80, seed=9):
    """Returns parts of encoded lines, from any token on, and their text. Parts that are no whole characters are left out, since
    ByteFallback gives a U+FFFD per byte there and bytes.decode gives one per maximal subpart. So are parts whose first token
    is from inside a word: transformers shows its "##"."""
    random = tokenizer_lines.Random(seed)
    for folder in sorted(HERE.glob("tiny_*/")):
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        made = 0
        for _, line in tokenizer_lines.lines(2000):
            ids = tokenizer.encode(line.decode("utf-8", "replace")).ids[random.below(4):][:1 + random.below(12)]
            text = tokenizer.decode(ids, skip_special_tokens=True)
            if ids and tokenizer.id_to_token(ids[0]).startswith("##"):
                continue
            if made < count and ids and "\ufffd" not in text and random.below(8) == 0:
                made += 1
                yield f"{folder.name} {text.encode().hex() or '-'} {' '.join(map(str, ids))}\n"


def corpus():
    texts = [f.decode("utf-8", "replace") for f in tokenizer_lines.fragments()]
    return [t for t in texts if not t.startswith(("<", "["))] * 2


def train():
    """Makes small vocabularies of every kind, as tokenizer.json."""
    byte_alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<unk>", "<s>", "</s>"]
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.pre_tokenizer = split("▁", "merged_with_next")
    made.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=900, show_progress=False, limit_alphabet=200,
        special_tokens=special + [f"<0x{b:02X}>" for b in range(256)]))
    state = json.loads(made.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if t["id"] < 3]
    state["pre_tokenizer"] = None
    made = Tokenizer.from_str(json.dumps(state))
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                      decoders.Strip(content=" ", left=1)])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("HTTPServer", normalized=True),
                     AddedToken("user", single_word=True, normalized=False)])
    yield "spm", made

    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.Sequence([
        normalizers.Nmt(), normalizers.NFKC(), normalizers.Strip(left=False, right=True),
        normalizers.Replace(Regex(" {2,}"), "▁")])
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    made.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="first")
    made.train_from_iterator(corpus(), trainers.UnigramTrainer(
        vocab_size=600, show_progress=False, unk_token="<unk>", special_tokens=special + ["<mask>"]))
    made.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    yield "unigram", made

    made = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(corpus(), trainers.WordPieceTrainer(
        vocab_size=800, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    yield "wordpiece", made

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation(behavior="contiguous"), byte_level(True),
        pre_tokenizers.Digits(individual_digits=False), split("[0-9][0-9][0-9]")])
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=600, show_progress=False, initial_alphabet=byte_alphabet, special_tokens=["<|endoftext|>"]))
    made.add_special_tokens([AddedToken("<|user|>", rstrip=True), AddedToken("<|end|>", lstrip=True, rstrip=True)])
    yield "letters", made

    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Digits(individual_digits=True),
        split(r"[^\s\p{L}\p{N}]+", "merged_with_previous"), byte_level()])
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=500, show_progress=False, initial_alphabet=byte_alphabet, special_tokens=["<s>", "</s>"]))
    yield "folded", made


DEEPSEEK = []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gguf", action="append", default=[], type=pathlib.Path)
    parser.add_argument("--hf", action="append", default=[], type=pathlib.Path)
    parser.add_argument("--cases", type=pathlib.Path)
    parser.add_argument("--hf-copies", type=pathlib.Path)
    parser.add_argument("--deepseek-expressions", type=pathlib.Path, help="JSON list, for pre deepseek-llm")
    parser.add_argument("--train", action="store_true")
    options = parser.parse_args()
    if options.deepseek_expressions:
        DEEPSEEK.extend(json.loads(options.deepseek_expressions.read_text()))
    if options.train:
        for name, made in train():
            folder = HERE / f"tiny_{name}"
            folder.mkdir(exist_ok=True)
            (folder / "tokenizer.json").write_text(
                json.dumps(json.loads(made.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
    results = {}
    hash_file = HERE / "tokenizer_hashes.txt"
    if hash_file.exists():
        results = {line.split(" ", 1)[0]: line for line in hash_file.read_text().splitlines()}
    for folder in sorted(HERE.glob("tiny_*/")) + options.hf:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        key, line = compare(tokenizer, folder_key(folder), folder.name, folder, options.cases)
        results[key] = line
    for path in options.gguf:
        gguf = Gguf(path)
        tokenizer = gguf.tokenizer()
        name = path.stem.removeprefix("ggml-vocab-")
        key, line = compare(tokenizer, gguf.key(), name, path, options.cases)
        results[key] = line
        if options.hf_copies:
            folder = options.hf_copies / name
            folder.mkdir(parents=True, exist_ok=True)
            tokenizer.save(str(folder / "tokenizer.json"))
            key, line = compare(tokenizer, folder_key(folder), name + "-json", folder, options.cases)
    (HERE / "tokenizer_decodings.txt").write_text("".join(decodings()))
    hash_file.write_text("".join(f"{line}\n" for _, line in sorted(results.items())))


if __name__ == "__main__":
    sys.exit(main())
