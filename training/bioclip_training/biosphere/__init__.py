"""A synthetic tree of life that draws its own photographs. Fictional: every name from kingdom to genus begins with "Fict"."""

from bioclip_training.biosphere.names import KINGDOM, MARK
from bioclip_training.biosphere.phylogeny import Biosphere, Species
from bioclip_training.biosphere.pose import Pose
from bioclip_training.biosphere.scene import Photograph, Setting, photograph, plate

__all__ = ["KINGDOM", "MARK", "Biosphere", "Photograph", "Pose", "Setting", "Species", "photograph", "plate"]
