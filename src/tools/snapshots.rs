//! Snapshots of guests.

use serde_json::Value;

use super::common::{Guest, START, resource};
use super::config::{Config, DEFAULT, REMOVED, readable};
use super::guest::{NODE, VMID, VMID_OR_GUESTS};
use crate::answer::{self, Answer, Column, LIMIT, OFFSET, Order, Table, plain};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::request::{
    Method::{Delete, Get, Post},
    Reply,
};
use crate::row::{Harm, Step, Touches, needs};
use crate::safety::Client;
use crate::text;
use crate::text::format;
use crate::text::sort::sort;
use crate::tool::{Call, Effect, Permission, Show, Tool, start_task};

const SNAPNAME: Param = Param::required("snapname", Kind::Format(&format::SNAPSHOT), "");
const NEW_LXC_SNAPNAME: Param =
    Param::required("snapname", Kind::Format(&format::NEW_LXC_SNAPSHOT), "");
const NEW_VM_SNAPNAME: Param =
    Param::required("snapname", Kind::Format(&format::NEW_VM_SNAPSHOT), "");
const DESCRIPTION: Param = Param::optional("description", Kind::Text(0, 8_192), "");
const VMSTATE: Param = Param::optional("vmstate", Kind::Flag, "Include its memory.");
const FORCE: Param = Param::optional("force", Kind::Flag, "Even if a volume cannot be deleted.");

pub(super) static CREATE_LXC: Tool = Tool {
    title: "Snapshot container",
    summary: "Takes a snapshot of a container.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        &NODE,
        &VMID_OR_GUESTS,
        &NEW_LXC_SNAPNAME,
        &DESCRIPTION,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Plain(
        Step::change(
            Post,
            "/nodes/{node}/lxc/{vmid}/snapshot",
            needs::SNAPSHOT,
            Touches::GuestOf(&VMID),
            Harm::None,
        ),
        Show::Action("Snapshot {snapname} of container {vmid}"),
    ),
};

pub(super) static CREATE_VM: Tool = Tool {
    title: "Snapshot VM",
    summary: "Takes a snapshot of a VM's disks and, with vmstate, its memory.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        &NODE,
        &VMID_OR_GUESTS,
        &NEW_VM_SNAPNAME,
        &DESCRIPTION,
        &VMSTATE,
        &WAIT,
        &WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::change(
                Post,
                "/nodes/{node}/qemu/{vmid}/snapshot",
                needs::SNAPSHOT,
                Touches::GuestOf(&VMID),
                Harm::None,
            ),
            Step::read("/cluster/resources", &[]),
        ],
        create_vm,
    ),
};

fn create_vm(client: &Client, args: &Args) -> Result<Answer, Error> {
    let request = args.whole_request(Post, &Guest::Vm.path("snapshot"));
    let what = args.fill("Snapshot {snapname} of VM {vmid}");
    let answer = start_task(client, &request, Reply::Task, &what)?;
    // Proxmox silently ignores vmstate if the VM is not running.
    let is_down = args.flag(&VMSTATE)
        && resource(client, args, &args[&VMID])
            .is_ok_and(|row| row.is_some_and(|row| row["status"] == "stopped"));
    Ok(match is_down {
        true => answer.remark("vmstate has no effect, the VM is not running"),
        false => answer,
    })
}

pub(super) static LIST_LXC: Tool = Tool {
    title: "List snapshots of a container",
    summary: "Lists the snapshots of a container, oldest first.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &VMID, &LIMIT, &OFFSET],
    call: Call::Steps(
        &[Step::read(
            "/nodes/{node}/lxc/{vmid}/snapshot",
            needs::AUDIT,
        )],
        |client, args| list(client, args, Guest::Container),
    ),
};

pub(super) static LIST_VM: Tool = Tool {
    title: "List snapshots of a VM",
    summary: "Lists the snapshots of a VM, oldest first.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &VMID, &LIMIT, &OFFSET],
    call: Call::Steps(
        &[Step::read(
            "/nodes/{node}/qemu/{vmid}/snapshot",
            needs::AUDIT,
        )],
        |client, args| list(client, args, Guest::Vm),
    ),
};

fn list(client: &Client, args: &Args, guest: Guest) -> Result<Answer, Error> {
    static SNAPSHOTS: Table = Table {
        name: "snapshots",
        noun: ["snapshot", "snapshots"],
        columns: &[
            Column::text("name"),
            Column::time("snaptime"),
            Column::text("parent"),
            Column::flag("vmstate"),
            Column::text("snapstate"),
            Column::text("description"),
        ],
        sort: &[Order::Up("snaptime"), Order::Up("name")],
        count: None,
    };
    let (current, snapshots): (Vec<Value>, Vec<Value>) =
        answer::rows(client.send(&args.request(Get, &guest.path("snapshot")))?)
            .into_iter()
            .partition(|snapshot| snapshot["name"] == "current");
    let current = current.into_iter().next();
    let parent = current
        .as_ref()
        .map(|current| plain(&current["parent"]))
        .filter(|parent| !parent.is_empty());
    let note =
        parent.map(|parent| format!("The current state is based on {}.", text::cut(&parent, 40)));
    let answer = SNAPSHOTS.answer(snapshots, args, note.as_slice());
    Ok(match current {
        Some(current) => answer.with("current", answer::masked("", current)),
        None => answer,
    })
}

pub(super) static ROLLBACK_LXC: Tool = Tool {
    title: "Roll back container",
    summary: "Stops a container and rolls it back to a snapshot: everything newer is lost.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &VMID, &SNAPNAME, &START, &WAIT, &WAIT_TIMEOUT],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/lxc/{vmid}/config", needs::AUDIT).dispensable(),
            Step::change(
                Post,
                "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback",
                needs::ROLLBACK,
                Touches::GuestOf(&VMID),
                Harm::RollsBack(&SNAPNAME),
            ),
        ],
        |client, args| roll_back(client, args, Guest::Container),
    ),
};

pub(super) static ROLLBACK_VM: Tool = Tool {
    title: "Roll back VM",
    summary: "Stops a VM and rolls it back to a snapshot: everything newer is lost.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &VMID, &SNAPNAME, &START, &WAIT, &WAIT_TIMEOUT],
    call: Call::Steps(
        &[
            Step::read("/nodes/{node}/qemu/{vmid}/config", needs::AUDIT).dispensable(),
            Step::change(
                Post,
                "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback",
                needs::ROLLBACK,
                Touches::GuestOf(&VMID),
                Harm::RollsBack(&SNAPNAME),
            ),
        ],
        |client, args| roll_back(client, args, Guest::Vm),
    ),
};

fn roll_back(client: &Client, args: &Args, guest: Guest) -> Result<Answer, Error> {
    let settings = restored(client, args, guest);
    let request = args.whole_request(Post, &guest.path("snapshot/{snapname}/rollback"));
    let what = format!(
        "Roll back {} {} to {}",
        guest.noun(),
        &args[&VMID],
        &args[&SNAPNAME]
    );
    let answer = start_task(client, &request, Reply::Task, &what)?;
    Ok(match settings {
        Some(settings) => answer.remark(&settings),
        None => answer,
    })
}

/// Lists the settings that a rollback restores: `restored settings: memory 4096 → 2048`; `None` if they
/// cannot be read.
fn restored(client: &Client, args: &Args, guest: Guest) -> Option<String> {
    let read = |name: &str, value: &str| {
        let request = args.request(Get, &guest.path("config"));
        Config::fetch(client, &request.with(name, value)).ok()
    };
    let now = read("current", "1")?;
    let then = read("snapshot", &args[&SNAPNAME])?;
    let mut keys: Vec<&str> = now.keys().chain(then.keys()).collect();
    sort(&mut keys);
    keys.dedup();
    let changes: Vec<String> = keys
        .into_iter()
        .filter(|key| comes_back(key) && now.get(key) != then.get(key))
        .map(|key| {
            let shown = |value: Option<String>, none: &str| {
                let value = value.map(|value| text::cut(&readable(key, &value), 100));
                value.unwrap_or_else(|| none.to_owned())
            };
            let (before, after) = (shown(now.get(key), DEFAULT), shown(then.get(key), REMOVED));
            format!("{key} {before} → {after}")
        })
        .collect();
    Some(match changes.len() {
        0 => "no setting changes".to_owned(),
        count if count > MOST => format!(
            "restored settings: {} and {} more",
            changes[..MOST].join(", "),
            count - MOST
        ),
        _ => format!("restored settings: {}", changes.join(", ")),
    })
}

/// The maximum number of settings named.
const MOST: usize = 12;

/// Returns true if a rollback restores an option (`PVE/AbstractConfig.pm`, `snapshot_rollback`);
/// the others are about the snapshot, or newly created.
fn comes_back(key: &str) -> bool {
    const STAYS: &[&str] = &[
        "description",
        "digest",
        "lock",
        "meta",
        "parent",
        "running-nets-host-mtu",
        "runningcpu",
        "runningmachine",
        "snapstate",
        "snaptime",
        "vmgenid",
        "vmstate",
    ];
    !key.starts_with("unused") && !STAYS.contains(&key)
}

pub(super) static DELETE_LXC: Tool = Tool {
    title: "Delete snapshot of a container",
    summary: "Deletes a snapshot of a container; its current state is kept.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &VMID, &SNAPNAME, &FORCE, &WAIT, &WAIT_TIMEOUT],
    call: Call::Plain(
        Step::change(
            Delete,
            "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}",
            needs::SNAPSHOT,
            Touches::GuestOf(&VMID),
            Harm::DeletesSnapshot(&SNAPNAME),
        ),
        Show::Action("Delete snapshot {snapname} of container {vmid}"),
    ),
};

pub(super) static DELETE_VM: Tool = Tool {
    title: "Delete snapshot of a VM",
    summary: "Deletes a snapshot of a VM; its current state is kept.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &VMID, &SNAPNAME, &FORCE, &WAIT, &WAIT_TIMEOUT],
    call: Call::Plain(
        Step::change(
            Delete,
            "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}",
            needs::SNAPSHOT,
            Touches::GuestOf(&VMID),
            Harm::DeletesSnapshot(&SNAPNAME),
        ),
        Show::Action("Delete snapshot {snapname} of VM {vmid}"),
    ),
};
