"""The lists of built-ins: models, sources, exporters, rules, detectors, engines, content filters, commands, all through public hooks."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from bioclip_core.models import BIOCLIP_PREPROCESSING, ModelEntry, PublishedLabels
from bioclip_plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from bioclip_plugin.contracts.detector import Detector
    from bioclip_plugin.contracts.engine import ExecutionEngine
    from bioclip_plugin.contracts.exporter import Exporter
    from bioclip_plugin.contracts.manager import BioclipPluginManager
    from bioclip_plugin.contracts.rule import Rule
    from bioclip_plugin.contracts.source import Source
    from bioclip_training.curation.content_filters import ContentFilter
    from bioclip_training.loop.plan_record import TrainingPlan
    from bioclip_training.loop.recipe import TrainConfig, TrainResult

_CITE_1 = "Stevens et al. 2024, BioCLIP: A Vision Foundation Model for the Tree of Life, CVPR"
_CITE_2 = "Gu et al. 2025, BioCLIP 2: Emergent Properties from Scaling Hierarchical Contrastive Learning"

COMMANDS = (
    ("classify", "classify:classify", "Name the organisms in images and keep the answers."),
    ("embed", "embed:embed", "Write the features of images to a Parquet file."),
    ("export", "export:export", "Write a run's results to a file."),
    ("validate", "validate:validate", "Check a file or package in another program's format."),
    ("report", "report:report", "Write a run's results as one HTML file with a gallery."),
    ("figures", "figures:figures", "Write a run's activity, effort and detection rates as tables and pictures."),
    ("search", "search:search", "Find images that are similar to an image, a name or words."),
    ("rules", "rules:rules", "List rules, and apply them to stored answers."),
    ("review", "reviewing.review:review", "Import and list people's reviews, and compare a run with them."),
    ("second-opinion", "reviewing.second_opinion:second_opinion", "Compare catalogued names with a run's answers."),
    ("runs", "runs:runs", "List, show, verify, delete and prune runs."),
    ("labels", "labels:labels", "Build, import, search and check label sets."),
    ("shards", "training.shards:shards", "Write and check shards of labelled images."),
    ("train", "training.train:train", "Train a model on labelled images."),
    ("catalog", "training.catalog:catalog", "Build and show catalogs of labelled images, for training."),
    ("curate", "training.curate:curate", "Make one catalog and its shards of published collections."),
    ("taxonomy", "training.taxonomy:taxonomy", "Index a checklist and resolve names against it, offline."),
    ("prototypes", "training.prototypes:prototypes", "Make label sets of example images: what to try before training."),
    ("probe", "training.probe:probe", "Fit a logistic regression on features, as a label set."),
    ("evaluate", "training.evaluate:evaluate", "Measure a model on held-out images, with a report."),
    ("ablate", "training.ablate:ablate", "Train a collection in several ways and compare them."),
    ("analyze", "training.analyze:analyze", "Measure the structure of a model's features: tree, traits, variation."),
    ("calibrate", "training.calibrate:calibrate", "Fit the temperature of a model on the dev part of a catalog."),
    ("serve", "serve:serve", "Answer programs over HTTP: classify images, look up labels and runs."),
    ("models", "models:models", "List, describe, fetch, trust and export models."),
    ("store", "store:store", "Maintain a result store."),
    ("fetch", "fetch:fetch", "Show and check a folder of fetched images."),
    ("plugins", "plugins:plugins", "Show the plugins and the names that they add."),
    ("doctor", "doctor:doctor", "Show what a bug report needs, and what is wrong on this machine."),
    ("demo", "demo:demo", "See the whole job on an invented camera trap, without network."),
)
"""Name of each command, the place of its click command in ``bioclip_plugin.commands``, and its line in ``--help``."""

NAMES = {
    "command": tuple(name for name, _, _ in COMMANDS),
    "model": ("bioclip-2", "bioclip", "bioclip-2.5", "demo"),
    "format": (
        "csv", "parquet", "xlsx", "jsonl", "megadetector", "speciesnet", "camtrap-dp", "darwin-core", "wildlife-insights", "folders",
    ),
    "rule": ("only", "prior", "sequences", "thresholds", "speciesnet-ensemble", "geofence", "blanks", "unknown"),
    "detector": ("speciesnet",),
    "engine": ("local", "slurm", "ray"),
    "content filter": ("support-set", "empty-frames", "people"),
    "source": (
        "standard input", "Camtrap DP package", "Darwin Core archive", "Wildlife Insights images", "MegaDetector results (.json)",
        "SpeciesNet predictions (.json)", "PyTorch-Wildlife detections (.json)", "shards", "folder", "Timelapse table",
        "AddaxAI table", "MegaDetector table", "table of export", "table (.csv, .tsv, .xlsx, .parquet)", "file",
    ),
}  # fmt: skip
"""Names of the built-ins by kind, which no plugin may take; written out, so that checking a plugin imports none of them."""


class Builtins:
    """The plugin of everything that this package registers by name."""

    def __init__(self, manager: BioclipPluginManager) -> None:
        self._manager = manager

    @hookimpl
    def register_models(self, register: Callable[[ModelEntry], None]) -> None:
        for entry in (
            ModelEntry(
                "bioclip-2", "hf-hub:imageomics/bioclip-2", "ViT-L/14 on TreeOfLife-200M; the default", "MIT", _CITE_2,
                preprocessing=BIOCLIP_PREPROCESSING, labels=PublishedLabels("imageomics/TreeOfLife-200M"),
            ),
            ModelEntry(
                "bioclip", "hf-hub:imageomics/bioclip", "ViT-B/16 on TreeOfLife-10M", "MIT", _CITE_1,
                preprocessing=BIOCLIP_PREPROCESSING, labels=PublishedLabels("imageomics/TreeOfLife-10M"),
            ),
            ModelEntry(
                "bioclip-2.5", "hf-hub:imageomics/bioclip-2.5-vith14", "ViT-H/14; bring a label set: labels build", "MIT", _CITE_2,
                preprocessing=BIOCLIP_PREPROCESSING,
            ),
            ModelEntry(
                "demo", f"local-dir:{files('bioclip_plugin') / 'demo_model'}",
                "a small model of an invented tree of life, inside the package", "MIT",
            ),
        ):  # fmt: skip
            register(entry)

    @hookimpl(trylast=True)
    def register_sources(self, register: Callable[[Source], None]) -> None:
        from bioclip_plugin.formats.addaxai.read import AddaxAISource
        from bioclip_plugin.formats.camtrap_dp.read import CamtrapDpSource
        from bioclip_plugin.formats.darwin_core.read import DarwinCoreSource
        from bioclip_plugin.formats.megadetector.read import MegaDetectorSource
        from bioclip_plugin.formats.megadetector.read_table import MegaDetectorTableSource
        from bioclip_plugin.formats.pytorch_wildlife.read import PytorchWildlifeSource
        from bioclip_plugin.formats.speciesnet.read import SpeciesNetSource
        from bioclip_plugin.formats.tables.read import TableSource
        from bioclip_plugin.formats.tables.read_exported import ExportedTableSource
        from bioclip_plugin.formats.timelapse.read import TimelapseSource
        from bioclip_plugin.formats.webdataset.read import ShardsSource
        from bioclip_plugin.formats.wildlife_insights.read import WildlifeInsightsSource
        from bioclip_plugin.sources.files import FilesSource, StandardInputSource
        from bioclip_plugin.sources.folder import FolderSource

        # Packages are folders too, so that they are asked before folders; the last one takes any file.
        for source in (
            StandardInputSource(),
            CamtrapDpSource(),
            DarwinCoreSource(),
            WildlifeInsightsSource(),
            MegaDetectorSource(),
            SpeciesNetSource(),
            PytorchWildlifeSource(),
            ShardsSource(),
            FolderSource(self._manager.media_suffixes()),
            TimelapseSource(),
            AddaxAISource(),
            MegaDetectorTableSource(),
            ExportedTableSource(),
            TableSource(),
            FilesSource(),
        ):
            register(source)

    @hookimpl
    def register_exporters(self, register: Callable[[Exporter], None]) -> None:
        from bioclip_plugin.formats.camtrap_dp.write import CamtrapDpExporter
        from bioclip_plugin.formats.darwin_core.write import DarwinCoreExporter
        from bioclip_plugin.formats.folders.write import FoldersExporter
        from bioclip_plugin.formats.megadetector.write import MegaDetectorExporter
        from bioclip_plugin.formats.speciesnet.write import SpeciesNetExporter
        from bioclip_plugin.formats.tables.write import CsvExporter, ParquetExporter
        from bioclip_plugin.formats.tables.write_excel import ExcelExporter
        from bioclip_plugin.formats.tables.write_json_lines import JsonLinesExporter
        from bioclip_plugin.formats.wildlife_insights.write import WildlifeInsightsExporter

        for exporter in (
            CsvExporter(),
            ParquetExporter(),
            ExcelExporter(),
            JsonLinesExporter(),
            MegaDetectorExporter(),
            SpeciesNetExporter(),
            CamtrapDpExporter(),
            DarwinCoreExporter(),
            WildlifeInsightsExporter(),
            FoldersExporter(),
        ):
            register(exporter)

    @hookimpl
    def register_rules(self, register: Callable[[type[Rule]], None]) -> None:
        from bioclip_plugin.rules.blanks import Blanks
        from bioclip_plugin.rules.geofence import Geofence
        from bioclip_plugin.rules.only import Only
        from bioclip_plugin.rules.prior import Prior
        from bioclip_plugin.rules.sequences import Sequences
        from bioclip_plugin.rules.speciesnet import SpeciesNetEnsemble
        from bioclip_plugin.rules.thresholds import Thresholds
        from bioclip_plugin.rules.unknown import Unknown

        for rule in (
            Only,
            Prior,
            Sequences,
            Thresholds,
            SpeciesNetEnsemble,
            Geofence,
            Blanks,
            Unknown,
        ):
            register(rule)

    @hookimpl
    def register_detectors(self, register: Callable[[Detector], None]) -> None:
        from bioclip_plugin.detectors.speciesnet import SpeciesNetDetector

        register(SpeciesNetDetector())

    @hookimpl
    def register_engines(self, register: Callable[[ExecutionEngine], None]) -> None:
        from bioclip_plugin.engines.local import LocalEngine
        from bioclip_plugin.engines.ray_engine import RayEngine
        from bioclip_plugin.engines.slurm import SlurmEngine

        for engine in (LocalEngine(), SlurmEngine(), RayEngine()):
            register(engine)

    @hookimpl
    def register_content_filters(self, register: Callable[[ContentFilter], None]) -> None:
        from bioclip_plugin.formats.megadetector.content_filters import EmptyFramesFilter, PeopleFilter
        from bioclip_training.curation.imaging.support_set import SupportSetFilter

        for content_filter in (SupportSetFilter(), EmptyFramesFilter(), PeopleFilter()):
            register(content_filter)

    @hookimpl
    def register_commands(self, cli: Any) -> None:
        for name, place, short_help in COMMANDS:
            cli.add_lazy(name, f"bioclip_plugin.commands.{place}", short_help)

    @hookimpl(trylast=True)
    def train_model(self, config: TrainConfig) -> TrainResult:
        from bioclip_core.process.quiet import importing

        with importing():
            from bioclip_training.loop.run import train

        return train(config, self._manager.models())

    @hookimpl(trylast=True)
    def plan_training(self, config: TrainConfig) -> TrainingPlan:
        from bioclip_core.process.quiet import importing

        with importing():
            from bioclip_training.loop.run import plan_training

        return plan_training(config, self._manager.models())
