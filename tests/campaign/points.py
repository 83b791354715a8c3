#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One death and one failure at every named point of queue, landing and publish, under load; then everything is counted.

Crash: the server starts with MILLRACE_CRASH=point:n and must die there (a point that no scenario reaches is a failure,
unless UNREACHED names it with a reason); it starts again without, and nothing may be lost, doubled or torn.
Fail: with MILLRACE_FAIL=point:n:ERRNO the server may refuse for a while (503 with Retry-After) and must go on by
itself; if it ends, then with exit 1 and an error that says why.

usage: points.py [--ci] [--seed N] [--zone s3] [--only POINT] [--part crash|fail]     exit 77 in builds without points
"""
import argparse
import os
import random
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import clock  # noqa: E402
from pair import Pair, result, tell  # noqa: E402
from server import Died, Home, has_faults, points  # noqa: E402
from world import arguments, ending, world  # noqa: E402

UNREACHED = {"quarantine_replayed": "only by `millrace replay SOURCE`: e2e/requeue.py dies there",
             **{point: "only with deletes of a Postgres table: e2e/postgres_deletes.py dies there"
                for point in ("landed_write", "landed_sync", "keys_write", "keys_sync", "keys_synced", "keys_remove")}}  # point: why no scenario can reach it

# Points that are passed at a start over what a killed server left behind, not under load.
AT_RESTART = {"queue_recover", "queue_recovered", "resume_begin", "resume_sweep"}
# Points that only midnight reaches: the server runs under libfaketime, a few seconds before it.
AT_MIDNIGHT = {"seal_day"}
# Only a zone on S3 passes them; there, these and the others of a zone are what is to be looked at again.
ON_S3 = {"stage_key_noted", "stage_begun", "stage_id_noted", "stage_part"}
OF_ZONE = ("stage_", "publish_", "resume_", "decided_mark", "zone_id")
# Passed a handful of times in a life: only the first passing can be asked for.
ONCE = AT_RESTART | AT_MIDNIGHT | {"zone_id"}
# Small segments, so that a few seconds of load fill, free and recycle some.
SEGMENTS = {"queue": {"segment_size": "1MiB"}}


def scenario(point, pair, w):
    """Brings the pair to where the point can be met at the next start; gives that start's environment."""
    if point in AT_MIDNIGHT:
        return clock.environment(pair.server.home, clock.until_midnight(3))
    if point in AT_RESTART:
        pair.server.start()
        pair.send()
        pair.wait_acked(50)
        until_staged(pair, w)
        pair.server.kill9()
    return {}


def until_staged(pair, w):
    """Waits until something is staged (so that a kill leaves it behind), for as long as a landing may take."""
    end = time.monotonic() + 10
    while time.monotonic() < end and not w.staged(pair.server.zone):
        pair.quiet.wait(0.002)


def left_staged(pair, w):
    left = w.staged(pair.server.zone)
    return [f"left staged: {left[:3]}"] if left else []


def dies_there(pair, extra, seconds):
    """Runs under load until the point kills the server; load, then drain, are the two chances."""
    server = pair.server
    server.spawn(extra=extra)
    if not pair.loads:
        pair.send()
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.alive():
        pair.quiet.wait(0.02)
    if server.alive():
        server.signal(signal.SIGTERM)
        server.wait(60)
    return server.proc.returncode == -signal.SIGKILL


def crash(point, n, seed, seconds, w):
    """(verdicts, faults, zone problems, reached)"""
    with Home(f"mr-{point}") as home:
        pair = Pair(home, seed, rate=400, big=0.05, big_size=200000, **SEGMENTS, **clock.SEALING)
        try:
            extra = scenario(point, pair, w)
            extra["MILLRACE_CRASH"] = f"{point}:{n}"
            reached = dies_there(pair, extra, seconds)
            del extra["MILLRACE_CRASH"]
            pair.server.extra_env = extra
            faults = []
            pair.finish()
        except AssertionError as e:
            faults = [f"{point}:{n}: {e}"]
            reached = locals().get("reached", True)
        finally:
            pair.server.kill9()
            pair.hang_up()
        verdicts, more = pair.verdicts()
        faults += [f"{point}:{n}: {f}" for f in more + left_staged(pair, w)]
        if faults:
            keep(home, faults)
        return list(verdicts.values()), faults, pair.reader.problems, reached


def fail(point, hits, errno, seed, w):
    """(verdicts, faults, zone problems, ended by itself)"""
    with Home(f"mr-{point}") as home:
        pair = Pair(home, seed, rate=400, big=0.05, big_size=200000, **SEGMENTS, **clock.SEALING)
        server, faults, ended = pair.server, [], False
        try:
            extra = scenario(point, pair, w)
            server.spawn(extra={**extra, "MILLRACE_FAIL": f"{point}:{hits}:{errno}"})
            try:
                server.wait_ready()
                if not pair.loads:
                    pair.send()
                pair.quiet.wait(3.0)
                if server.alive() and not pair.wait_acked(50, 30):
                    faults.append("no events are acknowledged any more: service did not resume by itself")
                if server.alive():
                    resumed_landing(pair, faults)
            except Died:
                pass                              # told apart below: ended, and how
            ended = not server.alive()
            if ended:
                faults += clear_end(server)
            server.extra_env = extra
            if not pair.loads:
                server.start()
                pair.send()
                pair.wait_acked(50)
            pair.finish()
        except AssertionError as e:
            faults.append(str(e))
        finally:
            server.kill9()
            pair.hang_up()
        verdicts, more = pair.verdicts()
        faults = [f"{point}:{hits}:{errno}: {f}" for f in faults + more + left_staged(pair, w)]
        if faults:
            keep(home, faults)
        return list(verdicts.values()), faults, pair.reader.problems, ended


def resumed_landing(pair, faults):
    """What is acknowledged now must land now, not at the next start."""
    load = pair.loads["single"]
    with load.ledger.lock:
        wanted = set(list(load.ledger.acked)[-20:])
    end = time.monotonic() + 30
    while time.monotonic() < end and pair.server.alive():
        counts = pair.reader.scan()["single"]
        if all(counts.get(i) for i in wanted):
            return
        pair.quiet.wait(0.1)
    if pair.server.alive():
        faults.append("acknowledged events do not land although the failure is over")


def clear_end(server):
    """A server that gives up must say why, and with the exit code for 'the world must change'."""
    code, text = server.proc.returncode, server.log()
    if code != 1:
        return [f"ended by itself with {code}, not 1:\n{server.tail(8)}"]
    if not re.search(r"error", text, re.I):
        return [f"ended by itself without an error in its log:\n{server.tail(8)}"]
    return []


def keep(home, faults):
    """The folder of a fault is evidence: it stays, and the report says where."""
    kept = home.path + ".kept"
    os.rename(home.path, kept)
    faults.append(f"evidence: {kept}")


def crashes(names, rnd, ci, w):
    for point in names:
        for n in ((1,) if ci or point in ONCE else (1, 2, 5)):
            *got, reached = crash(point, n, rnd.randint(1, 10 ** 6), 6 if n == 1 else 10, w)
            note = "" if reached else " not reached"
            if not reached and n == 1 and point not in UNREACHED:
                got[1].append(f"{point}: not reached by any scenario")
            print(f"  crash {point}:{n}{note}: " + "; ".join(map(str, got[0])), flush=True)
            yield got


def failures(names, rnd, ci, w):
    if ci:                                        # a third, by the seed; the full campaign has them all
        names = rnd.sample(names, max(1, len(names) // 3))
    for point in names:
        hits = "1" if point in ONCE else "2-3"
        for errno in (("EIO",) if ci else ("EIO", "ENOSPC")):
            *got, ended = fail(point, hits, errno, rnd.randint(1, 10 ** 6), w)
            print(f"  fail {point}:{hits}:{errno}{' (ended by itself)' if ended else ''}: "
                  + "; ".join(map(str, got[0])), flush=True)
            yield got


def campaign(args, w):
    names = [p for p in points() if args.only in p and (p.startswith(OF_ZONE) if w.store else p not in ON_S3)]
    if not clock.available() and AT_MIDNIGHT & set(names):
        print(f"SKIPPED: {', '.join(AT_MIDNIGHT)}: no libfaketime")
        names = [p for p in names if p not in AT_MIDNIGHT]
    code = 0
    print(f"points: {len(names)} points, seed {args.seed}")
    for part, cases in (("crash", crashes), ("fail", failures)):
        if args.part in (None, part):
            verdicts, faults, problems, times = [], [], [], 0
            for got in cases(names, random.Random(args.seed), args.ci, w):
                times += 1
                verdicts += got[0]
                tell(got[1])
                faults += got[1]
                problems += got[2]
            code |= result(f"points{w.name}-{part}", verdicts, faults, problems, kills=times, seed=args.seed)
    return code


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--ci", action="store_true")
    ap.add_argument("--only", default="", help="points whose name contains this")
    ap.add_argument("--part", choices=("crash", "fail"))
    arguments(ap)
    args = ap.parse_args()
    if not has_faults():
        sys.exit(case.skipped("this build has no named points"))
    with ending("points"), world(args) as w:
        sys.exit(campaign(args, w))


if __name__ == "__main__":
    main()
