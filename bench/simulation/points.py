"""Measured points of serving, which of them may fit, and what `altlas plan --rows` predicts for them."""
import csv
import hashlib
import io
import pathlib
import subprocess

INPUTS = ("model", "gpu", "engine", "dtype", "tp", "pp", "dp", "concurrency", "isl", "osl")
MEASURED_KINDS = ("a100", "h100", "h200", "b200", "l40s")  # The kinds with operator tables; GB200 is from its data sheet.


def may_fit(row):
    return int(hashlib.sha256(row["id"].encode()).hexdigest(), 16) % 5 == 0


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def has_model(row):
    return row["gpu"].lower().split("_")[0] in MEASURED_KINDS


def predict(altlas, rows, *arguments):
    """Returns the rows of the command's answer, in the order of `rows`. The command is given the inputs alone."""
    text = io.StringIO()
    writer = csv.DictWriter(text, INPUTS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    done = subprocess.run([*altlas.split(), "plan", "--rows", "/dev/stdin", *arguments], input=text.getvalue(),
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"altlas plan --rows: {done.stderr}")
    return list(csv.DictReader(io.StringIO(done.stdout)))


def folder(text):
    path = pathlib.Path(text)
    if not (path / "serving_rows.csv").exists():
        raise SystemExit(f"{path} holds no serving_rows.csv")
    return path
