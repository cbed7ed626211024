"""The programs that take arguments for code or for another program, and their options. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MANY = 1 << 20  # operands: all that there are


def _options(**kinds: str) -> Mapping[str, list[str]]:
    """Return the kinds of the values of each option, from options separated by spaces; ``two`` are two of data."""
    values = {"two": ["data", "data"], "files": ["value", "value"]}
    return {option: values.get(kind, [kind]) for kind, text in kinds.items() for option in text.split()}


@dataclass(frozen=True)
class Program:
    """How a program, or many that are alike, read their arguments.

    Values of options are of a kind: ``value``, ``code`` (which replaces the first operand), ``data``, ``assigned``
    (data behind ``NAME=``). The first ``operands`` operands are code, a script or a program; all further ones are data.
    """

    names: str  # a regular expression, without a version
    options: Mapping[str, list[str]] = field(default_factory=dict)  # that have values
    flags: str = ""  # a regular expression for the letters of options that have none, and for long options
    joined: str = ""  # letters of options whose value, if any, is the rest of the argument
    operands: int = 1
    is_wrapper: bool = False  # the last of its operands is a program
    permutes: bool = False  # options may follow operands
    code_ends_options: bool = False
    assignments: bool = False  # NAME=VALUE may precede the program
    needs_dashes: bool = False  # has too many options to know them all: arguments are operands only after --
    prefixes: str = "-"  # of options
    poison: str = ""  # a regular expression for options and code with which no later argument is data
    requires: str = ""  # a regular expression for an argument without which none is data

    def values_of(self, argument: str) -> list[str]:
        """Return the kinds of the arguments that follow an option, ``joined code`` if the code is in it already."""
        name, has_value, _ = argument.partition("=")
        if argument in self.options:
            return list(self.options[argument])
        if argument == "-" or (len(argument) > 2 and re.fullmatch(self.flags, argument.lstrip("-"))):
            return []
        if argument.startswith("--"):
            if has_value:
                return ["joined code"] if self.options.get(name) == ["code"] else []
            return ["unknown"]
        for position, letter in enumerate(argument[1:], 1):
            kinds = self.options.get(f"{argument[0]}{letter}") or self.options.get(f"-{letter}")
            if kinds and argument[position + 1 :]:
                return ["joined code"] if kinds == ["code"] else kinds[1:]
            if kinds:
                return list(kinds)
            if letter in self.joined:
                return []
            if not re.fullmatch(self.flags, letter):
                return ["unknown"]
        return []


SHELLS = Program(
    "(?:ba|da|a|k|mk|pdk|ok|z|c|tc|rba|r|y|o)?sh",  # the code after -c, as well as a script, is the first operand
    _options(value="-o -O --rcfile --init-file"),
    flags="[a-zA-NP-Z0-9]|login|posix|norc|noprofile|verbose|restricted|noediting",
    prefixes="-+",
)

_GENERIC = (  # interpreters without a table of their options
    "tclsh|wish|guile|racket|scheme|ocaml|escript|elixir|groovy|scala|julia|R|Rscript|octave|gnuplot|clojure|clj|"
    "bb|janet|sbcl|clisp|ecl|swipl|raku|perl6|regina|pike|gforth|gst|runghc|runhaskell|pwsh|elvish|nu|xonsh|rc|es|bc|"
    "m4|gs|ts-node|tsx|coffee|irb|micropython|mruby|fish"
)
_SHELL_TEXT = (  # all arguments are a command line for a shell, commands of their own, or become that
    "ssh|slogin|rsh|remsh|mosh|autossh|dbclient|plink|su|sg|newgrp|script|watch|sqlite|mysql|mariadb|duckdb|ed|ex|r?vim?|"
    "r?view|nvim|vim\\.\\w+|emacs|gdb|lldb|g?make|ninja|parallel|dc|tmux|screen|capsh|eval|at|batch"
)
_PLAIN_WRAPPERS = (
    "nohup|exec|command|builtin|busybox|toybox|coreutils|torsocks|torify|fakeroot|fakechroot|unbuffer|catchsegv|"
    "eatmydata|nocache|linux32|linux64|i386|x86_64|tini|dumb-init|catatonit|valgrind|ltrace|prlimit|choom|pkexec|run0|"
    "dbus-run-session|xvfb-run|cgexec|aa-exec|numactl|cpulimit|chpst|softlimit|rlwrap|setpriv|ld(?:-.*)?\\.so.*"
)

PROGRAMS = (
    SHELLS,
    Program(
        "python|pypy",
        _options(code="-c -m", value="-W -X --check-hash-based-pycs"),
        flags="[bBdEhiIOPqRsSuvVx?]",
        code_ends_options=True,
    ),
    Program(
        "perl",
        _options(code="-e -E", value="-I"),
        flags="[0-9acfghlnpsStTuUvwWX]",
        joined="CdDFimMVx",
        # With -n, -p and <>, perl opens the files that its arguments name, and runs the argument "id |".
        poison=r"^-[0-9acfghlsStTuUvwWX]*[np]|(?<!<)<(?:ARGV)?>(?!>)|\breadline\b",
    ),
    Program(
        "j?ruby",
        _options(code="-e", value="-C -E -I -r -X"),
        flags="[acdhlnpsSuUvwy]",
        joined="0FiKTWx",
    ),
    Program(
        "node|nodejs",
        _options(code="-e -p -pe --eval --print", value="-r -C --require --import --loader --env-file --conditions"),
        flags="[cihv]|(?:no|trace|experimental|use|enable|disable|abort|preserve|throw)-[a-z-]+",
    ),
    Program("deno|bun", operands=2),
    Program("expect", _options(code="-f -b", value="-c"), flags="[dinNv]"),
    Program("php(?:-cgi|dbg)?", _options(code="-r -f -F -B -R -E --run --file", value="-c -d -z -t"), "[aChilmnqsvw]"),
    Program("lua(?:jit|u)?", _options(value="-e -l"), flags="[EivW]", joined="jO"),  # a script may follow -e
    Program("java", _options(code="-jar -m --module", value="-cp -classpath --class-path -p"), "ea|esa|server", "DX"),
    Program(
        "(?:[gmn]|original-|bio)?awk",
        _options(
            code="-f -e -E --file --source --exec",
            value="-F -i -l -W -m --field-separator --include --load",
            assigned="-v --assign",
        ),
        flags="[bcCghkMnNOPrsStVz]|posix|sandbox|csv|re-interval|traditional|characters-as-bytes|non-decimal-data",
        joined="dDLop",
    ),
    Program(
        "g?sed|ssed",
        _options(code="-e -f --expression --file", value="-l --line-length"),
        flags="[bEnrsuz]|quiet|silent|regexp-extended|null-data|separate|unbuffered|posix|sandbox|debug|in-place",
        joined="i",
        permutes=True,
    ),
    Program(
        "(?:go|ja)?jq|yq",
        _options(two="--arg --argjson", files="--slurpfile --rawfile", value="-L --indent"),
        flags="[aCcefhjMnrRsSV]|raw-output|raw-input|compact-output|null-input|slurp|exit-status|args|jsonargs|sort-keys|tab",
        permutes=True,
    ),
    Program("psql", _options(assigned="-v --set --variable"), operands=MANY, permutes=True),
    Program(
        "find",
        _options(value="-exec -execdir -ok -okdir -fprint -fprint0 -fprintf -fls -files0-from"),
        flags="[a-zA-Z0-9]+",
        operands=0,
        permutes=True,
    ),
    Program(_GENERIC),
    Program(_SHELL_TEXT, operands=MANY),
    # Programs that run another one.
    Program(_PLAIN_WRAPPERS, flags="no-new-privs|(?:init|clear|keep)-groups|reset-env", is_wrapper=True),
    Program("setsid", flags="[cfw]|ctty|fork|wait", is_wrapper=True),
    Program(
        "unshare",
        _options(value="-G -R -S -l -w"),
        flags="[CTUcfimnpru]|mount|uts|ipc|net|pid|user|cgroup|time|fork|kill-child|map-root-user",
        is_wrapper=True,
    ),
    Program(
        "env",
        _options(value="-u -C --unset --chdir"),
        flags="[0iv]|ignore-environment|null|debug",
        is_wrapper=True,
        assignments=True,
        poison="^-[0iv]*S|^--s",  # splits a text into a command
    ),
    Program(
        "sudo",
        _options(value="-u -g -h -p -C -D -R -T -U -r -t --user --group"),
        flags="[AbBEHKkNnPSVv]|non-interactive|preserve-env|set-home|background|stdin",
        is_wrapper=True,
        assignments=True,
        poison="^-[AbBEHKkNnPSVv]*[is]|^--(?:login|shell)",
    ),
    Program("doas", _options(value="-u -C -a"), flags="[nL]", is_wrapper=True, poison="^-[nL]*s"),
    Program(
        "runuser",
        _options(value="-u -g -G -w -c -s --user --group --command --session-command --shell"),
        flags="[mpP]",
        is_wrapper=True,
        poison="^-[mpP]*[lc]|^-$|^--(?:login|command|session)",
        requires="-u.*|--user.*",  # without it, a shell gets the arguments
    ),
    Program("nice", _options(value="-n --adjustment"), flags="[0-9]", is_wrapper=True),
    Program("ionice", _options(value="-c -n --class --classdata"), flags="t|ignore", is_wrapper=True),
    Program("stdbuf", _options(value="-i -o -e --input --output --error"), is_wrapper=True),
    Program("time", _options(value="-f -o --format --output"), flags="[apqv]|portability|verbose", is_wrapper=True),
    Program("strace", _options(value="-o -e -s -E -u -a -P"), flags="[CcdfFhiknqrtTvVwxyY]+", is_wrapper=True),
    Program("xargs", _options(value="-a -d -E -I -L -n -P -s"), flags="[0oprtx]", joined="eil", is_wrapper=True),
    Program("nsenter", _options(value="-t -S -G"), flags="[aCeFimnpruUTwZ]", is_wrapper=True),
    Program(
        "systemd-run",
        _options(value="-p -u -E -M -H --unit --property --uid --gid --slice --setenv"),
        flags="[GPdqrt]|quiet|collect|pipe|wait|scope|user|system|pty|same-dir",
        is_wrapper=True,
        poison="^-[GPdqrt]*S|^--shell",
    ),
    # Programs that run another one behind an operand of their own.
    Program(
        "timeout",
        _options(value="-s -k --signal --kill-after"),
        flags="[vfp]|foreground|preserve-status|verbose",
        operands=2,
        is_wrapper=True,
    ),
    Program("chrt", _options(value="-T -P -D"), "[abdfiomrRv]|batch|fifo|idle|other|rr", operands=2, is_wrapper=True),
    Program("taskset", flags="[ac]|all-tasks|cpu-list", operands=2, is_wrapper=True),
    Program(
        "flock",
        _options(code="-c --command", value="-w -E --timeout --wait --conflict-exit-code"),
        flags="[eFnosuvx]|shared|exclusive|nonblock|nb|close|no-fork|verbose",
        operands=2,
        is_wrapper=True,
    ),
    Program("chroot|faketime|setarch|gosu|su-exec|setuidgid|s6-setuidgid", operands=2, is_wrapper=True),
    Program("bwrap|firejail|proot|systemd-nspawn|proxychains4?|start-stop-daemon", needs_dashes=True, is_wrapper=True),
)
