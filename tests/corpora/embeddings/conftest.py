"""A very small sentence encoder in a folder, and a corpus that no other test encodes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from texthash.config import CorpusConfig
from texthash.corpora.preparation.steps import prepare_corpus
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.paths import StateDir


def save_encoder(folder: Path, width: int, seed: int) -> Path:
    """Mean of random vectors of words: loaded and called as any sentence encoder is."""
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="pip install 'texthash[text]'")
    import torch
    from sentence_transformers.models import StaticEmbedding
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ("the", "of", "a", "data", "array", "return", "frame", "index", "[UNK]")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    weights = torch.randn(len(words), width, generator=torch.Generator().manual_seed(seed))
    module = StaticEmbedding(tokenizer, embedding_weights=weights)
    sentence_transformers.SentenceTransformer(modules=[module], device="cpu").save(str(folder))
    return folder


def save_transformer(
    folder: Path, width: int = 8, known: tuple[str, ...] = ("the", "of", "data", "array", "frame", "index")
) -> Path:
    """One random layer of BERT with mean pooling: an encoder that has a limit of word pieces."""
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="pip install 'texthash[text]'")
    import torch
    from sentence_transformers.models import Pooling, Transformer
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *known)
    inner = folder.with_name(f"{folder.name}-inner")
    inner.mkdir(parents=True)
    pieces = BertWordPieceTokenizer({word: number for number, word in enumerate(words)})._tokenizer
    special = {f"{name[1:-1].lower()}_token": name for name in words[:5]}
    PreTrainedTokenizerFast(tokenizer_object=pieces, **special).save_pretrained(inner)
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 32}
    BertModel(BertConfig(vocab_size=len(words), hidden_size=width, **sizes)).save_pretrained(inner)
    modules = [Transformer(str(inner), max_seq_length=16), Pooling(width)]
    sentence_transformers.SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoders") / "tiny", width=8, seed=0)


@pytest.fixture
def corpus_of(small_config: CorpusConfig, tmp_path: Path) -> Callable[[int], PreparedCorpus]:
    """Prepares the first documents of the small corpus, each time anew."""
    number = itertools.count()

    def prepared(documents: int) -> PreparedCorpus:
        config = small_config.model_copy(update={"limit": documents})
        return PreparedCorpus.open(prepare_corpus(config, StateDir(tmp_path / f"home-{next(number)}")))

    return prepared
