"""Which row is measured when: every row gets its pairs, and the rest of the time is shared evenly.

A part is one row of one model (or all rows that one life of a server gives). A turn of a part measures each of its engines
once, one right after the other: a pair of altlas with each rival. All parts get their first turn, then all their second. While
minutes are left, the part with the fewest turns that still fits then gets another one.
"""
import dataclasses
import statistics
import sys
import time

from engines import Failed

BEHIND = 0.8  # A rival this far behind another rival of the row is measured only twice.
SETTLE = 0.3  # Seconds of rest before a run: the threads of the last run have stopped spinning by then.
GUESS = {"server": 30.0, "context": 20.0, "decode": 5.0, "prefill": 5.0}  # Seconds of an engine's turn, until one was measured.


def lower_is_better(row):
    return row.startswith(("start", "memory"))


@dataclasses.dataclass
class Part:
    name: str
    kind: str  # prefill, decode, context or server
    engines: list
    measure: object  # engine -> {row: figure}
    turns: list = dataclasses.field(default_factory=list)  # [{engine key: {row: figure}}]
    seconds: dict = dataclasses.field(default_factory=dict)  # engine key -> seconds of its last run
    failed: dict = dataclasses.field(default_factory=dict)  # engine key -> message

    def wanted(self):
        """Returns the engines of the next turn."""
        kept = [engine for engine in self.engines if engine.key not in self.failed]
        return [engine for engine in kept if len(self.turns) < 2 or not self._behind(engine)]

    def _behind(self, engine):
        if engine.name == "altlas":
            return False
        mine = self.medians(engine.key)
        others = [self.medians(other.key) for other in self.engines if other.name not in ("altlas", engine.name)]
        return bool(mine) and all(any(row in theirs and beaten(figure, theirs[row], row) for theirs in others) for row, figure in mine.items())

    def medians(self, key):
        figures = [turn[key] for turn in self.turns if key in turn]
        return {row: statistics.median(figure[row] for figure in figures) for row in figures[0]} if figures else {}


def beaten(mine, theirs, row):
    return theirs < mine * BEHIND if lower_is_better(row) else mine < theirs * BEHIND


class Schedule:
    def __init__(self, parts, minutes, least=2, most=9, clock=time.monotonic, rest=time.sleep, stream=sys.stderr):
        self.parts, self.seconds, self.least, self.most = parts, minutes * 60, least, most
        self.clock, self.rest, self.stream = clock, rest, stream
        self.began, self.spent, self.guessed, self.shown = clock(), 0.0, 0.0, ""

    def run(self):
        for turn in range(self.least):
            if turn and self.elapsed() + self.owed() > self.seconds:
                self.say(f"{self.least} turns of every row need about {(self.elapsed() + self.owed()) / 60:.0f} minutes, more than "
                         f"--minutes; they are made all the same")
            for part in self.parts:
                self.take(part)
        while part := self.next():
            self.take(part)
        self.show("done", 1.0, 0)
        self.stream.write("\n" * self.stream.isatty())

    def next(self):
        left = self.seconds - self.elapsed()
        fitting = [part for part in self.parts if len(part.turns) < self.most and self.cost(part) <= left]
        return min(fitting, key=lambda part: len(part.turns), default=None)

    def take(self, part):
        figures = {}
        for engine in part.wanted():
            owed = max(self.owed() - sum(self.price(part, done) for done in part.engines if done.key in figures),
                       self.seconds - self.elapsed())
            self.show(f"{part.name}: turn {len(part.turns) + 1}, {engine.key}", self.elapsed() / (self.elapsed() + owed), owed)
            self.rest(SETTLE)
            began = self.clock()
            try:
                figures[engine.key] = part.measure(engine)
            except Failed as error:
                if engine.name == "altlas":
                    raise
                part.failed[engine.key] = str(error)
                self.say(f"{part.name}: {engine.key} is left out: {error}")
            part.seconds[engine.key] = self.clock() - began
            self.spent += part.seconds[engine.key]
            self.guessed += GUESS[part.kind]
        part.turns.append(figures)

    def elapsed(self):
        return self.clock() - self.began

    def price(self, part, engine):
        """Returns the seconds that the engine's next run is expected to take."""
        known = self.spent / self.guessed if self.guessed else 1.0
        return SETTLE + part.seconds.get(engine.key, GUESS[part.kind] * known)

    def cost(self, part):
        return sum(self.price(part, engine) for engine in part.wanted())

    def owed(self):
        """Returns the seconds until every part has had its least number of turns."""
        return sum(self.cost(part) * max(0, self.least - len(part.turns)) for part in self.parts)

    def show(self, text, share, left):
        bar = "#" * round(24 * share)
        line = f"[{bar:<24}] {100 * share:3.0f} %, {int(left) // 60}:{int(left) % 60:02d} left, {text}"
        if self.stream.isatty():
            self.stream.write("\r" + line.ljust(len(self.shown)))
        else:
            self.stream.write(line + "\n")
        self.stream.flush()
        self.shown = line

    def say(self, text):
        self.stream.write(("\n" if self.stream.isatty() else "") + text + "\n")
        self.stream.flush()
