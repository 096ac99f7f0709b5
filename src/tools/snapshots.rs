//! Snapshots of guests.

use serde_json::Value;

use super::common::START;
use super::guest::{NODE, VMID};
use crate::answer::{self, Answer, Column, LIMIT, OFFSET, Order, Table, plain};
use crate::error::Error;
use crate::format;
use crate::param::{Args, Kind, Param};
use crate::pve::client::Client;
use crate::pve::request::Method::{Delete, Get, Post};
use crate::task::{WAIT, WAIT_TIMEOUT};
use crate::text;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const SNAPNAME: Param = Param::required("snapname", Kind::Format(&format::SNAPSHOT), "");
const NEW_LXC_SNAPNAME: Param =
    Param::required("snapname", Kind::Format(&format::NEW_LXC_SNAPSHOT), "");
const NEW_VM_SNAPNAME: Param =
    Param::required("snapname", Kind::Format(&format::NEW_VM_SNAPSHOT), "");
const DESCRIPTION: Param = Param::optional("description", Kind::Text(0, 8_192), "");
const VMSTATE: Param = Param::optional("vmstate", Kind::Flag, "Include its memory.");
const FORCE: Param = Param::optional("force", Kind::Flag, "Even if a volume stays.");

pub(super) static CREATE_LXC: Tool = Tool {
    title: "Snapshot container",
    summary: "Takes a snapshot of a container.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        NODE,
        VMID,
        NEW_LXC_SNAPNAME,
        DESCRIPTION,
        WAIT,
        WAIT_TIMEOUT,
    ],
    call: Call::Plain(
        Post,
        "/nodes/{node}/lxc/{vmid}/snapshot",
        Show::Action("Snapshot {snapname} of container {vmid}"),
    ),
};

pub(super) static CREATE_VM: Tool = Tool {
    title: "Snapshot VM",
    summary: "Takes a snapshot of a VM's disks, with vmstate of its memory too.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[
        NODE,
        VMID,
        NEW_VM_SNAPNAME,
        DESCRIPTION,
        VMSTATE,
        WAIT,
        WAIT_TIMEOUT,
    ],
    call: Call::Plain(
        Post,
        "/nodes/{node}/qemu/{vmid}/snapshot",
        Show::Action("Snapshot {snapname} of VM {vmid}"),
    ),
};

pub(super) static LIST_LXC: Tool = Tool {
    title: "List snapshots of a container",
    summary: "Lists the snapshots of a container, oldest first.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[NODE, VMID, LIMIT, OFFSET],
    call: Call::Steps(
        &["GET /nodes/{node}/lxc/{vmid}/snapshot"],
        |client, args| list(client, args, "/nodes/{node}/lxc/{vmid}/snapshot"),
    ),
};

pub(super) static LIST_VM: Tool = Tool {
    title: "List snapshots of a VM",
    summary: "Lists the snapshots of a VM, oldest first.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[NODE, VMID, LIMIT, OFFSET],
    call: Call::Steps(
        &["GET /nodes/{node}/qemu/{vmid}/snapshot"],
        |client, args| list(client, args, "/nodes/{node}/qemu/{vmid}/snapshot"),
    ),
};

fn list(client: &Client, args: &Args, path: &str) -> Result<Answer, Error> {
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
        answer::rows(client.send(&args.request(Get, path))?)
            .into_iter()
            .partition(|snapshot| snapshot["name"] == "current");
    let current = current.into_iter().next();
    let parent = current
        .as_ref()
        .map(|current| plain(&current["parent"]))
        .filter(|parent| !parent.is_empty());
    let note =
        parent.map(|parent| format!("The present state follows {}.", text::cut(&parent, 40)));
    let answer = SNAPSHOTS.answer(snapshots, args, note.as_slice());
    Ok(match current {
        Some(current) => answer.with("current", answer::seen("", current)),
        None => answer,
    })
}

pub(super) static ROLLBACK_LXC: Tool = Tool {
    title: "Roll back container",
    summary: "Stops a container and resets it to a snapshot: everything newer is lost.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[NODE, VMID, SNAPNAME, START, WAIT, WAIT_TIMEOUT],
    call: Call::Plain(
        Post,
        "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}/rollback",
        Show::Action("Roll back container {vmid} to {snapname}"),
    ),
};

pub(super) static ROLLBACK_VM: Tool = Tool {
    title: "Roll back VM",
    summary: "Stops a VM and resets it to a snapshot: everything newer is lost.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[NODE, VMID, SNAPNAME, START, WAIT, WAIT_TIMEOUT],
    call: Call::Plain(
        Post,
        "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}/rollback",
        Show::Action("Roll back VM {vmid} to {snapname}"),
    ),
};

pub(super) static DELETE_LXC: Tool = Tool {
    title: "Delete snapshot of a container",
    summary: "Deletes a snapshot of a container; its present state stays.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[NODE, VMID, SNAPNAME, FORCE, WAIT, WAIT_TIMEOUT],
    call: Call::Plain(
        Delete,
        "/nodes/{node}/lxc/{vmid}/snapshot/{snapname}",
        Show::Action("Delete snapshot {snapname} of container {vmid}"),
    ),
};

pub(super) static DELETE_VM: Tool = Tool {
    title: "Delete snapshot of a VM",
    summary: "Deletes a snapshot of a VM; its present state stays.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[NODE, VMID, SNAPNAME, FORCE, WAIT, WAIT_TIMEOUT],
    call: Call::Plain(
        Delete,
        "/nodes/{node}/qemu/{vmid}/snapshot/{snapname}",
        Show::Action("Delete snapshot {snapname} of VM {vmid}"),
    ),
};
