//! Questions to the user: their texts, and the answers.

use std::io::{self, Write};

use serde_json::Value;

use super::consent::UserReply;
use super::risk::{GuestOption, Risk};
use super::subject::listed;
use crate::error::question::FIELDS;
use crate::error::{Error, Question};
use crate::request::Request;
use crate::text;

/// Reads the user's answer from the result of `elicitation/create`.
pub(crate) fn elicited_reply(result: &Value) -> UserReply {
    let typed = FIELDS.iter().find_map(|field| result["content"].get(field));
    match typed.filter(|_| result["action"] == "accept") {
        Some(Value::String(text)) => UserReply::Accepted(text.trim().to_owned()),
        Some(other) => UserReply::Accepted(other.to_string()),
        None => UserReply::Declined,
    }
}

/// Returns an error unless the user agreed by typing `word`.
pub(super) fn require_agreement(reply: &UserReply, word: &str) -> Result<(), Error> {
    match reply {
        UserReply::Accepted(typed) if typed == word => Ok(()),
        UserReply::Accepted(_) => Err(Error::declined(format!(
            "The user did not type {word}. Do not call again unless the user asks for it."
        ))),
        UserReply::Declined => Err(Error::declined(
            "The user did not agree. Do not call again unless they ask for it.",
        )),
        UserReply::Unanswered(why) => Err(Error::declined(*why)),
    }
}

/// Asks the user on the terminal.
pub(crate) fn ask_on_terminal(question: &Question) -> UserReply {
    let mut line = String::new();
    // Results go to standard output, so the question does not.
    let asked = write!(io::stderr(), "{}\nDo it? [y/N] ", question.message);
    let read = asked.and_then(|()| io::stdin().read_line(&mut line));
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" if read.is_ok() => UserReply::Accepted(question.word.clone()),
        _ => UserReply::Declined,
    }
}

/// Returns the parameters of a request that its sentence does not mention, `with: purge=1`.
pub(super) fn options(request: &Request, risk: &Risk) -> Option<String> {
    const NAMED: &[&str] = &[
        "archive",
        "background_delay",
        "command",
        "delay",
        "digest",
        "input-data",
        "ostemplate",
        "restore",
        "vmid",
    ];
    let deletes_only_slots = match risk {
        Risk::RemoveDisks { slots, .. } => listed(request, "delete").count() == slots.len(),
        _ => false,
    };
    let is_named = |name: &str| NAMED.contains(&name) || (name == "delete" && deletes_only_slots);
    let options = request.readable().filter(|(name, _)| !is_named(name));
    let options: Vec<String> = options
        .map(|(name, value)| format!("{name}={}", text::cut(&text::inline(&value), 200)))
        .collect();
    (!options.is_empty()).then(|| format!("with: {}", options.join(" ")))
}

impl Risk {
    /// Describes what it does to `object` in a sentence.
    pub(super) fn sentence(&self, object: &str) -> String {
        match self {
            Risk::Command { argv, input } => {
                let line = text::inline(&command_line(argv));
                match input {
                    Some(input) => format!(
                        "Run in {object}: {line}\nwith the standard input: {}",
                        text::inline(input)
                    ),
                    None => format!("Run in {object}: {line}"),
                }
            }
            Risk::Loss { does, loss, before } => {
                let does = does.iter().map(|does| format!("{does}. "));
                let before = match before.is_empty() {
                    true => String::new(),
                    false => format!("\nnow: {before}"),
                };
                format!("{}{}{before}", does.collect::<String>(), loss.sentence)
            }
            Risk::DeleteGuest => format!("Delete {object} with all its disks, for good."),
            Risk::DeleteSnapshot(name) => {
                format!(
                    "Delete snapshot {} of {object}, for good.",
                    text::inline(name)
                )
            }
            Risk::DeleteVolume { .. } => format!("Delete {object}, for good."),
            Risk::Options(options) => {
                let sentences = options.iter().map(|option| option.sentence(object));
                sentences.collect::<Vec<_>>().join("\n")
            }
            Risk::RemoveDisks {
                slots,
                erases: true,
            } => format!(
                "Remove {} of {object}; its own volumes are erased, for good.",
                slots.join(", ")
            ),
            Risk::RemoveDisks { slots, .. } => {
                format!("Detach {} from {object}.", slots.join(", "))
            }
            Risk::RestoreOver(archive) => format!(
                "Restore {} over {object}: what is there now is lost.",
                text::inline(archive)
            ),
            Risk::Rollback(name) => format!(
                "Roll {object} back to snapshot {}: everything newer is lost.",
                text::inline(name)
            ),
            Risk::Stop => format!("Stop {object} hard: unsaved data is lost."),
            Risk::Unknown(request) => {
                format!("Send {request}: what that changes or destroys is unknown.")
            }
        }
    }
}

impl GuestOption {
    fn sentence(&self, object: &str) -> String {
        match self {
            GuestOption::Hookscript(Some(script)) => format!(
                "Let its node run {} whenever {object} starts or stops.",
                text::inline(script)
            ),
            GuestOption::Hookscript(None) => {
                format!("No longer run a script when {object} starts or stops.")
            }
            GuestOption::Lock(Some(lock)) => format!(
                "Lock {object} ({}): nothing else can be done to it until that is removed.",
                text::inline(lock)
            ),
            GuestOption::Lock(None) => {
                format!("Remove the lock of {object}, although a task may still be working on it.")
            }
            GuestOption::Protection => {
                format!("Lift the protection of {object}: it can then be deleted.")
            }
        }
    }
}

/// Returns `argv` as a person would type it. Arguments with spaces, quotes or `<` are quoted, so that
/// different vectors look different and no argument looks like standard input.
pub(super) fn command_line(argv: &[String]) -> String {
    let parts = argv.iter().map(|part| {
        let is_plain = !part.is_empty() && !part.contains([' ', '\t', '\'', '"', '<']);
        match (is_plain, part.contains('\'')) {
            (true, _) => part.clone(),
            (false, false) => format!("'{part}'"),
            (false, true) => format!("'{}'", part.replace('\'', r#"'"'"'"#)),
        }
    });
    parts.collect::<Vec<_>>().join(" ")
}
