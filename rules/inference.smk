# Section 4.6: proposals chosen by the CAM, and the 3-D CRF.
# REQUIRED INPUTS: volumes.mrcs, iva.safetensors, masks/gradcam.mrcs
# OUTPUTS: segmentation.mrcs (O), masks/{iva,crf}.mrcs and what was chosen on validation


rule segment:
    input:
        volumes=VOLUMES,
        weights=made("iva", "iva.safetensors"),
        cam_masks=made("seed_masks", "masks/gradcam.mrcs"),
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        predictions=made("seeds", "predictions.csv"),
        code=code("segment"),
    output:
        segmentation="results/{dataset}/seed{seed}/{variant}/segmentation.mrcs",
        masks="results/{dataset}/seed{seed}/{variant}/masks/iva.mrcs",
        choice="results/{dataset}/seed{seed}/{variant}/masks/iva.json",
    log:
        "logs/{dataset}/seed{seed}/{variant}/segment.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/segment.tsv"
    group:
        "segment_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    threads: TORCH_THREADS
    resources:
        **needs("segment", "iva", "segment"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        flags=flags("segment"),
    shell:
        "python -m civa segment --volumes {input.volumes:q} --weights {input.weights:q} "
        "--cam-masks {input.cam_masks:q} "
        + TRUTH
        + " --segmentation {output.segmentation:q} --out {output.masks:q} "
        "--choice {output.choice:q} "
        "--threads {threads} --gpu {params.gpu} {params.flags} --log {log:q}"


rule crf:
    input:
        volumes=VOLUMES,
        segmentation=refined(
            ("segment", "segmentation.mrcs"), ("merged", "merged.mrcs")
        ),
        proposals=refined(
            ("segment", "masks/iva.mrcs"), ("pseudo_labels", "masks/cooccurrence.mrcs")
        ),
        segment_choice=refined(
            ("segment", "masks/iva.json"), ("pseudo_labels", "masks/cooccurrence.json")
        ),
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        predictions=made("seeds", "predictions.csv"),
        code=code("crf"),
    output:
        masks="results/{dataset}/seed{seed}/{variant}/masks/crf.mrcs",
        choice="results/{dataset}/seed{seed}/{variant}/masks/crf.json",
    log:
        "logs/{dataset}/seed{seed}/{variant}/crf.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/crf.tsv"
    group:
        "refine_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    threads: TORCH_THREADS
    resources:
        **needs("crf"),
    params:
        flags=flags("crf"),
    shell:
        "python -m civa crf --volumes {input.volumes:q} --segmentation {input.segmentation:q} "
        "--proposals {input.proposals:q} --segment-choice {input.segment_choice:q} "
        + TRUTH
        + " --out {output.masks:q} --choice {output.choice:q} --threads {threads} "
        "{params.flags} --log {log:q}"
