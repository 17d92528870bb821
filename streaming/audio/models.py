"""Finding and opening the ONNX models that installed packages carry; used by ``detectors`` and ``turn_model``.

The packages are found by path and never imported: importing them would load PyTorch.
"""

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray


def model_file(*candidates: tuple[str, str]) -> Path | None:
    """The first of (package, path inside it) that exists; None when none is installed."""
    for package, inside in candidates:
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            path = Path(folder) / inside
            if path.is_file():
                return path
    return None


class Model:
    """An ONNX model on one CPU thread; runs where it is called and gives up the interpreter lock meanwhile."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # its warnings concern the model's maker
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: dict[str, NDArray[np.float32] | NDArray[np.int64]]) -> list[NDArray[np.float32]]:
        """Inputs by name to outputs in the model's order."""
        outputs: list[NDArray[np.float32]] = self._session.run(self._outputs, inputs)
        return outputs
