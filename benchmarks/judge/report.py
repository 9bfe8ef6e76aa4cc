"""The report of `bench judge`: verdicts -> named numbers, sentences, and a first line that says what they are worth."""

from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.measures.stats import bootstrap_mean
from benchmarks.runs import Number
from retrieval.critic.opinions import told
from retrieval.language.judge import ASPECTS, Verdict
from retrieval.search.config import SearchConfig

from . import rates as judge_rates
from .controls import BLANKS, OTHER, SAME, Outcome, losing_outcome, same_outcome
from .judges import kinship
from .loaded import LoadedJudge
from .rows import System

ROWS = "systems"
SIMILAR = Verdict(dict.fromkeys(ASPECTS, 0), dict.fromkeys(ASPECTS, (0, 0)))  # of two rows of the very same pictures


class Report:
    """Verdicts by what they are of (ROWS, the controls, people's items; None where a picture cannot be read), on their
    way into the run."""

    def __init__(
        self,
        judge: LoadedJudge,
        systems: Sequence[System],
        verdicts: Mapping[str, Sequence[Verdict | None]],
        seed: int,
    ) -> None:
        self.judge, self.systems, self.seed = judge, systems, seed
        self.verdicts = {name: [one for one in many if one is not None] for name, many in verdicts.items()}
        self.numbers: dict[str, Number] = {}
        self.notes: list[str] = []
        self.counts: dict[str, dict[str, int]] = {}
        self.failed: list[str] = []
        self.unfit: list[str] = []
        self.untried = False  # whether a control says that it could not be tried in full

    def left_out(self, *said: tuple[int, str]) -> None:
        """What was not judged, and why."""
        self.notes += [f"{count:,} {text}." for count, text in said if count]

    def rates(self, verdicts: Sequence[Verdict], same: int) -> None:
        """Counts and rates of A against B by aspect, order consistency, first-position rate, failures of calls."""
        seed, numbers = self.seed, self.numbers
        for aspect in ASPECTS:
            choices = [verdict.choices[aspect] for verdict in verdicts]
            tally = judge_rates.Tally.of(choices)
            self.counts[aspect] = dict(vars(tally))
            self.notes.append(
                f"{aspect}: A wins {tally.wins:,}, similar {tally.similar:,}, B wins {tally.losses:,}, "
                f"not read {tally.unread:,}."
            )
            if not tally.n:
                continue
            for text, values, chance in (
                ("A wins", judge_rates.wins(choices), None),
                ("A wins or similar", judge_rates.wins_and_similar(choices), None),
                ("half-credit of A", judge_rates.half_credits(choices), 0.5),
            ):
                numbers[f"{aspect}: {text}"] = Number.of(bootstrap_mean(values, seed=seed), chance)
            if tally.decided is not None:
                numbers[f"{aspect}: A wins of those decided"] = Number(
                    tally.decided, n=tally.wins + tally.losses, chance=0.5
                )
            calls = [verdict.first[aspect] for verdict in verdicts if verdict is not SIMILAR]
            steady, (first, _) = judge_rates.consistent(calls), judge_rates.first_position(calls)
            if self.judge.calls and len(steady):
                numbers[f"{aspect}: order consistency"] = Number.of(bootstrap_mean(steady, seed=seed))
            if self.judge.calls and len(first):
                numbers[f"{aspect}: first row preferred"] = Number.of(bootstrap_mean(first, seed=seed), 0.5)
        if same:
            text = f"{same:,} queries give both systems the very same row: similar, and not asked."
            self.notes.append(text)
        self._failures()

    def controls(self, placed: bool) -> None:
        """Numbers of the controls; what fails is kept for the first line. placed: rows are seen together."""
        outcomes: list[Outcome] = [losing_outcome(one, self.verdicts[one], self.seed) for one in (BLANKS, OTHER)]
        if self.judge.calls:
            outcomes.append(same_outcome(self.verdicts[SAME], placed, self.seed))
        for outcome in outcomes:
            self.numbers |= outcome.numbers
            self.failed += outcome.failed
            self.unfit += outcome.unfit
            self.notes += outcome.notes
            self.untried = self.untried or bool(outcome.notes)

    def headline(self, controlled: bool) -> str:
        """Whether the judge can be believed, in one line."""
        said = []
        if self.unfit:
            said.append(f"UNFIT JUDGE: {'; '.join(self.unfit)}.")
        if self.failed:
            said.append(f"CONTROLS FAIL: {'; '.join(self.failed)}.")
        if not self.judge.calls:
            said.append("PLUMBING CHECK, NOT EVIDENCE: no model judged; scorers and text relevance did.")
        if not controlled:
            said.append("CONTROLS WERE NOT RUN: nothing is known of this judge.")
        if not said and self.untried:
            said.append("Controls hold as far as they could be tried; what could not is said below.")
        return " ".join(said) or "Controls hold: blanks and another query's rows lose, places decide little."

    def _failures(self) -> None:
        """How many calls gave no answer that can be used, and why; over rows, controls and votes alike."""
        asked = [one for many in self.verdicts.values() for one in many if one is not SIMILAR]
        calls = self.judge.calls * len(asked)
        problems = [problem for one in asked for problem in one.problems]
        if calls:
            self.numbers["calls without a usable answer"] = Number(len(problems) / calls, n=calls)
        means = told(name for one in asked for name in one.means)
        if means:
            self.notes.append(f"Preferences were read {means}, over rows, controls and votes alike.")
        kinds = Counter(problem.partition(":")[0] for problem in problems)
        if kinds:
            counted = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
            self.notes.append(f"Calls without a usable answer: {counted}. They count for nothing.")

    def sides(self) -> str:
        """Both systems in words."""
        return " ".join(f"{system.label}: {_words(system)}." for system in self.systems)

    def warnings(self, judge: str) -> list[str]:
        """Where the judge has a taste in common with what it judges. judge: its spec."""
        found = kinship(judge, {one.label: (one.config.rewrite, one.config.rerank) for one in self.systems})
        for system in self.systems:
            ranked = {name for name, weight in system.config.beauty if weight}
            ranked |= {spec.partition("@")[2] for spec in system.config.rerank if spec.startswith("rank-mix")}
            default = next((one.name for one in system.searcher.index.scorers if one.default), "")
            shared = sorted({name or default for name in ranked} & set(self.judge.scorers))
            if shared:
                text = f"Warning: system {system.label} ranks by {' and '.join(shared)}, which this judge scores with."
                found.append(text)
        return found


def _words(system: System) -> str:
    """A system in a few words: index, encoder, and the settings that are not the default's."""
    described = system.described()
    default = SearchConfig().to_dict()
    other = {name: value for name, value in described["search"].items() if value != default[name]}
    settings = "".join(f", {name} {value}" for name, value in other.items()) or ", plain search"
    return f"{described['index']} ({described['encoder']}){settings}"
