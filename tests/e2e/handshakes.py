#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How each vendor tries a route before it sends events: the right answer, worked out here with Python alone; no answer to
whoever lacks token or signature; and never a record in the zone."""
import base64
import hashlib
import hmac
import json
import os
import stat
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
import wire  # noqa: E402
from deliver import deliver, event  # noqa: E402
from server import SECRET, Home, Server, config, landed, running, until, webhook  # noqa: E402

TOKEN = "a-verify-token-of-the-test"
ENV = {"MRT_TOKEN": TOKEN}


def mac(body, key=SECRET):
    return hmac.new(key.encode(), body, hashlib.sha256)


def signed(body, key=SECRET):
    return [("X-Sig", mac(body, key).hexdigest())]


def source(kind, **handshake):
    """Any scheme will do: what is tried here is the handshake."""
    return webhook("hmac", path="/hooks/" + kind, verify={"header": "X-Sig"}, handshake={"kind": kind, **handshake})


def meta():
    return source("meta", verify_token="${env:MRT_TOKEN}")


def ask(server, kind, query=None, method="GET", headers=(), body=b"", raw=None):
    path = "/hooks/" + kind
    if query is not None:
        path += "?" + urllib.parse.urlencode(query)
    if raw is not None:
        path += "?" + raw
    return wire.once(server.port, method, path, headers, body)


def echoed(res, text, kind="text/plain"):
    case.equal(res.status, 200, "status")
    case.equal(res.body, text if isinstance(text, bytes) else text.encode(), "body")
    case.equal(res.header("X-Content-Type-Options"), "nosniff")
    case.true((res.header("Content-Type") or "").startswith(kind), f"Content-Type: {res.header('Content-Type')}")


def refused(res, status, secret=None):
    case.equal(res.status, status, "status")
    if secret:
        case.true(secret.encode() not in res.body, f"the answer gives {secret} away")


def events_still_land(server, *kinds):
    """An event of each kind lands, and nothing else has."""
    for kind in kinds:
        body = event("of-" + kind)
        case.equal(deliver(server, body, "/hooks/" + kind, signed(body)).status, 204, kind)
    case.equal(sorted(r.value["data"]["id"] for r in landed(server)), sorted("of-" + k for k in kinds), "what landed")


BAD_CHALLENGES = ("", "<script>alert(1)</script>", "a\r\nX-Evil: 1", "a\0b", "x" * 1025, "\u00e9", '{"a":1}')


def test_meta_s_challenge_wants_the_token():
    with running({"meta": meta()}, env=ENV) as server:
        good = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": TOKEN}
        echoed(ask(server, "meta", good), "1158201444")
        for token in ("", "wrong", TOKEN[:-1], TOKEN + "x"):
            refused(ask(server, "meta", {**good, "hub.verify_token": token}), 403, "1158201444")
        refused(ask(server, "meta", {k: v for k, v in good.items() if k != "hub.verify_token"}), 403)
        refused(ask(server, "meta", {**good, "hub.mode": "unsubscribe"}), 400)
        twice = urllib.parse.urlencode(good) + "&hub.verify_token=" + TOKEN
        refused(ask(server, "meta", raw=twice), 403)
        for bad in BAD_CHALLENGES:
            refused(ask(server, "meta", {**good, "hub.challenge": bad}), 400)
        case.equal(ask(server, "meta", {"x": "1"}).status, 405, "a GET that is no handshake")
        case.equal(ask(server, "meta", good, "PUT").status, 405, "another method")
        body = event("unsigned")
        case.equal(ask(server, "meta", good, "POST", [], body).status, 401, "an event with a handshake's query")
        events_still_land(server, "meta")


def test_meta_without_a_token_answers_no_get():
    with running({"meta": webhook("hmac", path="/hooks/meta", verify={"header": "X-Sig"})}) as server:
        case.equal(ask(server, "meta", {"hub.mode": "subscribe", "hub.challenge": "1"}).status, 405)
    with Home("mr-hand") as home:
        server = Server(home, config(home, {"meta": source("meta")}))
        done = server.cli("check", "--offline")
        case.equal(done.returncode, 2)
        case.true(b"verify_token" in done.stderr, done.stderr)


def test_websub_agrees_to_its_topics_only():
    topic = "https://example.com/feed?a=b&c=d"
    with running({"websub": source("websub", topics=[topic])}) as server:
        good = {"hub.mode": "subscribe", "hub.topic": topic, "hub.challenge": "c-1", "hub.lease_seconds": "864000"}
        echoed(ask(server, "websub", good), "c-1")
        refused(ask(server, "websub", {**good, "hub.topic": topic + "x"}), 404)
        refused(ask(server, "websub", {**good, "hub.mode": "unsubscribe"}), 404)
        echoed(ask(server, "websub", {**good, "hub.mode": "unsubscribe", "hub.topic": "https://other/"}), "c-1")
        denied = ask(server, "websub", {"hub.mode": "denied", "hub.topic": topic})
        case.equal((denied.status, denied.body), (200, b""))
        for bad in BAD_CHALLENGES:
            refused(ask(server, "websub", {**good, "hub.challenge": bad}), 400)
        events_still_land(server, "websub")


def test_x_s_crc_is_answered_and_signs_no_event():
    with running({"x": source("x")}) as server:
        token = "MDAxNzlhYmQtYTdiYi00ZmU0"
        want = "sha256=" + base64.b64encode(mac(token.encode()).digest()).decode()
        res = ask(server, "x", {"crc_token": token, "nonce": "n"})
        case.equal(res.status, 200)
        case.equal(json.loads(res.body), {"response_token": want})
        for bad in BAD_CHALLENGES:
            refused(ask(server, "x", {"crc_token": bad}), 400)
        refused(ask(server, "x", raw="crc_token=a&crc_token=b"), 400)
        # whoever asks gets a MAC under the consumer secret: a body that could have been asked for is no event
        forged = json.loads(ask(server, "x", {"crc_token": "12345"}).body)["response_token"].removeprefix("sha256=")
        sig = [("X-Sig", base64.b64decode(forged).hex())]
        case.equal(deliver(server, b"12345", "/hooks/x", sig).status, 401, "an event signed by the challenge")
        events_still_land(server, "x")


def test_dropbox_and_nylas_get_their_challenge_back():
    with running({k: source(k) for k in ("dropbox", "nylas")}) as server:
        for kind in ("dropbox", "nylas"):
            echoed(ask(server, kind, {"challenge": "abc_DEF-123"}), "abc_DEF-123")
            for bad in BAD_CHALLENGES:
                refused(ask(server, kind, {"challenge": bad}), 400)
            refused(ask(server, kind, raw="challenge=%zz"), 400)
            case.equal(ask(server, kind).status, 405, "a GET without a challenge")
        events_still_land(server, "dropbox", "nylas")


def test_graph_s_validation_token_comes_back_decoded():
    text = "Validation: Testing client application reachability for subscription Request-Id: 522a8e7e-096a"
    with running({"graph": source("graph")}) as server:
        echoed(ask(server, "graph", {"validationToken": text}, "POST"), text)
        echoed(ask(server, "graph", raw="validationToken=" + urllib.parse.quote(text), method="POST"), text)
        for bad in BAD_CHALLENGES:
            refused(ask(server, "graph", {"validationToken": bad}, "POST"), 400)
        case.equal(ask(server, "graph", {"validationToken": "a"}, "GET").status, 405, "GET")
        events_still_land(server, "graph")


def test_cloudevents_origins_are_the_configured_ones():
    sources = {"cloudevents": source("cloudevents", origins=["events.example.com"]), "event-grid": source("event-grid")}
    with running(sources) as server:
        for kind, origin in (("cloudevents", "events.example.com"), ("event-grid", "eventgrid.azure.net")):
            res = ask(server, kind, None, "OPTIONS", [("WebHook-Request-Origin", origin), ("WebHook-Request-Rate", "120")])
            case.equal((res.status, res.body), (200, b""), kind)
            case.equal(res.header("WebHook-Allowed-Origin"), origin)
            case.equal(res.header("WebHook-Allowed-Rate"), "*")
            case.true("POST" in res.header("Allow"), res.header("Allow"))
            other = ask(server, kind, None, "OPTIONS", [("WebHook-Request-Origin", "evil.example.com")])
            case.equal((other.status, other.header("WebHook-Allowed-Origin")), (403, None), kind)
            case.equal(ask(server, kind, None, "OPTIONS").status, 405, "OPTIONS that asks for nothing")
        events_still_land(server, "cloudevents", "event-grid")


def test_event_grid_s_validation_code_comes_back():
    with running({"event-grid": source("event-grid", topics=["/subscriptions/1/topics/ours"])}) as server:
        def body(**more):
            return json.dumps([{"id": "2d1781af", "topic": "/subscriptions/1/topics/ours", "subject": "", "data": {
                "validationCode": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6", "validationUrl": "https://x/"},
                "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", **more}]).encode()
        kind = [("aeg-event-type", "SubscriptionValidation")]
        good = body()
        res = ask(server, "event-grid", None, "POST", kind + signed(good), good)
        case.equal(res.status, 200)
        case.equal(json.loads(res.body), {"validationResponse": "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"})
        case.equal(ask(server, "event-grid", None, "POST", kind, good).status, 401, "unsigned")
        for bad, status in ((body(topic="/subscriptions/2/topics/theirs"), 403), (body(data={"validationCode": "<b>"}), 400)):
            refused(ask(server, "event-grid", None, "POST", kind + signed(bad), bad), status)
        events_still_land(server, "event-grid")


def test_okta_s_challenge_wants_the_authorization():
    okta = webhook("hmac", path="/hooks/okta", verify={"header": "X-Sig"}, handshake="okta")
    with running({"okta": okta}) as server:
        challenge = ("X-Okta-Verification-Challenge", "gUHFi_challenge-1")
        res = ask(server, "okta", None, "GET", [challenge] + signed(b""))
        case.equal(res.status, 200)
        case.equal(json.loads(res.body), {"verification": challenge[1]})
        case.equal(ask(server, "okta", None, "GET", [challenge]).status, 401, "without what proves the sender")
        case.equal(ask(server, "okta", None, "GET", signed(b"")).status, 405, "without a challenge")
        bad = ask(server, "okta", None, "GET", [(challenge[0], "<b>")] + signed(b""))
        case.equal(bad.status, 400)
        events_still_land(server, "okta")


def test_trello_s_head_is_answered():
    with running({"trello": source("trello")}) as server:
        case.equal(ask(server, "trello", None, "HEAD").status, 200)
        case.equal(ask(server, "trello").status, 405, "GET")
        case.equal(wire.once(server.port, "HEAD", "/hooks/other").status, 404)
        events_still_land(server, "trello")


def by_body(server, kind, body, also=(), key=SECRET):
    return ask(server, kind, None, "POST", [*also, *signed(body, key)], body)


def test_slack_s_challenge_comes_back_after_its_signature():
    with running({"slack": webhook("slack", path="/hooks/slack")}) as server:
        body = b'{"type":"url_verification","token":"x","challenge":"3eZbrw1aBm2r"}'
        echoed(deliver(server, body, "/hooks/slack", sign.slack(SECRET, body)), "3eZbrw1aBm2r")
        refused(deliver(server, body, "/hooks/slack", sign.slack("wrong", body)), 401, "3eZbrw1aBm2r")
        for bad in BAD_CHALLENGES:
            body = json.dumps({"type": "url_verification", "challenge": bad}).encode()
            refused(deliver(server, body, "/hooks/slack", sign.slack(SECRET, body)), 400)
        case.equal(landed(server), [])


def test_zoom_s_plain_token_comes_back_encrypted():
    with running({"zoom": source("zoom")}) as server:
        def body(token):
            return json.dumps({"payload": {"plainToken": token}, "event_ts": 1, "event": "endpoint.url_validation"}).encode()
        res = by_body(server, "zoom", body("qgg8vlvZRS6UYooatFL8Aw"))
        case.equal(res.status, 200)
        case.equal(json.loads(res.body), {"plainToken": "qgg8vlvZRS6UYooatFL8Aw",
                                          "encryptedToken": mac(b"qgg8vlvZRS6UYooatFL8Aw").hexdigest()})
        refused(by_body(server, "zoom", body("qgg8"), key="wrong"), 401, mac(b"qgg8").hexdigest())
        for bad in (*BAD_CHALLENGES, "v0:1531420618:body"):
            refused(by_body(server, "zoom", body(bad)), 400)
        events_still_land(server, "zoom")


def test_zoom_s_token_is_signed_by_the_secret_that_verified():
    two = webhook("hmac", path="/hooks/zoom", env=["MRT_NEW", "MRT_OLD"], verify={"header": "X-Sig"}, handshake="zoom")
    with running({"zoom": two}, env={"MRT_NEW": "new-secret-1", "MRT_OLD": "old-secret-1"}) as server:
        body = b'{"payload":{"plainToken":"abc"},"event":"endpoint.url_validation"}'
        for key in ("new-secret-1", "old-secret-1"):
            got = json.loads(by_body(server, "zoom", body, key=key).body)["encryptedToken"]
            case.equal(got, mac(b"abc", key).hexdigest(), key)


def test_discord_s_pings_and_false_signatures():
    with running({"discord": source("discord")}) as server:
        ping = b'{"application_id":"1","id":"2","token":"t","type":1,"version":1}'
        res = by_body(server, "discord", ping)
        case.equal((res.status, json.loads(res.body)), (200, {"type": 1}))
        hello = by_body(server, "discord", b'{"version":1,"application_id":"1234","type":0}')
        case.equal((hello.status, hello.body), (204, b""))
        case.equal(by_body(server, "discord", ping, key="wrong").status, 401, "exactly 401")
        case.equal(ask(server, "discord", None, "POST", [], ping).status, 401, "no signature: exactly 401")
        kept = {"id": "of-type-1", "type": 1, "event": {"type": "APPLICATION_AUTHORIZED"}, "version": 1}
        case.equal(by_body(server, "discord", json.dumps(kept).encode()).status, 204)
        case.equal([r.value["data"]["id"] for r in landed(server)], ["of-type-1"])


def test_xero_s_intent_to_receive():
    with running({"xero": source("xero")}) as server:
        body = b'{"events":[],"firstEventSequence": 0,"lastEventSequence": 0, "entropy": "S0m3r4ndom"}'
        res = by_body(server, "xero", body)
        case.equal((res.status, res.body), (200, b""))
        for key, headers in (("wrong", None), (None, [])):
            bad = by_body(server, "xero", body, key=key) if key else ask(server, "xero", None, "POST", headers, body)
            case.equal((bad.status, bad.body), (401, b""), "exactly 401, with no body")
        full = b'{"events":[{"resourceId":"1"}],"id":"of-xero-full"}'
        case.true(by_body(server, "xero", full).status in (200, 204), "events are events")
        case.equal([r.value["data"]["id"] for r in landed(server)], ["of-xero-full"])


def test_monday_s_challenge_comes_back_as_json():
    with running({"monday": source("monday")}) as server:
        body = b'{"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}'
        res = by_body(server, "monday", body)
        case.equal((res.status, json.loads(res.body)), (200, json.loads(body)))
        refused(by_body(server, "monday", body, key="wrong"), 401, "3eZbrw1aBm2rZgRNFdxV")
        for bad in BAD_CHALLENGES:
            refused(by_body(server, "monday", json.dumps({"challenge": bad}).encode()), 400)
        events_still_land(server, "monday")


def test_twitch_s_challenge_comes_back_after_its_signature():
    with running({"twitch": source("twitch")}) as server:
        kind = [("Twitch-Eventsub-Message-Type", "webhook_callback_verification")]
        body = b'{"challenge":"pogchamp-kappa-360noscope-vohiyo","subscription":{"id":"f1c2a387"}}'
        echoed(by_body(server, "twitch", body, kind), "pogchamp-kappa-360noscope-vohiyo")
        refused(by_body(server, "twitch", body, kind, key="wrong"), 401, "pogchamp")
        bad = b'{"challenge":"<b>","subscription":{}}'
        refused(by_body(server, "twitch", bad, kind), 400)
        # the type is not signed: a header alone makes no handshake of an event
        body = event("of-twitch-event", event={})
        case.equal(by_body(server, "twitch", body, kind).status, 204)
        case.equal([r.value["data"]["id"] for r in landed(server)], ["of-twitch-event"])


def test_oversize_and_chunked_bodies_of_handshakes_are_bounded():
    with running({"meta": meta()}, env=ENV) as server:
        good = {"hub.mode": "subscribe", "hub.challenge": "1", "hub.verify_token": TOKEN}
        big = ask(server, "meta", good, "GET", [], b"x" * 20000)
        case.equal(big.status, 413)
        case.equal(landed(server), [])


ASANA = webhook("hmac", path="/hooks/asana", verify={"scheme": "hmac", "header": "X-Hook-Signature"}, handshake="asana")
ASANA["webhook"]["verify"].pop("secrets")
HANDED = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"


def hand(server, secret=HANDED, headers=()):
    return wire.once(server.port, "POST", "/hooks/asana", [("X-Hook-Secret", secret), *headers], b"{}")


def asana_event(server, ident, secret=HANDED):
    body = event(ident)
    return deliver(server, body, "/hooks/asana", [("X-Hook-Signature", mac(body, secret).hexdigest())]).status


def test_asana_s_secret_is_kept_before_the_answer_and_outlives_a_kill():
    with running({"asana": ASANA}, stop=False) as server:
        case.equal(asana_event(server, "too early"), 401)
        res = hand(server)
        server.kill9()
        case.equal((res.status, res.header("X-Hook-Secret"), res.body), (200, HANDED, b""))
        path = os.path.join(server.data_dir, "handshakes", "asana")
        case.equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, "mode")
        server.start()
        case.equal(asana_event(server, "after the kill"), 204)
        case.equal(asana_event(server, "forged", "0" * 64), 401)
        server.stop(want=0)
        case.true(HANDED not in server.log(since_start=False), "the secret is in the log")
        record, = landed(server)
    case.equal(record.value["data"]["id"], "after the kill")


def test_asana_s_secret_is_handed_over_once():
    stranger = "f" * 64
    with running({"asana": ASANA}) as server:
        case.equal(hand(server).status, 200)
        case.equal(hand(server).status, 200, "the same again: its answer got lost")
        res = hand(server, stranger)
        case.equal((res.status, res.header("X-Hook-Secret")), (403, None), "a stranger's")
        case.equal(asana_event(server, "forged", stranger), 401)
        both = hand(server, stranger, [("X-Hook-Signature", "00" * 32)])
        case.equal((both.status, both.header("X-Hook-Secret")), (401, None), "with a false signature")
        for bad in ("short", "x" * 129, "<script>alert(1)</script>", "a b" * 10):
            case.equal(hand(server, bad).status, 400, bad)
        twice = hand(server, HANDED, [("X-Hook-Secret", stranger)])
        case.equal(twice.status, 400, "two secrets")
        case.equal(asana_event(server, "genuine"), 204)
        case.equal([r.value["data"]["id"] for r in landed(server)], ["genuine"])


def test_asana_s_further_webhooks_need_a_raised_count():
    second = "c" * 64
    with running({"asana": ASANA}) as server:
        case.equal(hand(server).status, 200)
        case.equal(hand(server, second).status, 403)
        server.cfg["sources"]["asana"]["webhook"]["handshake"] = {"kind": "asana", "hand_overs": 2}
        server.write_config()
        server.stop(want=0)
        server.start()
        case.equal(hand(server, second).status, 200)
        case.equal([asana_event(server, "one"), asana_event(server, "two", second)], [204, 204])
        case.equal({r.value["data"]["id"]: r.value["verified"]["secret"] for r in landed(server)}, {"one": 0, "two": 1})


def test_a_secret_that_cannot_be_kept_is_not_answered():
    with running({"asana": ASANA}) as server:
        with open(os.path.join(server.data_dir, "handshakes"), "w") as f:
            f.write("in the way\n")
        res = hand(server)
        case.equal((res.status, res.header("X-Hook-Secret")), (503, None))
        case.true(res.header("Retry-After"), "no Retry-After")
        case.equal(asana_event(server, "signed with what was refused"), 401)
        os.unlink(os.path.join(server.data_dir, "handshakes"))
        case.equal(hand(server).status, 200)


def test_a_paused_source_still_shakes_hands():
    with running({"dropbox": source("dropbox")}) as server:
        case.equal(server.cli("pause", "dropbox").returncode, 0)
        body = event("paused")
        until("paused", lambda: deliver(server, body, "/hooks/dropbox", signed(body)).status == 503)
        echoed(ask(server, "dropbox", {"challenge": "abc"}), "abc")


if __name__ == "__main__":
    case.main(globals())
