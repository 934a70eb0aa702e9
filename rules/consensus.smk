# Beyond the paper: averages of every class, poses of all targets, masks by alignment.
# REQUIRED INPUTS: volumes.mrcs, gradcam.mrcs, predictions.csv (class labels only)
# OUTPUTS: averages*.mrcs, averages.csv (FSC), alignment.csv, mapped_back.mrcs,
# masks/consensus.mrcs (contour without a look at masks), masks/consensus_tuned.mrcs,
# probability.mrcs, confidence.csv, figures/averages.png; masks/consensus_network.mrcs where the
# baseline voxresnet_consensus is asked for


rule average:
    input:
        volumes=VOLUMES,
        gradcam=made("seeds", "gradcam.mrcs"),
        particles=PARTICLES,
        split=SPLIT,
        code=code("average"),
    output:
        averages="results/{dataset}/seed{seed}/{variant}/averages.mrcs",
        first_halves="results/{dataset}/seed{seed}/{variant}/averages_half1.mrcs",
        second_halves="results/{dataset}/seed{seed}/{variant}/averages_half2.mrcs",
        spectra="results/{dataset}/seed{seed}/{variant}/averages.csv",
        averages_record="results/{dataset}/seed{seed}/{variant}/averages.json",
    log:
        "logs/{dataset}/seed{seed}/{variant}/average.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/average.tsv"
    group:
        "maps_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    threads: TORCH_THREADS
    resources:
        **needs("average"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        imaging=imaging_flags,
        flags=flags("average"),
    shell:
        "python -m civa average --volumes {input.volumes:q} --gradcam {input.gradcam:q} "
        + TABLES
        + " --averages {output.averages:q} --first-halves {output.first_halves:q} "
        "--second-halves {output.second_halves:q} --spectra {output.spectra:q} "
        "--averages-record {output.averages_record:q} --seed {wildcards.seed} "
        "--threads {threads} --gpu {params.gpu} {params.imaging} {params.flags} --log {log:q}"


rule align:
    input:
        volumes=VOLUMES,
        gradcam=made("seeds", "gradcam.mrcs"),
        particles=PARTICLES,
        split=SPLIT,
        predictions=made("seeds", "predictions.csv"),
        averages=made("average", "averages.mrcs"),
        spectra=made("average", "averages.csv"),
        averages_record=made("average", "averages.json"),
        code=code("align"),
    output:
        alignment="results/{dataset}/seed{seed}/{variant}/alignment.csv",
    log:
        "logs/{dataset}/seed{seed}/{variant}/align.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/align.tsv"
    group:
        "maps_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    threads: TORCH_THREADS
    resources:
        **needs("align"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        flags=flags("align"),
    shell:
        "python -m civa align --volumes {input.volumes:q} --gradcam {input.gradcam:q} "
        + TABLES
        + " --predictions {input.predictions:q} --averages {input.averages:q} "
        "--spectra {input.spectra:q} --averages-record {input.averages_record:q} "
        "--alignment {output.alignment:q} "
        "--threads {threads} --gpu {params.gpu} {params.flags} --log {log:q}"


rule map_back:
    input:
        volumes=VOLUMES,
        averages=made("average", "averages.mrcs"),
        averages_record=made("average", "averages.json"),
        alignment=made("align", "alignment.csv"),
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        code=code("map_back"),
    output:
        mapped_back="results/{dataset}/seed{seed}/{variant}/mapped_back.mrcs",
        masks="results/{dataset}/seed{seed}/{variant}/masks/consensus.mrcs",
        choice="results/{dataset}/seed{seed}/{variant}/masks/consensus.json",
        tuned="results/{dataset}/seed{seed}/{variant}/masks/consensus_tuned.mrcs",
        tuned_choice="results/{dataset}/seed{seed}/{variant}/masks/consensus_tuned.json",
    log:
        "logs/{dataset}/seed{seed}/{variant}/map_back.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/map_back.tsv"
    group:
        "maps_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    threads: TORCH_THREADS
    resources:
        **needs("map_back"),
    params:
        flags=flags("map_back"),
    shell:
        "python -m civa map-back --volumes {input.volumes:q} --averages {input.averages:q} "
        "--averages-record {input.averages_record:q} --alignment {input.alignment:q} "
        + TABLES
        + " --masks {input.masks:q} --mapped-back {output.mapped_back:q} --out {output.masks:q} --choice {output.choice:q} "
        "--tuned {output.tuned:q} --tuned-choice {output.tuned_choice:q} "
        "--threads {threads} {params.flags} --log {log:q}"


rule replace_outliers:
    input:
        aligned=made("map_back", "masks/consensus.mrcs"),
        network=made("voxresnet_consensus", "masks/voxresnet_consensus.mrcs"),
        alignment=made("align", "alignment.csv"),
        particles=PARTICLES,
        code=code("replace_outliers"),
    output:
        masks="results/{dataset}/seed{seed}/{variant}/masks/consensus_network.mrcs",
        choice="results/{dataset}/seed{seed}/{variant}/masks/consensus_network.json",
    log:
        "logs/{dataset}/seed{seed}/{variant}/replace_outliers.log",
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("replace_outliers"),
    shell:
        "python -m civa replace-outliers --aligned {input.aligned:q} --network {input.network:q} "
        "--alignment {input.alignment:q} --particles {input.particles:q} "
        "--out {output.masks:q} --choice {output.choice:q} --log {log:q}"


rule calibrate:
    input:
        mapped_back=made("map_back", "mapped_back.mrcs"),
        averages=made("average", "averages.mrcs"),
        first_halves=made("average", "averages_half1.mrcs"),
        second_halves=made("average", "averages_half2.mrcs"),
        averages_record=made("average", "averages.json"),
        choice=made("map_back", "masks/consensus.json"),
        alignment=made("align", "alignment.csv"),
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        code=code("calibrate"),
    output:
        probabilities="results/{dataset}/seed{seed}/{variant}/probability.mrcs",
        confidence="results/{dataset}/seed{seed}/{variant}/confidence.csv",
        report="results/{dataset}/seed{seed}/{variant}/calibration.json",
    log:
        "logs/{dataset}/seed{seed}/{variant}/calibrate.log",
    benchmark:
        "benchmarks/{dataset}/seed{seed}/{variant}/calibrate.tsv"
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("calibrate"),
    shell:
        "python -m civa calibrate --mapped-back {input.mapped_back:q} --averages {input.averages:q} "
        "--first-halves {input.first_halves:q} --second-halves {input.second_halves:q} "
        "--averages-record {input.averages_record:q} --choice {input.choice:q} --alignment {input.alignment:q} "
        "--masks {input.masks:q} "
        + TABLES
        + " --probabilities {output.probabilities:q} --confidence {output.confidence:q} "
        "--report {output.report:q} --log {log:q}"


rule plot_averages:
    input:
        averages=made("average", "averages.mrcs"),
        spectra=made("average", "averages.csv"),
        averages_record=made("average", "averages.json"),
        choice=made("map_back", "masks/consensus.json"),
        particles=PARTICLES,
        split=SPLIT,
        templates=true_densities,
        code=code("plot_averages"),
    output:
        drawn("averages"),
    log:
        "logs/{dataset}/seed{seed}/{variant}/plot_averages.log",
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("plot_averages"),
    shell:
        "python -m civa plot-averages --averages {input.averages:q} --spectra {input.spectra:q} "
        "--averages-record {input.averages_record:q} --choice {input.choice:q} "
        + TABLES
        + " --templates {input.templates:q} --out {output:q} --log {log:q}"
