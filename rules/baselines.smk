# Section 5.3: networks with stronger supervision, and VoxResNet on the pseudo labels.
# REQUIRED INPUTS: volumes.mrcs, masks.mrcs, masks/cooccurrence.mrcs (the pseudo labels)
# OUTPUTS: weights, curves and masks of voxresnet_full, unet_slice, voxresnet_pseudo and
# voxresnet_consensus (beyond the paper: trained on masks/consensus.mrcs)


rule train_segmenter:
    input:
        volumes=VOLUMES,
        annotations=annotations,
        masks=validation_masks,
        particles=PARTICLES,
        split=SPLIT,
        code=code("train-segmenter"),
    output:
        weights=f"{RUN}/{{baseline}}.safetensors",
        metrics=f"{RUN}/{{baseline}}.json",
        curve=f"{RUN}/{{baseline}}_curve.csv",
    log:
        f"{LOGS}/train_{{baseline}}.log",
    benchmark:
        f"{BENCHMARKS}/train_{{baseline}}.tsv"
    wildcard_constraints:
        baseline=one_of(civa_runs.BASELINES),
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("train_{baseline}", "{baseline}"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        checkpoint=f"{RUN}/.{{baseline}}.checkpoint",
        network=lambda wc: civa_runs.BASELINES[wc.baseline][0],
        supervision=lambda wc: civa_runs.BASELINES[wc.baseline][1],
        flags=flags("train-segmenter", section="{baseline}"),
    shell:
        civa(
            "train-segmenter",
            network="{params.network}",
            supervision="{params.supervision}",
        )


rule apply_segmenter:
    input:
        volumes=VOLUMES,
        weights=f"{RUN}/{{baseline}}.safetensors",
        metrics=f"{RUN}/{{baseline}}.json",
        masks=validation_masks,
        particles=PARTICLES,
        split=SPLIT,
        code=code("apply-segmenter"),
    output:
        out=f"{RUN}/masks/{{baseline}}.mrcs",
        choice=f"{RUN}/masks/{{baseline}}.json",
    log:
        f"{LOGS}/apply_{{baseline}}.log",
    benchmark:
        f"{BENCHMARKS}/apply_{{baseline}}.tsv"
    wildcard_constraints:
        baseline=one_of(civa_runs.BASELINES),
    group:
        "apply_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("apply_segmenter", "{baseline}"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
    shell:
        civa("apply-segmenter")
