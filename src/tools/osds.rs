//! OSDs of Ceph, which only root@pam can make and destroy.

use serde_json::Value;

use super::common::NODE;
use crate::answer::plain;
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::{Login, Method, Request};
use crate::row::{Choice, First, Place, Scope, Step, Touches, delete, post};
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Tool};

const ACTION: Param = Param::required("action", Kind::Choice(&["create", "destroy"]), "");
const DEVICE: Kind = Kind::Format(&format::DEVICE);
const DEV: Param = Param::by_request("dev", DEVICE, "Such as /dev/sdb.");
const DB_DEV: Param = Param::optional("db_dev", DEVICE, "");
const DB_DEV_SIZE: Param = Param::optional("db_dev_size", Kind::Number(1.0, 1e6), "GiB.");
const WAL_DEV: Param = Param::optional("wal_dev", DEVICE, "");
const WAL_DEV_SIZE: Param = Param::optional("wal_dev_size", Kind::Number(0.5, 1e6), "GiB.");
const CLASS: Param =
    Param::optional("crush_device_class", Kind::Text(1, 40), "").sent_as("crush-device-class");
const ENCRYPTED: Param = Param::optional("encrypted", Kind::Flag, "");
const OSDS: Param = Param::optional("osds_per_device", Kind::Integer(1, 64), "")
    .sent_as("osds-per-device")
    .known_to(Versions::since(8));
const OSDID: Param = Param::by_request("osdid", Kind::Integer(0, 1_000_000), "");
const CLEANUP: Param = Param::optional("cleanup", Kind::Flag, "Also wipes its disk.");

pub(super) static MANAGE: Tool = Tool {
    title: "Manage Ceph OSD",
    summary: "Makes an OSD of a disk, or destroys one that is down and out. Needs the login of root@pam.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &ACTION, &OSDID],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(Scope {
            name: "",
            noun: "node {node}",
            path: "/nodes/{node}/ceph/osd",
            reads: &[],
            changes: &[],
            // The disks of guests are spread over all OSDs of a pool.
            touches: Touches::AnyGuestAnywhere,
            versions: Versions::ALL,
        }),
        does: "{action} OSD[ {osdid}][ on {dev}] of {place}",
        rows: &[
            post(
                "create",
                "",
                &[
                    &DEV,
                    &DB_DEV,
                    &DB_DEV_SIZE,
                    &WAL_DEV,
                    &WAL_DEV_SIZE,
                    &CLASS,
                    &ENCRYPTED,
                    &OSDS,
                    &WAIT,
                    &WAIT_TIMEOUT,
                ],
            )
            .destroys("Everything on {dev} is lost.")
            .starts_task()
            .needs_login(Login::Root),
            delete("destroy", "/{osdid}", &[&CLEANUP, &WAIT, &WAIT_TIMEOUT])
                .destroys("Its copies of objects are lost; Ceph needs others elsewhere.")
                .reads(First::Nothing)
                .also_reads(&[Step::read("/nodes/{node}/ceph/osd", &[])])
                .checks(is_down_and_out)
                .starts_task()
                .needs_login(Login::Root),
        ],
    }),
};

/// Proxmox refuses these in the middle of its task; here it is known before anybody is asked.
fn is_down_and_out(reader: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let path = format!("/nodes/{}/ceph/osd", &args[&NODE]);
    let tree = reader.send(&Request::new(Method::Get, &path).by(Some(Login::Root)))?;
    let id = &args[&OSDID];
    let none = || {
        Error::impossible(
            format!("there is no OSD {id}, nothing was changed"),
            "Ceph's tree of OSDs does not have it.",
        )
    };
    let osd = find(&tree["root"], id).ok_or_else(none)?;
    let is_in = osd["in"].as_f64().is_some_and(|weight| weight > 0.0) || osd["in"] == "1";
    let is_up = osd["status"] == "up";
    match (is_up, is_in) {
        (false, false) => Ok(vec![format!("OSD {id} is down and out.")]),
        _ => Err(Error::impossible(
            format!("OSD {id} is in use, nothing was changed"),
            format!(
                "It is {} and {}.",
                if is_up { "up" } else { "down" },
                if is_in { "in" } else { "out" }
            ),
        )
        .hint("Take it out, wait until Ceph is healthy again, then stop its service.")),
    }
}

/// The OSD of this id in a tree.
fn find<'a>(tree: &'a Value, id: &str) -> Option<&'a Value> {
    let is_it = tree["type"] == "osd" && plain(&tree["id"]) == id;
    let mut below = tree["children"].as_array().into_iter().flatten();
    match is_it {
        true => Some(tree),
        false => below.find_map(|child| find(child, id)),
    }
}
