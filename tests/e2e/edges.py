#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where a review found that something could be lost, doubled, or wait for ever: each story failed once."""
import datetime
import glob
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import clock  # noqa: E402
import state  # noqa: E402
from deliver import accepted, deliver, event, wait_landed  # noqa: E402
from server import Home, Server, config, has_faults, landed, running, until, webhook  # noqa: E402

DEDUP = webhook(dedup={"id": "/id", "window": "1h"})


def ids(records):
    return sorted(r.value["data"]["id"] for r in records)


def test_a_repeat_beyond_a_short_window_does_not_stall_its_source():
    """At 23:00 and again at noon: outside the window of an hour, but under the neighbouring day, which a decision looks at."""
    if not clock.available():
        raise case.Skip("no libfaketime")
    with Home("mr-edges") as home:
        false = clock.Clock(home, clock.until_midnight(3600))
        server = Server(home, config(home, {"github": DEDUP}, zone={"roll": {"age": "1s"}}), env=false.env)
        server.start()
        accepted(server, "once")
        wait_landed(server, "once")
        false.set(clock.until_midnight(3600) + 13 * 3600)
        accepted(server, "once")
        accepted(server, "behind it")
        wait_landed(server, "behind it")
        server.stop(want=0)
        case.equal(ids(landed(server)), ["behind it", "once"])


def test_a_signal_during_the_start_ends_it_cleanly():
    with running({"github": webhook()}, stop=False) as server:
        for n in range(50):
            accepted(server, f"e{n}")
        server.kill9()
        for wait in (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3):
            server.spawn()
            time.sleep(wait)  # the moment is the point: whatever step is at hand
            server.signal(signal.SIGTERM)
            code = server.wait(30)
            # before it has taken hold of the signal it dies of it; after that it ends by itself
            case.true(code in (0, -signal.SIGTERM), f"ended with {code} after {wait} s:\n{server.tail()}")
        case.equal(server.spawn("--once").wait(60), 0, server.tail())
        case.equal(len(landed(server)), 50)


def test_a_stream_too_long_for_a_folder_is_refused_by_check():
    with Home("mr-edges") as home:
        server = Server(home, config(home, {"github": webhook(stream="s" * 250)}))
        done = server.cli("check", "--offline")
        case.equal(done.returncode, 2)
        case.true(b"stream" in done.stderr and b"255" in done.stderr, done.stderr)


def test_a_body_limit_that_the_memory_cannot_hold_is_refused():
    with Home("mr-edges") as home:
        server = Server(home, config(home, {"github": webhook()}, limits={"memory": "64MiB", "disk_reserve": "0B"}))
        server.cfg["http"]["body_limit"] = "256MiB"
        server.write_config()
        server.spawn()
        case.equal(server.wait(30), 2)
        case.true("limits.memory" in server.log(), server.tail())


def test_once_gives_up_on_a_zone_that_cannot_be_published_to():
    with running({"github": webhook()}, stop=False, zone={"roll": {"age": "60s"}}) as server:
        accepted(server, "waiting")
        server.kill9()
        day = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        folder = os.path.join(server.zone, "source=github", "stream=github")
        os.makedirs(folder, exist_ok=True)
        blocker = os.path.join(folder, f"ingest_date={day}")
        with open(blocker, "w") as f:
            f.write("in the way\n")
        case.equal(server.spawn("--once").wait(60), 1, server.tail())
        os.unlink(blocker)
        case.equal(server.spawn("--once").wait(60), 0, server.tail())
        case.equal(ids(landed(server)), ["waiting"])


def lose_the_next_landing(server, send):
    """Dies between the decision and the publish; the staged file vanishes. The lost landing's id."""
    server.dies_at("publish_rename", send)
    for part in glob.glob(server.zone + "/_staging/**/*.part", recursive=True):
        os.unlink(part)
    server.start()
    row, = [r for r in state.rows(server.data_dir, "landings") if r["state"] == "lost"]
    return row["landing"]


def test_replay_passes_over_what_its_landing_had_passed_over():
    """The lost landing had skipped a repeat of an event that an earlier one landed: replayed, it is still there once."""
    if not has_faults():
        raise case.Skip("this build has no named points")
    with running({"github": webhook(dedup={"id": "/id", "window": "7d"})}, stop=False) as server:
        accepted(server, "first")
        wait_landed(server, "first")

        def send():
            accepted(server, "first")
            accepted(server, "second")
            accepted(server, "second")
        landing = lose_the_next_landing(server, send)
        server.stop(want=0)
        done = server.cli("replay", "--landing", landing)
        case.equal(done.returncode, 0, done.stderr)
        case.equal(ids(landed(server)), ["first", "second"])


def test_replay_needs_no_segments_but_its_own():
    """Other sources' segments before the landing have been freed; a source's first landing has no old position."""
    if not has_faults():
        raise case.Skip("this build has no named points")
    sources = {"github": webhook(), "other": webhook(path="/hooks/other")}
    with running(sources, stop=False) as server:
        for n in range(20):
            accepted(server, f"o{n}", path="/hooks/other")
        for n in range(20):
            wait_landed(server, f"o{n}")
        landing = lose_the_next_landing(server, lambda: accepted(server, "mine"))
        server.stop(want=0)
        done = server.cli("replay", "--landing", landing)
        case.equal(done.returncode, 0, done.stderr)
        case.equal(ids(landed(server, "github")), ["mine"])
        case.equal(len(landed(server, "other")), 20)


def test_a_reload_passes_the_disk_reserve_on():
    with running({"github": webhook()}, limits={"memory": "64MiB", "disk_reserve": "1TiB"}) as server:
        until("no room is told", lambda: server_status(server, "full") == 503)
        server.cfg["limits"]["disk_reserve"] = "0B"
        server.write_config()
        server.signal(signal.SIGHUP)
        until("service resumes", lambda: server_status(server, "room") == 204)
        wait_landed(server, "room")


def test_lists_of_skipped_repeats_do_not_outlive_their_use():
    """The last landing's list is left by a stop; the next process's first decision deletes it."""
    def lists(server):
        return [r for r in state.rows(server.data_dir, "source_rows") if r["kind"] == "skipped"]
    with running({"github": webhook(dedup={"id": "/id", "window": "7d"})}, stop=False) as server:
        accepted(server, "a")
        wait_landed(server, "a")
        accepted(server, "a")
        accepted(server, "b")
        wait_landed(server, "b")
        server.stop(want=0)
        case.equal(len(lists(server)), 1)
        server.start()
        accepted(server, "c")
        wait_landed(server, "c")
        server.stop(want=0)
        case.equal(lists(server), [])


def test_quarantine_is_shown_and_does_not_grow_for_ever():
    with running({"github": webhook(dedup={"id": "/id", "window": "7d"})}, stop=False) as server:
        accepted(server, "twice")
        wait_landed(server, "twice")
        accepted(server, event("twice", changed=True))
        folder = os.path.join(server.data_dir, "quarantine", "github")
        kept, = until("the other body is kept, under its own name", lambda: os.path.isdir(folder) and [n for n in os.listdir(folder) if n.endswith(".body")])
        old = os.path.join(folder, "conflict-of-long-ago.body")
        with open(old, "w") as f:
            f.write("x")
        os.utime(old, (1, 1))
        server.stop(want=0)
        server.start()
        until("what is older than state.keep goes", lambda: os.listdir(folder) == [kept])
        until("the rest is a metric", lambda: "millrace_quarantine_bytes{source=\"github\"} " in server.get("/metrics").text)
        server.stop(want=0)


def server_status(server, ident):
    return deliver(server, event(ident)).status


if __name__ == "__main__":
    case.main(globals())
