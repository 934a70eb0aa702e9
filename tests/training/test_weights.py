"""Weights come back as they were, and other files are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from civa.civanet.affinity_network import AffinityNetwork
from civa.civanet.classifier import build_classifier
from civa.evaluation.supervised import build_segmenter
from civa.training.weights import load_network, save_weights

CLASSIFIER = {"architecture": "gap", "classes": 3, "box_voxels": 8}
NETWORK = {"width": 4, "flat_kernels": False}
SEGMENTER = {"network": "voxresnet", "classes": 2, "width": 4}
KINDS: list[tuple[Callable[..., nn.Module], dict]] = [
    (build_classifier, CLASSIFIER),
    (AffinityNetwork, NETWORK),
    (build_segmenter, SEGMENTER),
    (build_segmenter, {**SEGMENTER, "network": "unet"}),
]
each_kind = pytest.mark.parametrize(("build", "description"), KINDS)


def volumes() -> torch.Tensor:
    return torch.randn(2, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))


def test_classifier_comes_back_ready_to_predict(tmp_path: Path) -> None:
    model = build_classifier(**CLASSIFIER).train()
    model(volumes())  # moves the running statistics, which must be kept too
    save_weights(tmp_path / "new" / "weights.safetensors", model, CLASSIFIER)
    loaded = load_network(tmp_path / "new" / "weights.safetensors", build_classifier)
    assert not loaded.training
    with torch.no_grad():
        assert torch.equal(loaded(volumes()), model.eval()(volumes()))


@each_kind
def test_networks_come_back_as_they_were(
    tmp_path: Path, build: Callable[..., nn.Module], description: dict
) -> None:
    model = build(**description).to(memory_format=torch.channels_last_3d)
    save_weights(tmp_path / "weights.safetensors", model, description)
    loaded = load_network(tmp_path / "weights.safetensors", build)
    assert not loaded.training
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_same_weights_give_the_same_file(tmp_path: Path) -> None:
    model = build_classifier(**CLASSIFIER)
    for name in ("one", "two"):
        save_weights(tmp_path / name, model, CLASSIFIER)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.safetensors is not a civa weights file"):
        load_network(tmp_path / "none.safetensors", AffinityNetwork)


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"\x80\x04K\x01."])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"is not a civa weights file .*train the network again"):
        load_network(path, build_classifier)


def test_weights_of_another_program_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.ones(2)}, path)
    with pytest.raises(ValueError, match="is not a civa weights file"):
        load_network(path, build_classifier)


@each_kind
def test_weights_of_another_network_are_refused(
    tmp_path: Path, build: Callable[..., nn.Module], description: dict
) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, build(**description), description)
    for other, _ in KINDS:
        if other is not build:
            with pytest.raises(
                ValueError, match=r"weights\.safetensors holds the weights of another network"
            ):
                load_network(path, other)


def test_every_block_is_stored_once(tmp_path: Path) -> None:
    # MONAI's U-Net lists its blocks by level and by nesting; safetensors refuses shared memory.
    model = build_segmenter("unet", 2, 4)
    save_weights(tmp_path / "unet", model, {"network": "unet", "classes": 2, "width": 4})
    stored = sum(value.numel() for value in load_file(tmp_path / "unet").values())
    assert stored == sum(parameter.numel() for parameter in model.parameters())


def test_tensors_of_other_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, nn.Conv3d(1, 1, 1), NETWORK)
    with pytest.raises(ValueError, match=r"another network \(.*Missing key\(s\) in state_dict"):
        load_network(path, AffinityNetwork)


def test_weights_that_do_not_fit_their_description_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, AffinityNetwork(**NETWORK), {**NETWORK, "width": 8})
    with pytest.raises(ValueError, match=r"another .*size mismatch.*: check which file") as error:
        load_network(path, AffinityNetwork)
    assert len(str(error.value)) < 500 + len(str(path))  # not every layer
