"""schemathesis against /openapi.json: answers conform, no 5xx, whatever is sent."""
import os
import subprocess
import sys


def test_schemathesis(sim_server, tmp_path):
    command = [os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", sim_server.url + "/openapi.json",
               "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
               "--max-examples", "25", "--phases", "examples,coverage,fuzzing,stateful", "--seed", "1", "--request-timeout", "60", "--workers", "1",
               "--generation-database", "none", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1000, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert sim_server.get("/health").json()["status"] == "ok"
