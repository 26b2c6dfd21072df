"""The measured turns as Markdown, with each row's goal."""
import statistics

from schedule import lower_is_better
from served import MEMORY, START

GOALS = {"best": {"decode 1": 1.6, "decode 4": 4, "decode 16": 5, "prefill 512": 4, "decode 1 at 4096": 1.5, "HTTP 16 clients": 5, START: 2},
         "avx2": {"decode 1": 1.4, "decode 4": 2, "decode 16": 2.2, "prefill 512": 2, "decode 1 at 4096": 1.2, "HTTP 16 clients": 2.5, START: 2}}
VLLM_GOALS = {"prefill 512": 1.6}
ROOF_GOALS = {"best": {"decode 1": 0.85, "prefill 512": 0.5}, "avx2": {}}
MEMORY_GOAL = 150  # MiB over the file


def figure_text(row, value):
    return f"{value:.2f} s" if row == START else f"{value:.1f} MiB" if row == MEMORY else f"{value:.1f}"


def ratios(turns, row, ours, theirs):
    """Returns altlas over the rival for each turn that has both, or the inverse if less is better."""
    both = [(turn[ours][row], turn[theirs][row]) for turn in turns if row in turn.get(ours, {}) and row in turn.get(theirs, {})]
    return [b / a if lower_is_better(row) else a / b for a, b in both]


def ratio_text(values):
    if not values:
        return ""
    return f"{statistics.median(values):.2f} ({min(values):.2f}..{max(values):.2f})"


class Table:
    """The table of one model and column. `engines` are altlas, then the builds of llama.cpp, then vLLM if it runs."""

    def __init__(self, title, column, engines, parts):
        self.title, self.column, self.altlas, self.engines = title, column, engines[0], engines
        self.parts = parts
        self.rivals = [engine for engine in engines if engine.name in ("llama.cpp", "xllamacpp")]
        self.vllm = next((engine for engine in engines if engine.name == "vLLM"), None)
        self.short = []  # The goals that were missed, as text.

    def lines(self):
        head = ["work", *(engine.name for engine in self.engines), "to the better llama.cpp", *(["to vLLM"] if self.vllm else []), "goal",
                "of the roof", "pairs"]
        rows = [self.row(part, row) for part in self.parts for row in part.medians(self.altlas.key)]
        return [f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows]]

    def rival(self, part, row):
        """Returns the better of the wheel and llama.cpp, by medians."""
        known = [(part.medians(engine.key)[row], engine.key) for engine in self.rivals if row in part.medians(engine.key)]
        return (min if lower_is_better(row) else max)(known, default=(0, ""))[1]

    def row(self, part, row):
        medians = [part.medians(engine.key).get(row) for engine in self.engines]
        pairs = ratios(part.turns, row, self.altlas.key, self.rival(part, row))
        goals, cells = [], [row, *("" if value is None else figure_text(row, value) for value in medians)]
        if row == MEMORY:
            goals.append(f"at most {MEMORY_GOAL} MiB")
            self.check(row, medians[0] <= MEMORY_GOAL, f"{medians[0]:.0f} MiB, goal {MEMORY_GOAL}")
            cells += [""] * (2 if self.vllm else 1)
        else:
            goals += self.goal(row, pairs, GOALS[self.column], "")
            cells.append(ratio_text(pairs))
            if self.vllm:
                to_vllm = ratios(part.turns, row, self.altlas.key, self.vllm.key)
                goals += self.goal(row, to_vllm, VLLM_GOALS, " to vLLM")
                cells.append(ratio_text(to_vllm))
        roof, roof_text = self.roof(row)
        return [*cells, "; ".join(goals + roof), roof_text, str(len(pairs))]

    def goal(self, row, values, goals, what):
        if row not in goals or not values:
            return []
        self.check(row, statistics.median(values) >= goals[row], f"{statistics.median(values):.2f}{what}, goal {goals[row]:g}")
        return [f"{goals[row]:g}{what}"]

    def roof(self, row):
        shares = self.altlas.shares.get(row)
        if not shares:
            return [], ""
        share, bound = statistics.median(share for share, _ in shares), shares[0][1]
        wanted = ROOF_GOALS[self.column].get(row)
        if wanted:
            self.check(row, share >= wanted, f"{100 * share:.0f} % of {bound}, goal {100 * wanted:.0f} %")
        return [f"{100 * wanted:.0f} % of {bound}"] if wanted else [], f"{100 * share:.0f} % of {bound}"

    def check(self, row, holds, text):
        if not holds:
            self.short.append(f"{row} {text}")

    def text(self):
        table = self.lines()
        roofs = self.altlas.roofs
        notes = [f"Roofs, the best of the same runs: read {roofs['read_bytes_per_s'] / 1e9:.1f} GB/s, int8 {roofs['int8_macs_per_s'] / 1e9:.0f} "
                 f"GMAC/s, float {roofs['float_macs_per_s'] / 1e9:.0f} GMAC/s."]
        notes += [f"Short of the goals: {'; '.join(self.short)}." if self.short else "Every goal of these rows is reached."]
        notes += [f"altlas's start: `{self.altlas.start_line}`."] if self.altlas.start_line else []
        notes += [engine.about() + "." for engine in self.engines[1:] if any(part.medians(engine.key) for part in self.parts)]
        failed = {key: message for part in self.parts for key, message in part.failed.items()}
        notes += [f"{key} left out of rows: {message.splitlines()[-1]}" for key, message in failed.items()
                  if key in [engine.key for engine in self.engines]]
        return "\n".join([f"### {self.title}", "", *table, "", *(f"- {note}" for note in notes), ""])


def marks(name="compare"):
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def write_between_marks(path, text, name="compare"):
    begin, end = marks(name)
    before, rest = path.read_text().split(begin, 1)
    path.write_text(before + begin + "\n" + text + "\n" + end + rest.split(end, 1)[1])
