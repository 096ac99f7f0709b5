//! Parameters that name the guest of a call.

pub(super) use crate::cluster::guests::{
    GUESTS, NEW_VMID, NODE, OF_GUEST, OVERWRITE, TYPE, VMID, VMID_OR_GUESTS,
};
