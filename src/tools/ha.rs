//! High availability: its state, and the resources that it looks after.

use serde_json::Value;

use super::common::LISTED_DIGEST as DIGEST;
use crate::answer::{self, Answer, Column, LIMIT, OFFSET, Order, Table, plain};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::request::{Reply, Request};
use crate::row::{Choice, Loss, Place, Scope, Step, Touches, delete, item, list, needs, post, put};
use crate::safety::Client;
use crate::text;
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const RAW: Param = Param::optional("raw", Kind::Flag, "Add the manager's own document.").local();

pub(super) static STATUS: Tool = Tool {
    title: "High availability status",
    summary: "Shows quorum, HA manager, and the HA state of nodes and resources.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[RAW],
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

const SID: Param = Param::required("sid", Kind::Format(&format::HA_RESOURCE), "vm:100.");
const ONE: Param = Param::optional("sid", Kind::Format(&format::HA_RESOURCE), "Only this one.");
const TYPE: Param = Param::optional("type", Kind::Choice(&["vm", "ct"]), "");

const ALL: Scope = Scope {
    name: "",
    noun: "",
    path: "/cluster/ha/resources",
    reads: "/:Sys.Audit",
    changes: "/:Sys.Console",
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
    params: &[ONE],
    call: Call::Choice(&Choice {
        by: None,
        place: Place::Only(ALL),
        does: "",
        rows: &[
            list(
                &[TYPE, LIMIT, OFFSET],
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
    Param::optional("purge", Kind::Flag, "Also from rules.").known_to(Versions::since(9));
const NODE: Param = Param::by_request("node", Kind::Format(&format::NODE), "");
const UNSET: Param = Param::optional("delete", Kind::List, "To reset.").joined();

pub(super) static MANAGE_RESOURCE: Tool = Tool {
    title: "Manage HA resource",
    summary: "Manages an HA resource. Moves are only requested; migrate is live.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[ACTION, SID],
    call: Call::Choice(&Choice {
        by: Some(&ACTION),
        place: Place::Only(ALL),
        does: "{action} HA resource {sid}[ to {node}]",
        rows: &[
            post(
                "add",
                "",
                &[
                    SID,
                    STATE,
                    MAX_RESTART,
                    MAX_RELOCATE,
                    FAILBACK,
                    GROUP,
                    COMMENT,
                ],
            )
            .judged(shut_down),
            put(
                "update",
                "/{sid}",
                &[
                    STATE,
                    MAX_RESTART,
                    MAX_RELOCATE,
                    FAILBACK,
                    GROUP,
                    COMMENT,
                    UNSET,
                    DIGEST,
                ],
            )
            .judged(shut_down),
            delete("remove", "/{sid}", &[PURGE])
                .interrupts("High availability looks after its guest no longer."),
            post("migrate", "/{sid}/migrate", &[NODE])
                .interrupts("A VM moves while it runs, a container is restarted.")
                .touches(Touches::HaCompanions(&SID))
                .answers(Reply::ObjectOrNothing("sid"))
                .says("requested", moved),
            post("relocate", "/{sid}/relocate", &[NODE])
                .interrupts("Its guest is stopped, and started there.")
                .touches(Touches::HaCompanions(&SID))
                .answers(Reply::ObjectOrNothing("sid"))
                .says("requested", moved),
        ],
    }),
};

fn shut_down(request: &Request, _: &Value) -> Option<Loss> {
    let mut form = request.form.iter();
    let shuts_down = form.any(|pair| pair == ("state", "disabled") || pair == ("state", "stopped"));
    shuts_down.then(|| Loss::interrupts("The guest is shut down."))
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
