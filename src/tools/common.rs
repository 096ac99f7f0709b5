//! Parameters that many tools share, and the guest that they are about.

pub(super) use crate::cluster::guests::{Guest, call_again, identified, resource, resources};
use crate::param::{Kind, Param};
use crate::text::format;

pub(super) const NODE: Param = Param::required("node", Kind::Format(&format::NODE), "");
pub(super) const STORAGE: Param = Param::required("storage", Kind::Format(&format::STORAGE), "");
pub(super) const START: Param = Param::optional("start", Kind::Flag, "");
pub(super) const POOL: Param = Param::optional("pool", Kind::Format(&format::POOL), "");
pub(super) const DESCRIPTION: Param = Param::optional("description", Kind::Text(0, 8_192), "");
pub(super) const DIGEST: Param = Param::optional(
    "digest",
    Kind::Format(&format::DIGEST),
    "As last read; refused if the configuration has changed since.",
);
/// For what a list shows with the digest.
pub(super) const LISTED_DIGEST: Param =
    Param::optional("digest", Kind::Format(&format::DIGEST), "As listed.");
pub(super) const TIMEOUT: Param = Param::optional(
    "timeout",
    Kind::Integer(0, u64::MAX),
    "Seconds that Proxmox gives the guest.",
);
