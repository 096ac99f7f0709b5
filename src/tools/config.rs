//! A guest's configuration, read and written with its digest so that no concurrent change is lost.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::common::{DIGEST, Guest};
use super::guest::VMID;
use crate::answer::{self, Answer, plain};
use crate::error::{Error, ErrorKind};
use crate::param::Args;
use crate::pve::reader::Reader;
use crate::request::{self, Method::Get, Method::Put, Reply, Request};
use crate::row::{Harm, Step, Touches, needs};
use crate::safety::Client;
use crate::text;
use crate::text::slot::Slot;
use crate::text::sort::{gather, sort_by_key};

/// Changes the configuration of a VM.
pub(super) const CONFIG_OF_VM: Step = Step::change(
    Put,
    "/nodes/{node}/qemu/{vmid}/config",
    needs::CONFIG_VM,
    Touches::GuestOf(&VMID),
    Harm::OfConfig,
);

/// Changes the configuration of a container.
pub(super) const CONFIG_OF_LXC: Step = Step::change(
    Put,
    "/nodes/{node}/lxc/{vmid}/config",
    needs::CONFIG_LXC,
    Touches::GuestOf(&VMID),
    Harm::OfConfig,
);

/// A configuration.
pub(super) struct Config(Map<String, Value>);

impl Config {
    pub(super) fn read(client: &Reader, args: &Args, guest: Guest) -> Result<Self, Error> {
        Self::fetch(client, &args.request(Get, &guest.path("config")))
    }

    /// Reads the view of it that `request` selects.
    pub(super) fn fetch(client: &Reader, request: &Request) -> Result<Self, Error> {
        let data = client.send(request)?;
        Ok(Self(data.as_object().cloned().unwrap_or_default()))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns the value of `key`, such as the line of `net0`.
    pub(super) fn get(&self, key: &str) -> Option<String> {
        self.0.get(key).map(plain)
    }

    /// Returns the keys of families such as `net`, in order.
    pub(super) fn slots(&self, families: &[&str]) -> Vec<&str> {
        let keys = self.0.keys().map(String::as_str);
        let mut slots: Vec<&str> = keys
            .filter(|key| families.contains(&Slot::of(key).family))
            .collect();
        sort_by_key(&mut slots, |key| Slot::of(key));
        slots
    }

    /// Returns the storage of a VM's first disk.
    pub(super) fn storage(&self) -> Option<String> {
        let slots = self.slots(&["scsi", "virtio", "sata", "ide"]);
        let lines = slots.into_iter().filter_map(|slot| self.get(slot));
        let mut disks = lines.filter(|line| !line.contains("media=cdrom"));
        Some(disks.next()?.split_once(':')?.0.to_owned())
    }

    /// Returns a free slot for a CD or cloud-init drive. These two exist whatever the machine type.
    pub(super) fn free_cd_slot(&self) -> Option<&'static str> {
        let mut slots = ["ide2", "ide0"].into_iter();
        slots.find(|slot| self.get(slot).is_none())
    }

    /// Returns the slot of the cloud-init drive.
    pub(super) fn cloud_init_drive(&self) -> Option<&str> {
        let mut slots = self.slots(CD_FAMILIES).into_iter();
        slots.find(|slot| {
            self.get(slot)
                .is_some_and(|line| is_cloud_init_drive(&line))
        })
    }

    /// Returns true if changes of `devices` (`network`, `disk`) take effect in a running VM. Both are included if the
    /// option `hotplug` is absent or 1.
    pub(super) fn hotplugs(&self, devices: &str) -> bool {
        self.get("hotplug").is_none_or(|hotplug| {
            hotplug == "1" || hotplug.split([',', ';', ' ']).any(|part| part == devices)
        })
    }

    /// Returns the line of a slot; an error if the slot is not in use.
    pub(super) fn used(
        &self,
        args: &Args,
        guest: Guest,
        slot: &str,
        families: &[&str],
    ) -> Result<String, Error> {
        self.get(slot).ok_or_else(|| {
            let used = self.slots(families);
            let used = if used.is_empty() {
                "none".to_owned()
            } else {
                used.join(", ")
            };
            Error::impossible(
                format!(
                    "{} {} has no {slot}, nothing was changed",
                    guest.noun(),
                    &args[&VMID]
                ),
                format!("in use: {used}"),
            )
        })
    }

    /// Checks that a slot is free: writing to one in use would replace its contents.
    pub(super) fn free(&self, args: &Args, guest: Guest, slot: &str) -> Result<(), Error> {
        let Some(line) = self.get(slot) else {
            return Ok(());
        };
        let Slot { family, .. } = Slot::of(slot);
        let last = Slot::of(slot).last().unwrap_or_default();
        let free: Vec<String> = (0..=last)
            .map(|number| format!("{family}{number}"))
            .filter(|slot| !self.0.contains_key(slot))
            .take(4)
            .collect();
        let free = if free.is_empty() {
            format!("no {family} slot is free")
        } else {
            format!("free: {}", free.join(", "))
        };
        Err(Error::impossible(
            format!(
                "{slot} of {} {} is in use, nothing was changed",
                guest.noun(),
                &args[&VMID]
            ),
            format!("{slot} is {line}\n{free}"),
        ))
    }
}

/// Reads the configuration and sends the request that `edit` builds from it, with its digest; once more if the
/// configuration was changed in between. A digest given by the caller is sent instead, without a second attempt.
/// Returns the configuration before the change, and the reply.
pub(super) fn change(
    client: &Client,
    args: &Args,
    guest: Guest,
    reply: Reply,
    edit: impl Fn(&Config) -> Result<Request, Error>,
) -> Result<(Config, Value), Error> {
    with_retry(args, || {
        let config = Config::read(client, args, guest)?;
        let request = with_digest(edit(&config)?, args, config.get("digest"));
        let data = send(client, &request, reply, |key| config.get(key))?;
        Ok((config, data))
    })
}

/// As [`change`], for a request built from the settings, which is not sent where there is nothing to change; returns
/// the settings before the change.
pub(super) fn change_settings(
    client: &Client,
    args: &Args,
    guest: Guest,
    edit: impl Fn(&Settings) -> Option<Request>,
) -> Result<Settings, Error> {
    with_retry(args, || {
        let settings = Settings::read(client, args, guest)?;
        if let Some(request) = edit(&settings) {
            let request = with_digest(request, args, settings.active("digest"));
            send(client, &request, Reply::Nothing, |key| settings.shown(key))?;
        }
        Ok(settings)
    })
}

/// Runs `attempt`; once more if the configuration was changed in between, unless the caller gave a digest.
fn with_retry<T>(args: &Args, attempt: impl Fn() -> Result<T, Error>) -> Result<T, Error> {
    match attempt() {
        Err(error)
            if args.get(&DIGEST).is_none()
                && (error.says("checksum mismatch") || error.says("modified configuration")) =>
        {
            attempt()
        }
        done => done,
    }
}

/// Adds the digest given by the caller, or else the one that was read.
fn with_digest(request: Request, args: &Args, read: Option<String>) -> Request {
    match args.get(&DIGEST).map(str::to_owned).or(read) {
        Some(digest) => request.with(DIGEST.name, digest),
        None => request,
    }
}

/// Sends a change of a configuration; adds the current values, which `now` returns, to the preview of a dry run.
fn send(
    client: &Client,
    request: &Request,
    reply: Reply,
    now: impl Fn(&str) -> Option<String>,
) -> Result<Value, Error> {
    client.change(request, reply).map_err(|error| {
        let ErrorKind::DryRun(preview) = error.kind else {
            return error;
        };
        let form = || request.form.iter();
        let listed = form().filter(|(name, _)| ["delete", "revert"].contains(name));
        let listed = listed.flat_map(|(_, keys)| keys.split(','));
        // `disk` and `volume` name the slot to resize or move.
        let slots = form().filter(|(name, _)| ["disk", "volume"].contains(name));
        let slots = slots.map(|(_, slot)| slot);
        let keys = form().map(|(name, _)| name).chain(listed).chain(slots);
        let now: Vec<(&str, String)> = keys
            .filter(|key| *key != DIGEST.name)
            .filter_map(|key| Some((key, readable(key, &now(key)?))))
            .collect();
        let preview = now
            .iter()
            .fold(Answer::from(*preview), |preview, (key, value)| {
                preview.line(format!("now: {key}: {}", text::cut(value, 1_000)))
            });
        let now = now.into_iter();
        let now: Map<String, Value> =
            gather(now.map(|(key, value)| (key.to_owned(), value.into())));
        Error::dry_run(preview.with("now", now).into())
    })
}

/// The settings of a guest, with those in effect distinguished from those that wait until it stops and starts: the
/// rows of `pending`.
pub(super) struct Settings(Vec<Value>);

impl Settings {
    pub(super) fn read(client: &Reader, args: &Args, guest: Guest) -> Result<Self, Error> {
        let data = client.send(&args.request(Get, &guest.path("pending")))?;
        Ok(Self(answer::rows(data)))
    }

    pub(super) fn rows(self) -> Vec<Value> {
        self.0
    }

    fn row(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|row| row["key"] == key)
    }

    /// Returns the value in effect.
    pub(super) fn active(&self, key: &str) -> Option<String> {
        let value = &self.row(key)?["value"];
        (!value.is_null()).then(|| plain(value))
    }

    /// Returns the value once no change is pending.
    pub(super) fn coming(&self, key: &str) -> Option<String> {
        match self.waiting(key) {
            Some(waiting) => waiting.as_ref().map(plain),
            None => self.active(key),
        }
    }

    /// Returns the pending value; `Some(None)` if its removal is pending.
    pub(super) fn waiting(&self, key: &str) -> Option<Option<Value>> {
        waiting(self.row(key)?)
    }

    /// Shows the value in effect and the pending one: `1 (pending: 4)`.
    pub(super) fn shown(&self, key: &str) -> Option<String> {
        let active = self.active(key);
        let Some(waiting) = self.waiting(key) else {
            return active;
        };
        let active = active.as_deref().unwrap_or(DEFAULT);
        let waiting = waiting.as_ref().map_or(REMOVED.to_owned(), plain);
        Some(format!("{active} (pending: {waiting})"))
    }

    /// Returns the pending changes: settings with their new values, `None` for those that will be removed.
    pub(super) fn waits(&self) -> BTreeMap<String, Option<Value>> {
        let waits = self.0.iter();
        gather(waits.filter_map(|row| Some((plain(&row["key"]), waiting(row)?))))
    }

    /// Returns true if the guest has a cloud-init drive.
    pub(super) fn have_cloud_init_drive(&self) -> bool {
        self.0.iter().any(|row| {
            let lines = ["value", "pending"]
                .iter()
                .filter_map(|part| row[part].as_str());
            CD_FAMILIES.contains(&Slot::of(&plain(&row["key"])).family)
                && lines.into_iter().any(is_cloud_init_drive)
        })
    }
}

/// The families of slots that a CD or cloud-init drive can be in.
pub(super) const CD_FAMILIES: &[&str] = &["ide", "sata", "scsi"];

/// Shown for a setting without a value of its own.
pub(super) const DEFAULT: &str = "default";

/// Shown for a setting whose removal is pending.
pub(super) const REMOVED: &str = "removed";

/// Returns the pending value in a row of `pending`.
fn waiting(row: &Value) -> Option<Option<Value>> {
    match (&row["pending"], plain(&row["delete"]).as_str()) {
        (Value::Null, "" | "0") => None,
        (Value::Null, _) => Some(None),
        (value, _) => Some(Some(value.clone())),
    }
}

/// Returns true if a drive is the cloud-init drive: `local-lvm:vm-100-cloudinit,media=cdrom`
/// (`PVE/QemuServer/Drive.pm`, `drive_is_cloudinit`).
pub(super) fn is_cloud_init_drive(line: &str) -> bool {
    let volume = line.split(',').next().unwrap_or_default();
    let name = volume.rsplit(['/', ':']).next().unwrap_or_default();
    let name = name.split('.').next().unwrap_or_default();
    name == "cloudinit" || (name.starts_with("vm-") && name.ends_with("-cloudinit"))
}

/// Returns the value of a setting in readable form, on one line.
pub(super) fn readable(key: &str, value: &str) -> String {
    text::inline(&request::readable(key, value))
}

/// Adds the changes that wait until the guest stops and starts.
pub(super) fn with_waits(
    answer: Answer,
    guest: Guest,
    waits: Option<BTreeMap<String, Option<Value>>>,
) -> Answer {
    let Some(waits) = waits else {
        return answer.line("Whether it waits for a restart could not be read.");
    };
    if waits.is_empty() {
        return answer;
    }
    let mut shown = Vec::new();
    let mut pending = Map::new();
    for (key, value) in waits {
        let value = match value {
            Some(Value::String(text)) => Value::from(readable(&key, &text)),
            other => other.unwrap_or_default(),
        };
        shown.push(match &value {
            Value::Null => format!("{key}: {REMOVED}"),
            value => format!("{key}: {}", text::cut(&plain(value), 300)),
        });
        pending.insert(key, value);
    }
    answer
        .line(format!(
            "Waits for {}, or a stop and start: {}",
            reboot(guest),
            shown.join("; ")
        ))
        .with("pending", pending)
}

/// The outcome of a change of one slot.
pub(super) struct Settled {
    /// Its line as completed by Proxmox.
    pub(super) line: Option<String>,
    /// Whether the change waits until the guest stops and starts.
    pub(super) waits: bool,
}

impl Settled {
    /// Reads the outcome; `None` if it cannot be read.
    pub(super) fn read(client: &Reader, args: &Args, guest: Guest, slot: &str) -> Option<Self> {
        let settings = Settings::read(client, args, guest).ok()?;
        Some(Self {
            line: settings.coming(slot),
            waits: settings.waiting(slot).is_some(),
        })
    }
}

/// Adds the line of `slot` as Proxmox has it, and whether the change waits.
pub(super) fn with_slot(
    client: &Reader,
    args: &Args,
    guest: Guest,
    slot: &str,
    answer: Answer,
) -> Answer {
    match Settled::read(client, args, guest, slot) {
        None => answer.line(format!("What {slot} is now could not be read.")),
        Some(Settled { line: None, .. }) => answer,
        Some(Settled {
            line: Some(line),
            waits,
        }) => {
            let answer = answer.line(format!("{slot}: {line}")).with("line", line);
            match waits {
                true => answer.saved().line(waits_for_stop(guest)),
                false => answer,
            }
        }
    }
}

/// The line to add if a change waits.
pub(super) fn waits_for_stop(guest: Guest) -> String {
    format!(
        "It waits until the {} stops and starts ({}).",
        guest.noun(),
        reboot(guest)
    )
}

/// The line to add if it is unknown whether a change waits.
pub(super) fn unknown_whether_it_waits(guest: Guest) -> String {
    format!(
        "Whether it waits for the {} to stop could not be read.",
        guest.noun()
    )
}

/// Returns the tool that applies pending changes.
fn reboot(guest: Guest) -> &'static str {
    match guest {
        Guest::Container => "proxmox_reboot_lxc",
        Guest::Vm => "proxmox_reboot_vm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognizes_the_cloud_init_drive() {
        for line in [
            "local:cloudinit",
            "local:cloudinit,format=raw",
            "local-lvm:vm-100-cloudinit,media=cdrom",
            "local:100/vm-100-cloudinit.qcow2,media=cdrom,size=4M",
        ] {
            assert!(is_cloud_init_drive(line), "{line}");
        }
        for line in [
            "none,media=cdrom",
            "local:iso/cloudinit-tools.iso,media=cdrom",
            "local-lvm:vm-100-disk-0,size=8G",
        ] {
            assert!(!is_cloud_init_drive(line), "{line}");
        }
    }
}
