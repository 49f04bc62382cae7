#!/usr/bin/env bash
# aiokafka 0.14.0 (aiokafka.protocol.types): tagged fields of a flexible request are written without their sizes.
#
# Expected: `TaggedFields.decode` reads what `TaggedFields.encode` writes: behind the number of fields, of each its tag, its size and its bytes
# (KIP-482).
# Seen: the size is missing, so {1: b"abc"} becomes 01 01 61 62 63 where 01 01 03 61 62 63 is meant. Read again, its "a" (97) is taken for a size, and what
# comes out is {1: b"bc"} without an error. aiokafka itself never sends a tag, so its own clients do not meet this; whoever builds requests from its
# types (for a broker's optional fields, or to test a parser) does.
# What helps: give each value with its size in front (`UnsignedVarInt32.encode(len(value)) + value`); decoding is right.
#
# Needs python3 with venv; downloads some 2 MB. Exit status 0 while that is so, 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check aiokafka==0.14.0
cat >tagged.py <<'PY'
import sys
from io import BytesIO

from aiokafka.protocol.types import TaggedFields, UnsignedVarInt32

meant = {1: b"abc"}
written = TaggedFields.encode(meant)
again = TaggedFields.decode(BytesIO(written))
by_hand = TaggedFields.encode({tag: UnsignedVarInt32.encode(len(value)) + value for tag, value in meant.items()})
right = TaggedFields.decode(BytesIO(by_hand))
print(f"written {written.hex(' ')}, read again {again}; with sizes {by_hand.hex(' ')}, read again {right}")
seen = written == b"\x01\x01abc" and again == {1: b"bc"} and right == meant
print("as described" if seen else "it has changed")
sys.exit(0 if seen else 1)
PY
venv/bin/python tagged.py
