"""The Merkle tree of RFC 6962 over a service's log: growing it, keeping its nodes in tiles, proving and verifying.

A leaf's place is the event's sequence. Hashes are SHA-256, 32 bytes. A *perfect node* (level, index) is the root of the
complete subtree over the leaves index * 2**level up to (index + 1) * 2**level; once complete it never changes.
A *tile* (level, index), level 0, 8, 16 and so on, is up to 256 neighbouring perfect nodes of that level, joined into
one byte string. Tiles hold every eighth level only: a proof hashes the levels between from one tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

HASH_BYTES = 32
TILE_LEVELS = 8
TILE_WIDTH = 1 << TILE_LEVELS
TILE_BYTES = TILE_WIDTH * HASH_BYTES
EMPTY_ROOT = sha256(b"").digest()

Tile = tuple[int, int]
Tiles = Mapping[Tile, bytes]
Span = tuple[int, int]


def leaf_hash(entry: bytes) -> bytes:
    """RFC 6962, 2.1: a leaf can never be mistaken for an inner node, since their prefixes differ."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """What is needed to grow a tree: its size and the roots of its perfect subtrees, the largest (leftmost) first."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ValueError(f"a frontier of size {self.size} does not have {len(self.peaks)} peaks")
        if any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise ValueError(f"a peak has {HASH_BYTES} bytes")

    def extend(self, leaf_hashes: Sequence[bytes]) -> tuple[Frontier, list[list[bytes]]]:
        """Appends leaves. Also gives the perfect nodes that this completed: one list a level from 0 up, in order.

        The first node of the list of level n has the index `self.size >> n`.
        """
        waiting = list(self.peaks)
        peaks: list[bytes] = []
        completed: list[list[bytes]] = []
        nodes = list(leaf_hashes)
        level_size = self.size
        while nodes or waiting:
            completed.append(nodes)
            if level_size & 1:
                nodes = [waiting.pop(), *nodes]
            if len(nodes) & 1:
                peaks.append(nodes[-1])
            pairs = iter(nodes)
            # This line is where sealing spends its time: the call of node_hash is spared on purpose.
            nodes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=False)]
            level_size >>= 1
        while completed and not completed[-1]:
            completed.pop()
        return Frontier(self.size + len(leaf_hashes), tuple(reversed(peaks))), completed

    def root(self) -> bytes:
        """The tree head of RFC 6962 over all leaves so far."""
        return _folded(self.peaks) if self.peaks else EMPTY_ROOT

    def to_bytes(self) -> bytes:
        return self.size.to_bytes(8, "big") + b"".join(self.peaks)

    @classmethod
    def from_bytes(cls, data: bytes) -> Frontier:
        """Raises ValueError when `data` cannot be a frontier; call `root()` to see that it is the right one."""
        if len(data) < 8 or len(data) % HASH_BYTES != 8:
            raise ValueError(f"{len(data)} bytes are no frontier")
        return cls(int.from_bytes(data[:8], "big"), tuple(_hashes(data[8:])))


def partial_tiles_needed(start_size: int, count: int) -> list[Tile]:
    """The tiles that `tile_updates` must be given when `count` leaves follow the first `start_size`: one a level."""
    needed = []
    level, first = 0, start_size
    while count:
        index, held = divmod(first, TILE_WIDTH)
        if held:
            needed.append((level, index))
        level, first, count = level + TILE_LEVELS, index, (held + count) // TILE_WIDTH
    return needed


def tile_updates(
    start_size: int,
    leaf_hashes: Sequence[bytes],
    partial_tiles: Tiles,
    completed: Sequence[Sequence[bytes]] | None = None,
) -> dict[Tile, bytes]:
    """The tiles to write, whole, when `leaf_hashes` follow the first `start_size` leaves.

    `completed`, from `Frontier.extend` of the same leaves, spares hashing each full tile again; the answer is the same.
    Raises ValueError when a partial tile is missing or does not hold what a tree of `start_size` holds.
    """
    updates: dict[Tile, bytes] = {}
    level, first = 0, start_size
    nodes: Sequence[bytes] = leaf_hashes
    while nodes:
        index, held = divmod(first, TILE_WIDTH)
        before = partial_tiles.get((level, index), b"") if held else b""
        if len(before) != held * HASH_BYTES:
            raise ValueError(
                f"tile {level}/{index} of a tree of {start_size} leaves has {held} hashes, not {len(before)} bytes: "
                "load what `partial_tiles_needed` names, as it was at that size"
            )
        row = before + b"".join(nodes)
        tiles = [row[at : at + TILE_BYTES] for at in range(0, len(row), TILE_BYTES)]
        updates.update(((level, number), tile) for number, tile in enumerate(tiles, start=index))
        level, first = level + TILE_LEVELS, index
        if completed is not None:
            nodes = completed[level] if level < len(completed) else ()
        else:
            nodes = [_tile_root(tile) for tile in tiles if len(tile) == TILE_BYTES]
    return updates


def inclusion_proof(index: int, size: int, tiles: Tiles) -> list[bytes]:
    """The audit path of RFC 6962, 2.1.1, for leaf `index` in the tree of the first `size` leaves, from tiles alone.

    Tiles of a later, larger tree serve too. Raises KeyError with the tile when one of `tiles_for_inclusion` is missing.
    """
    return [_span_root(span, tiles) for span in _inclusion_spans(index, size)]


def consistency_proof(old_size: int, new_size: int, tiles: Tiles) -> list[bytes]:
    """The proof of RFC 6962, 2.1.2, that a tree of `new_size` leaves begins with that of `old_size`; empty for 0.

    Raises KeyError with the tile when one of `tiles_for_consistency` is missing.
    """
    return [_span_root(span, tiles) for span in _consistency_spans(old_size, new_size)]


def tiles_for_inclusion(index: int, size: int) -> set[Tile]:
    return _tiles_of(_inclusion_spans(index, size))


def tiles_for_consistency(old_size: int, new_size: int) -> set[Tile]:
    return _tiles_of(_consistency_spans(old_size, new_size))


def root_at(size: int, tiles: Tiles) -> bytes:
    """The tree head over the first `size` leaves. Raises KeyError when one of `tiles_for_root` is missing."""
    return _span_root((0, size), tiles) if size else EMPTY_ROOT


def tiles_for_root(size: int) -> set[Tile]:
    return _tiles_of([(0, size)])


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows the leaf hash `leaf` at `index` of the tree of `size` leaves. RFC 9162, 2.1.3.2."""
    if not 0 <= index < size:
        return False
    at, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree under `new_root` begins with the one under `old_root`. RFC 9162, 2.1.4.2.

    Every tree begins with the empty one, whose root must still be the right one.
    """
    if not 0 <= old_size <= new_size:
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        # The old tree is one perfect node of the new one, so the proof leaves its root out.
        path.insert(0, old_root)
    if not path:
        return False
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _inclusion_spans(index: int, size: int) -> list[Span]:
    """The spans of leaves whose roots make the audit path, from the leaf up."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    spans: list[Span] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _left_size(end - begin)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin = middle
    return spans[::-1]


def _consistency_spans(old_size: int, new_size: int) -> list[Span]:
    if not 0 <= old_size <= new_size:
        raise ValueError(f"a tree of {new_size} leaves cannot begin with one of {old_size}")
    if old_size in (0, new_size):
        return []
    spans: list[Span] = []
    begin, end = 0, new_size
    while end != old_size:
        middle = begin + _left_size(end - begin)
        if old_size <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin = middle
    if begin:
        # The reader cannot take this node from the old root: the old tree ends inside the new one's right part.
        spans.append((begin, end))
    return spans[::-1]


def _left_size(size: int) -> int:
    """The largest power of two below `size`: how many leaves the left child of a tree of `size` leaves has."""
    return 1 << ((size - 1).bit_length() - 1)


def _perfect_nodes(span: Span) -> Iterator[tuple[int, int]]:
    """The perfect nodes that make up a span of RFC 6962's recursion, the largest first."""
    begin, end = span
    while begin < end:
        level = (end - begin).bit_length() - 1
        yield level, begin >> level
        begin += 1 << level


def _place(level: int, index: int) -> tuple[Tile, int, int]:
    """Where a perfect node is kept: its tile, the first hash in it and how many hashes lie under the node."""
    above = level % TILE_LEVELS
    tile, offset = divmod(index << above, TILE_WIDTH)
    return (level - above, tile), offset, 1 << above


def _tiles_of(spans: Sequence[Span]) -> set[Tile]:
    return {_place(*node)[0] for span in spans for node in _perfect_nodes(span)}


def _span_root(span: Span, tiles: Tiles) -> bytes:
    return _folded([_perfect_hash(level, index, tiles) for level, index in _perfect_nodes(span)])


def _perfect_hash(level: int, index: int, tiles: Tiles) -> bytes:
    tile, offset, width = _place(level, index)
    part = tiles[tile][offset * HASH_BYTES : (offset + width) * HASH_BYTES]
    if len(part) != width * HASH_BYTES:
        raise ValueError(f"tile {tile[0]}/{tile[1]} is too short: the tree is smaller than the proof's size says")
    return _tile_root(part)


def _tile_root(hashes: bytes) -> bytes:
    """The root over a power of two of hashes."""
    nodes = _hashes(hashes)
    while len(nodes) > 1:
        pairs = iter(nodes)
        nodes = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs, strict=True)]
    return nodes[0]


def _hashes(data: bytes) -> list[bytes]:
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def _folded(peaks: Sequence[bytes]) -> bytes:
    """Joins the roots of perfect subtrees from the right, as RFC 6962 splits a tree from the left."""
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root
