"""Faults in a trace are named by file, line and column."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from huiju.simulation.clusters import read_clusters
from huiju.simulation.traces import Cluster, TraceError, read_jobs

HEAD = "submit_s,duration_s,gpus,cluster,user,vc,status\n"


def write(folder: Path, text: str, name: str = "jobs.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_reads_plain_and_compressed(tmp_path: Path) -> None:
    text = f"{HEAD}5,10,2,a,u,v,COMPLETED\n6,1,0,a,,,\n7,0,16,b,,,\n"
    plain = read_jobs(write(tmp_path, text))
    assert [(j.index, j.submit, j.duration, j.gpus, j.cluster) for j in plain] == [
        (0, 5.0, 10.0, 2, "a"),
        (1, 7.0, 0.0, 16, "b"),
    ]
    assert (plain[0].user, plain[0].vc, plain[0].status) == ("u", "v", "COMPLETED")
    packed = tmp_path / "jobs.csv.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert read_jobs(packed) == plain


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("submit_s,gpus,cluster\n", ":1: column duration_s is missing"),
        ("", ":1: the file is empty, expected the columns submit_s, duration_s, gpus, cluster"),
        (f"{HEAD}1,2,1,a,,,\n-1,2,1,a,,,\n", ":3: submit_s is -1, expected at least 0"),
        (f"{HEAD}1,x,1,a,,,\n", ":2: duration_s is 'x', expected a number"),
        (f"{HEAD}1,inf,1,a,,,\n", ":2: duration_s is inf"),
        (f"{HEAD}1,nan,1,a,,,\n", ":2: duration_s is nan"),
        (f"{HEAD}1,2,1.5,a,,,\n", ":2: gpus is 1.5, expected a whole number"),
        (f"{HEAD}1,2,99999999,a,,,\n", ":2: gpus is 99999999, expected a whole number up to"),
        (f"{HEAD}1,2,1,z,,,\n", ":2: cluster 'z' is not among the clusters"),
        (f"{HEAD}1,2,1\n", ":2: not as many fields as columns"),
        (f"{HEAD}1,2,1,a,,,,,\n", ":2: not as many fields as columns"),
    ],
)
def test_faults_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(TraceError) as caught:
        read_jobs(path, {"a"}.__contains__)
    assert str(caught.value).startswith(f"{path}{complaint}")


def test_a_model_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    path = write(tmp_path, "submit_s,duration_s,gpus,cluster,model\n0,1,1,a,x| y |x|\n")
    assert read_jobs(path)[0].models == ("x", "y")


def test_a_file_that_is_not_there_or_not_a_trace(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file"):
        read_jobs(tmp_path / "none.csv")
    with pytest.raises(TraceError, match=r"jobs\.csv\.gz: "):
        read_jobs(write(tmp_path, "plain text", "jobs.csv.gz"))


def test_clusters_of_one_pool(tmp_path: Path) -> None:
    head = "trace,cluster,pool,nodes,gpus_per_node,gpus,model,origin\n"
    path = write(tmp_path, f"{head}itp,a,tight,2,8,16,,x\nitp,a,big,9,8,72,,x\n", "c.csv")
    assert read_clusters(path, "itp", "tight") == [Cluster("a", 2, 8)]
    with pytest.raises(TraceError, match="no line has pool 'none'; give --pool one of tight, big"):
        read_clusters(path, "itp", "none")
    with pytest.raises(TraceError, match=":2: nodes is 0"):
        read_clusters(write(tmp_path, f"{head}itp,a,tight,0,8,16,,x\n", "d.csv"), "itp", "tight")
