"""What the rules for mentions of minors find, what they refuse, and how long the slowest prompt takes.

python -m benchmarks.minors

Refusals: the share of captions of COCO that the rules refuse. The file of captions is not part of the project; without
it the other figures are measured. Recall: the share of the statements in tests/text/held_out.toml that are found. Time:
the slowest of many prompts of 2,000 characters, each a unit of text repeated. The units are every sign of ASCII, signs
and words that cost a rule something, pairs of them, and random words of rules.
"""

from __future__ import annotations

import csv
import json
import random
import re
import shlex
import string
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe
from pruneguard.measurement import Measurement, Protocol, show
from pruneguard.runtime.sampling.request import MAX_PROMPT
from pruneguard.settings import plain
from pruneguard.text.languages import LANGUAGES
from pruneguard.text.minors import mention

RESULT = Path("benchmarks/results/minors.json")
CAPTIONS = Path("../shared/data/prompts/coco_10k.csv")
HELD_OUT = Path(__file__).parent.parent / "tests" / "text" / "held_out.toml"
READINGS = 7  # of each prompt that may be the slowest one; the least time counts
FINALISTS = 40
# What costs a rule, a table of letters or a normal form something.
# fmt: off
COSTLY = (
    "a ", "1 ", "8-", "a.b-", "a*b ", "9 years ", "8 to ", "10 000 ", "1,000", "1 year…", "…", "twenty and ", "un ",
    "the ", "baby ", "baby black ", "12-year-old ", "minor ", "kid goat ", "woman ", "woman , ", "she is ", "hundred ",
    "only just ", "under ", "aged of ", "not ", "de ", "ans ", "5 anni ", "años ", "jahre ", "лет ", "пять ", "в", "少",
    "十", "歳", "é", "ß", "ﷺ", "각", "⑴", "½", "१", "Ⓐ", "𝒶", "👍", "👩\u200d👦", "\u0301", "\u2800", "\U0001d800",
    "\u3000", "\u200b",
)
# fmt: on


def refusals(captions: Sequence[str]) -> tuple[Measurement, dict[str, int]]:
    """The share of captions that are refused, and how many each rule refuses."""
    rules = Counter(rule for caption in captions if (rule := mention(caption)))
    refused = sum(rules.values())
    return _share("refused/captions of COCO", refused, len(captions)), dict(rules.most_common())


def recall(held_out: Mapping[str, Mapping[str, Sequence[str]]]) -> list[Measurement]:
    """The share of mentions that is found, and of other statements that is refused, for each language."""
    found = [_of(f"found/{language}", lists["mentions"]) for language, lists in held_out.items()]
    others = [text for lists in held_out.values() for text in lists["others"]]
    return [*found, _of("refused/statements about adults and things", others)]


def slowest(units: Iterable[str]) -> list[dict[str, Any]]:
    """The units whose prompts take longest, with the least milliseconds of several readings, slowest first."""
    mention("a first reading compiles the rules")
    once = sorted(set(units), key=lambda unit: _ms(unit, 1), reverse=True)[:FINALISTS]
    found = [{"unit": unit, "ms": round(_ms(unit, READINGS), 2)} for unit in once]
    return sorted(found, key=lambda row: float(str(row["ms"])), reverse=True)


def units(rng: random.Random, drawn: int) -> Iterator[str]:
    """What is repeated: signs, costly units, pairs of them, and `drawn` groups of words and marks of the rules."""
    yield from string.printable
    yield from COSTLY
    for first in COSTLY:
        yield from (first + second for second in (*COSTLY, *"aZ0 .,-_*#@$!|(<'"))
    examples = " ".join(
        text for language in LANGUAGES for rule in language.rules for text in (*rule.hits, *rule.misses)
    )
    words = sorted(set(re.findall(r"\S+", examples)))
    for _ in range(drawn):
        yield " ".join(rng.choices(words, k=rng.randint(1, 4))) + rng.choice(("", " ", "-", ", "))


def _ms(unit: str, readings: int) -> float:
    text = (unit * MAX_PROMPT)[:MAX_PROMPT]
    times = []
    for _ in range(readings):
        began = time.thread_time()
        mention(text)
        times.append(time.thread_time() - began)
    return min(times) * 1000


def _of(name: str, texts: Sequence[str]) -> Measurement:
    return _share(name, sum(mention(text) is not None for text in texts), len(texts))


def _share(name: str, cases: int, count: int) -> Measurement:
    return Measurement(
        name=name, value=cases / count, unit="share", count=count, protocol=Protocol(subject="the rules")
    )


@click.command(help=__doc__)
@click.option(
    "--captions", type=click.Path(path_type=Path), default=CAPTIONS, show_default=True, help="CSV with a column prompt."
)
@click.option("--drawn", type=click.IntRange(min=1), default=2000, show_default=True, help="Random units of text.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=RESULT, show_default=True)
def main(captions: Path, drawn: int, out: Path) -> None:
    """Measure, write the results and show them."""
    machine = describe()  # before the work, so that the recorded load is not its own
    measurements: list[Measurement] = []
    rules: dict[str, int] = {}
    skipped = ""
    if captions.is_file():
        with captions.open(newline="") as file:
            share, rules = refusals([row["prompt"] for row in csv.DictReader(file)])
        measurements.append(share)
    else:
        skipped = f"{captions} is not there; name a file with --captions"
        click.echo(f"COCO is skipped: {skipped}", err=True)
    measurements += recall(tomllib.loads(HELD_OUT.read_text()))
    tried = list(units(random.Random(0), drawn))
    worst = slowest(tried)
    measurements.append(
        Measurement(name="slowest prompt", value=worst[0]["ms"], unit="ms", count=len(set(tried)), protocol=Protocol())
    )
    found = {
        "command": ("python -m benchmarks.minors " + shlex.join(sys.argv[1:])).strip(),
        **machine,
        "measurements": plain(measurements),
        "refused_by": rules,
        "slowest": worst[:10],
        "skipped": skipped,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n")
    table = Table("measured", "value", "of")
    for entry in measurements:
        table.add_row(entry.name, show(entry), str(entry.count))
    Console().print(table)
    click.echo(str(out))


if __name__ == "__main__":
    main()
