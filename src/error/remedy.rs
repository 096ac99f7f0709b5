//! What to do about a failure that Proxmox reported. The advice depends on the request or task that failed,
//! and on the pattern of a whole line of the message; a single word is never enough.

mod transit;

use crate::error::grant::Checked;
use crate::request::Method;
use crate::text::glob::Glob;
use crate::text::upid::Upid;
pub(crate) use transit::Transit;

/// A failure as Proxmox reported it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Case {
    /// `POST /nodes/pve1/qemu/100/status/shutdown`, or the type of a task: `qmshutdown`.
    pub(crate) what: String,
    /// The message; for a task, its exit status and then its log from the last line to the first.
    pub(crate) said: String,
    pub(crate) node: Option<String>,
    /// `qemu` or `lxc`, if known.
    pub(crate) kind: Option<&'static str>,
    pub(crate) vmid: Option<String>,
    /// The task that failed, if it was one.
    pub(crate) upid: Option<String>,
}

/// The prefix of task types for each kind of guest, and its name in paths.
const KINDS: &[(&str, &str)] = &[("qm", "qemu"), ("vz", "lxc")];

/// Advice on a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// A sentence.
    Say(&'static str),
    /// A lock in the guest's configuration, which a task holds or left behind.
    GuestLock,
    /// The guest's lock file, which a process holds until it ends.
    LockFile,
    /// A volume of the guest that cannot have snapshots.
    NoSnapshots,
}

/// What failed, how Proxmox reports it, and the advice.
struct Row {
    /// Globs for [`Case::what`]; an empty list matches anything.
    of: &'static [&'static str],
    /// Globs, one of which must match a whole line.
    said: &'static [&'static str],
    advice: Advice,
}

use Advice::{GuestLock, LockFile, NoSnapshots, Say};

const ANYWHERE: &[&str] = &[];
const AGENT: &[&str] = &["* */agent/*"];
const CLONE: &[&str] = &["POST */clone", "qmclone", "vzclone"];
const MIGRATION: &[&str] = &["POST */migrate", "qmigrate", "vzmigrate"];
const TEMPLATE: &[&str] = &["POST */template"];
const BACKUP_JOBS: &[&str] = &["* /cluster/backup*"];
const ACCESS: &[&str] = &["* /access/*"];
const HA_RULES: &[&str] = &["* /cluster/ha/rules*"];
const SDN: &[&str] = &["* /cluster/sdn/*"];
const SHUTDOWN: &[&str] = &[
    "POST */status/shutdown",
    "qmshutdown",
    "vzshutdown",
    "hastop",
];
const PAUSED: &[&str] = &["POST */status/shutdown", "qmshutdown"];
const REBOOT: &[&str] = &["POST */status/reboot", "qmreboot"];
const NEEDS_AGENT: Advice =
    Say("The VM needs agent=1 in its configuration and qemu-guest-agent running inside.");
const CHANGED: Advice =
    Say("It was changed meanwhile: read the configuration again, then call with its new digest.");
const EXISTS: Advice = Say("action=update changes it; a new one needs another name.");
const FULL: Advice =
    Say("A storage is full: proxmox_get_storage shows which. Free space there, or use another.");

/// The first matching row counts. The messages are those in the source of Proxmox VE.
static ROWS: &[Row] = &[
    Row {
        of: ANYWHERE,
        said: &["*executable not found '/usr/bin/proxmox-file-restore'*"],
        advice: Say("On the node, as root: apt install proxmox-backup-file-restore"),
    },
    Row {
        of: &["GET */file-restore/*"],
        said: &["*Only PBS storages supported for file-restore."],
        advice: Say(
            "Other backups can only be restored whole: restore this one as another guest, and take the files from there.",
        ),
    },
    Row {
        of: &["POST */aplinfo"],
        said: &["*no such template"],
        advice: Say("proxmox_get_node_aplinfo lists the templates of the index."),
    },
    Row {
        of: ANYWHERE,
        said: &["Install 'skopeo' to *"],
        advice: Say("On the node, as root: apt install skopeo"),
    },
    Row {
        of: &["* */prunebackups"],
        said: &["no prune-backups options configured for storage *"],
        advice: Say("Give keep, such as keep-last=3: the storage has no policy of its own."),
    },
    Row {
        of: &["* */ceph/*"],
        said: &[
            "binary not installed: /usr/bin/ceph-*",
            "pveceph configuration not initialized*",
        ],
        advice: Say(
            "Ceph, or this part of it, is not set up there: name a node that has it, or have an administrator run pveceph install and pveceph init on this one.",
        ),
    },
    // QMPClient.pm reports "got timeout" only for the agent and for QEMU.
    Row {
        of: AGENT,
        said: &["VM * command 'guest-*' failed - got timeout"],
        advice: Say(
            "qemu-guest-agent did not answer: see whether the guest hangs, or restart that service inside it. The command may have been carried out.",
        ),
    },
    Row {
        of: ANYWHERE,
        said: &[
            "*VM * command 'guest-fsfreeze-*' failed - got timeout",
            "*querying status after freezing guest fs failed - *",
            "*unable to freeze guest fs - *",
        ],
        advice: Say(
            "qemu-guest-agent did not freeze the guest's file systems: restart that service inside the guest, or turn freezing off with freeze-fs-on-backup=0 in the option agent.",
        ),
    },
    Row {
        of: AGENT,
        said: &["*Agent error: *guest-exec* has been disabled*"],
        advice: Say(
            "The guest's own settings of qemu-guest-agent forbid it (allow-rpcs or block-rpcs in qemu-ga.conf).",
        ),
    },
    Row {
        of: AGENT,
        said: &[
            "QEMU guest agent is not running",
            "No QEMU guest agent configured",
        ],
        advice: NEEDS_AGENT,
    },
    Row {
        of: AGENT,
        said: &["VM * is not running"],
        advice: Say("Start it first: proxmox_start_vm."),
    },
    Row {
        of: ANYWHERE,
        said: &["*VM * qmp command '*' failed - got timeout"],
        advice: Say(
            "QEMU did not answer in time: the VM or its storage may hang. Look at its state before you repeat this.",
        ),
    },
    Row {
        of: SHUTDOWN,
        said: &[
            "VM quit/powerdown failed",
            "VM quit/powerdown failed - got timeout",
            "container did not stop",
        ],
        advice: Say(
            "The guest did not shut down in time: look at its state, then repeat it with a longer timeout, or with force_stop=true, which cuts it off.",
        ),
    },
    Row {
        of: REBOOT,
        said: &[
            "VM quit/powerdown failed",
            "VM quit/powerdown failed - got timeout",
        ],
        advice: Say(
            "The guest did not shut down in time: look at its state, then repeat it with a longer timeout, or force it: proxmox_stop_vm, then proxmox_start_vm.",
        ),
    },
    Row {
        of: PAUSED,
        said: &["VM is paused - cannot shutdown"],
        advice: Say("Continue it first (proxmox_resume_vm), or give force_stop=true."),
    },
    Row {
        of: REBOOT,
        said: &["VM is paused - cannot shutdown"],
        advice: Say("Continue it first (proxmox_resume_vm)."),
    },
    // Locks. Two of them are states that a user put the guest into.
    Row {
        of: ANYWHERE,
        said: &["*VM is locked (suspended)"],
        advice: Say(
            "The VM is hibernated: start it (proxmox_start_vm resumes it), then repeat this.",
        ),
    },
    Row {
        of: ANYWHERE,
        said: &["*CT is locked (mounted)"],
        advice: Say("The container's file systems are mounted on its node: run pct unmount there."),
    },
    Row {
        of: ANYWHERE,
        said: &["*VM is locked (*)", "*CT is locked (*)"],
        advice: GuestLock,
    },
    Row {
        of: ANYWHERE,
        said: &["*can't lock file '*' - got timeout"],
        advice: LockFile,
    },
    Row {
        of: ANYWHERE,
        said: &[
            "*cfs-lock '*' error: got lock request timeout",
            // Before PVE 8.
            "*error during cfs-locked '*' operation: got lock request timeout",
        ],
        advice: Say(
            "Another task holds that cluster lock: proxmox_list_cluster_tasks shows what is running; repeat this when it has ended. If none is, the lock is stale and expires within two minutes.",
        ),
    },
    Row {
        of: ANYWHERE,
        said: &["*can't acquire lock '*vzdump.lock' - got timeout*"],
        advice: Say(
            "Another backup is running on that node: proxmox_get_node_tasks shows it. Repeat this when it has ended.",
        ),
    },
    Row {
        of: ANYWHERE,
        said: &[
            "*cluster not ready - no quorum?",
            "*cfs-lock '*' error: no quorum!",
        ],
        advice: Say(
            "The cluster has no quorum, so nothing can be changed: proxmox_get_cluster_status shows which nodes are missing.",
        ),
    },
    Row {
        of: ANYWHERE,
        said: &[
            "*checksum mismatch (file change by other user?)",
            "*detected modified configuration - file changed by other user? Try again.",
        ],
        advice: CHANGED,
    },
    // Volumes and storages.
    Row {
        of: CLONE,
        said: &[
            "Linked clone feature is not supported for *",
            "Linked clone feature for '*' is not available",
        ],
        advice: Say("That volume cannot have linked clones: give full=true."),
    },
    Row {
        of: CLONE,
        said: &["*parameter '*' not allowed for linked clones"],
        advice: Say("Give full=true, or leave that parameter out."),
    },
    Row {
        of: CLONE,
        said: &["Full clone feature is not supported for a snapshot of *"],
        advice: Say("That volume can only be copied as it is now: leave snapname out."),
    },
    Row {
        of: CLONE,
        said: &["Full clone of a running container is only possible from a snapshot"],
        advice: Say("Give snapname (proxmox_list_snapshots_lxc), or stop it first."),
    },
    Row {
        of: CLONE,
        said: &["can't clone VM to node '*' (VM uses local storage)"],
        advice: Say(
            "Leave target out: only volumes on shared storages can be cloned to another node.",
        ),
    },
    Row {
        of: ANYWHERE,
        said: &["snapshot feature is not available"],
        advice: NoSnapshots,
    },
    Row {
        of: AGENT,
        said: &["Agent error: The command guest-* has not been found"],
        advice: Say(
            "The guest's agent does not have this command (proxmox_query_agent with query=info lists them); a newer qemu-guest-agent may.",
        ),
    },
    Row {
        of: ANYWHERE,
        // A full disk or a missing file is one inside the guest, then.
        said: &["Agent error: *"],
        advice: Say("The error comes from inside the guest: fix it there."),
    },
    Row {
        of: ANYWHERE,
        said: &[
            "*No space left on device*",
            "*insufficient free space*",
            "*not enough free space*",
        ],
        advice: FULL,
    },
    Row {
        of: ANYWHERE,
        said: &["*storage '*' is not online"],
        advice: Say("That storage is not reachable: proxmox_get_storage shows which are."),
    },
    Row {
        of: ANYWHERE,
        said: &["*storage '*' is not available on node '*'"],
        advice: Say("proxmox_get_storage with node lists the storages of that node."),
    },
    Row {
        of: ANYWHERE,
        said: &["*storage '*' does not exist"],
        advice: Say("proxmox_get_storage lists the storages."),
    },
    Row {
        of: ANYWHERE,
        said: &["*bridge '*' does not exist"],
        advice: Say("proxmox_get_node_network lists the bridges."),
    },
    Row {
        of: ANYWHERE,
        said: &["*unable to delete '*' - volume is still in use (snapshot?)"],
        advice: Say("Delete the snapshots that still use it first."),
    },
    Row {
        of: ANYWHERE,
        said: &["base volume '*' is still in use by linked clone*"],
        advice: Say("Delete its linked clones first."),
    },
    Row {
        of: &[
            "POST */move_disk",
            "POST */move_volume",
            "qmmove",
            "move_volume",
        ],
        said: &["*with snapshots and delete the source"],
        advice: Say("Give delete=false, or delete its snapshots first."),
    },
    Row {
        of: &["POST */move_volume", "move_volume"],
        said: &["cannot move volumes of a running container"],
        advice: Say("Stop it first: proxmox_shutdown_lxc."),
    },
    // Guests and nodes.
    Row {
        of: ANYWHERE,
        said: &[
            "*hostname lookup '*' failed - *",
            "*address lookup for '*' did not find any IP address",
            "*no such cluster node '*'",
        ],
        advice: Say("proxmox_get_nodes lists the nodes."),
    },
    Row {
        of: ANYWHERE,
        said: &[
            "*VM * already exists on node '*'",
            "*CT * already exists on node '*'",
            "unable to create VM *: config file already exists",
        ],
        advice: Say("proxmox_get_next_vmid names a free VMID."),
    },
    Row {
        of: ANYWHERE,
        said: &["*Cannot allocate memory*"],
        advice: Say(
            "The node does not have enough free memory: stop a guest there, or use another node (proxmox_get_nodes shows how much each has).",
        ),
    },
    // Migration and templates.
    Row {
        of: MIGRATION,
        said: &["can't migrate running VM without --online"],
        advice: Say("Give online=true: it moves while it runs."),
    },
    Row {
        of: MIGRATION,
        said: &["can't migrate running container without --online or --restart"],
        advice: Say("Give restart=true: it is shut down, moved and started there."),
    },
    Row {
        of: MIGRATION,
        said: &["*can't live migrate attached local disks without with-local-disks option"],
        advice: Say("Give with_local_disks=true: they are copied as well."),
    },
    Row {
        of: MIGRATION,
        said: &["*Can't connect to destination address using public key"],
        advice: Say(
            "The node cannot reach the target by SSH: see whether that is online (proxmox_get_nodes); if so, pvecm updatecerts on both, as root, renews the keys.",
        ),
    },
    Row {
        of: TEMPLATE,
        said: &["unable to create template, because * contains snapshots"],
        advice: Say("Delete its snapshots first."),
    },
    Row {
        of: TEMPLATE,
        said: &["you can't convert a * to * if * is running"],
        advice: Say("Shut it down first."),
    },
    Row {
        of: &["GET */rrddata"],
        said: &["RRD error: opening '*': No such file or directory"],
        advice: Say(
            "No data was recorded for it, so it may not exist: proxmox_get_vms, proxmox_get_nodes and proxmox_get_storage list what does.",
        ),
    },
    Row {
        of: ANYWHERE,
        said: &["VM * is running - destroy failed"],
        advice: Say("Stop it first: proxmox_shutdown_vm or proxmox_stop_vm."),
    },
    Row {
        of: ANYWHERE,
        said: &["unable to destroy CT * - container is running"],
        advice: Say("Stop it first (proxmox_shutdown_lxc), or give force=true."),
    },
    Row {
        of: ANYWHERE,
        said: &["*purge parameter not set."],
        advice: Say("purge=true also removes it from HA, replication and backup jobs."),
    },
    Row {
        of: ANYWHERE,
        said: &["* - protection mode enabled"],
        advice: Say(
            "Its option protection=1 forbids it: only if the user agrees, set protection=0 first.",
        ),
    },
    Row {
        of: ANYWHERE,
        said: &["balloon value too large *"],
        advice: Say("Give a smaller balloon as well: it cannot exceed memory."),
    },
    // Pools, jobs and the firewall.
    Row {
        of: &["DELETE /pools*"],
        said: &["*pool '*' is not empty*"],
        advice: Say(
            "Remove its members first (action=remove_members; proxmox_list_pools with poolid lists them), and delete the pools in it.",
        ),
    },
    Row {
        of: &["PUT /pools*"],
        said: &["*belongs already to pool '*' and 'allow-move' is not set"],
        advice: Say(
            "allow_move=true takes it out of that pool, with the privileges granted there.",
        ),
    },
    Row {
        of: &["PUT /pools*"],
        said: &["*is already a pool member", "*is not a pool member"],
        advice: Say("Leave it out; proxmox_list_pools with poolid lists the members."),
    },
    Row {
        of: &["POST /pools*"],
        said: &["*parent '*' of pool '*' does not exist"],
        advice: Say("Create the parent first."),
    },
    Row {
        of: ANYWHERE,
        said: &["*pool '*' does not exist*"],
        advice: Say("proxmox_list_pools lists the pools."),
    },
    Row {
        of: BACKUP_JOBS,
        said: &["vmid: property is missing"],
        advice: Say("A job needs a selection: give vmid, all=true or pool."),
    },
    Row {
        of: BACKUP_JOBS,
        said: &["id: No such job '*'", "no such vzdump job"],
        advice: Say("proxmox_list_backup_jobs lists the jobs."),
    },
    Row {
        of: &["POST /cluster/backup"],
        said: &["Job '*' already exists"],
        advice: EXISTS,
    },
    Row {
        of: ANYWHERE,
        said: &["schedule: invalid format - *"],
        advice: Say("Valid schedules look like sat 02:00, mon..fri 22:30 or */6:00."),
    },
    Row {
        of: &["POST /cluster/replication"],
        said: &[
            "missing replicate feature on volume '*'",
            "No replicatable volumes found",
        ],
        advice: Say(
            "Only volumes on ZFS can be replicated: move its disks there (proxmox_move_disk_vm, proxmox_move_disk_lxc), or exclude one with its option replicate=0.",
        ),
    },
    Row {
        of: &["POST /cluster/replication"],
        said: &["Source and target must not be identical"],
        advice: Say("Give another node as target."),
    },
    Row {
        of: &["POST /cluster/replication"],
        said: &["replication job * already exists"],
        advice: EXISTS,
    },
    Row {
        of: ANYWHERE,
        said: &["no such replication job '*'", "no such job '*'"],
        advice: Say("proxmox_list_replication_jobs lists the jobs."),
    },
    Row {
        of: &["DELETE /cluster/firewall/groups/*"],
        said: &["Security group '*' is not empty"],
        advice: Say("Delete its rules first: proxmox_list_firewall_rules lists them."),
    },
    Row {
        of: &["DELETE */ipset/*"],
        said: &["IPSet '*' is not empty"],
        advice: Say("force=true deletes its entries as well."),
    },
    Row {
        of: ANYWHERE,
        said: &[
            "no such IPSet '*'",
            "no such alias '*'",
            "no such security group '*'",
        ],
        advice: Say("proxmox_list_firewall_objects lists those of each scope."),
    },
    Row {
        of: ANYWHERE,
        said: &["no rule at position *"],
        advice: Say("proxmox_list_firewall_rules shows the present positions."),
    },
    Row {
        of: ANYWHERE,
        said: &["invalid vnet specified at *"],
        advice: Say(
            "proxmox_list_sdn lists the vnets; a new one has a firewall once proxmox_apply_sdn has applied it.",
        ),
    },
    // HA rules and SDN.
    Row {
        of: HA_RULES,
        said: &["*cannot use unmanaged resource(s) *"],
        advice: Say("Put them under HA first: proxmox_manage_ha_resource."),
    },
    Row {
        of: HA_RULES,
        said: &["*resource '*' is already used in another node affinity rule"],
        advice: Say(
            "A resource is in one such rule only: proxmox_list_ha_rules with resource shows it; change that one.",
        ),
    },
    Row {
        of: HA_RULES,
        said: &["*HA rule '*' already defined"],
        advice: EXISTS,
    },
    Row {
        of: HA_RULES,
        said: &["no such ha rule '*'"],
        advice: Say("proxmox_list_ha_rules lists the rules."),
    },
    Row {
        of: ANYWHERE,
        said: &["*ha groups have been migrated to rules"],
        advice: Say("Use rules instead: proxmox_manage_ha_rule with type=node-affinity."),
    },
    Row {
        of: SDN,
        said: &["*zone * is used by vnet *"],
        advice: Say(
            "Delete its vnets first: proxmox_list_sdn with kind=vnets lists them; applied ones are removed by proxmox_apply_sdn.",
        ),
    },
    Row {
        of: SDN,
        said: &["vnet: Can't delete vnet if subnets exists"],
        advice: Say("Delete its subnets first: proxmox_list_sdn with kind=subnets lists them."),
    },
    Row {
        of: SDN,
        said: &["*controller * is used by *"],
        advice: Say("Delete that zone first, or give it another controller."),
    },
    Row {
        of: &["POST /cluster/sdn/vnets"],
        said: &["*cannot lookup undefined type! *"],
        advice: Say("There is no such zone: proxmox_list_sdn with kind=zones lists the zones."),
    },
    Row {
        of: SDN,
        said: &["*sdn '*' does not exist", "*sdn * '*' does not exist"],
        advice: Say("proxmox_list_sdn lists what exists; config=running, what is applied."),
    },
    Row {
        of: SDN,
        said: &["*object ID '*' already defined"],
        advice: EXISTS,
    },
    Row {
        of: SDN,
        said: &["ipam: * not existing"],
        advice: Say("proxmox_list_sdn with kind=ipams lists the IPAMs."),
    },
    Row {
        of: SDN,
        said: &["tag: missing vlan tag"],
        advice: Say("Give tag: vnets of a zone of that type need one."),
    },
    Row {
        of: SDN,
        said: &["Currently only PVE IPAM is supported!*"],
        advice: Say("Give id=pve: Proxmox does not store the addresses of others."),
    },
    // Definitions of storages.
    Row {
        of: &["POST /storage"],
        said: &["*storage ID '*' already defined"],
        advice: EXISTS,
    },
    Row {
        of: ANYWHERE,
        said: &["*missing value for required option '*'"],
        advice: Say("That type needs this option: give it as well."),
    },
    Row {
        of: &["* /storage*"],
        said: &["*unexpected property '*'"],
        advice: Say("Storages of that type do not have it: leave it out."),
    },
    Row {
        of: &["* /storage*"],
        said: &["*can't change value of fixed parameter '*'"],
        advice: Say(
            "It is fixed once a storage exists: delete the storage, which keeps its data, and create it again.",
        ),
    },
    Row {
        of: ANYWHERE,
        said: &[
            "*storage '*' does not support backups",
            "*storage '*' does not support '*' content",
            "*storage '*' is not configured for content-type '*'",
        ],
        advice: Say(
            "proxmox_get_storage shows the content of each storage: use another, or add it there (proxmox_manage_storage).",
        ),
    },
    Row {
        of: &["GET */scan/nfs"],
        said: &["*exec of /sbin/showmount *"],
        advice: Say("On the node, as root: apt install nfs-common"),
    },
    Row {
        of: ANYWHERE,
        said: &["disk/partition '*' has a holder"],
        advice: Say(
            "It is in use, by LVM, ZFS or Ceph: proxmox_get_node_disks shows by which; release it there first.",
        ),
    },
    Row {
        of: &["POST */spiceproxy"],
        said: &["*The command query-spice has not been found"],
        advice: Say("It has no SPICE display: use kind=vnc."),
    },
    Row {
        of: ACCESS,
        said: &[
            "*domain '*' does not exist",
            "*no such user*",
            "*no such group '*'",
            "*group '*' does not exist",
            "*role '*' does not exist",
            "*no such token '*' for user '*'",
        ],
        advice: Say("proxmox_list_access lists users, tokens, groups, roles and realms."),
    },
    Row {
        of: ACCESS,
        said: &["scope: Not passed as parameter and not defined in realm default sync options."],
        advice: Say("Give scope: users, groups or both."),
    },
    Row {
        of: &["POST /access/tfa/*"],
        said: &["failed to verify TOTP challenge"],
        advice: Say(
            "value must be the code that the app shows at that moment: ask for the next one.",
        ),
    },
];

impl Case {
    /// Describes a failed request; `path` is the path as sent.
    pub(crate) fn of_request(method: Method, path: &str, said: String) -> Self {
        let mut parts = path.split('/').skip(1);
        let node = parts
            .next()
            .filter(|part| *part == "nodes")
            .and(parts.next());
        let kind = parts
            .next()
            .and_then(|kind| KINDS.iter().find(|(_, known)| *known == kind));
        let vmid = kind.and(parts.next()).filter(|vmid| is_vmid(vmid));
        Self {
            what: format!("{} {path}", method.as_str()),
            said,
            node: node.map(str::to_owned),
            kind: kind.map(|(_, kind)| *kind),
            vmid: vmid.map(str::to_owned),
            upid: None,
        }
    }

    /// Describes a task that ended with the status `exit`; `log` is the end of its log.
    pub(crate) fn of_task(upid: &str, exit: &str, log: &[String]) -> Self {
        let task = Upid::parse(upid);
        let what = task.map_or("", |task| task.kind);
        let kind = KINDS.iter().find(|(prefix, _)| what.starts_with(prefix));
        let vmid = task.and_then(|task| task.vmid());
        let lines = log.iter().rev().map(|line| &**line);
        let lines: Vec<&str> = [exit].into_iter().chain(lines).collect();
        Self {
            what: what.to_owned(),
            said: lines.join("\n"),
            node: task.map(|task| task.node.to_owned()),
            // `vzdump` is for both kinds.
            kind: kind.map(|(_, kind)| *kind).filter(|_| what != "vzdump"),
            vmid: vmid.map(str::to_owned),
            upid: Some(upid.to_owned()),
        }
    }

    /// Returns the advice, if the table has any.
    pub(crate) fn advice(&self) -> Option<Advice> {
        self.row().map(|row| row.advice)
    }

    fn row(&self) -> Option<&'static Row> {
        // The first line matters most, so it is tried on all rows before the next line.
        let lines = self.said.lines().map(str::trim);
        let mut rows =
            lines.filter_map(|line| ROWS.iter().find(|row| row.matches(&self.what, line)));
        rows.next()
    }

    /// Returns the advice in words, without reading what holds a lock or which volume cannot have snapshots.
    pub(crate) fn remedy(&self) -> Option<String> {
        if let Some(checked) = Checked::of(&self.said) {
            return Some(of_permission(&checked).to_owned());
        }
        Some(match self.advice()? {
            Say(text) => text.to_owned(),
            // If the tasks can be read, `cluster::diagnosis` can say more than these two.
            GuestLock => format!(
                "A task holds the lock: proxmox_get_node_tasks with running=true shows it; call again when it has ended. \
                 If no task of the guest runs, the lock is stale: {}.",
                self.unlock()
            ),
            LockFile => format!(
                "Another task holds the lock: proxmox_get_node_tasks with running=true shows it; call again when it has ended. \
                 If none runs, {}.",
                self.hung()
            ),
            NoSnapshots => "A volume cannot have snapshots, for its format (raw on a directory) or its storage (LVM): \
                            the guest's configuration names its volumes. Move that one, or back the guest up instead."
                .to_owned(),
        })
    }

    /// Returns how an administrator removes a stale lock.
    pub(crate) fn unlock(&self) -> String {
        // Messages name the kind of guest; tasks such as vzdump do not.
        let command = if self.said.contains("CT is locked") {
            "pct"
        } else {
            "qm"
        };
        let vmid = self.vmid.as_deref().unwrap_or("with its VMID");
        format!(
            "{command} unlock {vmid} on {}, as root, removes it",
            self.on_node()
        )
    }

    /// Says what holds a lock file that no task holds.
    pub(crate) fn hung(&self) -> String {
        format!(
            "the lock is stale: a hung process on {} holds it",
            self.on_node()
        )
    }

    fn on_node(&self) -> String {
        let node = self.node.as_ref();
        node.map_or("its node".to_owned(), |node| format!("node {node}"))
    }
}

/// Returns what to do about missing privileges if nothing more is known about the call. The commands that
/// grant them depend on what the token has: see `privileges::explained`.
pub(crate) fn of_permission(checked: &Checked) -> &'static str {
    match checked {
        Checked::Root => {
            "Proxmox reserves this for root@pam itself: no API token can do it, whatever its roles."
        }
        Checked::Token => "Proxmox does not let API tokens do this.",
        Checked::On(..) | Checked::Something => {
            "proxmox-mcp check shows what the token lacks, and the lines that grant it."
        }
    }
}

fn is_vmid(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Row {
    fn matches(&self, what: &str, line: &str) -> bool {
        let any = |globs: &[&str], text| globs.iter().any(|glob| Glob::new(glob).matches(text));
        (self.of.is_empty() || any(self.of, what)) && any(self.said, line)
    }
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    const START: &str = "POST /nodes/pve1/qemu/100/status/start";
    const CONFIG: &str = "PUT /nodes/pve1/qemu/100/config";
    const EXEC: &str = "POST /nodes/pve1/qemu/100/agent/exec";
    const COPY: &str = "POST /nodes/pve1/qemu/100/clone";
    const CREATE: &str = "POST /nodes/pve1/qemu";

    /// What failed, the message of Proxmox (recorded, or in the form of its source), and the beginning of the
    /// advice. There is at least one case for each glob.
    const CASES: &[(&str, &str, &str)] = &[
        (
            "GET /nodes/pve1/storage/pbs1/file-restore/list",
            "proxmox-file-restore failed: executable not found '/usr/bin/proxmox-file-restore'! proxmox-file-restore not installed?",
            "On the node, as root: apt install proxmox-backup-file-restore",
        ),
        (
            "GET /nodes/pve1/storage/local/file-restore/list",
            "Parameter verification failed.\nstorage: Only PBS storages supported for file-restore.",
            "Other backups can only be restored whole",
        ),
        (
            "POST /nodes/pve1/aplinfo",
            "Parameter verification failed.\ntemplate: no such template",
            "proxmox_get_node_aplinfo",
        ),
        (
            "POST /nodes/pve1/storage/local/oci-registry-pull",
            "Install 'skopeo' to pull OCI images from registries.",
            "On the node, as root: apt install skopeo",
        ),
        (
            "GET /nodes/pve1/storage/backup2/prunebackups",
            "no prune-backups options configured for storage 'backup2'",
            "Give keep",
        ),
        (
            EXEC,
            "VM 100 qga command 'guest-exec' failed - got timeout",
            "qemu-guest-agent did not answer",
        ),
        (
            "GET /nodes/pve1/qemu/100/agent/exec-status",
            "VM 100 qmp command 'guest-exec-status' failed - got timeout",
            "qemu-guest-agent did not answer",
        ),
        (
            "GET /cluster/ceph/status",
            "binary not installed: /usr/bin/ceph-mon",
            "Ceph, or this part of it, is not set up there",
        ),
        (
            "POST /nodes/pve1/ceph/pool",
            "pveceph configuration not initialized",
            "Ceph, or this part of it, is not set up there",
        ),
        (
            "qmsnapshot",
            "VM 100 qga command 'guest-fsfreeze-freeze' failed - got timeout",
            "qemu-guest-agent did not freeze",
        ),
        (
            "vzdump",
            "job errors\nERROR: Backup of VM 100 failed - VM 100 qga command 'guest-fsfreeze-thaw' failed - got timeout",
            "qemu-guest-agent did not freeze",
        ),
        (
            "qmsnapshot",
            "querying status after freezing guest fs failed - timeout after 60 minutes",
            "qemu-guest-agent did not freeze",
        ),
        (
            "qmsnapshot",
            "unable to freeze guest fs - unexpected status 'thawed'",
            "qemu-guest-agent did not freeze",
        ),
        (
            EXEC,
            "Agent error: Command guest-exec has been disabled: the command is not allowed",
            "The guest's own settings",
        ),
        (
            EXEC,
            "QEMU guest agent is not running",
            "The VM needs agent=1",
        ),
        (
            EXEC,
            "No QEMU guest agent configured",
            "The VM needs agent=1",
        ),
        (EXEC, "VM 101 is not running", "Start it first"),
        (
            "qmstop",
            "VM 100 qmp command 'quit' failed - got timeout",
            "QEMU did not answer",
        ),
        (
            "qmshutdown",
            "VM quit/powerdown failed - got timeout",
            "The guest did not shut down in time: look at its state, then repeat it with a longer timeout, or with force_stop=true",
        ),
        (
            "qmshutdown",
            "VM quit/powerdown failed",
            "The guest did not shut down",
        ),
        (
            "vzshutdown",
            "container did not stop",
            "The guest did not shut down",
        ),
        (
            "qmreboot",
            "VM quit/powerdown failed - got timeout",
            "The guest did not shut down in time: look at its state, then repeat it with a longer timeout, or force it: proxmox_stop_vm",
        ),
        (
            "qmreboot",
            "VM quit/powerdown failed",
            "The guest did not shut down",
        ),
        (
            "POST /nodes/pve1/qemu/100/status/shutdown",
            "VM is paused - cannot shutdown",
            "Continue it first (proxmox_resume_vm), or",
        ),
        (
            "POST /nodes/pve1/qemu/100/status/reboot",
            "VM is paused - cannot shutdown",
            "Continue it first (proxmox_resume_vm).",
        ),
        (CONFIG, "VM is locked (suspended)", "The VM is hibernated"),
        (
            "POST /nodes/pve1/lxc/200/status/start",
            "CT is locked (mounted)",
            "The container's file systems",
        ),
        (START, "VM is locked (backup)", "A task holds the lock"),
        (
            "vzdump",
            "job errors\nERROR: Backup of VM 200 failed - CT is locked (snapshot)",
            "A task holds the lock",
        ),
        (
            START,
            "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout",
            "Another task holds the lock",
        ),
        (
            "qmstart",
            "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout",
            "Another task holds the lock",
        ),
        (
            "vzstart",
            "can't lock file '/run/lock/lxc/pve-config-200.lock' - got timeout",
            "Another task holds the lock",
        ),
        (
            "qmcreate",
            "unable to create VM 110 - cfs-lock 'storage-nas' error: got lock request timeout",
            "Another task holds that cluster lock",
        ),
        (
            "vzcreate",
            "error during cfs-locked 'storage-nas' operation: got lock request timeout",
            "Another task holds that cluster lock",
        ),
        (
            "vzdump",
            "can't acquire lock '/var/run/vzdump.lock' - got timeout",
            "Another backup is running",
        ),
        (
            START,
            "cluster not ready - no quorum?",
            "The cluster has no quorum",
        ),
        (
            "PUT /access/acl",
            "ACL update failed: cfs-lock 'file-user_cfg' error: no quorum!",
            "The cluster has no quorum",
        ),
        (
            CONFIG,
            "checksum mismatch (file change by other user?)",
            "It was changed meanwhile",
        ),
        (
            CONFIG,
            "detected modified configuration - file changed by other user? Try again.",
            "It was changed meanwhile",
        ),
        (
            COPY,
            "Linked clone feature is not supported for 'local:100/vm-100-disk-0.qcow2' (scsi0)",
            "That volume cannot have linked clones: give full=true",
        ),
        (
            "POST /nodes/pve1/lxc/200/clone",
            "Linked clone feature for 'local:200/vm-200-disk-0.raw' is not available",
            "That volume cannot have linked clones: give full=true",
        ),
        (
            COPY,
            "parameter 'storage' not allowed for linked clones",
            "Give full=true, or leave",
        ),
        (
            COPY,
            "Full clone feature is not supported for a snapshot of 'vg:vm-100-disk-0' (scsi0)",
            "That volume can only be copied as it is now",
        ),
        (
            "POST /nodes/pve1/lxc/200/clone",
            "Full clone of a running container is only possible from a snapshot",
            "Give snapname",
        ),
        (
            COPY,
            "can't clone VM to node 'pve2' (VM uses local storage)",
            "Leave target out",
        ),
        (
            "qmsnapshot",
            "snapshot feature is not available",
            "A volume cannot have snapshots",
        ),
        (
            EXEC,
            "Agent error: Guest agent command failed, error was 'write: No space left on device'",
            "The error comes from inside the guest",
        ),
        (
            "vzdump",
            "job errors\nINFO: zstd: error 70 : Write error : cannot write block : No space left on device",
            "A storage is full",
        ),
        (
            "qmcreate",
            "unable to create VM 110 - lvcreate 'pve/vm-110-disk-0' error:   Volume group \"pve\" has insufficient free space (10 extents): 8192 required.",
            "A storage is full",
        ),
        (
            "qmcreate",
            "unable to create VM 110 - not enough free space (4096 < 33554432)",
            "A storage is full",
        ),
        (
            "POST /storage",
            "create storage failed: storage 'nfs2' is not online",
            "That storage is not reachable",
        ),
        (
            CONFIG,
            "failed to update VM 100: storage 'only-pve2' is not available on node 'pve1'",
            "proxmox_get_storage with node",
        ),
        (
            CREATE,
            "storage 'local-lvm' does not exist",
            "proxmox_get_storage lists",
        ),
        (
            START,
            "bridge 'vmbr9' does not exist",
            "proxmox_get_node_network",
        ),
        (
            CONFIG,
            "unable to delete 'local-lvm:vm-100-disk-1' - volume is still in use (snapshot?)",
            "Delete the snapshots",
        ),
        (
            "POST /nodes/pve1/qemu/100/migrate",
            "can't migrate running VM without --online",
            "Give online=true",
        ),
        (
            "POST /nodes/pve1/lxc/200/migrate",
            "can't migrate running container without --online or --restart",
            "Give restart=true",
        ),
        (
            "qmigrate",
            "migration aborted\n2026-11-28 16:24:57 ERROR: migration aborted (duration 00:00:00): Problem found while scanning volumes - can't live migrate attached local disks without with-local-disks option",
            "Give with_local_disks=true",
        ),
        (
            "vzmigrate",
            "migration aborted\n2026-11-28 16:24:59 ERROR: migration aborted (duration 00:00:00): Can't connect to destination address using public key",
            "The node cannot reach the target",
        ),
        (
            "POST /nodes/pve1/lxc/201/template",
            "unable to create template, because CT contains snapshots",
            "Delete its snapshots first",
        ),
        (
            "POST /nodes/pve1/qemu/100/template",
            "you can't convert a VM to template if VM is running",
            "Shut it down first",
        ),
        (
            "GET /nodes/pve1/storage/nope/rrddata",
            "RRD error: opening '/var/lib/rrdcached/db/pve-storage-9.0/pve1/nope': No such file or directory",
            "No data was recorded for it",
        ),
        (
            "qmdestroy",
            "base volume 'local:9000/base-9000-disk-0.qcow2' is still in use by linked cloned",
            "Delete its linked clones",
        ),
        (
            "POST /nodes/pve1/qemu/100/move_disk",
            "you can't move a disk with snapshots and delete the source",
            "Give delete=false",
        ),
        (
            "POST /nodes/pve1/lxc/200/move_volume",
            "you can't move a volume with snapshots and delete the source",
            "Give delete=false",
        ),
        (
            "POST /nodes/pve1/lxc/200/move_volume",
            "cannot move volumes of a running container",
            "Stop it first",
        ),
        (
            "GET /nodes/nope/qemu",
            "hostname lookup 'nope' failed - failed to get address info for: nope: Temporary failure in name resolution",
            "proxmox_get_nodes lists",
        ),
        (
            "GET /nodes/pve2/qemu/300/status/current",
            "address lookup for 'pve2' did not find any IP address",
            "proxmox_get_nodes lists",
        ),
        (
            "POST /nodes/pve1/migrateall",
            "no such cluster node 'pve9'",
            "proxmox_get_nodes lists",
        ),
        (
            CREATE,
            "unable to create VM 110 - VM 110 already exists on node 'pve1'",
            "proxmox_get_next_vmid",
        ),
        (
            "POST /nodes/pve1/lxc",
            "CT 200 already exists on node 'pve1'",
            "proxmox_get_next_vmid",
        ),
        (
            COPY,
            "unable to create VM 121: config file already exists",
            "proxmox_get_next_vmid",
        ),
        (
            "qmstart",
            "start failed: QEMU exited with code 1\nTASK ERROR: start failed: QEMU exited with code 1\nkvm: cannot set up guest memory 'pc.ram': Cannot allocate memory",
            "The node does not have enough free memory",
        ),
        (
            "DELETE /nodes/pve1/qemu/110",
            "VM 110 is running - destroy failed",
            "Stop it first",
        ),
        (
            "DELETE /nodes/pve1/lxc/200",
            "unable to destroy CT 200 - container is running",
            "Stop it first",
        ),
        (
            "DELETE /nodes/pve1/lxc/200",
            "unable to remove CT 200 - used in HA resources and purge parameter not set.",
            "purge=true",
        ),
        (
            "DELETE /nodes/pve1/lxc/200",
            "can't remove CT 200 - protection mode enabled",
            "Its option protection=1",
        ),
        (
            CONFIG,
            "balloon value too large (must be smaller than assigned memory)",
            "Give a smaller balloon as well",
        ),
        (
            "DELETE /pools",
            "delete pool failed: pool 'dev' is not empty (contains pool 'dev/web')",
            "Remove its members first",
        ),
        (
            "PUT /pools",
            "update pools failed: VM 100 belongs already to pool 'dev' and 'allow-move' is not set",
            "allow_move=true",
        ),
        (
            "PUT /pools",
            "update pools failed: VM 102 is already a pool member",
            "Leave it out",
        ),
        (
            "PUT /pools",
            "update pools failed: VM 101 is not a pool member",
            "Leave it out",
        ),
        (
            "POST /pools",
            "create pool failed: parent 'nox' of pool 'nox/sub' does not exist",
            "Create the parent",
        ),
        (
            "GET /pools",
            "pool 'no' does not exist",
            "proxmox_list_pools",
        ),
        (
            "POST /cluster/backup",
            "Parameter verification failed.\nvmid: property is missing",
            "A job needs a selection",
        ),
        (
            "GET /cluster/backup/nope",
            "Parameter verification failed.\nid: No such job 'nope'",
            "proxmox_list_backup_jobs",
        ),
        (
            "PUT /cluster/backup/nope",
            "no such vzdump job",
            "proxmox_list_backup_jobs",
        ),
        (
            "POST /cluster/backup",
            "Job 'job1' already exists",
            "action=update changes it",
        ),
        (
            "PUT /cluster/backup/job1",
            "Parameter verification failed.\nschedule: invalid format - invalid calendar event 'every day' - unable to parse weekday - 'every day'",
            "Valid schedules look like",
        ),
        (
            "POST /cluster/replication",
            "missing replicate feature on volume 'local:100/vm-100-disk-0.qcow2'",
            "Only volumes on ZFS",
        ),
        (
            "POST /cluster/replication",
            "No replicatable volumes found",
            "Only volumes on ZFS",
        ),
        (
            "POST /cluster/replication",
            "Source and target must not be identical",
            "Give another node",
        ),
        (
            "POST /cluster/replication",
            "replication job for guest '103' to target 'local/pve2' already exists",
            "action=update changes it",
        ),
        (
            "GET /cluster/replication/999-0",
            "no such replication job '999-0'",
            "proxmox_list_replication_jobs",
        ),
        (
            "GET /nodes/pve1/replication/999-0/status",
            "no such job '999-0'",
            "proxmox_list_replication_jobs",
        ),
        (
            "DELETE /cluster/firewall/groups/web",
            "Security group 'web' is not empty",
            "Delete its rules first",
        ),
        (
            "DELETE /cluster/firewall/ipset/myset",
            "IPSet 'myset' is not empty",
            "force=true deletes",
        ),
        (
            "GET /cluster/firewall/ipset/nope",
            "no such IPSet 'nope'",
            "proxmox_list_firewall_objects",
        ),
        (
            "GET /cluster/firewall/aliases/nope",
            "no such alias 'nope'",
            "proxmox_list_firewall_objects",
        ),
        (
            "GET /cluster/firewall/groups/nope",
            "no such security group 'nope'",
            "proxmox_list_firewall_objects",
        ),
        (
            "PUT /cluster/firewall/rules/99",
            "no rule at position 99",
            "proxmox_list_firewall_rules",
        ),
        (
            "GET /cluster/sdn/vnets/v9/firewall/options",
            "invalid vnet specified at /usr/share/perl5/PVE/API2/Firewall/Helpers.pm line 54.",
            "proxmox_list_sdn lists the vnets",
        ),
        (
            "POST /cluster/ha/rules",
            "create ha rule failed: cannot use unmanaged resource(s) vm:102.",
            "Put them under HA",
        ),
        (
            "POST /cluster/ha/rules",
            "create ha rule failed: Rule 'na2' is invalid.\nresources: resource 'vm:100' is already used in another node affinity rule",
            "A resource is in one such rule",
        ),
        (
            "POST /cluster/ha/rules",
            "create ha rule failed: HA rule 'na1' already defined",
            "action=update changes it",
        ),
        (
            "GET /cluster/ha/rules/zz",
            "no such ha rule 'zz'",
            "proxmox_list_ha_rules",
        ),
        (
            "POST /cluster/ha/groups",
            "cannot create group: ha groups have been migrated to rules",
            "Use rules instead",
        ),
        (
            "DELETE /cluster/sdn/zones/z1",
            "delete sdn zone object failed: zone z1 is used by vnet v8 at /usr/share/perl5/PVE/Network/SDN/Zones/Plugin.pm line 149.",
            "Delete its vnets first",
        ),
        (
            "DELETE /cluster/sdn/vnets/v1",
            "delete sdn vnet object failed: Parameter verification failed.\nvnet: Can't delete vnet if subnets exists",
            "Delete its subnets first",
        ),
        (
            "DELETE /cluster/sdn/controllers/c1",
            "delete sdn controller object failed: controller c1 is used by ev at /usr/share/perl5/PVE/Network/SDN/Controllers/EvpnPlugin.pm line 476.",
            "Delete that zone first",
        ),
        (
            "POST /cluster/sdn/vnets",
            "create sdn vnet object failed: cannot lookup undefined type! at /usr/share/perl5/PVE/API2/Network/SDN/Vnets.pm line 326.",
            "There is no such zone",
        ),
        (
            "GET /cluster/sdn/zones/z1",
            "sdn 'z1' does not exist",
            "proxmox_list_sdn lists what exists",
        ),
        (
            "GET /cluster/sdn/vnets/v1",
            "sdn vnet 'v1' does not exist",
            "proxmox_list_sdn lists what exists",
        ),
        (
            "POST /cluster/sdn/zones",
            "create sdn zone object failed: sdn zone object ID 'z1' already defined",
            "action=update changes it",
        ),
        (
            "POST /cluster/sdn/zones",
            "create sdn zone object failed: Parameter verification failed.\nipam: nope not existing",
            "proxmox_list_sdn with kind=ipams",
        ),
        (
            "POST /cluster/sdn/vnets",
            "create sdn vnet object failed: Parameter verification failed.\ntag: missing vlan tag",
            "Give tag",
        ),
        (
            "GET /cluster/sdn/ipams/nope/status",
            "Currently only PVE IPAM is supported! at /usr/share/perl5/PVE/API2/Network/SDN/Ipams.pm line 319.",
            "Give id=pve",
        ),
        (
            "POST /storage",
            "create storage failed: storage ID 'data1' already defined",
            "action=update changes it",
        ),
        (
            "POST /cluster/sdn/zones",
            "missing value for required option 'bridge'",
            "That type needs this option",
        ),
        (
            "PUT /storage/data1",
            "update storage failed: unexpected property 'server'",
            "Storages of that type do not have it",
        ),
        (
            "PUT /storage/nfs1",
            "update storage failed: can't change value of fixed parameter 'server'",
            "It is fixed",
        ),
        (
            "GET /nodes/pve1/storage/tank/prunebackups",
            "storage 'tank' does not support backups",
            "proxmox_get_storage shows the content",
        ),
        (
            "POST /nodes/pve1/storage/backup2/upload",
            "storage 'backup2' does not support 'iso' content",
            "proxmox_get_storage shows the content",
        ),
        (
            "POST /nodes/pve1/storage/backup2/download-url",
            "storage 'backup2' is not configured for content-type 'iso'",
            "proxmox_get_storage shows the content",
        ),
        (
            "GET /nodes/pve1/scan/nfs",
            "command '/sbin/showmount --no-headers --exports 127.0.0.3' failed: open3: exec of /sbin/showmount --no-headers --exports 127.0.0.3 failed: No such file or directory at /usr/share/perl5/PVE/Cmd.pm line 174.",
            "On the node, as root: apt install nfs-common",
        ),
        (
            "PUT /nodes/pve1/disks/wipedisk",
            "disk/partition '/dev/sda' has a holder",
            "It is in use",
        ),
        (
            "POST /nodes/pve1/qemu/100/spiceproxy",
            "VM 100 qmp command 'query-spice' failed - The command query-spice has not been found",
            "It has no SPICE display",
        ),
        (
            "GET /access/domains/no",
            "domain 'no' does not exist",
            "proxmox_list_access",
        ),
        (
            "GET /access/users/no@pve",
            "no such user ('no@pve')",
            "proxmox_list_access",
        ),
        (
            "PUT /access/users/anna@pve",
            "update user failed: no such group 'nogroup'",
            "proxmox_list_access",
        ),
        (
            "GET /access/groups/no",
            "group 'no' does not exist",
            "proxmox_list_access",
        ),
        (
            "PUT /access/acl",
            "ACL update failed: role 'Nope' does not exist",
            "proxmox_list_access",
        ),
        (
            "GET /access/users/anna@pve/token/no",
            "no such token 'no' for user 'anna@pve'",
            "proxmox_list_access",
        ),
        (
            "POST /access/domains/ldap1/sync",
            "Parameter verification failed.\nscope: Not passed as parameter and not defined in realm default sync options.",
            "Give scope",
        ),
        (
            "POST /access/tfa/ops%40pve",
            "failed to verify TOTP challenge",
            "value must be the code",
        ),
        (
            "POST /nodes/pve1/qemu/100/agent/set-user-password",
            "Agent error: The command guest-set-user-password has not been found",
            "The guest's agent does not have this command",
        ),
    ];

    /// Messages that contain the words of a row but mean something else.
    const OTHERS: &[(&str, &str)] = &[
        ("GET /cluster/resources", "got timeout"),
        (
            START,
            "start failed: command '/usr/bin/kvm -id 100' failed: got timeout",
        ),
        (
            "GET /nodes/pve1/storage",
            "command '/sbin/vgs --noheadings' failed: got timeout",
        ),
        ("qmrestore", "got timeout preparing VMA restore"),
        (START, "VM quit/powerdown failed - got timeout"),
        (
            "download",
            "checksum mismatch: got 'ab' != expect 'cd', aborting",
        ),
        (
            "POST /pools",
            "create pool failed: pool 'p1' already exists",
        ),
        (
            "POST /access/groups",
            "create group failed: group 'devs' already exists",
        ),
        (
            "PUT /nodes/pve1/qemu/100/config",
            "IPSet 'is locked' is not empty",
        ),
        (
            "POST /cluster/ha/resources/vm:100/migrate",
            "node 'pve2' is not online",
        ),
        (
            COPY,
            "Full clone feature is not supported for 'vg:vm-100-disk-0' (scsi0)",
        ),
        (
            "GET /nodes/pve1/storage/local/content",
            "storage 'nas' is disabled",
        ),
        ("POST /nodes/pve1/disks/lvm", "vg 'a' has not enough fans"),
    ];

    fn case(what: &str, said: &str) -> Case {
        Case {
            what: what.to_owned(),
            said: said.to_owned(),
            ..Case::default()
        }
    }

    #[test]
    fn each_row_is_chosen_by_what_failed_and_the_whole_message() {
        for (what, said, expected) in CASES {
            let remedy = case(what, said).remedy();
            let fits = remedy
                .as_ref()
                .is_some_and(|text| text.starts_with(expected));
            assert!(fits, "{what}: {said}: {remedy:?}");
        }
        for (what, said) in OTHERS {
            assert_eq!(case(what, said).remedy(), None, "{what}: {said}");
        }
    }

    #[test]
    fn each_message_pattern_has_a_test_case() {
        for (place, row) in ROWS.iter().enumerate() {
            for glob in row.said {
                let proves = |(what, said, _): &&(&str, &str, &str)| {
                    let chosen = case(what, said)
                        .row()
                        .is_some_and(|chosen| ptr::eq(chosen, row));
                    chosen && said.lines().any(|line| Glob::new(glob).matches(line))
                };
                assert!(
                    CASES.iter().any(|case| proves(&case)),
                    "row {place}: {glob}"
                );
            }
        }
    }

    #[test]
    fn only_shutdown_and_reboot_suggest_force_or_a_longer_timeout() {
        for row in ROWS {
            let Say(text) = row.advice else { continue };
            let advises = text.contains("longer timeout") || text.contains("force");
            let ends_guest = [SHUTDOWN, REBOOT, PAUSED].contains(&row.of);
            // Deleting a running guest has a parameter of its own to force it.
            assert!(
                ends_guest || !advises || text.contains("force=true"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_stale_lock_is_removed_on_the_node_of_its_guest() {
        let path = "/nodes/pve1/lxc/200/status/start";
        let locked = Case::of_request(Method::Post, path, "CT is locked (backup)".to_owned());
        let text = locked.remedy().expect("it is known");
        assert!(
            text.ends_with("the lock is stale: pct unlock 200 on node pve1, as root, removes it."),
            "{text}"
        );
        let upid = "UPID:pve2:0012B0AA:03B71B44:6A55F95E:vzdump:103:root@pam!mcp:";
        let log = ["ERROR: Backup of VM 103 failed - VM is locked (migrate)".to_owned()];
        let text = Case::of_task(upid, "job errors", &log).remedy();
        let text = text.expect("the log says it");
        assert!(
            text.ends_with("the lock is stale: qm unlock 103 on node pve2, as root, removes it."),
            "{text}"
        );
    }

    #[test]
    fn the_exit_status_takes_precedence_over_the_log_and_its_last_line_over_the_others() {
        let upid = "UPID:pve1:0012B0AA:03B71B44:6A55F95E:qmsnapshot:103:root@pam!mcp:";
        let log = [
            "VM 103 qga command 'guest-fsfreeze-freeze' failed - got timeout",
            "bridge 'vmbr9' does not exist",
        ]
        .map(str::to_owned);
        let advice = |exit| {
            Case::of_task(upid, exit, &log)
                .remedy()
                .expect("it is known")
        };
        assert!(advice("VM is locked (backup)").contains("qm unlock 103"));
        assert!(advice("failed").contains("bridges"));
    }

    #[test]
    fn finds_the_guest_only_in_paths_of_guests() {
        for (path, node, kind, vmid) in [
            (
                "/nodes/pve1/qemu/100/config",
                Some("pve1"),
                Some("qemu"),
                Some("100"),
            ),
            (
                "/nodes/pve1/lxc/200",
                Some("pve1"),
                Some("lxc"),
                Some("200"),
            ),
            ("/nodes/pve1/qemu", Some("pve1"), Some("qemu"), None),
            ("/nodes/pve1/storage/100", Some("pve1"), None, None),
            (
                "/nodes/pve1/qemu/%2e%2e/config",
                Some("pve1"),
                Some("qemu"),
                None,
            ),
            ("/cluster/ha/100", None, None, None),
        ] {
            let case = Case::of_request(Method::Get, path, String::new());
            let found = (case.node.as_deref(), case.kind, case.vmid.as_deref());
            assert_eq!(found, (node, kind, vmid), "{path}");
        }
    }
}
