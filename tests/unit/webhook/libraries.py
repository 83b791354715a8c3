#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every vendor's signature, made outside of millrace: by the vendor's own library where it signs, else by Python's hmac or the `cryptography`
package after the vendor's documentation; and judged by the vendor's library where there is one. `millrace explain` judges the same requests, and then
what a forger, a proxy or a wrong clock makes of each: changed body, wrong secret, digest with a bit turned, cut, doubled, absent, there twice, times
that are old, ahead, or none. Whatever a library refuses, millrace must refuse, and the other way round, but where `laxer` says why the library is not asked.

And what `millrace send` makes of a body that was signed long ago with another secret is caught on its way: the library must accept it, or where there is
none it must be, header by header and field by field, what Python makes for that second.

usage: libraries.py MILLRACE VENV NPM      the libraries of PyPI and of npm are fetched into these folders at the first run; exit 77 (skipped) if those of PyPI cannot
be had; those of npm that cannot are named
"""
import base64
import contextlib
import copy
import fractions
import hashlib
import hmac
import http.server
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

PACKAGES = ["twilio==9.13.0", "svix==2.9.1", "Adyen==16.0.0", "hubspot-api-client==12.0.0", "squareup==46.0.0.20260916", "line-bot-sdk==3.27.0",
            "razorpay==2.0.1", "gocardless_pro==3.22.0", "sendgrid==6.12.5", "discord-interactions==0.4.0", "braintree==4.48.0", "workos==10.8.0",
            "paddle-python-sdk==1.16.1", "PyJWT==2.15.1", "cryptography==50.0.2", "telnyx==4.189.0", "PyNaCl==1.6.2"]
IMPORTS = "import twilio, svix, Adyen, hubspot, square, linebot, razorpay, gocardless_pro, sendgrid, discord_interactions, braintree, workos, jwt, telnyx"
# name in judge.mjs: its scheme, and what the library is not asked (see `laxer`): most have no bound on the future, Paddle's refuses what is 5 s old
NPM = {"stripe": ("stripe", ["ahead"]), "octokit": ("github", []), "svix": ("svix", []), "standard": ("standard", []), "twilio": ("twilio", []), "line": ("line", []),
       "razorpay": ("razorpay", []), "paddle": ("paddle", ["ahead", "just in time"]), "discord": ("discord", ["old", "ahead"]), "slack": ("slack", ["ahead"]), "adyen": ("adyen", []),
       "sendgrid": ("sendgrid", ["old", "ahead"]), "gocardless": ("gocardless", []), "mux": ("mux", ["ahead"])}
NPM_SIGNERS = ("stripe", "octokit", "svix", "standard", "twilio")
NPM_PACKAGES = ["stripe@23.1.0", "@octokit/webhooks-methods@6.0.0", "svix@1.99.1", "standardwebhooks@1.1.1", "twilio@6.3.1", "@line/bot-sdk@11.0.0", "razorpay@2.9.8",
                "@paddle/paddle-node-sdk@3.10.0", "discord-interactions@4.4.0", "@slack/bolt@5.1.0", "@adyen/api-library@32.1.0", "@sendgrid/eventwebhook@8.0.0",
                "gocardless-nodejs@10.1.2", "@mux/mux-node@15.3.0"]
SECRET = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
BODY = b'{"id":"evt_1","text":"\xc3\xa9 \xf0\x9f\x90\xaf","amount":1.50}'
FORM = b"MessageSid=SM1&From=%2B15551234567&Body=two+words+%26+more&To=%2B15557654321"
URL = "https://hooks.example.com/in"


def venv_python(folder):
    python = os.path.join(folder, "bin", "python")
    try:
        if not os.path.exists(python):
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=90)
        if subprocess.run([python, "-c", IMPORTS], capture_output=True).returncode:
            for attempt in range(3):
                done = subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES], capture_output=True, timeout=240)
                if done.returncode == 0:
                    break
            done.check_returncode()
    except (subprocess.SubprocessError, OSError) as e:
        print(f"skipped: no vendor libraries: {e}")
        sys.exit(77)
    return python


# -- signing, after the vendors' documents --------------------------------------------------------------------------------------

def mac(key, text, digest="sha256", form="hex"):
    key = key if isinstance(key, bytes) else key.encode()
    made = hmac.new(key, text, digest)
    return made.hexdigest() if form == "hex" else base64.b64encode(made.digest()).decode()


class Vendor:
    """sign(body, now, secret) -> headers, or (headers, body) where the signature stands in it. judge(headers, body) -> bool, of the library."""

    def __init__(self, scheme, sign, judge=None, body=BODY, secret=SECRET, other=OTHER, timed=None, url=False, query="", covers=True, where=None, laxer=(), minutes=5):
        self.scheme, self.sign, self.judge, self.body, self.secret, self.other = scheme, sign, judge, body, secret, other
        self.timed, self.url, self.query, self.covers, self.where, self.laxer, self.minutes = timed, url, query, covers, where, set(laxer), minutes

    def signed(self, now, body=None, secret=None):
        made = self.sign(self.body if body is None else body, now, self.secret if secret is None else secret)
        return made if isinstance(made, tuple) else (made, self.body if body is None else body)


def simple(scheme, header, prefix="", digest="sha256", form="hex", key=lambda s: s, **more):
    return Vendor(scheme, lambda body, now, secret: [[header, prefix + mac(key(secret), body, digest, form)]], where=header, **more)


def listed(scheme, header, time_key, key, between, joined, **more):
    def sign(body, now, secret):
        t = str(now * (1000 if more.get("timed") == "ms" else 1))
        return [[header, between.join([f"{time_key}={t}", f"{key}={mac(secret, t.encode() + joined + body)}"])]]
    return Vendor(scheme, sign, where=header, **{"timed": "s", **more})


def iso(now):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


def timed_headers(scheme, header, time_header, text, unit="s", prefix="", form="hex", extra=(), **more):
    """text(t, body): what is signed."""
    def sign(body, now, secret):
        t = now if isinstance(now, str) else iso(now) if unit == "iso" else str(now * 1000) if unit == "ms" else str(now)
        return [[header, prefix + mac(secret, text(t.encode(), body), form=form)], [time_header, t], *[list(e) for e in extra]]
    return Vendor(scheme, sign, where=header, timed=unit, **more)


def headers_of(headers):
    return {k.lower(): v for k, v in headers}


def by_libraries():
    """The vendors whose library judges here."""
    import logging
    import types
    import Adyen.util
    import discord_interactions
    import gocardless_pro.webhooks
    import jwt
    import linebot.v3.webhook
    import nacl.signing
    import razorpay
    import square.utils.webhooks_helper
    import svix.webhooks
    import telnyx.lib
    import twilio.request_validator
    import workos.webhooks._verification as workos_verification
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from hubspot.utils.signature import Signature
    from paddle_billing.Notifications import Secret, Verifier
    from sendgrid.helpers.eventwebhook import EventWebhook

    logging.disable(logging.CRITICAL)

    def twilio_sign(algorithm):
        def sign(body, now, secret):
            params = {k: v for k, v in urllib.parse.parse_qsl(body.decode())}
            return [["X-Twilio-Signature", twilio.request_validator.RequestValidator(secret).compute_signature(URL, params, algorithm)],
                    ["Content-Type", "application/x-www-form-urlencoded"]]
        return sign

    def twilio_judge(algorithm):
        def judge(headers, body):
            params = {k: v for k, v in urllib.parse.parse_qsl(body.decode())}
            return twilio.request_validator.RequestValidator(SECRET).validate(URL, params, headers_of(headers)["x-twilio-signature"], algorithm)
        return judge

    for scheme, algorithm in (("twilio", None), ("twilio-sha256", "HMAC_SHA256")):
        yield Vendor(scheme, twilio_sign(algorithm), twilio_judge(algorithm), body=FORM, url=True, where="X-Twilio-Signature")

    json_query = "bodySHA256=" + hashlib.sha256(BODY).hexdigest()
    yield Vendor("twilio", lambda body, now, secret: [["X-Twilio-Signature", twilio.request_validator.RequestValidator(secret).compute_signature(URL + "?" + json_query, {})],
                                                      ["Content-Type", "application/json"]],
                 lambda headers, body: twilio.request_validator.RequestValidator(SECRET).validate(URL + "?" + json_query, body.decode(), headers_of(headers)["x-twilio-signature"]),
                 url=True, query=json_query, covers=[(b"evt_1", b"evt_2")], where="X-Twilio-Signature")

    whsec, whsec_other = ("whsec_" + base64.b64encode(s.encode()).decode() for s in (SECRET, OTHER))

    def svix_sign(body, now, secret):
        from datetime import datetime, timezone
        at = datetime.fromtimestamp(now, tz=timezone.utc)
        return [["svix-id", "msg_1"], ["svix-timestamp", str(now)], ["svix-signature", svix.webhooks.Webhook(secret).sign("msg_1", at, body.decode())]]

    yield Vendor("svix", svix_sign, lambda headers, body: svix.webhooks.Webhook(whsec).verify(body, dict(headers)) is not False, secret=whsec, other=whsec_other, timed="s",
                 where="svix-signature")

    hexes = (SECRET * 2, OTHER * 2)
    yield Vendor("adyen-payload", lambda body, now, secret: [["HmacSignature", Adyen.util.generate_payload_sig(body, secret).decode()]],
                 lambda headers, body: Adyen.util.is_valid_hmac_payload(headers_of(headers)["hmacsignature"], hexes[0], body), secret=hexes[0], other=hexes[1],
                 where="HmacSignature")

    item = {"pspReference": "7914073381342284", "originalReference": "", "merchantAccountCode": "TestMerchant", "merchantReference": "TestPayment-1407325143704",
            "amount": {"value": 1130, "currency": "EUR"}, "eventCode": "AUTHORISATION", "success": "true"}

    def adyen_sign(body, now, secret):
        made = Adyen.util.generate_notification_sig(json.loads(body), secret).decode()
        return [], json.dumps({"live": "false", "notificationItems": [{"NotificationRequestItem": {**json.loads(body), "additionalData": {"hmacSignature": made}}}]}).encode()

    yield Vendor("adyen", adyen_sign, lambda headers, body: Adyen.util.is_valid_hmac_notification(json.loads(body), hexes[0]), body=json.dumps(item).encode(),
                 secret=hexes[0], other=hexes[1], covers=[(b'"value": 1130', b'"value": 1131'), (b'"success": "true"', b'"success": "false"'), (b"7914073381342284", b"7914073381342285")])

    for version, header in (("v1", "X-HubSpot-Signature"), ("v2", "X-HubSpot-Signature")):
        yield Vendor("hubspot-" + version, lambda body, now, secret, version=version, header=header: [[header, Signature.get_signature(secret, body.decode(), version, URL, "POST")]],
                     lambda headers, body, version=version: Signature.is_valid(headers_of(headers)["x-hubspot-signature"], SECRET, body.decode(), URL, "POST", version),
                     url=version == "v2", where=header)
    yield Vendor("hubspot-v3", lambda body, now, secret: [["X-HubSpot-Request-Timestamp", str(now * 1000)],
                                                          ["X-HubSpot-Signature-v3", Signature.get_signature(secret, body.decode(), "v3", URL, "POST", str(now * 1000))]],
                 lambda headers, body: Signature.is_valid(headers_of(headers)["x-hubspot-signature-v3"], SECRET, body.decode(), URL, "POST", "v3",
                                                          headers_of(headers)["x-hubspot-request-timestamp"]),
                 url=True, timed="ms", where="X-HubSpot-Signature-v3", laxer=["ahead"])  # it has no bound on the future

    yield Vendor("square", lambda body, now, secret: [["x-square-hmacsha256-signature", mac(secret, URL.encode() + body, form="base64")]],
                 lambda headers, body: square.utils.webhooks_helper.verify_signature(request_body=body.decode(), signature_key=SECRET, notification_url=URL,
                                                                                     signature_header=headers_of(headers)["x-square-hmacsha256-signature"]),
                 url=True, where="x-square-hmacsha256-signature")
    yield simple("line", "X-Line-Signature", form="base64",
                 judge=lambda headers, body: linebot.v3.webhook.SignatureValidator(SECRET).validate(body.decode(), headers_of(headers)["x-line-signature"]))
    yield simple("razorpay", "X-Razorpay-Signature", judge=lambda headers, body: razorpay.Utility(None).verify_webhook_signature(
        body.decode(), headers_of(headers)["x-razorpay-signature"], SECRET) is not False)
    yield simple("gocardless", "Webhook-Signature", judge=lambda headers, body: gocardless_pro.webhooks._verify_signature(
        body, SECRET, headers_of(headers)["webhook-signature"]) is None)

    yield listed("paddle", "Paddle-Signature", "ts", "h1", ";", b":", judge=lambda headers, body: Verifier(300).verify(
        types.SimpleNamespace(headers=dict(headers), body=body), Secret(SECRET)))
    yield listed("workos", "WorkOS-Signature", "t", "v1", ", ", b".", timed="ms", minutes=3, judge=lambda headers, body: workos_verification.verify_header(
        event_body=body, event_signature=headers_of(headers)["workos-signature"], secret=SECRET) is None)

    def nacl_sign(separator, encode, names):
        def sign(body, now, secret):
            key = nacl.signing.SigningKey(hashlib.sha256(secret.encode()).digest())
            return [[names[0], encode(key.sign(str(now).encode() + separator + body).signature)], [names[1], str(now)]]
        return sign

    public = bytes(nacl.signing.SigningKey(hashlib.sha256(SECRET.encode()).digest()).verify_key)
    b64 = lambda b: base64.b64encode(b).decode()  # noqa: E731
    discord = Vendor("discord", nacl_sign(b"", bytes.hex, ("X-Signature-Ed25519", "X-Signature-Timestamp")),
                     lambda headers, body: discord_interactions.verify_key(body, headers_of(headers)["x-signature-ed25519"], headers_of(headers)["x-signature-timestamp"], public.hex()),
                     timed="s", where="X-Signature-Ed25519", laxer=["old", "ahead"])  # freshness is left to the caller
    discord.configured = public.hex()
    yield discord
    client = types.SimpleNamespace(public_key=b64(public))
    telnyx_vendor = Vendor("telnyx", nacl_sign(b"|", b64, ("telnyx-signature-ed25519", "telnyx-timestamp")),
                           lambda headers, body: telnyx.lib.verify_ed25519(client, body, dict(headers)) is None, timed="s", where="telnyx-signature-ed25519")
    telnyx_vendor.configured = b64(public)
    yield telnyx_vendor

    key_of = lambda secret: ec.derive_private_key(int.from_bytes(hashlib.sha256(secret.encode()).digest(), "big") >> 1, ec.SECP256R1())  # noqa: E731
    spki = b64(key_of(SECRET).public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))
    sendgrid_vendor = Vendor("sendgrid", lambda body, now, secret: [
        ["X-Twilio-Email-Event-Webhook-Signature", b64(key_of(secret).sign(str(now).encode() + body, ec.ECDSA(hashes.SHA256())))],
        ["X-Twilio-Email-Event-Webhook-Timestamp", str(now)]],
        lambda headers, body: EventWebhook(spki).verify_signature(body.decode(), headers_of(headers)["x-twilio-email-event-webhook-signature"],
                                                                  headers_of(headers)["x-twilio-email-event-webhook-timestamp"]),
        body=BODY + b"\r\n", timed="s", where="X-Twilio-Email-Event-Webhook-Signature", laxer=["old", "ahead"])
    sendgrid_vendor.configured = spki
    yield sendgrid_vendor

    def netlify_sign(body, now, secret):
        return [["X-Webhook-Signature", jwt.encode({"iss": "netlify", "sha256": hashlib.sha256(body).hexdigest()}, secret, algorithm="HS256")]]

    def netlify_judge(headers, body):
        claims = jwt.decode(headers_of(headers)["x-webhook-signature"], SECRET, issuer="netlify", algorithms=["HS256"])
        return claims["sha256"] == hashlib.sha256(body).hexdigest()

    yield Vendor("netlify", netlify_sign, netlify_judge, where="X-Webhook-Signature")

    def plaid_sign(body, now, secret):
        return [["Plaid-Verification", jwt.encode({"iat": now, "request_body_sha256": hashlib.sha256(body).hexdigest()}, key_of(secret), algorithm="ES256", headers={"kid": "k"})]]

    def plaid_judge(headers, body):
        claims = jwt.decode(headers_of(headers)["plaid-verification"], key_of(SECRET).public_key(), algorithms=["ES256"], options={"verify_iat": False})
        return claims["request_body_sha256"] == hashlib.sha256(body).hexdigest() and abs(time.time() - claims["iat"]) <= 300

    def fusionauth(key, algorithm):
        def sign(body, now, secret):
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            return [["X-FusionAuth-Signature-JWT", jwt.encode({"request_body_sha256": digest}, key(secret), algorithm=algorithm, headers={"kid": "k"})]]
        return sign

    def fusionauth_judge(key, algorithm):
        def judge(headers, body):
            claims = jwt.decode(headers_of(headers)["x-fusionauth-signature-jwt"], key, algorithms=[algorithm])
            return claims["request_body_sha256"] == base64.b64encode(hashlib.sha256(body).digest()).decode()
        return judge

    yield Vendor("fusionauth", fusionauth(lambda s: s, "HS256"), fusionauth_judge(SECRET, "HS256"), where="X-FusionAuth-Signature-JWT")
    curve = Vendor("fusionauth-es256", fusionauth(key_of, "ES256"), fusionauth_judge(key_of(SECRET).public_key(), "ES256"), where="X-FusionAuth-Signature-JWT")
    curve.configured = spki
    yield curve

    plaid = Vendor("plaid", plaid_sign, plaid_judge, timed="claim", where="Plaid-Verification")
    plaid.configured = spki
    yield plaid

    import braintree
    braintree.Configuration.configure(braintree.Environment.Development, "merchant", "public", SECRET)

    def braintree_sign(body, now, secret):
        braintree.Configuration.configure(braintree.Environment.Development, "merchant", "public", secret)
        made = braintree.WebhookTesting.sample_notification(braintree.WebhookNotification.Kind.SubscriptionWentPastDue, "my_id")
        braintree.Configuration.configure(braintree.Environment.Development, "merchant", "public", SECRET)
        return [["Content-Type", "application/x-www-form-urlencoded"]], urllib.parse.urlencode(
            {k: v if isinstance(v, str) else v.decode() for k, v in made.items()}).encode()

    def braintree_judge(headers, body):
        form = dict(urllib.parse.parse_qsl(body.decode()))
        return braintree.WebhookNotification.parse(form["bt_signature"], form["bt_payload"]) is not None

    yield Vendor("braintree", braintree_sign, braintree_judge, covers=[(b"bt_payload=", b"bt_payload=QQ")])


def by_documents():
    """Those without a library here: their documents, in Python."""
    unb64 = base64.b64decode
    keyed, keyed_other = base64.b64encode(SECRET.encode()).decode(), base64.b64encode(OTHER.encode()).decode()
    yield simple("github", "X-Hub-Signature-256", "sha256=")
    yield simple("github-sha1", "X-Hub-Signature", "sha1=", "sha1")
    yield simple("meta", "X-Hub-Signature-256", "sha256=")
    yield simple("bitbucket", "X-Hub-Signature", "sha256=")
    yield simple("jira", "X-Hub-Signature", "sha256=")
    yield simple("intercom", "X-Hub-Signature", "sha1=", "sha1")
    yield simple("shopify", "X-Shopify-Hmac-Sha256", form="base64")
    yield simple("shopify-events", "shopify-hmac-sha256", form="base64")
    yield simple("typeform", "Typeform-Signature", "sha256=", form="base64")
    yield simple("xero", "x-xero-signature", form="base64")
    yield simple("woocommerce", "X-WC-Webhook-Signature", form="base64")
    yield simple("x", "x-twitter-webhooks-signature", "sha256=", form="base64")
    yield simple("dropbox", "X-Dropbox-Signature")
    yield simple("asana", "X-Hook-Signature")
    yield simple("docusign", "X-DocuSign-Signature-1", form="base64")
    yield simple("airtable", "X-Airtable-Content-MAC", "hmac-sha256=", key=unb64, secret=keyed, other=keyed_other)
    yield simple("vercel", "x-vercel-signature", digest="sha1")
    yield simple("heroku", "Heroku-Webhook-Hmac-SHA256", form="base64")
    yield simple("sentry", "Sentry-Hook-Signature")
    yield simple("nylas", "X-Nylas-Signature")
    yield simple("clickup", "X-Signature")
    yield simple("notion", "X-Notion-Signature", "sha256=")
    yield simple("cursor", "X-Webhook-Signature", "sha256=")
    yield simple("pagerduty", "X-PagerDuty-Signature", "v1=")
    yield simple("circleci", "circleci-signature", "v1=")
    yield listed("buildkite", "X-Buildkite-Signature", "timestamp", "signature", ",", b".")
    yield listed("mux", "Mux-Signature", "t", "v1", ",", b".")
    yield listed("calendly", "Calendly-Webhook-Signature", "t", "v1", ",", b".")
    yield listed("elevenlabs", "ElevenLabs-Signature", "t", "v0", ",", b".")
    yield listed("persona", "Persona-Signature", "t", "v1", ",", b".")
    yield Vendor("recurly", lambda body, now, secret: [["recurly-signature", f"{now * 1000}," + mac(secret, f"{now * 1000}.".encode() + body)]], timed="ms",
                 where="recurly-signature")
    yield timed_headers("zoom", "x-zm-signature", "x-zm-request-timestamp", lambda t, b: b"v0:" + t + b":" + b, prefix="v0=")
    yield timed_headers("zendesk", "X-Zendesk-Webhook-Signature", "X-Zendesk-Webhook-Signature-Timestamp", lambda t, b: t + b, unit="iso", form="base64")
    yield timed_headers("webflow", "x-webflow-signature", "x-webflow-timestamp", lambda t, b: t + b":" + b, unit="ms")
    yield timed_headers("box", "BOX-SIGNATURE-PRIMARY", "BOX-DELIVERY-TIMESTAMP", lambda t, b: b + t, unit="iso", form="base64", minutes=10)
    yield timed_headers("twitch", "Twitch-Eventsub-Message-Signature", "Twitch-Eventsub-Message-Timestamp", lambda t, b: b"m1" + t + b, unit="iso", prefix="sha256=",
                        extra=[("Twitch-Eventsub-Message-Id", "m1")], minutes=10)
    yield Vendor("trello", lambda body, now, secret: [["X-Trello-Webhook", mac(secret, body + URL.encode(), "sha1", "base64")]], url=True, where="X-Trello-Webhook")
    yield Vendor("signalwire", lambda body, now, secret: [["X-SignalWire-Signature", mac(secret, URL.encode() + body, "sha1")]], url=True, where="X-SignalWire-Signature")
    yield Vendor("mandrill", lambda body, now, secret: [
        ["X-Mandrill-Signature", mac(secret, (URL + "".join(k + v for k, v in sorted(urllib.parse.parse_qsl(body.decode())))).encode(), "sha1", "base64")],
        ["Content-Type", "application/x-www-form-urlencoded"]], body=b"mandrill_events=%5B%7B%22event%22%3A%22send%22%7D%5D", url=True, where="X-Mandrill-Signature")

    def linear(body, now, secret):
        body = json.dumps({**json.loads(body), "webhookTimestamp": int(now * 1000)}).encode()
        return [["Linear-Signature", mac(secret, body)]], body

    yield Vendor("linear", linear, where="Linear-Signature", timed="body", minutes=1)

    def mailgun(body, now, secret):
        token = "a" * 50
        return [], json.dumps({"signature": {"timestamp": str(now), "token": token, "signature": mac(secret, (str(now) + token).encode())}, "event-data": json.loads(body)}).encode()

    yield Vendor("mailgun", mailgun, timed="body", covers=[(b"a" * 50, b"b" * 50)])

    def mailgun_form(body, now, secret):
        return [], urllib.parse.urlencode({"timestamp": now, "token": "t" * 50, "signature": mac(secret, f"{now}{'t' * 50}".encode()), "event": "opened"}).encode()

    yield Vendor("mailgun-form", mailgun_form, timed="body", covers=[(b"t" * 50, b"u" * 50)])
    for scheme, header, prefix in (("bearer", "Authorization", "Bearer "), ("gitlab", "X-Gitlab-Token", ""), ("telegram", "X-Telegram-Bot-Api-Secret-Token", ""),
                                   ("deepgram", "dg-token", "")):
        yield Vendor(scheme, lambda body, now, secret, header=header, prefix=prefix: [[header, prefix + secret]], covers=[], where=header)
    yield Vendor("basic", lambda body, now, secret: [["Authorization", "Basic " + base64.b64encode(secret.encode()).decode()]], secret="user:" + SECRET, other="user:" + OTHER,
                 covers=[], where="Authorization")
    yield Vendor("graph", lambda body, now, secret: ([], json.dumps({"value": [{"subscriptionId": "s", "clientState": secret}, {"subscriptionId": "t"}]}).encode()), covers=[])
    yield Vendor("figma", lambda body, now, secret: ([], json.dumps({"event_type": "PING", "passcode": secret}).encode()), covers=[])


# -- npm's libraries --------------------------------------------------------------------------------------------------------------

class Node:
    """judge.mjs, asked a line at a time."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        done = os.path.join(folder, "fetched")
        wanted = "\n".join(NPM_PACKAGES)
        if not os.path.exists(done) or open(done, encoding="utf-8").read() != wanted:
            with open(os.path.join(folder, "package.json"), "w", encoding="utf-8") as f:
                f.write('{"private": true}')
            subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=4", *NPM_PACKAGES], cwd=folder, check=True, capture_output=True,
                           timeout=400)
            with open(done, "w", encoding="utf-8") as f:
                f.write(wanted)
        judge = os.path.join(os.path.dirname(os.path.abspath(__file__)), "judge.mjs")
        self.process = subprocess.Popen(["node", judge], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.libraries = self.ask({"which": True})

    def ask(self, question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def vendor(self, name, of):
        """The same vendor, judged by its npm library, and signed by it where it can."""
        v = copy.copy(of)
        v.laxer, secret = set(NPM[name][1]), getattr(of, "configured", of.secret)
        v.name = f"{v.scheme} (npm)"
        v.judge = lambda headers, body: self.ask({"lib": name, "headers": headers_of(headers), "body": base64.b64encode(body).decode(), "url": URL, "secret": secret})
        if name in NPM_SIGNERS:
            v.sign = lambda body, now, secret: self.ask({"lib": name, "sign": now, "body": base64.b64encode(body).decode(), "url": URL, "secret": secret})
        return v


def by_npm(folder, vendors):
    """The vendors whose npm library judges; those without another library are made here."""
    try:
        node = Node(folder)
    except (subprocess.SubprocessError, OSError, ValueError) as e:
        print(f"SKIPPED: the libraries of npm: {e}")
        return
    whsec, whsec_other = ("whsec_" + base64.b64encode(s.encode()).decode() for s in (SECRET, OTHER))
    mine = {"stripe": listed("stripe", "Stripe-Signature", "t", "v1", ",", b"."),
            "slack": timed_headers("slack", "X-Slack-Signature", "X-Slack-Request-Timestamp", lambda t, b: b"v0:" + t + b":" + b, prefix="v0="),
            "standard": Vendor("standard", None, secret=whsec, other=whsec_other, timed="s", where="webhook-signature")}
    for name, (scheme, _) in NPM.items():
        if name not in node.libraries:
            print(f"SKIPPED: {name}: its npm library does not load here")
            continue
        yield node.vendor(name, mine.get(scheme) or next(v for v in vendors if v.scheme == scheme and not v.query))


# -- what `send` makes of a body ------------------------------------------------------------------------------------------------

class Catcher:
    """Answers 204 to everything and keeps the last request."""

    def __init__(self):
        catcher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                catcher.caught = self.path, [[k, v] for k, v in self.headers.items()], body
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/in"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def meaning(headers, body):
    if body[:1] == b"{":
        return json.loads(body)
    form = "form" in headers_of(headers).get("content-type", "")
    return sorted(urllib.parse.parse_qsl(body.decode())) if form else body


def as_python_has_it(v, headers, body, between):
    """Is it what the document says, for one of those seconds, or a time that it names?"""
    text = repr(headers) + repr(body)
    named = [fractions.Fraction(int(ms), 1000) for ms in re.findall(r"\b\d{13}\b", text)] + re.findall(r"\b\d{4}-\d\d-\d\dT[\d:.]+Z", text)
    near = [t for t in named if isinstance(t, str) or between[0] <= t <= between[-1]]
    for now in [*between, *near]:
        if isinstance(now, str) and v.timed != "iso":
            continue
        wanted, wanted_body = v.signed(now, body if v.where else None)
        if all([k.lower(), value] in [[h[0].lower(), h[1]] for h in headers] for k, value in wanted) and meaning(headers, body) == meaning(headers, wanted_body):
            return True
    return False


def send(millrace, folder, config, env, n, v, catcher):
    """What is wrong with it, or None."""
    old_headers, old = v.signed(int(time.time()) - 100000, secret=v.other)
    path, begun = os.path.join(folder, f"v{n}.body"), int(time.time())
    with open(path, "wb") as f:
        f.write(old)
    catcher.caught = None
    query = "?" + v.query if v.query else ""
    done = subprocess.run([millrace, "send", "-c", config, f"v{n}", path, "--to", catcher.url + query], env=env, capture_output=True, text=True, timeout=60)
    if hasattr(v, "configured"):
        return None if done.returncode == 2 and "private key" in done.stderr else f"it should say that it has no private key: {done}"
    if done.returncode or not catcher.caught:
        return f"not sent: {done}"
    _, headers, body = catcher.caught
    if v.judge:
        return None if library_says(v, headers, body) else f"the library refuses what was sent: {headers} {body}"
    if v.scheme == "twitch":  # its id is another each time
        return None if any(h[1].startswith("msg_") for h in headers) else "no id"
    return None if as_python_has_it(v, headers, body, range(begun - 1, int(time.time()) + 2)) else f"not as the document has it: {headers} {body}"


# -- what is made of them -------------------------------------------------------------------------------------------------------

def turned(value):
    """The longest run of a digest's characters with one changed in its middle."""
    run = max(re.finditer(r"[0-9A-Za-z+/_-]+", value), key=lambda m: m.end() - m.start())
    at = (run.start() + run.end()) // 2
    return value[:at] + ("1" if value[at] != "1" else "2") + value[at + 1:]


def with_header(headers, name, change):
    return [[k, change(v)] if k == name else [k, v] for k, v in headers]


def cases_of(v, now):
    """(name, headers, body, must it be accepted)"""
    headers, body = v.signed(now)
    yield "as it is signed", headers, body, True
    if v.covers is True:
        yield "another byte at the end", headers, body + b" ", False
        yield "another byte inside", headers, body.replace(b"e", b"i", 1), False
        empty = v.signed(now, b'{"a":1}' if body[:1] == b"{" else b"A=1")
        yield "the signature of another body", empty[0], body, False
    for before, after in v.covers if isinstance(v.covers, list) else []:
        yield f"{before[:12]} changed", headers, body.replace(before, after, 1), False
    wrong = v.signed(now, secret=v.other)
    yield "another secret", *wrong, False
    if v.where:
        value = next(h[1] for h in headers if h[0] == v.where)
        yield "a character turned", with_header(headers, v.where, turned), body, False
        yield "cut", with_header(headers, v.where, lambda s: s[:-4]), body, False
        yield "something behind it", with_header(headers, v.where, lambda s: s + "00"), body, False
        yield "empty", with_header(headers, v.where, lambda s: ""), body, False
        yield "absent", [h for h in headers if h[0] != v.where], body, False
        yield "there twice", [*headers, [v.where, value]], body, False
    far = (v.minutes + 2) * 60
    if v.timed:
        yield "old", *v.signed(now - far), False
        yield "ahead", *v.signed(now + far), False
        yield "just in time", *v.signed(now - v.minutes * 60 + 30), True
    if v.timed in ("s", "ms", "iso") and len(headers) > 1 and v.where:
        time_header = next(h[0] for h in headers if "timestamp" in h[0].lower())
        yield "no number for a time", with_header(headers, time_header, lambda s: "soon"), body, False
        yield "another time", with_header(headers, time_header, lambda s: v.signed(now - 1)[0][[h[0] for h in headers].index(time_header)][1]), body, False
        yield "no time", [h for h in headers if h[0] != time_header], body, False


LIBRARY_CANNOT_SAY = {"there twice"}  # a dictionary of headers holds one
STRICTER = {"something behind it": "a library may decode base64 and drop what is behind"}


def library_says(v, headers, body):
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # one of them prints
            return bool(v.judge(headers, body))
    except Exception:  # noqa: BLE001 a crash on odd input is a refusal, too
        return False


def config_of(folder, vendors):
    path, env = os.path.join(folder, "millrace.yaml"), dict(os.environ)
    with open(path, "w", encoding="utf-8") as f:
        f.write("sources:\n")
        for n, v in enumerate(vendors):
            env[f"VENDOR_{n}"] = getattr(v, "configured", v.secret)
            url = f", public_url: \"{URL}\"" if v.url else ""
            f.write(f"  v{n}: {{webhook: {{path: /in/{n}{url}, handshake: none, verify: {{scheme: {v.scheme}, secrets: [\"${{env:VENDOR_{n}}}\"]}}}}}}\n")
    return path, env


def explain(millrace, folder, config, env, n, query, now, cases):
    path = os.path.join(folder, f"v{n}.ndjson")
    with open(path, "w", encoding="utf-8") as f:
        for _, headers, body, _ in cases:
            f.write(json.dumps({"method": "POST", "path": f"/in/{n}" + ("?" + query if query else ""), "headers": headers,
                                "body_base64": base64.b64encode(body).decode()}) + "\n")
    done = subprocess.run([millrace, "explain", "-c", config, f"v{n}", path, "--at", str(now)], env=env, capture_output=True, text=True, timeout=60)
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode not in (0, 1) or done.stderr or len(verdicts) != len(cases):
        sys.exit(f"explain v{n}: exit code {done.returncode}, {len(verdicts)} verdicts for {len(cases)} requests\n{done.stderr}")
    return verdicts


def main():
    millrace, folder, npm = sys.argv[1:4]
    if "--inside" not in sys.argv:
        python = venv_python(folder)
        sys.exit(subprocess.run([python, os.path.abspath(__file__), millrace, folder, npm, "--inside"]).returncode)
    vendors, wrong, accepted, refused, asked = [*by_libraries(), *by_documents()], [], 0, 0, 0
    vendors += [*by_npm(npm, vendors)]
    catcher, sent = Catcher(), 0
    with tempfile.TemporaryDirectory(prefix="millrace-libraries-") as temp:
        config, env = config_of(temp, vendors)
        for n, v in enumerate(vendors):
            now = int(time.time())
            cases = list(cases_of(v, now))
            mine = [0, 0]
            for (name, headers, body, good), verdict in zip(cases, explain(millrace, temp, config, env, n, v.query, now, cases)):
                says = verdict["verdict"] == "accept"
                mine[says] += 1
                if says != good:
                    wrong.append(f"{v.scheme}, {name}: must be {'accepted' if good else 'refused'}: {verdict}")
                if v.judge and name not in LIBRARY_CANNOT_SAY and name not in v.laxer:
                    asked += 1
                    library = library_says(v, headers, body)
                    if library != good and not (library and name in STRICTER):
                        wrong.append(f"{v.scheme}, {name}: the library {'accepts' if library else 'refuses'} it")
            fault = send(millrace, temp, config, env, n, v, catcher)
            sent += not fault
            if fault:
                wrong.append(f"{v.scheme}, sent: {fault}")
            print(f"{getattr(v, 'name', v.scheme):16} {mine[1]} accepted, {mine[0]:2} refused{', asked the library' if v.judge else ''}")
            accepted, refused = accepted + mine[1], refused + mine[0]
    print("\n".join(wrong))
    print(f"{len(vendors)} vendors, {accepted} accepted and {refused} refused, {asked} asked of the vendors' libraries, {sent} sent, {len(wrong)} wrong")
    sys.exit(1 if wrong or accepted + refused < 400 else 0)


main()
