#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The admin listener: health, readiness, metrics that Prometheus can read, status as JSON and as a page."""
import json
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
from deliver import accepted, deliver  # noqa: E402
from server import running, webhook  # noqa: E402

SOURCE = {"github": webhook()}


def test_health_readiness_and_unknown_pages():
    with running(SOURCE) as server:
        for path, want in (("/healthz", 200), ("/readyz", 200), ("/nothing", 404)):
            case.equal(server.get(path).status, want, path)


def test_metrics_are_text_that_prometheus_reads():
    with running(SOURCE) as server:
        accepted(server, "one")
        deliver(server, "forged", headers=[])
        res = server.get("/metrics")
    case.true(res.getheader("Content-Type", "").startswith("text/plain"), res.getheader("Content-Type"))
    line = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^}]*\})? [0-9eE+.\-NaInf]+$")
    odd = [x for x in res.text.splitlines() if x and not x.startswith("#") and not line.match(x)]
    case.equal(odd, [], "lines that are no sample")
    case.true("github" in res.text, "samples by source")
    promtool = shutil.which("promtool")
    if promtool:
        done = subprocess.run([promtool, "check", "metrics"], input=res.text, capture_output=True, text=True)
        case.equal(done.returncode, 0, done.stdout + done.stderr)


def test_status_is_json_and_the_page_is_html():
    with running(SOURCE) as server:
        accepted(server, "one")
        res = server.get("/api/status")
        case.true(res.getheader("Content-Type", "").startswith("application/json"), str(res.getheaders()))
        case.true("github" in json.dumps(json.loads(res.text)), res.text)
        page = server.get("/")
        case.true(page.getheader("Content-Type", "").startswith("text/html"), str(page.getheaders()))
        case.true("millrace" in page.text.lower(), "the page")


if __name__ == "__main__":
    case.main(globals())
