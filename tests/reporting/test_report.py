"""Plots and report: what they show, in which form, and what they refuse."""

from __future__ import annotations

import base64
import dataclasses
import re
import struct
import sys
import warnings
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from texthash.config import Config, EvaluationConfig, parse_config
from texthash.errors import UsageError
from texthash.evaluation.protocol import EvaluationProtocol
from texthash.hamming.codes import pack
from texthash.reporting import plots
from texthash.reporting.page import Page
from texthash.reporting.pareto import Costs, front_figure
from texthash.reporting.report import ReportedRun, report
from texthash.training.loop import EpochReport


class Projection:
    """Random hyperplanes over tf-idf, without any training."""

    def __init__(self, bits, seed=0):
        self.bits, self.seed = bits, seed

    def encode_split(self, split, role="document"):
        vectors = split.matrix()
        planes = np.random.default_rng(self.seed).standard_normal((vectors.shape[1], self.bits)).astype(np.float32)
        return pack(vectors @ planes > 0)


@pytest.fixture(scope="module")
def evaluate(small_corpus):
    protocol = EvaluationProtocol(small_corpus, EvaluationConfig(k=20, curve=(1, 5, 20, 100)))
    return lambda bits, seed=0: protocol.evaluate_validation(Projection(bits, seed))


@pytest.fixture(scope="module")
def evaluation(evaluate):
    return evaluate(16)


def epochs(validated=True):
    return [
        EpochReport(
            stage="pretraining" if number <= 2 else "codes",
            epoch=number if number <= 2 else number - 2,
            epochs=3,
            number=number,
            terms={"reconstruction": 100.0 / number, **({"kl": 0.1 * number} if number > 2 else {})},
            validation=0.1 * (number % 4) if validated else None,
            seconds=1.0,
            documents_per_second=100.0,
        )
        for number in range(1, 6)
    ]


def curves(figure):
    """Label to (x, y) of every labelled line of the first axes."""
    lines = figure.axes[0].get_lines()
    return {str(line.get_label()): line.get_xydata() for line in lines if not str(line.get_label()).startswith("_")}


def dimensions(data):
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", data[16:24])


# -- plots ------------------------------------------------------------------------------------------------------------


def test_precision_figure_draws_curve_band_and_reference(evaluation):
    figure = plots.precision_figure({"lsh 16": evaluation}, {"tf-idf cosine": 0.7})
    drawn = curves(figure)
    np.testing.assert_allclose(drawn["lsh 16"][:, 1], evaluation.curves["p"])
    assert drawn["tf-idf cosine"].tolist() == [[20, 0.7]]
    band = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(min(evaluation.curves["p_worst"]))
    assert band.max() == pytest.approx(max(evaluation.curves["p_best"]))


def test_many_runs_get_whiskers_in_place_of_bands(evaluation):
    figure = plots.precision_figure({f"run {i}": evaluation for i in range(5)})
    assert not figure.axes[0].collections
    whiskers = [line for line in figure.axes[0].get_lines() if line.get_marker() == "_"]
    assert len(whiskers) == 5
    assert sorted(whiskers[0].get_ydata()) == [evaluation.metrics["p_at_20_worst"], evaluation.metrics["p_at_20_best"]]


def test_lines_differ_without_colour(evaluation):
    figure = plots.pr_figure({f"run {i}": evaluation for i in range(8)})
    lines = [line for line in figure.axes[0].get_lines() if str(line.get_label()).startswith("run")]
    assert len({(line.get_marker(), str(line.get_linestyle()), line._dash_pattern[1] is None) for line in lines}) == 8


def test_references_differ_without_colour(evaluation, evaluate):
    names = [f"reference {number}" for number in range(8)]
    references = dict(zip(names, np.linspace(0.2, 0.5, 8), strict=True))
    for figure in (
        plots.precision_figure({"a": evaluation}, references),
        plots.bits_figure({"a": [evaluation, evaluate(32)]}, references),
        front_figure([Costs("a", 16, 0.4, 2.0, 5000.0, 0.1, 1.0)], "P@100", references),
    ):
        lines = [line for line in figure.axes[0].lines if line.get_label() in names]
        styles = {(str(line._unscaled_dash_pattern), line.get_marker(), str(line.get_color())) for line in lines}
        assert len(lines) == len(styles) == len(names)


def test_pr_figure_draws_the_radius_curve(evaluation):
    drawn = curves(plots.pr_figure({"lsh": evaluation}))["lsh"]
    np.testing.assert_allclose(drawn, np.transpose([evaluation.curves[f"radius_{p}"] for p in ("recall", "precision")]))


def test_bits_figure_averages_seeds(evaluate):
    runs = [evaluate(8), evaluate(16, 0), evaluate(16, 1)]
    figure = plots.bits_figure({"lsh": runs}, {"tf-idf cosine": 0.71})
    assert set(curves(figure)["tf-idf cosine"][:, 1]) == {0.71}, "the line that codes are measured against"
    points = figure.axes[0].containers[0].lines[0].get_xydata()
    assert points[:, 0].tolist() == [8, 16]
    assert points[1, 1] == pytest.approx(np.mean([run.metrics["p_at_20"] for run in runs[1:]]))


def test_balance_figure_puts_the_most_unbalanced_first(evaluation):
    (bars,) = plots.balance_figure(evaluation).axes[0].patches
    heights = np.abs(bars.get_data().values[::2] - bars.get_data().baseline).tolist()
    assert heights == sorted(heights, reverse=True)
    assert sum(heights) == pytest.approx(np.abs(np.array(evaluation.curves["share_of_ones"]) - 0.5).sum())


def test_map_figure_shows_every_query_once(evaluation, small_corpus):
    figure = plots.map_figure(evaluation, small_corpus.label_names)
    areas = np.concatenate([marks.get_sizes() for marks in figure.axes[0].collections])
    assert areas.sum() / 8 == pytest.approx(len(evaluation.query_codes))
    assert len(figure.axes[0].collections) == len(np.unique(evaluation.query_labels))
    assert plots.png(figure) == plots.png(plots.map_figure(evaluation, small_corpus.label_names))


def test_map_figure_of_equal_codes(evaluation):
    collapsed = dataclasses.replace(evaluation, query_codes=np.zeros_like(evaluation.query_codes))
    assert "all codes are equal" in plots.map_figure(collapsed).axes[0].get_xlabel()


def test_umap_is_optional_and_named(evaluation, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UsageError, match="umap-learn is not installed"):
        plots.map_figure(evaluation, layout="umap")


def test_learning_figure_marks_the_best_validation():
    figure = plots.learning_figure(epochs())
    assert set(curves(figure)) == {"reconstruction", "kl"}
    ring = next(line for line in figure.axes[1].get_lines() if line.get_marker() == "o")
    assert ring.get_xydata().tolist() == [[3, pytest.approx(0.3)]]
    assert {text.get_text() for text in figure.axes[0].texts} == {"pretraining", "codes"}


def test_learning_figure_of_one_epoch_after_another_stage_has_room():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.png(plots.learning_figure([dataclasses.replace(epochs()[0], terms={}), epochs()[-1]]))


def test_learning_figure_counts_epochs_only_and_keeps_names_of_stages_apart():
    counting = dataclasses.replace(epochs()[0], stage="word frequencies", terms={}, validation=None)
    np.testing.assert_equal(
        curves(plots.learning_figure([counting, *epochs()])), curves(plots.learning_figure(epochs()))
    )
    short = [dataclasses.replace(epochs()[0], stage="a stage of a long name"), *epochs()[2:]]
    figure = plots.learning_figure(short)
    figure.canvas.draw()
    first, second = (text.get_window_extent() for text in figure.axes[0].texts)
    assert not first.overlaps(second)


def test_learning_figure_without_validation_or_epochs():
    plots.png(plots.learning_figure(epochs(validated=False)))
    with pytest.raises(UsageError, match="no training history"):
        plots.learning_figure([])


def test_every_figure_names_its_axes(evaluation):
    figures = [
        plots.precision_figure({"a": evaluation}),
        plots.pr_figure({"a": evaluation}),
        plots.bits_figure({"a": [evaluation]}),
        plots.balance_figure(evaluation),
        plots.map_figure(evaluation),
        plots.learning_figure(epochs()),
    ]
    for figure in figures:
        assert figure.axes[-1].get_xlabel()
        assert all(axes.get_ylabel() for axes in figure.axes)
        assert min(dimensions(plots.png(figure))) > 400


# -- report -----------------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Collects cells of tables, images and whatever would be fetched from elsewhere."""

    def __init__(self):
        super().__init__()
        self.rows, self.images, self.fetched, self.inside = [], [], [], False

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        self.inside = tag in ("td", "th")
        if self.inside:
            self.rows[-1].append("")
        if tag == "img":
            self.images.append(found["src"])
        self.fetched += [v for k, v in found.items() if k in ("src", "href") and not v.startswith("data:")]

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


@pytest.fixture
def undrawn(monkeypatch):
    """For tests that read tables and names: drawing takes most of the time of a report."""
    monkeypatch.setattr("texthash.reporting.page.png", lambda figure: b"")


@pytest.fixture(scope="module")
def drawn(runs):
    """A whole report with its images."""
    return report(runs, title="A & B")


@pytest.fixture(scope="module")
def runs(evaluate, small_corpus):
    common = {"config": Config(), "commit": "abc123", "label_names": small_corpus.label_names}
    return [
        ReportedRun("lsh", evaluate(16, 0), seconds=1.0, references={"tf-idf cosine": 0.71}, **common),
        ReportedRun("lsh", evaluate(16, 1), seconds=3.0, **common),
        ReportedRun("itq<b>", evaluate(32), history=epochs(), published=0.5, published_source="Table 2 of X", **common),
    ]


def test_leaderboard_joins_seeds_and_gives_the_tie_band(runs, undrawn):
    page = report(runs)
    rows = read(page.html).rows
    lsh = next(row for row in rows if row[0] == "lsh")
    values = [run.evaluation.metrics["p_at_20"] for run in runs[:2]]
    worst, best = (np.mean([r.evaluation.metrics[f"p_at_20_{e}"] for r in runs[:2]]) for e in ("worst", "best"))
    assert lsh[1:3] == ["16", "2"]
    assert lsh[3] == f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f} [{worst:.4f}, {best:.4f}]"
    header = next(row for row in rows if row[0] == "method")
    printed = header.index("published P@20")
    assert (lsh[-1], lsh[printed]) == ("2.0", "")
    other = next(row for row in rows if row[0] == "itq<b>")
    assert other[printed] == "0.5000"
    assert not any("published" in cell for row in read(report(runs[:2]).html).rows for cell in row)
    assert next(row for row in rows if row[0] == "tf-idf cosine")[3] == "0.7100"
    assert "Table 2 of X" in page.html
    assert "Table 2 of X" in page.markdown


def test_html_stands_alone_and_shows_every_figure(drawn):
    page = drawn
    reader = read(page.html)
    assert [link for link in reader.fetched if not link.startswith("#")] == []
    assert len(reader.images) == len(page.images) == 3 + 2 + 3  # common; per model; and one learning curve
    for image in reader.images:
        dimensions(base64.b64decode(image.removeprefix("data:image/png;base64,")))
    assert "<title>A &amp; B</title>" in page.html
    assert "abc123" in page.html
    assert "vocabulary_size: 10000" in page.html


def test_markdown_says_the_same(drawn, tmp_path):
    page = drawn
    page.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metrics.csv", "plots", "report.html", "report.md"]
    text = (tmp_path / "report.md").read_text()
    for name in re.findall(r"\]\((plots/[^)]+)\)", text):
        dimensions((tmp_path / name).read_bytes())
    assert len(re.findall(r"^!\[", text, re.MULTILINE)) == len(page.images)
    table = [line for line in text.splitlines() if line.startswith("| lsh |")]
    assert [cell.strip() for cell in table[0].strip("|").split("|")] == next(
        row for row in read(page.html).rows if row[0] == "lsh"
    )


def test_every_metric_of_every_run_is_a_cell_of_the_table(runs, undrawn, tmp_path):
    page = report(runs)
    page.save(tmp_path)
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert table["method"].tolist() == [run.method for run in runs]
    assert table["bits"].tolist() == [run.evaluation.bits for run in runs]
    for name, value in runs[0].evaluation.metrics.items():
        assert table.loc[0, name] == pytest.approx(value, nan_ok=True)


def test_a_title_is_neither_markup_nor_a_column_of_markdown():
    page = Page()
    page.table(["query"], [["a \\| b | <script>x</script>\n# c & d"]])
    html, markdown = page.render("A <b>")
    assert "| a \\\\\\| b \\| &lt;script>x&lt;/script> # c &amp; d |" in markdown.splitlines()
    assert "# A &lt;b>" in markdown.splitlines()
    assert "<script>x" not in html
    page.text("![a](http://b/c.png) [d](javascript:e) [f] 0.5 [0.4, 0.6] `g`")
    assert "![a\\](http://b/c.png) [d\\](javascript:e) [f] 0.5 [0.4, 0.6] \\`g\\`" in page.render("A")[1].splitlines()


def test_unlike_runs_get_tables_of_their_own(runs, undrawn):
    other = dataclasses.replace(runs[0], evaluation=dataclasses.replace(runs[0].evaluation, split="test"))
    page = report([runs[0], other])
    assert "queries: validation" in page.markdown
    assert "queries: test" in page.markdown
    assert sum(row[0] == "method" for row in read(page.html).rows) == 2
    assert all(row[2] == "1" for row in read(page.html).rows if row[0] == "lsh")


def test_many_models_are_all_in_the_table_and_the_best_drawn(evaluation, undrawn):
    def variant(number):
        metrics = {**evaluation.metrics, "p_at_20": number / 100}
        return ReportedRun(f"m{number:02}", dataclasses.replace(evaluation, metrics=metrics))

    page = report([variant(number) for number in range(10)])
    rows = read(page.html).rows
    assert {row[0] for row in rows} >= {f"m{number:02}" for number in range(10)}
    assert "the 8 of 10 models with the highest P@20" in page.markdown
    assert "1-m09-16-map" in page.images
    assert "1-m01-16-map" not in page.images


def test_the_order_is_tested_against_the_best_of_the_width(evaluate, small_corpus, undrawn):
    worse = dataclasses.replace(evaluate(16), per_query=np.where(np.isnan(evaluate(16).per_query), np.nan, 0.0))
    runs = [ReportedRun("a", evaluate(16, 0)), ReportedRun("b", evaluate(16, 1)), ReportedRun("none", worse)]
    page = report([*runs, ReportedRun("alone", evaluate(32))])
    header, *rows = [row for row in read(page.html).rows if len(row) > 4][:5]
    column = header.index("below the best")
    told = {row[0]: row[column] for row in rows}
    assert told["alone"] == "", "it is the only one of its width"
    assert sorted(told.values()).count("best") == 1
    mean = np.nanmean(max((run.evaluation for run in runs), key=lambda e: np.nanmean(e.per_query)).per_query)
    assert told["none"] == f"{-mean:+.4f} (p 0.0002)", "the least p of two tests by Holm"


def test_costs_are_drawn_and_their_front_is_named(evaluate):
    def run(name, bits, figure, speed):
        return ReportedRun(name, evaluate(bits), costs=Costs(name, bits, figure, bits / 8, speed, 0.1, 2.0))

    page = report([run("fast", 16, 0.4, 5000.0), run("slow", 16, 0.3, 20.0), run("long", 32, 0.5, 5000.0)])
    table = {row[0]: row for row in read(page.html).rows if len(row) == 7}
    assert {name: row[-1] for name, row in table.items()} == {
        "row": "front",
        "fast 16": "yes",
        "slow 16": "",
        "long 32": "yes",
    }
    assert "1-front" in page.images


def test_costs_and_code_quality_are_means_over_the_seeds(evaluate, undrawn):
    pair = [
        ReportedRun("lsh", evaluate(16, seed), costs=Costs("lsh", 16, 0.4 + 0.1 * seed, 2.0, 100.0, 0.1, 2.0))
        for seed in (0, 1)
    ]
    rows = read(report(pair).html).rows
    assert ["lsh 16", "0.4500", "2", "100", "0.100", "2.0", "yes"] in rows
    header = next(row for row in rows if row[0] == "model")
    quality = next(row for row in rows if row[0] == "lsh 16" and len(row) == len(header))
    balance = np.mean([run.evaluation.diagnostics["bit_balance"] for run in pair])
    assert float(quality[header.index("bit balance")]) == pytest.approx(balance, rel=1e-3)


def test_long_tables_of_details_are_folded_and_sections_listed(evaluation, undrawn):
    runs = [ReportedRun(f"m{number:02}", evaluation) for number in range(14)]
    other = dataclasses.replace(evaluation, split="test")
    page = report([*runs, ReportedRun("m00", other)])
    assert "<summary>Code quality (14 rows)</summary>" in page.html
    assert "<summary>Code quality (14 rows)</summary>" in page.markdown
    assert [link for link in read(page.html).fetched if link.startswith("#")] == ["#section-1", "#section-2"]
    assert 'id="section-2"' in page.html


def test_warnings_are_shown(evaluation, undrawn):
    alarmed = dataclasses.replace(evaluation, warnings=["The codes have collapsed."])
    page = report([ReportedRun("a", alarmed), ReportedRun("b", evaluation)])
    assert "a 16: The codes have collapsed." in page.html
    assert "a 16: The codes have collapsed." in page.markdown


def test_a_method_without_learning_stands_once_in_the_table(evaluate, undrawn):
    floor = {"itq 16": 0.4, "random": 0.1}
    config = parse_config({"method": {"name": "itq", "bits": 16}})
    itq = ReportedRun("itq", dataclasses.replace(evaluate(16), references=floor), config)
    nash = ReportedRun("nash", dataclasses.replace(evaluate(16, 1), references=floor))

    def first_cells(*runs):
        page = report(runs)
        return [tuple(row[:3]) for row in read(page.html).rows if len(row) > 6], page

    cells, page = first_cells(itq, nash)
    assert ("itq", "16", "any") in cells
    assert ("nash", "16", "1") in cells
    assert {cell[0] for cell in cells} >= {"random"}
    assert ("itq 16", "", "") not in cells
    assert "the seed does not change the models of the method" in page.markdown
    assert ("itq 16", "", "") in first_cells(nash)[0]


def test_configurations_follow_all_figures(evaluation, undrawn):
    config = parse_config({"method": {"name": "lsh", "bits": 16}})
    other = dataclasses.replace(evaluation, split="test")
    page = report([ReportedRun("lsh", evaluation, config), ReportedRun("lsh", other, config)])
    figures, configurations = page.markdown.split("## Configurations")
    assert "```yaml" not in figures
    assert configurations.count("```yaml") == 1, "one for both splits"
    assert "lsh 16 on " in configurations


def test_many_warnings_are_folded_below_the_names(evaluation, undrawn):
    def alarmed(number):
        return dataclasses.replace(evaluation, warnings=[f"{number}% collapsed.", "The corpus is small."])

    page = report([ReportedRun(f"m{number}", alarmed(number)) for number in range(7)])
    assert page.html.count('class="warning"') == 2
    assert "There are warnings about m0 16, m1 16" in page.html
    assert "m6 16: 6% collapsed." in page.html
    assert "m6 16: 6% collapsed." in page.markdown


def test_what_is_refused(evaluation):
    with pytest.raises(UsageError, match="no source"):
        ReportedRun("a", evaluation, published=0.5)
    with pytest.raises(UsageError, match="no runs"):
        report([])
