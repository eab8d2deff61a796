# Names of the running daemon, schemes and kinds, as the program itself knows them.
_lapwing_live() {
    local -a found
    found=("${(@f)$("$lapwing_words[1]" completions zsh -- "${(@)lapwing_words}" 2>/dev/null)}")
    found=("${(@)found:#}")
    (( $#found )) || return 1
    # A scheme is no whole word.
    if [[ $found[1] == */ ]]; then
        compadd -S '' -a found
    else
        compadd -a found
    fi
}
