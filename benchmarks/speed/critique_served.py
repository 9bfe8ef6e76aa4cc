"""`bench speed critique` of a critic behind a server: what comes back over the network, by how many ask at once.

A server's forward pass cannot be seen from here, so there is no bound beside it. Every question begins with words of
its own: a server that keeps what it has read must read each picture anew.
"""

import statistics
import time
from collections.abc import Sequence

from benchmarks.runs import Number
from indexes.errors import ConditionFailed
from retrieval.language.asking import AskSettings, open_chat
from retrieval.language.chat_exchange import Answer, Failure, Question


def served_numbers(
    named: str,
    question: str,
    contents: Sequence[bytes],
    sizes: Sequence[int],
    tokens: int,
    repeats: int,
    timeout_s: float,
) -> tuple[dict[str, Number], list[str]]:
    """Numbers by batch, and notes. named: `MODEL[@URL]`. Raises ConditionFailed where a repeat has no answer at all."""
    numbers: dict[str, Number] = {}
    failed = 0
    notes = ["Over the network, as many requests at once as the batch; an answer ends where the model ends it."]
    for size in sizes:
        settings = AskSettings(concurrency=size, timeout_s=timeout_s, max_answer_tokens=tokens, retries=0, cache=None)
        client = open_chat(named, settings)
        rates: list[float] = []
        said: list[float] = []
        for repeat in range(repeats + 1):
            asked = [
                Question("", f"Batch of {size}, {repeat}, {place}. {question}", (contents[place % len(contents)],))
                for place in range(size)
            ]
            started = time.perf_counter()
            found = client.ask_many(asked)
            seconds = time.perf_counter() - started
            answers = [one for one in found if isinstance(one, Answer) and one.text]
            if not answers:
                reason = next((one.reason for one in found if isinstance(one, Failure)), "empty answers")
                raise ConditionFailed(f"the critic answers nothing ({reason})", "a server that answers", "Check it.")
            if repeat:  # the first turn warms up, and learns how the server wants to be asked
                failed += len(found) - len(answers)
                rates.append(len(answers) / seconds)
                said.append(sum(one.said for one in answers) / seconds)
        if all(said):
            numbers[f"batch {size}: tokens/s"] = Number.of_repeats(said, "tokens/s")
        else:
            notes.append("The server does not count the tokens of its answers.")
        numbers[f"batch {size}: pictures/s"] = Number.of_repeats(rates, "pictures/s")
        numbers[f"batch {size}: answer after"] = Number(size / statistics.median(rates), "s", n=repeats)
    if failed:
        notes.append(f"{failed:,} questions had no answer; they count in the time and not in the rates.")
    return numbers, list(dict.fromkeys(notes))
