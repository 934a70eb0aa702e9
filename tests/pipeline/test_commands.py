"""What the command line says of every flag, and the commands of the rules."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from civa.cli import VERBS
from civa.pipeline.commands import (
    COMMON,
    SECTIONS,
    check_ranges,
    configured,
    describe,
    shell_command,
)
from civa.pipeline.signatures import signature

ROOT = Path(__file__).parents[2]


def said(verb: str, name: str) -> str:
    (parameter,) = (p for p in signature(verb).parameters if p.name == name)
    return describe(verb, parameter)


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_is_described_in_one_place(verb: str) -> None:
    found = signature(verb)
    names = {parameter.name for parameter in found.parameters}
    assert set(found.texts) <= names, "the docstring describes what the stage does not take"
    for parameter in found.parameters:
        name = parameter.name
        places = [found.texts, configured(verb), COMMON, {"gpu"}]  # gpu: a key of its own
        where = [name in place for place in places]
        if parameter.kind in ("input", "product"):
            assert where == [True, False, False, False], name
        elif name == "seed" and name in configured(verb):
            assert not where[0], name  # of a data set or a split, not of a run
        else:
            assert sum(where) == 1, name
        meaning, _, _ = describe(verb, parameter).partition(" (")
        assert len(meaning) > 5, f"{name} has no meaning, at most a range and a default"


def test_help_has_meaning_unit_range_and_default() -> None:
    assert said("simulate", "voxel_size_angstrom") == (
        "edge of a voxel (Å; 0.5 to 100; default: 10.0)"
    )
    assert said("simulate", "defocus_um").endswith(
        "(µm; each above 0, at most 20; default: 4.0 7.0)"
    )
    assert said("simulate", "snr").endswith("(ratio; above 0)")  # it must be given
    assert said("train-iva", "width").endswith(
        "(channels; at least 4, a multiple of 4; default: 32)"
    )
    assert said("train-iva", "flips").endswith("(default: yes)")
    assert said("segment", "threshold").endswith("(probability; above 0, below 1; default: none)")
    assert said("binarize", "fractions").endswith("default: 0.005 0.01 0.015 0.02 0.03 0.05 0.08)")
    assert said("plot-averages", "templates").endswith("(default: none)")
    assert said("recover", "poll_seconds") == "seconds between two looks at the queue (default: 10)"
    assert said("split", "out").startswith("CSV table: class and part")


def test_the_command_of_a_rule_follows_the_signature() -> None:
    assert shell_command("segment") == (
        "python -m civa segment --volumes {input.volumes:q} --weights {input.weights:q} "
        "--cam-masks {input.cam_masks:q} --masks {input.masks:q} --particles {input.particles:q} "
        "--split {input.split:q} --predictions {input.predictions:q} "
        "--segmentation {output.segmentation:q} --out {output.out:q} --choice {output.choice:q} "
        "--threads {threads} --gpu {params.gpu} {params.flags} --log {log:q}"
    )
    command = shell_command("train-iva")
    assert "--seed {wildcards.seed} --threads {threads} --gpu {params.gpu} " in command
    assert "--checkpoint {params.checkpoint:q} {params.flags} " in command


def test_a_seed_of_the_configuration_is_not_that_of_the_run() -> None:
    assert "wildcards" not in shell_command("split")
    assert "wildcards" not in shell_command("simulate")


def test_a_stage_without_a_section_has_no_flags_of_the_configuration() -> None:
    assert shell_command("score") == (
        "python -m civa score --prediction {input.prediction:q} --masks {input.masks:q} "
        "--particles {input.particles:q} --split {input.split:q} --out {output.out:q} --log {log:q}"
    )


def test_what_a_rule_gives_stands_in_its_command() -> None:
    command = shell_command("trivial", rule="{wildcards.rule}")
    assert command.endswith("--choice {output.choice:q} --rule {wildcards.rule} --log {log:q}")
    with pytest.raises(ValueError, match=r"the stage 'trivial' takes no \['rules'\]"):
        shell_command("trivial", rules="{wildcards.rule}")


def test_verbs_with_sections_are_verbs() -> None:
    assert set(SECTIONS) <= set(VERBS)


def test_neither_help_nor_a_command_imports_a_stage() -> None:
    # Snakemake parses the rules in every job; torch, pandas and scipy take seconds to import.
    program = (
        "import contextlib, io, sys; from civa.cli import VERBS, main\n"
        "from civa.pipeline.commands import shell_command\n"
        "for verb in VERBS:\n"
        "    shell_command(verb)\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
        "        main([verb, '--help'])\n"
        "slow = {'torch', 'pandas', 'scipy', 'numpy', 'matplotlib', 'gemmi'} & set(sys.modules)\n"
        "sys.exit(str(slow) if slow else 0)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("verb", "values", "message"),
    [
        (
            "extract",
            {"voxel_size_angstrom": -5.0},
            "--voxel-size-angstrom is -5.0: expected 0.5",
        ),
        ("extract", {"box_voxels": 20}, "--box-voxels is 20: expected 16 to 128, a multiple of 8"),
        (
            "measure-tomograms",
            {"tilt_axis_deg": float("nan")},
            "is nan: expected -90 to 90",
        ),
        ("measure-tomograms", {"tilt_range_deg": (-200.0, 60.0)}, "is -200.0 60.0: expected -90"),
        ("import", {"ctf_state": "flipped"}, "is flipped: expected one of raw, phase-flipped"),
    ],
)
def test_what_the_configuration_would_not_admit_the_command_line_refuses(
    verb: str, values: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_ranges(verb, values)
    check_ranges(verb, dict.fromkeys(values))  # left out
