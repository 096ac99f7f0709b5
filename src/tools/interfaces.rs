//! The network interfaces that guests have, with their addresses: of a VM as its guest agent reports them, of a
//! container as its node does.

use serde_json::{Value, json};

use super::common::Guest;
use super::guest::{GUESTS, NODE, OF_GUEST, TYPE};
use crate::answer::{self, Answer, Column, LIMIT, OFFSET, Table, plain};
use crate::cluster::guests::{find_several, resource, unseen};
use crate::error::{Error, ErrorKind};
use crate::param::{Args, Versions};
use crate::request::{Method::Get, Request};
use crate::row::{Step, needs};
use crate::safety::Client;
use crate::text;
use crate::tool::{Call, Effect, Permission, Tool, check_version};

pub(super) static INTERFACES: Tool = Tool {
    title: "Guest addresses",
    summary: "Lists the IP addresses of running VMs (through their guest agents) and containers, by interface.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &OF_GUEST, &TYPE, &GUESTS, &LIMIT, &OFFSET],
    call: Call::Steps(
        &[
            Step::read(OF_VM, needs::AGENT_READ),
            Step::read(OF_CONTAINER, needs::AUDIT).known_to(SINCE),
        ],
        interfaces,
    ),
};

const OF_VM: &str = "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces";
const OF_CONTAINER: &str = "/nodes/{node}/lxc/{vmid}/interfaces";

/// The versions that tell the addresses of containers.
const SINCE: Versions = Versions::since(8);

fn interfaces(client: &Client, args: &Args) -> Result<Answer, Error> {
    static ADDRESSES: Table = Table {
        name: "interfaces",
        noun: ["interface with addresses", "interfaces with addresses"],
        columns: &[
            Column::number("vmid"),
            Column::text("name"),
            Column::text("interface"),
            Column::text("addresses"),
            Column::text("mac"),
        ],
        sort: &[],
        count: None,
    };
    let guests = match (args.get(&OF_GUEST), args.list(&GUESTS)) {
        (Some(vmid), []) => vec![named(client, args, vmid)?],
        (None, wanted @ [_, ..]) => several(client, args, wanted)?,
        _ => {
            let problem = "give either vmid or guests".to_owned();
            return Err(Error::arguments(vec![problem]));
        }
    };
    let mut rows = Vec::new();
    let mut notes = Vec::new();
    for guest in &guests {
        match of_guest(client, guest) {
            Ok(of_guest) => {
                let bare: Vec<String> = of_guest
                    .iter()
                    .filter(|row| !has_addresses(row) && row["interface"] != "lo")
                    .map(|row| plain(&row["interface"]))
                    .collect();
                if !bare.is_empty() {
                    let listed = text::cut(&bare.join(", "), 200);
                    notes.push(format!(
                        "{}: without addresses: {listed}",
                        plain(&guest["vmid"])
                    ));
                }
                rows.extend(of_guest.into_iter().filter(has_addresses));
            }
            // Of several, one that has none to tell does not keep the others from it.
            Err(error) if guests.len() > 1 && is_of_guest(&error) => {
                notes.push(format!("{}: {}", plain(&guest["vmid"]), error.brief()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ADDRESSES.answer(rows, args, &notes))
}

/// Whether a failure says nothing of other guests.
fn is_of_guest(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Refused(_) | ErrorKind::Impossible)
}

/// Whether the outside can reach an interface by an address.
fn has_addresses(row: &Value) -> bool {
    let addresses = row["addresses"].as_array();
    row["interface"] != "lo" && addresses.is_some_and(|addresses| !addresses.is_empty())
}

/// The guest that `vmid` names, which was looked up if it was a name.
fn named(client: &Client, args: &Args, vmid: &str) -> Result<Value, Error> {
    if args.guest.is_none()
        && let (Some(node), Some(of_type)) = (args.get(&NODE), args.get(&TYPE))
    {
        return Ok(json!({ "vmid": number(vmid), "node": node, "type": of_type }));
    }
    resource(client, args, vmid)?.ok_or_else(|| unseen(&[vmid.to_owned()]))
}

/// The guests that these VMIDs and names mean, each once.
fn several(client: &Client, args: &Args, wanted: &[String]) -> Result<Vec<Value>, Error> {
    let beside: Vec<&str> = [NODE, TYPE]
        .iter()
        .filter(|param| args.get(param).is_some())
        .map(|param| param.name)
        .collect();
    let problems: Vec<String> = beside
        .iter()
        .map(|name| format!("{name} does not go with guests"))
        .collect();
    if !problems.is_empty() {
        return Err(Error::arguments(problems));
    }
    find_several(client, wanted, false)
}

/// The interfaces of one guest, each with its addresses.
fn of_guest(client: &Client, guest: &Value) -> Result<Vec<Value>, Error> {
    let kind = Guest::of(guest);
    let vmid = plain(&guest["vmid"]);
    let status = plain(&guest["status"]);
    let is_down = || {
        Error::impossible(
            format!("{} {vmid} has no addresses", kind.noun()),
            "It does not run.",
        )
        .hint("Start it first.")
    };
    if !["", "running"].contains(&&*status) {
        return Err(is_down());
    }
    let path = match kind {
        Guest::Vm => OF_VM,
        Guest::Container => OF_CONTAINER,
    };
    let request = Request::new(Get, path)
        .segment("node", &plain(&guest["node"]))
        .segment("vmid", &vmid);
    let interfaces = match kind {
        Guest::Vm => super::agent::result(client.send(&request)?)?,
        Guest::Container => {
            check_version(client, "addresses of containers", SINCE)?;
            client.send(&request)?
        }
    };
    // Of a container that does not run, or is not there.
    if interfaces.is_null() {
        return Err(is_down());
    }
    let rows = answer::rows(interfaces).into_iter().map(|interface| {
        let mac = ["hardware-address", "hwaddr"].map(|key| plain(&interface[key]));
        let mut row = json!({
            "vmid": guest["vmid"],
            "interface": interface["name"],
            "addresses": addresses(&interface),
            "mac": mac.iter().find(|mac| !mac.is_empty()),
        });
        if !guest["name"].is_null() {
            row["name"] = guest["name"].clone();
        }
        row
    });
    Ok(rows.collect())
}

/// The addresses of an interface with their prefixes; before PVE 9 those of containers are two texts.
fn addresses(interface: &Value) -> Vec<String> {
    let listed = interface["ip-addresses"].as_array();
    let listed = listed.map(|addresses| {
        let addresses = addresses.iter().map(|address| {
            let [ip, prefix] = ["ip-address", "prefix"].map(|key| plain(&address[key]));
            format!("{ip}/{prefix}")
        });
        addresses.collect()
    });
    listed.unwrap_or_else(|| {
        let texts = ["inet", "inet6"].map(|key| plain(&interface[key]));
        let texts = texts.iter().flat_map(|text| text.split_whitespace());
        texts.map(str::to_owned).collect()
    })
}

fn number(vmid: &str) -> Value {
    vmid.parse::<u64>()
        .map_or_else(|_| vmid.into(), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_in_three_forms() {
        for interface in [
            json!({ "ip-addresses": [
                { "ip-address": "192.0.2.1", "prefix": 24, "ip-address-type": "ipv4" },
                { "ip-address": "2001:db8::1", "prefix": 64, "ip-address-type": "ipv6" },
            ] }),
            json!({ "inet": "ignored", "ip-addresses": [
                { "ip-address": "192.0.2.1", "prefix": "24", "ip-address-type": "inet" },
                { "ip-address": "2001:db8::1", "prefix": "64", "ip-address-type": "inet6" },
            ] }),
            json!({ "inet": "192.0.2.1/24", "inet6": "2001:db8::1/64" }),
        ] {
            assert_eq!(addresses(&interface), ["192.0.2.1/24", "2001:db8::1/64"]);
        }
        assert!(addresses(&json!({ "ip-addresses": [] })).is_empty());
        assert!(addresses(&json!({ "name": "veth0" })).is_empty());
    }
}
