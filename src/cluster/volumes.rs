//! The contents of one storage, or of all storages that hold a kind of content.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::answer::{self, compare, number, plain};
use crate::cluster::guests::{OF_GUEST, resources};
use crate::cluster::volume;
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::pve::property::PropertyString;
use crate::pve::reader::Reader;
use crate::request::{Method::Get, Request};
use crate::row::{Step, needs};
use crate::text::format;
use crate::text::sort::{gather, sort};

pub(crate) const ON_NODE: Param = Param::optional("node", Kind::Format(&format::NODE), "");

/// The requests that [`Volumes::read`] may send.
pub(crate) const REQUESTS: &[Step] = &[RESOURCES_REQUEST, CONTENT_REQUEST];
pub(crate) const RESOURCES_REQUEST: Step = Step::read("/cluster/resources", &[]);
pub(crate) const CONTENT_REQUEST: Step =
    Step::read("/nodes/{node}/storage/{storage}/content", &[needs::STORED]);

/// The requested volumes, and what could not be read.
pub(crate) struct Volumes {
    /// Each with the `node` on which it was read, unless that was given.
    pub(crate) rows: Vec<Value>,
    pub(crate) notes: Vec<String>,
}

impl Volumes {
    /// Reads volumes of this kind of `content`, or of all kinds, on the given storage and node. If either is
    /// absent, reads all storages that hold such content, and shared ones only once.
    ///
    /// A storage that cannot be read is named in a note; it is an error only if none can be read.
    pub(crate) fn read(
        client: &Reader,
        args: &Args,
        content: Option<&str>,
        storage: Option<&str>,
    ) -> Result<Self, Error> {
        if let (Some(node), Some(storage)) = (args.get(&ON_NODE), storage) {
            let rows = read(client, args, node, storage, content)?;
            let notes = Vec::new();
            return Ok(Self { rows, notes });
        }
        let (locations, unavailable) = locations(client, args, content, storage)?;
        let mut rows = Vec::new();
        let mut notes = Vec::new();
        let unavailable = unavailable.join(", ");
        if locations.is_empty() {
            return Err(Error::impossible(
                "no storage could be read",
                format!(
                    "Not available: {unavailable}\nproxmox_get_storage shows the state of each."
                ),
            ));
        }
        if !unavailable.is_empty() {
            notes.push(format!("Not available, not read: {unavailable}"));
        }
        let mut failed = None;
        let mut is_read = false;
        for Location { storage, node } in &locations {
            match read(client, args, node, storage, content) {
                Ok(volumes) => {
                    is_read = true;
                    rows.extend(volumes.into_iter().map(|mut volume| {
                        volume["node"] = (&**node).into();
                        volume
                    }));
                }
                Err(error) if error.is_refused() => {
                    notes.push(format!("Not read: {storage} on {node}: {}", error.brief()));
                    failed.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        match failed {
            Some(error) if !is_read => Err(error),
            _ => Ok(Self { rows, notes }),
        }
    }
}

/// Returns the IDs of a guest's volumes that no slot of its configuration names, and notes on storages that
/// could not be read.
pub(crate) fn unreferenced(
    client: &Reader,
    of_type: &str,
    vmid: &str,
    config: &Value,
) -> Result<(Vec<String>, Vec<String>), Error> {
    let args = of_guest(vmid)?;
    let content = match of_type {
        "lxc" => "rootdir",
        _ => "images",
    };
    let Volumes { rows, notes } = Volumes::read(client, &args, Some(content), None)?;
    let lines: Vec<PropertyString> = config
        .as_object()
        .into_iter()
        .flatten()
        .map(|(_, line)| PropertyString::parse(&plain(line)))
        .collect();
    let volumes = rows.iter().map(|row| plain(&row["volid"]));
    let unreferenced = volumes.filter(|id| {
        volume::owner(id) == vmid && !lines.iter().any(|line| volume::volume(line) == id)
    });
    Ok((unreferenced.collect(), notes))
}

/// Returns the arguments that select the volumes of a guest.
fn of_guest(vmid: impl Into<Value>) -> Result<Args, Error> {
    const PARAMS: &[&Param] = &[&ON_NODE, &OF_GUEST];
    let arguments = gather([(OF_GUEST.name.to_owned(), vmid.into())]);
    Args::parse(PARAMS.to_vec(), &arguments).map_err(Error::arguments)
}

fn read(
    client: &Reader,
    args: &Args,
    node: &str,
    storage: &str,
    content: Option<&str>,
) -> Result<Vec<Value>, Error> {
    let mut request = Request::new(Get, "/nodes/{node}/storage/{storage}/content")
        .segment("node", node)
        .segment("storage", storage);
    if let Some(content) = content {
        request = request.with("content", content);
    }
    let data = client.send(&args.send_given(request, &[&OF_GUEST]))?;
    let mut rows = answer::rows(data);
    for row in &mut rows {
        if row["size"].is_null() && !row["approximate-size"].is_null() {
            row["size"] = row["approximate-size"].clone();
        }
    }
    Ok(rows)
}

/// A storage, and a node on which to read it.
struct Location {
    storage: String,
    node: String,
}

/// Returns where to read: each storage with a node (a shared one with a single node that reaches it), and the
/// storages that are unavailable.
fn locations(
    client: &Reader,
    args: &Args,
    content: Option<&str>,
    storage: Option<&str>,
) -> Result<(Vec<Location>, Vec<String>), Error> {
    let mut seen = resources(client, "storage")?;
    let holds = |row: &Value| {
        content.is_none_or(|content| {
            let contents = row["content"].as_str().unwrap_or_default();
            contents.split(',').any(|held| held == content)
        })
    };
    seen.retain(|row| match storage {
        Some(storage) => row["storage"] == *storage,
        None => holds(row),
    });
    if let Some(node) = args.get(&ON_NODE) {
        seen.retain(|row| row["node"] == *node);
    }
    if seen.is_empty() {
        return match storage {
            // The token may still have access to it; the connected node knows.
            Some(storage) => {
                let node = args.get(&ON_NODE).unwrap_or("localhost").to_owned();
                let storage = storage.to_owned();
                Ok((vec![Location { storage, node }], Vec::new()))
            }
            None => Err(Error::impossible(
                format!(
                    "this token sees no storage for {}",
                    content.unwrap_or("anything")
                ),
                "Storages for which the token lacks Datastore.Audit are silently omitted by Proxmox; proxmox_get_storage lists the others.",
            )),
        };
    }
    let mut locations = BTreeMap::new();
    let mut unavailable = Vec::new();
    for row in &seen {
        let (storage, node) = (plain(&row["storage"]), plain(&row["node"]));
        // A shared storage has the same contents on every node.
        let on = if number(&row["shared"]) == Some(1.0) {
            String::new()
        } else {
            node.clone()
        };
        if row["status"] == "available" {
            let first = locations
                .entry((storage, on))
                .or_insert_with(|| node.clone());
            if node < *first {
                *first = node;
            }
        } else {
            unavailable.push((storage, on, node));
        }
    }
    unavailable.retain(|(storage, on, _)| !locations.contains_key(&(storage.clone(), on.clone())));
    let mut unavailable: Vec<String> = unavailable
        .into_iter()
        .map(|(storage, _, node)| format!("{storage} on {node}"))
        .collect();
    sort(&mut unavailable);
    let locations = locations
        .into_iter()
        .map(|((storage, _), node)| Location { storage, node });
    Ok((locations.collect(), unavailable))
}

/// Returns the newest backup of a guest; null if the token sees none.
pub(crate) fn last_backup(client: &Reader, vmid: u64) -> Result<Value, Error> {
    let args = of_guest(vmid)?;
    let rows = Volumes::read(client, &args, Some("backup"), None)?.rows;
    let backups = rows
        .into_iter()
        .filter(|row| plain(&row["vmid"]) == vmid.to_string());
    let newest = backups.max_by(|a, b| compare(&a["ctime"], &b["ctime"]));
    Ok(newest.unwrap_or_default())
}
