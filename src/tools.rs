//! The list of all tools.

use crate::tool::Tool;

/// The tools of one domain.
pub(crate) struct Domain {
    pub(crate) title: &'static str,
    pub(crate) tools: &'static [(&'static str, &'static Tool)],
}

/// Every tool, in the order `tools/list` and the README show them.
pub(crate) static DOMAINS: &[Domain] = &[Domain {
    title: "Nodes and cluster",
    tools: &[("proxmox_get_nodes", &NODES)],
}];

static NODES: Tool = Tool {
    title: "List nodes",
};

/// The tool that clients call `name`.
pub(crate) fn find(name: &str) -> Option<&'static Tool> {
    match name {
        "proxmox_get_nodes" => Some(&NODES),
        _ => None,
    }
}
