//! The Proxmox side: requests, the connection, and what comes back.

mod certificate;
pub(crate) mod http;
pub(crate) mod request;
