"""An OpenAI-compatible server that says what was recorded (recorded_critiques.jsonl), and refuses anything else. The
models `rules-1` and `rules-2` answer everything by rule, now and then wrongly, for runs over whole tables.

python recorded_server.py     prints its port
"""

import hashlib
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


def kind_of(body: dict[str, Any]) -> str:
    """The kind of answer that the prompt shows."""
    return next(kind for kind in KINDS if f'{{"{kind}"' in body["messages"][0]["content"])


def key_of(body: dict[str, Any]) -> tuple[str, str, str]:
    """What was asked of whom: the model, the kind of answer that the prompt shows, and what it is about."""
    kind, user = kind_of(body), body["messages"][1]["content"]
    asked = json.loads(user.partition("Query: ")[2])
    key = asked["title"] if "title" in asked else asked["general_impression"]
    return body["model"], kind, f"{key}/{asked.get('element', '')}" if kind == "analysis" else key


ANALYSIS = (
    "The painting is divided by one long line into a quiet part and a busy one, and the light comes in along it. Forms "
    "on the near side are firm and dark, those behind dissolve in thin paint, and a single warm accent in the middle "
    "holds both together, so that the eye goes there first and comes back to it from every side of the canvas."
)


def chance(*words: str) -> float:
    """In [0, 1), the same for the same words."""
    return int(hashlib.sha256("\0".join(words).encode()).hexdigest()[:8], 16) / 2**32


def by_rule(model: str, kind: str, asked: dict[str, Any]) -> Any:
    """A fitting answer; one in twenty is not."""
    fate = chance("fate", model, kind, json.dumps(asked, sort_keys=True))
    if kind == "pairs":
        pairs = [
            {"type": "what", "question": f"What of the {aspect.replace('_', ' ')}?", "answer": text.split(". ")[0]}
            for aspect, text in asked.items()
        ]
        return {"pairs": pairs} if fate > 0.05 else {"pears": pairs}
    if kind == "known":
        return {"known": chance(model, asked["title"]) < 0.7}
    if kind == "elements":
        chosen = [name for name in asked["elements"] if chance(model, asked["title"], name) < 0.4]
        return {"elements": chosen[:5] if fate > 0.05 else ["genius"]}
    return {"analysis": ANALYSIS if fate > 0.05 else f"{ANALYSIS} So does {asked['artist']}."}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["model"].startswith("rules-"):
            asked = json.loads(body["messages"][1]["content"].partition("Query: ")[2])
            answer = by_rule(body["model"], kind_of(body), asked)
        else:
            answer = RECORDED.get(key_of(body))
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
