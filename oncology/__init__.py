"""Identification of brain-tumour growth from MRI: finite elements, adjoints and standalone neural ODEs.

The package follows one line of data: a case on disk (`imaging`) becomes a tetrahedral mesh (`meshing`), a
discrete growth model (`fem`), an inverse problem (`inverse`, `optimise`) and an estimate with its report.
"""

__version__ = "0.1.0"
