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
        scores=made("crf", "scores/crf.csv"),
        particles=PARTICLES,
        split=SPLIT,
        code=code("plot_overview"),
    output:
        drawn("overview"),
    log:
        "logs/{dataset}/seed{seed}/{variant}/plot_overview.log",
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("plot_overview"),
    shell:
        "python -m civa plot-overview --volumes {input.volumes:q} --truth {input.truth:q} "
        "--gradcam {input.gradcam:q} --merged {input.merged:q} --iva {input.iva:q} "
        "--crf {input.crf:q} --scores {input.scores:q} "
        + TABLES
        + " --out {output:q} --log {log:q}"


rule plot_comparison:
    input:
        volumes=VOLUMES,
        truth=MASKS,
        baseline=made("seed_masks", "masks/gradcam.mrcs"),
        ours=made("crf", "masks/crf.mrcs"),
        scores=made("crf", "scores/crf.csv"),
        particles=PARTICLES,
        split=SPLIT,
        code=code("plot_comparison"),
    output:
        drawn("compare"),
    log:
        "logs/{dataset}/seed{seed}/{variant}/plot_comparison.log",
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("plot_comparison"),
    shell:
        "python -m civa plot-comparison --volumes {input.volumes:q} --truth {input.truth:q} "
        "--baseline {input.baseline:q} --ours {input.ours:q} --scores {input.scores:q} "
        + TABLES
        + " --out {output:q} --log {log:q}"


rule plot_charts:
    input:
        curves=own_files("*_curve.csv"),
        choices=own_files("masks/*.json"),
        merged=made("merged", "merged.json"),
        predictions=made("seeds", "predictions.csv"),
        scores=lambda wc: [*trivial_scores(wc), *scores_of(wc)],
        particles=PARTICLES,
        split=SPLIT,
        code=code("plot_charts"),
    output:
        **{name: drawn(name) for name in CHARTS},
    log:
        "logs/{dataset}/seed{seed}/{variant}/plot_charts.log",
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("plot_charts"),
    shell:
        "python -m civa plot-charts --curves {input.curves:q} --choices {input.merged:q} "
        "{input.choices:q} --predictions {input.predictions:q} --scores {input.scores:q} "
        + TABLES
        + " "
        + " ".join(f"--{name} {{output.{name}:q}}" for name in CHARTS)
        + " --log {log:q}"
