from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from huiju.cli import main as cli
from huiju.cli.complete import candidates
from huiju.cli.completion import SCRIPTS
from huiju.cli.reference import PAGE, page
from huiju.cli.verbs import VERBS

LEAST = ["--name", "x", "--queue", "q", "--accelerator", "ascend-910b3:8", "--image", "img"]


def run(*words: str) -> int:
    return cli.main(list(words))


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(verb, "--help") == 0
    told = capsys.readouterr().out
    assert VERBS[verb].help in told.lower() or VERBS[verb].help.split()[0] in told.lower()
    assert "--kubeconfig" in told


def test_help_without_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert "submit" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("jobs", "--nonsense"),
        ("jobs", "-o", "xml"),
        ("jobs", "--name", "x"),
        ("why",),
        ("logs", "x", "--worker", "-1"),
        ("logs", "x", "--tail", "many"),
        ("cancel",),
        ("join", "x"),
        ("join", "x", "--region", "south", "--time-zone", "Asia/Shangai"),
        ("submit",),
        ("submit", *LEAST, "--timeout", "1h"),
        ("submit", *LEAST, "--dry-run", "--wait"),
        ("submit", "-f", "x.yaml", "--name", "x"),
        ("submit", "-f", "x.yaml", "--", "python"),
        ("submit", *LEAST, "--kubeconfig", "/nowhere/config"),
        ("jobs", "--", "x"),
        ("jobs", "-w", "-o", "json"),
        ("--request-timeout", "soon", "jobs"),
        ("completion", "tcsh"),
    ],
)
def test_wrong_command_lines_end_with_2(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    assert capsys.readouterr().err


def test_no_kubeconfig_names_the_cure(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("jobs") == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "--kubeconfig" in told


def test_a_dry_run_needs_no_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("submit", *LEAST, "--dry-run", "-o", "json", "-n", "team-a", "--", "sh") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["metadata"]["namespace"] == "team-a"
    assert made["spec"]["template"]["spec"]["containers"][0]["command"] == ["sh"]


def test_cluster_flags_may_stand_before_and_after_the_verb() -> None:
    parser = cli.build_parser(["jobs"])
    for words in (["-n", "a", "jobs"], ["jobs", "-n", "a"], ["-n", "b", "jobs", "-n", "a"]):
        assert parser.parse_args(words).namespace == "a"


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    monkeypatch.setattr(cli, "_drop_output", lambda: None)
    assert run("jobs", "-w") == 130


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m huiju.cli.main completion bash | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""


def test_the_way_to_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from huiju.cli.main import main; main(['submit', '--help']);"
        "heavy = {'pydantic', 'aiohttp', 'kubernetes', 'msgspec', 'yaml', 'ssl', 'asyncio'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_completion_of_verbs_flags_and_values() -> None:
    found, directive = candidates(["su"])
    assert [name for name, _ in found] == ["submit", "suspend"]
    assert directive == 4
    assert ("-n", "namespace of jobs") in candidates(["jobs", "-"])[0]
    assert [n for n, _ in candidates(["submit", "--framework", "t"])[0]] == ["torchrun"]
    assert candidates(["submit", "--framework=m"])[0] == [("--framework=mindspore", "")]
    assert [n for n, _ in candidates(["-n", "jobs", "comp"])[0]] == ["completion"]
    assert candidates(["submit", "-f", ""]) == ([], 0)
    assert candidates(["submit", "--", ""]) == ([], 0)
    assert [n for n, _ in candidates(["completion", ""])[0]] == ["bash", "zsh", "fish"]


def test_completion_of_names_is_silent_in_trouble() -> None:
    assert candidates(["why", ""]) == ([], 4)
    assert candidates(["jobs", "-n", ""]) == ([], 4)


def test_completion_knows_the_contexts(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("contexts: [{name: north}, {name: south}]")
    words = ["--kubeconfig", str(config), "jobs", "--context", "so"]
    assert candidates(words) == ([("south", "")], 4)


def test_bash_completes_by_the_script(tmp_path: Path) -> None:
    script = tmp_path / "try.bash"
    program = f'kubectl-huiju() {{ {sys.executable} -m huiju.cli.main "$@"; }}'
    script.write_text(
        f"{program}\n{SCRIPTS['bash']}\n"
        'COMP_WORDS=(kubectl-huiju su) COMP_CWORD=1; _kubectl_huiju; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", script], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["submit", "suspend"], done.stderr


def test_the_page_is_what_the_parser_says() -> None:
    assert page() == PAGE.read_text(encoding="utf-8")


def test_jobs_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = (
        '{"apiVersion": "huiju.dev/v1alpha1", "kind": "CrossRegionJob", "metadata": {"name": "a"}}'
    )

    class Input:
        buffer = io.BytesIO(job.encode())

    monkeypatch.setattr(sys, "stdin", Input)
    assert run("submit", "-f", "-", "--dry-run", "-o", "name") == 0
    assert capsys.readouterr().out == "crossregionjob.huiju.dev/a\n"
