//! Firewall: the rules of the cluster, of nodes, guests, security groups and vnets.

use serde_json::Value;

use super::common::LISTED_DIGEST as DIGEST;
use crate::answer::{Column, Fields, LIMIT, OFFSET, Order, Table, plain};
use crate::param::{Args, Kind, Param, Versions};
use crate::row::{Choice, Place, Scope, Touches, delete, item, list, post, put};
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const SCOPE: Param = Param::required(
    "scope",
    Kind::Choice(&["cluster", "node", "vm", "lxc", "group", "vnet"]),
    "",
);
const NODE: Param = Param::by_request("node", Kind::Format(&format::NODE), "");
const GUEST: Param = Param::by_request("vmid", Kind::Guest, "VMID or name.");
const GROUP: Param = Param::by_request("group", Kind::Format(&format::CONFIG_ID), "");
const VNET: Param = Param::by_request("vnet", Kind::Format(&format::VNET), "");

/// Rules of a node and of what guests share may let any guest's traffic through, or keep it back.
const SCOPES: &[Scope] = &[
    Scope {
        name: "cluster",
        noun: "the cluster",
        path: "/cluster/firewall/rules",
        reads: "/:Sys.Audit",
        changes: "/:Sys.Modify",
        touches: Touches::AnyGuest,
        versions: Versions::ALL,
    },
    Scope {
        name: "node",
        noun: "node {node}",
        path: "/nodes/{node}/firewall/rules",
        reads: "/nodes/{node}:Sys.Audit",
        changes: "/nodes/{node}:Sys.Modify",
        touches: Touches::AnyGuest,
        versions: Versions::ALL,
    },
    of_guest(
        "vm",
        "VM {vmid}",
        "/nodes/{node}/qemu/{vmid}/firewall/rules",
    ),
    of_guest(
        "lxc",
        "container {vmid}",
        "/nodes/{node}/lxc/{vmid}/firewall/rules",
    ),
    Scope {
        name: "group",
        noun: "security group {group}",
        path: "/cluster/firewall/groups/{group}",
        reads: "/:Sys.Audit",
        changes: "/:Sys.Modify",
        touches: Touches::AnyGuest,
        versions: Versions::ALL,
    },
    Scope {
        name: "vnet",
        noun: "vnet {vnet}",
        path: "/cluster/sdn/vnets/{vnet}/firewall/rules",
        reads: "/sdn/zones/{zone}/{vnet}:SDN.Audit|SDN.Allocate",
        changes: "/sdn/zones/{zone}/{vnet}:SDN.Allocate",
        touches: Touches::AnyGuest,
        versions: Versions::since(8),
    },
];

const fn of_guest(name: &'static str, noun: &'static str, path: &'static str) -> Scope {
    Scope {
        name,
        noun,
        path,
        reads: "/vms/{vmid}:VM.Audit",
        changes: "/vms/{vmid}:VM.Config.Network",
        touches: Touches::GuestOf(&GUEST),
        versions: Versions::ALL,
    }
}

const POSITION: Kind = Kind::Integer(0, u64::MAX);
const ONE: Param = Param::optional("pos", POSITION, "Only this one.");

const COLUMNS: &[Column] = &[
    Column::number("pos"),
    Column::flag("enable"),
    Column::text("type"),
    Column::text("action"),
    Column::text("macro"),
    Column::text("iface"),
    Column::text("source"),
    Column::text("dest"),
    Column::text("proto"),
    Column::text("sport"),
    Column::text("dport"),
    Column::text("icmp-type"),
    Column::text("log"),
    Column::text("comment"),
];

pub(super) static RULES: Tool = Tool {
    title: "List firewall rules",
    summary: "Lists the firewall rules of one scope in their order, with the digest that a change of one takes.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[SCOPE, NODE, GUEST, GROUP, VNET, ONE],
    call: Call::Choice(&Choice {
        by: None,
        place: Place::By(&SCOPE, SCOPES),
        does: "",
        rows: &[
            list(
                &[LIMIT, OFFSET],
                Show::Listed(
                    &Table {
                        name: "rules",
                        noun: ["rule", "rules"],
                        columns: COLUMNS,
                        sort: &[Order::Up("pos")],
                        count: None,
                    },
                    digest,
                ),
            ),
            item(
                "/{pos}",
                Show::Fields(&Fields {
                    heading: "Firewall rule {pos}",
                    columns: COLUMNS,
                    hidden: &[],
                }),
            ),
        ],
    }),
};

/// Positions shift with each rule that comes or goes; the digest says whether they have.
fn digest(rules: &[Value]) -> Vec<String> {
    let digest = rules
        .first()
        .map(|rule| format!("digest: {}", plain(&rule["digest"])));
    digest.into_iter().collect()
}

const ACTION: Param = Param::required(
    "action",
    Kind::Choice(&["add", "update", "move", "delete"]),
    "",
);
const POS: Param = Param::by_request("pos", POSITION, "");
const MOVETO: Param = Param::by_request("moveto", POSITION, "Before the rule there now.");
const TYPES: Kind = Kind::Choice(&["in", "out", "forward", "group"]);
const TYPE: Param =
    Param::by_request("type", TYPES, "").value_known_to("forward", Versions::since(8));
const NEW_TYPE: Param =
    Param::optional("type", TYPES, "").value_known_to("forward", Versions::since(8));
const RULE_ACTION: Param = Param::by_request(
    "rule_action",
    Kind::Format(&format::CONFIG_ID),
    "ACCEPT, DROP, REJECT, group.",
)
.sent_as("action");
const NEW_RULE_ACTION: Param =
    Param::optional("rule_action", Kind::Format(&format::CONFIG_ID), "").sent_as("action");
const ENABLE: Param = Param::optional("enable", Kind::Flag, "");
const SOURCE: Param = Param::optional("source", Kind::Text(1, 512), "");
const DEST: Param = Param::optional("dest", Kind::Text(1, 512), "");
const PROTO: Param = Param::optional("proto", Kind::Text(1, 40), "");
const SPORT: Param = Param::optional("sport", Kind::Text(1, 512), "");
const DPORT: Param = Param::optional("dport", Kind::Text(1, 512), "");
const ICMP_TYPE: Param = Param::optional("icmp_type", Kind::Text(1, 40), "").sent_as("icmp-type");
const IFACE: Param = Param::optional("iface", Kind::Format(&format::INTERFACE), "");
const MACRO: Param = Param::optional("macro", Kind::Text(1, 128), "");
const LOG: Param = Param::optional("log", Kind::Format(&format::LOG_LEVEL), "");
const COMMENT: Param = Param::optional("comment", Kind::Text(1, 4_096), "");
const UNSET: Param = Param::optional("delete", Kind::List, "To clear.").joined();

pub(super) static MANAGE_RULE: Tool = Tool {
    title: "Manage firewall rule",
    summary: "Manages a firewall rule. A new one is first, disabled unless enable.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[SCOPE, NODE, GUEST, GROUP, VNET, ACTION, POS],
    call: Call::Choice(&Choice {
        by: Some(&ACTION),
        place: Place::By(&SCOPE, SCOPES),
        does: "{action} firewall rule[ {pos}] of {place}[ before rule {moveto}]",
        rows: &[
            post(
                "add",
                "",
                &[
                    TYPE,
                    RULE_ACTION,
                    ENABLE,
                    SOURCE,
                    DEST,
                    PROTO,
                    SPORT,
                    DPORT,
                    ICMP_TYPE,
                    IFACE,
                    MACRO,
                    LOG,
                    COMMENT,
                ],
            )
            .interrupts("It can cut connections off, or let them in.")
            .says("done", added),
            put(
                "update",
                "/{pos}",
                &[
                    NEW_TYPE,
                    NEW_RULE_ACTION,
                    ENABLE,
                    SOURCE,
                    DEST,
                    PROTO,
                    SPORT,
                    DPORT,
                    ICMP_TYPE,
                    IFACE,
                    MACRO,
                    LOG,
                    COMMENT,
                    UNSET,
                    DIGEST,
                ],
            )
            .interrupts("It can cut connections off, or let them in."),
            put("move", "/{pos}", &[MOVETO, DIGEST])
                .interrupts("The first rule that fits a packet counts.")
                .says("done", shifted),
            delete("delete", "/{pos}", &[DIGEST])
                .interrupts("It can cut connections off, or let them in.")
                .says("done", shifted),
        ],
    }),
};

fn added(args: &Args, _: &Value) -> Vec<String> {
    vec![match args.flag(&ENABLE) {
        true => "It is the first rule, position 0; the others have moved down.".to_owned(),
        false => "It is the first rule, position 0, and disabled: update it with enable=true to have it count.".to_owned(),
    }]
}

fn shifted(_: &Args, _: &Value) -> Vec<String> {
    vec!["Positions and digest have changed: list the rules before the next change.".to_owned()]
}
