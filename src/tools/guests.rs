//! Guest queries, and the storages they lie on.

use serde_json::Value;

use super::common::{GUEST_TYPE, NODE, VMID, resources};
use crate::answer::{self, Answer, Column, Fields, LIMIT, OFFSET, Order, Table, number, plain};
use crate::error::Error;
use crate::format;
use crate::param::{Args, Kind, Param};
use crate::pve::client::Client;
use crate::pve::request::Method::Get;
use crate::tool::{Call, Effect, Permission, Tool};

const OF_NODE: Param = Param::optional("node", Kind::Format(&format::NODE), "");
const OF_TYPE: Param = Param::optional("type", Kind::Choice(&["qemu", "lxc"]), "");
const OF_STATUS: Param = Param::optional("status", Kind::Choice(&["running", "stopped"]), "");
const OF_POOL: Param = Param::optional("pool", Kind::Format(&format::POOL), "");
const OF_TAG: Param = Param::optional("tag", Kind::Text(1, 128), "");

pub(super) static LIST: Tool = Tool {
    title: "List guests",
    summary: "Lists VMs (qemu) and containers (lxc) of the whole cluster with VMID, node, state and load. Start here to find a guest.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[OF_NODE, OF_TYPE, OF_STATUS, OF_POOL, OF_TAG, LIMIT, OFFSET],
    call: Call::Steps(&["GET /cluster/resources"], list),
};

fn list(client: &Client, args: &Args) -> Result<Answer, Error> {
    static GUESTS: Table = Table {
        name: "guests",
        noun: ["guest", "guests"],
        columns: &[
            Column::number("vmid"),
            Column::text("name"),
            Column::text("type"),
            Column::text("node"),
            Column::text("status"),
            Column::share("cpu"),
            Column::text("maxcpu"),
            Column::used_of("mem", "maxmem"),
            Column::used_of("disk", "maxdisk"),
            Column::duration("uptime"),
            Column::text("tags"),
            Column::text("pool"),
            Column::text("lock"),
            Column::text("hastate"),
            Column::flag("template"),
        ],
        sort: &[Order::Up("vmid")],
        count: Some("status"),
    };
    let mut guests = resources(client, "vm")?;
    for (param, key) in [
        (OF_NODE, "node"),
        (OF_TYPE, "type"),
        (OF_STATUS, "status"),
        (OF_POOL, "pool"),
    ] {
        if let Some(wanted) = args.get(&param) {
            guests.retain(|guest| guest[key] == wanted);
        }
    }
    if let Some(wanted) = args.get(&OF_TAG) {
        guests.retain(|guest| {
            let tags = guest["tags"].as_str().unwrap_or_default();
            tags.split([';', ',', ' '])
                .any(|tag| tag.eq_ignore_ascii_case(wanted))
        });
    }
    for guest in &mut guests {
        // Proxmox does not know how full the disks of a VM are and sends 0; what a stopped guest
        // uses is no news either.
        leave_out_zero(guest, &["uptime", "template"]);
        if guest["type"] == "qemu" {
            leave_out_zero(guest, &["disk"]);
        }
        if guest["status"] != "running" {
            leave_out_zero(guest, &["cpu", "mem", "disk"]);
        }
    }
    let none = guests.is_empty().then(|| {
        "Guests for which the token lacks VM.Audit are left out without a word.".to_owned()
    });
    Ok(GUESTS.answer(guests, args, none.as_slice()))
}

fn leave_out_zero(object: &mut Value, keys: &[&str]) {
    for key in keys {
        if number(&object[*key]) == Some(0.0) {
            object[*key] = Value::Null;
        }
    }
}

pub(super) static STATUS: Tool = Tool {
    title: "Guest status",
    summary: "Shows the current state and load of one VM or container.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[NODE, VMID, GUEST_TYPE],
    call: Call::Steps(&["GET /nodes/{node}/{type}/{vmid}/status/current"], status),
};

fn status(client: &Client, args: &Args) -> Result<Answer, Error> {
    static FIELDS: Fields = Fields {
        heading: "{type} {vmid} on {node}",
        columns: &[
            Column::text("name"),
            Column::text("status"),
            Column::text("qmpstatus"),
            Column::text("lock"),
            Column::duration("uptime"),
            Column::share("cpu"),
            Column::text("cpus"),
            Column::used_of("mem", "maxmem"),
            Column::bytes("freemem"),
            Column::bytes("balloon"),
            Column::bytes("balloon_min"),
            Column::bytes("memhost"),
            Column::used_of("swap", "maxswap"),
            Column::used_of("disk", "maxdisk"),
            Column::bytes("diskread"),
            Column::bytes("diskwrite"),
            Column::bytes("netin"),
            Column::bytes("netout"),
        ],
        hidden: &[
            "ballooninfo",
            "blockstat",
            "nics",
            "proxmox-support",
            "vmid",
            "type",
        ],
    };
    let path = "/nodes/{node}/{type}/{vmid}/status/current";
    let mut status = client.send(&args.request(Get, path))?;
    if &args[&GUEST_TYPE] == "qemu" {
        leave_out_zero(&mut status, &["disk"]);
    }
    Ok(FIELDS.answer(status, args, &[]))
}

const CURRENT: Param = Param::optional("current", Kind::Flag, "Without pending changes.");
const OF_SNAPSHOT: Param = Param::optional("snapshot", Kind::Format(&format::SNAPSHOT), "");

pub(super) static VM_CONFIG: Tool = Tool {
    title: "VM configuration",
    summary: "Shows hardware and options of a VM, pending changes included, or of a snapshot.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[NODE, VMID, CURRENT, OF_SNAPSHOT],
    call: Call::Steps(&["GET /nodes/{node}/qemu/{vmid}/config"], |client, args| {
        config(
            client,
            args,
            "/nodes/{node}/qemu/{vmid}/config",
            "VM {vmid} on {node}",
        )
    }),
};

pub(super) static LXC_CONFIG: Tool = Tool {
    title: "Container configuration",
    summary: "Shows hardware and options of a container, pending changes included, or of a snapshot.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[NODE, VMID, CURRENT, OF_SNAPSHOT],
    call: Call::Steps(&["GET /nodes/{node}/lxc/{vmid}/config"], |client, args| {
        config(
            client,
            args,
            "/nodes/{node}/lxc/{vmid}/config",
            "Container {vmid} on {node}",
        )
    }),
};

fn config(
    client: &Client,
    args: &Args,
    path: &str,
    heading: &'static str,
) -> Result<Answer, Error> {
    if args.flag(&CURRENT) && args.get(&OF_SNAPSHOT).is_some() {
        return Err(Error::Arguments(vec![
            "current and snapshot exclude each other".to_owned(),
        ]));
    }
    let fields = Fields {
        heading,
        columns: &[],
        hidden: &[],
    };
    Ok(fields.answer(client.send(&args.whole_request(Get, path))?, args, &[]))
}

pub(super) static STORAGE: Tool = Tool {
    title: "List storages",
    summary: "Lists the storages of the cluster, or those of one node, with type, content and usage.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[OF_NODE, LIMIT, OFFSET],
    call: Call::Steps(
        &[
            "GET /nodes/{node}/storage",
            "GET /storage",
            "GET /cluster/resources",
        ],
        storage,
    ),
};

fn storage(client: &Client, args: &Args) -> Result<Answer, Error> {
    static OF_NODE_TABLE: Table = Table {
        name: "storages",
        noun: ["storage", "storages"],
        columns: &[
            Column::text("storage"),
            Column::text("type"),
            Column::text("content"),
            Column::flag("active"),
            Column::flag("enabled"),
            Column::flag("shared"),
            Column::used_of("used", "total"),
            Column::bytes("avail"),
        ],
        sort: &[Order::Up("storage")],
        count: None,
    };
    static OF_CLUSTER_TABLE: Table = Table {
        name: "storages",
        noun: [
            "storage",
            "storages, those that are not shared counted once for each node",
        ],
        columns: &[
            Column::text("storage"),
            Column::text("node"),
            Column::text("type"),
            Column::text("content"),
            Column::text("status"),
            Column::flag("shared"),
            Column::used_of("disk", "maxdisk"),
            Column::text("path"),
            Column::text("server"),
            Column::text("export"),
            Column::text("nodes"),
            Column::text("prune-backups"),
        ],
        sort: &[Order::Up("storage"), Order::Up("node")],
        count: None,
    };
    if args.get(&OF_NODE).is_some() {
        let rows = answer::rows(client.send(&args.request(Get, "/nodes/{node}/storage"))?);
        return Ok(OF_NODE_TABLE.answer(rows, args, &[]));
    }
    let configured = answer::rows(client.get("/storage")?);
    let usages = resources(client, "storage")?;
    let mut rows = Vec::new();
    for storage in configured {
        let shared = plain(&storage["shared"]) == "1";
        let mut of_nodes: Vec<&Value> = usages
            .iter()
            .filter(|usage| usage["storage"] == storage["storage"])
            .collect();
        // A shared storage is the same on every node: shown once, by a node that reaches it.
        of_nodes.sort_by_key(|usage| (usage["status"] != "available", plain(&usage["node"])));
        if shared {
            of_nodes.truncate(1);
        }
        for usage in &of_nodes {
            let mut row = storage.clone();
            for key in ["status", "disk", "maxdisk"] {
                row[key] = usage[key].clone();
            }
            row["node"] = if shared {
                "(shared)".into()
            } else {
                usage["node"].clone()
            };
            rows.push(row);
        }
        if of_nodes.is_empty() {
            rows.push(storage);
        }
    }
    Ok(OF_CLUSTER_TABLE.answer(rows, args, &[]))
}
