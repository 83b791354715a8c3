#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Alerts are POSTed to alerts.url as they open and close: in order, again until they are taken, and whatever happens there holds up nobody."""
import json
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
from deliver import accepted  # noqa: E402
from endpoint import Endpoint  # noqa: E402
from server import free_port, running, until, webhook  # noqa: E402


class Listener(Endpoint):
    """Answers as `status` says and keeps what it was told."""

    def __init__(self, port=0):
        self.told, self.asked, self.status, self.hang = [], 0, 204, threading.Event()
        self.hang.set()
        super().__init__(port)
        self.url += "/alerts?token=s3cr3t"

    def answer(self, method, path, headers, body):
        if method != "POST":
            return 501, ""
        self.asked += 1
        self.hang.wait(30)
        if self.status == 204:
            self.told.append((path, headers["Content-Type"], json.loads(body)))
        return self.status, ""

    def states(self):
        return [(m["alert"], m["state"], m["source"]) for _, _, m in self.told]

    def stop(self):
        self.hang.set()
        super().stop()


def outcomes(server, outcome):
    return server.metrics().get(f'millrace_alert_posts_total{{outcome="{outcome}"}}', 0)


def break_config(server, broken):
    """A reload that is refused opens an alert; one that is taken closes it."""
    server.cfg["http"]["body_limit"] = "much" if broken else "1MiB"
    server.write_config()
    server.signal(signal.SIGHUP)


OPEN, CLOSED = ("reload_refused", "open", ""), ("reload_refused", "closed", "")
NONE = ("unverified_source", "open", "it")


def test_alerts_go_through_the_proxy_but_for_its_exceptions():
    with Listener() as proxy, Listener() as listener:
        ours = proxy.url.split("/alerts")[0]
        elsewhere = "http://alerts.example/hook?token=s3cr3t"
        with running({"it": webhook("none")}, alerts={"url": elsewhere}, proxy=ours):
            until("the proxy is asked", lambda: proxy.told)
            case.equal(proxy.told[0][0], elsewhere)
        proxy.told.clear()
        with running({"it": webhook("none")}, alerts={"url": listener.url}, proxy={"url": ours, "except": ["other.example", "127.0.0.0/8"]}):
            until("the listener is asked", lambda: listener.told)
            case.equal(proxy.told, [])


def test_no_proxy_comes_from_the_environment():
    with Listener() as proxy, Listener() as listener:
        ours = proxy.url.split("/alerts")[0]
        with running({"it": webhook("none")}, alerts={"url": listener.url}, env={"http_proxy": ours, "ALL_PROXY": ours}):
            until("the listener is asked", lambda: listener.told)
            case.equal(proxy.told, [])


def test_alerts_are_told_as_they_open_and_close():
    with Listener() as listener, running({"it": webhook("none")}, alerts={"url": listener.url}) as server:
        until("the first", lambda: listener.states() == [NONE])
        break_config(server, True)
        until("opened", lambda: listener.states() == [NONE, OPEN])
        break_config(server, False)
        until("closed", lambda: listener.states() == [NONE, OPEN, CLOSED])
        path, kind, message = listener.told[1]
        case.equal((path, kind), ("/alerts?token=s3cr3t", "application/json"))
        case.equal((message["environment"], message["severity"]), ("test", "warn"), f"{message}")
        case.true(message["why"] in message["text"] and message["remedy"] in message["text"] and "reload_refused" in message["text"], message["text"])
        case.true(message["opened_at"] <= listener.told[2][2]["closed_at"], "times")
        case.equal(outcomes(server, "posted"), 3)
        case.true("s3cr3t" not in server.log(), "the URL may hold a secret")


def test_what_is_not_taken_is_told_again_in_order():
    port = free_port()
    with running({"it": webhook("none")}, alerts={"url": f"http://127.0.0.1:{port}/services/s3cr3t"}) as server:
        break_config(server, True)
        until("tried", lambda: outcomes(server, "failed") >= 1)
        with Listener(port) as listener:
            listener.status = 503
            until("asked", lambda: listener.asked >= 1, 60)
            listener.status = 204
            until("both, in order", lambda: listener.states() == [NONE, OPEN], 120)
        case.equal(server.log().count('"alert_not_posted"'), 1, "said once")
        case.true("s3cr3t" not in server.log() and f"http://127.0.0.1:{port}: " in server.log(), "a path may be a secret, too")


def test_what_is_refused_is_not_told_again():
    with Listener() as listener:
        listener.status = 400
        with running({"it": webhook("none")}, alerts={"url": listener.url}) as server:
            until("refused", lambda: outcomes(server, "refused") == 1)
            listener.status = 204
            break_config(server, True)
            until("the next", lambda: listener.states() == [OPEN])
            case.equal(listener.asked, 2)


def test_a_listener_that_hangs_holds_up_neither_events_nor_the_stop():
    with Listener() as listener:
        listener.hang.clear()
        with running({"it": webhook("none"), "github": webhook()}, alerts={"url": listener.url}) as server:
            until("asked", lambda: listener.asked == 1)
            for n in range(100):
                accepted(server, f"e{n}")
            server.stop(want=0)
            case.true(not listener.hang.is_set() and '"alerts_not_posted"' in server.log(), "it hangs still, and what was not told is counted")


def test_a_new_address_is_taken_by_a_reload():
    with Listener() as old, Listener() as new, running({"it": webhook("none")}, alerts={"url": old.url}) as server:
        until("the first", lambda: old.states() == [NONE])
        server.cfg["alerts"]["url"] = new.url
        break_config(server, False)
        until("reloaded", lambda: '"reloaded"' in server.log())
        break_config(server, True)
        until("told there", lambda: new.states() == [OPEN])
        case.equal(old.states(), [NONE])


if __name__ == "__main__":
    case.main(globals())
