//! The Proxmox side: requests, the connection, and what comes back.

mod certificate;
mod connector;
pub(crate) mod http;
pub(crate) mod request;
mod trust;
