//! The QEMU guest agent of VMs: what it knows of the guest, and the files that it reads and writes there.

use serde_json::{Value, json};

use super::guest::{NODE, VMID};
use crate::answer::{self, Answer, Column, Fields, Order, Table, number, plain};
use crate::error::{Error, ErrorKind};
use crate::param::{Args, Kind, Param, Versions};
use crate::request::{
    Method::{Get, Post},
    Reply, Request,
};
use crate::row::{Choice, Harm, Loss, Place, Row, Scope, Step, Touches, ask, get, needs, post};
use crate::safety::Client;
use crate::text::sort::sort;
use crate::text::{self, base64, octets};
use crate::tool::{Call, Effect, Permission, Show, Tool};

/// What is asked of the agent itself.
const AGENT: Scope = Scope {
    name: "",
    noun: "VM {vmid}",
    path: "/nodes/{node}/qemu/{vmid}/agent",
    reads: needs::AGENT_READ,
    changes: needs::AGENT,
    touches: Touches::GuestOf(&VMID),
    versions: Versions::ALL,
};

const QUERY: Param = Param::required(
    "query",
    Kind::Choice(&[
        "osinfo",
        "hostname",
        "users",
        "time",
        "timezone",
        "fsinfo",
        "vcpus",
        "memory_blocks",
        "memory_block_info",
        "info",
        "ping",
        "fsfreeze_status",
    ]),
    "info: version and commands of the agent.",
);

pub(super) static QUERY_AGENT: Tool = Tool {
    title: "Ask the guest agent",
    summary: "Reads from inside a VM through its guest agent: system, users, clock, file systems with their use, CPUs.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &VMID, &QUERY],
    call: Call::Choice(&Choice {
        by: &[&QUERY],
        place: Place::Only(AGENT),
        does: "",
        rows: &[
            query("osinfo", "/get-osinfo", Show::Fields(&SYSTEM)),
            query("hostname", "/get-host-name", Show::Fields(&HOST_NAME)),
            query("users", "/get-users", Show::Table(&USERS)),
            query("time", "/get-time", Show::Made(time)),
            query("timezone", "/get-timezone", Show::Fields(&TIME_ZONE)),
            query("fsinfo", "/get-fsinfo", Show::Table(&FILE_SYSTEMS)),
            query("vcpus", "/get-vcpus", Show::Table(&CPUS)),
            query(
                "memory_blocks",
                "/get-memory-blocks",
                Show::Table(&MEMORY_BLOCKS),
            ),
            query(
                "memory_block_info",
                "/get-memory-block-info",
                Show::Fields(&MEMORY_BLOCK),
            ),
            query("info", "/info", Show::Made(info)),
            ask("ping", "/ping", Show::Made(ping)).opened_by(result),
            ask(
                "fsfreeze_status",
                "/fsfreeze-status",
                Show::Made(freeze_status),
            )
            .opened_by(result),
        ],
    }),
};

const fn query(name: &'static str, rest: &'static str, show: Show) -> Row {
    get(name, rest, &[], show).opened_by(result)
}

const fn fields(heading: &'static str, columns: &'static [Column]) -> Fields {
    Fields {
        heading,
        columns,
        hidden: &[],
    }
}

static SYSTEM: Fields = fields(
    "Operating system of VM {vmid}",
    &[Column::text("pretty-name")],
);

static HOST_NAME: Fields = fields("VM {vmid}", &[]);

static TIME_ZONE: Fields = fields(
    "Time zone of VM {vmid}",
    &[
        Column::text("zone"),
        Column::number("offset").worded("{} s ahead of UTC"),
    ],
);

static MEMORY_BLOCK: Fields = fields("Memory blocks of VM {vmid}", &[Column::bytes("size")]);

static USERS: Table = Table {
    name: "users",
    noun: ["user logged in", "users logged in"],
    columns: &[
        Column::text("user"),
        Column::text("domain"),
        Column::time("login-time"),
    ],
    sort: &[Order::Up("login-time")],
    count: None,
};

static FILE_SYSTEMS: Table = Table {
    name: "filesystems",
    noun: ["file system", "file systems"],
    columns: &[
        Column::text("mountpoint"),
        Column::text("type"),
        Column::used_of("used-bytes", "total-bytes"),
        Column::text("name"),
    ],
    sort: &[Order::Up("mountpoint")],
    count: None,
};

static CPUS: Table = Table {
    name: "vcpus",
    noun: ["CPU", "CPUs"],
    columns: &[
        Column::number("logical-id"),
        Column::flag("online"),
        Column::flag("can-offline"),
    ],
    sort: &[Order::Up("logical-id")],
    count: None,
};

static MEMORY_BLOCKS: Table = Table {
    name: "memory_blocks",
    noun: ["memory block", "memory blocks"],
    columns: &[
        Column::number("phys-index"),
        Column::flag("online"),
        Column::flag("can-offline"),
    ],
    sort: &[Order::Up("phys-index")],
    count: None,
};

/// What the agent answered, or its error: Proxmox reports success for both.
pub(super) fn result(mut data: Value) -> Result<Value, Error> {
    let result = answer::take(&mut data, "result");
    let error = &result["error"];
    if error.is_null() {
        return Ok(result);
    }
    let said = octets::repaired(&plain(&error["desc"]));
    let advice = match plain(&error["class"]).as_str() {
        "CommandNotFound" => {
            "proxmox_query_agent with query=info lists the commands of this agent; a newer qemu-guest-agent may have more."
        }
        "CommandDisabled" => {
            "The guest's own settings of qemu-guest-agent forbid it (allow-rpcs or block-rpcs in qemu-ga.conf)."
        }
        _ => "That is the guest's own error.",
    };
    let error = Error::impossible("the guest agent did not do it", text::cut(&said, 1_000));
    Err(error.hint(advice))
}

fn time(args: &Args, data: Value, _: &Value) -> Answer {
    let seconds = number(&data).map(|nanoseconds| (nanoseconds / 1e9) as u64);
    let Some(seconds) = seconds else {
        return Answer::new(args.fill("VM {vmid} did not say what time it is"));
    };
    let text = format!("{}: {}", args.fill("VM {vmid}"), text::time(seconds));
    Answer::of(text, json!({ "time": seconds }))
}

fn info(args: &Args, data: Value, _: &Value) -> Answer {
    let commands = answer::rows(data["supported_commands"].clone());
    let (enabled, disabled): (Vec<&Value>, Vec<&Value>) = commands
        .iter()
        .partition(|command| number(&command["enabled"]) != Some(0.0));
    let names = |commands: Vec<&Value>| -> Vec<String> {
        let mut names: Vec<String> = commands
            .iter()
            .map(|command| plain(&command["name"]).replacen("guest-", "", 1))
            .collect();
        sort(&mut names);
        names
    };
    let (enabled, disabled) = (names(enabled), names(disabled));
    let version = plain(&data["version"]);
    let mut text = format!(
        "{} {version}\ncommands: {}",
        args.fill("Guest agent of VM {vmid}, version"),
        enabled.join(", ")
    );
    if !disabled.is_empty() {
        text.push_str(&format!("\ndisabled in the guest: {}", disabled.join(", ")));
    }
    let data = json!({ "version": version, "commands": enabled, "disabled": disabled });
    Answer::of(text::cut(&text, text::BUDGET - 2_000), data)
}

fn ping(args: &Args, _: Value, _: &Value) -> Answer {
    let text = args.fill("The guest agent of VM {vmid} answers");
    Answer::of(text, json!({ "answers": true }))
}

fn freeze_status(args: &Args, data: Value, _: &Value) -> Answer {
    let status = plain(&data);
    let text = match &*status {
        "frozen" => args.fill(
            "VM {vmid} is frozen: what writes to its file systems waits until proxmox_control_agent with action=fsfreeze_thaw",
        ),
        _ => format!("{}: {status}", args.fill("File systems of VM {vmid}")),
    };
    Answer::of(text, json!({ "status": status }))
}

const FILE: Param = Param::required("file", Kind::Text(1, 4_096), "Path in the guest.");
const COUNT: Param = Param::optional("count", Kind::Integer(1, 32_768), "Bytes at most.")
    .default("16384")
    .local();
const FROM: Param = Param::optional("offset", Kind::Integer(0, u64::MAX), "Bytes to skip.").local();

pub(super) static READ_FILE: Tool = Tool {
    title: "Read a file in a VM",
    summary: "Elevated: reads a file inside a VM through its guest agent, a part at a time.",
    permission: Permission::Elevated,
    effect: Effect::Reads,
    params: &[&NODE, &VMID, &FILE, &COUNT, &FROM],
    call: Call::Steps(&[Step::read(FILE_READ, needs::AGENT_FILE_READ)], read_file),
};

const FILE_READ: &str = "/nodes/{node}/qemu/{vmid}/agent/file-read";

/// Before, the whole file came, of at most 16 MiB.
const READS_PARTS: Versions = Versions::since(9);

fn read_file(client: &Client, args: &Args) -> Result<Answer, Error> {
    let count = args.integer(&COUNT).unwrap_or_default() as usize;
    let from = args.integer(&FROM).unwrap_or_default();
    let mut request = args
        .request(Get, FILE_READ)
        .with_octets("file", &args[&FILE]);
    let reads_parts = READS_PARTS.contain(client.major_version()?);
    if reads_parts {
        request = request.with("count", count.to_string()).with("decode", "0");
        if from > 0 {
            request = request.with("offset", from.to_string());
        }
    }
    let data = client.send(&request)?;
    let Some(mut bytes) = content(&data) else {
        return Err(Error::impossible(
            "the file was not read",
            "What Proxmox sent of it is not in a form in which it sends files.",
        ));
    };
    let mut is_cut = number(&data["truncated"]) == Some(1.0);
    if !reads_parts {
        bytes.drain(..bytes.len().min(from as usize));
        is_cut |= bytes.len() > count;
        bytes.truncate(count);
    }
    if is_cut {
        bytes.truncate(whole_characters(&bytes));
    }
    Ok(Part {
        from,
        bytes,
        is_cut,
    }
    .answer(args))
}

/// The bytes that were read, which come in base64, or each as a character: only one of these has as many as
/// were read.
fn content(data: &Value) -> Option<Vec<u8>> {
    let content = data["content"].as_str()?;
    let read = number(&data["bytes-read"])? as usize;
    let forms = [base64::STANDARD.decode(content), octets::bytes(content)];
    let mut forms = forms.into_iter().flatten();
    forms.find(|bytes| bytes.len() == read)
}

/// How many of `bytes`, of which more follow, there are without a character that is cut.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => bytes.len(),
    }
}

/// The most characters of one line.
const LINE: usize = 4_000;

/// A part of a file.
struct Part {
    /// How many bytes come before it.
    from: u64,
    bytes: Vec<u8>,
    /// Whether more follow.
    is_cut: bool,
}

impl Part {
    fn answer(self, args: &Args) -> Answer {
        let Self {
            from,
            bytes,
            is_cut,
        } = self;
        let next = from.saturating_add(bytes.len() as u64);
        let file = text::cut(&text::inline(&args[&FILE]), 200);
        let mut heading = match bytes.len() {
            1 => format!("File {file} in VM {}: 1 byte", &args[&VMID]),
            count => format!("File {file} in VM {}: {count} bytes", &args[&VMID]),
        };
        if from > 0 {
            heading.push_str(&format!(" from offset {from} on"));
        }
        if is_cut {
            heading.push_str(&format!(", offset={next} shows more"));
        }
        let mut answer = Answer::new(heading).with("bytes", bytes.len());
        if is_cut {
            answer = answer.with("next_offset", next);
        }
        let content = octets::decode(&bytes);
        let is_text = !content.contains('\0');
        if !is_text || content.contains(char::REPLACEMENT_CHARACTER) {
            answer = answer
                .line("Not all of it is text: base64 in structuredContent has it as it is.")
                .with("base64", base64::STANDARD.encode(&bytes));
        }
        if !is_text {
            return answer;
        }
        let mut room = text::BUDGET - 2_000;
        for line in content.lines() {
            let line = text::cut(&text::inline(line), LINE);
            room = room.saturating_sub(line.chars().count() + 3);
            if room == 0 {
                answer = answer.line("The rest is in structuredContent.");
                break;
            }
            answer = answer.line(format!("| {line}"));
        }
        answer.with("content", content)
    }
}

const CONTENT: Param = Param::required("content", Kind::Text(1, FILE_SIZE), "");
const ENCODE: Param = Param::optional("encode", Kind::Flag, "false: content is base64 already.")
    .default("true")
    .local();

/// The most characters that Proxmox takes as the content of a file; in base64 each three bytes are four.
const FILE_SIZE: usize = 61_440;

/// What is shown of a file that is about to be replaced, in bytes.
const GLIMPSE: usize = 300;

pub(super) static WRITE_FILE: Tool = Tool {
    title: "Write a file in a VM",
    summary: "Writes a file inside a VM through its guest agent, replacing what it held. At most 45 KiB.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &VMID, &FILE, &CONTENT, &ENCODE],
    call: Call::Steps(
        &[
            Step::read(FILE_READ, needs::AGENT_FILE_READ).dispensable(),
            Step::change(
                Post,
                FILE_WRITE,
                needs::AGENT_FILE_WRITE,
                Touches::GuestOf(&VMID),
                Harm::Judged(overwritten),
            ),
        ],
        write_file,
    ),
};

const FILE_WRITE: &str = "/nodes/{node}/qemu/{vmid}/agent/file-write";

/// A file that is there loses its content; one that is not may still change what the guest does.
fn overwritten(request: &Request, before: &Value) -> Option<Loss> {
    let value = |name: &str| {
        let mut form = request.form.iter();
        let found = form.find(|(known, _)| *known == name);
        found.map_or(String::new(), |(_, value)| {
            text::cut(&text::inline(value), 200)
        })
    };
    let (file, content) = (value("file"), value("content"));
    let vmid = request.path.split('/').nth(4).unwrap_or_default();
    Some(match before["is_new"] == true {
        true => Loss::interrupts(format!(
            "Write “{content}” to the new file {file} in VM {vmid}."
        )),
        false => Loss::destroys(format!(
            "Write “{content}” to the file {file} in VM {vmid}; what it held before is lost."
        )),
    })
}

fn write_file(client: &Client, args: &Args) -> Result<Answer, Error> {
    let file = &args[&FILE];
    let request = args.request(Post, FILE_WRITE).with_octets("file", file);
    let content = &args[&CONTENT];
    let (request, size) = match args.flag(&ENCODE) {
        true => (request.with_base64("content", content), content.len()),
        false => match base64::STANDARD.decode(content) {
            Some(bytes) => (request.with("content", content), bytes.len()),
            None => {
                let problem = "content is not base64, as encode=false says".to_owned();
                return Err(Error::arguments(vec![problem]));
            }
        },
    };
    let most = FILE_SIZE / 4 * 3;
    if size > most {
        return Err(Error::arguments(vec![format!(
            "content has {size} bytes, and one call writes at most {most}"
        )]));
    }
    client.show_before(&glimpse(client, args));
    client.change(&request.with("encode", "0"), Reply::Nothing)?;
    let file = text::cut(&text::inline(file), 200);
    let bytes = if size == 1 { "byte" } else { "bytes" };
    let what = format!("Write {size} {bytes} to {file} in VM {}", &args[&VMID]);
    Ok(Answer::done(&what))
}

/// What is known of a file that is about to be written; null if nothing is.
fn glimpse(client: &Client, args: &Args) -> Value {
    // Before, the whole file came.
    if !client
        .major_version()
        .is_ok_and(|major| READS_PARTS.contain(major))
    {
        return Value::Null;
    }
    let request = args
        .request(Get, FILE_READ)
        .with_octets("file", &args[&FILE])
        .with("count", GLIMPSE.to_string())
        .with("decode", "0");
    match client.send(&request) {
        Ok(data) => {
            let bytes = content(&data).unwrap_or_default();
            json!({ "begins": text::cut(&octets::decode(&bytes), GLIMPSE) })
        }
        Err(error) => match &error.kind {
            ErrorKind::Refused(refusal) if refusal.says("No such file or directory") => {
                json!({ "is_new": true })
            }
            _ => Value::Null,
        },
    }
}

const USERNAME: Param = Param::required("username", Kind::Text(1, 1_024), "");
const PASSWORD: Param = Param::required("password", Kind::Text(5, 1_024), "");
const CRYPTED: Param = Param::optional("crypted", Kind::Flag, "It is a hash already.");

pub(super) static SET_PASSWORD: Tool = Tool {
    title: "Set a password in a VM",
    summary: "Sets the password of a user inside a VM through its guest agent.",
    permission: Permission::Elevated,
    effect: Effect::Rewrites,
    params: &[&NODE, &VMID, &USERNAME, &PASSWORD, &CRYPTED],
    call: Call::Steps(
        &[Step::change(
            Post,
            SET_USER_PASSWORD,
            needs::AGENT,
            Touches::GuestOf(&VMID),
            Harm::Interrupts(
                "Set the password[ of {username}] in VM {vmid}; the old one no longer works.",
            ),
        )],
        set_password,
    ),
};

const SET_USER_PASSWORD: &str = "/nodes/{node}/qemu/{vmid}/agent/set-user-password";

fn set_password(client: &Client, args: &Args) -> Result<Answer, Error> {
    let request = args
        .request(Post, SET_USER_PASSWORD)
        .with_octets("username", &args[&USERNAME])
        .with_octets("password", &args[&PASSWORD]);
    let request = args.send_given(request, &[&CRYPTED]);
    result(client.change(&request, Reply::Object("result"))?)?;
    let user = text::cut(&text::inline(&args[&USERNAME]), 100);
    let what = format!("Set the password of {user} in VM {}", &args[&VMID]);
    Ok(Answer::done(&what))
}

const ACTION: Param = Param::required(
    "action",
    Kind::Choice(&[
        "fsfreeze_freeze",
        "fsfreeze_thaw",
        "fstrim",
        "shutdown",
        "suspend_ram",
        "suspend_disk",
        "suspend_hybrid",
    ]),
    "",
);

pub(super) static CONTROL_AGENT: Tool = Tool {
    title: "Control a VM by its guest agent",
    summary: "Freezes, thaws or trims the file systems of a VM, shuts it down or suspends it, through its guest agent. A frozen one stays frozen until fsfreeze_thaw.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &VMID, &ACTION],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(AGENT),
        does: "",
        rows: &[
            control(
                post("fsfreeze_freeze", "/fsfreeze-freeze", &[])
                    .interrupts("What writes to them waits until they are thawed."),
            )
            .needs(needs::AGENT_FILE_SYSTEMS)
            .does("freeze the file systems of VM {vmid}")
            .says("done", frozen),
            control(post("fsfreeze_thaw", "/fsfreeze-thaw", &[]).harmless())
                .needs(needs::AGENT_FILE_SYSTEMS)
                .does("thaw the file systems of VM {vmid}")
                .says("done", thawed),
            control(post("fstrim", "/fstrim", &[]).harmless())
                .needs(needs::AGENT_FILE_SYSTEMS)
                .does("trim the file systems of VM {vmid}")
                .says("done", trimmed),
            control(post("shutdown", "/shutdown", &[]).interrupts("Its services end."))
                .does("shut down VM {vmid}")
                .says("requested", seen_later),
            control(post("suspend_ram", "/suspend-ram", &[]).interrupts(SLEEPS))
                .does("suspend VM {vmid} to memory")
                .says("requested", seen_later),
            control(post("suspend_disk", "/suspend-disk", &[]).interrupts(SLEEPS))
                .does("suspend VM {vmid} to its own disk")
                .says("requested", seen_later),
            control(post("suspend_hybrid", "/suspend-hybrid", &[]).interrupts(SLEEPS))
                .does("suspend VM {vmid} to memory and its own disk")
                .says("requested", seen_later),
        ],
    }),
};

const SLEEPS: &str = "It answers to nobody until it is woken up.";

const fn control(row: Row) -> Row {
    row.answers(Reply::Object("result")).opened_by(result)
}

fn frozen(_: &Args, count: &Value) -> Vec<String> {
    vec![
        format!("frozen: {}", file_systems(count)),
        "They stay frozen until proxmox_control_agent with action=fsfreeze_thaw.".to_owned(),
    ]
}

fn thawed(_: &Args, count: &Value) -> Vec<String> {
    vec![format!("thawed: {}", file_systems(count))]
}

fn file_systems(count: &Value) -> String {
    match number(count) {
        Some(1.0) => "1 file system".to_owned(),
        Some(count) => format!("{count} file systems"),
        None => "unknown".to_owned(),
    }
}

fn trimmed(_: &Args, data: &Value) -> Vec<String> {
    let paths = answer::rows(data["paths"].clone());
    let lines = paths.iter().map(|path| {
        let outcome = match (number(&path["trimmed"]), &path["error"]) {
            (_, Value::String(error)) => octets::repaired(&text::inline(error)),
            (Some(bytes), _) => format!("{} trimmed", text::bytes(bytes)),
            (None, _) => "trimmed".to_owned(),
        };
        format!("| {}: {}", plain(&path["path"]), text::cut(&outcome, 200))
    });
    lines.collect()
}

fn seen_later(_: &Args, _: &Value) -> Vec<String> {
    vec!["proxmox_get_vm_status shows what becomes of it.".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_agent_is_an_error() {
        let answered = |data: Value| result(data).map_err(|error| error.to_string());
        assert_eq!(
            answered(json!({ "result": { "a": 1 } })),
            Ok(json!({ "a": 1 }))
        );
        assert_eq!(answered(json!({ "result": 1 })), Ok(json!(1)));
        assert_eq!(answered(json!({ "result": [] })), Ok(json!([])));
        for class in ["CommandNotFound", "CommandDisabled", "GenericError"] {
            let refused =
                json!({ "result": { "error": { "class": class, "desc": "no\nthanks" } } });
            let said = answered(refused).expect_err("an error");
            assert!(said.contains("no\\nthanks"), "{said}");
        }
    }

    #[test]
    fn the_content_of_a_file_comes_in_two_forms() {
        let bytes =
            |sent: &str, read: u64| content(&json!({ "content": sent, "bytes-read": read }));
        assert_eq!(bytes("d/ZybGQ=", 5).as_deref(), Some(&b"w\xf6rld"[..]));
        assert_eq!(bytes("wörld", 5).as_deref(), Some(&b"w\xf6rld"[..]));
        assert_eq!(bytes("aGVs", 4).as_deref(), Some(&b"aGVs"[..]));
        assert_eq!(bytes("aGVs", 3).as_deref(), Some(&b"hel"[..]));
        assert_eq!(bytes("", 0).as_deref(), Some(&b""[..]));
        assert_eq!(bytes("aGVs", 5), None);
        assert_eq!(bytes("10 €", 4), None);
        assert_eq!(content(&json!({ "content": "aGVs" })), None);
    }

    #[test]
    fn a_part_ends_before_a_character_that_is_cut() {
        for (bytes, whole) in [
            ("grün".as_bytes(), 5),
            (&"grün".as_bytes()[..3], 2),
            (&"10 €".as_bytes()[..5], 3),
            (&"€".as_bytes()[..2], 2),
            (b"w\xf6rld", 5),
            (b"", 0),
        ] {
            assert_eq!(whole_characters(bytes), whole, "{bytes:?}");
        }
    }
}
