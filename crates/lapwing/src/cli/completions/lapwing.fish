
# Names of the running daemon, schemes and kinds, as the program itself knows them.
function __lapwing_live
    lapwing completions fish -- (commandline -opc) (commandline -ct) 2>/dev/null
end
complete -c lapwing -n "__fish_seen_subcommand_from @COMMANDS@" -f -a "(__lapwing_live)"
