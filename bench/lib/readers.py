# SPDX-License-Identifier: Apache-2.0
"""The readers of the Kafka bench: each takes a whole topic, in a process and a folder of its own, and is then asked how many records it has."""
import json
import os
import pathlib
import sys
import time

from lib import proc
from lib.peers import first_line
from lib.reader import Reader, counted
from lib.tools import BENCH, BUILD

CONNECT = BUILD / "bench-tools/connect-4.1.1"


class Topic:
    def __init__(self, broker, name, count, size):
        self.brokers, self.broker_pid, self.name, self.count, self.size = broker.bootstrap, broker.process.pid, name, count, size

    def server_cpu(self):
        return proc.cpu_seconds([self.broker_pid])


class KafkaReader(Reader):
    """One less or more than the topic has is an error."""

    @property
    def topic(self):
        return self.source

    def run(self, source, folder):
        """A cell of the table."""
        cell = super().run(source, folder)
        got = self.records()
        if got != source.count:
            raise RuntimeError(f"{self.name} has {got:,} records of {source.count:,}; its log: {self.log}")
        return {**cell, "mb_s": got * source.size / cell["seconds"] / 1e6}

    def records(self):
        """Lines; that they have the right length altogether tells that they are no others."""
        size = self.file.stat().st_size
        if size != self.topic.count * (self.topic.size + 1):
            raise RuntimeError(f"{self.name}: {size:,} bytes are not {self.topic.count:,} records; its log: {self.log}")
        return counted("cat", self.file)


class Millrace(KafkaReader):
    name, label, kept = "millrace", "**millrace**, envelope and zstd", "disk"
    needs = ("zstdcat",)

    def __init__(self, binary, memory):
        self.binary, self.memory, self.runs = pathlib.Path(binary).absolute(), memory, 0

    def missing(self):
        return super().missing() or ("" if os.access(self.binary, os.X_OK) else f"{self.binary} (build it, or give --millrace)")

    def command(self):
        self.runs += 1                            # a group that nobody knows
        config = self.folder / "millrace.yaml"
        config.write_text(json.dumps({
            "environment": "bench", "data_dir": str(self.folder / "data"), "zone": {"url": f"file:{self.folder}/zone", "compression": "zstd"},
            "admin": {"listen": "127.0.0.1:0"}, "http": {"listen": "127.0.0.1:0"}, **({"limits": {"memory": self.memory}} if self.memory else {}),
            "sources": {"bench": {"kafka": {"brokers": [self.topic.brokers], "topics": [self.topic.name], "group": f"{self.topic.name}.{self.runs}"}}}}))
        return [self.binary, "run", "--once", "-c", config]

    def files(self):
        return sorted((self.folder / "zone").glob("source=*/stream=*/ingest_date=*/*.ndjson.zst"))

    def records(self):
        return counted("zstdcat", *self.files()) if self.files() else 0


class Bound(KafkaReader):
    def __init__(self, programs, mode, label, kept):
        self.programs, self.name, self.mode, self.label, self.kept = programs, mode, mode, label, kept

    def command(self):
        return [self.programs / "mr_bench_kafka_bound", self.topic.brokers, self.topic.name, self.mode, *([] if self.mode == "null" else [self.file])]

    def files(self):
        return [] if self.mode == "null" else [self.file]

    def records(self):
        told = int(self.stdout.read_text())
        if self.mode == "null":
            return told
        return super().records() if self.mode == "lines" else counted("zstdcat", self.file)


class Kcat(KafkaReader):
    name, label, kept = "kcat", "kcat into a file", "page cache"
    needs = ("kcat",)

    def command(self):
        # by number, not to the end (-e), which is half a second later
        return ["kcat", "-C", "-q", "-c", str(self.topic.count), "-b", self.topic.brokers, "-t", self.topic.name, "-o", "beginning"]

    @property
    def stdout(self):
        return self.file


class Connect(KafkaReader):
    """Standalone, with the heap of its own start script. Goes on for ever: measured until all is in its file."""

    name, label, kept = "connect", "Kafka Connect 4.1.1, FileStreamSink", "page cache"
    needs = ("java",)

    def missing(self):
        return super().missing() or ("" if (CONNECT / "installed").exists() else f"{CONNECT} (bench/lib/install-debian.sh)")

    def command(self):
        worker, sink = self.folder / "worker.properties", self.folder / "sink.properties"
        text = "org.apache.kafka.connect.storage.StringConverter"
        worker.write_text(f"bootstrap.servers={self.topic.brokers}\nkey.converter={text}\nvalue.converter={text}\noffset.storage.file.filename={self.folder}/offsets\n"
                          f"listeners=http://127.0.0.1:{proc.free_port()}\nplugin.discovery=service_load\n")
        # the group of its consumer is the connector's name
        sink.write_text(f"name={self.folder.name}\nconnector.class=org.apache.kafka.connect.file.FileStreamSinkConnector\ntasks.max=1\ntopics={self.topic.name}\nfile={self.file}\n")
        return ["java", "-Xms256M", "-Xmx2G", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{CONNECT}/*", "org.apache.kafka.connect.cli.ConnectStandalone", worker, sink]

    def done(self):
        size = self.file.stat().st_size if self.file.exists() else 0
        if size and self.started is None:
            self.started = time.monotonic() - self.begun
        return size >= self.topic.count * (self.topic.size + 1)


class Python(KafkaReader):
    name, label, kept = "python", "Python, 500 at a time, fsync and commit per 5,000", "disk"

    def command(self):
        return [sys.executable, BENCH / "peers/kafka-python/consumer.py", self.topic.brokers, self.topic.name, self.folder.name, self.file, self.topic.count]


def all_readers(programs, binary, memory):
    """Every row of the table, in its order."""
    return [
        Millrace(binary, memory),
        Bound(programs, "null", "the null bound: librdkafka alone", "nothing"),
        Bound(programs, "lines", "the lines bound: + one file, synced", "disk"),
        Bound(programs, "zstd", "the zstd bound: + zstd level 1, same thread", "disk"),
        Kcat(),
        Connect(),
        Python(),
    ]


def versions(binary, broker, client):
    return {
        "millrace": first_line([str(binary), "--version"]),
        "broker": f"Kafka {broker}",
        "librdkafka": first_line(["pkg-config", "--modversion", "rdkafka"]),
        "libzstd": first_line(["pkg-config", "--modversion", "libzstd"]),
        "kcat": first_line(["dpkg-query", "-W", "-f", "${Version}", "kcat"]),
        "java": first_line(["java", "-version"]),
        "Python's client": f"{client.version()} on librdkafka {client.libversion()[0]}" if client else "not installed",
    }
