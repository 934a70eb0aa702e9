# Section 5.2 to 5.7: trivial rows, scores, quality ledger, tables, report.
# REQUIRED INPUTS: masks of every row, the ground truth where there is one
# OUTPUTS: scores per image, ledger.csv of every run, results/tables/, results/report.html,
# results/figures/stress_tests.png where the configuration has stress_tests


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
    group:
        "data_{dataset}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("trivial"),
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
    group:
        "data_{dataset}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("score"),
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
    group:
        "evaluate_{dataset}_{seed}"


rule assess:
    input:
        metrics=made("classifier", "classifier.json"),
        predictions=made("seeds", "predictions.csv"),
        gradcam=made("seed_masks", "masks/gradcam.mrcs"),
        pseudo_labels=made("pseudo_labels", "masks/cooccurrence.mrcs"),
        iva=made("segment", "masks/iva.mrcs"),
        crf=made("crf", "masks/crf.mrcs"),
        averages=made("average", "averages.json"),
        alignment=made("align", "alignment.csv"),
        consensus=made("map_back", "masks/consensus.mrcs"),
        scores=scores_of,
        trivial=trivial_scores,
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        code=code("assess"),
    output:
        "results/{dataset}/seed{seed}/{variant}/ledger.csv",
    log:
        "logs/{dataset}/seed{seed}/{variant}/assess.log",
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("assess"),
    shell:
        "python -m civa assess --metrics {input.metrics:q} --predictions {input.predictions:q} "
        + TABLES
        + " --gradcam {input.gradcam:q} --pseudo-labels {input.pseudo_labels:q} "
        "--iva {input.iva:q} --crf {input.crf:q} --scores {input.scores:q} "
        "--trivial {input.trivial:q} --masks {input.masks:q} --averages {input.averages:q} "
        "--alignment {input.alignment:q} --consensus {input.consensus:q} "
        "--out {output:q} --log {log:q}"


rule tables:
    input:
        scores=finished(row.scores for row in civa_runs.rows(config)),
        particles=finished(PARTICLES.format(dataset=d) for d in config["datasets"]),
        code=code("tabulate"),
    output:
        tables=[
            for_all(path, "table") if path.endswith(".csv") else path
            for path in TABULATED
        ],
        results=for_all("results/tables/results.csv", "results"),
    log:
        "logs/tabulate.log",
    localrule: True
    conda:
        "../envs/civa.yaml"
    params:
        config=civa_config.command_flags({"config": civa_config.as_yaml(config)}),
    shell:
        "python -m civa tabulate --scores {input.scores:q} --particles {input.particles:q} "
        "--results {output.results:q} {params.config} --log {log:q}"


rule plot_conditions:
    input:
        results="results/tables/results.csv",
        code=code("plot_conditions"),
    output:
        report(
            STRESS_TESTS,
            caption="../civa/report/templates/captions/stress_tests.rst",
            category="all data sets",
            labels={"file": "stress_tests.png"},
        ),
    log:
        "logs/plot_conditions.log",
    localrule: True
    conda:
        "../envs/civa.yaml"
    params:
        config=civa_config.command_flags(
            {
                "config": civa_config.as_yaml(
                    {"stress_tests": config.get("stress_tests", {})}
                )
            }
        ),
    shell:
        "python -m civa plot-conditions --results {input.results:q} --out {output:q} {params.config} "
        "--log {log:q}"


rule report:
    input:
        results="results/tables/results.csv",
        ledgers=finished(f"{run}/ledger.csv" for run in main_runs()),
        figures=finished(pictures()),
        products=finished(row.scores for row in civa_runs.rows(config)),
        code=code("report"),
    output:
        for_all("results/report.html", "page"),
    log:
        "logs/report.log",
    localrule: True
    conda:
        "../envs/civa.yaml"
    params:
        config=civa_config.command_flags({"config": civa_config.as_yaml(config)}),
    shell:
        "python -m civa report --results {input.results:q} --ledgers {input.ledgers:q} "
        "--figures {input.figures:q} --products {input.products:q} --benchmarks benchmarks "
        "--out {output:q} {params.config} --log {log:q}"
