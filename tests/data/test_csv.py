"""Tables of images as people have them: columns by any name, names or numbers, and every way to get a row wrong."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sanm.data import prepare
from sanm.data.datasets import load
from sanm.data.types import UNKNOWN, Source
from sanm.errors import InputError
from sanm.record.identity import file_fingerprint, table_fingerprint
from tests.data.pictures import MIDDLE, paint

COLORS = {"a.png": (255, 0, 0), "b, c.png": (0, 255, 0), "deep/d.png": (0, 0, 255), "e.jpg": (9, 9, 9)}
COLUMNS = {"file": "file", "label": "label", "split": None, "true_label": None}
NO_NOISE = {"name": "none"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, color in COLORS.items():
        paint(tmp_path / "photos" / name, color)
    return tmp_path / "photos"


def settings(folder: Path, text: str | bytes, **more: Any) -> dict[str, Any]:
    path = folder / "labels.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    given = {"name": "csv", "path": str(path), "root": None, "columns": COLUMNS, "image_size": 16, "cache_dir": None}
    return {**given, "skip_bad": False, "validation": 0, **more}


def load_table(folder: Path, text: str | bytes, **more: Any) -> Source:
    return load(settings(folder, text, **more), Path("unused"))


def test_smallest_table(folder: Path) -> None:
    source = load_table(folder, 'file,label\na.png,dog\n"b, c.png",cat\ndeep/d.png,dog\n')
    assert source.class_names == ("cat", "dog")
    assert source.train.labels.tolist() == [1, 0, 1]
    assert source.train.keys == ("a.png", "b, c.png", "deep/d.png"), "in the table's order"
    assert source.train.images()[:, :, MIDDLE, MIDDLE].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert (source.test, source.validation, source.labels_verified) == (None, None, False)
    assert (source.true_labels == UNKNOWN).all()


@pytest.mark.parametrize(
    "text",
    [
        "file;label\r\na.png;dog\r\n\r\nb, c.png;cat\r\n",
        "file\tlabel\na.png\tdog\n\n \t \nb, c.png\tcat",
        b'\xef\xbb\xbflabel,more,file\ndog,1,a.png\ncat,2,"b, c.png"\n',
        ' label , file \n dog , a.png \n cat ,"b, c.png"\n',
        'file,label\na.png, "dog"\n "b, c.png", cat\n',
        '"label";"file"\n"dog";"a.png"\n\n"cat"; "b, c.png"',
        "sep=;\r\nfile;label\r\na.png;dog\r\nb, c.png;cat\r\n",
        '"sep=|"\nfile|label\na.png|dog\nb, c.png|cat\n',
    ],
)
def test_ways_to_write_one(folder: Path, text: str | bytes) -> None:
    source = load_table(folder, text)
    assert source.train.keys == ("a.png", "b, c.png")
    assert [source.class_names[label] for label in source.train.labels] == ["dog", "cat"]


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        (("10", "2", "2"), ("2", "10"), [1, 0, 0]),
        (("-1", "0", "-1"), ("-1", "0"), [0, 1, 0]),
        (("10", "2", "x"), ("10", "2", "x"), [0, 1, 2]),
        (("1", "01", "0"), ("0", "01", "1"), [2, 1, 0]),
        (("--5", "2", "10"), ("--5", "10", "2"), [0, 2, 1]),
        (("3.0", "10", "3"), ("3", "10"), [0, 1, 0]),
        (("1.0", "2", "1.5"), ("1.0", "1.5", "2"), [0, 2, 1]),
    ],
)
def test_numbers_as_labels(folder: Path, labels: tuple[str, ...], names: tuple[str, ...], numbers: list[int]) -> None:
    files = ("a.png", "deep/d.png", "e.jpg")
    source = load_table(folder, "file,label\n" + "".join(f"{f},{k}\n" for f, k in zip(files, labels, strict=True)))
    assert source.class_names == names
    assert source.train.labels.tolist() == numbers


def test_splits_and_true_labels(folder: Path) -> None:
    text = (
        "file,label,split,true_label\n"
        "a.png,dog,Training,cat\n"
        '"b, c.png",cat,train,\n'
        "deep/d.png,dog,val,cat\n"
        "e.jpg,dog,test,cat\n"
    )
    data = prepare(settings(folder, text, validation=0.5), NO_NOISE, Path("unused"))
    assert data.train.keys == ("a.png", "b, c.png"), "nothing is held out where there are validation rows"
    assert data.true_labels is not None
    assert data.true_labels.tolist() == [0, UNKNOWN]
    assert data.realised_noise_rate == 1.0, "of the one whose truth is known"
    assert data.per_class_noise == [1.0, 0.0]
    assert data.validation is not None
    assert (data.validation.labels.tolist(), data.validation_labels) == ([1], "given")
    assert data.test is not None
    assert data.test.labels.tolist() == [0], "tested on the true label"


def test_a_truth_that_no_label_is(folder: Path) -> None:
    text = 'file,label,true_label\na.png,dog,fox\n"b, c.png",cat,cat\n'
    data = prepare(settings(folder, text), NO_NOISE, Path("unused"))
    assert data.true_labels is not None
    assert data.true_labels.tolist() == [2, 0]
    assert (data.realised_noise_rate, data.per_class_noise) == (0.5, None)


def test_true_labels_of_a_column_with_gaps(folder: Path) -> None:
    text = 'file,label,true_label\na.png,3,3.0\n"b, c.png",0,3.0\ndeep/d.png,0,\ne.jpg,0,0.0\n'
    data = prepare(settings(folder, text), NO_NOISE, Path("unused"))
    assert data.train.class_names == ("0", "3")
    assert data.true_labels is not None
    assert data.true_labels.tolist() == [1, 1, UNKNOWN, 0]
    assert data.realised_noise_rate == pytest.approx(1 / 3)


def said_of(folder: Path, text: str, **more: Any) -> list[str]:
    """Warnings, without the table's name at their beginning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_table(folder, text, **more)
    return [str(each.message).removeprefix(f"{folder / 'labels.csv'}: ") for each in caught]


def test_names_of_columns_in_any_case_of_letters(folder: Path) -> None:
    text = 'File,LABEL,Split,True_Label\na.png,dog,train,cat\n"b, c.png",cat,train,\ndeep/d.png,dog,test,\n'
    source = load_table(folder, text)
    assert source.train.keys == ("a.png", "b, c.png")
    assert source.test is not None
    assert source.test.keys == ("deep/d.png",)
    assert source.true_labels is not None
    assert source.true_labels.tolist() == [0, UNKNOWN]
    exact = load_table(folder, text.replace("True_Label", "split"), columns={**COLUMNS, "split": "Split"})
    assert exact.test is not None


def test_two_columns_that_may_be_meant(folder: Path) -> None:
    rows = 'a.png,dog,cat\n"b, c.png",cat,dog\n'
    with pytest.raises(InputError, match=r"'label' and 'label'"):
        load_table(folder, f"file,label,label\n{rows}")
    said = r"has the columns 'Label' and 'LABEL': say which with data\.columns\.label=NAME$"
    with pytest.raises(InputError, match=said):
        load_table(folder, f"file,Label,LABEL\n{rows}")
    assert load_table(folder, f"file,Label,LABEL\n{rows}", columns={**COLUMNS, "label": "LABEL"}).train.labels[0] == 0
    assert load_table(folder, f"file,Label,label\n{rows}").train.labels[0] == 0, "the one that is called so exactly"
    unread = 'file,label,note,note\na.png,dog,,\n"b, c.png",cat,,\n'
    assert len(load_table(folder, unread).train.keys) == 2


def test_lines_are_counted_from_the_first_one(folder: Path) -> None:
    with pytest.raises(InputError, match=r"labels\.csv: line 4 "):
        load_table(folder, "sep=;\nfile;label\na.png;dog\n;cat\n")


@pytest.mark.parametrize("word", ["val", "Test"])
def test_a_split_under_another_name_is_a_warning(folder: Path, word: str) -> None:
    text = (
        "file,label,source,subset,kind\n"
        "a.png,dog,train,train,\n"
        f'"b, c.png",cat,train,{word},x\n'
        "e.jpg,cat,train,,\n"
    )  # fmt: skip
    said = "all rows are trained on, though its column 'subset' looks like their split: set data.columns.split=subset"
    assert said_of(folder, text) == [f"{said} if it is"]
    assert said_of(folder, text, columns={**COLUMNS, "split": "source"}) == []
    assert said_of(folder, text.replace(f",{word},", ",other,")) == []
    labels = text.replace("dog", "test").replace("cat", "train").replace("subset", "other")
    assert said_of(folder, labels, columns={**COLUMNS, "true_label": "other"}) == [], "what is read is no split"


def test_a_row_without_a_split_is_trained_on(folder: Path) -> None:
    text = 'file,label,Part\na.png,dog,\n"b, c.png",cat,train\ne.jpg,cat,\ndeep/d.png,dog,test\n'
    columns = {**COLUMNS, "split": "Part"}
    assert load_table(folder, text, columns=columns).train.keys == ("a.png", "b, c.png", "e.jpg")
    said = said_of(folder, text, columns=columns)
    assert said[0] == "2 rows have no Part (the first: line 2), which counts as train"
    assert said_of(folder, text.replace("e.jpg,cat,", "e.jpg,cat,train"), columns=columns)[0].startswith("1 row has no")


def test_parts_that_lack_classes_are_a_warning(folder: Path) -> None:
    text = (
        "file,label,split,true_label\n"
        "a.png,dog,train,\n"
        '"b, c.png",cat,train,\n'
        "deep/d.png,dog,val,\n"
        "e.jpg,cat,test,dog\n"
    )
    assert said_of(folder, text) == [
        "its test part has no images of cat: accuracy says nothing on them",
        "its validation part has no images of cat: accuracy says nothing on them",
    ]


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ("Cat", "cat", "'Cat' and 'cat'"),
        ("big cat", "big  cat", "'big  cat' and 'big cat'"),
        ("caf\u00e9", "cafe\u0301", r"'cafe\u0301' and 'caf\xe9'"),
    ],
)
def test_labels_that_are_nearly_the_same_are_a_warning(folder: Path, first: str, second: str, shown: str) -> None:
    text = f'file,label\na.png,{first}\n"b, c.png",{second}\ne.jpg,dog\n'
    assert said_of(folder, text) == [
        "classes that differ in letter case, space or Unicode form alone count as different: "
        f"{shown}; write them alike where they are one"
    ]


def test_names_that_are_written_otherwise_on_the_disk(folder: Path) -> None:
    paint(folder / "caf\u00e9.png")
    text = "file,label\na.png,dog\n{},cat\n"
    for name, said in (
        (r"deep\d.png", r"\(No such file or directory; names are written with /, and this one has a backslash\)"),
        ("cafe\u0301.png", r"\(No such file .*; a file is there whose name looks the same, in the Unicode form NFC"),
        ("gone.png", r"\(No such file or directory\)"),
    ):
        if (folder / name).exists():
            continue  # a disk that takes one for the other
        with pytest.raises(InputError, match=said):
            load_table(folder, text.format(name)).train.images()


def test_true_labels_that_are_all_foreign_are_a_warning(folder: Path) -> None:
    text = 'file,label,true_label\na.png,dog,\n"b, c.png",cat,Cat\ne.jpg,cat,Dog\n'
    said = r"none of its 2 true labels is one of the classes \(line 3: 'Cat'\), so all labels count as wrong"
    with pytest.warns(UserWarning, match=said):
        load_table(folder, text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_table(folder, text.replace("Dog", "dog"))


def test_columns_by_other_names(folder: Path) -> None:
    text = 'image,worse,clean,split\na.png,dog,cat,x\n"b, c.png",cat,cat,y\n'
    columns = {"file": "image", "label": "worse", "split": None, "true_label": "clean"}
    with pytest.raises(InputError, match=r"line 2 \(a\.png\) .*'x'.* train, validation"):
        load_table(folder, text, columns=columns)
    columns["split"] = "part"
    with pytest.raises(InputError, match=r"'part' \(only image, worse, clean, split\)"):
        load_table(folder, text, columns=columns)
    text = text.replace(",x\n", ",train\n").replace(",y\n", ",train\n")
    source = load_table(folder, text, columns={**columns, "split": "split"})
    assert source.true_labels is not None
    assert source.true_labels.tolist() == [0, 0]


def test_absolute_paths_and_another_root(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "f.png"
    paint(elsewhere, (7, 8, 9))
    text = f"file,label\nd.png,dog\n{elsewhere},cat\n"
    source = load_table(folder, text, root=str(folder / "deep"))
    assert source.train.images()[:, :, MIDDLE, MIDDLE].tolist() == [[0, 0, 255], [7, 8, 9]]
    with pytest.raises(InputError, match=r"data\.root=.*nowhere"):
        load_table(folder, text, root=str(folder / "nowhere"))


def test_truth_is_what_noise_was_put_on_where_nobody_knows_better(folder: Path) -> None:
    noise = {"name": "symmetric", "rate": 1.0, "seed": 3, "convention": "exclusive"}
    data = prepare(settings(folder, 'file,label\na.png,dog\n"b, c.png",cat\n'), noise, Path("unused"))
    assert data.realised_noise_rate == 1.0


BAD = (
    "file,label,split\n"
    "a.png,dog,train\n"
    "e.jpg\n"
    ",dog,train\n"
    '"b, c.png",,train\n'
    "a.png,cat,train\n"
    "deep/d.png,cat,train\n"
    "e.jpg,owl,test\n"
    "gone.png,dog,train\n"
)


def test_rows_that_cannot_be_used_are_refused_or_left_out(folder: Path) -> None:
    with pytest.raises(InputError, match=r"labels\.csv: line 3 .* 3 more"):
        load_table(folder, BAD)
    source = load_table(folder, BAD, skip_bad=True)
    assert source.train.keys == ("a.png", "deep/d.png", "gone.png")
    assert source.test is None
    assert [tuple(each) for each in source.left_out] == [
        ("line 3", "has too few fields, or no file"),
        ("line 4", "has too few fields, or no file"),
        ("line 5 (b, c.png)", "has no label"),
        ("line 6 (a.png)", "names the file of line 2 again"),
        ("line 8 (e.jpg)", "has the label 'owl', which no training row has"),
    ]
    data = prepare(settings(folder, BAD, skip_bad=True), NO_NOISE, Path("unused"))
    assert data.train.keys == ("a.png", "deep/d.png")
    assert data.train.index.tolist() == [0, 1]
    assert data.left_out[-1][0] == "gone.png"
    assert "cannot be read (No such file" in data.left_out[-1][1]


def test_missing_and_damaged_images(folder: Path) -> None:
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:40])
    text = 'file,label\na.png,dog\n"b, c.png",cat\ngone.png,dog\n'
    with pytest.raises(InputError, match=r"gone\.png .*No such file .*data\.skip_bad=true"):
        load_table(folder, text).train.images()
    part = load_table(folder, text, skip_bad=True).train
    decoded = part.decode(np.arange(3))
    assert decoded.positions.tolist() == [1]
    assert [each.key for each in decoded.left_out] == ["a.png", "gone.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "",
            r"first line has no column 'file' beside others \(''\): name the column of files with",
        ),
        (
            "file|label\na.png|dog\n",
            r"its first line \('file\|label'\) is not separated by comma, tab or semicolon: save it so$",
        ),
        ("a.png,dog\n", r"no column 'file' beside others \('a\.png,dog'\)"),
        ("file,class\na.png,dog\n", r"has no column 'label' \(only file, class\): set data\.columns\.label=NAME"),
        ("file,label\n", r"has 0 classes among its training rows: two or more are needed"),
        ("file,label\na.png,dog\n", r"has 1 classes among its training rows"),
        (b"file,label\n\xff,dog\n", r"is not UTF-8 text \(byte 11\)"),
        (
            'file,label\na.png,dog\n"b, c.png,cat\ndeep/d.png,dog\n',
            r"labels\.csv is no intact table \(line 3: unexpected end of data\): mend its quotes$",
        ),
        ('file,label\n"a" dog.png,dog\n', r"is no intact table \(line 2: "),
        ("x" * 140_000 + ",file,label\n", r"first line has no column 'file' beside others \('xxx"),
        ("file,label\n" + "x" * 140_000 + ",dog\n", r"is no intact table \(line 2: field larger than"),
    ],
)
def test_what_is_no_table(folder: Path, text: str | bytes, message: str) -> None:
    for skip_bad in (False, True):
        with pytest.raises(InputError, match=message):
            load_table(folder, text, skip_bad=skip_bad)


def test_a_name_with_a_nul_is_an_incomplete_entry(folder: Path) -> None:
    text = 'file,label\na.png,dog\nx\0y.png,dog\n"b, c.png",cat\n'
    with pytest.raises(InputError, match=r"labels\.csv: line 3 "):
        load_table(folder, text)
    assert load_table(folder, text, skip_bad=True).train.keys == ("a.png", "b, c.png")


def test_one_file_in_two_spellings_is_named_twice(folder: Path) -> None:
    text = f'file,label\na.png,dog\n./deep/../a.png,cat\n{folder / "a.png"},cat\n"b, c.png",cat\n'
    with pytest.raises(InputError, match=r"line 3 \(\./deep/\.\./a\.png\) .*line 2 .* 1 more"):
        load_table(folder, text)
    assert load_table(folder, text, skip_bad=True).train.keys == ("a.png", "b, c.png")


def test_no_path() -> None:
    with pytest.raises(InputError, match=r"data\.path=FILE"):
        load({"name": "csv", "path": None}, Path("unused"))
    with pytest.raises(InputError, match=r"data\.path=nowhere\.csv .*No such file"):
        load({"name": "csv", "path": "nowhere.csv", "root": None, "columns": COLUMNS}, Path("unused"))


def test_a_subset_alone_is_decoded(folder: Path) -> None:
    text = 'file,label\na.png,dog\n"b, c.png",cat\ne.jpg,dog\n'
    chosen = prepare(settings(folder, text, subset=2), NO_NOISE, Path("unused")).train
    (unused,) = {"a.png", "b, c.png", "e.jpg"} - set(chosen.keys)
    (folder / unused).write_bytes(b"no image")
    again = prepare(settings(folder, text, subset=2), NO_NOISE, Path("unused")).train
    assert (again.keys, again.mean) == (chosen.keys, chosen.mean)


def test_what_the_user_has_is_untouched(folder: Path) -> None:
    text = 'file,label\na.png,dog\n"b, c.png",cat\n'
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    prepare(settings(folder, text), NO_NOISE, Path("unused"))
    for path, content in before.items():
        assert path.read_bytes() == content
    assert {path.name for path in folder.iterdir()} - {path.name for path in before} == {
        ".sanm_cache",
        "deep",
        "labels.csv",
    }


def doubts(folder: Path, labels: list[str]) -> list[str]:
    """The warnings about labels of images that need not be there."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_table(folder, "file,label\n" + "".join(f'{place}.png,"{label}"\n' for place, label in enumerate(labels)))
    return [str(each.message) for each in caught]


@pytest.mark.parametrize(
    "labels",
    [[f"img{k}" for k in range(48)], list(map(str, range(48))), ["0.1", "2"] * 8 + [f"{k / 7:.3f}" for k in range(40)]],
)
def test_a_column_that_holds_no_labels_is_refused(folder: Path, labels: list[str]) -> None:
    classes = len(set(labels))
    with pytest.raises(InputError, match=rf"labels\.csv: {classes} .* {len(labels)} .*'label'"):
        doubts(folder, labels)


def test_few_images_of_few_classes_are_no_mistake(folder: Path) -> None:
    (line,) = doubts(folder, ["ant", "bee", *["cat"] * 9])
    assert line.endswith("ant, bee: one training image only, from which no class is learned")


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (["1.0", "1", "cat"], r"'1' and '1\.0'"),
        (["01", "1", "2"], "'01' and '1'"),
        (["Cat", "cat", "dog"], "'Cat' and 'cat'"),
        (["cat", "cat\u200b", "dog"], r"'cat' and 'cat\\u200b'"),
        (["cat", "ca\u00adt", "dog"], r"'cat' and 'ca\\xadt'"),
        (["cat\u202e", "dog"], r"'cat\\u202e' \(4 images\) has characters that nobody sees"),
        (["1.0", "2.0", "nan"], r"'nan' \(4 images\) looks like a label that is missing"),
        (["cat", "dog", "cat|dog"], r"'cat\|dog' \(4 images\) looks like several labels"),
        (["cat", "dog", "cat, dog"], r"'cat, dog' \(4 images\) looks like several labels"),
        (["cat;owl", "dog"], r"'cat;owl' \(4 images\) looks like several labels"),
        (["0.5", "1.5", "3"], r"numbers such as 0\.5"),
    ],
)
def test_labels_that_look_wrong_are_said_in_a_line(folder: Path, labels: list[str], named: str) -> None:
    (line,) = doubts(folder, labels * 4)
    assert re.search(named, line)
    assert line.startswith(str(folder / "labels.csv"))


@pytest.mark.parametrize("gap", ["nan", "NA", "null", "<NA>", "None"])
def test_a_gap_among_names_is_said_where_it_is_rare(folder: Path, gap: str) -> None:
    (line,) = doubts(folder, ["cat", "dog"] * 10 + [gap] * 2)
    assert f"{gap!r} (2 images) looks like a label that is missing" in line
    assert load_table(folder, f"file,label\na.png,{gap}\ne.jpg,cat\n").class_names.count(gap) == 1


@pytest.mark.parametrize(
    "labels",
    [
        ["NA", "EU", "AS"],
        ["none", "scratch"],
        ["null", "one"],
        ["1", "2", "10"],
        ["1.0", "2.0"],
        ["and/or", "not"],
        ["R&B", "jazz"],
        ["a+b", "c"],
        ["New York", "York"],
        ["می‌خواهم", "سلام"],
        ["👩‍🚀", "👩"],
        ["-1", "+x"],
        ["9" * 5000, "1" * 5000],
        ["1e999", "2"],
        ["cat\u0301", "dog"],
    ],
)
def test_nothing_is_said_of_good_labels(folder: Path, labels: list[str]) -> None:
    assert not doubts(folder, labels * 4)


def test_a_column_is_one_thing(folder: Path) -> None:
    text = "file,label\na.png,cat\ne.jpg,dog\n"
    with pytest.raises(InputError, match=r"data\.columns\.file and data\.columns\.label .*'file'"):
        load_table(folder, text, columns={**COLUMNS, "label": "file"})
    same = load_table(folder, text, columns={**COLUMNS, "true_label": "label"})
    assert (same.true_labels == same.train.labels).all()


def test_labels_that_spreadsheets_would_compute(folder: Path) -> None:
    source = load_table(folder, "file,label\na.png,'=1+1\ne.jpg,=2\ndeep/d.png,''=1+1\n\"b, c.png\",-1\n")
    assert source.class_names == ("'=1+1", "-1", "=1+1", "=2")
    assert [source.class_names[label] for label in source.train.labels] == ["=1+1", "=2", "'=1+1", "-1"]


def test_a_run_is_another_where_an_apostrophe_is_no_part_of_a_label_any_more(folder: Path) -> None:
    def fingerprint(label: str) -> str:
        (folder / "labels.csv").write_text(f"file,label\na.png,{label}\ne.jpg,dog\n")
        table_fingerprint.cache_clear()
        file_fingerprint.cache_clear()
        return table_fingerprint(str(folder / "labels.csv"), None, tuple(COLUMNS.items()))

    for label, read_as_ever in (("'=x", False), ("=x", True), ("'tis", True), ("cat", True)):
        found = fingerprint(label)
        content = file_fingerprint(str(folder / "labels.csv"), "data.path")
        assert (found[:8] == content[:8]) == read_as_ever


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("deep/d", "deep/d.png lies there"),
        ("deep/d.jpg", "deep/d.png lies there"),
        ("deep/D.PNG", "deep/d.png lies there"),
        ("Deep/d.png", "deep lies there"),
        ("photos/deep/d.png", "ROOT/deep/d.png is there"),
        ("other/x.png", "other/x.png is there"),
        ("https://host/x.png", "it is an address"),
        ("~/x.png", "write the whole path"),
        ("deep/none.png", "No such file or directory)"),
    ],
)
def test_what_lies_beside_a_missing_file_is_said(folder: Path, file: str, hint: str) -> None:
    paint(folder.parent / "other" / "x.png")
    text = f"file,label\na.png,dog\n{file},cat\ne.jpg,cat\n"
    with pytest.raises(InputError, match=r"data\.skip_bad=true") as refused:
        load_table(folder, text).train.decode(np.arange(3))
    said = str(refused.value)
    assert file in said
    assert hint.replace("ROOT", str(folder)) in said
    source = load_table(folder, text, skip_bad=True)
    (left_out,) = source.train.decode(np.arange(3)).left_out
    assert left_out.key == file
    assert hint.replace("ROOT", str(folder)) in f"{left_out.reason})"


@pytest.mark.parametrize("skip_bad", [False, True])
def test_where_all_are_missing_the_folder_is_named(folder: Path, skip_bad: bool) -> None:
    train = load_table(folder, "file,label\nx/a.png,dog\nx/e.jpg,cat\n", skip_bad=skip_bad).train
    with pytest.raises(InputError, match=r"none of the 2 .*data\.root=") as refused:
        train.decode(np.arange(2))
    assert f"relative to {folder}" in str(refused.value)
    assert f"{folder / 'a.png'} is there" in str(refused.value)


def test_a_folder_is_listed_once_for_all_that_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[Path] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda place: listed.append(place) or listdir(place))
    text = "file,label\na.png,dog\ne.jpg,cat\n" + "".join(f"deep/{n}.png,cat\n" for n in range(50))
    assert len(load_table(folder, text, skip_bad=True).train.decode(np.arange(52)).left_out) == 50
    assert listed.count(folder / "deep") == 1
