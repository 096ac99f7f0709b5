//! A Model Context Protocol server for Proxmox VE.

mod answer;
mod error;
mod format;
mod param;
mod pve;
mod settings;
mod text;
mod tool;
mod tools;

fn main() {}
