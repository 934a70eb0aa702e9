"""Weights come back as they were, and other files are refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from civa.checkpoints import load_affinity_network, load_classifier, save_weights
from civa.classifier import build_classifier
from civa.iva import AffinityNetwork

CLASSIFIER = {"architecture": "gap", "classes": 3, "box_voxels": 8}
NETWORK = {"width": 4, "flat_kernels": False}


def volumes() -> torch.Tensor:
    return torch.randn(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))


def test_classifier_comes_back_ready_to_predict(tmp_path: Path) -> None:
    model = build_classifier(**CLASSIFIER).train()
    model(volumes())  # moves the running statistics, which must be kept too
    save_weights(tmp_path / "new" / "weights.safetensors", model, CLASSIFIER)
    loaded = load_classifier(tmp_path / "new" / "weights.safetensors")
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(volumes()), model.eval()(volumes()))


def test_affinity_network_comes_back_ready_to_predict(tmp_path: Path) -> None:
    model = AffinityNetwork(**NETWORK).to(memory_format=torch.channels_last_3d)
    save_weights(tmp_path / "weights.safetensors", model, NETWORK)
    loaded = load_affinity_network(tmp_path / "weights.safetensors")
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_same_weights_give_the_same_file(tmp_path: Path) -> None:
    model = build_classifier(**CLASSIFIER)
    for name in ("one", "two"):
        save_weights(tmp_path / name, model, CLASSIFIER)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("load", [load_classifier, load_affinity_network])
def test_missing_file_is_named(tmp_path: Path, load) -> None:
    with pytest.raises(ValueError, match=r"none\.safetensors is not a civa weights file"):
        load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x04K\x01."])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a civa weights file .*train the network again"):
        load_classifier(path)


def test_weights_of_another_program_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="is not a civa weights file"):
        load_classifier(path)


def test_weights_of_the_other_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "iva.safetensors"
    save_weights(path, AffinityNetwork(**NETWORK), NETWORK)
    with pytest.raises(ValueError, match=r"iva\.safetensors"):
        load_classifier(path)
