#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random kill -9 under load, and in recovery, and in the drain, and in run --once; then every event is counted.

usage: kill.py [--kills 200] [--seed N] [--state postgres] [--zone s3]      the state, the zone in a real server, which is killed too, now and then
"""
import argparse
import os
import random
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from pair import Pair, result, tell  # noqa: E402
from server import Home  # noqa: E402
from world import arguments, ending, world  # noqa: E402

KINDS = ("load",) * 6 + ("recovery",) * 2 + ("drain", "once")     # shares, in tenths


def one_kill(kind, pair, rnd, ready_in, w):
    """Starts the server, lets it work for a random time, kills it. Returns (exit code, seconds until ready)."""
    server = pair.server
    begun = time.monotonic()
    if kind == "recovery":
        server.spawn()
        pair.quiet.wait(rnd.uniform(0, 1.2 * ready_in))
        return server.kill9(), ready_in
    if kind == "once":
        server.spawn("--once")
        pair.quiet.wait(rnd.uniform(0, 2 * ready_in))
        return server.kill9(), ready_in
    server.start()
    ready_in = time.monotonic() - begun
    pair.quiet.wait(rnd.uniform(0.05, 1.6))
    for other in w.servers():
        if rnd.random() < 0.3:
            other.kill()
            pair.quiet.wait(rnd.uniform(0, 0.5))
            other.start()
            pair.quiet.wait(rnd.uniform(0, 1.5))
    if kind == "drain":
        server.signal(signal.SIGTERM)
        pair.quiet.wait(rnd.uniform(0, 0.3))
    return server.kill9(), ready_in


def campaign(kills, seed, w):
    rnd, part = random.Random(seed), "kill" + w.name
    print(f"{part}: {kills} kills, seed {seed}")
    with Home("mr-kill") as home:
        pair = Pair(home, seed)
        pair.send()
        ready_in, done, faults = 0.3, {k: 0 for k in KINDS}, []
        kinds = [KINDS[i % len(KINDS)] for i in range(kills)]
        rnd.shuffle(kinds)
        for n, kind in enumerate(kinds, 1):
            code, ready_in = one_kill(kind, pair, rnd, ready_in, w)
            done[kind] += 1
            if code not in ((-9,) if kind in ("load", "recovery") else (-9, 0)):
                faults.append(f"kill {n} ({kind}): the server had ended by itself with {code}:\n{pair.server.tail()}")
                break
            if n % 10 == 0:
                counts = pair.reader.scan()
                acked = {name: len(load.ledger.acked) for name, load in pair.loads.items()}
                print(f"  {n} kills {done}, acked {acked}, landed "
                      f"{ {s: sum(c.values()) for s, c in counts.items()} }", flush=True)
                doubled = [i for c in counts.values() for i, k in c.items() if k > 1]
                if doubled or pair.reader.problems:
                    faults.append(f"seen after kill {n}: doubled {doubled[:3]}, {pair.reader.problems[:3]}")
                    break
        try:
            pair.finish()
        except AssertionError as e:
            pair.hang_up()
            faults.append(str(e))
        verdicts, more = pair.verdicts()
        faults += more
        if w.staged(pair.server.zone):
            faults.append(f"left staged: {w.staged(pair.server.zone)[:3]}")
        deep = pair.server.cli("verify", "--deep")
        if deep.returncode:
            faults.append(f"verify --deep: {deep.returncode} {(deep.stdout + deep.stderr).decode()[-500:]}")
        for name, verdict in verdicts.items():
            print(f"  {name}: {verdict}")
        tell(faults)
        code = result(part, verdicts.values(), faults, pair.reader.problems, kills=sum(done.values()), seed=seed)
        assert code == 0, "the campaign found faults"


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--kills", type=int, default=200)
    arguments(ap)
    args = ap.parse_args()
    with ending("kill"), world(args) as w:
        campaign(args.kills, args.seed, w)


if __name__ == "__main__":
    main()
