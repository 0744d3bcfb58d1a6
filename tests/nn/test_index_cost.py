"""A memory of codes, and what a multi-index search would look at, against enumeration."""

import numpy as np
import pytest
import torch

from texthash.hamming.codes import pack
from texthash.hamming.multi_index import BitOrder, Tables
from texthash.nn.index_cost import CodeMemory, block_masks, bucket_push, farthest, nearest_radius, pull

BITS = 24


def signs(*shape, seed=0):
    return torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)).float() * 2 - 1


def test_a_memory_holds_the_documents_seen_last_each_once():
    memory, codes = CodeMemory(10, 8, size=4), signs(10, 8)
    assert len(memory) == 0
    for rows in ([3, 1], [7], [1, 5], [0]):
        memory.write(torch.tensor(rows), codes[rows] if rows != [1, 5] else -codes[rows])
    assert len(memory) == 4
    assert set(memory.rows.tolist()) == {1, 7, 5, 0}, "3 was the first in"
    assert memory.place[[3, 2]].tolist() == [-1, -1]
    for row in (7, 0):
        assert torch.equal(memory.codes[memory.place[row]].float(), codes[row])
    assert torch.equal(memory.codes[memory.place[1]].float(), -codes[1]), "its latest code"
    assert memory.rows[memory.place[[1, 7, 5, 0]]].tolist() == [1, 7, 5, 0]


def test_a_batch_larger_than_the_memory_leaves_its_last_documents():
    memory = CodeMemory(10, 8, size=3)
    memory.write(torch.arange(6), signs(6, 8))
    assert set(memory.rows.tolist()) == {3, 4, 5}


@pytest.mark.parametrize("blocks", [1, 2, 3, 5])
def test_blocks_are_those_of_the_tables(blocks):
    """Two codes that differ in one bit agree in all blocks but one."""
    masks = block_masks(BITS, blocks)
    assert torch.equal(masks.sum(dim=0), torch.ones(BITS))
    codes = np.concatenate([np.zeros((1, BITS), np.uint8), np.eye(BITS, dtype=np.uint8)])
    words = BitOrder(np.arange(BITS)).words(pack(codes))
    tables = Tables.build(words, BITS, blocks)
    for bit in range(BITS):
        value = int(words[0, bit + 1])
        differ = [bool(value >> int(s) & (2 ** int(w) - 1)) for s, w in zip(tables.starts, tables.widths, strict=True)]
        assert differ == (masks[:, bit] > 0).tolist()


def test_the_radius_is_that_of_the_kth_nearest():
    distances = torch.tensor([[3.0, 1.0, torch.inf, 2.0], [torch.inf, 5.0, 4.0, 4.0]])
    assert nearest_radius(distances, 2).tolist() == [2.0, 4.0]
    assert nearest_radius(distances, 3).tolist() == [3.0, 5.0]
    assert nearest_radius(distances, 9).tolist() == [3.0, 5.0], "fewer documents than k: the last of them"


def test_the_farthest_of_those_allowed():
    distances = torch.tensor([[3.0, 9.0, 5.0], [1.0, 2.0, 3.0], [4.0, 4.0, 1.0]])
    allowed = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    places, found = farthest(distances, allowed)
    assert found.tolist() == [True, False, True]
    assert places[0] == 2
    drawn = {int(farthest(distances, allowed, torch.Generator().manual_seed(s), jitter=0.1)[0][2]) for s in range(30)}
    assert drawn == {0, 1}, "equal ones take turns"


def test_codes_are_pushed_out_of_a_bucket_and_no_further():
    """Two blocks of 4: at radius 1, c' counts while it differs in at most one bit of the block."""
    mask = block_masks(8, 2)[[0, 0, 0]]
    anchor = torch.ones(3, 8)
    other = torch.ones(3, 8)
    block = mask[0].nonzero()[:, 0]
    other[1, block[0]] = -1
    other[2, block[:2]] = -1
    other[:, (1 - mask[0]).nonzero()[:, 0]] = -1  # other blocks do not matter
    other.requires_grad_()
    pushed = bucket_push(anchor, other, mask, torch.tensor([1, 1, 1]))
    assert pushed.tolist() == [4.0, 2.0, 0.0]
    pushed.sum().backward()
    assert torch.equal(other.grad, torch.cat([mask[:2], torch.zeros(1, 8)]))


def test_costly_neighbours_are_pulled_in_until_they_are_near():
    anchor, other = torch.ones(2, 8), torch.ones(2, 8)
    other[0, :3] = -1
    other[1, :2] = -1
    other.requires_grad_()
    pulled = pull(anchor, other, threshold=3)
    assert pulled.tolist() == [-2.0, 0.0]
    pulled.sum().backward()
    assert torch.equal(other.grad, torch.tensor([[-1.0] * 8, [0.0] * 8]))
