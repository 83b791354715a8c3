#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may come in, and how: each way that brokers know; who is refused is told why, never with the secret, until the brokers let him in."""
import os
import sys
from datetime import datetime

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import kafka  # noqa: E402
from certs import Certs  # noqa: E402
from deliver import accepted, wait_landed  # noqa: E402
from kafka import Ledger  # noqa: E402
from server import Home, until  # noqa: E402
from trouble import IMPATIENT, SOON, alerts, batch, closes, exactly_once, goes_on, landed, lands, opens, reading, source, takes_config  # noqa: E402

ALICE, ALICES = kafka.PLAIN_USER
BOB, BOBS = kafka.SCRAM_USER


def guarded(version="4.4.0"):
    """A broker with all its listeners, where bob may do what he is allowed to."""
    return kafka.lasting(version, settings=IMPATIENT, security=True, authorizer=True)


def sasl(user=ALICE, mechanism="PLAIN"):
    return {"mechanism": mechanism, "username": user, "password": "${env:MRT_KAFKA}"}


def at_door(broker, listener, **options):
    return {"brokers": [broker.listener(listener)], **options}


def lands_as(broker, topic, password=ALICES, **options):
    """A whole life of a source, from the start to the drained end, with nothing told."""
    ledger = Ledger()
    broker.create(topic)
    with reading(broker, topic, env={"MRT_KAFKA": password}, **options) as server:
        broker.produce(topic, batch(20, "first"), ledger)
        lands(server, ledger)
        case.equal(alerts(server), {}, "nothing is told")
        exactly_once(server, ledger)


def test_each_way_in_works():
    broker = guarded()
    ca = {"ca": broker.certs.crt("ca")}
    lands_as(broker, "plain", **at_door(broker, "SASL_PLAINTEXT", sasl=sasl()))
    lands_as(broker, "plain-tls", **at_door(broker, "SASL_SSL", sasl=sasl(), tls=ca))
    broker.allow("CN=client", "certificate", "test.certificate")
    lands_as(broker, "certificate", **at_door(broker, "SSL", tls={**ca, "cert": broker.certs.crt("client"), "key": broker.certs.key("client")}))


def goes_on_being_told(server, name):
    """Brokers that answer are not yet brokers that let us read: two rounds of their statistics (5 s) close nothing."""
    def old():
        now = server.status()
        opened = next((a["opened_at"] for a in now["alerts"] if a["name"] == name), None)
        return opened and (datetime.fromisoformat(now["now"]) - datetime.fromisoformat(opened)).total_seconds() > 11
    until(f"{name} is open for two rounds", old, 20, every=0.2)


def never_said(server, *secrets):
    said = [server.log(since_start=False)] + [server.get(path).text for path in ("/", "/metrics", "/api/status")]
    case.true(not any(secret in text for secret in secrets for text in said), "a secret is told")


def refused_at(broker, topic, words, right, wrong, restart):
    """Refused with these words as long as the options are wrong, and let in once they are right: by a reload, or by a restart, which finds the alert open."""
    ledger, hooks = Ledger(), topic
    broker.create(topic)
    broker.produce(topic, batch(20, "first"), ledger)
    with reading(broker, topic, env={"MRT_KAFKA": ALICES, "MRT_WRONG": "a-wrong-one"}, **wrong) as server:
        text = opens(server, "kafka_refused", "", *words)
        accepted(server, hooks)
        wait_landed(server, hooks)
        never_said(server, ALICES, "a-wrong-one")
        done = server.cli("check")
        case.equal(done.returncode, 1, f"check: {done.stdout} {done.stderr}")
        case.true(b"a-wrong-one" not in done.stdout + done.stderr, "a secret is told")
        case.equal(landed(server), [])
        server.cfg["sources"]["events"] = source(broker, topic, group=topic, **right)
        takes_config(server, restart)
        lands(server, ledger)
        closes(server, "kafka_refused")
        exactly_once(server, ledger)
        return text, done.stdout.decode() + done.stderr.decode()


def test_a_wrong_password_is_told_and_never_said():
    broker = guarded()
    right = at_door(broker, "SASL_PLAINTEXT", sasl=sasl())
    _, said = refused_at(broker, "password", ["uthentication"], right, {**right, "sasl": {**sasl(), "password": "${env:MRT_WRONG}"}}, restart=False)
    case.true("uthentication" in said, f"check says why: {said}")


def test_a_certificate_of_another_authority_is_told():
    broker = guarded()
    with Home("mr-kafka-ca") as home:
        other = Certs(home.at("certs"))
        other.ca()
        right = at_door(broker, "SASL_SSL", sasl=sasl(), tls={"ca": broker.certs.crt("ca")})
        _, said = refused_at(broker, "authority", ["ertificate"], right, {**right, "tls": {"ca": other.crt("ca")}}, restart=True)
        case.true("ertificate" in said, f"check says why: {said}")


def test_scram_works_and_where_the_library_is_too_old_for_the_brokers_it_is_told():
    old = guarded("3.9.1")
    for bits in (256, 512):
        old.allow(BOB, f"scram-{bits}", "test.scram-" + str(bits))
        lands_as(old, f"scram-{bits}", BOBS, **at_door(old, "SASL_PLAINTEXT", sasl=sasl(BOB, f"SCRAM-SHA-{bits}")))
    new = guarded()
    new.create("scram")
    with reading(new, "scram", env={"MRT_KAFKA": BOBS}, **at_door(new, "SASL_PLAINTEXT", sasl=sasl(BOB, "SCRAM-SHA-512"))) as server:
        opens(server, "kafka_refused", "", "SCRAM", "librdkafka 2.6.1")
        never_said(server, BOBS)


def test_rights_that_are_missing_are_told_and_once_given_it_goes_on_by_itself():
    broker, ledger, others = guarded("3.9.1"), Ledger(), Ledger()
    broker.create("secret"), broker.create("open")
    broker.disallow(BOB)
    broker.allow(BOB, "open", "test.rights")
    options = at_door(broker, "SASL_PLAINTEXT", sasl=sasl(BOB, "SCRAM-SHA-256"), group="rights", librdkafka=SOON)
    with reading(broker, "open", "secret", env={"MRT_KAFKA": BOBS}, **options) as server:
        text = opens(server, "kafka_topic_unreadable", "secret", "secret")
        case.true("uthorization" in text, text)
        goes_on(server, broker, "open", others)
        broker.produce("secret", batch(20, "first"), ledger)
        broker.allow(BOB, "secret")
        lands(server, ledger)
        closes(server, "kafka_topic_unreadable", "secret")
        ledger.delivered.update(others.delivered)
        exactly_once(server, ledger)


def test_a_group_that_is_not_ours_to_use_is_told_until_it_is():
    broker, ledger = guarded("3.9.1"), Ledger()
    broker.create("grouped")
    broker.disallow(BOB)
    broker.allow(BOB, "grouped")
    broker.produce("grouped", batch(20, "first"), ledger)
    options = at_door(broker, "SASL_PLAINTEXT", sasl=sasl(BOB, "SCRAM-SHA-256"))
    with reading(broker, "grouped", env={"MRT_KAFKA": BOBS}, **options) as server:
        text = opens(server, "kafka_refused")
        case.true("roup" in text, text)
        accepted(server, "hook")
        wait_landed(server, "hook")
        goes_on_being_told(server, "kafka_refused")
        broker.allow(BOB, group="test.grouped")
        lands(server, ledger)
        closes(server, "kafka_refused")
        exactly_once(server, ledger)


if __name__ == "__main__":
    kafka.ensure()
    case.main(globals())
