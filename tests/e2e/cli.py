#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The commands beside the server: what they print, what they change, and the codes they exit with."""
import base64
import contextlib
import glob
import json
import os
import re
import sqlite3
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import sign  # noqa: E402
import state  # noqa: E402
from deliver import accepted, deliver, event, wait_landed  # noqa: E402
from server import SECRET, Home, Server, config, has_faults, landed, ran, running, until, webhook  # noqa: E402
from zone import Reader  # noqa: E402

SOURCE = {"github": webhook()}


@contextlib.contextmanager
def configured(text_or_sources=None, **top):
    """A server object that is not started: for commands that need a config only."""
    with Home("mr-cli") as home:
        cfg = config(home, text_or_sources or SOURCE, **top)
        yield Server(home, cfg)


# -- check ---------------------------------------------------------------------------------------------------

def test_check_of_a_good_config_prints_lines_of_the_contract():
    with configured() as server:
        lines = ran(server.cli("check")).splitlines()
    case.true(lines and all(re.match(r"(ok|warn|fail) \S+: .", line) for line in lines), f"{lines}")
    case.true(any(line.startswith("ok github") for line in lines), f"{lines}")


def test_check_offline_needs_nothing_but_the_file():
    with configured() as server:
        ran(server.cli("check", "--offline"))
        case.true(not os.path.exists(server.data_dir), "check made a data_dir")


def test_check_of_an_unwritable_zone_fails_with_1():
    with Home("mr-cli") as home:
        open(home.at("file"), "w").close()
        server = Server(home, config(home, SOURCE, zone={"url": "file:" + home.at("file", "zone")}))
        out = ran(server.cli("check"), 1)
    case.true("fail " in out, out)


# -- configs that the file alone shows to be wrong -----------------------------------------------------------

HOOK = "sources:\n  s:\n    webhook:\n      path: /x\n"            # four lines of a good config

WRONG = {                                         # text, and what the message must say after the file's name
    "a misspelt key": (HOOK + "      verfy: {scheme: none}\n", r":5:7: .*verify"),
    "a missing verify": (HOOK, r":\d+:\d+: .*verify"),
    "an unknown scheme": (HOOK + '      verify: {scheme: gihtub, secrets: ["${env:MRT_SECRET}"]}\n',
                          r":5:\d+: .*github"),
    "a secret in the file": (HOOK + "      verify: {scheme: github, secrets: [hunter2]}\n", r":5:\d+: "),
    "a secret that is not set": (HOOK + '      verify: {scheme: github, secrets: ["${env:MRT_NOT_SET}"]}\n',
                                 r":5:\d+: .*MRT_NOT_SET"),
    "an empty secret": (HOOK + '      verify: {scheme: github, secrets: ["${env:MRT_EMPTY}"]}\n',
                        r":5:\d+: .*MRT_EMPTY"),
    "the same route twice": ("sources:\n  a:\n    webhook: {path: /x, verify: {scheme: none}}\n"
                             "  b:\n    webhook: {path: /x, verify: {scheme: none}}\n", r":5:\d+: .*/x"),
    "a path without its slash": ("sources:\n  s:\n    webhook: {path: x, verify: {scheme: none}}\n", r":3:\d+: "),
    "a size in no unit": ("limits: {memory: 5 bananas}\n" + HOOK + "      verify: {scheme: none}\n", r":1:\d+: "),
    "no YAML": ("sources: [\n", r":\d+:\d+: "),
}


def test_every_config_error_names_its_place_and_exits_2():
    wrong = []
    with configured() as server:
        for what, (text, pattern) in WRONG.items():
            with open(server.file, "w") as f:
                f.write(text)
            for verb in ("check --offline", "run", "status"):
                head, *rest = verb.split()
                done = server.cli(head, *rest, extra={"MRT_EMPTY": ""}, timeout=20)
                out = (done.stdout + done.stderr).decode()
                if done.returncode != 2 or not re.search(r"millrace\.yaml" + pattern, out):
                    wrong.append(f"{verb}, {what}: exit {done.returncode}, {out[-300:]!r}")
                if "hunter2" in out:
                    wrong.append(f"{verb}, {what}: prints the secret")
    case.equal("\n".join(wrong), "")


def test_all_errors_are_told_at_once():
    with configured() as server:
        with open(server.file, "w") as f:
            f.write("enviroment: x\nlimits: {memroy: 1GiB}\n"
                    "sources:\n  s:\n    webhook: {path: /x, verify: {scheme: nune}}\n")
        out = server.cli("check", "--offline")
    text = (out.stdout + out.stderr).decode()
    case.equal(out.returncode, 2, text)
    for line in (":1:", ":2:", ":5:"):
        case.true("millrace.yaml" + line in text, f"{line} is not told: {text}")


def test_usage_errors_exit_2_and_help_exits_0():
    with configured() as server:
        for verb, args in (("nonsense", ()), ("run", ("--nonsense",)), ("", ()), ("state", ("fly",))):
            case.equal(server.cli(verb, *args).returncode, 2, f"{verb} {args}")
        case.equal(server.cli("run -c /nowhere/at/all.yaml", file=False).returncode, 2, "a config that is not there")
        for verb in ("--help", "run --help", "state --help", "explain --help"):
            out = ran(server.cli(verb, file=False))
            case.true("millrace" in out, f"{verb}: {out}")
        case.true(re.search(r"\d+\.\d+", ran(server.cli("--version", file=False))), "a version")


def test_config_schema_is_json_and_docs_name_every_key():
    with configured() as server:
        schema = json.loads(ran(server.cli("config schema", file=False)))
        docs = ran(server.cli("config docs", file=False))
    case.true("properties" in schema, str(schema)[:300])
    for key in ("data_dir", "zone", "sources", "limits", "http", "admin"):
        case.true(key in schema["properties"], f"{key} in the schema")
        case.true(key in docs, f"{key} in the docs")


# -- beside a running server ---------------------------------------------------------------------------------

def test_status_shows_sources_positions_and_lag():
    with running(SOURCE) as server:
        accepted(server, "one")
        wait_landed(server, "one")
        text = ran(server.cli("status"))
        case.true("github" in text, text)
        value = json.loads(ran(server.cli("status", "--json")))
        case.true("github" in json.dumps(value), str(value))
        api = server.status()
        case.true("github" in json.dumps(api), str(api))


def test_status_shows_the_last_run_of_each_stream():
    columns = "source, stream, started, ended, outcome, rows, bytes, bounds, error"
    runs = [("shop", "orders", "2026-03-01T10:00:00.000000Z", "2026-03-01T10:00:02.500000Z", "ok", 11, 900, "{}", None),
            ("shop", "orders", "2026-03-01T11:00:00.000000Z", "2026-03-01T11:00:02.500000Z", "ok", 42, 4200, '{"to":7}', None),
            ("shop", "users", "2026-03-01T11:00:00.000000Z", "2026-03-01T11:00:01.000000Z", "failed", 0, 0, None, "no such table")]
    with running(SOURCE) as server:
        server.stop()
        with contextlib.closing(sqlite3.connect(state.path(server.data_dir))) as db, db:
            db.executemany(f"INSERT INTO runs({columns}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)", runs)
        text = ran(server.cli("status"))
        value = json.loads(ran(server.cli("status", "--json")))["runs"]
    lines = [" ".join(line.split()) for line in text.splitlines() if line.startswith("run ")]
    case.equal(lines, ["run shop orders: ok at 2026-03-01T11:00:02.500000Z, 42 rows", "run shop users: failed at 2026-03-01T11:00:01.000000Z, 0 rows: no such table"], "runs")
    case.equal(value, [{"source": "shop", "stream": "orders", "outcome": "ok", "started_at": "2026-03-01T11:00:00.000000Z", "ended_at": "2026-03-01T11:00:02.500000Z",
                        "rows": 42, "bytes": 4200, "bounds": {"to": 7}},
                       {"source": "shop", "stream": "users", "outcome": "failed", "started_at": "2026-03-01T11:00:00.000000Z", "ended_at": "2026-03-01T11:00:01.000000Z",
                        "rows": 0, "bytes": 0, "error": "no such table"}], "runs as JSON")


def test_state_show_names_the_position():
    with running(SOURCE) as server:
        accepted(server, "one")
        wait_landed(server, "one")
        text = ran(server.cli("state show"))
        row, = state.rows(server.data_dir, "positions")
    case.true("github" in text and row["part"] in text, text)


def test_a_position_may_be_reset_beside_the_running_server():
    with running(SOURCE) as server:
        accepted(server, "one")
        wait_landed(server, "one")
        ran(server.cli("state reset", "github"))
        accepted(server, "two")
        wait_landed(server, "two")
        ids = [r.value["data"]["id"] for r in landed(server)]
    case.equal(ids.count("two"), 1, "times that the event after it lies in the zone")
    case.true(ids.count("one") in (1, 2), "once more at most, if the queue still holds it: the person asked for it")


def test_a_reset_of_nothing_is_an_error():
    with running(SOURCE) as server:
        case.true(server.cli("state reset", "nobody").returncode != 0, "a source without positions")


def test_a_position_that_was_set_ahead_is_skipped_to():
    with running(SOURCE, zone={"roll": {"age": "3s"}}) as server:
        accepted(server, "one")
        wait_landed(server, "one")
        row, = state.rows(server.data_dir, "positions")
        accepted(server, "skipped")
        ran(server.cli("state set", "github/github", row["part"], "2"))
        accepted(server, "three")
        wait_landed(server, "three")
        ids = [r.value["data"]["id"] for r in landed(server)]
    case.equal(sorted(ids), ["one", "three"])


def test_state_backup_is_a_sound_store_and_never_overwrites():
    with running(SOURCE) as server:
        accepted(server, "one")
        wait_landed(server, "one")
        copy = server.home.at("backup", "copy.db")
        os.mkdir(server.home.at("backup"))
        ran(server.cli("state backup", copy))
        case.true(state.is_sound(server.home.at("backup")), "the backup")
        case.equal(len(state.rows(server.home.at("backup"), "positions")), 1)
        case.true(server.cli("state backup", copy).returncode != 0, "an existing file is not overwritten")


def test_the_state_file_is_readable_by_its_owner_only():
    with running(SOURCE) as server:
        case.equal(oct(os.stat(state.path(server.data_dir)).st_mode & 0o777), oct(0o600))


def test_pause_and_resume_are_seen_within_a_second_and_survive_a_restart():
    with running(SOURCE) as server:
        ran(server.cli("pause", "github"))
        begun = time.monotonic()
        until("503", lambda: deliver(server, "p").status == 503, 10)
        case.true(time.monotonic() - begun < 2.0, "the pause is seen within 1 s")
        case.true(deliver(server, "q").header("Retry-After"), "Retry-After")
        server.stop()
        server.start()
        case.equal(deliver(server, "r").status, 503, "after a restart")
        ran(server.cli("resume", "github"))
        until("2xx", lambda: deliver(server, f"s{time.monotonic_ns()}").status == 204, 10)
        case.true(server.cli("pause", "nobody").returncode in (1, 2), "a source that is not configured")


def test_send_signs_as_the_vendor_would():
    with running({"github": webhook(), "stripe": webhook("stripe"), "slack": webhook("slack")}) as server:
        with open(server.home.at("body.json"), "wb") as f:
            f.write(event("from-file"))
        ran(server.cli("send", "github", server.home.at("body.json")))
        ran(server.cli("send", "stripe", "-", stdin=event("from-stdin")))
        base = f"http://127.0.0.1:{server.port}"
        ran(server.cli("send", "slack", "-", "--to", base + "/hooks/slack", stdin=event("to-url")))
        case.true(server.cli("send", "github", "-", "--to", base + "/nowhere", stdin=b"{}").returncode == 1, "a refusal is exit 1")
        got = sorted(r.value["data"]["id"] for r in landed(server))
    case.equal(got, ["from-file", "from-stdin", "to-url"])


def test_send_has_the_vendors_method_form_and_query():
    url = "https://hooks.example.com/in"
    with running({"put": webhook(methods=["PUT"]), "twilio": webhook("twilio", public_url=url), "figma": webhook("figma")}) as server:
        ran(server.cli("send", "put", stdin=event("by-put")))
        ran(server.cli("send", "twilio", stdin=b"MessageSid=SM1&Body=two+words"))
        ran(server.cli("send", "twilio", stdin=event("json")))
        ran(server.cli("send", "figma", stdin=b'{"id": "token-in-body", "passcode": "x"}'))
        done = server.cli("send", "figma", stdin=b'{"id": "no place for it"}')
        case.true(done.returncode == 2 and b"/passcode" in done.stderr, f"says where: {done}")
        records = landed(server)
    case.equal(sorted(r.value["data"]["id"] for r in records if "data" in r.value), ["by-put", "json", "token-in-body"])
    case.equal([r.value["data_text"] for r in records if "data_text" in r.value], ["MessageSid=SM1&Body=two+words"])


# -- verify --------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def a_zone_with_three_files(compression="zstd"):
    with running(SOURCE, stop=False, zone={"compression": compression, "roll": {"age": "1s"}}) as server:
        for n in range(3):
            accepted(server, f"v{n}")
            wait_landed(server, f"v{n}")
        server.stop()
        files = glob.glob(server.zone + "/source=*/stream=*/ingest_date=*/*")
        case.equal(len(files), 3, "files")
        yield server, sorted(files)


def test_verify_finds_nothing_wrong_in_a_good_zone():
    with a_zone_with_three_files() as (server, _):
        ran(server.cli("verify"))
        ran(server.cli("verify", "--deep"))


def test_verify_deep_finds_a_flipped_byte():
    with a_zone_with_three_files("none") as (server, files):
        with open(files[1], "r+b") as f:
            f.seek(20)
            byte = f.read(1)
            f.seek(20)
            f.write(bytes([byte[0] ^ 1]))
        ran(server.cli("verify"))
        done = server.cli("verify", "--deep")
        case.true(os.path.basename(files[1]) in ran(done, 1), "the damaged file is named")


def test_verify_finds_a_file_cut_short_and_one_that_is_gone():
    with a_zone_with_three_files() as (server, files):
        os.truncate(files[0], os.path.getsize(files[0]) - 1)
        os.unlink(files[2])
        out = ran(server.cli("verify"), 1)
    for path in (files[0], files[2]):
        case.true(os.path.basename(path) in out, f"{path} is named: {out}")


def test_verify_names_orphans():
    with a_zone_with_three_files() as (server, files):
        orphan = os.path.join(os.path.dirname(files[0]), "stranger.ndjson")
        with open(orphan, "w") as f:
            f.write("{}\n")
        done = server.cli("verify")
        case.true(b"stranger.ndjson" in done.stdout + done.stderr, str(done))
        case.equal(done.returncode, 1)


# -- explain -------------------------------------------------------------------------------------------------

def captured(body, headers, method="POST", path="/hooks/github"):
    return json.dumps({"method": method, "path": path, "headers": [[k, v] for k, v in headers],
                       "body_base64": base64.b64encode(body).decode()}).encode()


def explained(server, source, *requests, at=None, code=0):
    with open(server.home.at("request.json"), "wb") as f:
        f.write(b"\n".join(requests) + b"\n")
    args = [source, server.home.at("request.json")] + (["--at", str(at)] if at is not None else [])
    return [json.loads(line) for line in ran(server.cli("explain", *args), code).splitlines()]


def test_explain_accepts_what_the_server_would_accept():
    body = event("x")
    with configured() as server:
        line, = explained(server, "github", captured(body, sign.github(SECRET, body)))
    case.equal(line["verdict"], "accept")


def test_explain_gives_each_refusal_its_cause_and_never_the_digest():
    body = event("x")
    good = sign.github(SECRET, body)
    big = b"x" * 5000
    requests = {
        "route": captured(body, good, path="/elsewhere"),
        "method": captured(body, good, method="GET"),
        "missing": captured(body, []),
        "format": captured(body, [(good[0][0], "sha256=xyz")]),
        "signature": captured(body, sign.github("wrong", body)),
        "size": captured(big, sign.github(SECRET, big)),
    }
    with configured({"github": webhook(body_limit="4KiB")}) as server:
        lines = explained(server, "github", *requests.values(), code=1)
    case.equal([(x["verdict"], x["cause"]) for x in lines], [("reject", cause) for cause in requests])
    for line in lines:
        case.true(line.get("reason"), f"a reason: {line}")
        case.true(sign.mac(SECRET, body).hexdigest() not in json.dumps(line), "the right digest is given away")


def test_explain_judges_a_timestamp_at_the_given_time():
    body = event("x")
    request = captured(body, sign.stripe(SECRET, body, 1700000000), path="/hooks/stripe")
    with configured({"stripe": webhook("stripe")}) as server:
        case.equal(explained(server, "stripe", request, at=1700000100)[0]["verdict"], "accept")
        for at in (1700001000, 1699999000):
            line, = explained(server, "stripe", request, at=at, code=1)
            case.equal((line["verdict"], line["cause"]), ("reject", "timestamp"), f"at {at}")


def test_explain_tells_a_handshake_apart():
    body = b'{"type":"url_verification","challenge":"c","token":"t"}'
    with configured({"slack": webhook("slack")}) as server:
        lines = explained(server, "slack", captured(body, sign.slack(SECRET, body, 1700000000), path="/hooks/slack"),
                          at=1700000000, code=1)
    case.equal(lines[0]["cause"], "handshake")


def test_explain_cannot_read_rubbish():
    with configured() as server:
        for rubbish in (b"no json", b"[]", b'{"method":"POST"}',
                        b'{"method":"POST","path":"/x","headers":[],"body_base64":"*"}'):
            with open(server.home.at("request.json"), "wb") as f:
                f.write(rubbish)
            case.equal(server.cli("explain", "github", server.home.at("request.json")).returncode, 2, str(rubbish))
        case.equal(server.cli("explain", "github", "/nowhere").returncode, 2)
        case.equal(server.cli("explain", "nobody", server.home.at("request.json")).returncode, 2)


# -- replay --------------------------------------------------------------------------------------------------

def test_a_landing_that_was_lost_is_landed_again_by_replay():
    """Its staged file vanishes between the decision and the publish: told by an alert, kept in the queue, replayed."""
    if not has_faults():
        raise case.Skip("this build has no named points")
    with running({"github": webhook(dedup={"id": "/id", "window": "7d"})}, stop=False) as server:
        server.dies_at("publish_rename", lambda: [accepted(server, f"r{n}") for n in range(5)])
        for part in glob.glob(server.zone + "/_staging/**/*.part", recursive=True):
            os.unlink(part)
        server.start()
        accepted(server, "later")
        wait_landed(server, "later")
        case.true("landing_lost" in server.get("/api/status").text, "the alert landing_lost")
        row, = [r for r in state.rows(server.data_dir, "landings") if r["state"] == "lost"]
        server.stop()
        ran(server.cli("replay", "--landing", row["landing"]))
        records = [r.value for r in Reader(server.zone).all()]
    case.equal(sorted(v["data"]["id"] for v in records), ["later", "r0", "r1", "r2", "r3", "r4"])
    case.equal({v["data"]["id"] for v in records if "replay" in v}, {"r0", "r1", "r2", "r3", "r4"}, "marked as replayed")


def test_replay_of_a_landing_whose_input_is_gone_says_so():
    with running(SOURCE, stop=False) as server:
        accepted(server, "one")
        wait_landed(server, "one")
        landing = state.rows(server.data_dir, "landings")[0]["landing"]
        server.stop()
        before = len(Reader(server.zone).all())
        done = server.cli("replay", "--landing", landing)
        again = len(Reader(server.zone).all()) - before
        case.true(done.returncode == 1 if not again else done.returncode == 0,
                  f"{again} records replayed, exit {done.returncode}: {(done.stdout + done.stderr).decode()[-400:]}")
        case.true(server.cli("replay", "--landing", "no-such-landing").returncode in (1, 2), "an id that is not there")


if __name__ == "__main__":
    case.main(globals())
