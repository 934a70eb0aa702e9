# Section 5.1: structures, simulation, import, split.
# REQUIRED INPUTS: structure files (or phantoms), or a table of own volumes
# OUTPUTS: results/{dataset}/{volumes,masks}.mrcs, particles.csv, split.csv


rule fetch_structure:
    input:
        code=code("fetch_structure"),
    output:
        "resources/structures/{structure}.cif",
    log:
        "logs/structures/{structure}.log",
    localrule: True
    conda:
        "../envs/civa.yaml"
    params:
        sha256=lambda wc: civa_config.command_flags(
            {
                "sha256": config.get("structures", {})
                .get("sha256", {})
                .get(wc.structure)
            }
        ),
        server=civa_config.command_flags(
            {"server": config.get("structures", {}).get("server")}
        ),
    shell:
        "python -m civa fetch-structure --name {wildcards.structure:q} --out {output:q} "
        "{params.sha256} {params.server} --log {log:q}"


rule build_template:
    input:
        structure=structure_file,
        code=code("build_template"),
    output:
        "results/{dataset}/templates/{structure}.mrc",
    log:
        "logs/{dataset}/templates/{structure}.log",
    priority: 10  # what is wrong with a structure shows before any long work
    localrule: True
    conda:
        "../envs/civa.yaml"
    params:
        structure=lambda wc, input: civa_config.command_flags(
            {"structure": input.structure or None}
        ),
        assembly=civa_config.command_flags(
            {"assembly": config.get("structures", {}).get("assembly")}
        ),
        flags=simulation_flags(
            ["voxel_size_angstrom", "box_voxels", "resolution_angstrom"]
        ),
    shell:
        "python -m civa build-template {params.structure} --name {wildcards.structure:q} "
        "--out {output:q} {params.assembly} {params.flags} --log {log:q}"


rule simulate:
    input:
        templates=template_files,
        code=code("simulate"),
    output:
        volumes=temp("results/{dataset}/shards/{shard}of{shards}/volumes.mrcs"),
        masks=temp("results/{dataset}/shards/{shard}of{shards}/masks.mrcs"),
        particles=temp("results/{dataset}/shards/{shard}of{shards}/particles.csv"),
    log:
        "logs/{dataset}/simulate/{shard}of{shards}.log",
    benchmark:
        "benchmarks/{dataset}/simulate/{shard}of{shards}.tsv"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("simulate"),
    params:
        flags=simulation_flags(without=["resolution_angstrom", "shards"]),
    shell:
        "python -m civa simulate --templates {input.templates:q} --volumes {output.volumes:q} "
        "--masks {output.masks:q} --particles {output.particles:q} --shard {wildcards.shard} "
        "--shards {wildcards.shards} {params.flags} --log {log:q}"


rule collect:
    input:
        volumes=shard_files("volumes.mrcs"),
        masks=shard_files("masks.mrcs"),
        particles=shard_files("particles.csv"),
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
        "../envs/civa.yaml"
    resources:
        **needs("collect"),
    shell:
        "python -m civa collect --volume-shards {input.volumes:q} --mask-shards {input.masks:q} "
        "--particle-shards {input.particles:q} --volumes {output.volumes:q} "
        "--masks {output.masks:q} --particles {output.particles:q} --log {log:q}"


rule import_volumes:
    input:
        table=lambda wc: config["datasets"][wc.dataset]["import"]["table"],
        boxes=imported_boxes,
        code=code("import_volumes"),
    output:
        volumes=VOLUMES,
        masks=MASKS,
        particles=PARTICLES,
    log:
        "logs/{dataset}/import.log",
    benchmark:
        "benchmarks/{dataset}/import.tsv"
    wildcard_constraints:
        dataset=one_of(IMPORTED),
    group:
        "data_{dataset}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("import_volumes"),
    params:
        flags=lambda wc: civa_config.command_flags(
            config["datasets"][wc.dataset]["import"]
        ),
    shell:
        "python -m civa import {params.flags} --volumes {output.volumes:q} "
        "--masks {output.masks:q} --particles {output.particles:q} --log {log:q}"


rule split:
    input:
        particles=PARTICLES,
        code=code("split"),
    output:
        SPLIT,
    log:
        "logs/{dataset}/split.log",
    group:
        "data_{dataset}"
    conda:
        "../envs/civa.yaml"
    resources:
        **needs("split"),
    params:
        flags=flags("split"),
    shell:
        "python -m civa split --particles {input.particles:q} --out {output:q} {params.flags} "
        "--log {log:q}"
