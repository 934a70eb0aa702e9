# Section 4.4: affinity pairs and the network that they train.
# REQUIRED INPUTS: volumes.mrcs, masks/cooccurrence.mrcs (the pseudo class-maps)
# OUTPUTS: pairs.npz, iva.safetensors, iva_curve.csv


rule mine_pairs:
    input:
        class_maps=made("pseudo_labels", "masks/cooccurrence.mrcs"),
        particles=PARTICLES,
        split=SPLIT,
        code=code("mine-pairs"),
    output:
        out=f"{RUN}/pairs.npz",
    log:
        f"{LOGS}/mine_pairs.log",
    benchmark:
        f"{BENCHMARKS}/mine_pairs.tsv"
    group:
        "labels_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    resources:
        **needs("mine_pairs"),
    params:
        flags=flags("mine-pairs"),
    shell:
        civa("mine-pairs")


rule train_iva:
    input:
        volumes=VOLUMES,
        pairs=made("pairs", "pairs.npz"),
        code=code("train-iva"),
    output:
        weights=f"{RUN}/iva.safetensors",
        curve=f"{RUN}/iva_curve.csv",
    log:
        f"{LOGS}/train_iva.log",
    benchmark:
        f"{BENCHMARKS}/train_iva.tsv"
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("train_iva", "iva"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        checkpoint=f"{RUN}/.iva.checkpoint",
        flags=flags("train-iva"),
    shell:
        civa("train-iva")
