
# Names of the running daemon, schemes and kinds, as the program itself knows them.
_lapwing_live() {
    _lapwing "$@"
    local line="${COMP_LINE:0:COMP_POINT}" last cut="" word
    local -a words found=()
    # Backslashes are to be understood here, as the shell does.
    # shellcheck disable=SC2162
    read -a words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    last="${words[${#words[@]} - 1]}"
    # What stands before a colon is a word of its own to bash.
    [[ $COMP_WORDBREAKS == *:* && $last == *:* ]] && cut="${last%:*}:"
    while IFS= read -r word; do
        printf -v word %q "${word#"$cut"}"
        found+=("$word")
    done < <("$1" completions bash -- "${words[@]}" 2>/dev/null)
    [[ ${#found[@]} -gt 0 ]] || return 0
    COMPREPLY=("${found[@]}")
    # A scheme is no whole word.
    [[ ${found[0]} == */ ]] && compopt -o nospace 2>/dev/null
    return 0
}
