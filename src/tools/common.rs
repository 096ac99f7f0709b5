//! What many tools share: their parameters, and the guest behind a VMID.

use serde_json::Value;

use super::guest::VMID;
use super::twins;
use crate::answer::{self, plain};
use crate::error::Error;
use crate::param::{Args, Kind, Param};
use crate::pve::client::Client;
use crate::request::{Method::Get, Request};
use crate::text;
use crate::text::format;

pub(super) const NODE: Param = Param::required("node", Kind::Format(&format::NODE), "");
pub(super) const STORAGE: Param = Param::required("storage", Kind::Format(&format::STORAGE), "");
pub(super) const START: Param = Param::optional("start", Kind::Flag, "");
pub(super) const POOL: Param = Param::optional("pool", Kind::Format(&format::POOL), "");
pub(super) const DESCRIPTION: Param = Param::optional("description", Kind::Text(0, 8_192), "");
pub(super) const DIGEST: Param = Param::optional(
    "digest",
    Kind::Format(&format::DIGEST),
    "Refused if the configuration has another by now.",
);
pub(super) const TIMEOUT: Param = Param::optional(
    "timeout",
    Kind::Integer(0, u64::MAX),
    "Seconds that Proxmox gives the guest.",
);

/// The two kinds of guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guest {
    Container,
    Vm,
}

impl Guest {
    /// What a row of `/cluster/resources` is.
    pub(super) fn of(row: &Value) -> Self {
        match row["type"].as_str() {
            Some("lxc") => Guest::Container,
            _ => Guest::Vm,
        }
    }

    /// What the names of the tools for one kind alone hold, mostly at their end.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Guest::Container => "_lxc",
            Guest::Vm => "_vm",
        }
    }

    pub(super) fn noun(self) -> &'static str {
        match self {
            Guest::Container => "container",
            Guest::Vm => "VM",
        }
    }

    /// As the API names it, in paths and as `type`.
    pub(super) fn api_type(self) -> &'static str {
        match self {
            Guest::Container => "lxc",
            Guest::Vm => "qemu",
        }
    }

    /// The path template of something below a guest, such as `config`.
    pub(super) fn path(self, part: &str) -> String {
        format!("/nodes/{{node}}/{}/{{vmid}}/{part}", self.api_type())
    }
}

/// The row of `/cluster/resources` of the guest `vmid`, which `args` may hold already; `None` when
/// the token does not see one.
pub(super) fn resource(client: &Client, args: &Args, vmid: &str) -> Result<Option<Value>, Error> {
    if args.guest.is_some() {
        return Ok(args.guest.clone());
    }
    Ok(resources(client, "vm")?
        .into_iter()
        .find(|row| plain(&row["vmid"]) == vmid))
}

/// The row of `/cluster/resources` of a guest as it is now, null where the token sees none.
pub(crate) fn guest_row(client: &Client, vmid: u64) -> Result<Value, Error> {
    let vmid = vmid.to_string();
    let mut rows = resources(client, "vm")?.into_iter();
    Ok(rows
        .find(|row| plain(&row["vmid"]) == vmid)
        .unwrap_or_default())
}

/// The rows of `/cluster/resources` of one type: `vm` for guests, `storage`.
pub(super) fn resources(client: &Client, of_type: &str) -> Result<Vec<Value>, Error> {
    let request = Request::new(Get, "/cluster/resources").with("type", of_type);
    client.send(&request).map(answer::rows)
}

/// `error` with where the guest really is, when it says that it is not where `args` of `tool` name it.
///
/// Proxmox says of any VMID without a running guest of the asked kind that it is not running.
pub(crate) fn find_guest(client: &Client, tool: &str, args: &Args, error: Error) -> Error {
    let Error::Refused(mut refusal) = error else {
        return error;
    };
    let is_missing = refusal.says("Configuration file") && refusal.says("does not exist");
    let kind = twins::of(tool).map(|twin| twin.kind);
    let is_doubtful = is_missing || (kind.is_some() && refusal.says("not running"));
    let vmid = args.named(VMID.name);
    let Some(vmid) = vmid.filter(|_| is_doubtful && refusal.hint.is_none()) else {
        return Error::Refused(refusal);
    };
    let guest = resource(client, args, vmid);
    let is_other = |guest: &Value| kind.is_some_and(|kind| kind != Guest::of(guest));
    refusal.hint = match &guest {
        Ok(Some(guest)) if is_missing || is_other(guest) => Some(located(guest)),
        Ok(None) if is_missing => Some(format!(
            "This token sees no guest {vmid} anywhere: proxmox_get_vms lists those that it sees."
        )),
        Err(_) if is_missing => {
            Some("proxmox_get_vms lists the guests with their nodes.".to_owned())
        }
        _ => None,
    };
    let refusal = Error::Refused(refusal);
    match guest {
        Ok(Some(guest)) if is_other(&guest) => Error::OtherKind {
            guest,
            refusal: Box::new(refusal),
        },
        _ => refusal,
    }
}

/// `102 is the VM db01 on node pve2: call again …`
pub(super) fn located(guest: &Value) -> String {
    format!(
        "{}: call again with node={}, type={} where it is asked for, and the {} tool.",
        identified(guest),
        plain(&guest["node"]),
        plain(&guest["type"]),
        Guest::of(guest).suffix(),
    )
}

/// `102 is the VM db01 on node pve2`
pub(super) fn identified(guest: &Value) -> String {
    format!(
        "{} is the {} {} on node {}",
        plain(&guest["vmid"]),
        Guest::of(guest).noun(),
        text::cut(&plain(&guest["name"]), 100),
        plain(&guest["node"]),
    )
}
