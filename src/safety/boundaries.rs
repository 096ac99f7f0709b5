//! The boundaries: the guests and command lines that elevated tools are held to.

use super::Gate;
use super::question::command_line;
use super::risk::Risk;
use super::subject::{Guest, Part, Subject, Unnamed};
use crate::cluster::guests;
use crate::error::Error;
use crate::pve::reader::Reader;
use crate::settings::boundaries::{Known, Labels, tags};
use crate::text;
use crate::text::glob::Glob;

impl Gate<'_> {
    /// Holds the request to what the user bounds elevated tools to.
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
                Unnamed::Untouched => false,
                // Protection lets what it names be copied.
                Unnamed::Read => !protects,
                Unnamed::Changed => true,
            };
            if is_open {
                return Err(denied(
                    "this may concern guests that it does not name",
                    format!(
                        "{setting} ({}) is set, and whether they are in it cannot be told.",
                        set.text()
                    ),
                ));
            }
            for guest in &subject.guests {
                if protects && guest.part == Part::Keeps {
                    continue;
                }
                let labels = match set.needs_labels() {
                    true => client.aside(|| labels(client, guest, protects))?,
                    false => None,
                };
                let known = Known {
                    vmid: guest.vmid,
                    labels,
                };
                let is_new = matches!(guest.part, Part::Made { .. });
                match (set.contain(&known), protects) {
                    (Some(inside), _) if inside != protects => (),
                    // Only its VMID can be protected: to make a guest harms none that is there.
                    (None, true) if is_new => (),
                    (Some(_), true) => {
                        return Err(denied(
                            format!("guest {} is protected", guest.vmid),
                            format!(
                                "PROXMOX_PROTECTED ({}) names it: no tool may stop, change or destroy it.",
                                set.text()
                            ),
                        ));
                    }
                    (Some(_), false) => {
                        return Err(denied(
                            format!("guest {} is out of bounds", guest.vmid),
                            format!(
                                "PROXMOX_GUESTS bounds elevated tools to {}.{}",
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
        // What it reads can be as good as a command, so a `*` at the end of one does not stand for it, nor
        // does a pattern with standard input for a command without.
        let (line, is_fed) = match input {
            Some(input) => (format!("{} < {input}", command_line(argv)), true),
            None => (command_line(argv), false),
        };
        let counts = |glob: &&Glob| is_fed == glob.pattern().contains(" < ");
        if allowed
            .iter()
            .filter(counts)
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

/// What is known of where a guest belongs, read each time; `None` where the token does not see it. For
/// protection, a guest that is made belongs nowhere yet.
fn labels(client: &Reader, guest: &Guest, protects: bool) -> Result<Option<Labels>, Error> {
    let of = |vmid| -> Result<Option<Labels>, Error> {
        let row = guests::guest_row(client, vmid)?;
        Ok((!row.is_null()).then(|| guests::labels(&row)))
    };
    match &guest.part {
        Part::Changes | Part::Keeps => of(guest.vmid),
        Part::Made {
            pool,
            tags: given,
            copy_of,
        } => {
            // Should a guest be there, what it is counts.
            let there = of(guest.vmid)?;
            if there.is_some() || protects {
                return Ok(there);
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
