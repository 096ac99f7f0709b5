//! Running commands inside VMs through the QEMU guest agent.

use std::time::Duration;

use serde_json::{Value, json};

use super::guest::{NODE, TYPE, VMID};
use crate::answer::{Answer, Pollable, Wait, plain};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::pve::reader::Reader;
use crate::request::{
    Method::{Get, Post},
    Reply, Request,
};
use crate::row::{Harm, Step, Touches, needs};
use crate::safety::Client;
use crate::text::{self, octets};
use crate::tool::{Call, Effect, Permission, Tool};

const COMMAND: Param = Param::required(
    "command",
    Kind::Text(1, 65_536),
    "Program and arguments, POSIX quoting, no shell characters.",
)
.required_unless(&["argv"]);
const ARGV: Param = Param::optional(
    "argv",
    Kind::List,
    "Program and arguments instead of command, any characters.",
);
const INPUT: Param = Param::optional(
    "input_data",
    Kind::Text(0, 65_536),
    "Standard input, such as the script for bash -s.",
)
.local();
const WAIT_TIMEOUT: Param = Param::optional(
    "wait_timeout",
    Kind::Integer(1, 600),
    "Seconds to wait for its end.",
)
.default("30")
.local();

/// The characters that a command line must not contain: the agent starts programs without a shell, so they would
/// not do what their author expects. A list of arguments raises no such expectation.
const REFUSED: &[char] = &[
    ';', '&', '|', '`', '$', '<', '>', '(', ')', '{', '}', '\\', '\n', '\r', '\0',
];

pub(super) static EXECUTE: Tool = Tool {
    title: "Run a command in a VM",
    summary: "Runs a program inside a VM through the guest agent and returns its output. No shell: no pipes, globs or variables.",
    permission: Permission::Elevated,
    effect: Effect::Executes,
    params: &[&NODE, &VMID, &TYPE, &COMMAND, &ARGV, &INPUT, &WAIT_TIMEOUT],
    call: Call::Steps(
        &[
            Step::change(
                Post,
                "/nodes/{node}/qemu/{vmid}/agent/exec",
                needs::AGENT,
                Touches::GuestOf(&VMID),
                Harm::RunsCommand,
            ),
            Step::read("/nodes/{node}/qemu/{vmid}/agent/exec-status", needs::AGENT),
        ],
        execute,
    ),
};

fn execute(client: &Client, args: &Args) -> Result<Answer, Error> {
    if &args[&TYPE] == "lxc" {
        return Err(Error::impossible(
            format!("no command was run in container {}", &args[&VMID]),
            "The Proxmox API cannot run commands in containers; on the node, use pct exec.",
        ));
    }
    let argv = argv(args).map_err(|problem| Error::arguments(vec![problem]))?;
    let program = text::cut(&text::inline(&argv.join(" ")), 200);
    let start = args.request(Post, "/nodes/{node}/qemu/{vmid}/agent/exec");
    let mut start = argv
        .into_iter()
        .fold(start, |start, part| start.with_octets("command", part));
    if let Some(input) = args.get(&INPUT) {
        start = start.with_octets("input-data", input);
    }
    let started = client.change(&start, Reply::Object("pid"))?;
    let pid = plain(&started["pid"]);

    let status = args
        .request(Get, "/nodes/{node}/qemu/{vmid}/agent/exec-status")
        .with("pid", &*pid);
    let wait = Wait {
        subject: Box::new(Process {
            program,
            pid: started["pid"].clone(),
            status,
        }),
        limit: Duration::from_secs(args.integer(&WAIT_TIMEOUT).unwrap_or(30)),
    };
    Ok(Answer {
        wait: Some(wait),
        ..Answer::new(String::new())
    })
}

/// A program that runs in a VM.
struct Process {
    program: String,
    pid: Value,
    /// The request for its status.
    status: Request,
}

impl Pollable for Process {
    fn poll(&self, client: &Reader, args: &Args) -> Result<Option<Answer>, Error> {
        let Self { program, pid, .. } = self;
        // The agent forgets the process with the answer that says it ended.
        let status = client.send(&self.status).map_err(|error| {
            error.advise(format!(
                "{program} was started as pid {}, but whether it ended is unknown: look inside the VM before you run it again.",
                plain(pid)
            ))
        })?;
        match is_set(&status["exited"]) {
            true => ended(program, args, &status).map(Some),
            false => Ok(None),
        }
    }

    fn unfinished(&self, args: &Args) -> Answer {
        let text = format!(
            "✅ {}: started, still running after {} s in VM {} as pid {}. Its output is lost; a larger wait_timeout would have waited for it.",
            self.program,
            &args[&WAIT_TIMEOUT],
            &args[&VMID],
            plain(&self.pid)
        );
        Answer::of(text, json!({ "status": "running", "pid": self.pid }))
    }
}

/// Returns the program and its arguments, in whichever form they were given. Both forms together are accepted only
/// if they agree.
fn argv(args: &Args) -> Result<Vec<String>, String> {
    let command = args.get(&COMMAND);
    if command.is_some_and(|command| command.contains(REFUSED)) {
        let refused = REFUSED.iter().filter(|c| !c.is_control());
        return Err(format!(
            "command must not contain line breaks or any of {}: no shell interprets it. To run a script, give \
             command as bash -s, or as powershell.exe -Command -, and the script as input_data. \
             In argv these characters are allowed",
            refused.collect::<String>()
        ));
    }
    let split = command.map(split).transpose()?;
    let listed = args.list(&ARGV);
    let argv = match split {
        Some(split) if !listed.is_empty() && split != listed => {
            return Err("command and argv differ: give one of them".to_owned());
        }
        Some(split) => split,
        None => listed.to_vec(),
    };
    if argv.first().is_none_or(String::is_empty) {
        return Err("command is empty".to_owned());
    }
    // It would end the argument.
    if argv.iter().any(|part| part.contains('\0')) {
        return Err("argv must not contain NUL characters".to_owned());
    }
    Ok(argv)
}

/// Splits at blanks outside quotes, as POSIX shells do. Backslashes have been refused already.
fn split(command: &str) -> Result<Vec<String>, String> {
    let mut parts = Vec::new();
    let mut part: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => part.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                part.get_or_insert_default();
            }
            None if c == ' ' || c == '\t' => parts.extend(part.take()),
            None => part.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("command has a quote that is not closed".to_owned());
    }
    parts.extend(part);
    Ok(parts)
}

/// Returns the outcome of a program: an error if its exit status is one.
fn ended(program: &str, args: &Args, status: &Value) -> Result<Answer, Error> {
    let mut room = text::BUDGET / 2 - 1_000;
    let [output, errors] = ["out-data", "err-data"].map(|key| {
        let printed = octets::text(status[key].as_str().unwrap_or_default());
        Printed::new(&printed, &mut room)
    });
    let mut text = match (&status["exitcode"], &status["signal"]) {
        (Value::Null, Value::Null) => "ended".to_owned(),
        (Value::Null, signal) => format!("killed by signal {}", plain(signal)),
        (code, _) => format!("exit code {}", plain(code)),
    };
    for (name, printed, truncated) in [
        ("stdout", &output, "out-truncated"),
        ("stderr", &errors, "err-truncated"),
    ] {
        if printed.lines.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{name}:"));
        if printed.left_out > 0 {
            text.push_str(&format!(
                " (its first {} lines are left out)",
                printed.left_out
            ));
        }
        if is_set(&status[truncated]) {
            text.push_str(" (cut by the agent)");
        }
        for line in &printed.shown {
            text.push_str(&format!("\n| {line}"));
        }
    }
    if plain(&status["exitcode"]) == "0" {
        let data = json!({ "exitcode": 0, "stdout": output.lines.join("\n"), "stderr": errors.lines.join("\n") });
        let mut answer = Answer::of(format!("✅ {program}: {text}"), data);
        if output.is_cut
            || errors.is_cut
            || is_set(&status["out-truncated"])
            || is_set(&status["err-truncated"])
        {
            answer = answer.with("incomplete", true);
        }
        return Ok(answer);
    }
    Err(Error::impossible(
        format!("{program} failed in VM {}", &args[&VMID]),
        text,
    ))
}

/// Returns true for 1 and true.
fn is_set(flag: &Value) -> bool {
    ["1", "yes"].contains(&plain(flag).as_str())
}

/// The output of a program, as far as it fits.
struct Printed {
    /// The last lines, unchanged.
    lines: Vec<String>,
    /// The same, safe to print.
    shown: Vec<String>,
    /// How many lines precede them.
    left_out: usize,
    /// Whether anything is missing.
    is_cut: bool,
}

impl Printed {
    /// Reduces `room`, in characters, by what it shows.
    fn new(printed: &str, room: &mut usize) -> Self {
        let mut lines = Vec::new();
        let mut shown = Vec::new();
        let mut is_cut = false;
        for line in printed.lines().rev() {
            let kept = text::cut(line, LINE);
            // An escape sequence has up to nine characters.
            let safe = text::cut(&text::inline(&kept), LINE);
            let size = safe.chars().count() + 3;
            if size > *room {
                break;
            }
            *room -= size;
            is_cut |= kept != line;
            lines.push(kept);
            shown.push(safe);
        }
        lines.reverse();
        shown.reverse();
        let left_out = printed.lines().count() - lines.len();
        Self {
            lines,
            shown,
            left_out,
            is_cut: is_cut || left_out > 0,
        }
    }
}

/// The maximum number of characters in a line.
const LINE: usize = 2_000;

#[cfg(test)]
mod tests {
    use std::ops::Add;

    use super::*;

    #[test]
    fn splits_by_posix_quoting() {
        let split = |command| split(command).expect("the quotes are closed");
        assert_eq!(split("uname -a"), ["uname", "-a"]);
        assert_eq!(
            split("  cat  'a b' \"c'd\" e'f'g ''"),
            ["cat", "a b", "c'd", "efg", ""]
        );
        assert!(super::split("cat 'a").is_err());
    }

    #[test]
    fn shows_only_what_fits_and_says_what_is_cut() {
        let mut room = 9_000;
        let printed = Printed::new(&"\u{1}".repeat(1_900).add("\n").repeat(10), &mut room);
        let shown: usize = printed
            .shown
            .iter()
            .map(|line| line.chars().count() + 3)
            .sum();
        assert_eq!(shown + room, 9_000);
        assert!(printed.is_cut && printed.lines.len() == 4 && printed.left_out == 6);
        assert!(Printed::new(&"x".repeat(LINE + 1), &mut 9_000).is_cut);
        let whole = Printed::new("a\tb\nc\n", &mut 9_000);
        assert_eq!(whole.lines, ["a\tb", "c"]);
        assert_eq!(whole.shown, ["a\\tb", "c"]);
        assert!(!whole.is_cut);
    }
}
