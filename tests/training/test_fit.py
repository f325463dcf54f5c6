import csv
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from diffmask_training.batches import collate
from diffmask_training.checkpoint import FittedProbe, load_probe
from diffmask_training.classifier import load_classifier
from diffmask_training.config import FitConfig
from diffmask_training.errors import CheckpointError, ConfigError
from diffmask_training.fit import Watcher, fit
from diffmask_training.preparation import prepare
from diffmask_training.probes import ProbeKind
from diffmask_training.sharing import Processes
from tests.support.checkpoint import write_checkpoint


class _Stopped(Exception):
    pass


def _silent(stop_after_epoch: int | None = None) -> Watcher:
    def on_epoch(epoch: int, *_: object) -> None:
        if epoch == stop_after_epoch:
            raise _Stopped

    return Watcher(
        on_start=lambda *_: None,
        on_step=lambda *_: None,
        on_epoch=on_epoch,
        on_finish=lambda *_: None,
    )


@pytest.fixture
def config(checkpoint: Path, texts: Path, tmp_path: Path) -> FitConfig:
    return FitConfig(
        epoch_steps=0,
        precision="fp32",
        data=texts.parent,
        train=Path(texts.name),
        checkpoint=checkpoint,
        probes=tmp_path / "probes",
        epochs=3,
        batch_size=16,
        states_per_text=4,
        learning_rate=1e-2,
    )


def _equal(left: FittedProbe, right: FittedProbe) -> bool:
    one, other = left.probe.state_dict(), right.probe.state_dict()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", ["input", "hidden"])
def test_fit_masks_something_and_keeps_to_the_margin(
    config: FitConfig, kind: ProbeKind
) -> None:
    config = dataclasses.replace(config, kind=kind, epochs=20, margin=0.1)
    last: list[float] = []
    watcher = Watcher(
        on_start=lambda *_: None,
        on_step=lambda *_: None,
        on_epoch=lambda _, figures, __: last.append(figures.mean("kept_share")),
        on_finish=lambda *_: None,
    )
    fitted = fit(config, watcher)
    assert fitted.record.is_feasible
    assert min(last) < 0.9
    assert last[0] > min(last)


def test_looking_ahead_goes_back_to_what_was_initialised(config: FitConfig) -> None:
    config = dataclasses.replace(
        config, epochs=1, lookahead=2, baseline_learning_rate=0.0
    )
    fitted = fit(config, _silent())
    classifier = load_classifier(config.checkpoint)
    words = classifier.encoder.model.get_input_embeddings().weight
    mask_id = classifier.tokenizer.mask_token_id
    assert torch.allclose(fitted.probe.baseline(0), words[mask_id])


def test_spread_of_values_is_that_of_a_file_in_their_order(
    config: FitConfig, tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(tmp_path / "values", task="regression")
    rows = [{"text": "bad", "label": -1}] * 600 + [{"text": "good", "label": 1}] * 600
    file = tmp_path / "ordered.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n")
    config = dataclasses.replace(
        config,
        checkpoint=checkpoint,
        data=tmp_path,
        train=Path(file.name),
        validation=Path(file.name),
        test=Path(file.name),
        validation_texts=10,
    )
    prepared = prepare(config, Processes())
    encoder, (bad, *_, good) = prepared.trainer.encoder, prepared.texts.train
    values = encoder.capture(collate([bad, good], pad_id=0).inputs).logits
    # Half of the texts at either of two values.
    expected = float((values[0] - values[1]).abs()) / 2
    assert encoder.task.value is not None
    assert encoder.task.value.scale == pytest.approx(expected, rel=1e-4)


def test_same_seed_gives_the_same_probe(config: FitConfig, tmp_path: Path) -> None:
    first = fit(config, _silent())
    elsewhere = dataclasses.replace(config, probes=tmp_path / "again")
    assert _equal(first, fit(elsewhere, _silent()))


@pytest.mark.parametrize("kind", ["input", "hidden"])
def test_resuming_equals_not_stopping(
    config: FitConfig, tmp_path: Path, kind: ProbeKind
) -> None:
    config = dataclasses.replace(config, kind=kind)
    whole = fit(config, _silent())
    halved = dataclasses.replace(config, probes=tmp_path / "halved")
    with pytest.raises(_Stopped):
        fit(halved, _silent(stop_after_epoch=1))
    resumed = fit(dataclasses.replace(halved, resume=True), _silent())
    assert _equal(whole, resumed)
    assert whole.record.multipliers == resumed.record.multipliers
    assert whole.record.epochs == resumed.record.epochs


def test_fitted_probe_survives_the_disk(config: FitConfig) -> None:
    fitted = fit(config, _silent())
    read = load_probe(config.probes, "input")
    assert _equal(fitted, read)
    assert read.record.is_feasible == fitted.record.is_feasible
    assert tuple(read.record.multipliers) == fitted.record.multipliers


def test_log_has_a_row_for_every_epoch_and_state(config: FitConfig) -> None:
    fit(config, _silent())
    with (config.probes / "input" / "log.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    states = load_classifier(config.checkpoint).encoder.states
    expected = [(str(e), s) for e in (1, 2, 3) for s in states]
    assert [(row["epoch"], row["state"]) for row in rows] == expected
    assert all(0 <= float(row["kept_share"]) <= 1 for row in rows)


def test_missing_probe_names_the_command_to_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="diffmask-train fit --kind hidden"):
        load_probe(tmp_path, "hidden")


def test_damaged_resume_file_is_named(config: FitConfig) -> None:
    directory = config.probes / "input"
    directory.mkdir(parents=True)
    (directory / "resume.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"resume\.pt.* delete it"):
        fit(dataclasses.replace(config, resume=True), _silent())


def test_settings_that_cannot_work_are_refused_together() -> None:
    with pytest.raises(ConfigError, match=r"margin must be at least 0.*epochs must be"):
        FitConfig(margin=-1.0, epochs=0)


def test_directory_without_a_head_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    config = (checkpoint / "config.json").read_text()
    (tmp_path / "config.json").write_text(
        config.replace("BertForSequenceClassification", "BertModel")
    )
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="BertModel, which has no head"):
        load_classifier(tmp_path)


def test_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_classifier(tmp_path)


def test_tokenizer_of_another_model_is_refused(
    tmp_path: Path, checkpoint: Path
) -> None:
    directory = write_checkpoint(tmp_path / "other", family="bert")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    tokenizer.add_tokens(["unheard", "of"])
    tokenizer.save_pretrained(directory)
    with pytest.raises(CheckpointError, match=r"knows 27 tokens.*embeddings for 25"):
        load_classifier(directory)


def test_tokenizer_without_a_mask_is_refused(tmp_path: Path) -> None:
    directory = write_checkpoint(tmp_path / "other")
    path = directory / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    del settings["mask_token"]
    path.write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="no mask or padding token"):
        load_classifier(directory)


def test_margin_left_open_comes_from_the_models_own_entropy(config: FitConfig) -> None:
    record = fit(dataclasses.replace(config, epochs=1), _silent()).record
    assert record.verdict is not None
    entropy = record.verdict.output_entropy
    assert entropy > 0
    assert 0.01 <= record.config["margin"] <= 1.1 * entropy
    assert record.verdict.margin == record.config["margin"]


def test_margin_given_goes_before_the_share(config: FitConfig) -> None:
    given = dataclasses.replace(config, epochs=1, margin=0.33)
    record = fit(given, _silent()).record
    assert record.config["margin"] == 0.33


def test_epoch_has_as_many_steps_as_asked_for_of_few_texts(config: FitConfig) -> None:
    told: list[int] = []
    seen: list[int] = []
    watcher = dataclasses.replace(
        _silent(),
        on_start=lambda _, num_steps: told.append(num_steps),
        on_step=lambda _: seen.append(1),
    )
    # A pass over the 96 texts has 6 steps.
    record = fit(dataclasses.replace(config, epochs=2, epoch_steps=8), watcher).record
    assert (told, len(seen)) == ([8], 16)
    assert record.config["epoch_steps"] == 8
