//! Guests: their rows in the cluster's list, how a call finds one, and free VMIDs.

use serde_json::Value;

use crate::answer::{self, Answer, Column, Table, plain};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::pve::reader::Reader;
use crate::request::{Method::Get, Request};
use crate::settings::boundaries::{self, KnownGuest, Labels, tags};
use crate::text;
use crate::text::format;
use crate::text::rows::Rows;

/// The node of the guest; looked up if absent.
pub(crate) const NODE: Param = Param::optional("node", Kind::Format(&format::NODE), "");

pub(crate) const VMID: Param = Param::required("vmid", Kind::Guest, "VMID or name.");

/// For changes that can be made to several guests, which [`GUESTS`] names instead.
pub(crate) const VMID_OR_GUESTS: Param = VMID.required_unless(&["guests"]);

/// Several guests instead of one.
pub(crate) const GUESTS: Param = Param::optional("guests", Kind::List, "")
    .alias(&["vms"])
    .local();

/// What came of a change of each of several guests.
pub(crate) static OUTCOMES: Table = Table {
    name: "guests",
    noun: ["guest", "guests"],
    columns: &[
        Column::number("vmid"),
        Column::text("name"),
        Column::text("status"),
        Column::text("outcome"),
    ],
    sort: &[],
    count: Some("status"),
};

/// The maximum number of guests in one call.
pub(crate) const MOST: usize = 50;

/// For tools that list what belongs to one guest, or to all if absent.
pub(crate) const OF_GUEST: Param = Param::optional("vmid", Kind::Guest, "VMID or name.");

/// For tools that accept both kinds; looked up if absent.
pub(crate) const TYPE: Param = Param::optional("type", Kind::GuestType, "");

pub(crate) const NEW_VMID: Param =
    Param::optional("vmid", Kind::NewGuest, "Next free VMID if absent.");

/// Takes effect only if the caller gave the VMID: see [`with_free_vmid`].
pub(crate) const OVERWRITE: Param = Param::optional(
    "force",
    Kind::Flag,
    "Overwrite the stopped guest with this VMID.",
);

/// The tool that lists all guests; the demonstration answers lookups from its recording.
const LISTING: &str = "proxmox_get_vms";

/// Completes the arguments of a call that names a guest: replaces a name by the VMID and, if the call
/// requires a guest, fills in a missing node and type. Sends one request if anything is missing.
pub(crate) fn resolve_guest(
    client: &Reader,
    of: Option<Twins>,
    args: &mut Args,
) -> Result<(), Error> {
    let Some(param) = args.params().find(|param| param.names_guest()) else {
        return Ok(());
    };
    let Some(wanted) = args.get(param).map(str::to_owned) else {
        return Ok(());
    };
    let is_name = wanted.parse::<u64>().is_err();
    // A list of what belongs to the guest may span all nodes.
    let is_about_it = param.is_required_by_request();
    let takes_type = is_about_it && args.params().any(Param::is_guest_type);
    let missing: Vec<&str> = [(&NODE, is_about_it), (&TYPE, takes_type)]
        .into_iter()
        .filter(|(param, takes)| *takes && args.get(param).is_none())
        .map(|(param, _)| param.name)
        .collect();
    if missing.is_empty() && !is_name {
        return Ok(());
    }
    let found = match args.guest.take() {
        Some(known) => vec![known],
        None => {
            let mut found = all(client)?;
            found.retain(|guest| is_called(guest, &wanted));
            found
        }
    };
    let guest = match <[Value; 1]>::try_from(found) {
        Ok([guest]) => guest,
        Err(none) if none.is_empty() => return Err(guest_not_found(&wanted, is_name, &missing)),
        Err(several) => return Err(several_guests(&wanted, &several)),
    };
    let kind = Guest::of(&guest);
    let fits = match args.get(&TYPE).filter(|_| takes_type) {
        Some(of_type) => of_type == kind.api_type(),
        None => of.is_none_or(|of| of.kind == kind),
    };
    if !fits {
        return Err(match takes_type {
            true => wrong_kind(of, takes_type, &guest),
            false => wrong_kind(of, takes_type, &guest).of_other_kind(guest),
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

/// Lists the guests that a call can concern.
fn all(client: &Reader) -> Result<Vec<Value>, Error> {
    client.begin(LISTING);
    let mut found = resources(client, "vm")?;
    // These values become part of a path.
    let fits = |guest: &Value, param: &Param| param.accepts(&guest[param.name]);
    found.retain(|guest| [NODE, VMID, TYPE].iter().all(|param| fits(guest, param)));
    Ok(found)
}

/// Returns whether a guest has this VMID or name.
fn is_called(guest: &Value, wanted: &str) -> bool {
    match wanted.parse::<u64>() {
        Ok(_) => plain(&guest["vmid"]) == wanted,
        Err(_) => plain(&guest["name"]).eq_ignore_ascii_case(wanted),
    }
}

/// Finds the guests that VMIDs, names and selectors (`pool:dev`, `tag:web`, `node:pve1`) match: their rows
/// without repetition, in the order in which they are named. A name that two guests share matches both only
/// if nothing changes.
pub(crate) fn find_several(
    client: &Reader,
    wanted: &[String],
    changes: bool,
) -> Result<Vec<Value>, Error> {
    let all = all(client)?;
    let mut found: Vec<&Value> = Vec::new();
    let mut missing = Vec::new();
    for wanted in wanted.iter().map(|wanted| wanted.trim()) {
        let selector = Selector::parse(wanted)?;
        let rows: Vec<&Value> = all.iter().filter(|guest| selector.means(guest)).collect();
        match rows[..] {
            [] => missing.push(text::cut(&text::inline(wanted), 60)),
            [_, _, ..] if changes && matches!(selector, Selector::Called(_)) => {
                let rows: Vec<Value> = rows.into_iter().cloned().collect();
                return Err(several_guests(wanted, &rows));
            }
            _ => (),
        }
        for row in rows {
            if !found.iter().any(|known| known["vmid"] == row["vmid"]) {
                found.push(row);
            }
        }
    }
    if !missing.is_empty() {
        return Err(unseen(&missing));
    }
    match found.len() {
        count if count > MOST => Err(Error::impossible(
            format!("{count} guests match, nothing was done"),
            format!("One call takes at most {MOST}: name fewer."),
        )),
        _ => Ok(found.into_iter().cloned().collect()),
    }
}

/// Selects guests: one by its VMID or name, or several by what they have in common.
enum Selector<'a> {
    Called(&'a str),
    Node(&'a str),
    /// Pools and tags, as in the settings.
    Labelled(boundaries::Guests),
}

impl<'a> Selector<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        let set = match text.split_once(':') {
            None => return Ok(Selector::Called(text)),
            Some(("node", node)) => return Ok(Selector::Node(node)),
            Some(("pool" | "tag", _)) => boundaries::Guests::parse(text),
            Some(_) => Err("is not a VMID, a name, pool:x, tag:x or node:x".to_owned()),
        };
        set.map(Selector::Labelled).map_err(|why| {
            let shown = text::cut(&text::inline(text), 60);
            Error::arguments(vec![format!("guests: {shown} {why}")])
        })
    }

    fn means(&self, guest: &Value) -> bool {
        match self {
            Selector::Called(name) => is_called(guest, name),
            Selector::Node(node) => plain(&guest["node"]).eq_ignore_ascii_case(node),
            Selector::Labelled(set) => {
                let known = KnownGuest {
                    vmid: plain(&guest["vmid"]).parse().unwrap_or_default(),
                    labels: Some(labels(guest)),
                };
                set.contain(&known) == Some(true)
            }
        }
    }
}

/// Returns the error for guests that were not found.
pub(crate) fn unseen(missing: &[String]) -> Error {
    Error::impossible(
        format!("not found: {}", missing.join(", ")),
        "This token sees no such guest.",
    )
    .hint("proxmox_get_vms lists those that it sees. If it exists, the token may lack VM.Audit on it.")
}

fn guest_not_found(wanted: &str, is_name: bool, missing: &[&str]) -> Error {
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

fn several_guests(wanted: &str, several: &[Value]) -> Error {
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
            "Call again with the vmid of the one you mean:\n{}",
            candidates.join("\n")
        ),
    )
}

/// Returns the error for a guest of the kind that the tool, or the given type, is not for.
fn wrong_kind(of: Option<Twins>, takes_type: bool, guest: &Value) -> Error {
    let kind = Guest::of(guest);
    let [vmid, of_type, node] = ["vmid", "type", "node"].map(|key| plain(&guest[key]));
    let way_out = match of.and_then(|of| of.other) {
        _ if takes_type => {
            format!("Call again with node={node}, vmid={vmid}, type={of_type}.")
        }
        Some(other) => format!("Call {other} with node={node}, vmid={vmid}."),
        None => format!("No tool does this to a {}.", kind.noun()),
    };
    Error::impossible(
        format!("{vmid} is a {}, nothing was done", kind.noun()),
        format!("{}.", identified(guest)),
    )
    .advise(way_out)
}

/// How many free VMIDs are tried before the call fails: another client may be faster each time.
const ATTEMPTS: u32 = 3;

/// Runs `call`, with a free VMID for the guest to create if the caller gave none.
///
/// Proxmox does not reserve VMIDs. If another client takes one first, Proxmox refuses before it creates
/// anything, and the next one is tried.
pub(crate) fn with_free_vmid(
    client: &Reader,
    args: &mut Args,
    call: impl Fn(&Args) -> Result<Answer, Error>,
) -> Result<Answer, Error> {
    let new = args.params().find(|param| param.names_new_guest());
    let Some(param) = new.filter(|param| args.get(param).is_none()) else {
        return call(args);
    };
    // If another client was faster, this VMID is its guest's, which must not be overwritten.
    let overwrites = args.flag(&OVERWRITE);
    args.unset(&OVERWRITE);
    let mut taken = None;
    let mut attempt = 1;
    loop {
        let id = free_vmid(client, taken)?;
        args.set(param, id.to_string());
        match call(args) {
            Err(error) if attempt < ATTEMPTS && says_vmid_taken(&error, id) => {
                taken = Some(id);
                attempt += 1;
            }
            called => {
                return called.map(|answer| match answer.task {
                    // The description of the task contains the VMID.
                    Some(task) => {
                        let answer = Answer {
                            task: Some(task.with_chosen_vmid(id)),
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

/// Returns whether Proxmox refused to create a guest because its VMID is taken. The second message appears if
/// two clients create guests at the same moment.
fn says_vmid_taken(error: &Error, id: u64) -> bool {
    [" already exists", ": config file already exists"]
        .iter()
        .any(|words| error.says(&format!("{id}{words}")))
}

/// How many VMIDs after a taken one are tried.
const PROBES: u64 = 10;

/// Returns the next free VMID, above `taken` if that was found to be taken.
fn free_vmid(client: &Reader, taken: Option<u64>) -> Result<u64, Error> {
    let next = next_vmid(client, None)?;
    let Some(taken) = taken.filter(|taken| next <= *taken) else {
        return Ok(next);
    };
    // Proxmox still considers it free.
    let mut probes = taken + 1..=taken + PROBES;
    loop {
        match next_vmid(client, probes.next()) {
            Err(error) if error.says("already exists") && !probes.is_empty() => {}
            asked => return asked,
        }
    }
}

/// Asks `/cluster/nextid` for the lowest free VMID, or for `wanted` if that is free.
fn next_vmid(client: &Reader, wanted: Option<u64>) -> Result<u64, Error> {
    let mut request = Request::new(Get, "/cluster/nextid");
    if let Some(wanted) = wanted {
        request = request.with("vmid", wanted.to_string());
    }
    let id = plain(&client.send(&request)?);
    id.parse().map_err(|_| {
        Error::impossible(
            "no free VMID was found, nothing was done",
            "Proxmox returned none: give one.",
        )
    })
}

/// The kind of guest that a tool is for, and its twin: the tool that does the same for the other kind.
#[derive(Clone, Copy)]
pub(crate) struct Twins {
    pub(crate) kind: Guest,
    /// The tool for the other kind, if there is one.
    pub(crate) other: Option<&'static str>,
    /// Whether a call with a guest of the other kind is passed on to that tool.
    pub(crate) stands_in: bool,
}

/// The two kinds of guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guest {
    Container,
    Vm,
}

impl Guest {
    /// Returns the kind of a row of `/cluster/resources`.
    pub(crate) fn of(row: &Value) -> Self {
        match row["type"].as_str() {
            Some("lxc") => Guest::Container,
            _ => Guest::Vm,
        }
    }

    /// Returns the suffix in the names of tools for this kind only.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Guest::Container => "_lxc",
            Guest::Vm => "_vm",
        }
    }

    pub(crate) fn noun(self) -> &'static str {
        match self {
            Guest::Container => "container",
            Guest::Vm => "VM",
        }
    }

    /// Returns the name of the kind in the API, in paths and as `type`.
    pub(crate) fn api_type(self) -> &'static str {
        match self {
            Guest::Container => "lxc",
            Guest::Vm => "qemu",
        }
    }

    /// Returns the path template of a part of a guest, such as `config`.
    pub(crate) fn path(self, part: &str) -> String {
        format!("/nodes/{{node}}/{}/{{vmid}}/{part}", self.api_type())
    }
}

/// Returns the row of the guest `vmid` in `/cluster/resources`, which `args` may already contain; `None` if
/// the token does not see the guest.
pub(crate) fn resource(client: &Reader, args: &Args, vmid: &str) -> Result<Option<Value>, Error> {
    if args.guest.is_some() {
        return Ok(args.guest.clone());
    }
    find(client, vmid)
}

fn find(client: &Reader, vmid: &str) -> Result<Option<Value>, Error> {
    let mut rows = resources(client, "vm")?.into_iter();
    Ok(rows.find(|row| plain(&row["vmid"]) == vmid))
}

/// Reads the row of a guest in `/cluster/resources`; null if the token does not see the guest.
pub(crate) fn guest_row(client: &Reader, vmid: u64) -> Result<Value, Error> {
    Ok(find(client, &vmid.to_string())?.unwrap_or_default())
}

/// Lists all guests; there may be tens of thousands.
pub(crate) fn list(client: &Reader) -> Result<Rows, Error> {
    client.rows(Request::new(Get, "/cluster/resources").with("type", "vm"))
}

/// Returns the rows of `/cluster/resources` of one type: `vm` for guests, `storage`.
pub(crate) fn resources(client: &Reader, of_type: &str) -> Result<Vec<Value>, Error> {
    let request = Request::new(Get, "/cluster/resources").with("type", of_type);
    client.send(&request).map(answer::rows)
}

/// Adds the guest's location to `error`, if Proxmox says that it is not where `args` say.
///
/// Proxmox says "not running" of a VMID even if its guest is of the other kind.
pub(crate) fn with_location(
    client: &Reader,
    of: Option<Twins>,
    args: &Args,
    error: Error,
) -> Error {
    let is_missing = error.says("Configuration file") && error.says("does not exist");
    let kind = of.map(|of| of.kind);
    let is_doubtful = is_missing || (kind.is_some() && error.says("not running"));
    let vmid = args.named(VMID.name);
    let Some(vmid) = vmid.filter(|_| is_doubtful && !error.is_advised()) else {
        return error;
    };
    let is_other = |guest: &Value| kind.is_some_and(|kind| kind != Guest::of(guest));
    match resource(client, args, vmid) {
        Ok(Some(guest)) if is_missing || is_other(&guest) => {
            let error = error
                .because(format_args!("{}.", identified(&guest)))
                .advise(call_again(&guest, kind));
            match is_other(&guest) {
                true => error.of_other_kind(guest),
                false => error,
            }
        }
        Ok(None) if is_missing => error.advise(format!(
            "This token sees no guest {vmid} anywhere: proxmox_get_vms lists those that it sees."
        )),
        Err(_) if is_missing => error.advise("proxmox_get_vms lists the guests with their nodes."),
        _ => error,
    }
}

/// Says how to call again where the guest really is; `kind` is that of the tool, unless it takes both by
/// `type`.
pub(crate) fn call_again(guest: &Value, kind: Option<Guest>) -> String {
    let also = match kind {
        None => format!(", type={}", plain(&guest["type"])),
        Some(kind) if kind == Guest::of(guest) => String::new(),
        Some(_) => format!(" and the {} tool", Guest::of(guest).suffix()),
    };
    format!("Call again with node={}{also}.", plain(&guest["node"]))
}

/// Describes a guest: `102 is the VM db01 on node pve2`.
pub(crate) fn identified(guest: &Value) -> String {
    format!(
        "{} is the {} {} on node {}",
        plain(&guest["vmid"]),
        Guest::of(guest).noun(),
        text::cut(&plain(&guest["name"]), 100),
        plain(&guest["node"]),
    )
}

/// Returns the pool and tags of the guest in a row.
pub(crate) fn labels(row: &Value) -> Labels {
    Labels {
        pool: plain(&row["pool"]),
        tags: tags(&plain(&row["tags"])),
    }
}
