#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same event sent again is acknowledged and lands once; the same id with another body is kept apart."""
import base64
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
from deliver import accepted, event, wait_landed  # noqa: E402
from server import landed, running, webhook  # noqa: E402

BY_BODY = {"github": webhook(dedup={"id": "/id", "window": "7d"})}
BY_HEADER = {"github": webhook(dedup={"id": "header:X-GitHub-Delivery", "window": "7d"})}


def quarantined(server, source="github"):
    """Every byte that lies in the source's quarantine."""
    found = b""
    for folder, _, names in os.walk(os.path.join(server.data_dir, "quarantine", source)):
        for name in names:
            with open(os.path.join(folder, name), "rb") as f:
                found += f.read()
    return found


def test_a_repeat_in_the_same_landing_lands_once():
    with running(BY_BODY) as server:
        for _ in range(5):
            accepted(server, "again")
        records = landed(server)
    case.equal([r.value["data"]["id"] for r in records], ["again"])
    case.equal(records[0].value["id"], "again", "the record's id is the dedup id")


def test_a_repeat_after_the_landing_and_after_a_restart_lands_once():
    with running(BY_BODY) as server:
        accepted(server, "first")
        wait_landed(server, "first")
        accepted(server, "first")
        accepted(server, "marker")
        wait_landed(server, "marker")
        server.stop()
        server.start()
        accepted(server, "first")
        server.kill9()
        server.start()
        accepted(server, "first")
        case.equal(sorted(r.value["data"]["id"] for r in landed(server)), ["first", "marker"])


def test_the_id_may_stand_in_a_header():
    with running(BY_HEADER) as server:
        for delivery in ("d-1", "d-2", "d-1"):
            accepted(server, "same body", also=[("X-GitHub-Delivery", delivery)])
        records = landed(server)
    case.equal(sorted(r.value["id"] for r in records), ["d-1", "d-2"])


def test_the_same_id_with_another_body_lands_once_and_is_kept_in_quarantine():
    with running(BY_BODY) as server:
        accepted(server, event("one", attempt="first-body"))
        wait_landed(server, "one")
        accepted(server, event("one", attempt="second-body"))
        accepted(server, event("two", attempt="first-body-2"))
        accepted(server, event("two", attempt="second-body-2"))
        records = landed(server)
        kept = quarantined(server)
    case.equal(sorted((r.value["data"]["id"], r.value["data"]["attempt"]) for r in records),
               [("one", "first-body"), ("two", "first-body-2")])
    for ident, body in (("one", "second-body"), ("two", "second-body-2")):
        wire_bytes = event(ident, attempt=body)
        case.true(wire_bytes in kept or base64.b64encode(wire_bytes) in kept or body.encode() in kept,
                  f"{body} is not in quarantine: {kept[:500]}")


def test_without_dedup_every_delivery_lands():
    with running({"github": webhook()}) as server:
        for _ in range(3):
            accepted(server, "thrice")
        records = landed(server)
    case.equal(len(records), 3)
    case.equal(len({r.value["id"] for r in records}), 3, "each has the queue's own id")


def test_an_event_without_its_dedup_id_is_not_lost():
    with running(BY_BODY) as server:
        accepted(server, b'{"no":"id here"}')
        accepted(server, b'not json')
        case.equal(len(landed(server)), 2)


def test_ids_of_one_source_mean_nothing_to_another():
    sources = {"github": BY_BODY["github"],
               "twin": webhook(path="/hooks/twin", dedup={"id": "/id", "window": "7d"})}
    with running(sources) as server:
        accepted(server, "same")
        accepted(server, "same", path="/hooks/twin")
        case.equal(sorted(r.source for r in landed(server)), ["github", "twin"])


if __name__ == "__main__":
    case.main(globals())
