#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each surprise is told and, once it is over, told no more: an alert opens on /api/status and in /metrics, closes by itself, and
one that was open when the process ended is taken back by the next if its cause is gone.
"""
import glob
import os
import re
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import json  # noqa: E402
import sign  # noqa: E402
from deliver import accepted, deliver, event, wait_landed  # noqa: E402
from server import has_faults, running, until, webhook  # noqa: E402

SOURCE = {"github": webhook()}


def alerts(server):
    """The open ones, {name: alert}; what /metrics says must agree."""
    opened = {a["name"]: a for a in server.status()["alerts"]}
    counted = {re.search(r'alert="(\w+)"', key).group(1) for key, value in server.metrics().items()
               if key.startswith("millrace_alerts_open{") and value == 1}
    return opened if set(opened) == counted else {}


def opens(server, name, timeout=20.0):
    until(f"{name} opens", lambda: name in alerts(server), timeout)
    alert = alerts(server)[name]
    case.true(alert["text"] and alert["remedy"], f"{name} says what and what to do: {alert}")
    return alert


def told(server, name, timeout=20.0):
    """The log says it: for an alert that the next try may close before anyone can look."""
    line = until(f"the log tells {name}", lambda: next((entry for entry in map(json.loads, server.log().splitlines())
                                                        if entry.get("alert") == name), None), timeout)
    case.equal(line["event"], "alert_opened", f"what the log tells of {name} first")
    case.true(line["why"] and line["hint"], f"{name} says what and what to do: {line}")


def closes(server, name, timeout=30.0):
    until(f"{name} closes", lambda: name not in {a["name"] for a in server.status()["alerts"]}, timeout)


def faulty(point, how):
    if not has_faults():
        raise case.Skip("this build has no named points")
    return {"MILLRACE_FAIL": f"{point}:{how}"}


def test_nothing_is_told_while_all_is_well():
    with running(SOURCE) as server:
        accepted(server, "calm")
        wait_landed(server, "calm")
        case.equal(server.status()["alerts"], [], "open alerts")


def test_a_burst_of_forgeries_is_told():
    with running(SOURCE) as server:
        for n in range(100):
            case.equal(deliver(server, f"forged{n}", headers=[("X-Hub-Signature-256", "sha256=" + "0" * 64)]).status, 401)
        case.equal(opens(server, "signature_burst")["source"], "github", "the source")


def test_a_vendor_that_has_fallen_silent_is_told_until_it_speaks():
    with running({"github": webhook(expect={"every": "1s"})}) as server:
        alert = opens(server, "source_silent")
        case.true("when the source started" in alert["text"], alert["text"])
        accepted(server, "spoken")
        closes(server, "source_silent", 5)
        case.true("when the source started" not in opens(server, "source_silent")["text"], "since the last event")


def test_silence_goes_on_over_a_restart_from_the_last_landing():
    with running({"github": webhook(expect={"every": "1h"})}) as server:
        accepted(server, "last")
        wait_landed(server, "last")
        key = 'millrace_webhook_last_accepted_time_seconds{source="github"}'
        until("the time is told", lambda: server.metrics().get(key))
        before = server.metrics()[key]
        server.stop()
        server.start()
        case.true(abs(server.metrics()[key] - before) < 5, "taken from the landing")


def test_a_paused_source_is_not_called_silent():
    sources = {"github": webhook(expect={"every": "2s"}), "other": webhook(path="/other", expect={"every": "2s"})}
    with running(sources) as server:
        case.equal(server.cli("pause", "other").returncode, 0)
        case.equal(opens(server, "source_silent")["source"], "github")
        silent = [a["source"] for a in server.status()["alerts"] if a["name"] == "source_silent"]
        case.equal(silent, ["github"], "who is silent")
        server.cli("resume", "other")
        until("the resumed one is silent too", lambda: server.get("/api/status").text.count('"source_silent"') == 2)


def wrongly_signed(server, ident):
    body = event(ident)
    case.equal(deliver(server, body, headers=sign.github("rotated", body)).status, 401)


def test_a_rotated_secret_is_told_until_a_request_is_accepted():
    with running({"github": webhook(expect={"failing_after": "1s", "failing_requests": 5})}) as server:
        accepted(server, "before")
        for n in range(7):
            wrongly_signed(server, f"w{n}")
        text = opens(server, "all_requests_failing")["text"]
        case.true("none of 7 signed requests since 20" in text and "signature" in text, text)
        case.true("the last accepted one came at 20" in text, text)
        accepted(server, "after")
        closes(server, "all_requests_failing", 5)


def test_strangers_do_not_make_a_secret_look_rotated():
    expect = {"failing_after": "1s", "failing_requests": 5}
    with running({"github": webhook(expect=expect), "other": webhook(path="/other", expect=expect)}) as server:
        for n in range(20):
            case.equal(deliver(server, f"unsigned{n}", "/other", headers=[]).status, 401)
            wrongly_signed(server, f"w{n}")
        case.equal(opens(server, "all_requests_failing")["source"], "github")
        failing = [a["source"] for a in server.status()["alerts"]
                   if a["name"] == "all_requests_failing"]
        case.equal(failing, ["github"], "unsigned requests say nothing of the secret")


def test_a_source_that_accepts_anything_is_told_until_it_no_longer_does():
    with running({"github": webhook("none", path="/hooks/github")}) as server:
        opens(server, "unverified_source")
        server.cfg["sources"] = SOURCE
        server.write_config()
        server.signal(signal.SIGHUP)
        closes(server, "unverified_source")


def test_another_body_under_the_same_id_is_told():
    with running({"github": webhook(dedup={"id": "/id", "window": "7d"})}) as server:
        accepted(server, event("same", n=1))
        accepted(server, event("same", n=2))
        case.true("same" in opens(server, "id_conflict")["text"], "the text names the id")


def test_a_refused_reload_is_told_until_the_file_is_mended():
    with running(SOURCE) as server:
        good, server.cfg = server.cfg, "sources: {github: {webhook: {paht: /x}}}\n"
        server.write_config()
        server.signal(signal.SIGHUP)
        server.cfg = good
        opens(server, "reload_refused")
        server.write_config()
        server.signal(signal.SIGHUP)
        closes(server, "reload_refused")


def test_a_restart_with_a_mended_file_closes_the_refused_reload():
    with running(SOURCE) as server:
        good, server.cfg = server.cfg, "sources: {github: {webhook: {paht: /x}}}\n"
        server.write_config()
        server.signal(signal.SIGHUP)
        server.cfg = good
        opens(server, "reload_refused")
        server.write_config()
        server.stop()
        server.start()
        closes(server, "reload_refused", 5)


def test_a_low_disk_is_told_until_there_is_room():
    with running(SOURCE, limits={"disk_reserve": "1024GiB"}) as server:
        opens(server, "disk_low")
        server.stop()
        server.cfg["limits"]["disk_reserve"] = "0B"
        server.write_config()
        server.start()
        closes(server, "disk_low")
        accepted(server, "room")


def test_a_full_queue_is_told_until_it_has_landed():
    bounded = {"queue": {"segment_size": "1MiB", "max_size": "4MiB"}, "zone": {"roll": {"age": "4s"}}}
    with running(SOURCE, **bounded) as server:
        until("503", lambda: deliver(server, event("q", pad="x" * 100000)).status == 503, 30, every=0)
        opens(server, "queue_full")
        closes(server, "queue_full")


def test_a_failed_sync_is_told_and_closes_when_syncs_work():
    with running(SOURCE, env=faulty("queue_write", "3-40:EIO")) as server:
        until("503", lambda: deliver(server, "sync").status == 503, 10)
        opens(server, "queue_sync_failed")
        until("service resumes", lambda: deliver(server, "after").status == 204, 40)
        closes(server, "queue_sync_failed")


def test_a_zone_that_cannot_be_written_is_told_until_it_can():
    for point in ("stage_write", "stage_sync", "publish_rename"):
        with running(SOURCE, env=faulty(point, "1:EIO")) as server:
            accepted(server, event(f"held-{point}", pad=os.urandom(400000).hex())) # too large for one buffer: written at once
            told(server, "zone_unwritable")
            wait_landed(server, f"held-{point}", 40)
            accepted(server, f"next-{point}")
            wait_landed(server, f"next-{point}", 40)
            closes(server, "zone_unwritable", 10)


def test_a_store_that_cannot_commit_is_told_until_it_can():
    """Only decisions fail here; the commits between them work, so the alert closes and opens again."""
    with running(SOURCE, env=faulty("decide_commit", "1-3:EIO")) as server:
        accepted(server, "undecided")
        told(server, "state_failed")
        wait_landed(server, "undecided", 40)
        closes(server, "state_failed")


def test_rot_in_the_queue_is_told_and_its_bytes_are_kept():
    with running(SOURCE, zone={"roll": {"age": "1h"}}) as server:
        for n in range(5):
            accepted(server, event(f"rot{n}", pad="y" * 2000))
        server.kill9()
        segment, = glob.glob(os.path.join(server.data_dir, "queue", "*.seg"))
        with open(segment, "r+b") as f:
            at = f.read().index(b'"rot2"')
            f.seek(at + 100)
            f.write(b"ROT")
        server.cfg["zone"]["roll"]["age"] = "1s"
        server.write_config()
        server.start()
        opens(server, "queue_corrupt")
        for n in (0, 1, 3, 4):
            wait_landed(server, f"rot{n}")
        case.true(glob.glob(os.path.join(server.data_dir, "quarantine", "_queue", "*")), "the damaged bytes are kept")


if __name__ == "__main__":
    case.main(globals())
