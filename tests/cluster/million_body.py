# The messages of the million test: which queue each goes to, and its bytes. million_worker.cpp has the same rules.
import struct

BATCH = 200  # consecutive messages of a producer that share a queue
PATTERN = bytes(i * 7 % 251 for i in range(1024))


def queue_of(counter, queues):
    """The number of the queue."""
    return counter // BATCH % queues


def queue_name(number):
    return f"million-{number}"


def body_of(producer, counter):
    """Eight bytes of name, then 0 to 511 bytes that follow from it."""
    start = (producer * 31 + counter * 13) % 251
    return struct.pack("<II", producer, counter) + PATTERN[start:start + counter * 37 % 512]


def read_body(body):
    """Producer and counter, or None when these are not the bytes that were sent."""
    if len(body) < 8:
        return None
    name = struct.unpack_from("<II", body)
    return name if body == body_of(*name) else None
