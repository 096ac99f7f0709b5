//! Parameters that name the guest of a call.

pub(super) use crate::cluster::guests::{NEW_VMID, NODE, OF_GUEST, OVERWRITE, TYPE, VMID};
