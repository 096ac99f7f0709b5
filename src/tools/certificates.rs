//! Certificates of nodes, and the ACME accounts that order them.

use serde_json::Value;

use super::common::NODE;
use crate::answer::{self, Column, LIMIT, OFFSET, Order, Table, plain};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::{Login, Reply, Request};
use crate::row::{Choice, First, Loss, Place, Scope, Step, Touches, delete, list, post, put};
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Show, Tool};

const OF_NODE: Scope = Scope {
    name: "",
    noun: "node {node}",
    path: "/nodes/{node}/certificates",
    reads: &[],
    changes: &["/nodes/{node}:Sys.Modify"],
    touches: Touches::NoGuest,
    versions: Versions::ALL,
};

pub(super) static LIST: Tool = Tool {
    title: "Certificates of a node",
    summary: "Lists the certificates of a node with issuer, names, expiry and fingerprint.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&NODE],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::Only(Scope {
            path: "/nodes/{node}/certificates/info",
            ..OF_NODE
        }),
        does: "",
        rows: &[list(
            &[&LIMIT, &OFFSET],
            Show::Table(&Table {
                name: "certificates",
                noun: ["certificate", "certificates"],
                columns: &[
                    Column::text("filename"),
                    Column::text("subject"),
                    Column::text("issuer"),
                    Column::time("notbefore"),
                    Column::time("notafter"),
                    Column::text("san"),
                    Column::text("fingerprint"),
                ],
                sort: &[Order::Up("filename")],
                count: None,
            }),
        )],
    }),
};

/// Where a node keeps a certificate that it did not get from the cluster's own CA.
const CUSTOM: &str = "pveproxy-ssl.pem";

const ACTION: Param = Param::required(
    "action",
    Kind::Choice(&[
        "upload",
        "remove",
        "acme_order",
        "acme_renew",
        "acme_revoke",
    ]),
    "",
);
const CERTIFICATES: Param = Param::by_request(
    "certificates",
    Kind::Text(1, 60_000),
    "PEM: its own first, then the chain.",
);
const KEY: Param = Param::optional(
    "key",
    Kind::Text(1, 60_000),
    "PEM; the present one if absent.",
);
const FORCE: Param = Param::optional(
    "force",
    Kind::Flag,
    "Replaces a custom certificate; renews before 30 days are left.",
);
const RESTART: Param = Param::optional(
    "restart",
    Kind::Flag,
    "Restarts pveproxy, to use it at once.",
);
/// What the checks read: a custom certificate may be there, and ACME may have no settings.
const INFO: &[Step] = &[Step::read("/nodes/{node}/certificates/info", &[])];
const INFO_AND_CONFIG: &[Step] = &[
    INFO[0],
    Step::read("/nodes/{node}/config", &["/:Sys.Audit"]),
];

pub(super) static MANAGE: Tool = Tool {
    title: "Manage node certificate",
    summary: "Uploads or removes the custom certificate of a node's API and web interface, or orders, renews or revokes it through ACME.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&NODE, &ACTION],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(OF_NODE),
        does: "{action} certificate of {place}",
        rows: &[
            post(
                "upload",
                "/custom",
                &[&CERTIFICATES, &KEY, &FORCE, &RESTART],
            )
            .judged(replaced)
            .does("upload a custom certificate to {place}")
            .also_reads(INFO)
            .checks(can_replace)
            .answers(Reply::Object("fingerprint"))
            .says("done", uploaded),
            delete("remove", "/custom", &[&RESTART])
                .destroys("Its key is lost, and clients that trust it alone can no longer connect.")
                .does("remove the custom certificate of {place}")
                .reads(First::Nothing)
                .also_reads(INFO)
                .checks(has_custom),
            post(
                "acme_order",
                "/acme/certificate",
                &[&FORCE, &WAIT, &WAIT_TIMEOUT],
            )
            .judged(replaced)
            .does("order a certificate for {place} through ACME")
            .also_reads(INFO_AND_CONFIG)
            .checks(can_order)
            .starts_task(),
            put(
                "acme_renew",
                "/acme/certificate",
                &[&FORCE, &WAIT, &WAIT_TIMEOUT],
            )
            .interrupts("pveproxy of the node restarts, which ends its connections.")
            .does("renew the certificate of {place} through ACME")
            .reads(First::Nothing)
            .also_reads(INFO_AND_CONFIG)
            .checks(can_renew)
            .starts_task(),
            delete("acme_revoke", "/acme/certificate", &[&WAIT, &WAIT_TIMEOUT])
                .destroys("It and its key are removed, and nobody accepts it any more.")
                .does("revoke the certificate of {place} through ACME")
                .reads(First::Nothing)
                .also_reads(INFO_AND_CONFIG)
                .checks(can_renew)
                .starts_task(),
        ],
    }),
};

/// A line that tells a certificate from others.
fn described(certificate: &Value) -> String {
    let (subject, fingerprint) = (&certificate["subject"], &certificate["fingerprint"]);
    format!("{} (SHA-256 {})", plain(subject), plain(fingerprint))
}

fn replaced(request: &Request, _: &Value) -> Option<Loss> {
    let is_forced = request.form.iter().any(|pair| pair == ("force", "1"));
    Some(match is_forced {
        true => Loss::destroys(
            "A custom certificate that is there is replaced, and its key is lost. Clients that trust it alone can no longer connect.",
        ),
        false => Loss::interrupts(
            "Clients that trust the present certificate alone, maybe this program too, can no longer connect.",
        ),
    })
}

/// The certificate that the node did not get from the cluster's own CA, in words.
fn custom(reader: &Reader, args: &Args) -> Result<Option<String>, Error> {
    let path = format!("/nodes/{}/certificates/info", &args[&NODE]);
    let all = answer::rows(reader.get(&path)?);
    let custom = all
        .iter()
        .find(|certificate| certificate["filename"] == CUSTOM);
    Ok(custom.map(described))
}

fn can_replace(reader: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    match custom(reader, args)? {
        None => Ok(Vec::new()),
        Some(old) if args.flag(&FORCE) => Ok(vec![format!("It replaces {old}.")]),
        Some(old) => Err(Error::impossible(
            "the node has a custom certificate, nothing was changed",
            format!("It is {old}."),
        )
        .hint("force=true replaces it, and its key.")),
    }
}

/// Proxmox answers the removal of what is not there as if it had been.
fn has_custom(reader: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    match custom(reader, args)? {
        Some(old) => Ok(vec![format!("The certificate: {old}.")]),
        None => Err(Error::impossible(
            "the node has no custom certificate, nothing was changed",
            "It presents the one of the cluster's own CA.",
        )),
    }
}

/// Without these settings Proxmox fails with an error in its own code.
fn has_acme(reader: &Reader, args: &Args) -> Result<(), Error> {
    let config = reader.get(&format!("/nodes/{}/config", &args[&NODE]))?;
    let mut keys = config
        .as_object()
        .into_iter()
        .flat_map(|config| config.keys());
    match keys.any(|key| key.starts_with("acme")) {
        true => Ok(()),
        false => Err(Error::impossible(
            "the node has no ACME settings, nothing was changed",
            "Its configuration has neither acme nor acmedomain0.",
        )
        .hint("Set its domains on the node: pvenode config set --acme domains=pve1.example.com")),
    }
}

fn can_order(reader: &Reader, args: &Args, before: &Value) -> Result<Vec<String>, Error> {
    has_acme(reader, args)?;
    can_replace(reader, args, before)
}

fn can_renew(reader: &Reader, args: &Args, before: &Value) -> Result<Vec<String>, Error> {
    let known = has_custom(reader, args, before)?;
    has_acme(reader, args)?;
    Ok(known)
}

fn uploaded(args: &Args, data: &Value) -> Vec<String> {
    let mut lines = vec![format!("It is {}.", described(data))];
    if !args.flag(&RESTART) {
        lines.push("pveproxy presents it after its next restart.".to_owned());
    }
    lines
}

const ACCOUNT_ACTION: Param = Param::required(
    "action",
    Kind::Choice(&["register", "update", "deactivate"]),
    "",
);
const NAME: Param =
    Param::required("name", Kind::Format(&format::CONFIG_ID), "").default("default");
const CONTACT: Param = Param::by_request(
    "contact",
    Kind::Text(3, 1_000),
    "E-mail addresses, separated by commas.",
);
const DIRECTORY: Param = Param::optional(
    "directory",
    Kind::Text(8, 1_000),
    "URL of the CA; Let's Encrypt if absent.",
);
const TERMS: Param = Param::optional(
    "tos_url",
    Kind::Text(8, 1_000),
    "URL of the CA's terms, to agree to; most CAs need it.",
);
const EAB_KID: Param = Param::optional("eab_kid", Kind::Text(1, 1_000), "")
    .sent_as("eab-kid")
    .known_to(Versions::since(8));
const EAB_KEY: Param = Param::optional("eab_hmac_key", Kind::Text(1, 1_000), "")
    .sent_as("eab-hmac-key")
    .known_to(Versions::since(8));

pub(super) static MANAGE_ACCOUNT: Tool = Tool {
    title: "Manage ACME account",
    summary: "Registers, updates or deactivates the account that orders certificates. Needs the login of root@pam.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&ACCOUNT_ACTION, &NAME],
    call: Call::Choice(&Choice {
        by: &[&ACCOUNT_ACTION],
        place: Place::Only(Scope {
            name: "",
            noun: "ACME account {name}",
            path: "/cluster/acme/account",
            reads: &[],
            changes: &[],
            touches: Touches::NoGuest,
            versions: Versions::ALL,
        }),
        does: "{action} {place}",
        rows: &[
            post(
                "register",
                "",
                &[
                    &NAME,
                    &CONTACT,
                    &DIRECTORY,
                    &TERMS,
                    &EAB_KID,
                    &EAB_KEY,
                    &WAIT,
                    &WAIT_TIMEOUT,
                ],
            )
            .harmless()
            .does("register ACME account[ {name}]")
            .starts_task()
            .needs_login(Login::Root),
            put("update", "/{name}", &[&CONTACT, &WAIT, &WAIT_TIMEOUT])
                .harmless()
                .starts_task()
                .needs_login(Login::Root),
            delete("deactivate", "/{name}", &[&WAIT, &WAIT_TIMEOUT])
                .destroys("The CA never takes it again: what it ordered can be neither renewed nor revoked with it.")
                .starts_task()
                .needs_login(Login::Root),
        ],
    }),
};
