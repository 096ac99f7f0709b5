//! The commands and their flags, declared once: `--help`, the parser's suggestions, the completions and the
//! manual page are made from them.

use crate::cli::{clients, completions, listed_tools};
use crate::settings::{Flag, SETTINGS, Setting, Unset};

/// One way to use the program.
pub(crate) struct Form {
    /// The words that the command begins with; none for serving MCP.
    pub(crate) words: &'static [&'static str],
    pub(crate) takes: &'static [Argument],
    /// The switches that belong to the command; one of each list may be given.
    pub(crate) switches: &'static [&'static [&'static Switch]],
    pub(crate) meaning: &'static str,
}

/// What may follow the words of a command.
pub(crate) struct Argument {
    /// The name as shown, with brackets if the argument is optional.
    pub(crate) name: &'static str,
    pub(crate) values: Values,
}

/// What an argument may contain.
pub(crate) enum Values {
    Any,
    File,
    Folder,
    Names(fn() -> Vec<&'static str>),
    Tool,
}

/// A flag that is not a setting.
pub(crate) struct Switch {
    /// The name with its dashes.
    pub(crate) name: &'static str,
    pub(crate) letter: Option<char>,
    /// The name of the folder that it takes, if it takes one.
    pub(crate) folder: Option<&'static str>,
    pub(crate) meaning: &'static str,
}

pub(crate) static DEMO: Switch = Switch {
    name: "--demo",
    letter: None,
    folder: None,
    meaning: "use a built-in sample cluster; nothing is changed",
};

pub(crate) static YES: Switch = Switch {
    name: "--yes",
    letter: None,
    folder: None,
    meaning: "skip the confirmation of destructive calls",
};

pub(crate) static HELP: Switch = Switch {
    name: "--help",
    letter: Some('h'),
    folder: None,
    meaning: "print the usage",
};

pub(crate) static VERSION: Switch = Switch {
    name: "--version",
    letter: Some('V'),
    folder: None,
    meaning: "print the version",
};

pub(crate) static JSON: Switch = Switch {
    name: "--json",
    letter: None,
    folder: None,
    meaning: "print the definitions that clients get",
};

/// `--json` of `check`, whose output is not what clients get.
static JSON_REPORT: Switch = Switch {
    name: JSON.name,
    letter: None,
    folder: None,
    meaning: "print the verdicts as JSON",
};

pub(crate) static MARKDOWN: Switch = Switch {
    name: "--markdown",
    letter: None,
    folder: None,
    meaning: "print all tools with the requests that each sends, as Markdown",
};

pub(crate) static WITH_SECRET: Switch = Switch {
    name: "--with-secret",
    letter: None,
    folder: None,
    meaning: "include the secret of the token",
};

pub(crate) static WRITE: Switch = Switch {
    name: "--write",
    letter: None,
    folder: None,
    meaning: "add it to the client's file, show the change and keep a copy",
};

pub(crate) static DIFF: Switch = Switch {
    name: "--diff",
    letter: None,
    folder: None,
    meaning: "show what --write would change",
};

pub(crate) static BINARIES: Switch = Switch {
    name: "--binaries",
    letter: None,
    folder: Some("DIR"),
    meaning: "take each system's program from the folder of `.ci/release`",
};

/// The switches that every command takes.
static GENERAL: &[&Switch] = &[&DEMO, &HELP, &VERSION];

const TOOL: Argument = Argument {
    name: "TOOL",
    values: Values::Tool,
};

/// Every form, in the order shown.
pub(crate) static FORMS: &[Form] = &[
    Form {
        words: &[],
        takes: &[],
        switches: &[],
        meaning: "serve MCP on standard input and output",
    },
    Form {
        words: &["call"],
        takes: &[
            TOOL,
            Argument {
                name: "[JSON]",
                values: Values::Any,
            },
        ],
        switches: &[&[&YES]],
        meaning: "run one tool and print its text",
    },
    Form {
        words: &["tools"],
        takes: &[],
        switches: &[&[&JSON, &MARKDOWN]],
        meaning: "list the tools that the settings show; needs no cluster",
    },
    Form {
        words: &["tools"],
        takes: &[TOOL],
        switches: &[],
        meaning: "show a tool with its parameters and an example",
    },
    Form {
        words: &["check"],
        takes: &[],
        switches: &[&[&JSON_REPORT]],
        meaning: "find out what is wrong with settings, hosts or token",
    },
    Form {
        words: &["fingerprint"],
        takes: &[],
        switches: &[],
        meaning: "show the host's certificate and the line that pins it; needs no token",
    },
    Form {
        words: &["config"],
        takes: &[Argument {
            name: "[CLIENT]",
            values: Values::Names(clients::names),
        }],
        switches: &[&[&WITH_SECRET], &[&DIFF, &WRITE]],
        meaning: "print a client's configuration with these settings, or list clients",
    },
    Form {
        words: &["package", "mcpb"],
        takes: &[Argument {
            name: "DIR",
            values: Values::Folder,
        }],
        switches: &[&[&BINARIES]],
        meaning: "write a Claude Desktop bundle with this binary into a folder",
    },
    Form {
        words: &["package", "server-json"],
        takes: &[Argument {
            name: "[BUNDLE]...",
            values: Values::File,
        }],
        switches: &[],
        meaning: "print the entry for the MCP registry",
    },
    Form {
        words: &["completions"],
        takes: &[Argument {
            name: "SHELL",
            values: Values::Names(completions::names),
        }],
        switches: &[],
        meaning: "print a completion script for a shell",
    },
    Form {
        words: &["man"],
        takes: &[],
        switches: &[],
        meaning: "print the manual page, as roff",
    },
    Form {
        words: &["help"],
        takes: &[],
        switches: &[],
        meaning: "print the usage",
    },
];

/// What the help says about flags and variables in general.
pub(crate) const NOTES: &str = "\
--a-b overrides the variable PROXMOX_A_B; an empty value counts as unset.
The secret has no flag, since other users can read command lines.
RUST_LOG sets what is logged to standard error (default: warn).";

pub(crate) const EXAMPLES: &[&str] = &[
    "proxmox-mcp --demo call proxmox_get_vms",
    "proxmox-mcp --host pve1.example --user mcp@pve --token-name mcp --token-file ./secret \\\n  \
     call proxmox_get_nodes",
    "proxmox-mcp call proxmox_get_vm_config '{\"vmid\": 100}'",
];

pub(crate) const EXIT_STATUS: &str =
    "0 success, 1 command or stream failed, 2 invalid command line, 3 check found warnings.";

impl Switch {
    /// Returns the name with what it takes.
    pub(crate) fn shown(&self) -> String {
        match self.folder {
            Some(folder) => format!("{} {folder}", self.name),
            None => self.name.to_owned(),
        }
    }
}

impl Form {
    /// Returns the form in one line: `config [CLIENT] [--with-secret] [--diff|--write]`.
    pub(crate) fn synopsis(&self) -> String {
        let mut parts: Vec<String> = self.words.iter().map(|word| (*word).to_owned()).collect();
        parts.extend(self.takes.iter().map(|argument| argument.name.to_owned()));
        for switches in self.switches {
            let names: Vec<String> = switches.iter().map(|switch| switch.shown()).collect();
            parts.push(format!("[{}]", names.join("|")));
        }
        parts.join(" ")
    }

    /// Returns the values of the argument that is one of a few names: `CLIENT: claude-desktop, claude-code`.
    pub(crate) fn names(&self) -> Option<String> {
        self.takes
            .iter()
            .find_map(|argument| match &argument.values {
                Values::Names(names) => {
                    let name = argument.name.trim_matches(['[', ']']);
                    Some(format!("{name}: {}", names().join(", ")))
                }
                _ => None,
            })
    }
}

/// Returns the first word of each command.
pub(crate) fn first_words() -> Vec<&'static str> {
    let mut words: Vec<&str> = FORMS
        .iter()
        .filter_map(|it| it.words.first().copied())
        .collect();
    words.dedup();
    words
}

/// Returns each switch with the first word of the command that it belongs to, `None` if it belongs to all;
/// one that belongs to several commands is listed once for each.
pub(crate) fn switches() -> Vec<(&'static Switch, Option<&'static str>)> {
    let general = GENERAL.iter().map(|switch| (*switch, None));
    let own = FORMS.iter().flat_map(|form| {
        let word = form.words.first().copied();
        let switches = form.switches.iter().copied().flatten();
        switches.map(move |switch| (*switch, word))
    });
    general.chain(own).collect()
}

/// Returns the flag of a setting, such as `--host HOST`, or the variable of a setting without a flag.
pub(crate) fn shown(setting: &Setting) -> String {
    match setting.flag {
        Flag::None => setting.variable.to_owned(),
        Flag::Switch => format!("{}[=BOOLEAN]", setting.flag_name()),
        Flag::OneOf(value, _) | Flag::Takes(value) => format!("{} {value}", setting.flag_name()),
    }
}

/// Returns what a setting means and its default, without Markdown.
pub(crate) fn meaning(setting: &Setting) -> String {
    let unset = match setting.unset {
        Unset::Missing => "; required".to_owned(),
        Unset::Absent => String::new(),
        Unset::Means(default) => format!("; default: {default}"),
    };
    setting.meaning.replace('`', "") + &unset
}

/// Returns the first part of a setting's meaning, without its format and conditions.
pub(crate) fn name_of(setting: &Setting) -> String {
    let name = setting.meaning.split([':', ';']).next();
    name.unwrap_or_default().replace('`', "")
}

/// What a shell offers at the cursor.
pub(crate) enum Offer {
    /// Names, each with its meaning.
    Names(Vec<(&'static str, &'static str)>),
    Files,
    Folders,
}

/// Returns what a shell offers, by the words before the cursor.
pub(crate) fn offers() -> Vec<(Vec<&'static str>, Offer)> {
    let mut offers: Vec<(Vec<&'static str>, Offer)> = Vec::new();
    for form in FORMS {
        for (index, word) in form.words.iter().enumerate() {
            let before = &form.words[..index];
            let named = (*word, form.meaning);
            match offers.iter_mut().find(|(words, _)| words == before) {
                Some((_, Offer::Names(names))) if names.iter().all(|(name, _)| name != word) => {
                    names.push(named);
                }
                Some(_) => (),
                None => offers.push((before.to_vec(), Offer::Names(vec![named]))),
            }
        }
        let offer = match form.takes.first().map(|argument| &argument.values) {
            None | Some(Values::Any) => continue,
            Some(Values::File) => Offer::Files,
            Some(Values::Folder) => Offer::Folders,
            Some(Values::Names(names)) => {
                Offer::Names(names().into_iter().map(|name| (name, "")).collect())
            }
            Some(Values::Tool) => Offer::Names(
                listed_tools()
                    .map(|(name, tool)| (name, tool.title))
                    .collect(),
            ),
        };
        offers.push((form.words.to_vec(), offer));
    }
    offers
}

/// Returns the settings that have a flag.
pub(crate) fn flagged_settings() -> impl Iterator<Item = &'static Setting> {
    SETTINGS
        .iter()
        .copied()
        .filter(|setting| !matches!(setting.flag, Flag::None))
}
