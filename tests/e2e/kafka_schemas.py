#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Schemas beside the records: each that a record names lands once, fetched from a registry that may be slow, down, or know nothing of it. The registry
here answers as Confluent's documents GET /schemas/ids/{id}."""
import base64
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
import kafka  # noqa: E402
from endpoint import Endpoint  # noqa: E402
from kafka import Ledger  # noqa: E402
from server import Home, Server, config, until  # noqa: E402
from topics import broker  # noqa: E402
from zone import Reader  # noqa: E402

USER, PASSWORD, ENV = "reader", "p:ss/word", "MRT_REGISTRY"


class Registry(Endpoint):
    """`schemas`: {id: schema}; `down`: 503 while it is set."""

    content_type = "application/vnd.schemaregistry.v1+json"

    def __init__(self, schemas):
        self.schemas, self.down, self.asked = schemas, False, []
        super().__init__()

    def answer(self, method, path, headers, body):
        self.asked.append((method, headers["Authorization"]))
        if self.down:
            return 503, json.dumps({"error_code": 50301, "message": "-"})
        schema = self.schemas.get(int(path.rsplit("/", 1)[1]))
        return (200, json.dumps({"schema": schema})) if schema else (404, json.dumps({"error_code": 40403, "message": "-"}))


def wire(schema, value=b"\x02\x04"):
    return b"\0" + schema.to_bytes(4, "big") + value


def door(registry, topic):
    return {"kafka": {"brokers": [broker().bootstrap], "topics": [topic], "schema_registry": {"url": registry.url + "/", "username": USER, "password": f"${{env:{ENV}}}"}}}


def of_stream(server, stream):
    return [r for r in Reader(server.zone).all("clicks") if r.stream == stream]


def test_each_lands_once():
    """Two schemas named by a hundred records, and bytes that only look like the wire format; again after a restart, and with --once."""
    broker().create("avro", 2)
    ledger = Ledger()
    text = json.dumps({"type": "record", "name": "r", "fields": [{"name": "f", "type": "string"}]})
    with Registry({7: text, 4000000000: '"int"'}) as registry, Home("mr-schemas") as home:
        server = Server(home, config(home, {"clicks": door(registry, "avro")}), env={ENV: PASSWORD})
        broker().produce("avro", [(n % 2, b"k", wire((7, 4000000000)[n % 2])) for n in range(100)] + [(0, None, b"\0junk, no schema"), (0, None, b"\0abc")], ledger=ledger)
        server.start()
        until("records and schemas landed", lambda: len(of_stream(server, "avro")) == 102 and len(of_stream(server, "_schema_registry")) == 2)
        until("the third number was asked for, too", lambda: len(registry.asked) == 3)
        server.stop()
        case.equal(ledger.compare(of_stream(server, "avro")), [], "the zone against the ledger")
        schemas = {r.value["position"]["schema_id"]: r.value for r in of_stream(server, "_schema_registry")}
        case.equal({i: v["data"] for i, v in schemas.items()}, {7: {"schema": text}, 4000000000: {"schema": '"int"'}}, "what landed of the registry")
        case.equal({v["id"] for v in schemas.values()}, {"schema/7", "schema/4000000000"}, "their ids")
        case.equal({r.value["position"].get("schema_id") for r in of_stream(server, "avro")}, {7, 4000000000, int.from_bytes(b"junk", "big"), None}, "numbers beside the records")
        case.equal(set(registry.asked), {("GET", "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode())}, "who asks, and how")
        broker().produce("avro", [(0, b"k", wire(7)), (1, b"k", wire(8))], ledger=ledger)
        registry.schemas[8] = '"long"'
        case.equal(server.cli("run", "--once").returncode, 0, "run --once")
        case.equal(sorted(r.value["position"]["schema_id"] for r in of_stream(server, "_schema_registry")), [7, 8, 4000000000], "one more, none twice")
        case.equal(ledger.compare(of_stream(server, "avro")), [], "the zone against the ledger")
        case.true(PASSWORD not in server.log(since_start=False), "no secret in the log")


def test_records_do_not_wait_for_it():
    """The registry is down: an alert, and the records land. It comes back: the schema lands, the alert closes."""
    broker().create("waiting", 1)
    ledger = Ledger()
    broker().produce("waiting", [(0, b"k", wire(5))], ledger=ledger)
    with Registry({5: '"int"'}) as registry, Home("mr-schemas") as home:
        registry.down = True
        server = Server(home, config(home, {"clicks": door(registry, "waiting")}), env={ENV: PASSWORD})
        server.start()

        def told():
            return [a["text"] for a in server.status()["alerts"] if a["name"] == "kafka_schema_registry"]
        until("the alert and the record", lambda: told() and len(of_stream(server, "waiting")) == 1)
        case.true("schema 5" in told()[0] and "503" in told()[0], f"what it says: {told()}")
        registry.down = False
        until("the schema landed, the alert closed", lambda: len(of_stream(server, "_schema_registry")) == 1 and not told())
        case.equal(ledger.compare(of_stream(server, "waiting")), [], "the zone against the ledger")
        server.stop()


if __name__ == "__main__":
    kafka.ensure()
    case.main(globals())
