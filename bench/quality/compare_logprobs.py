#!/usr/bin/env python3
"""Log-probabilities of texts by altlas beside transformers in float32 on the same GGUF file's dequantised weights.

    bench/quality/compare_logprobs.py --altlas build/altlas --model FILE.gguf [TEXT ...]

Needs torch, transformers, accelerate and gguf. altlas gives the token ids (`altlas perplexity --json`), so that both see the same. The
texts are this tree's README in two languages and a source file, unless others are named. It ends with 1 if a goal is missed: the
mean log-probability within 0.3 %, the likeliest token the same in 97 % of the places where transformers' margin over its second is
above 0.1."""
import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np
import torch
import transformers
from gguf import GGUFReader, dequantize

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = ["README.md", "README.tr.md", "src/base/result.h"]
NLL_PERCENT_MAX, TOP_PERCENT_MIN, MARGIN = 0.3, 97.0, 0.1


def load(path):
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    # A file with a head of its own is not tied, whatever the configuration says that transformers makes of it.
    tied = model.get_input_embeddings().weight.data_ptr() == model.get_output_embeddings().weight.data_ptr()
    head = [t for t in GGUFReader(path).tensors if t.name == "output.weight"]
    if head and tied:
        weight = torch.from_numpy(np.array(dequantize(head[0].data, head[0].tensor_type), dtype=np.float32))
        model.lm_head.weight = torch.nn.Parameter(weight.reshape(model.lm_head.weight.shape))
    return model.eval()


def ask_altlas(options, text):
    command = [options.altlas, "perplexity", "--model", str(options.model), "--file", str(text), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def compare(model, answer):
    ids = answer["ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1]
    want = torch.log_softmax(logits, -1)
    best = want.topk(2, -1)
    clear = ((best.values[:, 0] - best.values[:, 1]) > MARGIN).numpy()
    same = np.array(answer["top1"]) == best.indices[:, 0].numpy()
    reference = want[torch.arange(len(ids) - 1), torch.tensor(ids[1:])].numpy()
    got = np.array(answer["logprobs"])
    return {"tokens": len(ids), "transformers": -reference.mean(), "altlas": -got.mean(),
            "percent": 100 * (got.mean() / reference.mean() - 1), "same": 100 * same.mean(), "same_clear": 100 * same[clear].mean(),
            "difference": np.abs(got - reference).mean()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--altlas", default=str(ROOT / "build" / "altlas"))
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("texts", nargs="*", type=pathlib.Path, default=[ROOT / name for name in TEXTS])
    options = parser.parse_args()
    model = load(options.model.resolve())
    print(f"| {options.model.name} | tokens | -log p, transformers | altlas | likeliest token agrees | where the margin is over {MARGIN} |"
          " mean difference |\n|---|---|---|---|---|---|---|")
    failed = False
    for text in options.texts:
        row = compare(model, ask_altlas(options, text))
        failed |= abs(row["percent"]) > NLL_PERCENT_MAX or row["same_clear"] < TOP_PERCENT_MIN
        print(f"| {text.name} | {row['tokens']:,} | {row['transformers']:.4f} | {row['altlas']:.4f} ({row['percent']:+.2f} %) "
              f"| {row['same']:.1f} % | {row['same_clear']:.1f} % | {row['difference']:.4f} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
