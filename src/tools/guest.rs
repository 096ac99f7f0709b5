//! The guest that a call is about: found by name or VMID before the call, or given a free VMID.

use serde_json::{Map, Value};

use super::common::{Guest, identified, resources};
use super::twins;
use crate::answer::{Answer, plain};
use crate::error::{Error, Refusal};
use crate::param::{Args, Kind, Param};
use crate::pve::client::Client;
use crate::request::{Method::Get, Request};
use crate::settings::Safety;
use crate::text::format;
use crate::tool::Tool;

/// The node of the guest; looked up where it is absent.
pub(super) const NODE: Param = Param::optional("node", Kind::Format(&format::NODE), "");
pub(super) const VMID: Param = Param::required("vmid", Kind::Guest, "VMID or name.");
/// For tools that list what belongs to a guest, or to all of them.
pub(super) const OF_GUEST: Param = Param::optional("vmid", Kind::Guest, "VMID or name.");
/// For tools that take both kinds; looked up where it is absent.
pub(super) const TYPE: Param = Param::optional("type", Kind::Choice(&["qemu", "lxc"]), "");
pub(super) const NEW_VMID: Param = Param::optional("vmid", Kind::NewGuest, "Next free if absent.");
/// Heeded only where the caller says which guest: see [`with_free_id`].
pub(super) const OVERWRITE: Param =
    Param::optional("force", Kind::Flag, "Overwrite the stopped guest there.");

/// The tool that lists all guests; its recording answers the lookup in the demonstration.
const LISTING: &str = "proxmox_get_vms";

/// Completes the arguments of a call of `tool` that names a guest: its name becomes its VMID, and where
/// the call is about it, what is absent of node and type follows. One request where something is
/// missing, else none.
pub(crate) fn look_up(client: &Client, tool: &str, args: &mut Args) -> Result<(), Error> {
    let Some(param) = args.params().find(|param| param.names_guest()) else {
        return Ok(());
    };
    let Some(wanted) = args.get(param).map(str::to_owned) else {
        return Ok(());
    };
    let is_name = wanted.parse::<u64>().is_err();
    // What only lists what belongs to it may do so on any node.
    let is_about_it = param.is_listed_as_required();
    let takes_type = is_about_it && args.params().any(|param| param.name == TYPE.name);
    let missing: Vec<&str> = [(&NODE, is_about_it), (&TYPE, takes_type)]
        .into_iter()
        .filter(|(param, takes)| *takes && args.get(param).is_none())
        .map(|(param, _)| param.name)
        .collect();
    if missing.is_empty() && !is_name {
        return Ok(());
    }
    client.begin(LISTING);
    let mut found = resources(client, "vm")?;
    found.retain(|guest| {
        let is_it = if is_name {
            plain(&guest["name"]).eq_ignore_ascii_case(&wanted)
        } else {
            plain(&guest["vmid"]) == wanted
        };
        // They go into a path.
        is_it
            && [NODE, VMID, TYPE]
                .iter()
                .all(|param| param.accepts(&guest[param.name]))
    });
    let guest = match <[Value; 1]>::try_from(found) {
        Ok([guest]) => guest,
        Err(none) if none.is_empty() => return Err(unseen(&wanted, is_name, &missing)),
        Err(several) => return Err(ambiguous(&wanted, &several)),
    };
    let kind = Guest::of(&guest);
    let fits = match args.get(&TYPE).filter(|_| takes_type) {
        Some(of_type) => of_type == kind.api_type(),
        None => twins::of(tool).is_none_or(|twin| twin.kind == kind),
    };
    if !fits {
        return Err(match takes_type {
            true => unfit(tool, takes_type, &guest),
            false => Error::OtherKind {
                refusal: Box::new(unfit(tool, takes_type, &guest)),
                guest,
            },
        });
    }
    args.set(param, plain(&guest["vmid"]));
    for param in [NODE, TYPE] {
        if missing.contains(&param.name) {
            args.set(&param, plain(&guest[param.name]));
        }
    }
    args.guest = Some(guest);
    Ok(())
}

/// The twin of a tool, which does its work for a guest of the other kind.
pub(crate) struct StandIn {
    pub(crate) name: &'static str,
    pub(crate) tool: &'static Tool,
    /// What the tool was called with, for the twin.
    pub(crate) args: Args,
    /// What the answer says of it.
    pub(crate) note: String,
    /// What is said where the twin would do harm.
    pub(crate) refusal: Error,
}

/// Which tool does the work of `tool` for `guest`, which is of the other kind; `refusal` where none does:
/// there is no such tool, it is not harmless, the settings hide it, or an argument is not for it.
pub(crate) fn stand_in(
    tool: &str,
    args: &Args,
    arguments: &Map<String, Value>,
    guest: Value,
    refusal: Error,
    safety: &Safety,
) -> Result<StandIn, Error> {
    let Some(twin) = twins::of(tool) else {
        return Err(refusal);
    };
    let Some((name, tool)) = twin.other.and_then(super::find) else {
        return Err(refusal);
    };
    if let Some(why) = safety.exposure.hides_by_name(name) {
        let hidden = format!("\n{name} is hidden: {why}; only the user can change that.");
        return Err(refusal.besides(&hidden));
    }
    let is_elsewhere = args
        .get(&NODE)
        .is_some_and(|node| guest[NODE.name] != *node);
    if !twin.stands_in || is_elsewhere {
        return Err(refusal);
    }
    let given = arguments.iter().filter(|(name, value)| {
        let param = args.params().find(|param| param.is_called(name));
        param.is_none_or(|param| !param.is_absent(value))
    });
    let given = given.map(|(name, value)| (name.clone(), value.clone()));
    let Ok(mut args) = Args::parse(tool.listed_params(safety), &given.collect()) else {
        return Err(refusal);
    };
    for param in [NODE, VMID] {
        args.set(&param, plain(&guest[param.name]));
    }
    let kind = Guest::of(&guest).noun();
    let note = format!("{} is a {kind}, so {name} was used.", &args[&VMID]);
    args.guest = Some(guest);
    Ok(StandIn {
        name,
        tool,
        args,
        note,
        refusal,
    })
}

fn unseen(wanted: &str, is_name: bool, missing: &[&str]) -> Error {
    let way_out = match is_name {
        true => "give its vmid".to_owned(),
        false => format!("give {}", missing.join(" and ")),
    };
    Error::impossible(
        format!("guest {wanted} was not found, nothing was done"),
        format!(
            "This token sees no guest {wanted} on any node: proxmox_get_vms lists those that it sees.\n\
             If it exists, the token may lack VM.Audit on it: {way_out}."
        ),
    )
}

fn ambiguous(wanted: &str, several: &[Value]) -> Error {
    let candidates: Vec<String> = several
        .iter()
        .map(|guest| {
            let [vmid, of_type, node, status] =
                ["vmid", "type", "node", "status"].map(|key| plain(&guest[key]));
            format!("{vmid}: {of_type} on {node}, {status}")
        })
        .collect();
    Error::impossible(
        format!(
            "{} guests are named {wanted}, nothing was done",
            several.len()
        ),
        format!(
            "Call again with the vmid of the one that is meant:\n{}",
            candidates.join("\n")
        ),
    )
}

/// `guest` is not of the kind that `tool`, or the type given to it, is for.
fn unfit(tool: &str, takes_type: bool, guest: &Value) -> Error {
    let kind = Guest::of(guest);
    let [vmid, of_type, node] = ["vmid", "type", "node"].map(|key| plain(&guest[key]));
    let way_out = match twins::of(tool).and_then(|twin| twin.other) {
        _ if takes_type => {
            format!("call again with node={node}, vmid={vmid}, type={of_type}")
        }
        Some(other) => format!("call {other} with node={node}, vmid={vmid}"),
        None => format!("no tool does this to a {}", kind.noun()),
    };
    Error::impossible(
        format!("{vmid} is a {}, nothing was done", kind.noun()),
        format!("{}: {way_out}.", identified(guest)),
    )
}

/// How many free VMIDs are tried before a call fails: another client can be faster each time.
const ATTEMPTS: u32 = 3;

/// Makes `call`, with a free VMID for the guest that it is to make where the caller gave none.
///
/// Proxmox reserves nothing: a VMID that another client takes meanwhile is refused before anything
/// is made, and the next one is tried.
pub(crate) fn with_free_id(
    client: &Client,
    args: &mut Args,
    call: impl Fn(&Args) -> Result<Answer, Error>,
) -> Result<Answer, Error> {
    let new = args.params().find(|param| param.names_new_guest());
    let Some(param) = new.filter(|param| args.get(param).is_none()) else {
        return call(args);
    };
    // What has the VMID when another client was faster is not for us to overwrite.
    let overwrites = args.flag(&OVERWRITE);
    args.unset(&OVERWRITE);
    let mut taken = None;
    let mut attempt = 1;
    loop {
        let id = free_id(client, taken)?;
        args.set(param, id.to_string());
        match call(args) {
            Err(Error::Refused(refusal)) if attempt < ATTEMPTS && says_taken(&refusal, id) => {
                taken = Some(id);
                attempt += 1;
            }
            called => {
                return called.map(|answer| match answer.task {
                    // What it does names the VMID.
                    Some(task) => {
                        let answer = Answer {
                            task: Some(task.of_free_id(id)),
                            ..answer
                        };
                        match overwrites {
                            true => answer.remark("force has no effect on a new guest"),
                            false => answer,
                        }
                    }
                    None => answer
                        .line(format!("{}: {id}, the next free one", param.name))
                        .with("vmid", id),
                });
            }
        }
    }
}

/// Whether Proxmox refused to make a guest because there is one with its VMID. The second form is
/// that of two clients at the same moment.
fn says_taken(refusal: &Refusal, id: u64) -> bool {
    [" already exists", ": config file already exists"]
        .iter()
        .any(|words| refusal.says(&format!("{id}{words}")))
}

/// How many VMIDs after a taken one are looked at.
const PROBES: u64 = 10;

/// The next free VMID, above the one that was found `taken`.
fn free_id(client: &Client, taken: Option<u64>) -> Result<u64, Error> {
    let next = next_id(client, None)?;
    let Some(taken) = taken.filter(|taken| next <= *taken) else {
        return Ok(next);
    };
    // Proxmox still takes it for free.
    let mut probes = taken + 1..=taken + PROBES;
    loop {
        match next_id(client, probes.next()) {
            Err(Error::Refused(refusal))
                if refusal.says("already exists") && !probes.is_empty() => {}
            asked => return asked,
        }
    }
}

/// What `/cluster/nextid` answers: the lowest free VMID, or `wanted` if it is free.
fn next_id(client: &Client, wanted: Option<u64>) -> Result<u64, Error> {
    let mut request = Request::new(Get, "/cluster/nextid");
    if let Some(wanted) = wanted {
        request = request.with("vmid", wanted.to_string());
    }
    let id = plain(&client.send(&request)?);
    id.parse().map_err(|_| {
        Error::impossible(
            "no free VMID was found, nothing was done",
            "Proxmox named none: give one.",
        )
    })
}
