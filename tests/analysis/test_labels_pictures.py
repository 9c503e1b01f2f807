"""The page of suspected labels: pictures from files, pickles and the bundled digits, and what is said without them."""

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.labels.__main__ import main
from analysis.labels.pictures import SIDE
from tests.analysis.labelled import write_labelled_run
from tests.chromium import browser, executable

FILES = tuple(f"train/{name}.png" for name in ("zero", "one", "two", "three", "four", "five"))
IMAGE = re.compile(r'<img src="(data:image/[a-z]+;base64,[^"]+)"')


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    (root / "train").mkdir(parents=True)
    for number, key in enumerate(FILES):
        Image.new("RGB", (300, 200), (40 * number, 0, 0)).save(root / key)
    return root


def page_of(run: Path, *options: str | Path) -> str:
    assert main([str(run), *map(str, options)]) == 0
    return (run / "labels" / "label_errors.html").read_text()


def opened(page: str) -> list[Image.Image]:
    import base64
    import io

    return [Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in IMAGE.findall(page)]


def test_of_files_by_what_the_run_was_told_or_the_user_says(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = {"data": {"name": "image_folder"}}
    run = write_labelled_run(tmp_path / "run", FILES, overrides=[f"data.root={images}"], **folder)
    found = opened(page_of(run))
    assert [image.size for image in found] == [(SIDE, 75)] * 3
    reds = [np.asarray(image.convert("RGB"))[..., 0].mean() for image in found]
    assert reds == pytest.approx([200, 40, 160], abs=4), "five, one, four: worst first"
    assert len(opened(page_of(run, "--worst", "1"))) == 1

    moved = tmp_path / "moved"
    shutil.move(images, moved)
    capsys.readouterr()
    page = page_of(run)
    words = f"{images} is not there: give --root FOLDER, the data.root of the images"
    assert f"no pictures: {words}" in capsys.readouterr().out
    assert words in page
    assert page.count("<figure ") == 3
    assert len(opened(page_of(run, "--root", moved))) == 3


def test_images_that_are_gone_or_broken_say_so(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_labelled_run(tmp_path / "run", FILES, data={"name": "image_folder"})
    (images / "train/five.png").unlink()
    (images / "train/one.png").write_bytes(b"no image")
    page = page_of(run, "--root", images)
    assert "The image is no longer there." in page
    assert "The image cannot be read (UnidentifiedImageError)." in page
    assert len(opened(page)) == 1
    (images / "train/four.png").unlink()
    capsys.readouterr()
    assert "none of the images is in" in page_of(run, "--root", tmp_path)
    assert "no pictures: none of the images" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_image_is_shown(tmp_path: Path, images: Path, mode: str) -> None:
    name = images / ("train/five.tif" if mode != "P" else "train/five.gif")
    if mode == "I;16":
        Image.fromarray(np.linspace(0, 60000, 64).reshape(8, 8).astype(np.uint16)).save(name)
    else:
        Image.new("RGB", (8, 8), (250, 120, 0)).convert(mode).save(name)
    keys = (*FILES[:5], str(name.relative_to(images)))
    found = opened(page_of(write_labelled_run(tmp_path / "run", keys, data={"name": "csv"}), "--root", images))
    assert len(found) == 3
    assert float(np.asarray(found[0].convert("L")).max()) > 90, "not black"


def test_images_look_as_the_network_saw_them(tmp_path: Path, images: Path) -> None:
    for name, kind in (("five", np.uint16), ("one", np.int32)):
        values = np.linspace(0, 4095, 64).reshape(8, 8).astype(kind)
        Image.fromarray(values).save(images / f"train/{name}.tif")
    keys = (FILES[0], "train/one.tif", *FILES[2:5], "train/five.tif")
    page = page_of(write_labelled_run(tmp_path / "run", keys, data={"name": "csv"}), "--root", images)
    assert "The image cannot be read (ValueError)." in page, "32 bits, of no agreed range"
    dim, bright = (np.asarray(image.convert("L")) for image in opened(page))
    assert 12 < dim.max() < 20, "12 bits in 16"
    assert bright.max() > 40


@pytest.mark.parametrize(("name", "folder", "files"), [
    ("cifar10", "cifar-10-batches-py", [f"data_batch_{number}" for number in range(1, 6)]),
    ("cifar100", "cifar-100-python", ["train"]),
])  # fmt: skip
def test_of_cifar_by_the_official_order(tmp_path: Path, name: str, folder: str, files: list[str]) -> None:
    """Sample `index` is row `index` of all batches; samples are 0, 10, ... 50, worst first 50, 10, 40."""
    place = tmp_path / "data" / folder
    place.mkdir(parents=True)
    rows = np.repeat(np.arange(60, dtype=np.uint8)[:, None], 3 * 32 * 32, 1)
    rows[:, : 32 * 32] += 100  # the red of each
    for file, part in zip(files, np.array_split(rows, len(files)), strict=True):
        (place / file).write_bytes(pickle.dumps({b"data": part}))
    run = write_labelled_run(tmp_path / "run", data={"name": name})
    for root in (place, tmp_path / "data"):
        found = [np.asarray(image) for image in opened(page_of(run, "--root", root))]
        assert [tuple(pixels[0, 0]) for pixels in found] == [(150, 50, 50), (110, 10, 10), (140, 40, 40)]
    (place / files[0]).write_bytes(b"no pickle")
    assert "is not an intact CIFAR pickle" in page_of(run, "--root", place)
    assert "does not say where" in page_of(run)


def test_of_the_bundled_digits(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    found = opened(page_of(write_labelled_run(tmp_path / "run")))
    expected = load_digits().images[[50, 10, 40]] * 255 / 16
    assert np.stack([np.asarray(image) for image in found]) == pytest.approx(expected, abs=0.5)


@pytest.mark.skipif(executable() is None, reason="no Chromium here")
def test_pairs_and_names_filter_the_page(tmp_path: Path) -> None:
    run = write_labelled_run(tmp_path / "run")
    page_of(run)
    with browser() as chromium:
        chromium.open(run / "labels" / "label_errors.html")
        shown = "document.getElementById('shown').value"
        assert chromium.run(shown) == "3 of 3 shown"
        choose = "(id, value) => { const field = document.getElementById(id); field.value = value;"
        choose += " field.dispatchEvent(new Event('input', {bubbles: true})); }"
        chromium.run(f"({choose})('pair', 'cat → bee')")
        assert chromium.run(shown) == "1 of 3 shown"
        visible = "[...document.querySelectorAll('figure')].filter((one) => one.checkVisibility()).length"
        assert chromium.run(visible) == 1
        chromium.run(f"({choose})('text', 'ant')")
        assert chromium.run(shown) == "0 of 3 shown"
        chromium.run(f"({choose})('pair', '')")
        assert chromium.run(shown) == "2 of 3 shown"
        assert chromium.messages == []
