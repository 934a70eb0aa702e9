# Section 5.6: figures of every run of the method itself.
# REQUIRED INPUTS: masks, maps, curves, choices and scores of the run
# OUTPUTS: results/{dataset}/seed{seed}/{variant}/figures/*.png


rule plot_overview:
    input:
        volumes=VOLUMES,
        truth=MASKS,
        merged=made("merged", "merged.mrcs"),
        gradcam=made("seeds", "gradcam.mrcs"),
        iva=made("segment", "masks/iva.mrcs"),
        crf=made("crf", "masks/crf.mrcs"),
        consensus=made("map_back", "masks/consensus.mrcs"),
        scores=made("crf", "scores/crf.csv"),
        particles=PARTICLES,
        split=SPLIT,
        code=code("plot-overview"),
    output:
        out=drawn("overview"),
    log:
        f"{LOGS}/plot_overview.log",
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    resources:
        **needs("plot_overview"),
    shell:
        civa("plot-overview")


rule plot_comparison:
    input:
        volumes=VOLUMES,
        truth=MASKS,
        baseline=made("seed_masks", "masks/gradcam.mrcs"),
        ours=made("crf", "masks/crf.mrcs"),
        scores=made("crf", "scores/crf.csv"),
        particles=PARTICLES,
        split=SPLIT,
        code=code("plot-comparison"),
    output:
        out=drawn("compare"),
    log:
        f"{LOGS}/plot_comparison.log",
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    resources:
        **needs("plot_comparison"),
    shell:
        civa("plot-comparison")


rule plot_tomogram:
    input:
        tomograms=tomograms,
        properties=TOMOGRAMS,
        truth=MASKS,
        found=made("map_back", "masks/consensus.mrcs"),
        confidence=made("calibrate", "confidence.csv"),
        particles=PARTICLES,
        split=SPLIT,
        code=code("plot-tomogram"),
    output:
        out=drawn("tomogram"),
    log:
        f"{LOGS}/plot_tomogram.log",
    wildcard_constraints:
        dataset=one_of([*EXTRACTED, *SPECIMENS]),
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    resources:
        **needs("plot_tomogram"),
    params:
        flags=flags("plot-tomogram"),
    shell:
        civa("plot-tomogram")


rule plot_charts:
    input:
        curves=own_files("*_curve.csv"),
        choices=lambda wc: [
            *made("merged", "merged.json")(wc),
            *own_files("masks/*.json")(wc),
        ],
        predictions=made("seeds", "predictions.csv"),
        scores=lambda wc: [*trivial_scores(wc), *scores_of(wc)],
        particles=PARTICLES,
        split=SPLIT,
        code=code("plot-charts"),
    output:
        training=drawn("training"),
        sweeps=drawn("sweeps"),
        confusion=drawn("confusion"),
        refinement=drawn("refinement"),
        distributions=drawn("distributions"),
    log:
        f"{LOGS}/plot_charts.log",
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    resources:
        **needs("plot_charts"),
    shell:
        civa("plot-charts")
