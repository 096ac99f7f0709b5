//! Nodes by their own names: the API accepts an alias, which a boundary would not recognize.

use serde_json::Value;

use super::Gate;
use super::boundaries::denied;
use super::subject::Subject;
use crate::answer::{self, plain};
use crate::error::Error;
use crate::param::Args;
use crate::pve::reader::Reader;
use crate::text;
use crate::text::sort::sort;

/// The API's alias for the connected node.
const ALIAS: &str = "localhost";

/// The maximum number of nodes that an error lists.
const MAX_LISTED: usize = 20;

/// Refuses [`ALIAS`] for all tools: next time another node may be connected.
pub(crate) fn refuse_alias(client: &Reader, args: &Args) -> Result<(), Error> {
    if !args.nodes().any(|node| node.eq_ignore_ascii_case(ALIAS)) {
        return Ok(());
    }
    let rows = |path: &str| {
        client
            .without_advancing(|| client.get(path))
            .map(answer::rows)
    };
    let connected = rows("/cluster/status").ok().and_then(|rows| {
        let mut rows = rows.iter();
        let local = rows.find(|row| row["type"] == "node" && plain(&row["local"]) == "1");
        local.map(|row| plain(&row["name"]))
    });
    let way_out = match (connected, rows("/nodes")) {
        (Some(node), _) => format!("It stands for {} now: use that name.", text::inline(&node)),
        (None, Ok(nodes)) => format!("The nodes are {}.", names(&nodes)),
        (None, Err(_)) => "proxmox_get_nodes lists the nodes.".to_owned(),
    };
    Err(Error::impossible(
        format!("{ALIAS} is not the name of a node, nothing was done"),
        way_out,
    ))
}

impl Gate<'_> {
    /// Refuses a request that names a node outside the boundary, or something that is not a node.
    pub(super) fn check_nodes(&self, client: &Reader, subject: &Subject) -> Result<(), Error> {
        let Some(bounds) = &self.safety.nodes else {
            return Ok(());
        };
        let bounded = || {
            format!(
                "PROXMOX_NODES restricts elevated tools to {}.",
                bounds.text()
            )
        };
        if subject.nodes.is_empty() {
            return Err(denied("this acts on the whole cluster", bounded()));
        }
        if subject.is_unknown() {
            return Err(denied(
                "this may concern nodes that it does not name",
                bounded(),
            ));
        }
        let nodes = client
            .without_advancing(|| client.get("/nodes"))
            .map(answer::rows)?;
        let is_known = |node: &&String| nodes.iter().any(|row| row["node"] == ***node);
        if let Some(node) = subject.nodes.iter().find(|node| !is_known(node)) {
            return Err(denied(
                format!("{} is not the name of a node", text::inline(node)),
                format!("The nodes are {}. {}", names(&nodes), bounded()),
            ));
        }
        match subject.nodes.iter().find(|node| !bounds.contain(node)) {
            Some(node) => {
                let node = text::inline(node);
                Err(denied(format!("node {node} is out of bounds"), bounded()))
            }
            None => Ok(()),
        }
    }
}

/// Returns the sorted names, `pve1, pve2`.
fn names(nodes: &[Value]) -> String {
    let mut names: Vec<String> = nodes
        .iter()
        .map(|row| text::inline(&text::cut(&plain(&row["node"]), 63)))
        .collect();
    sort(&mut names);
    let more = if names.len() > MAX_LISTED {
        ", …"
    } else {
        ""
    };
    names.truncate(MAX_LISTED);
    format!("{}{more}", names.join(", "))
}
