//! What depends on a pool, a volume group or a file system: storages, and the guests whose volumes they hold.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::answer::{self, plain};
use crate::cluster::volumes;
use crate::error::Error;
use crate::pve::reader::Reader;
use crate::request::Method::Get;
use crate::request::Request;
use crate::row::Step;
use crate::text;
use crate::text::sort::sort;

/// Proxmox lists the storages that the token may see, whatever its privileges.
pub(super) const STORAGES: Step = Step::read("/storage", &[]);
pub(super) const VOLUMES: Step = volumes::CONTENT_REQUEST;

/// Says which storages `is_on` finds, and what they hold, as `node` sees it.
pub(super) fn dependents(
    client: &Reader,
    node: &str,
    is_on: impl Fn(&Value) -> bool,
) -> Result<Vec<String>, Error> {
    let storages = answer::rows(client.get("/storage")?);
    let mut names: Vec<String> = storages
        .iter()
        .filter(|storage| is_on(storage))
        .map(|storage| plain(&storage["storage"]))
        .collect();
    sort(&mut names);
    if names.is_empty() {
        return Ok(vec![
            "No storage that this token may see is on it.".to_owned(),
        ]);
    }
    let mut lines = Vec::new();
    for name in names {
        let request = Request::new(Get, "/nodes/{node}/storage/{storage}/content")
            .segment("node", node)
            .segment("storage", &name);
        lines.push(match client.send(&request) {
            Ok(volumes) => format!("Storage {name} is on it, with {}.", held(volumes)),
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => format!(
                "Storage {name} is on it; its volumes could not be read: {}.",
                error.brief()
            ),
        });
    }
    Ok(lines)
}

/// Whether a storage is on a node.
pub(super) fn is_of_node(storage: &Value, node: &str) -> bool {
    match storage["nodes"].as_str() {
        None => true,
        Some(nodes) => nodes.split(',').any(|name| name == node),
    }
}

/// `volumes of guests 100 (2), 101 (1), 3 other volumes`
fn held(volumes: Value) -> String {
    let volumes = answer::rows(volumes);
    let mut guests: BTreeMap<u64, usize> = BTreeMap::new();
    for vmid in volumes.iter().filter_map(|volume| owner(&volume["vmid"])) {
        *guests.entry(vmid).or_default() += 1;
    }
    let others = volumes.len() - guests.values().sum::<usize>();
    let guests: Vec<String> = guests
        .iter()
        .map(|(vmid, count)| format!("{vmid} ({count})"))
        .collect();
    let of_guests =
        (!guests.is_empty()).then(|| format!("volumes of guests {}", guests.join(", ")));
    let others = match others {
        0 => None,
        1 => Some("1 other volume".to_owned()),
        others => Some(format!("{others} other volumes")),
    };
    let held: Vec<String> = of_guests.into_iter().chain(others).collect();
    match held.is_empty() {
        true => "no volumes".to_owned(),
        false => text::cut(&held.join(", "), 1_000),
    }
}

/// The guest of a volume, which Proxmox sends as a number or as text.
fn owner(vmid: &Value) -> Option<u64> {
    plain(vmid).parse().ok()
}
