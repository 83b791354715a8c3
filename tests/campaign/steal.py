#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A person moves a position while a landing is under way: the person wins, the landing is dropped whole.

30 acknowledged events wait in an open landing. `millrace state set` says that they are landed already. The server's
compare-and-swap must fail, it must read the new position, and land only what came after. Without compare-and-swap the
30 land all the same, which is how two writers come to land the same events twice.
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import sign  # noqa: E402
import state  # noqa: E402
import wire  # noqa: E402
from server import SECRET, Home, Server, config, until, webhook  # noqa: E402
from zone import Reader  # noqa: E402

WAITING = 30


def post(server, ident):
    body = json.dumps({"id": ident}).encode()
    res = wire.once(server.port, "POST", "/hooks/github", sign.github(SECRET, body), body)
    if not 200 <= res.status < 300:
        raise AssertionError(f"{ident}: {res}")


def moved(value, by):
    """A position's JSON with the sequence in it moved on."""
    if isinstance(value, int):
        return value + by
    numbers = [k for k, v in value.items() if isinstance(v, int)]
    if len(numbers) != 1:
        raise AssertionError(f"one sequence expected in the position {value}")
    return {**value, numbers[0]: value[numbers[0]] + by}


def run(mutant):
    """The faults that a count of the zone shows; none in a healthy build."""
    with Home("mr-steal") as home:
        server = Server(home, config(home, {"hooks": webhook()}, zone={"roll": {"age": "4s"}}))
        server.extra_env = {"MILLRACE_MUTANT": mutant} if mutant else {}
        reader = Reader(server.zone)
        server.start()
        try:
            post(server, "first")
            until("the first event lands", lambda: reader.scan()["hooks"]["first"], 20)
            row, = state.rows(server.data_dir, "positions")
            for n in range(WAITING):
                post(server, f"waiting-{n}")
            value = json.dumps(moved(json.loads(row["value"]), WAITING))
            done = server.cli("state set", "hooks/hooks", row["part"], value)
            if done.returncode:
                raise AssertionError(f"state set: {done}")
            post(server, "after")
            until("the event after it lands", lambda: reader.scan()["hooks"]["after"], 30)
            server.stop()
        finally:
            server.kill9()
        counts = reader.scan()["hooks"]
        landed = sum(counts[f"waiting-{n}"] for n in range(WAITING))
        faults = list(reader.problems)
        if landed:
            faults.append(f"{landed} events landed behind a position that says they had landed before")
        if counts["first"] != 1 or counts["after"] != 1:
            faults.append(f"first landed {counts['first']} times, after {counts['after']} times")
        return faults


if __name__ == "__main__":
    found = run(None)
    print("\n".join(found) or "the person won")
    sys.exit(1 if found else 0)
