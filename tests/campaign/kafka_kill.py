#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random kill -9 while topics are read, in recovery, in the drain, and in run --once, and an orderly end at a random time; now and then the broker is killed or frozen
too. Then every record is counted.

The records are hostile, some are in transactions of which some are aborted, and one topic is compacted meanwhile: what is compacted away before it is read need not land.
From start to start the config changes in what may change: a file for each partition or for each topic, a name of its own in the group or none.

usage: kafka_kill.py [--kills 100] [--seed N] [--state postgres] [--zone s3]
"""
import argparse
import os
import random
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import kafka  # noqa: E402
from flood import BROKER, SOURCE, Fate, Flood, finish, sources  # noqa: E402
from pair import result, tell  # noqa: E402
from server import Home, Server, config, until  # noqa: E402
from world import arguments, ending, world  # noqa: E402
from zone import Reader  # noqa: E402

KINDS = ("load",) * 5 + ("recovery",) * 2 + ("drain", "once", "stop")     # shares, in tenths
TOPICS = {"plain": 4, "kept": 2}
TROUBLE = 0.12                                    # share of kills before which the broker is killed or frozen


def change(server, rnd):
    """What may change from start to start."""
    options = server.cfg["sources"][SOURCE]["kafka"]
    options.update(files=rnd.choice(("per_partition", "per_topic")), payload=rnd.choice(("json", "exact")))
    options.pop("instance", None)
    if rnd.random() < 0.6:
        options["instance"] = "one"
    server.write_config()


def reads(server):
    log = server.log()
    return "partitions_assigned" in log or not server.alive()


def one_kill(kind, server, rnd, fate, quiet, w):
    """Starts the server, lets it work for a random time, kills it; its exit code."""
    change(server, rnd)
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
    if fate.well():
        try:
            until("the group gives partitions", lambda: reads(server), 10)
        except AssertionError:
            pass                                  # the broker has just come back
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
    return code in {"load": (-9,), "recovery": (-9,), "stop": (0,)}.get(kind, (-9, 0))


def campaign(args, w, broker):
    rnd, part = random.Random(args.seed), "kafka-kill" + w.name
    print(f"{part}: {args.kills} kills, seed {args.seed}")
    quiet, faults = threading.Event(), []         # waits for a length of time, not for an event: the kill's own clock
    with Home("mr-kafka-kill") as home:
        server = Server(home, config(home, sources(broker, TOPICS), zone={"roll": {"age": "1s", "size": "200KiB"}}))
        flood, fate = Flood(broker, TOPICS, args.seed, compacted={"kept"}).start(), Fate(broker, rnd, TROUBLE)
        reader, done = Reader(server.zone), {k: 0 for k in KINDS}
        kinds = [KINDS[i % len(KINDS)] for i in range(args.kills)]
        rnd.shuffle(kinds)
        for n, kind in enumerate(kinds, 1):
            fate.turn()
            try:
                code = one_kill(kind, server, rnd, fate, quiet, w)
            except AssertionError as e:
                faults.append(f"kill {n} ({kind}): {e}")
                server.kill9()
                break
            done[kind] += 1
            if not expected(kind, code):
                faults.append(f"kill {n} ({kind}): the server had ended by itself with {code}:\n{server.tail()}")
                break
            if n % 10 == 0:
                counts = reader.scan()[SOURCE]
                print(f"  {n} kills {done}, broker's troubles {fate.done}, acked {len(flood.acked.delivered)}, landed {sum(counts.values())}", flush=True)
                doubled = [i for i, k in counts.items() if k > 1]
                if doubled or reader.problems:
                    faults.append(f"seen after kill {n}: doubled {doubled[:3]}, {reader.problems[:3]}")
                    break
        try:
            fate.back()
            flood.stop()
            server.start()
            quiet.wait(2)
            server.stop(timeout=90)
            server.drain()
        except AssertionError as e:
            faults.append(str(e))
            server.kill9()
            flood.halt.set()
        faults += finish(server, w, [server])
        verdict, more, problems = flood.verdict(server.zone)
        faults += more + problems
        print(f"  {verdict}")
        tell(faults[:20])
        code = result(part, [verdict], faults, problems, kills=sum(done.values()), seed=args.seed)
        assert code == 0, "the campaign found faults"


def main():
    kafka.ensure()
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--kills", type=int, default=100)
    arguments(ap)
    args = ap.parse_args()
    with ending("kafka_kill"), world(args) as w, kafka.Broker(settings=BROKER) as broker:
        campaign(args, w, broker)


if __name__ == "__main__":
    main()
