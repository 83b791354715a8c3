#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One death and one failure at every named point that a row of a table passes on its way, under writers; then every version of every row is counted.

Crash: the server starts with MILLRACE_CRASH=point:n and must die there (a point that is not reached is a failure); it starts again without, and each version must
land once. Fail: with MILLRACE_FAIL=point:n:ERRNO it goes on by itself once the failure is over, and lands what came meanwhile; if it ends, then with exit 1 and an
error that says why.

usage: postgres_points.py [--ci] [--seed N] [--state postgres] [--zone s3] [--only POINT] [--part crash|fail]     exit 77 in builds without points
"""
import argparse
import os
import random
import re
import shutil
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import replica  # noqa: E402
from pair import result, tell  # noqa: E402
from pulled import Watch, judge  # noqa: E402
from pulls import busy, finish  # noqa: E402
from server import Died, has_faults, points, until  # noqa: E402
from world import arguments, ending, world  # noqa: E402
from zone import Reader  # noqa: E402

OWN = ("pull_", "postgres_", "pg_")
PASSED = ("stage_", "decide_", "decided_mark", "publish_", "resume_", "zone_id", *OWN)
# Only a zone on S3 passes them.
ON_S3 = {"stage_key_noted", "stage_begun", "stage_id_noted", "stage_part"}
# Passed at a start over what a killed server left behind, not under load.
AT_RESTART = {"resume_begin", "resume_sweep"}
# Passed a handful of times in a life: only the first passing can be asked for.
ONCE = AT_RESTART | {"zone_id"}
CI = 6                                            # deaths, and half as many failures
WATCHES = (Watch("orders"), Watch("events", whole=True))


class Case:
    """A server in a home of its own, and tables that no other case has: large enough for a first read in chunks, and written to."""

    def __init__(self, s, writers):
        self.s, self.server, self.writers = s, s.server, writers.start()
        self.quiet, self.faults = threading.Event(), []   # waits for a length of time, not for an event

    def scene(self, point, w):
        """Brings it to where the point can be met at the next start."""
        if point in AT_RESTART:
            self.server.start()
            try:
                until("something is staged", lambda: w.staged(self.server.zone), 20, 0.002)
            finally:
                self.server.kill9()

    def settle(self):
        """Everything lands: by a run, its drain, and run --once."""
        self.writers.stop()
        if not self.server.alive():
            self.server.start()
        until("what is left has landed", lambda: not judge(self.s.primary, self.s.db, Reader(self.server.zone).all(), WATCHES).lost, 30, 1)
        self.server.stop(timeout=90)
        self.server.drain()

    def end(self, what, w):
        """(verdict, faults, zone problems)"""
        self.server.kill9()
        self.writers.stop()
        reader = Reader(self.server.zone)
        records = reader.all()
        reader.strangers()
        verdict = judge(self.s.primary, self.s.db, records, WATCHES)
        faults = [f"{what}: {f}" for f in self.faults + self.writers.faults + verdict.faults[:5] + reader.problems + finish(self.server, w)]
        if faults:                                # the folder is evidence: it stays, and the report says where
            shutil.copytree(self.s.home.path, self.s.home.path + ".kept")
            faults.append(f"evidence: {self.s.home.path}.kept")
        return verdict, faults, reader.problems


def scene(seed):
    return busy(seed, rows=8000, size=200, method="exact", every="200ms", chunk="256KiB", sweep="3s", skew="5s", top={"zone": {"roll": {"age": "1s", "size": "100KiB"}}},
                churning={"writers": 5, "hold": 0.8, "stale": True})


def crash(point, n, seed, w):
    """(verdict, faults, zone problems, reached)"""
    with scene(seed) as (s, writers):
        one, reached = Case(s, writers), True
        try:
            one.scene(point, w)
            one.server.spawn(extra={"MILLRACE_CRASH": f"{point}:{n}"})
            end = time.monotonic() + 15
            while time.monotonic() < end and one.server.alive():
                one.quiet.wait(0.02)
            if one.server.alive():
                one.server.signal(signal.SIGTERM)
                one.server.wait(60)
            reached = one.server.proc.returncode == -signal.SIGKILL
            one.settle()
        except AssertionError as e:
            one.faults.append(str(e))
        return *one.end(f"{point}:{n}", w), reached


def fail(point, hits, errno, seed, w):
    """(verdict, faults, zone problems, ended by itself)"""
    with scene(seed) as (s, writers):
        one, ended = Case(s, writers), False
        server = one.server
        try:
            one.scene(point, w)
            server.spawn(extra={"MILLRACE_FAIL": f"{point}:{hits}:{errno}"})
            try:
                server.wait_ready()
                one.quiet.wait(4)
                if server.alive():
                    resumed(one)
            except Died:
                pass                              # told apart below: ended, and how
            ended = not server.alive()
            if ended:
                one.faults += clear_end(server)
            one.settle()
        except AssertionError as e:
            one.faults.append(str(e))
        return *one.end(f"{point}:{hits}:{errno}", w), ended


def resumed(one):
    """What is committed now must land now, not at the next start."""
    s = one.s
    s.sql("INSERT INTO events (id, how) SELECT n, 'after' FROM generate_series(500001, 500020) n")

    def here():
        return {r.value["data"]["id"] for r in Reader(one.server.zone).all() if r.stream == "events" and 500000 < r.value["data"]["id"] < 600000}
    try:
        until("committed rows land although the failure is over", lambda: not one.server.alive() or len(here()) == 20, 40, 0.3)
    except AssertionError as e:
        one.faults.append(f"{e}\n{one.server.tail(8)}")


def clear_end(server):
    """A server that gives up must say why, and with the exit code for 'the world must change'."""
    code, text = server.proc.returncode, server.log()
    if code != 1:
        return [f"ended by itself with {code}, not 1:\n{server.tail(8)}"]
    return [] if re.search(r"error", text, re.I) else [f"ended by itself without an error in its log:\n{server.tail(8)}"]


def crashes(names, rnd, args, w):
    cases = [(point, n) for point in names for n in ((1,) if point in ONCE else (1, 2, 5))]
    for point, n in rnd.sample(cases, min(CI, len(cases))) if args.ci else cases:
        *got, reached = crash(point, n, rnd.randint(1, 10 ** 6), w)
        if not reached:
            got[1].append(f"{point}:{n}: not reached")
        print(f"  crash {point}:{n}{'' if reached else ' not reached'}: {got[0]}", flush=True)
        yield got


def failures(names, rnd, args, w):
    cases = [(point, "1" if point in ONCE else "2-3", errno) for point in names for errno in ("EIO", "ENOSPC")]
    for point, hits, errno in rnd.sample(cases, min(CI // 2, len(cases))) if args.ci else cases:
        *got, ended = fail(point, hits, errno, rnd.randint(1, 10 ** 6), w)
        print(f"  fail {point}:{hits}:{errno}{' (ended by itself)' if ended else ''}: {got[0]}", flush=True)
        yield got


def campaign(args, w):
    names = [p for p in points() if args.only in p and p.startswith(PASSED) and (w.store or p not in ON_S3)]
    code = 0
    print(f"postgres_points: {len(names)} points, seed {args.seed}")
    for part, cases in (("crash", crashes), ("fail", failures)):
        if args.part in (None, part):
            verdicts, faults, problems = [], [], []
            for verdict, more, torn in cases(names, random.Random(args.seed), args, w):
                verdicts.append(verdict)
                tell(more)
                faults += more
                problems += torn
            code |= result(f"postgres-points{w.name}-{part}", verdicts, faults, problems, kills=len(verdicts), seed=args.seed)
    return code


def main():
    replica.ensure()
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--ci", action="store_true", help="a tenth of it, by the seed")
    ap.add_argument("--only", default="", help="points whose name contains this")
    ap.add_argument("--part", choices=("crash", "fail"))
    arguments(ap)
    args = ap.parse_args()
    if not has_faults():
        sys.exit(case.skipped("this build has no named points"))
    with ending("postgres_points"), world(args) as w:
        sys.exit(campaign(args, w))


if __name__ == "__main__":
    main()
