//! Settings of the whole cluster.

use serde_json::Value;

use crate::answer::{Column, Fields};
use crate::param::{Kind, Param, Versions};
use crate::request::Request;
use crate::row::{Choice, Loss, Place, Scope, Touches, item, needs, put};
use crate::text::list::items;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const CLUSTER: Scope = Scope {
    name: "",
    noun: "",
    path: "/cluster/options",
    reads: needs::ALL_NODES,
    changes: &["/:Sys.Modify"],
    touches: Touches::Judged(guests_of_options),
    versions: Versions::ALL,
};

pub(super) static GET: Tool = Tool {
    title: "Cluster options",
    summary: "Shows the settings of the datacenter, such as keyboard, migration, bandwidth limits and tags.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::Only(CLUSTER),
        does: "",
        rows: &[item(
            "",
            Show::Fields(&Fields {
                heading: "Cluster options",
                columns: &[
                    Column::text("keyboard"),
                    Column::text("language"),
                    Column::text("migration"),
                    Column::text("bwlimit"),
                ],
                hidden: &[],
            }),
        )],
    }),
};

const fn text(name: &'static str, example: &'static str) -> Param {
    Param::optional(name, Kind::Text(1, 4_096), example)
}

const UNSET: Param = Param::optional("delete", Kind::List, "Options to reset.").joined();

const TAKES: &[&Param] = &[
    &text("keyboard", ""),
    &text("language", ""),
    &text("console", ""),
    &text("migration", "Such as type=secure,network=10.0.0.0/24."),
    &text("replication", "").known_to(Versions::since(9)),
    &text("bwlimit", "Such as migration=100,clone=50."),
    &text("crs", "Such as ha=static."),
    &text("ha", "Such as shutdown_policy=migrate."),
    &Param::optional(
        "fencing",
        Kind::Choice(&["watchdog", "hardware", "both"]),
        "",
    ),
    &text("next_id", "Such as lower=200,upper=999.").sent_as("next-id"),
    &text("mac_prefix", ""),
    &Param::optional("max_workers", Kind::Integer(1, u64::MAX), ""),
    &text("email_from", ""),
    &text("http_proxy", ""),
    &text("notify", ""),
    &text("tag_style", "").sent_as("tag-style"),
    &text("registered_tags", "Such as prod;dev.").sent_as("registered-tags"),
    &text("user_tag_access", "Such as user-allow=existing.").sent_as("user-tag-access"),
    &text("u2f", ""),
    &text("webauthn", ""),
    &Param::optional("description", Kind::Text(1, 65_536), ""),
    &Param::optional("consent_text", Kind::Text(1, 65_536), "")
        .sent_as("consent-text")
        .known_to(Versions::since(8)),
    &text("location", "").known_to(Versions::since(9)),
    &UNSET,
];

pub(super) static SET: Tool = Tool {
    title: "Set cluster options",
    summary: "Changes settings of the datacenter. A value replaces the old one, with all of its parts.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::Only(CLUSTER),
        does: "set cluster options",
        rows: &[put("", "", TAKES).judged(lost)],
    }),
};

/// The options that `request` sets or resets.
fn changed(request: &Request) -> impl Iterator<Item = &str> {
    let set = request.form.iter().map(|(name, _)| name);
    let unset = request.form.iter().filter(|(name, _)| *name == "delete");
    let unset = unset.flat_map(|(_, names)| items(names));
    set.filter(|name| *name != "delete").chain(unset)
}

/// These decide where guests run, and what becomes of them when a node fails.
fn guests_of_options(request: &Request, _: &Value) -> Vec<String> {
    const OF_GUESTS: &[&str] = &[
        "bwlimit",
        "crs",
        "fencing",
        "ha",
        "migration",
        "replication",
    ];
    let any = changed(request).any(|name| OF_GUESTS.contains(&name));
    any.then(|| "*".to_owned()).into_iter().collect()
}

fn lost(request: &Request, _: &Value) -> Option<Loss> {
    let has = |names: &[&str]| changed(request).any(|name| names.contains(&name));
    let of_guests = has(&["crs", "fencing", "ha"])
        .then_some("It decides what becomes of guests when a node fails or shuts down.");
    let of_users = has(&["u2f", "webauthn"])
        .then_some("Second factors that were set up before may no longer work.");
    let sentences: Vec<&str> = of_guests.into_iter().chain(of_users).collect();
    (!sentences.is_empty()).then(|| Loss::interrupts(sentences.join(" ")))
}
