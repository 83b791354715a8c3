#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is read may be any relation, under any name, with a key of several columns or none, and with whatever its owner calls a watermark: each row once all the same. Whole
tables land under one decision, deleted keys as tombstones."""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulls import EXACT, KEYSCAN, ORDERS, datas, ids, only, orders, shop  # noqa: E402
from server import has_faults, until  # noqa: E402
from topics import no_stage  # noqa: E402

# -- keys and columns -------------------------------------------------------------------------------------------------


def test_a_key_of_several_columns_and_of_any_type():
    table = "CREATE TABLE lines (shop text, n int, at timestamptz DEFAULT now(), day date, PRIMARY KEY (shop, n))"
    with shop({"lines": {"table": "lines", "mode": "incremental", "watermark": "at", "key": ["shop", "n"]},
               "days": {"table": "lines", "mode": "incremental", "watermark": "at", "key": ["n", "day", "shop"]}}, table) as s:
        s.sql("INSERT INTO lines VALUES ('a', 1, now(), '2026-11-22'), ('a\"b', 1, now(), 'infinity'), ('', 2, now(), NULL), (E'\u00e4\\n', 2, now(), '2026-01-01')")
        s.pull()
        found = {r.value["key"]: r.value for r in s.records("lines")}
        case.equal(sorted(json.loads(k) for k in found), [["", 2], ["a", 1], ['a"b', 1], ["\u00e4\n", 2]])
        for key, value in found.items():
            case.equal(value["id"], f"{key[:-1]},{value['position']['xid']}]")
        case.equal(sorted((json.loads(r.value["key"]) for r in s.records("days")), key=str),
                   sorted([[1, "2026-11-22", "a"], [1, "infinity", 'a"b'], [2, None, ""], [2, "2026-01-01", "\u00e4\n"]], key=str))
        s.sql("UPDATE lines SET at = now() WHERE n = 2")
        case.equal(len(s.pull("lines")), 2)


def test_without_a_key_rows_are_told_by_their_place():
    for method in EXACT:
        with shop({"log": {"table": "log", "mode": "append", "watermark": "at", "method": method}}, "CREATE TABLE log (at timestamptz DEFAULT now(), text text)") as s:
            s.sql("INSERT INTO log (text) VALUES ('same'), ('same'), ('same')")
            got = s.pull()
            xid = s.value("SELECT min(xmin::text::bigint) FROM log")
            case.equal(sorted(r.value["id"] for r in got), [f'["(0,{n})",{xid}]' for n in (1, 2, 3)])
            case.equal([r.value for r in got if "key" in r.value], [])
            s.sql("INSERT INTO log (text) VALUES ('same')")
            case.equal(len(s.pull()), 1)
            case.equal(s.pull(), [])
            case.equal(len({r.value["id"] for r in s.records()}), 4)


def test_without_a_key_in_a_table_of_tables():
    make = ["CREATE TABLE log (at timestamptz DEFAULT now(), n int) PARTITION BY LIST (n)"] + [f"CREATE TABLE log_{n} PARTITION OF log FOR VALUES IN ({n})" for n in (1, 2)]
    with shop({"log": {"table": "log", "mode": "append", "watermark": "at"}}, *make) as s:
        s.sql("INSERT INTO log (n) VALUES (1), (2)")
        got = s.pull()
        want = s.sql("SELECT format('[%s,\"%s\",%s]', tableoid::oid, ctid, xmin) FROM log ORDER BY 1")
        case.equal(sorted(r.value["id"] for r in got), sorted(w for w, in want))


def test_names_as_nasty_as_they_can_be():
    schema, table, time, key = 'Sch"e ma', 'or.de"rs\u00e4 select', "Updated At", "select"
    quote = ['"' + n.replace('"', '""') + '"' for n in (schema, table, time, key)]
    make = (f"CREATE SCHEMA {quote[0]}", f"GRANT USAGE ON SCHEMA {quote[0]} TO millrace",
            f"CREATE TABLE {quote[0]}.{quote[1]} ({quote[3]} int PRIMARY KEY, {quote[2]} timestamptz DEFAULT now(), \"a'b\" text, \"\u2028\" int DEFAULT 7, \"x\ny\" int DEFAULT 8)")
    with shop({"odd": {"table": f"{quote[0]}.{quote[1]}", "mode": "incremental", "watermark": time, "key": [key]}}, *make) as s:
        s.sql(f"INSERT INTO {quote[0]}.{quote[1]} VALUES (1, now(), 'x')")
        value = only(s.pull())
        case.equal(list(value["data"]), [key, time, "a'b", "\u2028", "x\ny"])
        case.equal((value["data"]["a'b"], value["data"]["\u2028"], value["key"]), ("x", 7, "[1]"))
        s.sql(f"INSERT INTO {quote[0]}.{quote[1]} VALUES (2)")
        only(s.pull())


def test_streams_with_names_of_their_own():
    with shop({"Orders/of 2026": orders()}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        case.equal(only(s.pull())["stream"], "Orders/of 2026")


def test_columns_that_are_named_and_rows_that_are_chosen():
    with shop({"orders": orders(columns=["id", "updated_at"], where="note <> 'secret' OR note IS NULL"),
               "few": orders(columns=["note", "id"], where="id % 2 = 0 -- even\n")}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (1, now(), 'x'), (2, now(), 'secret'), (3, now(), NULL), (4, now(), 'y')")
        s.pull()
        case.equal(ids(s.records("orders")), [1, 3, 4])
        case.equal({tuple(r.value["data"]) for r in s.records("orders")}, {("id", "updated_at")})
        case.equal([sorted(r.value["data"]) for r in s.records("few")], [["id", "note"]] * 2, "a watermark that is not asked for does not land")
        case.true(all("watermark" in r.value["position"] for r in s.records("few")), "but is in the position")
        s.sql("UPDATE orders SET note = 'open', updated_at = now() WHERE id = 2")
        s.pull()
        case.equal((ids(s.records("orders")), ids(s.records("few"))), ([1, 2, 3, 4], [2, 2, 4]))


# -- watermarks ---------------------------------------------------------------------------------------------------------


def test_watermarks_of_every_type():
    kinds = {"timestamptz": ("timestamptz", "now()", {}), "naive": ("timestamp", "now() AT TIME ZONE 'America/New_York'", {"time_zone": "America/New_York"}),
             "utc": ("timestamp", "now() AT TIME ZONE 'UTC'", {}), "day": ("date", "(now() AT TIME ZONE 'UTC')::date", {}),
             "seconds": ("bigint", "extract(epoch FROM now())::bigint", {"unit": "s"}), "ms": ("bigint", "(extract(epoch FROM now()) * 1000)::bigint", {"unit": "ms"}),
             "us": ("bigint", "(extract(epoch FROM now()) * 1000000)::bigint", {"unit": "us"}), "int": ("int", "extract(epoch FROM now())::int", {"unit": "s"})}
    make = [f"CREATE TABLE {name} (id int PRIMARY KEY, at {kind}); CREATE INDEX ON {name} (at)" for name, (kind, _, _) in kinds.items()]
    streams = {name: {"table": name, "mode": "incremental", "method": "exact", "watermark": "at", "key": ["id"], **more} for name, (_, _, more) in kinds.items()}
    with shop(streams, *make) as s:
        late = s.begin("SELECT now()")
        for name, (_, now, _) in kinds.items():
            s.sql(f"INSERT INTO {name} VALUES (1, {now}), (2, NULL)")
        s.pull()
        for name, (_, now, _) in kinds.items():
            late.execute(f"INSERT INTO {name} VALUES (3, {now})")
            s.sql(f"INSERT INTO {name} VALUES (4, {now}), (5, NULL)")
        s.pull()
        late.execute("COMMIT")
        s.pull()
        case.equal(s.pull(), [])
        for name in kinds:
            case.equal(ids(s.records(name)), [1, 2, 3, 4, 5], name)
        for name in ("timestamptz", "naive", "utc", "seconds", "ms", "us"):
            at = [r.value.get("event_at") for r in s.records(name) if r.value["data"]["id"] == 1][0]
            case.true(at and at[:10] >= s.value("SELECT (now() AT TIME ZONE 'UTC' - interval '1 day')::date::text"), f"{name}: event_at {at}")
        one = [r.value for r in s.records("naive") if r.value["data"]["id"] == 1][0]
        case.true(s.value("SELECT abs(extract(epoch FROM %s::timestamptz - (%s::timestamp AT TIME ZONE 'America/New_York'))) < 1", one["event_at"], one["data"]["at"].rstrip("Z")), one)


def test_no_watermark_at_all():
    with shop({"orders": {"table": "orders", "mode": "incremental", "key": ["id"]}}, *ORDERS) as s:
        late = s.begin("INSERT INTO orders VALUES (1)")
        s.sql("INSERT INTO orders VALUES (2, '2000-01-01')")
        case.equal(ids(s.pull()), [2])
        s.sql("UPDATE orders SET note = 'x'")
        late.execute("COMMIT")
        got = s.pull()
        case.equal(ids(got), [1, 2])
        case.equal([r.value["position"].get("watermark") for r in got], [None, None])
        case.equal(s.pull(), [])


def test_a_table_without_an_index_is_told_and_read():
    with shop({"orders": orders()}, ORDERS[0]) as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 1000) n")
        case.equal(len(s.pull()), 1000)
        case.true("xid" in s.check(), "which method is chosen without an index")


# -- queries and other relations ------------------------------------------------------------------------------------------


def test_a_query_by_the_window_waits_for_open_transactions_and_loses_nothing():
    query = "SELECT id, updated_at, upper(note) AS loud FROM orders WHERE note IS NOT NULL"
    with shop({"loud": {"query": query, "mode": "incremental", "method": "window", "watermark": "updated_at", "key": ["id"]}}, *ORDERS, skew="0s", guard="0s") as s:
        s.sql("INSERT INTO orders VALUES (1, now() - interval '1 h', 'a'), (2, now() - interval '1 h', NULL)")
        got = s.pull()
        case.equal([r.value["data"]["loud"] for r in got], ["A"])
        case.equal(got[0].value["id"], json.dumps([1, got[0].value["data"]["updated_at"]], separators=(",", ":")))
        case.equal(list(got[0].value["position"]), ["watermark"])
        s.start()
        late = s.begin("INSERT INTO orders VALUES (3, now(), 'late')")
        s.sql("INSERT INTO orders SELECT n, now(), 'after' FROM generate_series(100, 110) n")
        late.execute("INSERT INTO orders VALUES (4, clock_timestamp(), 'later')")
        late.execute("COMMIT")
        s.lands(14)
        s.server.stop()
        case.equal(ids(s.records()), [1, 3, 4, *range(100, 111)])
        s.new()
        s.sql("UPDATE orders SET updated_at = now() - interval '1 year' WHERE id = 1")
        case.equal(s.pull(), [], "a window never looks back")


def test_a_window_that_is_held_for_too_long_goes_on_and_says_so():
    with shop({"q": {"query": "SELECT * FROM orders", "mode": "incremental", "method": "window", "watermark": "updated_at", "key": ["id"]}}, *ORDERS, skew="0s", guard="0s", max_hold="2s") as s:
        s.start()
        held = s.begin("INSERT INTO orders VALUES (1)")
        until("a moment later", lambda: s.value("SELECT now() > %s::timestamptz + interval '100 ms'", held.execute("SELECT now()::text").fetchone()[0]))
        s.sql("INSERT INTO orders VALUES (2)")
        case.true(not s.records(), "held below the oldest transaction")
        s.lands(1, timeout=30)
        case.equal(ids(s.records()), [2])
        held.execute("ROLLBACK")


def test_views_by_the_window():
    with shop({"plain": orders("plain", method="window")}, *ORDERS, "CREATE VIEW plain AS SELECT * FROM orders", skew="0s", guard="0s") as s:
        late = s.begin("INSERT INTO orders VALUES (1)")
        s.sql("INSERT INTO orders VALUES (2)")
        case.equal(s.pull(), [], "held below the one that is open")
        late.execute("COMMIT")
        until("the window has reached them", lambda: s.pull() is not None and ids(s.records("plain")) == [1, 2], 20, 0.3)
        case.equal(s.pull(), [])


def test_a_view_by_an_exact_method_is_refused_with_the_way_out():
    with shop({"plain": orders("plain", method="exact"), "orders": orders()}, *ORDERS, "CREATE VIEW plain AS SELECT * FROM orders") as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.pull(code=1)
        case.equal((ids(s.records("orders")), s.records("plain")), ([1], []))
        text = s.check(code=1)
        case.true("plain" in text and "window" in text, text)


def test_materialized_views():
    with shop({"m": orders("m")}, *ORDERS, "CREATE MATERIALIZED VIEW m AS SELECT * FROM orders", "CREATE UNIQUE INDEX ON m (id)") as s:
        s.sql("INSERT INTO orders VALUES (1), (2)")
        case.equal(s.pull("m"), [])
        s.sql("REFRESH MATERIALIZED VIEW CONCURRENTLY m")
        case.equal(ids(s.pull("m")), [1, 2])
        s.sql("INSERT INTO orders VALUES (3)")
        s.sql("REFRESH MATERIALIZED VIEW CONCURRENTLY m")
        case.equal(ids(s.pull("m")), [3])


PARTS = ["CREATE TABLE orders (id bigint, updated_at timestamptz DEFAULT now(), note text, PRIMARY KEY (id)) PARTITION BY RANGE (id)", "CREATE INDEX ON orders (updated_at)"] + \
    [f"CREATE TABLE orders_{n} PARTITION OF orders FOR VALUES FROM ({n * 100}) TO ({n * 100 + 100})" for n in range(3)]


def test_partitioned_tables():
    for method in ("auto", *EXACT):
        with shop({"orders": orders(method=method)}, *PARTS) as s:
            late = s.begin("INSERT INTO orders VALUES (250)")
            s.sql("INSERT INTO orders SELECT n * 50 FROM generate_series(0, 4) n")
            case.equal(ids(s.pull()), [0, 50, 100, 150, 200])
            s.sql("UPDATE orders SET id = id + 101, updated_at = now() WHERE id = 0") # moves to another one
            late.execute("COMMIT")
            case.equal(ids(s.pull("orders")), [101, 250])
            case.equal(s.pull("orders"), [])


def test_a_tree_of_inheritance():
    with shop({"orders": orders()}, *ORDERS, "CREATE TABLE orders_old (extra int) INHERITS (orders)") as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.sql("INSERT INTO orders_old VALUES (2, now(), 'x', 7)")
        case.equal(ids(s.pull()), [1, 2])
        s.sql("INSERT INTO orders_old VALUES (3, now(), 'x', 7)")
        case.equal(ids(s.pull()), [3])


# -- whole tables -------------------------------------------------------------------------------------------------------


def markers(s):
    return sorted((r.value["data"] for r in s.records("_snapshots")), key=lambda d: d["taken_at"])


def test_a_whole_table_at_each_run_with_its_mark_of_completeness():
    with shop({"customers": {"table": "customers", "mode": "snapshot", "key": ["id"]}, "nokey": {"table": "customers", "mode": "snapshot"}},
              "CREATE TABLE customers (id int PRIMARY KEY, name text)") as s:
        for rows in (0, 3, 4):
            s.sql("INSERT INTO customers SELECT n, 'c' || n FROM generate_series(1, %s) n ON CONFLICT DO NOTHING", rows)
            got = s.pull()
            for stream in ("customers", "nokey"):
                mine = [r.value for r in got if r.stream == stream]
                mark = only([r for r in got if r.stream == "_snapshots" and r.value["data"]["stream"] == stream])["data"]
                case.equal((mark["rows"], len(mine)), (rows, rows), stream)
                case.equal({v["snapshot"] for v in mine} - {mark["snapshot"]}, set())
                case.equal(set(mark), {"stream", "snapshot", "rows", "taken_at", "columns"})
                case.equal(sorted(v["data"]["id"] for v in mine), list(range(1, rows + 1)))
                case.equal(len({v["id"] for v in mine}), rows)
                case.equal([json.loads(v["id"])[-1] for v in mine], [mark["snapshot"]] * rows)
                case.equal(len({v["position"]["row"] for v in mine}), rows)
                case.true(all(v["position"]["snapshot"] == mark["snapshot"] for v in mine), "position")
        case.equal(len({m["snapshot"] for m in markers(s)}), len(markers(s)))
        s.sql("DELETE FROM customers WHERE id = 1")
        case.equal(ids([r for r in s.pull() if r.stream == "customers"]), [2, 3, 4])


def test_a_whole_table_is_of_one_moment_and_lands_whole_or_not_at_all():
    if not has_faults():
        raise case.Skip("this build has no named points")
    with shop({"c": {"table": "c", "mode": "snapshot", "key": ["id"]}}, "CREATE TABLE c (id int PRIMARY KEY, n int, pad text)", chunk="1MiB", top={"zone": {"roll": {"size": "1MiB"}}}) as s:
        s.sql("INSERT INTO c SELECT n, 0, repeat(md5(n::text), 10) FROM generate_series(1, 20000) n")
        for point in ("stage_synced:2", "decide_commit:1", "decide_committed:1", "publish_rename:2"):
            done = s.server.cli("run", "--once", extra={"MILLRACE_CRASH": point})
            case.equal(done.returncode, -signal.SIGKILL, f"{point}: {done.stderr[-500:]}")
            s.sql("UPDATE c SET n = n + 1")
        s.pull()
        complete = {m["snapshot"]: m["rows"] for m in markers(s)}
        counts = {}
        for r in s.records("c"):
            counts.setdefault(r.value["snapshot"], []).append(r.value["data"]["n"])
        case.equal({k: len(v) for k, v in counts.items()}, complete, "all that is there is complete")
        case.equal([k for k, v in counts.items() if len(set(v)) != 1], [], "of one moment each")
        no_stage(s.server)


def test_deleted_keys_land_as_tombstones():
    with shop({"orders": orders(**KEYSCAN)}, *ORDERS, every="300ms") as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 100) n")
        s.start()
        s.lands(100)
        s.sql("DELETE FROM orders WHERE id IN (7, 8)")
        s.sql("DELETE FROM orders WHERE id = 9")
        s.sql("INSERT INTO orders VALUES (9, now(), 'put back')")
        until("two tombstones land", lambda: sum(bool(r.value.get("tombstone")) for r in s.records()) >= 2, 40)
        s.sql("DELETE FROM orders WHERE id = 10")
        until("the third lands", lambda: sum(bool(r.value.get("tombstone")) for r in s.records()) >= 3, 40)
        s.server.stop()
        gone = [r.value for r in s.records() if r.value.get("tombstone")]
        case.equal(sorted(v["key"] for v in gone), ["[10]", "[7]", "[8]"])
        for v in gone:
            case.equal((v["data"], json.loads(v["id"])[:2]), (None, [json.loads(v["key"])[0], "deleted"]))
        case.equal([d["note"] for d in datas([r for r in s.records("orders") if not r.value.get("tombstone")]) if d["id"] == 9 and d["note"]], ["put back"])
        s.sql("INSERT INTO orders VALUES (7, now(), 'again')")
        case.equal([r.value["data"] and r.value["data"]["note"] for r in s.pull()], ["again"])


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
