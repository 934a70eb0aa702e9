# Beyond the paper: averages of every class, poses of all targets, masks by alignment.
# REQUIRED INPUTS: volumes.mrcs, gradcam.mrcs, predictions.csv (class labels only); masks.mrcs for the
# tuned contour and calibration
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
        averages=f"{RUN}/first/averages.mrcs",
        first_halves=f"{RUN}/first/averages_half1.mrcs",
        second_halves=f"{RUN}/first/averages_half2.mrcs",
        spectra=f"{RUN}/first/averages.csv",
        averages_record=f"{RUN}/first/averages.json",
    log:
        f"{LOGS}/average.log",
    benchmark:
        f"{BENCHMARKS}/average.tsv"
    group:
        "maps_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("average"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        flags=flags("average", also=imaging),
    shell:
        civa("average")


rule align_first:
    input:
        volumes=VOLUMES,
        gradcam=made("seeds", "gradcam.mrcs"),
        particles=PARTICLES,
        split=SPLIT,
        predictions=made("seeds", "predictions.csv"),
        averages=made("average", "first/averages.mrcs"),
        spectra=made("average", "first/averages.csv"),
        averages_record=made("average", "first/averages.json"),
        weights=[],
        code=code("align"),
    output:
        alignment=f"{RUN}/first/alignment.csv",
    log:
        f"{LOGS}/align_first.log",
    benchmark:
        f"{BENCHMARKS}/align_first.tsv"
    group:
        "maps_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("align_first"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        flags=flags("align", also=lambda wildcards: {"judge": False}),
    shell:
        civa("align")


rule refine:
    input:
        volumes=VOLUMES,
        particles=PARTICLES,
        split=SPLIT,
        alignment=made("refine", "first/alignment.csv"),
        first_averages=made("average", "first/averages.mrcs"),
        first_half1=made("average", "first/averages_half1.mrcs"),
        first_half2=made("average", "first/averages_half2.mrcs"),
        first_spectra=made("average", "first/averages.csv"),
        first_record=made("average", "first/averages.json"),
        code=code("refine"),
    output:
        averages=f"{RUN}/averages.mrcs",
        first_halves=f"{RUN}/averages_half1.mrcs",
        second_halves=f"{RUN}/averages_half2.mrcs",
        spectra=f"{RUN}/averages.csv",
        averages_record=f"{RUN}/averages.json",
        transfer=f"{RUN}/transfer.mrcs",
        noise=f"{RUN}/noise.mrcs",
    log:
        f"{LOGS}/refine.log",
    benchmark:
        f"{BENCHMARKS}/refine.tsv"
    group:
        "maps_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("refine"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
    shell:
        civa("refine")


rule align:
    input:
        volumes=VOLUMES,
        gradcam=made("seeds", "gradcam.mrcs"),
        particles=PARTICLES,
        split=SPLIT,
        predictions=made("seeds", "predictions.csv"),
        averages=made("refine", "averages.mrcs"),
        spectra=made("refine", "averages.csv"),
        averages_record=made("refine", "averages.json"),
        weights=made("refine", "transfer.mrcs", "noise.mrcs"),
        code=code("align"),
    output:
        alignment=f"{RUN}/alignment.csv",
    log:
        f"{LOGS}/align.log",
    benchmark:
        f"{BENCHMARKS}/align.tsv"
    group:
        "maps_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("align"),
        gpu=GPUS,
    params:
        gpu=GPU_USE,
        flags=flags("align"),
    shell:
        civa("align")


rule map_back:
    input:
        volumes=VOLUMES,
        averages=made("refine", "averages.mrcs"),
        averages_record=made("refine", "averages.json"),
        alignment=made("align", "alignment.csv"),
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        code=code("map-back"),
    output:
        mapped_back=f"{RUN}/mapped_back.mrcs",
        out=f"{RUN}/masks/consensus.mrcs",
        choice=f"{RUN}/masks/consensus.json",
        tuned=f"{RUN}/masks/consensus_tuned.mrcs",
        tuned_choice=f"{RUN}/masks/consensus_tuned.json",
    log:
        f"{LOGS}/map_back.log",
    benchmark:
        f"{BENCHMARKS}/map_back.tsv"
    group:
        "maps_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    threads: TORCH_THREADS
    resources:
        **needs("map_back"),
    params:
        flags=flags("map-back"),
    shell:
        civa("map-back")


rule replace_outliers:
    input:
        aligned=made("map_back", "masks/consensus.mrcs"),
        network=made("voxresnet_consensus", "masks/voxresnet_consensus.mrcs"),
        alignment=made("align", "alignment.csv"),
        particles=PARTICLES,
        code=code("replace-outliers"),
    output:
        out=f"{RUN}/masks/consensus_network.mrcs",
        choice=f"{RUN}/masks/consensus_network.json",
    log:
        f"{LOGS}/replace_outliers.log",
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    resources:
        **needs("replace_outliers"),
    shell:
        civa("replace-outliers")


rule calibrate:
    input:
        mapped_back=made("map_back", "mapped_back.mrcs"),
        averages=made("refine", "averages.mrcs"),
        first_halves=made("refine", "averages_half1.mrcs"),
        second_halves=made("refine", "averages_half2.mrcs"),
        averages_record=made("refine", "averages.json"),
        choice=made("map_back", "masks/consensus.json"),
        alignment=made("align", "alignment.csv"),
        masks=MASKS,
        particles=PARTICLES,
        split=SPLIT,
        code=code("calibrate"),
    output:
        probabilities=f"{RUN}/probability.mrcs",
        confidence=f"{RUN}/confidence.csv",
        report=f"{RUN}/calibration.json",
    log:
        f"{LOGS}/calibrate.log",
    benchmark:
        f"{BENCHMARKS}/calibrate.tsv"
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    resources:
        **needs("calibrate"),
    shell:
        civa("calibrate")


rule plot_averages:
    input:
        averages=made("refine", "averages.mrcs"),
        spectra=made("refine", "averages.csv"),
        averages_record=made("refine", "averages.json"),
        choice=made("map_back", "masks/consensus.json"),
        particles=PARTICLES,
        split=SPLIT,
        templates=true_densities,
        code=code("plot-averages"),
    output:
        out=drawn("averages"),
    log:
        f"{LOGS}/plot_averages.log",
    group:
        "evaluate_{dataset}_{seed}"
    conda:
        ENVIRONMENT
    resources:
        **needs("plot_averages"),
    shell:
        civa("plot-averages")
