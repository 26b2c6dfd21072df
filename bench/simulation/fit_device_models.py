#!/usr/bin/env python3
"""Fits the operator models of src/hardware/operator_models.h on measured operator times, and writes their table.

    python3 bench/simulation/fit_device_models.py --data DATA/gpu_operators --write src/hardware/operator_table.inc

DATA/gpu_operators holds AIConfigurator's operator tables (Apache-2.0): GEMM, attention and all-reduce as measured
under vLLM. Only these tables are read. Needs numpy, scipy and pyarrow. The newest vLLM version of each table is taken.
Efficiencies are shares of the peaks in PEAKS, which are the data sheets' and those of src/hardware/device_kinds.cc."""
import argparse
import pathlib

import numpy as np
import pyarrow.parquet
from scipy.optimize import least_squares

# Columns: bytes/s; FLOP/s by type; multiprocessors; L2 bytes; link bytes/s in one direction.
PEAKS = {
    "a100-80gb": ("a100_sxm", 2.039e12, {"bf16": 312e12}, 108, 40e6, 300e9),
    "h100": ("h100_sxm", 3.35e12, {"bf16": 989e12, "fp8": 1979e12}, 132, 50e6, 450e9),
    "h200": ("h200_sxm", 4.8e12, {"bf16": 989e12, "fp8": 1979e12}, 132, 50e6, 450e9),
    "b200": ("b200_sxm", 8.0e12, {"bf16": 2250e12, "fp8": 4500e12, "fp4": 9000e12}, 148, 126e6, 900e9),
    "l40s": ("l40s", 0.864e12, {"bf16": 362e12, "fp8": 733e12}, 142, 96e6, 32e9),
}
GEMM_TYPES = {"bfloat16": "bf16", "fp8": "fp8", "nvfp4": "fp4"}
BYTES = {"bf16": 2, "fp8": 1, "fp4": 0.5625}  # FP4 has a scale byte for every 16 values.
WIDTH_MIN = 512  # Models with a billion parameters or more have no narrower matrices.
ROWS_MAX = 6000  # The rows of one fit: a fixed sample.


def table(folder, name):
    found = sorted(folder.glob(f"**/{name}_perf.parquet"), key=lambda path: [int(n) for n in path.parent.name.split(".")])
    return found[-1].parent.name, pyarrow.parquet.read_table(found[-1]).to_pylist()


def sample(rows):
    return [rows[i] for i in np.random.default_rng(1).permutation(len(rows))[:ROWS_MAX]]


def columns(rows, *names):
    return [np.array([row[name] for row in rows], dtype=float) for name in names]


def fit(model, start, seconds):
    """Returns the parameters (all positive) with the least error of the logarithm, and that error's median and 90th percentile."""
    residual = lambda x: np.log(model(np.exp(x)) / seconds)
    best = least_squares(residual, np.log(start), loss="soft_l1", f_scale=0.1)
    error = np.abs(model(np.exp(best.x)) / seconds - 1)
    return np.exp(best.x), np.median(error), np.percentile(error, 90), len(seconds)


def norm(p, *parts):
    top = np.maximum.reduce(parts)
    return top * sum((part / top) ** p for part in parts) ** (1 / p)


def fit_gemm(rows, peak_memory, peak_flops, processors, size):
    rows = sample([row for row in rows if row["m"] <= 16384 and row["latency"] > 0
                   and min(row["n"], row["k"]) >= WIDTH_MIN])
    m, n, k, ms = columns(rows, "m", "n", "k", "latency")
    tiles = np.ceil(m / 128) * np.ceil(n / 128) / processors

    def model(x):
        fixed, row_s, quantise, flops, memory, k_half, n_half, wave = x
        waves = tiles + np.minimum(wave, 1) * (np.ceil(tiles) - tiles)
        compute = 2 * m * n * k * (waves / tiles) / (flops * peak_flops) * (1 + k_half / k)
        moved = (n * k * size * (1 + n_half / n) + m * k * size + m * n * 2) / (memory * peak_memory)
        quantised = row_s * m + m * k * (2 + size) * quantise / peak_memory if size < 2 else 0
        return fixed + quantised + norm(3, compute, moved)

    x, *error = fit(model, [4e-6, 1e-9, 1, 0.7, 0.8, 200, 100, 0.2], ms / 1e3)
    if size == 2:
        x[1] = x[2] = 0
    return x, *error


def fit_prefill(rows, peak_memory, peak_flops):
    rows = sample([row for row in rows if row["head_dim"] == 128 and row["kv_cache_dtype"] == "bfloat16"
                   and not row.get("window_size") and row["isl"] * row["batch_size"] <= 65536
                   and row["num_key_value_heads"] <= 8])
    b, s, h, g, ms = columns(rows, "batch_size", "isl", "num_heads", "num_key_value_heads", "latency")

    def model(x):
        fixed, io, flops, half = x
        moved = b * s * (2 * h + 4 * g) * 128 * 2 / (io * peak_memory)
        return fixed + moved + 4 * b * h * 128 * s * (s + half) / 2 / (flops * peak_flops)

    return fit(model, [1e-5, 0.5, 0.6, 100], ms / 1e3)


def fit_decode(rows, peak_memory, cache, kv, size):
    used = []
    for row in rows:
        moved = row["batch_size"] * (row["step"] + 1) * row["num_key_value_heads"] * 128 * 2 * size
        # The measurement reads what fits the second-level cache from there; a server with many layers does not.
        if row["head_dim"] == 128 and row["kv_cache_dtype"] == kv and not row.get("window_size") and row["latency"] > 0 and (
                moved < 0.05 * cache or moved > 1.5 * cache):
            used.append(row)
    rows = sample(used)
    b, s, g, ms = columns(rows, "batch_size", "step", "num_key_value_heads", "latency")

    def model(x):
        fixed, head_s, memory = x
        return fixed + norm(2, b * g * head_s, b * (s + 1) * g * 128 * 2 * size / (memory * peak_memory))

    return fit(model, [1e-5, 2e-8, 0.8], ms / 1e3)


def fit_all_reduce(rows, link):
    rows = [row for row in rows if row["backend"] == "vllm_graph" and row["latency"] > 0]
    n, size, ms = columns(rows, "num_gpus", "message_size", "latency")
    size = 2 * size  # message_size counts values of BF16: at equal sizes int8 takes half as long.

    def model(x):
        fixed, rank_s, direct, ring_s, ring, contention = x
        one_shot = size * (n - 1) / (direct * link)
        two_shot = ring_s * n + 2 * (n - 1) / n * size * (n / 2) ** contention / (ring * link)
        return fixed + rank_s * n + np.minimum(one_shot, two_shot)

    return fit(model, [4e-6, 1e-7, 0.5, 1e-6, 0.5, 0.05], ms / 1e3)


def cells(fitted):
    x, median, p90, count = fitted
    return "{" + ", ".join(f"{v:.4g}" if v > 1e-12 else "0" for v in x) + f", {{{median:.3f}, {p90:.3f}, {count}}}}}"


def fit_kind(name, data):
    folder, memory, flops, processors, cache, link = PEAKS[name]
    versions = {}
    read = {}
    for kind in ("gemm", "context_attention", "generation_attention", "custom_allreduce"):
        versions[kind], read[kind] = table(data / folder, kind)
    lines = [f"    // {name}: vLLM {versions['gemm']} (gemm), {versions['context_attention']} (attention), "
             f"{versions['custom_allreduce']} (all-reduce).", f'    {{"{name}", {processors},']
    gemm = {}
    for theirs, ours in GEMM_TYPES.items():
        rows = [row for row in read["gemm"] if row["gemm_dtype"] == theirs]
        if rows and ours in flops:
            gemm[ours] = fit_gemm(rows, memory, flops[ours], processors, BYTES[ours])
    for dtype in ("bf16", "fp8", "fp4"):
        lines.append(f"     GemmModel{cells(gemm[dtype]) if dtype in gemm else '{}'},  // {dtype}.")
    lines.append(f"     PrefillModel{cells(fit_prefill(read['context_attention'], memory, flops['bf16']))},")
    for kv, size in (("bfloat16", 2), ("fp8", 1)):
        has = any(row["kv_cache_dtype"] == kv for row in read["generation_attention"])
        fitted = cells(fit_decode(read["generation_attention"], memory, cache, kv, size)) if has else "{}"
        lines.append(f"     DecodeModel{fitted},  // KV in {kv}.")
    lines.append(f"     AllReduceModel{cells(fit_all_reduce(read['custom_allreduce'], link))}}},")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=pathlib.Path, help="folder gpu_operators")
    parser.add_argument("--write", type=pathlib.Path, help="the table's file; standard output if absent")
    options = parser.parse_args()
    lines = ["// Made by bench/simulation/fit_device_models.py of AIConfigurator's operator tables (Apache-2.0); do not edit.",
             "// The last three numbers of each model: median and 90th percentile of its error, and rows fitted."]
    for name in PEAKS:
        lines += fit_kind(name, options.data)
    text = "\n".join(lines) + "\n"
    if options.write:
        options.write.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
