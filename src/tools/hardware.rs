//! What a node has and what it can emulate: devices, CPU models and flags, machine types.

use serde_json::Value;

use super::common::NODE;
use crate::answer::{Column, LIMIT, OFFSET, Order, Table, number};
use crate::param::{Kind, Param, Versions};
use crate::row::{Choice, Place, Scope, Touches, get};
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const KIND: Param = Param::required(
    "kind",
    Kind::Choice(&["pci", "usb", "mdev"]),
    "mdev: types of mediated devices, such as vGPUs.",
);
const PCI_ID: Param = Param::by_request(
    "pci_id",
    Kind::Format(&format::PCI_DEVICE),
    "Of mdev: such as 0000:01:00.0.",
)
.local();

const fn scope(path: &'static str) -> Scope {
    Scope {
        name: "",
        noun: "",
        path,
        reads: &[],
        changes: &[],
        touches: Touches::NoGuest,
        versions: Versions::ALL,
    }
}

pub(super) static LIST: Tool = Tool {
    title: "List node hardware",
    summary: "Lists PCI devices, USB devices or types of mediated devices of a node, for passing through to guests.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &KIND],
    call: Call::Choice(&Choice {
        by: &[&KIND],
        place: Place::Only(Scope {
            reads: &["/:Sys.Audit|Sys.Modify"],
            ..scope("/nodes/{node}/hardware")
        }),
        does: "",
        rows: &[
            get(
                "pci",
                "/pci",
                &[&LIMIT, &OFFSET],
                Show::Listed(
                    &Table {
                        name: "devices",
                        noun: ["PCI device", "PCI devices"],
                        columns: &[
                            Column::text("id"),
                            Column::text("class"),
                            Column::text("vendor"),
                            Column::text("device"),
                            Column::text("vendor_name"),
                            Column::text("device_name"),
                            Column::number("iommugroup"),
                            Column::flag("mdev"),
                        ],
                        sort: &[Order::Up("id")],
                        count: None,
                    },
                    groups,
                ),
            ),
            get(
                "usb",
                "/usb",
                &[&LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "devices",
                    noun: ["USB device", "USB devices"],
                    columns: &[
                        Column::number("busnum"),
                        Column::number("devnum"),
                        Column::text("usbpath"),
                        Column::text("vendid"),
                        Column::text("prodid"),
                        Column::text("manufacturer"),
                        Column::text("product"),
                        Column::text("serial"),
                        Column::number("speed"),
                    ],
                    sort: &[Order::Up("busnum"), Order::Up("devnum")],
                    count: None,
                }),
            )
            // Proxmox asks for it although it only reads.
            .needs(&["/:Sys.Modify"]),
            get(
                "mdev",
                "/pci/{pci_id}/mdev",
                &[&PCI_ID, &LIMIT, &OFFSET],
                Show::Listed(
                    &Table {
                        name: "types",
                        noun: ["mediated device type", "mediated device types"],
                        columns: &[
                            Column::text("type"),
                            Column::text("name"),
                            Column::number("available"),
                            Column::text("description"),
                        ],
                        sort: &[Order::Up("type")],
                        count: None,
                    },
                    nothing_said,
                ),
            ),
        ],
    }),
};

/// Proxmox answers the same for a device that has none and for one that does not exist.
fn nothing_said(types: &[Value]) -> Vec<String> {
    let note = types.is_empty().then(|| {
        "The device offers none, or does not exist: kind=pci lists those that there are.".to_owned()
    });
    note.into_iter().collect()
}

fn groups(devices: &[Value]) -> Vec<String> {
    let left_out = "Bridges, memory controllers and processors are left out.".to_owned();
    let has_group =
        |device: &Value| number(&device["iommugroup"]).is_some_and(|group| group >= 0.0);
    let is_off = !devices.is_empty() && !devices.iter().any(has_group);
    let off = is_off.then(|| {
        "No device has an IOMMU group: the IOMMU is off, so none can be passed through.".to_owned()
    });
    [left_out].into_iter().chain(off).collect()
}

const OFFERS: Param = Param::required("kind", Kind::Choice(&["cpu", "cpu_flags", "machines"]), "");
const ARCH: Param =
    Param::optional("arch", Kind::Choice(&["x86_64", "aarch64"]), "").known_to(Versions::since(9));

pub(super) static CAPABILITIES: Tool = Tool {
    title: "Node capabilities",
    summary: "Lists the CPU models, CPU flags or machine types that VMs of a node can have.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE, &OFFERS],
    call: Call::Choice(&Choice {
        by: &[&OFFERS],
        place: Place::Only(scope("/nodes/{node}/capabilities/qemu")),
        does: "",
        rows: &[
            get(
                "cpu",
                "/cpu",
                &[&ARCH, &LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "models",
                    noun: ["CPU model", "CPU models"],
                    columns: &[
                        Column::text("name"),
                        Column::text("vendor"),
                        Column::flag("custom"),
                    ],
                    sort: &[Order::Up("name")],
                    count: None,
                }),
            ),
            get(
                "cpu_flags",
                "/cpu-flags",
                &[&ARCH, &LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "flags",
                    noun: ["CPU flag", "CPU flags"],
                    columns: &[
                        Column::text("name"),
                        Column::text("supported-on"),
                        Column::text("description"),
                    ],
                    sort: &[Order::Up("name")],
                    count: None,
                }),
            )
            .known_to(Versions::since(9)),
            get(
                "machines",
                "/machines",
                &[&ARCH, &LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "machines",
                    noun: ["machine type", "machine types"],
                    columns: &[
                        Column::text("id"),
                        Column::text("type"),
                        Column::text("version"),
                        Column::text("changes"),
                    ],
                    sort: &[Order::Up("type"), Order::Down("version")],
                    count: None,
                }),
            ),
        ],
    }),
};
