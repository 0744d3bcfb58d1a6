"""Card of an edition: the content of a prepared corpus, and its differences from the published counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from texthash.corpora.corpus_record import CorpusRecord
from texthash.corpora.document import SPLITS
from texthash.corpora.prepared.corpus import PreparedCorpus
from texthash.corpora.prepared.manifest import Manifest


def card(corpus: PreparedCorpus, record: CorpusRecord | None) -> dict[str, Any]:
    """Summarise a prepared corpus.

    Args:
        corpus: Prepared corpus.
        record: Published facts about the corpus; None for a user's own.

    Returns:
        ``edition``, ``path``, ``documents`` by split, ``queries`` by split (of pair corpora), ``judged``, the queries
        with a relevant document by split (of test collections), ``vocabulary`` and ``labels`` (numbers),
        ``multi_label``, ``dropped`` and ``remarks`` by reason, ``encoded`` (columns of the text, for a user's own
        corpus), ``warnings``, ``canonical`` (counts of the record, or None) and ``explanation``, a list of sentences.
    """
    manifest = corpus.manifest
    known = record is not None and record.documents is not None
    return {
        "name": manifest.name,
        "edition": manifest.edition,
        "path": str(corpus.path),
        "documents": {split: manifest.documents[split] for split in SPLITS},
        "queries": {split: manifest.pairs[split].queries for split in SPLITS if split in manifest.pairs},
        "judged": manifest.judged,
        "vocabulary": len(corpus.vocabulary),
        "labels": len(manifest.label_names),
        "multi_label": manifest.multi_label,
        "dropped": manifest.dropped,
        "remarks": manifest.remarks,
        "encoded": _columns(manifest),
        "warnings": manifest.warnings,
        "canonical": canonical(record) if record is not None and known else None,
        "explanation": explain(manifest, record) if record is not None and known else [],
    }


def _columns(manifest: Manifest) -> list[str]:
    if manifest.judged:
        return ["title", "text"]
    return list(manifest.config.text) if manifest.config.path is not None else []


def canonical(record: CorpusRecord) -> dict[str, Any]:
    """Return the published counts of a corpus."""
    return {"documents": record.documents, "labels": record.labels, "splits": dict(record.splits)}


def explain(manifest: Manifest, record: CorpusRecord) -> list[str]:
    """Explain how the counts of an edition follow from the published ones, which the record has to state."""
    whole = record.documents or 0
    outside = {reason: count for reason, count in manifest.dropped.items() if reason in record.excluded_reasons}
    left_out = {reason: count for reason, count in manifest.dropped.items() if reason not in record.excluded_reasons}
    kept = sum(manifest.documents.values())
    counted = kept + sum(left_out.values())
    found = []
    if counted < whole and manifest.config.limit is not None:
        found.append(f"corpus.limit: {counted:,} of the {whole:,} documents were read.")
    elif counted < whole:
        found.append(f"the source holds only {counted:,} of the {whole:,} documents.")
    elif counted > whole:
        found.append(f"the source holds {counted:,} documents, more than the {whole:,} that are published.")
    start = f"{counted:,} {'canonical' if counted == whole else 'read'}"
    found.append(f"{' - '.join([start, *_reasons(left_out)])} = {kept:,} kept.")
    if outside:
        found.append(f"not counted as of the corpus: {', '.join(_reasons(outside))}.")
    if record.labels is not None and len(manifest.label_names) != record.labels:
        chosen = manifest.config.edition.label_set
        why = f"the set {chosen}" if chosen else "the others are on no document that was kept"
        found.append(f"{len(manifest.label_names)} of {record.labels} labels: {why}.")
    return found


def render(facts: Mapping[str, Any]) -> str:
    """Format a card as lines of text."""
    splits = _splits(facts["documents"])
    lines = [
        f"{facts['name']}/{facts['edition']}: {sum(facts['documents'].values()):,} documents ({splits}), "
        f"{facts['vocabulary']:,} words, {facts['labels']:,} labels{' (several a document)' * facts['multi_label']}"
    ]
    if facts["queries"]:
        lines.append(f"  questions: {_splits(facts['queries'])}")
    if facts["judged"]:
        lines.append(f"  queries with a relevant document: {_splits(facts['judged'])}")
    lines += [_encoded(facts["encoded"])] if facts["encoded"] else []
    lines += [f"  {sentence}" for sentence in facts["explanation"]]
    if facts["canonical"] is None:
        lines += [f"  left out: {reason}" for reason in _reasons(facts["dropped"])]
    lines += [f"  kept with a remark: {remark}" for remark in _reasons(facts["remarks"])]
    lines += [f"  warning: {warning}" for warning in facts["warnings"]]
    return "\n".join(lines)


def _encoded(columns: list[str]) -> str:
    titles = (
        "" if "title" in columns else "; titles are shown and never encoded (corpus.text=[title,text] encodes them)"
    )
    return f"  encoded: {', '.join(columns)}{titles}"


def _splits(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count:,}" for split, count in counts.items())


def _reasons(counts: Mapping[str, int]) -> list[str]:
    return [f"{count:,} ({reason})" for reason, count in counts.items() if count]
