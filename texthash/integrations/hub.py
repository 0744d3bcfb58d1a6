"""Models on the Hugging Face Hub, with a model card (``pip install "texthash[hub]"``)."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

from texthash.errors import UsageError
from texthash.models.files import MODEL_FILES
from texthash.models.hasher import Hasher

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def push_to_hub(
    model: Hasher,
    repo_id: str,
    *,
    figures: Mapping[str, float] | None = None,
    license: str | None = None,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Upload a model and its card to the Hub, in one commit, and return the id of the commit.

    Args:
        model: Trained model.
        repo_id: Repository ``owner/name``; it is made if it does not exist.
        figures: Metrics by name for the card, with the corpus in the name, such as ``{"P@100 on agnews": 0.85}``; they
            are written as they are given, and none is computed here.
        license: Licence of the model as the Hub knows it, such as ``apache-2.0``; that of the corpus may bind it.
        private: Whether a repository that is made is private.
        revision: Branch; None for the main one.
        token: Token of the Hub; None for that of ``huggingface-cli login`` or ``HF_TOKEN``.

    Raises:
        UsageError: The repository is not of the form ``owner/name``.
        huggingface_hub.errors.HfHubHTTPError: The Hub refused the upload.
    """
    _check_repository(repo_id)
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory(prefix="texthash-") as folder:
        saved = model.save(Path(folder, "model"))
        (saved / "README.md").write_text(model_card(model, repo_id, figures, license), encoding="utf-8")
        api.create_repo(repo_id, private=private, exist_ok=True)
        title = f"Upload {type(model.method).card.name} of {model.bits} bits"
        done = api.upload_folder(repo_id=repo_id, folder_path=saved, commit_message=title, revision=revision)
    return done.oid


def from_pretrained(repo_id: str, *, revision: str | None = None, token: str | None = None) -> Hasher:
    """Download a model that :func:`push_to_hub` uploaded, or take it from the cache of the Hub.

    Args:
        repo_id: Repository ``owner/name``.
        revision: Branch, tag or commit; None for the main branch.
        token: Token of the Hub; None for that of ``huggingface-cli login`` or ``HF_TOKEN``.

    Raises:
        UsageError: The repository is not of the form ``owner/name``.
        ModelMismatchError: Its files are missing or do not belong together.
        huggingface_hub.errors.HfHubHTTPError: There is no such repository, or the Hub refused it.
    """
    _check_repository(repo_id)
    return Hasher.load(snapshot_download(repo_id, revision=revision, token=token, allow_patterns=list(MODEL_FILES)))


def model_card(
    model: Hasher, repo_id: str, figures: Mapping[str, float] | None = None, license: str | None = None
) -> str:
    """Return the card of a model in the form of the Hub: its method, corpus, deviations, figures and use."""
    card = type(model.method).card
    header = ["library_name: texthash", "tags: [text-hashing, binary-codes, semantic-hashing]"]
    header += [] if license is None else [f"license: {json.dumps(license)}"]
    lines = ["---", *header, "---", "", f"# {repo_id}", ""]
    lines += [
        f"Binary codes of {model.bits} bits for texts, by `{card.name}` (*{card.title}*, {card.citation}, "
        f"{card.venue}), trained by texthash on the corpus `{model.corpus}`, edition "
        f"`{model.edition.name}`.",
        "",
        "```python",
        "from texthash.integrations.hub import from_pretrained",
        "",
        f'model = from_pretrained("{repo_id}")',
        'codes = model.encode(["a text"])  # uint8 [1, bits / 8], most significant bit first',
        "```",
        "",
        f"* The implementation rests on: {card.fidelity}.",
        *[f"* Differs from its source: {deviation}" for deviation in card.deviations],
        f"* Vocabulary: {len(model.vocabulary)} words. A text without any of them has no meaningful code.",
        f"* Hyper-parameters: {json.dumps(dict(model.method.hyperparameters), default=str)}",
    ]
    if figures:
        lines += ["", "| metric | value |", "| --- | --- |"]
        lines += [f"| {_cell(name)} | {value:.4f} |" for name, value in figures.items()]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Return a text as a cell of a Markdown table: on one line, without HTML and without bars."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").split())


def _check_repository(repo_id: str) -> None:
    if not _REPOSITORY.fullmatch(repo_id):
        raise UsageError(f"{repo_id!r} is not a repository of the Hub.", "give owner/name.")
