#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two processes, each with a data_dir of its own, on one state store in Postgres and one zone. `single` sends each its own events; `stubborn` sends the same
events to both, and each must land once.

One is stopped (SIGSTOP) for longer than its lease. The other ends its epoch and publishes what it had decided, by itself, while it goes on. Woken, the
first one must find out, decide nothing more under its old epoch, and begin anew, in the same process: its queue lands then. Then the other one is killed, and
starts again while its lease still runs: nobody touches what it has decided but itself. At the end everything is counted, and nothing is left staged.

usage: fleet.py [--seed N] [--zone s3]
"""
import argparse
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
from pair import SINGLE, STUBBORN, Pair, judge, result, tell  # noqa: E402
from server import Home, until, zone_url  # noqa: E402
from world import arguments, ending, world  # noqa: E402
from zone import Reader  # noqa: E402

LEASE = 30                                        # seconds; a third of it is how often a process looks for the dead


def stopped_past_its_lease(first, other, w):
    first.wait_acked(200)
    until("the first one has staged something", lambda: w.staged(first.server.zone), every=0.002)
    first.server.signal(signal.SIGSTOP)
    until("the other ends its epoch", lambda: "instances_ended" in other.server.log(), 2 * LEASE + 15, 0.2)
    before = {name: len(load.ledger.acked) for name, load in other.loads.items()}
    case.true(other.wait_acked(50), f"the other one goes on: {before}")
    first.server.signal(signal.SIGCONT)
    until("it finds out, and begins anew", lambda: "begins_anew" in first.server.log(), LEASE + 15, 0.2)
    first.server.wait_ready()
    case.true(first.wait_acked(50), "it takes events again")


def killed_and_back_within_its_lease(first, other):
    for _ in range(3):
        first.wait_acked(100)
        first.server.kill9()
        began = time.monotonic()
        first.server.start()
        case.true(time.monotonic() - began < LEASE - 5, "it was back before its lease ran out")
        case.true("landing_lost" not in other.server.log(), "nobody swept what it had decided")


def campaign(seed, w):
    rnd = random.Random(seed)
    print(f"fleet{'-s3' if w.store else ''}: seed {seed}")
    with Home("mr-fleet") as here, Home("mr-fleet") as there:
        state = w.postgres.at(w.postgres.port, f"fleet{rnd.getrandbits(30)}")
        zone = {"url": zone_url(here)}
        pairs = [Pair(home, seed, rate=200, connections=2, name=name, zone=zone, state=state) for home, name in ((here, "a"), (there, "b"))]
        for pair in pairs:
            pair.server.start()
            pair.send()
        faults = []
        try:
            stopped_past_its_lease(*pairs, w)
            killed_and_back_within_its_lease(pairs[1], pairs[0])
            for pair in pairs:
                pair.settle()
            for pair in pairs:
                pair.server.stop(timeout=90)
                pair.server.drain()
        except AssertionError as e:
            faults.append(str(e))
            for pair in pairs:
                pair.server.kill9()
                pair.hang_up()
        past = {name: [load for pair in pairs for load in pair.past[name]] for name in (SINGLE, STUBBORN)}
        reader = Reader(pairs[0].server.zone)
        verdicts, more = judge(reader, past)
        faults += more
        if w.staged(pairs[0].server.zone):
            faults.append(f"left staged: {w.staged(pairs[0].server.zone)[:3]}")
        deep = pairs[0].server.cli("verify", "--deep")
        if deep.returncode:
            faults.append(f"verify --deep: {deep.returncode} {(deep.stdout + deep.stderr).decode()[-500:]}")
        for name, verdict in verdicts.items():
            print(f"  {name}: {verdict}")
        tell(faults)
        code = result("fleet-s3" if w.store else "fleet", verdicts.values(), faults, reader.problems, kills=4, seed=seed)
        assert code == 0, "the campaign found faults"


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    arguments(ap)
    ap.set_defaults(state="postgres")
    args = ap.parse_args()
    with ending("fleet"), world(args) as w:
        campaign(args.seed, w)


if __name__ == "__main__":
    main()
