//! Boundaries: the guests and command lines that the user restricts elevated tools to.

use super::Gate;
use super::question::command_line;
use super::risk::Risk;
use super::subject::{Guest, Impact, Subject, UnnamedGuests};
use crate::cluster::guests;
use crate::error::Error;
use crate::pve::reader::Reader;
use crate::settings::boundaries::{KnownGuest, Labels, tags};
use crate::text;
use crate::text::glob::Glob;

impl Gate<'_> {
    /// Refuses a request that crosses a boundary.
    pub(super) fn check(&self, client: &Reader, subject: &Subject) -> Result<(), Error> {
        self.check_nodes(client, subject)?;
        self.check_command(subject)?;
        self.check_guests(client, subject)
    }

    pub(super) fn check_guests(&self, client: &Reader, subject: &Subject) -> Result<(), Error> {
        let bounds = [
            ("PROXMOX_GUESTS", self.safety.guests.as_ref()),
            ("PROXMOX_PROTECTED", self.safety.protected.as_ref()),
        ];
        for (setting, set) in bounds {
            let Some(set) = set else {
                continue;
            };
            let protects = setting == "PROXMOX_PROTECTED";
            let is_open = match subject.unnamed {
                UnnamedGuests::Untouched => false,
                // A protected guest may be copied.
                UnnamedGuests::Read => !protects,
                UnnamedGuests::Changed => true,
            };
            if is_open {
                return Err(denied(
                    "this may concern guests that it does not name",
                    format!(
                        "{setting} ({}) is set, and whether they are in it is unknown.",
                        set.text()
                    ),
                ));
            }
            for guest in &subject.guests {
                if protects && guest.impact == Impact::Unchanged {
                    continue;
                }
                let labels = match set.needs_labels() {
                    true => client.without_advancing(|| labels(client, guest, protects))?,
                    false => None,
                };
                let known = KnownGuest {
                    vmid: guest.vmid,
                    labels,
                };
                let is_new = matches!(guest.impact, Impact::Created { .. });
                match (set.contain(&known), protects) {
                    (Some(inside), _) if inside != protects => (),
                    // Proxmox refuses to create a guest over another, so only its VMID can protect it.
                    (None, true) if is_new => (),
                    (Some(_), true) => {
                        return Err(denied(
                            format!("guest {} is protected", guest.vmid),
                            format!(
                                "PROXMOX_PROTECTED ({}) includes it: no tool may stop, change or destroy it.",
                                set.text()
                            ),
                        ));
                    }
                    (Some(_), false) => {
                        return Err(denied(
                            format!("guest {} is out of bounds", guest.vmid),
                            format!(
                                "PROXMOX_GUESTS restricts elevated tools to {}.{}",
                                set.text(),
                                match is_new {
                                    true => " Give the new guest a VMID or pool within it.",
                                    false => "",
                                }
                            ),
                        ));
                    }
                    (None, _) => {
                        return Err(denied(
                            format!("whether guest {} is in {setting} is unknown", guest.vmid),
                            "This token does not see its pool and tags (VM.Audit).",
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn check_command(&self, subject: &Subject) -> Result<(), Error> {
        let (Some(Risk::Command { argv, input }), Some(allowed)) =
            (&subject.risk, &self.safety.commands)
        else {
            return Ok(());
        };
        // Standard input can be a command as well, so a trailing `*` does not cover it, and a pattern with
        // standard input does not allow a command without any.
        let (line, has_input) = match input {
            Some(input) => (format!("{} < {input}", command_line(argv)), true),
            None => (command_line(argv), false),
        };
        let applies = |glob: &&Glob| has_input == glob.pattern().contains(" < ");
        if allowed
            .iter()
            .filter(applies)
            .any(|glob| glob.matches(&line))
        {
            return Ok(());
        }
        let allowed: Vec<&str> = allowed.iter().map(|glob| glob.pattern()).collect();
        Err(denied(
            format!("{} may not be run", text::cut(&text::inline(&line), 200)),
            format!(
                "PROXMOX_ALLOW_COMMANDS allows: {}.",
                text::cut(&allowed.join(", "), 1_000)
            ),
        ))
    }
}

pub(super) fn denied(what: impl Into<String>, why: impl Into<String>) -> Error {
    Error::denied(
        what,
        format!("{} Only the user can change that.", why.into()),
    )
}

/// Reads the pool and tags of a guest; returns `None` if the token does not see it. A guest that is being
/// created has neither yet where protection is concerned.
fn labels(client: &Reader, guest: &Guest, protects: bool) -> Result<Option<Labels>, Error> {
    let of = |vmid| -> Result<Option<Labels>, Error> {
        let row = guests::guest_row(client, vmid)?;
        Ok((!row.is_null()).then(|| guests::labels(&row)))
    };
    match &guest.impact {
        Impact::Changed | Impact::Unchanged => of(guest.vmid),
        Impact::Created {
            pool,
            tags: given,
            copy_of,
        } => {
            // If the guest already exists, its own pool and tags count.
            let existing = of(guest.vmid)?;
            if existing.is_some() || protects {
                return Ok(existing);
            }
            let mut labels = Labels {
                pool: pool.clone(),
                tags: tags(given),
            };
            if let Some(source) = copy_of {
                let Some(source) = of(*source)? else {
                    return Ok(None);
                };
                labels.tags.extend(source.tags);
            }
            Ok(Some(labels))
        }
    }
}
