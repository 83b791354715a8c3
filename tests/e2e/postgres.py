#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tables of a real server into the zone by run --once: each version of a row that a pull could see lands once, however late its transaction commits and whatever its watermark
says. One server for all stories, a database of its own for each."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulls import EXACT, ORDERS, datas, field, ids, only, orders, primary, shop  # noqa: E402
from server import until  # noqa: E402
from topics import no_stage  # noqa: E402


def each_method():
    """A shop for each way to read exactly."""
    for method in EXACT:
        print(f"    method {method}", flush=True)
        with shop({"orders": orders(method=method)}, *ORDERS, skew="60s") as s:
            yield s


# -- what lands, and how it looks -----------------------------------------------------------------------------------


def test_a_first_run_lands_the_whole_table_and_a_second_one_nothing():
    with shop({"orders": orders()}, *ORDERS) as s:
        s.sql("INSERT INTO orders SELECT n, now() - n * interval '1 hour', 'row ' || n FROM generate_series(1, 1000) n")
        case.equal(ids(s.pull()), list(range(1, 1001)))
        case.equal(s.pull(), [])
        s.sql("INSERT INTO orders VALUES (1001)")
        case.equal(ids(s.pull()), [1001])
        no_stage(s.server)
        s.cli("verify", "--deep")


def test_a_record_is_as_the_contract_says():
    with shop({"orders": orders()}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (42, '2026-11-22 21:25:22.123456+00', E'a\"\\nb')")
        xid = s.value("SELECT xmin::text::bigint FROM orders") # far from the first wraparound: the 64 bits are the same
        record = s.pull()[0]
        value = record.value
        case.equal((value["source"], value["stream"], value["id"], value["key"]), ("shop", "orders", f"[42,{xid}]", "[42]"))
        case.equal(value["data"], {"id": 42, "updated_at": "2026-11-22T21:25:22.123456Z", "note": 'a"\nb'})
        case.equal(list(value["data"]), ["id", "updated_at", "note"], "in the table's order")
        case.equal(value["position"], {"watermark": "2026-11-22T21:25:22.123456Z", "xid": xid})
        case.equal(value["event_at"], "2026-11-22T21:25:22.123456Z")
        case.true(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", value["ingested_at"]), value["ingested_at"])
        case.equal([m for m in ("late", "omitted", "tombstone", "replay", "snapshot") if m in value], [])
        case.true(f'"id":"[42,{xid}]"' in record.text and '"key":"[42]"' in record.text, "as text")


def test_an_empty_table_is_no_error_and_is_read_on_from():
    for s in each_method():
        case.equal(s.pull(), [])
        s.sql("INSERT INTO orders VALUES (1), (2)")
        case.equal(ids(s.pull()), [1, 2])


def test_updates_land_as_versions_and_deletes_harm_nobody():
    for s in each_method():
        s.sql("INSERT INTO orders SELECT n, now() - interval '2 days' FROM generate_series(1, 10) n")
        case.equal(len(s.pull()), 10)
        s.sql("UPDATE orders SET updated_at = now(), note = 'one' WHERE id <= 3")
        s.sql("DELETE FROM orders WHERE id = 10")
        case.equal([(d["id"], d["note"]) for d in datas(s.pull())], [(1, "one"), (2, "one"), (3, "one")])
        s.sql("UPDATE orders SET updated_at = now(), note = 'lost to the next' WHERE id = 1")
        s.sql("UPDATE orders SET updated_at = now(), note = 'two' WHERE id = 1")
        case.equal([d["note"] for d in datas(s.pull())], ["two"])
        s.sql("UPDATE orders SET updated_at = now() - interval '20 days', note = 'much earlier' WHERE id = 2") # 20 days ago, and only now
        s.sql("UPDATE orders SET note = 'time untouched' WHERE id = 5")
        late = [] if s.options["streams"]["orders"]["method"] == "exact" else ["much earlier", "time untouched"]
        case.equal([d["note"] for d in datas(s.pull())], late, "the range does not reach back that far, the scan by transaction does")


def test_a_sweep_finds_what_the_range_cannot():
    with shop({"orders": orders(method="exact")}, *ORDERS, sweep="1s") as s:
        s.sql("INSERT INTO orders SELECT n, now() - n * interval '1 hour' FROM generate_series(1, 50) n")
        case.equal(len(s.pull()), 50)
        s.start()
        s.sql("UPDATE orders SET note = 'time untouched' WHERE id = 7")
        s.sql("INSERT INTO orders VALUES (100, now() - interval '30 days', 'much earlier')")
        s.sql("INSERT INTO orders VALUES (101, now(), 'in time')")
        s.lands(53)
        s.opens("postgres_late_rows", stream="orders")
        case.equal(s.metric("millrace_postgres_late_rows_total", "orders"), 2)
        s.server.stop()
        new = [r.value for r in s.new() if r.value["data"]["note"]]
        case.equal(sorted((v["data"]["note"], v.get("late", False)) for v in new), [("in time", False), ("much earlier", True), ("time untouched", True)])
        s.sql("INSERT INTO orders VALUES (102, now(), 'after')")
        case.equal(ids(s.pull()), [102])


# -- transactions that are open while others are read -----------------------------------------------------------------


def test_a_transaction_that_began_before_a_pull_and_commits_after_it_is_not_lost():
    for s in each_method():
        s.sql("INSERT INTO orders VALUES (1)")
        s.pull()
        late = s.begin("INSERT INTO orders VALUES (2, clock_timestamp(), 'late')")
        s.sql("INSERT INTO orders VALUES (3)")
        case.equal(ids(s.pull()), [3], "what is committed does not wait for who is not")
        s.sql("INSERT INTO orders VALUES (4)")
        case.equal(ids(s.pull()), [4])
        late.execute("COMMIT")
        case.equal(ids(s.pull()), [2])
        case.equal(s.pull(), [])


def test_a_transaction_that_began_early_and_writes_late_is_not_lost():
    for s in each_method():
        early = s.begin("SELECT now()")          # no id yet, and its now() is fixed
        for n in range(3):
            s.sql("INSERT INTO orders VALUES (%s)", n)
            case.equal(ids(s.pull()), [n])
        early.execute("INSERT INTO orders VALUES (100)")
        s.sql("INSERT INTO orders VALUES (3)")
        early.execute("COMMIT")
        case.equal(ids(s.pull()), [3, 100])
        case.equal(s.pull(), [])


def test_an_early_id_that_writes_late_is_not_lost():
    for s in each_method():
        early = s.begin("SELECT pg_current_xact_id()")
        s.sql("INSERT INTO orders VALUES (1)")
        case.equal(ids(s.pull()), [1])
        early.execute("INSERT INTO orders VALUES (2, clock_timestamp())")
        s.sql("INSERT INTO orders VALUES (3)")
        case.equal(ids(s.pull()), [3])
        early.execute("COMMIT")
        case.equal(ids(s.pull()), [2])


def test_commits_out_of_order_and_rollbacks():
    for s in each_method():
        open_ones = [s.begin(f"INSERT INTO orders VALUES ({n}, clock_timestamp())") for n in range(6)]
        expected = []
        for n, end in ((5, "COMMIT"), (3, "ROLLBACK"), (4, "COMMIT"), (1, "COMMIT"), (0, "ROLLBACK"), (2, "COMMIT")):
            open_ones[n].execute(end)
            expected = [n] if end == "COMMIT" else []
            case.equal(ids(s.pull()), expected, f"after {end} of {n}")
        case.equal(s.pull(), [])


def test_savepoints_that_end_or_are_rolled_back():
    """Their rows have ids of their own, which no list of running transactions shows."""
    for s in each_method():
        t = s.begin("INSERT INTO orders VALUES (1)", "SAVEPOINT a", "INSERT INTO orders VALUES (2)", "SAVEPOINT b", "INSERT INTO orders VALUES (3)", "RELEASE b",
                    "SAVEPOINT c", "INSERT INTO orders VALUES (4)", "ROLLBACK TO c")
        s.sql("INSERT INTO orders VALUES (10)")
        case.equal(ids(s.pull()), [10])
        t.execute("SAVEPOINT d")
        t.execute("INSERT INTO orders VALUES (5)")
        s.sql("INSERT INTO orders VALUES (11)")
        case.equal(ids(s.pull()), [11])
        t.execute("COMMIT")
        s.sql("INSERT INTO orders VALUES (12)")
        case.equal(ids(s.pull()), [1, 2, 3, 5, 12])
        case.equal(s.pull(), [])


def test_many_savepoints_overflow_what_the_server_keeps_of_them():
    for s in each_method():
        t = s.begin()
        for n in range(150):                     # more than 64: pg_subtrans alone knows whose they are
            t.execute(f"SAVEPOINT s{n}")
            t.execute(f"INSERT INTO orders VALUES ({n})")
        s.sql("INSERT INTO orders VALUES (1000)")
        case.equal(ids(s.pull()), [1000])
        t.execute("COMMIT")
        case.equal(ids(s.pull()), list(range(150)))
        case.equal(s.pull(), [])


def test_prepared_transactions():
    for s in each_method():
        s.sql("INSERT INTO orders VALUES (1)")
        s.pull()
        for n, gid in ((2, "kept"), (3, "dropped")):
            t = s.begin(f"INSERT INTO orders VALUES ({n})")
            t.execute(f"PREPARE TRANSACTION '{s.db}{gid}'")
            t.close()                            # nobody's session has it any more
        s.sql("INSERT INTO orders VALUES (4)")
        case.equal(ids(s.pull()), [4])
        s.sql("INSERT INTO orders VALUES (5)")
        case.equal(ids(s.pull()), [5])
        s.sql(f"COMMIT PREPARED '{s.db}kept'")
        s.sql(f"ROLLBACK PREPARED '{s.db}dropped'")
        case.equal(ids(s.pull()), [2])
        case.equal(s.pull(), [])


def test_a_prepared_transaction_from_before_the_first_pull():
    """Nothing tells when it began, so its times may be any."""
    for s in each_method():
        t = s.begin("INSERT INTO orders VALUES (1, now() - interval '3 days')", "INSERT INTO orders VALUES (2)")
        t.execute(f"PREPARE TRANSACTION '{s.db}old'")
        s.sql("INSERT INTO orders VALUES (3)")
        case.equal(ids(s.pull()), [3])
        s.sql("INSERT INTO orders VALUES (4)")
        case.equal(ids(s.pull()), [4])
        s.sql(f"COMMIT PREPARED '{s.db}old'")
        found = s.pull() + s.pull()
        case.equal(ids(found), [1, 2])
        case.equal(s.pull(), [])


def test_a_reader_that_stays_open_for_long_delays_nobody():
    for s in each_method():
        reader = s.begin("SELECT count(*) FROM orders", level="ISOLATION LEVEL REPEATABLE READ")
        for n in range(4):
            s.sql("INSERT INTO orders VALUES (%s)", n)
            case.equal(ids(s.pull()), [n])
        reader.execute("COMMIT")
        case.equal(s.pull(), [])


def test_a_transaction_of_another_database_delays_nobody_and_its_end_lands_nothing():
    for s in each_method():
        with primary().session("postgres") as other:
            other.execute("BEGIN; SELECT pg_current_xact_id()")
            for n in range(3):
                s.sql("INSERT INTO orders VALUES (%s)", n)
                case.equal(ids(s.pull()), [n])
            other.execute("ROLLBACK")
        case.equal(s.pull(), [])


def test_an_older_id_overwrites_a_younger_ones_row():
    """The last version of a row may have a lower id than the one before; both land."""
    for s in each_method():
        s.sql("INSERT INTO orders VALUES (1, now(), 'first')")
        s.pull()
        old = s.begin("SELECT pg_current_xact_id()")
        s.sql("UPDATE orders SET updated_at = clock_timestamp(), note = 'younger' WHERE id = 1")
        case.equal([r.value["data"]["note"] for r in s.pull()], ["younger"])
        old.execute("UPDATE orders SET updated_at = clock_timestamp(), note = 'older id, last word' WHERE id = 1")
        old.execute("COMMIT")
        case.equal([r.value["data"]["note"] for r in s.pull()], ["older id, last word"])
        first, second = [json.loads(r.value["id"])[1] for r in s.records() if r.value["data"]["note"] != "first"]
        case.true(first != second and min(first, second) == json.loads(next(r.value["id"] for r in s.records() if r.value["data"]["note"].startswith("older")))[1], "two ids")


# -- watermarks -------------------------------------------------------------------------------------------------------


def test_equal_times_lose_and_double_nothing():
    for s in each_method():
        same = s.value("SELECT now()")
        for n in range(4):                       # the same microsecond again and again, within the skew
            s.sql("INSERT INTO orders SELECT %s * 100 + i, %s FROM generate_series(1, 50) i", n, same)
            case.equal(len(s.pull()), 50)
        for n in range(4):                       # and the same second
            s.sql("INSERT INTO orders SELECT 1000 + %s * 100 + i, date_trunc('second', now()) FROM generate_series(1, 50) i", n)
            case.equal(len(s.pull()), 50)
        case.equal(s.pull(), [])
        case.equal(len(set(field(s.records(), "id"))), 400)


def test_null_and_infinite_times_land_once_and_end_nothing():
    odd = "(1, NULL, 'null'), (2, 'infinity', 'inf'), (3, '-infinity', '-inf'), (4, '0044-03-15 00:00:00+00 BC', 'bc'), (5, '294276-12-31 23:59:59.999999+00', 'end'), " \
          "(6, now() + interval '1 year', 'ahead'), (7, '4713-01-01 00:00:00+00 BC', 'begin')"
    for s in each_method():
        s.sql(f"INSERT INTO orders VALUES {odd}, (8, now(), 'now')")
        first = {r.value["data"]["id"]: r.value for r in s.pull()}
        case.equal(sorted(first), list(range(1, 9)))
        case.equal([first[n]["data"]["updated_at"] for n in range(1, 6)],
                   [None, "infinity", "-infinity", first[4]["data"]["updated_at"], first[5]["data"]["updated_at"]])
        for n in (4, 5, 7):                      # as the server writes them, or something that it reads as the same
            case.true(s.value("SELECT %s::timestamptz = updated_at FROM orders WHERE id = %s", first[n]["data"]["updated_at"], n), first[n])
        case.equal([n for n in first if "event_at" in first[n]], [6, 8])
        case.equal(s.pull(), [], "and are not read again")
        s.sql("INSERT INTO orders VALUES (10, now()), (11, NULL), (12, '-infinity'), (13, 'infinity')")
        case.equal(ids(s.pull()), [10, 11, 12, 13], "they ended nothing")
        s.sql("UPDATE orders SET note = note || '.' WHERE id IN (1, 2, 3)")
        case.equal(ids(s.pull()), [1, 2, 3])
        case.equal(s.pull(), [])


def test_null_watermarks_may_be_left_out_or_refused():
    with shop({"orders": orders(method="exact", null_watermark="skip")}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (1, NULL), (2, now())")
        case.equal(ids(s.pull()), [2])
        s.sql("INSERT INTO orders VALUES (3, NULL), (4, now())")
        case.equal(ids(s.pull()), [4])
    with shop({"orders": orders(method="exact", null_watermark="fail")}, *ORDERS) as s:
        s.sql("INSERT INTO orders VALUES (2, now())")
        case.equal(ids(s.pull()), [2])
        s.sql("INSERT INTO orders VALUES (3, NULL), (4, now())")
        case.equal(s.pull(code=1), [], "a run that fails lands nothing of it")
        s.start()
        s.opens("postgres_stream_failed", "updated_at", stream="orders")
        s.sql("DELETE FROM orders WHERE id = 3")
        s.lands(2)
        s.closes("postgres_stream_failed")


def test_clocks_of_writers_that_are_behind_within_the_skew():
    with shop({"orders": orders(method="exact")}, *ORDERS, skew="30s") as s:
        for n in range(3):
            s.sql("INSERT INTO orders VALUES (%s, now() - interval '29 s'), (%s, now() - interval '1 s')", n * 10, n * 10 + 1)
            case.equal(ids(s.pull()), [n * 10, n * 10 + 1])


def test_freezing_and_rewriting_by_vacuum_lands_nothing_again():
    for s in each_method():
        s.sql("INSERT INTO orders SELECT n FROM generate_series(1, 100) n")
        case.equal(len(s.pull()), 100)
        s.sql("VACUUM (FREEZE) orders")
        case.equal(s.pull(), [])
        s.sql("INSERT INTO orders VALUES (101)")
        s.sql("VACUUM (FREEZE) orders")          # a row that is frozen before it is first read
        case.equal(ids(s.pull()), [101])
        s.sql("DELETE FROM orders WHERE id % 2 = 0")
        s.sql("VACUUM FULL orders")
        s.sql("INSERT INTO orders VALUES (102)")
        s.sql("CLUSTER orders USING orders_pkey")
        case.equal([r.value["data"]["id"] for r in s.pull("orders")], [102], "ids of transactions outlive it")


def test_several_streams_of_one_source():
    more = ["CREATE TABLE t%d (id int PRIMARY KEY, updated_at timestamptz DEFAULT now())" % n for n in range(12)]
    with shop({f"t{n}": orders(f"public.t{n}") for n in range(12)}, *more) as s:
        for n in range(12):
            s.sql(f"INSERT INTO t{n} SELECT generate_series(1, {n + 1})")
        s.pull()
        case.equal({f"t{n}": len(s.records(f"t{n}")) for n in range(12)}, {f"t{n}": n + 1 for n in range(12)})
        s.sql("INSERT INTO t5 VALUES (100)")
        case.equal(only(s.pull())["stream"], "t5")


def test_a_cadence_lands_what_is_committed_soon():
    with shop({"orders": orders()}, *ORDERS, every="200ms", start=True) as s:
        for n in range(5):
            s.sql("INSERT INTO orders VALUES (%s)", n)
            s.lands(n + 1, timeout=10)
        until("runs are counted", lambda: (s.metric("millrace_postgres_runs_total") or 0) > 5, 10)
    # a stop drains; nothing is left for later
    case.equal(len(s.records()), 5)


def test_a_notification_starts_a_pull_at_once():
    with shop({"orders": orders()}, *ORDERS, every="1h", listen="orders_changed", start=True) as s:
        s.lands(0)
        for n in range(3):
            s.sql("INSERT INTO orders VALUES (%s)", n)
            s.sql("NOTIFY orders_changed")
            s.lands(n + 1, timeout=15)


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
