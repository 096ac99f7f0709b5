//! Tasks of the cluster; options of guests that have no tool of their own; the version.

use serde_json::{Map, Value};

use super::common::{
    DIGEST, ERRORS_ONLY, GREP, Guest, asks_for, filters, matching_heading, resource,
};
use super::config::{
    CONFIG_OF_LXC, CONFIG_OF_VM, DEFAULT, Settings, change_settings, readable, with_waits,
};
use super::guest::{NODE, TYPE, VMID, VMID_OR_GUESTS};
use super::guests::is_zero;
use super::node_admin::TASK_TABLE;
use super::tags;
use crate::answer::{
    self, Answer, Column, Fields, LIMIT, Lines, OFFSET, Table, compare, number, plain,
};
use crate::cluster::tasks::{self, Task};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::request::{
    self,
    Method::{Delete, Get, Put},
    Reply, Request,
};
use crate::row::{Harm, Step, Touches, needs};
use crate::safety::Client;
use crate::text;
use crate::text::format;
use crate::text::percent::encode;
use crate::text::slot::Slot;
use crate::text::sort::{sort, sort_by};
use crate::text::upid::Upid;
use crate::tool::{Call, Effect, Permission, Tool};

const UPID: Param = Param::required("upid", Kind::Format(&format::UPID), "");

const TIMEOUT: Param = Param::optional(
    "wait_timeout",
    Kind::Integer(1, 600),
    "Seconds; 45 if absent.",
)
.alias(&["timeout"]);

pub(super) static WAIT_TASK: Tool = Tool {
    title: "Wait for a task",
    summary: "Waits for a task to end and reports the result, with the last log lines if it failed.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&UPID, &TIMEOUT],
    call: Call::Steps(tasks::REQUESTS, |_, args| {
        Ok(Answer {
            task: Some(Task::found(&args[&UPID])),
            waits: true,
            ..Answer::new(String::new())
        })
    }),
};

pub(super) static STOP: Tool = Tool {
    title: "Stop task",
    summary: "Aborts a running task; what it has done so far stays.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&UPID],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/tasks/{upid}/status", &[]),
            Step::change(
                Delete,
                "/nodes/{node}/tasks/{upid}",
                &[],
                Touches::GuestOfTask(&UPID),
                Harm::None,
            ),
        ],
        stop,
    ),
};

fn stop(client: &Client, args: &Args) -> Result<Answer, Error> {
    let upid = &args[&UPID];
    let (node, kind, id) = Upid::parse(upid).map_or(("", "", ""), |of| (of.node, of.kind, of.id));
    let what = format!("Stop task {} on {node}", format!("{kind} {id}").trim_end());
    // Proxmox gives the same reply if the task has already ended.
    let answer = match Task::new(&*what, upid).status(client) {
        Ok(status) if status["status"] == "stopped" => {
            let exit = match plain(&status["exitstatus"]) {
                none if none.is_empty() => "no exit status".to_owned(),
                exit => exit,
            };
            let outcome = format!("nothing to stop, it had already ended: {exit}");
            Answer::action(&what, "ended", &outcome).with("exitstatus", exit)
        }
        Err(error) if !error.is_refused() => return Err(error),
        _ => {
            let request = args.request(Delete, "/nodes/{node}/tasks/{upid}");
            client.change(&request.segment("node", node), Reply::Nothing)?;
            Answer::action(
                &what,
                "requested",
                "asked to stop, it may still be running.",
            )
            .line("proxmox_wait_task with this upid reports whether and how it ended.")
        }
    };
    Ok(answer)
}

const VIEW: Param = Param::optional("view", Kind::Choice(&["tasks", "log"]), "").default("tasks");
const MAX: Param = Param::optional("max", Kind::Integer(1, 5_000), "").default("50");

pub(super) static OF_CLUSTER: Tool = Tool {
    title: "Cluster tasks and log",
    summary: "Lists the newest tasks of the whole cluster in one request, or the cluster log. To search or go back further use proxmox_get_node_tasks.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&VIEW, &MAX, &ERRORS_ONLY, &GREP],
    call: Call::Steps(
        &[
            Step::read("/cluster/tasks", &[]),
            Step::read("/cluster/log", &[]),
        ],
        of_cluster,
    ),
};

fn of_cluster(client: &Client, args: &Args) -> Result<Answer, Error> {
    if &args[&VIEW] == "log" {
        return log(client, args);
    }
    if filters(args) {
        return Err(Error::arguments(vec![
            "errors_only and grep need view=log".to_owned(),
        ]));
    }
    let mut rows = answer::rows(client.get("/cluster/tasks")?);
    let total = rows.len();
    sort_by(&mut rows, |a, b| compare(&b["starttime"], &a["starttime"]));
    rows.truncate(args.integer(&MAX).unwrap_or(50) as usize);
    for row in &mut rows {
        if row["endtime"].is_null() && row["status"].is_null() {
            row["status"] = "RUNNING".into();
        }
    }
    let more = (total > rows.len()).then(|| format!("{total} in all, a larger max shows more"));
    Ok(TASK_TABLE.answer(rows, args, more.as_slice()))
}

fn log(client: &Client, args: &Args) -> Result<Answer, Error> {
    let request = args.send_given(Request::new(Get, "/cluster/log"), &[&MAX]);
    let mut entries = answer::rows(client.send(&request)?);
    sort_by(&mut entries, |a, b| {
        compare(&a["time"], &b["time"]).then(compare(&a["uid"], &b["uid"]))
    });
    let read = entries.len();
    entries.retain(|entry| asks_for(args, &log_line(entry), is_error(entry)));
    let lines: Vec<String> = entries.iter().map(log_line).collect();
    let mut answer = Lines {
        heading: matching_heading(args, "Cluster log".to_owned(), read),
        first: 0,
        total: lines.len() as u64,
        lines,
        more: "a smaller max shows the newest",
    }
    .answer();
    // The same entries, complete.
    let lines = answer.data.remove("lines");
    let shown = lines.as_ref().and_then(Value::as_array).map_or(0, Vec::len);
    let entries = entries.split_off(entries.len() - shown);
    Ok(answer.with("entries", answer::masked("", entries.into())))
}

fn is_error(entry: &Value) -> bool {
    number(&entry["pri"]).is_some_and(|priority| priority < 4.0)
}

/// `2026-07-14 10:00:00Z pve1 pvedaemon root@pam error: text`
fn log_line(entry: &Value) -> String {
    let time = number(&entry["time"]).map(|time| text::time(time as u64));
    let names = ["node", "tag", "user"].map(|key| plain(&entry[key]));
    let severity = match number(&entry["pri"]) {
        _ if is_error(entry) => "error: ",
        Some(4.0) => "warning: ",
        _ => "",
    };
    let words: Vec<String> = time
        .into_iter()
        .chain(names)
        .filter(|word| !word.is_empty())
        .chain([format!("{severity}{}", plain(&entry["msg"]))])
        .collect();
    words.join(" ")
}

const ALL: Param = Param::optional("all", Kind::Flag, "Include unchanged settings.");

pub(super) static PENDING: Tool = Tool {
    title: "Pending configuration",
    summary: "Shows which settings of a guest, cloud-init included, wait until it stops and starts, with current and pending values.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &VMID, &TYPE, &ALL, &LIMIT, &OFFSET],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/qemu/{vmid}/pending", needs::AUDIT),
            Step::read("/nodes/{node}/qemu/{vmid}/cloudinit", needs::AUDIT),
            Step::read("/nodes/{node}/lxc/{vmid}/pending", needs::AUDIT),
        ],
        pending,
    ),
};

fn pending(client: &Client, args: &Args) -> Result<Answer, Error> {
    static CHANGES: Table = settings(["pending change", "pending changes"]);
    static SETTINGS: Table = settings(["setting", "settings"]);
    let guest = guest(args);
    let mut rows = Settings::read(client, args, guest)?.rows();
    let mut notes = Vec::new();
    if guest == Guest::Vm {
        match client.send(&args.request(Get, &guest.path("cloudinit"))) {
            Ok(data) => notes.extend(add_cloud_init(&mut rows, answer::rows(data))),
            Err(error) if error.is_refused() => notes.push(format!(
                "What waits for cloud-init could not be read: {}",
                error.brief()
            )),
            Err(error) => return Err(error),
        }
    }
    let total = rows.len();
    for row in &mut rows {
        let key = plain(&row["key"]);
        for part in ["value", "pending"] {
            if let Some(value) = row[part]
                .as_str()
                .map(|value| request::readable(&key, value).into_owned())
            {
                row[part] = value.into();
            }
        }
    }
    // Pending changes first.
    sort_by(&mut rows, |a, b| {
        waits_now(b)
            .cmp(&waits_now(a))
            .then(compare(&a["key"], &b["key"]))
    });
    let changes: Vec<Value> = rows.iter().filter(|row| waits_now(row)).cloned().collect();
    Ok(if args.flag(&ALL) {
        let counts = format!("{} pending", changes.len());
        SETTINGS.counted(rows, args, &counts, &notes)
    } else {
        CHANGES.counted(changes, args, &format!("of {total} settings"), &notes)
    })
}

/// Replaces settings, which count as in effect once saved, by what is pending for cloud-init; returns a note that
/// names them.
fn add_cloud_init(rows: &mut Vec<Value>, cloud_init: Vec<Value>) -> Option<String> {
    let mut names = Vec::new();
    for row in cloud_init {
        let is_deleted = number(&row["delete"]).is_some_and(|delete| delete != 0.0);
        if row["pending"].is_null() && !is_deleted {
            continue;
        }
        names.push(plain(&row["key"]));
        match rows.iter_mut().find(|other| other["key"] == row["key"]) {
            Some(other) => *other = row,
            None => rows.push(row),
        }
    }
    sort(&mut names);
    (!names.is_empty()).then(|| {
        format!(
            "Saved; cloud-init applies them when the guest stops and starts: {}",
            names.join(", ")
        )
    })
}

/// Returns true if a new value or the removal of a setting is pending.
fn waits_now(row: &Value) -> bool {
    !row["pending"].is_null() || number(&row["delete"]).is_some_and(|delete| delete != 0.0)
}

const fn settings(noun: [&'static str; 2]) -> Table {
    const COLUMNS: &[Column] = &[
        Column::text("key"),
        Column::text("value"),
        Column::text("pending"),
        Column::flag("delete").unless(is_zero),
    ];
    Table {
        name: "settings",
        noun,
        columns: COLUMNS,
        sort: &[],
        count: None,
    }
}

fn guest(args: &Args) -> Guest {
    match &args[&TYPE] {
        "lxc" => Guest::Container,
        _ => Guest::Vm,
    }
}

const SET: Param = Param::required("set", Kind::Pairs, "Such as {\"onboot\": \"1\"}.")
    .local()
    .required_unless(&["delete", "revert", "add_tags", "remove_tags"]);
const DELETE: Param = Param::optional("delete", Kind::List, "Options to remove.").local();
const REVERT: Param = Param::optional("revert", Kind::List, "Pending changes to drop.").local();

pub(super) static UPDATE: Tool = Tool {
    title: "Change guest options",
    summary: "Changes options of a guest: description, tags, onboot, startup, boot, agent, cloud-init; not disks and networks.",
    permission: Permission::Elevated,
    effect: Effect::Rewrites,
    params: &[
        &NODE,
        &VMID_OR_GUESTS,
        &TYPE,
        &SET,
        &DELETE,
        &REVERT,
        &tags::ADD,
        &tags::REMOVE,
        &DIGEST,
    ],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/qemu/{vmid}/pending", needs::AUDIT),
            CONFIG_OF_VM,
            Step::read("/nodes/{node}/lxc/{vmid}/pending", needs::AUDIT),
            CONFIG_OF_LXC.also(&["/vms/{vmid}:VM.Config.Options"]),
            Step::read("/cluster/resources", &[]),
        ],
        update,
    ),
};

fn update(client: &Client, args: &Args) -> Result<Answer, Error> {
    let guest = guest(args);
    let problems = problems(args, guest);
    if !problems.is_empty() {
        return Err(Error::arguments(problems));
    }
    let what = format!("Change options of {} {}", guest.noun(), &args[&VMID]);
    let before = change_settings(client, args, guest, |settings| {
        changes(args, guest, new_tags(args, settings))
    })?;
    let tags = new_tags(args, &before);
    if tags.is_none() && is_about_tags_alone(args) {
        let stay = before.shown(tags::OPTION);
        let answer = Answer::action(&what, "unchanged", "nothing to change.");
        return Ok(answer.line(format!(
            "{}: stays {}",
            tags::OPTION,
            stay.as_deref().unwrap_or(DEFAULT)
        )));
    }
    let settings = Settings::read(client, args, guest).ok();
    let set = args
        .pairs(&SET)
        .map(|(key, value)| (key, Some(wire(key, value))));
    let deleted = args.list(&DELETE).iter().map(|key| (&**key, None));
    let tagged = tags.map(|tags| (tags::OPTION, Some(tags).filter(|tags| !tags.is_empty())));
    let shown = |key: &str, value: &str| text::cut(&readable(key, value), 1_000);
    let mut lines = Vec::new();
    let mut was = Map::new();
    for (key, after) in set.chain(deleted).chain(tagged) {
        let old = before.shown(key).map(|value| shown(key, &value));
        let old = old.as_deref().unwrap_or(DEFAULT);
        let after = after.map(|after| shown(key, &after));
        lines.push(format!(
            "{key}: {old} → {}",
            after.as_deref().unwrap_or(DEFAULT)
        ));
        let before = before.active(key).map(|value| shown(key, &value));
        was.insert(key.to_owned(), before.into());
    }
    let mut dropped = Map::new();
    for key in args.list(&REVERT) {
        let active = before.active(key).map(|value| shown(key, &value));
        let stays = active.as_deref().unwrap_or(DEFAULT);
        lines.push(match before.waiting(key) {
            None => format!("{key}: nothing was pending, stays {stays}"),
            Some(waiting) => {
                let waiting = waiting.map(|value| shown(key, &plain(&value)));
                let change = waiting.as_deref().unwrap_or("removal");
                dropped.insert(key.to_owned(), waiting.clone().into());
                format!("{key}: pending {change} was dropped, stays {stays}")
            }
        });
        was.insert(key.to_owned(), active.into());
    }
    let waits = settings.as_ref().map(Settings::waits);
    let pends = waits
        .as_ref()
        .is_some_and(|waits| was.keys().any(|key| waits.contains_key(key)));
    let mut answer = Answer::done_or_saved(&what, pends)
        .line(lines.join("\n"))
        .with("before", was);
    if !dropped.is_empty() {
        answer = answer.with("dropped", dropped);
    }
    for without_effect in without_effect(client, args, guest, settings.as_ref().unwrap_or(&before))
    {
        answer = answer.note(without_effect);
    }
    Ok(with_waits(answer, guest, waits))
}

/// The tags that the call makes of those of the guest; `None` if they stay as they are.
fn new_tags(args: &Args, settings: &Settings) -> Option<String> {
    match tags::are_given(args) {
        true => tags::changed(args, &settings.coming(tags::OPTION).unwrap_or_default()),
        false => None,
    }
}

/// The request that changes the options, and the tags to `tags`; `None` if there is nothing to change.
fn changes(args: &Args, guest: Guest, tags: Option<String>) -> Option<Request> {
    let mut request = args.request(Put, &guest.path("config"));
    for (key, value) in args.pairs(&SET) {
        request = request.with(key, wire(key, value));
    }
    let mut deleted = args.list(&DELETE).to_vec();
    match tags {
        None => (),
        Some(none) if none.is_empty() => deleted.push(tags::OPTION.to_owned()),
        Some(tags) => request = request.with(tags::OPTION, tags),
    }
    for (param, keys) in [(DELETE, &*deleted), (REVERT, args.list(&REVERT))] {
        if !keys.is_empty() {
            request = request.with(param.name, keys.join(","));
        }
    }
    (!request.form.is_empty()).then_some(request)
}

fn is_about_tags_alone(args: &Args) -> bool {
    let others = [SET, DELETE, REVERT];
    others.iter().all(|param| args.get(param).is_none())
}

/// Lists options that Proxmox saved but does not apply, or not yet, although they do not count as pending.
fn without_effect(client: &Client, args: &Args, guest: Guest, settings: &Settings) -> Vec<String> {
    let set: Vec<&str> = args.pairs(&SET).map(|(key, _)| key).collect();
    let among = |is: fn(&str) -> bool| {
        let keys: Vec<&str> = set.iter().copied().filter(|key| is(key)).collect();
        keys.join(", ")
    };
    let mut lines = Vec::new();
    let cloud_init = among(is_cloud_init);
    if guest == Guest::Vm && !cloud_init.is_empty() {
        lines.push(match settings.have_cloud_init_drive() {
            true => format!(
                "{cloud_init}: the VM gets this when it stops and starts (proxmox_reboot_vm)."
            ),
            false => format!(
                "{cloud_init}: without effect, since the VM has no cloud-init drive: proxmox_set_cdrom adds one."
            ),
        });
    }
    let at_boot = among(|key| ["onboot", "startup"].contains(&key));
    if !at_boot.is_empty()
        && let Ok(Some(row)) = resource(client, args, &args[&VMID])
        && !["", "ignored"].contains(&&*plain(&row["hastate"]))
    {
        lines.push(format!(
            "{at_boot}: without effect while the guest is HA-managed: the HA manager starts and stops it."
        ));
    }
    if guest == Guest::Vm && set.contains(&"autostart") {
        lines.push("autostart: Proxmox ignores it; onboot starts a VM with its node.".to_owned());
    }
    lines
}

/// Returns true if an option of a VM is only for cloud-init.
fn is_cloud_init(key: &str) -> bool {
    let number = key.strip_prefix("ipconfig");
    number.is_some_and(|number| number.parse::<u32>().is_ok())
        || [
            "cicustom",
            "cipassword",
            "citype",
            "ciupgrade",
            "ciuser",
            "nameserver",
            "searchdomain",
            "sshkeys",
        ]
        .contains(&key)
}

/// Options that accept 0 or 1, but not true or false.
const FLAGS: &[&str] = &[
    "acpi",
    "allow-ksm",
    "autostart",
    "ciupgrade",
    "console",
    "debug",
    "freeze",
    "kvm",
    "localtime",
    "numa",
    "onboot",
    "protection",
    "reboot",
    "tablet",
    "tdf",
    "template",
    "unprivileged",
];

/// Returns a value in the form that Proxmox expects.
fn wire(key: &str, value: &str) -> String {
    match value {
        "true" if FLAGS.contains(&key) => "1".to_owned(),
        "false" if FLAGS.contains(&key) => "0".to_owned(),
        // Stored encoded. A key contains spaces, so a value without any was encoded by the caller.
        value if key == "sshkeys" && value.contains(' ') => encode(value),
        value => value.to_owned(),
    }
}

/// Lists the problems of the options to change.
fn problems(args: &Args, guest: Guest) -> Vec<String> {
    let set: Vec<(&str, &str)> = args.pairs(&SET).collect();
    let (delete, revert) = (args.list(&DELETE), args.list(&REVERT));
    if is_about_tags_alone(args) && !tags::are_given(args) {
        return vec!["nothing to change: give set, delete, revert or add_tags".to_owned()];
    }
    let mut problems = tags::problems(args);
    for (key, value) in &set {
        let problem = if value.is_empty() {
            Some("is empty: delete clears it".to_owned())
        } else {
            refused(guest, key).or_else(|| for_root(guest, key, value))
        };
        problems.extend(problem.map(|problem| format!("set: {} {problem}", shown(key))));
    }
    for key in delete {
        let problem = refused(guest, key);
        problems.extend(problem.map(|problem| format!("delete: {} {problem}", shown(key))));
    }
    for key in revert.iter().filter(|key| !is_option(key)) {
        problems.push(format!("revert: {} is not an option", shown(key)));
    }
    let names = set.iter().map(|(key, _)| *key);
    let names: Vec<&str> = names
        .chain(delete.iter().chain(revert).map(String::as_str))
        .chain(tags::are_given(args).then_some(tags::OPTION))
        .collect();
    for (index, key) in names.iter().enumerate() {
        if names[..index].contains(key) {
            problems.push(format!("{} is named twice", shown(key)));
        }
    }
    problems
}

fn shown(key: &str) -> String {
    text::cut(&text::inline(key), 40)
}

fn is_option(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Returns why this tool does not change an option, whatever its value.
fn refused(guest: Guest, key: &str) -> Option<String> {
    let why = match (guest, Slot::of(key).family) {
        _ if !is_option(key) => "is not an option",
        (Guest::Vm, "net") => {
            "is for proxmox_add_network_vm, proxmox_update_network_vm and proxmox_remove_network_vm"
        }
        (Guest::Container, "net") => {
            "is for proxmox_add_network_lxc, proxmox_update_network_lxc and proxmox_remove_network_lxc"
        }
        (
            Guest::Vm,
            "cdrom" | "ide" | "sata" | "scsi" | "virtio" | "efidisk" | "tpmstate" | "unused",
        ) => {
            "is for proxmox_add_disk_vm, proxmox_resize_disk_vm, proxmox_move_disk_vm and proxmox_remove_disk_vm"
        }
        (Guest::Container, "rootfs" | "mp" | "unused") => {
            "is for proxmox_add_mountpoint_lxc, proxmox_resize_disk_lxc, proxmox_move_disk_lxc and proxmox_remove_mountpoint_lxc"
        }
        (_, "delete" | "revert" | "digest") => "is a parameter of its own",
        // Removing it would discard the saved memory of a suspended VM.
        (Guest::Vm, "vmstate") => "is for proxmox_pause_vm and proxmox_start_vm",
        // The flag alone does not make a template: its disks stay as they are, and it no longer starts.
        (_, "template") => {
            "cannot be set: Proxmox makes templates by a request of its own, not by this flag"
        }
        (_, "node" | "vmid" | "force") => "is not an option",
        (Guest::Vm, "args" | "parallel")
        | (Guest::Container, "dev" | "hookscript" | "lxc")
        | (_, "skiplock") => FOR_ROOT,
        _ => return None,
    };
    Some(why.to_owned())
}

const FOR_ROOT: &str = "is reserved by Proxmox for root@pam itself; no API token can set it";

/// Returns why Proxmox accepts this value only from root@pam.
fn for_root(guest: Guest, key: &str, value: &str) -> Option<String> {
    let mut parts = value.split(',');
    let (refused, instead) = match (guest, Slot::of(key).family) {
        (Guest::Vm, "hostpci") => (!parts.any(is_mapping), "mapping=NAME"),
        (Guest::Vm, "usb") => (
            !parts.any(|part| is_mapping(part) || part.contains("spice")),
            "spice or mapping=NAME",
        ),
        (Guest::Vm, "serial") => (value != "socket", "socket"),
        (Guest::Container, "features") => (
            parts.any(|part| part.split('=').next() != Some("nesting")),
            "nesting",
        ),
        _ => return None,
    };
    refused.then(|| format!("{FOR_ROOT}, except {instead}"))
}

fn is_mapping(part: &str) -> bool {
    part.starts_with("mapping=")
}

const ON_NODE: Param = Param::optional("node", Kind::Format(&format::NODE), "");

pub(super) static VERSION: Tool = Tool {
    title: "Proxmox VE version",
    summary: "Shows the version of Proxmox VE, of the connected node or another.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&ON_NODE],
    call: Call::Steps(
        &[
            Step::read("/version", &[]),
            Step::read("/nodes/{node}/version", &[]),
        ],
        version,
    ),
};

fn version(client: &Client, args: &Args) -> Result<Answer, Error> {
    const COLUMNS: &[Column] = &[Column::text("version"), Column::text("release")];
    let (path, heading) = match args.get(&ON_NODE) {
        Some(_) => ("/nodes/{node}/version", "Proxmox VE on {node}"),
        None => ("/version", "Proxmox VE on the connected node"),
    };
    let fields = Fields {
        heading,
        columns: COLUMNS,
        hidden: &[],
    };
    Ok(fields.answer(client.send(&args.request(Get, path))?, args, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_options_of_other_tools_and_of_root() {
        for (guest, options) in [
            (
                Guest::Vm,
                "net0 scsi0 ide2 unused0 efidisk0 args digest skiplock force template a=b",
            ),
            (
                Guest::Container,
                "net0 rootfs mp0 dev0 hookscript lxc vmid template",
            ),
        ] {
            for option in options.split(' ') {
                assert!(refused(guest, option).is_some(), "{option}");
            }
        }
        for (guest, options) in [
            (
                Guest::Vm,
                "scsihw boot numa0 virtiofs0 hookscript ipconfig0 usb0",
            ),
            (Guest::Container, "features onboot tags cores"),
        ] {
            for option in options.split(' ') {
                assert_eq!(refused(guest, option), None, "{option}");
            }
        }
    }

    #[test]
    fn distinguishes_values_that_a_token_may_set() {
        for (guest, key, value, refused) in [
            (Guest::Vm, "hostpci0", "0000:01:00.0,pcie=1", true),
            (Guest::Vm, "hostpci0", "mapping=gpu,pcie=1", false),
            (Guest::Vm, "usb0", "host=046d:c52b", true),
            (Guest::Vm, "usb0", "spice,usb3=1", false),
            (Guest::Vm, "serial0", "/dev/ttyS0", true),
            (Guest::Vm, "serial0", "socket", false),
            (Guest::Container, "features", "nesting=1,keyctl=1", true),
            (Guest::Container, "features", "nesting=1", false),
            (Guest::Container, "tags", "a;b", false),
        ] {
            assert_eq!(
                for_root(guest, key, value).is_some(),
                refused,
                "{key}={value}"
            );
        }
    }

    #[test]
    fn sends_values_as_proxmox_expects_them() {
        assert_eq!(wire("onboot", "true"), "1");
        assert_eq!(wire("description", "true"), "true");
        let sent = "ssh-ed25519%20AAAA%2B%2F%3D%20a%40b";
        assert_eq!(wire("sshkeys", "ssh-ed25519 AAAA+/= a@b"), sent);
        assert_eq!(wire("sshkeys", sent), sent);
    }
}
