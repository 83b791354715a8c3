#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cron's next times as croniter has them: thousands of random expressions and times, to millrace (crons.c) and to croniter, with the rule for the two kinds
of day that Vixie's has (a field that begins with a star is no restriction).

usage: cron.py CRONS [SEED]       exit 77 (skipped) if there is no Python with croniter
"""
import datetime
import os
import random
import subprocess
import sys

BUILD = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "build"))
CASES, TIMES = 3000, 4
MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
DAYS = "SUN MON TUE WED THU FRI SAT".split()
FIELDS = [(0, 59, None), (0, 23, None), (1, 31, None), (1, 12, MONTHS), (0, 7, DAYS)]
WORDS = ["@hourly", "@daily", "@weekly", "@monthly", "@yearly", "@midnight", "@annually"]
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
FIRST, LAST = datetime.datetime(1971, 1, 1, tzinfo=datetime.timezone.utc), datetime.datetime(2150, 1, 1, tzinfo=datetime.timezone.utc)
YEARS = 60  # how far croniter looks


def ensure():
    """Under a Python that has croniter, or not at all."""
    try:
        import croniter  # noqa: F401
        return
    except ImportError:
        pass
    python = os.path.join(BUILD, "venv", "bin", "python")
    if os.path.exists(python) and not os.environ.get("MILLRACE_CRON_PYTHON"):
        os.environ["MILLRACE_CRON_PYTHON"] = python  # once
        sys.stdout.flush()
        os.execv(python, [python, *sys.orig_argv[1:]])
    print("skipped: no Python with croniter: deps/install-debian.sh test installs it")
    sys.exit(77)


def spelt(rng, value, field):
    low, _, names = FIELDS[field]
    if names and rng.random() < 0.4:
        name = names[(value - low) % len(names)]
        return rng.choice([name, name.lower(), name.capitalize()])
    return f"{value:02}" if rng.random() < 0.05 else str(value)


def item(rng, field):
    low, high, _ = FIELDS[field]
    most = 6 if field == 4 else high - low
    kind = rng.random()
    if kind < 0.1:
        return f"*/{rng.randint(1, most)}"
    if kind < 0.5:
        return spelt(rng, rng.randint(low, high), field)
    while True:     # a range of one value is the whole field to croniter, and so is 0-7
        a, b = sorted((rng.randint(low, high), rng.randint(low, high)))
        if a != b and not (field == 4 and b - a == 7):
            break
    text = f"{spelt(rng, a, field)}-{spelt(rng, b, field)}"
    return f"{text}/{rng.randint(1, most)}" if rng.random() < 0.4 else text


def expression(rng):
    if rng.random() < 0.02:
        return rng.choice(WORDS)
    if rng.random() < 0.02:     # seldom, or never
        days, months = rng.choice([("29", "2"), ("29-31", "FEB"), ("30", "feb"), ("31", "2,4,6"), ("30,31", "2"), ("31", "NOV,SEP")])
        return f"{rng.randint(0, 59)} {rng.randint(0, 23)} {days} {months} {rng.choice(['*', '*/2', '*/6'])}"
    dense = rng.random() < 0.2
    fields = []
    for field in range(5):
        if rng.random() < (0.7 if dense else 0.35):
            fields.append("*")
        else:
            fields.append(",".join(item(rng, field) for _ in range(rng.choice([1, 1, 1, 2, 3]))))
    return rng.choice([" ", " ", "  ", "\t"]).join(fields)


def differs(text):
    """croniter takes a kind of day that is spelt out whole (1-7) for a star, Vixie's cron does not."""
    import croniter
    fields, read = text.split(), croniter.croniter.expand(text)[0]
    return len(fields) == 5 and any(read[i] == ["*"] and fields[i][0] != "*" for i in (2, 4))


def moment(rng):
    at = rng.randint(int((FIRST - EPOCH).total_seconds()), int((LAST - EPOCH).total_seconds()))
    kind = rng.random()
    if kind < 0.2:
        at -= at % 60                   # on the minute: itself is no answer
    elif kind < 0.3:
        at -= at % 86400
    elif kind < 0.4:
        at -= at % 86400 + 1
    return at * 1000000 + (rng.randint(0, 999999) if rng.random() < 0.3 else 0)


def judge(text, after_us):
    """croniter's answers in microseconds. None: no such time, as far as it looks."""
    import croniter
    start = EPOCH + datetime.timedelta(seconds=after_us // 1000000)
    times = croniter.croniter(text, start, ret_type=datetime.datetime, max_years_between_matches=YEARS, implement_cron_bug=True)
    out = []
    for _ in range(TIMES):
        try:
            out.append(round((times.get_next() - EPOCH).total_seconds()) * 1000000)
        except croniter.CroniterBadDateError:
            return out + [None]
    return out


def same(ours, theirs, after_us):
    """What lies farther ahead than croniter looks, it calls none."""
    for mine, other in zip(ours, theirs):
        if other is None:
            return mine == "never" or int(mine) - after_us > (YEARS - 1) * 365 * 86400 * 1000000
        if mine != str(other):
            return False
        after_us = other
    return len(ours) == len(theirs)


def main():
    ensure()
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)
    rng = random.Random(seed)
    cases = []
    while len(cases) < CASES:
        text = expression(rng)
        if not differs(text):
            cases.append((moment(rng), text))
    done = subprocess.run([sys.argv[1]], input="".join(f"{at}\t{text}\n" for at, text in cases), capture_output=True, text=True, check=True)
    answers, wrong, none, both = done.stdout.splitlines(), [], 0, 0
    assert len(answers) == len(cases), "an answer is missing"
    for (at, text), answer in zip(cases, answers):
        theirs = judge(text, at)
        none += theirs[-1] is None
        fields = text.split()
        both += len(fields) == 5 and fields[2][0] != "*" and fields[4][0] != "*"
        if not same(answer.split(), theirs, at):
            wrong.append(f"{text!r} after {at}: millrace {answer!r}, croniter {theirs}")
    print(f"seed {seed}: {len(cases)} expressions, {TIMES} times of each; {both} with both kinds of day, {none} with an end")
    if wrong:
        print("\n".join(wrong[:20]))
    sys.exit(1 if wrong or not both or not none else 0)


if __name__ == "__main__":
    main()
