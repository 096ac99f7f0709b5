//! Nodes and cluster.

use serde_json::{Value, json};

use super::common::{NODE, changed_lines};
use crate::answer::{self, Answer, Column, Fields, LIMIT, OFFSET, Order, Table, plain};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::request::Method::Get;
use crate::row::{Step, needs};
use crate::safety::Client;
use crate::text;
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Show, Tool};

pub(super) static LIST: Tool = Tool {
    title: "List nodes",
    summary: "Lists the nodes of the cluster with state and load.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&LIMIT, &OFFSET],
    call: Call::Plain(Step::read("/nodes", &[]), Show::Table(&NODES)),
};

static NODES: Table = Table {
    name: "nodes",
    noun: ["node", "nodes"],
    columns: &[
        Column::text("node"),
        Column::text("status"),
        Column::share_of_cpus("cpu", "maxcpu"),
        Column::used_of("mem", "maxmem"),
        Column::used_of("disk", "maxdisk"),
        Column::duration("uptime"),
    ],
    sort: &[Order::Up("node")],
    count: Some("status"),
};

pub(super) static STATUS: Tool = Tool {
    title: "Node status",
    summary: "Elevated, unlike proxmox_get_nodes: shows load, memory, swap, root disk, uptime, kernel and version of a node.",
    permission: Permission::Elevated,
    effect: Effect::Reads,
    params: &[&NODE],
    call: Call::Steps(&[Step::read("/nodes/{node}/status", needs::NODE)], status),
};

fn status(client: &Client, args: &Args) -> Result<Answer, Error> {
    static FIELDS: Fields = Fields {
        heading: "Node {node}",
        columns: &[
            Column::text("pveversion"),
            Column::duration("uptime"),
            Column::share("cpu"),
            Column::share("wait"),
            Column::text("loadavg"),
            Column::usage("memory"),
            Column::usage("swap"),
            Column::usage("rootfs"),
            Column::parts("cpuinfo", &["model", "sockets", "cores", "cpus", "mhz"]),
        ],
        // Same as kversion.
        hidden: &["current-kernel", "idle"],
    };
    let node = client.send(&args.request(Get, "/nodes/{node}/status"))?;
    Ok(FIELDS.answer(node, args, &[]))
}

const NETWORK_TYPE: Param = Param::optional(
    "type",
    Kind::Choice(&[
        "bridge",
        "bond",
        "eth",
        "alias",
        "vlan",
        "fabric",
        "OVSBridge",
        "OVSBond",
        "OVSPort",
        "OVSIntPort",
        "vnet",
        "any_bridge",
        "any_local_bridge",
        "include_sdn",
    ]),
    "",
);

pub(super) static NETWORK: Tool = Tool {
    title: "List network interfaces",
    summary: "Lists the network interfaces of a node, including unapplied changes.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &NETWORK_TYPE, &LIMIT, &OFFSET],
    call: Call::Steps(&[Step::read("/nodes/{node}/network", &[])], network),
};

fn network(client: &Client, args: &Args) -> Result<Answer, Error> {
    static INTERFACES: Table = Table {
        name: "interfaces",
        noun: ["interface", "interfaces"],
        columns: &[
            Column::text("iface"),
            Column::text("type"),
            Column::flag("active"),
            Column::flag("autostart"),
            Column::text("method"),
            Column::text("cidr"),
            Column::text("gateway"),
            Column::text("cidr6"),
            Column::text("gateway6"),
            Column::text("bridge_ports"),
            Column::flag("bridge_vlan_aware"),
            Column::text("bridge_vids"),
            Column::text("slaves"),
            Column::text("bond_mode"),
            Column::text("bond-primary"),
            Column::text("bond_xmit_hash_policy"),
            Column::text("vlan-id"),
            Column::text("vlan-raw-device"),
            Column::text("ovs_bridge"),
            Column::text("ovs_ports"),
            Column::text("ovs_bonds"),
            Column::text("ovs_tag"),
            Column::text("ovs_options"),
            Column::text("mtu"),
            Column::text("comments"),
        ],
        sort: &[Order::Up("iface")],
        count: Some("type"),
    };
    let mut reply = client.answer(&args.whole_request(Get, "/nodes/{node}/network"))?;
    let rows = answer::rows(answer::take(&mut reply, "data"));
    let changes = reply["changes"].as_str().unwrap_or_default();
    let notes = (!changes.is_empty()).then(|| {
        "The list includes the unapplied changes below, which take effect when the configuration is applied or the node restarts."
            .to_owned()
    });
    let answer = INTERFACES.answer(rows, args, notes.as_slice());
    Ok(answer
        .foreign_lines(&changed_lines(changes), 1_500)
        .with_reply_fields(reply))
}

pub(super) static DNS: Tool = Tool {
    title: "Node DNS settings",
    summary: "Shows the search domain and DNS servers of a node.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE],
    call: Call::Plain(
        Step::read("/nodes/{node}/dns", needs::NODE),
        Show::Fields(&Fields {
            heading: "DNS of node {node}",
            columns: &[],
            hidden: &[],
        }),
    ),
};

const IFACE: Param = Param::required("iface", Kind::Format(&format::INTERFACE), "");

pub(super) static INTERFACE: Tool = Tool {
    title: "Network interface",
    summary: "Shows the settings of one network interface of a node.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &IFACE],
    call: Call::Plain(
        Step::read("/nodes/{node}/network/{iface}", needs::NODE),
        Show::Fields(&Fields {
            heading: "Interface {iface} of node {node}",
            columns: &[
                Column::text("type"),
                Column::flag("active"),
                Column::flag("autostart"),
            ],
            hidden: &["priority"],
        }),
    ),
};

pub(super) static CLUSTER_STATUS: Tool = Tool {
    title: "Cluster status",
    summary: "Shows the cluster's name and quorum, and its members with address, state and load.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[],
    call: Call::Steps(
        &[
            Step::read("/cluster/status", needs::ALL_NODES),
            Step::read("/nodes", &[]),
        ],
        cluster_status,
    ),
};

fn cluster_status(client: &Client, args: &Args) -> Result<Answer, Error> {
    static MEMBERS: Table = Table {
        name: "nodes",
        noun: ["node", "nodes"],
        columns: &[
            Column::text("name"),
            Column::flag("online"),
            Column::flag("local"),
            Column::text("ip"),
            Column::text("nodeid"),
            Column::share_of_cpus("cpu", "maxcpu"),
            Column::used_of("mem", "maxmem"),
            Column::used_of("disk", "maxdisk"),
            Column::duration("uptime"),
        ],
        sort: &[Order::Up("name")],
        count: None,
    };
    let status = answer::rows(client.get("/cluster/status")?);
    let load = client.get("/nodes").map(answer::rows).unwrap_or_default();
    let (mut members, mut cluster) = (Vec::new(), None);
    for mut row in status {
        if row["type"] == "cluster" {
            cluster = Some(row);
            continue;
        }
        if let Some(load) = load.iter().find(|load| load["node"] == row["name"]) {
            for (key, value) in load.as_object().into_iter().flatten() {
                // Already there under another name.
                if row[key].is_null() && key != "node" {
                    row[key] = value.clone();
                }
            }
        }
        members.push(row);
    }
    let offline = members
        .iter()
        .filter(|member| plain(&member["online"]) == "0")
        .count();
    let first = match &cluster {
        None => "Stand-alone node, no cluster".to_owned(),
        Some(cluster) => format!(
            "Cluster {}: {}, {offline} offline",
            plain(&cluster["name"]),
            if plain(&cluster["quorate"]) == "1" {
                "quorate"
            } else {
                "NOT quorate: changes are refused"
            },
        ),
    };
    let members = MEMBERS.answer(members, args, &[]);
    let mut answer = Answer {
        text: format!("{first}\n{}", members.text),
        ..members
    };
    if let Some(cluster) = cluster {
        answer = answer.with("cluster", cluster);
    }
    Ok(answer)
}

const WANTED: Param = Param::optional(
    "vmid",
    Kind::Integer(100, 999_999_999),
    "Check whether this VMID is free.",
);

pub(super) static NEXT_VMID: Tool = Tool {
    title: "Next free VMID",
    summary: "Returns the lowest free VMID, or checks whether a given one is free.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&WANTED],
    call: Call::Steps(&[Step::read("/cluster/nextid", &[])], next_vmid),
};

fn next_vmid(client: &Client, args: &Args) -> Result<Answer, Error> {
    let (vmid, free) = match client.send(&args.whole_request(Get, "/cluster/nextid")) {
        Ok(data) => (plain(&data), true),
        Err(error) if error.says("already exists") => (args[&WANTED].to_owned(), false),
        Err(error) => return Err(error),
    };
    let text = match free {
        true => format!("{} is free", text::opening(&vmid)),
        false => format!("{vmid} is taken"),
    };
    let number = vmid.parse::<u64>().map_or(Value::Null, Value::from);
    let data = json!({ "vmid": number, "free": free });
    Ok(Answer::of(text, data))
}
