"""The paper's method: CAM, co-occurrence, affinity, CRF (Sec. 4)."""
