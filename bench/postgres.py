#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The pull door's bench: a whole table into files, beside its peers and its bounds, in one table from one run; then what only a door does: memory, empty pulls, many
tables, commit to landed.

A PostgreSQL is started for the run and filled; in every round each reader has its turn over the same table, from the server's cache, and each row that it has is
counted. bench/README.md tells what the rows mean and what must be installed.
Exit status: 0 fine; 1 a run failed or a row is missing; 2 usage, or a peer that is not there."""
import argparse
import fnmatch
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/lib"))  # before this folder: this file has the name of the library's
import case  # noqa: E402
from lib import pgparts, pgserver, pullers, table, tools  # noqa: E402

ROWS, QUICK, SMALLER = 2_000_000, 20, 4           # rows; with --quick so many times fewer; a second table, so many times smaller
PARTS = ("memory", "empty", "many", "latency")
LOAD = "orders"
FAULTS = (RuntimeError, AssertionError, subprocess.SubprocessError, OSError, ValueError)


def options():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--millrace", default=str(HERE.parent / "build/release/millrace"), help="the built binary")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--rows", type=int, default=ROWS, help=f"of the large table; the small one has {SMALLER} times fewer")
    p.add_argument("--only", help="some of the readers and parts, patterns too: millrace*,lines,zstd,psql-*,dlt-*,tap,memory,empty,many,latency")
    p.add_argument("--quick", action="store_true", help=f"one round of {QUICK} times fewer rows: does it all run?")
    p.add_argument("--seconds", type=int, help="of each part that measures for a while (empty pulls, idle tables, commit to landed)")
    p.add_argument("--memory", help="millrace's limits.memory (its default)")
    p.add_argument("--dir", help="folder on the disk to be measured (a temporary one under build/); the server's is in $TMPDIR")
    p.add_argument("--keep", action="store_true", help="leave the folder with configs and logs behind")
    p.add_argument("--json", help="write all cells to this file")
    args = p.parse_args()
    if args.rounds < 1 or args.rows < SMALLER or (args.seconds is not None and args.seconds < 2):
        p.error(f"--rounds: at least 1, --rows: at least {SMALLER}, --seconds: at least 2")
    if args.quick:
        args.rounds, args.rows = 1, max(SMALLER, args.rows // QUICK)
    args.seconds = args.seconds or (5 if args.quick else 30)
    return p, args


def chosen(parser, args, programs):
    """(readers, parts), or the end."""
    everyone = pullers.all_pullers(programs, args.millrace, args.memory)
    names = [r.name for r in everyone] + list(PARTS)
    patterns = args.only.split(",") if args.only else ["*"]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            parser.error(f"--only: nothing is called {pattern}; there are {', '.join(names)}")
    wanted = {name for pattern in patterns for name in fnmatch.filter(names, pattern)}
    readers, parts, absent = [r for r in everyone if r.name in wanted], [p for p in PARTS if p in wanted], []
    for reader in readers:
        if reader.missing():
            what = f"postgres.py: {reader.name}: not here: {reader.missing()}"
            print(what + ("; see bench/README.md" if reader.expected else "; left out"), file=sys.stderr)
            if reader.expected:
                sys.exit(2)
            absent.append(reader)
    if (parts or any(isinstance(r, pullers.Millrace) for r in readers)) and not knows_the_door(args.millrace):
        print(f"postgres.py: {args.millrace} has no door postgres; build it, or give --millrace", file=sys.stderr)
        sys.exit(2)
    return [r for r in readers if r not in absent], parts


def knows_the_door(binary):
    try:
        return "sources.<name>.postgres" in subprocess.run([binary, "config", "docs"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return False


class Bench:
    def __init__(self, args, warm, readers, folder, server):
        self.args, self.warm, self.readers, self.folder, self.server = args, warm, readers, folder, server
        self.results, self.parts, self.wrong, self.tables = table.Results(), {}, [], {}

    def table_of(self, name, count):
        """Filled when first asked for."""
        if name not in self.tables:
            made = self.tables[name] = pgserver.Orders(self.server, name, count)
            print(f"{name}: {count:,} rows, {made.heap_mb:,.0f} MB of heap, in {made.filled_s:.0f} s", file=sys.stderr, flush=True)
        return self.tables[name]

    @property
    def large(self):
        return self.table_of("orders", self.args.rows)

    @property
    def small(self):
        return self.table_of("orders_small", self.args.rows // SMALLER)

    def cell(self, number, reader, source):
        folder = self.folder / f"{reader.name}-{number}"
        cell = reader.run(source, folder)
        if cell["wrong"]:
            self.wrong.append(f"{reader.name}: {cell['wrong']}; its log: {reader.log}")
            print(f"postgres.py: WRONG: {self.wrong[-1]}", file=sys.stderr, flush=True)
        elif not self.args.keep:
            shutil.rmtree(folder)
        return cell

    def rounds(self):
        for number in range(1, self.args.rounds + 1):
            turn = number % len(self.readers)     # nobody is always first
            there = [r for r in self.readers[turn:] + self.readers[:turn] if number == 1 or not r.slow]
            if any(not r.slow for r in there):
                self.cell(f"{number}-warm", self.warm, self.large)  # all of it in the server's cache
            for reader in there:
                cell = self.results.cells[number, LOAD, reader.name] = self.cell(number, reader, self.small if reader.slow else self.large)
                print(f"  round {number} {reader.name}: {cell['rate']:,.0f}/s in {cell['seconds']:.2f} s, {cell['cpu_us']:.2f} us/row, {cell['peak_mb']:.0f} MB, "
                      f"server {cell['server_us']:.2f} us/row, others {cell['others_cpus']:.2f} CPUs", file=sys.stderr, flush=True)

    def part(self, name):
        where = (self.args.millrace, self.folder, self.server)
        if name == "memory":
            self.parts[name] = pgparts.memory(*where, (self.small, self.large))
        elif name == "empty":
            self.parts[name] = [pgparts.empty(*where, self.large, method, self.args.seconds) for method in ("exact", "auto")]
        else:
            self.parts[name] = getattr(pgparts, name)(*where, self.args.seconds)


# -- the tables ------------------------------------------------------------------------------------------------------------

HEAD = ("reader", "rows", "rows/s", "of the lines bound", "of the zstd bound", "CPU us/row", "server's CPU us/row", "peak RSS MB", "output MB", "on what when done", "counted")


def rows(r, readers):
    out = []
    for reader in readers:
        cells = r.each(LOAD, lambda c: c, reader.name)
        if not cells:
            continue

        def figure(key, form="{:,.2f}", name=reader.name):
            return table.number(r.median(LOAD, lambda c: c[key], name), form)
        counted = "WRONG" if any(c["wrong"] for c in cells) else "each once"
        if counted != "WRONG" and reader.kept == "nothing":
            counted = "told"
        out.append([reader.label, f"{cells[0]['rows']:,}", figure("rate", "{:,.0f}"), table.number(r.share(LOAD, reader.name, "lines"), "{:.2f}"),
                    table.number(r.share(LOAD, reader.name, "zstd"), "{:.2f}"), figure("cpu_us"), figure("server_us"), figure("peak_mb", "{:,.0f}"), figure("file_mb", "{:,.0f}"),
                    reader.kept, counted])
    return out


def targets(r):
    peers = [p for p in pullers.PEERS if r.each(LOAD, lambda c: c, p)]
    best = max(peers, key=lambda p: r.median(LOAD, lambda c: c["rate"], p), default=None)
    out = [table.Target("rows/s, plain, of the lines bound", r.each(LOAD, lambda a, b: a["rate"] / b["rate"], pullers.PLAIN, "lines"), 0.85, None, True)]
    if best:
        out.append(table.Target(f"rows/s, zstd, against the best peer ({best})", r.each(LOAD, lambda a, b: a["rate"] / b["rate"], pullers.PACKED, best), 2.5, None, True))
    return out


def print_results(args, bench):
    r, parts, goals = bench.results, bench.parts, []
    if r.cells:
        print(f"{args.rows:,} orders, {bench.tables['orders'].heap_mb:,.0f} MB of heap" if "orders" in bench.tables else "orders", end="")
        print(f"; the slow ones over {args.rows // SMALLER:,}, in the first round only; median of rounds: {args.rounds}\n")
        print(table.markdown(HEAD, rows(r, bench.readers)))
        goals += targets(r)
    for name, made in (("memory", pgparts.memory_tables), ("empty", pgparts.empty_tables), ("latency", pgparts.latency_tables), ("many", lambda c: (pgparts.many_table(c), []))):
        if name in parts:
            text, more = made(parts[name])
            print(f"\n{pgparts.TITLES[name]}\n\n{text}")
            goals += more
    goals = [goal for goal in goals if goal.values]
    if goals:
        print("\n" + table.markdown(("target for millrace", "measured (over rounds)", "must", "stretch"), [goal.row() for goal in goals]))
    print()
    others = [c["others_cpus"] for c in r.cells.values()]
    if others:
        print(f"others (neither reader nor server; kernel threads included) used {statistics.median(others):.2f} CPUs in the median cell, {max(others):.2f} in the most disturbed one")
    print(f"load average after {' '.join(f'{n:.2f}' for n in os.getloadavg())}")


def as_json(bench):
    cells = bench.results.as_json()["cells"]
    parts = {**bench.parts, "memory": [{"limit": limit, **cell} for (limit, _), cell in bench.parts.get("memory", {}).items()]}
    return json.dumps({"cells": cells, "parts": parts}, indent=1) + "\n"


def run(args, bench, parts):
    """Whether all went well."""
    fine = True
    try:
        if bench.readers:
            bench.rounds()
    except FAULTS as error:
        fine = False
        print(f"postgres.py: {error}", file=sys.stderr)
    for name in parts:                            # one that fails does not cost the others
        try:
            bench.part(name)
        except FAULTS as error:
            fine = False
            print(f"postgres.py: {name}: {error}", file=sys.stderr)
    print_results(args, bench)
    if args.json:
        pathlib.Path(args.json).write_text(as_json(bench))
    return fine and not bench.wrong


def main():
    parser, args = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that `finally` ends the server
    programs = tools.build("mr_bench_postgres_bound")
    readers, parts = chosen(parser, args, programs)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-postgres.", dir=args.dir or tools.BUILD)).resolve()
    try:
        with pgserver.Server() as server:
            tools.print_header(pullers.versions(args.millrace, server))
            print(f"server: {', '.join(pgserver.TUNED[:4])}; fsync and the rest as PostgreSQL has them; TCP on 127.0.0.1, without TLS\n", flush=True)
            warm = pullers.Bound(programs, "null", "", "nothing")
            fine = run(args, Bench(args, warm, readers, folder, server), parts)
    except case.Skip as error:
        print(f"postgres.py: {error}", file=sys.stderr)
        shutil.rmtree(folder)
        return 2
    if args.keep or not fine:
        print(f"kept: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
