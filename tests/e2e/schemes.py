#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each signature scheme on the happy path, its forgeries, its replay window on both sides, and secrets in rotation."""
import base64
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
from deliver import accepted, deliver, event  # noqa: E402
from server import SECRET, landed, running, webhook  # noqa: E402

NEW, OLD = "the-new-secret-0123456789", "the-old-secret-0123456789"
WHSEC = sign.standard_secret()

# name: (the source, how a genuine vendor signs)
SCHEMES = {
    "github": (webhook("github"), lambda b: sign.github(SECRET, b)),
    "shopify": (webhook("shopify"), lambda b: sign.shopify(SECRET, b)),
    "stripe": (webhook("stripe"), lambda b: sign.stripe(SECRET, b)),
    "slack": (webhook("slack"), lambda b: sign.slack(SECRET, b)),
    "standard": (webhook("standard", env="MRT_WHSEC"), lambda b: sign.standard(WHSEC, b)),
    "hmac-hex": (webhook("hmac", path="/hooks/hmac-hex", verify={"digest": "sha512", "encoding": "hex",
                                                                 "header": "X-Our-Signature", "prefix": "mac="}),
                 lambda b: sign.plain(SECRET, b, "X-Our-Signature", "sha512", "hex", "mac=")),
    "hmac-base64": (webhook("hmac", path="/hooks/hmac-base64", verify={"digest": "sha256", "encoding": "base64",
                                                                       "header": "X-Our-Signature"}),
                    lambda b: sign.plain(SECRET, b, "X-Our-Signature", "sha256", "base64")),
}
# Schemes that sign a time: sign(body, at)
TIMED = {"stripe": lambda b, at: sign.stripe(SECRET, b, at), "slack": lambda b, at: sign.slack(SECRET, b, at),
         "standard": lambda b, at: sign.standard(WHSEC, b, at=at)}
ENV = {"MRT_WHSEC": WHSEC, "MRT_NEW": NEW, "MRT_OLD": OLD}


def every_scheme():
    return running({name: source for name, (source, _) in SCHEMES.items()}, env=ENV)


def test_a_genuine_event_of_each_scheme_is_acknowledged_and_lands_once():
    with every_scheme() as server:
        for name, (_, signed) in SCHEMES.items():
            body = event(f"of-{name}")
            case.equal(deliver(server, body, f"/hooks/{name}", signed(body)).status, 204, name)
        records = landed(server)
    case.equal(sorted(r.source for r in records), sorted(SCHEMES), "sources that landed one record")
    for r in records:
        case.equal(r.value["data"]["id"], f"of-{r.source}")
        case.equal(r.value["verified"]["secret"], 0, f"{r.source}: index of the secret")
        case.equal(r.value["verified"]["scheme"], r.source.split("-")[0], r.source)


def test_a_forgery_of_each_scheme_gets_401_and_never_lands():
    with every_scheme() as server:
        for name, (_, signed) in SCHEMES.items():
            body = event(f"forged-{name}")
            other = event(f"other-{name}")
            forgeries = {"another body": signed(other), "no signature": [],
                         "a signature cut short": [(k, v[:-1]) for k, v in signed(body)],
                         "an empty signature": [(k, "") for k, v in signed(body)]}
            for what, headers in forgeries.items():
                res = deliver(server, body, f"/hooks/{name}", headers)
                case.equal(res.status, 401, f"{name}, {what}")
                case.true(res.header("WWW-Authenticate"), "a 401 names a way in")
                for _, value in signed(body):
                    case.true(value.encode() not in res.body, f"{name}: the answer gives the right signature away")
        case.equal(landed(server), [], "what landed")


def test_a_repeated_signature_header_is_refused():
    body = event("twice-signed")
    with running({"github": webhook()}) as server:
        headers = sign.github("wrong", body) + sign.github(SECRET, body)
        case.equal(deliver(server, body, headers=headers).status, 401)


def test_the_replay_window_holds_on_both_sides():
    with every_scheme() as server:
        now = time.time()
        for name, signed in TIMED.items():
            for shift, want in ((-240, 204), (240, 204), (-900, 401), (900, 401)):
                body = event(f"{name}{shift}")
                res = deliver(server, body, f"/hooks/{name}", signed(body, now + shift))
                case.equal(res.status, want, f"{name} signed {shift:+d} s from now")
        case.equal(len(landed(server)), 2 * len(TIMED), "records of the four inside the windows")


def test_a_timestamp_that_is_no_decimal_number_is_refused():
    with every_scheme() as server:
        for t in ("1_700_000_000", "1e9", " ", "-5", "99999999999999999999999999"):
            body = event("odd-time")
            mac = sign.mac(SECRET, t.encode() + b"." + body).hexdigest()
            case.equal(deliver(server, body, "/hooks/stripe", [("Stripe-Signature", f"t={t},v1={mac}")]).status, 401, t)


def test_a_wider_tolerance_is_obeyed():
    source = webhook("stripe", verify={"tolerance": "1h"})
    with running({"stripe": source}) as server:
        for shift, want in ((-1800, 204), (-7200, 401)):
            body = event(f"t{shift}")
            case.equal(deliver(server, body, "/hooks/stripe", sign.stripe(SECRET, body, time.time() + shift)).status,
                       want, f"{shift:+d} s")


def test_both_secrets_of_a_rotation_are_accepted_and_the_record_says_which():
    with running({"hooks": webhook("stripe", env=["MRT_NEW", "MRT_OLD"])}, env=ENV) as server:
        for ident, secret in (("by-new", NEW), ("by-old", OLD)):
            body = event(ident)
            case.equal(deliver(server, body, "/hooks/stripe", sign.stripe(secret, body)).status, 204, ident)
        body = event("by-both")
        case.equal(deliver(server, body, "/hooks/stripe", sign.stripe("unknown", body, extra=[OLD])).status, 204)
        body = event("by-none")
        case.equal(deliver(server, body, "/hooks/stripe", sign.stripe("unknown", body)).status, 401)
        which = {r.value["data"]["id"]: r.value["verified"]["secret"] for r in landed(server)}
    case.equal(which, {"by-new": 0, "by-old": 1, "by-both": 1})


def test_slack_s_challenge_is_answered_and_is_no_event():
    with every_scheme() as server:
        challenge = b"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"
        body = b'{"type":"url_verification","token":"x","challenge":"' + challenge + b'"}'
        res = deliver(server, body, "/hooks/slack", sign.slack(SECRET, body))
        case.equal(res.status, 200)
        case.true(challenge in res.body, f"the challenge: {res}")
        forged = deliver(server, body, "/hooks/slack", sign.slack("wrong", body))
        case.equal(forged.status, 401, "an unsigned challenge")
        case.equal(landed(server), [], "what landed")


def test_a_source_without_verification_must_say_so_and_lands_unverified():
    with running({"open": webhook("none")}) as server:
        case.equal(deliver(server, "anybody", "/hooks/none", []).status, 204)
        done = server.cli("check")
        case.true(b"warn open" in done.stdout, f"check warns of the open door: {done.stdout}")
        record, = landed(server)
    case.equal(record.value["verified"]["scheme"], "none")


def test_a_retiring_secret_is_taken_until_its_end():
    old = "the-secret-before"
    for until_text, status in (("2099-01-01T00:00:00Z", 204), ("2020-01-01T00:00:00Z", 401)):
        source = webhook(verify={"retiring": [{"secret": "${env:MRT_OLD}", "until": until_text}]})
        with running({"github": source}, env={"MRT_OLD": old}) as server:
            body = event("old")
            case.equal(deliver(server, body, headers=sign.github(old, body)).status, status, until_text)
            accepted(server, "new")
            warned = b"has ended" in server.cli("check", "--offline").stdout
            case.equal(warned, status == 401, "check says so")
            request = json.dumps({"method": "POST", "path": "/hooks/github", "headers": sign.github(old, body), "body_base64": base64.b64encode(body).decode()}).encode()
            verdict = json.loads(server.cli("explain", "github", "-", stdin=request).stdout)
            case.equal(verdict["verdict"], "accept" if status == 204 else "reject")
            if status == 401:
                case.true("`until` is past" in verdict["reason"], verdict)
            else:
                case.equal(server.metrics()['millrace_webhook_secret_matched_total{source="github",secret="1"}'], 1)
            case.equal({r.value["data"]["id"]: r.value["verified"]["secret"] for r in landed(server)}, {"new": 0, **({"old": 1} if status == 204 else {})})


if __name__ == "__main__":
    case.main(globals())
