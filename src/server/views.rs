//! The views of MCP Apps (SEP-1865, 2026-01-26): pages that clients which declare the extension show in place of
//! an answer, and the tools that have one.
//!
//! A page is one HTML text that asks for nothing from elsewhere. It gets the answer of its tool from the client,
//! and reads again through the client; it never calls a tool that changes anything.

use serde_json::{Map, Value, json};

use crate::mcp::rpc::Fault;
use crate::settings::Safety;
use crate::tool::Permission;
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

/// The tools that answer with the UPID of a task. A console has one too, but nothing to follow.
static TASK_TOOLS: &[&str] = &[
    "proxmox_add_disk_vm",
    "proxmox_apply_node_network",
    "proxmox_apply_sdn",
    "proxmox_bulk_guest_action",
    "proxmox_clone_lxc",
    "proxmox_clone_vm",
    "proxmox_control_ceph",
    "proxmox_control_node_service",
    "proxmox_convert_to_template",
    "proxmox_create_backup_lxc",
    "proxmox_create_backup_vm",
    "proxmox_create_lxc",
    "proxmox_create_snapshot_lxc",
    "proxmox_create_snapshot_vm",
    "proxmox_create_vm",
    "proxmox_delete_backup",
    "proxmox_delete_lxc",
    "proxmox_delete_snapshot_lxc",
    "proxmox_delete_snapshot_vm",
    "proxmox_delete_vm",
    "proxmox_download_template",
    "proxmox_download_url",
    "proxmox_get_node_task",
    "proxmox_initialize_disk",
    "proxmox_manage_acme_account",
    "proxmox_manage_ceph_daemon",
    "proxmox_manage_ceph_fs",
    "proxmox_manage_ceph_osd",
    "proxmox_manage_ceph_pool",
    "proxmox_manage_node_certificate",
    "proxmox_manage_node_packages",
    "proxmox_manage_node_storage_backend",
    "proxmox_manage_realm",
    "proxmox_migrate_lxc",
    "proxmox_migrate_vm",
    "proxmox_move_disk_lxc",
    "proxmox_move_disk_vm",
    "proxmox_pause_vm",
    "proxmox_prune_backups",
    "proxmox_reboot_lxc",
    "proxmox_reboot_vm",
    "proxmox_resize_disk_lxc",
    "proxmox_resize_disk_vm",
    "proxmox_restore_backup_lxc",
    "proxmox_restore_backup_vm",
    "proxmox_resume_vm",
    "proxmox_rollback_snapshot_lxc",
    "proxmox_rollback_snapshot_vm",
    "proxmox_shutdown_lxc",
    "proxmox_shutdown_vm",
    "proxmox_start_lxc",
    "proxmox_start_vm",
    "proxmox_stop_lxc",
    "proxmox_stop_vm",
    "proxmox_upload_file",
    "proxmox_wait_task",
    "proxmox_wipe_disk",
];

/// Returns the URI of the view that shows the answers of a tool.
pub(super) fn of(tool: &str) -> Option<&'static str> {
    let view = match tool {
        "proxmox_get_nodes" | "proxmox_get_storage" | "proxmox_get_vms" => &CLUSTER,
        "proxmox_get_metrics" => &METRICS,
        tool if TASK_TOOLS.contains(&tool) => &TASK,
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
