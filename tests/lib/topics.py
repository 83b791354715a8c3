# SPDX-License-Identifier: Apache-2.0
"""What stories of Kafka topics share: one broker a script, a source as the config has it, a producer that does not rest, and looks at what has landed. The source of a story
is called k."""
import json
import os
import re
import threading
import time

import case
import kafka
from kafka import Ledger
from server import ran, running, until
from zone import Reader

SOON = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 1000}  # the group forgets a member that was killed sooner


def broker():
    return kafka.lasting(settings=("log.cleaner.backoff.ms=200", "log.retention.check.interval.ms=1000"))


def source(*topics, **more):
    """As the config has it; the group is the topic's, so that no story meets another's."""
    return {"kafka": {"brokers": [broker().bootstrap], "topics": list(topics), "group": re.sub(r"\W", "", topics[0]), **more}}


def group(topic):
    return "test." + re.sub(r"\W", "", topic)


def numbered(n, start=0, partitions=1):
    return [(i % partitions, b"k%d" % i, b'{"n":%d}' % i) for i in range(start, start + n)]


class Lander:
    """A zone that is looked at again and again: what is published never changes, so each file is read once."""

    def __init__(self, server):
        self.server, self.reader, self.read = server, Reader(server.zone), {}

    def records(self, name="k"):
        for path in self.reader.files():
            if path not in self.read:
                self.read[path] = list(self.reader.records(path))
        return [r for path in sorted(self.read) for r in self.read[path] if r.source == name]

    def holds(self, n, name="k", timeout=40.0):
        """Waits for n records or more."""
        try:
            until(f"{n} records land", lambda: len(self.records(name)) >= n, timeout)
        except AssertionError as e:
            raise AssertionError(f"{e}: {len(self.records(name))} did\n{self.server.tail()}") from None
        return self.records(name)


def lands(server, n, name="k", timeout=40.0):
    return Lander(server).holds(n, name, timeout)


def exact(ledger, records):
    faults = ledger.compare(records)
    case.equal(faults[:10], [], f"{len(faults)} faults")


def no_stage(server):
    """Nothing that was staged is left behind."""
    left = {os.path.join(f, n) for top in (server.home.path, server.zone) for f, _, names in os.walk(top) for n in names if n.endswith(".part")}
    case.equal(left, set(), "staged files")


def alerts(server):
    return {a["name"]: a for a in server.status()["alerts"]}


def opens(server, name, timeout=30.0):
    return until(f"{name} opens", lambda: alerts(server).get(name), timeout)


def closes(server, name, timeout=30.0):
    until(f"{name} closes", lambda: name not in alerts(server), timeout)


def partitions(server, name="k"):
    """What the status page says, {(topic, partition): …}."""
    row, = [s for s in server.status()["sources"] if s["name"] == name]
    return {(p["topic"], p["partition"]): p for p in row["partitions"]}


def partitions_of(server):
    return list(partitions(server).values())


def reads(server, *places, name="k", timeout=30.0):
    """Waits until these partitions are read, and no others."""
    until(f"{places} are read", lambda: {at for at, p in partitions(server, name).items() if p["state"] == "reading"} == set(places), timeout)


def positions(server, topic):
    """{partition: next offset}, as `state show` prints them."""
    rows = [line.split("\t") for line in ran(server.cli("state show", "k/" + topic)).splitlines()]
    return {int(row[2]): json.loads(row[4])["next"] for row in rows if row[0] == "k" and row[1] == topic}


def state_of(server, name="k"):
    row, = [s for s in server.status()["sources"] if s["name"] == name]
    return "paused" if row["paused"] else row["state"]


def lag(server, topic, partition=0):
    return server.metrics().get(f'millrace_kafka_landed_lag_records{{source="k",topic="{topic}",partition="{partition}"}}')


def settled(server, topic, partition=0, timeout=30.0):
    """Waits until the broker's end is known and nothing is behind it."""
    end = broker().end_offsets(topic)[partition]
    until(f"nothing of {topic} is behind", lambda: partitions(server).get((topic, partition), {}).get("read", -1) >= end and lag(server, topic, partition) == 0, timeout)
    return end


def share(servers, topic, n, timeout=60.0):
    """Waits until the n partitions are read, each by one server, and each server has some."""
    def shared():
        each = [[at for at, p in partitions(one).items() if p["state"] == "reading"] for one in servers]
        return all(each) and sorted(at for some in each for at in some) == [(topic, p) for p in range(n)]
    until(f"{len(servers)} servers share {n} partitions of {topic}", shared, timeout, 0.1)


def of(records):
    """By place, in the zone's order: [(partition, offset)]"""
    return [(r.value["position"]["partition"], r.value["position"]["offset"]) for r in records]


def by_offset(records):
    return [r for _, r in sorted((r.value["position"]["offset"], r) for r in records)]


def resting(sources, **top):
    """A server that was not started yet; how it ends is the story's."""
    return running(sources, start=False, stop=False, **top)


def whole(server):
    return landed_at_rest(server, "k")


def landed_at_rest(server, name):
    reader = Reader(server.zone)
    records = reader.all(name)
    reader.strangers()
    case.equal(reader.problems, [])
    no_stage(server)
    return records


class Flow:
    """A producer that does not rest, on a thread of its own."""

    def __init__(self, topic, partitions, rate=2000, pad=50):
        self.topic, self.partitions, self.rate, self.pad = topic, partitions, rate, pad
        self.ledger, self.halt, self.fault = Ledger(), threading.Event(), None
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *rest):
        self.stop(check=rest[0] is None)

    def run(self):
        producer = kafka.client.Producer(broker().settings(**{"enable.idempotence": True, "linger.ms": 5}))
        sent, begun = 0, time.monotonic()
        try:
            while not self.halt.wait(0.01):
                due = int((time.monotonic() - begun) * self.rate)
                broker().send(producer, self.topic, [(n % self.partitions, b"k%d" % n, b'{"n":%d,"pad":"%s"}' % (n, b"p" * self.pad)) for n in range(sent, due)], self.ledger, 30)
                sent = max(due, sent)
        except Exception as e:  # told by stop()
            self.fault = e

    def has(self, n, timeout=30.0):
        """Waits until so many are delivered."""
        until(f"{n} records are delivered to {self.topic}", lambda: len(self.ledger.delivered) >= n, timeout)

    def more(self, n):
        self.has(len(self.ledger.delivered) + n)

    def stop(self, check=True):
        self.halt.set()
        self.thread.join()
        if check and self.fault:
            raise AssertionError(f"the producer: {self.fault}")
