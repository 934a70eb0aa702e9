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
        RUN + "/pairs.npz",
    params:
        flags=flags("pairs"),
    log:
        "logs/{dataset}/seed{seed}/{variant}/mine_pairs.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/mine_pairs.tsv"
    conda:
        "../envs/civa.yaml"
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
        weights=RUN + "/iva.safetensors",
        curve=RUN + "/iva_curve.csv",
    params:
        flags=flags("iva"),
    log:
        "logs/{dataset}/seed{seed}/{variant}/train_iva.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/train_iva.tsv"
    threads: TORCH_THREADS
    resources:
        gpu=1,
    conda:
        "../envs/civa.yaml"
    shell:
        "python -m civa train-iva --volumes {input.volumes:q} --pairs {input.pairs:q} "
        "--weights {output.weights:q} --curve {output.curve:q} --seed {wildcards.seed} "
        "--threads {threads} {params.flags} --log {log:q}"
