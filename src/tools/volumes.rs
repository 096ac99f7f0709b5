//! The contents of storages.

use std::collections::BTreeMap;

use serde_json::Value;

use super::common::{STORAGE, resources};
use super::guest::OF_GUEST;
use crate::answer::{Answer, Column, LIMIT, OFFSET, Order, Table, number, plain};
pub(super) use crate::cluster::volumes::{ON_NODE, REQUESTS, Volumes};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::safety::Client;
use crate::text;
use crate::text::sort::gather;
use crate::tool::{Call, Effect, Permission, Tool};

const CONTENT: Param = Param::optional(
    "content",
    Kind::Choice(&[
        "images", "rootdir", "backup", "iso", "vztmpl", "snippets", "import",
    ]),
    "",
);

pub(super) static LIST: Tool = Tool {
    title: "List storage content",
    summary: "Lists the contents of a storage, largest first, with owners and totals per kind.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&STORAGE, &ON_NODE, &CONTENT, &OF_GUEST, &LIMIT, &OFFSET],
    call: Call::Steps(REQUESTS, list),
};

fn list(client: &Client, args: &Args) -> Result<Answer, Error> {
    static VOLUMES: Table = Table {
        name: "volumes",
        noun: ["volume", "volumes"],
        columns: &[
            Column::text("volid"),
            Column::text("node"),
            Column::text("content"),
            Column::bytes("size"),
            Column::bytes("used"),
            Column::number("vmid"),
            Column::text("guest"),
            Column::time("ctime"),
            Column::text("notes"),
        ],
        sort: &[Order::Down("size"), Order::Up("volid"), Order::Up("node")],
        count: None,
    };
    let storage = args.get(&STORAGE);
    let mut volumes = Volumes::read(client, args, args.get(&CONTENT), storage)?;
    if volumes.rows.iter().any(|row| !row["vmid"].is_null()) {
        name_owners(client, &mut volumes);
    }
    let totals = totals(&volumes.rows);
    Ok(VOLUMES.counted(volumes.rows, args, &totals, &volumes.notes))
}

/// Adds the name of the guest that owns each volume, if the token sees it.
fn name_owners(client: &Client, volumes: &mut Volumes) {
    let Ok(guests) = resources(client, "vm") else {
        let note = "The names of the guests could not be read.";
        volumes.notes.push(note.to_owned());
        return;
    };
    let names = guests.iter();
    let names: BTreeMap<String, &Value> =
        gather(names.map(|guest| (plain(&guest["vmid"]), &guest["name"])));
    let mut unseen = false;
    for row in &mut volumes.rows {
        if number(&row["vmid"]).is_none_or(|vmid| vmid == 0.0) {
            continue;
        }
        row["guest"] = match names.get(&plain(&row["vmid"])) {
            Some(name) => (*name).clone(),
            None => {
                unseen = true;
                "(not seen)".into()
            }
        };
    }
    if unseen {
        volumes.notes.push(
            "(not seen): the guest no longer exists, or the token lacks VM.Audit on it.".to_owned(),
        );
    }
}

/// Returns the number and size of volumes of each kind: `2 images, 48 GiB; 1 iso, 628 MiB`.
fn totals(rows: &[Value]) -> String {
    let mut kinds = BTreeMap::<String, (usize, f64)>::new();
    for row in rows {
        let (count, size) = kinds.entry(plain(&row["content"])).or_default();
        *count += 1;
        *size += number(&row["size"]).unwrap_or_default();
    }
    let kinds: Vec<String> = kinds
        .iter()
        .map(|(kind, (count, size))| format!("{count} {kind}, {}", text::bytes(*size)))
        .collect();
    kinds.join("; ")
}
