# bash completion for fingerd-plan(1)

_fingerd_plan() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command= word index
    local fields="name office office_phone home_phone job directory shell project plan pgpkey pubkey pronouns
        timezone links forward"
    COMPREPLY=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        case $word in
            -c | --config | --as) index=$((index + 1)) ;;
            -*) ;;
            *)
                command=$word
                break
                ;;
        esac
    done
    case $command/$previous in
        /-c | /--config | set/set)
            compopt -o filenames 2> /dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            ;;
        /--as) mapfile -t COMPREPLY < <(compgen -u -- "$current") ;;
        /*)
            mapfile -t COMPREPLY < <(compgen -W "-h --help -c --config --as --version edit set clear show put remove
                hide unhide preview ssh serve token" -- "$current")
            ;;
        show/show | put/put | remove/remove) mapfile -t COMPREPLY < <(compgen -W "$fields" -- "$current") ;;
        token/token) mapfile -t COMPREPLY < <(compgen -W "-h --help add list revoke" -- "$current") ;;
        preview/--from) mapfile -t COMPREPLY < <(compgen -W "127.0.0.1 192.0.2.1 unix" -- "$current") ;;
        preview/*) mapfile -t COMPREPLY < <(compgen -W "-h --help --from" -- "$current") ;;
    esac
}

complete -F _fingerd_plan fingerd-plan
