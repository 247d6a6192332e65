"""docs/cli.md, made from the table of commands: `python -m agent.cli.reference > docs/cli.md`."""

from agent.cli.command import CLIENT, HTTP_FLAGS, Command, Flag
from agent.cli.help import explained, written
from agent.cli.tables import COMMANDS, GROUPS

HEAD = """# The command line

Made from the table of commands by `python -m agent.cli.reference > docs/cli.md`; `lictor COMMAND -h` says the same.

Flags come before arguments and are written `-flag=value`, `-flag value` or `--flag=value`; a switch is turned off with
`-flag=false`, and `--` ends the flags. Durations are written as in `300ms`, `1.5h`, `2m30s`.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | wrong words, an agent that cannot be reached or refuses, a failure; `intention check`: denied |
| 2 | `members`: none to show; `exec`: the command failed on a node; `lock -child-exit-code`: the command failed; \
`intention check`: the question failed |
| 127 | no such command |

A command that is interrupted ends by the signal, which shells show as 130. One whose reader goes away ends silently.

## Environment

| variable | what it sets |
|---|---|
| `CONSUL_HTTP_ADDR` | the agent to ask, as `-http-addr` |
| `CONSUL_HTTP_TOKEN`, `CONSUL_HTTP_TOKEN_FILE` | the token, as `-token` and `-token-file` |
| `CONSUL_HTTP_AUTH` | `user:password` for a proxy in front of the agent that wants them |
| `CONSUL_HTTP_SSL` | `true`: addresses without a scheme are https |
| `CONSUL_HTTP_SSL_VERIFY` | `false`: certificates are not checked |
| `CONSUL_CACERT`, `CONSUL_CAPATH` | trusted certificates, as `-ca-file` and `-ca-path` |
| `CONSUL_CLIENT_CERT`, `CONSUL_CLIENT_KEY` | the certificate to show, as `-client-cert` and `-client-key` |
| `CONSUL_TLS_SERVER_NAME` | the name to expect, as `-tls-server-name` |
| `CONSUL_NAMESPACE`, `CONSUL_PARTITION` | as `-namespace` and `-partition` |
| `LICTOR_TRACEBACK` | `1`: an internal error shows where it came from |

Flags win over the environment.

## Completion

`lictor -autocomplete-install` puts a line into `.bashrc` (or `.bash_profile`) and `.zshrc`, and a file into fish's
folder, as far as they are there; `lictor -autocomplete-uninstall` takes them away. To try it, or to manage
these files otherwise:

```sh
source <(lictor completion bash)      # in bash
source <(lictor completion zsh)       # in zsh
lictor completion fish | source       # in fish
```

Commands, flags and their values are completed, and names that the agent knows: keys, services, nodes, members,
datacenters, events, peers. The agent has half a second to answer; without an answer there is no offer.

## Flags that many commands share

All but `-datacenter`, `-namespace`, `-partition` and `-stale` say how to reach an agent.

"""


def rendered() -> str:
    """The whole document."""
    parts = [HEAD + _table(HTTP_FLAGS)]
    for name in sorted((*GROUPS, *COMMANDS)):
        if name in GROUPS:
            parts.append(f"## lictor {name}\n\n{_about(GROUPS[name][1])}")
        else:
            parts.append(_section(name, COMMANDS[name]))
    return "\n\n".join(parts) + "\n"


def _section(name: str, command: Command) -> str:
    usage = " ".join(part for part in ("lictor", name, "[options]", command.arguments) if part)
    lines = [
        f"{'###' if ' ' in name else '##'} lictor {name}",
        "",
        f"`{usage}`",
        "",
        _about(command.about or f"{command.summary}."),
    ]
    if command.raw:
        lines += ["", "Its flags are those of configuration keys: `lictor agent -h` lists them."]
    if command.shared:
        more = "".join(f", `-{flag.name}`" for flag in command.shared if flag not in CLIENT)
        lines += ["", f"Shared flags: those to reach an agent{more}."]
    if command.flags:
        lines += ["", _table(command.flags)]
    return "\n".join(lines)


def _about(text: str) -> str:
    return text.strip()


def _table(flags: tuple[Flag, ...]) -> str:
    rows = [f"| `{written(flag)}` | {explained(flag).replace('|', chr(92) + '|')} |" for flag in _sorted(flags)]
    return "\n".join(["| flag | meaning |", "|---|---|", *rows])


def _sorted(flags: tuple[Flag, ...]) -> list[Flag]:
    return sorted(flags, key=lambda flag: flag.name)


if __name__ == "__main__":
    print(rendered(), end="")
