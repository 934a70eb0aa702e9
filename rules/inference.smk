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
        segmentation=f"{RUN}/segmentation.mrcs",
        out=f"{RUN}/masks/iva.mrcs",
        choice=f"{RUN}/masks/iva.json",
    log:
        f"{LOGS}/segment.log",
    benchmark:
        f"{BENCHMARKS}/segment.tsv"
    group:
        "segment_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("segment", "iva", "segment"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        flags=flags("segment"),
    shell:
        civa("segment")


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
        out=f"{RUN}/masks/crf.mrcs",
        choice=f"{RUN}/masks/crf.json",
    log:
        f"{LOGS}/crf.log",
    benchmark:
        f"{BENCHMARKS}/crf.tsv"
    group:
        "refine_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("crf"),
    params:
        flags=flags("crf"),
    shell:
        civa("crf")
