"""The import of yolov5 and its work leave no trace in the process of a host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

from checkpoints import checkpoint_bytes, picture, sha256

from bioclip_plugin.detectors.importing import _dropped
from bioclip_plugin.detectors.trust import confirm

HOST = """
import json, logging, os, random, sys, threading, warnings
import cv2, matplotlib, numpy as np, pandas as pd, PIL.Image, PIL.ImageFile, torch

log_file = logging.FileHandler("host.log", mode="w")  # a closed one of this mode never writes again
logging.getLogger("host").addHandler(log_file)
weights = sys.argv[1]
forbidden = []


def audit(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "os.system", "os.chdir") or (
        event == "subprocess.Popen" and "fc-list" not in str(arguments[0])  # matplotlib looks for fonts once
    ):
        forbidden.append([event, repr(arguments)[:200]])


sys.addaudithook(audit)


def state():
    return {
        "root": [logging.root.level, *map(repr, logging.root.handlers)],
        "torch prints": repr(vars(torch._tensor_str.PRINT_OPTS)),
        "numpy prints": repr(np.get_printoptions()),
        "pandas": pd.get_option("display.max_columns"),
        "threads": [cv2.getNumThreads(), torch.get_num_threads(), sorted(one.name for one in threading.enumerate())],
        "cv2": repr([cv2.imread, cv2.imwrite, cv2.imshow]),
        "environment": dict(os.environ),
        "path": list(sys.path),
        "folder": os.getcwd(),
        "warnings of Python": repr([one for one in warnings.filters if one[2].__module__ == "builtins" and one[1] is None]),
        "functions": repr([warnings.warn, warnings.filterwarnings, np.set_printoptions, torch.set_printoptions,
                           cv2.setNumThreads, matplotlib.use, matplotlib.rc]),
        "fonts": matplotlib.rcParams["font.size"],
        "backend": repr(dict.__getitem__(matplotlib.rcParams, "backend")),
        "truncated": PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
        "random": [hash(random.getstate()), repr(np.random.get_state()), torch.get_rng_state().sum().item()],
        "grad": torch.is_grad_enabled(),
        "modules": sorted({"models", "utils"} & set(sys.modules)),
    }


from bioclip_plugin.detectors.speciesnet import SpeciesNetDetector
from bioclip_plugin.detectors import hub  # also without speciesnet, kagglehub or requests

warnings.simplefilter("error")  # a host that treats warnings as errors
detector = SpeciesNetDetector(weights)
before_identity = sorted(sys.modules)
identity = detector.identity()
imported = sorted(set(sys.modules) - set(before_identity))
before, handlers = state(), [one() for one in logging._handlerList]
found = detector.detect([np.load("picture.npy")], "cpu")
after = state()
kept = {id(one()) for one in logging._handlerList}
logging.getLogger("host").warning("still here")
print(json.dumps({
    "boxes": len(found[0]), "forbidden": forbidden, "imported": [one for one in imported if "yolov5" in one or "speciesnet." in one],
    "handlers": [[repr(one) for one in handlers if id(one) not in kept], len(logging.getLogger("yolov5").handlers)],
    "changed": {key: [before[key], after[key]] for key in before if before[key] != after[key]},
    "yolov5 loaded": "yolov5" in sys.modules, "speciesnet loaded": "speciesnet" in sys.modules,
}))
"""


def test_warnings_of_others_meanwhile_name_their_own_place() -> None:
    with warnings.catch_warnings(record=True) as seen, _dropped(warnings, "warn"):
        warnings.simplefilter("always")
        warnings.warn("one", stacklevel=1)
        warnings.warn("two", UserWarning, 1)
        exec("import warnings; warnings.warn('three')", {"__name__": "yolov5.utils"})
    assert [(str(one.message), Path(one.filename).name) for one in seen] == [
        ("one", "test_importing.py"),
        ("two", "test_importing.py"),
    ]


def test_a_host_is_as_it_was_after_the_detector_worked(tmp_path: Path, checkpoint: Path) -> None:
    import matplotlib
    import numpy as np

    confirm(sha256(checkpoint_bytes()), checkpoint.name, "confirmed")
    np.save(tmp_path / "picture.npy", picture(120, 160))
    home = tmp_path / "home"
    (home / ".config").mkdir(parents=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("YOLO", "OMP_", "NUMEXPR_", "MPL"))}
    done = subprocess.run(
        [sys.executable, "-c", HOST, str(checkpoint)], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env={
            **kept, "HOME": str(home), "MPLCONFIGDIR": matplotlib.get_configdir(),
            "PYTHONPATH": os.pathsep.join([entry for entry in sys.path if entry]),
        },
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)  # nothing else was printed
    assert said["boxes"] > 0
    assert said["yolov5 loaded"]
    assert not said["speciesnet loaded"]
    assert said["changed"] == {}
    assert said["handlers"] == [[], 0]
    assert not said["forbidden"], said["forbidden"]
    assert said["imported"] == []
    assert (tmp_path / "host.log").read_text() == "still here\n"
    assert {file.name for file in home.iterdir()} <= {".cache", ".config"}
    assert {file.name for file in (home / ".config").iterdir()} <= {"matplotlib"}  # of the host's own import
