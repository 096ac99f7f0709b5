//! A Model Context Protocol server for Proxmox VE.

mod answer;
mod error;
mod format;
mod input;
mod nearest;
mod param;
mod pve;
mod rpc;
mod server;
mod settings;
mod text;
mod tool;
mod tools;

use std::io;

use crate::settings::Settings;
use crate::tool::Context;

fn main() -> io::Result<()> {
    let context = Context::demo(Settings {
        connection: Err(Vec::new()),
        allow_elevated: false,
    });
    server::serve(&context, input::standard()?, io::stdout().lock())
}
