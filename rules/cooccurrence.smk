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
        "results/{dataset}/seed{seed}/{variant}/cooccurrence.mrcs",
    log:
        "logs/{dataset}/seed{seed}/{variant}/cooccur.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/cooccur.tsv"
    group:
        "maps_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    threads: TORCH_THREADS
    resources:
        **needs("cooccur", "cooccurrence"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        flags=flags("cooccurrence"),
    shell:
        "python -m civa cooccur --volumes {input.volumes:q} "
        + TABLES
        + " --weights {input.weights:q} --predictions {input.predictions:q} --out {output:q} "
        "--seed {wildcards.seed} "
        "--threads {threads} --gpu {params.gpu} {params.flags} --log {log:q}"


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
        maps="results/{dataset}/seed{seed}/{variant}/merged.mrcs",
        choice="results/{dataset}/seed{seed}/{variant}/merged.json",
    log:
        "logs/{dataset}/seed{seed}/{variant}/merge.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/merge.tsv"
    group:
        "labels_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("merge"),
    params:
        flags=flags("merge"),
    shell:
        "python -m civa merge --gradcam {input.gradcam:q} --cooccurrence {input.cooccurrence:q} "
        + TRUTH
        + " --out {output.maps:q} --choice {output.choice:q} {params.flags} --log {log:q}"
