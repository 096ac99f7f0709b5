//! The network configuration of a node. What is changed waits in a file of its own until it is applied, or the node
//! restarts.

use std::net::IpAddr;

use serde_json::Value;

use super::common::{NODE, changed_lines};
use crate::answer::{self, Answer, plain};
use crate::cluster::tasks::WAIT_TIMEOUT;
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::Method::Get;
use crate::row::{Choice, First, Place, Scope, Step, Touches, delete, post, put};
use crate::text;
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Tool};

const OF_NODE: Scope = Scope {
    name: "",
    noun: "",
    path: "/nodes/{node}/network",
    reads: &["/nodes/{node}:Sys.Audit"],
    changes: &["/nodes/{node}:Sys.Modify"],
    touches: Touches::AnyGuest,
    versions: Versions::ALL,
};

const ACTION: Param = Param::required("action", Kind::Choice(&["create", "update", "delete"]), "");
const IFACE: Param = Param::required("iface", Kind::Format(&format::INTERFACE), "");
const TYPES: Kind = Kind::Choice(&[
    "bridge",
    "bond",
    "eth",
    "alias",
    "vlan",
    "OVSBridge",
    "OVSBond",
    "OVSPort",
    "OVSIntPort",
]);
const NEW_TYPE: Param = Param::by_request("type", TYPES, "");
const TYPE: Param = Param::optional("type", TYPES, "");
const CIDR: Param = Param::optional("cidr", Kind::Format(&format::NETWORK), "");
const CIDR6: Param = Param::optional("cidr6", Kind::Format(&format::NETWORK), "");
const GATEWAY: Param = Param::optional("gateway", Kind::Format(&format::IPV4), "");
const GATEWAY6: Param = Param::optional("gateway6", Kind::Format(&format::IPV6), "");
const AUTOSTART: Param = Param::optional("autostart", Kind::Flag, "");
const COMMENTS: Param = Param::optional("comments", Kind::Text(1, 4_096), "");
const MTU: Param = Param::optional("mtu", Kind::Integer(1_280, 65_520), "");
const BRIDGE_PORTS: Param = Param::optional("bridge_ports", Kind::Text(1, 512), "");
const BRIDGE_VLAN_AWARE: Param = Param::optional("bridge_vlan_aware", Kind::Flag, "");
const BRIDGE_VIDS: Param =
    Param::optional("bridge_vids", Kind::Text(1, 512), "").known_to(Versions::since(8));
const SLAVES: Param = Param::optional("slaves", Kind::Text(1, 512), "");
const BOND_MODE: Param = Param::optional(
    "bond_mode",
    Kind::Choice(&[
        "balance-rr",
        "active-backup",
        "balance-xor",
        "broadcast",
        "802.3ad",
        "balance-tlb",
        "balance-alb",
        "balance-slb",
        "lacp-balance-slb",
        "lacp-balance-tcp",
    ]),
    "",
);
const BOND_PRIMARY: Param =
    Param::optional("bond_primary", Kind::Format(&format::INTERFACE), "").sent_as("bond-primary");
const BOND_XMIT_HASH_POLICY: Param = Param::optional(
    "bond_xmit_hash_policy",
    Kind::Choice(&["layer2", "layer2+3", "layer3+4"]),
    "",
);
const VLAN_ID: Param = Param::optional("vlan_id", Kind::Integer(1, 4_094), "").sent_as("vlan-id");
const VLAN_RAW_DEVICE: Param =
    Param::optional("vlan_raw_device", Kind::Format(&format::INTERFACE), "")
        .sent_as("vlan-raw-device");
const OVS_BRIDGE: Param = Param::optional("ovs_bridge", Kind::Format(&format::INTERFACE), "");
const OVS_PORTS: Param = Param::optional("ovs_ports", Kind::Text(1, 512), "");
const OVS_BONDS: Param = Param::optional("ovs_bonds", Kind::Text(1, 512), "");
const OVS_TAG: Param = Param::optional("ovs_tag", Kind::Integer(1, 4_094), "");
const OVS_OPTIONS: Param = Param::optional("ovs_options", Kind::Text(1, 1_024), "");
const UNSET: Param = Param::optional("delete", Kind::List, "Options to clear.").joined();

/// What creating and changing take: the same, after and before what only one of them does.
macro_rules! options {
    ([$($first:ident),*], [$($last:ident),*]) => {
        &[
            $(&$first,)* &CIDR, &GATEWAY, &CIDR6, &GATEWAY6, &AUTOSTART, &COMMENTS, &MTU, &BRIDGE_PORTS,
            &BRIDGE_VLAN_AWARE, &BRIDGE_VIDS, &SLAVES, &BOND_MODE, &BOND_PRIMARY,
            &BOND_XMIT_HASH_POLICY, &VLAN_ID, &VLAN_RAW_DEVICE, &OVS_BRIDGE, &OVS_PORTS, &OVS_BONDS,
            &OVS_TAG, &OVS_OPTIONS, $(&$last),*
        ]
    };
}

const LISTED: &[Step] = &[Step::read("/nodes/{node}/network", &[])];
const LATER: &str = "It takes effect when the network is applied, or the node restarts.";

pub(super) static MANAGE: Tool = Tool {
    title: "Manage node network",
    summary: "Manages an interface of a node. Pending until proxmox_apply_node_network.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &ACTION, &IFACE],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(OF_NODE),
        does: "{action} interface {iface} of node {node}",
        rows: &[
            post("create", "", options!([IFACE, NEW_TYPE], []))
                .interrupts(LATER)
                .also_reads(LISTED)
                .checks(addresses)
                .says("pending", waits),
            // Without them Proxmox takes it for one that has no address.
            put("update", "/{iface}", options!([TYPE], [UNSET]))
                .interrupts(LATER)
                .keeps(&[&TYPE, &CIDR, &CIDR6])
                .also_reads(LISTED)
                .checks(change)
                .says("pending", waits),
            delete("delete", "/{iface}", &[])
                .interrupts(LATER)
                .also_reads(LISTED)
                .checks(removal)
                .says("pending", waits),
        ],
    }),
};

fn waits(_: &Args, _: &Value) -> Vec<String> {
    vec![
        "Saved, not applied: proxmox_apply_node_network applies all that is pending, as does a restart of the node."
            .to_owned(),
    ]
}

fn interfaces(client: &Reader, args: &Args) -> Result<Vec<Value>, Error> {
    let request = args.request(Get, OF_NODE.path);
    client.send(&request).map(answer::rows)
}

/// The addresses of an interface, without their prefixes.
fn addresses_of(interface: &Value) -> impl Iterator<Item = IpAddr> {
    let values = ["cidr", "cidr6", "address", "address6"];
    let values = values.map(|key| interface[key].as_str().unwrap_or_default());
    let bare = values.map(|value| value.split('/').next().and_then(|bare| bare.parse().ok()));
    bare.into_iter().flatten()
}

/// Refuses an address that another interface has: Proxmox takes it, and both are then out of reach.
fn addresses(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let given = [&CIDR, &CIDR6].map(|param| args[param].split('/').next().unwrap_or_default());
    let given: Vec<IpAddr> = given.iter().filter_map(|bare| bare.parse().ok()).collect();
    if given.is_empty() {
        return Ok(Vec::new());
    }
    let interfaces = interfaces(client, args)?;
    let mut others = interfaces
        .iter()
        .filter(|other| other["iface"] != args[&IFACE]);
    let same = |other: &&Value| addresses_of(other).find(|address| given.contains(address));
    match others.find_map(|other| Some((other, same(&other)?))) {
        None => Ok(Vec::new()),
        Some((other, address)) => Err(Error::impossible(
            format!(
                "{address} is the address of {}, nothing was done",
                plain(&other["iface"])
            ),
            "Two interfaces with one address cut the node off. Give another, or change that interface first.",
        )),
    }
}

fn change(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    if let Some(given) = args.get(&TYPE)
        && was["type"] != *given
    {
        return Err(Error::impossible(
            format!(
                "{} is of type {}, nothing was done",
                &args[&IFACE],
                plain(&was["type"])
            ),
            "Proxmox would mix the options of both types. Delete it, then create it with the other type.",
        ));
    }
    for (method, family, given) in [("method", "IPv4", &CIDR), ("method6", "IPv6", &CIDR6)] {
        let configured = plain(&was[method]);
        if ["dhcp", "auto"].contains(&&*configured) && args.get(given).is_none() {
            return Err(Error::impossible(
                format!(
                    "{} gets its {family} address by {configured}, nothing was done",
                    &args[&IFACE]
                ),
                format!(
                    "Any change through the API takes that away. Give {}, or edit /etc/network/interfaces on the node.",
                    given.name
                ),
            ));
        }
    }
    addresses(client, args, was)?;
    Ok(carrier(client, args)?.into_iter().collect())
}

fn removal(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    let own = client.own_addresses().map(|(_, host)| host.ip());
    if let Some(own) = own.filter(|own| addresses_of(was).any(|address| address == *own)) {
        return Err(Error::impossible(
            format!(
                "{} has the address that this program connects to, nothing was done",
                &args[&IFACE]
            ),
            format!(
                "{own} and all that is reached by it would be lost. Give another interface the address first, or delete it on the node."
            ),
        ));
    }
    Ok(carrier(client, args)?.into_iter().collect())
}

/// Says if the connection of this program depends on the interface: on its address, or on what another with the
/// address is made of.
fn carrier(client: &Reader, args: &Args) -> Result<Option<String>, Error> {
    let Some((_, host)) = client.own_addresses() else {
        return Ok(None);
    };
    let interfaces = interfaces(client, args)?;
    let find = |name: &str| interfaces.iter().find(|other| other["iface"] == *name);
    let has_address = |other: &&Value| addresses_of(other).any(|address| address == host.ip());
    let Some(own) = interfaces.iter().find(has_address) else {
        return Ok(None);
    };
    let mut names = vec![plain(&own["iface"])];
    let mut at = 0;
    while let Some(name) = names.get(at).cloned() {
        let below = find(&name).map(parts_of).unwrap_or_default();
        let vlan = name.split_once('.').map(|(device, _)| device.to_owned());
        for part in below.into_iter().chain(vlan) {
            if !names.contains(&part) {
                names.push(part);
            }
        }
        at += 1;
    }
    Ok(names.iter().any(|name| **name == args[&IFACE]).then(|| {
        format!(
            "This program connects to {}, the address of {}, which depends on it: the connection can be lost.",
            host.ip(),
            names[0]
        )
    }))
}

/// The interfaces that one is made of.
fn parts_of(interface: &Value) -> Vec<String> {
    let keys = [
        "bridge_ports",
        "slaves",
        "vlan-raw-device",
        "ovs_ports",
        "ovs_bonds",
    ];
    let values = keys.map(|key| interface[key].as_str().unwrap_or_default());
    let names = values.iter().flat_map(|value| value.split([' ', ',']));
    let names = names.filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

const APPLY_ACTION: Param = Param::required("action", Kind::Choice(&["apply", "revert"]), "");
const REGENERATE_FRR: Param = Param::optional("regenerate_frr", Kind::Flag, "")
    .sent_as("regenerate-frr")
    .known_to(Versions::since(9));

pub(super) static APPLY: Tool = Tool {
    title: "Apply node network",
    summary: "Applies the pending network configuration of a node and shows what came of it, or discards it.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&NODE, &APPLY_ACTION],
    call: Call::Choice(&Choice {
        by: &[&APPLY_ACTION],
        place: Place::Only(OF_NODE),
        does: "{action} the pending network configuration of node {node}",
        rows: &[
            put("apply", "", &[&REGENERATE_FRR, &WAIT_TIMEOUT])
                .interrupts("Its guests, its part in the cluster and this program can be cut off.")
                .reads(First::Nothing)
                .also_reads(LISTED)
                .checks(pending)
                .starts_task()
                .waits()
                .then(applied),
            delete("revert", "", &[])
                .interrupts("These changes are lost.")
                .reads(First::Nothing)
                .touches(Touches::NoGuest)
                .also_reads(LISTED)
                .checks(pending),
        ],
    }),
};

/// The most lines of what is pending that are shown.
const DIFF_LINES: usize = 40;

/// Shows what is pending.
fn pending(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let listed = client.answer(&args.request(Get, OF_NODE.path))?;
    let diff = listed["changes"].as_str().unwrap_or_default();
    let changed = changed_lines(diff);
    if changed.is_empty() {
        return Ok(vec!["Nothing is pending.".to_owned()]);
    }
    let shown = changed.iter().take(DIFF_LINES);
    let shown = shown.map(|line| format!("| {}", text::cut(&text::inline(line), 200)));
    let mut lines: Vec<String> = shown.collect();
    if changed.len() > DIFF_LINES {
        lines.push(format!("and {} lines more", changed.len() - DIFF_LINES));
    }
    Ok(lines)
}

/// Looks at whether all that starts by itself is up.
fn applied(client: &Reader, args: &Args, answer: Answer) -> Answer {
    let Ok(listed) = client.answer(&args.request(Get, OF_NODE.path)) else {
        return answer.line("What came of it could not be read.");
    };
    let interfaces = answer::rows(listed["data"].clone());
    let starts = |interface: &&Value| plain(&interface["autostart"]) == "1";
    let is_down = |interface: &&Value| plain(&interface["active"]) != "1";
    let down = interfaces.iter().filter(starts).filter(is_down);
    let down: Vec<String> = down.map(|interface| plain(&interface["iface"])).collect();
    let answer = match listed["changes"].as_str() {
        Some(_) => answer.line("Changes are still pending: it was not applied."),
        None => answer,
    };
    match down.is_empty() {
        true => answer.line("All interfaces that start by themselves are up."),
        false => answer
            .line(format!("NOT up: {}", down.join(", ")))
            .with("down", down),
    }
}
