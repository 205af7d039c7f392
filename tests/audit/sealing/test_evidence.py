"""What a seal remembers takes little room and comes out as it went in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.audit.sealing.evidence import pack, unpack


@given(
    st.dictionaries(st.integers(-(2**63), 2**63 - 1), st.binary(min_size=16, max_size=16)),
)
def test_what_is_packed_is_unpacked(entries):
    items = sorted(entries.items())
    assert list(unpack(pack(items), items[0][0] if items else 0, 16)) == items


@given(st.sets(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_ids_need_no_digests(ids):
    items = [(id, b"") for id in sorted(ids)]
    assert list(unpack(pack(items), items[0][0], 0)) == items


def test_an_id_costs_a_byte():
    assert len(pack([(id, b"") for id in range(10**9, 10**9 + 100)])) == 100


def test_ids_may_be_far_apart():
    assert len(pack([(1, b""), (129, b""), (10**6, b"")])) == 1 + 2 + 3


@given(st.binary(), st.integers(0, 20))
def test_any_bytes_are_evidence_or_are_refused(packed, size):
    try:
        items = list(unpack(packed, 0, size))
    except ValueError:
        return
    assert all(len(digest) == size for _, digest in items)


@pytest.mark.parametrize("packed", [b"\x80", b"\x00" + b"d" * 15, b"\x00" + b"d" * 16 + b"\xff"])
def test_half_an_entry_is_refused(packed):
    with pytest.raises(ValueError, match="The evidence ends in the middle of"):
        list(unpack(packed, 1, 16))
