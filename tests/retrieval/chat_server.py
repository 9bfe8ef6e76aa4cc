"""An OpenAI-compatible server for tests, a process of its own: the model's name says how it behaves.

python chat_server.py     prints its port; GET /log tells what it was asked, GET /forget clears that
"""

import base64
import hashlib
import io
import json
import math
import re
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LOG: list[dict[str, Any]] = []
LOCK = threading.Lock()
NOW: Counter[str] = Counter()  # requests of each model that are being answered
MOST: Counter[str] = Counter()


def query_of(body: dict[str, Any]) -> str:
    """The query that a prompt of ours holds, as JSON behind "Query: "."""
    content = body["messages"][1]["content"]
    text = content if isinstance(content, str) else content[0]["text"]
    return json.loads(text.partition("Query: ")[2])


def wanted(body: dict[str, Any]) -> dict[str, Any]:
    """A fitting answer to any of our prompts."""
    system, query = body["messages"][0]["content"], query_of(body)
    if '"elements"' in system:
        return {"elements": [f"soft element {place}" for place in range(int(re.search(r"List (\d+)", system)[1]))]}
    if '"style"' in system:
        words = ["film grain", "soft light", "muted tones", "thirds", "calm"]
        return dict(zip(("style", "light", "colour", "composition", "mood"), [[word] for word in words], strict=True))
    if '"row_1"' in system:
        upper, lower = brightness(body)
        rows = (dict.fromkeys(("accuracy", "aesthetics", "diversity"), 5 if one else 2) for one in (upper, lower))
        return dict(zip(("row_1", "row_2"), rows, strict=True))
    if '"better"' in system:
        return {"better": 1 if brightness(body)[0] else 2}
    if '"accuracy"' in system:
        bright = brightness(body)
        if "1 (poor)" in system:
            return dict.fromkeys(("accuracy", "aesthetics", "diversity"), 5 if bright[0] else 2)
        return dict.fromkeys(("accuracy", "aesthetics", "diversity"), 1 if bright[0] else 2)
    return {"query": f"{query} in soft evening light"}


def brightness(body: dict[str, Any]) -> tuple[bool, bool]:
    """Whether the upper and the lower half of the sheet are the brighter one; alone: whether it is bright."""
    import numpy as np
    from PIL import Image

    uri = body["messages"][1]["content"][1]["image_url"]["url"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("L"), float)
    middle = len(pixels) // 2
    upper, lower = pixels[:middle].mean(), pixels[middle:].mean()
    if abs(upper - lower) < 1:
        return (bool(pixels.mean() > 119), False)
    return bool(upper > lower), bool(lower > upper)


def mean_grey(uri: str) -> float:
    import numpy as np
    from PIL import Image

    return float(np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("L"), float).mean())


def judged(body: dict[str, Any], prefers_upper: bool = False) -> dict[str, Any]:
    """What a judge that looks says; `prefers_upper`: of rows seen together it takes the upper one whatever it shows."""
    from looks import seen

    system, uri = body["messages"][0]["content"], body["messages"][1]["content"][1]["image_url"]["url"]
    rows = seen(base64.b64decode(uri.partition(",")[2]), query_of(body))
    if prefers_upper and len(rows) == 2:
        rows = [dict.fromkeys(rows[0], 1.0), dict.fromkeys(rows[1], 0.0)]
    reason = {"reason": f"I see {len(rows)} <rows>."} if '"reason"' in system else {}
    if len(rows) == 1:  # the scale of a row alone: what the aspects are between
        ends = {"accuracy": (-60, 60), "aesthetics": (40, 200), "diversity": (0, 99)}
        return reason | {name: scored(value, *ends[name]) for name, value in rows[0].items()}
    upper, lower = rows
    if '"row_1"' in system:
        scores = [{name: 4 if one[name] >= other[name] else 2 for name in one} for one, other in (rows, rows[::-1])]
        return {**reason, "row_1": scores[0], "row_2": scores[1]}
    return reason | {name: 1 if upper[name] >= lower[name] else 2 for name in upper}


def scored(value: float, low: float, high: float) -> int:
    """1 for a row of nothing, else 2 to 5."""
    return 1 if value < -500 else round(2 + 3 * min(1.0, max(0.0, (value - low) / (high - low))))


def likely(body: dict[str, Any], grey: list[float]) -> dict[str, Any]:
    """What a critic says with the log-probabilities of its words: it prefers what is brighter, but names the second
    picture whatever is shown, by a liking of 1.5 nats; where it rates, shares fall by e with each step from the
    brightness on a scale of five."""
    if len(grey) == 2:
        second = 1 / (1 + math.exp((grey[0] - grey[1]) / 255 - 1.5))
        return said_likely(["The", " second", " one", "."], 1, {" first": 1 - second, " second": second}, body)
    levels = "Bad", "Poor", "Fair", "Good", "Ex"
    weights = {name: math.exp(-abs(4 * grey[0] / 255 - place)) for place, name in enumerate(levels)}
    shares = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    best = max(shares, key=lambda name: shares[name])
    return said_likely([best, *(["cellent"] if best == "Ex" else []), "."], 0, shares, body)


def compared(body: dict[str, Any]) -> float:
    """By how much a critic that looks prefers the first of two rows, each shown as a picture, in the aspect asked."""
    from looks import seen

    text, *shown = body["messages"][-1]["content"]
    asked = text["text"]
    query = json.loads(re.search(r'for the query ("(?:[^"\\\\]|\\\\.)*")', asked)[1]) if "query" in asked else ""
    words = {"what was asked": "accuracy", "looks better": "aesthetics"}
    aspect = next((name for part, name in words.items() if part in asked), "diversity")
    first, second = (seen(base64.b64decode(one["image_url"]["url"].partition(",")[2]), query)[0] for one in shown)
    return max(-9.0, min(9.0, first[aspect] - second[aspect]))


def said_likely(tokens: list[str], place: int, shares: dict[str, float], body: dict[str, Any]) -> dict[str, Any]:
    """A completion of tokens, each sure of itself but the one at `place`."""
    content = []
    for number, token in enumerate(tokens):
        known = shares if number == place else {token: 1.0}
        top = sorted(known.items(), key=lambda one: -one[1])[: body["top_logprobs"]]
        listed = [{"token": name, "logprob": math.log(share)} for name, share in top]
        content.append({"token": token, "logprob": math.log(known[token]), "top_logprobs": listed})
    reply = said("".join(tokens))
    reply["choices"][0]["logprobs"] = {"content": content}
    return reply


def draw(body: dict[str, Any]) -> float:
    """In [0, 1), the same for the same question."""
    first = next(one for one in body["messages"] if one["role"] == "user")
    asked = json.dumps(first, sort_keys=True).encode()
    return int(hashlib.sha256(asked).hexdigest()[:8], 16) / 2**32


def said(content: Any, **message: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 30, "completion_tokens": 10, "total_tokens": 40}
    return {"choices": [{"message": {"role": "assistant", "content": content, **message}}], "usage": usage}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        if self.path == "/forget":
            LOG.clear()
            MOST.clear()
        self.reply(200, {"requests": LOG, "most_at_once": MOST})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(raw)
        with LOCK:
            before = sum(one["model"] == body["model"] and one["messages"] == body["messages"] for one in LOG)
            LOG.append({**body, "path": self.path, "key": self.headers.get("Authorization")})
            NOW[body["model"]] += 1
            MOST[body["model"]] = max(MOST[body["model"]], NOW[body["model"]])
        try:
            getattr(self, "model_" + body["model"].replace("-", "_"))(body, before)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with LOCK:
                NOW[body["model"]] -= 1

    def reply(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(raw)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def refuse(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        self.reply(status, {"error": {"message": why, "type": "invalid_request_error"}}, headers)

    def good(self, body: dict[str, Any]) -> None:
        self.reply(200, said(json.dumps(wanted(body))))

    def form(self, body: dict[str, Any]) -> str:
        return body.get("response_format", {}).get("type", "plain")

    # Judges that look at the pictures, each with its faults

    def model_looks(self, body: Any, before: int) -> None:
        self.reply(200, said(json.dumps(judged(body))))

    def model_looks_upwards(self, body: Any, before: int) -> None:
        self.reply(200, said(json.dumps(judged(body, prefers_upper=draw(body) < 0.8))))

    def model_looks_troubled(self, body: Any, before: int) -> None:
        """A little of everything: bias, refusals, malformed JSON, time-outs."""
        fate = draw(body)
        if fate < 0.06:
            self.reply(200, said(None, refusal="I will not."))
        elif fate < 0.14:
            self.reply(200, said('{"accuracy": 1, "aesthetics": '))
        elif fate < 0.22:
            time.sleep(30)
        else:
            self.reply(200, said(json.dumps(judged(body, prefers_upper=fate > 0.9))))

    def model_sees(self, body: Any, before: int) -> None:
        """A critic that speaks of brightness: bright is good, dark is bad."""
        text, *shown = body["messages"][-1]["content"]
        grey = [mean_grey(one["image_url"]["url"]) for one in shown]
        if "first or the second" in text["text"]:
            self.reply(200, said("The first one." if grey[0] > grey[1] else "The second one."))
        elif "excellent" in text["text"]:
            self.reply(200, said("Good." if grey[0] > 119 else "Bad."))
        else:
            self.reply(200, said(f"A picture full of {'light' if grey[0] > 119 else 'shadow'}."))

    # Critics that tell log-probabilities, or do not

    def model_likely(self, body: Any, before: int) -> None:
        text, *shown = body["messages"][-1]["content"]
        asked = "first or the second" in text["text"] or "excellent" in text["text"]
        if "logprobs" in body and asked:
            self.reply(200, likely(body, [mean_grey(one["image_url"]["url"]) for one in shown]))
        else:
            self.model_sees(body, before)

    def model_compares(self, body: Any, before: int) -> None:
        """Rows, with log-probabilities and a liking of 2 nats for the first place."""
        first = 1 / (1 + math.exp(-compared(body) - 2))
        side = " first" if first > 0.5 else " second"
        self.reply(200, said_likely(["The", side, " one."], 1, {" first": first, " second": 1 - first}, body))

    def model_compares_in_words(self, body: Any, before: int) -> None:
        if "logprobs" in body:
            self.refuse(400, "logprobs is not supported")
        else:
            self.reply(200, said("The first one." if compared(body) > 0 else "The second one."))

    def model_compares_upwards(self, body: Any, before: int) -> None:
        self.reply(200, said("The first one."))

    def model_compares_troubled(self, body: Any, before: int) -> None:
        fate = draw(body)
        if fate < 0.1:
            self.reply(200, said(None, refusal="I will not."))
        elif fate < 0.2:
            self.reply(200, said("I'm sorry, but I cannot compare the first picture."))
        elif fate < 0.3:
            self.reply(200, said("the the the the the the"))
        elif fate < 0.35:
            time.sleep(30)
        else:
            self.reply(200, said("The first one." if compared(body) > 0 else "The second one."))

    def model_likely_few(self, body: Any, before: int) -> None:
        if body.get("top_logprobs", 0) > 5:
            self.refuse(400, "Invalid value for 'top_logprobs': must be at most 5.")
        else:
            self.model_likely(body, before)

    def model_unlikely(self, body: Any, before: int) -> None:
        if "logprobs" in body:
            self.refuse(400, "Unrecognized request argument supplied: logprobs")
        else:
            self.model_sees(body, before)

    def model_unlikely_strict(self, body: Any, before: int) -> None:
        if "logprobs" in body:
            self.refuse(422, "Extra inputs are not permitted")
        else:
            self.model_sees(body, before)

    def model_unlikely_broken(self, body: Any, before: int) -> None:
        if "logprobs" in body:
            reply = said("Good.")
            reply["choices"][0]["logprobs"] = {"content": [{"token": "Good."}]}
            self.reply(200, reply)
        else:
            self.model_sees(body, before)

    # Models that behave, each in its way

    def model_good(self, body: Any, before: int) -> None:
        self.good(body)

    def model_leisurely(self, body: Any, before: int) -> None:
        time.sleep(0.15)
        self.good(body)

    def model_ignores_forms(self, body: Any, before: int) -> None:
        self.reply(200, said(f"Sure! Here you go:\n```json\n{json.dumps(wanted(body))}\n```\nAnything else?"))

    def model_thinks(self, body: Any, before: int) -> None:
        self.reply(200, said(f'<think>maybe {{"query": "a trap"}}?</think>\n{json.dumps(wanted(body))}'))

    def model_parts(self, body: Any, before: int) -> None:
        self.reply(200, said([{"type": "text", "text": json.dumps(wanted(body))}]))

    def model_json_object_only(self, body: Any, before: int) -> None:
        if self.form(body) == "json_schema":
            self.refuse(400, "response_format json_schema is not supported")
        else:
            self.good(body)

    def model_no_forms(self, body: Any, before: int) -> None:
        if self.form(body) != "plain":
            self.refuse(422, "extra fields not permitted: response_format")
        else:
            self.good(body)

    def model_breaks_on_schema(self, body: Any, before: int) -> None:
        if self.form(body) == "json_schema":
            self.reply(500, b"Internal Server Error")
        else:
            self.good(body)

    def model_new_parameters(self, body: Any, before: int) -> None:
        if "max_tokens" in body:
            self.refuse(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        elif "temperature" in body:
            self.refuse(400, "Unsupported value: 'temperature' does not support 0 with this model.")
        else:
            self.good(body)

    def model_corrects_itself(self, body: Any, before: int) -> None:
        if len(body["messages"]) > 2:
            self.good(body)
        else:
            self.reply(200, said("A harbour, then: soft light and boats."))

    # Models that fail for a while

    def model_flaky(self, body: Any, before: int) -> None:
        if before < 2:
            self.refuse(503, "loading")
        else:
            self.good(body)

    def model_busy(self, body: Any, before: int) -> None:
        if before < 1:
            self.refuse(429, "slow down", {"Retry-After": "1"})
        else:
            self.good(body)

    def model_hangs_up(self, body: Any, before: int) -> None:
        if before < 1:
            self.connection.close()
        else:
            self.good(body)

    # Models that do not work

    def model_slow(self, body: Any, before: int) -> None:
        time.sleep(30)

    def model_drips(self, body: Any, before: int) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(200):
            self.wfile.write(b" ")
            self.wfile.flush()
            time.sleep(0.1)

    def model_drips_headers(self, body: Any, before: int) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(200):
            self.wfile.write(b"a")
            self.wfile.flush()
            time.sleep(0.1)

    def model_huge(self, body: Any, before: int) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(64):
            self.wfile.write(b"x" * (1 << 20))

    def model_cut(self, body: Any, before: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10000")
        self.end_headers()
        self.wfile.write(b'{"choices": [')

    def model_html(self, body: Any, before: int) -> None:
        self.reply(200, b"<html><h1>It works!</h1></html>")

    def model_nested(self, body: Any, before: int) -> None:
        self.reply(200, said("{" * 60000 + '{"query": ' * 60000))

    def model_nested_reply(self, body: Any, before: int) -> None:
        self.reply(200, b"[" * 200_000)

    def model_silent(self, body: Any, before: int) -> None:
        self.reply(200, said(None))

    def model_babbles(self, body: Any, before: int) -> None:
        self.reply(200, said("light of light of light of light of light of"))

    def model_stubborn(self, body: Any, before: int) -> None:
        self.reply(200, said("I would rather talk about the weather."))

    def model_wrong_key(self, body: Any, before: int) -> None:
        self.refuse(401, "Incorrect API key provided")

    def model_missing(self, body: Any, before: int) -> None:
        self.refuse(404, "The model `missing` does not exist")

    def model_redirects(self, body: Any, before: int) -> None:
        self.reply(302, b"", {"Location": f"http://127.0.0.1:{self.server.server_address[1]}/stolen"})

    # Models that answer what must not be used

    def model_declines(self, body: Any, before: int) -> None:
        self.reply(200, said(json.dumps({"query": "I'm sorry, but I can't help with that request."})))

    def model_declines_by_field(self, body: Any, before: int) -> None:
        self.reply(200, said(None, refusal="I will not."))

    def model_empty(self, body: Any, before: int) -> None:
        self.reply(200, said('{"query": " \\u200b . "}'))

    def model_off_topic(self, body: Any, before: int) -> None:
        self.reply(200, said('{"query": "quarterly spreadsheet accounting software licence"}'))

    def model_endless(self, body: Any, before: int) -> None:
        self.reply(200, said(json.dumps({"query": query_of(body) + ", and so on" * 500})))

    def model_wordy(self, body: Any, before: int) -> None:
        more = ", ".join(f"shade number {place}" for place in range(40))
        self.reply(200, said(json.dumps({"query": f"{query_of(body)}, {more}"})))

    def model_malicious(self, body: Any, before: int) -> None:
        text = (
            query_of(body) + "\x1b[2J\x1b]0;owned\x07\t\n\r\u202e<script>alert(1)</script>\u2028{query} $(rm -rf ~)\x00"
        )
        answer = {"query": text, "system": "you are root", "path": "../../etc/passwd"}
        self.reply(200, said(json.dumps(answer)))

    def model_upper(self, body: Any, before: int) -> None:
        keys = ("better",) if '"better"' in body["messages"][0]["content"] else ("accuracy", "aesthetics", "diversity")
        self.reply(200, said(json.dumps(dict.fromkeys(keys, 1))))


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    sys.stdout.flush()
    server.serve_forever()
