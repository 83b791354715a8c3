#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The vendors' own libraries as outside judge: they sign and verify, `millrace explain` judges the same captured requests,
and the verdicts are compared.

usage: vendors.py MILLRACE VENV        VENV is made at the first run; exit 77 (skipped) if the libraries cannot be had

Where millrace is stricter on purpose (see scheme.h), the case says so and the library's laxity is asserted, too: should a
library become strict, this file hears of it.
"""
import base64
import json
import os
import subprocess
import sys
import tempfile
import time

PACKAGES = ["stripe==16.1.0", "slack_sdk==3.47.0", "standardwebhooks==1.1.0"]
STRIPE_SECRET = "whsec_vendor_oracle_0123456789"
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{\n  "id": "evt_1",\n  "text": "\xc3\xa9 \xf0\x9f\x90\xaf",\n  "amount": 1.50\n}'


def venv_python(folder):
    """The interpreter of a folder with the libraries in it; exits 77 where that cannot be had."""
    python = os.path.join(folder, "bin", "python")
    try:
        if not os.path.exists(python):
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=90)
        if subprocess.run([python, "-c", "import stripe, slack_sdk, standardwebhooks"], capture_output=True).returncode:
            subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES], check=True,
                           capture_output=True, timeout=150)
    except (subprocess.SubprocessError, OSError) as e:
        print(f"skipped: no vendor libraries: {e}")
        sys.exit(77)
    return python


class Case:
    """One captured request: what the library says of it, what millrace must say. stricter, laxer: why the two differ."""

    def __init__(self, name, headers, body, accepted_by_library, cause=None, stricter=None, laxer=None):
        self.name, self.headers, self.body = name, headers, body
        self.library, self.cause, self.stricter, self.laxer = accepted_by_library, cause, stricter, laxer


def accepts(call):
    """Libraries refuse by False or by an exception; a crash on odd input is a refusal, too."""
    try:
        return call() is not False
    except Exception:  # noqa: BLE001
        return False


def changes(value):
    """What a forger or a bad proxy makes of a hex or base64 digest."""
    flipped = ("0" if value[0] != "0" else "1") + value[1:]
    return {"flipped": flipped, "cut": value[:-1], "empty": "", "doubled": value + value}


def stripe_cases(now):
    import stripe

    def sign(body, t, secret=STRIPE_SECRET):
        return stripe.WebhookSignature._compute_signature(f"{t}.{body.decode()}", secret)

    def case(name, header, body=BODY, **expected):
        headers = [] if header is None else [["Stripe-Signature", header]]
        judge = lambda: stripe.WebhookSignature.verify_header(body.decode(), header or "", STRIPE_SECRET, tolerance=300)  # noqa: E731
        return Case(name, headers, body, accepts(judge), **expected)

    good = sign(BODY, now)
    yield case("signed by the library", f"t={now},v1={good}")
    for body in (b"", b"{}", b"not json", BODY + b"\n", "ü".encode() * 1000):
        yield case(f"a body of {len(body)} bytes", f"t={now},v1={sign(body, now)}", body)
    yield case("an older scheme beside it", f"t={now},v0={'0' * 64},v1={good}")
    yield case("the old secret's first", f"t={now},v1={sign(BODY, now, 'whsec_old')},v1={good}")
    yield case("another order", f"v1={good},t={now}")
    yield case("upper-case hex", f"t={now},v1={good.upper()}", laxer="it is the same digest")
    yield case("four minutes old", f"t={now - 240},v1={sign(BODY, now - 240)}")  # the library looks at the clock: no exact edge
    yield case("six minutes old", f"t={now - 360},v1={sign(BODY, now - 360)}", cause="timestamp")
    yield case("a day ahead", f"t={now + 86400},v1={sign(BODY, now + 86400)}", cause="timestamp",
               stricter="the library has no bound on the future")
    yield case("another body", f"t={now},v1={good}", BODY + b" ", cause="signature")
    yield case("another secret", f"t={now},v1={sign(BODY, now, 'whsec_other')}", cause="signature")
    yield case("another time", f"t={now - 1},v1={good}", cause="signature")
    yield case("only an older scheme", f"t={now},v0={good}", cause="missing")
    yield case("no time", f"v1={good}", cause="missing")
    yield case("no header", None, cause="missing")
    yield case("an empty header", "", cause="missing")
    for what, value in changes(good).items():
        yield case(f"digest {what}", f"t={now},v1={value}", cause="signature" if what == "flipped" else "format")
    yield case("underscores in the time", f"t={now:_},v1={good}", cause="signature", stricter="int() takes 1_0")


def slack_cases(now):
    from slack_sdk.signature import Clock, SignatureVerifier

    class At(Clock):
        def now(self):
            return now

    verifier = SignatureVerifier(SLACK_SECRET, At())

    def case(name, signature, t, body=BODY, **expected):
        headers = [[k, v] for k, v in (("X-Slack-Signature", signature), ("X-Slack-Request-Timestamp", t)) if v is not None]
        return Case(name, headers, body, accepts(lambda: verifier.is_valid(body, t, signature)), **expected)

    def sign(t, body=BODY, secret=SLACK_SECRET):
        return SignatureVerifier(secret, At()).generate_signature(timestamp=t, body=body)

    now_text = str(now)
    good = sign(now_text)
    yield case("signed by the library", good, now_text)
    for body in (b"", b"token=x&team_id=T1", BODY + b"\r\n", "ü".encode() * 1000):
        yield case(f"a body of {len(body)} bytes", sign(now_text, body), now_text, body)
    yield case("300 s old", sign(str(now - 300)), str(now - 300))
    yield case("301 s old", sign(str(now - 301)), str(now - 301), cause="timestamp")
    yield case("300 s ahead", sign(str(now + 300)), str(now + 300))
    yield case("301 s ahead", sign(str(now + 301)), str(now + 301), cause="timestamp")
    yield case("another body", good, now_text, BODY + b" ", cause="signature")
    yield case("another secret", sign(now_text, secret="other"), now_text, cause="signature")
    yield case("another time", good, str(now - 1), cause="signature")
    yield case("no signature", None, now_text, cause="missing")
    yield case("no time", good, None, cause="missing")
    yield case("no version in front", good[3:], now_text, cause="format")
    yield case("another version", "v1=" + good[3:], now_text, cause="format")
    for what, value in changes(good[3:]).items():
        yield case(f"digest {what}", "v0=" + value, now_text, cause="signature" if what == "flipped" else "format")
    for what, t in (("underscores", f"{now:_}"), ("a plus", f"+{now}"), ("a blank", f" {now}")):
        yield case(f"{what} in the time", sign(t), t, cause="format", stricter="int() takes it")
    yield case("no number for a time", sign("soon"), "soon", cause="format")


def standard_cases(now):
    from datetime import datetime, timezone
    from standardwebhooks.webhooks import Webhook

    hook = Webhook(STANDARD_SECRET)

    def sign(body=BODY, ident="msg_1", t=now, secret=STANDARD_SECRET):
        return Webhook(secret).sign(ident, datetime.fromtimestamp(t, tz=timezone.utc), body.decode())

    def case(name, signature, ident="msg_1", t=now, body=BODY, **expected):
        pairs = [("webhook-id", ident), ("webhook-timestamp", t if t is None else str(t)), ("webhook-signature", signature)]
        headers = [[k, v] for k, v in pairs if v is not None]
        return Case(name, headers, body, accepts(lambda: hook.verify(body, dict(headers))), **expected)

    good = sign()
    yield case("signed by the library", good)
    for body in (b"{}", b"[1, 2]", b'"text"', BODY + b"\n"):
        yield case(f"a body of {len(body)} bytes", sign(body), body=body)
    yield case("several, the last one right", f"v1,{'A' * 43}= v2,abc v1a,AAAA {good}")
    yield case("four minutes old", sign(t=now - 240), t=now - 240)
    yield case("four minutes ahead", sign(t=now + 240), t=now + 240)
    yield case("six minutes old", sign(t=now - 360), t=now - 360, cause="timestamp")
    yield case("six minutes ahead", sign(t=now + 360), t=now + 360, cause="timestamp")
    yield case("another body", good, body=b'{"other": 1}', cause="signature")
    yield case("another id", good, ident="msg_2", cause="signature")
    yield case("another secret", sign(secret="whsec_" + base64.b64encode(b"other key").decode()), cause="signature")
    yield case("another time", good, t=now - 1, cause="signature")
    yield case("only another version", "v2," + good[3:], cause="missing")
    yield case("no version", good[3:], cause="format")
    yield case("no id", good, ident=None, cause="missing")
    yield case("no time", good, t=None, cause="missing")
    yield case("no signature", None, cause="missing")
    yield case("no number for a time", good, t="soon", cause="signature")
    for what, value in changes(good[3:]).items():
        if what != "doubled":
            yield case(f"digest {what}", "v1," + value, cause="signature" if what == "flipped" else "format")
    yield case("an id with a full stop", sign(ident="msg.1"), ident="msg.1", cause="format",
               stricter="the border between id and time could be moved")


def config_of(folder):
    schemes = {"stripe": "STRIPE", "slack": "SLACK", "standard": "STANDARD"}
    path = os.path.join(folder, "millrace.yaml")
    with open(path, "w", encoding="utf-8") as f:
        f.write("sources:\n")
        for scheme, env in schemes.items():
            f.write(f'  {scheme}: {{webhook: {{path: /hooks/{scheme}, verify: {{scheme: {scheme}, '
                    f'secrets: ["${{env:VENDOR_{env}}}"]}}}}}}\n')
    return path


def explain(millrace, folder, config, scheme, at, cases):
    """One NDJSON file, one call: the verdicts come in order."""
    path = os.path.join(folder, f"{scheme}.ndjson")
    with open(path, "w", encoding="utf-8") as f:
        for c in cases:
            f.write(json.dumps({"method": "POST", "path": f"/hooks/{scheme}", "headers": c.headers,
                                "body_base64": base64.b64encode(c.body).decode()}) + "\n")
    env = dict(os.environ, VENDOR_STRIPE=STRIPE_SECRET, VENDOR_SLACK=SLACK_SECRET, VENDOR_STANDARD=STANDARD_SECRET)
    done = subprocess.run([millrace, "explain", "-c", config, scheme, path, "--at", str(at)], env=env, capture_output=True,
                          text=True, timeout=60)
    if done.returncode not in (0, 1) or done.stderr:
        sys.exit(f"explain {scheme}: exit code {done.returncode}\n{done.stderr}")
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    if len(verdicts) != len(cases):
        sys.exit(f"explain {scheme}: {len(verdicts)} verdicts for {len(cases)} requests")
    if done.returncode != (0 if all(v["verdict"] == "accept" for v in verdicts) else 1):
        sys.exit(f"explain {scheme}: exit code {done.returncode} does not fit the verdicts")
    return verdicts


def compare(case, verdict):
    """None, or what does not agree."""
    accepted = verdict["verdict"] == "accept"
    if case.stricter and not (case.library and not accepted):
        return f"the library must accept it, millrace not ({case.stricter})"
    if case.laxer and not (accepted and not case.library):
        return f"millrace must accept it, the library not ({case.laxer})"
    if not case.stricter and not case.laxer and accepted != case.library:
        return f"the library {'accepts' if case.library else 'refuses'} it"
    return None if verdict["cause"] == case.cause else f"cause is not {case.cause}"


def main():
    millrace, folder = sys.argv[1:3]
    if "--inside" not in sys.argv:
        python = venv_python(folder)
        sys.exit(subprocess.run([python, os.path.abspath(__file__), millrace, folder, "--inside"]).returncode)
    now, wrong, count = int(time.time()), [], 0
    with tempfile.TemporaryDirectory(prefix="millrace-vendors-") as temp:
        config = config_of(temp)
        for scheme, cases in (("stripe", stripe_cases), ("slack", slack_cases), ("standard", standard_cases)):
            cases = list(cases(now))
            for c, verdict in zip(cases, explain(millrace, temp, config, scheme, now, cases)):
                count += 1
                why = compare(c, verdict)
                if why:
                    wrong.append(f"{scheme}, {c.name}: {why}: {verdict}")
    print("\n".join(wrong))
    print(f"{count} requests, {len(wrong)} verdicts differ")
    sys.exit(1 if wrong or count < 60 else 0)


main()
