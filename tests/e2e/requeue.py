#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refused requests out of quarantine: what a rotated secret, a wrong clock or a small limit had kept out lands after the remedy, once, whatever dies in
between; and what is still no event stays where it is."""
import collections
import glob
import gzip
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
from deliver import accepted, deliver, event  # noqa: E402
from server import Home, Server, config, has_faults, landed, until, webhook  # noqa: E402
from zone import Reader  # noqa: E402

NEW = "the-secret-that-the-vendor-has-rotated-to"
LONG_AGO = "2020-01-01T00:00:00Z"


def kept(server, kind="refused"):
    return sorted(glob.glob(os.path.join(server.data_dir, "quarantine", "github", kind + "-*.json")))


def quarantined(home, count, also=(), **more):
    """A stopped server that has refused `count` events signed with NEW; and one line of what else was sent."""
    server = Server(home, config(home, {"github": webhook(quarantine="full", **more)}), env={"MRT_NEW": NEW})
    server.start()
    for n in range(count):
        body = event(f"e{n:03}")
        case.equal(deliver(server, body, headers=sign.github(NEW, body)).status, 401)
    for send in also:
        send(server)
    until("all are kept", lambda: len(kept(server)) >= count + len(also))
    server.stop(want=0)
    return server


def remedy(server):
    server.cfg["sources"]["github"]["webhook"]["verify"]["secrets"].append("${env:MRT_NEW}")
    server.write_config()


def replay(server, *args, extra=None):
    return server.cli("replay", "github", "--from", LONG_AGO, *args, extra=extra)


def counts(done):
    case.equal(done.returncode, 0, done)
    return tuple(int(n) for n in re.match(rb"(\d+) refused requests accepted now, (\d+) still refused, (\d+) not readable", done.stdout).groups())


def landed_ids(server):
    reader = Reader(server.zone)
    records = reader.all()
    reader.strangers()
    case.equal(reader.problems, [])
    return collections.Counter(r.value["data"]["id"] for r in records)


def once_each(n):
    return {f"e{i:03}": 1 for i in range(n)}


def test_what_a_rotated_secret_kept_out_lands_once():
    with Home("mr-requeue") as home:
        server = quarantined(home, 20)
        case.equal(counts(replay(server)), (0, 20, 0), "nothing has changed")
        remedy(server)
        before = os.path.basename(kept(server)[0])
        case.equal(counts(replay(server)), (20, 0, 0))
        case.equal((len(kept(server)), len(kept(server, "replayed"))), (0, 20))
        case.equal(counts(replay(server)), (0, 0, 0), "a second time")
        case.equal(landed_ids(server), once_each(20))
        first = next(r.value for r in Reader(server.zone).all() if r.value["data"]["id"] == "e000")
        case.equal([h["value"] for h in first["headers"] if h["name"] == "X-Millrace-Quarantine"], [before], "where it comes from")
        stamp = re.match(r"refused-(\d{8})T(\d{6})\.(\d{6})Z", before).groups()
        case.equal(re.sub(r"[-:]", "", first["ingested_at"]), f"{stamp[0]}T{stamp[1]}.{stamp[2]}Z", "when it came")
        server.start()
        accepted(server, "afterwards")
        case.equal(len(landed(server)), 21)


def test_only_those_asked_for():
    def forged(server):
        case.equal(deliver(server, "forged", headers=sign.github("nobody's", event("forged"))).status, 401)

    def unsigned(server):
        case.equal(deliver(server, "unsigned", headers=[]).status, 401)

    with Home("mr-requeue") as home:
        server = quarantined(home, 5, [forged, unsigned])
        with open(os.path.join(os.path.dirname(kept(server)[0]), "refused-20261123T025410.123456Z-signature-9f3c21aa.json"), "w") as f:
            f.write("{")
        remedy(server)
        case.equal(counts(replay(server, "--cause", "missing")), (0, 1, 0))
        case.equal(counts(replay(server, "--to", "2020-01-02T00:00:00Z")), (0, 0, 0))
        case.equal(counts(replay(server, "--cause", "signature")), (5, 1, 1))
        case.equal(landed_ids(server), once_each(5))
        case.equal(len(kept(server)), 3, "the others stay")


def test_repeats_that_the_vendor_sent_meanwhile_land_once():
    with Home("mr-requeue") as home:
        server = quarantined(home, 10, dedup={"id": "/id", "window": "1d"})
        remedy(server)
        server.start()
        for n in range(5):
            body = event(f"e{n:03}")
            case.equal(deliver(server, body, headers=sign.github(NEW, body)).status, 204)
        server.stop(want=0)
        case.equal(counts(replay(server)), (10, 0, 0))
        case.equal(landed_ids(server), once_each(10))


def test_a_clock_and_a_gzip_body_are_judged_as_they_came():
    with Home("mr-requeue") as home:
        source = webhook("stripe", path="/hooks/github", quarantine="full", verify={"tolerance": "2s"})
        server = Server(home, config(home, {"github": source}))
        server.start()
        body = gzip.compress(event("slow"))
        late = sign.stripe("s3cr3t-of-the-test-suite", body, at=time.time() - 60)
        case.equal(deliver(server, body, headers=late, also=[("Content-Encoding", "gzip")]).status, 401)
        until("it is kept", lambda: kept(server))
        server.stop(want=0)
        case.equal(counts(replay(server)), (0, 1, 0))
        server.cfg["sources"]["github"]["webhook"]["verify"]["tolerance"] = "5m"
        server.write_config()
        case.equal(counts(replay(server)), (1, 0, 0))
        case.equal(landed_ids(server), {"slow": 1})


def test_a_death_at_any_step_loses_and_doubles_nothing():
    if not has_faults():
        raise case.Skip("this build has no named points")
    for point in ("queue_write:2", "queue_written:3", "queue_acked:4", "quarantine_replayed:1", "quarantine_replayed:5", "stage_synced:1", "decide_commit:1",
                  "decide_committed:1", "publish_rename:1", "publish_noted:1"):
        with Home("mr-requeue") as home:
            server = quarantined(home, 12)
            remedy(server)
            died = replay(server, extra={"MILLRACE_CRASH": point})
            case.equal(died.returncode, -9, (point, died))
            replay(server)
            case.equal(landed_ids(server), once_each(12), point)
            case.equal(len(kept(server)), 0, point)


def test_a_file_that_cannot_be_renamed_is_told_and_tried_again():
    if not has_faults():
        raise case.Skip("this build has no named points")
    with Home("mr-requeue") as home:
        server = quarantined(home, 6)
        remedy(server)
        done = replay(server, extra={"MILLRACE_FAIL": "quarantine_replayed:3:EIO"})
        case.true(done.returncode == 1 and b"rename" in done.stderr, done)
        case.equal(replay(server).returncode, 0)
        case.equal(landed_ids(server), once_each(6))


def test_nonsense_is_told():
    with Home("mr-requeue") as home:
        server = quarantined(home, 1)
        for args, code, words in ((("github",), 2, b"--from FROM"), (("github", "--from", "yesterday"), 2, b"yesterday"), (("nobody", "--from", LONG_AGO), 1, b"nobody"),
                                  (("--landing", "x", "--from", LONG_AGO), 2, b"give SOURCE")):
            done = server.cli("replay", *args)
            case.true(done.returncode == code and words in done.stderr, done)
        server.start()
        done = replay(server)
        case.true(done.returncode == 2 and b"in use" in done.stderr, done)
        server.stop()


if __name__ == "__main__":
    case.main(globals())
