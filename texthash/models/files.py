"""Files of a saved model, and what they say of it, read without the model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from texthash.config import Bits, Edition
from texthash.corpora.prepared.corpus import CorpusShape
from texthash.corpora.words import Vocabulary
from texthash.errors import ModelMismatchError
from texthash.io.copies import at_hand
from texthash.io.digests import size_and_sha256
from texthash.io.records import DIGEST, FileName, Sha256, read_record, typed
from texthash.paths import as_path, is_address

FORMAT_VERSION = 1
RECORD, WEIGHTS, VOCABULARY = "hasher.json", "model.safetensors", "vocabulary.json"
TRAINED = "hasher"  # folder of the saved model in that of a trained one, beside its evaluation and report
RESTORE = "restore the whole directory as it was saved, or train the model again."
DIRECT = "direct"  # member of the weights' metadata: the form in which numpy encodes a few texts, as JSON
MODEL_FILES = (RECORD, VOCABULARY, WEIGHTS)
_DATA_FILES = (VOCABULARY, WEIGHTS)  # those of which the record, which is sealed itself, contains digests


@dataclass(frozen=True)
class HasherRecord:
    """Content of ``hasher.json``.

    Attributes:
        format: Version of the record.
        method: Registry name of the method.
        params: Hyper-parameters of the method.
        bits: Width of the codes.
        shape: Sizes for which the method was built.
        corpus: Name of the corpus on which the method was fitted.
        edition: Preparation of that corpus.
        vocabulary_hash: Hash of the vocabulary.
        serves: Input that a served text needs.
        files: SHA-256 digests of the other files by name; None in models of version 0.1.
    """

    format: int
    method: str
    params: dict[str, Any]
    bits: Bits
    shape: CorpusShape
    corpus: FileName
    edition: Edition
    vocabulary_hash: Sha256
    serves: str = ""
    files: dict[FileName, Sha256] | None = None


def age_of(number: int, created: str, modified: float) -> tuple[int, str, float]:
    """Return what puts trained models in the order of their age.

    Args:
        number: Place that the record tells, from 1; 0 in records of earlier versions.
        created: Time of the record, in ISO 8601; empty in those.
        modified: Time of the file of the record, which counts for those alone, as copies have times of their own.
    """
    return number, created, 0.0 if number else modified


def registered_name(corpus: str, edition: str, bits: int) -> str:
    """Return the name of the registered model of a corpus, edition and width, whose versions compete to be champion.

    It begins with the name of this project, since a tracking store may serve others too, and says nothing of methods:
    versions of all of them compete, and each has the tag ``method``.
    """
    return f"texthash-{corpus}-{edition}-{bits}"


def digest(directory: str | Path) -> str:
    """Return the SHA-256 digest of a saved model's files. Two models with one digest give the same codes.

    Args:
        directory: Directory of the model, or its address in an object store.
    """
    root, total = as_path(directory), hashlib.sha256()
    for name in MODEL_FILES:
        total.update(hashlib.sha256((root / name).read_bytes()).digest())
    return total.hexdigest()


def data_digests(directory: Path) -> dict[str, str]:
    """Return the SHA-256 digests, by name, of the files of a saved model that its record describes."""
    return {name: size_and_sha256(directory / name)[1] for name in _DATA_FILES}


def check_data(directory: Path, record: HasherRecord) -> None:
    """Compare the files of a saved model with the digests in its record, which lists all of them.

    Raises:
        ModelMismatchError: A file is not the one that was saved.
    """
    if record.files is None:
        return
    for name, found in data_digests(directory).items():
        expected = record.files.get(name)
        if found != expected:
            raise ModelMismatchError(
                f"{directory / name} is damaged, or of another model: its SHA-256 digest is {found}, {RECORD} has "
                f"{expected or 'none of this file'}.",
                RESTORE,
            )


def local_files(directory: str | Path) -> Path:
    """Return the directory of a saved model on this node: itself, or the copy of a published one.

    Raises:
        ModelMismatchError: No model has been published at the address.
    """
    try:
        return at_hand(as_path(directory) if is_address(directory) else Path(directory))
    except FileNotFoundError:
        raise ModelMismatchError(
            f"{directory} is no published model.", "name one that a release or a training has published there."
        ) from None


def read_hasher_record(directory: Path) -> HasherRecord:
    """Read the record of a saved model, without the model.

    Raises:
        ModelMismatchError: Files are missing, or the record is broken or of another format.
    """
    missing = [name for name in (RECORD, WEIGHTS, VOCABULARY) if not (directory / name).is_file()]
    if missing:
        raise ModelMismatchError(
            f"{directory} is no saved model: {', '.join(missing)} missing.", "name a directory that Hasher.save wrote."
        )
    path = directory / RECORD
    members = read_record(path, RESTORE, ModelMismatchError)
    if members.get("format", FORMAT_VERSION) != FORMAT_VERSION:
        raise ModelMismatchError(
            f"{directory} has format {members['format']!r}, this version reads {FORMAT_VERSION}.",
            "use the version of texthash that wrote it, or train the model again.",
        )
    record = typed(HasherRecord, members, path, RESTORE, error=ModelMismatchError)
    if record.files is None and DIGEST in members:  # Version 0.1 wrote neither.
        raise ModelMismatchError(f"{path} is broken: it lists no files, of which it has to have digests.", RESTORE)
    return record


def read_vocabulary(directory: Path, record: HasherRecord) -> Vocabulary:
    """Read the vocabulary of a saved model.

    Raises:
        ModelMismatchError: It is missing or broken, or not that of the record.
    """
    vocabulary = Vocabulary.read(directory / VOCABULARY, RESTORE, ModelMismatchError)
    if vocabulary.hash != record.vocabulary_hash:
        raise ModelMismatchError(
            f"{directory}: vocabulary {vocabulary.hash[:12]} is not the model's {record.vocabulary_hash[:12]}.",
            RESTORE,
        )
    if record.shape.vocabulary != len(vocabulary):
        raise ModelMismatchError(
            f"{directory}: the model was built for {record.shape.vocabulary} words, its vocabulary has "
            f"{len(vocabulary)}.",
            RESTORE,
        )
    return vocabulary
