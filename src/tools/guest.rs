//! Parameters that name the guest that a call is about.

pub(super) use crate::cluster::guests::{NEW_VMID, NODE, OF_GUEST, OVERWRITE, TYPE, VMID};
