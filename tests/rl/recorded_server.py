"""An OpenAI-compatible server that says what was recorded (recorded_critiques.jsonl), and 404 for anything else.

python recorded_server.py     prints its port
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("recorded_critiques.jsonl")
RECORDED = {
    (row["model"], row["kind"], row["key"]): row["answer"] for row in map(json.loads, FILE.read_text().splitlines())
}
KINDS = "known", "elements", "analysis", "pairs"


def key_of(body: dict[str, Any]) -> tuple[str, str, str]:
    """What was asked of whom: the model, the kind of answer that the prompt shows, and what it is about."""
    system, user = (message["content"] for message in body["messages"][:2])
    kind = next(kind for kind in KINDS if f'{{"{kind}"' in system)
    asked = json.loads(user.partition("Query: ")[2])
    key = asked["title"] if "title" in asked else asked["general_impression"]
    return body["model"], kind, f"{key}/{asked.get('element', '')}" if kind == "analysis" else key


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...

    def do_POST(self) -> None:
        answer = RECORDED.get(key_of(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        content: Any = {"error": {"message": "not recorded"}}
        if answer is not None:
            content = {"choices": [{"message": {"role": "assistant", "content": json.dumps(answer)}}], "usage": {}}
        raw = json.dumps(content).encode()
        self.send_response(400 if answer is None else 200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    sys.stdout.flush()
    server.serve_forever()
