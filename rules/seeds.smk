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
        weights=RUN + "/classifier.safetensors",
        metrics=RUN + "/classifier.json",
        curve=RUN + "/classifier_curve.csv",
    params:
        flags=flags("classifier"),
    log:
        "logs/{dataset}/seed{seed}/{variant}/train_classifier.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/train_classifier.tsv"
    threads: TORCH_THREADS
    resources:
        gpu=1,
    conda:
        "../envs/civa.yaml"
    shell:
        "python -m civa train-classifier --volumes {input.volumes:q} "
        + TABLES
        + " --weights {output.weights:q} --metrics {output.metrics:q} --curve {output.curve:q} "
        "--seed {wildcards.seed} --threads {threads} {params.flags} --log {log:q}"


rule localize:
    input:
        volumes=VOLUMES,
        particles=PARTICLES,
        split=SPLIT,
        weights=made("classifier", "classifier.safetensors"),
        code=code("localize"),
    output:
        gradcam=RUN + "/gradcam.mrcs",
        respondcam=RUN + "/respondcam.mrcs",
        predictions=RUN + "/predictions.csv",
    params:
        flags=flags("localize"),
    log:
        "logs/{dataset}/seed{seed}/{variant}/localize.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/localize.tsv"
    threads: TORCH_THREADS
    resources:
        gpu=1,
    conda:
        "../envs/civa.yaml"
    shell:
        "python -m civa localize --volumes {input.volumes:q} "
        + TABLES
        + " --weights {input.weights:q} --gradcam {output.gradcam:q} "
        "--respondcam {output.respondcam:q} --predictions {output.predictions:q} "
        "--threads {threads} {params.flags} --log {log:q}"


rule binarize:
    input:
        maps=lambda wc: made(*BINARIZED[wc.method])(wc),
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        predictions=made("seeds", "predictions.csv"),
        code=code("binarize"),
    output:
        masks=RUN + "/masks/{method}.mrcs",
        choice=RUN + "/masks/{method}.json",
    params:
        flags=flags("binarize"),
    log:
        "logs/{dataset}/seed{seed}/{variant}/binarize_{method}.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/binarize_{method}.tsv"
    wildcard_constraints:
        method=one_of(BINARIZED),
    conda:
        "../envs/civa.yaml"
    shell:
        "python -m civa binarize --maps {input.maps:q} "
        + TRUTH
        + " --out {output.masks:q} --choice {output.choice:q} {params.flags} --log {log:q}"
