"""`case.toml`: what is accepted, and what each mistake says."""

import re
from pathlib import Path

import pytest

from oncology.errors import CaseError
from oncology.imaging import BRATS2017, BRATS2021, LabelTable
from oncology.imaging.casefile import SAME_DAY, read_case_file
from oncology.imaging.tables import NAMED_TABLES
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


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("BraTS2021", "brats2021"),
        ("brats 2018", "brats2017"),
        ("BraTS2023-GLI", "brats2023-glioma"),
        ("BraTS-2024_GLI", "brats2024-posttreatment"),
        ("Task01_BrainTumour", "msd-task01"),
        ("HD-GLIO-AUTO", "hd-glio"),
        ("UCSF-PDGM", "ucsf-pdgm"),
        ("PREDICT-GBM", "predict-gbm"),
        ("LUMIERE DeepBraTumIA", "lumiere-deepbratumia"),
    ],
)
def test_spellings_of_the_named_tables(tmp_path, written, name):
    named = GOOD.replace("necrosis = 1\noedema = [2, 3]\nenhancing = 4", f'table = "{written}"')
    assert read_case_file(write(tmp_path, named)).labels.build() == NAMED_TABLES[name]


@pytest.mark.parametrize("written", ["BraTS2023", "brats2024", "LUMIERE", "brats"])
def test_a_name_that_stands_for_several_tables_is_no_choice(tmp_path, written):
    named = GOOD.replace("necrosis = 1\noedema = [2, 3]\nenhancing = 4", f'table = "{written}"')
    with pytest.raises(CaseError, match=rf"labels.table = '{written}'.*tables are brats2017, brats2021, .*predict-gbm"):
        read_case_file(write(tmp_path, named))


def test_a_table_needs_only_the_classes_that_exist(tmp_path):
    two = GOOD.replace("necrosis = 1\noedema = [2, 3]\nenhancing = 4", "oedema = 1\nenhancing = 2\ncavity = [3, 4]")
    assert read_case_file(write(tmp_path, two)).labels.build() == LabelTable((), (1,), (2,), cavity=(3, 4))


@pytest.mark.parametrize("name", ["Patient-001", "BraTS2021_00042", "BraTS-GLI-00000-000", "01"])
def test_names_as_data_sets_write_them(tmp_path, name):
    assert read_case_file(write(tmp_path, GOOD.replace("peer01", name))).subject.id == name


@pytest.mark.parametrize("name", ["week-000-1", "ses-week-000-1", "02", "2019_06"])
def test_sessions_as_data_sets_write_them(tmp_path, name):
    case = read_case_file(write(tmp_path, GOOD.replace("ses-02", name)))
    assert case.session[1].id == f"ses-{name.removeprefix('ses-')}"


def test_dates_are_counted_from_the_first_session(tmp_path):
    text = GOOD.replace("day = 0\n", "day = 2023-11-05\n").replace("day = 45.2", "day = 2023-12-20T12:00:00")
    case = read_case_file(write(tmp_path, text + RADIOTHERAPY.replace("day = 1", "day = 2023-11-04")))
    assert case.days == (0.0, 45.5)
    assert case.treatment[0].day == -1.0


def test_two_scans_around_the_resection_of_one_day(tmp_path):
    text = GOOD.replace("day = 45.2", "day = 0") + '[[session]]\nid = "ses-03"\nday = 30\n'
    case = read_case_file(write(tmp_path, text + '[[treatment]]\nkind = "resection"\nday = 0\n'))
    assert case.days == (0.0, SAME_DAY, 30.0)
    assert case.days_with_two == {0.0}


@pytest.mark.parametrize(
    ("encoded", "says"),
    [
        (GOOD.encode("utf-16"), "UTF-16"),
        (b"# Gr\xf6\xdfe\n" + GOOD.encode(), "byte 0xf6 in line 1 is not UTF-8"),
    ],
)
def test_other_encodings_are_named(tmp_path, encoded, says):
    (tmp_path / "case.toml").write_bytes(encoded)
    with pytest.raises(CaseError, match=f"{says}.*save it .*UTF-8"):
        read_case_file(tmp_path / "case.toml")


def test_marks_and_line_ends_of_windows_do_not_matter(tmp_path):
    (tmp_path / "case.toml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert read_case_file(tmp_path / "case.toml").subject.id == "peer01"


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
        ('id = "ses-02"', 'id = "ses-02"\ndya = 1', "unknown key session[2].dya: allowed here are id, day, core"),
        ("day = 45.2", "dya = 45.2", "unknown key session[2].dya: allowed here are id, day, core (and 1 more)"),
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
        (
            "core = 0.6",
            "core = 0.6\nsd = 0.21",
            "thresholds.sd = 0.21 is not allowed: give a standard deviation of the",
        ),
        ("core = 0.6", "core = 0.6\nsd = -0.01", "of the density in 0..0.2"),
        (
            "[thresholds]",
            "[segmentation]\nbias_mm = 3.1\n[thresholds]",
            "segmentation.bias_mm = 3.1 is not allowed: give a standard deviation in 0..3 mm",
        ),
        ("[thresholds]", "[segmentation]\nbias_mm = nan\n[thresholds]", "segmentation.bias_mm = nan"),
        ("[thresholds]", "[segmentation]\nbias = 1\n[thresholds]", "segmentation.bias: allowed here are bias_mm"),
        ("core = 0.6", 'core = "0.6"', "thresholds.core = '0.6' is not allowed: give a cell density"),
        ("day = 45.2", "day = 0.0", "ses-02 (day 0) must be later than ses-01 (day 0): sort the sessions by day"),
        ("day = 45.2", "day = -3.0", "ses-02 (day -3) must be later than ses-01 (day 0)"),
        ("day = 45.2", "day = inf", "session[2].day = inf is not allowed: give a finite number of days"),
        ("day = 45.2", "day = true", "session[2].day = True"),
        ('id = "ses-02"', 'id = "ses-01"', "session id ses-01 occurs twice"),
        (
            'id = "ses-02"',
            'id = "ses/02"',
            "session[2].id = 'ses/02' is not allowed: give 'ses-' and letters or digits",
        ),
        ('id = "ses-02"', 'id = "01"', "session id ses-01 occurs twice"),
        (
            'id = "peer01"',
            "id = 42",
            "subject.id = 42 is not allowed: give letters and digits, with - or _ in between, in quotes",
        ),
        ('id = "peer01"', 'id = "peer 01"', "subject.id = 'peer 01' is not allowed: give letters and digits"),
        ('id = "peer01"', 'id = "sub-peer01"', "'sub-peer01' begins with the 'sub-' of the file names: give 'peer01'"),
        ("day = 45.2", "day = 45.2\ncore = 'gone'", "give 'drawn', 'empty' or 'not segmented'"),
        ("day = 45.2", "day = 2023-11-05", "session[1].day = 0 stands beside dates"),
        (
            "day = 45.2",
            "day = 20231105",
            "session[2].day = 20231105 looks like a date: write 2023-11-05 without quotes",
        ),
        ("day = 45.2", "day = 1.6e9", "ses-01 and ses-02 are 1600000000 days apart, more than 100 years"),
        (
            "day = 45.2",
            "day = 45.2\n" + RADIOTHERAPY.replace("day = 1", "day = -1e5"),
            "radiotherapy on day -100000 is",
        ),
        ("day = 45.2", "day = 45.2\n" + RADIOTHERAPY.replace("60", "6000"), "at most 200 (6000 cGy are 60)"),
        ('id = "peer01"', 'id = "../peer"', "subject.id = '../peer' is not allowed: give letters and digits"),
        ("necrosis = 1", "necrosis = 4", "value 4 is given more than once"),
        ("necrosis = 1", "necrosis = 0", "value 0 is outside 1..32767"),
        (
            "necrosis = 1",
            "necrosis = 1.5",
            "labels.necrosis[1] = 1.5 is not allowed: give an integer in 1..32767, or a list",
        ),
        ("necrosis = 1\noedema = [2, 3]\nenhancing = 4", "cavity = 4", "labels: no value is given"),
        ("enhancing = 4", "enhancing = 4\ncavity = 4", "value 4 is given more than once"),
        (
            "necrosis = 1\noedema = [2, 3]\nenhancing = 4",
            'table = "brats1999"',
            "labels.table = 'brats1999': there is no such table, perhaps brats2017; tables are brats2017, brats2021,",
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
            "key session[2].id is missing: give 'ses-' and letters or digits, with - or _ in between, in quotes (and 1",
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
