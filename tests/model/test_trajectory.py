import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncology.errors import InputError, OutputError
from oncology.model.trajectory import Trajectory, TrajectoryError, read_trajectory, write_trajectory


def example(nt: int = 3, nv: int = 5, dtype: type = np.float64) -> Trajectory:
    density = np.random.default_rng(0).random((nt, nv)).astype(dtype)
    return Trajectory(np.arange(nt) * 1.5, density, "abc", {"diffusion_white": 0.3, "case": "toy01"})


@given(nt=st.integers(1, 5), nv=st.integers(1, 20), dtype=st.sampled_from([np.float32, np.float64]))
def test_write_then_read(tmp_path_factory, nt, nv, dtype):
    path = tmp_path_factory.mktemp("t") / "trajectory.h5"
    written = example(nt, nv, dtype)
    write_trajectory(path, written)
    read = read_trajectory(path)
    np.testing.assert_array_equal(read.times, written.times)
    np.testing.assert_array_equal(read.density, written.density)
    assert read.density.dtype == dtype
    assert read.mesh_fingerprint == "abc"
    assert dict(read.meta) == {"diffusion_white": 0.3, "case": "toy01"}
    assert [p.name for p in path.parent.iterdir()] == ["trajectory.h5"]


def test_stored_uncompressed(tmp_path):
    write_trajectory(tmp_path / "t.h5", example())
    with h5py.File(tmp_path / "t.h5") as file:
        assert file["density"].compression is None
        assert file["times"].attrs["unit"] == "day"


@pytest.mark.parametrize(
    ("times", "density", "message"),
    [
        ([0.0, 1.0], np.zeros((3, 4)), "do not fit"),
        ([0.0], np.zeros(1), "do not fit"),
        ([], np.zeros((0, 4)), "do not fit"),
        ([0.0, 0.0], np.zeros((2, 4)), "strictly increasing"),
        ([1.0, 0.0], np.zeros((2, 4)), "strictly increasing"),
        ([0.0, np.nan], np.zeros((2, 4)), "finite"),
        ([0.0, 1.0], np.array([[0.0, 0.0], [0.0, np.nan]]), r"density is nan at time 1, vertex 1"),
    ],
)
def test_inconsistent_trajectories(times, density, message):
    with pytest.raises(TrajectoryError, match=message):
        Trajectory(np.array(times), density, "abc")


def damaged(path, change):
    write_trajectory(path, example())
    with h5py.File(path, "a") as file:
        change(file)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.__delitem__("density"), "not a trajectory"),
        (lambda file: file.__delitem__("meta"), "not a trajectory"),
        (lambda file: file.attrs.__delitem__("mesh_fingerprint"), "not a trajectory"),
        (lambda file: file.attrs.__setitem__("schema", 9), "schema 9"),
        (lambda file: file["times"].write_direct(np.array([2.0, 1.0, 0.0])), "strictly increasing"),
        (lambda file: file["density"].write_direct(np.full((3, 5), np.inf)), "density is inf"),
    ],
)
def test_damaged_files(tmp_path, change, message):
    with pytest.raises(InputError, match=rf"t\.h5: .*{message}") as caught:
        read_trajectory(damaged(tmp_path / "t.h5", change))
    assert "\n" not in str(caught.value)


def test_truncated_missing_and_foreign_files(tmp_path):
    path = tmp_path / "t.h5"
    with pytest.raises(TrajectoryError, match="no such file"):
        read_trajectory(path)
    write_trajectory(path, example(50, 500))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(TrajectoryError, match="not a trajectory, or truncated"):
        read_trajectory(path)
    path.write_text("hello")
    with pytest.raises(TrajectoryError, match="not a trajectory"):
        read_trajectory(path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "t.h5"
    write_trajectory(path, example())
    before = path.read_bytes()
    bad = Trajectory(np.zeros(1), np.zeros((1, 2)), "abc", {"key": object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        write_trajectory(path, bad)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.h5"]
    with pytest.raises(OutputError, match="cannot be written"):
        write_trajectory(tmp_path / "none" / "t.h5", example())
