//! The connection to the Proxmox API. It can only read: changes go through `safety`.
//!
//! May import: `text`, `request`, `mcp`, `settings`, `error`.

mod certificate;
mod connector;
pub(crate) mod demo;
pub(crate) mod fingerprint;
pub(crate) mod hosts;
pub(crate) mod http;
mod inflate;
mod login;
pub(crate) mod probe;
pub(crate) mod property;
pub(crate) mod reader;
mod transfer;
pub(crate) mod trust;
