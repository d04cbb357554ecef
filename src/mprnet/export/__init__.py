"""Networks as files for other programs: ONNX, OpenVINO and torch.export, each compared with torch before it is kept."""

from mprnet.export.formats import FORMATS, open_exported, read_about
from mprnet.export.parity import BOUNDS, Comparison
from mprnet.export.quantization import CROPS, calibration_crops
from mprnet.export.run import export_model, export_weights

__all__ = [
    "BOUNDS",
    "CROPS",
    "FORMATS",
    "Comparison",
    "calibration_crops",
    "export_model",
    "export_weights",
    "open_exported",
    "read_about",
]
