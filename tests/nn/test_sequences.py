"""Sequence encoder and decoder: padding is not seen, and likelihoods of drawn places have the mean of all."""

import torch

from texthash.nn.sequences import SequenceDecoder, SequenceEncoder


def texts():
    tokens = torch.randint(0, 50, (4, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(9) < torch.tensor([9, 5, 1, 0])[:, None]
    return torch.where(mask, tokens, 0), mask


def test_padding_and_the_company_do_not_count():
    torch.manual_seed(0)
    encoder = SequenceEncoder(50, 8, 16, 3, 12, 0.5).eval()
    tokens, mask = texts()
    together = encoder(tokens, mask.float())
    for row, length in enumerate([9, 5, 1]):
        alone = encoder(tokens[row : row + 1, :length], mask[row : row + 1, :length].float())
        torch.testing.assert_close(alone[0], together[row])
    other = torch.where(mask, tokens, 7)
    torch.testing.assert_close(encoder(other, mask.float()), together)


def test_the_order_of_words_counts():
    torch.manual_seed(0)
    encoder = SequenceEncoder(50, 8, 16, 3, 12, 0.0)
    tokens, mask = texts()
    assert not torch.allclose(encoder(tokens[:1].flip(1), mask[:1].float()), encoder(tokens[:1], mask[:1].float()))


def test_likelihood_of_drawn_places_is_that_of_all_in_the_mean():
    torch.manual_seed(0)
    decoder = SequenceDecoder(6, 50, 8, 16, 10)
    decoder.start_at(torch.arange(1, 51))
    tokens, mask = texts()
    codes = torch.rand(4, 6)
    with torch.no_grad():
        x = decoder(codes)
        assert x.shape == (4, 10, 8)
        log_p = torch.log_softmax(x[:, :9] @ decoder.weight.T + decoder.bias, dim=2)
        expected = (log_p.gather(2, tokens[:, :, None])[..., 0] * mask).sum(dim=1)
        drawn = decoder.log_likelihood(codes, tokens, mask, 5_000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn, expected, rtol=1e-3, atol=0)
    assert drawn[3] == 0


def test_chance_touches_only_how_places_differ():
    torch.manual_seed(0)
    decoder = SequenceDecoder(6, 50, 8, 16, 10)
    decoder.start_at(torch.arange(1, 51))
    torch.nn.init.zeros_(decoder.top.weight)  # the code says the same of each place
    tokens, mask = texts()
    codes = torch.rand(4, 6)
    with torch.no_grad():
        one = decoder.log_likelihood(codes, tokens, mask, 1, torch.Generator().manual_seed(1))
        log_p = torch.log_softmax(decoder(codes)[:, 0] @ decoder.weight.T + decoder.bias, dim=1)
    assert float(log_p.std(dim=0).max()) > 0.01
    torch.testing.assert_close(one, (log_p.gather(1, tokens) * mask).sum(dim=1))


def test_features_of_documents_have_little_in_common_at_the_start():
    torch.manual_seed(0)
    encoder = SequenceEncoder(500, 16, 64, 3, 64, 0.0)
    tokens = torch.randint(0, 500, (200, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pooled = torch.nn.functional.linear(encoder(tokens, torch.ones(200, 40)), torch.randn(32, 64))
    assert float(pooled.mean(dim=0).abs().mean()) < 2 * float(pooled.std(dim=0).mean())
