
# Names of the running daemon, schemes and kinds, as the program itself knows them.
_lapwing_live() {
    _lapwing "$@"
    local line="${COMP_LINE:0:COMP_POINT}" last cut="" word quoted=""
    local -a words found=()
    # A word that begins with a quote goes on to the end of the line; readline closes it.
    if [[ ${COMP_WORDS[COMP_CWORD]} == [\'\"]* ]]; then
        quoted="${COMP_WORDS[COMP_CWORD]:0:1}"
        last="${line##*[[:space:]]"$quoted"}"
        line="${line:0:${#line} - ${#last} - 1}"
    fi
    # Backslashes are to be understood here, as the shell does.
    # shellcheck disable=SC2162
    read -a words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    if [[ $quoted ]]; then
        words[${#words[@]} - 1]="$last"
    else
        last="${words[${#words[@]} - 1]}"
        # What stands before a colon is a word of its own to bash.
        [[ $COMP_WORDBREAKS == *:* && $last == *:* ]] && cut="${last%:*}:"
    fi
    while IFS= read -r word; do
        [[ $quoted ]] || printf -v word %q "${word#"$cut"}"
        found+=("$word")
    done < <("$1" completions bash -- "${words[@]}" 2>/dev/null)
    [[ ${#found[@]} -gt 0 ]] || return 0
    COMPREPLY=("${found[@]}")
    # A scheme is no whole word.
    [[ ${found[0]} == */ ]] && compopt -o nospace 2>/dev/null
    return 0
}
