#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server's life: one at a time on a data_dir, drained, reloaded, and never on a store that is not the zone's."""
import collections
import copy
import itertools
import json
import os
import re
import shutil
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
import state  # noqa: E402
import wire  # noqa: E402
from deliver import accepted, deliver, event, wait_landed  # noqa: E402
from server import SECRET, Home, Server, config, free_port, landed, running, until, webhook  # noqa: E402
from zone import Reader  # noqa: E402

SOURCE = {"github": webhook()}
REMEDY = r"millrace state (-c \S+ )?adopt"
SLOW_ROLL = {"zone": {"roll": {"age": "60s"}}}


def ids(records):
    return sorted(r.value["data"]["id"] for r in records)


def refuses_to_start(server, code, pattern):
    """Ends with this code, and the log matches."""
    server.spawn()
    case.equal(server.wait(30), code, server.tail())
    case.true(re.search(pattern, server.log()), f"{pattern!r} in:\n{server.tail()}")


def test_a_record_lands_when_its_landing_is_of_age():
    with running(SOURCE) as server:
        accepted(server, "timely")
        wait_landed(server, "timely")


def test_sigterm_lands_what_was_acknowledged_and_exits_0():
    with running(SOURCE, **SLOW_ROLL) as server:
        for n in range(100):
            accepted(server, f"e{n}")
        server.stop(want=0)
        case.equal(len(landed(server)), 100)


def test_sigint_drains_too():
    with running(SOURCE, **SLOW_ROLL) as server:
        accepted(server, "e")
        server.signal(signal.SIGINT)
        case.equal(server.wait(), 0)
        case.equal(ids(landed(server)), ["e"])


def test_sigterm_finishes_the_request_that_is_half_here():
    body = event("half")
    whole = wire.request("POST", "/hooks/github", sign.github(SECRET, body), body)
    with running(SOURCE) as server:
        with wire.Conn(server.port) as conn:
            conn.send(whole[:-5])
            accepted(server, "other")
            server.signal(signal.SIGTERM)
            until("the door is closed to new senders", lambda: refused_connection(server.port), 20)
            conn.send(whole[-5:])
            try:
                status = conn.final().status
            except wire.Closed:
                status = 0
        case.equal(server.wait(), 0)
        want = ["half", "other"] if status == 204 else ["other"]
        case.equal(ids(landed(server)), want, f"answered {status}, so landed")


def refused_connection(port):
    try:
        wire.Conn(port, timeout=2).close()
        return False
    except OSError:
        return True


def test_run_once_lands_the_queue_without_a_listener():
    with running(SOURCE, stop=False, **SLOW_ROLL) as server:
        for n in range(20):
            accepted(server, f"q{n}")
        server.kill9()
        server.drain()
        case.equal(len(landed(server)), 20)


def test_a_second_run_on_the_same_data_dir_exits_2():
    with running(SOURCE) as server:
        other_cfg = copy.deepcopy(server.cfg)
        other_cfg["http"]["listen"] = f"127.0.0.1:{free_port()}"
        other_cfg["admin"]["listen"] = f"127.0.0.1:{free_port()}"
        other = Server(server.home, other_cfg, file="other.yaml")
        refuses_to_start(other, 2, re.escape(server.data_dir))
        accepted(server, "the first one is not disturbed")


def test_a_port_in_use_exits_1_and_names_it():
    with running(SOURCE) as server, Home("mr-port") as home:
        cfg = config(home, SOURCE, http={"listen": server.cfg["http"]["listen"]})
        refuses_to_start(Server(home, cfg), 1, str(server.port))


def test_queue_records_of_a_source_that_is_gone_land_under_its_name():
    with running({"gone": webhook(), "stays": webhook(path="/hooks/stays")}, **SLOW_ROLL) as server:
        accepted(server, "of-the-gone")
        accepted(server, "of-the-other", path="/hooks/stays")
        server.kill9()
        del server.cfg["sources"]["gone"]
        server.write_config()
        server.start()
        case.equal(deliver(server, "x").status, 404)
        case.equal(sorted((r.source, r.value["data"]["id"]) for r in landed(server)),
                   [("gone", "of-the-gone"), ("stays", "of-the-other")])


# -- reload --------------------------------------------------------------------------------------------------

def test_sighup_brings_a_new_source_and_takes_an_old_one():
    with running(SOURCE) as server:
        accepted(server, "before")
        server.cfg["sources"] = {"fresh": webhook(path="/hooks/fresh")}
        server.write_config()
        server.signal(signal.SIGHUP)
        until("the new route", lambda: deliver(server, "fresh", "/hooks/fresh").status == 204, 10)
        until("the old route is gone", lambda: deliver(server, "late").status == 404, 10)
        sources = {r.source for r in landed(server)}
    case.equal(sources, {"github", "fresh"})


def test_the_listener_opens_once_its_sources_have_come_up():
    """A vendor that calls in between would be told that there is no such route."""
    with running({f"s{n}": webhook(path=f"/hooks/{n}") for n in range(20)}) as server:
        lines = [json.loads(line) for line in server.log().splitlines()]
        order = ["up" if line.get("to") == "up" else line["event"] for line in lines]
        case.equal(order[:order.index("listening")].count("up"), 20, "sources up before the listener opened")


def test_a_source_that_cannot_start_is_unavailable_and_comes_up_by_itself():
    asana = webhook("hmac", path="/hooks/asana", verify={"header": "X-Hook-Signature"}, handshake="asana")
    with Home("mr-cannot") as home:
        server = Server(home, config(home, {"asana": asana, **SOURCE}))
        kept = os.path.join(server.data_dir, "handshakes", "asana")
        os.makedirs(os.path.dirname(kept))
        with open(kept, "w") as f:
            f.write("not one secret a line\0")
        try:
            server.start()
            res = deliver(server, "early", "/hooks/asana")
            case.equal((res.status, bool(res.header("Retry-After"))), (503, True), res)
            accepted(server, "of another source")
            os.unlink(kept)
            until("it is up", lambda: deliver(server, "e", "/hooks/asana").status == 401, 30)
            server.stop(want=0)
        finally:
            server.kill9()


def test_a_changed_source_is_never_an_unknown_route():
    with running(SOURCE) as server:
        stop, seen = threading.Event(), collections.Counter()

        def send():
            for n in itertools.count():
                if stop.is_set():
                    return
                seen[deliver(server, f"e{n}").status] += 1

        sender = threading.Thread(target=send)
        sender.start()
        try:
            for n in range(20):
                server.cfg["sources"]["github"]["webhook"]["body_limit"] = f"{n + 2}KiB"
                server.write_config()
                server.signal(signal.SIGHUP)
                until("it is reloaded", lambda: server.log().count('"event":"reloaded"') == n + 1, 20)
        finally:
            stop.set()
            sender.join()
        case.equal(set(seen) - {503}, {204}, seen)
        case.equal(len(landed(server)), seen[204])


def test_a_secret_in_a_file_is_rotated_by_sighup():
    with Home("mr-rotate") as home:
        path = home.at("secret")
        with open(path, "w") as f:
            f.write("first\n")
        source = webhook()
        source["webhook"]["verify"]["secrets"] = [f"${{file:{path}}}"]
        server = Server(home, config(home, {"github": source}))
        try:
            server.start()
            body = event("by-first")
            case.equal(deliver(server, body, headers=sign.github("first", body)).status, 204, "one newline is dropped")
            with open(path, "w") as f:
                f.write("second\n")
            server.signal(signal.SIGHUP)
            body = event("by-second")
            new = sign.github("second", body)
            until("the new secret", lambda: deliver(server, body, headers=new).status == 204, 10)
            case.equal(deliver(server, body, headers=sign.github("first", body)).status, 401, "the old one")
            server.stop()
        finally:
            server.kill9()


def test_a_reload_that_may_not_be_is_refused_whole():
    with running(SOURCE) as server:
        good = copy.deepcopy(server.cfg)
        changes = {"data_dir": {"data_dir": server.home.at("elsewhere")}, "environment": {"environment": "other"},
                   "zone": {"zone": {**good["zone"], "url": "file:" + server.home.at("elsewhere")}},
                   "listen": {"http": {"listen": f"127.0.0.1:{free_port()}"}}}
        for what, change in changes.items():
            mark = len(server.log())
            server.cfg = {**copy.deepcopy(good), **change}
            server.cfg["sources"]["sneaked"] = webhook(path="/hooks/sneaked")
            server.write_config()
            server.signal(signal.SIGHUP)
            until(f"the log names {what}", lambda: what in server.log()[mark:], 10)
            server.cfg = good
            case.equal(deliver(server, "x", "/hooks/sneaked").status, 404, f"{what}: nothing of the file was taken")
            accepted(server, f"still-{what}")
        server.write_config()


def test_a_reload_of_a_broken_file_is_refused_and_says_where():
    with running(SOURCE) as server:
        good = server.cfg
        server.cfg = "sources:\n  github:\n    webhook: {paht: /x}\n"
        server.write_config()
        server.signal(signal.SIGHUP)
        until("the log names the place", lambda: "millrace.yaml:3:" in server.log(), 10)
        server.cfg = good
        accepted(server, "the old config serves on")


# -- the store and the zone belong together ------------------------------------------------------------------

def forget(server):
    path = state.path(server.data_dir)
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.unlink(path + suffix)


def test_a_lost_store_is_refused_until_a_person_adopts():
    with running(SOURCE, stop=False) as server:
        accepted(server, "one")
        wait_landed(server, "one")
        server.stop()
        forget(server)
        refuses_to_start(server, 2, REMEDY)
        done = server.cli("state adopt")
        case.equal(done.returncode, 0, str(done))
        server.start()
        accepted(server, "two")
        case.true("two" in ids(landed(server)), "it serves again")


def test_a_store_restored_from_an_older_backup_is_refused():
    with running(SOURCE, stop=False) as server:
        accepted(server, "one")
        wait_landed(server, "one")
        done = server.cli("state backup", server.home.at("old.db"))
        case.equal(done.returncode, 0, str(done))
        accepted(server, "two")
        wait_landed(server, "two")
        server.stop()
        path = state.path(server.data_dir)
        forget(server)
        shutil.copy(server.home.at("old.db"), path)
        refuses_to_start(server, 2, REMEDY)
        case.equal(ids(Reader(server.zone).all()), ["one", "two"], "nothing landed again")


def test_the_zone_of_another_store_is_refused():
    with running(SOURCE) as first, Home("mr-thief") as home:
        accepted(first, "mine")
        wait_landed(first, "mine")
        thief = Server(home, config(home, SOURCE, zone={"url": first.cfg["zone"]["url"]}))
        refuses_to_start(thief, 2, REMEDY)


def test_zone_json_is_made_once_and_names_the_store():
    with running(SOURCE) as server:
        path = os.path.join(server.zone, "_millrace", "zone.json")
        made = json.load(open(path))
        server.stop()
        server.start()
        case.equal(json.load(open(path)), made)


# -- secrets -------------------------------------------------------------------------------------------------

def test_a_secret_is_printed_nowhere():
    with running(SOURCE, log={"level": "debug"}) as server:
        accepted(server, "one")
        deliver(server, "forged", headers=sign.github("wrong", event("forged")))
        wait_landed(server, "one")
        seen = {"/metrics": server.get("/metrics").text, "/api/status": server.get("/api/status").text,
                "/": server.get("/").text}
        for verb, *args in (("check",), ("status",), ("status", "--json"), ("state show",), ("verify",)):
            done = server.cli(verb, *args)
            seen[f"{verb} {args}"] = (done.stdout + done.stderr).decode()
        server.stop()
        seen["the log"] = server.log(since_start=False)
        for folder, _, names in os.walk(server.home.path):
            for name in names:
                seen[name] = open(os.path.join(folder, name), "rb").read().decode("latin-1")
    for where, text in seen.items():
        case.true(SECRET not in text, f"the secret is in {where}")


def test_the_log_is_one_line_of_json_each_off_a_terminal():
    with running(SOURCE) as server:
        accepted(server, "one")
        server.stop()
        lines = [x for x in server.log().splitlines() if x and not x.startswith("----")]
    for line in lines:
        case.true(isinstance(json.loads(line), dict), line)
    case.true(lines, "a log")


if __name__ == "__main__":
    case.main(globals())
