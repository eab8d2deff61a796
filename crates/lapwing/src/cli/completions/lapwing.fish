
# Names of the running daemon, schemes and kinds, as the program itself knows them.
function __lapwing_live
    # The word as the program would get it: without backslashes and quotes, one of which may still be open.
    set -l last (string replace --regex '^["\']' '' -- (commandline -ct))
    lapwing completions fish -- (commandline -opc) (string replace --all --regex '\\\\(.)' '$1' -- $last) 2>/dev/null
end
complete -c lapwing -n "__fish_seen_subcommand_from @COMMANDS@" -f -a "(__lapwing_live)"
