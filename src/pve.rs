//! The Proxmox side: requests, the connection, and what comes back.

pub(crate) mod demo;
pub(crate) mod http;
pub(crate) mod request;
