//! High availability: its state, and the resources that it looks after.

use serde_json::Value;

use super::common::{LISTED_DIGEST as DIGEST, RESOURCES_REQUEST, unseen_among};
use crate::answer::{self, Answer, Column, LIMIT, OFFSET, Order, Table, plain};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::{Reply, Request};
use crate::row::{
    Choice, Loss, Place, Scope, Step, Touches, delete, get, item, list, needs, post, put,
};
use crate::safety::Client;
use crate::text;
use crate::text::format;
use crate::text::list::items;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const RAW: Param = Param::optional("raw", Kind::Flag, "Add the manager's own document.").local();

pub(super) static STATUS: Tool = Tool {
    title: "High availability status",
    summary: "Shows quorum, HA manager, and the HA state of nodes and resources.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&RAW],
    call: Call::Steps(
        &[
            Step::read("/cluster/ha/status/current", needs::ALL_NODES),
            Step::read("/cluster/ha/status/manager_status", needs::ALL_NODES),
        ],
        status,
    ),
};

fn status(client: &Client, args: &Args) -> Result<Answer, Error> {
    static STATES: Table = Table {
        name: "states",
        noun: ["entry", "entries"],
        columns: &[
            Column::text("type"),
            Column::text("id"),
            Column::text("node"),
            Column::text("status"),
            Column::text("state"),
            Column::text("request_state"),
            Column::text("crm_state"),
        ],
        sort: &[],
        count: Some("type"),
    };
    let states = answer::rows(client.get("/cluster/ha/status/current")?);
    let answer = STATES.answer(states, args, &[]);
    if !args.flag(&RAW) {
        return Ok(answer);
    }
    let document = client.get("/cluster/ha/status/manager_status")?;
    let shown = text::cut(&text::inline(&document.to_string()), text::BUDGET / 2);
    Ok(answer
        .line(format!("manager status: {shown}"))
        .with("manager", document))
}

const SID: Param = Param::required(
    "sid",
    Kind::Format(&format::HA_RESOURCE),
    "Such as vm:100 or ct:101.",
);
const ONE: Param = Param::optional(
    "sid",
    Kind::Format(&format::HA_RESOURCE),
    "Shows only this one.",
);
const TYPE: Param = Param::optional("type", Kind::Choice(&["vm", "ct"]), "");

const ALL: Scope = Scope {
    name: "",
    noun: "",
    path: "/cluster/ha/resources",
    reads: &["/:Sys.Audit"],
    changes: &["/:Sys.Console"],
    touches: Touches::HaResource(&SID),
    versions: Versions::ALL,
};

const COLUMNS: &[Column] = &[
    Column::text("sid"),
    Column::text("state"),
    Column::text("group"),
    Column::number("max_restart"),
    Column::number("max_relocate"),
    Column::flag("failback"),
    Column::text("comment"),
];

pub(super) static RESOURCES: Tool = Tool {
    title: "List HA resources",
    summary: "Lists the guests under high availability with requested state and limits.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&ONE],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::Only(ALL),
        does: "",
        rows: &[
            list(
                &[&TYPE, &LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "resources",
                    noun: ["HA resource", "HA resources"],
                    columns: COLUMNS,
                    sort: &[Order::Up("sid")],
                    count: Some("state"),
                }),
            ),
            item(
                "/{sid}",
                Show::Fields(&answer::Fields {
                    heading: "HA resource {sid}",
                    columns: COLUMNS,
                    hidden: &[],
                }),
            ),
        ],
    }),
};

const ACTION: Param = Param::required(
    "action",
    Kind::Choice(&["add", "update", "remove", "migrate", "relocate"]),
    "",
);
const STATE: Param = Param::optional(
    "state",
    Kind::Choice(&["started", "stopped", "disabled", "ignored"]),
    "",
)
.synonyms(&[("enabled", "started")]);
const MAX_RESTART: Param = Param::optional("max_restart", Kind::Integer(0, u64::MAX), "");
const MAX_RELOCATE: Param = Param::optional("max_relocate", Kind::Integer(0, u64::MAX), "");
const FAILBACK: Param = Param::optional("failback", Kind::Flag, "").known_to(Versions::since(9));
const GROUP: Param =
    Param::optional("group", Kind::Format(&format::CONFIG_ID), "").known_to(Versions::until(8));
const COMMENT: Param = Param::optional("comment", Kind::Text(1, 4_096), "");
const PURGE: Param =
    Param::optional("purge", Kind::Flag, "Removes it from rules too.").known_to(Versions::since(9));
const NODE: Param = Param::by_request("node", Kind::Format(&format::NODE), "");
const UNSET: Param = Param::optional("delete", Kind::List, "Options to reset.").joined();

pub(super) static MANAGE_RESOURCE: Tool = Tool {
    title: "Manage HA resource",
    summary: "Manages an HA resource. Moves are only requested; migrate is live.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&ACTION, &SID],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(ALL),
        does: "{action} HA resource {sid}[ to {node}]",
        rows: &[
            post(
                "add",
                "",
                &[
                    &SID,
                    &STATE,
                    &MAX_RESTART,
                    &MAX_RELOCATE,
                    &FAILBACK,
                    &GROUP,
                    &COMMENT,
                ],
            )
            .judged(disturbed),
            put(
                "update",
                "/{sid}",
                &[
                    &STATE,
                    &MAX_RESTART,
                    &MAX_RELOCATE,
                    &FAILBACK,
                    &GROUP,
                    &COMMENT,
                    &UNSET,
                    &DIGEST,
                ],
            )
            .judged(disturbed),
            delete("remove", "/{sid}", &[&PURGE])
                .interrupts("High availability looks after its guest no longer."),
            post("migrate", "/{sid}/migrate", &[&NODE])
                .interrupts("A VM moves while it runs, a container is restarted.")
                .touches(Touches::HaCompanions(&SID))
                .also_reads(&[RESOURCES_REQUEST])
                .checks(target)
                .answers(Reply::ObjectOrNothing("sid"))
                .says("requested", moved),
            post("relocate", "/{sid}/relocate", &[&NODE])
                .interrupts("Its guest is stopped, and started there.")
                .touches(Touches::HaCompanions(&SID))
                .also_reads(&[RESOURCES_REQUEST])
                .checks(target)
                .answers(Reply::ObjectOrNothing("sid"))
                .says("requested", moved),
        ],
    }),
};

/// What the guest goes through for a state, or for a group that says where it runs.
fn disturbed(request: &Request, _: &Value) -> Option<Loss> {
    let mut form = request.form.iter();
    if form.any(|pair| pair == ("state", "disabled") || pair == ("state", "stopped")) {
        return Some(Loss::interrupts("The guest is shut down."));
    }
    let mut form = request.form.iter();
    let is_regrouped = form.any(|(name, value)| {
        name == "group" || (name == "delete" && items(value).any(|unset| unset == "group"))
    });
    is_regrouped.then(|| Loss::interrupts(MAY_MOVE))
}

/// Proxmox takes the request for any node. Then its HA manager drops it if the guest is there already, or if the node
/// does not run.
fn target(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let (sid, node) = (&args[&SID], &args[&NODE]);
    let known = answer::rows(client.get(RESOURCES_REQUEST.path)?);
    if let Some(unseen) = unseen_among(&known, [("node", node)]) {
        return Ok(vec![format!(
            "{unseen}: nothing moves to what does not exist."
        )]);
    }
    let vmid = sid.rsplit(':').next().unwrap_or(sid);
    let mut on_node = known.iter().filter(|row| row["node"] == *node);
    let line = on_node.find_map(|row| {
        if plain(&row["vmid"]) == vmid {
            return Some(format!("{sid} is on {node} already: it will not move."));
        }
        let is_offline = row["type"] == "node" && row["status"] == "offline";
        is_offline.then(|| format!("Node {node} is offline: nothing moves there."))
    });
    Ok(line.into_iter().collect())
}

/// What moves along, and what keeps it all from moving: Proxmox takes the request all the same.
fn moved(_: &Args, data: &Value) -> Vec<String> {
    let named = |key: &str, name: fn(&Value) -> String| {
        let items = data[key].as_array().into_iter().flatten();
        let names: Vec<String> = items.map(name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    let along = named("comigrated-resources", plain);
    let blocking = named("blocking-resources", |item| {
        format!("{} ({})", plain(&item["sid"]), plain(&item["cause"]))
    });
    let along = along.map(|names| format!("Moved along by rules: {names}"));
    let blocking = blocking.map(|names| format!("It will not move: blocked by {names}"));
    let next = "proxmox_get_ha_status shows how far it is.".to_owned();
    along.into_iter().chain(blocking).chain([next]).collect()
}

const KIND: Param = Param::optional(
    "kind",
    Kind::Choice(&["rule", "group"]),
    "By version if absent.",
);
const ID: Param = Param::by_request("id", Kind::Format(&format::CONFIG_ID), "");
const ONLY: Param = Param::by_request(
    "id",
    Kind::Format(&format::CONFIG_ID),
    "Shows only this one.",
);
const RULE: Param = ID.sent_as("rule");
const NEW_GROUP: Param = ID.sent_as("group");
const RULE_TYPES: Kind = Kind::Choice(&["node-affinity", "resource-affinity"]);
const RULE_TYPE: Param = Param::optional("type", RULE_TYPES, "");
const NEW_RULE_TYPE: Param = Param::by_request("type", RULE_TYPES, "");
const RESOURCES_OF: Param = Param::optional("resources", Kind::List, "Such as vm:100.").joined();
const NEW_RESOURCES: Param = Param::by_request("resources", Kind::List, "Such as vm:100.").joined();
const NODES: Param = Param::optional("nodes", Kind::List, "With a priority: pve1:2.").joined();
const GROUP_NODES: Param =
    Param::by_request("nodes", Kind::List, "With a priority: pve1:2.").joined();
const STRICT: Param = Param::optional("strict", Kind::Flag, "Never on other nodes.");
const AFFINITY: Param = Param::optional(
    "affinity",
    Kind::Choice(&["positive", "negative"]),
    "positive: together; negative: apart.",
);
const DISABLE: Param = Param::optional("disable", Kind::Flag, "");
const RESTRICTED: Param = Param::optional("restricted", Kind::Flag, "");
const NOFAILBACK: Param = Param::optional("nofailback", Kind::Flag, "");
const OF_RESOURCE: Param = Param::optional(
    "resource",
    Kind::Format(&format::HA_RESOURCE),
    "Such as vm:100.",
);

/// Rules took the place of groups.
const RULES_OR_GROUPS: &[Scope] = &[
    Scope {
        name: "rule",
        noun: "HA rule {id}",
        path: "/cluster/ha/rules",
        reads: &["/:Sys.Audit"],
        changes: &["/:Sys.Console"],
        touches: Touches::AnyGuest,
        versions: Versions::since(9),
    },
    Scope {
        name: "group",
        noun: "HA group {id}",
        path: "/cluster/ha/groups",
        reads: &["/:Sys.Audit"],
        changes: &["/:Sys.Console"],
        touches: Touches::AnyGuest,
        versions: Versions::until(8),
    },
];

const RULE_COLUMNS: &[Column] = &[
    Column::text("rule"),
    Column::text("group"),
    Column::text("type"),
    Column::text("resources"),
    Column::text("nodes"),
    Column::flag("strict"),
    Column::text("affinity"),
    Column::flag("restricted"),
    Column::flag("nofailback"),
    Column::flag("disable"),
    Column::text("errors"),
    Column::text("comment"),
];

static RULE_TABLE: Table = Table {
    name: "rules",
    noun: ["HA rule", "HA rules"],
    columns: RULE_COLUMNS,
    sort: &[Order::Up("rule")],
    count: Some("type"),
};

static GROUP_TABLE: Table = Table {
    name: "groups",
    noun: ["HA group", "HA groups"],
    columns: RULE_COLUMNS,
    sort: &[Order::Up("group")],
    count: None,
};

pub(super) static RULES: Tool = Tool {
    title: "List HA rules",
    summary: "Lists the HA rules (Proxmox VE 9) or HA groups (up to 8) that say where HA resources run.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&KIND],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::By(&KIND, RULES_OR_GROUPS),
        does: "",
        rows: &[
            list(
                &[&RULE_TYPE, &OF_RESOURCE, &LIMIT, &OFFSET],
                Show::Table(&RULE_TABLE),
            )
            .in_scopes(&["rule"]),
            list(&[&LIMIT, &OFFSET], Show::Table(&GROUP_TABLE)).in_scopes(&["group"]),
            get(
                "",
                "/{id}",
                &[&ONLY.local()],
                Show::Fields(&answer::Fields {
                    heading: "HA rule or group {id}",
                    columns: RULE_COLUMNS,
                    hidden: &[],
                }),
            ),
        ],
    }),
};

const RULE_ACTION: Param =
    Param::required("action", Kind::Choice(&["create", "update", "delete"]), "");
const MAY_MOVE: &str = "High availability may move or restart guests to follow it.";

pub(super) static MANAGE_RULE: Tool = Tool {
    title: "Manage HA rule",
    summary: "Manages an HA rule (Proxmox VE 9) or group (up to 8).",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&RULE_ACTION, &KIND, &ID],
    call: Call::Choice(&Choice {
        by: &[&RULE_ACTION],
        place: Place::By(&KIND, RULES_OR_GROUPS),
        does: "{action} {place}",
        rows: &[
            post(
                "create",
                "",
                &[
                    &RULE,
                    &NEW_RULE_TYPE,
                    &NEW_RESOURCES,
                    &NODES,
                    &STRICT,
                    &AFFINITY,
                    &DISABLE,
                    &COMMENT,
                ],
            )
            .interrupts(MAY_MOVE)
            .touches(Touches::Judged(guests_of_rule))
            .in_scopes(&["rule"]),
            post(
                "create",
                "",
                &[&NEW_GROUP, &GROUP_NODES, &RESTRICTED, &NOFAILBACK, &COMMENT],
            )
            .harmless()
            .in_scopes(&["group"]),
            put(
                "update",
                "/{id}",
                &[
                    &RULE_TYPE,
                    &RESOURCES_OF,
                    &NODES,
                    &STRICT,
                    &AFFINITY,
                    &DISABLE,
                    &COMMENT,
                    &UNSET,
                    &DIGEST,
                ],
            )
            .interrupts(MAY_MOVE)
            .touches(Touches::Judged(guests_of_rule))
            .in_scopes(&["rule"])
            .reads_entry("", "rule", &ID)
            // Proxmox picks the schema by it.
            .keeps(&[&RULE_TYPE]),
            put(
                "update",
                "/{id}",
                &[&NODES, &RESTRICTED, &NOFAILBACK, &COMMENT, &UNSET, &DIGEST],
            )
            .interrupts(MAY_MOVE)
            .in_scopes(&["group"])
            .reads_entry("", "group", &ID),
            delete("delete", "/{id}", &[])
                .interrupts(MAY_MOVE)
                .touches(Touches::Judged(guests_of_rule))
                .in_scopes(&["rule"])
                .reads_entry("", "rule", &ID),
            delete("delete", "/{id}", &[])
                .interrupts(MAY_MOVE)
                .in_scopes(&["group"])
                .reads_entry("", "group", &ID),
        ],
    }),
};

/// Those that the rule names, and those that it has named so far.
fn guests_of_rule(request: &Request, was: &Value) -> Vec<String> {
    let sent = request.form.iter().filter(|(name, _)| *name == "resources");
    let sent = sent.map(|(_, value)| value.to_owned());
    let all = sent
        .chain([plain(&was["resources"])])
        .collect::<Vec<_>>()
        .join(",");
    let vmid = |sid: &str| sid.split_once(':').map_or(sid, |(_, vmid)| vmid).to_owned();
    items(&all).map(vmid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Method::Put;

    #[test]
    fn a_state_and_a_group_disturb_a_guest() {
        for (name, value, expected) in [
            ("state", "stopped", Some("The guest is shut down.")),
            ("state", "started", None),
            ("group", "g1", Some(MAY_MOVE)),
            ("delete", "comment,group", Some(MAY_MOVE)),
            ("delete", "comment", None),
        ] {
            let request = Request::new(Put, "/cluster/ha/resources/vm%3A100").with(name, value);
            let loss = disturbed(&request, &Value::Null);
            assert_eq!(
                loss.map(|loss| loss.sentence).as_deref(),
                expected,
                "{name}={value}"
            );
        }
    }
}
