"""Writes dequantize.bin: random GGUF blocks of every type, and their values by the `gguf` package.

Format, little endian: per type u32 ggml_type, u32 values, u32 bytes, the bytes, the values as f32.
Needs: pip install gguf numpy. Run: python make_fixture.py
"""
import pathlib

import gguf
import numpy as np

TYPES = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
# Offsets of a block's binary16 fields, which get extreme values in turn.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
EXTREMES = [0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfbff, 0x3c00, 0x7c00, 0xfc00]

rng = np.random.default_rng(20250711)
with open(pathlib.Path(__file__).with_name("dequantize.bin"), "wb") as out:
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        values, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (256 if values == 1 else 16, size), dtype=np.uint8)
        for i, half in enumerate(EXTREMES):
            for j, offset in enumerate(HALVES.get(name, [])):
                blocks[i, offset:offset + 2] = np.frombuffer(
                    np.uint16(half if j == 0 else EXTREMES[(i + 3) % 8]).tobytes(), np.uint8)
        for block in blocks[len(EXTREMES):]:
            for offset in HALVES.get(name, []):  # The other fields get everyday scales.
                block[offset:offset + 2] = np.frombuffer(np.float16(rng.normal() * 0.01).tobytes(), np.uint8)
        if name == "Q8_0":
            blocks[:, 2] = 0x80
        with np.errstate(all="ignore"):
            floats = gguf.quants.dequantize(blocks.reshape(1, -1), kind).astype("<f4").reshape(-1)
        out.write(np.array([kind, floats.size, blocks.size], "<u4").tobytes() + blocks.tobytes() + floats.tobytes())
