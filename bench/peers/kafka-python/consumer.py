# SPDX-License-Identifier: Apache-2.0
"""consumer.py BROKERS TOPIC GROUP FILE COUNT: the consumer that many write, taken with care: 500 records at a time, in the file durably before they are committed, a
commit every 5,000. Ends after COUNT records."""
import os
import sys

from confluent_kafka import Consumer

AT_ONCE, COMMIT_EVERY = 500, 5000


def main(brokers, topic, group, path, count):
    left, uncommitted = int(count), 0
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False})
    consumer.subscribe([topic])
    with open(path, "ab") as out:
        while left:
            for message in consumer.consume(AT_ONCE, 1.0):
                if message.error():
                    sys.exit(str(message.error()))
                out.write(message.value() + b"\n")
                left -= 1
                uncommitted += 1
            if uncommitted >= COMMIT_EVERY or not left:
                out.flush()
                os.fsync(out.fileno())
                consumer.commit(asynchronous=False)
                uncommitted = 0
    consumer.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
