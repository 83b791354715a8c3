#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tables of other shapes, and other ways to read them, under the writers of lib/churn: run after run, partitions, few rows that are written often, the window, large rows."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))  # before this folder, which has a script of the name
import case  # noqa: E402
import replica  # noqa: E402
from pulled import Watch, judge, sight  # noqa: E402
from pulls import SECONDS, busy, churned, orders  # noqa: E402
from server import until  # noqa: E402


def test_run_after_run_what_stood_before_and_after_is_there():
    with busy(16, method="exact", churning={"hold": 1.0, "writers": 6}) as (s, writers):
        must, before = {"orders": set(), "events": set()}, {}
        with writers:
            for _ in range(10):
                for t in must:
                    before[t] = sight(s.primary, s.db, t)
                s.server.drain()
                for t in must:
                    must[t] |= before[t] & sight(s.primary, s.db, t)
        s.finish((Watch("orders", must=must["orders"]), Watch("events", whole=True, must=must["events"])))


def test_partitions_under_writers():
    with busy(17, rows=2500, partitions=3, every="200ms", start=True, method="auto", churning={"first": 1800}) as (s, writers):
        s.sql("DELETE FROM orders WHERE id >= 1800")
        churned(s, writers)


def test_many_writers_of_few_rows():
    """Two thirds of what is committed is overwritten before anybody reads it."""
    with busy(18, rows=0, tables={"orders": "rows"}, method="exact", every="100ms", start=True, churning={"writers": 14, "pace": 0.005, "hold": 0.5, "prepared": False}) as (s, writers):
        churned(s, writers, 10, (Watch("orders"),))


def test_the_window_method_loses_nothing_of_what_is_inserted_in_time():
    streams = {"events": orders("events", method="window")}
    with busy(19, tables={"events": "inserts"}, streams=streams, every="200ms", start=True, skew="5s", churning={"odd": False, "ahead": False}) as (s, writers):
        with writers:
            time.sleep(SECONDS)
        watches = (Watch("events", whole=True, window=True),)
        until("the window has passed the last of them", lambda: not judge(s.primary, s.db, s.records(), watches).lost, 40, 1)
        s.finish(watches)


def test_a_table_that_grows_fast_with_large_rows():
    with busy(20, rows=0, tables={"events": "inserts"}, method="exact", every="100ms", start=True, churning={"writers": 10, "pace": 0.001, "hold": 0.3, "big": 0.01}) as (s, writers):
        churned(s, writers, 10, (Watch("events", whole=True),))


if __name__ == "__main__":
    replica.ensure()
    case.main(globals())
