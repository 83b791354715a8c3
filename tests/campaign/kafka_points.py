#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One death and one failure at every named point that a record of a topic passes on its way, under load; then every record is counted.

Crash: the server starts with MILLRACE_CRASH=point:n and must die there (a point that is not reached is a failure); it starts again without, and each record must
land once. Fail: with MILLRACE_FAIL=point:n:ERRNO it goes on by itself once the failure is over, and lands what came meanwhile; if it ends, then with exit 1 and an
error that says why.

usage: kafka_points.py [--ci] [--seed N] [--state postgres] [--zone s3] [--only POINT] [--part crash|fail]     exit 77 in builds without points
"""
import argparse
import os
import random
import re
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import kafka  # noqa: E402
from flood import BROKER, SOURCE, Flood, finish, sources  # noqa: E402
from pair import result, tell  # noqa: E402
from server import Died, Home, Server, config, has_faults, points, until  # noqa: E402
from world import arguments, ending, world  # noqa: E402
from zone import Reader  # noqa: E402

PASSED = ("stage_", "decide_", "decided_mark", "publish_", "resume_", "zone_id")
# Only a zone on S3 passes them.
ON_S3 = {"stage_key_noted", "stage_begun", "stage_id_noted", "stage_part"}
# Passed at a start over what a killed server left behind, not under load.
AT_RESTART = {"resume_begin", "resume_sweep"}
# Passed a handful of times in a life: only the first passing can be asked for.
ONCE = AT_RESTART | {"zone_id"}
CI = 6                                            # deaths, and half as many failures


class Case:
    """A server in a home of its own; a topic, and so a group, that no other case has."""
    number = 0

    def __init__(self, home, broker, seed):
        Case.number += 1
        topics = {f"c{Case.number}": 4}
        self.flood = Flood(broker, topics, seed, rate=300, big=0.005).start()
        self.server = Server(home, config(home, sources(broker, topics, group=f"g{Case.number}"), zone={"roll": {"age": "1s", "size": "100KiB"}}))
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
        self.flood.stop()
        if not self.server.alive():
            self.server.start()
        self.quiet.wait(0.5)
        self.server.stop(timeout=90)
        self.server.drain()

    def end(self, what, w, home):
        """(verdict, faults, zone problems)"""
        self.server.kill9()
        self.flood.stop()
        verdict, more, problems = self.flood.verdict(self.server.zone)
        faults = [f"{what}: {f}" for f in self.faults + more[:5] + problems + finish(self.server, w, [self.server])]
        if faults:                                # the folder is evidence: it stays, and the report says where
            os.rename(home.path, home.path + ".kept")
            faults.append(f"evidence: {home.path}.kept")
        return verdict, faults, problems


def crash(point, n, broker, seed, w):
    """(verdict, faults, zone problems, reached)"""
    with Home(f"mr-{point}") as home:
        one, reached = Case(home, broker, seed), True
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
        return *one.end(f"{point}:{n}", w, home), reached


def fail(point, hits, errno, broker, seed, w):
    """(verdict, faults, zone problems, ended by itself)"""
    with Home(f"mr-{point}") as home:
        one, ended = Case(home, broker, seed), False
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
        return *one.end(f"{point}:{hits}:{errno}", w, home), ended


def resumed(one):
    """What is delivered now must land now, not at the next start."""
    flood, reader = one.flood, Reader(one.server.zone)
    flood.wait_acked(50)
    with flood.progress:
        wanted = list(flood.acked.delivered)[-20:]
    try:
        until("delivered records land although the failure is over",
              lambda: not one.server.alive() or all(reader.scan()[SOURCE].get("{}/{}/{}".format(*place)) for place in wanted), 40, 0.2)
    except AssertionError as e:
        one.faults.append(f"{e}\n{one.server.tail(8)}")


def clear_end(server):
    """A server that gives up must say why, and with the exit code for 'the world must change'."""
    code, text = server.proc.returncode, server.log()
    if code != 1:
        return [f"ended by itself with {code}, not 1:\n{server.tail(8)}"]
    return [] if re.search(r"error", text, re.I) else [f"ended by itself without an error in its log:\n{server.tail(8)}"]


def crashes(names, rnd, args, w, broker):
    cases = [(point, n) for point in names for n in ((1,) if point in ONCE else (1, 2, 5))]
    for point, n in rnd.sample(cases, min(CI, len(cases))) if args.ci else cases:
        *got, reached = crash(point, n, broker, rnd.randint(1, 10 ** 6), w)
        if not reached:
            got[1].append(f"{point}:{n}: not reached")
        print(f"  crash {point}:{n}{'' if reached else ' not reached'}: {got[0]}", flush=True)
        yield got


def failures(names, rnd, args, w, broker):
    cases = [(point, "1" if point in ONCE else "2-3", errno) for point in names for errno in ("EIO", "ENOSPC")]
    for point, hits, errno in rnd.sample(cases, min(CI // 2, len(cases))) if args.ci else cases:
        *got, ended = fail(point, hits, errno, broker, rnd.randint(1, 10 ** 6), w)
        print(f"  fail {point}:{hits}:{errno}{' (ended by itself)' if ended else ''}: {got[0]}", flush=True)
        yield got


def campaign(args, w, broker):
    names = [p for p in points() if args.only in p and p.startswith(PASSED) and (w.store or p not in ON_S3)]
    code = 0
    print(f"kafka_points: {len(names)} points, seed {args.seed}")
    for part, cases in (("crash", crashes), ("fail", failures)):
        if args.part in (None, part):
            verdicts, faults, problems = [], [], []
            for verdict, more, torn in cases(names, random.Random(args.seed), args, w, broker):
                verdicts.append(verdict)
                tell(more)
                faults += more
                problems += torn
            code |= result(f"kafka-points{w.name}-{part}", verdicts, faults, problems, kills=len(verdicts), seed=args.seed)
    return code


def main():
    kafka.ensure()
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--ci", action="store_true", help="a tenth of it, by the seed")
    ap.add_argument("--only", default="", help="points whose name contains this")
    ap.add_argument("--part", choices=("crash", "fail"))
    arguments(ap)
    args = ap.parse_args()
    if not has_faults():
        sys.exit(case.skipped("this build has no named points"))
    with ending("kafka_points"), world(args) as w, kafka.Broker(settings=BROKER) as broker:
        sys.exit(campaign(args, w, broker))


if __name__ == "__main__":
    main()
