#!/usr/bin/env python3
"""Errors of `altlas plan --rows` on measured points that nothing was fitted on.

    python3 bench/simulation/errors.py --data DATA --altlas build/altlas [--other FILE]

Prints the median and 90th percentile of |predicted / measured - 1| for TTFT, TPOT and output tokens/s, by GPU, engine and TP, as a
Markdown table; then the worst rows by id; then MLPerf's H100, H200, B200 and L40S rows one by one. --other names a CSV of
aiconfigurator_errors.py with the columns id, ttft_ms, tpot_ms, whose errors on the same rows are printed beside."""
import argparse
import collections

import points

WORST = 10
# MLPerf's data sets: the mean numbers of tokens in and out (OpenOrca for Llama 2; a mix of CNN/DailyMail and LongBench for Llama
# 3.1).
MLPERF_LENGTHS = {"llama2-70b": ("llama-2-70b", 294, 294), "llama3.1-8b": ("llama-3.1-8b", 778, 73),
                  "llama3.1-405b": ("llama-3.1-405b", 9428, 684), "mixtral-8x7b": ("mixtral-8x7b", 250, 145)}
# The fewest devices that a replica of the entry needs; more devices serve as further replicas.
MLPERF_TENSOR = {("llama2-70b", "h100"): 2, ("llama3.1-405b", "h100"): 8, ("llama3.1-405b", "h200"): 8}
MLPERF_CONCURRENCY = {"Offline": 1024, "Server": 512, "Interactive": 64}  # Requests at once in a replica.


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def errors(predicted, row):
    ttft, tpot = float(predicted[0]), float(predicted[1])
    concurrency, osl = float(row["concurrency"]), float(row["osl"])
    tokens = concurrency * osl / (ttft + tpot * (osl - 1)) * 1e3
    measured = (float(row["ttft_ms"]), float(row["tpot_ms"]), float(row["derived_out_tok_s"]))
    return tuple(abs(p / m - 1) for p, m in zip((ttft, tpot, tokens), measured))


def line(name, found):
    cells = [name, str(len(found))]
    for i in range(3):
        values = [e[i] for e in found]
        cells.append(f"{100 * percentile(values, 0.5):.1f} / {100 * percentile(values, 0.9):.1f}")
    return "| " + " | ".join(cells) + " |"


def serving_table(rows, answers, other):
    header = "| GPU, engine, TP | rows | TTFT % | TPOT % | tokens/s % |\n|---|---|---|---|---|"
    groups, theirs, missing = collections.defaultdict(list), [], []
    ours = []
    for row, answer in zip(rows, answers):
        if not answer["predicted_tpot_ms"]:
            missing.append((row["id"], answer["reason"]))
            continue
        e = errors((answer["predicted_ttft_ms"], answer["predicted_tpot_ms"]), row)
        groups[f"{row['gpu']} {row['engine']} {row['tp']}"].append(e)
        ours.append((e, row["id"]))
    print(f"{len(ours)} of {len(rows)} rows of kinds with a model are predicted. Median / 90th percentile:\n\n{header}")
    for name in sorted(groups):
        print(line(name, groups[name]))
    print(line("**all**", [e for e, _ in ours]))
    both = [row for row, answer in zip(rows, answers) if row["id"] in other and answer["predicted_tpot_ms"]]
    if both:
        ids = {row["id"] for row in both}
        theirs = [errors((other[row["id"]]["ttft_ms"], other[row["id"]]["tpot_ms"]), row) for row in both]
        print(line("altlas, rows that AIConfigurator predicts", [e for e, i in ours if i in ids]))
        print(line("AIConfigurator, the same rows", theirs))
    print("\nWorst by TPOT: " + ", ".join(f"`{i}` ({100 * e[1]:.0f} %)" for e, i in sorted(ours, key=lambda x: -x[0][1])[:WORST]))
    print("Worst by TTFT: " + ", ".join(f"`{i}` ({100 * e[0]:.0f} %)" for e, i in sorted(ours, key=lambda x: -x[0][0])[:WORST]))
    for name, reason in missing:
        print(f"not predicted: `{name}`: {reason}")


def mlperf_point(row):
    model = next((name for name in MLPERF_LENGTHS if row["model"].startswith(name)), None)
    gpu = next((name for name in ("h100", "h200", "b200", "l40s")
                if name.upper() in row["gpu"]), None)
    if model is None or gpu is None or "GB200" in row["gpu"]:
        return None
    name, isl, osl = MLPERF_LENGTHS[model]
    tensor = MLPERF_TENSOR.get((model, gpu), 1)
    replicas = int(row["gpus"]) * int(row["nodes"]) // tensor
    return {"model": name, "gpu": gpu, "engine": "vllm" if "vLLM" in row["engine"] else "trtllm", "dtype": row["dtype"],
            "tp": tensor, "pp": 1, "dp": replicas, "isl": isl, "osl": osl,
            "concurrency": MLPERF_CONCURRENCY[row["scenario"]] * replicas}


def mlperf_table(rows, altlas):
    pairs = [(row, mlperf_point(row)) for row in rows if row["out_tok_s"]]
    pairs = [(row, point) for row, point in pairs if point]
    answers = points.predict(altlas, [point for _, point in pairs])
    print("\n| MLPerf v5.1 row | GPUs | scenario | tokens/s error % |\n|---|---|---|---|")
    found = []
    for (row, point), answer in zip(pairs, answers):
        name = f"{row['submitter']} {row['model']} {row['gpu']}"
        count = int(row["gpus"]) * int(row["nodes"])
        if not answer["predicted_out_tok_s"]:
            print(f"| {name} | {count} | {row['scenario']} | {answer['reason']} |")
            continue
        error = float(answer["predicted_out_tok_s"]) / float(row["out_tok_s"]) - 1
        if row["scenario"] in ("Offline", "Server"):
            found.append(abs(error))
        print(f"| {name} | {count} | {row['scenario']} | {100 * error:+.1f} |")
    print(f"\nMLPerf server and offline, {len(found)} rows: median {100 * percentile(found, 0.5):.1f} %.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=points.folder, help="folder of serving_rows.csv and mlperf_v5.1_rows.csv")
    parser.add_argument("--altlas", default="build/altlas")
    parser.add_argument("--other", help="AIConfigurator's predictions")
    options = parser.parse_args()
    rows = [row for row in points.read(options.data / "serving_rows.csv") if not points.may_fit(row) and points.has_model(row)]
    other = {row["id"]: row for row in points.read(options.other)} if options.other else {}
    serving_table(rows, points.predict(options.altlas, rows), other)
    mlperf_table(points.read(options.data / "mlperf_v5.1_rows.csv"), options.altlas)


if __name__ == "__main__":
    main()
