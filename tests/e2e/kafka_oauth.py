#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SASL OAUTHBEARER: tokens from an endpoint that is asked as RFC 6749, 4.4 has it, for a real broker that judges them."""
import base64
import json
import os
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import kafka  # noqa: E402
from endpoint import Endpoint  # noqa: E402
from kafka import Ledger  # noqa: E402
from server import Home, Server, config, until  # noqa: E402
from zone import Reader  # noqa: E402

CLIENT, SECRET, ENV = "ingest client", "s%cret/of the client", "MRT_OAUTH"


def b64(part):
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


class Tokens(Endpoint):
    """Gives tokens that are not signed, which the test's broker takes; `lasts` seconds each. `refuse`: 401 while it is set."""

    def __init__(self, lasts=60, refuse=False):
        self.lasts, self.refuse, self.asked = lasts, refuse, []
        super().__init__()
        self.url += "/oauth/token"

    def answer(self, method, path, headers, body):
        self.asked.append((method, headers["Authorization"], urllib.parse.parse_qs(body)))
        if self.refuse:
            return 401, json.dumps({"error": "invalid_client"})
        now = int(time.time())
        token = b64({"alg": "none"}) + "." + b64({"sub": "ingest", "iat": now, "exp": now + self.lasts}) + "."
        return 200, json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": self.lasts})


def broker():
    return kafka.lasting(security=True)


def door(endpoint, topic):
    return {"kafka": {"brokers": [broker().listener("OAUTH")], "topics": [topic],
                      "sasl": {"mechanism": "OAUTHBEARER", "oauth": {"url": endpoint.url, "client_id": CLIENT, "client_secret": f"${{env:{ENV}}}", "scope": "kafka read"}}}}


def records(server):
    return Reader(server.zone).all("clicks")


def test_tokens_are_fetched_and_fetched_again_before_they_end():
    """The endpoint sees the credentials as the RFC wants them; a token of a few seconds is followed by others while records keep coming."""
    broker().create("oauth", 2)
    ledger = Ledger()
    with Tokens(lasts=6) as endpoint, Home("mr-oauth") as home:
        server = Server(home, config(home, {"clicks": door(endpoint, "oauth")}), env={ENV: SECRET})
        broker().produce("oauth", [(n % 2, b"k", b"%d" % n) for n in range(100)], ledger=ledger)
        server.start()
        until("they landed", lambda: len(records(server)) == 100)
        until("a third token was asked for", lambda: len(endpoint.asked) >= 3, 30)
        broker().produce("oauth", [(n % 2, b"k", b"%d" % n) for n in range(100)], ledger=ledger)
        until("those too", lambda: len(records(server)) == 200)
        case.equal(ledger.compare(records(server)), [], "the zone against the ledger")
        method, authorization, form = endpoint.asked[0]
        case.equal(method, "POST", "how it is asked")
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        case.equal([urllib.parse.unquote_plus(p) for p in pair.split(":")], [CLIENT, SECRET], "the credentials, form-encoded (RFC 6749, 2.3.1)")
        case.equal(form, {"grant_type": ["client_credentials"], "scope": ["kafka read"]}, "the form")
        checked = server.cli("check")
        case.true(checked.returncode == 0 and b"ok clicks/oauth: 2 partitions" in checked.stdout, f"check: {checked.stdout!r}")
        server.stop()
        case.true(SECRET not in server.log(since_start=False) and base64.b64encode(SECRET.encode()).decode() not in server.log(since_start=False), "no secret in the log")


def test_an_endpoint_that_refuses_is_told_and_forgiven():
    """The alert names the endpoint and not the secret; once it gives tokens again, records land and the alert closes."""
    broker().create("refused", 1)
    ledger = Ledger()
    broker().produce("refused", [(0, None, b"{}")], ledger=ledger)
    with Tokens(refuse=True) as endpoint, Home("mr-oauth") as home:
        server = Server(home, config(home, {"clicks": door(endpoint, "refused")}), env={ENV: SECRET})
        server.start()

        def alerts():
            return [a for a in server.status()["alerts"] if a["name"] == "kafka_refused"]
        until("the alert", alerts)
        case.true("HTTP status 401" in alerts()[0]["text"] and SECRET not in alerts()[0]["text"], f"it says why: {alerts()[0]['text']}")
        checked = server.cli("check")
        case.true(checked.returncode == 1 and b"HTTP status 401" in checked.stdout, f"check: {checked.stdout!r}")
        endpoint.refuse = False
        until("it landed", lambda: len(records(server)) == 1, 60)
        until("the alert is closed", lambda: not alerts())
        case.equal(ledger.compare(records(server)), [], "the zone against the ledger")
        server.stop()


if __name__ == "__main__":
    kafka.ensure()
    case.main(globals())
