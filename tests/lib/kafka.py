# SPDX-License-Identifier: Apache-2.0
"""A real Kafka broker, started for a test in a folder and on ports of its own; what a test asks of it, by somebody else's client; and a ledger of what was
delivered, to which the zone is held.

    if __name__ == "__main__":
        kafka.ensure()                           # the system's Python has no client: goes on under the one that has
        case.main(globals())

    with Broker() as broker:
        broker.create("orders", 3)
        broker.produce("orders", [(0, b"key", b"{}", [("h", b"v")], None)], ledger=ledger)
"""
import atexit
import base64
import calendar
import collections
import ctypes
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid

import case
from case import Skip
from certs import Certs
from server import PR_SET_PDEATHSIG, free_port, until

try:
    import confluent_kafka as client
    from confluent_kafka import admin as asks
except ImportError:
    client = asks = None

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.path.join(HERE, "..", "..", "build"))
JVM = ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
PLAIN_USER, SCRAM_USER = ("alice", "alice-secret"), ("bob", "bob-secret")
SECURE = ("SASL_PLAINTEXT", "SASL_SSL", "SSL", "OAUTH")
_libc = ctypes.CDLL(None)


def ensure():
    """Called first: where this Python lacks the client, the script goes on under one that has it, or ends as skipped."""
    if client:
        return
    for python in (os.environ.get("MILLRACE_DUCKDB_PYTHON"), os.path.join(BUILD, "venv", "bin", "python")):
        if python and os.path.exists(python) and subprocess.run([python, "-c", "import confluent_kafka"], capture_output=True).returncode == 0:
            sys.stdout.flush()
            os.execv(python, [python, *sys.orig_argv[1:]])
    sys.exit(case.skipped("no Python with confluent-kafka: deps/install-debian.sh test installs it"))


def jars(version):
    folder = os.path.join(BUILD, "tools", f"kafka-{version}")
    if not os.path.exists(os.path.join(folder, "installed")):
        raise Skip(f"no Kafka {version}: deps/install-debian.sh test fetches it")
    if not shutil.which("java"):
        raise Skip("no java: deps/install-debian.sh test installs it")
    return os.path.join(folder, "*")


def answer(futures, timeout=30):
    """What an admin call answers, by what it was asked for."""
    return {what: future.result(timeout) for what, future in futures.items()}


def dies_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Broker:
    """One node. PLAINTEXT is always there; `security` adds the listeners of SECURE: PLAIN knows alice, SCRAM bob, OAUTH takes any token that is not signed, SSL wants
    a client's certificate (`certs.pair("client")`; the CA is `certs.crt("ca")`). With `authorizer` alice and who has not said a name may do all, others what `allow` says."""

    def __init__(self, version="4.4.0", settings=(), security=False, authorizer=False):
        if not client:
            raise Skip("no confluent-kafka: kafka.ensure() comes first")
        self.version, self.path = version, jars(version)
        self.folder = tempfile.mkdtemp(prefix="mr-kafka-", dir=os.environ.get("MILLRACE_TEST_TMP"))
        self.ports = {}
        for name in ("PLAINTEXT", "CONTROLLER", *(SECURE if security else ())):
            self.ports[name] = next(port for port in iter(free_port, None) if port not in self.ports.values())
        self.process, self.certs, self._admin, self._producer, self.left_open = None, None, None, None, []
        self.properties, self.log_path, self.security = self.at("server.properties"), self.at("server.log"), security
        lines = self.basics() + (self.secured() if security else [])
        if authorizer:
            lines += ["authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS;User:alice",
                      "allow.everyone.if.no.acl.found=false"]
        with open(self.properties, "w") as f:
            f.write("\n".join([*lines, *settings, ""]))

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *rest):
        if kind and not issubclass(kind, Skip):
            print(self.tail(), file=sys.stderr)
        self.stop()

    # -- how it is set up ---------------------------------------------------------------------------------------

    def at(self, *parts):
        return os.path.join(self.folder, *parts)

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.ports['PLAINTEXT']}"

    def listener(self, name):
        """Where it is; the name is one that the certificate has, too."""
        return f"localhost:{self.ports[name]}" if name in SECURE else f"127.0.0.1:{self.ports[name]}"

    def basics(self):
        told = [name for name in self.ports if name != "CONTROLLER"]
        kinds = {name: name if name in SECURE else "PLAINTEXT" for name in self.ports} | ({"OAUTH": "SASL_PLAINTEXT"} if self.security else {})
        return ["process.roles=broker,controller", "node.id=1", f"controller.quorum.voters=1@127.0.0.1:{self.ports['CONTROLLER']}",
                "controller.listener.names=CONTROLLER", "inter.broker.listener.name=PLAINTEXT",
                "listeners=" + ",".join(f"{name}://127.0.0.1:{port}" for name, port in self.ports.items()),
                "advertised.listeners=" + ",".join(f"{name}://{self.listener(name)}" for name in told),
                "listener.security.protocol.map=" + ",".join(f"{name}:{kind}" for name, kind in kinds.items()),
                "log.dirs=" + self.at("data"), "auto.create.topics.enable=false", "offsets.topic.num.partitions=4", "offsets.topic.replication.factor=1",
                "transaction.state.log.num.partitions=4", "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
                "group.initial.rebalance.delay.ms=0", "log.cleaner.dedupe.buffer.size=2097152",
                # the controller forgets a killed broker sooner, so that it is back sooner
                "broker.session.timeout.ms=2000", "broker.heartbeat.interval.ms=500"]

    def secured(self):
        self.certs = Certs(self.at("tls"))
        self.certs.ca()
        self.certs.leaf("server")
        self.certs.leaf("client")
        with open(self.at("tls", "server.pem"), "w") as f:
            for path in (self.certs.key("server"), self.certs.crt("server"), self.certs.crt("ca")):
                with open(path) as part:
                    f.write(part.read())
        common = "org.apache.kafka.common.security"
        plain = f'{common}.plain.PlainLoginModule required user_{PLAIN_USER[0]}="{PLAIN_USER[1]}";'
        lines = ["ssl.keystore.type=PEM", "ssl.keystore.location=" + self.at("tls", "server.pem"), "ssl.truststore.type=PEM",
                 "ssl.truststore.location=" + self.certs.crt("ca"), "listener.name.ssl.ssl.client.auth=required",
                 "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512", "listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER",
                 f"listener.name.oauth.oauthbearer.sasl.jaas.config={common}.oauthbearer.OAuthBearerLoginModule required;"]
        for name in ("sasl_plaintext", "sasl_ssl"):
            lines.append(f"listener.name.{name}.plain.sasl.jaas.config={plain}")
            lines += [f"listener.name.{name}.scram-sha-{bits}.sasl.jaas.config={common}.scram.ScramLoginModule required;" for bits in (256, 512)]
        return lines

    def format(self):
        users = [part for bits in (256, 512) for part in ("--add-scram", f"SCRAM-SHA-{bits}=[name={SCRAM_USER[0]},password={SCRAM_USER[1]}]")] if self.security else []
        cluster = "M" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22] # with a dash in front it would be an option
        done = subprocess.run(["java", *JVM, "-cp", self.path, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", self.properties, *users],
                              capture_output=True, text=True, preexec_fn=dies_with_parent)
        if done.returncode:
            raise AssertionError(f"Kafka's folder cannot be formatted: {done.stdout}{done.stderr}")

    # -- life ---------------------------------------------------------------------------------------------------

    def start(self, timeout=90):
        if not os.path.exists(self.at("data", "meta.properties")):
            self.format()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(["java", *JVM, "-cp", self.path, "kafka.Kafka", self.properties], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.folder, preexec_fn=dies_with_parent)
        until("Kafka answers", self.answers, timeout)
        return self

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError("Kafka ended: " + self.tail())
        try:
            socket.create_connection(("127.0.0.1", self.ports["PLAINTEXT"]), 1).close()
            return bool(self.admin.list_topics(timeout=1).brokers)
        except (OSError, client.KafkaException):
            return False

    def tail(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()[-3000:]

    def end(self, how, wait):
        if not self.process:
            return
        self.process.send_signal(how)
        self.process.send_signal(signal.SIGCONT)  # it may be frozen
        try:
            self.process.wait(wait)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def kill(self):
        """As a power cut would, but for the page cache."""
        self.end(signal.SIGKILL, 30)

    def shut_down(self):
        """Orderly, and can be started again."""
        self.end(signal.SIGTERM, 15)

    def stop(self):
        self._admin, self._producer, self.left_open = None, None, []
        self.shut_down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def freeze(self):
        """It holds its connections and says nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    # -- what a test asks of it ---------------------------------------------------------------------------------

    def settings(self, **more):
        """For a client of this broker that says no name; names with _ for the dot."""
        return {"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 500, **dotted(more)}

    @property
    def admin(self):
        if not self._admin:
            self._admin = asks.AdminClient(self.settings())
        return self._admin

    def create(self, topic, partitions=1, **config):
        """Settings of the topic have _ for the dot: retention_ms="1000"."""
        answer(self.admin.create_topics([asks.NewTopic(topic, partitions, 1, config=dotted(config))]))
        until(f"{topic} is there", lambda: self.partitions(topic) == list(range(partitions)))

    def delete(self, topic):
        self._producer = None                    # it would go on where the old topic ended
        answer(self.admin.delete_topics([topic]))
        until(f"{topic} is gone", lambda: not self.partitions(topic))

    def add_partitions(self, topic, n):
        """So that there are n."""
        self._producer = None                    # it would not know of the new ones
        answer(self.admin.create_partitions([asks.NewPartitions(topic, n)]))
        until(f"{topic} has {n} partitions", lambda: len(self.partitions(topic)) == n)

    def partitions(self, topic):
        known = self.admin.list_topics(timeout=10).topics.get(topic)
        return sorted(known.partitions) if known and not known.error else []

    def send(self, producer, topic, records, ledger, timeout):
        """Of each record the place, or None if it was not delivered."""
        places, faults = [None] * len(records), []

        def told(n):
            def delivered(error, message):
                if error:
                    faults.append(error)
                else:
                    places[n] = (message.partition(), message.offset())
                    if ledger is not None:
                        _, key, value, headers = (*records[n], None)[:4]
                        ledger.add(topic, *places[n], key, value, headers, message.timestamp()[1])
            return delivered

        for n, (partition, key, value, *rest) in enumerate(records):
            headers, stamp = (*rest, None, None)[:2]
            more = {"partition": -1 if partition is None else partition, "timestamp": stamp or 0, **({"headers": headers} if headers else {})}
            while True:
                try:
                    producer.produce(topic, value, key, on_delivery=told(n), **more)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        producer.flush(timeout)
        return places, faults

    def produce(self, topic, records, ledger=None, check=True, timeout=60, **config):
        """A record is (partition or None, key, value, headers or None, milliseconds or None), from behind optional. The places (partition, offset) in the same order; one
        that was not delivered is a failure or, without `check`, None. What was delivered goes into the ledger."""
        producer = None if config else self._producer # a new one takes half a second to get its number
        if not producer:
            producer = client.Producer(self.settings(**{"enable.idempotence": True, "linger.ms": 5, "message.max.bytes": 100_000_000, **config}))
        places, faults = self.send(producer, topic, records, ledger, timeout)
        if not config:
            self._producer = None if None in places else producer
        if check and None in places:
            raise AssertionError(f"{places.count(None)} of {len(records)} records not delivered to {topic}: {faults[:3]}")
        return places

    def produce_transaction(self, topic, records, commit=True, ledger=None, timeout=60, **config):
        """The places. commit=False aborts; None leaves it open, until the broker's patience (transaction_timeout_ms) is over. Only what is committed is in the ledger."""
        producer = client.Producer(self.settings(**{"transactional.id": "mr-" + uuid.uuid4().hex, "message.max.bytes": 100_000_000, **config}))
        producer.init_transactions(timeout)
        producer.begin_transaction()
        draft = Ledger()
        places, faults = self.send(producer, topic, records, draft, timeout)
        if None in places:
            raise AssertionError(f"not delivered to {topic}: {faults[:3]}")
        if commit is None:
            self.left_open.append(producer)
        elif commit:
            producer.commit_transaction(timeout)
            if ledger is not None:
                ledger.delivered.update(draft.delivered)
        else:
            producer.abort_transaction(timeout)
        return places

    def delete_records(self, topic, before):
        """before: {partition: the first offset that stays}."""
        def done():                              # it looks leaders up as list_offsets does, and may never answer either
            try:
                return answer(self.admin.delete_records([client.TopicPartition(topic, p, offset) for p, offset in before.items()]), 3)
            except TimeoutError:
                return None
        until(f"records of {topic} are deleted", done, 30)

    def exchange(self, api, version, body):
        """One request in the protocol's own words; the answer's body."""
        with socket.create_connection(("127.0.0.1", self.ports["PLAINTEXT"]), 30) as sock, sock.makefile("rb") as told:
            request = struct.pack(">hhih", api, version, 1, -1) + body
            sock.sendall(struct.pack(">i", len(request)) + request)
            return told.read(struct.unpack(">i", told.read(4))[0])[4:]

    def committed(self, group, topic):
        """{partition: (offset, metadata)}"""
        # not by the client: it reads metadata past their end
        numbers, found = self.partitions(topic), {}
        got = self.exchange(9, 1, words(group) + struct.pack(">i", 1) + words(topic) + struct.pack(f">i{len(numbers)}i", len(numbers), *numbers))
        at = 4 + 2 + len(topic) + 4
        for _ in numbers:
            partition, offset, size = struct.unpack_from(">iqh", got, at)
            at += 14 + max(size, 0) + 2
            if offset >= 0:
                found[partition] = offset, got[at - 2 - max(size, 0):at - 2].decode()
        return found

    def commit(self, group, topic, offsets):
        """offsets: {partition: (offset, metadata)}; of a group without members."""
        places = [client.TopicPartition(topic, p, offset, metadata) for p, (offset, metadata) in offsets.items()]
        done = answer(self.admin.alter_consumer_group_offsets([client.ConsumerGroupTopicPartitions(group, places)]))[group]
        faults = [t.error for t in done.topic_partitions if t.error]
        if faults:
            raise AssertionError(f"{group}: {faults}")

    def members(self, group):
        """How many there are; of a group that nobody knows none."""
        try:
            return len(answer(self.admin.describe_consumer_groups([group]))[group].members)
        except client.KafkaException as e:
            if e.args[0].code() == client.KafkaError.GROUP_ID_NOT_FOUND:
                return 0
            raise

    def watermarks(self, topic):
        # not by the admin's list_offsets: asked just after list_topics it may never answer
        reader = client.Consumer(self.settings(group_id="watermarks"))
        try:
            return {p: reader.get_watermark_offsets(client.TopicPartition(topic, p), timeout=30) for p in self.partitions(topic)}
        finally:
            reader.close()

    def end_offsets(self, topic):
        """{partition: the offset that the next record will have}"""
        return {p: high for p, (_, high) in self.watermarks(topic).items()}

    def first_offsets(self, topic):
        return {p: low for p, (low, _) in self.watermarks(topic).items()}

    def allow(self, user, topic=None, group=None, more=()):
        """With an authorizer: `user` may read the topic and use the group; `more`: (kind, name, operation) in Kafka's words."""
        wanted = [("TOPIC", topic, "READ"), ("TOPIC", topic, "DESCRIBE")] * bool(topic) + [("GROUP", group, "READ")] * bool(group) + list(more)
        answer(self.admin.create_acls([asks.AclBinding(asks.ResourceType[kind], name, asks.ResourcePatternType.LITERAL, "User:" + user, "*", asks.AclOperation[what],
                                                        asks.AclPermissionType.ALLOW) for kind, name, what in wanted]))

    def disallow(self, user):
        """Takes back whatever `user` was allowed."""
        answer(self.admin.delete_acls([asks.AclBindingFilter(asks.ResourceType.ANY, None, asks.ResourcePatternType.ANY, "User:" + user, None, asks.AclOperation.ANY,
                                                              asks.AclPermissionType.ANY)]))


@functools.cache
def lasting(*args, **how):
    """A broker, made of these words when it is first asked for, that is there to the end of the script."""
    broker = Broker(*args, **how)
    atexit.register(broker.stop)
    return broker.start()


def words(text):
    """A string as the protocol has it."""
    return struct.pack(">h", len(text.encode())) + text.encode()


def dotted(settings):
    return {name.replace("_", "."): value for name, value in settings.items()}


# -- what was delivered, and what the zone has of it ------------------------------------------------------------


class Number(str):
    """Of JSON, as it was written: 1.10 is neither 1.1 nor a string."""

    def __repr__(self):
        return str(self)


def refuse(name):
    raise ValueError(name + " is no JSON")


def by_name(pairs):
    return tuple(sorted(pairs, key=lambda pair: pair[0]))


def parsed(text):
    """JSON with its numbers as text and each object as a tuple of its pairs, twice the same name kept; ValueError if it is none."""
    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=refuse, object_pairs_hook=by_name)


def raw(data):
    return data.encode() if isinstance(data, str) else data


def digest(key, value, headers, stamp):
    text = hashlib.sha256()
    for part in (key, value, *(x for name, v in headers or [] for x in (name, v)), b"" if stamp is None else str(stamp)):
        part = raw(part)
        text.update(b"-" if part is None else b"%d:%b" % (len(part), part))
    return text.digest()


def as_json(value):
    """What stands for a value by its meaning, or None if it is no JSON."""
    try:
        return None if value is None else repr(parsed(raw(value).decode("utf-8")))
    except (ValueError, RecursionError):
        return None


def milliseconds(text):
    """Of RFC 3339 in UTC; one with a part of a millisecond is none of Kafka's."""
    found = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{3})000Z", text or "")
    return calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S")) * 1000 + int(found[2]) if found else None


def content(record, name):
    """Key or header value, whichever form it landed in."""
    return base64.b64decode(record[name + "_base64"], validate=True) if record.get(name + "_base64") is not None else record.get(name)


class Ledger:
    """Of each place (topic, partition, offset) two digests of what was delivered there, over key, value, headers and timestamp: one over the bytes of the value, one over
    what they mean as JSON."""

    def __init__(self):
        self.delivered = {}

    def add(self, topic, partition, offset, key, value, headers, stamp):
        meaning = as_json(value)
        self.delivered[topic, partition, offset] = (digest(key, value, headers, stamp), meaning and digest(key, meaning, headers, stamp))

    def forget(self, topic, partition, before):
        """What the broker deleted is not to be awaited."""
        for place in [p for p in self.delivered if p[:2] == (topic, partition) and p[2] < before]:
            del self.delivered[place]

    def landed(self, record):
        """Whether the record is what was delivered to its place."""
        line = json.loads(record.text, parse_int=Number, parse_float=Number)
        key, stamp = content(line, "key"), milliseconds(line.get("event_at"))
        headers = [(h["name"], content(h, "value")) for h in line.get("headers") or []]
        position = record.value["position"]
        whole, meaning = self.delivered[position["topic"], position["partition"], position["offset"]]
        if line.get("tombstone"):
            return whole == digest(key, None, headers, stamp)
        if "data_text" in line or "data_base64" in line:
            return whole == digest(key, line["data_text"] if "data_text" in line else content(line, "data"), headers, stamp)
        data = parsed(record.text)
        return meaning == digest(key, repr(dict(data)["data"]), headers, stamp)

    def compare(self, records):
        """Faults, as sentences: of the zone's records (zone.Reader's, of this source) which are missing, there twice, changed, or never were delivered."""
        seen, faults = collections.Counter(), []
        for record in records:
            try:
                position = record.value["position"]
                place = position["topic"], position["partition"], position["offset"]
            except (KeyError, TypeError):
                faults.append(f"without a position: {record.text[:200]}")
                continue
            seen[place] += 1
            if place not in self.delivered:
                faults.append("never delivered: {}/{}/{}".format(*place))
                continue
            try:
                same = self.landed(record)
            except (KeyError, TypeError, ValueError):
                same = False
            if not same:
                faults.append("changed: {}/{}/{}: ".format(*place) + record.text[:300])
        faults += ["doubled: {}/{}/{}, {} times".format(*place, times) for place, times in sorted(seen.items()) if times > 1]
        faults += ["missing: {}/{}/{}".format(*place) for place in sorted(self.delivered) if place not in seen]
        return faults
