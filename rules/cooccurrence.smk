# Section 4.3: cross-image co-occurrence, and its merger with the Grad-CAM maps.
# REQUIRED INPUTS: volumes.mrcs, classifier.safetensors, predictions.csv, gradcam.mrcs
# OUTPUTS: cooccurrence.mrcs, merged.mrcs, merged.json


rule cooccur:
    input:
        volumes=VOLUMES,
        particles=PARTICLES,
        split=SPLIT,
        weights=made("classifier", "classifier.safetensors"),
        predictions=made("seeds", "predictions.csv"),
        code=code("cooccur"),
    output:
        out=f"{RUN}/cooccurrence.mrcs",
    log:
        f"{LOGS}/cooccur.log",
    benchmark:
        f"{BENCHMARKS}/cooccur.tsv"
    group:
        "maps_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("cooccur", "cooccurrence"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        flags=flags("cooccur"),
    shell:
        civa("cooccur")


rule merge:
    input:
        gradcam=made("seeds", "gradcam.mrcs"),
        cooccurrence=made("cooccurrence", "cooccurrence.mrcs"),
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        predictions=made("seeds", "predictions.csv"),
        code=code("merge"),
    output:
        out=f"{RUN}/merged.mrcs",
        choice=f"{RUN}/merged.json",
    log:
        f"{LOGS}/merge.log",
    benchmark:
        f"{BENCHMARKS}/merge.tsv"
    group:
        "labels_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    resources:
        **needs("merge"),
    params:
        flags=flags("merge"),
    shell:
        civa("merge")
