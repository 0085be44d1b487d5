# Which bytes of an LMDB file are in use, and for what: places for damage.
import struct

PAGE = 4096
HEADER = 16
META = struct.Struct("<16xII8x8x48s48sQQ")  # magic, version, both trees, last page, transaction
TREE = struct.Struct("<IHHQQQQQ")
NO_PAGE = 2 ** 64 - 1
BRANCH, LEAF, BIG_DATA = 1, 2, 1


class Pages:
    """The pages that the newest meta page leads to, each with a word that says what it is."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = file.read()
        metas = [META.unpack_from(self.bytes, page * PAGE) for page in (0, 1)]
        newest = max((0, 1), key=lambda page: metas[page][5])
        self.kinds = {0: "meta", 1: "meta"}
        for tree, prefix in ((metas[newest][2], "free "), (metas[newest][3], "")):
            root = TREE.unpack(tree)[7]
            if root != NO_PAGE:
                self._walk(root, prefix)

    def _walk(self, page, prefix):
        at = page * PAGE
        flags, lower = struct.unpack_from("<HH", self.bytes, at + 10)
        self.kinds[page] = prefix + ("leaf" if flags & LEAF else "branch")
        for place in struct.unpack_from(f"<{(lower - HEADER) // 2}H", self.bytes, at + HEADER):
            low, high, more, key = struct.unpack_from("<HHHH", self.bytes, at + place)
            if flags & BRANCH:
                self._walk(low | high << 16 | more << 32, prefix)
            elif more & BIG_DATA:
                first, = struct.unpack_from("<Q", self.bytes, at + place + 8 + key)
                for part in range((HEADER - 1 + (low | high << 16)) // PAGE + 1):
                    self.kinds[first + part] = prefix + "body"

    def draw(self, random):
        """(place of a byte, bit, what the page is): any bit of any page in use, of the meta pages what LMDB writes."""
        page = random.choice(sorted(self.kinds))
        size = 152 if self.kinds[page] == "meta" else PAGE
        return page * PAGE + random.randrange(size), random.randrange(8), self.kinds[page]


def flip(path, place, bit):
    with open(path, "r+b", buffering=0) as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ (1 << bit)]))
