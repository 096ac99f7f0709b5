//! Tools for one kind of guest, and the tool that does the same for the other kind.

use crate::cluster::guests::{Guest, Twins};

/// Tools that do the same, one for containers and one for VMs.
struct Pair {
    container: Option<&'static str>,
    vm: Option<&'static str>,
    /// Whether each passes a call with a guest of the other kind on to its twin.
    ///
    /// Only for what loses nothing if the caller confused two guests: starting, shutting down, saving, listing. A
    /// caller that stops at once, rolls back, replaces or deletes must know the kind of the guest.
    both: bool,
}

static PAIRS: &[Pair] = &[
    apart("proxmox_get_lxc_config", "proxmox_get_vm_config"),
    alike("proxmox_start_lxc", "proxmox_start_vm"),
    apart("proxmox_stop_lxc", "proxmox_stop_vm"),
    alike("proxmox_shutdown_lxc", "proxmox_shutdown_vm"),
    alike("proxmox_reboot_lxc", "proxmox_reboot_vm"),
    of_vms("proxmox_pause_vm"),
    of_vms("proxmox_resume_vm"),
    apart("proxmox_delete_lxc", "proxmox_delete_vm"),
    apart("proxmox_clone_lxc", "proxmox_clone_vm"),
    apart("proxmox_resize_lxc", "proxmox_resize_vm"),
    alike("proxmox_create_snapshot_lxc", "proxmox_create_snapshot_vm"),
    alike("proxmox_list_snapshots_lxc", "proxmox_list_snapshots_vm"),
    apart(
        "proxmox_rollback_snapshot_lxc",
        "proxmox_rollback_snapshot_vm",
    ),
    apart("proxmox_delete_snapshot_lxc", "proxmox_delete_snapshot_vm"),
    alike("proxmox_create_backup_lxc", "proxmox_create_backup_vm"),
    apart("proxmox_add_mountpoint_lxc", "proxmox_add_disk_vm"),
    apart("proxmox_resize_disk_lxc", "proxmox_resize_disk_vm"),
    apart("proxmox_remove_mountpoint_lxc", "proxmox_remove_disk_vm"),
    apart("proxmox_move_disk_lxc", "proxmox_move_disk_vm"),
    apart("proxmox_add_network_lxc", "proxmox_add_network_vm"),
    apart("proxmox_update_network_lxc", "proxmox_update_network_vm"),
    apart("proxmox_remove_network_lxc", "proxmox_remove_network_vm"),
    apart("proxmox_migrate_lxc", "proxmox_migrate_vm"),
    of_vms("proxmox_get_cloudinit"),
    of_vms("proxmox_regenerate_cloudinit"),
    of_vms("proxmox_set_cdrom"),
    of_vms("proxmox_query_agent"),
    of_vms("proxmox_control_agent"),
    of_vms("proxmox_read_agent_file"),
    of_vms("proxmox_write_agent_file"),
    of_vms("proxmox_set_agent_password"),
];

const fn apart(container: &'static str, vm: &'static str) -> Pair {
    Pair {
        container: Some(container),
        vm: Some(vm),
        both: false,
    }
}

const fn alike(container: &'static str, vm: &'static str) -> Pair {
    Pair {
        both: true,
        ..apart(container, vm)
    }
}

const fn of_vms(vm: &'static str) -> Pair {
    Pair {
        container: None,
        vm: Some(vm),
        both: false,
    }
}

/// Returns the kind that `tool` is for, and its twin; `None` if it is for both kinds, or not for guests.
pub(crate) fn of(tool: &str) -> Option<Twins> {
    PAIRS.iter().find_map(|pair| {
        let (kind, other) = match tool {
            _ if pair.container == Some(tool) => (Guest::Container, pair.vm),
            _ if pair.vm == Some(tool) => (Guest::Vm, pair.container),
            _ => return None,
        };
        Some(Twins {
            kind,
            other,
            stands_in: pair.both,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::{self, DOMAINS};

    fn listed() -> Vec<&'static str> {
        PAIRS
            .iter()
            .flat_map(|pair| [pair.container, pair.vm])
            .flatten()
            .collect()
    }

    #[test]
    fn each_tool_for_one_kind_is_listed_once_and_requests_only_that_kind() {
        let listed = listed();
        for (name, tool) in DOMAINS.iter().flat_map(|domain| domain.tools) {
            let takes = |name: &str| tool.params().any(|param| param.name == name);
            let is_about_a_guest = tool.params().any(|param| {
                param.takes_several() || (param.names_guest() && param.is_listed_as_required())
            });
            let expected = usize::from(is_about_a_guest && !takes("type"));
            let count = listed.iter().filter(|listed| *listed == name).count();
            assert_eq!(count, expected, "{name}");
            let Some(twin) = of(name) else {
                continue;
            };
            let other = match twin.kind {
                Guest::Container => "/qemu/{vmid}",
                Guest::Vm => "/lxc/{vmid}",
            };
            let requests = tool.requests();
            assert!(!requests.iter().any(|path| path.contains(other)), "{name}");
        }
    }

    #[test]
    fn only_harmless_tools_stand_in_for_each_other() {
        let alike: Vec<&str> = PAIRS
            .iter()
            .filter(|pair| pair.both)
            .filter_map(|pair| pair.container)
            .collect();
        assert_eq!(
            alike,
            [
                "proxmox_start_lxc",
                "proxmox_shutdown_lxc",
                "proxmox_reboot_lxc",
                "proxmox_create_snapshot_lxc",
                "proxmox_list_snapshots_lxc",
                "proxmox_create_backup_lxc",
            ]
        );
    }

    /// Both need the same permission, and an argument must mean the same to both.
    #[test]
    fn twins_that_stand_in_for_each_other_are_alike() {
        for pair in PAIRS.iter().filter(|pair| pair.both) {
            let tool =
                |name: Option<&str>| tools::find(name.expect("both")).expect("it exists").tool;
            let (container, vm) = (tool(pair.container), tool(pair.vm));
            assert_eq!(container.permission, vm.permission);
            assert_eq!(container.effect, vm.effect);
            for (tool, twin) in [(container, vm), (vm, container)] {
                for param in tool.params() {
                    let same = twin.params().find(|twin| twin.name == param.name);
                    let fits = match same {
                        None => !param.is_listed_as_required(),
                        Some(same) => same.schema() == param.schema(),
                    };
                    assert!(fits, "{}: {}", tool.title, param.name);
                }
            }
        }
    }
}
