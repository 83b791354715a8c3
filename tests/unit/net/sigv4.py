#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Signature Version 4 as botocore has it: hundreds of requests with odd paths, parameters and headers, signed by botocore and by millrace (signs.c); the
signature, the headers that are signed and the URL must be the same. Python's urllib encodes the URL that botocore is given.

usage: sigv4.py SIGNS VENV       VENV is made at the first run; exit 77 (skipped) if botocore cannot be had
"""
import base64
import datetime
import hashlib
import json
import os
import random
import subprocess
import sys
import urllib.parse

PACKAGE = "botocore==1.44.8"
CASES = 600


def venv_python(folder):
    python = os.path.join(folder, "bin", "python")
    try:
        if not os.path.exists(python):
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True, timeout=90)
        if subprocess.run([python, "-c", "import botocore.auth"], capture_output=True).returncode:
            for _ in range(3):
                done = subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", PACKAGE], capture_output=True, timeout=240)
                if done.returncode == 0:
                    break
            done.check_returncode()
    except (subprocess.SubprocessError, OSError) as e:
        print(f"skipped: no botocore: {e}")
        sys.exit(77)
    return python


PIECES = ["a", "key", "dt=2026-11-22", " ", "+", "%", "%2F", "~", "-", "_", ".", "..", "é", "🐯", "*", "'", "(", ")", "!", "&", "=", "?", "#", ":", "@", ",", ";", "$",
          "\"", "<", ">", "[", "]", "\\", "^", "`", "{", "|", "}", "\x7f", "0", "Z"]


def word(rng, most=4):
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, most)))


def request(rng):
    service = rng.choice(["s3", "s3", "s3", "execute-api", "sts"])
    segments = [word(rng) for _ in range(rng.randint(0, 5))]
    path = "/" + "/".join(segments)
    query = [(word(rng) or "k", word(rng)) for _ in range(rng.randint(0, 5))]
    if rng.random() < 0.3:
        query += [("uploads", ""), ("list-type", "2"), ("partNumber", str(rng.randint(1, 10000)))]
    if rng.random() < 0.2 and query:
        query.append((query[0][0], word(rng)))  # a name twice
    headers = []
    for name in rng.sample(["Content-Type", "X-Amz-Meta-Landing", "If-None-Match", "x-amz-acl", "Range", "X-Custom", "Content-MD5"], rng.randint(0, 4)):
        headers.append((name, rng.choice(["a", "  two   blanks ", "bytes=0-9", "*", "text/plain; charset=utf-8", "a,b", "x" * 200])))
    return {"method": rng.choice(["GET", "PUT", "POST", "DELETE", "HEAD"]), "service": service, "region": rng.choice(["us-east-1", "eu-west-3", "auto"]),
            "host": rng.choice(["examplebucket.s3.amazonaws.com", "127.0.0.1:9000", "s3.eu-west-3.amazonaws.com"]), "path": path, "query": query, "headers": headers,
            "body": word(rng, 20).encode(), "now": rng.randint(1500000000, 1900000000), "access": "AKIDEXAMPLE", "secret": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "token": "FwoGZXIvYXdzE+/=" if rng.random() < 0.3 else ""}


def quote(text, safe=""):
    return urllib.parse.quote(text, safe=safe + "-_.~")


def by_botocore(r):
    """(target, header lines by name, Authorization)"""
    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials
    at = datetime.datetime.fromtimestamp(r["now"], tz=datetime.timezone.utc)
    botocore.auth.get_current_datetime = lambda remove_tzinfo=True: at.replace(tzinfo=None) if remove_tzinfo else at
    query = "&".join(f"{k}={v}" for k, v in sorted((quote(k), quote(v)) for k, v in r["query"]))
    target = quote(r["path"], "/") + ("?" + query if query else "")
    signer = botocore.auth.S3SigV4Auth if r["service"] == "s3" else botocore.auth.SigV4Auth
    made = botocore.awsrequest.AWSRequest(method=r["method"], url="https://" + r["host"] + target, headers=dict(r["headers"]), data=r["body"])
    signer(botocore.credentials.Credentials(r["access"], r["secret"], r["token"] or None), r["service"], r["region"]).add_auth(made)
    return target, {k.lower(): v for k, v in made.headers.items()}


def by_millrace(signs, requests):
    b64 = lambda s: base64.b64encode(s.encode()).decode()  # noqa: E731
    lines = [json.dumps({**{k: b64(r[k]) for k in ("method", "service", "region", "host", "path", "access", "secret", "token", "payload")}, "now": r["now"],
                         "query": [[b64(k), b64(v)] for k, v in r["query"]], "headers": [[b64(k), b64(v)] for k, v in r["headers"]]}) for r in requests]
    done = subprocess.run([signs], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=60)
    if done.returncode or done.stderr:
        sys.exit(f"{signs}: exit code {done.returncode}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def compare(signs, seed):
    rng = random.Random(seed)
    requests, wanted, wrong = [request(rng) for _ in range(CASES)], [], []
    for r in requests:
        target, headers = by_botocore(r)
        r["payload"] = headers.get("x-amz-content-sha256") or hashlib.sha256(r["body"]).hexdigest()
        wanted.append((target, headers))
    for r, (target, headers), got in zip(requests, wanted, by_millrace(signs, requests)):
        sent = dict(line.split(": ", 1) for line in got.get("lines", "").split("\r\n") if line)
        for what, mine, theirs in (("target", got.get("target"), target), ("authorization", sent.get("Authorization"), headers["authorization"]),
                                   ("date", sent.get("X-Amz-Date"), headers["x-amz-date"]), ("token", sent.get("X-Amz-Security-Token"), headers.get("x-amz-security-token"))):
            if mine != theirs:
                wrong.append(f"{what}: {mine}\n  botocore: {theirs}\n  of {r}")
    return len(requests), wrong


def refusals(signs):
    """What cannot be signed is told."""
    r = {"method": "GET", "service": "s3", "region": "r", "host": "h", "path": "/p", "query": [], "headers": [], "now": 1700000000, "access": "a", "secret": "s", "token": "", "payload": "x"}
    bad = [{**r, "headers": [("A", "b\r\nC: d")]}, {**r, "headers": [("A\nB", "c")]}, {**r, "path": "p"}, {**r, "path": ""}, {**r, "host": "h\r\n"}, {**r, "access": "a\n"},
           {**r, "query": [("k", "v")] * 65}, {**r, "headers": [("k", "v")] * 65}]
    return [f"not refused: {b}" for b, got in zip(bad, by_millrace(signs, bad)) if "refused" not in got]


def main():
    signs, folder = sys.argv[1:3]
    if "--inside" not in sys.argv:
        python = venv_python(folder)
        sys.exit(subprocess.run([python, os.path.abspath(__file__), signs, folder, "--inside"]).returncode)
    seed = random.SystemRandom().randint(1, 10 ** 6)
    print(f"seed {seed}")
    count, wrong = compare(signs, seed)
    wrong += refusals(signs)
    print("\n".join(wrong[:5]))
    print(f"{count} requests signed, {len(wrong)} wrong")
    sys.exit(1 if wrong else 0)


main()
