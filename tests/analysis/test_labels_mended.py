"""Mended labels: what is changed, what stays, and that runs train on them."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]

from analysis.labels.__main__ import main
from sanm.config.override_words import value_of, word
from sanm.data import prepare
from sanm.data.datasets import load
from sanm.formats.image_table import read_table
from sanm.record.directory import RunDirectory
from sanm.record.identity import identity, run_name
from sanm.training import experiment
from tests.analysis.labelled import rows_of, write_labelled_run
from tests.conftest import Command, config_of
from tests.data.pictures import paint

CLASSES = ("ant", "bee", "cat")
KEYS = tuple(f"train/{CLASSES[given]}/{number}.png" for number, given in enumerate((0, 0, 1, 1, 2, 2)))
ASIDE = ("train/cat/held out, of.png", "test/ant/0.png", "test/cat/1.png")
FOLDER = {"data": {"name": "image_folder", "validation": 0.1}}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six images that the run trained on, one that it held out, two to test on, and what is none of them."""
    for number, key in enumerate((*KEYS, *ASIDE)):
        paint(tmp_path / "images" / key, (20 * number, 0, 0))
    (tmp_path / "images" / "train" / "ant" / "notes.txt").write_text("no image")
    paint(tmp_path / "images" / "train" / ".hidden" / "1.png")
    return tmp_path / "images"


def mended(run: Path, *options: str | Path) -> dict[str, tuple[str, str, str]]:
    """File -> label, split, given label."""
    (run / "labels" / "cleaned_labels.csv").unlink(missing_ok=True)
    assert main([str(run), "--worst", "0", *map(str, options)]) == 0
    rows = rows_of(run / "labels" / "cleaned_labels.csv")
    assert len({row["file"] for row in rows}) == len(rows)
    return {row["file"]: (row["label"], row["split"], row["given_label"]) for row in rows}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert main([str(word) for word in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_folder_becomes_a_table(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_labelled_run(tmp_path / "run", KEYS, overrides=[f"data.root={images}"], **FOLDER)
    as_it_was = {key: (key.split("/")[1], key.split("/")[0], key.split("/")[1]) for key in (*KEYS, *ASIDE)}
    confident = {KEYS[1]: ("bee", "train", "ant"), KEYS[5]: ("bee", "train", "cat")}
    assert mended(run, "--fix", "relabel") == as_it_was | confident
    said = capsys.readouterr().out
    assert "2 relabelled, 0 left out, 1 suspected but kept, 3 rows that the run did not train on" in said
    assert mended(run, "--fix", "relabel", "--confidence", "0") == as_it_was | confident | {
        KEYS[4]: ("ant", "train", "cat")
    }
    kept = {key: row for key, row in as_it_was.items() if key not in (KEYS[1], KEYS[4], KEYS[5])}
    assert mended(run, "--fix", "remove") == kept
    assert "0 relabelled, 3 left out" in capsys.readouterr().out


def test_another_fix_does_not_replace_what_a_run_may_be_trained_on(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_labelled_run(tmp_path / "run", KEYS, overrides=[f"data.root={images}"], **FOLDER)
    first = mended(run, "--fix", "remove")
    assert main([str(run), "--worst", "0", "--fix", "remove"]) == 0, "the same again is no other"
    line = refused(capsys, run, "--worst", "0", "--fix", "relabel")
    assert "cleaned_labels.csv is there already with other labels" in line
    assert len(rows_of(run / "labels" / "cleaned_labels.csv")) == len(first)
    assert main([str(run), "--worst", "0", "--fix", "relabel", "--out", str(tmp_path / "other")]) == 0


def test_reviewed_samples_are_mended_and_no_others(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_labelled_run(tmp_path / "run", KEYS, overrides=[f"data.root={images}"], **FOLDER)
    table = tmp_path / "mine.csv"
    table.write_text(f"key,predicted_label,note\n{KEYS[0]},cat,mine\n{KEYS[4]},,as it says\n{KEYS[5]},cat,is right\n")
    found = mended(run, "--fix", "relabel", "--reviewed", table)
    assert {key: label for key, (label, _, given) in found.items() if label != given} == {
        KEYS[0]: "cat",
        KEYS[4]: "ant",
    }
    assert "2 relabelled, 0 left out, 2 suspected but kept" in capsys.readouterr().out
    table.write_text(f"Key;note\n{KEYS[0]};\n")
    assert set(mended(run, "--fix", "remove", "--reviewed", table)) == {*KEYS, *ASIDE} - {KEYS[0]}


def test_a_review_says_what_is_right_and_what_is_unclear(tmp_path: Path, images: Path) -> None:
    run = write_labelled_run(tmp_path / "run", KEYS, overrides=[f"data.root={images}"], **FOLDER)
    table = tmp_path / "mine.csv"
    words = f"{KEYS[1]},ant,right\n{KEYS[4]},,unclear\n{KEYS[5]},ant,wrong\n"
    table.write_text(f"key,predicted_label,given_label_is\n{words}")
    found = mended(run, "--fix", "relabel", "--reviewed", table)
    assert {key: label for key, (label, _, given) in found.items() if label != given} == {KEYS[5]: "ant"}
    assert set(found) == {*KEYS, *ASIDE}
    table.write_text(f"key,predicted_label,given_label_is\n{words.replace(KEYS[5], KEYS[3])}")
    assert set(mended(run, "--fix", "remove", "--reviewed", table)) == {*KEYS, *ASIDE} - {KEYS[3], KEYS[4]}
    table.write_text(f"key,given_label_is\n{KEYS[5]},right\n")
    for fix in ("relabel", "remove"):
        assert set(mended(run, "--fix", fix, "--reviewed", table)) == {*KEYS, *ASIDE}, "nothing to mend"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,predicted_label\ntrain/ant/0.png,dog\n", "line 2: 'dog' is no class; give one of ant, bee, cat"),
        ("key\ntest/ant/0.png\n", "line 2: .* has no sample with the key 'test/ant/0.png'"),
        ("key\ntrain/ant/0.png\ntrain/ant/0.png\n", "line 3: 'train/ant/0.png' is named twice"),
        ("file,label\ntrain/ant/0.png,bee\n", "has no column key"),
        ("key,given_label_is\ntrain/ant/0.png,maybe\n", "line 2: given_label_is is 'maybe'"),
        ("", "has no column key"),
        (b"key\n\xff\n", "is not UTF-8 text"),
        (None, "cannot be read"),
    ],
)
def test_a_review_that_cannot_be_followed_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | bytes | None, message: str
) -> None:
    run = write_labelled_run(tmp_path / "run", KEYS, **FOLDER)
    if text is not None:
        (tmp_path / "mine.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    line = refused(capsys, run, "--fix", "relabel", "--reviewed", tmp_path / "mine.csv")
    assert re.search(message, line)
    assert not (run / "labels").exists()
    assert "give --fix" in refused(capsys, run, "--reviewed", tmp_path / "mine.csv")


def test_a_table_keeps_its_rows_and_true_labels(tmp_path: Path, images: Path) -> None:
    table = tmp_path / "mine.csv"
    lines = [f"{key};{key.split('/')[1]};{part};{clean}" for key, part, clean in zip(
        (*KEYS, "train/cat/held out, of.png", "test/ant/0.png", KEYS[0]),
        ("train",) * 6 + ("val", "test", "train"), ("ant", "", "bee", "bee", "cat", "bee", "cat", "ant", "ant"),
        strict=True,
    )]  # fmt: skip
    table.write_text("\n".join(["name;worse;part;clean", *lines]))
    columns = {"file": "name", "label": "worse", "split": "part", "true_label": "clean"}
    overrides = [f"data.path={table}", f"data.root='{images}'"]
    config = {"data": {"name": "csv", "columns": columns}, "overrides": overrides}
    run = write_labelled_run(tmp_path / "run", KEYS, **config)
    found = mended(run, "--fix", "relabel")
    assert found[KEYS[1]] == ("bee", "train", "ant")
    assert found["train/cat/held out, of.png"] == ("cat", "validation", "cat")
    assert found["test/ant/0.png"] == ("ant", "test", "ant")
    assert len(found) == 8, "a file that is named twice, once"
    rows = {row["file"]: row["true_label"] for row in rows_of(run / "labels" / "cleaned_labels.csv")}
    assert (rows[KEYS[1]], rows[KEYS[5]]) == ("", "bee")
    settings = {"name": "csv", "path": str(run / "labels" / "cleaned_labels.csv"), "root": str(images)}
    more = {"columns": dict.fromkeys(("split", "true_label")) | {"file": "file", "label": "label"}}
    source = load({**settings, **more, "image_size": 8, "cache_dir": str(tmp_path / "cache")}, tmp_path)
    assert [source.class_names[label] for label in source.train.labels] == ["ant", "bee", "bee", "bee", "cat", "bee"]


def test_what_was_left_out_stays_out_and_noise_is_not_mixed(tmp_path: Path, images: Path) -> None:
    run = write_labelled_run(tmp_path / "run", KEYS, **FOLDER)
    (run / "left_out.csv").write_text(f'key,reason\n"{ASIDE[0]}",cannot be decoded\n{ASIDE[1]},cannot be read\n')
    assert set(mended(run, "--fix", "relabel", "--root", images)) == {*KEYS, ASIDE[2]}
    noisy = write_labelled_run(tmp_path / "noisy", KEYS, **{**FOLDER, "noise": {"name": "symmetric", "rate": 0.2}})
    found = mended(noisy, "--fix", "relabel", "--root", images)
    assert ASIDE[0] not in found, "its label in the run is not recorded"
    assert set(ASIDE[1:]) <= set(found)


def table_run(folder: Path, images: Path, text: str, **config: object) -> Path:
    """A run of `data=csv`, and its table as it is by now."""
    (folder / "mine.csv").write_text(f"file,label,split\n{text}")
    overrides = [word("data.path", str(folder / "mine.csv")), word("data.root", str(images))]
    data = {"name": "csv", "columns": {"file": "file", "label": "label"}}
    given = {"data": data, "overrides": overrides, **config}
    return write_labelled_run(folder / "run", KEYS, **given)  # type: ignore[arg-type]


def lines_of(**labels: str) -> str:
    return "".join(f"{key},{labels.get(f'k{number}', key.split('/')[1])},train\n" for number, key in enumerate(KEYS))


def test_labels_that_were_corrected_since_the_run_stay(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of them was suspected, one was not."""
    run = table_run(tmp_path, images, lines_of(k1="cat", k0="bee"))
    for fix, others in (("relabel", {KEYS[5]: ("bee", "train", "cat")}), ("remove", {})):
        found = mended(run, "--fix", fix)
        said = capsys.readouterr().out
        assert found[KEYS[1]] == ("cat", "train", "cat")
        assert found[KEYS[0]] == ("bee", "train", "bee")
        assert {key: found[key] for key in others} == others
        assert "2 labels of the table are others by now than the run was given: they stay" in said
        assert ("1 relabelled" if fix == "relabel" else "0 relabelled, 2 left out") in said
    (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("name: none", "name: symmetric"))
    assert mended(run, "--fix", "relabel")[KEYS[0]] == ("ant", "train", "ant"), "whose labels were never the table's"
    assert "by now" not in capsys.readouterr().out


def test_a_row_that_is_named_again_costs_no_good_row(tmp_path: Path, images: Path) -> None:
    again = f'./{KEYS[0]},cat,train\n"{images / ASIDE[0]}",cat,train\nline 3.png,cat,train\nbad.png,,train\n'
    run = table_run(tmp_path, images, lines_of() + f'"{ASIDE[0]}",cat,train\n' + again)
    reasons = (
        ("line 9 (./train/ant/0.png)", "names the file of line 2 again"),
        (f"line 10 ({images / ASIDE[0]})", "names the file of line 8 again"),
        ("line 12 (bad.png)", "has no label"),
        ("line 13", "has too few fields, or no file"),
    )
    (run / "left_out.csv").write_text("key,reason\n" + "".join(f'"{key}","{why}"\n' for key, why in reasons))
    assert set(mended(run, "--fix", "relabel")) == {*KEYS, ASIDE[0], "line 3.png"}


def test_a_class_without_samples_is_no_obstacle(tmp_path: Path, images: Path) -> None:
    names = ("ant", "bee", "cat", "dog")
    run = table_run(tmp_path, images, lines_of())
    padded = np.pad(np.load(run / "probabilities.npz")["probabilities"], ((0, 0), (0, 1)))
    np.savez(run / "probabilities.npz", class_names=np.array(names), probabilities=padded)
    assert set(mended(run, "--fix", "relabel")) == set(KEYS)


AWKWARD = "own (1), it's [a]=b ~ñ"


@pytest.mark.parametrize(
    "words",
    [
        ("preset=clothing1m", "base_method=c2d", "data.subset=500", "seed=3", "variant=released"),
        ("preset=webvision", "components=amg_nlr", "data.augment.crop=100", "data.image_size=128"),
        ("data=image_folder", "noise=symmetric", "noise.rate=0.8", "data.validation=0.25", "base_method=coteaching"),
        ("data=csv", "preset=cifar_small", "data.columns.file=name", "data.cache_dir=x", "data.augment.flip=false"),
    ],
)
def test_the_printed_command_is_the_run_on_other_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    root = tmp_path / AWKWARD
    for number, key in enumerate((*KEYS, *ASIDE)):
        paint(root / key, (20 * number, 0, 0))
    (tmp_path / "mine.csv").write_text("name,label\n" + "".join(f"{key},{key.split('/')[1]}\n" for key in KEYS))
    trained = identity(config_of(*words))
    where = [word("data.root", str(root)), word("data.path", str(tmp_path / "mine.csv"))]
    run = write_labelled_run(tmp_path / "run", KEYS, overrides=[*words, *where], **trained)
    mended(run, "--fix", "relabel")
    printed = shlex.split(capsys.readouterr().out.splitlines()[-1])[3:]
    assert value_of(next(each for each in printed if each.startswith("data.root="))) == str(root)
    now = config_of(*printed)
    assert (now["data"]["root"], now["data"]["path"]) == (str(root), str(run / "labels" / "cleaned_labels.csv"))
    nowhere = {**now, "data": {**now["data"], "root": None, "path": None}}
    found = identity(nowhere)
    assert found["noise"] == {"name": "none"}
    for group in trained.keys() - {"data", "noise"}:
        assert found[group] == trained[group]
    kept = ("image_size", "augment", "validation", "test_subset")
    assert [found["data"].get(key) for key in kept] == [trained["data"].get(key) for key in kept]
    assert "subset" not in found["data"]


def test_a_command_that_is_none_any_more_is_said(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_labelled_run(tmp_path / "run", KEYS, overrides=[f"data.root={images}", "gone.setting=1"], **FOLDER)
    mended(run, "--fix", "relabel")
    assert "how to train on it: " in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        0.5,
        "a",
        "it's",
        "1",
        "null",
        "/x/img, set (1)",
        "~/x",
        "a\\",
        "a\\'b",
        [1, "b, c"],
        {"a": ["x=y"]},
    ],
)
def test_words_of_a_command_line_are_read_as_they_were_written(value: object) -> None:
    assert value_of(word("a.b", value)) == value


def test_the_table_of_the_run_is_never_replaced(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even where this command has written it, for the run before."""
    first = write_labelled_run(tmp_path / "first", KEYS, overrides=[f"data.root={images}"], **FOLDER)
    mended(first, "--fix", "relabel")
    table = first / "labels" / "cleaned_labels.csv"
    before = table.read_bytes()
    own = {"data": {"name": "csv", "columns": {"file": "file", "label": "label"}}}
    overrides = [word("data.path", str(table)), word("data.root", str(images))]
    second = write_labelled_run(tmp_path / "second", KEYS, overrides=overrides, **own)
    capsys.readouterr()
    assert f"{table} is read here" in refused(capsys, second, "--fix", "relabel", "--out", table.parent)
    assert table.read_bytes() == before


def test_what_cannot_be_mended(tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_labelled_run(tmp_path / "run", KEYS, **FOLDER)
    assert "does not say where the images are: give --root" in refused(capsys, run, "--fix", "remove")
    assert "nowhere is not there: give --root" in refused(
        capsys, run, "--fix", "remove", "--root", tmp_path / "nowhere"
    )
    (images / KEYS[1]).unlink()
    message = refused(capsys, run, "--fix", "remove", "--root", images)
    assert "1 of the samples to mend are not in the data any more" in message
    (images / ASIDE[0]).unlink()
    paint(images / KEYS[1])
    assert "would leave no training sample of 'cat'" in refused(capsys, run, "--fix", "remove", "--root", images)

    table = write_labelled_run(tmp_path / "table", KEYS, data={"name": "csv"})
    assert "where the table is: give --table FILE" in refused(capsys, table, "--fix", "remove")
    assert "no.csv is not there: give --table" in refused(
        capsys, table, "--fix", "remove", "--table", tmp_path / "no.csv"
    )
    packed = write_labelled_run(tmp_path / "packed", data={"name": "animal10n"})
    assert "data=csv needs files, and data=animal10n" in refused(capsys, packed, "--fix", "remove", "--root", images)
    digits = write_labelled_run(tmp_path / "digits", data={"name": "digits", "validation": 0.1})
    assert "only --fix relabel goes" in refused(capsys, digits, "--fix", "remove")
    assert "held 10 % out: make it with data.validation=0" in refused(capsys, digits, "--fix", "relabel")
    for each in (run, table, packed, digits):
        assert not (each / "labels").exists()


def test_a_list_of_files_without_a_table_is_of_the_samples_of_the_run(tmp_path: Path, images: Path) -> None:
    run = write_labelled_run(tmp_path / "run", KEYS, data={"name": "clothing1m"})
    found = mended(run, "--fix", "relabel", "--root", images)
    assert set(found) == set(KEYS)
    assert found[KEYS[5]] == ("bee", "train", "cat")


def spoil(run: Path, count: int) -> list[str]:
    """Makes the first samples suspected, of the next class; returns their keys."""
    quality = run / "label_quality.csv"
    head, *lines = quality.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    names = sorted({row[2] for row in rows})
    for number, row in enumerate(rows):
        other = names[(names.index(row[2]) + 1) % len(names)]
        row[3:] = [other, "0.1", "0.8"] if number < count else [row[2], "0.9", "0.8"]
    quality.write_text("\n".join([head, *(",".join(row) for row in rows)]) + "\n")
    return [row[1] for row in rows[:count]]


def test_runs_train_on_a_mended_table(within: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder, mended: the printed command trains. Its own run, mended by leaving out, names the same files again."""
    for number in range(24):
        paint(tmp_path / AWKWARD / "train" / CLASSES[number % 3] / f"{number}.png", (10 * number, 90 * (number % 3), 0))
    options = (
        "base_method=ce", "components=none", "model=preact_tiny", "trainer.epochs=2", "trainer.batch_size=4",
        "trainer.milestones=[1]", "base_method.warm_up=1", "data.image_size=8", "data.validation=0.25",
    )  # fmt: skip
    made = within("data=image_folder", word("data.root", str(tmp_path / AWKWARD)), *options)
    assert made.returncode == 0, made.stderr
    (first,) = (tmp_path / "runs").glob("*/result.json")
    changed = spoil(first.parent, 3)
    assert main([str(first.parent), "--fix", "relabel", "--out", str(tmp_path / "first")]) == 0
    output = capsys.readouterr().out
    assert "3 relabelled, 0 left out, 6 rows that the run did not train on" in output
    words = shlex.split(output.splitlines()[-1])
    assert words[:3] == ["python", "-m", "sanm.run"]
    trained = within(*words[3:])
    assert trained.returncode == 0, trained.stderr
    (second,) = (tmp_path / "runs").glob("*csv*/result.json")
    config = yaml.safe_load((second.parent / "config.yaml").read_text())
    assert (config["data"]["image_size"], config["trainer"]["epochs"]) == (8, 2)
    given = {row["key"]: row["given_label"] for row in rows_of(second.parent / "label_quality.csv")}
    relabelled = {row["file"]: row["label"] for row in rows_of(tmp_path / "first" / "cleaned_labels.csv")}
    assert given == {key: relabelled[key] for key in given}
    assert any(given[key] != key.split("/")[1] for key in changed if key in given)

    spoil(second.parent, 2)
    assert main([str(second.parent), "--fix", "remove", "--out", str(tmp_path / "second")]) == 0
    left = {row["file"] for row in rows_of(tmp_path / "second" / "cleaned_labels.csv")}
    assert len(left) == 22
    assert left < set(relabelled)


@pytest.mark.parametrize("data", ["image_folder", "csv"])
def test_twelve_numbered_classes_go_there_and_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: str
) -> None:
    """Folder and table number the classes 0 to 11 alike: the mended table, its command and a list of labels mean the
    same classes."""
    keys = [f"train/{label}/{number}.png" for label in range(12) for number in range(3)]
    for number, key in enumerate(keys):
        paint(tmp_path / "images" / key, (7 * number, 5 * number, 0))
    table = tmp_path / "mine.csv"
    table.write_text("file,label\n" + "".join(f"{key},{key.split('/')[1]}\n" for key in keys))
    quick = (
        "base_method=ce", "components=none", "model=preact_tiny", "trainer.epochs=1", "trainer.batch_size=4",
        "trainer.milestones=[1]", "base_method.warm_up=1", "data.image_size=8", "data.validation=0",
        "trainer.last_window=1",
    )  # fmt: skip
    words = (f"data={data}", word("data.root", str(tmp_path / "images")), *quick)
    words += (word("data.path", str(table)),) if data == "csv" else ()
    config = config_of(*words, "save_labels=true", f"runs_dir={tmp_path / 'runs'}")
    record = identity(config)
    run = RunDirectory(tmp_path / "runs", run_name(record))
    with run.claim():
        experiment.run(config, record, run, list(words))
    given = {row["key"]: row["given_label"] for row in rows_of(run.path / "label_quality.csv")}
    assert list(given.items()) == [(key, key.split("/")[1]) for key in keys], "by the number of the class"

    spoil(run.path, 2)
    assert main([str(run.path), "--fix", "relabel", "--worst", "0"]) == 0
    printed = config_of(*shlex.split(capsys.readouterr().out.splitlines()[-1])[3:])
    again = prepare(printed["data"], printed["noise"], tmp_path / "cache")
    relabelled = {row["file"]: row["label"] for row in rows_of(run.path / "labels" / "cleaned_labels.csv")}
    assert sum(relabelled[key] != key.split("/")[1] for key in keys) == 2
    assert again.train.class_names == tuple(map(str, range(12)))
    assert [again.train.class_names[label] for label in again.train.given_labels] == [relabelled[key] for key in keys]

    labels = {"name": "file", "path": str(run.path / "labels.json"), "rate": None}
    assert prepare(config["data"], labels, tmp_path / "cache").realised_noise_rate == 0
    table_again = prepare(printed["data"], labels, tmp_path / "cache")
    assert [int(label) for label in table_again.train.given_labels] == [int(key.split("/")[1]) for key in keys]


@pytest.mark.parametrize("names", [("1", "1.0", "2"), ("ant", " ant", "cat")])
def test_classes_that_a_table_cannot_tell_apart_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: tuple[str, ...]
) -> None:
    keys = tuple(f"train/{names[given]}/{number}.png" for number, given in enumerate((0, 0, 1, 1, 2, 2)))
    for key in keys:
        paint(tmp_path / "images" / key)
    run = write_labelled_run(
        tmp_path / "run", keys, names=names, overrides=[f"data.root={tmp_path / 'images'}"], **FOLDER
    )
    line = refused(capsys, run, "--fix", "relabel", "--worst", "0", "--confidence", "0")
    assert repr(names[0]) in line
    assert repr(names[1]) in line
    assert not (run / "labels").exists()


def test_names_that_spreadsheets_would_compute_go_there_and_back(tmp_path: Path) -> None:
    names = ("=1+1", "'=1+1", "NA")
    keys = tuple(f"train/{names[given]}/{number}.png" for number, given in enumerate((0, 0, 1, 1, 2, 2)))
    odd = ("train/NA/x\ty.png", "train/NA/\x1b[31m.png")
    for key in (*keys, *odd):
        paint(tmp_path / "images" / key)
    run = write_labelled_run(
        tmp_path / "run", keys, names=names, overrides=[f"data.root={tmp_path / 'images'}"], **FOLDER
    )
    assert main([str(run), "--fix", "relabel", "--worst", "0"]) == 0
    table = run / "labels" / "cleaned_labels.csv"
    assert {row["label"] for row in rows_of(table)} == {"'=1+1", "''=1+1", "NA"}
    columns = {"file": "file", "label": "label", "split": None, "true_label": None}
    found = read_table(str(table), str(tmp_path / "images"), columns)
    assert {row.file for row in found.rows} == {*keys, *odd}
    assert found.guarded
    assert {row.file: row.label for row in found.rows}[keys[1]] == "'=1+1", "as the run suggested"
    assert {row.label for row in found.rows} == set(names)


@pytest.mark.parametrize("text", ["key,predicted_label\ntrain/ant/0.png,\n", "key\ntrain/ant/0.png\n"])
def test_a_review_may_have_lost_a_class_called_na(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    run = write_labelled_run(tmp_path / "run", KEYS, names=("ant", "NA", "cat"), **FOLDER)
    (tmp_path / "mine.csv").write_text(text)
    line = refused(capsys, run, "--fix", "relabel", "--reviewed", tmp_path / "mine.csv")
    assert ("line 2: predicted_label is empty" in line and "'NA'" in line) == (",predicted_label" in text)


def test_data_without_files_trains_on_a_list_of_labels(
    within: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = (
        "base_method=ce", "components=none", "model=preact_tiny", "trainer.epochs=2", "trainer.milestones=[1]",
        "base_method.warm_up=1", "data.subset=100", "data.validation=0",
    )  # fmt: skip
    assert within(*quick, "noise.rate=0.2").returncode == 0
    (result,) = (tmp_path / "runs").glob("*/result.json")
    spoil(result.parent, 5)
    assert main([str(result.parent), "--fix", "relabel"]) == 0
    rows = rows_of(result.parent / "labels" / "labels.csv")
    labels = json.loads((result.parent / "labels" / "cleaned_labels.json").read_text())
    assert labels == [int(row["predicted_class" if row["is_label_issue"] == "True" else "given_class"]) for row in rows]
    trained = within(*shlex.split(capsys.readouterr().out.splitlines()[-1])[3:])
    assert trained.returncode == 0, trained.stderr
    (second,) = (tmp_path / "runs").glob("*file*/label_quality.csv")
    assert [int(row["given_label"]) for row in rows_of(second)] == labels
