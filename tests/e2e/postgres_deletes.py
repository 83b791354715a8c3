#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Deletes by a scan of keys: whatever has landed and is gone gets one tombstone, whatever is there gets none, and no tombstone lands behind the row version that made it untrue."""
import collections
import glob
import gzip
import os
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulls import ORDERS, SOURCE, ids, only, orders, shop, standby  # noqa: E402
from server import has_faults, is_sanitized, until  # noqa: E402
from topics import no_stage  # noqa: E402

SCAN = {"deletes": True, "deletes_every": "1s"}
SIGKILL = -9
CASTAGNOLI = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82f63b78 if byte & 1 else 0)
    CASTAGNOLI.append(byte)


def scanned(**more):
    return orders(**{**SCAN, **more})


def part(s, stream="orders"):
    """What the state says of the last scan."""
    return s.positions().get((stream, "deletes")) or {}


def scan(s, stream="orders", **more):
    """run --once when a scan is due, and what it has landed."""
    last = part(s, stream).get("taken_at", 0) / 1e6
    until("a scan is due", lambda: time.time() > last + 1.05, 10)
    return s.pull(**more)


def gone(records):
    """Keys of the tombstones, sorted as they are compared: by their JSON's bytes."""
    return sorted((r.value["key"] for r in records if r.value.get("tombstone")), key=str.encode)


def live(records):
    return [r for r in records if not r.value.get("tombstone")]


def state_of(records):
    """Keys that are there, by all that has landed in order."""
    there = {}
    for r in records:
        there[r.value["key"]] = not r.value.get("tombstone")
    return {key for key, yes in there.items() if yes}


def in_order(s, stream="orders"):
    """As they landed: files by the number of their landing, records by their line. Tombstones of one landing and rows of another never share a file."""
    return sorted(s.records(stream), key=lambda r: r.value["ingested_at"])


def files(s, kind="keys", stream="orders"):
    return sorted(glob.glob(os.path.join(s.server.data_dir, "postgres", SOURCE, stream, kind + "-*")))


def only_file(s, stream="orders"):
    found = files(s, stream=stream)
    case.equal(len(found), 1, f"files of keys: {found}")
    return found[0]


def names(s, stream="orders"):
    return sorted(os.listdir(os.path.join(s.server.data_dir, "postgres", SOURCE, stream)))


def crc32c(data):
    value = 0xffffffff
    for byte in data:
        value = CASTAGNOLI[(value ^ byte) & 255] ^ value >> 8
    return value ^ 0xffffffff


def number(data, at):
    """LEB128, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def keys_of(path):
    """As src/sources/postgres/keyfile.h says that they lie in the file, by nothing of millrace."""
    with open(path, "rb") as f:
        data = f.read()
    magic, kind, n, said = struct.unpack_from("<8sIII", data)
    case.equal((magic, kind, said), (b"MRKEYS1\n", 1, crc32c(data[:16] + data[20:20 + n])))
    at, keys = 20 + n, []
    while True:
        n, becomes, count, said = struct.unpack_from("<IIII", data, at)
        case.equal(crc32c(data[at:at + 12] + data[at + 16:at + 16 + n]), said)
        payload, at = data[at + 16:at + 16 + n], at + 16 + n
        if not count:
            case.equal((struct.unpack("<Q", payload)[0], at), (len(keys), len(data)))
            return keys
        payload, i, last = gzip.decompress(payload), 0, b""
        case.equal(len(payload), becomes)
        for _ in range(count):
            same, i = number(payload, i)
            more, i = number(payload, i)
            last, i = last[:same] + payload[i:i + more], i + more
            keys.append(last.decode())


# -- what a tombstone is, and when there is one -----------------------------------------------------------------------


def test_a_row_that_is_gone_lands_as_a_tombstone_once():
    with shop({"orders": scanned()}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n, now(), 'row ' || n FROM generate_series(1, 10) n")
        first = s.pull()
        case.equal((ids(live(first)), gone(first)), (list(range(1, 11)), []))
        case.equal(part(s)["keys"], 10)
        s.sql("DELETE FROM orders WHERE id = 7")
        floor = s.value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        tombstone = only(scan(s))
        case.equal((tombstone["source"], tombstone["stream"], tombstone["key"], tombstone["data"], tombstone["tombstone"]), ("shop", "orders", "[7]", None, True))
        xid = tombstone["position"]["xid"]
        case.true(xid >= floor, f"{xid}: its snapshot came after the delete, which ended below {floor}")
        case.equal(tombstone["id"], f'[7,"deleted",{xid}]')
        case.equal(tombstone["position"], {"xid": xid})
        case.equal([m for m in ("event_at", "late", "omitted", "snapshot") if m in tombstone], [])
        case.equal((part(s)["keys"], part(s)["xmax"]), (9, xid))
        case.equal(keys_of(only_file(s)), sorted(f"[{n}]" for n in range(1, 11) if n != 7))
        case.equal(scan(s), [], "once")
        case.equal(len(names(s)), 1, f"one file of keys is kept: {names(s)}")
        no_stage(s.server)
        s.cli("verify", "--deep")


def test_nothing_is_scanned_before_it_is_due():
    with shop({"orders": scanned(deletes_every="1h")}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (1), (2)")
        s.pull()
        taken = part(s)["taken_at"]
        s.sql("DELETE FROM orders")
        case.equal(s.pull(), [])
        case.equal(part(s)["taken_at"], taken)
        s.change_stream("orders", deletes_every="1s")
        case.equal(gone(scan(s)), ["[1]", "[2]"])


def test_a_row_that_comes_and_goes_between_two_scans_is_told_too():
    with shop({"orders": scanned(deletes_every="1h")}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.pull()
        s.sql("INSERT INTO orders VALUES (2), (3)")
        case.equal(ids(s.pull()), [2, 3])
        s.sql("INSERT INTO orders VALUES (4)")     # each run begins a log of its own
        case.equal(ids(s.pull()), [4])
        s.sql("DELETE FROM orders WHERE id IN (2, 4)")
        s.sql("INSERT INTO orders VALUES (5)")
        s.sql("DELETE FROM orders WHERE id = 5")   # no pull has ever seen it
        s.change_stream("orders", deletes_every="1s")
        case.equal(gone(scan(s)), ["[2]", "[4]"])
        case.equal(scan(s), [])
        case.equal([part(s)["keys"], files(s, "landed")], [2, []])


def test_a_first_scan_knows_what_has_landed_before_it():
    with shop({"orders": scanned()}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 5) n")
        if not has_faults():
            raise case.Skip("this build has no fault points")
        s.server.spawn("--once", extra={"MILLRACE_CRASH": "keys_write:1"})
        case.equal(s.server.wait(), SIGKILL)
        s.sql("DELETE FROM orders WHERE id = 3")
        case.equal(gone(s.pull()), ["[3]"])


def test_a_key_that_comes_again_is_no_delete():
    with shop({"orders": scanned()}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (1, now(), 'one'), (2, now(), 'two')")
        s.pull()
        s.sql("DELETE FROM orders WHERE id = 1")
        s.sql("INSERT INTO orders VALUES (1, now(), 'one again')")
        again = scan(s)
        case.equal([(r.value["key"], r.value["data"]["note"]) for r in live(again)], [("[1]", "one again")])
        case.equal(gone(again), [])
        s.sql("DELETE FROM orders WHERE id = 1")
        case.equal(gone(scan(s)), ["[1]"])
        s.sql("INSERT INTO orders VALUES (1, now(), 'and again')")
        case.equal([r.value["data"]["note"] for r in scan(s)], ["and again"])
        s.sql("DELETE FROM orders WHERE id = 1")
        case.equal(gone(scan(s)), ["[1]"])
        case.equal(len({r.value["id"] for r in s.records()}), len(s.records()), "each has an id of its own")
        case.equal(state_of(in_order(s)), {"[2]"})


def test_a_key_that_comes_again_while_the_scan_runs_lands_behind_the_tombstone():
    """The scan takes its time over one row; meanwhile the key is back."""
    slow = "id <> 999 OR (pg_sleep(2) IS NOT NULL)"
    with shop({"orders": scanned(where=slow, method="xid")}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 5) n")
        s.sql("INSERT INTO orders VALUES (999)")
        s.pull()
        s.sql("DELETE FROM orders WHERE id = 3")
        s.start()
        until("the keys are being read", lambda: s.primary.activity("state = 'active' AND wait_event = 'PgSleep' AND query LIKE '%%pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text%%COPY%%'"), 30, 0.005)
        s.sql("INSERT INTO orders VALUES (3, now(), 'back')")
        until("it lands", lambda: [r for r in s.records() if r.value["key"] == "[3]" and r.value["data"] and r.value["data"]["note"] == "back"], 40)
        s.server.stop()
        three = [(bool(r.value.get("tombstone")), (r.value["data"] or {}).get("note")) for r in in_order(s) if r.value["key"] == "[3]"]
        case.equal(three, [(False, None), (True, None), (False, "back")])
        case.equal(state_of(in_order(s)), {f"[{n}]" for n in (1, 2, 3, 4, 5, 999)})


def test_rows_that_move_between_partitions_are_there_and_a_partition_that_is_gone_is_gone():
    parted = ("CREATE TABLE orders (id bigint, region text, updated_at timestamptz DEFAULT now()) PARTITION BY LIST (region)",
              "CREATE TABLE orders_a PARTITION OF orders FOR VALUES IN ('a')", "CREATE TABLE orders_b PARTITION OF orders FOR VALUES IN ('b')",
              "CREATE TABLE orders_rest PARTITION OF orders DEFAULT")
    with shop({"orders": scanned()}, *parted) as s:
        s.sql("INSERT INTO orders SELECT n, (ARRAY['a','b','c'])[1 + n % 3] FROM generate_series(1, 9) n")
        case.equal(len(s.pull()), 9)
        s.sql("UPDATE orders SET region = 'b', updated_at = now() WHERE id = 3")         # was a
        moved = scan(s)
        case.equal((ids(live(moved)), gone(moved)), ([3], []))
        with s.session() as one:                                                           # rows of the default one move into a new one
            one.execute("BEGIN")
            one.execute("CREATE TABLE orders_c (LIKE orders)")
            one.execute("WITH x AS (DELETE FROM orders_rest RETURNING *) INSERT INTO orders_c SELECT * FROM x")
            one.execute("ALTER TABLE orders ATTACH PARTITION orders_c FOR VALUES IN ('c')")
            one.execute("COMMIT")
        case.equal(gone(scan(s)), [])
        s.sql("DROP TABLE orders_b")
        case.equal(gone(scan(s)), ["[1]", "[3]", "[4]", "[7]"])
        s.sql("ALTER TABLE orders DETACH PARTITION orders_a")
        case.equal(gone(scan(s)), ["[6]", "[9]"])
        case.equal(state_of(in_order(s)), {"[2]", "[5]", "[8]"})


def test_truncate_tells_of_all():
    with shop({"orders": scanned()}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 300) n")
        s.pull()
        s.sql("TRUNCATE orders")
        s.sql("INSERT INTO orders VALUES (5)")
        case.equal(gone(scan(s)), sorted(f"[{n}]" for n in range(1, 301) if n != 5))
        case.equal(state_of(in_order(s)), {"[5]"})


def test_a_row_that_no_longer_meets_the_condition_is_gone():
    with shop({"orders": scanned(where="note IS DISTINCT FROM 'hidden' -- a comment")}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (1), (2)")
        s.pull()
        s.sql("UPDATE orders SET note = 'hidden', updated_at = now() WHERE id = 2")
        case.equal(gone(scan(s)), ["[2]"])


# -- keys -------------------------------------------------------------------------------------------------------------


def test_keys_of_any_type_are_compared_as_they_land():
    """What the server's collations sort together, apart, or take for equal."""
    table = ("CREATE COLLATION same (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
             "CREATE TABLE things (name text COLLATE \"und-x-icu\", same text COLLATE same, u uuid, n numeric, t timestamptz, b bytea, a int[], ok bool, d date)")
    words = ["a", "A", "ä", "a b", "a-b", "ab", "aB", "ß", "ss", "", " ", '"', "\\", "\n", "\u2028", "é", "e\u0301", "\U0001f600", "zebra", "Ångström", "%", "~", "'", "null", "[1]", "1", "01"]
    key = ["name", "same", "u", "n", "t", "b", "a", "ok", "d"]
    with shop({"things": {"table": "public.things", "key": key, **SCAN}}, *table) as s:
        for i, word in enumerate(words):
            s.sql("INSERT INTO things VALUES (%s, %s, md5(%s)::uuid, %s, to_timestamp(%s), %s, %s, %s, %s)", word, word[::-1], word, f"{i}.{'0' * (i % 3)}", i * 0.1, word.encode(), [i, None], i % 2 == 0,
                  "infinity" if i % 5 == 0 else "2026-01-02")
        for column in key:                     # NULL in each of them, and in all
            s.sql(f"INSERT INTO things SELECT {', '.join('NULL' if c == column else c for c in key)} FROM things ORDER BY ctid LIMIT 1")
        s.sql("INSERT INTO things DEFAULT VALUES")
        all_of = {r.value["key"] for r in s.pull()}
        case.equal(len(all_of), len(words) + len(key) + 1, "all keys differ")
        rows = s.value("SELECT count(*) FROM things")
        case.equal(part(s, "things")["keys"], rows)
        case.equal(keys_of(only_file(s, "things")), sorted(all_of, key=str.encode))
        case.equal(gone(scan(s, "things")), [], "nothing is gone")
        s.sql("DELETE FROM things WHERE (hashtext(things::text) & 1) = 0 OR name IS NULL")
        told = gone(scan(s, "things"))
        case.equal(len(told), rows - s.value("SELECT count(*) FROM things"))
        case.true(set(told) <= all_of, "as they had landed")
        s.sql("UPDATE things SET n = n + 0.000, t = t")   # the row lives, under another name
        renamed = scan(s, "things")
        case.equal(state_of(sorted(s.records(), key=lambda r: r.value["ingested_at"])), {r.value["key"] for r in live(renamed)})
        s.sql("DELETE FROM things")
        case.equal(len(gone(scan(s, "things"))), len(live(renamed)))


def test_a_key_that_is_not_unique_is_gone_with_its_last_row():
    with shop({"orders": scanned(key=["note"])}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (1, now(), 'x'), (2, now(), 'x'), (3, now(), 'y')")
        s.pull()
        s.sql("DELETE FROM orders WHERE id = 1")
        case.equal(gone(scan(s)), [])
        s.sql("DELETE FROM orders WHERE id = 2")
        case.equal(gone(scan(s)), ['["x"]'])


def test_a_view_a_query_and_names_that_need_quotes():
    odd = ("CREATE SCHEMA \"Odd one\"", "CREATE TABLE \"Odd one\".\"T x\" (\"The Id\" int, updated_at timestamptz DEFAULT now())", "GRANT USAGE ON SCHEMA \"Odd one\" TO millrace",
           "GRANT SELECT ON \"Odd one\".\"T x\" TO millrace", "CREATE VIEW v AS SELECT id, updated_at FROM orders WHERE id < 100")
    streams = {"odd": {"table": '"Odd one"."T x"', "key": ["The Id"], **SCAN},
               "v": {"table": "public.v", "watermark": "updated_at", "key": ["id"], **SCAN},
               "q": {"query": "SELECT id, updated_at FROM orders -- all", "method": "window", "watermark": "updated_at", "key": ["id"], **SCAN}}
    with shop(streams, *ORDERS, *odd) as s:
        s.sql("INSERT INTO orders SELECT n, now() - interval '1 hour' FROM generate_series(98, 101) n")
        s.sql('INSERT INTO "Odd one"."T x" VALUES (1), (2)')
        case.equal(collections.Counter(r.stream for r in s.pull()), {"odd": 2, "v": 2, "q": 4})
        s.sql('DELETE FROM "Odd one"."T x" WHERE "The Id" = 1')
        s.sql("DELETE FROM orders WHERE id IN (99, 101)")
        until("scans are due", lambda: time.time() > max(part(s, stream)["taken_at"] for stream in streams) / 1e6 + 1.05, 10)
        told = s.pull()
        case.equal({stream: gone([r for r in told if r.stream == stream]) for stream in streams}, {"odd": ["[1]"], "v": ["[99]"], "q": ["[101]", "[99]"]})
        case.equal(live(told), [])


def test_a_key_that_is_too_large_stops_its_stream_and_says_so():
    with shop({"orders": scanned(key=["note"]), "other": orders()}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (1, now(), repeat('x', 2000000))")
        s.start()
        s.opens("postgres_stream_failed", "key", stream="orders")
        until("the other goes on", lambda: s.records("other"))


# -- deaths -----------------------------------------------------------------------------------------------------------

POINTS = ("landed_write", "landed_sync", "keys_write", "keys_sync", "keys_synced", "stage_sync", "decide_begin", "decide_commit", "decide_committed", "publish_rename", "publish_synced", "publish_noted",
          "keys_remove")


def test_whoever_dies_anywhere_tells_of_each_delete_once():
    if not has_faults():
        raise case.Skip("this build has no fault points")
    with shop({"orders": scanned(), "other": orders()}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 200) n")
        s.pull()
        expected, at = {f"[{n}]" for n in range(1, 201)}, 1
        for point in POINTS:
            for nth in (1, 2, 3):
                s.sql("INSERT INTO orders VALUES (%s)", 1000 + at)     # lands, and is gone by the next time
                s.sql("DELETE FROM orders WHERE id IN (%s, %s)", at, 999 + at)
                expected = expected - {f"[{at}]", f"[{999 + at}]"} | {f"[{1000 + at}]"}
                at += 1
                last = part(s).get("taken_at", 0) / 1e6
                until("a scan is due", lambda: time.time() > last + 1.05, 10)
                s.server.spawn("--once", extra={"MILLRACE_CRASH": f"{point}:{nth}"})
                code = s.server.wait()
                case.true(code in (0, SIGKILL), f"{point}:{nth} ended with {code}\n{s.server.tail()}")
                print(f"    {point}:{nth} {'died' if code else 'was not passed so often'}", flush=True)
        for _ in range(2):
            scan(s)
        records = s.records("orders")
        case.equal([x for x, n in collections.Counter(r.value["id"] for r in records).items() if n > 1], [], "ids that came twice")
        case.equal([x for x, n in collections.Counter(gone(records)).items() if n > 1], [], "deletes that were told twice")
        case.equal(state_of(in_order(s)), expected)
        case.equal([n for n in names(s) if not n.startswith("keys-")], [], "nothing is left behind")
        case.equal(len(files(s)), 1)
        no_stage(s.server)


def test_a_disk_that_fails_delays_and_loses_nothing():
    if not has_faults():
        raise case.Skip("this build has no fault points")
    for point in ("landed_write", "landed_sync", "keys_write", "keys_sync", "keys_synced"):
        with shop({"orders": scanned()}, *ORDERS) as s:
            s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 50) n")
            s.server.extra_env["MILLRACE_FAIL"] = f"{point}:1-2:ENOSPC"
            s.start()
            s.lands(50)
            s.sql("DELETE FROM orders WHERE id <= 3")
            s.lands(53)
            s.server.stop()
            case.equal((len(live(s.records())), gone(s.records())), (50, ["[1]", "[2]", "[3]"]), point)


# -- the file -----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_missing_or_damaged_is_told_and_the_scan_is_a_first_one():
    def remove(path):
        os.unlink(path)

    def cut(path):
        os.truncate(path, os.path.getsize(path) - 1)

    def turn(path):
        with open(path, "r+b") as f:
            f.seek(os.path.getsize(path) // 2)
            byte = f.read(1)
            f.seek(-1, 1)
            f.write(bytes([byte[0] ^ 1]))

    for harm in (remove, cut, turn):
        print(f"    {harm.__name__}", flush=True)
        with shop({"orders": scanned()}, *ORDERS) as s:
            s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 100) n")
            s.pull()
            s.sql("DELETE FROM orders WHERE id = 1")
            s.sql("INSERT INTO orders VALUES (101)")
            harm(files(s)[0])
            s.start()
            s.opens("postgres_deletes_unknown", "not known", stream="orders")
            until("it scans anew", lambda: part(s).get("keys") == 100)
            s.sql("DELETE FROM orders WHERE id IN (2, 101)")
            until("deletes are told again", lambda: gone(s.records()) == ["[101]", "[2]"])
            s.closes("postgres_deletes_unknown")


def test_another_way_to_write_keys_begins_anew():
    with shop({"orders": scanned()}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 10) n")
        s.pull()
        s.sql("DELETE FROM orders WHERE id = 1")
        s.change(bigint_as="string")
        case.equal(scan(s), [], "none of the keys of before is there by that name, and none is gone")
        s.sql("DELETE FROM orders WHERE id = 2")
        case.equal(gone(scan(s)), ['["2"]'])


def test_a_reset_forgets_the_scan_too():
    with shop({"orders": scanned()}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 10) n")
        s.pull()
        s.cli("state reset", f"{SOURCE}/orders")
        s.sql("DELETE FROM orders WHERE id = 1")
        again = s.pull()
        case.equal((ids(live(again)), gone(again)), (list(range(2, 11)), []))
        s.sql("DELETE FROM orders WHERE id = 2")
        case.equal(gone(scan(s)), ["[2]"])
        case.equal(len(names(s)), 1)


def test_a_standby_that_is_behind_says_nothing_of_deletes():
    node = standby()
    with shop({"orders": scanned()}, *ORDERS, node=node, primary_dsn=True) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 10) n")
        case.equal(len(s.pull()), 10)
        s.sql("DELETE FROM orders WHERE id = 4")
        node.catch_up()
        case.equal(gone(scan(s)), ["[4]"])


def test_a_standby_that_has_not_seen_a_key_come_again_does_not_say_that_it_is_gone():
    """Read from the primary first, then from a standby that is behind, by less than what the transaction ids of the pull would tell."""
    node = standby()
    with shop({"orders": scanned(method="xid", deletes_every="1h")}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 5) n")
        s.pull()
        node.catch_up()
        holds = s.begin("SELECT pg_current_xact_id()")
        s.sql("DELETE FROM orders WHERE id = 3")
        node.catch_up()
        node.pause()
        s.sql("INSERT INTO orders VALUES (3, now(), 'back')")
        case.equal(ids(s.pull()), [3])
        s.change(dsn=node.dsn(s.db, password=None))
        s.change_stream("orders", deletes_every="1s")
        s.start()
        until("it waits", lambda: '"keyscan_waits"' in s.server.log())
        runs = s.metric("millrace_postgres_runs_total", "orders", outcome="done")
        until("pulls go on", lambda: s.metric("millrace_postgres_runs_total", "orders", outcome="done") > runs + 2)
        case.equal(gone(s.records()), [])
        node.resume()
        holds.execute("COMMIT")
        s.sql("DELETE FROM orders WHERE id = 4")
        until("it is told of what is gone", lambda: gone(s.records()))
        s.server.stop()
        case.equal((gone(s.records()), len(live(s.records()))), (["[4]"], 6))


# -- size -----------------------------------------------------------------------------------------------------------------


def test_many_keys_in_bounded_memory():
    """Sorted in many pieces, and the loop answers all the while."""
    with shop({"orders": scanned(key=["note", "id"])}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n, now(), md5(n::text) || md5((n * 7)::text) FROM generate_series(1, 200000) n")
        s.start()
        s.lands(200000, timeout=180)
        until("the first scan", lambda: part(s).get("keys") == 200000, 120)
        before = s.server.memory_kib()
        s.sql("DELETE FROM orders WHERE id % 1000 = 0")
        s.sql("INSERT INTO orders SELECT n, now(), md5(n::text) FROM generate_series(300001, 300100) n")
        worst, told = 0, 0
        end = time.monotonic() + 120
        while told < 200 and time.monotonic() < end:
            begun = time.monotonic()
            s.server.get("/metrics")
            worst = max(worst, time.monotonic() - begun)
            told = len(gone(s.records()))
        more = s.server.memory_kib() - before
        print(f"    {s.server.memory_kib()} KiB at most, {more} of them since the first scan; the loop answers within {worst * 1000:.0f} ms", flush=True)
        want = {f'["{note}",{n}]' for n, note in s.sql("SELECT n, md5(n::text) || md5((n * 7)::text) FROM generate_series(1000, 200000, 1000) n")}
        case.equal(set(gone(s.records())), want)
        until("its keys are counted", lambda: s.metric("millrace_postgres_keys", "orders") == 199900)
        case.equal(s.metric("millrace_postgres_tombstones_total", "orders"), 200)
        if not is_sanitized():
            case.true(more < 32 << 10, f"{more} KiB more for a scan of 17 MB of keys")


def test_deletes_under_writers():
    """Inserts, deletes and re-inserts of the same few keys, a pull every 100 ms and a scan every second: in the end what has landed says what is there."""
    with shop({"orders": scanned(method="xid")}, *ORDERS, every="100ms", start=True) as s:
        with s.session() as one:
            end, n = time.monotonic() + 12, 0
            while time.monotonic() < end:
                n += 1
                one.execute("INSERT INTO orders VALUES (%s, clock_timestamp(), %s) ON CONFLICT (id) DO UPDATE SET note = excluded.note, updated_at = excluded.updated_at", (n * 7919 % 97, str(n)))
                one.execute("DELETE FROM orders WHERE id = %s", (n * 104729 % 89,))
        s.server.stop()
        scan(s)
        case.equal(state_of(in_order(s)), {f"[{n}]" for n, in s.sql("SELECT id FROM orders")})
        case.equal([x for x, n in collections.Counter(r.value["id"] for r in s.records()).items() if n > 1], [])
        print(f"    {len(live(s.records()))} row versions, {len(gone(s.records()))} tombstones", flush=True)
        case.true(gone(s.records()), "some were told while it ran")


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
