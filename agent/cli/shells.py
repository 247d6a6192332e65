"""How bash, zsh and fish are taught to complete `lictor`, and the same put into their start-up files.

See `agent.cli.completion` for what they ask and what they are told.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path

from agent.cli.flags import fail
from model.goerrors import go_text

SCRIPTS = {
    "bash": r"""# Completion of lictor for bash: source <(lictor completion bash)
_lictor() {
    local IFS=$'\n'
    COMPREPLY=($(COMP_LINE=$COMP_LINE COMP_POINT=$COMP_POINT lictor "$1" "$2" "$3" 2>/dev/null))
    # A folder, a flag that wants a value: the user goes on typing.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=] ]]; then
        compopt -o nospace
    fi
}
complete -F _lictor lictor
""",
    "zsh": r"""# Completion of lictor for zsh: source <(lictor completion zsh)
_lictor() {
    local -a open done
    local word line="${(j: :)words[1,CURRENT-1]} $PREFIX"
    for word in ${(f)"$(COMP_LINE=$line COMP_POINT= lictor lictor "$PREFIX" "" 2>/dev/null)"}; do
        if [[ $word == *[/=] ]]; then open+=("$word"); else done+=("$word"); fi
    done
    compadd -Q -S '' -a open
    compadd -Q -a done
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
compdef _lictor lictor
""",
    "fish": r"""# Completion of lictor for fish: lictor completion fish | source
function __lictor
    env LICTOR_COMPLETE_RAW=1 COMP_LINE=(commandline -cp) lictor lictor (commandline -ct) 2>/dev/null
end
complete -c lictor -f -a '(__lictor)'
""",
}
"""What `lictor completion SHELL` prints."""
FLAGS = ("autocomplete-install", "autocomplete-uninstall")


def install(words: list[str]) -> int:
    """`-autocomplete-install` and `-autocomplete-uninstall`: change the start-up files of the user's shells."""
    name = words[0].removeprefix("-").removeprefix("-")
    if name not in FLAGS or not words[0].startswith("-"):
        return fail(f"flag provided but not defined: {words[0]}")
    if len(words) > 1:
        return fail(f"-{name} stands alone: what is {words[1]!r} for?")
    home = Path(os.environ.get("HOME") or Path.home())
    ours = Path(sys.argv[0]).name == "lictor"
    program = os.path.abspath(shutil.which(sys.argv[0]) or sys.argv[0]) if ours else shutil.which("lictor") or "lictor"
    try:
        changed = _install(home, program) if name == FLAGS[0] else _uninstall(home, program)
    except OSError as error:
        return fail(f"Error: {go_text(error)}")
    if isinstance(changed, str):
        return fail(f"Error: {changed}")
    what = "New shells complete lictor" if name == FLAGS[0] else "New shells do not complete lictor any more"
    for path in changed:
        print(f"{what}: {path}")
    return 0


def _lines(home: Path, program: str) -> dict[Path, str]:
    """The start-up files that are there, and the line that each of them gets."""
    command = shlex.quote(program)
    bash = f"complete -C {command} lictor"
    found = {path: bash for path in (home / ".bashrc", home / ".bash_profile") if path.is_file()}
    if len(found) == 2:
        del found[home / ".bash_profile"]  # It reads .bashrc, or should.
    if (home / ".zshrc").is_file():
        found[home / ".zshrc"] = f"autoload -U +X bashcompinit && bashcompinit; complete -o nospace -C {command} lictor"
    return found


def _fish(home: Path) -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish"


def _install(home: Path, program: str) -> list[Path] | str:
    changed, there = [], []
    for path, line in _lines(home, program).items():
        text = path.read_text(errors="surrogateescape")
        if line in text.split("\n"):
            there.append(path)
            continue
        with path.open("a", errors="surrogateescape") as file:
            file.write(("" if text.endswith("\n") or not text else "\n") + line + "\n")
        changed.append(path)
    if _fish(home).is_dir():
        path = _fish(home) / "completions" / "lictor.fish"
        if path.exists():
            there.append(path)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(SCRIPTS["fish"])
            changed.append(path)
    if not changed:
        return f"already installed in {there[0]}" if there else f"no .bashrc, .bash_profile, .zshrc or fish in {home}"
    return changed


def _uninstall(home: Path, program: str) -> list[Path] | str:
    changed = []
    for path, line in _lines(home, program).items():
        lines = path.read_text(errors="surrogateescape").split("\n")
        if line in lines:
            draft = path.with_name(f"{path.name}.lictor")
            draft.write_text("\n".join(one for one in lines if one != line), errors="surrogateescape")
            shutil.copymode(path, draft)
            os.replace(draft, os.path.realpath(path))
            changed.append(path)
    path = _fish(home) / "completions" / "lictor.fish"
    if path.exists():
        path.unlink()
        changed.append(path)
    return changed or f"not installed in {home}"
