#!/usr/bin/env python3
"""Makes the tokenizer fixtures of this folder with Hugging Face's tokenizers.

  python3 make_fixtures.py [--model FILE.gguf]

Needs `tokenizers` (and `gguf` for --model) from PyPI. Writes tiny_vocabulary.txt, tiny_cases.txt and, with --model
naming qwen2.5-coder-0.5b-instruct-q4_k_m.gguf, qwen2_cases.txt. Same output for the same versions and seed.
A case line has the pre-tokenizer, "parse" or "plain" (are control tokens recognised?), the text's bytes in hex, and the ids.
"""
import argparse
import json
import pathlib
import random
import unicodedata

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
WORD = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
USER_DEFINED = ["<tool_call>", "</tool_call>"]

FRAGMENTS = """İstanbul'da yağmur yağıyor; ılık bir gün, çok güzel değil mi?|Diyarbakır'ın IĞDIR'a uzaklığı|ŞÖYLE öyle İĞNE ığdır
مرحبا بالعالم، كيف حالك اليوم؟|السَّلَامُ عَلَيْكُمْ|٣٤٥ و ۱۲۳|‏نص من اليمين‏|你好，世界！今天天气怎么样？|東京タワーは高いです。|ﾊﾝｶｸ カナ|안녕하세요 세계
한글|Привет, мир! Ёлка ёжик|Γειά σου Κόσμε|שלום עולם|नमस्ते दुनिया|ক্ষুদ্র|ภาษาไทยไม่มีวรรค|👩‍👩‍👧‍👦 family|🏳️‍🌈 flag 🇹🇷🇩🇪|👍🏽👍🏿|1️⃣ 2️⃣|e\u0301e\u0300\u0316
A\u030A Å \u212B \u1E9B\u0323|q\u0307\u0323|\u0344 \u0958|ﬁ ﬂ ﬀ|don't we'll I'VE you'Re it'S 's 'T|DON'T ('m) '\u017F|hello|Hello World|the quick brown fox
def f(x):\\n    return x**2  # kare\\n|for (int i = 0; i < n; ++i) {\\n\\tsum += a[i];\\r\\n}|SELECT * FROM t WHERE x='y';|{"a": [1, 2.5e-3, null]}|<div class="x">&nbsp;</div>
https://example.org/a?b=c&d=%20|user@example.com|C:\\Users\\x|x=1234567890;3.14159|1,234,567.89|½ ² Ⅷ ① ௧௨௩|    four|\\ttab|  \\n  \\n\\n x|a  b   c    d|trailing   
 \u00a0nbsp\u00a0|\u3000全角\u3000|\u2028sep\u2029|\u0085nel|\u180emvs|\u200bzero\u200b|\\r\\n\\r\\n|\\n\\n\\n\\n|\x0b\x0c|\x00null\x00|\x1f\x7f|...!!!???|—–-_=+|«»“”‘’|€£¥₺|∑∫√∞≠≤|→⇒|™©®
<|im_start|>user\\nhi<|im_end|>\\n|<|im_end|><|im_end|>|<|im_end|>\u0301|<|im_|end|>|<tool_call>\\n{"name": "f"}\\n</tool_call>|<|endoftext||<<|im_start|>|<tool_call|\ufffd\ufffd|\U0001F600\U0001F468\u200D\U0001F4BB|aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa|ababababababababababababababababababababababab|________________________________"""


def fragments():
    out = []
    for raw in FRAGMENTS.split("\n"):
        # "|" separates fragments but also occurs in control tokens, which stay whole.
        raw = raw.replace("<|im_start|>", "\x01").replace("<|im_end|>", "\x02").replace("<|endoftext|", "\x03")
        for part in raw.split("|"):
            part = part.replace("\x01", "<|im_start|>").replace("\x02", "<|im_end|>").replace("\x03", "<|endoftext|")
            part = part.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")
            out.append(part)
    return out


def assigned_points():
    points = [c for c in range(0x20, 0x32000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    return points


def lines(count, seed):
    rng = random.Random(seed)
    parts, points = fragments(), assigned_points()
    made = [p.encode() for p in parts] + [b"", b" ", b"\n", b"a"]
    while len(made) < count:
        kind = rng.random()
        if kind < 0.6:
            glue = rng.choice(["", " ", "\n", "  ", "\t"])
            made.append(glue.join(rng.choice(parts) for _ in range(rng.randint(1, 3))).encode())
        elif kind < 0.75:
            made.append("".join(chr(rng.choice(points)) for _ in range(rng.randint(1, 12))).encode())
        elif kind < 0.85:
            alphabet = " \n\r\t'saA1é\u0301\u0323ı.-\u00a0"
            made.append("".join(rng.choice(alphabet) for _ in range(rng.randint(1, 40))).encode())
        else:  # The bytes are cut and damaged.
            data = bytearray(rng.choice(parts).encode())
            for _ in range(rng.randint(1, 3)):
                at = rng.randrange(len(data) + 1)
                if rng.random() < 0.5:
                    data[at:at + 1] = b""
                else:
                    data.insert(at, rng.randrange(256))
            made.append(bytes(data))
    return made


def pretokenizer(pre):
    expression = {"qwen2": WORD + r"|\p{N}" + TAIL, "llama-bpe": WORD + r"|\p{N}{1,3}" + TAIL, "tekken": TEKKEN}
    if pre == "gpt-2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(expression[pre]), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


def build(vocabulary, merges, pre, special, user_defined):
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, fuse_unk=False, byte_fallback=False,
                                     ignore_merges=pre in ("llama-bpe", "tekken")))
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pretokenizer(pre)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in user_defined])
    return tokenizer


def cases(tokenizer, pre, texts):
    for parse in (True, False):
        tokenizer.encode_special_tokens = not parse
        for text in texts:
            if not parse and b"<|" not in text:
                continue
            ids = tokenizer.encode(text.decode("utf-8", "replace"), add_special_tokens=False).ids
            yield f"{pre} {'parse' if parse else 'plain'} {text.hex() or '-'} {' '.join(map(str, ids))}".rstrip()


def tiny():
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = pretokenizer("qwen2")
    trainer = trainers.BpeTrainer(vocab_size=640, min_frequency=1, show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    corpus = [f for f in fragments() if "<|" not in f and "tool_call" not in f]
    trained.train_from_iterator(corpus * 2 + ["aaaaaaaa aaaa", "abab"], trainer)
    model = json.loads(trained.to_str())["model"]
    vocabulary = model["vocab"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    tokens = [t for t, _ in sorted(vocabulary.items(), key=lambda item: item[1])]
    for extra in SPECIAL + USER_DEFINED:
        vocabulary[extra] = len(tokens)
        tokens.append(extra)
    with open(HERE / "tiny_vocabulary.txt", "w", encoding="utf-8", newline="\n") as out:
        for token in tokens:
            out.write(f"token {3 if token in SPECIAL else 4 if token in USER_DEFINED else 1} {token}\n")
        for left, right in merges:
            out.write(f"merge {left} {right}\n")
    with open(HERE / "tiny_cases.txt", "w", encoding="utf-8", newline="\n") as out:
        for pre, count in (("qwen2", 320), ("gpt-2", 130), ("llama-bpe", 130), ("tekken", 130)):
            tokenizer = build(dict(vocabulary), merges, pre, SPECIAL, USER_DEFINED)
            for line in cases(tokenizer, pre, lines(count, seed=7)):
                out.write(line + "\n")


def real(path, count, name):
    from gguf import GGUFReader
    fields = GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    vocabulary = {t: i for i, t in enumerate(tokens)}
    tokenizer = build(vocabulary, merges, "qwen2", [t for t, y in zip(tokens, types) if y == 3],
                      [t for t, y in zip(tokens, types) if y == 4])
    with open(name, "w", encoding="utf-8", newline="\n") as out:
        for line in cases(tokenizer, "qwen2", lines(count, seed=11)):
            out.write(line + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--count", type=int, default=600, help="lines for --model")
    parser.add_argument("--out", default=str(HERE / "qwen2_cases.txt"), help="where --model's cases go")
    options = parser.parse_args()
    tiny()
    if options.model:
        real(options.model, options.count, options.out)
