#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random kill -9 while tables are read, in their first read too, in recovery, in the drain, and in run --once, and an orderly end at a random time; now and then the tables'
server is killed, crashes, or ends all sessions, or a table is rewritten. Then every version of every row is counted.

Writers do all the while what lib/churn draws from the seed. From start to start the config changes in what may change: connections, chunks, the method, how long is waited for
whom.

usage: postgres_kill.py [--kills 100] [--seed N] [--state postgres] [--zone s3]
"""
import argparse
import contextlib
import os
import random
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import replica  # noqa: E402
from pair import result, tell  # noqa: E402
from pulled import Watch, judge  # noqa: E402
from pulls import Trouble, busy, doubled, finish  # noqa: E402
from replica import Primary  # noqa: E402
from server import until  # noqa: E402
from world import arguments, ending, world  # noqa: E402
from zone import Reader  # noqa: E402

KINDS = ("load",) * 5 + ("recovery",) * 2 + ("drain", "once", "stop")     # shares, in tenths
WATCHES = (Watch("orders"), Watch("events", whole=True))
TROUBLE = 0.15                                    # share of kills before which something happens to the tables' server


def change(s, rnd):
    """What may change from start to start."""
    s.change(parallel=rnd.choice((1, 2, 4)), chunk=rnd.choice(("256KiB", "1MiB", "8MiB")), every=rnd.choice(("100ms", "300ms")), straggler_after=rnd.choice(("1s", "30s")),
             sweep=rnd.choice(("0s", "2s")))
    for name in ("orders", "events"):
        s.change_stream(name, method=rnd.choice(("exact", "exact", "xid", "auto")))


def one_kill(kind, s, rnd, quiet, w):
    """Starts the server, lets it work for a random time, kills it; its exit code."""
    server = s.server
    change(s, rnd)
    if kind == "recovery":
        server.spawn()
        quiet.wait(rnd.uniform(0, 0.4))
        return server.kill9()
    if kind == "once":
        server.spawn("--once")
        quiet.wait(rnd.uniform(0, 1.5))
        return server.kill9()
    server.start()
    if kind == "stop":
        quiet.wait(rnd.uniform(0, 1.0))
        return server.stop(timeout=45)
    quiet.wait(rnd.uniform(0.05, 2.0))
    for other in w.servers():
        if rnd.random() < 0.2:
            other.kill()
            quiet.wait(rnd.uniform(0, 0.5))
            other.start()
            quiet.wait(rnd.uniform(0, 1.5))
    if kind == "drain":
        server.signal(signal.SIGTERM)
        quiet.wait(rnd.uniform(0, 0.3))
    return server.kill9()


def expected(kind, code):
    """May it have ended like this?"""
    return code in {"load": (-9,), "recovery": (-9,), "stop": (0,)}.get(kind, (-9, 0, 1) if kind == "once" else (-9, 0))


def kills(args, w, s, writers, rnd):
    """Faults."""
    quiet, trouble, done = threading.Event(), Trouble(s, rnd, TROUBLE), {k: 0 for k in KINDS}   # waits for a length of time, not for an event: the kill's own clock
    reader, faults = Reader(s.server.zone), []
    kinds = [KINDS[i % len(KINDS)] for i in range(args.kills)]
    rnd.shuffle(kinds)
    for n, kind in enumerate(kinds, 1):
        trouble.turn()
        try:
            code = one_kill(kind, s, rnd, quiet, w)
        except AssertionError as e:
            faults.append(f"kill {n} ({kind}): {e}")
            s.server.kill9()
            break
        done[kind] += 1
        if not expected(kind, code):
            faults.append(f"kill {n} ({kind}): the server had ended by itself with {code}:\n{s.server.tail()}")
            break
        if n % 10 == 0:
            print(f"  {n} kills {done}, trouble {trouble.done}; {writers}", flush=True)
            records = reader.all()
            twice = doubled(records)
            if twice or reader.problems:
                faults.append(f"seen after kill {n}: doubled {twice[:3]}, {reader.problems[:3]}")
                break
    trouble.back()
    return faults, sum(done.values())


def campaign(args, w, server):
    rnd, part = random.Random(args.seed), "postgres-kill" + w.name
    print(f"{part}: {args.kills} kills, seed {args.seed}")
    with busy(args.seed, rows=20_000, size=200, server=server, skew="5s", top={"zone": {"roll": {"age": "1s", "size": "200KiB"}}}) as (s, writers):
        writers.start()
        faults, count = kills(args, w, s, writers, rnd)
        try:
            writers.stop()
            s.server.start()
            until("what is left has landed", lambda: not judge(s.primary, s.db, Reader(s.server.zone).all(), WATCHES).lost, 60, 2)
        except AssertionError as e:
            faults.append(str(e))
        try:
            if s.server.alive():
                s.server.stop(timeout=90)
            s.server.drain()
        except AssertionError as e:
            faults.append(str(e))
            s.server.kill9()
        reader = Reader(s.server.zone)
        records = reader.all()
        reader.strangers()
        verdict = judge(s.primary, s.db, records, WATCHES)
        faults += writers.faults + verdict.faults + reader.problems + finish(s.server, w)
        print(f"  {verdict}; {writers}")
        tell(faults[:20])
        code = result(part, [verdict], faults, reader.problems, kills=count, seed=args.seed)
        assert code == 0, "the campaign found faults"


def main():
    replica.ensure()
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--kills", type=int, default=100)
    arguments(ap)
    args = ap.parse_args()
    with ending("postgres_kill"), world(args) as w, contextlib.closing(Primary()) as server:
        campaign(args, w, server)


if __name__ == "__main__":
    main()
