"""Text held to a schema is always valid, and the schema's language is neither too small nor too large: 200 schemas by
random walks over the model's vocabulary, and the public JSON-Schema-Test-Suite by acceptance. The judge is jsonschema."""
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tarfile

import jsonschema
import pytest

import schemas
from conftest import BINARY

SUITE = "jsonschema==4.26.0"  # Its source package carries the suite.
# Files of the suite about keywords that are refused, other documents, or what is only an annotation.
LEFT_OUT = {"anchor", "content", "contains", "default", "defs", "dependentRequired", "dependentSchemas", "dynamicRef", "format",
            "if-then-else", "maxContains", "minContains", "not", "refRemote", "unevaluatedItems", "unevaluatedProperties",
            "uniqueItems", "vocabulary"}


def ask(tmp_path, requests):
    """What text_test says to each (schema, instances): {"error"} or {"accepted", "walks"}."""
    program = pathlib.Path(BINARY).resolve().parent / "text_test"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    (tmp_path / "in").write_text("".join(json.dumps({"schema": s, "instances": i}) + "\n" for s, i in requests))
    subprocess.run([program, "--gtest_filter=Grammar.WalksForTheJudge"], check=True, capture_output=True,
                   env={**os.environ, "ALTLAS_SCHEMAS": str(tmp_path / "in"), "ALTLAS_WALKS": str(tmp_path / "out")})
    return [json.loads(line) for line in (tmp_path / "out").read_text().split("\n") if line]


def judge(schema):
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)


def test_walks_are_valid(tmp_path):
    all_schemas = schemas.schemas()
    answers = ask(tmp_path, [(schema, []) for schema in all_schemas])
    walks = 0
    for schema, answer in zip(all_schemas, answers, strict=True):
        assert "error" not in answer, (schema, answer)
        for text in answer["walks"]:
            judge(schema).validate(json.loads(text))
            walks += 1
    assert len(all_schemas) == 200
    assert walks > 400, "most walks come to an end"


def plain(value):
    """Whole numbers without fraction, as they are generated."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return value


def spellings(value):
    """The compact text of a value, members in every order (of small objects)."""
    if isinstance(value, dict):
        for order in itertools.islice(itertools.permutations(value.items()), 120):
            inner = [[json.dumps(key, ensure_ascii=False) + ":" + text for text in spellings(one)] for key, one in order]
            for members in itertools.islice(itertools.product(*inner), 40):
                yield "{" + ",".join(members) + "}"
    elif isinstance(value, list):
        for items in itertools.islice(itertools.product(*[list(spellings(one)) for one in value]), 40):
            yield "[" + ",".join(items) + "]"
    else:
        yield json.dumps(value, ensure_ascii=False)


def any_of(schema):
    """oneOf counts as anyOf: which of its schemas hold at once is not known while a text is written."""
    if isinstance(schema, dict):
        return {"anyOf" if key == "oneOf" else key: any_of(one) for key, one in schema.items()}
    return [any_of(one) for one in schema] if isinstance(schema, list) else schema


def suite(tmp_path_factory):
    """(name, groups) of every file of the suite."""
    folder = tmp_path_factory.mktemp("suite")
    fetched = subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", SUITE.split("==")[0], SUITE, "-d", folder])
    if fetched.returncode != 0:
        pytest.skip(f"{SUITE} can't be fetched: the suite is in its source package")
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        members = [one for one in archive if one.isfile() and pathlib.PurePath(one.name).match("*/json/tests/draft2020-12/*.json")]
        files = [(pathlib.PurePath(one.name).stem, json.load(archive.extractfile(one))) for one in members]
    assert files, f"{SUITE} holds no suite"
    return sorted(files, key=lambda file: file[0])


def test_public_suite(tmp_path, tmp_path_factory):
    cases, requests = [], []
    for stem, groups in suite(tmp_path_factory):
        if stem in LEFT_OUT:
            continue
        for group in groups:
            for case in group["tests"]:
                texts = list(spellings(plain(case["data"])))
                valid = case["valid"] or (stem == "oneOf" and judge(any_of(group["schema"])).is_valid(case["data"]))
                cases.append((f"{stem}: {group['description']}: {case['description']}", valid))
                requests.append((group["schema"], texts))
    answers = ask(tmp_path, requests)
    refused = wrong = 0
    report = []
    for (name, valid), (schema, _), answer in zip(cases, requests, answers, strict=True):
        if "error" in answer:
            refused += 1
            report.append(f"refused: {name}: {answer['error']}")
            continue
        if any(answer["accepted"]) != valid:
            wrong += 1
            report.append(f"WRONG: {name}: valid {valid}: {json.dumps(schema)[:300]}")
    print("\n".join(report))
    assert wrong == 0, "\n".join(line for line in report if line.startswith("WRONG"))
    print(f"{len(cases)} cases, {refused} refused")
    assert refused < len(cases) / 5, f"{refused} of {len(cases)}"
