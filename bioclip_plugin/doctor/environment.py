"""Environment variables that change what happens; secrets are only said to be set."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator

from bioclip_core.device import PRECISION_VARIABLE, RUNTIME_VARIABLE, preset_precision, preset_runtime
from bioclip_core.errors import UsageError
from bioclip_core.images.memory import VARIABLE, budget_bytes
from bioclip_core.process.machine import usable_cores
from bioclip_plugin.doctor.options import DoctorOptions
from bioclip_plugin.doctor.redacting import is_secret
from bioclip_plugin.doctor.report import Fact, Finding, Problem

OWN = ("BIOCLIP_CACHE", "BIOCLIP_CONFIG", "BIOCLIP_DEBUG", VARIABLE, PRECISION_VARIABLE, RUNTIME_VARIABLE)
"""Our own variables."""
_SHOWN = re.compile(
    r"(?:BIOCLIP_|HF_|HUGGINGFACE_|TRANSFORMERS_OFFLINE|CUDA_|NVIDIA_VISIBLE|PYTORCH_|TORCH_|OMP_|MKL_|KMP_|GOMP_|OPENBLAS_|ATEN_|DNNL_|ONEDNN_|"
    r"(?:HTTPS?|ALL|NO)_PROXY$|SSL_CERT|REQUESTS_CA|CURL_CA|TMPDIR$|TMP$|TEMP$|PYTHON|XDG_CACHE_HOME$|LD_LIBRARY_PATH$|LD_PRELOAD$|"
    r"DYLD_|SLURM_(?:CPUS|MEM|JOB_GPUS)|PG(?:HOST|PORT|DATABASE|USER|PASS|SERVICE|SSL))",
    re.I,
)
_PREFIXES_OF_ANYTHING = ("BIOCLIP_", "HF_", "HUGGINGFACE_")
_HARMLESS = frozenset(
    {
        *OWN, "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_ASSETS_CACHE", "HF_XET_CACHE", "HF_DATASETS_CACHE",
        "HF_HUB_ENABLE_HF_TRANSFER", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT", "HF_HUB_DISABLE_XET", "HF_HUB_VERBOSITY",
        "HF_HUB_DISABLE_SYMLINKS_WARNING", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_SYMLINKS",
        "HF_DATASETS_OFFLINE", "HF_DEBUG", "HUGGINGFACE_HUB_CACHE", "HUGGINGFACE_HUB_VERBOSITY",
    }
)  # fmt: skip
"""Variables with those prefixes whose values are shown; people keep secrets in variables of such names of their own."""
_PROXY = re.compile(r"^(?:HTTPS?|ALL)_PROXY$", re.I)


def look(_options: DoctorOptions) -> Iterator[Finding]:
    """Yield the variables that are set, and those that cannot have an effect."""
    yield Fact("variables", {name: _value(name, os.environ[name]) for name in sorted(os.environ) if _SHOWN.match(name)})
    for name in sorted(os.environ):
        if name.startswith("BIOCLIP_") and name not in OWN:
            near = difflib.get_close_matches(name, OWN, 1)
            yield Problem(
                "environment.unknown",
                f"the variable {name} is set, and bioclip-plugin has none of that name",
                "it has no effect",
                f"did you mean {near[0]}?" if near else f"there are {', '.join(OWN)}",
                grave=False,
            )
    for variable, check in (
        (PRECISION_VARIABLE, preset_precision),
        (RUNTIME_VARIABLE, preset_runtime),
        (VARIABLE, budget_bytes),
    ):
        try:
            check()
        except UsageError as error:
            yield Problem(
                "environment.value", str(error), "commands that need it are refused", f"change or unset {variable}"
            )
    cores = usable_cores() or 1
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.strip() == "1" and cores > 2:
        yield Problem(
            "environment.threads",
            f"OMP_NUM_THREADS=1, while this process may use {cores} cores",
            "torch computes on one core",
            "unset it, unless other work needs the cores",
            grave=False,
        )


def _value(name: str, value: str) -> str:
    """Return a value as it may be shown: of an address of a proxy without user and password, of a secret only that it is set."""
    if (
        is_secret(name)
        or name == "PGUSER"
        or (name.upper().startswith(_PREFIXES_OF_ANYTHING) and name not in _HARMLESS)
    ):
        return "set" if value else "empty"
    if _PROXY.match(name):  # also of one without ://, and with blanks in the password
        scheme, separator, rest = value.rpartition("://")
        return f"{scheme}{separator}{rest.rpartition('@')[2]}"
    return value
