"""A release as a Provenance Run RO-Crate: every job an action from its parents' folders to its own.

The crate is made from manifests, never from the engine's records. It conforms to Process, Workflow and Provenance Run
Crate 0.5 and to Workflow RO-Crate 1.0, on RO-Crate 1.1. Nothing in it depends on when it is written.
"""

from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from capacity.artefacts.manifest import MANIFEST
from capacity.artefacts.stages import STAGES, Stage
from capacity.audit.folder import Artefact, Folder

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
TERMS = {  # beyond the RO-Crate 1.1 context, written out so that a reader needs no second one
    "resourceUsage": "https://w3id.org/ro/terms/workflow-run#resourceUsage",
    "sha256": "http://schema.org/sha256",
}
LICENCE = "https://spdx.org/licenses/Apache-2.0"
SECONDS = "http://qudt.org/vocab/unit/SEC"
Properties = dict[str, Any]


class RunCrate:
    """The metadata of a release folder, which has config.json, Snakefile, scripts/ and results/."""

    def __init__(self, root: Path, folder: Folder, title: str, description: str):
        self.root, self.folder = root, folder
        self.crate = ROCrate(version="1.1")
        self.crate.metadata.extra_terms.update(TERMS)
        made = folder.behind_published()
        members = {member for artefact in made for member in artefact.manifest.members}
        self.artefacts, self.jobs = made, [artefact for artefact in made if artefact.name not in members]
        self.started = min(artefact.manifest.started for artefact in made)
        self.ended = max(artefact.manifest.ended for artefact in made)
        self._root(title, description)

    def write(self) -> None:
        """Describe everything below the root and write ro-crate-metadata.json."""
        self._file("config.json", "the resolved configuration")
        tools = {stage.name: self._tool(stage) for stage in self._stages()}
        steps = {name: self._step(position, name, tool) for position, (name, tool) in enumerate(tools.items(), 1)}
        self._file("README.md", "how to use the workflow; docs/table.md: its tables", about={"@id": "./"})
        workflow = self._workflow(list(tools.values()), list(steps.values()))
        sets = {artefact.name: self._dataset(artefact) for artefact in self.artefacts}
        published = [
            self._file(f"results/{path}", "published copy")
            for each in self.folder.published
            for path in each.files.values()
        ]
        actions = [self._job(artefact, tools[artefact.stage], sets) for artefact in self.jobs]
        controls = [
            self._entity(
                f"#step-of-{artefact.id}",
                "ControlAction",
                name=f"{artefact.name} was due",
                instrument=steps[artefact.stage],
                object=action,
            )
            for artefact, action in zip(self.jobs, actions, strict=True)
        ]
        run = self._run(workflow, published)
        engine = self._entity(
            "#engine", "SoftwareApplication", name="Snakemake", url="https://snakemake.github.io", **self._version()
        )
        organised = self._entity(
            "#engine-run", "OrganizeAction", name="The engine's work", instrument=engine, object=controls, result=run
        )
        self.crate.root_dataset["mentions"] = [run, organised, *actions]
        for path in sorted(each for each in self.root.rglob("*") if each.is_file()):
            name = path.relative_to(self.root).as_posix()
            if self.crate.dereference(name) is None and name != "ro-crate-metadata.json":
                self._file(name, "part of the release")
        self.crate.metadata.write(self.root)

    def _root(self, title: str, description: str) -> None:
        root = self.crate.root_dataset
        root["name"], root["description"], root["datePublished"] = title, description, self.ended
        root["license"] = self._entity(LICENCE, "CreativeWork", name="Apache License 2.0", description="See LICENSE.")
        root["conformsTo"] = [
            self._entity(uri, "CreativeWork", name=name, version=uri.rpartition("/")[2])
            for uri, name in PROFILES.items()
        ]

    def _stages(self) -> list[Stage]:
        """Stages that made something here, in the order of the flow."""
        used = {artefact.stage for artefact in self.jobs}
        return [stage for stage in STAGES.values() if stage.name in used]

    def _entity(self, identity: str, kind: str | list[str], **properties: Any) -> ContextEntity:
        return self.crate.add(ContextEntity(self.crate, identity, properties={"@type": kind, **properties}))

    def _file(self, path: str, description: str, **properties: Any) -> Any:
        known = self.crate.dereference(path)
        if known is not None:
            return known
        facts = {
            "name": path.rpartition("/")[2],
            "description": description,
            "encodingFormat": MEDIA.get(Path(path).suffix, "text/plain"),
            "contentSize": str((self.root / path).stat().st_size),
        }
        return self.crate.add_file(self.root / path, path, properties={**facts, **properties})

    def _tool(self, stage: Stage) -> Any:
        kinds = {"@type": ["File", "SoftwareSourceCode", "SoftwareApplication"]}
        facts = {"softwareVersion": self._code(stage.name), "license": {"@id": LICENCE}, **kinds}
        return self._file(f"scripts/{stage.script}", f"makes {stage.name}", **facts)

    def _code(self, stage: str) -> str:
        """The digests of the code that made a stage's artefacts."""
        return ", ".join(sorted({a.manifest.code.digest[:12] for a in self.jobs if a.stage == stage}))

    def _step(self, position: int, name: str, tool: Any) -> ContextEntity:
        return self._entity(
            f"Snakefile#{STAGES[name].rule}",
            "HowToStep",
            position=str(position),
            name=STAGES[name].rule,
            workExample=tool,
        )

    def _workflow(self, tools: list[Any], steps: list[ContextEntity]) -> Any:
        kinds = {"@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]}
        workflow = self._file("Snakefile", "the workflow", **kinds)
        workflow["programmingLanguage"] = self._entity(
            "https://w3id.org/workflowhub/workflow-ro-crate#snakemake",
            "ComputerLanguage",
            name="Snakemake",
            identifier={"@id": "https://doi.org/10.1093/bioinformatics/bts480"},
            url={"@id": "https://snakemake.readthedocs.io"},
        )
        workflow["hasPart"], workflow["step"], workflow["license"] = tools, steps, {"@id": LICENCE}
        self.crate.root_dataset["mainEntity"] = workflow
        return workflow

    def _dataset(self, artefact: Artefact) -> Any:
        """An artefact's folder with the files of it that are in the release; the manifest names the others."""
        place = f"results/{artefact.name}"
        names = [MANIFEST, *artefact.manifest.outputs]
        present = [name for name in names if (self.root / place / name).is_file()]
        dataset = self.crate.add_dataset(self.root / place, f"{place}/", properties={"name": artefact.name})
        dataset["identifier"] = f"sha256:{artefact.manifest.content}"
        dataset["description"] = f"{len(present)} of {len(names)} files are in the release"
        dataset["hasPart"] = _one_or_all(
            [self._file(f"{place}/{name}", f"of {artefact.name}", **self._digest(artefact, name)) for name in present]
        )
        return dataset

    def _digest(self, artefact: Artefact, name: str) -> Properties:
        return {"sha256": artefact.manifest.outputs[name].sha256} if name in artefact.manifest.outputs else {}

    def _job(self, artefact: Artefact, tool: Any, sets: dict[str, Any]) -> ContextEntity:
        m = artefact.manifest
        usage = self._entity(
            f"#cost-of-{artefact.id}", "PropertyValue", name="CPU seconds", propertyID="https://w3id.org/ro/terms/workflow-run#cpuSeconds",
            value=str(m.cpu_seconds), unitCode=SECONDS,
        )  # fmt: skip
        parents = [sets[name] for name in artefact.parents() if name in sets and name not in m.members]
        return self._entity(
            f"#made-{artefact.id}", "CreateAction",
            name=f"made {artefact.name}", description=m.command, instrument=tool,
            startTime=m.started, endTime=m.ended, actionStatus="http://schema.org/CompletedActionStatus",
            object=_one_or_all(parents or [self.crate.dereference("config.json")]), resourceUsage=usage,
            result=_one_or_all([sets[artefact.name], *(sets[name] for name in m.members if name in sets)]),
        )  # fmt: skip

    def _run(self, workflow: Any, published: list[Any]) -> ContextEntity:
        return self._entity(
            "#run", "CreateAction", name="The run of the workflow", instrument=workflow,
            startTime=self.started, endTime=self.ended,
            object=self.crate.dereference("config.json"), result=published,
            actionStatus="http://schema.org/CompletedActionStatus",
        )  # fmt: skip

    def _version(self) -> Properties:
        versions = {str(a.manifest.environment.get("packages", {}).get("snakemake")) for a in self.jobs}
        return {"softwareVersion": ", ".join(sorted(versions))}


MEDIA = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".png": "image/png",
    ".py": "text/x-python",
    ".safetensors": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".yaml": "application/yaml",
}


def _one_or_all(entities: list[Any]) -> Any:
    """JSON-LD wants a single value without its list."""
    return entities[0] if len(entities) == 1 else entities
