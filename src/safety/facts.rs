//! What the user needs to know about an object before they confirm a change to it.

use serde_json::Value;

use super::risk::Risk;
use super::subject::{Guest, Subject};
use crate::answer::{number, plain};
use crate::cluster::volume::{self, Fate, volume};
use crate::cluster::volumes::{CONTENT_REQUEST, RESOURCES_REQUEST};
use crate::cluster::{guests, volumes};
use crate::error::{Error, ErrorKind};
use crate::pve::property::PropertyString;
use crate::pve::reader::Reader;
use crate::request::{Method::Get, Request};
use crate::row::{Loss, Step, needs};
use crate::text;
use crate::text::slot::Slot;

/// The requests that read the facts, for every tool.
pub(crate) const REQUESTS: &[Step] = &[
    Step::read("/nodes/{node}/{type}/{vmid}/status/current", needs::AUDIT),
    Step::read("/nodes/{node}/{type}/{vmid}/config", needs::AUDIT),
    Step::read("/nodes/{node}/{type}/{vmid}/snapshot", needs::AUDIT),
    Step::read("/nodes/{node}/replication", &[]),
    CONTENT_REQUEST,
    Step::read(
        "/nodes/{node}/storage/{storage}/content/{volume}",
        &[needs::STORED],
    ),
    RESOURCES_REQUEST,
];

/// The maximum number of disks or snapshots in a list.
const MAX_LISTED: usize = 12;

/// The maximum length of a name, in characters.
const MAX_NAME: usize = 60;

/// What is known about the object of a request.
pub(super) struct Facts {
    /// `VM 100 web01 on pve1`
    pub(super) object: String,
    /// What is done to it, if that depends on its current state.
    loss: Option<Loss>,
    /// One fact per line.
    pub(super) lines: Vec<String>,
    /// What the user's answer is based on: if this changes, they are asked again.
    pub(super) basis: String,
    /// Whether the request is harmless at the moment because the guest that it stops is not running.
    pub(super) is_harmless: bool,
    /// What the user types to agree, if a guest is concerned.
    pub(super) vmid: Option<u64>,
}

impl Facts {
    /// Reads the facts. What the token cannot read is shown as unknown; an error means that the whole request
    /// is pointless.
    pub(super) fn read(
        client: &Reader,
        request: &Request,
        subject: &Subject,
    ) -> Result<Self, Error> {
        client.without_advancing(|| Self::of(client, request, subject))
    }

    /// Describes what `risk` does to the object in a sentence.
    pub(super) fn sentence(&self, risk: &Risk) -> String {
        match &self.loss {
            Some(loss) => loss.sentence.clone(),
            None => risk.sentence(&self.object),
        }
    }

    /// Returns whether `risk` destroys data of the object.
    pub(super) fn destroys(&self, risk: &Risk) -> bool {
        match &self.loss {
            Some(loss) => loss.destroys,
            None => risk.destroys(),
        }
    }

    fn of(client: &Reader, request: &Request, subject: &Subject) -> Result<Self, Error> {
        let path: Vec<&str> = request.path.split('/').collect();
        let guest = match (&path[..], subject.guests.first()) {
            (["", "nodes", node, kind @ ("lxc" | "qemu"), ..], Some(guest)) => {
                Some(((*node, *kind), guest))
            }
            _ => None,
        };
        match (&subject.risk, guest) {
            (Some(Risk::DeleteVolume { storage, volume }), _) => {
                of_volume(client, subject, storage, volume)
            }
            (Some(Risk::Loss { does, loss, before }), guest) => {
                let mut facts = match guest {
                    // The sentence does not say which guest.
                    Some((place, guest)) if before.is_empty() => {
                        let mut facts = of_guest(client, request, None, place, guest)?;
                        facts.lines.insert(0, facts.object.clone());
                        facts
                    }
                    // The tool has read what it changes.
                    _ => Self::unread(subject),
                };
                let does = does.as_deref().unwrap_or_default();
                facts.basis = format!("{does}\n{}\n{before}{}", loss.sentence, facts.basis);
                Ok(facts)
            }
            (risk, Some((place, guest))) => of_guest(client, request, risk.as_ref(), place, guest),
            (_, None) => Ok(Self::unread(subject)),
        }
    }

    /// Returns the facts about an object that cannot be read.
    fn unread(subject: &Subject) -> Self {
        Self {
            object: match subject.nodes.first() {
                Some(node) => format!("node {node}"),
                None => "the cluster".to_owned(),
            },
            loss: None,
            lines: Vec::new(),
            basis: String::new(),
            is_harmless: false,
            vmid: None,
        }
    }
}

fn of_guest(
    client: &Reader,
    request: &Request,
    risk: Option<&Risk>,
    (node, kind): (&str, &str),
    guest: &Guest,
) -> Result<Facts, Error> {
    let vmid = guest.vmid;
    let id = vmid.to_string();
    let noun = match kind {
        "lxc" => "container",
        _ => "VM",
    };
    let read = |part: &str| {
        let path = format!("/nodes/{node}/{kind}/{vmid}/{part}");
        client.send(&Request::new(Get, &path))
    };
    let status = match read("status/current") {
        Err(error) if error.says("does not exist") => {
            return match risk {
                Some(Risk::RestoreOver(_)) => Ok(Facts {
                    object: format!(
                        "whatever guest has the VMID {vmid} ({node} has no such {noun})"
                    ),
                    loss: None,
                    lines: Vec::new(),
                    basis: "none".to_owned(),
                    is_harmless: false,
                    vmid: Some(vmid),
                }),
                _ => Err(error),
            };
        }
        status => Fact::of(status)?,
    };
    let config = Fact::of(read("config"))?;
    let snapshots = Fact::of(read("snapshot"))?;
    let backup = Fact::of(volumes::last_backup(client, vmid))?;
    let replication = Fact::of(
        client.send(
            &Request::new(Get, "/nodes/{node}/replication")
                .segment("node", node)
                .with("guest", vmid.to_string()),
        ),
    )?;

    let name = match plain(&status.value()["name"]) {
        name if name.is_empty() => String::new(),
        name => format!(" {}", text::cut(&name, MAX_NAME)),
    };
    let state = status.show(
        |status| match (&status["status"], number(&status["uptime"])) {
            (state, Some(uptime)) if uptime > 0.0 => {
                format!("{}, up {}", plain(state), text::duration(uptime as u64))
            }
            (state, _) => plain(state),
        },
    );
    let snapshots_ = snapshots.show(|snapshots| {
        let names = snapshots.as_array().into_iter().flatten();
        let names = names.map(|snapshot| plain(&snapshot["name"]));
        listed(names.filter(|name| name != "current").collect())
    });
    let replication_ = replication.show(|jobs| {
        let targets = jobs.as_array().into_iter().flatten();
        let targets = targets.map(|job| plain(&job["target"]));
        listed(targets.map(|target| format!("to {target}")).collect())
    });
    let asks_for = |name: &str| request.form.iter().any(|pair| pair == (name, "1"));
    let object = format!("{noun} {vmid}{name} on {node}");
    let loss = match (risk, &config) {
        (Some(Risk::RemoveDisks { slots, .. }), Fact::Known(config)) => {
            Some(removal(&object, config, &id, slots, asks_for("force")))
        }
        _ => None,
    };
    let mut lines = vec![
        format!("state: {state}"),
        format!("disks: {}", config.show(disks)),
        format!("snapshots: {snapshots_}"),
        format!("last backup: {}", backup.show(last_backup)),
        format!("HA: {}", status.show(|status| ha(&status["ha"]))),
        format!("replication: {replication_}"),
        format!(
            "protection: {}",
            config.show(|config| match number(&config["protection"]) {
                Some(1.0) => "yes".to_owned(),
                _ => "no".to_owned(),
            })
        ),
    ];
    if risk == Some(&Risk::DeleteGuest) {
        let not_owned = config.show(|config| listed(volume::not_owned(config, &id)));
        if not_owned != "none" {
            lines.push(format!("not its own, untouched: {not_owned}"));
        }
        if asks_for("destroy-unreferenced-disks") {
            let others = match &config {
                Fact::Known(config) => volumes::unreferenced(client, kind, &id, config),
                Fact::Unknown(why) => Err(Error::impossible("", why)),
            };
            let others = others.map(|(volumes, notes)| volumes.into_iter().chain(notes).collect());
            let others = Fact::of(others)?;
            let others = others.show(|volumes| {
                listed(
                    volumes
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(plain)
                        .collect(),
                )
            });
            lines.push(format!("in no slot, deleted too: {others}"));
        }
    }
    // Everything but the uptime.
    let basis = [
        name.clone(),
        plain(&status.value()["status"]),
        plain(&config.value()["digest"]),
        lines[1..].join("\n"),
    ];
    let runs = status.value()["status"] != "stopped";
    Ok(Facts {
        object,
        loss,
        lines,
        basis: basis.join("\n"),
        is_harmless: risk == Some(&Risk::Stop) && !runs,
        vmid: Some(vmid),
    })
}

fn of_volume(
    client: &Reader,
    subject: &Subject,
    storage: &str,
    volume: &str,
) -> Result<Facts, Error> {
    let node = subject.nodes.first().map_or("", |node| node);
    let request = Request::new(Get, "/nodes/{node}/storage/{storage}/content/{volume}")
        .segment("node", node)
        .segment("storage", storage)
        .segment("volume", volume);
    let info = Fact::of(client.send(&request))?;
    let mut lines = Vec::new();
    if let Some(vmid) = subject.guest() {
        let guests = Fact::of(guests::guest_row(client, vmid))?;
        lines.push(format!(
            "belongs to: {vmid} {}",
            guests.show(|guest| match guest {
                Value::Null => "(the token sees no such guest)".to_owned(),
                guest => text::cut(&plain(&guest["name"]), MAX_NAME),
            })
        ));
        let backup = Fact::of(volumes::last_backup(client, vmid))?;
        lines.push(format!("last backup of it: {}", backup.show(last_backup)));
    }
    lines.push(format!(
        "size: {}",
        info.show(|info| number(&info["size"]).map_or_else(|| "unknown".to_owned(), text::bytes))
    ));
    lines.push(format!(
        "protected: {}",
        info.show(|info| match number(&info["protected"]) {
            Some(1.0) => "yes".to_owned(),
            _ => "no".to_owned(),
        })
    ));
    let notes = text::cut(&plain(&info.value()["notes"]), 200);
    if !notes.is_empty() {
        lines.push(format!("notes: {notes}"));
    }
    Ok(Facts {
        object: format!("{} on {node}", text::inline(volume)),
        loss: None,
        basis: lines.join("\n"),
        lines,
        is_harmless: false,
        vmid: subject.guest(),
    })
}

/// Describes what removing `slots` of a guest does: one sentence for each fate of the volumes in them.
fn removal(object: &str, config: &Value, vmid: &str, slots: &[String], erases: bool) -> Loss {
    let of = |fate: Fate| {
        let slots = slots
            .iter()
            .map(String::as_str)
            .filter(|slot| Fate::of(vmid, slot, &plain(&config[*slot]), erases) == fate);
        slots.collect::<Vec<_>>().join(", ")
    };
    let mut sentences = Vec::new();
    for fate in [Fate::Erased, Fate::Kept, Fate::Untouched] {
        let slots = of(fate);
        if slots.is_empty() {
            continue;
        }
        sentences.push(match fate {
            Fate::Erased => format!("Erase {slots} of {object}, for good."),
            Fate::Kept => format!("Detach {slots} from {object}; the volume is kept."),
            Fate::Untouched => format!(
                "Detach {slots} from {object}; the data is untouched, since it does not belong to the guest."
            ),
        });
    }
    Loss {
        sentence: sentences.join("\n"),
        destroys: !of(Fate::Erased).is_empty(),
    }
}

/// A fact that was read, or why it is unknown.
enum Fact {
    Known(Value),
    Unknown(String),
}

impl Fact {
    /// Returns an error only if continuing is pointless: the host does not answer, or the client has
    /// cancelled.
    fn of(read: Result<Value, Error>) -> Result<Self, Error> {
        match read {
            Ok(value) => Ok(Fact::Known(value)),
            Err(error) => match error.kind {
                ErrorKind::Refused(_) | ErrorKind::Impossible => Ok(Fact::Unknown(error.brief())),
                ErrorKind::NotRecorded => {
                    Ok(Fact::Unknown("not part of the demonstration".to_owned()))
                }
                _ => Err(error),
            },
        }
    }

    fn value(&self) -> &Value {
        match self {
            Fact::Known(value) => value,
            Fact::Unknown(_) => &Value::Null,
        }
    }

    fn show(&self, show: impl FnOnce(&Value) -> String) -> String {
        match self {
            Fact::Known(value) => show(value),
            Fact::Unknown(why) => format!("unknown ({})", text::cut(why, 100)),
        }
    }
}

/// Lists the disks: `scsi0 local-lvm:vm-100-disk-0 32G`.
fn disks(config: &Value) -> String {
    let slots = config.as_object().into_iter().flatten();
    let disks = slots
        .filter(|(slot, _)| Slot::of(slot).holds_volume())
        .map(|(slot, line)| {
            let line = plain(line);
            let parts = PropertyString::parse(&line);
            let size = parts.get("size").unwrap_or_default();
            format!("{slot} {} {size}", volume(&parts))
                .trim_end()
                .to_owned()
        });
    listed(disks.collect())
}

fn ha(ha: &Value) -> String {
    match number(&ha["managed"]) {
        Some(1.0) => match plain(&ha["state"]) {
            state if state.is_empty() => "managed".to_owned(),
            state => format!("managed, {state}"),
        },
        _ => "no".to_owned(),
    }
}

fn last_backup(backup: &Value) -> String {
    match number(&backup["ctime"]) {
        None => "none that this token sees".to_owned(),
        Some(time) => {
            let size = number(&backup["size"]).map(text::bytes);
            format!(
                "{}, {}, {}",
                text::time(time as u64),
                size.unwrap_or_default(),
                text::cut(&plain(&backup["volid"]), 120)
            )
        }
    }
}

fn listed(things: Vec<String>) -> String {
    let things: Vec<String> = things.iter().map(|thing| text::cut(thing, 120)).collect();
    match things.len() {
        0 => "none".to_owned(),
        count if count > MAX_LISTED => format!("{}, … ({count})", things[..MAX_LISTED].join(", ")),
        _ => things.join(", "),
    }
}
