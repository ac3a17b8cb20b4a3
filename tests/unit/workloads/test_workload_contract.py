from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import pytest

from profiler.errors import OutputError, ProfilerError, UsageError
from profiler.files import atomic_file, write_json
from profiler.runtime import contract


def options(tmp_path: Path, *argv: str) -> contract.RunOptions:
    parser = argparse.ArgumentParser()
    contract.add_common_arguments(parser, ("eager", "graph"))
    return contract.run_options(parser.parse_args(["--output", str(tmp_path / "o.json"), *argv]))


def test_defaults(tmp_path: Path) -> None:
    found = options(tmp_path)
    assert (found.batch, found.input_shape, found.mode, found.warmup, found.iterations) == (
        1,
        (3, 224, 224),
        "eager",
        20,
        10,
    )
    assert not found.profile and not found.bench and found.inputs is None


@pytest.mark.parametrize(
    "argv",
    [
        ["--batch", "0"],
        ["--batch", "x"],
        ["--input-shape", "3,224"],
        ["--input-shape", "3,0,2"],
        ["--bench-seconds", "-1"],
        ["--bench-seconds", "nan"],
        ["--mode", "stream"],
        ["--warmup", "-1"],
    ],
)
def test_wrong_usage(tmp_path: Path, argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        options(tmp_path, *argv)
    assert caught.value.code == 2


def test_random_inputs_are_seeded(tmp_path: Path) -> None:
    first = contract.load_inputs(options(tmp_path, "--batch", "2", "--input-shape", "3,4,5", "--seed", "7"))
    again = contract.load_inputs(options(tmp_path, "--batch", "2", "--input-shape", "3,4,5", "--seed", "7"))
    other = contract.load_inputs(options(tmp_path, "--batch", "2", "--input-shape", "3,4,5"))
    assert first.shape == (2, 3, 4, 5) and first.dtype == np.float32
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_inputs_from_files(tmp_path: Path) -> None:
    images = np.arange(5 * 3 * 4 * 4, dtype=np.float64).reshape(5, 3, 4, 4)
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "b.npz", labels=np.arange(5), images=images)
    for name in ("a.npy", "b.npz"):
        found = contract.load_inputs(options(tmp_path, "--inputs", str(tmp_path / name), "--input-shape", "3,4,4"))
        assert found.dtype == np.float32 and np.array_equal(found, images)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.write_bytes(b"not numpy"), "not a readable NumPy file"),
        (lambda p: p.write_bytes(b""), "not a readable NumPy file"),
        (lambda p: np.save(p.open("wb"), np.zeros((2, 3, 5, 5))), "holds an array of shape"),
        (lambda p: np.save(p.open("wb"), np.zeros((0, 3, 4, 4))), "holds an array of shape"),
        (lambda p: np.save(p.open("wb"), np.array(["a"])), "expected numbers"),
        (lambda p: np.savez(p.open("wb"), a=np.zeros(1), b=np.zeros(1)), "one named"),
    ],
)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_inputs_that_do_not_fit(tmp_path: Path, make, said: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "x.npy"
    make(path)
    with pytest.raises(ProfilerError, match=said) as caught:
        contract.load_inputs(options(tmp_path, "--inputs", str(path), "--input-shape", "3,4,4"))
    assert "x.npy" in caught.value.message


def test_batches_fill_up_the_last() -> None:
    images = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)
    parts = list(contract.batches(images, 2))
    assert [(p.ravel().tolist(), n) for p, n in parts] == [([0, 1], 2), ([2, 3], 2), ([4, 4], 1)]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "o.json"
    with pytest.raises(ZeroDivisionError), atomic_file(target) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    with pytest.raises(ValueError, match="JSON"):
        write_json(target, {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []
    write_json(target, {"x": 1})
    assert json.loads(target.read_text()) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["o.json"]


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="No space left"),
        atomic_file(tmp_path / "big"),
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_checked_early(tmp_path: Path) -> None:
    contract.check_outputs(tmp_path / "fine.json", None)
    with pytest.raises(OutputError, match="cannot be written"):
        contract.check_outputs(tmp_path / "missing" / "o.json")
    with pytest.raises(OutputError, match="is a folder"):
        contract.check_outputs(tmp_path)
    if os.geteuid():  # root may write anywhere
        tmp_path.chmod(0o500)
        with pytest.raises(OutputError, match="cannot be written"):
            contract.check_outputs(tmp_path / "o.json")
        tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []


def test_how_a_process_ends(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(error: BaseException):  # type: ignore[no-untyped-def]
        def main(_argv: object) -> None:
            raise error

        return main

    assert contract.run_process(lambda _: None) == 0
    assert contract.run_process(fails(ProfilerError("what", "do this"))) == 1
    assert capsys.readouterr().err == "error: what\n  do this\n"
    assert contract.run_process(fails(UsageError("how"))) == 2
    assert contract.run_process(fails(KeyboardInterrupt())) == 130
    assert contract.run_process(fails(ValueError("odd"))) == 1
    shown = capsys.readouterr().err
    assert "ValueError: odd" in shown and "Traceback" not in shown
    monkeypatch.setenv(contract.TRACEBACK_VARIABLE, "1")
    with pytest.raises(ValueError, match="odd"):
        contract.run_process(fails(ValueError("odd")))
