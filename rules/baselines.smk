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
        code=code("train_segmenter"),
    output:
        weights="results/{dataset}/seed{seed}/{variant}/{baseline}.safetensors",
        metrics="results/{dataset}/seed{seed}/{variant}/{baseline}.json",
        curve="results/{dataset}/seed{seed}/{variant}/{baseline}_curve.csv",
    log:
        "logs/{dataset}/seed{seed}/{variant}/train_{baseline}.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/train_{baseline}.tsv"
    wildcard_constraints:
        baseline=one_of(civa_runs.BASELINES),
    conda:
        "../envs/civa.yaml"
    threads: TORCH_THREADS
    resources:
        **needs("train_{baseline}", "{baseline}"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        checkpoint="results/{dataset}/seed{seed}/{variant}/.{baseline}.checkpoint",
        network=lambda wc: civa_runs.BASELINES[wc.baseline][0],
        supervision=lambda wc: civa_runs.BASELINES[wc.baseline][1],
        flags=lambda wc: flags(wc.baseline)(wc),
    shell:
        "python -m civa train-segmenter --volumes {input.volumes:q} "
        "--annotations {input.annotations:q} --masks {input.masks:q} "
        + TABLES
        + " --weights {output.weights:q} --metrics {output.metrics:q} --curve {output.curve:q} "
        "--network {params.network} --supervision {params.supervision} "
        "--seed {wildcards.seed} "
        "--threads {threads} --gpu {params.gpu} {params.flags} "
        "--checkpoint {params.checkpoint:q} --log {log:q}"


rule apply_segmenter:
    input:
        volumes=VOLUMES,
        weights="results/{dataset}/seed{seed}/{variant}/{baseline}.safetensors",
        metrics="results/{dataset}/seed{seed}/{variant}/{baseline}.json",
        masks=validation_masks,
        particles=PARTICLES,
        split=SPLIT,
        code=code("apply_segmenter"),
    output:
        masks="results/{dataset}/seed{seed}/{variant}/masks/{baseline}.mrcs",
        choice="results/{dataset}/seed{seed}/{variant}/masks/{baseline}.json",
    log:
        "logs/{dataset}/seed{seed}/{variant}/apply_{baseline}.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/apply_{baseline}.tsv"
    wildcard_constraints:
        baseline=one_of(civa_runs.BASELINES),
    group:
        "apply_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    threads: TORCH_THREADS
    resources:
        **needs("apply_segmenter", "{baseline}"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
    shell:
        "python -m civa apply-segmenter --volumes {input.volumes:q} --weights {input.weights:q} "
        "--metrics {input.metrics:q} --masks {input.masks:q} "
        + TABLES
        + " --out {output.masks:q} --choice {output.choice:q} "
        "--threads {threads} --gpu {params.gpu} --log {log:q}"
