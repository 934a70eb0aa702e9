# Section 4.2: the classifier and its localization maps.
# REQUIRED INPUTS: volumes.mrcs, particles.csv, split.csv
# OUTPUTS: classifier.*, {gradcam,respondcam}.mrcs, predictions.csv


rule train_classifier:
    input:
        volumes=VOLUMES,
        particles=PARTICLES,
        split=SPLIT,
        code=code("train_classifier"),
    output:
        weights="results/{dataset}/seed{seed}/{variant}/classifier.safetensors",
        metrics="results/{dataset}/seed{seed}/{variant}/classifier.json",
        curve="results/{dataset}/seed{seed}/{variant}/classifier_curve.csv",
    log:
        "logs/{dataset}/seed{seed}/{variant}/train_classifier.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/train_classifier.tsv"
    conda:
        "../envs/civa.yaml"
    threads: TORCH_THREADS
    resources:
        **needs("train_classifier", "classifier"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        checkpoint="results/{dataset}/seed{seed}/{variant}/.classifier.checkpoint",
        flags=flags("classifier"),
    shell:
        "python -m civa train-classifier --volumes {input.volumes:q} "
        + TABLES
        + " --weights {output.weights:q} --metrics {output.metrics:q} --curve {output.curve:q} "
        "--seed {wildcards.seed} "
        "--threads {threads} --gpu {params.gpu} {params.flags} "
        "--checkpoint {params.checkpoint:q} --log {log:q}"


rule localize:
    input:
        volumes=VOLUMES,
        particles=PARTICLES,
        split=SPLIT,
        weights=made("classifier", "classifier.safetensors"),
        code=code("localize"),
    output:
        gradcam="results/{dataset}/seed{seed}/{variant}/gradcam.mrcs",
        respondcam="results/{dataset}/seed{seed}/{variant}/respondcam.mrcs",
        predictions="results/{dataset}/seed{seed}/{variant}/predictions.csv",
    log:
        "logs/{dataset}/seed{seed}/{variant}/localize.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/localize.tsv"
    group:
        "maps_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    threads: TORCH_THREADS
    resources:
        **needs("localize", "localize"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        flags=flags("localize"),
    shell:
        "python -m civa localize --volumes {input.volumes:q} "
        + TABLES
        + " --weights {input.weights:q} --gradcam {output.gradcam:q} "
        "--respondcam {output.respondcam:q} --predictions {output.predictions:q} "
        "--threads {threads} --gpu {params.gpu} {params.flags} --log {log:q}"


rule binarize:
    input:
        maps=lambda wc: made(*BINARIZED[wc.method])(wc),
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        predictions=made("seeds", "predictions.csv"),
        code=code("binarize"),
    output:
        masks="results/{dataset}/seed{seed}/{variant}/masks/{method}.mrcs",
        choice="results/{dataset}/seed{seed}/{variant}/masks/{method}.json",
    log:
        "logs/{dataset}/seed{seed}/{variant}/binarize_{method}.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/binarize_{method}.tsv"
    wildcard_constraints:
        method=one_of(BINARIZED),
    group:
        "labels_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("binarize"),
    params:
        flags=flags("binarize"),
    shell:
        "python -m civa binarize --maps {input.maps:q} "
        + TRUTH
        + " --out {output.masks:q} --choice {output.choice:q} {params.flags} --log {log:q}"
