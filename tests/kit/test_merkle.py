"""The Merkle tree against RFC 6962's published vectors and against the RFC's recursive definitions."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.kit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    partial_tiles_needed,
    tile_updates,
    tiles_for_consistency,
    tiles_for_inclusion,
    verify_consistency,
    verify_inclusion,
)

# The eight entries, roots and proofs that the Certificate Transparency implementations publish for RFC 6962.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAF_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
NODE_23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
NODE_47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
LEAF_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
NODE_45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
NODE_67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
INCLUSION = {
    (0, 1): [],
    (0, 8): [LEAF_1, NODE_23, NODE_47],
    (5, 8): [LEAF_4, NODE_67, ROOTS[3]],
    (2, 3): [ROOTS[1]],
    (1, 5): [ROOTS[0], NODE_23, LEAF_4],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [LEAF_1, NODE_23, NODE_47],
    (6, 8): [NODE_45, NODE_67, ROOTS[3]],
    (2, 5): [NODE_23, LEAF_4],
}
LEAVES = [leaf_hash(entry) for entry in ENTRIES]


def left_part(count: int) -> int:
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def root_of(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = left_part(len(leaves))
    return node_hash(root_of(leaves[:k]), root_of(leaves[k:]))


def path_of(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = left_part(len(leaves))
    if m < k:
        return [*path_of(m, leaves[:k]), root_of(leaves[k:])]
    return [*path_of(m - k, leaves[k:]), root_of(leaves[:k])]


def subproof_of(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962, 2.1.2."""
    if m == len(leaves):
        return [] if whole else [root_of(leaves)]
    k = left_part(len(leaves))
    if m <= k:
        return [*subproof_of(m, leaves[:k], whole), root_of(leaves[k:])]
    return [*subproof_of(m - k, leaves[k:], False), root_of(leaves[:k])]


def numbered(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


def grown(leaves: list[bytes], cuts: list[int], with_completed: bool = True) -> tuple[Frontier, dict]:
    """A tree grown batch by batch, each batch given nothing but the partial tiles that it asks for."""
    frontier, tiles = Frontier(), {}
    for start, end in pairwise([0, *cuts, len(leaves)]):
        batch = leaves[start:end]
        needed = partial_tiles_needed(start, len(batch))
        assert len({level for level, _ in needed}) == len(needed)
        loaded = {tile: tiles[tile] for tile in needed}
        after, completed = frontier.extend(batch)
        tiles |= tile_updates(start, batch, loaded, completed if with_completed else None)
        frontier = after
    return frontier, tiles


def test_the_empty_tree_has_the_published_root():
    assert Frontier().root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_published(size):
    assert Frontier().extend(LEAVES[:size])[0].root().hex() == ROOTS[size - 1]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_those_published(index, size):
    _, tiles = grown(LEAVES, [])
    proof = inclusion_proof(index, size, tiles)
    assert [node.hex() for node in proof] == INCLUSION[index, size]
    assert verify_inclusion(index, size, LEAVES[index], proof, bytes.fromhex(ROOTS[size - 1]))


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_consistency_proofs_are_those_published(old, new):
    _, tiles = grown(LEAVES, [])
    proof = consistency_proof(old, new, tiles)
    assert [node.hex() for node in proof] == CONSISTENCY[old, new]
    assert verify_consistency(old, new, bytes.fromhex(ROOTS[old - 1]), bytes.fromhex(ROOTS[new - 1]), proof)


@given(st.data())
@settings(max_examples=60)
def test_any_split_into_batches_gives_the_same_tree(data):
    count = data.draw(st.integers(0, 1200))
    leaves = numbered(count)
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=6)))
    frontier, tiles = grown(leaves, cuts)
    assert frontier.size == count
    assert frontier.root() == root_of(leaves)
    assert tiles == grown(leaves, [], with_completed=False)[1]
    assert b"".join(tiles.get((0, index), b"") for index in range(5)) == b"".join(leaves)
    for at in range(count // 256):
        assert tiles[8, 0][at * 32 : at * 32 + 32] == root_of(leaves[at * 256 : at * 256 + 256])


@given(st.data())
@settings(max_examples=60)
def test_what_extend_says_it_completed_is_every_perfect_node_that_is_new(data):
    before = data.draw(st.integers(0, 300))
    added = data.draw(st.integers(0, 300))
    leaves = numbered(before + added)
    _, completed = Frontier().extend(leaves[:before])[0].extend(leaves[before:])
    expected = []
    for level in range(12):
        width = 1 << level
        new = range(before // width, (before + added) // width)
        expected.append([root_of(leaves[index * width : (index + 1) * width]) for index in new])
    while expected and not expected[-1]:
        expected.pop()
    assert completed == expected


@given(st.data())
@settings(max_examples=60)
def test_proofs_from_needed_tiles_alone_equal_the_definition(data):
    total = data.draw(st.integers(1, 700))
    size = data.draw(st.integers(1, total))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    leaves = numbered(total)
    _, tiles = grown(leaves, [])

    some = {tile: tiles[tile] for tile in tiles_for_inclusion(index, size)}
    proof = inclusion_proof(index, size, some)
    assert proof == path_of(index, leaves[:size])
    assert verify_inclusion(index, size, leaves[index], proof, root_of(leaves[:size]))

    some = {tile: tiles[tile] for tile in tiles_for_consistency(old, size)}
    proof = consistency_proof(old, size, some)
    assert proof == subproof_of(old, leaves[:size], True)
    assert verify_consistency(old, size, root_of(leaves[:old]), root_of(leaves[:size]), proof)


def test_a_tree_with_tiles_on_three_levels_proves_its_leaves():
    count = 256 * 256 + 300
    leaves = numbered(count)
    frontier, tiles = grown(leaves, [1, 255, 40_000, 65_535, 65_537])
    assert {level for level, _ in tiles} == {0, 8, 16}
    for index in (0, 255, 256, 65_535, 65_536, count - 1):
        assert len(tiles_for_inclusion(index, count)) <= 5
        assert verify_inclusion(index, count, leaves[index], inclusion_proof(index, count, tiles), frontier.root())
    for old in (1, 256, 65_536, 65_537, count):
        old_root = Frontier().extend(leaves[:old])[0].root()
        assert verify_consistency(old, count, old_root, frontier.root(), consistency_proof(old, count, tiles))


@given(st.data())
@settings(max_examples=150)
def test_a_changed_claim_of_inclusion_is_not_believed(data):
    size = data.draw(st.integers(1, 40))
    index = data.draw(st.integers(0, size - 1))
    leaves = numbered(size)
    _, tiles = grown(leaves, [])
    claim = (index, size, leaves[index], inclusion_proof(index, size, tiles), root_of(leaves))
    assert verify_inclusion(*claim)
    assert not verify_inclusion(*changed(data, claim, leaves))


def changed(data, claim, leaves):
    index, size, leaf, proof, root = claim
    match data.draw(st.sampled_from(["index", "outside", "leaf", "root", "longer", "shorter", "node"])):
        case "index" if size > 1:
            return (data.draw(st.integers(0, size - 1).filter(lambda other: other != index)), size, leaf, proof, root)
        case "leaf":
            return (index, size, leaf_hash(b"another"), proof, root)
        case "root":
            return (index, size, leaf, proof, leaf_hash(b"another"))
        case "longer":
            return (index, size, leaf, [*proof, leaves[0]], root)
        case "shorter" if proof:
            return (index, size, leaf, proof[:-1], root)
        case "node" if proof:
            at = data.draw(st.integers(0, len(proof) - 1))
            return (index, size, leaf, [*proof[:at], leaf_hash(b"another"), *proof[at + 1 :]], root)
        case _:
            return (size, size, leaf, proof, root)


@given(st.data())
@settings(max_examples=150)
def test_a_rewritten_past_is_not_consistent(data):
    new = data.draw(st.integers(2, 40))
    old = data.draw(st.integers(1, new - 1))
    leaves = numbered(new)
    past = leaves[:old]
    past[data.draw(st.integers(0, old - 1))] = leaf_hash(b"rewritten")
    _, tiles = grown(leaves, [])
    proof = consistency_proof(old, new, tiles)
    assert not verify_consistency(old, new, root_of(past), root_of(leaves), proof)
    assert not verify_consistency(old, new, root_of(leaves[:old]), root_of(past), proof)
    assert not verify_consistency(old, new, root_of(leaves[:old]), root_of(leaves), [*proof, leaves[0]])
    assert not verify_consistency(old, new, root_of(leaves[:old]), root_of(leaves), proof[:-1])


def test_an_inner_node_is_not_believed_to_be_a_leaf():
    inner, sibling = node_hash(*LEAVES[:2]), node_hash(*LEAVES[2:4])
    assert node_hash(inner, sibling) == root_of(LEAVES[:4])
    assert not verify_inclusion(0, 4, inner, [sibling], root_of(LEAVES[:4]))


def test_a_root_of_another_depth_is_not_believed_to_be_the_larger_tree():
    assert verify_consistency(1, 2, LEAVES[0], root_of(LEAVES[:2]), [LEAVES[1]])
    assert not verify_consistency(1, 4, LEAVES[0], root_of(LEAVES[:2]), [LEAVES[1]])


def test_every_tree_begins_with_the_empty_one_and_with_itself():
    root = root_of(LEAVES)
    assert consistency_proof(0, 8, {}) == consistency_proof(8, 8, {}) == []
    assert verify_consistency(0, 8, EMPTY_ROOT, root, [])
    assert not verify_consistency(0, 8, root, root, [])
    assert verify_consistency(8, 8, root, root, [])
    assert not verify_consistency(8, 8, EMPTY_ROOT, root, [])
    assert not verify_consistency(8, 7, root, root, [])


@given(st.integers(0, 3000))
def test_a_frontier_survives_its_bytes(count):
    frontier = Frontier(count, tuple(numbered(count.bit_count())))
    assert Frontier.from_bytes(frontier.to_bytes()) == frontier


@pytest.mark.parametrize("data", [b"", b"1234567", bytes(8 + 32), bytes(7) + b"\x03" + bytes(32), bytes(8 + 31)])
def test_bytes_that_are_no_frontier_are_refused(data):
    with pytest.raises(ValueError, match="frontier"):
        Frontier.from_bytes(data)


def test_a_partial_tile_that_is_missing_or_stale_is_refused():
    leaves = numbered(300)
    _, tiles = grown(leaves[:270], [])
    with pytest.raises(ValueError, match="tile 0/1 of a tree of 270 leaves has 14 hashes, not 0 bytes"):
        tile_updates(270, leaves[270:], {})
    with pytest.raises(ValueError, match="tile 0/1"):
        tile_updates(270, leaves[270:], {(0, 1): tiles[0, 1][:-32]})


def test_a_proof_beyond_the_stored_tree_is_refused():
    _, tiles = grown(LEAVES, [])
    with pytest.raises(ValueError, match="has no leaf 8"):
        inclusion_proof(8, 8, tiles)
    with pytest.raises(ValueError, match="too short"):
        inclusion_proof(0, 9, tiles)
    with pytest.raises(ValueError, match="cannot begin"):
        consistency_proof(9, 8, tiles)
    with pytest.raises(KeyError):
        inclusion_proof(0, 8, {})
