# bash completion for pyfinger(1)

_pyfinger() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    COMPREPLY=()
    if [[ $current == @ ]]; then # user@host is split into three words, unless COMP_WORDBREAKS is changed
        mapfile -t COMPREPLY < <(compgen -P @ -A hostname)
        return
    fi
    case $previous in
        -p | -lp | --port) mapfile -t COMPREPLY < <(compgen -W "79 1079 8179" -- "$current") ;;
        --ca)
            compopt -o filenames 2> /dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            ;;
        -t | -lt | --timeout | --max-bytes) ;;
        @) mapfile -t COMPREPLY < <(compgen -A hostname -- "$current") ;;
        *)
            mapfile -t COMPREPLY < <(compgen -W "-h --help -l --long -p --port -4 --ipv4 -6 --ipv6 --tls --ca
                -t --timeout --max-bytes -8 --international -c --controls --version" -- "$current")
            ;;
    esac
}

complete -F _pyfinger pyfinger
