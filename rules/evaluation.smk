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
        out="results/{dataset}/trivial/{rule}.mrcs",
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
        ENVIRONMENT
    resources:
        **needs("trivial"),
    shell:
        civa("trivial", rule="{wildcards.rule}")


rule score_trivial:
    input:
        prediction=rules.trivial.output.out,
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        code=code("score"),
    output:
        out="results/{dataset}/trivial/{rule}.csv",
    log:
        "logs/{dataset}/trivial/score_{rule}.log",
    group:
        "data_{dataset}"
    conda:
        ENVIRONMENT
    resources:
        **needs("score"),
    shell:
        civa("score")


use rule score_trivial as score with:
    input:
        prediction=f"{RUN}/masks/{{method}}.mrcs",
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        code=code("score"),
    output:
        out=f"{RUN}/scores/{{method}}.csv",
    log:
        f"{LOGS}/score_{{method}}.log",
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
        averages=made("refine", "averages.json"),
        alignment=made("align", "alignment.csv"),
        consensus=made("map_back", "masks/consensus.mrcs"),
        scores=scores_of,
        trivial=trivial_scores,
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        code=code("assess"),
    output:
        out=f"{RUN}/ledger.csv",
    log:
        f"{LOGS}/assess.log",
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    resources:
        **needs("assess"),
    shell:
        civa("assess")


rule tables:
    input:
        scores=finished(every_score()),
        particles=finished(expand(PARTICLES, dataset=config["datasets"])),
        code=code("tabulate"),
    output:
        tables=[
            (
                for_all(f"results/tables/{name}", "../workflow/report/table.rst")
                if name.endswith(".csv")
                else f"results/tables/{name}"
            )
            for name in TABULATED
        ],
        results=for_all("results/tables/results.csv", "../workflow/report/results.rst"),
    log:
        "logs/tabulate.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=civa_config.as_yaml(config),
    shell:
        civa("tabulate", config="{params.config:q}")


rule plot_conditions:
    input:
        results=rules.tables.output.results,
        code=code("plot-conditions"),
    output:
        out=for_all(
            "results/figures/stress_tests.png",
            "../civa/report/templates/captions/stress_tests.rst",
        ),
    log:
        "logs/plot_conditions.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=civa_config.as_yaml({"stress_tests": config.get("stress_tests", {})}),
    shell:
        civa("plot-conditions", config="{params.config:q}")


rule report:
    input:
        results=rules.tables.output.results,
        ledgers=finished(of_main_runs(rules.assess.output)),
        figures=finished(pictures()),
        products=finished(every_score()),
        tomograms=finished(expand(TOMOGRAMS, dataset=[*IMPORTED, *EXTRACTED])),
        code=code("report"),
    output:
        out=for_all("results/report.html", "../workflow/report/page.rst"),
    log:
        "logs/report.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=civa_config.as_yaml(config),
    shell:
        civa("report", config="{params.config:q}")
