# Section 5.1: structures, simulation, import, split.
# REQUIRED INPUTS: structure files (or phantoms), or own boxes, or own tomograms and lists
# OUTPUTS: results/{dataset}/{volumes,masks}.mrcs, particles.csv, split.csv


rule fetch_structure:
    input:
        code=code("fetch-structure"),
    output:
        out="resources/structures/{structure}.cif",
    log:
        "logs/structures/{structure}.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        flags=flags("fetch-structure", without=["sha256"], also=checksum),
    shell:
        civa("fetch-structure", name="{wildcards.structure:q}")


rule build_template:
    input:
        structure=structure_file,
        code=code("build-template"),
    output:
        out="results/{dataset}/templates/{structure}.mrc",
    log:
        "logs/{dataset}/templates/{structure}.log",
    priority: 10  # what is wrong with a structure shows before any long work
    localrule: True
    conda:
        ENVIRONMENT
    params:
        flags=flags("build-template"),
    shell:
        civa("build-template", name="{wildcards.structure:q}")


rule simulate:
    input:
        templates=template_files,
        code=code("simulate"),
    output:
        volumes=temp(f"{SHARD}/volumes.mrcs"),
        masks=temp(f"{SHARD}/masks.mrcs"),
        particles=temp(f"{SHARD}/particles.csv"),
    log:
        "logs/{dataset}/simulate/{shard}of{shards}.log",
    benchmark:
        "benchmarks/{dataset}/simulate/{shard}of{shards}.tsv"
    conda:
        ENVIRONMENT
    resources:
        **needs("simulate"),
    params:
        flags=flags("simulate", without=["shards"]),
    shell:
        civa("simulate", shard="{wildcards.shard}", shards="{wildcards.shards}")


rule simulate_tomogram:
    input:
        templates=template_files,
        code=code("simulate-tomogram"),
    output:
        tomogram="results/{dataset}/tomograms/{tomogram}.mrc",
        instances="results/{dataset}/instances/{tomogram}.mrc",
        particles="results/{dataset}/tomograms/{tomogram}_particles.star",
        picks="results/{dataset}/tomograms/{tomogram}_picks.star",
    log:
        "logs/{dataset}/simulate/{tomogram}.log",
    benchmark:
        "benchmarks/{dataset}/simulate/{tomogram}.tsv"
    wildcard_constraints:
        dataset=one_of(SPECIMENS),
        tomogram="tomogram_[0-9]+",
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        **needs("simulate_tomogram"),
    params:
        flags=flags("simulate-tomogram"),
        number=lambda wc: wc.tomogram.rpartition("_")[2],
    shell:
        civa("simulate-tomogram", number="{params.number}")


rule collect:
    input:
        volume_shards=shard_files("volumes"),
        mask_shards=shard_files("masks"),
        particle_shards=shard_files("particles"),
        code=code("collect"),
    output:
        volumes=VOLUMES,
        masks=MASKS,
        particles=PARTICLES,
    log:
        "logs/{dataset}/collect.log",
    benchmark:
        "benchmarks/{dataset}/collect.tsv"
    wildcard_constraints:
        dataset=one_of(SIMULATED),
    group:
        "data_{dataset}"
    conda:
        ENVIRONMENT
    resources:
        **needs("collect"),
    shell:
        civa("collect")


rule import_volumes:
    input:
        table=lambda wc: str(own_data.table(config, wc.dataset)),
        boxes=imported_boxes,
        code=code("import"),
    output:
        volumes=VOLUMES,
        masks=MASKS,
        particles=PARTICLES,
        properties=TOMOGRAMS,
    log:
        "logs/{dataset}/import.log",
    benchmark:
        "benchmarks/{dataset}/import.tsv"
    wildcard_constraints:
        dataset=one_of(IMPORTED),
    group:
        "data_{dataset}"
    conda:
        ENVIRONMENT
    resources:
        **needs("import_volumes"),
    params:
        flags=flags("import"),
    shell:
        civa("import")


rule list_particles:
    input:
        lists=particle_lists,
        tomograms=tomograms,
        tomogram_table=tomogram_table,
        code=code("list-particles"),
    output:
        out=POSITIONS,
    log:
        "logs/{dataset}/list_particles.log",
    wildcard_constraints:
        dataset=one_of([*EXTRACTED, *SPECIMENS]),
    localrule: True
    conda:
        ENVIRONMENT
    params:
        flags=flags("list-particles", without=["tomogram_files"], also=of_lists),
    shell:
        civa("list-particles")


rule measure_tomograms:
    input:
        positions=POSITIONS,
        tomograms=tomograms,
        tilt_files=tilt_files,
        code=code("measure-tomograms"),
    output:
        out=TOMOGRAMS,
    log:
        "logs/{dataset}/measure_tomograms.log",
    benchmark:
        "benchmarks/{dataset}/measure_tomograms.tsv"
    wildcard_constraints:
        dataset=one_of([*EXTRACTED, *SPECIMENS]),
    group:
        "data_{dataset}"
    conda:
        ENVIRONMENT
    resources:
        **needs("measure_tomograms"),
    params:
        flags=flags("measure-tomograms", also=state_of_specimen),
    shell:
        civa("measure-tomograms")


rule extract:
    input:
        positions=POSITIONS,
        tomograms=tomograms,
        properties=TOMOGRAMS,
        instances=instances,
        code=code("extract"),
    output:
        volumes=VOLUMES,
        masks=MASKS,
        particles=PARTICLES,
    log:
        "logs/{dataset}/extract.log",
    benchmark:
        "benchmarks/{dataset}/extract.tsv"
    wildcard_constraints:
        dataset=one_of([*EXTRACTED, *SPECIMENS]),
    group:
        "data_{dataset}"
    conda:
        ENVIRONMENT
    resources:
        **needs("extract"),
    params:
        flags=flags("extract"),
    shell:
        civa("extract")


rule split:
    input:
        particles=PARTICLES,
        code=code("split"),
    output:
        out=SPLIT,
    log:
        "logs/{dataset}/split.log",
    group:
        "data_{dataset}"
    conda:
        ENVIRONMENT
    resources:
        **needs("split"),
    params:
        flags=flags("split"),
    shell:
        civa("split")
