#!/usr/bin/env python3
"""Prints what a run of the tests left out and where its time went: the ten slowest tests, and every skipped one with its reason.

    tools/test_report.py release=build/release/junit.xml [asan=build/asan/junit.xml ...]

Reads what ctest --output-junit wrote. It fails if a test failed, or if tests/may_skip.txt doesn't explain a skipped one.
"""
import dataclasses
import fnmatch
import os
import pathlib
import re
import sys
import xml.etree.ElementTree

MAY_SKIP = pathlib.Path(__file__).resolve().parent.parent / "tests" / "may_skip.txt"
SLOWEST = 10
GTEST_REASON = re.compile(r"^\S+:\d+: Skipped\n(.*)", re.M)
PYTEST_SKIP = re.compile(r"^SKIPPED \[\d+\] (\S+?):?(?:\d+)?: (.*)$", re.M)


@dataclasses.dataclass
class Excuse:
    """One line of may_skip.txt: which tests, what they say, and why that is right."""
    name: str
    says: str
    why: str
    outside_ci: bool

    def covers(self, test, reason):
        return fnmatch.fnmatchcase(test, self.name) and fnmatch.fnmatchcase(reason, self.says)


def read_excuses(text):
    excuses = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 3 or not all(parts):
            raise SystemExit(f"may_skip.txt:{number}: not 'TEST | WHAT IT SAYS | WHY': {line}")
        outside_ci = parts[2].startswith("outside CI: ")
        excuses.append(Excuse(*parts, outside_ci))
    return excuses


def skips_of(name, case):
    """Returns (test, reason) for what one ctest case left out; a pytest file may leave out some of its tests."""
    output = case.findtext("system-out") or ""
    of_pytest = PYTEST_SKIP.findall(output)
    if of_pytest:
        return [(f"{name}", reason) for _, reason in of_pytest]
    skipped = case.find("skipped")
    if case.get("status") == "disabled":
        return [(name, "disabled")]
    if skipped is None and case.get("status") != "notrun":
        return []
    of_gtest = GTEST_REASON.search(output)
    said = of_gtest.group(1) if of_gtest else next((line for line in output.splitlines() if line.startswith("skipped: ")), "")
    return [(name, said.removeprefix("skipped: ").strip() or "no reason given")]


def read_run(label, path):
    """Returns (tests with seconds, failed tests, skips) of one JUnit file."""
    times, failed, skips = [], [], []
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{label}:{case.get('name')}"
        times.append((float(case.get("time") or 0), name))
        if case.find("failure") is not None or case.get("status") == "fail":
            failed.append(name)
        else:
            skips += skips_of(name, case)
    return times, failed, skips


def main(arguments, excuses_text=None, ci=None):
    ci = os.environ.get("CI", "") not in ("", "false", "0") if ci is None else ci
    excuses = [one for one in read_excuses(MAY_SKIP.read_text() if excuses_text is None else excuses_text) if not (ci and one.outside_ci)]
    times, failed, skips = [], [], []
    for argument in arguments:
        for total, part in zip((times, failed, skips), read_run(*argument.split("=", 1)), strict=True):
            total.extend(part)
    print(f"The slowest of {len(times)} tests, {sum(seconds for seconds, _ in times):.0f} s together:")
    for seconds, name in sorted(times, reverse=True)[:SLOWEST]:
        print(f"  {seconds:7.1f} s  {name}")
    unexplained = 0
    print(f"Skipped: {len(skips)}")
    for name, reason in skips:
        excuse = next((one for one in excuses if one.covers(name, reason)), None)
        unexplained += excuse is None
        print(f"  {name}: {reason} ({excuse.why if excuse else 'NOT EXPLAINED in tests/may_skip.txt'})")
    for name in failed:
        print(f"Failed: {name}")
    if unexplained:
        print(f"{unexplained} skipped tests are not explained in tests/may_skip.txt")
    whole = len({name for name, _ in skips if ":end_to_end/" not in name})
    print(f"{len(times) - len(failed) - whole} passed, {len(failed)} failed, {whole} skipped")
    return 1 if failed or unexplained or not times else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
