#!/usr/bin/env python3
"""Counts the instructions of one AVX2 decode step by callgrind and compares them with the record: seconds are noisy, these are not.

    bench/engine/instructions.py --altlas build/release/bin/altlas [--record]

Each type of weights is counted on a tiny random model, in two runs that differ only in how many tokens they decode; the difference
per token is the step's. More than 3 % above the record fails, and so does 3 % below it: --record the new number then, so that the
next regression shows. Valgrind knows no AVX-512, so the engine chooses AVX2 by itself. Without valgrind it ends with 77, which CTest
reads as skipped.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

RECORD = pathlib.Path(__file__).with_name("instructions.txt")
TYPES = ("q4_k", "q5_0", "q6_k", "q8_0")
TOLERANCE = 0.03
FEW, MANY = 4, 20
SKIPPED = 77


def strip():
    return shutil.which("strip") or shutil.which("llvm-strip-19")


def count(altlas, quant, tokens):
    with tempfile.TemporaryDirectory() as folder:
        plain = f"{folder}/altlas"  # Valgrind 3.19 can't read clang 19's debug information.
        subprocess.run([strip(), "-g", "-o", plain, altlas], check=True)
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", plain, "bench", "engine", "--random-weights",
                   "llama-tiny", "--quant", quant, "--devices", "cpu:1:1:1GiB", "--rounds", "1", "--batches", "1", "--context", "0",
                   "--prefill", "1", "--tokens", str(tokens), "--roofs", "off", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "HOME": folder, "ALTLAS_SIMD": "avx2"})
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode != 0 or not found:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}: {done.stderr[-2000:]}")
    return int(found.group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--altlas", required=True)
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    if not shutil.which("valgrind") or not strip():
        print("skipped: there is no valgrind or no strip (apt-get install valgrind binutils)")
        return SKIPPED
    counted = {quant: round((count(arguments.altlas, quant, MANY) - count(arguments.altlas, quant, FEW)) / (MANY - FEW)) for quant in TYPES}
    if arguments.record:
        RECORD.write_text("".join(f"{quant} {instructions}\n" for quant, instructions in counted.items()))
    recorded = {line.split()[0]: int(line.split()[1]) for line in RECORD.read_text().splitlines()}
    wrong = 0
    for quant, instructions in counted.items():
        change = instructions / recorded[quant] - 1
        wrong += abs(change) > TOLERANCE
        print(f"{quant}: {instructions} instructions a step, {recorded[quant]} recorded ({100 * change:+.1f} %)")
    if wrong:
        print(f"more than {100 * TOLERANCE:.0f} % from the record: find out why; if it is right, run this with --record")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
