#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls of S3 against a real store that checks signatures, and through a proxy that loses, cuts and changes its answers. What lies in the store is read from its disk.

usage: s3.py STORES
"""
import base64
import contextlib
import email.utils
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import case  # noqa: E402
from endpoint import Endpoint  # noqa: E402
from s3 import ACCESS, SECRET, Faults, Store, error  # noqa: E402
from server import free_port  # noqa: E402

STORES = sys.argv[1]
sys.argv[1:2] = []
ODD = "source=a%2Fb/dt=2026-11-27/é 🐯+&=~'()!*;:@,$.ndjson.zst"


@contextlib.contextmanager
def store():
    with tempfile.TemporaryDirectory(prefix="mr-s3-") as folder:
        s = Store(folder, "raw")
        try:
            yield s
        finally:
            s.stop()


@contextlib.contextmanager
def faults(s, plan):
    proxy = Faults(s, plan)
    try:
        yield proxy
    finally:
        proxy.stop()


def calls(url, *requests, bucket="s3://raw/zone", access=ACCESS, secret=SECRET, region="", tries=0, close_ms=None, timeout=60, env=None):
    args = [STORES, bucket, url, access, secret, region, str(tries), *([str(close_ms)] if close_ms else [])]
    done = subprocess.run(args, input="".join(json.dumps(r) + "\n" for r in requests), capture_output=True, text=True, timeout=timeout, env={**os.environ, **(env or {})})
    if done.returncode or done.stderr:
        raise AssertionError(f"exit code {done.returncode}: {done.stderr[-3000:]}")
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    for e in ends:
        e["body"] = base64.b64decode(e["body"])
        case.true(bool(e["why"]) == (e["outcome"] != "done"), f"a reason: {e}")
        case.true(SECRET not in e["why"], e["why"])
    return ends


def call(url, method, key, query=(), headers=(), **more):
    request = {"method": method, "key": key, "query": [list(q) for q in query], "headers": [list(h) for h in headers]}
    for name in ("body", "fill"):
        if name in more:
            request[name] = more.pop(name)
    return calls(url, request, **more)[0]


def on_disk(s):
    """{path below the bucket: bytes}"""
    found, top = {}, os.path.join(s.root, "raw")
    for folder, folders, names in os.walk(top):
        folders[:] = [f for f in folders if not f.startswith(".sgwtmp")]
        for name in names:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, top)] = os.path.getsize(path)
    return found


def began(url, key, **more):
    end = call(url, "POST", key, [("uploads", "")], [("x-amz-meta-landing", "l-1")], **more)
    case.equal(end["outcome"], "done", f"{end}")
    return re.search(rb"<UploadId>(.*?)</UploadId>", end["body"]).group(1).decode()


def completion(etags):
    return "<CompleteMultipartUpload>" + "".join(f"<Part><PartNumber>{n + 1}</PartNumber><ETag>{e}</ETag></Part>" for n, e in enumerate(etags)) + "</CompleteMultipartUpload>"


def test_objects_with_any_name_are_put_read_and_deleted():
    with store() as s:
        for key in ("plain", ODD, "a//b", "dt=2026-11-27/x"):
            put = call(s.url, "PUT", key, headers=[("x-amz-meta-landing", "l-7"), ("Content-Type", "application/zstd")], body="hello")
            case.equal((put["outcome"], bool(put["etag"])), ("done", True), f"{key}: {put}")
            head = call(s.url, "HEAD", key)
            case.equal((head["outcome"], head["size"], head["landing"], head["etag"]), ("done", 5, "l-7", put["etag"]), f"{head}")
            case.equal(call(s.url, "GET", key)["body"], b"hello")
        case.true("zone/" + ODD in on_disk(s), on_disk(s))
        case.equal(call(s.url, "DELETE", ODD)["outcome"], "done")
        case.equal([call(s.url, m, ODD)["outcome"] for m in ("HEAD", "GET")], ["not_found", "not_found"])
        first, second = (call(s.url, "PUT", "once", headers=[("If-None-Match", "*")], body=b) for b in ("1", "2"))
        case.equal((first["outcome"], second["outcome"], call(s.url, "GET", "once")["body"]), ("done", "exists", b"1"))
        case.equal(call(s.url, "PUT", "large", fill=20 << 20)["outcome"], "done")
        case.equal(on_disk(s)["zone/large"], 20 << 20)
        case.equal(call(s.url, "HEAD", "large")["size"], 20 << 20, "though no answer may be so long")
        case.equal(call(s.url, "GET", "large")["outcome"], "failed", "it is longer than body_max")


def test_an_upload_is_seen_by_nobody_until_it_is_completed():
    with store() as s:
        upload = began(s.url, ODD)
        parts = [call(s.url, "PUT", ODD, [("partNumber", str(n)), ("uploadId", upload)], fill=size) for n, size in ((1, 5 << 20), (2, 1000))]
        case.equal([p["outcome"] for p in parts], ["done", "done"])
        case.equal((on_disk(s), call(s.url, "HEAD", ODD)["outcome"]), ({}, "not_found"))
        listed = call(s.url, "GET", "", [("uploads", ""), ("prefix", "zone/source=")])
        case.true(upload.encode() in listed["body"], listed)
        done = call(s.url, "POST", ODD, [("uploadId", upload)], body=completion([p["etag"] for p in parts]))
        case.equal((done["outcome"], call(s.url, "HEAD", ODD)["size"], call(s.url, "HEAD", ODD)["landing"]), ("done", (5 << 20) + 1000, "l-1"), f"{done}")
        twice = call(s.url, "POST", ODD, [("uploadId", upload)], body=completion([p["etag"] for p in parts]))
        case.true(twice["outcome"] in ("done", "no_upload"), "stores differ: some say it again")
        other = began(s.url, "other")
        case.equal(call(s.url, "DELETE", "other", [("uploadId", other)])["outcome"], "done")
        case.equal(call(s.url, "PUT", "other", [("partNumber", "1"), ("uploadId", other)], body="x")["outcome"], "no_upload")


def test_keys_that_are_wrong_are_told_and_not_tried_again():
    with store() as s:
        for how in ({"secret": "wrong"}, {"access": "nobody"}):
            end = call(s.url, "PUT", "k", body="x", **how)
            case.equal((end["outcome"], end["tries"]), ("denied", 1), f"{end}")
        end = call(s.url, "PUT", "k", body="x", bucket="s3://nobody")
        case.equal((end["outcome"], end["tries"]), ("failed", 1), f"{end}")
        case.equal(on_disk(s), {})


def test_a_store_that_is_slow_or_ill_is_asked_again():
    with store() as s:
        for what in (error("SlowDown"), error("InternalError", "500 Internal Server Error"), b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "refuse",
                     error("InternalError", "200 OK"), error("RequestTimeout", "400 Bad Request")):
            with faults(s, lambda n, *_: what if n < 3 else None) as proxy:
                end = call(proxy.url, "PUT", "k", body="hello")
                case.equal((end["outcome"], end["tries"], end["repeated"]), ("done", 4, True), f"{what}: {end}")
        with faults(s, lambda *_: error("SlowDown")) as proxy:
            end = call(proxy.url, "PUT", "k2", body="x", tries=3)
            case.equal((end["outcome"], end["tries"], len(proxy.asked)), ("unreached", 3, 3), f"{end}")
            case.true("SlowDown" in end["why"], end["why"])
        end = call(f"http://127.0.0.1:{free_port()}", "PUT", "k3", body="x", tries=2)
        case.equal((end["outcome"], end["tries"], end["repeated"]), ("unreached", 2, False), f"{end}")


def test_an_answer_that_is_lost_after_the_store_has_acted_is_told():
    with store() as s:
        upload = began(s.url, "k")
        part = call(s.url, "PUT", "k", [("partNumber", "1"), ("uploadId", upload)], body="hello")
        with faults(s, lambda n, *_: "lost" if n == 0 else None) as proxy:
            end = call(proxy.url, "POST", "k", [("uploadId", upload)], body=completion([part["etag"]]))
        case.equal((end["repeated"], end["tries"]), (True, 2), f"done, and nobody heard of it: {end}")
        case.true(end["outcome"] in ("done", "no_upload"), "stores differ: some say it again")
        gone = error("NoSuchUpload", "404 Not Found")  # as those that do not
        with faults(s, lambda n, *_: "lost" if n == 0 else gone) as proxy:
            end = call(proxy.url, "POST", "k", [("uploadId", upload)], body=completion([part["etag"]]))
            case.equal((end["outcome"], end["repeated"]), ("no_upload", True))
        case.equal((call(s.url, "HEAD", "k")["size"], call(s.url, "HEAD", "k")["landing"]), (5, "l-1"), "and HEAD tells")
        with faults(s, lambda n, *_: "cut" if n < 2 else None) as proxy:
            end = call(proxy.url, "GET", "k")
            case.equal((end["outcome"], end["body"], end["tries"]), ("done", b"hello", 3), f"{end}")
        with faults(s, lambda n, *_: "lost" if n == 0 else None) as proxy:
            end = call(proxy.url, "PUT", "new", headers=[("If-None-Match", "*")], body="1")
            case.equal((end["outcome"], end["repeated"]), ("exists", True), "it may be ours: HEAD tells")


def test_the_stores_clock_is_learnt():
    """The store says that our clock is off, and its Date says how far; what is signed by that is kept for the calls that follow."""
    with store() as s:
        def plan(n, *_):
            if n == 0:
                date = email.utils.formatdate(time.time() + 3600, usegmt=True)
                return error("RequestTimeTooSkewed", "403 Forbidden", headers=f"Date: {date}\r\n")
            return None

        with faults(s, plan) as proxy:
            ends = calls(proxy.url, *[{"method": "PUT", "key": "k", "body": "x"}] * 2, tries=3)
            # the store itself has the right time: signed an hour ahead it says so again, and we learn back
            case.equal([e["outcome"] for e in ends], ["done", "done"], f"{ends}")
            case.equal((ends[0]["tries"], ends[1]["tries"]), (3, 1), "once there, once back; and then it is known")
        with faults(s, lambda *_: error("RequestTimeTooSkewed", "403 Forbidden", headers="Date: Fri, 27 Nov 2026 00:00:00 GMT\r\n")) as proxy:
            end = call(proxy.url, "PUT", "k", body="x")
            case.equal((end["outcome"], end["tries"]), ("denied", 4), "not for ever")


def test_the_region_is_learnt():
    with store() as s:
        moved = error("AuthorizationHeaderMalformed", "400 Bad Request", "<Region>us-east-1</Region>")
        with faults(s, lambda n, *_: moved if n == 0 else None) as proxy:
            ends = calls(proxy.url, *[{"method": "PUT", "key": "k", "body": "x"}] * 2, region="eu-west-1")
            case.equal([(e["outcome"], e["tries"]) for e in ends], [("done", 2), ("done", 1)], f"{ends}")
        with faults(s, lambda *_: error("PermanentRedirect", "301 Moved Permanently")) as proxy:
            case.equal(call(proxy.url, "PUT", "k", body="x")["outcome"], "failed")


def test_calls_that_are_out_end_with_the_bucket():
    with store() as s, faults(s, lambda *_: error("SlowDown")) as proxy:
        ends = calls(proxy.url, {"method": "PUT", "key": "k", "body": "x"}, tries=1000, close_ms=300)
        case.equal([e["outcome"] for e in ends], ["canceled"])


# -- keys that are looked for --

class Endpoints(Endpoint):
    """The instance's, the container's and the token service, on this machine; they give the store's own keys, for `life` seconds, under a session token."""

    def __init__(self, life=3600, token=""):
        self.asked, self.life, self.token, self.ill = [], life, token, False
        super().__init__()

    def keys(self):
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.life))
        return {"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": ACCESS, "SecretAccessKey": SECRET, "Token": self.token, "Expiration": ends}

    def answer(self, method, path, headers, body):
        self.asked.append((method, path, body))
        if self.ill:
            return 500, "ill"
        if (method, path) == ("PUT", "/latest/api/token"):
            return (200, "IMDS-TOKEN") if headers["X-aws-ec2-metadata-token-ttl-seconds"] else (400, "")
        if path.startswith("/latest/meta-data/iam/security-credentials/"):
            if headers["X-aws-ec2-metadata-token"] != "IMDS-TOKEN":
                return 401, ""
            role = path.rsplit("/", 1)[1]
            return (200, "my-role\n") if not role else (200, json.dumps(self.keys())) if role == "my-role" else (404, "")
        if path == "/container":
            return (200, json.dumps({k: v for k, v in self.keys().items() if k not in ("Code", "Type")})) if headers["Authorization"] == "Bearer of-the-file" else (403, "")
        if (method, path) == ("POST", "/"):
            form = dict(urllib.parse.parse_qsl(body))
            if form.get("WebIdentityToken") != "web+identity/token=":
                return 400, "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>it is not ours</Message></Error></ErrorResponse>"
            case.equal((form["Action"], form["Version"], form["RoleArn"]), ("AssumeRoleWithWebIdentity", "2011-06-15", "arn:aws:iam::1:role/a"))
            k = self.keys()
            return 200, ('<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>'
                         f"<AccessKeyId>{k['AccessKeyId']}</AccessKeyId><SecretAccessKey>{k['SecretAccessKey']}</SecretAccessKey><SessionToken>{k['Token']}</SessionToken>"
                         f"<Expiration>{k['Expiration']}</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>")
        return 404, ""


@contextlib.contextmanager
def file_of(text):
    with tempfile.NamedTemporaryFile("w", suffix=".token") as f:
        f.write(text)
        f.flush()
        yield f.name


NOWHERE = {k: "" for k in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
                           "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")}
TWO = [{"method": "PUT", "key": "k", "body": "x"}, {"method": "HEAD", "key": "k"}]


def test_keys_are_found_where_awss_own_tools_find_them():
    with store() as s, Endpoints() as e, file_of("Bearer of-the-file\n") as token, file_of("web+identity/token=\n") as identity:
        for env, asked in (({"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET}, 0),
                           ({"AWS_WEB_IDENTITY_TOKEN_FILE": identity, "AWS_ROLE_ARN": "arn:aws:iam::1:role/a"}, 1),
                           ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": e.url + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": token}, 1), ({}, 3)):
            e.asked.clear()
            ends = calls(s.url, *TWO, access="-", env={**NOWHERE, "TEST_INSTANCE": e.url, "TEST_TOKEN_SERVICE": e.url, **env})
            case.equal([x["outcome"] for x in ends], ["done", "done"], f"{env}: {ends}")
            case.equal(len(e.asked), asked, f"{env}: once for both: {e.asked}")


def test_a_session_token_goes_with_each_request():
    with store() as s, Endpoints(token="session/token+==") as e, faults(s, lambda *_: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as proxy:
        calls(proxy.url, *TWO, access="-", env={**NOWHERE, "TEST_INSTANCE": e.url})
        for head in proxy.heads:
            case.true("\r\nX-Amz-Security-Token: session/token+==\r\n" in head and "x-amz-security-token" in re.search("SignedHeaders=([^,]*)", head).group(1), head)


def test_keys_that_end_are_renewed_ahead_and_in_the_middle():
    with store() as s:
        with Endpoints(life=120) as e:  # they serve, and new ones are asked for meanwhile
            ends = calls(s.url, *TWO, access="-", env={**NOWHERE, "TEST_INSTANCE": e.url})
            case.equal([x["outcome"] for x in ends], ["done", "done"])
            case.true(len(e.asked) > 3, f"renewed ahead: {e.asked}")
        with Endpoints(life=1) as e:  # too little for a request
            case.equal([x["outcome"] for x in calls(s.url, *TWO, access="-", tries=2, env={**NOWHERE, "TEST_INSTANCE": e.url})], ["done", "done"])
        expired = error("ExpiredToken", "400 Bad Request")
        with Endpoints() as e, faults(s, lambda n, *_: expired if n == 1 else None) as proxy:
            ends = calls(proxy.url, *TWO, access="-", env={**NOWHERE, "TEST_INSTANCE": e.url})
            case.equal([(x["outcome"], x["tries"]) for x in ends], [("done", 1), ("done", 2)], f"{ends}")
            case.equal(len(e.asked), 6, "asked for twice")
        with Endpoints() as e, faults(s, lambda n, *_: expired if n == 0 else None) as proxy:
            case.equal(call(proxy.url, "HEAD", "k", access="-", env={**NOWHERE, "TEST_INSTANCE": e.url})["outcome"], "done", "HEAD is not told why")
            case.equal(len(e.asked), 6)
        skewed = b"HTTP/1.1 403 Forbidden\r\nDate: " + email.utils.formatdate(time.time() + 3600, usegmt=True).encode() + b"\r\nConnection: close\r\n\r\n"
        with faults(s, lambda n, *_: skewed if n == 0 else None) as proxy:
            end = call(proxy.url, "HEAD", "k", tries=3)
            case.equal((end["outcome"], end["tries"]), ("done", 3), "nor of the clock: once there, once back")
        with faults(s, lambda *_: expired) as proxy:
            case.equal([(x["outcome"], x["tries"]) for x in calls(proxy.url, TWO[0])], [("denied", 1)], "given ones: there are no others")
        with Endpoints() as e, faults(s, lambda *_: expired) as proxy:
            case.equal([x["outcome"] for x in calls(proxy.url, TWO[0], access="-", env={**NOWHERE, "TEST_INSTANCE": e.url})], ["denied"], "and not for ever")


def test_where_no_keys_are_to_be_had_it_is_told():
    with store() as s, Endpoints() as e, file_of("wrong") as wrong:
        e.ill = True
        end = call(s.url, "PUT", "k", body="x", access="-", tries=2, env={**NOWHERE, "TEST_INSTANCE": e.url})
        case.equal((end["outcome"], end["tries"], end["repeated"]), ("unreached", 2, False))
        case.true("instance" in end["why"] and "status 500" in end["why"], end["why"])
        e.ill = False
        end = call(s.url, "PUT", "k", body="x", access="-", tries=1, env={**NOWHERE, "AWS_WEB_IDENTITY_TOKEN_FILE": wrong, "AWS_ROLE_ARN": "arn", "TEST_TOKEN_SERVICE": e.url})
        case.true("InvalidIdentityToken: it is not ours" in end["why"], end["why"])
        end = call(s.url, "PUT", "k", body="x", access="-", tries=1, env={**NOWHERE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/no/such", "AWS_ROLE_ARN": "arn", "TEST_TOKEN_SERVICE": e.url})
        case.true("/no/such" in end["why"], end["why"])
        for env, why in (({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://evil.example/"}, "neither https"), ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1@evil.example/"}, "neither https"),
                         ({"AWS_ACCESS_KEY_ID": "alone"}, "belong together")):
            done = subprocess.run([STORES, "s3://raw", s.url, "-", ""], input="", capture_output=True, text=True, env={**os.environ, **NOWHERE, **env}, timeout=20)
            case.true(done.returncode == 1 and why in done.stderr, f"{env}: {done}")
        case.equal(on_disk(s), {})


if __name__ == "__main__":
    case.main(globals())
