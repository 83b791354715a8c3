# SPDX-License-Identifier: Apache-2.0
"""JSON of a shop, each record of exactly so many bytes and like no other; zstd -1 makes it three to four times smaller. The same size gives the same records each time."""
import datetime
import random

KINDS = ("order.created", "order.updated", "order.paid", "order.shipped")
CURRENCIES = ("EUR", "USD", "GBP", "SEK")
SMALLEST = 256
ITEM = 84                                         # about as many bytes has an item


def vocabulary(rnd):
    return ["".join(rnd.choice("bdfgklmnprstvz") + rnd.choice("aeiou") for _ in range(rnd.choice((1, 2, 2, 3, 4)))) for _ in range(1000)]


def records(size, count):
    """Yields bytes."""
    rnd = random.Random(size)
    words = vocabulary(rnd)
    # far more items than a window of zstd or lz4 holds, so that few of them are found again
    items = [',{"sku":"%s-%05d","name":"%s %s","quantity":%d,"price":"%d.%02d"}' % (rnd.choice("ABCDEFGH"), rnd.randrange(100_000), rnd.choice(words), rnd.choice(words),
                                                                                  rnd.randrange(1, 20), rnd.randrange(1, 400), rnd.randrange(100)) for _ in range(100_000)]
    text = " ".join(rnd.choices(words, k=200_000))
    some, part = max(0, size - 250) // ITEM, rnd.random
    for n in range(count):
        second = n // 50
        head = '{"id":"evt_%016x","type":"%s","created_at":"2026-11-%02dT%02d:%02d:%02d.%03dZ","customer":%d,"currency":"%s","total":"%d.%02d","items":[' % (
            rnd.getrandbits(64), KINDS[int(part() * 4)], second // 86400 % 28 + 1, second // 3600 % 24, second // 60 % 60, second % 60, int(part() * 1000), int(part() * 2e7),
            CURRENCIES[int(part() * 4)], int(part() * 2000), int(part() * 100))
        head += "".join(rnd.choices(items, k=some))[1:] + '],"note":"'
        left = size - len(head) - 2
        at = int(part() * (len(text) - left))
        yield (head + text[at:at + left] + '"}').encode()


# -- the same shop as a table ---------------------------------------------------------------------------------------------

TABLE = """id bigint PRIMARY KEY, customer_id bigint NOT NULL, number text NOT NULL, status text NOT NULL, currency text NOT NULL, total numeric(12,2) NOT NULL,
    tax numeric(12,4) NOT NULL, email text, note text, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL"""
STATES = ("created", "paid", "packed", "shipped", "returned")
FIRST = datetime.datetime(2026, 1, 1)


def rows(count):
    """Yields the lines of a text COPY into a TABLE: about 288 bytes of heap each; ids from 1 on, one in 20 without a note."""
    rnd = random.Random(count)
    words = vocabulary(rnd)
    text = " ".join(rnd.choices(words, k=200_000))
    part = rnd.random
    for n in range(1, count + 1):
        created = FIRST + datetime.timedelta(seconds=n * 10, microseconds=int(part() * 1e7))
        updated = created + datetime.timedelta(seconds=int(part() * 864_000), microseconds=int(part() * 1e6))
        at, length, total = int(part() * (len(text) - 300)), 54 + int(part() * 210), int(part() * 200_000)
        note = text[at:at + length].strip() if part() > 0.05 else "\\N"
        yield (f"{n}\t{int(part() * 2e7)}\tORD-2026-{n:08d}\t{STATES[int(part() * 5)]}\t{CURRENCIES[int(part() * 4)]}\t{total / 100:.2f}\t{total * 19 / 10000:.4f}\t"
               f"{words[int(part() * 1000)]}.{words[int(part() * 1000)]}@example.com\t{note}\t{created}+00\t{updated}+00\n").encode()
