#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Batches: each element of a vendor's array lands as a record of its own, once, its tokens as they came; and what is no such array lands whole."""
import collections
import glob
import gzip
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
import wire  # noqa: E402
from deliver import deliver  # noqa: E402
from server import SECRET, Home, Server, config, has_faults, landed, running, until, webhook  # noqa: E402


def source(split, **more):
    return {"github": webhook(split=split, **more)}


def send(server, body, **kw):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    res = deliver(server, body, **kw)
    case.equal(res.status, 204, res)


def lines(server):
    """The bytes of `data` of each record, by a plain search: json would hide how a number was written."""
    found = []
    for r in landed(server):
        found.append(r.value.get("data", r.value.get("data_text")))
    return found


def metric(server, name):
    return server.metrics().get(f'{name}{{source="github"}}', 0)


def test_the_elements_of_the_body_itself():
    for split in ("", {"at": ""}):
        with running(source(split)) as server:
            send(server, [{"id": n} for n in range(1000)])
            send(server, [1, "two", None, [4], {"five": 5}, True])
            case.equal(metric(server, "millrace_webhook_split_records_total"), 1006)
            records = landed(server)
            case.equal([r.value["data"] for r in records], [*({"id": n} for n in range(1000)), 1, "two", None, [4], {"five": 5}, True])
            case.equal(len({r.value["id"] for r in records}), 1006, "each has an id of its own")
            case.true(all(r.value["verified"]["scheme"] == "github" and any(h["name"] == "X-Hub-Signature-256" for h in r.value["headers"]) for r in records), "their head")


def test_tokens_stay_as_they_came():
    with running(source("/events")) as server:
        send(server, b'{"before": [1], "events": [ {"n": 1.50e+2, "n": -0, "big": 12345678901234567890123 } , "\\u00e9" ]}')
        landed(server)
        raw = b"".join(zone_bytes(server))
        case.true(b'"data":{"n":1.50e+2,"n":-0,"big":12345678901234567890123}' in raw and b'"data":"\\u00e9"' in raw, raw)


def zone_bytes(server):
    for path in glob.glob(os.path.join(server.zone, "**", "*.zst"), recursive=True):
        yield subprocess.run(["zstd", "-dc", path], capture_output=True, check=True).stdout


def test_what_is_no_such_array_lands_whole():
    whole = [{"events": {"id": 1}}, {"other": [1, 2]}, 7, {"events": None}]
    with running(source("/events", dedup={"id": "/id", "window": "1d"})) as server:
        for body in whole:
            send(server, body)
        send(server, b"no json")
        send(server, {"events": []})
        case.equal(metric(server, "millrace_webhook_not_split_total"), 5)
        seen = lines(server)
        case.equal(collections.Counter(json.dumps(s) for s in seen), collections.Counter(json.dumps(s) for s in [*whole, "no json"]))


def test_a_longer_array_than_most_lands_whole():
    with running(source({"at": "", "most": 3})) as server:
        send(server, [1, 2, 3])
        send(server, [1, 2, 3, 4])
        case.equal(lines(server), [1, 2, 3, [1, 2, 3, 4]])


def test_each_element_is_deduplicated_by_its_own_id():
    with running(source("/events", dedup={"id": "/id", "window": "1d"})) as server:
        send(server, {"events": [{"id": n} for n in range(10)]})
        send(server, {"events": [{"id": n} for n in range(5, 15)]})
        send(server, {"events": [{"id": 99}, {"id": 99}, {"id": 3, "changed": True}]})
        until("repeats are counted", lambda: metric(server, "millrace_webhook_duplicates_total") == 6)
        until("and the conflict", lambda: metric(server, "millrace_webhook_conflicts_total") == 1)
        case.equal(sorted(s["id"] for s in lines(server)), [*range(15), 99])


def test_a_compressed_batch_is_split_once_it_is_unpacked():
    with running(source("")) as server:
        send(server, gzip.compress(json.dumps([{"id": n} for n in range(50)]).encode()), also=[("Content-Encoding", "gzip")])
        case.equal([s["id"] for s in lines(server)], [*range(50)])


def test_ten_thousand_in_one_request():
    with running(source(""), http={"body_limit": "4MiB"}) as server:
        send(server, [{"id": f"element-{n:05}"} for n in range(10000)])
        case.equal([s["id"] for s in lines(server)], [f"element-{n:05}" for n in range(10000)])


def test_what_was_acknowledged_outlives_a_kill():
    with running(source(""), stop=False) as server:
        acked = []
        with wire.Conn(server.port) as conn:
            for batch in range(30):
                body = json.dumps([{"id": f"{batch}.{n}"} for n in range(37)]).encode()
                conn.send(wire.request("POST", "/hooks/github", sign.github(SECRET, body), body))
                case.equal(conn.final().status, 204)
                acked += [f"{batch}.{n}" for n in range(37)]
            server.kill9()
        server.start()
        case.equal(collections.Counter(s["id"] for s in lines(server)), collections.Counter(acked))


def test_a_batch_out_of_quarantine():
    if not has_faults():
        raise case.Skip("this build has no named points")
    with Home("mr-split") as home:
        for dedup in ({}, {"dedup": {"id": "/id", "window": "1d"}}):
            server = Server(home, config(home, source("", quarantine="full", **dedup), zone={"url": f"file:{home.at('zone' + str(len(dedup)))}"},
                                         data_dir=home.at("data" + str(len(dedup)))), env={"MRT_NEW": "another"})
            server.start()
            body = json.dumps([{"id": n} for n in range(20)]).encode()
            case.equal(deliver(server, body, headers=sign.github("another", body)).status, 401)
            until("it is kept", lambda: glob.glob(os.path.join(server.data_dir, "quarantine", "github", "refused-*")))
            server.stop(want=0)
            server.cfg["sources"]["github"]["webhook"]["verify"]["secrets"].append("${env:MRT_NEW}")
            server.write_config()
            died = server.cli("replay", "github", "--from", "2020-01-01T00:00:00Z", extra={"MILLRACE_CRASH": "quarantine_replayed:1"})
            case.equal(died.returncode, -9, died)
            case.equal(server.cli("replay", "github", "--from", "2020-01-01T00:00:00Z").returncode, 0)
            case.equal(sorted(s["id"] for s in lines(server)), [*range(20)])


def test_nonsense_is_told():
    with Home("mr-split") as home:
        for more, words in (({"split": "events"}, "JSON pointer"), ({"split": "", "payload": "exact"}, "payload: exact"),
                            ({"split": "", "dedup": {"id": "header:X-Id"}}, "same for all"), ({"split": {"at": "", "most": 0}}, "most")):
            done = Server(home, config(home, {"github": webhook(**more)})).cli("check", "--offline")
            case.true(done.returncode == 2 and words in done.stderr.decode(), (more, done))


if __name__ == "__main__":
    case.main(globals())
