//! Physical disks of nodes: list, SMART, LVM, ZFS.

use serde_json::Value;

use super::common::NODE;
use crate::answer::{self, Answer, Column, Fields, LIMIT, OFFSET, Order, Table, plain};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::request::Login;
use crate::request::Method::Get;
use crate::row::{Choice, Place, Scope, Step, Touches, needs, put};
use crate::safety::Client;
use crate::text;
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Show, Tool};

/// `wearout` begins at 100 and counts down (`PVE/Diskmanage.pm`).
const LIFE_LEFT: &str = "life left {}%";

const DISK_TYPE: Param = Param::optional("type", Kind::Choice(&["unused", "journal_disks"]), "");
const PARTITIONS: Param =
    Param::optional("include_partitions", Kind::Flag, "").sent_as("include-partitions");
const SKIP_SMART: Param = Param::optional("skipsmart", Kind::Flag, "Skip health; faster.");

pub(super) static LIST: Tool = Tool {
    title: "List disks",
    summary: "Lists the disks of a node with size, use and health.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &DISK_TYPE, &PARTITIONS, &SKIP_SMART, &LIMIT, &OFFSET],
    call: Call::Plain(
        Step::read(
            "/nodes/{node}/disks/list",
            &["/:Sys.Audit or /nodes/{node}:Sys.Audit"],
        ),
        Show::Table(&Table {
            name: "disks",
            noun: ["disk", "disks"],
            columns: &[
                Column::text("devpath"),
                Column::text("type"),
                Column::bytes("size"),
                Column::text("used"),
                Column::text("mounted"),
                Column::text("health"),
                Column::number("wearout").worded(LIFE_LEFT),
                Column::text("model"),
                Column::text("serial"),
                Column::text("parent"),
            ],
            sort: &[Order::Up("devpath")],
            count: None,
        }),
    ),
};

const DISK: Param = Param::required("disk", Kind::Format(&format::DEVICE), "Such as /dev/sda.");
const HEALTH_ONLY: Param = Param::optional("healthonly", Kind::Flag, "");

pub(super) static SMART: Tool = Tool {
    title: "Disk SMART data",
    summary: "Shows health, wear and SMART values of a disk.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &DISK, &HEALTH_ONLY],
    call: Call::Steps(
        &[Step::read("/nodes/{node}/disks/smart", needs::ALL_NODES)],
        smart,
    ),
};

/// Its partitions hold what guests have, wherever Proxmox does not see that they are in use.
pub(super) static WIPE: Tool = Tool {
    title: "Wipe disk",
    summary: "Erases a disk of a node that is not in use, for good. Needs the login of root@pam.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::Only(Scope {
            name: "",
            noun: "node {node}",
            path: "/nodes/{node}/disks",
            reads: &[],
            changes: &[],
            touches: Touches::AnyGuest,
            versions: Versions::ALL,
        }),
        does: "wipe {disk} of {place}",
        rows: &[put("", "/wipedisk", &[&DISK, &WAIT, &WAIT_TIMEOUT])
            .destroys("Everything on it is lost for good.")
            .reads_entry("/list", "devpath", &DISK)
            .starts_task()
            .needs_login(Login::Root)],
    }),
};

fn smart(client: &Client, args: &Args) -> Result<Answer, Error> {
    static SUMMARY: Fields = Fields {
        heading: "Disk {disk} of node {node}",
        columns: &[
            Column::text("health"),
            Column::number("wearout").worded(LIFE_LEFT),
            Column::text("type"),
        ],
        hidden: &[],
    };
    static ATTRIBUTES: Table = Table {
        name: "attributes",
        noun: ["attribute", "attributes"],
        columns: &[
            Column::number("id"),
            Column::text("name"),
            Column::number("value"),
            Column::number("worst"),
            Column::number("threshold"),
            Column::text("fail"),
            Column::text("raw"),
        ],
        sort: &[Order::Up("id")],
        count: None,
    };
    let mut smart = client.send(&args.whole_request(Get, "/nodes/{node}/disks/smart"))?;
    let attributes = answer::rows(answer::take(&mut smart, "attributes"));
    let report = answer::take(&mut smart, "text");
    let mut answer = SUMMARY.answer(smart, args, &[]);
    if let Some(report) = report.as_str() {
        let lines: Vec<&str> = report
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        answer = answer
            .foreign_lines(&lines, text::BUDGET / 2)
            .with("text", text::cut(report, text::BUDGET));
    }
    if !attributes.is_empty() {
        let scale = "For value, worst and threshold, lower is worse; raw is the measured value.";
        let table = ATTRIBUTES.answer(attributes, args, &[scale.to_owned()]);
        let rows = table.data["attributes"].clone();
        answer = answer.line(table.text).with("attributes", rows);
    }
    Ok(answer)
}

pub(super) static LVM: Tool = Tool {
    title: "List LVM volume groups",
    summary: "Lists the LVM volume groups of a node with their physical volumes.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &LIMIT, &OFFSET],
    call: Call::Steps(
        &[Step::read("/nodes/{node}/disks/lvm", needs::ALL_NODES)],
        lvm,
    ),
};

fn lvm(client: &Client, args: &Args) -> Result<Answer, Error> {
    static GROUPS: Table = Table {
        name: "volume_groups",
        noun: ["volume group", "volume groups"],
        columns: &[
            Column::text("name"),
            Column::bytes("size"),
            Column::bytes("free"),
            Column::number("lvcount"),
            Column::text("physical_volumes"),
        ],
        sort: &[Order::Up("name")],
        count: None,
    };
    let mut tree = client.send(&args.request(Get, "/nodes/{node}/disks/lvm"))?;
    let mut groups = answer::rows(answer::take(&mut tree, "children"));
    for group in &mut groups {
        let volumes = answer::rows(group["children"].clone());
        let names: Vec<String> = volumes
            .iter()
            .map(|volume| plain(&volume["name"]))
            .collect();
        group["physical_volumes"] = Value::from(names);
    }
    Ok(GROUPS.answer(groups, args, &[]))
}

pub(super) static ZFS: Tool = Tool {
    title: "List ZFS pools",
    summary: "Lists the ZFS pools of a node with size, use and health.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &LIMIT, &OFFSET],
    call: Call::Plain(
        Step::read("/nodes/{node}/disks/zfs", needs::ALL_NODES),
        Show::Table(&Table {
            name: "pools",
            noun: ["ZFS pool", "pools"],
            columns: &[
                Column::text("name"),
                Column::text("health"),
                Column::bytes("size"),
                Column::bytes("alloc"),
                Column::bytes("free"),
                Column::number("frag").worded("{}%"),
                Column::number("dedup").worded("{}x"),
            ],
            sort: &[Order::Up("name")],
            count: Some("health"),
        }),
    ),
};
