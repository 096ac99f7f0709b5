//! The list of all tools, which is also the `match` that finds one by its name.
//!
//! May import: `text`, `request`, `settings`, `error`, `pve`, `param`, `answer`, `row`, `cluster`, `safety`, `tool`.

mod access;
mod agent;
mod backups;
mod bulk;
mod ceph;
mod certificates;
mod cloud_init;
mod common;
mod config;
mod console;
mod create;
mod credentials;
mod dependents;
mod disk_admin;
mod disks;
mod exec;
mod firewall;
mod guest;
mod guests;
mod ha;
mod hardware;
mod interfaces;
mod jobs;
mod lifecycle;
mod metrics;
mod migration;
mod modify;
mod networking;
mod node_admin;
mod node_disks;
mod node_network;
mod nodes;
mod options;
mod osds;
mod pools;
mod sdn;
mod snapshots;
mod storage;
mod system;
mod tags;
mod tasks;
mod transfer;
mod twins;
mod volumes;

use serde::{Serialize, Serializer};

use crate::settings::Safety;
use crate::settings::exposure::{Exposure, KnownTools};
use crate::tool::{ListedTool, Tool};

/// The tools of one domain.
pub(crate) struct Domain {
    /// What `PROXMOX_TOOLSETS` calls them.
    pub(crate) toolset: &'static str,
    pub(crate) title: &'static str,
    pub(crate) tools: &'static [(&'static str, &'static Tool)],
}

/// All tools, each with its domain.
pub(crate) fn all() -> impl Iterator<Item = (&'static Domain, (&'static str, &'static Tool))> {
    DOMAINS
        .iter()
        .flat_map(|domain| domain.tools.iter().map(move |tool| (domain, *tool)))
}

/// What settings can name.
pub(crate) fn known() -> KnownTools {
    KnownTools {
        toolsets: DOMAINS.iter().map(|domain| domain.toolset).collect(),
        tools: all().map(|(_, (name, _))| name).collect(),
    }
}

/// The tools that are shown, in their order.
pub(crate) fn shown(exposure: &Exposure) -> impl Iterator<Item = (&'static str, &'static Tool)> {
    all()
        .filter(|(domain, (name, tool))| {
            exposure
                .hides(domain.toolset, name, tool.only_reads())
                .is_none()
        })
        .map(|(_, tool)| tool)
}

/// The array in the answer to `tools/list`, as the settings show them.
pub(crate) struct Definitions<'a> {
    safety: &'a Safety,
    view: ViewOf,
}

/// Returns the URI of the view that shows the answers of a tool.
type ViewOf = fn(&str, &Tool) -> Option<&'static str>;

impl Serialize for Definitions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { safety, view } = self;
        let shown = shown(&safety.exposure);
        serializer.collect_seq(
            shown.map(|(name, tool)| tool.definition(name, safety).with_view(view(name, tool))),
        )
    }
}

impl Domain {
    /// What the definitions of its tools that are shown add to `tools/list`, in bytes.
    pub(crate) fn size(&self, safety: &Safety) -> usize {
        let tools = self.tools.iter().filter(|(name, tool)| {
            let hides = safety.exposure.hides(self.toolset, name, tool.only_reads());
            hides.is_none()
        });
        let sizes = tools.map(|(name, tool)| {
            let json = serde_json::to_string(&tool.definition(name, safety));
            json.map_or(0, |json| json.len())
        });
        sizes.sum()
    }
}

impl<'a> Definitions<'a> {
    pub(crate) fn new(safety: &'a Safety) -> Self {
        Self::with_views(safety, |_, _| None)
    }

    /// As for a client that shows views.
    pub(crate) fn with_views(safety: &'a Safety, view: ViewOf) -> Self {
        Self { safety, view }
    }

    /// Their size as JSON, in bytes.
    pub(crate) fn size(&self) -> usize {
        serde_json::to_string(self).map_or(0, |json| json.len())
    }
}

/// Writes the list of tools and the `match` that finds one from the same lines. A tool that is
/// declared and not listed is a warning.
macro_rules! tools {
    ($($toolset:literal: $title:literal { $($name:literal => $tool:path,)+ })+) => {
        /// Every tool, in the order `tools/list` and `src/tools/README.md` show them.
        pub(crate) static DOMAINS: &[Domain] = &[
            $(Domain { toolset: $toolset, title: $title, tools: &[$(($name, &$tool)),+] }),+
        ];

        /// The tool that clients call `name`.
        pub(crate) fn find(name: &str) -> Option<ListedTool> {
            match name {
                $($($name => Some(ListedTool {
                    name: $name,
                    toolset: $toolset,
                    tool: &$tool,
                    twins: twins::of($name),
                }),)+)+
                // An older name of the reference; answered, not listed.
                "proxmox_get_node_disk_smart" => find("proxmox_get_disk_smart"),
                _ => None,
            }
        }
    };
}

tools! {
    "nodes": "Nodes and cluster" {
        "proxmox_get_nodes" => nodes::LIST,
        "proxmox_get_node_status" => nodes::STATUS,
        "proxmox_get_node_network" => nodes::NETWORK,
        "proxmox_get_node_dns" => nodes::DNS,
        "proxmox_get_network_iface" => nodes::INTERFACE,
        "proxmox_get_cluster_status" => nodes::CLUSTER_STATUS,
        "proxmox_get_next_vmid" => nodes::NEXT_VMID,
    }
    "node-admin": "Node management" {
        "proxmox_get_node_services" => node_admin::SERVICES,
        "proxmox_control_node_service" => node_admin::CONTROL_SERVICE,
        "proxmox_get_node_syslog" => node_admin::SYSLOG,
        "proxmox_get_node_journal" => node_admin::JOURNAL,
        "proxmox_get_node_tasks" => node_admin::TASKS,
        "proxmox_get_node_task" => node_admin::TASK,
        "proxmox_get_node_aplinfo" => node_admin::APLINFO,
        "proxmox_get_node_netstat" => node_admin::NETSTAT,
    }
    "guests": "Guest queries" {
        "proxmox_get_vms" => guests::LIST,
        "proxmox_get_vm_status" => guests::STATUS,
        "proxmox_get_vm_config" => guests::VM_CONFIG,
        "proxmox_get_lxc_config" => guests::LXC_CONFIG,
        "proxmox_get_storage" => guests::STORAGE,
    }
    "lifecycle": "Guest lifecycle" {
        "proxmox_start_lxc" => lifecycle::START_LXC,
        "proxmox_start_vm" => lifecycle::START_VM,
        "proxmox_stop_lxc" => lifecycle::STOP_LXC,
        "proxmox_stop_vm" => lifecycle::STOP_VM,
        "proxmox_shutdown_lxc" => lifecycle::SHUTDOWN_LXC,
        "proxmox_shutdown_vm" => lifecycle::SHUTDOWN_VM,
        "proxmox_reboot_lxc" => lifecycle::REBOOT_LXC,
        "proxmox_reboot_vm" => lifecycle::REBOOT_VM,
        "proxmox_pause_vm" => lifecycle::PAUSE_VM,
        "proxmox_resume_vm" => lifecycle::RESUME_VM,
        "proxmox_delete_lxc" => lifecycle::DELETE_LXC,
        "proxmox_delete_vm" => lifecycle::DELETE_VM,
    }
    "modify": "Guest modification" {
        "proxmox_clone_lxc" => modify::CLONE_LXC,
        "proxmox_clone_vm" => modify::CLONE_VM,
        "proxmox_resize_lxc" => modify::RESIZE_LXC,
        "proxmox_resize_vm" => modify::RESIZE_VM,
        "proxmox_get_cloudinit" => cloud_init::READ,
        "proxmox_regenerate_cloudinit" => cloud_init::REGENERATE,
    }
    "snapshots": "Snapshots" {
        "proxmox_create_snapshot_lxc" => snapshots::CREATE_LXC,
        "proxmox_create_snapshot_vm" => snapshots::CREATE_VM,
        "proxmox_list_snapshots_lxc" => snapshots::LIST_LXC,
        "proxmox_list_snapshots_vm" => snapshots::LIST_VM,
        "proxmox_rollback_snapshot_lxc" => snapshots::ROLLBACK_LXC,
        "proxmox_rollback_snapshot_vm" => snapshots::ROLLBACK_VM,
        "proxmox_delete_snapshot_lxc" => snapshots::DELETE_LXC,
        "proxmox_delete_snapshot_vm" => snapshots::DELETE_VM,
    }
    "backups": "Backups" {
        "proxmox_create_backup_lxc" => backups::CREATE_LXC,
        "proxmox_create_backup_vm" => backups::CREATE_VM,
        "proxmox_list_backups" => backups::LIST,
        "proxmox_restore_backup_lxc" => backups::RESTORE_LXC,
        "proxmox_restore_backup_vm" => backups::RESTORE_VM,
        "proxmox_delete_backup" => backups::DELETE,
    }
    "disks": "Disks" {
        "proxmox_add_disk_vm" => disks::ADD_VM,
        "proxmox_add_mountpoint_lxc" => disks::ADD_LXC,
        "proxmox_resize_disk_vm" => disks::RESIZE_VM,
        "proxmox_resize_disk_lxc" => disks::RESIZE_LXC,
        "proxmox_remove_disk_vm" => disks::REMOVE_VM,
        "proxmox_remove_mountpoint_lxc" => disks::REMOVE_LXC,
        "proxmox_move_disk_vm" => disks::MOVE_VM,
        "proxmox_move_disk_lxc" => disks::MOVE_LXC,
        "proxmox_set_cdrom" => cloud_init::SET_CDROM,
    }
    "networking": "Guest networking" {
        "proxmox_add_network_vm" => networking::ADD_VM,
        "proxmox_add_network_lxc" => networking::ADD_LXC,
        "proxmox_update_network_vm" => networking::UPDATE_VM,
        "proxmox_update_network_lxc" => networking::UPDATE_LXC,
        "proxmox_remove_network_vm" => networking::REMOVE_VM,
        "proxmox_remove_network_lxc" => networking::REMOVE_LXC,
    }
    "exec": "Command execution" {
        "proxmox_execute_vm_command" => exec::EXECUTE,
    }
    "create": "Guest creation" {
        "proxmox_list_templates" => create::TEMPLATES,
        "proxmox_create_lxc" => create::CREATE_LXC,
        "proxmox_create_vm" => create::CREATE_VM,
    }
    "node-disks": "Node disks" {
        "proxmox_get_node_disks" => node_disks::LIST,
        "proxmox_get_disk_smart" => node_disks::SMART,
        "proxmox_get_node_lvm" => node_disks::LVM,
        "proxmox_get_node_zfs" => node_disks::ZFS,
    }
    "tasks": "Tasks and support" {
        "proxmox_wait_task" => tasks::WAIT_TASK,
        "proxmox_stop_task" => tasks::STOP,
        "proxmox_list_cluster_tasks" => tasks::OF_CLUSTER,
        "proxmox_get_pending_config" => tasks::PENDING,
        "proxmox_update_guest_config" => tasks::UPDATE,
        "proxmox_get_version" => tasks::VERSION,
        "proxmox_list_storage_content" => volumes::LIST,
    }
    "ha": "High availability" {
        "proxmox_get_ha_status" => ha::STATUS,
        "proxmox_list_ha_resources" => ha::RESOURCES,
        "proxmox_manage_ha_resource" => ha::MANAGE_RESOURCE,
        "proxmox_list_ha_rules" => ha::RULES,
        "proxmox_manage_ha_rule" => ha::MANAGE_RULE,
    }
    "firewall": "Firewall" {
        "proxmox_list_firewall_rules" => firewall::RULES,
        "proxmox_manage_firewall_rule" => firewall::MANAGE_RULE,
        "proxmox_get_firewall_options" => firewall::OPTIONS,
        "proxmox_set_firewall_options" => firewall::SET_OPTIONS,
        "proxmox_list_firewall_objects" => firewall::OBJECTS,
        "proxmox_manage_firewall_object" => firewall::MANAGE_OBJECT,
        "proxmox_get_firewall_log" => firewall::READ_LOG,
    }
    "jobs": "Scheduled backups and replication" {
        "proxmox_list_backup_jobs" => jobs::BACKUP_JOBS,
        "proxmox_manage_backup_job" => jobs::MANAGE_BACKUP_JOB,
        "proxmox_list_replication_jobs" => jobs::REPLICATION_JOBS,
        "proxmox_manage_replication_job" => jobs::MANAGE_REPLICATION_JOB,
    }
    "options": "Cluster options" {
        "proxmox_get_cluster_options" => options::GET,
        "proxmox_set_cluster_options" => options::SET,
    }
    "node-network": "Node network configuration" {
        "proxmox_manage_node_network" => node_network::MANAGE,
        "proxmox_apply_node_network" => node_network::APPLY,
    }
    "system": "System" {
        "proxmox_get_node_system" => system::GET,
        "proxmox_set_node_system" => system::CHANGE,
        "proxmox_manage_node_subscription" => system::SUBSCRIBE,
        "proxmox_get_node_packages" => system::PACKAGES,
        "proxmox_manage_node_packages" => system::MANAGE_PACKAGES,
        "proxmox_bulk_guest_action" => bulk::BULK,
        "proxmox_control_node_power" => system::CONTROL_POWER,
    }
    "sdn": "Software defined networking" {
        "proxmox_list_sdn" => sdn::LIST,
        "proxmox_manage_sdn_zone" => sdn::MANAGE_ZONE,
        "proxmox_manage_sdn_vnet" => sdn::MANAGE_VNET,
        "proxmox_manage_sdn_subnet" => sdn::MANAGE_SUBNET,
        "proxmox_manage_sdn_controller" => sdn::MANAGE_CONTROLLER,
        "proxmox_apply_sdn" => sdn::APPLY,
    }
    "migration": "Migration, templates, agent, metrics" {
        "proxmox_check_migration" => migration::CHECK,
        "proxmox_migrate_vm" => migration::MIGRATE_VM,
        "proxmox_migrate_lxc" => migration::MIGRATE_LXC,
        "proxmox_convert_to_template" => migration::CONVERT,
        "proxmox_query_agent" => agent::QUERY_AGENT,
        "proxmox_control_agent" => agent::CONTROL_AGENT,
        "proxmox_read_agent_file" => agent::READ_FILE,
        "proxmox_write_agent_file" => agent::WRITE_FILE,
        "proxmox_set_agent_password" => agent::SET_PASSWORD,
        "proxmox_get_guest_interfaces" => interfaces::INTERFACES,
        "proxmox_get_metrics" => metrics::METRICS,
    }
    "storage": "Storage administration" {
        "proxmox_manage_storage" => storage::MANAGE,
        "proxmox_scan_storage" => storage::SCAN,
        "proxmox_upload_file" => transfer::UPLOAD,
        "proxmox_download_url" => transfer::DOWNLOAD,
        "proxmox_download_template" => transfer::DOWNLOAD_TEMPLATE,
        "proxmox_list_backup_files" => transfer::LIST_FILES,
        "proxmox_restore_backup_file" => transfer::RESTORE_FILE,
        "proxmox_prune_backups" => storage::PRUNE,
        "proxmox_update_volume" => storage::UPDATE_VOLUME,
    }
    "access": "Access control" {
        "proxmox_list_access" => access::LIST,
        "proxmox_manage_user" => access::MANAGE_USER,
        "proxmox_manage_token" => access::MANAGE_TOKEN,
        "proxmox_manage_group" => access::MANAGE_GROUP,
        "proxmox_manage_role" => access::MANAGE_ROLE,
        "proxmox_update_acl" => access::UPDATE_ACL,
        "proxmox_manage_realm" => access::MANAGE_REALM,
        "proxmox_set_user_password" => credentials::SET_PASSWORD,
        "proxmox_manage_tfa" => credentials::MANAGE_TFA,
    }
    "pools": "Pools" {
        "proxmox_list_pools" => pools::LIST,
        "proxmox_manage_pool" => pools::MANAGE,
    }
    "ceph": "Ceph" {
        "proxmox_get_ceph_status" => ceph::STATUS,
        "proxmox_list_ceph" => ceph::LIST,
        "proxmox_manage_ceph_pool" => ceph::MANAGE_POOL,
        "proxmox_manage_ceph_daemon" => ceph::MANAGE_DAEMON,
        "proxmox_manage_ceph_fs" => ceph::MANAGE_FS,
        "proxmox_control_ceph" => ceph::CONTROL,
        "proxmox_manage_ceph_osd" => osds::MANAGE,
    }
    "certificates": "Certificates" {
        "proxmox_get_node_certificates" => certificates::LIST,
        "proxmox_manage_node_certificate" => certificates::MANAGE,
        "proxmox_manage_acme_account" => certificates::MANAGE_ACCOUNT,
    }
    "disk-admin": "Disk operations" {
        "proxmox_initialize_disk" => disk_admin::INITIALIZE,
        "proxmox_list_node_storage_backends" => disk_admin::LIST,
        "proxmox_manage_node_storage_backend" => disk_admin::MANAGE,
        "proxmox_wipe_disk" => node_disks::WIPE,
    }
    "console": "Console" {
        "proxmox_create_console" => console::CREATE,
    }
    "hardware": "Node hardware" {
        "proxmox_list_node_hardware" => hardware::LIST,
        "proxmox_get_node_capabilities" => hardware::CAPABILITIES,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::{env, fs, ptr};

    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::diagnosis;
    use crate::cluster::tasks;
    use crate::param::{Args, Param};
    use crate::pve::reader;
    use crate::request::Method;
    use crate::row::{self, Row, Step};
    use crate::safety::facts;
    use crate::settings::Safety;
    use crate::tool::{Call, Effect, Permission};

    /// Whether `POST /nodes/{node}/…` changes nothing.
    fn only_reads(request: &str) -> bool {
        let (method, path) = request.split_once(' ').expect("a method and a path");
        let asks = method == "POST" && reader::only_reads(Method::Post, path);
        method == "GET" || asks
    }

    fn tools() -> impl Iterator<Item = (&'static str, &'static Tool)> {
        DOMAINS.iter().flat_map(|domain| domain.tools).copied()
    }

    #[test]
    fn names_fit_every_client() {
        for (name, _) in tools() {
            let fits = name.len() <= 40
                && name.starts_with("proxmox_")
                && !name.contains("__")
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            assert!(fits, "{name}");
        }
    }

    #[test]
    fn what_picks_a_request_and_what_it_takes_are_parameters() {
        let mut seen = 0;
        for (name, tool) in tools() {
            if let Call::Choice(choice) = tool.call {
                let params: Vec<&Param> = tool.params().collect();
                let faults = row::faults(choice, &params);
                assert!(faults.is_empty(), "{name}: {}", faults.join("; "));
                seen += 1;
            }
        }
        assert!(seen > 15, "{seen} tools");
    }

    #[test]
    fn the_login_serves_what_no_token_can_do_and_nothing_else() {
        let by_login = tools().filter(|(_, tool)| {
            let mut declared = tool.declared().into_iter();
            declared.any(|declared| declared.row.login.is_some())
        });
        let mut names: Vec<&str> = by_login.map(|(name, _)| name).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "proxmox_manage_acme_account",
                "proxmox_manage_ceph_osd",
                "proxmox_manage_tfa",
                "proxmox_set_user_password",
                "proxmox_wipe_disk",
            ]
        );
    }

    #[test]
    fn texts_are_sentences() {
        for (name, tool) in tools() {
            assert!(
                tool.summary.ends_with('.') && !tool.title.ends_with('.'),
                "{name}"
            );
            assert!(tool.title.starts_with(|c: char| c.is_uppercase()), "{name}");
            let sentences = tool.summary.matches(['.', ':']).count();
            assert!((1..=4).contains(&sentences), "{name}: {}", tool.summary);
            for param in tool.params() {
                let schema = param.schema();
                let description = schema["description"].as_str().unwrap_or(".");
                assert!(
                    description.ends_with('.'),
                    "{name}: {}: {description}",
                    param.name
                );
            }
        }
    }

    #[test]
    fn defaults_have_the_type_of_their_parameter() {
        for (name, tool) in tools() {
            for param in tool.params() {
                let schema = param.schema();
                let default = &schema["default"];
                let fits = match schema["type"].as_str() {
                    _ if default.is_null() => true,
                    Some("string") => default.is_string(),
                    Some("boolean") => default.is_boolean(),
                    _ => default.is_number(),
                };
                assert!(fits, "{name}: {}: {schema}", param.name);
            }
        }
    }

    /// What a version lacks is refused with that, rather than by what the host says to an unknown parameter.
    #[test]
    #[expect(clippy::print_stderr, reason = "a test that proves nothing says so")]
    fn parameters_say_which_versions_know_them_and_their_values() {
        let Some(folder) = env::var_os("PVE_API_FACTS") else {
            eprintln!("PVE_API_FACTS names no folder: the parameters are not compared");
            return;
        };
        let mut faults = Vec::new();
        for (version, major) in [("7.4", 7), ("8.4", 8), ("9.2", 9)] {
            let file = Path::new(&folder).join(format!("{version}.jsonl"));
            let text = fs::read_to_string(&file).expect("the description can be read");
            let endpoints = text.lines().map(serde_json::from_str);
            let endpoints: Vec<Value> = endpoints.collect::<Result<_, _>>().expect("JSON lines");
            let declared = tools().flat_map(|(name, tool)| {
                let declared = tool.declared().into_iter();
                declared.map(move |declared| (name, declared))
            });
            for (name, declared) in declared.filter(|(_, own)| own.known_to().contain(major)) {
                let (method, path) = (declared.row.method.as_str(), declared.path());
                let shape = |path: &str| {
                    let parts = path.split('/');
                    let parts = parts.map(|part| if part.starts_with('{') { "{}" } else { part });
                    parts.collect::<Vec<_>>().join("/")
                };
                let mut endpoints = endpoints.iter();
                let endpoint = endpoints.find(|endpoint| {
                    let own = endpoint["path"].as_str().map(shape);
                    endpoint["method"] == method && own == Some(shape(&path))
                });
                let endpoint = endpoint.unwrap_or_else(|| panic!("{version}: {method} {path}"));
                let params = endpoint["params"].as_object().expect("an object");
                for param in declared.row.takes {
                    let Some(wire) = param.wire_name() else {
                        continue;
                    };
                    let any = format!("{}[n]", wire.trim_end_matches(|c: char| c.is_ascii_digit()));
                    let known = params.get(wire).or_else(|| params.get(&any));
                    let is_part = path.contains(&format!("{{{wire}}}"));
                    let what = || format!("{name} {version} {method} {path}: {wire}");
                    // The description has it still; its code refuses it.
                    let is_refused = path.starts_with("/cluster/ha/resources") && wire == "group";
                    let is_known = known.is_some() && !(is_refused && major == 9);
                    if is_part || is_known != param.known_versions().contain(major) {
                        faults.extend((!is_part).then(what));
                        continue;
                    }
                    let values = known.and_then(|known| known["enum"].as_array());
                    for (value, versions) in values.map_or(Vec::new(), |_| param.choices()) {
                        let mut values = values.into_iter().flatten();
                        let has = values.any(|known| *known == value || known == "serial{0..3}");
                        // Of nodes alone, as its description says.
                        if has != versions.contain(major) && value != "decade" {
                            faults.push(format!("{}={value}", what()));
                        }
                    }
                }
            }
        }
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn no_parameter_is_declared_twice() {
        for (name, tool) in tools() {
            let names: BTreeSet<&str> = tool.params().map(|param| param.name).collect();
            assert_eq!(names.len(), tool.params().count(), "{name}");
        }
    }

    #[test]
    fn every_part_of_a_path_has_a_value() {
        for (name, tool) in tools() {
            let Call::Plain(step, _) = &tool.call else {
                continue;
            };
            for part in step
                .path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            {
                let param = tool.params().find(|param| param.name == part);
                // The node of a guest is looked up.
                let is_found = part == "node" && tool.params().any(Param::names_guest);
                assert!(
                    is_found || param.is_some_and(Param::is_required_by_request),
                    "{name}: {part} of {step}"
                );
            }
        }
    }

    #[test]
    fn only_elevated_tools_change_anything() {
        for (name, tool) in tools() {
            let reads = tool.requests().iter().all(|request| only_reads(request));
            // It writes on this machine.
            let saves = name == "proxmox_restore_backup_file";
            assert_eq!(reads && !saves, tool.effect == Effect::Reads, "{name}");
            assert!(reads || tool.permission == Permission::Elevated, "{name}");
        }
    }

    #[test]
    fn four_tools_that_only_read_are_elevated() {
        let elevated = tools().filter(|(_, tool)| tool.permission == Permission::Elevated);
        let reading: Vec<&str> = elevated
            .filter(|(_, tool)| tool.effect == Effect::Reads)
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            reading,
            [
                "proxmox_get_node_status",
                "proxmox_list_backups",
                "proxmox_read_agent_file",
                "proxmox_scan_storage"
            ]
        );
    }

    #[test]
    fn the_definitions_stay_within_what_a_conversation_can_afford() {
        let safety = Safety::default();
        let size = |(name, tool): (&'static str, &'static Tool)| {
            let Value::Object(mut definition) = json!(tool.definition(name, &safety)) else {
                panic!("{name} has no definition");
            };
            definition.retain(|key, _| ["name", "description", "inputSchema"].contains(&&**key));
            Value::Object(definition).to_string().len()
        };
        let default: usize = shown(&safety.exposure).map(size).sum();
        assert!(default < 48_000, "the default: {default} bytes");
        let all: usize = tools().map(size).sum();
        assert!(all < 150_000, "all toolsets: {all} bytes");
        // Those that take many requests apart by an action.
        let writers: Vec<usize> = tools()
            .filter(|(_, tool)| tool.effect != Effect::Reads)
            .filter(|(_, tool)| tool.params().any(|param| param.name == "action"))
            .map(size)
            .collect();
        let size: usize = writers.iter().sum();
        assert!(size <= 1_000 * writers.len(), "by action: {size} bytes");
    }

    #[test]
    fn what_the_toolsets_cost_adds_up_to_the_list() {
        let safety = Safety::default();
        let sizes = DOMAINS.iter().map(|domain| domain.size(&safety));
        let commas = shown(&safety.exposure).count() - 1;
        assert_eq!(
            sizes.sum::<usize>() + commas + "[]".len(),
            Definitions::new(&safety).size()
        );
        let hidden = DOMAINS.iter().find(|domain| domain.toolset == "console");
        assert_eq!(hidden.map(|domain| domain.size(&safety)), Some(0));
    }

    /// Google's converter fails on the word that closes an object, and no converter needs the others.
    #[test]
    fn no_schema_has_a_word_that_a_converter_fails_on() {
        fn words(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(fields) => {
                    for (word, value) in fields {
                        if word == "properties" {
                            let properties = value.as_object().into_iter().flatten();
                            properties.for_each(|(_, schema)| words(schema, found));
                            continue;
                        }
                        found.insert(word.clone());
                        words(value, found);
                    }
                }
                Value::Array(items) => items.iter().for_each(|item| words(item, found)),
                _ => (),
            }
        }
        let mut found = BTreeSet::new();
        for (name, tool) in tools() {
            let definition = json!(tool.definition(name, &Safety::default()));
            words(&definition["inputSchema"], &mut found);
        }
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            [
                "anyOf",
                "default",
                "description",
                "enum",
                "items",
                "maximum",
                "minimum",
                "required",
                "type"
            ]
        );
    }

    #[test]
    fn a_guest_is_named_the_same_way_everywhere() {
        for (name, tool) in tools() {
            for param in tool.params().filter(|param| param.name == "vmid") {
                let is_new = param.names_new_guest() || name == "proxmox_get_next_vmid";
                // Those of a job.
                let are_several = param.schema()["type"] == "array";
                assert!(is_new || are_several || param.names_guest(), "{name}");
                if param.names_guest() {
                    let schema = json!({
                        "anyOf": [{ "type": "integer" }, { "type": "string" }],
                        "description": "VMID or name.",
                    });
                    assert_eq!(param.schema(), schema, "{name}");
                }
            }
        }
    }

    /// What is empty counts as absent, so nothing that a change acts on may be everything where it is.
    #[test]
    fn what_a_change_acts_on_cannot_be_left_empty() {
        for (name, tool) in tools().filter(|(_, tool)| tool.effect != Effect::Reads) {
            // Without a guest it removes nothing unless it is said to mean all.
            let says_all = tool.params().any(|param| param.name == "all");
            let guests = || {
                tool.params()
                    .filter(|param| param.names_guest() && !says_all)
            };
            assert!(guests().all(Param::is_required_by_request), "{name}");
            for empty in [json!(""), json!(0), json!([]), json!({}), Value::Null] {
                let params = tool.params();
                let arguments = params.map(|param| (param.name.to_owned(), empty.clone()));
                let problems = Args::parse(tool.params().collect(), &arguments.collect()).err();
                let required = tool
                    .params()
                    .filter(|param| param.is_listed_as_required() && param.is_absent(&empty));
                for param in required {
                    let mut problems = problems.iter().flatten();
                    let says_so = |problem: &String| {
                        problem.starts_with(param.name) && problem.contains(" is missing")
                    };
                    assert!(problems.any(says_so), "{name}: {} as {empty}", param.name);
                }
            }
        }
    }

    fn summary(name: &str) -> &'static str {
        find(name).expect(name).tool.summary
    }

    #[test]
    fn tools_that_read_and_are_elevated_say_so_first() {
        for (name, tool) in tools() {
            let is_it = tool.permission == Permission::Elevated && tool.effect == Effect::Reads;
            assert_eq!(tool.summary.starts_with("Elevated"), is_it, "{name}");
        }
    }

    #[test]
    fn tools_that_are_easily_confused_name_each_other() {
        for (one, other) in [
            ("proxmox_get_node_journal", "proxmox_get_node_syslog"),
            ("proxmox_get_node_status", "proxmox_get_nodes"),
            ("proxmox_get_node_syslog", "proxmox_get_node_journal"),
            ("proxmox_list_backups", "proxmox_list_storage_content"),
            ("proxmox_list_cluster_tasks", "proxmox_get_node_tasks"),
        ] {
            assert!(summary(one).contains(other), "{one}: {}", summary(one));
        }
    }

    #[test]
    fn parameters_that_a_name_does_not_explain_have_a_description() {
        const UNCLEAR: &[&str] = &[
            "archive",
            "argv",
            "command",
            "delete",
            "digest",
            "force",
            "force_stop",
            "iso",
            "ostemplate",
            "overrule_shutdown",
            "purge",
            "revert",
            "set",
            "target",
            "timeout",
            "volume",
            "wait_timeout",
        ];
        for (name, tool) in tools() {
            // Its values say it.
            let explained = tool
                .params()
                .filter(|param| param.schema()["enum"].is_null());
            for param in explained.filter(|param| UNCLEAR.contains(&param.name)) {
                let schema = param.schema();
                assert!(schema["description"].is_string(), "{name}: {}", param.name);
            }
        }
    }

    #[test]
    fn what_another_parameter_can_replace_is_not_required() {
        for (name, optional, needed) in [
            (
                "proxmox_execute_vm_command",
                ["command", "argv"],
                json!(["vmid"]),
            ),
            (
                "proxmox_update_guest_config",
                ["set", "delete"],
                Value::Null,
            ),
            ("proxmox_start_vm", ["vmid", "guests"], Value::Null),
        ] {
            let ListedTool { name, tool, .. } = find(name).expect(name);
            let definition = json!(tool.definition(name, &Safety::default()));
            let required = &definition["inputSchema"]["required"];
            assert_eq!(required, &needed, "{name}");
            let properties = &definition["inputSchema"]["properties"];
            assert!(optional.iter().all(|name| properties[name].is_object()));
        }
    }

    #[test]
    fn an_older_name_is_answered_and_not_listed() {
        let ListedTool { name, .. } = find("proxmox_get_node_disk_smart").expect("it is answered");
        assert_eq!(name, "proxmox_get_disk_smart");
        assert!(tools().all(|(listed, _)| listed != "proxmox_get_node_disk_smart"));
    }

    #[test]
    fn each_recorded_request_is_one_that_its_tool_declares() {
        for (name, tool) in tools() {
            let package = env!("CARGO_MANIFEST_DIR");
            let fixture = fs::read_to_string(format!("{package}/fixtures/tools/{name}.json"));
            let fixture = fixture.expect("a tool has a fixture");
            let fixture: Value = serde_json::from_str(&fixture).expect("a fixture is JSON");
            let cases = fixture["cases"].as_array().into_iter().flatten();
            for exchange in
                cases.flat_map(|case| case["exchanges"].as_array().into_iter().flatten())
            {
                let request = exchange["request"].as_str().expect("a request");
                // Any tool may look a guest up, to find it or to say where it really is, and may look for
                // the cause of a failure.
                let has = |name: &str| tool.params().any(|param| param.name == name);
                let of_tool = |declared: &String| fits(request, declared);
                let twin = twins::of(name).filter(|twin| twin.stands_in);
                let stand_in = twin.and_then(|twin| Some(find(twin.other?)?.tool));
                let is_of = |steps: &[Step]| {
                    let mut steps = steps.iter();
                    steps.any(|step| fits(request, &step.to_string()))
                };
                let declared = request == "GET /cluster/resources"
                    || (has(tasks::WAIT_TIMEOUT.name) && is_of(tasks::REQUESTS))
                    || (tool.permission == Permission::Elevated && is_of(facts::REQUESTS))
                    // It is asked once for the version, where that matters.
                    || request == "GET /version"
                    || (request == "GET /cluster/nextid"
                        && tool.params().any(Param::names_new_guest))
                    || is_of(diagnosis::REQUESTS)
                    || tool.requests().iter().any(of_tool)
                    || stand_in.is_some_and(|twin| twin.requests().iter().any(of_tool));
                assert!(declared, "{name}: {request}");
            }
        }
    }

    #[test]
    fn each_row_of_a_choice_has_a_recorded_call() {
        let safety = Safety::default();
        let mut missing = Vec::new();
        for (name, tool) in tools() {
            let Call::Choice(choice) = tool.call else {
                continue;
            };
            let package = env!("CARGO_MANIFEST_DIR");
            let fixture = fs::read_to_string(format!("{package}/fixtures/tools/{name}.json"));
            let fixture = fixture.expect("a tool has a fixture");
            let fixture: Value = serde_json::from_str(&fixture).expect("a fixture is JSON");
            let cases: Vec<&Value> = fixture["cases"].as_array().into_iter().flatten().collect();
            let reaches = |case: &Value, row: &Row| {
                let arguments = case["arguments"].as_object().cloned().unwrap_or_default();
                let Ok(args) = Args::parse(tool.listed_params(&safety).collect(), &arguments)
                else {
                    return false;
                };
                // A session asks for the version once, so what is recorded may be of any.
                let mut picked = [9, 8, 7]
                    .into_iter()
                    .filter_map(|major| choice.pick(&args, Some(major)).ok()?);
                picked.any(|declared| {
                    let template = format!("{} {}", row.method.as_str(), declared.path());
                    let exchanges = || case["exchanges"].as_array().into_iter().flatten();
                    // What no token can do is refused before anything is sent.
                    let is_refused = exchanges().next().is_none();
                    let sends = exchanges().any(|exchange| {
                        let request = exchange["request"].as_str();
                        request.is_some_and(|request| fits(request, &template))
                    });
                    ptr::eq(declared.row, row) && (sends || is_refused)
                })
            };
            // What only older versions have is in tests of its own: a session has one version.
            let is_recent = |row: &&Row| {
                let mut declared = choice.declared();
                declared
                    .any(|declared| ptr::eq(declared.row, *row) && declared.known_to().contain(9))
            };
            for row in choice.rows.iter().filter(is_recent) {
                if !cases.iter().any(|case| reaches(case, row)) {
                    let (method, rest) = (row.method.as_str(), row.rest);
                    missing.push(format!("{name}: {}: {method} {rest}", row.when));
                }
            }
        }
        assert!(missing.is_empty(), "no call of:\n{}", missing.join("\n"));
    }

    /// Whether `request` is of the form of `template`, whose `{…}` parts take anything.
    fn fits(request: &str, template: &str) -> bool {
        let (request, template) = (request.split('/'), template.split('/'));
        request.clone().count() == template.clone().count()
            && request
                .zip(template)
                .all(|(part, form)| form.starts_with('{') || part == form)
    }
}
