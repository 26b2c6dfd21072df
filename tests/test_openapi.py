"""schemathesis against /openapi.json: answers conform, and there is no 5xx, whatever is sent."""
import os
import subprocess
import sys


def test_schemathesis(sim_server, tmp_path):
    """It runs in two halves at once, since it computes more than the server. What one operation hands to another stays in one
    half."""
    halves = [check(sim_server, tmp_path, option) for option in ("--include-path-regex", "--exclude-path-regex")]
    for half in halves:
        out, _ = half.communicate(timeout=1000)
        assert half.returncode == 0, out[-8000:]
        assert "Operations:" in out, out[-2000:]
    assert sim_server.get("/health").json()["status"] == "ok"


def check(server, folder, paths):
    command = [os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", server.url + "/openapi.json", paths, "^/v1/",
               "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
               "--max-examples", "25", "--phases", "examples,coverage,fuzzing,stateful", "--seed", "1", "--request-timeout", "60", "--workers", "1",
               "--generation-database", "none", "--no-color"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
