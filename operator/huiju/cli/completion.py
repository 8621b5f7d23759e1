"""`kubectl huiju completion`: prints the script that completes commands in a shell.

Decides nothing; the scripts ask `kubectl-huiju __complete` for candidates.
"""

from __future__ import annotations

import argparse

from huiju.cli.failures import OK
from huiju.cli.session import Session

EXAMPLES = """\
examples:
  source <(kubectl huiju completion bash)
  kubectl huiju completion zsh > "${fpath[1]}/_kubectl-huiju"
  kubectl huiju completion fish > ~/.config/fish/completions/kubectl-huiju.fish

`kubectl huiju` itself completes through kubectl's completion, which asks the program
kubectl_complete-huiju; it is installed together with kubectl-huiju."""

BASH = """\
# completion of kubectl-huiju in bash
_kubectl_huiju() {
    local line directive="" words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    COMPREPLY=()
    while IFS= read -r line; do
        case "$line" in
            :*) directive="$line" ;;
            *) COMPREPLY+=("${line%%$'\\t'*}") ;;
        esac
    done < <(kubectl-huiju __complete "${words[@]}" 2>/dev/null)
    [[ "$directive" == ":0" ]] && compopt -o default
}
complete -F _kubectl_huiju kubectl-huiju
"""
ZSH = """\
#compdef kubectl-huiju
# completion of kubectl-huiju in zsh
_kubectl_huiju() {
    local line directive="" found=()
    while IFS= read -r line; do
        case "$line" in
            :*) directive="$line" ;;
            *) found+=("${${line//:/\\\\:}/$'\\t'/:}") ;;
        esac
    done < <(kubectl-huiju __complete "${words[@]:1:$((CURRENT - 1))}" 2>/dev/null)
    (( ${#found} )) && _describe 'kubectl huiju' found
    [[ "$directive" == ":0" ]] && _files
}
compdef _kubectl_huiju kubectl-huiju
"""
FISH = """\
# completion of kubectl-huiju in fish
function __kubectl_huiju
    set -l words (commandline -opc) (commandline -ct)
    kubectl-huiju __complete $words[2..-1] 2>/dev/null | string match -v -r '^:'
end
complete -c kubectl-huiju -f -a '(__kubectl_huiju)'
complete -c kubectl-huiju -s f -l filename -l kubeconfig -l center-kubeconfig -r -F
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="which shell")


def run(session: Session) -> int:
    """Print the script."""
    session.say(SCRIPTS[session.flags.shell].rstrip("\n"))
    return OK
