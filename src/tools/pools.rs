//! Pools: guests and storages that privileges are granted on together.

use serde_json::Value;

use super::common::{RESOURCES_REQUEST, unseen};
use crate::answer::{self, Answer, Column, LIMIT, OFFSET, Order, Table, plain};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::Request;
use crate::row::{Choice, Loss, Place, Scope, Touches, delete, get, list, post, put};
use crate::text;
use crate::text::format;
use crate::text::list::items;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const POOL: Param = Param::required("poolid", Kind::Format(&format::POOL), "").alias(&["pool"]);
const ONE: Param =
    Param::by_request("poolid", Kind::Format(&format::POOL), "Shows its members.").alias(&["pool"]);
const TYPE: Param = Param::optional(
    "type",
    Kind::Choice(&["qemu", "lxc", "storage"]),
    "Only these members.",
);

/// Proxmox VE 7 has a pool's requests at `/pools/{poolid}`, later versions at `/pools`, where a pool may be
/// inside another.
const NESTED: Versions = Versions::since(8);
const FLAT: Versions = Versions::until(7);

/// What a pool is asked for and changed with is checked by Proxmox for that pool.
const POOLS: Scope = Scope {
    name: "",
    noun: "",
    path: "/pools",
    reads: &["/pool/{poolid}:Pool.Audit"],
    changes: &["/pool/{poolid}:Pool.Allocate"],
    touches: Touches::NoGuest,
    versions: Versions::ALL,
};

pub(super) static LIST: Tool = Tool {
    title: "List pools",
    summary: "Lists the pools, or the members of one.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::Only(POOLS),
        does: "",
        rows: &[
            list(
                &[&LIMIT, &OFFSET],
                Show::Table(&Table {
                    name: "pools",
                    noun: ["pool", "pools"],
                    columns: &[Column::text("poolid"), Column::text("comment")],
                    sort: &[Order::Up("poolid")],
                    count: None,
                }),
            ),
            get("", "", &[&ONE, &TYPE, &LIMIT, &OFFSET], Show::Made(members)).known_to(NESTED),
            get(
                "",
                "/{poolid}",
                &[&TYPE, &LIMIT, &OFFSET],
                Show::Made(members),
            )
            .known_to(FLAT),
        ],
    }),
};

fn members(args: &Args, data: Value, _: &Value) -> Answer {
    static MEMBERS: Table = Table {
        name: "members",
        noun: ["member", "members"],
        columns: &[
            Column::text("id"),
            Column::text("name"),
            Column::text("node"),
            Column::text("status"),
        ],
        sort: &[Order::Up("type"), Order::Up("id")],
        count: Some("type"),
    };
    // A list of one, where the pool is asked for by a parameter.
    let mut pool = match data {
        Value::Array(pools) => pools.into_iter().next().unwrap_or_default(),
        pool => pool,
    };
    let members = pool.as_object_mut().and_then(|pool| pool.remove("members"));
    let rows = answer::rows(members.unwrap_or_default());
    let name = format!("pool {}", text::inline(&plain(&pool["poolid"])));
    let note = match &pool["comment"] {
        Value::Null => name,
        comment => format!("{name}: {}", text::inline(&plain(comment))),
    };
    MEMBERS.answer(rows, args, &[note]).with("pool", pool)
}

const ACTION: Param = Param::required(
    "action",
    Kind::Choice(&[
        "create",
        "update",
        "delete",
        "add_members",
        "remove_members",
    ]),
    "",
);
const COMMENT: Param = Param::optional("comment", Kind::Text(0, 4_096), "");
const NEW_COMMENT: Param = Param::by_request("comment", Kind::Text(0, 4_096), "");
const VMS: Param = Param::optional("guests", Kind::List, "VMIDs.")
    .sent_as("vms")
    .alias(&["vms"])
    .joined();
const STORAGE: Param = Param::optional("storage", Kind::List, "Storages.").joined();
const ALLOW_MOVE: Param = Param::optional(
    "allow_move",
    Kind::Flag,
    "Takes guests out of the pool that they are in.",
)
.sent_as("allow-move")
.known_to(NESTED);

pub(super) static MANAGE: Tool = Tool {
    title: "Manage pool",
    summary: "Creates, changes or deletes a pool, adds or removes members. Only an empty pool can be deleted.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&ACTION, &POOL],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(POOLS),
        does: "{action} pool {poolid}",
        rows: &[
            post("create", "", &[&POOL, &COMMENT]).harmless(),
            put("update", "", &[&POOL, &NEW_COMMENT])
                .harmless()
                .known_to(NESTED)
                .reads_entry("", "poolid", &POOL),
            put("update", "/{poolid}", &[&NEW_COMMENT])
                .harmless()
                .known_to(FLAT)
                .reads_entry("", "poolid", &POOL),
            delete("delete", "", &[&POOL])
                .interrupts("Privileges granted on it are gone with it.")
                .known_to(NESTED)
                .reads_entry("", "poolid", &POOL),
            delete("delete", "/{poolid}", &[])
                .interrupts("Privileges granted on it are gone with it.")
                .known_to(FLAT)
                .reads_entry("", "poolid", &POOL),
            put("add_members", "", &[&POOL, &VMS, &STORAGE, &ALLOW_MOVE])
                .judged(moves)
                .touches(Touches::Judged(guests))
                .known_to(NESTED)
                .does(ADD)
                .reads_entry("", "poolid", &POOL)
                .also_reads(&[RESOURCES_REQUEST])
                .checks(new_members),
            put("add_members", "/{poolid}", &[&VMS, &STORAGE])
                .judged(moves)
                .touches(Touches::Judged(guests))
                .known_to(FLAT)
                .does(ADD)
                .reads_entry("", "poolid", &POOL)
                .also_reads(&[RESOURCES_REQUEST])
                .checks(new_members),
            put("remove_members", "", &[&POOL, &VMS, &STORAGE])
                .interrupts(REMOVED)
                .touches(Touches::Judged(guests))
                .always(&[("delete", "1")])
                .known_to(NESTED)
                .does(REMOVE)
                .reads_entry("", "poolid", &POOL),
            put("remove_members", "/{poolid}", &[&VMS, &STORAGE])
                .interrupts(REMOVED)
                .touches(Touches::Judged(guests))
                .always(&[("delete", "1")])
                .known_to(FLAT)
                .does(REMOVE)
                .reads_entry("", "poolid", &POOL),
        ],
    }),
};

const ADD: &str =
    "Add[ guests {guests}][ storages {storage}] to pool {poolid}[ with allow_move={allow_move}]";
const REMOVE: &str = "Remove[ guests {guests}][ storages {storage}] from pool {poolid}";
const REMOVED: &str = "Privileges granted on the pool no longer apply to them.";

/// The guests that it names. Storages do not count, although guests may use them.
fn guests(request: &Request, _: &Value) -> Vec<String> {
    let named = request.form.iter().filter(|(name, _)| *name == "vms");
    let ids = named.flat_map(|(_, ids)| items(ids));
    ids.map(str::to_owned).collect()
}

/// Proxmox takes members that do not exist.
fn new_members(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let vms = args.list(&VMS).iter().map(|vmid| ("guest", &**vmid));
    let storages = args.list(&STORAGE).iter().map(|name| ("storage", &**name));
    let unseen = unseen(client, vms.chain(storages))?;
    let unseen = unseen.map(|unseen| format!("{unseen}: what does not exist becomes no member."));
    Ok(unseen.into_iter().collect())
}

/// A guest has one pool.
fn moves(request: &Request, _: &Value) -> Option<Loss> {
    let mut form = request.form.iter();
    let moves = form.any(|pair| pair == ("allow-move", "1"));
    moves.then(|| {
        Loss::interrupts("Privileges granted on the pools that they leave no longer apply to them.")
    })
}
