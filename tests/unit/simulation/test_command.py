"""`huiju simulate` as a platform engineer meets it: figures, faults, pages, exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from huiju.__main__ import main
from huiju.simulation.policies import POLICIES
from huiju.simulation.progress import Bar
from tests.simulation_traces import CLUSTERS, ITP

HEAD = "submit_s,duration_s,gpus,cluster,user\n"
JOBS = f"{HEAD}0,10,8,a,ann\n1,10,8,a,bob\n1,10,16,b,\n"
CENTERS = "cluster,nodes,gpus_per_node\na,1,8\nb,3,8\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    jobs, centers = tmp_path / "jobs.csv", tmp_path / "centers.csv"
    jobs.write_text(JOBS)
    centers.write_text(CENTERS)
    return jobs, centers


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def simulate(*words: object) -> int:
    return main(["simulate", *map(str, words)])


def test_with_and_without_federation(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(*files, "-o", "json") == 0
    policies = told(capsys)["policies"]
    assert list(policies) == ["isolated", "huiju"]
    assert policies["isolated"]["waits"]["mean"] == 3.0
    assert policies["huiju"]["waits"]["mean"] == 0.0
    assert policies["huiju"]["moved"] == pytest.approx(1 / 3)
    assert policies["isolated"]["homes"]["a"]["longest"] == 9.0
    assert policies["isolated"]["users"]["groups"] == 2


def test_all_policies_and_a_page(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html = tmp_path / "page.html"
    assert simulate(*files, "--compare", "--html", html) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows[1 : len(POLICIES) + 1]] == list(POLICIES)
    text = html.read_text()
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    pictures = text.split("<svg")[1:]
    assert len(pictures) == 6
    for picture in pictures:
        ElementTree.fromstring("<svg" + picture.partition("</svg>")[0] + "</svg>")  # noqa: S314


def test_runs_side_by_side_give_the_same_figures(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = (
        *files,
        "--policy",
        "race",
        "--policy",
        "huiju",
        "--seed",
        1,
        "--seed",
        2,
        "-o",
        "json",
    )
    assert simulate(*words) == 0
    alone = told(capsys)
    assert simulate(*words, "--parallel", 2) == 0
    assert told(capsys) == alone
    assert next(iter(alone["policies"])) == "race (seed 1)"


def test_centers_in_yaml_with_models(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = tmp_path / "models.csv"
    jobs.write_text(
        "submit_s,duration_s,gpus,cluster,model\n0,100,8,a,x\n1,100,8,a,x|y\n2,50,4,a,y\n"
    )
    centers = tmp_path / "centers.yaml"
    centers.write_text(
        "centers:\n"
        "- name: a\n  nodes: [{count: 1, accelerators: 8, model: x, tflops: 100}]\n"
        "- name: b\n  nodes: [{count: 1, accelerators: 8, model: y, tflops: 50.5}]\n"
    )
    for policy in ("huiju", "fifo"):
        assert simulate(jobs, centers, "--policy", policy, "-o", "json") == 0
        found = told(capsys)["policies"][policy]
        assert found["waits"]["longest"] == 99.0
        assert found["use"]["b"] > 0


def test_data_is_moved_and_waited_for(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(*files, "--datasets", 2, "--gigabytes", 1.25, "-o", "json") == 0
    policies = told(capsys)["policies"]
    assert policies["isolated"]["bytes_moved"] == 0
    assert policies["huiju"]["bytes_moved"] == 1_250_000_000
    assert policies["huiju"]["staging"] == pytest.approx(1 / 3)
    assert policies["huiju"]["waits"]["longest"] == pytest.approx(1.0)
    assert simulate(*files, "--datasets", 2, "--copies-room", 0.01) == 2
    assert "--copies-room is less than one data set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("submit_s,gpus,cluster\n1,1,a\n", "jobs.csv:1: column duration_s is missing"),
        ("", "jobs.csv:1: the file is empty, expected the columns submit_s, duration_s"),
        (HEAD, "jobs.csv: holds no job"),
        (f"{HEAD}-5,1,1,a,\n", "jobs.csv:2: submit_s is -5, expected at least 0"),
        (f"{HEAD}1,2,1,a,\n1,-2,1,a,\n", "jobs.csv:3: duration_s is -2, expected at least 0"),
        (f"{HEAD}1,2,1,z,\n", "jobs.csv:2: cluster 'z' is not among the clusters"),
        (f"{HEAD}1,2,500,a,\n", "jobs.csv:2: gpus is 500, but no cluster has more than 24"),
        (f"{HEAD}1,soon,1,a,\n", "jobs.csv:2: duration_s is 'soon', expected a number"),
        (f"{HEAD}1,2,1\n", "jobs.csv:2: not as many fields as columns"),
    ],
)
def test_faults_are_named_with_their_lines(
    files: tuple[Path, Path], text: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files[0].write_text(text)
    assert simulate(*files) == 2
    assert complaint in capsys.readouterr().err


def test_several_faults_at_once_and_without_them(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files[0].write_text(HEAD + "1,2,1,a,\n" + "x,2,1,a,\n" * 12)
    assert simulate(*files) == 2
    complaints = capsys.readouterr().err.splitlines()
    assert len(complaints) == 11
    assert complaints[-1] == "and 2 more faulty lines"
    assert simulate(*files, "--skip-faulty", "-o", "json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["jobs"] == 1
    assert "left out 12 faulty line(s), first: " in shown.err


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("c.csv", "cluster,nodes\na,1\n", ":1: column gpus_per_node is missing"),
        ("c.csv", "cluster,nodes,gpus_per_node\na,0,8\n", ":2: nodes is 0"),
        ("c.csv", "cluster,nodes,gpus_per_node\n,1,8\n", ":2: cluster is empty"),
        ("c.csv", "cluster,nodes,gpus_per_node\na,1,0\n", ": no cluster has accelerators"),
        ("c.csv", "cluster,nodes,gpus_per_node,pool\na,1,8,x\na,2,8,y\n", "--pool one of x, y"),
        ("c.yaml", "", ":1: the file is empty"),
        ("c.yaml", "centers: [\n", ":2: "),
        ("c.yaml", "centers: {}\n", ":1: centers must be a list"),
        ("c.yaml", "centers:\n- nodes: []\n", ":2: name is missing"),
        ("c.yaml", "centers:\n- name: a\n  nodes:\n  - count: 1\n", ":4: accelerators is missing"),
        ("c.yaml", "centers:\n- name: a\n  nodes: [{count: x, accelerators: 1}]\n", ":3: count"),
        ("c.yaml", "centers:\n- name: a\n  size: 3\n  nodes: []\n", "a center has no field size"),
    ],
)
def test_faults_of_centers(
    files: tuple[Path, Path], name: str, text: str, complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    centers = files[1].with_name(name)
    centers.write_text(text)
    assert simulate(files[0], centers) == 2
    said = capsys.readouterr().err
    assert f"{name}:" in said
    assert complaint in said


def test_a_queue_log_is_a_trace(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files[0].write_text(
        "job,cluster,submit_s,duration_s,duration_basis,gpus,model,priority,user,vc\n"
        "one,a,1000.5,60,measured,8,,3,team,q\n"
        "two,a,1001,,none,8,,,team,q\n"
        "three,,1002,60,expected,8,,,team,q\n"
    )
    assert simulate(*files, "-o", "json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["jobs"] == 1
    assert "left out 1 job(s): nobody knows how long they run" in shown.err
    assert "left out 1 job(s): they have no home" in shown.err


def test_wrong_words_and_files(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(files[0]) == 2
    assert "give either CENTERS or --from-hub" in capsys.readouterr().err
    assert simulate(tmp_path / "none.csv", files[1]) == 2
    assert "No such file" in capsys.readouterr().err
    assert simulate(*files, "--html", tmp_path / "none" / "page.html") == 1
    assert "No such file" in capsys.readouterr().err
    assert simulate(files[0], "--from-hub", "--kubeconfig", tmp_path / "none") == 1
    assert "none" in capsys.readouterr().err
    for words in (("--first", "0"), ("--gigabytes", "x"), ("--policy", "magic")):
        with pytest.raises(SystemExit) as leaving:
            simulate(*files, *words)
        assert leaving.value.code == 2


@pytest.mark.parametrize("parallel", [1, 2])
def test_ctrl_c_ends_it_without_a_traceback(parallel: int) -> None:
    words = ["simulate", ITP, CLUSTERS, "--trace", "itp", "--pool", "tight", "--compare"]
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "huiju", *map(str, words), "--parallel", str(parallel)],
        stdout=subprocess.PIPE,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        shown = b""
        while b"[" not in shown:  # the progress bar: it runs now
            shown += os.read(ours, 1024)
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        with contextlib.suppress(OSError):  # a terminal that nobody holds any more
            while more := os.read(ours, 1024):
                shown += more
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in shown


class Terminal:
    def __init__(self, tty: bool) -> None:
        self.tty, self.text = tty, ""

    def isatty(self) -> bool:
        return self.tty

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


def test_progress_is_for_terminals_only() -> None:
    shown, silent = Terminal(True), Terminal(False)
    for stream in (shown, silent):
        bar = Bar(stream)  # type: ignore[arg-type]
        bar.show("huiju", 12, 24)
        bar.show("huiju", 13, 24)
        bar.show("huiju", 24, 24)
        bar.clear()
    assert silent.text == ""
    assert f"[{'#' * 12}{'.' * 12}] 12/24" in shown.text
    assert "13/24" not in shown.text
    assert shown.text.endswith(" \r")
