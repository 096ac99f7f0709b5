//! Scripts that complete the command line: `completions SHELL`.

use crate::cli::clients::word;
use crate::cli::commands::{self, Offer};
use crate::settings::{Flag, Setting};
use crate::text::add;

/// A shell, and the function that writes its script.
pub(crate) struct Shell {
    name: &'static str,
    pub(crate) script: fn() -> String,
}

pub(crate) static SHELLS: &[Shell] = &[
    Shell {
        name: "bash",
        script: bash,
    },
    Shell {
        name: "zsh",
        script: zsh,
    },
    Shell {
        name: "fish",
        script: fish,
    },
];

pub(crate) fn names() -> Vec<&'static str> {
    SHELLS.iter().map(|shell| shell.name).collect()
}

/// The values that a switch among the settings takes after `=`.
const BOOLEANS: &str = "true false";

/// Returns the flags of these settings that take the next word as their value.
fn valued(of: fn(&Setting) -> bool) -> Vec<String> {
    commands::flagged_settings()
        .filter(|setting| !matches!(setting.flag, Flag::Switch) && of(setting))
        .map(Setting::flag_name)
        .collect()
}

/// Adds the switches that take the next word, a folder.
fn with_folders(mut flags: Vec<String>) -> Vec<String> {
    let switches = commands::switches().into_iter();
    let folders = switches.filter(|(switch, _)| switch.folder.is_some());
    flags.extend(folders.map(|(switch, _)| switch.name.to_owned()));
    flags
}

fn bash() -> String {
    let mut values = String::new();
    let mut flags = String::new();
    for setting in commands::flagged_settings() {
        let name = setting.flag_name();
        add(&mut flags, format_args!("{name} "));
        let (pattern, words) = match setting.flag {
            Flag::OneOf(_, words) => (format!("{name} | {name}="), words.join(" ")),
            Flag::Switch => (format!("{name}="), BOOLEANS.to_owned()),
            _ => continue,
        };
        add(
            &mut values,
            format_args!("    {pattern}) offered='{words}' ;;\n"),
        );
    }
    let files = with_folders(valued(Setting::is_file)).join(" | ");
    let any = valued(|setting| !setting.is_file() && !matches!(setting.flag, Flag::OneOf(..)));
    let any = any.join(" | ");
    let mut own = String::new();
    for (switch, of) in commands::switches() {
        match of {
            None => add(&mut flags, format_args!("{} ", switch.name)),
            Some(of) => add(
                &mut own,
                format_args!(
                    "            [[ $place == {of}* ]] && offered+=' {}'\n",
                    switch.name
                ),
            ),
        }
    }
    let mut places = String::new();
    for (words, offer) in commands::offers() {
        let words = words.join(" ");
        places.push_str(&match offer {
            Offer::Names(names) => {
                let names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
                format!("        '{words}') offered='{}' ;;\n", names.join(" "))
            }
            Offer::Files | Offer::Folders => format!("        '{words}'*) return ;;\n"),
        });
    }
    let next = with_folders(valued(|_| true)).join(" | ");
    format!(
        r#"# Completes proxmox-mcp in bash; made by `proxmox-mcp completions bash`.
_proxmox_mcp() {{
    local line=${{COMP_LINE:0:COMP_POINT}} words word flag place='' offered='' i
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=('')
    word=${{words[${{#words[@]}} - 1]}}
    flag=${{words[${{#words[@]}} - 2]}}
    [[ $word == --*=* ]] && flag=${{word%%=*}}= word=${{word#*=}}
    for ((i = 1; i < ${{#words[@]}} - 1; i++)); do
        case ${{words[i]}} in
        {next}) ((i++)) ;;
        -*) ;;
        *) place+="${{place:+ }}${{words[i]}}" ;;
        esac
    done
    # If this offers nothing, bash completes files.
    case $flag in
    {files}) return ;;
    {any}) ;;
{values}    *)
        if [[ $word == -* ]]; then
            offered='{flags}'
{own}        else
        case $place in
{places}        esac
        fi
        ;;
    esac
    compopt +o default 2>/dev/null
    COMPREPLY=($(compgen -W "$offered" -- "$word"))
}}
complete -o default -F _proxmox_mcp proxmox-mcp
"#
    )
}

fn zsh() -> String {
    let mut flags = String::new();
    for (switch, of) in commands::switches() {
        let text = bracketed(switch.meaning);
        let line = match (switch.letter, of) {
            (Some(letter), _) => {
                let name = switch.name;
                format!("'(-{letter} {name})'{{-{letter},{name}}}{text}")
            }
            (None, None) => format!("{}{text}", switch.name),
            // Flags of one command are added below, once the command is known.
            (None, Some(_)) => continue,
        };
        add(&mut flags, format_args!("        {line} \\\n"));
    }
    for setting in commands::flagged_settings() {
        let text = bracketed(&commands::meaning(setting));
        let name = setting.flag_name();
        let (equals, action) = match setting.flag {
            Flag::None => continue,
            Flag::Switch => ("=-", format!("'::BOOLEAN:({BOOLEANS})'")),
            Flag::OneOf(value, words) => ("=", format!("':{value}:({})'", words.join(" "))),
            Flag::Takes(value) if setting.is_file() => ("=", format!("':{value}:_files'")),
            Flag::Takes(value) => ("=", format!("':{value}: '")),
        };
        add(
            &mut flags,
            format_args!("        {name}{equals}{text}{action} \\\n"),
        );
    }
    let mut own = String::new();
    for (switch, of) in commands::switches() {
        if let Some(of) = of {
            add(
                &mut own,
                format_args!(
                    "    [[ ${{words[(Ie){of}]}} -gt 0 ]] && own+=({}{}{})\n",
                    switch.name,
                    bracketed(switch.meaning),
                    switch
                        .folder
                        .map(|name| format!("':{name}:_files -/'"))
                        .unwrap_or_default()
                ),
            );
        }
    }
    let mut places = String::new();
    for (words, offer) in commands::offers() {
        let words = words.join(" ");
        match offer {
            Offer::Names(names) => {
                add(
                    &mut places,
                    format_args!("    '{words}')\n        offered=(\n"),
                );
                for (name, meaning) in names {
                    let text = match meaning {
                        "" => name.to_owned(),
                        _ => format!("{name}:{meaning}"),
                    };
                    add(&mut places, format_args!("            {}\n", word(&text)));
                }
                places.push_str("        )\n        _describe word offered\n        ;;\n");
            }
            Offer::Files => add(&mut places, format_args!("    '{words}'*) _files ;;\n")),
            Offer::Folders => add(&mut places, format_args!("    '{words}') _files -/ ;;\n")),
        }
    }
    format!(
        r#"#compdef proxmox-mcp
# Completes proxmox-mcp in zsh; made by `proxmox-mcp completions zsh`.
_proxmox_mcp() {{
    local context state state_descr line
    local -a offered own
    typeset -A opt_args
{own}    _arguments \
{flags}        "${{own[@]}}" \
        '*:word:->word' && return
    [[ $state == word ]] || return
    case "${{(j: :)line[1,-2]}}" in
{places}    esac
}}
if [[ $funcstack[1] == _proxmox_mcp ]]; then
    _proxmox_mcp "$@"
else
    compdef _proxmox_mcp proxmox-mcp
fi
"#
    )
}

/// Returns an explanation for `_arguments`, as a quoted word.
fn bracketed(text: &str) -> String {
    let text = text.replace('[', r"\[").replace(']', r"\]");
    format!("'[{}]'", text.replace('\'', r"'\''"))
}

fn fish() -> String {
    let mut lines = String::new();
    for (switch, of) in commands::switches() {
        let letter = switch.letter.map(|letter| format!(" -s {letter}"));
        let at = of.map(|of| format!(" -n '__proxmox_mcp_at \"{of}*\"'"));
        add(
            &mut lines,
            format_args!(
                "complete -c proxmox-mcp{}{} -l {}{} -d {}\n",
                at.unwrap_or_default(),
                letter.unwrap_or_default(),
                switch.name.trim_start_matches('-'),
                switch
                    .folder
                    .map_or("", |_| " -x -a '(__fish_complete_directories)'"),
                fish_word(switch.meaning)
            ),
        );
    }
    for setting in commands::flagged_settings() {
        let action = match setting.flag {
            Flag::Switch => format!("-f -a '{BOOLEANS}'"),
            Flag::OneOf(_, words) => format!("-x -a '{}'", words.join(" ")),
            _ if setting.is_file() => "-r -F".to_owned(),
            _ => "-x".to_owned(),
        };
        add(
            &mut lines,
            format_args!(
                "complete -c proxmox-mcp -l {} {action} -d {}\n",
                setting.flag_name().trim_start_matches('-'),
                fish_word(&commands::meaning(setting))
            ),
        );
    }
    for (words, offer) in commands::offers() {
        let words = words.join(" ");
        let at =
            |pattern: &str| format!("complete -c proxmox-mcp -n '__proxmox_mcp_at \"{pattern}\"'");
        match offer {
            Offer::Names(names) => {
                for (name, meaning) in names {
                    let meaning = match meaning {
                        "" => String::new(),
                        text => format!(" -d {}", fish_word(text)),
                    };
                    add(
                        &mut lines,
                        format_args!("{} -a {name}{meaning}\n", at(&words)),
                    );
                }
            }
            Offer::Files => add(
                &mut lines,
                format_args!("{} -F\n", at(&format!("{words}*"))),
            ),
            Offer::Folders => add(
                &mut lines,
                format_args!("{} -a '(__fish_complete_directories)'\n", at(&words)),
            ),
        }
    }
    let next = with_folders(valued(|_| true)).join(" ");
    format!(
        r#"# Completes proxmox-mcp in fish; made by `proxmox-mcp completions fish`.
function __proxmox_mcp_at --description 'Tests which words precede the cursor'
    set -l place
    set -l skip
    for word in (commandline -opc)[2..-1]
        if set -q skip[1]
            set -e skip
            continue
        end
        switch $word
            case {next}
                set skip yes
            case '-*'
            case '*'
                set -a place $word
        end
    end
    string match -q -- "$argv" "$place"
end
complete -c proxmox-mcp -f
{lines}"#
    )
}

/// Quotes a word for fish, where a backslash escapes even within single quotes.
fn fish_word(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}
