# SPDX-License-Identifier: Apache-2.0
"""Signs bodies as the vendors' documents say, with Python's hmac: written apart from millrace's table of schemes.

Each function gives the list of headers that a genuine sender adds.
"""
import base64
import hashlib
import hmac
import time


def mac(key, data, digest="sha256"):
    return hmac.new(key if isinstance(key, bytes) else key.encode(), data, digest)


def github(secret, body):
    return [("X-Hub-Signature-256", "sha256=" + mac(secret, body).hexdigest())]


def shopify(secret, body):
    return [("X-Shopify-Hmac-Sha256", base64.b64encode(mac(secret, body).digest()).decode())]


def stripe(secret, body, at=None, extra=()):
    """extra: further secrets that sign the same body, as a vendor does while it rotates."""
    t = str(int(time.time() if at is None else at))
    parts = [f"t={t}"] + [f"v1={mac(s, t.encode() + b'.' + body).hexdigest()}" for s in (secret, *extra)]
    return [("Stripe-Signature", ",".join(parts))]


def slack(secret, body, at=None):
    t = str(int(time.time() if at is None else at))
    return [("X-Slack-Request-Timestamp", t),
            ("X-Slack-Signature", "v0=" + mac(secret, b"v0:" + t.encode() + b":" + body).hexdigest())]


def standard_secret(raw=b"0123456789abcdef0123456789abcdef"):
    return "whsec_" + base64.b64encode(raw).decode()


def standard(secret, body, msg_id="msg_1", at=None):
    """secret: whsec_ and base64, as the Standard Webhooks text says."""
    t = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    sig = base64.b64encode(mac(key, f"{msg_id}.{t}.".encode() + body).digest()).decode()
    return [("webhook-id", msg_id), ("webhook-timestamp", t), ("webhook-signature", "v1," + sig)]


def plain(secret, body, header="X-Signature", digest="sha256", encoding="hex", prefix=""):
    """The generic hmac scheme: one MAC over the body in one header."""
    m = mac(secret, body, digest)
    text = m.hexdigest() if encoding == "hex" else base64.b64encode(m.digest()).decode()
    return [(header, prefix + text)]


def body_hash(body):
    return hashlib.sha256(body).hexdigest()
