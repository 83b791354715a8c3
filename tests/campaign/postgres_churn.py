#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same tables are read by two sources of one process for as long as it takes, from the primary and from a standby, each over a way that is cut, held up and closed; both
servers are restarted, crash and end sessions, replay is held up, millrace is killed. Writers stay at it, with times that mean nothing, so that sweeps have their part.

At the end each source's zone has every version that is due, once.

usage: postgres_churn.py [--seconds 600] [--seed N] [--state postgres] [--zone s3]
"""
import argparse
import collections
import contextlib
import copy
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import replica  # noqa: E402
from pair import result, tell  # noqa: E402
from pulled import Watch, judge  # noqa: E402
from pulls import SOURCE, busy, doubled, finish  # noqa: E402
from replica import Primary, Standby, Way, psycopg  # noqa: E402
from server import until  # noqa: E402
from world import arguments, ending, world  # noqa: E402
from zone import Reader  # noqa: E402

WATCHES = (Watch("orders"), Watch("events", whole=True))
SECOND = "copy"                                   # the source that reads the standby
STEPS = ("cut",) * 4 + ("stall",) * 2 + ("refuse",) * 2 + ("limit", "terminate", "terminate", "kill", "kill", "restart", "crash", "standby restart", "standby crash", "pause", "pause", "rewrite", "long")


class Storm:
    def __init__(self, s, writers, standby, ways, rnd, w):
        self.s, self.writers, self.standby, self.ways, self.rnd, self.w = s, writers, standby, ways, rnd, w
        self.done, self.quiet = collections.Counter(), threading.Event()

    def wait(self, low, high):
        self.quiet.wait(self.rnd.uniform(low, high))

    def step(self):
        kind = self.rnd.choice(STEPS)
        self.done[kind] += 1
        getattr(self, kind.replace(" ", "_"))(self.rnd.choice(self.ways))
        self.wait(0.1, 1.5)

    def cut(self, way):
        for _ in range(self.rnd.randrange(1, 6)):
            way.cut()
            self.wait(0.05, 0.4)

    def stall(self, way):
        way.stall()
        self.wait(0.2, 4)
        way.flow()

    def refuse(self, way):
        way.refuse()
        self.wait(0.2, 3)
        way.refuse(False)

    def limit(self, way):
        way.limit = self.rnd.choice((20_000, 300_000, 1_500_000))
        self.wait(1, 5)
        way.limit = None

    def terminate(self, way):
        self.rnd.choice((self.s.primary, self.standby)).terminate()

    def kill(self, way):
        self.s.server.kill9()
        self.wait(0, 0.5)
        if self.rnd.random() < 0.5:
            change(self.s, self.rnd)
        self.s.server.start()

    def restart(self, way):
        self.s.primary.end(self.rnd.choice((signal.SIGINT, signal.SIGKILL, signal.SIGQUIT)))
        self.wait(0, 1)
        self.s.primary.start()

    def crash(self, way):
        self.s.primary.crash()

    def standby_restart(self, way):
        self.standby.end(self.rnd.choice((signal.SIGINT, signal.SIGKILL)))
        self.wait(0, 1)
        self.standby.start()

    def standby_crash(self, way):
        self.standby.crash()

    def pause(self, way):
        self.standby.pause()
        self.wait(0.5, 5)
        self.standby.resume()

    def rewrite(self, way):
        if not all(self.s.first_read(t) for t in ("orders", "events")):
            return                               # a first read would begin anew, and land again what it had
        with self.s.session() as one:
            one.execute("SET lock_timeout = '2s'")
            try:
                one.execute(f"VACUUM FULL {self.rnd.choice(('orders', 'events'))}")
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
                pass

    def long(self, way):
        """Open for longer than anybody waits for."""
        one = self.s.session()
        one.execute("BEGIN; SELECT now()")
        self.wait(3, 8)
        try:
            one.execute("INSERT INTO events (id, how) SELECT 700000 + %s, 'long'", (self.done["long"],))
            one.execute("COMMIT")
        except psycopg.OperationalError:
            pass                                 # the server was restarted meanwhile
        one.close()


def change(s, rnd):
    for name in (SOURCE, SECOND):
        s.server.cfg["sources"][name]["postgres"].update(parallel=rnd.choice((1, 2, 4)), chunk=rnd.choice(("256KiB", "2MiB")), every=rnd.choice(("100ms", "300ms", "1s")),
                                                         straggler_after=rnd.choice(("1s", "5s")))
    s.server.write_config()


def campaign(args, w, first, second):
    rnd, part = random.Random(args.seed), "postgres-churn" + w.name
    print(f"{part}: {args.seconds} s, seed {args.seed}")
    faults = []
    with Way(first.port) as one, Way(second.port) as two, busy(args.seed, rows=10_000, size=200, server=first, skew="5s", sweep="4s", stall="2s", method="exact", every="200ms", chunk="1MiB",
                                                                churning={"stale": True, "writers": 10}, top={"zone": {"roll": {"age": "1s", "size": "500KiB"}}}) as (s, writers):
        second.catch_up()
        options = copy.deepcopy(s.options)
        s.change(dsn=first.dsn(s.db, password=None, port=one.port, connect_timeout=3))
        options.update(dsn=second.dsn(s.db, password=None, port=two.port, connect_timeout=3), primary_dsn=first.dsn(s.db, password=None, port=one.port, connect_timeout=3),
                       primary_password=options["password"])
        options["streams"]["events"]["method"] = "xid"
        s.server.cfg["sources"][SECOND] = {"postgres": options}
        s.server.write_config()
        storm, end, told = Storm(s, writers, second, (one, two), rnd, w), time.monotonic() + args.seconds, time.monotonic()
        writers.start()
        s.start()
        reader = Reader(s.server.zone)
        try:
            while time.monotonic() < end:
                storm.step()
                if not s.server.alive():
                    raise AssertionError(f"it ended by itself with {s.server.proc.returncode}:\n{s.server.tail()}")
                if time.monotonic() > told + 30:
                    told = time.monotonic()
                    twice = doubled(reader.all())
                    print(f"  {dict(storm.done)}; {writers}", flush=True)
                    if twice or reader.problems:
                        raise AssertionError(f"doubled {twice[:3]}, {reader.problems[:3]}")
            writers.stop()
            second.catch_up()
            until("what is left has landed", lambda: not [f for name in (SOURCE, SECOND) for f in judge(first, s.db, Reader(s.server.zone).all(), WATCHES, name).lost], 60, 2)
        except AssertionError as e:
            faults.append(str(e))
        try:
            writers.stop()
            s.server.stop(timeout=90)
            s.server.drain()
        except AssertionError as e:
            faults.append(str(e))
            s.server.kill9()
        reader = Reader(s.server.zone)
        records = reader.all()
        reader.strangers()
        verdicts = [judge(first, s.db, records, WATCHES, name) for name in (SOURCE, SECOND)]
        for name, verdict in zip((SOURCE, SECOND), verdicts):
            print(f"  {name}: {verdict}")
            faults += [f"{name}: {f}" for f in verdict.faults]
        faults += writers.faults + reader.problems + finish(s.server, w)
        print(f"  {dict(storm.done)}; resets {one.resets + two.resets}; {writers}")
        tell(faults[:20])
        code = result(part, verdicts, faults, reader.problems, kills=sum(storm.done.values()), seed=args.seed)
        assert code == 0, "the campaign found faults"


def main():
    replica.ensure()
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--seconds", type=int, default=600)
    arguments(ap)
    args = ap.parse_args()
    with ending("postgres_churn"), world(args) as w, contextlib.closing(Primary()) as first, contextlib.closing(Standby(first)) as second:
        campaign(args, w, first, second)


if __name__ == "__main__":
    main()
