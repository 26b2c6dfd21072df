#!/usr/bin/env python3
"""Fits one time per step and one per request of each engine, on the fifth of the serving rows that may fit.

    python3 bench/simulation/fit_engines.py --data DATA --altlas build/altlas --write src/plan/engine_overheads.inc

A row is used for fitting if the SHA-256 of its id, as a number, is 0 modulo 5; every other row is dropped before anything is
computed. The time per step moves TPOT, and the time per request moves TTFT. Each is set so that the median relative error is
smallest, in three rounds, since a longer step moves TTFT as well."""
import argparse
import math

import points

ENGINES = ("vllm", "sglang", "trtllm")
ROUNDS = 3


def best_shift(predicted, measured):
    """Returns the time in ms whose addition makes the sum of |log error| smallest. Each error is cut at log 1.5, so that one
    row's failure does not move the others."""
    loss = lambda shift: sum(min(abs(math.log(max(p + shift, 1e-3) / m)), math.log(1.5)) for p, m in zip(predicted, measured))
    candidates = [m - p for p, m in zip(predicted, measured)]
    return min(candidates + [0.0], key=loss)


def fit(altlas, rows):
    step = request = 0.0
    for _ in range(ROUNDS):
        answers = points.predict(altlas, rows, "--step-ms", f"{step:.4f}", "--request-ms", f"{request:.4f}")
        pairs = [(a, r) for a, r in zip(answers, rows) if a["predicted_tpot_ms"]]
        tpot = best_shift([float(a["predicted_tpot_ms"]) for a, _ in pairs], [float(r["tpot_ms"]) for _, r in pairs])
        step = max(0.0, step + tpot)
        ttft = best_shift([float(a["predicted_ttft_ms"]) for a, _ in pairs], [float(r["ttft_ms"]) for _, r in pairs])
        request = max(0.0, request + ttft)
    return step, request, len(pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=points.folder, help="folder of serving_rows.csv")
    parser.add_argument("--altlas", default="build/altlas")
    parser.add_argument("--write", help="the table's file; standard output if absent")
    options = parser.parse_args()
    rows = [row for row in points.read(options.data / "serving_rows.csv") if points.may_fit(row) and points.has_model(row)]
    lines = ["// Made by bench/simulation/fit_engines.py; do not edit. Seconds per step and per request."]
    for engine in ENGINES:
        step, request, count = fit(options.altlas, [row for row in rows if row["engine"] == engine])
        lines.append(f'    {{"{engine}", {step / 1e3:.6f}, {request / 1e3:.5f}}},  // {count} rows.')
    text = "\n".join(lines) + "\n"
    if options.write:
        with open(options.write, "w", encoding="utf-8") as file:
            file.write(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
