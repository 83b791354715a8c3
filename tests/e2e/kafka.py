#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Topics of a real broker into the zone: each record once and as it was, wherever reading begins and whatever the offsets are like. One broker for all stories, a topic of
its own for each; what was delivered is in a ledger, to which the zone is held."""
import base64
import functools
import os
import re
import socket
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import kafka  # noqa: E402
from kafka import Ledger  # noqa: E402
from server import free_port, is_sanitized, landed, ran, running, until  # noqa: E402
from topics import (Flow, alerts, broker, by_offset, exact, lands, no_stage, numbered,  # noqa: E402
                    of, partitions, partitions_of, positions, reads, resting, settled, source, whole)
from zone import Reader, decode  # noqa: E402

# -- a record as it was ---------------------------------------------------------------------------------------------------------------------------------

DEEP = b"[" * 600 + b"]" * 600
VALUES = [ # what was sent, the member under which it lands, the text of that member in the line
    (None, "data", "null"), (b"null", "data", "null"), (b"", "data_text", '""'),
    (b'{ "a" : 1.10 ,\n "a":[ 1 , {} ] }', "data", '{"a":1.10,"a":[1,{}]}'), (b"1E400", "data", "1E400"), (b"-0", "data", "-0"),
    (b'"\\ud800 alone"', "data", '"\\ud800 alone"'), (b'{"big":123456789012345678901234567890}', "data", '{"big":123456789012345678901234567890}'),
    ('"\u2028 stays"'.encode(), "data", '"\u2028 stays"'), ("text with \u2028 in it".encode(), "data_text", None),
    (DEEP, "data_text", None), (b"[" * 400 + b"]" * 400, "data", "[" * 400 + "]" * 400), (b"NaN", "data_text", '"NaN"'), (b'{"a":1}{"a":2}', "data_text", None),
    (b"\xff\xfe\x00\x01", "data_base64", None), (b'{"a":"\xff"}', "data_base64", None), (b"nul \x00 inside", "data_base64", None),
    (b'\xef\xbb\xbf{"bom":1}', "data_text", None), (b"line\nbreak\r\n", "data_text", None), (b'"\xed\xa0\x80"', "data_base64", None)]
KEYS = [(None, {}), (b"", {"key": ""}), ("Schlüssel".encode(), {"key": "Schlüssel"}), (b"null", {"key": "null"}), (b'{"a": 1}', {"key": '{"a": 1}'}),
        (b"\xff\x00\x01", {"key_base64": "/wAB"}), (b"nul\x00", {"key_base64": base64.b64encode(b"nul\x00").decode()})]
HEADERS = [[("a", b"1"), ("b", b"2"), ("a", b"1"), ("A", b"3")], [("null", None), ("empty", b""), ("binary", b"\xff\x00"), ("", b"no name"), ("ü", "ü".encode())],
           [(f"h{n}", b"%d" % n) for n in range(300)]]


def test_every_key_header_and_value_lands_as_it_was():
    broker().create("kinds", 3)
    ledger = Ledger()
    values = broker().produce("kinds", [(0, b"k", value) for value, _, _ in VALUES], ledger)
    keys = broker().produce("kinds", [(1, key, b"{}") for key, _ in KEYS], ledger)
    headers = broker().produce("kinds", [(2, None, b"{}", h) for h in HEADERS] + [(2, None, b"{}")], ledger)
    with running({"k": source("kinds")}) as server:
        lands(server, len(values) + len(keys) + len(headers))
        records = landed(server)
        exact(ledger, records)
    at = {place: r for place, r in zip(of(records), records)}
    for (value, member, text), place in zip(VALUES, values):
        line, found = at[place].text, at[place].value
        case.equal([m for m in ("data", "data_text", "data_base64") if m in found], [member], f"{value!r}")
        case.equal(found.get("tombstone"), True if value is None else None, f"{value!r}")
        if text is not None:
            case.true(re.search(re.escape(f'"{member}":{text}') + "[,}]", line), f"{value!r}: {line[:300]}")
        if member == "data_base64":
            case.equal(base64.b64decode(found[member]), value)
        elif member == "data_text":
            case.equal(found[member].encode(), value)
    for (key, want), place in zip(KEYS, keys):
        case.equal({m: at[place].value[m] for m in ("key", "key_base64") if m in at[place].value}, want, f"{key!r}")
    for want, place in zip(HEADERS, headers):
        case.equal([(h["name"], base64.b64decode(h["value_base64"]) if "value_base64" in h else h["value"] and h["value"].encode()) for h in at[place].value["headers"]],
                   [(n, v and v) if v != b"" else (n, "") for n, v in want])
    case.true(not at[headers[-1]].value.get("headers"), "no headers, none in the line")
    one = at[values[0]].value
    case.equal((one["source"], one["stream"], one["id"], one["position"]), ("k", "kinds", "kinds/0/0", {"topic": "kinds", "partition": 0, "offset": 0}))
    case.equal(one["event_at_type"], "create")


def test_confluents_wire_format_lands_as_bytes_with_the_schemas_id():
    broker().create("schemas")
    wire = [(b"\x00\x00\x00\x00\x07\x02\x06foo", 7), (b'\x00\xff\xff\xff\xfe{"a":1}', 0xfffffffe), (b"\x00\x00\x00\x00\x00", 0), (b"\x00\x00\x00\x01", None),
            (b"\x01\x00\x00\x00\x07x", None)]
    ledger = Ledger()
    broker().produce("schemas", [(0, None, value) for value, _ in wire], ledger)
    with running({"k": source("schemas")}) as server:
        lands(server, len(wire))
        records = by_offset(landed(server))
        exact(ledger, records)
    case.equal([r.value["position"].get("schema_id") for r in records], [schema for _, schema in wire])
    case.equal([base64.b64decode(r.value["data_base64"]) for r in records], [value for value, _ in wire])


def test_payload_exact_keeps_the_bytes():
    broker().create("bytes")
    ledger = Ledger()
    sent = [b'{ "a" : 1 }', b"null", None, b"", b'{"a":"\xff"}', b"text"]
    broker().produce("bytes", [(0, None, value) for value in sent], ledger)
    with running({"k": source("bytes", payload="exact")}) as server:
        lands(server, len(sent))
        records = by_offset(landed(server))
        exact(ledger, records)
    case.equal([(r.value.get("data_text"), r.value.get("data_base64"), r.value.get("tombstone")) for r in records],
               [('{ "a" : 1 }', None, None), ("null", None, None), (None, None, True), ("", None, None), (None, base64.b64encode(sent[4]).decode(), None), ("text", None, None)])
    case.true(all("data" not in r.value or r.value.get("tombstone") for r in records), "no second copy")


# A producer that says what a client would not: any timestamp, any name of a header, a batch that unpacks to far more than it is.

CRC = [functools.reduce(lambda c, _: c >> 1 ^ (0x82F63B78 if c & 1 else 0), range(8), n) for n in range(256)]


def crc32c(data):
    c = 0xFFFFFFFF
    for byte in data:
        c = CRC[(c ^ byte) & 255] ^ c >> 8
    return c ^ 0xFFFFFFFF


def varint(n):
    n = n << 1 if n >= 0 else (-n << 1) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out) + bytes([n])


def batch(records, codec=0, pack=lambda data: data):
    """One of Kafka's record batches; a record is (value, milliseconds, headers)."""
    first, body = records[0][1], bytearray()
    for n, (value, stamp, headers) in enumerate(records):
        one = b"\0" + varint(stamp - first) + varint(n) + varint(-1) + varint(len(value)) + value + varint(len(headers))
        one += b"".join(varint(len(name)) + name + varint(len(v)) + v for name, v in headers)
        body += varint(len(one)) + one
    tail = struct.pack(">hiqqqhii", codec, len(records) - 1, first, max(r[1] for r in records), -1, -1, -1, len(records)) + pack(bytes(body))
    return struct.pack(">qiibI", 0, 9 + len(tail), -1, 2, crc32c(tail)) + tail


def zstd(data):
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


def send(topic, records, partition=0):
    body = b"\xff\xff" + struct.pack(">hii", 1, 30000, 1) + kafka.words(topic) + struct.pack(">iii", 1, partition, len(records)) + records

    def sent():
        error, = struct.unpack_from(">h", broker().exchange(0, 7, body), 4 + 2 + len(topic) + 4 + 4)
        case.true(error in (0, 3, 6), f"the broker's answer to a batch is {error}")
        return error == 0                        # else a new partition has no leader yet
    until("the batch is taken", sent)


def test_timestamps_that_no_text_can_say_land_as_numbers():
    broker().create("times", retention_ms="-1", message_timestamp_after_max_ms=str(2**63 - 1))
    stamps = [0, 1, 253402300799999, 253402300800000, 2**62, 1764000000123, -1]
    for stamp in stamps:
        send("times", batch([(b"{}", stamp, [])]))
    with running({"k": source("times")}) as server:
        lands(server, len(stamps))
        records = by_offset(landed(server))
    case.equal([(r.value.get("event_at"), r.value.get("event_at_ms")) for r in records],
               [("1970-01-01T00:00:00.000000Z", None), ("1970-01-01T00:00:00.001000Z", None), ("9999-12-31T23:59:59.999000Z", None), (None, 253402300800000), (None, 2**62),
                ("2025-11-24T16:00:00.123000Z", None), (None, -1)])


def test_names_of_headers_that_are_no_text_harm_nobody():
    broker().create("odd_names", retention_ms="-1")
    send("odd_names", batch([(b"{}", 1764000000000, [(b"\xff\xfe", b"1"), (b"quote\"\\\n", b"2"), ("\u2028".encode(), b"3")]), (b"1", 1764000000000, [])]))
    with running({"k": source("odd_names")}) as server:
        lands(server, 2)
        first, second = by_offset(landed(server))
    case.equal([h["value"] for h in first.value["headers"]], ["1", "2", "3"])
    case.equal([h["name"] for h in first.value["headers"][1:]], ['quote"\\\n', "\u2028"])
    case.equal(second.value["data"], 1)


def test_the_brokers_time_is_told_from_the_producers():
    broker().create("appended", message_timestamp_type="LogAppendTime")
    ledger = Ledger()
    broker().produce("appended", [(0, None, b"{}", None, 1000)] * 3, ledger)
    with running({"k": source("appended")}) as server:
        lands(server, 3)
        records = landed(server)
        exact(ledger, records)
    case.equal({r.value["event_at_type"] for r in records}, {"append"})
    case.true(all(r.value["event_at"] > "2026" for r in records), "not the producer's time")


def test_large_records_land():
    broker().create("large", 2, max_message_bytes="6000000")
    ledger, noise = Ledger(), os.urandom(1_000_000)
    broker().produce("large", [(0, None, noise), (0, b"k" * 100_000, b'{"t":"' + b"\\n" * 450_000 + b'"}'), (0, None, "ü".encode() * 500_000),
                               (1, None, os.urandom(5_000_000)), (1, None, b'"' + b"x" * 5_000_000 + b'"'), (1, None, b"\n" * 5_000_000), (1, None, b"{}")], ledger)
    with running({"k": source("large")}) as server:
        lands(server, 7, timeout=60)
        exact(ledger, landed(server))


def test_every_compression_is_read():
    kinds = ("none", "gzip", "snappy", "lz4", "zstd")
    broker().create("packed", len(kinds))
    ledger = Ledger()
    for n, kind in enumerate(kinds):
        broker().produce("packed", [(n, b"k%d" % i, b'{"n":%d,"pad":"%s"}' % (i, b"p" * 200)) for i in range(300)], ledger, compression_type=kind)
    with running({"k": source("packed")}) as server:
        lands(server, 1500)
        exact(ledger, landed(server))


# -- offsets that no record has --------------------------------------------------------------------------------------------------------------------------

def test_what_a_transaction_aborts_never_lands_and_lag_settles_beyond_its_mark():
    broker().create("transactions")
    ledger = Ledger()
    broker().produce("transactions", numbered(5), ledger)
    broker().produce_transaction("transactions", numbered(20, 100), commit=False)
    broker().produce_transaction("transactions", numbered(20, 200), ledger=ledger)
    broker().produce_transaction("transactions", numbered(3, 300), commit=False)
    with running({"k": source("transactions")}) as server:
        lands(server, 25)
        end = settled(server, "transactions")
        case.equal(end, 5 + 21 + 21 + 4, "records, and a mark for each transaction")
        exact(ledger, landed(server))
        case.equal(positions(server, "transactions"), {0: end}, "the position is beyond the last mark")
        server.start()
        settled(server, "transactions")
        broker().produce("transactions", numbered(2, 400), ledger)
        lands(server, 27)
        exact(ledger, landed(server))


def test_an_open_transaction_is_waited_for():
    broker().create("open", 2)
    ledger = Ledger()
    broker().produce("open", numbered(3), ledger)
    producer = kafka.client.Producer(broker().settings(transactional_id="mr-open"))
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("open", b"held back", b"key", partition=0, on_delivery=lambda e, m: ledger.add("open", 0, m.offset(), b"key", b"held back", None, m.timestamp()[1]))
    producer.flush(30)
    broker().produce("open", numbered(3, 10), ledger)
    with running({"k": source("open")}) as server:
        lands(server, 3)
        broker().produce("open", [(1, None, b"marker")], ledger)
        case.equal(sorted(of(lands(server, 4))), [(0, 0), (0, 1), (0, 2), (1, 0)], "what lies behind the transaction waits for it")
        producer.commit_transaction(30)
        lands(server, 8)
        exact(ledger, landed(server))


def test_read_uncommitted_lands_what_was_aborted():
    broker().create("uncommitted")
    everything = Ledger()
    broker().produce("uncommitted", numbered(5), everything)
    places = broker().produce_transaction("uncommitted", numbered(20, 100), commit=False)
    with running({"k": source("uncommitted", isolation="read_uncommitted")}) as server:
        lands(server, 25)
        settled(server, "uncommitted")
        case.equal(sorted(of(landed(server))), sorted([(0, n) for n in range(5)] + places))


def test_a_compacted_topic_lands_what_is_left_of_it():
    broker().create("compacted", cleanup_policy="compact", segment_bytes="1048576", min_cleanable_dirty_ratio="0.001", delete_retention_ms="0", max_compaction_lag_ms="1000",
                    segment_ms="1000")
    sent = [(0, b"key%d" % (n % 7), b'{"n":%d,"pad":"%s"}' % (n, b"p" * 1000)) for n in range(1000)]
    ledger = Ledger()
    broker().produce("compacted", sent, ledger)
    broker().produce("compacted", [(0, b"key0", None)], ledger)
    broker().produce("compacted", [(0, b"last", b"x" * 1_000_000)], ledger)

    def left():
        """Offsets that a stranger still finds there."""
        reader = kafka.client.Consumer(broker().settings(group_id="holes", enable_partition_eof=True))
        reader.assign([kafka.client.TopicPartition("compacted", 0, 0)])
        found = []
        try:
            for message in iter(lambda: reader.poll(10), None):
                if message.error():
                    break
                found.append(message.offset())
        finally:
            reader.close()
        return found if len(found) < 500 else None

    kept = until("the broker has compacted", left, 60, 0.5)
    for place in [p for p in ledger.delivered if p[2] not in kept]:
        del ledger.delivered[place]
    with running({"k": source("compacted")}) as server:
        lands(server, len(kept))
        exact(ledger, landed(server))
        server.start()
        broker().produce("compacted", [(0, b"later", b"1")], ledger)
        lands(server, len(kept) + 1)
        exact(ledger, landed(server))


# -- where reading begins --------------------------------------------------------------------------------------------------------------------------------

def test_latest_is_settled_once_and_for_all_partitions():
    broker().create("latest", 3)
    ledger = Ledger()
    broker().produce("latest", numbered(6, partitions=2))
    with running({"k": source("latest", start="latest")}) as server:
        reads(server, ("latest", 0), ("latest", 1), ("latest", 2))
        case.equal(positions(server, "latest"), {0: 3, 1: 3, 2: 0}, "each has its position, before the first record")
        server.stop()
        broker().produce("latest", numbered(9, 100, partitions=3), ledger)   # while nobody looks
        server.start()
        lands(server, 9)
        broker().produce("latest", numbered(3, 200, partitions=3), ledger)
        lands(server, 12)
        server.kill9()
        exact(ledger, landed(server))


def test_a_partition_that_comes_later_is_read_from_its_first_record():
    broker().create("grows")
    ledger = Ledger()
    broker().produce("grows", numbered(5))
    with running({"k": source("grows", start="latest", librdkafka={"topic.metadata.refresh.interval.ms": 1000})}) as server:
        reads(server, ("grows", 0))
        broker().add_partitions("grows", 2)
        broker().produce("grows", [(1, b"early", b"%d" % n) for n in range(10)], ledger)
        lands(server, 10)
        server.stop()
        broker().add_partitions("grows", 3)
        broker().produce("grows", [(2, b"early", b"%d" % n) for n in range(10)] + [(0, None, b"1")], ledger)
        server.start()
        lands(server, 21)
        exact(ledger, landed(server))


def test_a_start_by_time_begins_at_the_first_record_that_new():
    broker().create("by_time", 3, retention_ms="-1")
    ledger, day = Ledger(), 86_400_000
    begin = 1_767_225_600_000                  # 2026-01-01
    broker().produce("by_time", [(0, None, b"old", None, begin - day + n) for n in range(5)] + [(1, None, b"old", None, begin - 1)])
    broker().produce("by_time", [(0, None, b"new", None, begin), (0, None, b"late, but behind it", None, begin - day), (0, None, b"new", None, begin + day)], ledger)
    with running({"k": source("by_time", start="2026-01-01T00:00:00Z")}) as server:
        lands(server, 3)
        reads(server, ("by_time", 0), ("by_time", 1), ("by_time", 2))
        case.equal(positions(server, "by_time"), {0: 8, 1: 1, 2: 0})
        broker().produce("by_time", [(1, None, b"1", None, begin - day), (2, None, b"2", None, begin - day)], ledger)
        lands(server, 5)
        exact(ledger, landed(server))


def test_earliest_begins_at_what_retention_has_left():
    broker().create("earliest")
    ledger = Ledger()
    broker().produce("earliest", numbered(10), ledger)
    broker().delete_records("earliest", {0: 4})
    ledger.forget("earliest", 0, 4)
    with running({"k": source("earliest")}) as server:
        lands(server, 6)
        case.equal(alerts(server), {}, "nothing is lost that was ever to be read")
        exact(ledger, landed(server))


def test_topics_like_a_pattern_are_found_also_later():
    broker().create("rx.a")
    broker().create("rxb")
    broker().create("not.rx.a")
    ledger = Ledger()
    broker().produce("rx.a", numbered(3), ledger)
    broker().produce("rxb", numbered(3))
    broker().produce("not.rx.a", numbered(3))
    with running({"k": source(r"^rx\.", librdkafka={"topic.metadata.refresh.interval.ms": 1000})}) as server:
        lands(server, 3)
        broker().create("rx.later", 2)
        broker().produce("rx.later", numbered(6, partitions=2), ledger)
        lands(server, 9)
        records = landed(server)
        exact(ledger, records)
    case.equal({r.stream for r in records}, {"rx.a", "rx.later"})


def test_a_topic_that_turns_up_under_a_pattern_is_read_from_its_first_record():
    """Also with `latest`, which is for what was there when the source began."""
    broker().create("new.a")
    ledger = Ledger()
    broker().produce("new.a", numbered(3))
    with running({"k": source(r"^new\.", start="latest")}) as server:
        reads(server, ("new.a", 0))
        server.stop()
        broker().create("new.b", 2)
        broker().produce("new.b", numbered(6, partitions=2), ledger)
        server.start()
        lands(server, 6)
        exact(ledger, landed(server))


# -- files -----------------------------------------------------------------------------------------------------------------------------------------------

def files_of_one_roll(topics, partitions, **more):
    """Everything in one landing of each bundle: the number of files."""
    ledger = Ledger()
    for topic in topics:
        broker().create(topic, partitions)
        broker().produce(topic, numbered(partitions * 30, partitions=partitions), ledger)
    with running({"k": source(*topics, **more)}, zone={"roll": {"age": "1h"}}) as server:
        until("all is read", lambda: [p["read"] for p in partitions_of(server)] == [30] * (partitions * len(topics)), 60)
        records = landed(server)
        exact(ledger, records)
        no_stage(server)
    seen = {}
    for r in records:
        place, offset = (r.stream, r.value["position"]["partition"]), r.value["position"]["offset"]
        case.equal(offset, seen.get(place, -1) + 1, f"the order within {place}")
        seen[place] = offset
    return len({r.file for r in records})


def test_a_file_for_each_partition():
    case.equal(files_of_one_roll(["per_partition"], 20, files="per_partition"), 20)


def test_a_file_for_each_topic():
    case.equal(files_of_one_roll(["per_topic.a", "per_topic.b"], 3, files="per_topic"), 2)


def test_with_many_partitions_a_file_for_each_topic_by_itself():
    case.equal(files_of_one_roll(["auto.a", "auto.b"], 10), 2, "20 partitions")
    case.equal(files_of_one_roll(["auto.few"], 16), 16, "16 partitions")


# -- --once ----------------------------------------------------------------------------------------------------------------------------------------------

def test_once_lands_what_is_there_and_ends():
    broker().create("once", 3)
    broker().create("once.empty")
    ledger = Ledger()
    broker().produce("once", numbered(300, partitions=2), ledger)
    broker().produce_transaction("once", numbered(10, partitions=2), commit=False)
    with resting({"k": source("once", "once.empty")}, zone={"roll": {"age": "1h"}}) as server:
        server.drain()
        exact(ledger, whole(server))
        server.drain()
        exact(ledger, whole(server))
        broker().produce("once", numbered(30, 1000, partitions=3), ledger)
        broker().produce("once.empty", numbered(3, 1000), ledger)
        server.drain()
        exact(ledger, whole(server))
        server.start()
        reads(server, ("once", 0), ("once", 1), ("once", 2), ("once.empty", 0))
        broker().produce("once", numbered(3, 2000, partitions=3), ledger)
        until("the new ones are read", lambda: [partitions(server)["once", n]["read"] for n in range(3)] == [167, 167, 11])
        exact(ledger, landed(server))


def test_once_passes_the_end_that_was_there_by_no_record():
    """What comes while it runs is left for the next time, and a producer that never rests does not keep it from ending."""
    broker().create("once_flow", 2)
    with resting({"k": source("once_flow")}) as server, Flow("once_flow", 2) as flow:
        flow.has(2000)
        server.drain()
        first = len(whole(server))
        case.true(first >= 2000, f"{first} landed")
        flow.stop()
        server.drain()
        exact(flow.ledger, whole(server))


def test_once_with_start_latest_remembers_where_that_was():
    broker().create("once_latest")
    ledger = Ledger()
    broker().produce("once_latest", numbered(5))
    with resting({"k": source("once_latest", start="latest")}) as server:
        server.drain()
        case.equal(whole(server), [])
        broker().produce("once_latest", numbered(5, 10), ledger)
        server.drain()
        exact(ledger, whole(server))


def test_once_fails_for_a_topic_that_is_not_there_and_lands_the_others():
    broker().create("once_good")
    ledger = Ledger()
    broker().produce("once_good", numbered(5), ledger)
    with resting({"k": source("once_good", "once_missing")}) as server:
        server.drain(want=1)
        case.true("once_missing" in server.log(), "the log names it")
        exact(ledger, whole(server))


def test_once_fails_in_bounded_time_where_no_broker_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and says nothing
        ports = free_port(), silent.getsockname()[1]
        nobody, mute = ({"k": {"kafka": {"brokers": [f"127.0.0.1:{port}"], "topics": ["t"]}}} for port in ports)
        with resting(nobody) as one, resting(mute) as other:
            for server in (one, other):
                server.spawn("--once")
            case.equal([server.wait(60) for server in (one, other)], [1, 1])


def test_once_skips_a_paused_source():
    broker().create("once_paused")
    broker().produce("once_paused", numbered(5))
    with resting({"k": source("once_paused")}) as server:
        ran(server.cli("pause", "k"))
        server.drain()
        case.equal(whole(server), [])
        case.true(re.search(r'"source":"k"[^\n]*paused', server.log()), server.log())
        ran(server.cli("resume", "k"))
        server.drain()
        case.equal(len(whole(server)), 5)


def test_once_reads_topics_like_a_pattern():
    broker().create("ro.a", 2)
    broker().create("ro.b")
    ledger = Ledger()
    broker().produce("ro.a", numbered(10, partitions=2), ledger)
    broker().produce("ro.b", numbered(10), ledger)
    with resting({"k": source(r"^ro\.[ab]$")}) as server:
        server.drain()
        exact(ledger, whole(server))


# -- what a config may not say ---------------------------------------------------------------------------------------------------------------------------

def refused(pattern, top=None, second=None, **more):
    """The server does not start, and says where and why."""
    sources = {"k": {"kafka": {"brokers": ["127.0.0.1:9092"], "topics": ["t"], **more}}}
    if second:
        sources["l"] = {"kafka": {"brokers": ["127.0.0.1:9092"], "topics": ["t"], **second}}
    with resting(sources, **(top or {})) as server:
        server.spawn()
        case.equal(server.wait(30), 2, server.tail())
        case.true(re.search(r"millrace\.yaml:\d+:\d+: [^\n]*" + pattern, server.log()), f"{pattern!r} in:\n{server.tail()}")


def test_a_config_that_cannot_work_is_refused_with_its_place():
    refused(r"source k: .*no/name.* is no name of a topic", topics=["t", "no/name"])
    refused(r"source k: .*\.\.", topics=[".."])
    refused(r"source k: the pattern \^\(", topics=["^("])
    refused(r"topic t stands there twice", topics=["t", "t"])
    refused(r"librdkafka\.group\.id cannot be set: set group", librdkafka={"group.id": "mine"})
    refused(r"librdkafka\.enable\.auto\.commit cannot be set", librdkafka={"enable.auto.commit": True})
    refused(r"librdkafka\.auto\.offset\.reset cannot be set", librdkafka={"auto.offset.reset": "latest"})
    refused(r"no\.such\.property", librdkafka={"no.such.property": 1})
    refused(r"session\.timeout\.ms", librdkafka={"session.timeout.ms": "soon"})
    refused(r"sasl PLAIN needs username and password", sasl={"mechanism": "PLAIN", "username": "alice"})
    refused(r"sasl OAUTHBEARER needs oauth", sasl={"mechanism": "OAUTHBEARER"})
    refused(r"start is earliest, latest, or a time .*yesterday", start="yesterday")
    refused(r"tls\.cert and tls\.key go together", tls={"cert": "/etc/hostname"})
    refused(r"more than half of limits\.memory", prefetch="40MiB", top={"limits": {"memory": "64MiB"}})
    refused(r"source l: .*more than half of limits\.memory", prefetch="20MiB", second={"prefetch": "20MiB"}, top={"limits": {"memory": "64MiB"}})
    refused(r"brokers", brokers=[])
    refused(r"topics", topics=[])
    refused(r"isolation", isolation="serializable")


# -- memory ----------------------------------------------------------------------------------------------------------------------------------------------

def offsets_landed(server):
    """{partition: sorted offsets}, without taking the lines apart: there are hundreds of megabytes."""
    found = {}
    for path in Reader(server.zone).files():
        for partition, offset in re.findall(rb'"partition":(\d+),"offset":(\d+)', decode(path)):
            found.setdefault(int(partition), []).append(int(offset))
    return {p: sorted(offsets) for p, offsets in found.items()}


def bounded(topic, count, batches, many):
    """`count` partitions of `batches` batches each, a batch of `many` records of 1 KB that are all alike."""
    if is_sanitized():
        raise case.Skip("the sanitizer's own memory would be measured")
    broker().create(topic, count, max_message_bytes="10000000", retention_ms="-1")
    packed = batch([(b'{"pad":"' + b"p" * 1000 + b'"}', 1764000000000, [])] * many, 4, zstd)
    case.true(len(packed) < many * 1000 / 300, f"it shrinks to {len(packed)} bytes")
    for n in range(batches):
        for partition in range(count):
            send(topic, packed, partition)
    with running({"k": source(topic)}, limits={"memory": "256MiB"}) as server:
        until("all has landed", lambda: sum(p["landed"] for p in partitions_of(server)) == count * batches * many, 120, 0.1)
        peak = server.memory_kib() / 1024
        server.stop()
        case.equal({p: len(o) for p, o in offsets_landed(server).items()}, {p: batches * many for p in range(count)})
        case.true(all(o == list(range(batches * many)) for o in offsets_landed(server).values()), "each offset once")
    case.true(peak < 256, f"{peak:.0f} MiB resident at most")


def test_a_topic_that_unpacks_500_fold_stays_within_the_memory_that_is_allowed():
    bounded("bomb", 4, 100, 1000)
    bounded("wide_bomb", 20, 20, 1000)


def test_so_does_one_of_huge_batches():
    bounded("huge_bomb", 1, 25, 16000)


if __name__ == "__main__":
    kafka.ensure()
    case.main(globals())
