//! Storages: their definitions, what a node could use as one, and what is kept on them for how long.

use std::collections::BTreeMap;

use serde_json::Value;

use super::common::{NODE, STORAGE};
use super::guest::OF_GUEST;
use crate::answer::{self, Answer, Column, LIMIT, OFFSET, Order, Table, number, plain};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::request::{
    Method::{Delete, Get, Put},
    Reply, Request,
};
use crate::row::{Harm, Loss, Step, Touches, needs};
use crate::safety::Client;
use crate::text;
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Tool, start_task};

const KEEP: Param = Param::optional(
    "keep",
    Kind::Format(&format::RETENTION),
    "keep-last=3,keep-daily=7; the storage's own if absent.",
)
.sent_as("prune-backups");
const OF_TYPE: Param = Param::optional("type", Kind::Choice(&["qemu", "lxc"]), "");
const APPLY: Param =
    Param::optional("apply", Kind::Flag, "Remove them; else only show which.").local();
const ALL: Param = Param::optional("all", Kind::Flag, "To apply it to all guests.").local();

pub(super) static PRUNE: Tool = Tool {
    title: "Prune backups",
    summary: "Shows which backups a retention policy would remove, and with apply removes them, for good.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[
        NODE,
        STORAGE,
        KEEP,
        OF_GUEST,
        OF_TYPE,
        APPLY,
        ALL,
        LIMIT,
        OFFSET,
        WAIT,
        WAIT_TIMEOUT,
    ],
    call: Call::Steps(
        &[
            Step::read(PRUNED, &[needs::STORED]),
            Step::change(
                Delete,
                PRUNED,
                &["/storage/{storage}:Datastore.AllocateSpace|Datastore.Allocate"],
                Touches::Judged(owners),
                Harm::Judged(pruned),
            ),
        ],
        prune,
    ),
};

const PRUNED: &str = "/nodes/{node}/storage/{storage}/prunebackups";

fn prune(client: &Client, args: &Args) -> Result<Answer, Error> {
    static BACKUPS: Table = Table {
        name: "backups",
        noun: ["backup", "backups"],
        columns: &[
            Column::text("mark"),
            Column::text("volid"),
            Column::number("vmid"),
            Column::text("type"),
            Column::time("ctime"),
        ],
        sort: &[Order::Down("mark"), Order::Up("vmid"), Order::Up("ctime")],
        count: Some("mark"),
    };
    let names_guests = args.get(&OF_GUEST).is_some() || args.flag(&ALL);
    if args.flag(&APPLY) && !names_guests {
        return Err(Error::arguments(vec![
            "vmid or all is missing: apply=true needs one of them".to_owned(),
        ]));
    }
    let of = [KEEP, OF_GUEST, OF_TYPE];
    let rows = answer::rows(client.send(&args.send_given(args.request(Get, PRUNED), &of))?);
    let storage = &args[&STORAGE];
    let removed = removed(&rows).count();
    if !args.flag(&APPLY) {
        let note = match removed {
            0 => "Nothing would be removed.",
            _ => "Nothing was removed: apply=true removes those marked remove.",
        };
        return Ok(BACKUPS.answer(rows, args, &[note.to_owned()]));
    }
    if removed == 0 {
        let what = format!("Prune backups on {storage}");
        return Ok(Answer::action(&what, "done", "there is nothing to remove."));
    }
    client.show_before(&rows.into());
    let request = args.send_given(args.request(Delete, PRUNED), &of);
    let noun = if removed == 1 { "backup" } else { "backups" };
    let what = format!("Prune {removed} {noun} on {storage}");
    start_task(client, &request, Reply::Task, &what)
}

/// The backups that the policy removes.
fn removed(rows: &[Value]) -> impl Iterator<Item = &Value> {
    rows.iter().filter(|row| row["mark"] == "remove")
}

/// The guests whose backups go; any, as long as that was not looked at.
fn owners(_: &Request, rows: &Value) -> Vec<String> {
    let Some(rows) = rows.as_array() else {
        return vec!["*".to_owned()];
    };
    let mut owners: Vec<String> = removed(rows).map(|row| plain(&row["vmid"])).collect();
    owners.sort();
    owners.dedup();
    owners
}

/// All that goes, by guest and time, which is what tells one backup from another.
fn pruned(_: &Request, rows: &Value) -> Option<Loss> {
    let Some(rows) = rows.as_array() else {
        return Some(Loss::destroys(
            "Remove the backups that the policy does not keep.",
        ));
    };
    let mut times = BTreeMap::<String, Vec<String>>::new();
    for row in removed(rows) {
        let guest = format!("{}/{}", plain(&row["type"]), plain(&row["vmid"]));
        let time = number(&row["ctime"]).map(|time| text::time(time as u64));
        times
            .entry(guest)
            .or_default()
            .push(time.unwrap_or_default());
    }
    let guests = times
        .into_iter()
        .map(|(guest, times)| format!("{} of {}", text::inline(&guest), times.join(", ")));
    let guests: Vec<String> = guests.collect();
    Some(Loss::destroys(format!(
        "Remove {} of {} backups, for good: {}.",
        removed(rows).count(),
        rows.len(),
        guests.join("; ")
    )))
}

const VOLUME: Param = Param::required(
    "volume",
    Kind::Format(&format::VOLUME_OR_NAME),
    "volid of a backup.",
);
const NOTES: Param = Param::optional("notes", Kind::Text(0, 8_192), "").clearable();
const PROTECTED: Param = Param::optional("protected", Kind::Flag, "Keep it from pruning.");

pub(super) static UPDATE_VOLUME: Tool = Tool {
    title: "Update backup",
    summary: "Changes the notes of a backup, or protects it; no other volumes have either.",
    permission: Permission::Elevated,
    effect: Effect::Rewrites,
    params: &[NODE, STORAGE, VOLUME, NOTES, PROTECTED],
    call: Call::Steps(
        &[
            Step::read(ATTRIBUTES, &[needs::STORED]),
            Step::change(
                Put,
                ATTRIBUTES,
                &[needs::SPACE, needs::BACKUP],
                Touches::OwnerOf(&VOLUME),
                Harm::Judged(unprotected),
            ),
        ],
        update_volume,
    ),
};

const ATTRIBUTES: &str = "/nodes/{node}/storage/{storage}/content/{volume}";

fn update_volume(client: &Client, args: &Args) -> Result<Answer, Error> {
    let (notes, protected) = (args.get(&NOTES), args.get(&PROTECTED));
    if notes.is_none() && protected.is_none() {
        return Err(Error::arguments(vec![
            "nothing to change: give notes or protected".to_owned(),
        ]));
    }
    let volume = &args[&VOLUME];
    // A change of one that is not there is answered as if it was done.
    let was = client.send(&args.request(Get, ATTRIBUTES));
    let was = was.map_err(|error| match error.says("volume_size_info on") {
        true => Error::impossible(
            format!("there is no {}, nothing was changed", text::inline(volume)),
            "proxmox_list_backups lists the backups.",
        ),
        false => error,
    })?;
    if was["protected"].is_null() && was["notes"].is_null() {
        return Err(Error::impossible(
            format!(
                "{} is not a backup, nothing was changed",
                text::inline(volume)
            ),
            "Only backups have notes and protection.",
        ));
    }
    client.show_before(&was);
    let request = args.send_given(args.request(Put, ATTRIBUTES), &[NOTES, PROTECTED]);
    client.change(&request, Reply::Nothing)?;
    let what = format!("Update {}", text::inline(volume));
    let mut answer = Answer::done(&what);
    let before = text::cut(&text::inline(&plain(&was["notes"])), 1_000);
    if let Some(notes) = notes {
        let shown = |notes: &str| match notes {
            "" => "none".to_owned(),
            notes => notes.to_owned(),
        };
        let notes = text::cut(&text::inline(notes), 1_000);
        answer = answer.line(format!("notes: {} -> {}", shown(&before), shown(&notes)));
    }
    if let Some(protected) = protected {
        let shown = |flag: bool| if flag { "yes" } else { "no" };
        let before = number(&was["protected"]) == Some(1.0);
        answer = answer.line(format!(
            "protected: {} -> {}",
            shown(before),
            shown(protected == "1")
        ));
    }
    Ok(answer.with("was", was))
}

/// What is kept from pruning and from deletion no longer is.
fn unprotected(request: &Request, was: &Value) -> Option<Loss> {
    let mut form = request.form.iter();
    let lifts = form.any(|pair| pair == ("protected", "0"));
    (lifts && number(&was["protected"]) == Some(1.0)).then(|| {
        Loss::interrupts("Lift the protection of a backup: it can then be pruned or deleted.")
    })
}
