//! A guest's configuration, read and written with its digest so that no other change is lost.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::common::{DIGEST, Guest};
use super::guest::VMID;
use crate::answer::{self, Answer, plain};
use crate::error::Error;
use crate::param::Args;
use crate::pve::client::Client;
use crate::pve::request::{
    self,
    Method::{Get, Post},
    Reply, Request,
};
use crate::text;

/// A configuration as it was read.
pub(super) struct Config(Map<String, Value>);

impl Config {
    pub(super) fn read(client: &Client, args: &Args, guest: Guest) -> Result<Self, Error> {
        let data = client.send(&args.request(Get, &guest.path("config")))?;
        Ok(Self(data.as_object().cloned().unwrap_or_default()))
    }

    /// The value of `key`, such as the line of `net0`.
    pub(super) fn get(&self, key: &str) -> Option<String> {
        self.0.get(key).map(plain)
    }

    /// Sends a change of it; what a dry run shows is completed by what stands there now.
    pub(super) fn send(&self, client: &Client, request: &Request) -> Result<Value, Error> {
        // POST makes a task of what takes long; to move a volume always does.
        let reply = match request.method {
            Post if request.path.ends_with("/config") => Reply::TaskOrNothing,
            Post => Reply::Task,
            _ => Reply::Nothing,
        };
        client.change(request, reply).map_err(|error| {
            let Error::Withheld(preview) = error else {
                return error;
            };
            let form = || request.form.iter();
            let deleted = form().filter(|(name, _)| *name == "delete");
            let deleted = deleted.flat_map(|(_, keys)| keys.split(','));
            let keys = form().map(|(name, _)| name).chain(deleted);
            let now: Vec<(&str, String)> = keys
                .filter(|key| *key != "digest")
                .filter_map(|key| Some((key, readable(key, &self.get(key)?))))
                .collect();
            let told = now.iter().fold(*preview, |preview, (key, value)| {
                preview.line(format!("now: {key}: {}", text::cut(value, 1_000)))
            });
            let now: Map<String, Value> = now
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value.into()))
                .collect();
            Error::Withheld(Box::new(told.with("now", now)))
        })
    }

    /// The keys of a family such as `net`, in order.
    pub(super) fn slots(&self, families: &[&str]) -> Vec<&str> {
        let mut slots: Vec<(&str, u32)> = self
            .0
            .keys()
            .filter_map(|key| {
                let family = key.trim_end_matches(|c: char| c.is_ascii_digit());
                let number = key[family.len()..].parse().unwrap_or(0);
                families.contains(&family).then_some((&**key, number))
            })
            .collect();
        slots.sort_by_key(|(key, number)| {
            (key.trim_end_matches(|c: char| c.is_ascii_digit()), *number)
        });
        slots.into_iter().map(|(key, _)| key).collect()
    }

    /// Whether a running VM takes changes of `devices` at once: `network`, `disk`. Both are part of
    /// what the option `hotplug` stands for when it is absent or 1.
    pub(super) fn hotplugs(&self, devices: &str) -> bool {
        self.get("hotplug").is_none_or(|hotplug| {
            hotplug == "1" || hotplug.split([',', ';', ' ']).any(|part| part == devices)
        })
    }

    /// The line of a slot that must be in use.
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

    /// Makes sure that a slot is free: writing to one in use would replace what is there.
    pub(super) fn free(
        &self,
        args: &Args,
        guest: Guest,
        slot: &str,
        last: u32,
    ) -> Result<(), Error> {
        let Some(line) = self.get(slot) else {
            return Ok(());
        };
        let family = slot.trim_end_matches(|c: char| c.is_ascii_digit());
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

/// Reads the configuration, sends the request that `edit` makes of it together with its digest, and
/// does both once more when somebody else changed the configuration in between. A digest that the
/// caller gave counts instead, and is not given up. Returns the configuration before the change and
/// what Proxmox answered.
pub(super) fn change(
    client: &Client,
    args: &Args,
    guest: Guest,
    edit: impl Fn(&Config) -> Result<Request, Error>,
) -> Result<(Config, Value), Error> {
    let attempt = || {
        let config = Config::read(client, args, guest)?;
        let mut request = edit(&config)?;
        let given = args.get(&DIGEST).map(str::to_owned);
        if let Some(digest) = given.or_else(|| config.get("digest")) {
            request = request.with("digest", digest);
        }
        let data = config.send(client, &request)?;
        Ok((config, data))
    };
    match attempt() {
        Err(Error::Refused(refusal))
            if args.get(&DIGEST).is_none()
                && (refusal.says("checksum mismatch")
                    || refusal.says("modified configuration")) =>
        {
            attempt()
        }
        done => done,
    }
}

/// What waits for the guest to stop or restart: options with their new values, `None` for those that
/// will be removed. `None` when it cannot be read.
pub(super) fn pending(
    client: &Client,
    args: &Args,
    guest: Guest,
) -> Option<BTreeMap<String, Option<Value>>> {
    pending_rows(client, args, guest).ok().map(waits)
}

/// All settings, each with what waits for it.
pub(super) fn pending_rows(
    client: &Client,
    args: &Args,
    guest: Guest,
) -> Result<Vec<Value>, Error> {
    let data = client.send(&args.request(Get, &guest.path("pending")))?;
    Ok(answer::rows(data))
}

/// Those of the settings that wait, as [`pending`] returns them.
pub(super) fn waits(rows: Vec<Value>) -> BTreeMap<String, Option<Value>> {
    let waits = rows.into_iter().filter_map(|mut row| {
        let key = plain(&row["key"]);
        match (row["pending"].take(), plain(&row["delete"]).as_str()) {
            (Value::Null, "" | "0") => None,
            (Value::Null, _) => Some((key, None)),
            (value, _) => Some((key, Some(value))),
        }
    });
    waits.collect()
}

/// The value of a setting as it reads, on one line.
pub(super) fn readable(key: &str, value: &str) -> String {
    text::inline(&request::readable(key, value))
}

/// `answer` with what waits for the guest to stop and start.
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
            Value::Null => format!("{key}: removed"),
            value => format!("{key}: {}", text::cut(&plain(value), 300)),
        });
        pending.insert(key, value);
    }
    answer
        .line(format!(
            "Waits for {}, or a stop and start: {}",
            match guest {
                Guest::Container => "proxmox_reboot_lxc",
                Guest::Vm => "proxmox_reboot_vm",
            },
            shown.join("; ")
        ))
        .with("pending", pending)
}

/// Whether the removal of `slot` waits for the guest to stop; `None` when nobody knows.
pub(super) fn removal_waits(
    client: &Client,
    args: &Args,
    guest: Guest,
    slot: &str,
) -> Option<bool> {
    pending(client, args, guest).map(|waits| waits.get(slot) == Some(&None))
}

/// What to add to an answer when a running VM does not take the change at once.
pub(super) const AFTER_RESTART: &str = "A running VM sees it after a stop and start.";

/// What to add to an answer when [`removal_waits`] does not know.
pub(super) fn unknown_whether_it_waits(guest: Guest) -> String {
    format!(
        "Whether it waits for the {} to stop could not be read.",
        guest.noun()
    )
}
