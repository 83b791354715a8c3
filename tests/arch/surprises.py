#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/surprises.md against the code: each row names a test that exists, alerts and metrics that exist; each alert has a row.

A test is written `path:function` below tests/, or `path` alone where the file is one story.

usage: surprises.py ROOT
"""
import os
import re
import sys

TEST = re.compile(r"`((?:e2e|surprises|campaign|unit|fuzz|doors|arch)/[\w./-]+?)(?::(\w+))?`")
METRIC = re.compile(r"`(millrace_\w+)(?:\{[^`]*\})?`")
WORD = re.compile(r"`([a-z]+_[a-z_]+)`")
COLUMNS = 5


def read(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        return f.read()


def table(header, macro):
    """The names in an X-macro's rows: X(MR_A_…, "name", …)."""
    return set(re.findall(r'\bX\(' + macro + r'\w+,\s*"(\w+)"', header))


def rows(page):
    for number, line in enumerate(page.split("\n"), 1):
        if line.startswith("| ") and not line.startswith(("| what happens", "| ---")):
            yield number, [cell.strip() for cell in line.strip("|").split(" | ")]


def check_test(root, path, function):
    full = os.path.join(root, "tests", path)
    if not os.path.isfile(full):
        return f"there is no tests/{path}"
    with open(full, encoding="utf-8") as f:
        if function and not re.search(r"\b(def |static void |void )" + function + r"\(", f.read()):
            return f"tests/{path} has no {function}"
    return None


def faults(root):
    page = read(root, "docs/surprises.md")
    alerts = table(read(root, "include/millrace/alert.h"), "MR_A_")
    metrics = table(read(root, "include/millrace/metrics.h"), "MR_M_")
    found, count, told = [], 0, set()
    if not alerts or not metrics:
        found.append("the tables of alerts and metrics cannot be read")
    for number, cells in rows(page):
        count += 1
        at = f"docs/surprises.md:{number}: "
        if len(cells) != COLUMNS:
            found.append(f"{at}{len(cells)} columns, not {COLUMNS}")
            continue
        tests = TEST.findall(cells[4])
        if not tests:
            found.append(at + "names no test")
        found += [at + why for why in (check_test(root, *test) for test in tests) if why]
        found += [f"{at}there is no metric {m}" for m in METRIC.findall(cells[2]) if m not in metrics]
        words = set(WORD.findall(cells[2])) - set(METRIC.findall(cells[2]))
        found += [f"{at}there is no alert {w}" for w in sorted(words - alerts)]
        told |= words & alerts
    found += [f"docs/surprises.md: no row tells of the alert {a}" for a in sorted(alerts - told)]
    return found, count


def main():
    found, count = faults(sys.argv[1])
    print("\n".join(found) if found else f"{count} surprises have their test, alert and metric")
    sys.exit(1 if found or not count else 0)


if __name__ == "__main__":
    main()
