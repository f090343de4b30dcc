"""Label tables by name: what the values of public segmentations and of their programs mean.

Sources: BraTS 2017 to 2020 (Bakas et al. 2018, arXiv:1811.02629) and UCSF-PDGM (Calabrese et al. 2022) write enhancing
tumour as 4; BraTS 2021 (Baid et al. 2021, arXiv:2107.02314) was released with 4 and again with 3, the value of BraTS
2023 and PREDICT-GBM; BraTS 2024 on treated gliomas (de Verdier et al. 2024, arXiv:2405.18368) and MU-Glioma-Post write
the resection cavity as 4. The Medical Segmentation Decathlon (Antonelli et al. 2022) has its own order, HD-GLIO
(Kickingereder et al. 2019) two classes. LUMIERE (Suter et al. 2022) holds the segmentations of HD-GLIO and those of
DeepBraTumIA, which write enhancing tumour as 1 and necrosis as 2, by the volumes that the data set states beside them.
"""

from __future__ import annotations

import difflib

from oncology.errors import CaseError
from oncology.imaging.labels import LabelTable

__all__ = ["BRATS2017", "BRATS2021", "NAMED_TABLES", "named_table"]

BRATS2017 = LabelTable(necrosis=(1,), oedema=(2,), enhancing=(4,), name="brats2017")
BRATS2021 = LabelTable(necrosis=(1,), oedema=(2,), enhancing=(3, 4), name="brats2021", alternatives=(3, 4))


def _treated(name: str) -> LabelTable:
    return LabelTable(necrosis=(1,), oedema=(2,), enhancing=(3,), cavity=(4,), name=name)


NAMED_TABLES = {
    table.name: table
    for table in (
        BRATS2017,
        BRATS2021,
        LabelTable(necrosis=(1,), oedema=(2,), enhancing=(3,), name="brats2023-glioma"),
        _treated("brats2024-posttreatment"),
        LabelTable(necrosis=(2,), oedema=(1,), enhancing=(3,), name="msd-task01"),
        LabelTable(necrosis=(), oedema=(1,), enhancing=(2,), name="hd-glio"),
        LabelTable(necrosis=(1,), oedema=(2,), enhancing=(4,), name="ucsf-pdgm"),
        LabelTable(necrosis=(), oedema=(1,), enhancing=(2,), name="lumiere-hd-glio"),
        LabelTable(necrosis=(2,), oedema=(3,), enhancing=(1,), name="lumiere-deepbratumia"),
        _treated("mu-glioma-post"),
        _treated("predict-gbm"),
    )
}

# Other spellings of the same tables, without case, blanks, dashes and underscores.
_ALIASES = {
    "brats2018": "brats2017",
    "brats2019": "brats2017",
    "brats2020": "brats2017",
    "brats2023gli": "brats2023-glioma",
    "brats2023adultglioma": "brats2023-glioma",
    "brats2024gli": "brats2024-posttreatment",
    "brats2024glioma": "brats2024-posttreatment",
    "brats2024posttreatmentglioma": "brats2024-posttreatment",
    "brats2024posttreat": "brats2024-posttreatment",
    "msdtask01braintumour": "msd-task01",
    "task01braintumour": "msd-task01",
    "decathlon": "msd-task01",
    "hdglioauto": "hd-glio",
    "lumierehdglioauto": "lumiere-hd-glio",
}

# Names that stand for several tables: what to say about them.
_AMBIGUOUS = {
    "brats": "each year of BraTS has labels of its own",
    "brats2023": "BraTS 2023 has several challenges, whose labels differ (adults, children): give brats2023-glioma",
    "brats2024": "BraTS 2024 has several challenges, whose labels differ: give brats2024-posttreatment",
    "lumiere": "LUMIERE holds the segmentations of two programs: give lumiere-hd-glio or lumiere-deepbratumia",
}


def named_table(name: str) -> LabelTable:
    """Return the table of a name; case, blanks, dashes and underscores do not matter.

    Raises:
        CaseError: there is none of this name, or several.
    """
    tables = {_bare(known): known for known in NAMED_TABLES} | _ALIASES
    bare = _bare(name)
    if bare in tables:
        return NAMED_TABLES[tables[bare]]
    why = _AMBIGUOUS.get(bare)
    if why is None:
        near = difflib.get_close_matches(bare, tables, n=1)
        why = f"there is no such table{f', perhaps {tables[near[0]]}' if near else ''}"
    raise CaseError(
        f"labels.table = {name!r}: {why}; tables are {', '.join(NAMED_TABLES)}; "
        "or list the values of necrosis, oedema and enhancing"
    )


def _bare(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
