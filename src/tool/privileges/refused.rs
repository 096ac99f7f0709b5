//! What a refused call lacks, and the commands that grant it.

use crate::cluster::volume;
use crate::error::grant::{self, Before, Checked, Grant};
use crate::error::{Error, Refusal};
use crate::param::Args;
use crate::request::{Method, Request};
use crate::safety::Client;
use crate::text::slot::Slot;
use crate::tool::privileges::{Granted, parts};

/// Adds to a refusal for missing privileges the commands that grant everything that the call lacks.
///
/// `lines` is what the tool needs. The token's privileges are read first, so that the commands neither grant
/// what it has nor end what it inherits. If they cannot be read, the commands grant everything that the call
/// needs.
pub(crate) fn explained(
    client: &Client,
    lines: impl IntoIterator<Item = &'static str>,
    args: &Args,
    error: Error,
) -> Error {
    let Some(refusal) = error.refusal().filter(|_| !error.is_advised()) else {
        return error;
    };
    if !matches!(
        refusal.checked(),
        Some(Checked::On(..) | Checked::Something)
    ) {
        return error;
    }
    let advice = client.without_advancing(|| {
        let granted = client.get("/access/permissions").ok().map(Granted::new);
        let mut call = RefusedCall {
            lines: lines.into_iter().collect(),
            args,
            refusal,
            is_taken: false,
        };
        call.is_taken = call.is_taken(client);
        call.remedy(granted.as_ref())
    });
    match advice {
        Some(advice) => error.advise(advice),
        None => error,
    }
}

/// A refused call: what the tool needs, its arguments, and the request that it sent.
struct RefusedCall<'a> {
    lines: Vec<&'static str>,
    args: &'a Args,
    refusal: &'a Refusal,
    /// Whether the VMID of the new guest is taken.
    is_taken: bool,
}

/// The beginning of the line for creating a guest.
const ALLOCATE_NEW: &str = "/vms/{newid}:VM.Allocate";

/// What a call needs: one privilege on one of these paths.
struct CallNeed {
    /// The smallest grant, if its path is known.
    least: Option<(String, &'static str)>,
    /// Paths, each with the privileges of which one is enough.
    places: Vec<(String, Vec<&'static str>)>,
}

/// A path, and the privileges missing there.
type Lack = (String, Vec<String>);

impl RefusedCall<'_> {
    /// Asks Proxmox whether a guest with this VMID exists; the refusal does not say.
    fn is_taken(&self, client: &Client) -> bool {
        let Some(vmid) = self.part("newid").filter(|_| self.was_to_create_guest()) else {
            return false;
        };
        let request = Request::new(Method::Get, "/cluster/nextid").with("vmid", vmid);
        let asked = client.send(&request);
        asked.is_err_and(|error| error.says("already exists"))
    }

    /// Returns whether creating the guest was refused; the refusal does not say.
    fn was_to_create_guest(&self) -> bool {
        let makes = |line: &&str| line.starts_with(ALLOCATE_NEW);
        self.refusal.checked() == Some(Checked::Something) && self.lines.iter().any(makes)
    }

    fn remedy(&self, granted: Option<&Granted>) -> Option<String> {
        if self.is_taken && !self.overwrites() {
            let vmid = self.part("newid")?;
            return Some(format!(
                "There is a guest {vmid} already: proxmox_get_next_vmid names a free VMID."
            ));
        }
        let lacks = self.lacks(granted);
        if lacks.is_empty() {
            return Some("Proxmox does not say which privilege is missing.".to_owned());
        }
        let token_id = self.refusal.token_id();
        let mut text = String::new();
        if self.was_to_create_guest() {
            let privilege = if self.overwrites() {
                "VM.Backup"
            } else {
                "VM.Allocate"
            };
            text = format!("It needs {privilege} on {}", self.path("/vms/{newid}")?);
            if let Some(pool) = self.value("pool") {
                text.push_str(&format!(" or on /pool/{pool}"));
            }
            text.push_str(".\n");
        }
        text.push_str("Grant it on a node as root");
        if let Some(user) = grant::user(token_id) {
            text.push_str(&format!(", to {user} as well"));
        }
        text.push(':');
        let mut ends = false;
        for (path, privileges) in &lacks {
            let grant = Grant {
                path,
                privileges: privileges.iter().map(String::as_str).collect(),
                before: granted.map_or(Before::Unknown, |granted| granted.before(path)),
            };
            ends |= matches!(grant.before, Before::Inherited(_));
            text.push_str(&format!("\n{}", grant.line(token_id)));
        }
        match (granted, grant::user(token_id)) {
            (None, _) => text.push_str(
                "\nA role on a path replaces the inherited ones there: grant those, too (pveum acl list).",
            ),
            (Some(_), Some(user)) if ends => text.push_str(&format!(
                "\nIt ends all other privileges that {user} inherits there (pveum acl list)."
            )),
            _ => (),
        }
        Some(text)
    }

    /// Returns what the call lacks according to Proxmox, and what it would be refused for next.
    fn lacks(&self, granted: Option<&Granted>) -> Vec<Lack> {
        let checked = self.refusal.checked();
        let (refused_path, refused) = match &checked {
            Some(Checked::On(path, privileges)) => (*path, &privileges[..]),
            _ => ("", &[][..]),
        };
        let mut lacks: Vec<Lack> = Vec::new();
        let mut add = |path: &str, privilege: &str| {
            let there = lacks.iter_mut().find(|(known, _)| known == path);
            match there {
                None => lacks.push((path.to_owned(), vec![privilege.to_owned()])),
                Some((_, known)) if known.iter().any(|known| known == privilege) => (),
                Some((_, known)) => known.push(privilege.to_owned()),
            }
        };
        let mut is_found = false;
        let asks = |line: &str| line.starts_with(ALLOCATE_NEW) && self.was_to_create_guest();
        let needs = self.lines.iter().flat_map(|line| {
            let needs = self.needs(line).into_iter();
            needs.map(move |need| (need, asks(line)))
        });
        for (CallNeed { least, places }, is_asked_for) in needs {
            let said = places.iter().find_map(|(path, privileges)| {
                let mut privileges = privileges.iter().filter(|_| path == refused_path);
                let privilege = privileges.find(|privilege| refused.contains(privilege))?;
                Some((path, privilege))
            });
            let has = |granted: &Granted| {
                let mut all = places.iter().flat_map(|(path, privileges)| {
                    privileges.iter().map(move |privilege| (path, privilege))
                });
                all.any(|(path, privilege)| granted.has(path, privilege))
            };
            if let Some((path, privilege)) = said {
                is_found = true;
                add(path, privilege);
            } else if (is_asked_for || !granted.is_some_and(has))
                && let Some((path, privilege)) = &least
            {
                add(path, privilege);
            }
        }
        if !is_found && let Some(privilege) = refused.first() {
            // None of the privileges that admit the request covers what it sends.
            let options = refused.iter().find(|name| **name == "VM.Config.Options");
            add(refused_path, options.unwrap_or(privilege));
        }
        lacks
    }

    /// Returns what a line requires of this call.
    fn needs(&self, line: &'static str) -> Vec<CallNeed> {
        let (places, flag) = parts(line);
        if flag.is_some_and(|flag| !self.is_set(flag)) {
            return Vec::new();
        }
        let places = places.map(|(path, privileges)| {
            let is_new = path == "/vms/{newid}";
            let privileges = privileges.map(|name| match name {
                "VM.Allocate" if is_new && self.overwrites() => "VM.Backup",
                name => name,
            });
            (self.path(path), privileges.collect::<Vec<_>>())
        });
        let places: Vec<_> = places.collect();
        let Some((path, names)) = places.first().cloned() else {
            return Vec::new();
        };
        let known = places.into_iter();
        let known = known.filter_map(|(path, names)| Some((path?, names)));
        let known: Vec<_> = known.collect();
        if !names.iter().all(|name| name.starts_with("VM.Config.")) {
            return vec![CallNeed {
                least: path.zip(names.first().copied()),
                places: known,
            }];
        }
        // Any one of them admits the request, which then needs the privilege for each option that it changes.
        let wanted = self.wanted().into_iter();
        let wanted = wanted.filter(|name| names.contains(name)).map(|name| {
            let places = known.iter();
            CallNeed {
                least: path.clone().map(|path| (path, name)),
                places: places.map(|(path, _)| (path.clone(), vec![name])).collect(),
            }
        });
        wanted.collect()
    }

    /// Fills in the `{name}` parts of `template`; returns `None` if one is unknown.
    fn path(&self, template: &str) -> Option<String> {
        let parts = template.split('/').map(|part| {
            let name = part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'));
            match name {
                Some(name) => self.part(name),
                None => Some(part.to_owned()),
            }
        });
        Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
    }

    fn part(&self, name: &str) -> Option<String> {
        let volume = || {
            let mut names = ["archive", "ostemplate", "iso", "volume"].into_iter();
            names.find_map(|name| self.value(name))
        };
        let storage = || match volume()?.split_once(':') {
            Some((storage, _)) => Some(storage),
            None => self.value("storage"),
        };
        // A guest may be restored from its own backup.
        let owner = || {
            let owner = volume().map(volume::owner)?;
            let is_other = !owner.is_empty() && self.value("vmid") != Some(owner);
            is_other.then_some(owner)
        };
        let part = match name {
            "newid" => self.value("newid").or_else(|| self.value("vmid")),
            "owner" => owner(),
            "volume" => storage(),
            "archive" => owner().and_then(|_| storage()),
            // For other bridges, the refusal names the zone.
            "zone" => self
                .value("bridge")
                .filter(|bridge| bridge.starts_with("vmbr"))
                .map(|_| "localnetwork"),
            name => self.value(name),
        };
        let tag = self
            .value("tag")
            .filter(|tag| name == "bridge" && *tag != "0");
        Some(match (part?, tag) {
            (bridge, Some(tag)) => format!("{bridge}/{tag}"),
            (part, None) => part.to_owned(),
        })
    }

    /// Returns an argument, or a parameter of the request.
    fn value(&self, name: &str) -> Option<&str> {
        let own = self.args.named(name).filter(|value| !value.is_empty());
        own.or_else(|| {
            self.refusal
                .sent()
                .find(|(sent, _)| *sent == name)?
                .1
                .into()
        })
    }

    fn is_set(&self, flag: &str) -> bool {
        self.value(flag) == Some("1")
    }

    /// Returns whether the call restores over an existing guest.
    fn overwrites(&self) -> bool {
        self.is_taken && self.is_set("force") && self.value("archive").is_some()
    }

    /// Returns the privileges for the options that the call changes.
    fn wanted(&self) -> Vec<&'static str> {
        let mut wanted = Vec::new();
        let mut add = |privilege: Option<&'static str>| {
            wanted.extend(privilege.filter(|name| !wanted.contains(name)));
        };
        let mut is_listed = false;
        for param in self.args.params() {
            match param.name {
                "set" => self.args.pairs(param).for_each(|(name, value)| {
                    is_listed = true;
                    add(self.option(name, value).or(Some("VM.Config.Options")));
                }),
                "delete" | "revert" | "disk" | "mp" | "net" => {
                    for name in self.args.list(param) {
                        is_listed |= self.option(name, "").is_some();
                        add(self.option(name, ""));
                    }
                }
                _ => (),
            }
        }
        if is_listed {
            return wanted;
        }
        for param in self.args.params() {
            if let Some(value) = self.args.get(param) {
                add(self.option(param.name, value));
            }
        }
        for (name, value) in self.refusal.sent() {
            add(self.option(name, value));
        }
        wanted
    }

    /// Returns the privilege for an option of a guest (`PVE/API2/Qemu.pm`, `check_vm_modify_config_perm`;
    /// `PVE/LXC.pm`, `check_ct_modify_config_perm`).
    fn option(&self, name: &str, value: &str) -> Option<&'static str> {
        let is_container = self.refusal.path().contains("/lxc");
        Some(match Slot::of(name).family {
            "cores" | "cpu" | "cpulimit" | "cpuunits" | "numa" | "sockets" | "vcpus" => {
                "VM.Config.CPU"
            }
            "allow-ksm" | "balloon" | "memory" | "shares" | "swap" => "VM.Config.Memory",
            "net" => "VM.Config.Network",
            "hostname" | "nameserver" | "searchdomain" if is_container => "VM.Config.Network",
            "cicustom" | "cipassword" | "citype" | "ciupgrade" | "ciuser" | "ipconfig"
            | "nameserver" | "searchdomain" | "sshkeys" => "VM.Config.Cloudinit",
            "ide" | "sata" | "scsi" | "virtio" if value.contains("media=cdrom") => {
                "VM.Config.CDROM"
            }
            "boot" | "bootdisk" | "efidisk" | "ide" | "mp" | "rootfs" | "sata" | "scsi"
            | "tpmstate" | "unused" | "virtio" | "vmstatestorage" => "VM.Config.Disk",
            "acpi" | "audio" | "hostpci" | "hotplug" | "kvm" | "machine" | "rng" | "scsihw"
            | "serial" | "smbios" | "tablet" | "usb" | "vga" | "watchdog" => "VM.Config.HWType",
            "agent" | "arch" | "autostart" | "bios" | "cmode" | "console" | "description"
            | "keyboard" | "localtime" | "name" | "onboot" | "ostype" | "protection" | "reboot"
            | "startdate" | "startup" | "tags" | "tdf" | "template" | "timezone" | "tty" => {
                "VM.Config.Options"
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::request::Response;
    use crate::tool::ListedTool;
    use crate::tool::privileges::lines;
    use crate::tools;

    /// Returns the advice on the refusal of a call, given the request, Proxmox's message, and what the
    /// token has.
    #[track_caller]
    fn remedy(
        (tool, arguments): (&str, Value),
        request: &Request,
        said: &str,
        granted: Option<Value>,
        is_taken: bool,
    ) -> String {
        let ListedTool { tool, .. } = tools::find(tool).expect("it is listed");
        let arguments = arguments.as_object().expect("an object");
        let args = Args::parse(tool.params().collect(), arguments).expect("they are right");
        let body = json!({ "data": null, "message": format!("{said}\n") });
        let reply = Response::at_once(403, said, body);
        let refusal = Refusal::new(request, &reply, "mcp@pve!mcp");
        let call = RefusedCall {
            lines: lines(tool, None),
            args: &args,
            refusal: &refusal,
            is_taken,
        };
        let granted = granted.map(Granted::new);
        call.remedy(granted.as_ref()).expect("there is a remedy")
    }

    /// The privileges that are granted, each with its path.
    fn grants(text: &str) -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once("--privs "));
        let grants = lines.map(|(_, line)| {
            let (privileges, line) = line.split_once(" && pveum acl modify ").expect("a grant");
            let (path, _) = line.split_once(" --users mcp@pve --tokens ").expect(line);
            format!("{path} {privileges}")
        });
        grants.collect()
    }

    fn post(path: &str, form: &[(&str, &str)]) -> Request {
        let request = Request::new(Method::Post, path);
        let form = form.iter();
        form.fold(request, |request, (name, value)| {
            request.with(*name, *value)
        })
    }

    const CONFIG_OF_VM: &str = "Permission check failed (/vms/100, VM.Config.Disk|VM.Config.CDROM|\
        VM.Config.CPU|VM.Config.Memory|VM.Config.Network|VM.Config.HWType|VM.Config.Options|\
        VM.Config.Cloudinit)";

    #[test]
    fn if_several_privileges_suffice_grants_those_for_what_was_sent() {
        for (tool, given, expected) in [
            (
                "proxmox_resize_vm",
                json!({ "memory": 1024 }),
                "VM.Config.Memory",
            ),
            ("proxmox_resize_vm", json!({ "cores": 2 }), "VM.Config.CPU"),
            (
                "proxmox_resize_vm",
                json!({ "cores": 2, "balloon": 512 }),
                "VM.Config.CPU,VM.Config.Memory",
            ),
            (
                "proxmox_remove_network_vm",
                json!({ "net": "net1" }),
                "VM.Config.Network",
            ),
            (
                "proxmox_remove_disk_vm",
                json!({ "disk": "scsi1" }),
                "VM.Config.Disk",
            ),
            (
                "proxmox_update_guest_config",
                json!({ "type": "qemu", "set": { "onboot": "1" } }),
                "VM.Config.Options",
            ),
            (
                "proxmox_update_guest_config",
                json!({ "type": "qemu", "set": { "ciuser": "ada", "description": "x" }, "delete": ["boot"] }),
                "VM.Config.Cloudinit,VM.Config.Disk,VM.Config.Options",
            ),
            (
                "proxmox_update_guest_config",
                json!({ "type": "qemu", "set": { "ide2": "local:iso/debian.iso,media=cdrom" } }),
                "VM.Config.CDROM",
            ),
            (
                "proxmox_update_guest_config",
                json!({ "type": "qemu", "set": { "agent": "1" }, "revert": ["cores"] }),
                "VM.Config.CPU,VM.Config.Options",
            ),
        ] {
            let mut arguments = json!({ "node": "pve1", "vmid": 100 });
            let given = given.as_object().expect("an object").clone();
            arguments.as_object_mut().expect("an object").extend(given);
            let request = Request::new(Method::Put, "/nodes/pve1/qemu/100/config");
            let call = (tool, arguments.clone());
            // The configuration is read first, which this token is allowed to.
            let audit = json!({ "/vms/100": { "VM.Audit": 1 } });
            let text = remedy(call, &request, CONFIG_OF_VM, Some(audit), false);
            assert_eq!(
                grants(&text),
                [format!("/vms/100 {expected}")],
                "{arguments}"
            );
        }
    }

    #[test]
    fn options_of_a_container_have_their_own_privileges() {
        let call = (
            "proxmox_update_guest_config",
            json!({ "node": "pve1", "vmid": 200, "type": "lxc", "set": { "nameserver": "192.0.2.1" } }),
        );
        let request = Request::new(Method::Put, "/nodes/pve1/lxc/200/config");
        let said = "Permission check failed (/vms/200, VM.Config.Disk|VM.Config.CPU|VM.Config.Memory|\
                    VM.Config.Network|VM.Config.Options)";
        let audit = json!({ "/vms/200": { "VM.Audit": 1 } });
        let text = remedy(call, &request, said, Some(audit), false);
        assert_eq!(grants(&text), ["/vms/200 VM.Config.Network"]);
    }

    #[test]
    fn a_rollback_needs_only_the_rollback_privilege() {
        let call = (
            "proxmox_rollback_snapshot_vm",
            json!({ "node": "pve1", "vmid": 101, "snapname": "clean" }),
        );
        let request = post("/nodes/pve1/qemu/101/snapshot/clean/rollback", &[]);
        let said = "Permission check failed (/vms/101, VM.Snapshot|VM.Snapshot.Rollback)";
        let text = remedy(call, &request, said, Some(json!({})), false);
        assert_eq!(grants(&text), ["/vms/101 VM.Snapshot.Rollback"]);
    }

    #[test]
    fn a_refusal_of_the_first_request_grants_what_later_ones_need() {
        let call = (
            "proxmox_add_disk_vm",
            json!({ "node": "pve1", "vmid": 100, "disk": "scsi1", "storage": "local-lvm", "size": "8" }),
        );
        let request = Request::new(Method::Get, "/nodes/pve1/qemu/100/config");
        let said = "Permission check failed (/vms/100, VM.Audit)";
        let expected = [
            "/vms/100 VM.Audit,VM.Config.Disk",
            "/storage/local-lvm Datastore.AllocateSpace",
        ];
        let text = remedy(call.clone(), &request, said, Some(json!({})), false);
        assert_eq!(grants(&text), expected);
        // The privileges of the token could not be read.
        let text = remedy(call, &request, said, None, false);
        assert_eq!(grants(&text), expected);
        assert!(
            text.contains("A role on a path replaces the inherited ones"),
            "{text}"
        );
    }

    #[test]
    fn creating_a_guest_needs_a_privilege_on_its_vmid() {
        let bare = "Permission check failed";
        let auditor = json!({ "VM.Audit": 1, "Sys.Audit": 1, "Datastore.Audit": 1 });
        let auditor = json!({ "/": auditor, "/vms": auditor, "/storage": auditor });
        let create = post(
            "/nodes/pve1/qemu",
            &[
                ("vmid", "141"),
                ("name", "web"),
                ("memory", "512"),
                ("cores", "1"),
                ("scsihw", "virtio-scsi-single"),
                ("scsi0", "local:8"),
                ("net0", "virtio,bridge=vmbr0"),
                // An ISO image needs no privilege while the VM does not exist.
                ("ide2", "local:iso/debian.iso,media=cdrom"),
                ("boot", "order=scsi0;net0"),
            ],
        );
        let arguments = json!({
            "node": "pve1", "vmid": 141, "name": "web", "storage": "local", "pool": "dev", "start": true,
        });
        let call = ("proxmox_create_vm", arguments);
        let text = remedy(call.clone(), &create, bare, Some(auditor.clone()), false);
        assert_eq!(
            text.lines().next(),
            Some("It needs VM.Allocate on /vms/141 or on /pool/dev.")
        );
        assert_eq!(
            grants(&text),
            [
                "/vms/141 VM.Allocate,VM.Config.CPU,VM.Config.Disk,VM.Config.HWType,VM.Config.Memory,\
                 VM.Config.Network,VM.Config.Options,VM.PowerMgmt",
                "/storage/local Datastore.AllocateSpace",
                "/sdn/zones/localnetwork/vmbr0 SDN.Use",
            ]
        );
        assert!(text.contains("--roles PVEAuditor,MCP-vms-141"), "{text}");
        let text = remedy(call, &create, bare, Some(auditor.clone()), true);
        assert_eq!(
            text,
            "There is a guest 141 already: proxmox_get_next_vmid names a free VMID."
        );

        let clone = post("/nodes/pve1/qemu/100/clone", &[("newid", "140")]);
        let call = (
            "proxmox_clone_vm",
            json!({ "node": "pve1", "vmid": 100, "newid": 140 }),
        );
        let may_clone = json!({ "/vms/100": { "VM.Clone": 1, "VM.Allocate": 1 } });
        let text = remedy(call, &clone, bare, Some(may_clone), false);
        assert_eq!(grants(&text), ["/vms/140 VM.Allocate"]);
        assert!(
            text.starts_with("It needs VM.Allocate on /vms/140.\n"),
            "{text}"
        );
    }

    #[test]
    fn restoring_over_a_guest_needs_the_backup_privilege() {
        let archive = "local:backup/vzdump-qemu-100-2026_07_14-02_00_02.vma.zst";
        for (vmid, is_taken, expected) in [
            ("100", true, &["/vms/100 VM.Backup"][..]),
            (
                "300",
                false,
                &[
                    "/vms/300 VM.Allocate",
                    "/vms/100 VM.Backup",
                    "/storage/local Datastore.AllocateSpace",
                ],
            ),
        ] {
            let form = [("vmid", vmid), ("archive", archive), ("force", "1")];
            let request = post("/nodes/pve1/qemu", &form);
            let arguments =
                json!({ "node": "pve1", "vmid": vmid, "archive": archive, "force": true });
            let call = ("proxmox_restore_backup_vm", arguments);
            let said = "Permission check failed";
            let text = remedy(call, &request, said, Some(json!({})), is_taken);
            assert_eq!(grants(&text), expected, "{text}");
        }
    }

    #[test]
    fn grants_unforeseen_privileges_as_proxmox_names_them() {
        let call = ("proxmox_get_nodes", json!({}));
        let request = Request::new(Method::Get, "/nodes");
        for (said, expected) in [
            (
                "Permission check failed (/sdn/zones/fz, SDN.Audit)",
                "/sdn/zones/fz SDN.Audit",
            ),
            (
                "Permission check failed (/vms/100, VM.GuestAgent.FileRead|VM.GuestAgent.Unrestricted)",
                "/vms/100 VM.GuestAgent.FileRead",
            ),
            (CONFIG_OF_VM, "/vms/100 VM.Config.Options"),
        ] {
            let text = remedy(call.clone(), &request, said, Some(json!({})), false);
            assert_eq!(grants(&text), [expected]);
        }
        let text = remedy(call, &request, "Permission check failed", None, false);
        assert_eq!(text, "Proxmox does not say which privilege is missing.");
    }
}
