"""The programs of the source documents, which are read from the documents when the tests run."""
import re

import pytest

from conftest import SEEDS


def _document(prefix):
    found = sorted(SEEDS.glob(prefix + "*.txt")) if SEEDS.is_dir() else []
    if not found:
        pytest.skip(f"the source documents are not here ({SEEDS})", allow_module_level=True)
    return found[0].read_text()


def first_programs():
    """Returns (heading, language, code) of every fenced block of the first document."""
    programs, heading = [], ""
    language, code = None, []
    for line in _document("000").splitlines():
        if language is not None:
            if line.startswith("```"):
                programs.append((heading, language, "\n".join(code)))
                language = None
            else:
                code.append(line)
        elif line.startswith("```"):
            language, code = line[3:].strip(), []
        elif line.startswith("#"):
            heading = line.lstrip("# ").strip()
    return programs


def adapt(code, server, key="test-key", task_id=None):
    """Changes the URL, the key and the durations, and nothing else."""
    code = code.replace("https://api.example.com/api/v1", server.api)
    code = code.replace("your_api_key", key).replace("<api_key>", key)
    if task_id:
        code = code.replace("your_task_id", task_id).replace("<task_id>", task_id)
    code = re.sub(r"duration=300", "duration=3", code)
    code = re.sub(r"interval=10", "interval=1", code)
    code = re.sub(r"test_duration = 300", "test_duration = 4", code)
    code = re.sub(r"request_interval = 1\b", "request_interval = 0.2", code)
    code = re.sub(r"monitor_interval = 10", "monitor_interval = 1", code)
    code = re.sub(r"time\.sleep\(0\.1\)", "time.sleep(0.01)", code)
    return code


def second_block(first_line, last_line):
    """Returns the lines of the second document from one to another, inclusive. (The document has lost its indentation.)"""
    lines = _document("003").splitlines()
    start = lines.index(first_line)
    return lines[start:lines.index(last_line, start) + 1]
