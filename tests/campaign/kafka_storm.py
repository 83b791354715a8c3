#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two to four processes, each with a data_dir of its own, share one group, one state store in Postgres and one zone; twelve partitions are filled all the while.

At each step one joins, leaves by SIGTERM, is killed, or is frozen (SIGSTOP) for longer than the group waits for it and then goes on; now and then the broker is killed
or frozen. A process that was frozen wakes up with records of partitions that another one has read meanwhile: compare-and-swap alone keeps them from landing twice. So
the storm is itself tested: with `--mutant` positions move without it, and records must be found twice.

usage: kafka_storm.py [--steps 100] [--seed N] [--assignment HOW] [--mutant]
"""
import argparse
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import kafka  # noqa: E402
from flood import BROKER, Fate, Flood, finish, sources  # noqa: E402
from pair import result, tell  # noqa: E402
from server import Died, Home, Server, config, has_faults, zone_url  # noqa: E402
from world import arguments, ending, world  # noqa: E402

TOPICS, SESSION = {"wide": 12}, 3.0      # seconds that the group waits for a member
STEPS = ("join",) * 3 + ("leave",) * 2 + ("kill",) * 2 + ("freeze",) * 3
TRIES = 6                                # storms, to find the mutant
MUTANT_STEPS = ("join",) + ("freeze",) * 3
ASSIGNMENTS = ("cooperative-sticky",) * 3 + ("range", "roundrobin")


class Member:
    """A process, or where one was."""

    def __init__(self, home, zone, state, broker, rnd, assignment, mutant):
        options = sources(broker, TOPICS, int(SESSION * 1000), assignment=assignment, files=rnd.choice(("per_partition", "per_topic")))
        self.server, self.thaw_at, self.ended = Server(home, config(home, options, zone=zone, state=state)), None, True
        if mutant:
            self.server.extra_env = {"MILLRACE_MUTANT": "no_cas"}

    def awake(self):
        return self.server.alive() and self.thaw_at is None

    def freeze(self, seconds):
        self.server.signal(signal.SIGSTOP)
        self.thaw_at = time.monotonic() + seconds

    def thaw(self):
        if self.thaw_at is not None:
            self.server.signal(signal.SIGCONT)
            self.thaw_at = None


class Storm:
    def __init__(self, members, rnd, fate, w, kinds):
        self.members, self.rnd, self.fate, self.w, self.kinds = members, rnd, fate, w, kinds
        self.quiet, self.faults = threading.Event(), []   # waits for a length of time, not for an event
        self.done = {kind: 0 for kind in (*STEPS, "broker")}

    def died(self):
        """Those that ended by themselves."""
        for n, m in enumerate(self.members):
            if m.server.proc and not m.server.alive() and not m.ended:
                self.faults.append(f"process {n} ended by itself with {m.server.proc.returncode}:\n{m.server.tail()}")
                m.ended = True
        return self.faults

    def thaw_due(self):
        for m in self.members:
            if m.thaw_at is not None and time.monotonic() >= m.thaw_at:
                m.thaw()

    def choose(self):
        """A step that is possible now, and its process."""
        awake, away = [m for m in self.members if m.awake()], [m for m in self.members if not m.server.alive()]
        kind = self.rnd.choice(self.kinds)
        if away and (kind == "join" or len(awake) < 2):
            return "join", self.rnd.choice(away)
        if len(awake) < 2:
            return "thaw", min((m for m in self.members if m.thaw_at is not None), key=lambda m: m.thaw_at)
        return self.rnd.choice([k for k in self.kinds if k != "join"]) if kind == "join" else kind, self.rnd.choice(awake)

    def join(self, m):
        """Who was frozen in the middle of a transaction holds what a start waits for: it may give up, and somebody starts it again."""
        try:
            m.ended = True
            m.server.start()
            m.ended = False
        except Died:
            frozen = any(other.thaw_at is not None for other in self.members)
            if not (frozen and m.server.proc.returncode == 1 and "lock timeout" in m.server.log()):
                raise

    def step(self):
        self.thaw_due()
        before = self.fate.done
        self.fate.turn()
        self.done["broker"] += self.fate.done - before
        kind, m = self.choose()
        if kind == "join":
            self.join(m)
        elif kind == "leave":
            m.ended = True
            m.server.stop(timeout=60)
        elif kind == "kill":
            m.ended = True
            m.server.kill9()
        elif kind == "freeze":
            end = time.monotonic() + 2
            while time.monotonic() < end and not self.w.staged(m.server.zone):
                self.quiet.wait(0.01)
            self.quiet.wait(self.rnd.uniform(0, 0.5))
            m.freeze(SESSION + self.rnd.uniform(0.5, 4))
        else:                                     # the others cannot go on without it
            self.quiet.wait(m.thaw_at - time.monotonic())
            return
        self.done[kind] += 1
        self.quiet.wait(self.rnd.uniform(0.2, 2.5))

    def run(self, steps):
        for m in self.members[:2]:
            m.server.start()
            m.ended = False
        self.quiet.wait(2)
        for n in range(1, steps + 1):
            self.step()
            if self.died():
                return
            if n % 10 == 0:
                print(f"  {n} steps {self.done}, awake {sum(m.awake() for m in self.members)}", flush=True)

    def calm(self, flood):
        """Everything is up again, all is landed, and everybody has tidied up."""
        self.fate.back()
        for m in self.members:
            m.thaw()
        flood.stop()
        for m in self.members:
            if not m.server.alive():
                m.server.start()
        self.quiet.wait(SESSION)
        for m in self.members:
            m.server.stop(timeout=90)
        for m in self.members:
            m.server.drain()


def campaign(args, w, broker, homes):
    rnd, part = random.Random(args.seed), "kafka-storm" + ("-mutant" if args.mutant else "")
    assignment = rnd.choice(ASSIGNMENTS) if args.assignment is None else args.assignment
    print(f"{part}: {args.steps} steps, seed {args.seed}, {assignment}")
    state, zone = w.postgres.at(w.postgres.port, f"storm{rnd.getrandbits(30)}"), {"url": zone_url(homes[0]), "roll": {"age": "1s", "size": "100KiB"}}
    flood = Flood(broker, TOPICS, args.seed).start()
    members = [Member(home, zone, state, broker, rnd, assignment, args.mutant) for home in homes]
    storm = Storm(members, rnd, Fate(broker, rnd, 0 if args.mutant else 0.08), w, MUTANT_STEPS if args.mutant else STEPS)
    faults = storm.faults
    try:
        storm.run(args.steps)
        storm.calm(flood)
    except AssertionError as e:
        faults.append(str(e))
        flood.halt.set()
        for m in members:
            m.thaw()
            m.server.kill9()
    verdict, more, problems = flood.verdict(members[0].server.zone)
    print(f"  {storm.done}: {verdict}")
    if args.mutant:
        found = verdict.doubled + [f for f in verdict.faults if f.startswith("changed")]
        print(f"  no_cas: {f'found: {len(found)}, e.g. {found[0][:200]}' if found else 'not found yet'}")
        return found, storm.done["freeze"]
    faults += more + problems + finish(members[0].server, w, [m.server for m in members])
    tell(faults[:20])
    code = result(part, [verdict], faults, problems, kills=sum(storm.done[k] for k in ("kill", "freeze", "leave", "broker")), seed=args.seed)
    assert code == 0, "the campaign found faults"


def storm_of(args):
    with world(args) as w, kafka.Broker(settings=BROKER) as broker:
        with Home("mr-storm") as a, Home("mr-storm") as b, Home("mr-storm") as c, Home("mr-storm") as d:
            return campaign(args, w, broker, (a, b, c, d))


def hunt(args):
    """Whether a zombie decides before it hears that it is one is a race: a storm may be fooled, one of a few may not."""
    first, freezes, found = args.seed, 0, []
    for args.seed in range(first, first + TRIES):
        found, frozen = storm_of(args)
        freezes += frozen
        if found:
            break
    print(f"RESULT part=mutant-kafka-no_cas seed={first} kills={freezes} found={len(found)} outcome={'ok' if found else 'FAILED'}", flush=True)
    assert found, f"{TRIES} storms were fooled by no_cas"


def main():
    kafka.ensure()
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--steps", type=int, default=100)
    ap.add_argument("--assignment", choices=sorted(set(ASSIGNMENTS)), help="else by the seed")
    ap.add_argument("--mutant", action="store_true")
    arguments(ap)
    ap.set_defaults(state="postgres")
    args = ap.parse_args()
    if args.mutant and not has_faults():
        sys.exit(case.skipped("this build has no named points, so no mutants"))
    with ending("kafka_storm"):
        (hunt if args.mutant else storm_of)(args)


if __name__ == "__main__":
    main()
