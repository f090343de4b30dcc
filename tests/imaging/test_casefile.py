"""`case.toml`: what is accepted, and what each mistake says."""

import re
from pathlib import Path

import pytest

from oncology.errors import CaseError
from oncology.imaging import BRATS2017, BRATS2021
from oncology.imaging.casefile import read_case_file
from oncology.model.treatment import Chemotherapy, Radiotherapy, Resection

GOOD = """
[subject]
id = "peer01"
[labels]
necrosis = 1
oedema = [2, 3]
enhancing = 4
[thresholds]
oedema = 0.25
core = 0.6
[[session]]
id = "ses-01"
day = 0
[[session]]
id = "ses-02"
day = 45.2
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "case.toml"
    path.write_text(text)
    return path


def test_a_good_file(tmp_path):
    case = read_case_file(write(tmp_path, GOOD))
    assert case.labels.build().oedema == (2, 3)
    assert [(s.id, s.day) for s in case.session] == [("ses-01", 0.0), ("ses-02", 45.2)]
    assert case.treatment == ()


@pytest.mark.parametrize(
    ("text", "table"),
    [('table = "brats2017"', BRATS2017), ('table = "brats2021"', BRATS2021), ('name = "brats2021"', BRATS2021)],
)
def test_named_tables(tmp_path, text, table):
    named = GOOD.replace("necrosis = 1\noedema = [2, 3]\nenhancing = 4", text)
    assert read_case_file(write(tmp_path, named)).labels.build() == table


def test_named_table_as_a_plain_key(tmp_path):
    plain = 'labels = "brats2017"\n' + GOOD.replace("[labels]\nnecrosis = 1\noedema = [2, 3]\nenhancing = 4", "")
    assert read_case_file(write(tmp_path, plain)).labels.build() == BRATS2017


def test_treatments(tmp_path):
    text = """
[[treatment]]
kind = "radiotherapy"
day = 10
dose_gy = 60
fractions = 30
[[treatment]]
kind = "radiotherapy"
day = 100.5
dose_gy = 40.0
fractions = 15
alpha = 0.03
alpha_beta = 9.0
[[treatment]]
kind = "chemotherapy"
day = 12.0
rate = 0.1
half_life = 0.5
[[treatment]]
kind = "resection"
day = 5.0
mask = "cavity.nii.gz"
[[treatment]]
kind = "resection"
day = 6.0
"""
    case = read_case_file(write(tmp_path, GOOD + text))
    assert [entry.build(tmp_path) for entry in case.treatment] == [
        Radiotherapy(10.0, 60.0, 30),
        Radiotherapy(100.5, 40.0, 15, 0.03, 9.0),
        Chemotherapy(12.0, 0.1, 0.5),
        Resection(5.0, tmp_path / "cavity.nii.gz"),
        Resection(6.0, None),
    ]


RADIOTHERAPY = '\n[[treatment]]\nkind = "radiotherapy"\nday = 1\ndose_gy = 60\nfractions = 30\n'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[subject]", "colour = 1\n[subject]", "unknown key colour: allowed here are subject, labels, thresholds,"),
        ('id = "ses-02"', 'id = "ses-02"\ndya = 1', "unknown key session[2].dya: allowed here are id, day"),
        ("day = 45.2", "dya = 45.2", "unknown key session[2].dya: allowed here are id, day (and 1 more)"),
        ("core = 0.6", "core = 0.6\ntumor = 1", "unknown key thresholds.tumor: allowed here are oedema, core"),
        ("enhancing = 4", "enhancing = 4\nedema = 2", "unknown key labels.edema"),
        ("core = 0.6\n", "", "key thresholds.core is missing: give a cell density"),
        (
            "[thresholds]\noedema = 0.25\ncore = 0.6\n",
            "",
            "key thresholds is missing: give oedema = 0.25 and core = 0.60, or your own",
        ),
        (
            "core = 0.6",
            "core = 1.0",
            "thresholds.core = 1.0 is not allowed: give a cell density between 0 and 1, both excluded",
        ),
        (
            "oedema = 0.25",
            "oedema = 0.0",
            "thresholds.oedema = 0.0 is not allowed: give a cell density between 0 and 1",
        ),
        ("oedema = 0.25", "oedema = nan", "thresholds.oedema = nan"),
        ("core = 0.6", "core = 0.25", "[thresholds] core = 0.25 must be above oedema = 0.25"),
        ("core = 0.6", 'core = "0.6"', "thresholds.core = '0.6' is not allowed: give a cell density"),
        ("day = 45.2", "day = 0.0", "ses-02 (day 0) must be later than ses-01 (day 0): sort the sessions by day"),
        ("day = 45.2", "day = -3.0", "ses-02 (day -3) must be later than ses-01 (day 0)"),
        ("day = 45.2", "day = inf", "session[2].day = inf is not allowed: give a finite number of days"),
        ("day = 45.2", "day = true", "session[2].day = True"),
        ('id = "ses-02"', 'id = "ses-01"', "session id ses-01 occurs twice"),
        ('id = "ses-02"', 'id = "02"', "session[2].id = '02' is not allowed: give 'ses-' and letters or digits"),
        ('id = "peer01"', 'id = "../peer"', "subject.id = '../peer' is not allowed: give letters and digits"),
        ("necrosis = 1", "necrosis = 4", "value 4 is given more than once"),
        ("necrosis = 1", "necrosis = 0", "value 0 is outside 1..32767"),
        (
            "necrosis = 1",
            "necrosis = 1.5",
            "labels.necrosis[1] = 1.5 is not allowed: give an integer in 1..32767, or a list",
        ),
        ("necrosis = 1\n", "", "key labels.necrosis is missing"),
        (
            "necrosis = 1\noedema = [2, 3]\nenhancing = 4",
            'table = "brats1999"',
            "labels.table = 'brats1999' is not allowed: give 'brats2017' or 'brats2021'",
        ),
        ("core = 0.6", "core = 0.6 0.7", "not readable as TOML"),
        (
            "day = 45.2",
            "day = 45.2\n" + RADIOTHERAPY.replace("60", "-60"),
            "treatment[1].dose_gy = -60 is not allowed: give a positive number",
        ),
        (
            "day = 45.2",
            "day = 45.2\n" + RADIOTHERAPY.replace("30", "0"),
            "treatment[1].fractions = 0 is not allowed: give an integer in 1..100",
        ),
        ("day = 45.2", "day = 45.2\n" + RADIOTHERAPY + "rate = 1\n", "unknown key treatment[1].rate: allowed here are"),
        (
            "day = 45.2",
            "day = 45.2\n" + RADIOTHERAPY.replace("radiotherapy", "prayer"),
            "treatment[1].kind = 'prayer' is unknown: give 'radiotherapy', 'chemotherapy', 'resection'",
        ),
        ("day = 45.2", "day = 45.2\n[[treatment]]\nday = 1", "key treatment[1].kind is missing"),
        (
            'id = "ses-02"\nday = 45.2',
            "",
            "key session[2].id is missing: give 'ses-' and letters or digits (and 1 more)",
        ),
        ('[subject]\nid = "peer01"', 'subject = "peer01"', "subject = 'peer01' is not allowed: give id ="),
        (
            "day = 45.2",
            'day = 45.2\n[tensor]\naxes = "lps"',
            "tensor.axes = 'lps' is not allowed: give 'fsl', 'voxel' or 'ras'",
        ),
    ],
)
def test_each_mistake_is_one_line_that_names_it(tmp_path, old, new, message):
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(CaseError, match=re.escape(message)) as caught:
        read_case_file(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_no_sessions_no_file_and_no_text(tmp_path):
    with pytest.raises(CaseError, match="key session is missing"):
        read_case_file(write(tmp_path, GOOD[: GOOD.index("[[session]]")]))
    with pytest.raises(CaseError, match=r"session = \[\] is not allowed: give at least one session"):
        read_case_file(write(tmp_path, "session = []\n" + GOOD[: GOOD.index("[[session]]")]))
    (tmp_path / "case.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CaseError, match="not readable as TOML"):
        read_case_file(tmp_path / "case.toml")
    with pytest.raises(CaseError, match="no such file"):
        read_case_file(tmp_path / "none" / "case.toml")
