# Section 4.4: affinity pairs and the network that they train.
# REQUIRED INPUTS: volumes.mrcs, masks/cooccurrence.mrcs (the pseudo class-maps)
# OUTPUTS: pairs.npz, iva.safetensors, iva_curve.csv


rule mine_pairs:
    input:
        class_maps=made("pseudo_labels", "masks/cooccurrence.mrcs"),
        particles=PARTICLES,
        split=SPLIT,
        code=code("mine_pairs"),
    output:
        "results/{dataset}/seed{seed}/{variant}/pairs.npz",
    log:
        "logs/{dataset}/seed{seed}/{variant}/mine_pairs.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/mine_pairs.tsv"
    group:
        "labels_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("mine_pairs"),
    params:
        flags=flags("pairs"),
    shell:
        "python -m civa mine-pairs --class-maps {input.class_maps:q} "
        + TABLES
        + " --out {output:q} {params.flags} --log {log:q}"


rule train_iva:
    input:
        volumes=VOLUMES,
        pairs=made("pairs", "pairs.npz"),
        code=code("train_iva"),
    output:
        weights="results/{dataset}/seed{seed}/{variant}/iva.safetensors",
        curve="results/{dataset}/seed{seed}/{variant}/iva_curve.csv",
    log:
        "logs/{dataset}/seed{seed}/{variant}/train_iva.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/train_iva.tsv"
    conda:
        "../envs/civa.yaml"
    threads: TORCH_THREADS
    resources:
        **needs("train_iva", "iva"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        checkpoint="results/{dataset}/seed{seed}/{variant}/.iva.checkpoint",
        flags=flags("iva"),
    shell:
        "python -m civa train-iva --volumes {input.volumes:q} --pairs {input.pairs:q} "
        "--weights {output.weights:q} --curve {output.curve:q} --seed {wildcards.seed} "
        "--threads {threads} --gpu {params.gpu} {params.flags} "
        "--checkpoint {params.checkpoint:q} --log {log:q}"
