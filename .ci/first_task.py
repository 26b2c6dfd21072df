"""Sends one task to a server: POST /api/v1/predict accepts it, and it is asked for until it has completed with a text."""
import json
import sys
import urllib.request


def ask(url, body=None):
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    # The server is on this machine, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=90) as answer:
        return json.load(answer)


def main(url):
    task = ask(url + "/api/v1/predict", {"text": "def fibonacci(n):", "max_length": 16})
    for _ in range(10):  # Each request waits until the task has ended, for at most 30 seconds.
        answer = ask(f"{url}/api/v1/task/{task['task_id']}?wait=30")
        if answer["status"] in ("completed", "failed", "canceled"):
            break
    print(f"task {task['task_id']}: {answer['status']}: {json.dumps(answer.get('result'))[:300]}", file=sys.stderr)
    return 0 if answer["status"] == "completed" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
