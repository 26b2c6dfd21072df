"""Text held to a schema is always valid, and the schema's language is neither too small nor too large: 200 schemas by random
walks over the model's vocabulary, and the public JSON-Schema-Test-Suite by acceptance. The judge is jsonschema."""
import enum
import itertools
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import typing

import jsonschema
import pydantic
import pytest
from openai.lib._pydantic import to_strict_json_schema

import schemas
from conftest import BINARY

SUITE = "jsonschema==4.26.0"  # Its source package has the suite.
# Files of the suite about other documents, or what is only an annotation.
PARTS = 2  # Processes that compile schemas at once.
LEFT_OUT = {"content", "default", "defs", "format", "refRemote", "vocabulary"}


def ask(tmp_path, requests):
    """Returns what text_test says of each (schema, instances): {"error"} or {"accepted", "walks", "unheld"}."""
    program = pathlib.Path(BINARY).resolve().parent / "text_test"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    running, answers = [], [{}] * len(requests)
    for part in range(PARTS):
        asked, said = tmp_path / f"in{part}", tmp_path / f"out{part}"
        asked.write_text("".join(json.dumps({"schema": s, "instances": i}) + "\n" for s, i in requests[part::PARTS]))
        running.append((part, said, subprocess.Popen([program, "--gtest_filter=Grammar.WalksForTheJudge"], stdout=subprocess.DEVNULL,
                                                     env={**os.environ, "ALTLAS_SCHEMAS": str(asked), "ALTLAS_WALKS": str(said)})))
    for part, said, process in running:
        assert process.wait() == 0
        answers[part::PARTS] = [json.loads(line) for line in said.read_text().split("\n") if line]
    return answers


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
    """Writes whole numbers without a fraction, as they are generated."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return value


def spellings(value):
    """Returns the compact texts of a value, with the members of small objects in every order."""
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


def suite(tmp_path_factory):
    """Returns (name, groups) of every file of the suite."""
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
    cases, requests = [], []  # One request per group, so that its schema is compiled once.
    for stem, groups in suite(tmp_path_factory):
        if stem in LEFT_OUT:
            continue
        for group in groups:
            texts = []
            for case in group["tests"]:
                own = list(spellings(plain(case["data"])))
                cases.append((f"{stem}: {group['description']}: {case['description']}", case["valid"],
                              len(requests), slice(len(texts), len(texts) + len(own))))
                texts += own
            requests.append((group["schema"], texts))
    answers = ask(tmp_path, requests)
    refused = wrong = 0
    report = []
    for name, valid, group, own in cases:
        schema, answer = requests[group][0], answers[group]
        if "error" in answer or answer["unheld"]:
            refused += 1
            report.append(f"refused: {name}: {answer.get('error') or answer['unheld']}")
            continue
        if any(answer["accepted"][own]) != valid:
            wrong += 1
            report.append(f"WRONG: {name}: valid {valid}: {json.dumps(schema)[:300]}")
    print("\n".join(report))
    assert wrong == 0, "\n".join(line for line in report if line.startswith("WRONG"))
    print(f"{len(cases)} cases, {refused} refused")
    assert refused < len(cases) / 5, f"{refused} of {len(cases)}"


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Point(pydantic.BaseModel):
    x: int
    y: int | None


class Cat(pydantic.BaseModel):
    kind: typing.Literal["cat"]
    lives: int


class Dog(pydantic.BaseModel):
    kind: typing.Literal["dog"]
    barks: bool


class Tree(pydantic.BaseModel):
    name: str
    children: list["Tree"]


def held(extra):
    return pydantic.Field(json_schema_extra=extra)


# Types of fields that the official client's parse() sends, always with strict: true; values that fit and values that don't.
FIELDS = [
    (set[str], [[], ["a"], ["a", "b", "ab"]], [["a", "a"], ["a", "b", "a"], [1], "a"]),
    (set[int], [[1, 2, 12]], [[1, 1], [1, 12, 2, 12], [1.5]]),
    (set[float], [[1, 2.5]], [[2.5, 2.5], [1, 1]]),
    (frozenset[typing.Literal["a", "b", 3]], [[3, "a"], ["b", 3, "a"]], [["a", "a"], ["c"], [3, "b", 3]]),
    (set[Colour], [["red", "green"]], [["red", "red"], ["blue"]]),
    (set[int | str], [[1, "1"]], [[1, 1], ["1", "1"], [None]]),
    (set[tuple[int, str]], [[[1, "a"], [1, "b"]]], [[[1, "a"], [1, "a"]], [[1]]]),
    (set[Point], [[{"x": 1, "y": 2}, {"x": 1, "y": None}]], [[{"x": 1, "y": 2}, {"x": 1, "y": 2}], [{"x": 1}]]),
    (dict[str, set[bool]], [{}, {"a": [True], "b": [True, False]}], [{"a": [True, True]}, {"a": [1]}]),
    (pydantic.conset(int, min_length=2, max_length=3), [[1, 2], [3, 2, 1]], [[1], [1, 1], [1, 2, 3, 4]]),
    (typing.Annotated[float, pydantic.Field(multiple_of=0.25, ge=0)], [0, 0.25, 0.5, 3, 12.75], [0.3, -0.25, 0.125]),
    (typing.Annotated[float, pydantic.Field(multiple_of=1.5)], [0, 1.5, -4.5, 3], [1, 0.5, 2.25]),
    (dict[typing.Literal["a", "b"], int], [{}, {"b": 1}, {"a": 1, "b": 2}], [{"c": 1}, {"a": "x"}]),
    (dict[Colour, bool], [{"red": True}], [{"RED": True}, {"red": 0}]),
    (typing.Annotated[str, held({"pattern": r"^\bv\d+\b"})], ["v1", "v12 x"], ["v", "xv1", "v1x"]),
    (typing.Annotated[str, held({"pattern": r"^(?!.*\.\.)[\w./]+$"})], ["a/b.c", "x"], ["a..b", ""]),
    (typing.Annotated[str, held({"pattern": r"(?<!-)\d$"})], ["1", "a7"], ["-1", "x"]),
    (typing.Annotated[list[int], held({"contains": {"minimum": 5}, "minContains": 2})], [[5, 1, 7]], [[], [5], [1, 2, 7]]),
    (typing.Annotated[Point, held({"if": {"properties": {"x": {"const": 0}}}, "then": {"properties": {"y": {"type": "null"}}}})],
     [{"x": 0, "y": None}, {"x": 1, "y": 4}], [{"x": 0, "y": 4}]),
    (Cat | Dog, [{"kind": "cat", "lives": 9}, {"kind": "dog", "barks": True}], [{"kind": "dog", "lives": 9}, {"kind": "cow"}]),
    (typing.Annotated[Cat | Dog, pydantic.Field(discriminator="kind")], [{"kind": "cat", "lives": 1}], [{"kind": "cat", "barks": True}]),
    (Tree, [{"name": "", "children": [{"name": "b", "children": []}]}], [{"name": "a"}, {"name": "a", "children": [1]}]),
]


def test_what_strict_clients_send(tmp_path):
    all_schemas = [to_strict_json_schema(pydantic.create_model("Answer", v=(kind, ...))) for kind, _, _ in FIELDS]
    cases = []
    for schema, (kind, fitting, others) in zip(all_schemas, FIELDS, strict=True):
        for value in [*fitting, *others]:
            assert judge(schema).is_valid({"v": value}) == (value in fitting), (kind, value)
            cases.append((schema, {"v": value}))
    answers = ask(tmp_path, [(schema, list(spellings(value))) for schema, value in cases])
    for (schema, value), answer in zip(cases, answers, strict=True):
        assert answer.get("unheld") == [], (schema, answer)
        assert any(answer["accepted"]) == judge(schema).is_valid(value), (schema, value)
        for text in answer["walks"]:
            judge(schema).validate(json.loads(text))
