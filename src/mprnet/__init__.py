"""Take rain, blur and noise out of photographs with MPRNet (Zamir et al., CVPR 2021)."""

__version__ = "0.1.0"
