"""CIVA-Net: voxel-wise segmentation of cryo-ET sub-tomograms from image-level labels."""

__version__ = "0.1.0"
