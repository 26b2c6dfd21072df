"""The lines that tokenizers are compared on: tokenizer_lines_test.cc makes the same ones from the same seed."""
import pathlib

HERE = pathlib.Path(__file__).parent
MASK = (1 << 64) - 1
GLUE = [b"", b" ", b"\n", b"  ", b"\t"]
# Blocks of characters: Latin, Greek, Cyrillic, Armenian, Hebrew, Arabic, Indic, Thai, Georgian, Hangul, Kana, CJK, marks,
# joiners, spaces, symbols, full width, emoji.
BLOCKS = [
    (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x17F), (0x180, 0x24F), (0x300, 0x36F), (0x391, 0x3A1), (0x3B1, 0x3C9),
    (0x400, 0x45F), (0x561, 0x586), (0x5D0, 0x5EA), (0x621, 0x652), (0x660, 0x669), (0x6F0, 0x6F9), (0x905, 0x939),
    (0x93E, 0x94D), (0x995, 0x9A8), (0xE01, 0xE30), (0x10D0, 0x10F0), (0x1100, 0x1112), (0x1161, 0x1175),
    (0x1E00, 0x1EFF), (0x2000, 0x200F), (0x2010, 0x2027), (0x2028, 0x2029), (0x2030, 0x205E), (0x20A0, 0x20BF),
    (0x2100, 0x214F), (0x2160, 0x217F), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x2460, 0x249B), (0x2581, 0x2581),
    (0x2600, 0x26FF), (0x3000, 0x3011), (0x3041, 0x3096), (0x30A1, 0x30FA), (0x4E00, 0x9FA5), (0x9FA6, 0x9FD5),
    (0xAC00, 0xD7A3), (0xF900, 0xFA2D), (0xFB00, 0xFB06), (0xFE00, 0xFE0F), (0xFF01, 0xFF5E), (0xFF66, 0xFF9D),
    (0x1D400, 0x1D454), (0x1F1E6, 0x1F1FF), (0x1F300, 0x1F5FF), (0x1F600, 0x1F64F), (0x1F3FB, 0x1F3FF),
    (0x20000, 0x2A6D6),
]
ALPHABET = " \n\r\t'saA1é\u0301\u0323ı.-\u00a0▁0 2,İ"


def fragments():
    out = []
    for line in (HERE / "tokenizer_fragments.txt").read_bytes().split(b"\n"):
        if line:
            for escaped, byte in ((b"\\n", b"\n"), (b"\\t", b"\t"), (b"\\r", b"\r"), (b"\\s", b" ")):
                line = line.replace(escaped, byte)
            out.append(line)
    return out


class Random:
    """The generator splitmix64."""

    def __init__(self, seed):
        self.state = seed

    def below(self, bound):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return ((z ^ (z >> 31)) >> 33) % bound


def lines(count, seed=4):
    """Yields, for each line, (parse control tokens?, bytes)."""
    random, parts = Random(seed), fragments()
    for index in range(count):
        kind = random.below(100)
        if index < len(parts):
            line = parts[index]
        elif kind < 55:
            glue = GLUE[random.below(len(GLUE))]
            line = glue.join([parts[random.below(len(parts))] for _ in range(1 + random.below(3))])
        elif kind < 70:
            line = b""
            for _ in range(1 + random.below(12)):
                low, high = BLOCKS[random.below(len(BLOCKS))]
                line += chr(low + random.below(high - low + 1)).encode()
        elif kind < 85:
            line = "".join(ALPHABET[random.below(len(ALPHABET))] for _ in range(1 + random.below(40))).encode()
        else:
            damaged = bytearray(parts[random.below(len(parts))])
            for _ in range(1 + random.below(3)):
                if random.below(2) == 0 and damaged:
                    del damaged[random.below(len(damaged))]
                else:
                    at = random.below(len(damaged) + 1)
                    damaged.insert(at, random.below(256))
            line = bytes(damaged)
        yield random.below(2) == 0, line
