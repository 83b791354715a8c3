#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""SNS, PayPal and Google: signed by a certificate that the request names, or one that is published. A server of this machine plays their https hosts; openssl signs. What may be fetched is
where they have it, and nowhere else."""
import base64
import contextlib
import glob
import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import wire  # noqa: E402
from certs import RSA, Certs, openssl  # noqa: E402
from server import Home, Server, config, has_faults, landed, living, until, webhook  # noqa: E402

SNS = "https://sns.us-east-1.amazonaws.com"
TOPIC = "arn:aws:sns:us-east-1:123456789012:MyTopic"
PAYPAL_PATH = "/v1/notifications/certs/CERT-"
GOOGLE_PATH = "/oauth2/v1/certs"
AUDIENCE, EMAIL = "https://hooks.example.com/pubsub", "push@project.iam.gserviceaccount.com"
NAMES = "DNS:sns.us-east-1.amazonaws.com,DNS:api.paypal.com,DNS:api.sandbox.paypal.com,DNS:www.googleapis.com"


class Vendor:
    """Their https host: serves files by path, and keeps what was asked for."""

    def __init__(self, certs):
        self.files, self.asked, self.slow = {}, [], threading.Event()
        self.slow.set()
        vendor = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                vendor.asked.append((self.headers["Host"], self.path))
                vendor.slow.wait(20)
                body = vendor.files.get(self.path.split("?")[0])
                status = body if isinstance(body, int) else 200 if body is not None else 404
                self.send_response(status)
                if status // 100 == 3:
                    self.send_header("Location", SNS + "/there.pem")
                self.end_headers()
                if isinstance(body, bytes):
                    with contextlib.suppress(OSError):
                        self.wfile.write(body)

            def log_message(self, *args):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certs.crt("vendor"), certs.key("vendor"))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.slow.set()
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def serving(scheme="sns", trusted="ca", **more):
    if not has_faults():
        raise case.Skip("this build fetches from the world only")
    with Home("mr-sns") as home:
        certs = Certs(home.at("certs"))
        certs.ca()
        certs.ca("other")
        certs.leaf("vendor", names=NAMES)
        certs.leaf("signer", kind=RSA, names="DNS:sns.amazonaws.com")
        certs.leaf("ended", kind=RSA, names="DNS:sns.amazonaws.com", days=-1)
        certs.leaf("curve", names="DNS:sns.amazonaws.com")
        openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "9", "-keyout", certs.key("short"), "-out", certs.crt("short"), "-subj", "/CN=short")
        vendor = Vendor(certs)
        for name in ("signer", "ended", "curve", "short"):
            with open(certs.crt(name), "rb") as f:
                vendor.files[f"/{name}.pem"] = f.read()
        vendor.files[PAYPAL_PATH + "signer"] = vendor.files["/signer.pem"]
        vendor.files[GOOGLE_PATH] = json.dumps({name: vendor.files[f"/{name}.pem"].decode() for name in ("signer", "ended")}).encode()
        source = webhook(scheme, path="/hook", quarantine="full", **more)
        if scheme != "paypal":
            del source["webhook"]["verify"]["secrets"]
        server = Server(home, config(home, {"it": source}))
        server.extra_env = {"MILLRACE_FETCH_TEST": f"127.0.0.1:{vendor.port},{certs.crt(trusted)}"}
        try:
            with living(server):
                server.start(extra=server.extra_env)
                yield server, certs, vendor
        finally:
            vendor.stop()


def rsa(certs, text, digest="sha1", key="signer"):
    made = subprocess.run(["openssl", "dgst", "-" + digest, "-sign", certs.key(key)], input=text, capture_output=True, check=True).stdout
    return base64.b64encode(made).decode()


def stamp(offset=0):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() + offset))


def message(certs, ident, kind="Notification", version="1", key="signer", cert=SNS + "/signer.pem", at=0, **more):
    m = {"Type": kind, "MessageId": ident, "TopicArn": TOPIC, "Message": "a \"message\" \u00e9\nof two lines", "Timestamp": stamp(at), **more}
    if kind != "Notification":
        m = {"Token": "tok", "SubscribeURL": SNS + "/?Action=ConfirmSubscription&Token=tok", **m}
    names = sorted(k for k in m if k in ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"))
    text = "".join(f"{k}\n{m[k]}\n" for k in names).encode()
    return {**m, "SignatureVersion": version, "Signature": rsa(certs, text, "sha1" if version == "1" else "sha256", key), "SigningCertURL": cert}


def send(server, m, headers=()):
    body = m if isinstance(m, bytes) else json.dumps(m).encode()
    return wire.once(server.port, "POST", "/hook", [("Content-Type", "text/plain"), *headers], body)


def settled(server, m, headers=()):
    """The vendor sends again while the certificate is on its way."""
    return until("an answer", lambda: [r for r in [send(server, m, headers)] if r.status != 503])[0]


def test_notifications_of_both_versions_land_and_the_certificate_is_fetched_once():
    with serving() as (server, certs, vendor):
        first = send(server, message(certs, "m0"))
        case.equal((first.status, bool(first.header("Retry-After"))), (503, True), "its certificate is not here yet")
        case.equal(settled(server, message(certs, "m0")).status, 204)
        case.equal(send(server, message(certs, "m1", Subject="with a subject")).status, 204)
        case.equal(send(server, message(certs, "m2", version="2")).status, 204)
        case.equal(vendor.asked, [("sns.us-east-1.amazonaws.com", "/signer.pem")])
        records = landed(server)
        case.equal([r.value["data"]["MessageId"] for r in records], ["m0", "m1", "m2"])
        case.equal(records[0].value["verified"], {"scheme": "sns", "secret": 0, "covers": "body"})


def test_what_is_not_signed_so_is_refused():
    with serving() as (server, certs, vendor):
        case.equal(settled(server, message(certs, "good")).status, 204)
        good = message(certs, "forged")
        for what, m in {"another message": {**good, "Message": "x"}, "another topic": {**good, "TopicArn": TOPIC + "2"}, "another type": {**good, "Type": "UnsubscribeConfirmation"},
                        "a subject added": {**good, "Subject": "x"}, "no signature": {k: v for k, v in good.items() if k != "Signature"},
                        "another version": {**good, "SignatureVersion": "2"}, "a version of its own": {**good, "SignatureVersion": "3"},
                        "rubbish": {**good, "Signature": "AAAA"}, "no message": {k: v for k, v in good.items() if k != "Message"}, "old": message(certs, "old", at=-4000),
                        "ahead": message(certs, "ahead", at=4000), "an ended certificate": message(certs, "e", key="ended", cert=SNS + "/ended.pem"),
                        "a key that is none": message(certs, "c", cert=SNS + "/curve.pem"), "a short key": message(certs, "s", key="short", cert=SNS + "/short.pem"),
                        "another's certificate": message(certs, "o", key="ended")}.items():
            case.equal(settled(server, m).status, 401, what)
        case.equal(settled(server, b"no json").status, 401)
        case.equal([r.value["data"]["MessageId"] for r in landed(server)], ["good"])


def test_certificates_are_fetched_from_sns_and_nowhere_else():
    with serving() as (server, certs, vendor):
        for url in ("http://sns.us-east-1.amazonaws.com/signer.pem", "https://evil.example/signer.pem", "https://sns.us-east-1.amazonaws.com.evil.example/signer.pem",
                    "https://sns.us-east-1.amazonaws.com@evil.example/signer.pem", "https://sns.us-east-1.amazonaws.com:8443/signer.pem", "https://127.0.0.1/signer.pem",
                    "https://sns.us-east-1.amazonaws.com/signer.pem?x", SNS + "/signer.pem#x.pem", SNS + "//signer.pem", SNS + "/./signer.pem", SNS + "/a/signer.pem", SNS + "/signer%2epem.pem", SNS + "/.pem",
                    "https://sns.east.amazonaws.com/signer.pem", "https://sns.1.amazonaws.com/signer.pem", "https://sns..amazonaws.com/signer.pem", "https://sns.us-east-1-x.amazonaws.com/signer.pem", "https://sns.us-east-1.amazonaws.com/signer.der", "https://sns.a/b.amazonaws.com/signer.pem",
                    "file:///etc/passwd", "", 7):
            case.equal(send(server, message(certs, "m", cert=url)).status, 401, url)
        case.equal(vendor.asked, [])


def test_what_is_no_certificate_is_refused_and_remembered():
    """404, a redirect, too much, a page of another kind, a curve, a short key: known at once to be none; a forgery like any other."""
    with serving() as (server, certs, vendor):
        vendor.files.update({"/moved.pem": 302, "/huge.pem": b"x" * 1000000, "/page.pem": b"<html>sorry</html>", "/long.pem": vendor.files["/signer.pem"] + b"x" * 20000})
        paths = ["/none.pem", "/moved.pem", "/huge.pem", "/page.pem", "/long.pem", "/curve.pem", "/short.pem"]
        for path in paths:
            m = message(certs, "m", cert=SNS + path)
            case.equal(send(server, m).status, 503, path)
            case.equal(settled(server, m).status, 401, path)
            for _ in range(5):
                case.equal(send(server, m).status, 401, path)
        case.equal([p for _, p in vendor.asked], paths, "each once: what is none is remembered, redirects are not followed")
        case.equal(server.metrics()['millrace_webhook_requests_total{source="it",outcome="refused",cause="signature"}'], 6 * len(paths), "refused by signature")
        kept = [q for q in until("kept", lambda: (lambda got: len(got) == 6 * len(paths) and got)(quarantined(server)))]
        case.true(all("the certificate that it names" in q["reason"] for q in kept), f"why: {kept[0]}")


def test_a_host_that_fails_is_asked_again_later():
    with serving() as (server, certs, vendor):
        vendor.files["/ill.pem"] = 500
        m = message(certs, "m", cert=SNS + "/ill.pem")
        case.equal(send(server, m).status, 503)
        until("told", lambda: "status 500" in server.log())
        for _ in range(5):
            case.equal(send(server, m).status, 503, "it may be genuine: nobody can say")
        case.equal(len(vendor.asked), 1, "remembered for half a minute")


def quarantined(server):
    """Its refused requests on disk."""
    kept = []
    for path in glob.glob(os.path.join(server.data_dir, "quarantine", "it", "*.json")):
        with open(path, encoding="utf-8") as f:
            kept.append(json.load(f))
    return kept


def forgeries(certs, many, first=0):
    for n in range(first, first + many):
        yield {**message(certs, f"f{n}", cert=SNS + f"/forged-{n}.pem"), "Signature": "AAAA"}


def test_strangers_can_neither_push_out_a_certificate_nor_have_us_ask_for_many():
    with serving() as (server, certs, vendor):
        case.equal(settled(server, message(certs, "first")).status, 204)
        for n, m in enumerate(forgeries(certs, 200)):
            case.true(send(server, m).status in (401, 503), "a forgery")
            if n % 20 == 0:
                case.equal(send(server, message(certs, f"n{n}")).status, 204, "in the middle of them")
        case.true(len(vendor.asked) < 60, f"a second's worth a second: {len(vendor.asked)} of 200")
        case.equal([p for _, p in vendor.asked].count("/signer.pem"), 1)


def test_a_certificate_gets_in_after_a_flood_of_names():
    with serving() as (server, certs, vendor):
        for m in forgeries(certs, 60):
            send(server, m)
        case.equal(settled(server, message(certs, "at last")).status, 204)


def test_a_source_that_goes_does_not_wait_for_a_slow_host():
    with serving(handshake={"kind": "sns", "topics": [TOPIC]}) as (server, certs, vendor):
        case.equal(settled(server, message(certs, "n")).status, 204)
        vendor.files["/"] = b"<ConfirmSubscriptionResponse/>"
        vendor.slow.clear()
        conn = wire.Conn(server.port)
        body = json.dumps(message(certs, "s", "SubscriptionConfirmation")).encode()
        conn.send(wire.request("POST", "/hook", [("Content-Type", "text/plain")], body))
        until("it is being confirmed", lambda: len(vendor.asked) == 2)
        server.cfg["sources"] = {"other": webhook(path="/other")}
        server.write_config()
        server.signal(signal.SIGHUP)
        case.equal(conn.final().status, 503, "its answer does not wait")
        until("the source is gone", lambda: [s["name"] for s in server.status()["sources"]] == ["other"])
        case.true(not vendor.slow.is_set(), "and the host still hangs")
        vendor.slow.set()


def test_a_host_that_cannot_prove_its_name_is_not_believed():
    with serving(trusted="other") as (server, certs, vendor):
        case.equal(send(server, message(certs, "m")).status, 503)
        until("told", lambda: "certificate_not_fetched" in server.log())
        case.equal(vendor.asked, [])


def test_a_slow_host_holds_up_nobody():
    with serving() as (server, certs, vendor):
        vendor.slow.clear()
        for n in range(20):
            case.equal(send(server, message(certs, f"m{n}")).status, 503)
        case.equal(wire.once(server.port, "POST", "/elsewhere", [], b"{}").status, 404)
        vendor.slow.set()
        case.equal(settled(server, message(certs, "at last")).status, 204)
        case.equal(len(vendor.asked), 1)


def test_a_subscription_of_ours_is_confirmed_and_no_other():
    with serving(handshake={"kind": "sns", "topics": [TOPIC]}) as (server, certs, vendor):
        vendor.files["/"] = b"<ConfirmSubscriptionResponse/>"
        case.equal(settled(server, message(certs, "s", "SubscriptionConfirmation")).status, 200)
        case.equal(vendor.asked[1:], [("sns.us-east-1.amazonaws.com", "/?Action=ConfirmSubscription&Token=tok")])
        case.equal(send(server, message(certs, "t", "SubscriptionConfirmation", TopicArn=TOPIC + "x")).status, 403)
        case.equal(send(server, message(certs, "u", "SubscriptionConfirmation", SubscribeURL="https://evil.example/")).status, 403)
        forged = message(certs, "f", "SubscriptionConfirmation")
        case.equal(send(server, {**forged, "SubscribeURL": SNS + "/?Action=Other"}).status, 401)
        case.equal(send(server, message(certs, "v", "SubscriptionConfirmation", SubscribeURL=SNS + "/?Action=Other&Token=tok")).status, 403)
        case.equal(len(vendor.asked), 2)
        case.equal(send(server, message(certs, "n")).status, 204)
        case.equal([r.value["data"]["MessageId"] for r in landed(server)], ["n"], "a confirmation is no event")


def test_a_confirmation_that_fails_is_tried_again_by_the_vendor():
    with serving(handshake={"kind": "sns", "topics": [TOPIC]}) as (server, certs, vendor):
        case.equal(settled(server, message(certs, "n")).status, 204)
        res = send(server, message(certs, "s", "SubscriptionConfirmation"))
        case.equal((res.status, bool(res.header("Retry-After"))), (503, True), "there is nothing at that URL")
        case.true("not_confirmed" in server.log() and "Token=tok" not in server.log(), "told, without the token")


def test_paypal():
    with serving("paypal") as (server, certs, vendor):
        webhook_id = "s3cr3t-of-the-test-suite"

        def headers(body, at=0, algorithm="SHA256withRSA", cert="https://api.paypal.com" + PAYPAL_PATH + "signer", ident="69cd13f0", hook=webhook_id):
            t = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + at))
            text = f"{ident}|{t}|{hook}|{zlib.crc32(body)}".encode()
            return [("PAYPAL-TRANSMISSION-ID", ident), ("PAYPAL-TRANSMISSION-TIME", t), ("PAYPAL-AUTH-ALGO", algorithm), ("PAYPAL-CERT-URL", cert),
                    ("PAYPAL-TRANSMISSION-SIG", rsa(certs, text, "sha256"))]

        body = b'{"id":"WH-1","event_type":"PAYMENT.SALE.COMPLETED"}'
        case.equal(settled(server, body, headers(body)).status, 204)
        case.equal(send(server, body, headers(body, cert="https://api.sandbox.paypal.com" + PAYPAL_PATH + "signer")).status, 503)
        for what, sent, made in (("another body", body + b" ", headers(body)), ("another webhook", body, headers(body, hook="other")), ("old", body, headers(body, at=-4000)),
                                 ("another algorithm", body, headers(body, algorithm="SHA1withRSA")), ("another host", body, headers(body, cert="https://api.paypal.com.evil.example" + PAYPAL_PATH + "signer")),
                                 ("another path", body, headers(body, cert="https://api.paypal.com/signer")), ("a query", body, headers(body, cert="https://api.paypal.com" + PAYPAL_PATH + "signer?x")),
                                 ("a fragment", body, headers(body, cert="https://api.paypal.com" + PAYPAL_PATH + "signer#x")), ("no id", body, headers(body)[1:]), ("an id that moves the border", body, headers(body, ident="a|b"))):
            case.equal(send(server, sent, made).status, 401, what)
        record, = landed(server)
        case.equal((record.value["data"]["id"], record.value["verified"]["covers"]), ("WH-1", "crc32"))


def b64url(value):
    return base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).rstrip(b"=").decode()


def token(certs, key="signer", kid="signer", alg="RS256", at=0, life=3600, **claims):
    """As Google makes them."""
    now = int(time.time()) + at
    said = {"iss": "https://accounts.google.com", "aud": AUDIENCE, "email": EMAIL, "email_verified": True, "sub": "1", "iat": now, "exp": now + life, **claims}
    text = b64url({"alg": alg, "kid": kid, "typ": "JWT"} if kid else {"alg": alg}) + "." + b64url({k: v for k, v in said.items() if v is not None})
    return text + "." + b64url(base64.b64decode(rsa(certs, text.encode(), "sha256", key)))


def pushed(server, value, ident="1", prefix="Bearer "):
    body = json.dumps({"message": {"data": "aGVsbG8=", "messageId": ident}, "subscription": "projects/p/subscriptions/s"}).encode()
    return settled(server, body, [("Authorization", prefix + value)])


def test_google():
    with serving("google-oidc", verify={"audience": AUDIENCE, "email": EMAIL}, dedup={"id": "/message/messageId"}) as (server, certs, vendor):
        case.equal(pushed(server, token(certs)).status, 204)
        case.equal(pushed(server, token(certs, iss="accounts.google.com"), "2", prefix="bearer ").status, 204)
        good = token(certs)
        head, claims, signature = good.split(".")
        for what, value in {"another audience": token(certs, aud=AUDIENCE + "/"), "no audience": token(certs, aud=None), "several audiences": token(certs, aud=[AUDIENCE]),
                            "another account": token(certs, email="push@other.iam.gserviceaccount.com"), "no account": token(certs, email=None),
                            "not verified": token(certs, email_verified=False), "verified as text": token(certs, email_verified="true"), "another issuer": token(certs, iss="https://evil.example"),
                            "past": token(certs, at=-7200), "ahead": token(certs, at=7200), "no end": token(certs, exp=None), "no beginning": token(certs, iat=None),
                            "another key": token(certs, key="ended"), "an ended certificate": token(certs, key="ended", kid="ended"), "no kid": token(certs, kid=None),
                            "a kid that is none": token(certs, kid="nobody"), "no algorithm": token(certs, alg="none"), "another algorithm": token(certs, alg="HS256"),
                            "claims changed": head + "." + b64url({"aud": AUDIENCE}) + "." + signature, "no signature": head + "." + claims + ".", "two parts": head + "." + claims,
                            "rubbish": "x", "nothing": ""}.items():
            case.equal(pushed(server, value, what).status, 401, what)
        case.equal(send(server, b"{}").status, 401, "no header")
        case.equal([a for a in vendor.asked], [("www.googleapis.com", GOOGLE_PATH)], "once: a key that is none does not have them fetched again so soon")
        records = landed(server)
        case.equal([(r.value["id"], r.value["verified"], [h["value"] for h in r.value["headers"] if h["name"] == "Authorization"]) for r in records],
                   [(i, {"scheme": "google-oidc", "secret": 0, "covers": "token"}, ["***"]) for i in ("1", "2")])


def test_google_without_certificates_and_without_a_config():
    with serving("google-oidc", verify={"audience": AUDIENCE, "email": EMAIL}) as (server, certs, vendor):
        vendor.files[GOOGLE_PATH] = b'{"signer": "no certificate"}'
        case.equal(pushed(server, token(certs)).status, 401, "what came is none of Google's")
        source = server.cfg["sources"]["it"]["webhook"]
        for verify in ({"scheme": "google-oidc"}, {"scheme": "google-oidc", "audience": AUDIENCE}, {"scheme": "google-oidc", "email": EMAIL}):
            source["verify"] = verify
            server.write_config()
            done = server.cli("check", "--offline")
            case.true(done.returncode == 2 and b"audience" in done.stderr, f"{verify}: {done}")


if __name__ == "__main__":
    case.main(globals())
