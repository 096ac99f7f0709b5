//! Firewall: the rules of the cluster, of nodes, guests, security groups and vnets.

mod admission;

use serde_json::Value;

use super::common::{ERRORS_ONLY, GREP, LISTED_DIGEST as DIGEST, filtered};
use crate::answer::{self, Answer, Column, Fields, LIMIT, OFFSET, Order, Table, plain};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::row::{
    Choice, First, Place, Scope, Step, Touches, delete, get, item, list, needs, post, put,
};
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
const fn of_cluster(path: &'static str) -> Scope {
    Scope {
        name: "cluster",
        noun: "the cluster",
        path,
        reads: &["/:Sys.Audit"],
        changes: &["/:Sys.Modify"],
        touches: Touches::AnyGuest,
        versions: Versions::ALL,
    }
}

const fn of_node(path: &'static str) -> Scope {
    Scope {
        name: "node",
        noun: "node {node}",
        path,
        reads: &["/nodes/{node}:Sys.Audit"],
        changes: &["/nodes/{node}:Sys.Modify"],
        ..of_cluster(path)
    }
}

const fn of_guest(name: &'static str, noun: &'static str, path: &'static str) -> Scope {
    Scope {
        name,
        noun,
        path,
        reads: &["/vms/{vmid}:VM.Audit"],
        changes: &["/vms/{vmid}:VM.Config.Network"],
        touches: Touches::GuestOf(&GUEST),
        versions: Versions::ALL,
    }
}

const fn of_group(path: &'static str) -> Scope {
    Scope {
        name: "group",
        noun: "security group {group}",
        ..of_cluster(path)
    }
}

const fn of_vnet(path: &'static str) -> Scope {
    Scope {
        name: "vnet",
        noun: "vnet {vnet}",
        path,
        reads: &["/sdn/zones/{zone}/{vnet}:SDN.Audit|SDN.Allocate"],
        changes: &["/sdn/zones/{zone}/{vnet}:SDN.Allocate"],
        versions: Versions::since(8),
        ..of_cluster(path)
    }
}

const fn of_vm(path: &'static str) -> Scope {
    of_guest("vm", "VM {vmid}", path)
}

const fn of_lxc(path: &'static str) -> Scope {
    of_guest("lxc", "container {vmid}", path)
}

const SCOPES: &[Scope] = &[
    of_cluster("/cluster/firewall/rules"),
    of_node("/nodes/{node}/firewall/rules"),
    of_vm("/nodes/{node}/qemu/{vmid}/firewall/rules"),
    of_lxc("/nodes/{node}/lxc/{vmid}/firewall/rules"),
    of_group("/cluster/firewall/groups/{group}"),
    of_vnet("/cluster/sdn/vnets/{vnet}/firewall/rules"),
];

const POSITION: Kind = Kind::Integer(0, u64::MAX);
const ONE: Param = Param::optional("pos", POSITION, "Shows only this one.");

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
    params: &[&SCOPE, &NODE, &GUEST, &GROUP, &VNET, &ONE],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::By(&SCOPE, SCOPES),
        does: "",
        rows: &[
            list(
                &[&LIMIT, &OFFSET],
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
const MOVETO: Param = Param::by_request("moveto", POSITION, "Before that rule.");
const TYPES: Kind = Kind::Choice(&["in", "out", "forward", "group"]);
const TYPE: Param =
    Param::by_request("type", TYPES, "").values_known_to(&[("forward", Versions::since(8))]);
const NEW_TYPE: Param =
    Param::optional("type", TYPES, "").values_known_to(&[("forward", Versions::since(8))]);
const RULE_ACTION: Param = Param::by_request(
    "rule_action",
    Kind::Format(&format::CONFIG_ID),
    "ACCEPT, DROP, REJECT or a group.",
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
const UNSET: Param = Param::optional("delete", Kind::List, "Fields to clear.").joined();

/// What adding a rule and changing it take: the same, after what only adding requires.
macro_rules! rule_fields {
    ($type:ident, $action:ident $(, $more:ident)*) => {
        &[
            &$type, &$action, &ENABLE, &SOURCE, &DEST, &PROTO, &SPORT, &DPORT, &ICMP_TYPE, &IFACE, &MACRO,
            &LOG, &COMMENT, $(&$more),*
        ]
    };
}

pub(super) static MANAGE_RULE: Tool = Tool {
    title: "Manage firewall rule",
    summary: "Manages a firewall rule. A new one is first, disabled unless enable.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&SCOPE, &NODE, &GUEST, &GROUP, &VNET, &ACTION, &POS],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::By(&SCOPE, SCOPES),
        does: "{action} firewall rule[ {pos}] of {place}[ before rule {moveto}]",
        rows: &[
            post("add", "", rule_fields!(TYPE, RULE_ACTION))
                .interrupts("It can cut connections off, or let them in.")
                .also_reads(GROUPS_READ)
                .checks(group_there)
                .says("done", added),
            put(
                "update",
                "/{pos}",
                rule_fields!(NEW_TYPE, NEW_RULE_ACTION, UNSET, DIGEST),
            )
            .interrupts("It can cut connections off, or let them in.")
            .also_reads(GROUPS_READ)
            .checks(group_there),
            put("move", "/{pos}", &[&MOVETO, &DIGEST])
                .interrupts("The first rule that fits a packet counts.")
                .says("done", moved),
            delete("delete", "/{pos}", &[&DIGEST])
                .interrupts("It can cut connections off, or let them in.")
                .says("done", shifted),
        ],
    }),
};

const GROUPS_READ: &[Step] = &[Step::read("/cluster/firewall/groups", &[])];

/// Refuses a rule for a security group that does not exist: Proxmox takes it, and it admits nothing.
fn group_there(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let verdicts = ["ACCEPT", "DROP", "REJECT"];
    let Some(group) = args
        .get(&RULE_ACTION)
        .filter(|name| !verdicts.contains(name))
    else {
        return Ok(Vec::new());
    };
    let groups = answer::rows(client.get("/cluster/firewall/groups")?);
    let names: Vec<String> = groups.iter().map(|known| plain(&known["group"])).collect();
    if names.iter().any(|name| name == group) {
        return Ok(Vec::new());
    }
    Err(Error::impossible(
        format!("there is no security group {group}, nothing was done"),
        match names.is_empty() {
            true => "There are none. An action is ACCEPT, DROP or REJECT.".to_owned(),
            false => format!(
                "There are: {}. Other actions are ACCEPT, DROP and REJECT.",
                names.join(", ")
            ),
        },
    ))
}

fn added(args: &Args, _: &Value) -> Vec<String> {
    vec![match args.flag(&ENABLE) {
        true => "It is the first rule, position 0; the others have moved down.".to_owned(),
        false => "It is the first rule, position 0, and disabled: update it with enable=true to have it count.".to_owned(),
    }]
}

/// `moveto` counts positions as they were before.
fn moved(args: &Args, data: &Value) -> Vec<String> {
    let [from, to] = [&POS, &MOVETO].map(|param| args.integer(param).unwrap_or_default());
    let now = if to > from { to - 1 } else { to };
    let line = format!("It is rule {now} now, or the last where there are fewer.");
    [vec![line], shifted(args, data)].concat()
}

fn shifted(_: &Args, _: &Value) -> Vec<String> {
    vec!["Positions and digest have changed: list the rules before the next change.".to_owned()]
}

const OPTION_SCOPES: &[Scope] = &[
    of_cluster("/cluster/firewall/options"),
    of_node("/nodes/{node}/firewall/options"),
    of_vm("/nodes/{node}/qemu/{vmid}/firewall/options"),
    of_lxc("/nodes/{node}/lxc/{vmid}/firewall/options"),
    of_vnet("/cluster/sdn/vnets/{vnet}/firewall/options"),
];
const OPTION_SCOPE: Param = Param::required(
    "scope",
    Kind::Choice(&["cluster", "node", "vm", "lxc", "vnet"]),
    "",
);

pub(super) static OPTIONS: Tool = Tool {
    title: "Firewall options",
    summary: "Shows the firewall options of one scope, such as enable and the policies; what is not shown is at its default.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&OPTION_SCOPE, &NODE, &GUEST, &VNET],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::By(&OPTION_SCOPE, OPTION_SCOPES),
        does: "",
        rows: &[item(
            "",
            Show::Fields(&Fields {
                heading: "Firewall options, scope {scope}",
                columns: &[
                    Column::flag("enable"),
                    Column::text("policy_in"),
                    Column::text("policy_out"),
                    Column::text("policy_forward"),
                ],
                hidden: &[],
            }),
        )],
    }),
};

const SWITCH: Param = Param::optional("enable", Kind::Flag, "");
const POLICIES: Kind = Kind::Choice(&["ACCEPT", "REJECT", "DROP"]);
const POLICY_IN: Param = Param::optional("policy_in", POLICIES, "");
const POLICY_OUT: Param = Param::optional("policy_out", POLICIES, "");
const POLICY_FORWARD: Param =
    Param::optional("policy_forward", Kind::Choice(&["ACCEPT", "DROP"]), "")
        .known_to(Versions::since(8));
const LOG_IN: Param = level("log_level_in");
const LOG_OUT: Param = level("log_level_out");
const LOG_FORWARD: Param = level("log_level_forward").known_to(Versions::since(8));
const NDP: Param = flag("ndp");
const UNSET_OPTIONS: Param =
    Param::optional("delete", Kind::List, "Options to reset to their defaults.").joined();
const OPENS_AND_CLOSES: &str = "It can cut connections off, or let them in.";

const fn level(name: &'static str) -> Param {
    Param::optional(name, Kind::Format(&format::LOG_LEVEL), "")
}

const fn flag(name: &'static str) -> Param {
    Param::optional(name, Kind::Flag, "")
}

const fn count(name: &'static str, least: u64) -> Param {
    Param::optional(name, Kind::Integer(least, u64::MAX), "")
}

pub(super) static SET_OPTIONS: Tool = Tool {
    title: "Set firewall options",
    summary: "Changes firewall options of one scope. A guest also needs firewall=1 on its network card.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&OPTION_SCOPE, &NODE, &GUEST, &VNET],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::By(&OPTION_SCOPE, OPTION_SCOPES),
        does: "set firewall options of {place}",
        rows: &[
            put(
                "",
                "",
                &[
                    &SWITCH,
                    &POLICY_IN,
                    &POLICY_OUT,
                    &POLICY_FORWARD,
                    &flag("ebtables"),
                    &Param::optional(
                        "log_ratelimit",
                        Kind::Text(1, 100),
                        "Such as enable=1,burst=5,rate=1/second.",
                    ),
                    &UNSET_OPTIONS,
                    &DIGEST,
                ],
            )
            .interrupts(OPENS_AND_CLOSES)
            .in_scopes(&["cluster"])
            .also_reads(admission::REQUESTS)
            .checks(admission::check),
            put(
                "",
                "",
                &[
                    &SWITCH,
                    &LOG_IN,
                    &LOG_OUT,
                    &LOG_FORWARD,
                    &NDP,
                    &flag("nftables").known_to(Versions::since(8)),
                    &flag("nosmurfs"),
                    &flag("tcpflags"),
                    &level("smurf_log_level"),
                    &level("tcp_flags_log_level"),
                    &flag("log_nf_conntrack"),
                    &flag("nf_conntrack_allow_invalid"),
                    &Param::optional("nf_conntrack_helpers", Kind::Text(1, 200), ""),
                    &count("nf_conntrack_max", 32_768),
                    &count("nf_conntrack_tcp_timeout_established", 7_875),
                    &Param::optional(
                        "nf_conntrack_tcp_timeout_syn_recv",
                        Kind::Integer(30, 60),
                        "",
                    ),
                    &flag("protection_synflood"),
                    &count("protection_synflood_rate", 0),
                    &count("protection_synflood_burst", 0),
                    &UNSET_OPTIONS,
                    &DIGEST,
                ],
            )
            .interrupts(OPENS_AND_CLOSES)
            .in_scopes(&["node"]),
            put(
                "",
                "",
                &[
                    &SWITCH,
                    &POLICY_IN,
                    &POLICY_OUT,
                    &LOG_IN,
                    &LOG_OUT,
                    &flag("dhcp"),
                    &NDP,
                    &flag("radv"),
                    &flag("macfilter"),
                    &flag("ipfilter"),
                    &UNSET_OPTIONS,
                    &DIGEST,
                ],
            )
            .interrupts(OPENS_AND_CLOSES)
            .in_scopes(&["vm", "lxc"]),
            put(
                "",
                "",
                &[
                    &SWITCH,
                    &POLICY_FORWARD,
                    &LOG_FORWARD,
                    &UNSET_OPTIONS,
                    &DIGEST,
                ],
            )
            .interrupts(OPENS_AND_CLOSES)
            .in_scopes(&["vnet"]),
        ],
    }),
};

const OBJECT_SCOPES: &[Scope] = &[
    of_cluster("/cluster/firewall"),
    of_vm("/nodes/{node}/qemu/{vmid}/firewall"),
    of_lxc("/nodes/{node}/lxc/{vmid}/firewall"),
];
const OBJECT_SCOPE: Param = Param::required("scope", Kind::Choice(&["cluster", "vm", "lxc"]), "")
    .default("cluster")
    .local();
const KINDS: Param = Param::required(
    "kind",
    Kind::Choice(&[
        "groups",
        "aliases",
        "ipsets",
        "ipset_entries",
        "macros",
        "refs",
    ]),
    "refs: the aliases and IP sets that rules there can use.",
);
const IN_SET: Param = Param::by_request("name", Kind::Format(&format::CONFIG_ID), "The IP set.");
const REF_TYPE: Param = Param::optional("type", Kind::Choice(&["alias", "ipset"]), "");

/// A list of objects that are known by one key.
macro_rules! objects {
    ($name:literal, $one:literal, $many:literal, $key:literal $(, $column:expr)*) => {
        Show::Table(&Table {
            name: $name,
            noun: [$one, $many],
            columns: &[Column::text($key) $(, $column)*],
            sort: &[Order::Up($key)],
            count: None,
        })
    };
}

pub(super) static OBJECTS: Tool = Tool {
    title: "List firewall objects",
    summary: "Lists security groups, aliases, IP sets, the entries of one, macros, or what rules can refer to.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&KINDS, &OBJECT_SCOPE, &NODE, &GUEST, &IN_SET],
    call: Call::Choice(&Choice {
        by: &[&KINDS],
        place: Place::By(&OBJECT_SCOPE, OBJECT_SCOPES),
        does: "",
        rows: &[
            get(
                "groups",
                "/groups",
                &[&LIMIT, &OFFSET],
                objects!(
                    "groups",
                    "security group",
                    "security groups",
                    "group",
                    Column::text("comment")
                ),
            )
            .in_scopes(&["cluster"])
            .needs(&[]),
            get(
                "aliases",
                "/aliases",
                &[&LIMIT, &OFFSET],
                objects!(
                    "aliases",
                    "alias",
                    "aliases",
                    "name",
                    Column::text("cidr"),
                    Column::text("comment")
                ),
            ),
            get(
                "ipsets",
                "/ipset",
                &[&LIMIT, &OFFSET],
                objects!(
                    "ipsets",
                    "IP set",
                    "IP sets",
                    "name",
                    Column::text("comment")
                ),
            ),
            get(
                "ipset_entries",
                "/ipset/{name}",
                &[&LIMIT, &OFFSET],
                objects!(
                    "entries",
                    "entry",
                    "entries",
                    "cidr",
                    Column::flag("nomatch"),
                    Column::text("comment")
                ),
            ),
            get(
                "macros",
                "/macros",
                &[&LIMIT, &OFFSET],
                objects!("macros", "macro", "macros", "macro", Column::text("descr")),
            )
            .in_scopes(&["cluster"])
            .needs(&[]),
            get(
                "refs",
                "/refs",
                &[&REF_TYPE, &LIMIT, &OFFSET],
                objects!(
                    "refs",
                    "reference",
                    "references",
                    "ref",
                    Column::text("type"),
                    Column::text("scope"),
                    Column::text("comment")
                ),
            ),
        ],
    }),
};

const OBJECT: Param = Param::required(
    "kind",
    Kind::Choice(&["group", "alias", "ipset", "ipset_entry"]),
    "",
);
const OBJECT_ACTION: Param =
    Param::required("action", Kind::Choice(&["create", "update", "delete"]), "");
const OBJECT_NAME: Param = Param::required(
    "name",
    Kind::Format(&format::CONFIG_ID),
    "For an entry: its IP set.",
);
const CIDR: Param = Param::by_request("cidr", Kind::Format(&format::ADDRESS_OR_ALIAS), "");
const NEW_CIDR: Param = Param::optional("cidr", Kind::Format(&format::ADDRESS_OR_ALIAS), "");
const NOMATCH: Param = Param::optional("nomatch", Kind::Flag, "Excludes cidr.");
const NOTE: Param =
    Param::optional("comment", Kind::Text(0, 4_096), "\"\" removes it.").clearable();
const NEW_NOTE: Param = Param::by_request("comment", Kind::Text(0, 4_096), "").clearable();
const NEW_NAME: Param = Param::optional("new_name", Kind::Format(&format::CONFIG_ID), "");
const RENAMED: Param = Param::by_request("new_name", Kind::Format(&format::CONFIG_ID), "");
const FORCE: Param = Param::optional("force", Kind::Flag, "Deletes an IP set with its entries.");
const AT_ONCE: &str = "Rules that use it let in, or cut off, other connections at once.";
const DANGLES: &str = "Rules that still use it no longer match.";

pub(super) static MANAGE_OBJECT: Tool = Tool {
    title: "Manage firewall object",
    summary: "Manages a security group, alias, IP set or an entry of one.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[
        &OBJECT,
        &OBJECT_ACTION,
        &OBJECT_SCOPE,
        &NODE,
        &GUEST,
        &OBJECT_NAME,
        &NOTE,
    ],
    call: Call::Choice(&Choice {
        by: &[&OBJECT, &OBJECT_ACTION],
        place: Place::By(&OBJECT_SCOPE, OBJECT_SCOPES),
        does: "{action} {kind} {name} of {place}",
        rows: &[
            post(
                "group create",
                "/groups",
                &[&OBJECT_NAME.sent_as("group"), &COMMENT],
            )
            .harmless()
            .does("create security group {name}")
            .in_scopes(&["cluster"]),
            post(
                "group update",
                "/groups",
                &[
                    &OBJECT_NAME.sent_as("rename"),
                    &RENAMED.sent_as("group"),
                    &COMMENT,
                    &DIGEST,
                ],
            )
            .harmless()
            .does("rename security group {name} to {new_name}, with the rules that use it")
            .in_scopes(&["cluster"])
            .reads_entry("/groups", "group", &OBJECT_NAME)
            .first_needs(&[]),
            post(
                "group update",
                "/groups",
                &[
                    &OBJECT_NAME.sent_as("rename"),
                    &OBJECT_NAME.sent_as("group"),
                    &NEW_NOTE,
                    &DIGEST,
                ],
            )
            .harmless()
            .does("update security group {name}")
            .in_scopes(&["cluster"])
            .reads_entry("/groups", "group", &OBJECT_NAME)
            .first_needs(&[]),
            delete("group delete", "/groups/{name}", &[])
                .interrupts(DANGLES)
                .does("delete security group {name}")
                .in_scopes(&["cluster"])
                .reads_entry("/groups", "group", &OBJECT_NAME)
                .first_needs(&[])
                .also_reads(&[Step::read("/cluster/firewall/rules", needs::ALL_NODES)])
                .checks(rules_with_group),
            post("alias create", "/aliases", &[&OBJECT_NAME, &CIDR, &COMMENT]).harmless(),
            put(
                "alias update",
                "/aliases/{name}",
                &[&NEW_CIDR, &NOTE, &NEW_NAME.sent_as("rename"), &DIGEST],
            )
            .interrupts(AT_ONCE)
            .reads_entry("/aliases", "name", &OBJECT_NAME)
            .keeps(&[&NEW_CIDR, &NOTE]),
            delete("alias delete", "/aliases/{name}", &[&DIGEST])
                .interrupts(DANGLES)
                .reads_entry("/aliases", "name", &OBJECT_NAME),
            post("ipset create", "/ipset", &[&OBJECT_NAME, &COMMENT])
                .harmless()
                .does("create IP set {name} of {place}"),
            post(
                "ipset update",
                "/ipset",
                &[
                    &OBJECT_NAME.sent_as("rename"),
                    &RENAMED.sent_as("name"),
                    &COMMENT,
                    &DIGEST,
                ],
            )
            .interrupts(DANGLES)
            .does("rename IP set {name} of {place} to {new_name}")
            .reads_entry("/ipset", "name", &OBJECT_NAME),
            post(
                "ipset update",
                "/ipset",
                &[
                    &OBJECT_NAME.sent_as("rename"),
                    &OBJECT_NAME,
                    &NEW_NOTE,
                    &DIGEST,
                ],
            )
            .harmless()
            .does("update IP set {name} of {place}")
            .reads_entry("/ipset", "name", &OBJECT_NAME),
            delete("ipset delete", "/ipset/{name}", &[&FORCE])
                .interrupts(DANGLES)
                .does("delete IP set {name} of {place}")
                .reads(First::Other("/ipset/{name}")),
            post(
                "ipset_entry create",
                "/ipset/{name}",
                &[&CIDR, &NOMATCH, &COMMENT],
            )
            .interrupts(AT_ONCE)
            .does("add {cidr} to IP set {name} of {place}"),
            put(
                "ipset_entry update",
                "/ipset/{name}/{cidr}",
                &[&NOMATCH, &NOTE, &DIGEST],
            )
            .interrupts(AT_ONCE)
            .does("update {cidr} in IP set {name} of {place}")
            .reads_entry("/ipset/{name}", "cidr", &CIDR)
            .keeps(&[&NOMATCH, &NOTE]),
            delete("ipset_entry delete", "/ipset/{name}/{cidr}", &[&DIGEST])
                .interrupts(AT_ONCE)
                .does("remove {cidr} from IP set {name} of {place}")
                .reads_entry("/ipset/{name}", "cidr", &CIDR),
        ],
    }),
};

/// A group that is deleted leaves the rules that use it behind.
fn rules_with_group(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let rules = answer::rows(client.get("/cluster/firewall/rules")?);
    let uses = |rule: &&Value| rule["type"] == "group" && rule["action"] == args[&OBJECT_NAME];
    let users: Vec<String> = rules
        .iter()
        .filter(uses)
        .map(|rule| plain(&rule["pos"]))
        .collect();
    Ok(match users.is_empty() {
        true => vec![
            "No rule of the cluster uses it; those of nodes and guests were not looked at."
                .to_owned(),
        ],
        false => vec![format!(
            "Rules of the cluster that use it, by pos: {}",
            users.join(", ")
        )],
    })
}

const LOG_SCOPES: &[Scope] = &[
    Scope {
        reads: &["/nodes/{node}:Sys.Syslog"],
        ..of_node("/nodes/{node}/firewall/log")
    },
    Scope {
        reads: &["/vms/{vmid}:VM.Console"],
        ..of_vm("/nodes/{node}/qemu/{vmid}/firewall/log")
    },
    Scope {
        reads: &["/vms/{vmid}:VM.Console"],
        ..of_lxc("/nodes/{node}/lxc/{vmid}/firewall/log")
    },
];
const LOG_SCOPE: Param = Param::required("scope", Kind::Choice(&["node", "vm", "lxc"]), "");
const LINES: Param = Param::optional("limit", Kind::Integer(1, 5_000), "").default("100");
const FIRST_LINE: Param = Param::optional("start", Kind::Integer(0, u64::MAX), "First line.");
const SINCE: Param = Param::optional(
    "since",
    Kind::Time,
    "UTC: 2026-11-20 10:00:00Z, a date, or Unix seconds.",
);
const UNTIL: Param = Param::optional("until", Kind::Time, "");

pub(super) static READ_LOG: Tool = Tool {
    title: "Read the firewall log",
    summary: "Shows lines of the firewall log of a node or guest: packets that rules or policies with a log level have met.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&LOG_SCOPE, &NODE, &GUEST],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::By(&LOG_SCOPE, LOG_SCOPES),
        does: "",
        rows: &[list(
            &[&LINES, &FIRST_LINE, &SINCE, &UNTIL, &ERRORS_ONLY, &GREP],
            Show::Made(log),
        )],
    }),
};

fn log(args: &Args, data: Value, beside: &Value) -> Answer {
    filtered(args, "Firewall log", data, beside, &FIRST_LINE, |line| {
        ["DROP", "REJECT"].iter().any(|word| line.contains(word))
    })
}
