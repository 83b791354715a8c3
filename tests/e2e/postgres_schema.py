#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the owner of a table does to it while it is read: columns come, go and change, tables are rewritten, dropped and put back, partitions attached, rights taken away. Each is
told as an event or an alert; one stream's trouble is no other's, and no row is missed."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulled import Watch  # noqa: E402
from pulls import ORDERS, busy, datas, ids, only, orders, shop  # noqa: E402
from replica import BLIND, READER  # noqa: E402

OTHER = "CREATE TABLE other (id int PRIMARY KEY, updated_at timestamptz DEFAULT now())"


def two(**more):
    """A stream that has trouble, and one that has not."""
    return {"orders": orders(**more), "other": orders("other")}


def events(s):
    return [r.value["data"] for r in s.records("_schema")]


def event(s, change, column=None):
    """The one that tells of it."""
    found = [e for e in events(s) if e["change"] == change and (column is None or e["column"] == column)]
    case.equal(len(found), 1, f"events: {events(s)}")
    case.equal(found[0]["stream"], "orders")
    return found[0]


def other_lives(s, n):
    s.sql("INSERT INTO other VALUES (%s)", n)
    s.lands(len([1 for r in s.records("other")]) + 1, "other")


# -- columns --------------------------------------------------------------------------------------------------------------


def test_a_column_that_is_added_is_told_and_lands():
    with shop({"orders": orders(method="exact")}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.pull()
        s.sql("ALTER TABLE orders ADD COLUMN size int DEFAULT 7")
        s.sql("INSERT INTO orders VALUES (2, now(), 'x', 8)")
        got = s.pull()
        case.equal([(r.value["data"]["id"], r.value["data"]["size"]) for r in got if r.stream == "orders"], [(2, 8)], "rows that nobody touched are not read again")
        case.equal((event(s, "added", "size")["table"], event(s, "added", "size")["to"]), ("public.orders", "integer"))
        case.equal(s.pull(), [], "and is told once")


def test_a_column_that_is_dropped_or_renamed():
    with shop({"orders": orders()}, *ORDERS, "ALTER TABLE orders ADD COLUMN size int") as s:
        s.sql("INSERT INTO orders VALUES (1, now(), 'a', 1)")
        s.pull()
        s.sql("ALTER TABLE orders DROP COLUMN size")
        s.sql("ALTER TABLE orders RENAME COLUMN note TO remark")
        s.sql("INSERT INTO orders VALUES (2, now(), 'b')")
        got = [r for r in s.pull() if r.stream == "orders"]
        case.equal(list(only(got)["data"]), ["id", "updated_at", "remark"])
        case.equal(event(s, "dropped", "size")["from"], "integer")
        case.equal(sorted((e["change"], e["column"]) for e in events(s) if e["column"] in ("note", "remark")), [("added", "remark"), ("dropped", "note")])


def test_a_type_that_changes_is_told_with_both_types():
    with shop({"orders": orders()}, *ORDERS, "ALTER TABLE orders ADD COLUMN size int DEFAULT 1") as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.pull()
        s.sql("ALTER TABLE orders ALTER COLUMN size TYPE numeric(10,2)") # rewrites it: new ids for all rows
        s.sql("INSERT INTO orders VALUES (2, now(), '', 2.5)")
        s.pull()
        case.equal((event(s, "type", "size")["from"], event(s, "type", "size")["to"]), ("integer", "numeric(10,2)"))
        case.true(2 in ids(s.records("orders")), "what is new has landed")
        s.sql("INSERT INTO orders VALUES (3)")
        case.true(3 in ids([r for r in s.pull() if r.stream == "orders"]), "and goes on to")


def test_a_rewrite_by_its_owner_is_told_and_the_stream_goes_on():
    """ALTER TABLE gives all rows new ids. By range those whose time is long ago are not read again; by ids they are other versions."""
    for method, again in (("exact", 0), ("xid", 20)):
        with shop({"orders": orders(method=method)}, *ORDERS) as s:
            s.sql("INSERT INTO orders SELECT n, now() - interval '1 day' FROM generate_series(1, 20) n")
            s.pull()
            s.sql("ALTER TABLE orders ALTER COLUMN id TYPE numeric")
            case.equal(len([r for r in s.pull() + s.pull() if r.stream == "orders"]), again, method)
            case.equal(event(s, "rewritten")["table"], "public.orders")
            s.sql("INSERT INTO orders VALUES (21)")
            case.equal([int(r.value["data"]["id"]) for r in s.pull() if r.stream == "orders"], [21])
            case.equal(s.pull(), [])
            case.equal(len({r.value["id"] for r in s.records("orders")}), len(s.records("orders")), "no identity twice")


def test_ddl_while_it_is_read_under_writers():
    """Each kind of rewrite, at once with pulls: a snapshot that was taken before would see an empty table."""
    with busy(51, rows=3000, tables={"orders": "rows"}, method="exact", every="100ms", start=True, parallel=2, churning={"keep_house": False, "prepared": False, "hold": 0.3}) as (s, writers):
        with writers:
            for n in range(4):
                writers.more(15)
                for text in (f"ALTER TABLE orders ADD COLUMN extra{n} int DEFAULT {n}", "VACUUM FULL orders", "CLUSTER orders USING orders_pkey", f"ALTER TABLE orders DROP COLUMN extra{n}"):
                    with s.session() as ddl:
                        ddl.execute("SET lock_timeout = '5s'")
                        ddl.execute(text)
        # a row is judged by its version: of a table without the columns that came and went
        s.finish((Watch("orders"),))


def test_vacuum_full_of_a_table_that_is_read():
    with busy(52, rows=3000, method="exact", every="100ms", start=True, churning={"keep_house": False}) as (s, writers):
        with writers:
            for _ in range(6):
                writers.more(10)
                s.sql("VACUUM FULL orders")
                s.sql("VACUUM FULL events")
        s.finish((Watch("orders"), Watch("events", whole=True)))


def test_truncate_and_fill_anew():
    for method in ("exact", "xid"):
        with shop({"orders": orders(method=method)}, *ORDERS) as s:
            s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 10) n")
            s.pull()
            t = s.begin("TRUNCATE orders", "INSERT INTO orders SELECT n FROM generate_series(5, 12) n", "COMMIT")
            t.close()
            case.equal(ids([r for r in s.pull() + s.pull() if r.stream == "orders"]), list(range(5, 13)))
            case.equal(s.pull(), [])


# -- a stream that cannot be read -----------------------------------------------------------------------------------------


def test_a_table_that_is_missing_fails_alone_and_comes_back():
    with shop(two(), OTHER, every="300ms", start=True) as s:
        s.opens("postgres_stream_failed", "orders", stream="orders")
        other_lives(s, 1)
        for text in ORDERS:
            s.sql(text)
        s.sql(f"INSERT INTO orders VALUES (1); GRANT SELECT ON orders TO {READER}")
        s.lands(1, "orders")
        s.closes("postgres_stream_failed")
        s.sql("DROP TABLE orders")
        s.opens("postgres_stream_failed", "orders", stream="orders")
        other_lives(s, 2)


def test_once_says_by_its_exit_that_a_stream_failed():
    with shop(two(), OTHER) as s:
        s.sql("INSERT INTO other VALUES (1)")
        case.equal(ids(s.pull(code=1)), [1], "the other one has landed")
        case.true("orders" in s.check(code=1), "check names it")


def test_a_watermark_or_key_that_is_dropped_stops_that_stream_alone():
    for column in ("updated_at", "id"):
        with shop(two(method="exact"), *ORDERS, OTHER, every="300ms", start=True) as s:
            s.sql("INSERT INTO orders VALUES (1)")
            s.lands(1, "orders")
            s.sql(f"ALTER TABLE orders DROP COLUMN {column}")
            s.opens("postgres_stream_failed", column, stream="orders")
            other_lives(s, 1)


def test_a_table_that_is_dropped_and_made_anew_lands_from_its_first_row():
    with shop({"orders": orders(method="exact")}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n, now() - interval '1 day' FROM generate_series(1, 5) n")
        s.pull()
        s.sql("DROP TABLE orders")
        for text in ORDERS:
            s.sql(text)
        s.sql("INSERT INTO orders SELECT n, now() - interval '2 days', 'new' FROM generate_series(3, 8) n")
        got = [r for r in s.pull() + s.pull() if r.stream == "orders"]
        case.equal(sorted((d["id"], d["note"]) for d in datas(got)), [(n, "new") for n in range(3, 9)])
        case.equal([r for r in s.pull() if r.stream == "orders"], [])


def test_a_table_that_is_swapped_by_renaming():
    with shop({"orders": orders(method="exact")}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n, now() - interval '1 day' FROM generate_series(1, 5) n")
        s.pull()
        s.sql("CREATE TABLE fresh (LIKE orders INCLUDING ALL)")
        s.sql("INSERT INTO fresh SELECT id, updated_at, 'copied' FROM orders UNION ALL SELECT 6, now() - interval '9 days', 'only there'")
        s.sql(f"GRANT SELECT ON fresh TO {READER}; BEGIN; ALTER TABLE orders RENAME TO old; ALTER TABLE fresh RENAME TO orders; COMMIT")
        got = datas([r for r in s.pull() + s.pull() if r.stream == "orders"])
        case.true(6 in [d["id"] for d in got], f"a row of the new table: {got}")


# -- partitions -------------------------------------------------------------------------------------------------------------


PARTS = ["CREATE TABLE orders (id bigint, updated_at timestamptz DEFAULT now(), note text, PRIMARY KEY (id)) PARTITION BY RANGE (id)", "CREATE INDEX ON orders (updated_at)"] + \
    [f"CREATE TABLE orders_{n} PARTITION OF orders FOR VALUES FROM ({n * 100}) TO ({n * 100 + 100})" for n in range(2)]


def test_a_partition_that_is_attached_with_old_rows_lands():
    for method in ("exact", "xid"):
        with shop({"orders": orders(method=method)}, *PARTS, "CREATE TABLE orders_9 (LIKE orders INCLUDING ALL)") as s:
            s.sql("INSERT INTO orders_9 SELECT n, now() - interval '1 year' FROM generate_series(900, 949) n") # older than all that is read from now on
            s.sql("INSERT INTO orders SELECT n FROM generate_series(0, 199) n")
            case.equal(len([r for r in s.pull() if r.stream == "orders"]), 200)
            s.sql("INSERT INTO orders VALUES (50) ON CONFLICT DO NOTHING")
            s.pull()
            s.sql("ALTER TABLE orders ATTACH PARTITION orders_9 FOR VALUES FROM (900) TO (1000)")
            s.sql("INSERT INTO orders VALUES (950)")
            got = [r for r in s.pull() + s.pull() if r.stream == "orders"]
            case.equal(ids(got), list(range(900, 951)))
            case.equal(event(s, "partition_added")["table"] in ("public.orders", "public.orders_9"), True)
            s.sql("ALTER TABLE orders DETACH PARTITION orders_1")
            s.sql("INSERT INTO orders VALUES (951)")
            case.equal(ids([r for r in s.pull() if r.stream == "orders"]), [951])
            event(s, "partition_gone")
            s.sql("ALTER TABLE orders ATTACH PARTITION orders_1 FOR VALUES FROM (100) TO (200)")
            s.sql("INSERT INTO orders VALUES (952)")
            case.true(952 in ids([r for r in s.pull() + s.pull() if r.stream == "orders"]), "and back again")


# -- rights -----------------------------------------------------------------------------------------------------------------


def test_rights_on_some_columns_only():
    """LOCK TABLE is refused to such a role; a rewrite is noticed all the same."""
    with shop({"orders": orders(columns=["id", "updated_at"], method="xid")}, *ORDERS) as s:
        s.sql(f"REVOKE SELECT ON orders FROM {READER}; GRANT SELECT (id, updated_at) ON orders TO {READER}")
        s.sql("INSERT INTO orders VALUES (0)")
        case.equal(ids(s.pull(code=1)), [], "transaction ids are columns with rights of their own")
        case.true("GRANT SELECT (xmin, ctid)" in s.server.tail(), "which is said")
        s.sql(f"GRANT SELECT (xmin, ctid) ON orders TO {READER}")
        case.equal(ids(s.pull()), [0])
        late = s.begin("INSERT INTO orders VALUES (1)")
        s.sql("INSERT INTO orders VALUES (2)")
        case.equal(ids(s.pull()), [2])
        late.execute("COMMIT")
        case.equal(ids(s.pull()), [1])
        s.sql("VACUUM FULL orders")
        s.sql("INSERT INTO orders VALUES (3)")
        case.equal(ids([r for r in s.pull() if r.stream == "orders"]), [3])


def test_a_right_that_is_taken_away_and_given_back():
    with shop(two(), *ORDERS, OTHER, every="300ms", start=True) as s:
        s.sql("INSERT INTO orders VALUES (1)")
        s.lands(1, "orders")
        s.sql(f"REVOKE SELECT ON orders FROM {READER}")
        s.opens("postgres_stream_failed", "GRANT", stream="orders")
        other_lives(s, 1)
        s.sql(f"INSERT INTO orders VALUES (2); GRANT SELECT ON orders TO {READER}")
        s.lands(2, "orders")
        s.closes("postgres_stream_failed")


def test_a_policy_that_hides_rows_is_an_error_not_a_gap():
    with shop(two(), *ORDERS, OTHER, every="300ms") as s:
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 10) n")
        s.sql("ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY half ON orders USING (id <= 5)")
        s.start()
        s.opens("postgres_stream_failed", stream="orders")
        other_lives(s, 1)
        case.equal(s.records("orders"), [], "half of a table is worse than none")
        s.server.stop()
        case.true("row" in s.check(code=1).lower(), "check says so")


def test_a_reader_who_may_not_see_other_sessions_reads_by_ids_and_says_what_to_grant():
    with shop({"orders": orders(method="exact")}, *ORDERS, every="200ms") as s:
        s.change(dsn=s.primary.dsn(s.db, BLIND, None))
        text = s.check()
        case.true("pg_read_all_stats" in text and "xid" in text, text)
        late = s.begin("INSERT INTO orders VALUES (1)")
        s.sql("INSERT INTO orders VALUES (2)")
        s.start()
        case.equal(ids(s.lands(1)), [2])
        s.opens("postgres_sessions_hidden", "pg_read_all_stats")
        late.execute("COMMIT")
        case.equal(ids(s.lands(2)), [1, 2])
        case.true((s.metric("millrace_postgres_hidden_sessions") or 0) > 0, "hidden sessions are counted")


def test_a_blind_reader_under_writers():
    with busy(53, every="200ms", churning={"stale": True}) as (s, writers):
        s.change(dsn=s.primary.dsn(s.db, BLIND, None))
        with writers:
            s.start()
            time.sleep(10)
        s.finish((Watch("orders"), Watch("events", whole=True)))


def test_exact_for_a_reader_who_may_not_see_others_is_refused_or_read_by_ids_and_never_lossy():
    with shop({"orders": orders(method="exact")}, *ORDERS) as s:
        s.change(dsn=s.primary.dsn(s.db, BLIND, None))
        late = s.begin("SELECT now()")
        s.sql("INSERT INTO orders VALUES (1)")
        done = s.server.cli("run", "--once")
        late.execute("INSERT INTO orders VALUES (2)")
        late.execute("COMMIT")
        if done.returncode == 0:
            s.pull()
            case.equal(ids(s.records()), [1, 2])
        else:
            case.true("pg_read_all_stats" in s.check(code=1), "check says what to grant")


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
