# bash completion for fingerd(8)

_fingerd() {
    local current=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}
    if [[ $current == = ]]; then # --option=argument is split into three words
        current=
    elif [[ $option == = ]]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    case $option in
        -c | -nc | --config | -l | -nl | --logfile | --pidfile)
            compopt -o filenames 2> /dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            ;;
        --chroot | --rundir)
            compopt -o filenames 2> /dev/null
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            ;;
        --uid) mapfile -t COMPREPLY < <(compgen -u -- "$current") ;;
        --gid) mapfile -t COMPREPLY < <(compgen -g -- "$current") ;;
        --from) mapfile -t COMPREPLY < <(compgen -W "127.0.0.1 unix" -- "$current") ;;
        --reload)
            mapfile -t COMPREPLY < <(compgen -W "$(cd /proc && grep -lsx fingerd [1-9]*/comm | cut -d/ -f1)" -- "$current")
            ;;
        --umask | --prefix | --query) ;;
        *)
            mapfile -t COMPREPLY < <(compgen -W "-h --help -c --config -n --nodaemon --pidfile --rundir --chroot
                --umask --uid --gid -l --logfile --syslog --prefix --check --query --from --reload
                --backends --version" -- "$current")
            ;;
    esac
}

complete -F _fingerd fingerd
