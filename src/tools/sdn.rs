//! Software defined networking: zones, vnets, subnets and controllers. What is changed is saved, and takes effect
//! once it is applied.

mod apply;

use serde_json::Value;

pub(super) use self::apply::APPLY;
use super::common::LISTED_DIGEST as DIGEST;
use crate::answer::{self, Answer, Column, Fields, LIMIT, OFFSET, Order, Table, plain};
use crate::param::{Args, Kind, Param, Versions};
use crate::row::needs::Needs;
use crate::row::{Choice, Place, Row, Scope, Touches, delete, get, post, put, takes};
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const EVERYWHERE: Scope = Scope {
    name: "",
    noun: "",
    path: "",
    reads: &[],
    changes: &[],
    touches: Touches::AnyGuest,
    versions: Versions::ALL,
};

const KIND: Param = Param::required(
    "kind",
    Kind::Choice(&[
        "zones",
        "vnets",
        "subnets",
        "controllers",
        "ipams",
        "ipam_status",
        "dns",
        "zone_status",
    ]),
    "ipam_status: addresses of IPAM id. zone_status: of node, or of the vnets of zone id there.",
);
const CONFIG: Param = Param::required(
    "config",
    Kind::Choice(&["pending", "running"]),
    "running: only what is applied.",
)
.default("pending")
.local();
const ONE: Param = Param::by_request("id", Kind::Format(&format::SDN_ID), "Shows only this one.");
const VNET_OF: Param = Param::by_request("vnet", Kind::Format(&format::VNET), "Of subnets.");
const NODE: Param = Param::by_request("node", Kind::Format(&format::NODE), "");

/// What is saved, with what of it is not applied yet.
const SAVED: &[(&str, &str)] = &[("pending", "1")];
/// What was applied last.
const APPLIED: &[(&str, &str)] = &[("running", "1")];

const fn listed(when: &'static str, path: &'static str, needs: Needs) -> Row {
    get(when, path, &[&LIMIT, &OFFSET], Show::Made(show_list)).needs(needs)
}

const fn shown(when: &'static str, path: &'static str, needs: Needs) -> Row {
    get(when, path, &[], Show::Made(show_one)).needs(needs)
}

const ZONES: &str = "/cluster/sdn/zones";
const ZONE: &str = "/cluster/sdn/zones/{id}";
const VNETS: &str = "/cluster/sdn/vnets";
const VNET: &str = "/cluster/sdn/vnets/{id}";
const SUBNETS: &str = "/cluster/sdn/vnets/{vnet}/subnets";
const SUBNET: &str = "/cluster/sdn/vnets/{vnet}/subnets/{id}";
const CONTROLLERS: &str = "/cluster/sdn/controllers";
const CONTROLLER: &str = "/cluster/sdn/controllers/{id}";

// Lists leave out what the token may not see. Proxmox VE 7 looks at vnets by themselves, later versions by their
// zones.
const OF_ZONES: Needs = &["/sdn/zones:SDN.Audit|SDN.Allocate"];
const OF_CONTROLLERS: Needs = &["/sdn/controllers:SDN.Audit|SDN.Allocate"];
const OF_IPAMS: Needs = &["/sdn/ipams:SDN.Audit|SDN.Allocate"];
const OF_DNS: Needs = &["/sdn/dns:SDN.Audit|SDN.Allocate"];
const OF_ONE_ZONE: Needs = &["/sdn/zones/{zone}:SDN.Allocate"];
const OF_ONE_VNET: Needs =
    &["/sdn/zones/{zone}/{vnet}:SDN.Audit|SDN.Allocate or /sdn/vnets/{vnet}:SDN.Allocate"];
const OF_ONE_SUBNET: Needs = &[
    "/sdn/zones/{zone}/{vnet}:SDN.Audit|SDN.Allocate or /sdn/vnets/{vnet}/subnets/{subnet}:SDN.Allocate",
];
const OF_ONE_CONTROLLER: Needs = &["/sdn/controllers/{controller}:SDN.Allocate"];

pub(super) static LIST: Tool = Tool {
    title: "List SDN",
    summary: "Lists zones, vnets, subnets, controllers, IPAMs or DNS plugins of software-defined networking and their pending changes, the addresses of an IPAM, or the state of zones on a node.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&KIND, &CONFIG, &ONE, &VNET_OF, &NODE],
    call: Call::Choice(&Choice {
        by: &[&KIND, &CONFIG],
        place: Place::Only(EVERYWHERE),
        does: "",
        rows: &[
            listed("zones pending", ZONES, OF_ZONES).always(SAVED),
            listed("zones running", ZONES, OF_ZONES).always(APPLIED),
            shown("zones pending", ZONE, OF_ONE_ZONE).always(SAVED),
            shown("zones running", ZONE, OF_ONE_ZONE).always(APPLIED),
            listed("vnets pending", VNETS, OF_ZONES).always(SAVED),
            listed("vnets running", VNETS, OF_ZONES).always(APPLIED),
            shown("vnets pending", VNET, OF_ONE_VNET).always(SAVED),
            shown("vnets running", VNET, OF_ONE_VNET).always(APPLIED),
            listed("subnets pending", SUBNETS, OF_ZONES).always(SAVED),
            listed("subnets running", SUBNETS, OF_ZONES).always(APPLIED),
            shown("subnets pending", SUBNET, OF_ONE_SUBNET).always(SAVED),
            shown("subnets running", SUBNET, OF_ONE_SUBNET).always(APPLIED),
            listed("controllers pending", CONTROLLERS, OF_CONTROLLERS).always(SAVED),
            listed("controllers running", CONTROLLERS, OF_CONTROLLERS).always(APPLIED),
            shown("controllers pending", CONTROLLER, OF_ONE_CONTROLLER).always(SAVED),
            shown("controllers running", CONTROLLER, OF_ONE_CONTROLLER).always(APPLIED),
            listed("ipams pending", "/cluster/sdn/ipams", OF_IPAMS),
            listed(
                "ipam_status pending",
                "/cluster/sdn/ipams/{id}/status",
                OF_IPAMS,
            )
            .known_to(Versions::since(8)),
            listed("dns pending", "/cluster/sdn/dns", OF_DNS),
            listed("zone_status pending", "/nodes/{node}/sdn/zones", &[]),
            listed(
                "zone_status pending",
                "/nodes/{node}/sdn/zones/{id}/content",
                &["/sdn/zones/{zone}:SDN.Audit"],
            ),
        ],
    }),
};

/// A list whose rows have one key that names them.
macro_rules! table {
    ($name:literal, $one:literal, $many:literal, $key:literal, $columns:expr) => {{
        static TABLE: Table = Table {
            name: $name,
            noun: [$one, $many],
            columns: $columns,
            sort: &[Order::Up($key)],
            count: None,
        };
        &TABLE
    }};
}

const STATE: Column = Column::text("state");
const CHANGE: Column = Column::text("change");
const ZONE_COLUMNS: &[Column] = &[
    Column::text("zone"),
    Column::text("type"),
    STATE,
    CHANGE,
    Column::text("bridge"),
    Column::number("tag"),
    Column::text("vlan-protocol"),
    Column::text("peers"),
    Column::text("controller"),
    Column::number("vrf-vxlan"),
    Column::text("exitnodes"),
    Column::number("mtu"),
    Column::text("nodes"),
    Column::text("ipam"),
    Column::text("dns"),
    Column::text("dnszone"),
    Column::text("dhcp"),
];
const VNET_COLUMNS: &[Column] = &[
    Column::text("vnet"),
    Column::text("zone"),
    STATE,
    CHANGE,
    Column::number("tag"),
    Column::text("alias"),
    Column::flag("vlanaware"),
    Column::flag("isolate-ports"),
];
const SUBNET_COLUMNS: &[Column] = &[
    Column::text("subnet"),
    STATE,
    CHANGE,
    Column::text("gateway"),
    Column::flag("snat"),
    Column::text("dhcp-range"),
    Column::text("dhcp-dns-server"),
    Column::text("dnszoneprefix"),
];
const CONTROLLER_COLUMNS: &[Column] = &[
    Column::text("controller"),
    Column::text("type"),
    STATE,
    CHANGE,
    Column::number("asn"),
    Column::text("peers"),
    Column::text("node"),
    Column::flag("ebgp"),
    Column::number("ebgp-multihop"),
    Column::text("loopback"),
    Column::text("isis-domain"),
    Column::text("isis-ifaces"),
    Column::text("isis-net"),
];

fn show_list(args: &Args, data: Value, _: &Value) -> Answer {
    let of_zone = args.get(&ONE).is_some();
    let table: &Table = match &args[&KIND] {
        "zones" => table!("zones", "zone", "zones", "zone", ZONE_COLUMNS),
        "vnets" => table!("vnets", "vnet", "vnets", "vnet", VNET_COLUMNS),
        "subnets" => table!("subnets", "subnet", "subnets", "subnet", SUBNET_COLUMNS),
        "controllers" => table!(
            "controllers",
            "controller",
            "controllers",
            "controller",
            CONTROLLER_COLUMNS
        ),
        "ipam_status" => table!(
            "addresses",
            "address",
            "addresses",
            "ip",
            &[
                Column::text("ip"),
                Column::number("vmid"),
                Column::text("hostname"),
                Column::text("mac"),
                Column::flag("gateway"),
                Column::text("subnet"),
                Column::text("vnet"),
                Column::text("zone"),
            ]
        ),
        "ipams" => table!(
            "ipams",
            "IPAM",
            "IPAMs",
            "ipam",
            &[
                Column::text("ipam"),
                Column::text("type"),
                Column::text("url"),
                Column::text("section"),
            ]
        ),
        "dns" => table!(
            "dns",
            "DNS plugin",
            "DNS plugins",
            "dns",
            &[
                Column::text("dns"),
                Column::text("type"),
                Column::text("url"),
                Column::number("ttl"),
            ]
        ),
        _ if of_zone => table!(
            "vnets",
            "vnet",
            "vnets",
            "vnet",
            &[
                Column::text("vnet"),
                Column::text("status"),
                Column::text("statusmsg"),
            ]
        ),
        _ => table!(
            "zones",
            "zone",
            "zones",
            "zone",
            &[Column::text("zone"), Column::text("status")]
        ),
    };
    let rows: Vec<Value> = answer::rows(data).into_iter().map(with_change).collect();
    let waiting = rows.iter().filter(|row| !row["state"].is_null()).count();
    let note =
        (waiting > 0).then(|| format!("{waiting} not applied yet: proxmox_apply_sdn applies all."));
    table.answer(rows, args, note.as_slice())
}

fn show_one(args: &Args, data: Value, _: &Value) -> Answer {
    static FIELDS: Fields = Fields {
        heading: "SDN {kind}: {id}",
        columns: &[STATE, CHANGE],
        hidden: &["pending"],
    };
    let object = with_change(data);
    let note = (!object["state"].is_null())
        .then(|| "Not applied yet: proxmox_apply_sdn applies all.".to_owned());
    FIELDS.answer(object, args, note.as_slice())
}

/// An object with what of it is not applied yet. A new one has its values in `pending` alone.
fn with_change(mut object: Value) -> Value {
    let Some(pending) = object["pending"].as_object().cloned() else {
        return object;
    };
    let is_new = object["state"] == "new";
    let mut changes = Vec::new();
    for (key, value) in pending {
        if is_new {
            object[key] = value;
            continue;
        }
        let before = match &object[&key] {
            Value::Null => "none".to_owned(),
            before => plain(before),
        };
        // That is how Proxmox says that a value is taken away.
        let after = match value.as_str() {
            Some("deleted") => "none".to_owned(),
            _ => plain(&value),
        };
        changes.push(format!("{key}: {before} -> {after}"));
    }
    if !changes.is_empty() {
        object["change"] = changes.join("; ").into();
    }
    object
}

const ACTION: Param = Param::required("action", Kind::Choice(&["create", "update", "delete"]), "");
const LOCK_TOKEN: Param = Param::optional("lock_token", Kind::Text(1, 64), "Of a held SDN lock.")
    .sent_as("lock-token")
    .known_to(Versions::since(9));
const UNSET: Param = Param::optional("delete", Kind::List, "Options to clear.").joined();

/// What each change of the configuration comes to.
fn waits(args: &Args, _: &Value) -> Vec<String> {
    let saved = "Saved, not applied: proxmox_apply_sdn applies all that is pending.";
    let lines = [Some(saved.to_owned()), of_lock(args)];
    lines.into_iter().flatten().collect()
}

/// What it means that Proxmox takes a lock token. Whether the lock is held cannot be read.
fn of_lock(args: &Args) -> Option<String> {
    args.get(&LOCK_TOKEN)?;
    Some(
        "Proxmox checks lock_token only while the SDN lock is held, and else takes any.".to_owned(),
    )
}

const ZONE_ID: Param = Param::required("zone", Kind::Format(&format::ZONE), "");
const ZONE_TYPE: Param = Param::by_request(
    "type",
    Kind::Choice(&["simple", "vlan", "qinq", "vxlan", "evpn"]),
    "",
);
const BRIDGE: Param = Param::optional("bridge", Kind::Format(&format::BRIDGE), "");
const TAG: Param = Param::optional("tag", Kind::Integer(1, 16_777_215), "");
const VLAN_PROTOCOL: Param =
    Param::optional("vlan_protocol", Kind::Choice(&["802.1q", "802.1ad"]), "")
        .sent_as("vlan-protocol");
const PEERS: Param = Param::optional("peers", Kind::List, "Addresses.").joined();
const OF_CONTROLLER: Param = Param::optional("controller", Kind::Format(&format::CONFIG_ID), "");
const VRF_VXLAN: Param =
    Param::optional("vrf_vxlan", Kind::Integer(1, 16_777_215), "").sent_as("vrf-vxlan");
const EXITNODES: Param = Param::optional("exitnodes", Kind::List, "").joined();
const MTU: Param = Param::optional("mtu", Kind::Integer(576, 65_520), "");
const NODES: Param = Param::optional("nodes", Kind::List, "Default: all.").joined();
const IPAM: Param = Param::optional("ipam", Kind::Format(&format::CONFIG_ID), "");
const DNS: Param = Param::optional("dns", Kind::Format(&format::CONFIG_ID), "");
const DNSZONE: Param = Param::optional("dnszone", Kind::Format(&format::DNS_NAME), "");
const DHCP: Param =
    Param::optional("dhcp", Kind::Choice(&["dnsmasq"]), "").known_to(Versions::since(8));

/// Rarely set.
const fn rare(name: &'static str, kind: Kind, hint: &'static str) -> Param {
    Param::optional(name, kind, hint).rare()
}

/// What a new zone is made of, and what can be changed later.
const ZONE_OPTIONS: &[&Param] = &[
    &BRIDGE,
    &TAG,
    &VLAN_PROTOCOL,
    &PEERS,
    &OF_CONTROLLER,
    &VRF_VXLAN,
    &EXITNODES,
    &MTU,
    &NODES,
    &IPAM,
    &DNS,
    &DNSZONE,
    &DHCP,
    &rare(
        "reversedns",
        Kind::Format(&format::CONFIG_ID),
        "A DNS plugin.",
    ),
    &rare("vxlan_port", Kind::Integer(1, 65_536), "")
        .sent_as("vxlan-port")
        .known_to(Versions::since(8)),
    &rare("fabric", Kind::Text(1, 64), "In place of peers.").known_to(Versions::since(9)),
    &rare("advertise_subnets", Kind::Flag, "").sent_as("advertise-subnets"),
    &rare("disable_arp_nd_suppression", Kind::Flag, "").sent_as("disable-arp-nd-suppression"),
    &rare("bridge_disable_mac_learning", Kind::Flag, "").sent_as("bridge-disable-mac-learning"),
    &rare("exitnodes_primary", Kind::Format(&format::NODE), "").sent_as("exitnodes-primary"),
    &rare("exitnodes_local_routing", Kind::Flag, "").sent_as("exitnodes-local-routing"),
    &rare("mac", Kind::Text(17, 17), "Of the anycast gateway."),
    &rare("rt_import", Kind::List, "Such as 65000:100.")
        .joined()
        .sent_as("rt-import"),
];

pub(super) static MANAGE_ZONE: Tool = Tool {
    title: "Manage SDN zone",
    summary: "Manages an SDN zone. Pending until proxmox_apply_sdn.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&ACTION, &ZONE_ID],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(Scope {
            path: ZONES,
            reads: &["/sdn/zones/{zone}:SDN.Allocate"],
            changes: &["/sdn/zones/{zone}:SDN.Allocate or /sdn/zones:SDN.Allocate"],
            ..EVERYWHERE
        }),
        does: "{action} SDN zone {zone}",
        rows: &[
            post(
                "create",
                "",
                takes![&[&ZONE_ID, &ZONE_TYPE], ZONE_OPTIONS, &[&LOCK_TOKEN]],
            )
            .harmless()
            .needs(&["/sdn/zones:SDN.Allocate"])
            .says("pending", waits),
            put(
                "update",
                "/{zone}",
                takes![ZONE_OPTIONS, &[&UNSET, &DIGEST, &LOCK_TOKEN]],
            )
            .harmless()
            .says("pending", waits),
            delete("delete", "/{zone}", &[&LOCK_TOKEN])
                .interrupts("Once that is applied, its network is gone.")
                .says("pending", waits),
        ],
    }),
};

const VNET_ID: Param = Param::required("vnet", Kind::Format(&format::VNET), "");
const IN_ZONE: Param = Param::by_request("zone", Kind::Format(&format::ZONE), "");
const NEW_ZONE: Param = Param::optional("zone", Kind::Format(&format::ZONE), "");
const ALIAS: Param = Param::optional("alias", Kind::Text(1, 256), "");
const VLANAWARE: Param = Param::optional("vlanaware", Kind::Flag, "");
const ISOLATE_PORTS: Param = Param::optional("isolate_ports", Kind::Flag, "")
    .sent_as("isolate-ports")
    .known_to(Versions::since(8));

pub(super) static MANAGE_VNET: Tool = Tool {
    title: "Manage SDN vnet",
    summary: "Manages a vnet, which guests use as a bridge. Pending until proxmox_apply_sdn.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&ACTION, &VNET_ID],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(Scope {
            path: VNETS,
            reads: OF_ONE_VNET,
            changes: &["/sdn/zones/{zone}/{vnet}:SDN.Allocate or /sdn/vnets:SDN.Allocate"],
            ..EVERYWHERE
        }),
        does: "{action} SDN vnet {vnet}",
        rows: &[
            post(
                "create",
                "",
                &[
                    &VNET_ID,
                    &IN_ZONE,
                    &TAG,
                    &ALIAS,
                    &VLANAWARE,
                    &ISOLATE_PORTS,
                    &LOCK_TOKEN,
                ],
            )
            .harmless()
            .needs(&["/sdn/zones/{zone}:SDN.Allocate or /sdn/vnets:SDN.Allocate"])
            .says("pending", waits),
            put(
                "update",
                "/{vnet}",
                &[
                    &NEW_ZONE,
                    &TAG,
                    &ALIAS,
                    &VLANAWARE,
                    &ISOLATE_PORTS,
                    &UNSET,
                    &DIGEST,
                    &LOCK_TOKEN,
                ],
            )
            .harmless()
            .says("pending", waits),
            delete("delete", "/{vnet}", &[&LOCK_TOKEN])
                .interrupts("Once that is applied, guests on it are cut off.")
                .says("pending", waits),
        ],
    }),
};

const SUBNET_ID: Param = Param::required(
    "subnet",
    Kind::Format(&format::SUBNET),
    "create: 10.0.0.0/24; else its id, z1-10.0.0.0-24.",
);
const GATEWAY: Param = Param::optional("gateway", Kind::Format(&format::ADDRESS), "");
const SNAT: Param = Param::optional("snat", Kind::Flag, "");
const DHCP_RANGE: Param = Param::optional(
    "dhcp_range",
    Kind::List,
    "start-address=10.0.0.50,end-address=10.0.0.99.",
)
.sent_as("dhcp-range")
.known_to(Versions::since(8));
const DHCP_DNS_SERVER: Param =
    Param::optional("dhcp_dns_server", Kind::Format(&format::ADDRESS), "")
        .sent_as("dhcp-dns-server")
        .known_to(Versions::since(8));
const DNSZONEPREFIX: Param = Param::optional("dnszoneprefix", Kind::Format(&format::DNS_NAME), "");

pub(super) static MANAGE_SUBNET: Tool = Tool {
    title: "Manage SDN subnet",
    summary: "Manages a subnet of a vnet. Pending until proxmox_apply_sdn.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&ACTION, &VNET_ID, &SUBNET_ID],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(Scope {
            path: SUBNETS,
            reads: OF_ZONES,
            changes: &[
                "/sdn/zones/{zone}/{vnet}:SDN.Allocate or /sdn/vnets/{vnet}/subnets:SDN.Allocate",
            ],
            ..EVERYWHERE
        }),
        does: "{action} subnet {subnet} of SDN vnet {vnet}",
        rows: &[
            post(
                "create",
                "",
                &[
                    &SUBNET_ID,
                    &GATEWAY,
                    &SNAT,
                    &DHCP_RANGE,
                    &DHCP_DNS_SERVER,
                    &DNSZONEPREFIX,
                    &LOCK_TOKEN,
                ],
            )
            .harmless()
            .always(&[("type", "subnet")])
            .says("pending", waits),
            put(
                "update",
                "/{subnet}",
                &[
                    &GATEWAY,
                    &SNAT,
                    &DHCP_RANGE,
                    &DHCP_DNS_SERVER,
                    &DNSZONEPREFIX,
                    &UNSET,
                    &DIGEST,
                    &LOCK_TOKEN,
                ],
            )
            .harmless()
            .reads_entry("", "subnet", &SUBNET_ID)
            .says("pending", waits),
            delete("delete", "/{subnet}", &[&LOCK_TOKEN])
                .interrupts("IPAM forgets it at once; once applied, its gateway and DHCP are gone.")
                .reads_entry("", "subnet", &SUBNET_ID)
                .says("pending", waits),
        ],
    }),
};

const CONTROLLER_ID: Param = Param::required("controller", Kind::Format(&format::CONFIG_ID), "");
const CONTROLLER_TYPE: Param =
    Param::by_request("type", Kind::Choice(&["evpn", "bgp", "isis"]), "")
        .values_known_to(&[("isis", Versions::since(8))]);
const ASN: Param = Param::optional("asn", Kind::Integer(0, 4_294_967_295), "");
const OF_NODE: Param = Param::optional("node", Kind::Format(&format::NODE), "");
const EBGP: Param = Param::optional("ebgp", Kind::Flag, "");
const EBGP_MULTIHOP: Param =
    Param::optional("ebgp_multihop", Kind::Integer(1, 255), "").sent_as("ebgp-multihop");
const LOOPBACK: Param = Param::optional("loopback", Kind::Format(&format::INTERFACE_NAME), "");
const ISIS_DOMAIN: Param = Param::optional("isis_domain", Kind::Text(1, 64), "")
    .sent_as("isis-domain")
    .known_to(Versions::since(8));
const ISIS_IFACES: Param = Param::optional("isis_ifaces", Kind::List, "")
    .joined()
    .sent_as("isis-ifaces")
    .known_to(Versions::since(8));
const ISIS_NET: Param = Param::optional("isis_net", Kind::Text(20, 50), "")
    .sent_as("isis-net")
    .known_to(Versions::since(8));

/// What a new controller is made of, and what can be changed later.
const CONTROLLER_OPTIONS: &[&Param] = &[
    &ASN,
    &PEERS,
    &OF_NODE,
    &EBGP,
    &EBGP_MULTIHOP,
    &LOOPBACK,
    &ISIS_DOMAIN,
    &ISIS_IFACES,
    &ISIS_NET,
    &rare("bgp_multipath_as_path_relax", Kind::Flag, "").sent_as("bgp-multipath-as-path-relax"),
    &rare("fabric", Kind::Text(1, 64), "In place of peers.").known_to(Versions::since(9)),
];

pub(super) static MANAGE_CONTROLLER: Tool = Tool {
    title: "Manage SDN controller",
    summary: "Manages a routing controller of SDN zones. Pending until proxmox_apply_sdn.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&ACTION, &CONTROLLER_ID],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(Scope {
            path: CONTROLLERS,
            reads: &["/sdn/controllers/{controller}:SDN.Allocate"],
            changes: &["/sdn/controllers:SDN.Allocate"],
            ..EVERYWHERE
        }),
        does: "{action} SDN controller {controller}",
        rows: &[
            post(
                "create",
                "",
                takes![
                    &[&CONTROLLER_ID, &CONTROLLER_TYPE],
                    CONTROLLER_OPTIONS,
                    &[&LOCK_TOKEN]
                ],
            )
            .harmless()
            .says("pending", waits),
            put(
                "update",
                "/{controller}",
                takes![CONTROLLER_OPTIONS, &[&UNSET, &DIGEST, &LOCK_TOKEN]],
            )
            .harmless()
            .says("pending", waits),
            delete("delete", "/{controller}", &[&LOCK_TOKEN])
                .interrupts("Once that is applied, its routes are gone.")
                .says("pending", waits),
        ],
    }),
};
