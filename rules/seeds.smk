# Section 4.2: the classifier and its localization maps.
# REQUIRED INPUTS: volumes.mrcs, particles.csv, split.csv
# OUTPUTS: classifier.*, {gradcam,respondcam}.mrcs, predictions.csv; masks of all localization maps,
# the merged ones of cooccurrence.smk among them (masks.mrcs: thresholds are chosen on validation)


rule train_classifier:
    input:
        volumes=VOLUMES,
        particles=PARTICLES,
        split=SPLIT,
        code=code("train-classifier"),
    output:
        weights=f"{RUN}/classifier.safetensors",
        metrics=f"{RUN}/classifier.json",
        curve=f"{RUN}/classifier_curve.csv",
    log:
        f"{LOGS}/train_classifier.log",
    benchmark:
        f"{BENCHMARKS}/train_classifier.tsv"
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("train_classifier", "classifier"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        checkpoint=f"{RUN}/.classifier.checkpoint",
        flags=flags("train-classifier"),
    shell:
        civa("train-classifier")


rule localize:
    input:
        volumes=VOLUMES,
        particles=PARTICLES,
        split=SPLIT,
        weights=made("classifier", "classifier.safetensors"),
        code=code("localize"),
    output:
        gradcam=f"{RUN}/gradcam.mrcs",
        respondcam=f"{RUN}/respondcam.mrcs",
        predictions=f"{RUN}/predictions.csv",
    log:
        f"{LOGS}/localize.log",
    benchmark:
        f"{BENCHMARKS}/localize.tsv"
    group:
        "maps_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("localize", "localize"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        flags=flags("localize"),
    shell:
        civa("localize")


rule binarize:
    input:
        maps=lambda wc: made(*BINARIZED[wc.method])(wc),
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        predictions=made("seeds", "predictions.csv"),
        code=code("binarize"),
    output:
        out=f"{RUN}/masks/{{method}}.mrcs",
        choice=f"{RUN}/masks/{{method}}.json",
    log:
        f"{LOGS}/binarize_{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/binarize_{{method}}.tsv"
    wildcard_constraints:
        method=one_of(BINARIZED),
    group:
        "labels_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    resources:
        **needs("binarize"),
    params:
        flags=flags("binarize"),
    shell:
        civa("binarize")
