#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server that is read is another one than before: a standby that was promoted, with all of its transactions or without the last, a stranger under the same name, a backup of yesterday."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulls import BOTH, ORDERS, busy, ids, orders, primary, shop  # noqa: E402
from replica import Primary, Standby, Way  # noqa: E402
from server import until  # noqa: E402


def pair():
    first = Primary()
    return first, Standby(first)


def test_a_standby_that_is_promoted_goes_on():
    first, second = pair()
    try:
        with busy(65, server=first, method="exact", every="200ms", start=False, churning={"prepared": False}) as (s, writers):
            second.catch_up()
            s.change(dsn=f"host=127.0.0.1,127.0.0.1 port={first.port},{second.port} user={replica.READER} dbname={s.db} target_session_attrs=read-write connect_timeout=3")
            with writers:
                s.start()
                writers.more(60)
            second.catch_up()
            until("what there is has landed", lambda: len(s.records("events")) >= second.value("SELECT count(*) FROM events", database=s.db), 30, 0.3)
            first.end()
            second.promote()
            s.primary = s.node = second
            s.sql("INSERT INTO events (id, how) VALUES (9000001, 'after')")
            s.sql("UPDATE orders SET updated_at = now(), how = 'after' WHERE id <= 100")
            until("it goes on with the new one", lambda: 9000001 in [r.value["data"]["id"] for r in s.records("events")], 60, 0.3)
            s.finish(BOTH)
    finally:
        second.stop()
        first.stop()


def test_a_promoted_standby_that_lacks_the_last_transactions():
    """What the old one had committed and never sent is gone; its ids are given again, and those rows are new ones."""
    first = Primary()
    way = Way(first.port)
    second = Standby(first, port=way.port)
    try:
        with shop({"orders": orders(method="exact")}, *ORDERS, server=first, every="200ms") as s:
            s.sql("INSERT INTO orders VALUES (1)")
            second.catch_up()
            way.refuse()
            for n in range(100, 140):
                s.sql("INSERT INTO orders VALUES (%s)", n)
            s.change(dsn=f"host=127.0.0.1,127.0.0.1 port={first.port},{second.port} user={replica.READER} dbname={s.db} target_session_attrs=read-write connect_timeout=3")
            s.start()
            s.lands(41)
            first.kill()
            second.promote()
            s.primary = s.node = second
            for n in range(200, 230):
                s.sql("INSERT INTO orders VALUES (%s)", n)
            s.opens("postgres_went_back", timeout=60)
            until("the new rows land", lambda: set(range(200, 230)) <= set(ids(s.records())), 60, 0.3)
            for n in range(300, 360):
                s.sql("INSERT INTO orders VALUES (%s)", n)
            until("and all later ones", lambda: set(range(300, 360)) <= set(ids(s.records())), 60, 0.3)
    finally:
        way.close()
        second.stop()
        first.stop()


def test_another_server_under_the_same_name_is_not_read():
    other = Primary()
    try:
        with Way(primary().port) as way, shop({"orders": orders(method="exact")}, *ORDERS, every="200ms") as s:
            s.change(dsn=s.primary.dsn(s.db, password=None, port=way.port))
            s.sql("INSERT INTO orders VALUES (1)")
            s.start()
            s.lands(1)
            other.database(s.db, *ORDERS, "INSERT INTO orders VALUES (2)")
            way.lead(other.port)
            way.cut()
            text = s.opens("postgres_other_server")
            here, there = (node.value("SELECT system_identifier::text FROM pg_control_system()") for node in (primary(), other))
            case.true(here in text and there in text, f"it names both: {text}")
            time.sleep(1)
            case.equal(ids(s.records()), [1])
            way.lead(primary().port)
            way.cut()
            s.sql("INSERT INTO orders VALUES (3)")
            case.equal(ids(s.lands(2, timeout=60)), [1, 3])
            s.closes("postgres_other_server")
    finally:
        other.stop()


def test_a_restored_backup_that_went_back_is_told():
    """The same server with an older counter of transactions: ids are given again."""
    first, second = pair()
    try:
        with Way(first.port) as way, shop({"orders": orders(method="exact")}, *ORDERS, server=first, every="200ms") as s:
            second.catch_up()
            second.pause()                       # stays at what is there now
            s.change(dsn=first.dsn(s.db, password=None, port=way.port))
            for n in range(60):
                s.sql("INSERT INTO orders VALUES (%s)", n)
            s.start()
            s.lands(60)
            way.lead(second.port)
            way.cut()
            time.sleep(3)
            case.true(s.server.alive(), "it stays up")
            second.resume()
            second.catch_up()
            way.lead(first.port)
            way.cut()
            s.sql("INSERT INTO orders VALUES (1000)")
            s.lands(61, timeout=60)
            s.server.stop()
            case.equal(ids(s.records()), [*range(60), 1000], "nothing lost, nothing twice")
    finally:
        second.stop()
        first.stop()


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
