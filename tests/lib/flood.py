# SPDX-License-Identifier: Apache-2.0
"""Producers that do not stop: hostile records to some topics, one by one and in transactions; and the count at the end.

What the broker's log has at the end is the truth, read by somebody else's client. What was acknowledged must be in it: else the broker lost it, not millrace.
"""
import random
import re
import threading
import time

import kafka
from kafka import Ledger
from zone import Reader

SOURCE = "flood"
# Told only where something was lost or refused, and here nothing ever is.
NEVER_TOLD = re.compile(r'"alert_opened".*"alert":"(kafka_data_lost|kafka_log_changed|kafka_foreign_store|kafka_stopped|kafka_refused)".*')
COMPACTED = {"cleanup_policy": "compact", "segment_ms": "3000", "min_cleanable_dirty_ratio": "0.01", "delete_retention_ms": "500"}
BROKER = ["group.min.session.timeout.ms=500", "log.cleaner.backoff.ms=1000"]
TEXTS = ('{"a":1.10,"b":[-0,1E400,0.1e-7],"a":2}', '{"deep":' + "[" * 40 + "]" * 40 + "}", '"\\ud800"', "12345678901234567890123", "null", " \n{\"x\" : true }\n", "{\"cut", "",
         "plain text\u2028 with \u0000 in it", '{"text":"\u2028\u00e4\U0001f980\\u0000"}', "[1,2,", "\ufeff{}")
BYTES = (b"\xff\xfe\x00", b"\0\0\0\0\7avro", b"\n", b"\0", b'{"x":"\xed\xa0\x80"}')


def sources(broker, topics, session_ms=2000, **more):
    """For lib/server.config: one source; a group that notices the dead soon."""
    library = {"session.timeout.ms": str(session_ms), "heartbeat.interval.ms": str(session_ms // 4), "reconnect.backoff.max.ms": "500"}
    return {SOURCE: {"kafka": {"brokers": [broker.bootstrap], "topics": list(topics), "librdkafka": library, **more}}}


def hostile(rnd, big, keyed):
    """(key, value, headers)"""
    key = rnd.choice([b"k%d" % rnd.randrange(40)] * 6 + ([b"\xff\0\xfe", b"", "\u00e4\u2028".encode()] if keyed else [None, None, b"", b"\xff\0\xfe"]))
    kind = rnd.random()
    if kind < big:
        value = bytes(rnd.randbytes(500_000)).hex().encode()
    elif kind < 0.5:
        value = b'{"n":%d,"pad":"%s"}' % (rnd.getrandbits(60), b"x" * rnd.randrange(300))
    elif kind < 0.7:
        value = rnd.choice(TEXTS).encode()
    elif kind < 0.8:
        value = rnd.choice(BYTES)
    elif kind < 0.9:
        value = rnd.randbytes(rnd.randrange(1, 400))
    else:
        value = rnd.choice([None, b""])
    headers = rnd.choice([None, None, [("h", b"v")], [("h", b"1"), ("h", None), ("", b"\xff")], [("trace", b"x" * 200), ("n", b"")]])
    return key, value, headers


class Verdict:
    """What the zone holds against what the log has."""

    def __init__(self, sent, acked, landed, faults):
        self.sent, self.acked, self.landed, self.faults = sent, acked, landed, faults
        self.lost, self.doubled = ([f for f in faults if f.startswith(what)] for what in ("missing", "doubled"))

    def __str__(self):
        return f"sent {self.sent} acked {self.acked} landed {self.landed} lost {len(self.lost)} doubled {len(self.doubled)}"


class Flood:
    """topics: {name: partitions}; those of `compacted` are kept by key. Made at the broker here; start() produces until stop()."""

    def __init__(self, broker, topics, seed, compacted=(), rate=600, big=0.001, transactions=True):
        self.broker, self.topics, self.compacted, self.seed, self.rate, self.big = broker, topics, set(compacted), seed, rate, big
        self.weights = [t for t in topics for _ in range(1 if t in self.compacted else 4)]
        self.sent, self.acked, self.doubt = 0, Ledger(), Ledger()
        self.progress, self.halt = threading.Condition(), threading.Event()
        for name, partitions in topics.items():
            broker.create(name, partitions, **(COMPACTED if name in self.compacted else {}))
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self._single, self._transactions)[:1 + transactions]]
        self.faults = []

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def wait_acked(self, more, timeout=30.0):
        with self.progress:
            goal = len(self.acked.delivered) + more
            return self.progress.wait_for(lambda: len(self.acked.delivered) >= goal, timeout)

    def stop(self, timeout=120.0):
        """What is on its way is delivered; the broker must be up."""
        self.halt.set()
        for thread in self.threads:
            thread.join(timeout)
            if thread.is_alive():
                self.faults.append("a producer does not end")

    # -- a producer's thread ------------------------------------------------------------------------------------

    def _settings(self, **more):
        return self.broker.settings(**{"enable.idempotence": True, "linger.ms": 5, "message.max.bytes": 10_000_000, "socket.timeout.ms": 5000, **more})

    def _send(self, producer, rnd, told):
        topic = rnd.choice(self.weights)
        key, value, headers = hostile(rnd, self.big, topic in self.compacted)
        stamp = int(time.time() * 1000)          # ours: of a batch that came twice the broker tells another one than its records have

        def delivered(error, message):
            if message.offset() is not None and message.offset() >= 0:
                told.add(topic, message.partition(), message.offset(), key, value, headers, stamp)
        producer.produce(topic, value, key, timestamp=stamp, on_delivery=delivered, **({"headers": headers} if headers else {}))
        self.sent += 1

    def _take(self, into, draft):
        with self.progress:
            into.delivered.update(draft.delivered)
            self.progress.notify_all()
        draft.delivered.clear()

    def _single(self):
        rnd, draft, producer = random.Random(f"{self.seed}/single"), Ledger(), None
        while not self.halt.is_set():
            try:
                producer = producer or kafka.client.Producer(self._settings(**{"message.timeout.ms": 0}))
                for _ in range(rnd.randrange(1, self.rate // 10) if len(producer) < 1000 else 0):
                    self._send(producer, rnd, draft)
                producer.poll(0)
            except (kafka.client.KafkaException, BufferError):
                producer = None
            self._take(self.acked, draft)
            self.halt.wait(0.05)
        if producer and producer.flush(100):
            self.faults.append(f"{len(producer)} records are not delivered")
        self._take(self.acked, draft)

    def _transactions(self):
        rnd, producer = random.Random(f"{self.seed}/transactions"), None
        while not self.halt.is_set():
            draft = Ledger()
            try:
                if not producer:
                    producer = kafka.client.Producer(self._settings(**{"transactional.id": f"mr-{self.seed}-{next(iter(self.topics))}", "transaction.timeout.ms": 10000}))
                    producer.init_transactions(20)
                producer.begin_transaction()
                for _ in range(rnd.randrange(1, 30)):
                    self._send(producer, rnd, draft)
                producer.flush(10)
                if rnd.random() < 0.1:
                    self.halt.wait(rnd.uniform(0, 3)) # meanwhile what others produce is held back
                if rnd.random() < 0.3:
                    producer.abort_transaction(10)
                else:
                    producer.commit_transaction(10)
                    self._take(self.acked, draft)
            except (kafka.client.KafkaException, BufferError): # the next one by this name ends it
                if producer:
                    producer.purge()
                producer = None
                self._take(self.doubt, draft)
            self.halt.wait(rnd.uniform(0, 0.3))
        if producer is None:
            self._end_transaction()

    def _end_transaction(self):
        """Nothing stays open that nobody knows the end of."""
        try:
            kafka.client.Producer(self._settings(**{"transactional.id": f"mr-{self.seed}-{next(iter(self.topics))}", "transaction.timeout.ms": 10000})).init_transactions(60)
        except kafka.client.KafkaException as e:
            self.faults.append(f"a transaction cannot be ended: {e}")

    # -- the count ----------------------------------------------------------------------------------------------

    def log(self):
        """All that the broker has, as a ledger."""
        truth = Ledger()
        reader = kafka.client.Consumer(self.broker.settings(group_id="truth", isolation_level="read_committed", enable_partition_eof=True, enable_auto_commit=False))
        places = [kafka.client.TopicPartition(topic, p, 0) for topic, n in self.topics.items() for p in range(n)]
        reader.assign(places)
        ended, silent = set(), 0
        try:
            while len(ended) < len(places):
                got = reader.consume(1000, 0.2)  # waits for as many, or for the time to pass
                silent = 0 if got else silent + 1
                if silent > 150:
                    raise AssertionError("the broker's log cannot be read to its end")
                for m in got:
                    if not m.error():
                        truth.add(m.topic(), m.partition(), m.offset(), m.key(), m.value(), m.headers(), m.timestamp()[1])
                    elif m.error().code() == kafka.client.KafkaError._PARTITION_EOF:
                        ended.add((m.topic(), m.partition()))
        finally:
            reader.close()
        return truth

    def verdict(self, zone):
        """(verdict, faults, zone problems): the zone as it is now, after stop()."""
        truth, reader, landed = self.log(), Reader(zone), 0

        def records():
            nonlocal landed
            for path in reader.files():
                for record in reader.records(path):
                    landed += record.source == SOURCE
                    yield record
        plain = {p: d for p, d in self.acked.delivered.items() if p[0] not in self.compacted}
        faults = [f"the broker has lost or changed {p}" for p, d in plain.items() if truth.delivered.get(p) != d]
        whole = Ledger()                         # what was compacted away may have landed before
        for part in (self.doubt, self.acked):
            whole.delivered.update({p: d for p, d in part.delivered.items() if p[0] in self.compacted})
        whole.delivered.update(truth.delivered)
        gone = {"missing: {}/{}/{}".format(*p) for p in whole.delivered if p not in truth.delivered}
        found = [f for f in whole.compare(records()) if f not in gone]
        reader.strangers()
        verdict = Verdict(self.sent, len(self.acked.delivered), landed, found)
        return verdict, self.faults + faults + found, reader.problems


class Fate:
    """The broker's: at each turn it may be killed or frozen, and is back some turns later."""

    def __init__(self, broker, rnd, share):
        self.broker, self.rnd, self.share, self.left, self.how, self.done = broker, rnd, share, 0, None, 0

    def well(self):
        return self.how is None

    def turn(self):
        if self.how and self.left == 0:
            self.back()
        elif self.how:
            self.left -= 1
        elif self.rnd.random() < self.share:
            self.how, self.left = self.rnd.choice(("kill", "freeze")), self.rnd.randrange(3)
            self.broker.kill() if self.how == "kill" else self.broker.freeze()
            self.done += 1

    def back(self):
        if self.how == "kill":
            self.broker.start()
        elif self.how == "freeze":
            self.broker.thaw()
        self.how = None


def told(server):
    """Alerts that the server opened and should not have."""
    return [m.group(0)[:300] for m in NEVER_TOLD.finditer(server.log(since_start=False))]


def finish(server, w, servers):
    """What must hold at the end, but for the count."""
    faults = []
    if w.staged(server.zone):
        faults.append(f"left staged: {w.staged(server.zone)[:3]}")
    deep = server.cli("verify", "--deep")
    if deep.returncode:
        faults.append(f"verify --deep: {deep.returncode} {(deep.stdout + deep.stderr).decode()[-500:]}")
    return faults + [f"told, and nothing was lost: {alert}" for one in servers if one.proc for alert in told(one)]
