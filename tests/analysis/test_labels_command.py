"""python -m analysis.labels: what it writes, on what, and what it refuses."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from analysis.labels import folder
from analysis.labels.__main__ import main
from analysis.labels.record import read_record
from sanm.formats.spreadsheet import table_text
from tests.analysis.conftest import command
from tests.analysis.labelled import (
    CLEAN,
    GIVEN,
    SCORE,
    SUSPECTED,
    probabilities,
    rows_of,
    write_evidence,
    write_labelled_run,
)  # fmt: skip

FILES = {
    "label_errors.csv", "labels.csv", "classes.csv", "pairs.csv", "transition_matrix.csv", "health.md",
    "label_errors.html", "written.json",
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_labelled_run(tmp_path / "runs" / "ce-full-none-digits-seed1-0123456789")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main([str(word) for word in arguments]) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1
    return answer.err


def test_as_a_user_types_it_and_without_torch(run: Path) -> None:
    answer = command("analysis.labels", run)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("suspected labels: 3 of 6 (50.0 %)\nestimated share of wrong labels: 46.7 %\n")
    assert {file.name for file in (run / "labels").iterdir()} == FILES
    source = "import sys, analysis.labels.__main__ as m; m.main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source, str(run)], check=False).returncode == 0


def test_errors_are_ranked_and_named_as_cleanlab_names_them(run: Path) -> None:
    assert main([str(run)]) == 0
    rows = rows_of(run / "labels" / "label_errors.csv")
    assert [int(row["index"]) // 10 for row in rows] == list(SUSPECTED)
    assert rows[0] == {
        "index": "50", "key": "5", "is_label_issue": "True", "label_score": "0.1", "given_label": "cat",
        "predicted_label": "bee", "given_class": "2", "predicted_class": "1", "confidence": "0.6",
        "self_confidence": "0.199951", "is_cleanlab_issue": "", "copy_with_another_label": "",
    }  # fmt: skip
    everything = rows_of(run / "labels" / "labels.csv")
    assert [float(row["label_score"]) for row in everything] == list(CLEAN)
    assert [row["is_label_issue"] for row in everything] == ["False", "True", "False", "False", "True", "True"]


def test_equal_scores_are_ranked_by_the_probability_of_the_given_label(run: Path) -> None:
    quality = run / "label_quality.csv"
    quality.write_text(quality.read_text().replace(",0.3,", ",0.1,"))  # sample 4 scores as 5 does
    found = probabilities()
    found[4] = (0.9, 0.05, 0.05)
    np.savez(run / "probabilities.npz", class_names=np.array(["ant", "bee", "cat"]), probabilities=found)
    assert main([str(run)]) == 0
    assert [row["index"] for row in rows_of(run / "labels" / "label_errors.csv")] == ["40", "50", "10"]


def test_an_older_record_leaves_columns_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_labelled_run(tmp_path / "run", older=True)
    assert main([str(run)]) == 0
    assert said(capsys).startswith("suspected labels: 3 of 6")
    rows = rows_of(run / "labels" / "label_errors.csv")
    assert [int(row["index"]) // 10 for row in rows] == list(SUSPECTED)
    assert {(row["confidence"], row["self_confidence"]) for row in rows} == {("", "")}
    assert "confidence 0" in refused(capsys, run, "--fix", "relabel")
    assert "has no probabilities.npz" in refused(capsys, run, "--cleanlab")


def test_features_judge_where_the_run_has_them(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_evidence(run)
    assert main([str(run)]) == 0
    answer = said(capsys)
    assert answer.startswith("suspected labels: 2 of 6")
    assert "judged by frozen features" in answer
    assert "nearly the same image with another label: 1 samples" in answer
    everything = rows_of(run / "labels" / "labels.csv")
    assert [float(row["label_score"]) for row in everything] == list(SCORE)
    assert [float(row["clean_probability"]) for row in everything] == list(CLEAN)
    assert [row["near_copy_with_another_label"] for row in everything] == ["", "", "", "5 is cat", "", ""]
    first, second = rows_of(run / "labels" / "label_errors.csv")
    assert (first["key"], first["predicted_label"], first["confidence"]) == ("2", "cat", "0.8")
    assert (float(second["linear_fit"]), float(second["neighbour_votes"])) == (0.1, 0.1)
    assert "nearly the same image" not in (run / "labels" / "label_errors.html").read_text()  # 3 is not suspected


@pytest.mark.parametrize(
    "instead",
    [{"label_score": np.zeros(5)}, {"class_names": np.array(["x", "y", "z"])}, {"label_score": np.full(6, np.nan)},
     {"nearest": np.full((6, 2), 6)}],
)  # fmt: skip
def test_evidence_of_other_samples_is_refused(
    run: Path, instead: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    write_evidence(run, **instead)
    assert "label_evidence.npz" in refused(capsys, run)


def test_estimates_by_hand(run: Path) -> None:
    """Wrong: 0.8 of sample 1, 0.4 of 3, 0.7 of 4, 0.9 of 5; the others are predicted as they are labelled."""
    assert main([str(run)]) == 0
    folder = run / "labels"
    classes = {row["class_name"]: row for row in rows_of(folder / "classes.csv")}
    assert float(classes["ant"]["label_noise"]) == pytest.approx(0.8 / 2)
    assert float(classes["cat"]["label_noise"]) == pytest.approx(1.6 / 2)
    assert float(classes["ant"]["inverse_label_noise"]) == pytest.approx(0.7 / (1.2 + 0.7), rel=1e-5)
    assert [classes[name]["label_issues"] for name in ("ant", "bee", "cat")] == ["1", "0", "2"]
    assert [classes[name]["inverse_label_issues"] for name in ("ant", "bee", "cat")] == ["1", "2", "0"]
    pairs = rows_of(folder / "pairs.csv")
    assert [(row["given_label"], row["predicted_label"]) for row in pairs] == [
        ("cat", "bee"), ("ant", "bee"), ("cat", "ant"), ("bee", "cat"),
    ]  # fmt: skip
    assert [float(row["estimated_wrong"]) for row in pairs] == pytest.approx([0.9, 0.8, 0.7, 0.4])
    matrix = {row["true_label"]: row for row in rows_of(folder / "transition_matrix.csv")}
    assert float(matrix["bee"]["cat"]) == pytest.approx(0.9 / (1.6 + 0.8 + 0.9), rel=1e-5)
    for row in matrix.values():
        assert sum(float(row[name]) for name in ("ant", "bee", "cat")) == pytest.approx(1, abs=1e-5)
    assert "| cat | bee | 1 | 0.9 | 45.0 % |" in (folder / "health.md").read_text()


def test_recorded_truth_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_labelled_run(tmp_path / "run", wrong=(False, True, True, False, False, True))
    assert main([str(run)]) == 0
    assert "truth of 6 samples, 50.0 % of them wrong: precision 0.667, recall 0.667, AUROC 0.889" in said(capsys)
    every_second = write_labelled_run(tmp_path / "spaced", wrong=(False, True, False))  # of samples 0, 2, 4
    assert main([str(every_second)]) == 0
    assert "truth of 3 samples, 33.3 % of them wrong: precision 0.000, recall 0.000, AUROC 0.500" in said(capsys)


def test_a_network_that_agrees_with_all_labels_is_pointed_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_labelled_run(tmp_path / "run")
    rows = rows_of(run / "label_quality.csv")
    text = "".join(f"{row['index']},{row['key']},{row['given_label']},{row['given_label']},0.1,0.9\n" for row in rows)
    head = (run / "label_quality.csv").read_text().splitlines()[0]
    (run / "label_quality.csv").write_text(f"{head}\n{text}")
    assert main([str(run)]) == 0
    output = said(capsys)
    assert "suspected labels: 0 of 6" in output
    assert (
        "the method predicts the given label of 100.0 % of the samples: they are clean, or it has memorised" in output
    )


def test_a_network_that_has_learned_little_is_pointed_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_labelled_run(tmp_path / "run", data={"name": "csv", "validation": 0.1}, components={"start": 5})
    result = json.loads((run / "result.json").read_text())
    for accuracies, told in (
        ({"last_accuracy": 40.04}, "the network is right on 40.0 % of the test images (its last epochs)"),
        ({"validation_accuracy": 30.0}, "the network agrees with 30.0 % of the validation labels (its best epoch)"),
    ):
        (run / "result.json").write_text(json.dumps({**result, "epochs": 5, **accuracies}))
        assert main([str(run)]) == 0
        output = said(capsys)
        assert told in output
        assert "over after 5 epochs, before SANM set in (components.start=5)" in output
        assert "not judged: 10 % of the training samples" in output
        assert "more than half" not in output
    for name, labels, told in (("digits", "true", True), ("clothing1m", "true", False), ("csv", "given", False)):
        (run / "config.yaml").write_text(f"data: {{name: {name}, validation: 0.1}}\nnoise: {{name: none}}\n")
        (run / "result.json").write_text(json.dumps({**result, "validation_labels": labels}))
        assert main([str(run)]) == 0
        assert ("not judged: 10 %" in said(capsys)) == told
    rows = rows_of(run / "label_quality.csv")
    text = "".join(f"{row['index']},{row['key']},ant,bee,0.1,0.9\n" for row in rows)
    head = (run / "label_quality.csv").read_text().splitlines()[0]
    (run / "label_quality.csv").write_text(f"{head}\n{text}")
    assert main([str(run)]) == 0
    assert "more than half of the labels are suspected" in said(capsys)


def test_noise_that_the_run_put_on_the_labels_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_labelled_run(tmp_path / "run", noise={"name": "symmetric", "rate": 0.2})
    assert main([str(run)]) == 0
    line = "the run itself put noise on the labels (noise=symmetric noise.rate=0.2): what is suspected here"
    assert line in said(capsys)
    assert line in (run / "labels" / "health.md").read_text()
    for name in ("none", "human"):
        assert main([str(write_labelled_run(tmp_path / name, noise={"name": name}))]) == 0
        assert "the run itself" not in said(capsys)


def test_names_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    names = ("NA", "1.0", "<b>a|b</b>")
    run = write_labelled_run(tmp_path / "run", names=names, keys=("", "null", "a,b", '"', "ü", "<i>"))
    assert main([str(run)]) == 0
    assert [row["given_label"] for row in rows_of(run / "labels" / "labels.csv")] == [
        names[k] for k in (0, 0, 1, 1, 2, 2)
    ]
    page = (run / "labels" / "label_errors.html").read_text()
    assert "<b>a|b" not in page
    assert "&lt;b&gt;a|b" in page
    assert "| &lt;b&gt;a\\|b&lt;/b&gt; |" in (run / "labels" / "health.md").read_text()


def test_markdown_shows_names_and_obeys_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("<img src=x onerror=y>", "![a](http://x) `b` &amp;", "two\nlines \x1b[31m\u202e")
    run = write_labelled_run(tmp_path / "run", names=names)
    assert main([str(run)]) == 0
    text = (run / "labels" / "health.md").read_text()
    assert "<img" not in text
    assert "&lt;img src=x onerror=y&gt;" in text
    assert r"!\[a\](http://x) \`b\` &amp;amp;" in text
    shown = r"two\nlines \x1b[31m\u202e"
    assert shown.replace("\\", "\\\\").replace("[", r"\[") in text
    assert not {"\x1b", "\u202e"} & set(text)
    page = (run / "labels" / "label_errors.html").read_text()
    assert shown in page
    assert not {"\x1b", "\u202e"} & set(page + said(capsys))


@pytest.mark.parametrize("older", [True, False])
def test_names_are_no_formulas_to_a_spreadsheet(tmp_path: Path, older: bool) -> None:
    names = ("=1+1", "'=1+1", "-1.5")
    keys = ("@SUM(A1).png", "-2", "+a.png", "plain", "\tx", "'tis.png")
    run = write_labelled_run(tmp_path / "run", names=names, keys=keys)
    if not older:  # than the guard: a run's own table is written by it now
        rows = list(csv.reader((run / "label_quality.csv").read_text().splitlines()))
        (run / "label_quality.csv").write_text(table_text(rows))
    record = read_record(run)
    assert record.keys == keys
    assert record.given.tolist() == list(GIVEN)
    assert main([str(run)]) == 0
    for name in ("labels.csv", "label_errors.csv", "classes.csv", "pairs.csv", "transition_matrix.csv"):
        with open(run / "labels" / name, newline="") as handle:
            cells = {cell for row in csv.reader(handle) for cell in row}
        assert {"'=1+1", "''=1+1", "-1.5"} <= cells, name
        assert not [cell for cell in cells if cell[:1] in ("=", "@", "+", "\t")], name
    found = [row["key"] for row in rows_of(run / "labels" / "labels.csv")]
    assert found == ["'@SUM(A1).png", "-2", "'+a.png", "plain", "'\tx", "'tis.png"]


def test_cleanlab_is_asked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    filters = pytest.importorskip("cleanlab.filter")
    assert main([str(run), "--cleanlab"]) == 0
    assert re.search(r"cleanlab suspects \d, \d of them suspected above; all in labels.csv", said(capsys))
    found = probabilities().astype(float)
    expected = filters.find_label_issues(np.array([0, 0, 1, 1, 2, 2]), found / found.sum(1, keepdims=True))
    answers = [row["is_cleanlab_issue"] for row in rows_of(run / "labels" / "labels.csv")]
    assert answers == [str(bool(each)) for each in expected]
    assert {"True", "False"} == set(answers)


# ---- which run


def test_a_run_by_its_name_or_id(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for named in (run.name, "0123456789"):
        assert main([named, "--runs_dir", str(run.parent)]) == 0
    assert "suspected" in said(capsys)
    assert "456789 is no run, nor the name or id" in refused(capsys, "456789", "--runs_dir", run.parent)
    write_labelled_run(run.parent / "elr-none-none-digits-seed1-0123456789")
    assert "is 2 runs in" in refused(capsys, "0123456789", "--runs_dir", run.parent)


def test_runs_that_cannot_be_read(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "runs is no run: give one run's own folder" in refused(capsys, run.parent)
    assert "nowhere is no run, nor" in refused(capsys, "nowhere", "--runs_dir", run.parent / "nowhere")
    assert "--confidence 2.0: give a number in [0, 1]" in refused(capsys, run, "--confidence", "2")
    assert "--worst -1: give how many" in refused(capsys, run, "--worst", "-1")
    quality = (run / "label_quality.csv").read_text()
    for broken, words in (
        ("", "cannot be read"),
        ("index,key\n1,2\n", "lacks given_label, predicted_label, clean_probability"),
        (quality.splitlines()[0] + "\n", "lacks rows"),
        (quality.replace("0.9,", "often,"), "is damaged"),
        (quality.replace("cat", "dog"), "has the label 'dog', which is no class of it"),
    ):
        (run / "label_quality.csv").write_text(broken)
        message = refused(capsys, run)
        assert str(run / "label_quality.csv") in message
        assert words in message
    (run / "label_quality.csv").unlink()
    assert "label_quality.csv is not there" in refused(capsys, run)
    (run / "probabilities.npz").write_bytes(b"no archive")
    (run / "label_quality.csv").write_text(quality)
    assert "probabilities.npz cannot be read" in refused(capsys, run)
    (run / "result.json").unlink()
    assert "is not finished: only" in refused(capsys, run)
    (run / "failure.txt").write_text("the loss is not finite\n")
    assert "is not finished, it failed (the loss is not finite)" in refused(capsys, run)
    assert not (run / "labels").exists()


# ---- what is never overwritten


def test_its_own_files_are_replaced_and_no_others(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    assert main([str(run), "--out", str(out)]) == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    assert main([str(run), "--out", str(out)]) == 0
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before, "the same run, the same bytes"
    assert main([str(run), "--out", str(out), "--worst", "1"]) == 0
    assert (out / "label_errors.html").read_bytes() != before["label_errors.html"]
    capsys.readouterr()

    (out / "labels.csv").write_text("what I corrected by hand")
    now = {file.name: file.read_bytes() for file in out.iterdir()}
    assert f"{out / 'labels.csv'} is there already, and this command did not write it" in refused(
        capsys, run, "--out", out
    )
    assert {file.name: file.read_bytes() for file in out.iterdir()} == now


@pytest.mark.parametrize("name", ["health.md", "label_errors.html", "cleaned_labels.json", "written.json"])
def test_a_file_of_the_user_is_refused(
    run: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("mine")
    message = refused(capsys, run, "--out", tmp_path, "--fix", "relabel")
    assert f"{tmp_path / name} is " in message
    assert "give another --out" in message
    assert (tmp_path / name).read_text() == "mine"
    assert not (tmp_path / "labels.csv").exists()


@pytest.mark.parametrize(
    "content", ['{"files": {"labels.csv": []}}', '{"about": "mine", "files": {}}', "[]", '{"about": 1}']
)
def test_a_manifest_of_somebody_else_is_refused(
    run: Path, tmp_path: Path, content: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "written.json").write_text(content)
    assert f"{tmp_path / 'written.json'} is not this command's" in refused(capsys, run, "--out", tmp_path)
    assert (tmp_path / "written.json").read_text() == content


@pytest.mark.parametrize("name", ["labels.csv", "written.json"])
def test_a_link_that_leads_nowhere_is_somebodys(
    run: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).symlink_to(tmp_path / "unmounted" / "mine")
    assert f"{tmp_path / name} " in refused(capsys, run, "--out", tmp_path)
    assert (tmp_path / name).is_symlink()


def test_an_interrupted_writing_is_known_again(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([str(run), "--out", str(tmp_path / "out"), "--worst", "1"]) == 0
    write = folder.write_bytes

    def killed(path: Path, content: bytes) -> None:
        if path.name == "label_errors.html":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(folder, "write_bytes", killed)
    with pytest.raises(KeyboardInterrupt):
        main([str(run), "--out", str(tmp_path / "out")])
    monkeypatch.undo()
    assert main([str(run), "--out", str(tmp_path / "out")]) == 0
    assert len(json.loads((tmp_path / "out" / "written.json").read_text())["files"]["label_errors.html"]) == 1


def test_a_place_that_cannot_be_written(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert "cannot write" in refused(capsys, run, "--out", tmp_path / "file")
