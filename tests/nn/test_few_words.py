"""Documents of which a few words are left: how many, which, and at which length."""

import torch

from texthash.nn.bags import Words
from texthash.nn.few_words import LEAST, few_words


def documents(*sizes: int) -> Words:
    document = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    offsets = torch.tensor([0, *sizes[:-1]]).cumsum(0)
    values = torch.linspace(0.5, 2.0, len(document))
    return Words(torch.arange(len(document)), offsets, values, document)


def test_words_that_are_left_keep_their_proportions_and_a_document_its_length():
    bag = documents(40, 0, 2, 7)
    left = few_words(bag, 1.0, torch.Generator().manual_seed(3))
    for number, size in enumerate((40, 0, 2, 7)):
        own = bag.document == number
        kept = own & (left > 0)
        assert min(size, LEAST) <= int(kept.sum()) <= size
        torch.testing.assert_close(left[own].norm(), bag.values[own].norm())
        if size:
            ratios = left[kept] / bag.values[kept]
            torch.testing.assert_close(ratios, ratios[:1].expand_as(ratios))


def test_sizes_are_even_on_a_logarithmic_scale_and_words_equally_likely():
    generator = torch.Generator().manual_seed(0)
    bag = documents(48)
    left = torch.stack([few_words(bag, 1.0, generator) > 0 for _ in range(4000)])
    sizes = left.sum(1).double()
    # 3 * 16^u: a quarter of the draws below each power of 2, of the number before it is rounded up
    for bound, share in ((6, 0.25), (12, 0.5), (24, 0.75)):
        assert abs(float((sizes <= bound).double().mean()) - share) < 0.03
    often = left.double().mean(0)
    assert float(often.max() - often.min()) < 0.06, "a place in the document makes no difference"


def test_the_probability_is_of_documents_and_the_generator_decides():
    bag = documents(*[20] * 2000)
    left = few_words(bag, 0.3, torch.Generator().manual_seed(1))
    whole = torch.zeros(2000).index_add_(0, bag.document, (left > 0).float()) == 20
    assert abs(float(whole.float().mean()) - 0.7) < 0.05
    assert torch.equal(left, few_words(bag, 0.3, torch.Generator().manual_seed(1)))
    assert torch.equal(few_words(bag, 0.0), bag.values)
