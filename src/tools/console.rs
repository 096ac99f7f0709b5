//! Consoles of guests and nodes.

use serde_json::Value;

use crate::answer::{Answer, plain};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::Reply;
use crate::row::{Choice, Place, Scope, Touches, post};
use crate::text::format;
use crate::text::percent::encode;
use crate::tool::{Call, Effect, Permission, Tool};

const TARGET: Param = Param::required("target", Kind::Choice(&["vm", "lxc", "node"]), "");
const KIND: Param = Param::required("kind", Kind::Choice(&["vnc", "term", "spice"]), "");
const NODE: Param = Param::by_request("node", Kind::Format(&format::NODE), "");
const GUEST: Param = Param::by_request("vmid", Kind::Guest, "VMID or name.");
const SERIAL: Param = Param::optional(
    "serial",
    Kind::Choice(&["serial0", "serial1", "serial2", "serial3"]),
    "",
);
const SHOW_TICKET: Param = Param::optional(
    "show_ticket",
    Kind::Flag,
    "Also returns the ticket or password, a secret that opens the console within 10 s.",
)
.local();

const fn of_guest(name: &'static str, noun: &'static str, path: &'static str) -> Scope {
    Scope {
        name,
        noun,
        path,
        reads: &[],
        changes: &["/vms/{vmid}:VM.Console"],
        touches: Touches::GuestOf(&GUEST),
        versions: Versions::ALL,
    }
}

const SCOPES: &[Scope] = &[
    of_guest("vm", "VM {vmid}", "/nodes/{node}/qemu/{vmid}"),
    of_guest("lxc", "container {vmid}", "/nodes/{node}/lxc/{vmid}"),
    Scope {
        noun: "node {node}",
        changes: &["/nodes/{node}:Sys.Console"],
        // Whoever has a shell there can do anything to its guests.
        touches: Touches::AnyGuest,
        ..of_guest("node", "", "/nodes/{node}")
    },
];

const WEBSOCKET: &[(&str, &str)] = &[("websocket", "1")];

pub(super) static CREATE: Tool = Tool {
    title: "Create console",
    summary: "Opens the console of a guest or node for a few seconds, and gives the web link to it, which takes a login there.",
    permission: Permission::Elevated,
    effect: Effect::Adds,
    params: &[&TARGET, &KIND, &NODE, &GUEST],
    call: Call::Choice(&Choice {
        by: &[&KIND],
        place: Place::By(&TARGET, SCOPES),
        does: "open the {kind} console of {place}",
        rows: &[
            post("vnc", "/vncproxy", &[&SHOW_TICKET])
                .harmless()
                .always(WEBSOCKET)
                .in_scopes(&["vm", "lxc"])
                .answers(Reply::Object("port"))
                .reveals(&SHOW_TICKET)
                .says("open", ticket)
                .then(linked),
            post("term", "/termproxy", &[&SERIAL, &SHOW_TICKET])
                .harmless()
                .in_scopes(&["vm"])
                .answers(Reply::Object("port"))
                .reveals(&SHOW_TICKET)
                .says("open", ticket)
                .then(linked),
            post("term", "/termproxy", &[&SHOW_TICKET])
                .harmless()
                .in_scopes(&["lxc", "node"])
                .answers(Reply::Object("port"))
                .reveals(&SHOW_TICKET)
                .says("open", ticket)
                .then(linked),
            post("spice", "/spiceproxy", &[&SHOW_TICKET])
                .harmless()
                .in_scopes(&["vm", "lxc"])
                .answers(Reply::Object("proxy"))
                .reveals(&SHOW_TICKET)
                .says("open", viewer_file)
                .then(linked),
            post("vnc", "/vncshell", &[&SHOW_TICKET])
                .harmless()
                .in_scopes(&["node"])
                .answers(Reply::Object("port"))
                .checks(not_for_tokens),
            post("spice", "/spiceshell", &[&SHOW_TICKET])
                .harmless()
                .in_scopes(&["node"])
                .answers(Reply::Object("proxy"))
                .checks(not_for_tokens),
        ],
    }),
};

/// Proxmox makes a password for the shell of a user, and takes the name of a token for a wrong one.
fn not_for_tokens(reader: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    Err(Error::impossible(
        format!(
            "no API token can open a {} shell of a node, nothing was sent",
            &args[&KIND]
        ),
        "Proxmox takes it from users alone.",
    )
    .hint(format!(
        "Use kind=term, or the web interface: {}",
        link(reader, args)
    )))
}

/// What a websocket needs, whose address is the path of the request with `vncwebsocket` at its end.
fn ticket(args: &Args, data: &Value) -> Vec<String> {
    let mut lines = vec![format!("port: {}", plain(&data["port"]))];
    if args.flag(&SHOW_TICKET) {
        lines.extend(secrets(data));
        lines
            .push("Connect within 10 s: GET …/vncwebsocket?port=PORT&vncticket=TICKET.".to_owned());
    }
    lines
}

/// The lines of a file that `remote-viewer` opens.
fn viewer_file(args: &Args, data: &Value) -> Vec<String> {
    if !args.flag(&SHOW_TICKET) {
        return vec!["show_ticket=true returns the file for remote-viewer.".to_owned()];
    }
    let fields = data.as_object().into_iter().flatten();
    let fields = fields.map(|(name, value)| format!("{name}={}", plain(value)));
    let begin = [
        "Save as console.vv and open it with remote-viewer:",
        "[virt-viewer]",
    ];
    let begin = begin.into_iter().map(str::to_owned);
    begin.chain(fields).collect()
}

fn secrets(data: &Value) -> impl Iterator<Item = String> {
    let known = ["user", "ticket", "password"].into_iter();
    known.filter_map(|name| Some(format!("{name}: {}", data[name].as_str()?)))
}

/// Adds the link, and whether there is a console behind it: Proxmox opens that of a stopped guest, too.
fn linked(reader: &Reader, args: &Args, answer: Answer) -> Answer {
    let link = link(reader, args);
    let guest = args.guest.as_ref();
    let is_stopped = guest.is_some_and(|guest| guest["status"] == "stopped");
    let answer = match is_stopped {
        true => answer.line("It is stopped: its console shows nothing until it runs."),
        false => answer,
    };
    answer
        .line(format!("In a browser: {link}"))
        .with("link", link)
}

/// The console in the web interface.
fn link(reader: &Reader, args: &Args) -> String {
    let (console, vmid, name) = match &args[&TARGET] {
        "node" => ("shell", "0", String::new()),
        target => {
            let console = if target == "vm" { "kvm" } else { target };
            let guest = args.guest.as_ref().map(|guest| plain(&guest["name"]));
            (console, &args[&GUEST], guest.unwrap_or_default())
        }
    };
    let viewer = match &args[&KIND] {
        "term" => "xtermjs=1",
        _ => "novnc=1&resize=off",
    };
    let node = &args[&NODE];
    format!(
        "{}/?console={console}&{viewer}&vmid={vmid}&vmname={}&node={node}",
        reader.web_address(node),
        encode(&name)
    )
}
