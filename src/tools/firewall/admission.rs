//! Whether the cluster's firewall lets in this program itself, once it is on.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::{POLICY_IN, SWITCH, UNSET_OPTIONS};
use crate::answer::{self, plain};
use crate::error::Error;
use crate::param::Args;
use crate::pve::reader::Reader;
use crate::request::{Method::Get, Request};
use crate::row::{Step, needs};

/// What finding that out reads.
pub(super) const REQUESTS: &[Step] = &[
    Step::read("/cluster/firewall/rules", needs::ALL_NODES),
    Step::read("/cluster/firewall/groups/{group}", needs::ALL_NODES),
    Step::read("/cluster/firewall/aliases", needs::ALL_NODES),
    Step::read("/cluster/firewall/ipset/{name}", needs::ALL_NODES),
];

/// The set of addresses that Proxmox lets in to its own ports without a rule.
const MANAGEMENT: &str = "management";

/// A change of the options of the cluster that makes the firewall drop what no rule lets in: which rules let
/// in this program.
pub(super) fn check(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    let is_unset = |name: &str| args.list(&UNSET_OPTIONS).iter().any(|unset| unset == name);
    let is_on = |value: &str| !["", "0"].contains(&value);
    let was_on = is_on(&plain(&was["enable"]));
    let will_be_on = match args.get(&SWITCH) {
        Some(value) => is_on(value),
        None => was_on && !is_unset("enable"),
    };
    let policy_was = plain(&was["policy_in"]);
    let policy = match args.get(&POLICY_IN) {
        Some(policy) => policy,
        None if is_unset("policy_in") => "",
        None => &policy_was,
    };
    let is_closed = will_be_on && policy != "ACCEPT";
    let was_closed = was_on && policy_was != "ACCEPT";
    if !is_closed || was_closed {
        return Ok(Vec::new());
    }
    let line = match client.own_addresses() {
        None => "From where this program connects is not known, so neither is whether a rule lets it in."
            .to_owned(),
        Some((own, _)) if own.is_loopback() => {
            "This program runs on the node itself, which the firewall lets in.".to_owned()
        }
        Some((own, host)) if is_private(own) && !is_private(host.ip()) => format!(
            "This program connects from {own}, behind NAT: whether a rule lets it in cannot be told from here."
        ),
        Some((own, host)) => admitting(client, own, host)?,
    };
    Ok(vec![line])
}

/// Which enabled rules of the cluster let in `own`, in words.
fn admitting(client: &Reader, own: IpAddr, host: SocketAddr) -> Result<String, Error> {
    let lists = Lists {
        aliases: answer::rows(client.get("/cluster/firewall/aliases")?),
        client,
    };
    let port = host.port();
    let verdict = |rule: &Value| {
        let verdict = verdict(rule, port)?;
        lists.have(&plain(&rule["source"]), own).then_some(verdict)
    };
    let mut found = Vec::new();
    let mut dropped = None;
    // The first rule that fits a packet counts.
    for rule in answer::rows(client.get("/cluster/firewall/rules")?) {
        let mut name = format!("rule {}", plain(&rule["pos"]));
        let verdict = match rule["type"] == "group" && is_enabled(&rule) {
            false => verdict(&rule),
            true => {
                let group = plain(&rule["action"]);
                let request = Request::new(Get, "/cluster/firewall/groups/{group}");
                let rules = answer::rows(client.send(&request.segment("group", &group))?);
                name.push_str(&format!(" (security group {group})"));
                rules.iter().find_map(verdict)
            }
        };
        match verdict {
            Some(true) => found.push(name),
            Some(false) => {
                dropped = Some(name);
                break;
            }
            None => (),
        }
    }
    if dropped.is_none() && lists.set_has(MANAGEMENT, own) {
        found.push(format!("IP set {MANAGEMENT}"));
    }
    let way = format!("{own}, from where this program connects, to port {port}");
    Ok(match (found.is_empty(), dropped) {
        (false, _) => format!(
            "Lets in {way}: {} (unless NAT lies between).",
            found.join(", ")
        ),
        (true, Some(rule)) => format!("No rule lets in {way}, and {rule} drops it."),
        (true, None) => format!(
            "No enabled rule lets in {way}: unless the node's own network has that address, this program \
             is locked out, like others."
        ),
    })
}

fn is_enabled(rule: &Value) -> bool {
    !["", "0"].contains(&plain(&rule["enable"]).as_str())
}

/// Whether a rule lets traffic in to a TCP port, or drops it, from wherever it says; `None` where it says
/// nothing of it, or only of some of it.
fn verdict(rule: &Value, port: u16) -> Option<bool> {
    const PARTIAL: &[&str] = &["dest", "iface", "macro", "sport"];
    let field = |name: &str| plain(&rule[name]);
    let has_port = field("dport").split(',').any(|part| {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        let range = first.parse().ok().zip(last.parse().ok());
        range.is_some_and(|(first, last): (u16, u16)| (first..=last).contains(&port))
    });
    let is_about_it = is_enabled(rule)
        && rule["type"] == "in"
        && ["", "tcp"].contains(&field("proto").as_str())
        && PARTIAL.iter().all(|name| field(name).is_empty())
        && (field("dport").is_empty() || has_port);
    match field("action").as_str() {
        "ACCEPT" if is_about_it => Some(true),
        "DROP" | "REJECT" if is_about_it => Some(false),
        _ => None,
    }
}

/// The names that a source can have.
struct Lists<'a> {
    aliases: Vec<Value>,
    client: &'a Reader<'a>,
}

impl Lists<'_> {
    /// Whether `source`, as a rule has it, is anything or one of addresses, networks, ranges, aliases and
    /// IP sets that has `address`.
    fn have(&self, source: &str, address: IpAddr) -> bool {
        source.is_empty()
            || source
                .split(',')
                .any(|part| match part.trim().strip_prefix('+') {
                    Some(set) => self.set_has(set.strip_prefix("dc/").unwrap_or(set), address),
                    None => self.part_has(part.trim(), address),
                })
    }

    fn part_has(&self, part: &str, address: IpAddr) -> bool {
        if let Some(has) = has(part, address) {
            return has;
        }
        let name = part.strip_prefix("dc/").unwrap_or(part);
        let mut aliases = self.aliases.iter();
        let alias = aliases.find(|alias| plain(&alias["name"]).eq_ignore_ascii_case(name));
        alias.is_some_and(|alias| has(&plain(&alias["cidr"]), address) == Some(true))
    }

    /// A set that cannot be read has nothing.
    fn set_has(&self, set: &str, address: IpAddr) -> bool {
        let request = Request::new(Get, "/cluster/firewall/ipset/{name}").segment("name", set);
        let entries = answer::rows(self.client.send(&request).unwrap_or_default());
        let of = |is_exception: bool| {
            let mut entries = entries.iter();
            entries.any(|entry| {
                (plain(&entry["nomatch"]) == "1") == is_exception
                    && self.part_has(&plain(&entry["cidr"]), address)
            })
        };
        of(false) && !of(true)
    }
}

/// Whether an address, network or range has `address`; `None` where it is none of these.
fn has(part: &str, address: IpAddr) -> Option<bool> {
    let bits = |address: IpAddr| match address.to_canonical() {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let (own, width) = bits(address);
    if let Some((first, last)) = part.split_once('-')
        && let (Ok(first), Ok(last)) = (first.parse(), last.parse())
    {
        let ((first, of), (last, _)) = (bits(first), bits(last));
        return Some(of == width && (first..=last).contains(&own));
    }
    let (network, prefix) = part.split_once('/').unwrap_or((part, ""));
    let (network, of) = bits(network.parse().ok()?);
    let prefix: u32 = match prefix {
        "" => of,
        prefix => prefix.parse().ok().filter(|prefix| *prefix <= of)?,
    };
    let differ = |own: u128| (own ^ network).checked_shr(of - prefix).unwrap_or(0);
    Some(of == width && differ(own) == 0)
}

fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            // Those that providers share out behind a NAT of their own are 100.64.0.0/10.
            let is_shared = has("100.64.0.0/10", IpAddr::V4(address)) == Some(true);
            address.is_private() || address.is_link_local() || address.is_loopback() || is_shared
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mcp::connection::Peer;
    use crate::param::Param;
    use crate::pve::demo::Demonstration;
    use crate::pve::reader::Cluster;

    #[test]
    fn addresses_are_in_networks_and_ranges() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (part, own, expected) in [
            ("192.0.2.9", "192.0.2.9", Some(true)),
            ("192.0.2.8", "192.0.2.9", Some(false)),
            ("192.0.2.0/24", "192.0.2.9", Some(true)),
            ("192.0.2.0/24", "192.0.3.9", Some(false)),
            ("0.0.0.0/0", "192.0.2.9", Some(true)),
            ("192.0.2.1-192.0.2.20", "192.0.2.9", Some(true)),
            ("192.0.2.10-192.0.2.20", "192.0.2.9", Some(false)),
            ("2001:db8::/32", "2001:db8:1::9", Some(true)),
            ("2001:db8::/32", "192.0.2.9", Some(false)),
            ("::/0", "192.0.2.9", Some(false)),
            ("192.0.2.0/24", "::ffff:192.0.2.9", Some(true)),
            ("192.0.2.0/33", "192.0.2.9", None),
            ("office", "192.0.2.9", None),
            ("head-office", "192.0.2.9", None),
        ] {
            assert_eq!(has(part, address(own)), expected, "{part} {own}");
        }
        assert!(is_private(address("100.64.1.1")) && !is_private(address("203.0.113.1")));
    }

    /// What is read of a firewall with these rules, three lists and an alias.
    const FIREWALL: &str = r#"[]
{"request":"GET /cluster/firewall/aliases","answer":{"data":[{"name":"office","cidr":"198.51.100.0/24"}]}}
{"request":"GET /cluster/firewall/ipset/management","answer":{"data":[{"cidr":"203.0.113.0/24"},{"cidr":"203.0.113.7","nomatch":1}]}}
{"request":"GET /cluster/firewall/ipset/staff","answer":{"data":[{"cidr":"office"}]}}
{"request":"GET /cluster/firewall/groups/web","answer":{"data":[{"pos":0,"enable":1,"type":"in","action":"ACCEPT","source":"192.0.2.0/28"}]}}
{"request":"GET /cluster/firewall/groups/off","answer":{"data":[{"pos":0,"enable":1,"type":"in","action":"ACCEPT"}]}}
{"request":"GET /cluster/firewall/rules","answer":{"data":[{"pos":0,"enable":0,"type":"in","action":"ACCEPT"},{"pos":1,"enable":1,"type":"in","action":"ACCEPT","proto":"tcp","dport":"8006","source":"+dc/staff"},{"pos":2,"enable":1,"type":"in","action":"ACCEPT","source":"dc/office"},{"pos":3,"enable":1,"type":"group","action":"web"},{"pos":4,"enable":0,"type":"group","action":"off"},{"pos":5,"enable":1,"type":"in","action":"DROP","source":"100.64.0.0/10"},{"pos":6,"enable":1,"type":"in","action":"ACCEPT","source":"100.70.0.1"}]}}"#;

    #[test]
    fn the_rules_that_let_in_an_address_are_named() {
        let cluster = Cluster::demo(Demonstration::new(FIREWALL));
        let peer = Peer::none();
        let reader = Reader::new(&cluster, &peer);
        let host = "192.0.2.11:8006".parse().expect("an address");
        for (own, expected) in [
            ("198.51.100.9", ": rule 1, rule 2 ("),
            ("192.0.2.3", ": rule 3 (security group web) ("),
            ("203.0.113.9", ": IP set management ("),
            (
                "100.70.0.1",
                "No rule lets in 100.70.0.1, from where this program connects, to port 8006, and rule 5 drops it.",
            ),
            ("203.0.113.7", "No enabled rule lets in 203.0.113.7"),
            ("192.0.2.99", "No enabled rule lets in 192.0.2.99"),
        ] {
            let own = own.parse().expect("an address");
            let line = admitting(&reader, own, host).expect("all of it is recorded");
            assert!(line.contains(expected), "{own}: {line}");
        }
    }

    #[test]
    fn only_a_change_that_closes_the_firewall_is_looked_into() {
        let cluster = Cluster::demo(Demonstration::new("[]"));
        let peer = Peer::none();
        let reader = Reader::new(&cluster, &peer);
        let found = |arguments: Value, was: Value| {
            let params: &[&Param] = &[&SWITCH, &POLICY_IN, &UNSET_OPTIONS];
            let params = params.to_vec().leak();
            let arguments = arguments.as_object().expect("an object");
            let args = Args::parse(params.to_vec(), arguments).expect("they have their forms");
            check(&reader, &args, &was).expect("nothing is read").len()
        };
        for (arguments, was, expected) in [
            (json!({ "enable": true }), json!({}), 1),
            (json!({ "enable": true }), json!({ "enable": 1 }), 0),
            (
                json!({ "enable": true, "policy_in": "ACCEPT" }),
                json!({}),
                0,
            ),
            (
                json!({ "enable": true }),
                json!({ "policy_in": "ACCEPT" }),
                0,
            ),
            (
                json!({ "policy_in": "DROP" }),
                json!({ "enable": 1, "policy_in": "ACCEPT" }),
                1,
            ),
            (
                json!({ "delete": ["policy_in"] }),
                json!({ "enable": 1, "policy_in": "ACCEPT" }),
                1,
            ),
            (json!({ "policy_in": "DROP" }), json!({ "enable": 0 }), 0),
            (json!({ "enable": false }), json!({ "enable": 1 }), 0),
        ] {
            assert_eq!(
                found(arguments.clone(), was.clone()),
                expected,
                "{arguments} {was}"
            );
        }
    }

    #[test]
    fn a_rule_lets_in_or_drops_what_it_says() {
        for (rule, expected) in [
            (json!({}), Some(true)),
            (
                json!({ "proto": "tcp", "dport": "22,8000:8100" }),
                Some(true),
            ),
            (json!({ "proto": "tcp", "dport": "22" }), None),
            (json!({ "proto": "udp" }), None),
            (json!({ "macro": "SSH" }), None),
            (json!({ "iface": "vmbr1" }), None),
            (json!({ "dest": "192.0.2.1" }), None),
            (json!({ "enable": 0 }), None),
            (json!({ "action": "DROP" }), Some(false)),
            (
                json!({ "action": "REJECT", "proto": "tcp", "dport": "8006" }),
                Some(false),
            ),
            (json!({ "action": "DROP", "iface": "vmbr1" }), None),
            (json!({ "type": "out" }), None),
        ] {
            let mut whole = json!({ "enable": 1, "type": "in", "action": "ACCEPT" });
            for (name, value) in rule.as_object().expect("an object") {
                whole[name] = value.clone();
            }
            assert_eq!(verdict(&whole, 8006), expected, "{rule}");
        }
    }
}
