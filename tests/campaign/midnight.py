#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Midnight, sealing, and a clock that steps back, under libfaketime.

An event of yesterday lies in yesterday's partition and today's in today's, though one landing was open over midnight;
the day that ended is sealed; a clock stepped back behind it does not open it again; event ids seen before the step and
before a restart are still known.

usage: midnight.py       exit 77 without libfaketime
"""
import datetime
import glob
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import clock  # noqa: E402
import sign  # noqa: E402
import wire  # noqa: E402
from server import SECRET, Home, Server, config, until, webhook  # noqa: E402
from zone import Reader  # noqa: E402


class Day:
    """A server with a false clock, and the places where its events lie."""

    def __init__(self, home, offset):
        self.clock = clock.Clock(home, offset)
        cfg = config(home, {"hooks": webhook(dedup={"id": "/id", "window": "7d"})}, **clock.SEALING)
        self.server = Server(home, cfg, env=self.clock.env)
        self.reader = Reader(self.server.zone)

    def post(self, ident):
        body = json.dumps({"id": ident}).encode()
        res = wire.once(self.server.port, "POST", "/hooks/github", sign.github(SECRET, body), body)
        case.true(200 <= res.status < 300, f"{ident}: {res}")

    def landed(self, ident):
        """The dates under which an event lies; waits for the first."""
        def look():
            self.reader.scan()
            return [r.date for r in self.reader.all() if r.value["data"]["id"] == ident]
        return until(f"{ident} lands", look, 30)

    def folder(self, day):
        return os.path.join(self.server.zone, "source=hooks", "stream=hooks", f"ingest_date={day}")

    def content(self, day):
        return {p: open(p, "rb").read() for p in sorted(glob.glob(self.folder(day) + "/*"))}

    def sealed(self, day):
        return os.path.exists(os.path.join(self.folder(day), "_SEALED"))


def next_day(day):
    return (datetime.date.fromisoformat(day) + datetime.timedelta(days=1)).isoformat()


def test_a_landing_open_over_midnight_closes_and_the_day_is_sealed_and_stays_so():
    with Home("mr-midnight") as home:
        day = Day(home, clock.until_midnight(4))
        server = day.server.start()
        try:
            first = day.clock.today()
            day.post("evening")
            until("midnight", lambda: day.clock.today() != first, 30)
            second = next_day(first)
            day.post("morning")
            case.equal(day.landed("evening"), [first], "the evening's event lies")
            case.equal(day.landed("morning"), [second], "the morning's event lies")
            until(f"{first} is sealed", lambda: day.sealed(first), 40)
            kept = day.content(first)

            day.clock.set(day.clock.offset - 3600)            # an hour back: the sealed day again
            day.post("after the step")
            case.equal(day.landed("after the step"), [second], "never into the sealed day")
            case.equal(day.content(first), kept, "the sealed day's files")

            day.post("evening")                               # seen before midnight and before the step
            day.post("marker")
            day.landed("marker")
            case.equal(len(day.landed("evening")), 1, "times that a repeated event lies in the zone")
            server.stop()
        finally:
            server.kill9()
        case.equal(day.reader.problems, [], "the zone")


def test_a_day_is_sealed_at_the_next_start_when_nobody_was_there_at_its_end():
    with Home("mr-midnight") as home:
        day = Day(home, 0)
        server = day.server.start()
        try:
            day.post("before")
            first_lies = day.landed("before")
            server.stop()
            day.clock.set(day.clock.offset + 86400)
            server.start()
            day.post("a day later")
            case.equal(day.landed("a day later"), [next_day(first_lies[0])])
            until(f"{first_lies[0]} is sealed", lambda: day.sealed(first_lies[0]), 40)
            server.stop()
        finally:
            server.kill9()


def test_a_clock_stepped_back_before_a_restart_does_not_refuse_or_double():
    with Home("mr-midnight") as home:
        day = Day(home, 0)
        server = day.server.start()
        try:
            day.post("one")
            day.landed("one")
            server.kill9()
            day.clock.set(-7200)
            server.start()
            day.post("one")
            day.post("two")
            day.landed("two")
            case.equal(len(day.landed("one")), 1, "times that a repeated event lies in the zone")
            server.stop()
        finally:
            server.kill9()


if __name__ == "__main__":
    if not clock.available():
        sys.exit(case.skipped("libfaketime is not installed"))
    case.main(globals())
