"""The commented configuration that ``ablate --example`` writes."""

EXAMPLE = """\
# Configuration of an ablation. Paths are relative to this file.

data: collection.parquet        # made by catalog build
start: bioclip-2                # every arm starts from this model; new:small starts from random weights
output: ablation                # answers and report; the same command continues here

seeds: [0, 1, 2]                # each arm is trained once with each
train:                          # settings of `train` that all arms share
  steps: 300                    # must be given: arms are compared at equal steps
  batch_size: 32

compare:                        # arms that differ from the recipe above in one thing; leave out what you do not ask
  captions: [taxonomic, scientific, common, mixture]
  losses: [taxon, clip]
  sources: without-each         # or each-alone
  # replay: {data: earlier.parquet, ratios: [0.5], projections: [shared, second]}

arms:                           # arms of your own
  lora: {train: {method: lora}}
  # field photographs: {sources: [field.csv]}

# baseline: recipe              # the arm that the others are compared with

tests:
  val: {split: val}
  # unseen: {split: unseen}
  # earlier: {data: earlier.parquet, split: val, trained_images: leave-out}
captions: [taxonomic, common]   # of the labels in the tests
# keep_models: true             # keep the checkpoint of every run
"""
