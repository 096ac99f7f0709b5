//! The views of MCP Apps (SEP-1865, 2026-01-26): pages that clients which declare the extension show in place of
//! an answer, and the tools that have one.
//!
//! A page is one HTML text that asks for nothing from elsewhere. It gets the answer of its tool from the client,
//! and reads again through the client; it never calls a tool that changes anything.

use serde_json::{Map, Value, json};

use crate::cluster::tasks::WAIT;
use crate::mcp::rpc::Fault;
use crate::settings::Safety;
use crate::tool::{Permission, Tool};
use crate::tools;

/// The media type of a view, which clients name when they declare the extension.
pub(super) const MEDIA_TYPE: &str = "text/html;profile=mcp-app";

struct View {
    uri: &'static str,
    name: &'static str,
    description: &'static str,
    page: &'static str,
}

static CLUSTER: View = View {
    uri: "ui://proxmox/cluster",
    name: "Cluster",
    description: "Nodes, guests and storages with their load, and what needs attention",
    page: include_str!("../views/cluster.html"),
};

static METRICS: View = View {
    uri: "ui://proxmox/metrics",
    name: "Metrics",
    description: "The load of a guest, node or storage over time",
    page: include_str!("../views/metrics.html"),
};

static TASK: View = View {
    uri: "ui://proxmox/task",
    name: "Task",
    description: "The progress, result and log of a task",
    page: include_str!("../views/task.html"),
};

static VIEWS: [&View; 3] = [&CLUSTER, &METRICS, &TASK];

// What all pages share, and where it goes.
const STYLE: &str = include_str!("../views/shared.css");
const SCRIPT: &str = include_str!("../views/shared.js");
const STYLE_MARK: &str = "/* shared.css */";
const SCRIPT_MARK: &str = "/* shared.js */";
const TOOLS_MARK: &str = "[/* tools */]";

/// Returns the URI of the view that shows the answers of a tool.
pub(super) fn of(name: &str, tool: &Tool) -> Option<&'static str> {
    let view = match name {
        "proxmox_get_nodes" | "proxmox_get_storage" | "proxmox_get_vms" => &CLUSTER,
        "proxmox_get_metrics" => &METRICS,
        // These follow a task, or wait for one without being asked to.
        "proxmox_apply_node_network"
        | "proxmox_apply_sdn"
        | "proxmox_get_node_task"
        | "proxmox_wait_task" => &TASK,
        // Whatever starts a task can wait for it, except a console: there is nothing to follow.
        _ if tool.params().any(|param| param.name == WAIT.name) => &TASK,
        _ => return None,
    };
    Some(view.uri)
}

/// Returns the result of `resources/list`.
pub(super) fn list() -> Value {
    let resources = VIEWS.iter().map(|view| {
        json!({
            "uri": view.uri,
            "name": view.name,
            "description": view.description,
            "mimeType": MEDIA_TYPE,
        })
    });
    json!({ "resources": resources.collect::<Vec<_>>() })
}

/// Returns the result of `resources/read`; `unknown` is the code for a URI that is not one of a view.
pub(super) fn read(
    params: &Map<String, Value>,
    safety: &Safety,
    unknown: i64,
) -> Result<Value, Fault> {
    let Some(Value::String(uri)) = params.get("uri") else {
        return Err(Fault::invalid_params("uri must be a string"));
    };
    let view = VIEWS.iter().find(|view| view.uri == uri).ok_or(Fault {
        code: unknown,
        message: "Resource not found".to_owned(),
        data: Some(json!({ "uri": uri })),
    })?;
    Ok(json!({ "contents": [{
        "uri": view.uri,
        "mimeType": MEDIA_TYPE,
        "text": view.html(safety),
        // No origin is needed, and the page leaves its edge to the client.
        "_meta": { "ui": {
            "csp": { "connectDomains": [], "resourceDomains": [] },
            "prefersBorder": true,
        } },
    }] }))
}

impl View {
    /// Returns the whole page. It offers only what the settings allow, so it gets the names of those tools that it
    /// mentions.
    fn html(&self, safety: &Safety) -> String {
        let is_allowed = |permission| permission == Permission::Basic || safety.allow_elevated;
        let offered: Vec<&str> = tools::shown(&safety.exposure)
            .filter(|(name, tool)| is_allowed(tool.permission) && self.mentions(name))
            .map(|(name, _)| name)
            .collect();
        let whole = self
            .page
            .replace(STYLE_MARK, STYLE)
            .replace(SCRIPT_MARK, SCRIPT)
            .replace(TOOLS_MARK, &json!(offered).to_string());
        // Neither indentation nor comments are of use to a browser.
        let lines = whole.lines().map(str::trim);
        let lines: Vec<&str> = lines.filter(|line| !line.starts_with("//")).collect();
        lines.join("\n")
    }

    fn mentions(&self, tool: &str) -> bool {
        self.page.contains(&format!("\"{tool}\""))
    }
}
