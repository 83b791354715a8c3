#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What has landed lands again from the brokers, under a run of its own: by offset, by time, and what a lost landing held."""
import collections
import glob
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import kafka  # noqa: E402
from kafka import Ledger  # noqa: E402
from server import Home, Server, config, has_faults, until  # noqa: E402
from topics import broker  # noqa: E402
from zone import Reader  # noqa: E402

T0 = 1_700_000_000_000                            # milliseconds; a second from record to record


def fill(topic, count=100, partitions=2):
    broker().create(topic, partitions)
    ledger = Ledger()
    broker().produce(topic, [(n % partitions, b"k%d" % n, b'{"n":%d}' % n, None, T0 + n * 1000) for n in range(count)], ledger=ledger)
    return ledger


def landed(home, topics):
    server = Server(home, config(home, {"clicks": {"kafka": {"brokers": [broker().bootstrap], "topics": topics}}}))
    case.equal(server.cli("run", "--once").returncode, 0, "run --once")
    return server


def split(server):
    """Of the zone: what landed live, and what each run landed."""
    runs = collections.defaultdict(list)
    for record in Reader(server.zone).all("clicks"):
        runs[record.value.get("replay")].append(record)
    return runs.pop(None), runs


def offsets(records, partition):
    return sorted(r.value["position"]["offset"] for r in records if r.value["position"]["partition"] == partition)


def live_positions(server):
    """They may not move: neither value nor version."""
    return [line for line in server.cli("state", "show").stdout.decode().splitlines() if "replay/" not in line]


def test_by_offset():
    """[FROM, TO) of each partition, once, whoever asks again; ids stay, live positions too."""
    ledger = fill("offsets")
    with Home("mr-replay") as home:
        server = landed(home, ["offsets"])
        before = live_positions(server)
        for _ in range(2):
            done = server.cli("replay", "clicks", "--from", "10", "--to", "20")
            case.equal(done.returncode, 0, f"replay: {done.stderr!r}")
        live, runs = split(server)
        case.equal(ledger.compare(live), [], "what landed live")
        case.equal(list(runs), ["10..20"], "the runs")
        case.equal([offsets(runs["10..20"], p) for p in (0, 1)], [list(range(10, 20))] * 2, "offsets of the run")
        case.equal({r.value["id"] for r in runs["10..20"]} - {r.value["id"] for r in live}, set(), "ids are the same as before")
        case.equal(live_positions(server), before, "live positions")
        case.true(b"20 records landed again, run 10..20" in server.cli("replay", "clicks", "--from", "10", "--to", "20", "--run", "another").stdout.replace(b"another", b"10..20"), "a run of another name")
        case.equal(len(split(server)[1]["another"]), 20, "lands them once more")
        verify = server.cli("verify", "--deep")
        case.equal(verify.returncode, 0, f"verify: {verify.stdout!r}")


def test_by_time_and_stream():
    """From a time up to another, which is not included; of one topic only."""
    fill("times")
    fill("others")
    with Home("mr-replay") as home:
        server = landed(home, ["times", "others"])
        done = server.cli("replay", "clicks/times", "--from", "2023-11-14T22:13:30Z", "--to", "2023-11-14T22:13:40Z")
        case.equal(done.returncode, 0, f"replay: {done.stderr!r}")
        _, runs = split(server)
        (records,) = runs.values()
        case.equal(sorted(r.value["data"]["n"] for r in records), list(range(10, 20)), "the seconds 10 to 19")
        case.equal({r.value["stream"] for r in records}, {"times"}, "streams")
        done = server.cli("replay", "clicks/others", "--from", "2023-11-14T22:14:30Z")
        case.true(done.returncode == 0 and b"30 records" in done.stdout, f"up to the end: {done.stdout!r} {done.stderr!r}")


def test_what_is_gone_is_named():
    """Retention has taken a part: what is left lands, the exit code and the text say what is not there."""
    fill("gone")
    with Home("mr-replay") as home:
        server = landed(home, ["gone"])
        broker().delete_records("gone", {0: 15})
        done = server.cli("replay", "clicks", "--from", "10", "--to", "20")
        case.true(done.returncode == 1 and b"offsets 10 to 14 are no longer there" in done.stderr, f"it says so: {done.returncode} {done.stderr!r}")
        _, runs = split(server)
        case.equal([offsets(runs["10..20"], p) for p in (0, 1)], [list(range(15, 20)), list(range(10, 20))], "what is left")
        again = server.cli("replay", "clicks", "--from", "10", "--to", "20")
        case.true(again.returncode == 0 and b"0 records" in again.stdout, f"the run has had all that there is: {again.returncode} {again.stderr!r}")
        broker().delete_records("gone", {0: 30, 1: 30})
        again = server.cli("replay", "clicks", "--from", "10", "--to", "20")
        case.equal(again.returncode, 0, f"and needs none of it any more: {again.stderr!r}")


def test_cut_off_it_goes_on():
    """Killed at each step of the way, run again: each record of the range once in the run."""
    if not has_faults():
        raise case.Skip("this build has no named points")
    fill("cut", 400)
    with Home("mr-replay") as home:
        server = landed(home, ["cut"])
        for n, point in enumerate(("stage_synced", "decide_commit", "decide_committed", "publish_rename", "publish_synced", "publish_noted")):
            run = ["replay", "clicks", "--from", "50", "--to", "150", "--run", f"r{n}"]
            cut = server.cli(*run, extra={"MILLRACE_CRASH": f"{point}:1"})
            case.true(cut.returncode in (-9, 137), f"{point}: it died: {cut.returncode}")
            done = server.cli(*run)
            case.equal(done.returncode, 0, f"{point}: {done.stderr!r}")
            _, runs = split(server)
            case.equal([offsets(runs[f"r{n}"], p) for p in (0, 1)], [list(range(50, 150))] * 2, f"{point}: offsets of the run")


def test_a_lost_landing():
    """A staged file is gone when its decided landing is to be published: what it held lands again from the brokers, and is lost no longer."""
    if not has_faults():
        raise case.Skip("this build has no named points")
    ledger = fill("lost")
    with Home("mr-replay") as home:
        server = Server(home, config(home, {"clicks": {"kafka": {"brokers": [broker().bootstrap], "topics": ["lost"], "files": "per_topic"}}}))
        cut = server.cli("run", "--once", extra={"MILLRACE_CRASH": "decide_committed:2"})  # the first one settles where the topic begins
        case.true(cut.returncode in (-9, 137), f"it died: {cut.returncode}")
        (staged,) = glob.glob(os.path.join(server.zone, "_staging", "*", "*.part"))
        os.unlink(staged)
        server.start()
        landing = until("landing_lost is told", lambda: [m[1] for m in [re.search(r"landing (\S+)", line) for line in server.log().splitlines() if "landing_lost" in line] if m])[0]
        server.stop()
        done = server.cli("replay", "--landing", landing)
        case.true(done.returncode == 0 and b"100 records landed again" in done.stdout, f"replay: {done.stdout!r} {done.stderr!r}")
        records = Reader(server.zone).all("clicks")
        case.equal(ledger.compare(records), [], "the zone against the ledger")
        case.equal({r.value.get("replay") for r in records}, {"landing-" + landing}, "the run")
        case.true(server.cli("replay", "--landing", landing).returncode != 0, "there is nothing to replay a second time")


def test_what_makes_no_sense():
    """Neither offset nor time; flags that are another door's."""
    fill("sense", 2)
    with Home("mr-replay") as home:
        server = landed(home, ["sense"])
        for args, text in ((("--from", "yesterday"), b"an offset, or a time"), (("--from", "-1"), b"an offset, or a time"), (("--from", "1", "--cause", "signature"), b"--cause means nothing"),
                           (("--from", "1", "--run", "a/b"), b"letters, digits"), (("--from", "1", "--to", "x"), b"an offset, or a time")):
            done = server.cli("replay", "clicks", *args)
            case.true(done.returncode in (1, 2) and text in done.stderr, f"{args}: {done.returncode} {done.stderr!r}")
        case.true(b"no source" in server.cli("replay", "nobody", "--from", "1").stderr, "an unknown source")
        done = server.cli("replay", "clicks/nothing", "--from", "0")
        case.true(done.returncode == 1 and b"nothing" in done.stderr, f"an unknown topic: {done.stderr!r}")
        case.equal(split(server)[1], {}, "nothing landed")


if __name__ == "__main__":
    kafka.ensure()
    case.main(globals())
