# SPDX-License-Identifier: Apache-2.0
"""What stories of a Kafka cluster in trouble share: a broker that soon does what brokers do in their own time, a server that reads it beside a webhook, what the server tells,
and what has landed, to which ledgers are held. The source of a story is called events."""
import json
import re
import signal
import threading

import case
import kafka
import state
from deliver import accepted, wait_landed
from server import running, until, webhook
from zone import Reader

# deletion, cleaning and the end of transactions are looked for every half a second, not every few minutes
IMPATIENT = ("log.retention.check.interval.ms=500", "log.initial.task.delay.ms=100", "log.cleaner.backoff.ms=200", "log.segment.delete.delay.ms=100",
             "transaction.abort.timed.out.transaction.cleanup.interval.ms=500")
SOON = {"topic.metadata.refresh.interval.ms": 1000}
PATIENCE = 60


def shared():
    """The broker of all stories that neither stop it nor ask who comes."""
    return kafka.lasting(settings=IMPATIENT)


def source(broker, *topics, brokers=None, **options):
    return {"kafka": {"brokers": brokers or [broker.bootstrap], "topics": list(topics), **options}}


def reading(broker, *topics, env=None, start=True, **options):
    """A server with the source `events`, and a webhook beside it; in a group of its own, so that no story waits for members of another one."""
    return running({"events": source(broker, *topics, **{"group": topics[0], **options}), "github": webhook()}, "mr-kafka", env, start)


def takes_config(server, restart):
    """What stands in server.cfg, by a restart or by a reload."""
    server.write_config()
    if restart:
        server.stop()
        server.start()
    else:
        server.signal(signal.SIGHUP)


def batch(n, text, partition=0):
    return [(partition, f"{text}-key-{i}".encode(), json.dumps({"text": text, "i": i}).encode()) for i in range(n)]


# -- what is told -----------------------------------------------------------------------------------------------


def alerts(server):
    """The open ones, {(name, source, stream): text}."""
    return {(a["name"], a["source"], a.get("stream") or ""): a["text"] for a in server.status()["alerts"]}


def counted(server):
    """What the metric says of the same."""
    labels = [dict(re.findall(r'(\w+)="([^"]*)"', key)) for key, value in server.metrics().items() if key.startswith("millrace_alerts_open{") and value == 1]
    return {(found["alert"], found.get("source", ""), found.get("stream", "")) for found in labels}


def opens(server, name, stream="", *words, timeout=PATIENCE):
    """The text of the alert, once it has all the words; the metric agrees."""
    key = name, "events", stream

    def look():
        text = alerts(server).get(key, "")
        return text if all(word in text for word in words) and key in counted(server) else None

    try:
        return until(f"{name} of {stream or 'the source'} tells of {words}", look, timeout)
    except AssertionError as e:
        raise AssertionError(f"{e}; open: {alerts(server)}") from None


def closes(server, name, stream="", timeout=PATIENCE):
    key = name, "events", stream
    until(f"{name} of {stream or 'the source'} closes", lambda: key not in alerts(server) and key not in counted(server), timeout)


def partitions(server, topic):
    """{number: what /api/status says of it}"""
    found = next(s for s in server.status()["sources"] if s["name"] == "events")
    return {p["partition"]: p for p in found.get("partitions", []) if p["topic"] == topic}


def is_at(server, topic, how, partition=0):
    return partitions(server, topic).get(partition, {}).get("state") == how


def losses(server):
    """The rows that keep what was lost, {(topic, key): value}."""
    return {(r["stream"], r["key"]): json.loads(r["value"]) for r in state.rows(server.data_dir, "source_rows") if r["kind"] == "loss"}


# -- what has landed --------------------------------------------------------------------------------------------


def landed(server):
    return Reader(server.zone).all("events")


def places(records):
    return {(p["topic"], p["partition"], p["offset"]) for p in (r.value["position"] for r in records)}


def lands(server, *ledgers, timeout=PATIENCE):
    wanted = {place for ledger in ledgers for place in ledger.delivered}
    try:
        until("all of it lands", lambda: wanted <= places(landed(server)), timeout, every=0.2)
    except AssertionError as e:
        raise AssertionError(f"{e}: missing {sorted(wanted - places(landed(server)))[:5]}; open: {alerts(server) if server.alive() else 'it has ended'}") from None


def exactly_once(server, *ledgers, stop=True):
    """Drained, the zone holds each record of the ledgers once. The second ledger is of the topic that was made anew, and so on: its ids say so."""
    if stop and server.alive():
        server.stop()
    server.sanitized()
    reader = Reader(server.zone)
    records = reader.all("events")
    reader.strangers()
    case.equal(reader.problems, [], "the zone")
    by_life = [[] for _ in ledgers]
    for r in records:
        topic, life, offset = re.fullmatch(r"(.+)/\d+(?:@(\d+))?/(\d+)", r.value["id"]).groups()
        case.equal((topic, int(offset)), (r.value["position"]["topic"], r.value["position"]["offset"]), r.value["id"])
        by_life[int(life or 0)].append(r)
    for ledger, found in zip(ledgers, by_life):
        case.equal(ledger.compare(found)[:10], [])


def goes_on(server, broker, topic, ledger):
    """Neither the other topic nor the webhook is held up."""
    broker.produce(topic, batch(5, f"others {len(ledger.delivered)}"), ledger)
    accepted(server, f"hook {len(ledger.delivered)}")
    lands(server, ledger)
    wait_landed(server, f"hook {len(ledger.delivered)}")


class Stream:
    """Records that come at a steady pace, until it is left."""

    def __init__(self, broker, topic, ledger, partitions=1, n=20, every=0.1):
        self.broker, self.topic, self.ledger, self.partitions, self.n, self.every = broker, topic, ledger, partitions, n, every
        self.halt, self.fault, self.sent = threading.Event(), None, 0
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self):
        try:
            while not self.halt.wait(self.every):
                self.broker.produce(self.topic, batch(self.n, f"stream {self.sent}", self.sent % self.partitions), self.ledger)
                self.sent += 1
        except AssertionError as e:
            self.fault = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.halt.set()
        self.thread.join(120)

    def end(self):
        """No more will come, and what was sent is in the ledger."""
        self.__exit__()
        if self.fault:
            raise self.fault
