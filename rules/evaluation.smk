# Section 5.2 to 5.7: trivial rows, scores, tables, figures, report.
# REQUIRED INPUTS: masks of every row, the ground truth
# OUTPUTS: scores per image, results/tables/, results/{dataset}/seed{seed}/overview.png, report


rule trivial:
    input:
        volumes=VOLUMES,
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        code=code("trivial"),
    output:
        masks="results/{dataset}/trivial/{rule}.mrcs",
        choice="results/{dataset}/trivial/{rule}.json",
    log:
        "logs/{dataset}/trivial/{rule}.log",
    benchmark:
        "benchmarks/{dataset}/trivial/{rule}.tsv"
    wildcard_constraints:
        rule=one_of(civa_runs.TRIVIAL),
    conda:
        "../envs/civa.yaml"
    shell:
        "python -m civa trivial --volumes {input.volumes:q} --masks {input.masks:q} "
        + TABLES
        + " --rule {wildcards.rule} --out {output.masks:q} --choice {output.choice:q} --log {log:q}"


rule score_trivial:
    input:
        prediction="results/{dataset}/trivial/{rule}.mrcs",
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        code=code("score"),
    output:
        "results/{dataset}/trivial/{rule}.csv",
    log:
        "logs/{dataset}/trivial/score_{rule}.log",
    localrule: True
    conda:
        "../envs/civa.yaml"
    shell:
        "python -m civa score --prediction {input.prediction:q} --masks {input.masks:q} "
        + TABLES
        + " --out {output:q} --log {log:q}"


use rule score_trivial as score with:
    input:
        prediction="results/{dataset}/seed{seed}/{variant}/masks/{method}.mrcs",
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        code=code("score"),
    output:
        "results/{dataset}/seed{seed}/{variant}/scores/{method}.csv",
    log:
        "logs/{dataset}/seed{seed}/{variant}/score_{method}.log",


rule tabulate:
    input:
        scores=scored,
        particles=[PARTICLES.format(dataset=d) for d in config["datasets"]],
        code=code("tabulate"),
    output:
        multiext(
            "results/tables/summary", ".csv", ".md", ".tex"
        ),
        ["results/tables/runs.csv"],
    log:
        "logs/tabulate.log",
    localrule: True
    conda:
        "../envs/civa.yaml"
    params:
        config=civa_config.command_flags({"config": civa_config.as_yaml(config)}),
    shell:
        "python -m civa tabulate --scores {input.scores:q} --particles {input.particles:q} "
        "--out results/tables {params.config} --log {log:q}"


rule draw:
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
        code=code("draw"),
    output:
        "results/{dataset}/seed{seed}/{variant}/overview.png",
    log:
        "logs/{dataset}/seed{seed}/{variant}/draw.log",
    conda:
        "../envs/civa.yaml"
    shell:
        "python -m civa draw --volumes {input.volumes:q} --truth {input.truth:q} "
        "--gradcam {input.gradcam:q} --merged {input.merged:q} --iva {input.iva:q} "
        "--crf {input.crf:q} --scores {input.scores:q} "
        + TABLES
        + " --out {output:q} --log {log:q}"


rule report:
    input:
        summary="results/tables/summary.csv",
        figures=overviews(),
        runs="results/tables/runs.csv",
        code=code("report"),
    output:
        "results/report.html",
    log:
        "logs/report.log",
    localrule: True
    conda:
        "../envs/civa.yaml"
    params:
        config=civa_config.command_flags({"config": civa_config.as_yaml(config)}),
    shell:
        "python -m civa report --summary {input.summary:q} --figures {input.figures:q} "
        "--benchmarks benchmarks --out {output:q} {params.config} --log {log:q}"
