#!/usr/bin/env python3
"""Style as a test: what docs/style.md asks for and a machine can see. Exceptions may only shrink (tools/tidy_exceptions.txt)."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXCEPTIONS = ROOT / "tools" / "tidy_exceptions.txt"
LINE_MAX, FILE_MAX, FUNCTION_MAX = 100, 600, 70

# Rooms whose code decides: it has no clock, no randomness, no iteration in an undefined order, no thread.
DECISION_ROOMS = {"scheduler", "kv", "plan", "task"}
DECISION_FILES = re.compile(r"src/(control/(core|launch_book|kept_tasks|key_book|share_book)|engine/replica_(core|loop)|"
                            r"worker/(session|link_pump|worker_pump|outbox)|journal/(replay|commit_group))")
IMPURE = [
    (re.compile(r"\b(system_clock|steady_clock|high_resolution_clock)\b"), "reads a clock"),
    (re.compile(r"\b(gettimeofday|clock_gettime|time\(nullptr\))"), "reads a clock"),
    (re.compile(r"\b(std::rand|random_device|mt19937|getrandom)\b"), "draws random numbers"),
    (re.compile(r"\bstd::(thread|jthread|mutex|atomic|condition_variable)\b"), "uses threads"),
    (re.compile(r"\b(ifstream|ofstream|fopen|::open|::socket)\("), "touches files or sockets"),
    (re.compile(r"\bstd::(map|set)<[^,<>]*\*"), "keys by pointer"),
]
UNORDERED = re.compile(r"\bstd::unordered_(?:map|set)<[^;]*>\s+(\w+)\s*[;={]")
DROPPED_AWAIT = re.compile(r"^\s*co_await\s+[\w.:>-]*\b(admit|submit|cancel|set_strategy)\(")


# Request bodies are read by the rows that describe them. Only items of lists and the server's own records are read by name.
FIELD_BY_NAME = re.compile(r"\b\w+\.(text|required_text|optional_text|integer|optional_integer|unsigned_integer|number|boolean|texts|object|array|"
                           r"value|has|choice)\(\s*\"")
QUERY_BY_NAME = re.compile(r"\bquery_value\(\s*\"")
READ_BY_NAME = re.compile(r"src/server/(body/|prompt/(chat_messages|tool_request)\.cc|batches/(batch_json|files)\.cc)|_test\.cc$")


def files():
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("*") if path.suffix in (".h", ".cc", ".cu", ".proto"))


def strip_comments(text):
    """Turns comments and the contents of strings into blanks, so that only code is looked at; offsets and lines stay."""
    blank = lambda match: re.sub(r"[^\n]", " ", match.group())
    pattern = r'R"(\w*)\([\s\S]*?\)\1"|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*[\s\S]*?\*/'
    return re.sub(pattern, blank, text)


def room_deps():
    deps = {}
    for path in sorted((ROOT / "src").glob("*/CMakeLists.txt")):
        text = path.read_text()
        call = re.search(r"altlas_room\(([^)]*)\)", text)
        words = call.group(1).split() if call else []
        name, mode, found = None, None, {"DEPS": [], "TEST_DEPS": []}
        for word in words:
            if word in ("NAME", "DEPS", "LIBS", "TEST_DEPS", "PCH"):
                mode = word
            elif mode == "NAME":
                name = word
            elif mode in found:
                found[mode].append(word)
        deps[name] = found
    return deps


def check_includes(path, text, deps, report):
    room = path.split("/")[1]
    is_test = re.search(r"_(test|bench|fuzz)\.cc$", path)
    allowed = {room, *deps.get(room, {}).get("DEPS", [])}
    if is_test:
        allowed |= {"testing", *deps.get(room, {}).get("TEST_DEPS", [])}
    elif room != "testing":
        allowed.discard("testing")
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r'\s*#include "(\w+)/', line)
        if found and found.group(1) in deps and found.group(1) not in allowed:
            report(path, number, "includes", f"includes room {found.group(1)}, which is not in the DEPS of {room}")


def check_deps(deps, used, report):
    """Every room in DEPS is included by some file that isn't a test."""
    for room, named in deps.items():
        for dep in named["DEPS"]:
            if dep not in used.get(room, ()):
                report(f"src/{room}/CMakeLists.txt", 1, "deps", f"DEPS names {dep}, and nothing of {room} includes it")


def check_metrics(path, text, deps, report):
    """Each metric of ours is named altlas_<room>_…"""
    for found in re.finditer(r'\.name = "altlas_([a-z]+)_', text):
        if found.group(1) not in deps:
            report(path, text.count("\n", 0, found.start()) + 1, "metric", f"altlas_{found.group(1)}_ names no room")


def check_decisions(path, code, report):
    room = path.split("/")[1]
    if path.endswith(("_test.cc", "_bench.cc")) or not (room in DECISION_ROOMS or DECISION_FILES.match(path)):
        return
    for number, line in enumerate(code.splitlines(), 1):
        for pattern, what in IMPURE:
            if pattern.search(line):
                report(path, number, "impure", f"a decision {what}: hand it in as an event or an argument")
    for name in UNORDERED.findall(code):
        for found in re.finditer(r"for\s*\([^;)]*:\s*" + re.escape(name) + r"\s*\)", code):
            report(path, code.count("\n", 0, found.start()) + 1, "unordered", f"iterates unordered container {name}")


def await_expressions(code):
    """Yields (offset, text) of every co_await's operand, up to the end of its call."""
    for found in re.finditer(r"\bco_await\b", code):
        depth, end = 0, found.end()
        while end < len(code):
            c = code[end]
            depth += c in "({["
            depth -= c in ")}]"
            if depth < 0 or (depth == 0 and c in ";,"):
                break
            end += 1
        yield found.start(), code[found.end():end]


def check_awaits(path, code, report):
    for offset, text in await_expressions(code):
        number = code.count("\n", 0, offset) + 1
        call = text[text.find("("):] if "(" in text else ""
        if re.search(r"[(,]\s*(?:[\w:]+\s*)?\{\s*(?:\.|\w)", call):
            report(path, number, "co_await", "builds an aggregate inside co_await: name it, then std::move it")
        if re.search(r"\[\s*[&=\w][^\]\[]*\]\s*(?:\(|\{|mutable)", call):
            report(path, number, "co_await", "builds a capturing lambda inside co_await: name it, then std::move it")
    before = ""
    for number, line in enumerate(code.splitlines(), 1):
        starts_statement = before.rstrip()[-1:] in ("", ";", "{", "}", ":", ")")
        before = line if line.strip() else before
        if starts_statement and DROPPED_AWAIT.match(line):
            report(path, number, "dropped", "drops the Result of a co_await")


def check_functions(path, code, report):
    """A function runs from a line that ends in '{' at column 0..2 and is not a type or namespace, to its closing brace."""
    lines = code.splitlines()
    start = None
    for number, line in enumerate(lines, 1):
        opens = re.match(r"^( {0,2})\S.*\)\s*(const|noexcept|override|final|mutable|->\s*[\w:<>*& ,]+|\s)*\{\s*$", line)
        if start is None and opens and "= [" not in line and not re.match(r"^\s*(namespace|struct|class|enum|union|extern|if|for|while|switch|else)\b", line):
            start = (number, opens.group(1))
        elif start and line.rstrip() == start[1] + "}":
            length = number - start[0] - 1
            if length > FUNCTION_MAX:
                report(path, start[0], "function", f"a function of {length} lines, at most {FUNCTION_MAX}")
            start = None


def check_fields(path, text, report):
    if not path.startswith("src/server/") or READ_BY_NAME.search(path):
        return
    for found in FIELD_BY_NAME.finditer(text):
        report(path, text.count("\n", 0, found.start()) + 1, "field", "reads a field by name: give its body a row (docs/adding/field.md)")
    for found in QUERY_BY_NAME.finditer(text):
        report(path, text.count("\n", 0, found.start()) + 1, "field", "reads a query parameter by name: give it a row (docs/adding/field.md)")


# A comment is a whole sentence with a named subject.
OPENINGS = re.compile(r"//\s*(Of |Likewise\b)|//.*\bso many\b|//.*\bOne that is not there is nothing\b")


def comment_start(line):
    """Returns where the line's comment begins, outside of strings, or -1 if there is none."""
    blanked = re.sub(r'"(?:\\.|[^"\\\n])*"', lambda m: " " * len(m.group()), line)
    return blanked.find("//")


def check_comments(path, text, report):
    """Checks how public comments begin, and that no declaration is torn by its own comment."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        start = comment_start(line)
        # Within a paragraph a line may begin with any word.
        begins = number == 1 or not lines[number - 2].strip().startswith("//") or line[:max(start, 0)].strip()
        if start >= 0 and begins and OPENINGS.match(line, start):
            report(path, number, "opening", "a comment names its subject: no 'Of …', 'Likewise' or 'so many'")
        if number == len(lines) or start == 0 or not line[:start if start > 0 else None].strip():
            continue
        after = lines[number]
        behind = comment_start(after)
        if start > 0 and after.strip().startswith("//") and behind == start:
            report(path, number, "torn", "a comment of several lines stands above its line")
        broken = re.match(r"^(\s*)\S.*(=|\()$", line)
        if start < 0 and broken and behind > 0 and after[:behind].strip().endswith(";"):
            if len(line) + len(after[:behind].strip()) < LINE_MAX:
                report(path, number, "torn", "a declaration is torn by its comment: the comment stands above it")


def check_text(path, text, report):
    lines = text.splitlines()
    if len(lines) > FILE_MAX:
        report(path, 1, "file", f"{len(lines)} lines, at most {FILE_MAX}")
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_MAX and not re.search(r'R"|https?://|json"', line) and '"' not in line:
            report(path, number, "line", f"{len(line)} columns, at most {LINE_MAX}")
        if re.search(r"\bTODO\b(?!\(#\d+\))|\bFIXME\b|\bXXX\b", line):
            report(path, number, "todo", "a TODO carries an issue number: TODO(#12)")
        if re.search(r"march=native", line):
            report(path, number, "native", "SIMD is chosen at run time")
    if path.endswith((".h", ".cc", ".cu")):
        check_comments(path, text, report)
    if path.endswith(".h"):
        if "#pragma once" not in text:
            report(path, 1, "pragma", "no #pragma once")
        if not lines or not lines[0].startswith("//"):
            report(path, 1, "first line", "a header's first line says what the file is")


def main():
    problems = []
    report = lambda path, line, kind, message: problems.append((path, line, kind, message))
    deps, used = room_deps(), {}
    for path in files():
        text = (ROOT / path).read_text()
        code = strip_comments(text)
        check_includes(path, text, deps, report)
        if path.endswith("/metrics.h"):
            check_metrics(path, text, deps, report)
        check_decisions(path, code, report)
        check_awaits(path, code, report)
        check_functions(path, code, report)
        check_fields(path, text, report)
        check_text(path, text, report)
        if not re.search(r"_(test|bench|fuzz)\.cc$", path):
            used.setdefault(path.split("/")[1], set()).update(re.findall(r'^\s*(?:#include|import) "(\w+)/', text, re.M))
    check_deps(deps, used, report)
    excused = {}
    if EXCEPTIONS.exists():
        for line in EXCEPTIONS.read_text().splitlines():
            if line and not line.startswith("#"):
                path, kind, count = line.rsplit(" ", 2)
                excused[path, kind] = int(count)
    counts = {}
    for path, _, kind, _ in problems:
        counts[path, kind] = counts.get((path, kind), 0) + 1
    bad = [p for p in problems if counts[p[0], p[2]] > excused.get((p[0], p[2]), 0)]
    for path, line, kind, message in bad:
        print(f"{path}:{line}: {kind}: {message}")
    stale = [key for key, count in excused.items() if counts.get(key, 0) < count]
    for path, kind in stale:
        print(f"{EXCEPTIONS.name}: {path} {kind}: only {counts.get((path, kind), 0)} left: lower the number (exceptions only shrink)")
    print(f"tidy: {len(files())} files, {len(bad)} problems, {len(stale)} stale exceptions")
    return 1 if bad or stale else 0


if __name__ == "__main__":
    sys.exit(main())
