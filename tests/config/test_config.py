"""Composed configs: what is refused, what is looked up, what a run's identity is made of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from sanm.config.checks import CONF
from sanm.errors import InputError
from sanm.record.identity import (
    digest,
    encoder_identity,
    encoder_name,
    file_fingerprint,
    folder_fingerprint,
    identity,
    run_name,
    table_fingerprint,
)
from tests.conftest import ROOT, config_of, record_of


@pytest.mark.parametrize(
    "group",
    [
        "base_method",
        "noise",
        "components",
        "tau",
        "mask_strategy",
        "mask_source",
        "variant",
        "data",
        "model",
        "pretrain",
        "trainer",
    ],
)
def test_every_shipped_option_composes(group: str) -> None:
    for option in sorted((ROOT / "conf" / group).glob("*.yaml")):
        if (group, option.stem) in {("data", "cifar10"), ("data", "cifar100")}:
            config_of(f"data={option.stem}")
        else:
            config_of(
                f"{group}={option.stem}",
                "base_method.warm_up=2",
                *([f"{group}.path=x"] if option.stem in ("file", "human") else []),
                *(["noise.key=worse"] if option.stem == "human" else []),
                *(["model=imagenet_resnet18"] if option.stem == "imagenet" else []),
                *(["model=timm"] if group == "pretrain" and option.stem in ("timm", "efficientnet_lite0") else []),
            )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("noise.rate=1.5",), r"noise\.rate=1\.5: must be a number in \[0, 1\]"),
        (("noise.rate=abc",), r"noise\.rate=abc: must be a number"),
        (("noise.seed=-1",), r"noise\.seed=-1: must be a whole number in \[0, 4294967295\]"),
        (("noise.convention=both",), r"noise\.convention=both: choose one of inclusive, exclusive"),
        (("data.validation=0.6",), r"data\.validation=0\.6: must be a number in \[0, 0\.5\]"),
        (("data.subset=20.5",), r"data\.subset=20\.5: must be a whole number at least 1"),
        (("data=image_folder", "data.image_size=2.5"), r"data\.image_size=2\.5: must be a whole number in \[8, 1024\]"),
        (("noise=asymmetric", "noise.definition=block"), r"noise\.definition=block: choose one of superclass_next, "),
        (("noise=instance", "noise.scale=255"), r"noise\.scale=255: choose one of raw, unit"),
        (("noise=instance", "noise.scale=null"), r"noise\.scale=null: choose one of raw, unit"),
        (
            ("data=cifar100", "noise=pair_flip"),
            r"base_method\.lambda_u is not tabulated for data=cifar100 noise=pair_flip",
        ),
        (("tau.value=-1",), r"tau\.value=-1.*: must be a number in \[0, 1\]"),
        (("mask_strategy.aspect=0",), r"mask_strategy\.aspect=0.*: must be a number in \(0, 1\]"),
        (("components=none", "components.nlr=true"), "NLR and SMR need AMG"),
        (("components=none", "components.smr=true"), "NLR and SMR need AMG"),
        (("mask_source.name=other",), r"mask_source\.name=other: choose one of pretrained, self"),
        (("mask_source.name=pretrained",), r"mask_source\.input_size=null: must be a whole number"),
        (("mask_source=pretrained", "mask_source.input_size=32"), r"input_size=32: must be .* \[64, 1024\]"),
        (("variant.fill=blue",), r"variant\.fill=blue: choose one of pixel_uniform, box_color"),
        (("trainer.epochs=ten",), r"trainer\.epochs=ten"),
        (("trainer.epochs=0",), r"trainer\.epochs=0"),
        (("trainer.last_window=99",), r"last_window"),
        (("images=disk",), r"images=disk: choose one of auto, resident, streamed"),
        (("image_workers=-1",), r"image_workers=-1: must be a whole number in \[0, 64\]"),
        (("image_workers=many",), r"image_workers"),
        (("base_method.alpha=abc",), r"base_method\.alpha=abc: must be a number"),
        (("base_method.confidence_penalty=7",), r"base_method\.confidence_penalty=7: must be true or false"),
        (("base_method.threshold=1.5",), r"base_method\.threshold=1\.5"),
        (("base_method.views=null",), r"base_method\.views=null: must be a whole number"),
        (("model.widths=[a,b]",), r"model\.widths=.*: must be a list"),
        (("model.name=vgg",), r"model\.name=vgg: choose one of cnn9"),
        (("data.augment=3",), r"data\.augment=3: must be a table"),
        (("base_method.views=1.5",), r"base_method\.views=1\.5: must be a whole number"),
        (("data.augment.flip=3",), r"data\.augment\.flip=3: must be true or false"),
        (("model.widths=16",), r"model\.widths=16: must be a list"),
        (("pretrain=simclr", "pretrain.temperature=0"), r"pretrain\.temperature=0.*: must be a number above 0"),
        (("pretrain=simclr", "pretrain.warm_up=21"), r"pretrain\.warm_up=21 is more than pretrain\.epochs=20"),
        (("pretrain=simclr", "pretrain.pool=none"), r"pretrain\.pool=none: choose one of simclr, weak"),
        (("pretrain=file",), r"pretrain=file needs pretrain\.path=FILE"),
        (("model=resnet18", "model.block=big"), r"model\.block=big: choose one of basic, bottleneck"),
        (("model=cnn9", "model.dropout=1"), r"model\.dropout=1.*: must be a number in \[0, 0\.9\]"),
        (("pretrain=imagenet",), r"pretrain=imagenet fits imagenet_resnet18 and imagenet_resnet50 alone"),
        (("model=imagenet_resnet18", "model.depth=101"), r"model\.depth=101: must be a whole number in \[18, 50\]"),
        (("noise=human",), r"noise=human needs noise\.path=FILE, .*: aggre, random1, random2, random3, worse, fine$"),
        (("noise=human", "noise.path=x"), r"noise=human needs noise\.path=FILE"),
        (("noise=human", "noise.path=x", "noise.key=worst"), r"noise\.key=worst: choose one of aggre"),
        (("data=clothing1m", "data.train_part=all"), r"data\.train_part=all: choose one of noisy, clean"),
        (
            ("noise=file", "noise.path=x", "noise.kind=random"),
            r"noise\.kind=random: choose one of symmetric, asymmetric",
        ),
        (
            ("model=imagenet_resnet18", "pretrain=imagenet", "model.depth=20"),
            r"model\.depth=20: pretrain=imagenet has weights for 18, 34, 50",
        ),
        (("data=webvision", "data.classes=3000"), r"data\.classes=3000: must be a whole number"),
        (("data=csv", "data.augment.crop=64"), r"data\.augment\.crop=64 is more than data\.image_size=32; lower it"),
        (("data=csv", "+data.columns.lable=x"), r"data\.columns\.lable: no such key; there are file, label, split"),
        (("data=csv", "data.columns.label=null"), r"data\.columns\.label=null: must be text"),
        (("data=csv", "data.skip_bad=yes_please"), r"data\.skip_bad=yes_please: must be true or false"),
        (("seed=-1",), r"seed=-1"),
        (("seed=1.5",), r"seed"),
        (
            ("data=cifar10", "noise.rate=0.33"),
            r"base_method\.lambda_u is not tabulated for .*noise\.rate=0\.33.*set base_method\.lambda_u=",
        ),
        (
            ("data=cifar100", "noise=asymmetric"),
            r"base_method\.lambda_u is not tabulated for data=cifar100 noise=asymmetric",
        ),
    ],
)
def test_refused_with_one_line(overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        config_of(*overrides)
    assert "\n" not in str(refused.value)


def test_a_missing_setting_can_be_given() -> None:
    assert config_of("data=cifar10", "noise.rate=0.33", "base_method.lambda_u=10")["base_method"]["lambda_u"] == 10


@pytest.mark.parametrize("noise", ["asymmetric", "pair_flip", "instance"])
def test_dividemix_takes_noise_with_a_direction_alike(noise: str) -> None:
    method = config_of("data=cifar10", f"noise={noise}")["base_method"]
    assert (method["lambda_u"], method["confidence_penalty"], method["threshold"]) == (0, True, 0.5)


@pytest.mark.parametrize("method", ["elr", "elr_plus"])
@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("data=csv", "data.path=t.csv"), (1, 0.9)),
        (("data=image_folder", "data.root=."), (1, 0.9)),
        (("data=cifar10", "noise=human", "noise.path=h.pt", "noise.key=worse"), (1, 0.9)),
        (("data=cifar10", "noise=asymmetric"), (1, 0.9)),
        (("data=cifar10", "noise=symmetric"), (3, 0.7)),
        (("data=csv", "data.path=t.csv", "noise=symmetric"), (3, 0.7)),
        (("preset=clothing1m", "data.root=."), (3, 0.7)),
    ],
)
def test_elr_takes_labels_that_people_gave_as_asymmetric(
    method: str, labels: tuple[str, ...], expected: tuple[float, float]
) -> None:
    composed = config_of(*labels, f"base_method={method}")["base_method"]
    assert (composed["lambda_elr"], composed["beta"]) == expected


def test_paper_preset_is_the_papers_protocol() -> None:
    config = config_of("preset=paper", "data=cifar100", "noise.rate=0.8")
    assert config["trainer"] == {
        "epochs": 300, "batch_size": 64, "lr": 0.02, "momentum": 0.9, "weight_decay": 5e-4,
        "milestones": [150], "decay": 0.1, "last_window": 10, "precision": "fp32", "compile": False, "optimizer": "sgd",
        "schedule": "steps", "restart_every": None, "lr_min": None, "late_momentum": None, "epoch_samples": None,
        "save_model": True, "checkpoint_every": 60, "statistics": "running", "backbone_lr": 1.0,
        "head_epochs": 0,
    }  # fmt: skip
    assert config["model"]["widths"] == [64, 128, 256, 512]
    assert (config["base_method"]["warm_up"], config["base_method"]["lambda_u"]) == (30, 150)
    assert (config["tau"]["value"], config["mask_strategy"]["aspect"], config["data"]["subset"]) == (0.2, 0.8, None)


def test_variants_say_the_same_keys_and_differ_in_most() -> None:
    paper, released = (config_of(f"variant={name}")["variant"] for name in ("paper", "released"))
    assert paper.keys() == released.keys()
    same = {key for key in paper if paper[key] == released[key]}
    assert same >= {"masked_target", "unmasked_views"}, "the released code softens its method's targets too"
    assert len(paper) - len(same) > 8


def name(*overrides: str) -> str:
    return run_name(record_of(*overrides))


def test_identity_is_the_values_not_how_they_were_given() -> None:
    assert name("tau.value=0.2") == name("tau=paper") == name()
    assert name("tau=low") == name("tau.value=0.1") != name()
    assert name("base_method.alpha=4") == name("base_method.alpha=4.0")
    assert name("variant=released") == name(
        "variant.masked_views=separate", "variant.activation=energy", "variant.ratio_at_maximum=released",
        "variant.ratio_at_minimum=as_maximum", "variant.painted_part=0.5", "variant.anchor=corner",
        "variant.fill=box_color", "variant.label_ratio=nominal",
        "variant.reconstruction_space=normalised", "variant.reconstruction_weight=0.02",
    )  # fmt: skip
    assert name("components=full", "components.smr=false") == name("components=amg_nlr")


@pytest.mark.parametrize(
    "neutral",
    [
        "device=cpu",
        "images=streamed",
        "image_workers=5",
        "runs_dir=/x",
        "cache_dir=/y",
        "retry=true",
        "save_labels=true",
        "trainer.save_model=false",
    ],
)
def test_identity_ignores_what_cannot_change_a_result(neutral: str) -> None:
    assert name(neutral) == name()


@pytest.mark.parametrize(
    "one", ["tau.value=0.3", "mask_strategy=random", "mask_source=pretrained", "variant=released", "components.start=3"]
)
def test_sanms_settings_matter_only_where_it_takes_part(one: str) -> None:
    assert name("components=none", one) == name("components=none")
    assert name("components=full", one) != name("components=full")


def test_settings_that_a_choice_makes_idle_do_not_matter() -> None:
    assert name("variant=released", "tau.value=0.3") == name("variant=released"), "its ratios have numbers of their own"
    assert name("components=amg", "variant.label_ratio=nominal") == name("components=amg")
    assert name("components=amg_nlr", "variant.reconstruction_weight=3") == name("components=amg_nlr")
    assert name("mask_strategy=fixed", "variant.ratio_at_minimum=as_maximum") == name("mask_strategy=fixed")
    assert name("mask_strategy=fixed", "variant=released", "tau.value=0.3") != name(
        "mask_strategy=fixed", "variant=released"
    )


@pytest.mark.parametrize("one", ["seed=2", "noise.rate=0.2", "trainer.precision=bf16", "data.subset=500"])
def test_identity_holds_what_can(one: str) -> None:
    assert name(one) != name()


def test_without_pre_training_there_is_no_trace_of_it() -> None:
    assert name("pretrain=none") == name()
    assert "pretrain" not in record_of("base_method=ce", "components=none")


@pytest.mark.parametrize(
    ("trainer", "wrong", "key"),
    [
        ("coteaching", "trainer.milestones=[]", "trainer.milestones"),
        ("coteaching", "trainer.epochs=79", "trainer.milestones"),
        ("elr", "trainer.lr_min=null", "trainer.lr_min"),
        ("elr", "trainer.restart_every=null", "trainer.restart_every"),
        ("paper", "trainer.schedule=quadratic", "trainer.schedule"),
        ("paper", "trainer.optimizer=lion", "trainer.optimizer"),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_refused(trainer: str, wrong: str, key: str) -> None:
    with pytest.raises(InputError, match=key):
        config_of("data=cifar10", f"trainer={trainer}", wrong)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (("base_method=coteaching", "noise=none"), "base_method.noise_rate"),
        (("base_method=cdr", "noise=none"), "base_method.noise_rate"),
        (("noise=asymmetric", "noise.definition=superclass_next"), "noise.definition"),
        (("trainer.optimizer=adam", "trainer.momentum=1.0"), "trainer.momentum"),
    ],
)
def test_what_a_method_or_a_noise_model_lacks_is_told(overrides: tuple[str, ...], key: str) -> None:
    with pytest.raises(InputError, match=key):
        config_of(*overrides)


def test_coteaching_can_estimate_what_nobody_knows() -> None:
    estimated = ("base_method=coteaching", "base_method.forget_rate=estimated")
    assert config_of(*estimated, "noise=none")["base_method"]["noise_rate"] is None
    assert name(*estimated, "base_method.noise_rate=0.2") == name(*estimated, "base_method.noise_rate=0.3")


@pytest.mark.parametrize(
    "first",
    [
        "quality.iterations=10",
        "trainer.schedule=steps",
        "trainer.optimizer=sgd",
        "variant.masked_target=method",
        "variant.unmasked_views=kept",
        "trainer.epoch_samples=null",
    ],
)
def test_settings_that_came_later_leave_the_names_of_earlier_runs(first: str) -> None:
    assert name(first) == name()
    group, _, key = first.partition("=")[0].partition(".")
    assert key not in record_of()[group]
    assert name("variant.masked_target=prediction") != name() != name("quality.iterations=20")


def test_settings_of_a_folder_that_came_later_leave_the_names_of_earlier_runs() -> None:
    config = config_of("data=image_folder", "noise=none")
    data = config["data"]
    older = {key: value for key, value in data.items() if key != "skip_bad"}
    older["augment"] = {key: value for key, value in data["augment"].items() if key != "crop"}
    assert identity({**config, "data": older}) == identity(config)
    assert identity({**config, "data": {**data, "skip_bad": True}}) != identity(config)


@pytest.mark.parametrize("data", ["image_folder", "csv", "clothing1m", "animal10n", "webvision", "food101n"])
def test_real_labels_get_no_noise_unless_that_is_asked_for(data: str) -> None:
    assert config_of(f"data={data}")["noise"] == {"name": "none"}
    assert config_of(f"data={data}", "noise=symmetric", "noise.rate=0.2")["noise"]["rate"] == 0.2


@pytest.mark.parametrize("preset", ["clothing1m", "animal10n", "webvision", "food101n"])
@pytest.mark.parametrize("method", ["ce", "coteaching", "elr_plus", "dividemix", "c2d"])
def test_presets_of_real_data_take_every_method(preset: str, method: str) -> None:
    more = ("base_method.forget_rate=estimated",) if method == "coteaching" else ()
    config = config_of(f"preset={preset}", f"base_method={method}", *more)
    assert config["data"]["name"] == preset
    assert config["noise"]["name"] == "none"
    if preset in ("clothing1m", "food101n"):
        assert config["pretrain"]["name"] == "imagenet"


def test_clothing1m_preset_is_dividemixs_protocol() -> None:
    config = config_of("preset=clothing1m")
    trainer, method = config["trainer"], config["base_method"]
    assert (trainer["epochs"], trainer["milestones"], trainer["epoch_samples"]) == (80, [40], 32_000)
    assert (trainer["batch_size"], trainer["lr"], trainer["weight_decay"]) == (32, 0.002, 1e-3)
    assert (method["warm_up"], method["lambda_u"], method["alpha"], method["threshold"]) == (1, 0, 0.5, 0.5)
    assert method["confidence_penalty"]
    assert (config["model"]["depth"], config["data"]["augment"]["crop"]) == (50, 224)


def test_presets_of_animals_and_food_are_plcs() -> None:
    for preset, lr, milestones in (("animal10n", 0.1, [50, 75]), ("food101n", 0.005, [10, 20])):
        trainer = config_of(f"preset={preset}")["trainer"]
        assert (trainer["lr"], trainer["milestones"]) == (lr, milestones)
        assert (trainer["momentum"], trainer["weight_decay"]) == (0.0, 1e-3)


def test_labels_in_a_file_take_the_settings_of_the_noise_that_they_are_said_to_be() -> None:
    heavy = ("data=cifar10", "noise=file", "noise.path=labels.json", "noise.rate=0.9", "base_method.lambda_u=50")
    config = config_of(*heavy)
    assert (config["base_method"]["threshold"], config["quality"]["window"]) == (0.5, 1)
    config = config_of(*heavy[:-1], "noise.kind=symmetric")
    assert (config["base_method"]["threshold"], config["quality"]["window"]) == (0.6, 5)
    assert config["base_method"]["lambda_u"] == 50


def test_imagenet_weights_count_by_what_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = ("model=imagenet_resnet50", "pretrain=imagenet")
    assert record_of(*fits)["pretrain"] == {"name": "imagenet", "weights": "IMAGENET1K_V1"}
    (tmp_path / "own.pth").write_bytes(b"1")
    own = (*fits, f"pretrain.path={tmp_path / 'own.pth'}")
    assert name(*own) != name(*fits) != name("model=imagenet_resnet50")
    monkeypatch.setattr("sanm.record.identity.file_fingerprint", lambda path, key: "0676ba6101234567")
    assert name(*own) == name(*fits), "a copy of torchvision's file is torchvision's"


def test_human_labels_are_known_by_file_and_key(tmp_path: Path) -> None:
    for place, content in (("a.pt", b"1"), ("b.pt", b"1"), ("c.pt", b"2")):
        (tmp_path / place).write_bytes(content)

    def human(file: str, key: str = "worse", *more: str) -> str:
        return name("data=cifar10", f"data.root={tmp_path}", "noise=human", f"noise.path={tmp_path / file}",
                    f"noise.key={key}", *more)  # fmt: skip

    assert "-humanworse-cifar10-" in human("a.pt")
    assert human("a.pt") == human("b.pt") != human("c.pt")
    assert human("a.pt") != human("a.pt", "aggre")
    ordered = [human("a.pt", "worse", f"noise.order={tmp_path / file}") for file in ("a.pt", "b.pt", "c.pt")]
    assert human("a.pt") != ordered[0] == ordered[1] != ordered[2]


def test_a_table_is_known_by_its_rows_and_the_files_it_names(tmp_path: Path) -> None:
    def table(folder: str, text: str = "file,label,other\na.png,1,2\nb.png,2,1\n", image: bytes = b"x") -> str:
        place = tmp_path / folder
        place.mkdir()
        (place / "labels.csv").write_text(text)
        (place / "a.png").write_bytes(image)
        return str(place / "labels.csv")

    first = table("first")
    assert name("data=csv", f"data.path={first}") == name("data=csv", f"data.path={table('moved')}")
    others = [table("rows", "file,label,other\na.png,2,2\nb.png,2,1\n"), table("image", image=b"y"), table("whole")]
    (tmp_path / "whole" / "b.png").write_bytes(b"the first one lacks it")
    (tmp_path / "whole" / "c.png").write_bytes(b"no row names it")
    names = {name("data=csv", f"data.path={path}") for path in (first, *others)}
    names.add(name("data=csv", f"data.path={first}", "data.columns.label=other"))
    assert len(names) == 5
    elsewhere = name("data=csv", f"data.path={first}", f"data.root={tmp_path / 'whole'}")
    assert elsewhere == name("data=csv", f"data.path={others[2]}"), "what the files hold counts, not where they lie"
    with pytest.raises(InputError, match=r"data\.path=.*none\.csv"):
        name("data=csv", f"data.path={tmp_path / 'none.csv'}")


@pytest.mark.parametrize(
    ("header", "split", "as_first"),
    [("file,label,split", "train", True), ("file,label,Split", "train", False), ("file,label,split", "", False)],
)
def test_a_table_that_was_once_read_otherwise_names_another_run(
    tmp_path: Path, header: str, split: str, as_first: bool
) -> None:
    path = str(tmp_path / "labels.csv")
    Path(path).write_text(f"{header}\na.png,1,{split}\nb.png,2,test\n")
    columns = (("file", "file"), ("label", "label"), ("split", None), ("true_label", None))
    found = table_fingerprint(path, None, columns)
    assert (found[:8] == file_fingerprint(path, "data.path")[:8]) == as_first
    assert len(found) == 16


def with_definition(definition: str | None) -> str:
    config = config_of("noise=asymmetric")
    return run_name(identity({**config, "noise": {**config["noise"], "definition": definition}}))


def test_the_default_definition_has_the_name_of_none() -> None:
    assert with_definition(None) == with_definition("superclass_next") != with_definition("block5")


def test_c2d_averages_losses_at_the_highest_rates_alone() -> None:
    windows = [
        config_of("base_method=c2d", "base_method.threshold=0.5", f"noise.rate={rate}")["quality"]["window"]
        for rate in (0.8, 0.9, 0.95)
    ]
    assert windows == [1, 5, 5]


def test_a_methods_own_optimizer_fits_into_the_papers_preset() -> None:
    config = config_of("preset=paper", "base_method=coteaching", "trainer=coteaching")
    assert (config["trainer"]["optimizer"], config["trainer"]["epochs"]) == ("adam", 199)


@pytest.mark.parametrize("one", ["pretrain.seed=2", "pretrain.epochs=30", "pretrain.lr=0.2", "pretrain.pool=weak"])
def test_a_run_is_another_with_another_encoder(one: str) -> None:
    assert len({name(), name("pretrain=simclr"), name("pretrain=simclr", one)}) == 3


def test_a_new_setting_that_is_off_keeps_old_identities() -> None:
    record = record_of()
    grown = identity({**config_of(), "something_new": None})
    assert digest(grown) == digest(record)


def test_a_definition_that_is_not_given_is_not_in_the_identity() -> None:
    assert record_of("noise=asymmetric")["noise"] == {"name": "asymmetric", "rate": 0.4, "seed": 1}
    assert name("noise=instance", "noise.scale=unit") != name("noise=instance")


def encoder(*overrides: str) -> str:
    return encoder_name(encoder_identity(config_of("pretrain=simclr", *overrides)))


@pytest.mark.parametrize(
    "other",
    [
        "seed=2", "noise.rate=0.2", "noise=none", "base_method=ce", "components=none", "trainer.epochs=30",
        "data.validation=0", "data.test_subset=100", "device=cpu", "tau=low",
    ],
)  # fmt: skip
def test_runs_share_an_encoder_whatever_their_labels_method_or_seed(other: str) -> None:
    assert encoder(other) == encoder()


@pytest.mark.parametrize(
    "other",
    ["pretrain.seed=2", "pretrain.epochs=30", "data.subset=500", "model=preact_small", "data.augment.flip=true"],
)
def test_an_encoder_is_its_recipe_images_and_network(other: str) -> None:
    assert encoder(other) != encoder()


def test_a_method_can_choose_its_pre_training(tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    shutil.copytree(CONF, conf)
    choice = "defaults:\n  - override /pretrain@_global_.pretrain: simclr\n"
    (conf / "base_method" / "x.yaml").write_text(choice + "name: x\nwarm_up: 5\n")
    with initialize_config_dir(str(conf), version_base="1.3"):
        chosen, overridden, other = (
            compose("config", overrides=overrides).pretrain.name
            for overrides in (["base_method=x"], ["base_method=x", "pretrain=none"], ["base_method=ce"])
        )
    assert (chosen, overridden, other) == ("simclr", "none", "none")


def test_published_recipe_of_pre_training() -> None:
    assert config_of("pretrain=simclr", "data=cifar10")["pretrain"] == {
        "name": "simclr", "epochs": 1000, "batch_size": 1024, "lr": 0.5, "warm_up": 10, "momentum": 0.9,
        "weight_decay": 1e-4, "temperature": 0.5, "loss_scale": pytest.approx(0.5 / 0.07), "projection": 128,
        "pool": "simclr", "precision": "fp32", "seed": 1,
    }  # fmt: skip
    assert config_of("pretrain=simclr")["pretrain"]["epochs"] == 20


def test_other_files_are_another_run(tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    labels.write_text("[1, 2]")
    first = name("noise=file", f"noise.path={labels}")
    copy = tmp_path / "copy.json"
    copy.write_text("[1, 2]")
    assert name("noise=file", f"noise.path={copy}") == first
    copy.write_text("[1, 3]")
    from sanm.record.identity import file_fingerprint

    file_fingerprint.cache_clear()
    assert name("noise=file", f"noise.path={copy}") != first
    with pytest.raises(InputError, match=r"noise\.path="):
        name("noise=file", f"noise.path={tmp_path / 'none.json'}")


def test_masks_by_the_learning_network_are_not_written_down() -> None:
    for overrides in ((), ("components=none",), ("components=amg", "variant=released")):
        config = config_of(*overrides)
        older = {key: value for key, value in config.items() if key != "mask_source"}
        assert digest(identity(config)) == digest(identity(older))
    assert name("mask_source.weights=x", "mask_source.input_size=96") == name(), "settings of the other option"


def test_masks_by_another_network_are_another_run() -> None:
    frozen = name("mask_source=pretrained")
    assert frozen != name()
    assert frozen != name("mask_source=pretrained", "mask_source.input_size=224")
    assert name("components=none", "mask_source=pretrained", "mask_source.weights=/none") == name("components=none")
    assert record_of("mask_source=pretrained")["mask_source"]["weights"] == "IMAGENET1K_V1"


def test_weights_count_by_what_they_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        (tmp_path / place).write_bytes(content)
    a, b, c = (name("mask_source=pretrained", f"mask_source.weights={tmp_path / place}") for place in "abc")
    assert a == b != c
    assert a != name("mask_source=pretrained")
    with pytest.raises(InputError, match=r"mask_source\.weights=.*none"):
        name("mask_source=pretrained", f"mask_source.weights={tmp_path / 'none'}")
    monkeypatch.setattr("sanm.record.identity.file_fingerprint", lambda path, key: "f37072fd01234567")
    published = name("mask_source=pretrained", f"mask_source.weights={tmp_path / 'a'}")
    assert published == name("mask_source=pretrained"), "a copy of torchvision's file is torchvision's"


def test_a_moved_folder_is_the_same_data_and_a_changed_one_is_not(tmp_path: Path) -> None:
    for place in ("a", "b", "c"):
        folder = tmp_path / place / "train" / "cat"
        folder.mkdir(parents=True)
        (folder / "1.jpg").write_bytes(b"12" if place == "c" else b"11")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"")  # what loaders pass over
    a, b, c = (folder_fingerprint(str(tmp_path / place), ("train/*",)) for place in ("a", "b", "c"))
    assert a == b != c
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "train").symlink_to(tmp_path / "c" / "train")
    assert folder_fingerprint(str(tmp_path / "linked"), ("train/*",)) == c
    assert folder_fingerprint(str(tmp_path), ("none/*",)) is None
    with pytest.raises(InputError, match=r"data\.root="):
        folder_fingerprint(str(tmp_path / "none"), ("train/*",))


def test_a_pattern_with_a_slash_in_front_is_a_place(tmp_path: Path) -> None:
    for place in ("list.txt", "in/list.txt", "in/deep/list.txt", ".hidden.txt"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(place)
    by_pattern = {pattern: folder_fingerprint(str(tmp_path), (pattern,)) for pattern in ("/*.txt", "/*/*.txt", "*.txt")}
    assert len({*by_pattern.values()} - {None}) == 3
    before = by_pattern["/*.txt"]
    (tmp_path / "in" / "more.txt").write_text("elsewhere")
    folder_fingerprint.cache_clear()
    assert folder_fingerprint(str(tmp_path), ("/*.txt",)) == before
    assert folder_fingerprint(str(tmp_path), ("/*/*.txt",)) != by_pattern["/*/*.txt"]
