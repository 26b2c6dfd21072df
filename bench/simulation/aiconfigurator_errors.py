#!/usr/bin/env python3
"""AIConfigurator's predictions of the measured points that errors.py judges, for `errors.py --other`.

    python3 -m venv aic && aic/bin/pip install aiconfigurator==0.12.0
    aic/bin/python bench/simulation/aiconfigurator_errors.py --data DATA --write aiconfigurator.csv

Each row is estimated as one aggregated worker, in AIConfigurator's table mode. `bf16?` is bfloat16; fp8 and fp4 are its fp8 and
nvfp4 products, with a KV cache of fp8 if the engine is TensorRT-LLM. Rows that it refuses are left out and counted."""
import argparse
import csv
import logging
import sys

import points

# The names under which AIConfigurator's wheel has the same shapes; it would download others.
MODELS = {"nvidia/Llama-3.1-8B-Instruct-FP8": "meta-llama/Meta-Llama-3.1-8B",
          "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Meta-Llama-3.1-8B",
          "meta-llama/Llama-3.1-70B": "meta-llama/Meta-Llama-3.1-70B"}
GEMM = {"bf16": "bfloat16", "fp8": "fp8", "fp4": "nvfp4"}


def estimate(row):
    from aiconfigurator.cli.api import cli_estimate  # It is imported late, so that --help works without it.
    dtype = (row["dtype"].rstrip("?")) or "bf16"
    narrow = row["engine"] == "trtllm" and dtype != "bf16"
    result = cli_estimate(
        MODELS.get(row["model"], row["model"]), row["gpu"], mode="agg", backend_name=row["engine"],
        isl=int(row["isl"]), osl=int(row["osl"]), batch_size=int(row["concurrency"]), tp_size=int(row["tp"]),
        pp_size=int(row["pp"] or 1), gemm_quant_mode=GEMM[dtype], kvcache_quant_mode="fp8" if narrow else "bfloat16")
    return result.ttft, result.tpot


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=points.folder)
    parser.add_argument("--write", required=True)
    parser.add_argument("--every", type=int, default=1, help="only each so-manieth row, since a row takes seconds")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rows = [row for row in points.read(options.data / "serving_rows.csv") if not points.may_fit(row) and points.has_model(row)][::options.every]
    reasons = {}
    with open(options.write, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "ttft_ms", "tpot_ms"])
        for row in rows:
            try:
                ttft, tpot = estimate(row)
                writer.writerow([row["id"], f"{ttft:.3f}", f"{tpot:.4f}"])
                file.flush()
            except Exception as error:  # Whatever it raises, the row is left out and the reason is told.
                reason = str(error)[:200].replace("\n", " ")
                reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        print(f"{count} rows refused: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
