//! The privileges that requests need, according to the API description of 9.2 and to what the code checks in
//! addition (`PVE/API2/Qemu.pm`, `PVE/API2/LXC.pm`, `PVE/API2/VZDump.pm`).

/// What a request needs: all of these lines.
///
/// A line is written as in the API description: `path:A|B` if one of the privileges is enough, the lowest first,
/// and ` or ` between places of which one is enough. It may end with a flag without which it does not apply, such
/// as ` if start`. In addition to the API description, `{newid}` is a guest that does not exist yet, `{owner}` the
/// guest of a backup, and `{volume}` the storage of a volume.
pub(crate) type Needs = &'static [&'static str];

pub(crate) const AUDIT: Needs = &["/vms/{vmid}:VM.Audit"];
pub(crate) const POWER: Needs = &["/vms/{vmid}:VM.PowerMgmt"];
pub(crate) const SNAPSHOT: Needs = &["/vms/{vmid}:VM.Snapshot"];
pub(crate) const ROLLBACK: Needs = &["/vms/{vmid}:VM.Snapshot.Rollback|VM.Snapshot"];
pub(crate) const ALLOCATE: Needs = &["/vms/{vmid}:VM.Allocate"];
pub(crate) const NODE: Needs = &["/nodes/{node}:Sys.Audit"];
pub(crate) const LOGS: Needs = &["/nodes/{node}:Sys.Syslog"];
pub(crate) const ALL_NODES: Needs = &["/:Sys.Audit"];
pub(crate) const AGENT: Needs = &["/vms/{vmid}:VM.GuestAgent.Unrestricted|VM.Monitor"];
pub(crate) const MIGRATE: Needs = &["/vms/{vmid}:VM.Migrate"];
pub(crate) const AGENT_READ: Needs =
    &["/vms/{vmid}:VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted|VM.Monitor"];
pub(crate) const AGENT_FILE_SYSTEMS: Needs =
    &["/vms/{vmid}:VM.GuestAgent.FileSystemMgmt|VM.GuestAgent.Unrestricted|VM.Monitor"];
pub(crate) const AGENT_FILE_WRITE: Needs =
    &["/vms/{vmid}:VM.GuestAgent.FileWrite|VM.GuestAgent.Unrestricted|VM.Monitor"];
pub(crate) const AGENT_FILE_READ: Needs =
    &["/vms/{vmid}:VM.GuestAgent.FileRead|VM.GuestAgent.Unrestricted|VM.Monitor"];
pub(crate) const SPACE: &str = "/storage/{storage}:Datastore.AllocateSpace";
pub(crate) const STORED: &str = "/storage/{storage}:Datastore.Audit|Datastore.AllocateSpace";
pub(crate) const BRIDGE: &str = "/sdn/zones/{zone}/{bridge}:SDN.Use";
/// For reading a template or a disc image.
pub(crate) const READ: &str = "/storage/{volume}:Datastore.Audit|Datastore.AllocateSpace";
pub(crate) const ARCHIVE: &str = "/storage/{archive}:Datastore.AllocateSpace|Datastore.Allocate";
pub(crate) const BACKUP: &str = "/vms/{owner}:VM.Backup or /storage/{volume}:Datastore.Allocate";
pub(crate) const DISK: &str = "/vms/{vmid}:VM.Config.Disk";
pub(crate) const NETWORK: Needs = &["/vms/{vmid}:VM.Config.Network", BRIDGE];
pub(crate) const RESIZE: Needs = &["/vms/{vmid}:VM.Config.CPU", "/vms/{vmid}:VM.Config.Memory"];
pub(crate) const DISK_AND_SPACE: Needs = &[DISK, SPACE];
pub(crate) const CLONE: Needs = &[
    "/vms/{vmid}:VM.Clone",
    "/vms/{newid}:VM.Allocate or /pool/{pool}:VM.Allocate",
    SPACE,
    BRIDGE,
];
pub(crate) const CREATE: Needs = &[
    "/vms/{newid}:VM.Allocate or /pool/{pool}:VM.Allocate",
    SPACE,
    BRIDGE,
];
pub(crate) const STARTED: &str = "/vms/{newid}:VM.PowerMgmt or /pool/{pool}:VM.PowerMgmt if start";
/// Any of these admits the request; what each tool changes is declared with its request.
pub(crate) const CONFIG_VM: Needs = &["/vms/{vmid}:VM.Config.Disk|VM.Config.CDROM|VM.Config.CPU|\
    VM.Config.Memory|VM.Config.Network|VM.Config.HWType|VM.Config.Options|VM.Config.Cloudinit"];
pub(crate) const CONFIG_LXC: Needs =
    &["/vms/{vmid}:VM.Config.Disk|VM.Config.CPU|VM.Config.Memory|\
    VM.Config.Network|VM.Config.Options"];
