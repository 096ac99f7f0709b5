//! Passwords and second factors of users, which only somebody who has logged in can change.

use serde_json::Value;

use crate::answer::plain;
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::{Login, Reply, Request};
use crate::row::{Choice, First, Loss, Place, Scope, Touches, delete, post, put};
use crate::text::format;
use crate::tool::{Call, Effect, Permission, Tool};

const USER: Param = Param::required("userid", Kind::Format(&format::USER), "");
const PASSWORD: Param = Param::required("password", Kind::Text(8, 64), "");

const OF_USERS: Scope = Scope {
    name: "",
    noun: "user {userid}",
    path: "/access/password",
    reads: &[],
    changes: &[],
    touches: Touches::NoGuest,
    versions: Versions::ALL,
};

pub(super) static SET_PASSWORD: Tool = Tool {
    title: "Set user password",
    summary: "Sets the password of a user of the realms pve and pam. Needs a login, of a user with User.Modify.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&USER],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::Only(OF_USERS),
        does: "set the password of {place}",
        rows: &[put("", "", &[&USER, &PASSWORD])
            .interrupts("Whoever knows only the present one can no longer log in.")
            .reads(First::Nothing)
            .checks(is_not_ours)
            .needs_login(Login::Confirmed {
                by: "confirmation-password",
                since: 8,
            })],
    }),
};

const ACTION: Param = Param::required("action", Kind::Choice(&["add", "update", "delete"]), "");
const TYPE: Param = Param::by_request(
    "type",
    Kind::Choice(&["totp", "recovery", "yubico"]),
    "Others need a browser.",
);
const URI: Param = Param::optional(
    "totp",
    Kind::Text(15, 1_000),
    "The otpauth:// URI that the user's app has.",
);
const VALUE: Param = Param::optional(
    "value",
    Kind::Text(6, 64),
    "Code that the new factor shows now.",
);
const DESCRIPTION: Param = Param::optional("description", Kind::Text(0, 255), "");
const ID: Param = Param::by_request("id", Kind::Format(&format::UNIT), "As listed.");
const ENABLE: Param = Param::optional("enable", Kind::Flag, "");

/// Proxmox has all but root@pam repeat the password.
const CONFIRMED: Login = Login::Confirmed {
    by: "password",
    since: 0,
};

pub(super) static MANAGE_TFA: Tool = Tool {
    title: "Manage second factor",
    summary: "Adds, changes or deletes a second factor of a user. Needs a login, of a user with User.Modify.",
    permission: Permission::Elevated,
    effect: Effect::Disrupts,
    params: &[&USER, &ACTION, &ID],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(Scope {
            path: "/access/tfa/{userid}",
            ..OF_USERS
        }),
        does: "{action} second factor[ {id}] of {place}",
        rows: &[
            post("add", "", &[&TYPE, &URI, &VALUE, &DESCRIPTION])
                .interrupts("From then on the user cannot log in without a second factor.")
                .does("add a second factor ({type}) to {place}")
                .checks(is_not_ours)
                .answers(Reply::Object("id"))
                .says("done", added)
                .needs_login(CONFIRMED),
            put("update", "/{id}", &[&DESCRIPTION, &ENABLE])
                .judged(disabled)
                .checks(is_not_ours)
                .needs_login(CONFIRMED),
            delete("delete", "/{id}", &[])
                .interrupts("It no longer protects the user, and cannot be used to log in.")
                .checks(is_not_ours)
                .needs_login(CONFIRMED),
        ],
    }),
};

/// Refuses to lock out this program, and root@pam, the last way in.
fn is_not_ours(reader: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let user = &args[&USER];
    let why = match user {
        "root@pam" => "root@pam is the last way in",
        _ if reader.login_user() == Some(user) => "this program logs in as this user",
        _ => return Ok(Vec::new()),
    };
    Err(Error::impossible(
        format!("the credentials of {user} are not changed here, nothing was changed"),
        format!("A mistake would lock everybody out: {why}."),
    )
    .hint("Do it in the web interface, and change what PROXMOX_PASSWORD_FILE or PROXMOX_TOTP_SECRET_FILE hold."))
}

fn disabled(request: &Request, _: &Value) -> Option<Loss> {
    let is_disabled = request.form.iter().any(|pair| pair == ("enable", "0"));
    is_disabled.then(|| Loss::interrupts("The user can no longer log in with it, or needs none."))
}

/// Recovery keys are shown this once.
fn added(_: &Args, data: &Value) -> Vec<String> {
    let keys = data["recovery"].as_array().into_iter().flatten();
    let keys: Vec<String> = keys.map(plain).collect();
    let mut lines = vec![format!("Its id is {}.", plain(&data["id"]))];
    if !keys.is_empty() {
        lines.push(format!(
            "Recovery keys, each good for one login, shown this once: {}",
            keys.join(" ")
        ));
    }
    lines
}
