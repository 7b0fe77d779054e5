"""Prints what became of the facts, a column for each gateway."""

import os
import shutil
import textwrap

MARKS = {"holds": ("holds", "32"), "fails": ("fails", "31"), "unchecked": ("-", "2")}


def short(fact):
    """Why it does not hold, on one line."""
    return textwrap.shorten(fact["why"], 300, placeholder="…")


class Table:
    def __init__(self, results, versions, output):
        self.results = results
        self.output = output
        self.is_terminal = output.isatty()
        self.heads = [f"{name} {versions[name]}" if name in versions else name for name in results]

    def print(self, why):
        say = lambda text: print(text, file=self.output)
        columns = shutil.get_terminal_size((160, 0)).columns
        widths = [max(len(head), len("fails")) for head in self.heads]
        say("  ".join(["fact  grade ", *(head.ljust(width) for head, width in zip(self.heads, widths)), "what"]))
        room = columns - 12 - sum(widths) - 2 * len(widths) - 3
        for facts in zip(*self.results.values(), strict=True):
            first = facts[0]
            cells = [self.mark(fact["outcome"], width) for fact, width in zip(facts, widths)]
            text = first["text"] if not self.is_terminal or len(first["text"]) <= room else f"{first['text'][:room - 1]}…"
            say("  ".join([f"{first['id']:<5} {first['grade']:<6}", *cells, text]))
            if why:
                self.explain(facts, say)
        self.count(say)

    def explain(self, facts, say):
        for name, fact in zip(self.results, facts):
            if fact["outcome"] == "fails":
                say(f"             {name}: {short(fact)}")

    def count(self, say):
        say("")
        for head, facts in zip(self.heads, self.results.values()):
            count = lambda outcome: sum(fact["outcome"] == outcome for fact in facts)
            say(f"{head}: {count('holds')} hold, {count('fails')} fail, {count('unchecked')} are not checked")

    def mark(self, outcome, width):
        text, colour = MARKS[outcome]
        padded = text.ljust(width)
        return f"\033[{colour}m{padded}\033[0m" if self.is_terminal and "NO_COLOR" not in os.environ else padded
