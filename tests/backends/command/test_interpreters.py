"""The programs that would take a name for code: they are refused in the configuration, and nothing is run."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fingerd.backends.command import Command
from fingerd.backends.command.interpreters import code_taker
from tests.conftest import Start
from tests.helpers.daemons import FINGERD

# Arguments are separated by bars.
CODE = """
sed|-n|{user}|f
sed|{user}|f
sed|p|f|-e|{user}
sed|-e|{user}
sed|-f|{user}
awk|{user}
gawk|{user}|f
mawk|-f|{user}
nawk|{user}
original-awk|{user}
awk|-F|:|{user}
env|-S|sh -c|{user}
env|--split-string=sh -c|{user}
env|-iS|sh -c|{user}
env|{user}
env|-|{user}
env|A=b|{user}
su|-c|{user}
su|nobody|-c|{user}
su|{user}
runuser|nobody|-c|{user}
runuser|-u|nobody|--|{user}
runuser|nobody|{user}
sg|users|-c|{user}
script|-qc|{user}
script|-c|{user}|/dev/null
flock|/tmp/l|-c|{user}
flock|/tmp/l|{user}
xargs|{user}
xargs|-I|x|{user}
ssh|host|{user}
ssh|host|finger|{user}
/usr/bin/ssh|-l|x|host|finger|{user}
watch|{user}
watch|finger|{user}
gdb|-ex|{user}
find|/srv|-exec|{user}|;
find|/srv|-exec|sh|-c|{user}|;
nice|sh|-c|{user}
nice|-n|5|{user}
nice|-5|{user}
timeout|5|{user}
timeout|-k|5|10|{user}
timeout|5|awk|{user}
setsid|-w|sed|{user}
stdbuf|-oL|awk|{user}
chrt|-b|0|awk|{user}
chrt|-b|0|{user}
sudo|-u|nobody|{user}
sudo|-u|nobody|sh|-c|{user}
sudo|-s|finger|{user}
sudo|su|-c|{user}
nice|script|-qc|{user}
doas|-s|finger|{user}
busybox|sh|-c|{user}
busybox|awk|{user}
busybox|{user}
toybox|sed|{user}
python3.11|-c|{user}
python3|--check-hash-based-pycs|default|-c|{user}
python3|-m|{user}
python3|{user}
python3|-W|{user}|x
/usr/bin/python3|-X|dev|-c|{user}
python3|-Ic|{user}
perl5.36|-e|{user}
/usr/bin/perl5.36-x86_64-linux-gnu|-e|{user}
perl|-ne|print|{user}
perl|-n|-e|print|{user}
perl|-e|while(<>){print}|{user}
perl|{user}
sh|{user}
sh|-s|{user}
sh|-x|{user}
bash|--rcfile|{user}
sh|-c|exec "$@"|sh|-c|{user}
lua|-e|x=1|{user}
lua5.4|{user}
tclsh|{user}
php8.2|-r|{user}
php|{user}
ruby|-e|{user}
ruby3.1|-e|1|-e|{user}
node|-p|{user}
sqlite3|people.db|{user}
psql|-c|{user}
mysql|-e|{user}
jq|{user}|people.json
jq|-r|{user}|people.json
jq|-f|{user}|people.json
m4|{user}
make|{user}
vim|-c|{user}
ed|{user}
bwrap|--ro-bind|/|/|{user}
bwrap|--ro-bind|/|/|--|{user}
unshare|-R|/srv|{user}
setpriv|--reuid|1|{user}
setpriv|--reuid=1|--clear-groups|{user}
ld-linux-x86-64.so.2|{user}
systemd-run|--pipe|{user}
mywrapper|sh|-c|{user}
mywrapper|awk|{user}
fish|-c|{user}
strace|-f|{user}
chroot|/srv|{user}
taskset|-c|0|{user}
zsh|-c|{user}
ksh93|-c|{user}
expect|-c|{user}
perl|-lne|print|{user}
bash|-c|-e|{user}
env|-u|A|-S|sh -c|{user}
nice|find|/srv|-exec|{user}|;
""".strip().splitlines()

DATA = """
finger|{user}
grep|-w|{user}|f
sh|-c|echo "$1"|sh|{user}
sh|-c|echo "$1"|--|{user}
sh|-c|echo "$1"|_|{user}
bash|-euo|pipefail|-c|echo "$1"|bash|{user}
sh|-e|/usr/local/bin/people|-c|{user}
python3|-c|import sys|{user}
python3|-u|people.py|{user}
python3|-m|people|-x|{user}
python3|-W|ignore|people.py|{user}
perl|-e|print @ARGV|--|{user}
perl|-w|-T|people.pl|{user}
perl|-Mstrict|-le|print for @ARGV|{user}
perl|-e|while(<<>>){print}|{user}
ruby|-e|puts ARGV|{user}
node|--no-warnings|people.js|{user}
php|people.php|{user}
php|-r|echo $argv[1];|--|{user}
lua|people.lua|{user}
env|A=b|-u|C|people|{user}
env|-i|PATH=/bin|people|{user}
nice|-n|5|finger|{user}
nice|-5|finger|{user}
timeout|5|finger|{user}
timeout|-k|1|5|sh|-c|echo "$1"|sh|{user}
setsid|-w|finger|{user}
stdbuf|-oL|finger|{user}
sudo|-n|-u|nobody|finger|{user}
doas|-u|nobody|finger|{user}
runuser|-u|nobody|--|finger|{user}
flock|-w|1|/tmp/l|finger|{user}
flock|/tmp/l|-c|true
xargs|-a|/srv/files|grep|{user}
find|/srv|-name|{user}
find|/srv|-maxdepth|1|-name|{user}|-exec|cat|{}|;
jq|-r|--arg|user|{user}|.[$user]|people.json
awk|BEGIN { print ARGV[1] }|{user}
awk|-F:|-f|people.awk|{user}
sed|-n|p|{user}
busybox|finger|{user}
unshare|--pid|--fork|--kill-child|--|sh|-c|echo|sh|{user}
unshare|-pf|people|{user}
bwrap|--ro-bind|/|/|--|people|{user}
people|watch|{user}
people|find|{user}
people|--lang|es|{user}
psql|-f|x.sql
java|-jar|people.jar|{user}
printf|%s|{user}
ssh|host|finger
chrt|-b|0|people|{user}
curl|{user}
expect|-f|people.exp|{user}
tclsh|people.tcl|{user}
setpriv|--reuid=1|--clear-groups|people|{user}
strace|-f|people|{user}
""".strip().splitlines()

REFUSED = r"could take \{user\} for code or for a program: remove it; the program finds the name in .* FINGER_USER$"


@pytest.mark.parametrize("command", CODE)
def test_a_name_must_not_be_code(command: str) -> None:
    argv = tuple(command.split("|"))
    for options in ({"argv": argv}, {"argv": ("true",), "list_argv": argv}):
        with pytest.raises(ValueError, match=REFUSED):
            Command(**options)  # type: ignore[arg-type]
    text = tuple(argument.replace("{user}", "print '{user}'") for argument in argv)
    with pytest.raises(ValueError, match=REFUSED):  # as a part of code, too
        Command(text, user_in_arguments=True)


@pytest.mark.parametrize("command", DATA)
def test_a_name_may_be_an_argument_behind_the_code(command: str) -> None:
    argv = tuple(command.split("|"))
    assert Command(argv).argv == argv
    assert list(Command(argv).warnings()) == []


ASSIGNMENTS = ["awk|-v|user={user}|-f|people.awk", "gawk|--assign|user={user}|BEGIN { print user }", "psql|-v|u={user}"]


@pytest.mark.parametrize("command", ASSIGNMENTS)
def test_a_name_may_be_the_value_of_a_variable(command: str) -> None:
    Command(tuple(command.split("|")), user_in_arguments=True)
    for other in ("{user}", "{user}=1"):  # not the variable
        with pytest.raises(ValueError, match=REFUSED):
            Command(tuple(command.replace("user={user}", other).replace("u={user}", other).split("|")))


def test_links_to_interpreters_are_followed(tmp_path: Path) -> None:
    found = shutil.which("sed")
    assert found
    (tmp_path / "people").symlink_to(found)
    (tmp_path / "again").symlink_to(tmp_path / "people")
    for program in ("people", "again"):
        for argv in ((str(tmp_path / program), "{user}"), ("nice", str(tmp_path / program), "-n", "{user}")):
            with pytest.raises(ValueError, match=REFUSED):
                Command(argv)
        with pytest.raises(ValueError, match=REFUSED):
            Command((program, "{user}"), env={"PATH": str(tmp_path)})
    (tmp_path / "people").unlink()
    Command((str(tmp_path / "people"), "{user}"))


@given(st.lists(st.sampled_from(["sh", "-c", "env", "-S", "awk", "nice", "--", "-", "x", "-n", "--x", "{user}", ""])))
def test_any_command_is_accepted_or_refused(argv: list[str]) -> None:
    taker = code_taker(argv, lambda program: set())
    assert taker is None or (taker in argv and "{user}" in argv)


# Commands, and names that they take for code. WITNESS is a file that the code creates, SCRIPT a program that does.
REAL = {
    "sh": ("sh|-c|{user}", "touch WITNESS"),
    "a script": ("sh|{user}", "SCRIPT"),
    "sed": ("sed|{user}|/etc/passwd", "1e touch WITNESS"),
    "sed -e": ("sed|-n|-e|{user}|/etc/passwd", "1e touch WITNESS"),
    "awk": ("awk|{user}", 'BEGIN { system("touch WITNESS") }'),
    "env -S": ("env|-S|sh -c|{user}", "touch WITNESS"),
    "env": ("env|{user}", "SCRIPT"),
    "script": ("script|-qc|{user}|/dev/null", "touch WITNESS"),
    "flock": ("flock|/dev/null|-c|{user}", "touch WITNESS"),
    "flock's program": ("flock|/dev/null|{user}", "SCRIPT"),
    "xargs": ("xargs|{user}", "SCRIPT"),
    "find": ("find|/etc/passwd|-exec|{user}|;", "SCRIPT"),
    "nice": ("nice|-n|5|{user}", "SCRIPT"),
    "python": ("python3|--check-hash-based-pycs|default|-c|{user}", "open('WITNESS', 'w')"),
    "perl": ("perl|-e|{user}", "open(F, '>', 'WITNESS')"),
    "perl's files": ("perl|-ne|print|{user}", "touch WITNESS|"),
}


@pytest.mark.parametrize(("command", "code"), REAL.values(), ids=REAL)
def test_nothing_is_run(tmp_path: Path, command: str, code: str) -> None:
    """The code is run where it is given to the program, and never by way of fingerd."""
    witness, script = tmp_path / "witness", tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {witness}\n")
    script.chmod(0o755)
    code = code.replace("WITNESS", str(witness)).replace("SCRIPT", str(script))
    argv = command.split("|")
    subprocess.run([code if a == "{user}" else a for a in argv], stdin=subprocess.DEVNULL, check=False)
    assert witness.exists()
    witness.unlink()
    config = tmp_path / "fingerd.yaml"
    config.write_text(f'listen: "127.0.0.1:0"\nbackend: {{type: command, argv: {json.dumps(argv)}}}\n')
    for arguments in (["--check"], ["--query", code], ["-n"]):
        done = subprocess.run([*FINGERD, "-c", config, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 78
        assert "for code or for a program" in done.stderr
    assert not witness.exists()


def test_the_variable_that_the_message_offers_has_the_name(start: Start, tmp_path: Path) -> None:
    argv = ["awk", 'BEGIN { print "it is", ENVIRON["FINGER_USER"] }']
    daemon = start(f'listen: "127.0.0.1:0"\nbackend: {{type: command, argv: {json.dumps(argv)}}}\n')
    name = f'"; system("touch {tmp_path}/witness"); "'
    assert daemon.ask(f"{name}\r\n".encode()) == f"it is {name}\r\n".encode()
    assert not (tmp_path / "witness").exists()
