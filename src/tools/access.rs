//! Access control: users, API tokens, groups, roles, realms, and who has which role where.
//!
//! What takes the last rights from this program itself, or from `root@pam`, is refused: Proxmox does it, and
//! then nobody can undo it from here.

mod rights;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use self::rights::{Access, Entry, READS, ROOT, locked_out, own_users, split};
use super::common::{RESOURCES_REQUEST, unseen};
use crate::answer::{self, Answer, Column, Fields, LIMIT, OFFSET, Order, Table, number, plain};
use crate::cluster::tasks::{WAIT, WAIT_TIMEOUT};
use crate::error::Error;
use crate::param::{Args, Kind, Param, Versions};
use crate::pve::reader::Reader;
use crate::request::{Reply, Request};
use crate::row::needs::Needs;
use crate::row::{
    APPENDED, Choice, First, Loss, Place, Scope, Step, Touches, delete, get, post, put, takes,
};
use crate::text::sort::{sort, sort_by};
use crate::text::{self, format};
use crate::tool::{Call, Effect, Permission, Show, Tool};

const ACCESS: Scope = Scope {
    name: "",
    noun: "",
    path: "/access",
    reads: &[],
    changes: &[],
    touches: Touches::NoGuest,
    versions: Versions::ALL,
};

/// Proxmox checks it for the groups of the user.
const READ_USER: Needs = &["/access/groups:Sys.Audit|User.Modify"];
const USERS: Needs = &["/access/groups:User.Modify"];
const NEW_OR_NO_USERS: Needs = &[
    "/access/groups:User.Modify",
    "/access/realm:Realm.AllocateUser",
];
const READ_GROUP: Needs = &["/access/groups:Sys.Audit|Group.Allocate"];
const GROUPS_CHANGE: Needs = &["/access/groups:Group.Allocate"];
const ROLES_CHANGE: Needs = &["/access:Sys.Modify"];
const READ_REALM: Needs = &["/access/realm:Sys.Audit|Realm.Allocate"];
const REALMS: Needs = &["/access/realm:Realm.Allocate"];

/// Version 7 has second factors read by no API token.
const TOKENS_MAY: Versions = Versions::since(8);

const KIND: Param = Param::required(
    "kind",
    Kind::Choice(&[
        "users",
        "groups",
        "roles",
        "acl",
        "domains",
        "tokens",
        "tfa",
        "permissions",
    ]),
    "domains are realms; permissions those of this program's token, or of userid.",
);
const ID: Param = Param::by_request(
    "id",
    Kind::Format(&format::ACCESS_ID),
    "One user, group, role, realm or token.",
);
const OF_USER: Param = Param::by_request(
    "userid",
    Kind::Format(&format::ACCESS_ID),
    "For tokens, tfa and permissions (there also a token: mcp@pve!name).",
);
const WHOSE: Param = Param::optional("userid", Kind::Format(&format::ACCESS_ID), "");
const AT: Param = Param::optional(
    "path",
    Kind::Format(&format::ACL_PATH),
    "For permissions and acl: only this path.",
);
const FULL: Param = Param::optional("full", Kind::Flag, "users with groups and tokens.");
const ENABLED: Param = Param::optional("enabled", Kind::Flag, "Only users so.");

/// An expiry of 0 is none.
fn never(row: &Value, key: &str) -> bool {
    number(&row[key]) == Some(0.0)
}

const USER_COLUMNS: &[Column] = &[
    Column::text("userid"),
    Column::flag("enable"),
    Column::time("expire").unless(never),
    Column::text("firstname"),
    Column::text("lastname"),
    Column::text("email"),
    Column::text("groups"),
    Column::text("tokens"),
    Column::text("comment"),
];
const TOKEN_COLUMNS: &[Column] = &[
    Column::text("tokenid"),
    Column::flag("privsep"),
    Column::time("expire").unless(never),
    Column::text("comment"),
];
const GROUP_COLUMNS: &[Column] = &[
    Column::text("groupid"),
    Column::text("users"),
    Column::text("members"),
    Column::text("comment"),
];
const REALM_COLUMNS: &[Column] = &[
    Column::text("realm"),
    Column::text("type"),
    Column::flag("default"),
    Column::text("tfa"),
    Column::text("comment"),
];
const FACTOR_COLUMNS: &[Column] = &[
    Column::text("id"),
    Column::text("type"),
    Column::flag("enable"),
    Column::text("description"),
    Column::time("created"),
];

macro_rules! table {
    ($name:literal, $noun:expr, $columns:expr, $sort:expr, $count:expr) => {
        Show::Table(&Table {
            name: $name,
            noun: $noun,
            columns: $columns,
            sort: &[Order::Up($sort)],
            count: $count,
        })
    };
}

macro_rules! fields {
    ($heading:literal, $columns:expr) => {
        Show::Fields(&Fields {
            heading: $heading,
            columns: $columns,
            hidden: &[],
        })
    };
}

pub(super) static LIST: Tool = Tool {
    title: "List access control",
    summary: "Lists users, groups, roles, ACL entries, realms, API tokens or second factors, or one of them; or shows effective permissions.",
    permission: Permission::Basic,
    effect: Effect::Reads,
    params: &[&KIND, &ID, &OF_USER, &AT],
    call: Call::Choice(&Choice {
        by: &[&KIND],
        place: Place::Only(ACCESS),
        does: "",
        rows: &[
            get(
                "users",
                "/users",
                &[&FULL, &ENABLED, &LIMIT, &OFFSET],
                table!("users", ["user", "users"], USER_COLUMNS, "userid", None),
            ),
            get(
                "users",
                "/users/{id}",
                &[],
                fields!("user {id}", USER_COLUMNS),
            )
            .needs(READ_USER),
            get(
                "groups",
                "/groups",
                &[&LIMIT, &OFFSET],
                table!(
                    "groups",
                    ["group", "groups"],
                    GROUP_COLUMNS,
                    "groupid",
                    None
                ),
            ),
            get(
                "groups",
                "/groups/{id}",
                &[],
                fields!("group {id}", GROUP_COLUMNS),
            )
            .needs(READ_GROUP),
            get(
                "roles",
                "/roles",
                &[&LIMIT, &OFFSET],
                table!(
                    "roles",
                    ["role", "roles"],
                    &[
                        Column::text("roleid"),
                        Column::flag("special"),
                        Column::text("privs"),
                    ],
                    "roleid",
                    None
                ),
            ),
            get("roles", "/roles/{id}", &[], Show::Made(role)),
            get(
                "acl",
                "/acl",
                &[&AT.local(), &LIMIT, &OFFSET],
                Show::Made(entries),
            ),
            get(
                "domains",
                "/domains",
                &[&LIMIT, &OFFSET],
                table!("realms", ["realm", "realms"], REALM_COLUMNS, "realm", None),
            ),
            get(
                "domains",
                "/domains/{id}",
                &[],
                fields!("realm {id}", REALM_COLUMNS),
            )
            .needs(READ_REALM),
            get(
                "tokens",
                "/users/{userid}/token",
                &[&LIMIT, &OFFSET],
                table!(
                    "tokens",
                    ["token", "tokens"],
                    TOKEN_COLUMNS,
                    "tokenid",
                    None
                ),
            )
            .needs(USERS),
            get(
                "tokens",
                "/users/{userid}/token/{id}",
                &[],
                fields!("token {userid}!{id}", TOKEN_COLUMNS),
            )
            .needs(USERS),
            get(
                "tfa",
                "/tfa",
                &[&LIMIT, &OFFSET],
                table!(
                    "users",
                    ["user with second factors", "users with second factors"],
                    &[
                        Column::text("userid"),
                        Column::text("entries"),
                        Column::flag("totp-locked"),
                        Column::time("tfa-locked-until"),
                    ],
                    "userid",
                    None
                ),
            )
            .known_to(TOKENS_MAY),
            get(
                "tfa",
                "/tfa/{userid}",
                &[&LIMIT, &OFFSET],
                table!(
                    "factors",
                    ["second factor", "second factors"],
                    FACTOR_COLUMNS,
                    "created",
                    Some("type")
                ),
            )
            .needs(READ_USER)
            .known_to(TOKENS_MAY),
            get(
                "permissions",
                "/permissions",
                &[&WHOSE, &AT],
                Show::Made(permissions),
            ),
        ],
    }),
};

/// The privileges of a role, which Proxmox sends as keys.
fn role(args: &Args, data: Value, _: &Value) -> Answer {
    let names: Vec<&String> = data.as_object().into_iter().flat_map(Map::keys).collect();
    let shown: Vec<String> = names.iter().map(|name| text::inline(name)).collect();
    let id = text::inline(&args[&ID]);
    let shown = match shown.is_empty() {
        true => "none".to_owned(),
        false => text::cut(&shown.join(", "), 4_000),
    };
    Answer::new(format!("role {id}\nprivs: {shown}")).with("privs", json!(names))
}

fn entries(args: &Args, data: Value, _: &Value) -> Answer {
    static ENTRIES: Table = Table {
        name: "entries",
        noun: ["ACL entry", "ACL entries"],
        columns: &[
            Column::text("path"),
            Column::text("type"),
            Column::text("ugid"),
            Column::text("roleid"),
            Column::flag("propagate"),
        ],
        sort: &[
            Order::Up("path"),
            Order::Up("type"),
            Order::Up("ugid"),
            Order::Up("roleid"),
        ],
        count: Some("type"),
    };
    let mut rows = answer::rows(data);
    if let Some(path) = args.get(&AT) {
        rows.retain(|row| row["path"] == path);
    }
    ENTRIES.answer(rows, args, &[])
}

/// Effective permissions, paths with the same privileges together.
fn permissions(args: &Args, data: Value, _: &Value) -> Answer {
    let mut same: BTreeMap<(Vec<String>, Vec<String>), Vec<String>> = BTreeMap::new();
    for (path, privileges) in data.as_object().into_iter().flatten() {
        let privileges = privileges.as_object().into_iter().flatten();
        let (below, here): (Vec<_>, Vec<_>) =
            privileges.partition(|(_, propagates)| number(propagates) != Some(0.0));
        let names = |found: Vec<(&String, &Value)>| {
            let mut names: Vec<String> = found.iter().map(|(name, _)| text::inline(name)).collect();
            sort(&mut names);
            names
        };
        let paths = same.entry((names(below), names(here))).or_default();
        paths.push(text::inline(path));
    }
    let whose = match args.get(&WHOSE) {
        Some(userid) => format!("permissions of {}", text::inline(userid)),
        None => "permissions of this program".to_owned(),
    };
    let mut groups: Vec<_> = same.into_iter().collect();
    sort_by(&mut groups, |(_, a), (_, b)| a.cmp(b));
    let mut lines = vec![match groups.is_empty() {
        true => format!("{whose}: none"),
        false => whose,
    }];
    let mut found = Vec::new();
    for ((below, here), mut paths) in groups {
        sort(&mut paths);
        let mut parts = vec![below.join(", ")];
        if !here.is_empty() {
            parts.push(format!("not below: {}", here.join(", ")));
        }
        parts.retain(|part| !part.is_empty());
        let shown = match parts.is_empty() {
            true => "none".to_owned(),
            false => parts.join("; "),
        };
        let line = format!("{}: {shown}", paths.join(" "));
        lines.push(text::cut(&line, 3_000));
        found.push(json!({ "paths": paths, "privileges": below, "not_below": here }));
    }
    let shown = text::cut(&lines.join("\n"), text::BUDGET - 2_000);
    Answer::new(shown).with("permissions", found)
}

/// Rights are given: they can be used at once, so this is asked about like what cannot be undone.
fn gives(what: impl Into<String>) -> Loss {
    Loss::destroys(what)
}

fn sent<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let mut form = request.form.iter();
    form.find(|(own, _)| *own == name).map(|(_, value)| value)
}

fn appends(request: &Request) -> bool {
    request.form.iter().any(|pair| pair == APPENDED)
}

/// Several sentences, where there are any.
fn loss(sentences: Vec<String>, destroys: bool) -> Option<Loss> {
    (!sentences.is_empty()).then(|| Loss {
        sentence: sentences.join(" "),
        destroys,
    })
}

const ACTION: Param = Param::required("action", Kind::Choice(&["create", "update", "delete"]), "");
const USER_ACTION: Param = Param::required(
    "action",
    Kind::Choice(&["create", "update", "delete", "unlock_tfa"]),
    "",
);
const USER: Param = Param::required("userid", Kind::Format(&format::USER), "Such as anna@pve.");
const GROUPS: Param = Param::optional(
    "groups",
    Kind::Format(&format::GROUPS),
    "Such as ops,dev; replaces them all; \"\" for none.",
)
.clearable()
.joined();
const NEW_GROUPS: Param = GROUPS;
const APPEND: Param = Param::optional("append", Kind::Flag, "Add to the groups.");
const EMAIL: Param = Param::optional("email", Kind::Text(1, 254), "");
const FIRSTNAME: Param = Param::optional("firstname", Kind::Text(1, 1_024), "");
const LASTNAME: Param = Param::optional("lastname", Kind::Text(1, 1_024), "");
const COMMENT: Param = Param::optional("comment", Kind::Text(1, 2_048), "");
const ENABLE: Param = Param::optional("enable", Kind::Flag, "");
const EXPIRE: Param = Param::optional(
    "expire",
    Kind::Integer(0, 253_402_300_799),
    "Unix seconds; 0 is never.",
);
const PASSWORD: Param = Param::optional(
    "password",
    Kind::Text(8, 64),
    "For create in the realm pve.",
);

pub(super) static MANAGE_USER: Tool = Tool {
    title: "Manage user",
    summary: "Creates, changes or deletes a user, or unlocks its second factor.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&USER_ACTION, &USER, &GROUPS, &APPEND],
    call: Call::Choice(&Choice {
        by: &[&USER_ACTION],
        place: Place::Only(ACCESS),
        does: "{action} user {userid}",
        rows: &[
            post(
                "create",
                "/users",
                &[
                    &USER,
                    &PASSWORD,
                    &NEW_GROUPS,
                    &EMAIL,
                    &FIRSTNAME,
                    &LASTNAME,
                    &COMMENT,
                    &ENABLE,
                    &EXPIRE,
                ],
            )
            .judged(joins)
            .needs(NEW_OR_NO_USERS)
            .also_reads(READS_OF_NEW)
            .checks(newcomer),
            put(
                "update",
                "/users/{userid}",
                &[
                    &GROUPS, &APPEND, &EMAIL, &FIRSTNAME, &LASTNAME, &COMMENT, &ENABLE, &EXPIRE,
                ],
            )
            .judged(user_changes)
            .needs(USERS)
            .first_needs(READ_USER)
            .also_reads(READS)
            .checks(user_change),
            delete("delete", "/users/{userid}", &[])
                .destroys("It, its API tokens and their ACL entries are gone.")
                .needs(NEW_OR_NO_USERS)
                .first_needs(READ_USER)
                .also_reads(READS)
                .checks(user_deletion),
            put("unlock_tfa", "/users/{userid}/unlock-tfa", &[])
                .harmless()
                .needs(USERS)
                .reads(First::Nothing)
                .answers(Reply::Flag)
                .known_to(Versions::since(8))
                .does("unlock the second factor of user {userid}")
                .says("done", unlocked),
        ],
    }),
};

fn unlocked(_: &Args, data: &Value) -> Vec<String> {
    match number(data) == Some(0.0) {
        true => vec!["It was not locked.".to_owned()],
        false => Vec::new(),
    }
}

/// The groups that a user joins and leaves.
fn group_changes(request: &Request, was: &Value) -> (Vec<String>, Vec<String>) {
    let Some(groups) = sent(request, "groups") else {
        return (Vec::new(), Vec::new());
    };
    let before = was["groups"].as_array().into_iter().flatten();
    let before = before.map(plain).collect();
    let given = split(groups);
    let left = match appends(request) {
        true => Vec::new(),
        false => beyond(&before, &given),
    };
    (beyond(&given, &before), left)
}

/// Those of the first that the second does not have.
fn beyond(first: &BTreeSet<String>, second: &BTreeSet<String>) -> Vec<String> {
    first.difference(second).cloned().collect()
}

fn joins(request: &Request, was: &Value) -> Option<Loss> {
    let (joined, _) = group_changes(request, was);
    (!joined.is_empty()).then(|| {
        let groups = text::inline(&joined.join(", "));
        gives(format!("It gets all rights of {groups}."))
    })
}

fn user_changes(request: &Request, was: &Value) -> Option<Loss> {
    let (_, left) = group_changes(request, was);
    let mut sentences = Vec::new();
    if let Some(gives) = joins(request, was) {
        sentences.push(gives.sentence);
    }
    if !left.is_empty() {
        let groups = text::inline(&left.join(", "));
        sentences.push(format!("It loses the rights of {groups}."));
    }
    let rights_change = !sentences.is_empty();
    if sent(request, "enable") == Some("0") {
        sentences.push("It and its API tokens can do nothing any more.".to_owned());
    }
    if sent(request, "expire").is_some_and(|expire| expire != "0") {
        sentences.push("It and its API tokens can do nothing from then on.".to_owned());
    }
    loss(sentences, rights_change)
}

/// What a new user can do. Proxmox takes one of a realm that does not exist.
fn newcomer(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let realms = answer::rows(client.get(DOMAINS.path)?);
    let (_, realm) = args[&USER].rsplit_once('@').unwrap_or_default();
    if !realms.iter().any(|known| plain(&known["realm"]) == realm) {
        let known: Vec<String> = realms.iter().map(|known| plain(&known["realm"])).collect();
        return Err(Error::impossible(
            format!("there is no realm {realm}, nothing was done"),
            format!("The realms are {}.", known.join(", ")),
        ));
    }
    let of_host = (realm == "pam")
        .then(|| "It can log in once the nodes have a system account of that name.".to_owned());
    let groups = args.get(&GROUPS).filter(|groups| !groups.is_empty());
    let granted = match groups {
        Some(groups) => granted_by(&Access::read(client)?, &split(groups))?,
        None => Vec::new(),
    };
    Ok(of_host.into_iter().chain(granted).collect())
}

const DOMAINS: Step = Step::read("/access/domains", &[]);

/// What is read before a user is created.
const READS_OF_NEW: &[Step] = &[DOMAINS, READS[0], READS[1], READS[2], READS[3]];

/// What groups grant.
fn granted_by(access: &Access, groups: &BTreeSet<String>) -> Result<Vec<String>, Error> {
    let of_them = |entry: &Entry| entry.kind == "group" && groups.contains(&entry.holder);
    Ok(access
        .listed("These groups have", of_them)
        .into_iter()
        .collect())
}

/// Whether it is the administrator, or one as whom this program works.
fn is_vital(client: &Reader, userid: &str) -> bool {
    userid == ROOT || own_users(client).any(|own| own == userid)
}

fn user_change(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    let userid = &args[&USER];
    if is_vital(client, userid) {
        if args.get(&ENABLE) == Some("0") {
            return Err(vital(client, userid, "disabled"));
        }
        if ends_sooner(args, was) {
            return Err(vital(client, userid, "set to expire"));
        }
    }
    let Some(groups) = args.get(&GROUPS) else {
        return Ok(Vec::new());
    };
    let access = Access::read(client)?;
    let given = split(groups);
    let mut lines = granted_by(&access, &given)?;
    let mut after = access.clone();
    for own in after.own.iter_mut().filter(|own| own.is_of(userid)) {
        match args.flag(&APPEND) {
            true => own.groups.extend(given.clone()),
            false => own.groups.clone_from(&given),
        }
    }
    lines.extend(access.judge(&after)?);
    Ok(lines)
}

/// Whether something expires that did not, or earlier than it did.
fn ends_sooner(args: &Args, was: &Value) -> bool {
    let then = number(&was["expire"]).filter(|then| *then != 0.0);
    args.integer(&EXPIRE)
        .is_some_and(|expire| expire != 0 && then.is_none_or(|then| (expire as f64) < then))
}

fn vital(client: &Reader, userid: &str, what: &str) -> Error {
    let what = format!("{userid} cannot be {what} from here");
    match own_users(client).any(|own| own == userid) {
        true => locked_out(userid, &what),
        false => Error::impossible(
            format!("{what}, nothing was done"),
            "It can always undo what others did. If it is meant, do it in the web interface.",
        ),
    }
}

fn user_deletion(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    let userid = &args[&USER];
    if is_vital(client, userid) {
        return Err(vital(client, userid, "deleted"));
    }
    let access = Access::read(client)?;
    let of_user = |entry: &Entry| match &*entry.kind {
        "user" => entry.holder == *userid,
        "token" => entry.holder.split('!').next() == Some(userid),
        _ => false,
    };
    let tokens: Vec<String> = was["tokens"]
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .map(|name| text::inline(name))
        .collect();
    let tokens =
        (!tokens.is_empty()).then(|| format!("API tokens that go with it: {}", tokens.join(", ")));
    let mut lines: Vec<String> = tokens.into_iter().collect();
    lines.extend(dropped(&access, of_user));
    Ok(lines)
}

/// The entries that are dropped together with their holder or role.
fn dropped(access: &Access, is_it: impl Fn(&Entry) -> bool) -> Vec<String> {
    let listed = access.listed("ACL entries that go with it", is_it);
    vec![match (listed, access.is_whole) {
        (Some(entries), _) => entries,
        (None, true) => "No ACL entry goes with it.".to_owned(),
        (None, false) => "No ACL entry that this token sees goes with it.".to_owned(),
    }]
}

const TOKEN_ACTION: Param = Param::required(
    "action",
    Kind::Choice(&["create", "update", "regenerate", "delete"]),
    "",
);
const TOKEN: Param = Param::required("tokenid", Kind::Format(&format::TOKEN), "");
const PRIVSEP: Param = Param::optional(
    "privsep",
    Kind::Flag,
    "Default true: it has only rights granted to it; false: all of its user.",
);
const UNSET: Param = Param::optional("delete", Kind::List, "Options to reset.").joined();

pub(super) static MANAGE_TOKEN: Tool = Tool {
    title: "Manage API token",
    summary: "Creates, changes or deletes an API token, or gives it a new secret. The secret is shown once.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&TOKEN_ACTION, &USER, &TOKEN],
    call: Call::Choice(&Choice {
        by: &[&TOKEN_ACTION],
        place: Place::Only(Scope {
            path: "/access/users/{userid}/token",
            reads: USERS,
            changes: USERS,
            ..ACCESS
        }),
        does: "{action} API token {userid}!{tokenid}",
        rows: &[
            post("create", "/{tokenid}", &[&PRIVSEP, &EXPIRE, &COMMENT])
                .judged(token_gets)
                .answers(Reply::Object("value"))
                .says("done", secret),
            put(
                "update",
                "/{tokenid}",
                &[
                    &PRIVSEP,
                    &EXPIRE,
                    &COMMENT,
                    &UNSET.known_to(Versions::since(9)),
                ],
            )
            .judged(token_changes)
            .answers(Reply::Object("privsep"))
            .checks(token_change),
            put("regenerate", "/{tokenid}", &[])
                .destroys("Its secret of now no longer works.")
                .always(&[("regenerate", "1")])
                .answers(Reply::Object("value"))
                .known_to(Versions::since(9))
                .does("give API token {userid}!{tokenid} a new secret")
                .checks(token_regeneration)
                .says("done", secret),
            delete("delete", "/{tokenid}", &[])
                .destroys("Its secret no longer works, its ACL entries are gone.")
                .also_reads(READS)
                .checks(token_deletion),
        ],
    }),
};

/// The secret, which Proxmox does not show again.
fn secret(_: &Args, data: &Value) -> Vec<String> {
    vec![
        format!("token: {}", plain(&data["full-tokenid"])),
        format!("secret, shown only this once: {}", plain(&data["value"])),
    ]
}

fn token_gets(request: &Request, _: &Value) -> Option<Loss> {
    (sent(request, "privsep") == Some("0"))
        .then(|| gives("Whoever has its secret has all rights of its user."))
}

fn token_changes(request: &Request, was: &Value) -> Option<Loss> {
    let mut sentences = Vec::new();
    let privsep = sent(request, "privsep").filter(|privsep| *privsep != plain(&was["privsep"]));
    let gives = token_gets(request, was).filter(|_| privsep.is_some());
    let gives_rights = gives.is_some();
    sentences.extend(gives.map(|gives| gives.sentence));
    if privsep == Some("1") {
        sentences.push("It keeps only the rights that are granted to itself.".to_owned());
    }
    if sent(request, "expire").is_some_and(|expire| expire != "0") {
        sentences.push("It can do nothing from then on.".to_owned());
    }
    loss(sentences, gives_rights)
}

/// The token with which this program works, if it is that one.
fn is_own_token<'a>(client: &'a Reader, args: &Args) -> Option<&'a str> {
    let own = client.token_id();
    (own.split_once('!') == Some((&args[&USER], &args[&TOKEN]))).then_some(own)
}

fn token_change(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    let Some(own) = is_own_token(client, args) else {
        return Ok(Vec::new());
    };
    if ends_sooner(args, was) {
        return Err(locked_out(
            own,
            &format!("{own} cannot be set to expire from here"),
        ));
    }
    let separates = args.flag(&PRIVSEP) && number(&was["privsep"]) != Some(1.0);
    let resets = args.list(&UNSET).iter().any(|name| name == "privsep");
    match separates || resets {
        true => Err(locked_out(
            own,
            &format!("{own} would lose the rights of its user"),
        )),
        false => Ok(Vec::new()),
    }
}

fn token_regeneration(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    match is_own_token(client, args) {
        Some(own) => Err(locked_out(
            own,
            "the secret that it has would no longer work",
        )),
        None => Ok(Vec::new()),
    }
}

fn token_deletion(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    if let Some(own) = is_own_token(client, args) {
        return Err(locked_out(
            own,
            &format!("{own} cannot be deleted from here"),
        ));
    }
    let token = format!("{}!{}", &args[&USER], &args[&TOKEN]);
    let access = Access::read(client)?;
    Ok(dropped(&access, |entry| {
        entry.kind == "token" && entry.holder == token
    }))
}

const GROUP: Param = Param::required("groupid", Kind::Format(&format::GROUP), "");
const GROUP_COMMENT: Param = Param::optional("comment", Kind::Text(1, 4_096), "");

pub(super) static MANAGE_GROUP: Tool = Tool {
    title: "Manage group",
    summary: "Creates, changes or deletes a group of users. Members are set with proxmox_manage_user.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&ACTION, &GROUP],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(Scope {
            path: "/access/groups",
            reads: READ_GROUP,
            changes: GROUPS_CHANGE,
            ..ACCESS
        }),
        does: "{action} group {groupid}",
        rows: &[
            post("create", "", &[&GROUP, &GROUP_COMMENT]).harmless(),
            put("update", "/{groupid}", &[&GROUP_COMMENT]).harmless(),
            delete("delete", "/{groupid}", &[])
                .destroys("Its members lose its rights, its ACL entries are gone.")
                .also_reads(READS)
                .checks(group_deletion),
        ],
    }),
};

fn group_deletion(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let group = &args[&GROUP];
    let access = Access::read(client)?;
    let is_of_group = |entry: &Entry| entry.kind == "group" && entry.holder == *group;
    let mut after = access.clone();
    after.entries.retain(|entry| !is_of_group(entry));
    let mut lines = dropped(&access, is_of_group);
    lines.extend(access.judge(&after)?);
    Ok(lines)
}

const ROLE: Param = Param::required("roleid", Kind::Format(&format::ROLE), "");
const PRIVS: Param = Param::by_request("privs", Kind::List, "Such as VM.Audit.").joined();
const NEW_PRIVS: Param = Param::optional("privs", Kind::List, "").joined();
const ADD: Param = Param::optional(
    "append",
    Kind::Flag,
    "For update: false replaces the privileges by privs.",
);

pub(super) static MANAGE_ROLE: Tool = Tool {
    title: "Manage role",
    summary: "Creates, changes or deletes a role, a set of privileges. An update adds privs unless append=false.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&ACTION, &ROLE, &PRIVS, &ADD],
    call: Call::Choice(&Choice {
        by: &[&ACTION],
        place: Place::Only(Scope {
            path: "/access/roles",
            changes: ROLES_CHANGE,
            ..ACCESS
        }),
        does: "{action} role {roleid}",
        rows: &[
            post("create", "", &[&ROLE, &NEW_PRIVS]).harmless(),
            // Without `append` Proxmox replaces all.
            put("update", "/{roleid}", &[&PRIVS])
                .judged(role_changes)
                .always(&[APPENDED])
                .reads_entry("", "roleid", &ROLE)
                .also_reads(READS)
                .checks(role_change),
            put("update", "/{roleid}", &[&PRIVS, &ADD])
                .judged(role_changes)
                .reads_entry("", "roleid", &ROLE)
                .also_reads(READS)
                .checks(role_change),
            delete("delete", "/{roleid}", &[])
                .destroys("Whoever has it loses its privileges, its ACL entries are gone.")
                .reads_entry("", "roleid", &ROLE)
                .also_reads(READS)
                .checks(role_deletion),
        ],
    }),
};

fn role_changes(request: &Request, was: &Value) -> Option<Loss> {
    let before = split(&plain(&was["privs"]));
    let given = split(sent(request, "privs").unwrap_or_default());
    let mut sentences = Vec::new();
    let more = beyond(&given, &before);
    if !more.is_empty() {
        sentences.push(format!(
            "Whoever has it gets {}.",
            text::inline(&more.join(", "))
        ));
    }
    let fewer = beyond(&before, &given);
    if !fewer.is_empty() && !appends(request) {
        sentences.push(format!("Whoever has it loses {}.", fewer.join(", ")));
    }
    loss(sentences, true)
}

/// Refuses to change what Proxmox makes itself.
fn refuse_built_in(was: &Value) -> Result<(), Error> {
    match number(&was["special"]) == Some(1.0) {
        true => Err(Error::impossible(
            format!(
                "{} is built in and cannot be changed or deleted, nothing was done",
                plain(&was["roleid"])
            ),
            "Create a role of your own with the privileges that are wanted.",
        )),
        false => Ok(()),
    }
}

fn role_change(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    refuse_built_in(was)?;
    let role = &args[&ROLE];
    let access = Access::read(client)?;
    let mut after = access.clone();
    let given = args.list(&PRIVS).iter().flat_map(|names| split(names));
    let privileges = after.roles.entry((*role).to_owned()).or_default();
    if args.get(&ADD) == Some("0") {
        privileges.clear();
    }
    privileges.extend(given);
    let mut lines: Vec<String> = access
        .listed("Who has it", |entry| entry.role == *role)
        .into_iter()
        .collect();
    lines.extend(access.judge(&after)?);
    Ok(lines)
}

fn role_deletion(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    refuse_built_in(was)?;
    let role = &args[&ROLE];
    let access = Access::read(client)?;
    let mut after = access.clone();
    after.entries.retain(|entry| entry.role != *role);
    let mut lines = dropped(&access, |entry| entry.role == *role);
    lines.extend(access.judge(&after)?);
    Ok(lines)
}

const PATH: Param = Param::required(
    "path",
    Kind::Format(&format::ACL_PATH),
    "Such as /, /vms/100, /storage/local, /pool/dev.",
);
const ROLES: Param = Param::required("roles", Kind::List, "").joined();
const HOLDING_USERS: Param = Param::optional("users", Kind::List, "").joined();
const HOLDING_GROUPS: Param = Param::optional("groups", Kind::List, "").joined();
const HOLDING_TOKENS: Param =
    Param::optional("tokens", Kind::List, "Such as mcp@pve!name.").joined();
const PROPAGATE: Param = Param::optional(
    "propagate",
    Kind::Flag,
    "Default true: counts for all below the path, too.",
);
const REVOKE: Param = Param::by_request("revoke", Kind::Flag, "").sent_as("delete");

pub(super) static UPDATE_ACL: Tool = Tool {
    title: "Update ACL",
    summary: "Grants roles on a path to users, groups or tokens, or revokes them.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&PATH, &ROLES, &HOLDING_USERS, &HOLDING_GROUPS, &HOLDING_TOKENS, &PROPAGATE, &REVOKE],
    call: Call::Choice(&Choice {
        by: &[],
        place: Place::Only(Scope {
            path: "/access/acl",
            changes: &["/:Permissions.Modify"],
            touches: Touches::Judged(guests_at),
            ..ACCESS
        }),
        does: "",
        rows: &[
            put(
                "",
                "",
                &[
                    &PATH,
                    &ROLES,
                    &HOLDING_USERS,
                    &HOLDING_GROUPS,
                    &HOLDING_TOKENS,
                    &PROPAGATE,
                ],
            )
            .judged(granted)
            .does("grant {roles} on {path}[ to users {users}][ to groups {groups}][ to tokens {tokens}]")
            .reads(First::Nothing)
            .also_reads(GRANT_READS)
            .checks(acl_change),
            put(
                "",
                "",
                &[
                    &REVOKE,&PATH, &ROLES, &HOLDING_USERS, &HOLDING_GROUPS, &HOLDING_TOKENS],
            )
            .judged(revoked)
            .does("revoke {roles} on {path}[ from users {users}][ from groups {groups}][ from tokens {tokens}]")
            .reads(First::Nothing)
            .also_reads(READS)
            .checks(acl_change),
        ],
    }),
};

const GRANT_READS: &[Step] = &[READS[0], READS[1], READS[2], READS[3], RESOURCES_REQUEST];

/// The guest that a path is of; any guest, as `*`, where there are several below it.
fn guests_at(request: &Request, _: &Value) -> Vec<String> {
    let path = sent(request, "path").unwrap_or("/");
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    match (parts.next(), parts.next()) {
        (Some("vms"), Some(vmid)) => vec![vmid.to_owned()],
        (None | Some("vms" | "pool"), _) => vec!["*".to_owned()],
        _ => Vec::new(),
    }
}

fn granted(request: &Request, _: &Value) -> Option<Loss> {
    Some(gives(match sent(request, "propagate") {
        Some("0") => "They get these rights on this path alone.",
        _ => "They get these rights there and on all below it.",
    }))
}

fn revoked(_: &Request, _: &Value) -> Option<Loss> {
    Some(Loss::destroys("They lose these rights there and below it."))
}

/// Shows what each has on the path before and after, and what else that changes.
fn acl_change(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let holders = [
        ("user", &HOLDING_USERS),
        ("group", &HOLDING_GROUPS),
        ("token", &HOLDING_TOKENS),
    ];
    let holders = holders.iter().flat_map(|(kind, param)| {
        let names = args.list(param).iter().flat_map(|names| split(names));
        names.map(|name| (*kind, name))
    });
    let holders: Vec<(&str, String)> = holders.collect();
    if holders.is_empty() {
        let problem = "who is meant is missing: give users, groups or tokens".to_owned();
        return Err(Error::arguments(vec![problem]));
    }
    let (path, revokes) = (&args[&PATH], args.flag(&REVOKE));
    let roles: Vec<String> = args
        .list(&ROLES)
        .iter()
        .flat_map(|names| split(names))
        .collect();
    let propagates = args.get(&PROPAGATE) != Some("0");
    let access = Access::read(client)?;
    let mut after = access.clone();
    let mut lines = Vec::new();
    for (kind, holder) in &holders {
        let is_it = |entry: &Entry| {
            entry.path == *path
                && entry.kind == *kind
                && entry.holder == *holder
                && roles.contains(&entry.role)
        };
        after.entries.retain(|entry| !is_it(entry));
        if !revokes {
            after.entries.extend(roles.iter().map(|role| Entry {
                path: (*path).to_owned(),
                kind: (*kind).to_owned(),
                holder: holder.clone(),
                role: role.clone(),
                propagates,
            }));
        }
    }
    if revokes && after.entries.len() == access.entries.len() && access.is_whole {
        let there = access.listed("There is", |entry| entry.path == *path);
        return Err(Error::impossible(
            format!(
                "none of them has {} on {path}, nothing was done",
                roles.join(", ")
            ),
            there.unwrap_or_else(|| format!("There are no entries on {path}.")),
        ));
    }
    for (kind, holder) in &holders {
        let (before, then) = (
            access.roles_on(path, kind, holder),
            after.roles_on(path, kind, holder),
        );
        lines.push(text::cut(
            &text::inline(&format!(
                "{kind} {holder} on {path}: {} -> {}",
                shown(&before),
                shown(&then)
            )),
            500,
        ));
        // A path with roles of its own inherits none.
        let inherited = access.inherited(path, kind, holder);
        if let Some((from, roles)) = inherited.filter(|_| before.is_empty() != then.is_empty()) {
            let verb = if then.is_empty() {
                "It inherits again"
            } else {
                "It no longer inherits there"
            };
            lines.push(format!("{verb}: {} from {from}", roles.join(", ")));
        }
    }
    lines.extend(access.judge(&after)?);
    if !revokes {
        let unseen = unseen(client, named_by(path))?;
        let unseen = unseen.map(|unseen| {
            format!("{unseen}: if it does not exist, these rights count once it does.")
        });
        lines.extend(unseen);
    }
    Ok(lines)
}

/// What a path names, with its kind. Proxmox takes the path of what does not exist.
fn named_by(path: &str) -> Option<(&str, &str)> {
    let (room, name) = path.strip_prefix('/')?.split_once('/')?;
    let kind = match room {
        "vms" => "guest",
        "pool" => "pool",
        "nodes" => "node",
        "storage" => "storage",
        _ => return None,
    };
    Some((kind, name))
}

fn shown(entries: &[&Entry]) -> String {
    let mut roles: Vec<String> = entries
        .iter()
        .map(|entry| match entry.propagates {
            true => entry.role.clone(),
            false => format!("{} (not below)", entry.role),
        })
        .collect();
    sort(&mut roles);
    match roles.is_empty() {
        true => "none".to_owned(),
        false => roles.join(", "),
    }
}

const REALM_ACTION: Param = Param::required(
    "action",
    Kind::Choice(&["create", "update", "delete", "sync"]),
    "",
);
const REALM: Param = Param::required("realm", Kind::Format(&format::REALM), "");
const REALM_TYPE: Param = Param::by_request("type", Kind::Choice(&["ad", "ldap", "openid"]), "");

const fn option(name: &'static str) -> Param {
    Param::optional(name, Kind::Text(1, 4_096), "")
}

const fn switch(name: &'static str) -> Param {
    Param::optional(name, Kind::Flag, "")
}

const SERVER1: Param = option("server1");
const SERVER2: Param = option("server2").rare();
const PORT: Param = Param::optional("port", Kind::Integer(1, 65_535), "");
const MODE: Param = Param::optional(
    "mode",
    Kind::Choice(&["ldap", "ldaps", "ldap+starttls"]),
    "",
);
const VERIFY: Param = switch("verify").rare();
const BASE_DN: Param = option("base_dn");
const USER_ATTR: Param = option("user_attr");
const BIND_DN: Param = option("bind_dn");
const BIND_PASSWORD: Param = Param::optional("password", Kind::Text(1, 256), "For bind_dn.");
const DOMAIN: Param = option("domain");
const CASE: Param = switch("case_sensitive").sent_as("case-sensitive").rare();
const FILTER: Param = option("filter").rare();
const GROUP_DN: Param = option("group_dn").rare();
const GROUP_FILTER: Param = option("group_filter").rare();
const GROUP_NAME: Param = option("group_name_attr").rare();
const ATTRIBUTES: Param = option("sync_attributes").rare();
const DEFAULTS: Param = Param::optional(
    "sync_defaults_options",
    Kind::Text(1, 1_024),
    "Such as scope=both,remove-vanished=acl;entry.",
)
.sent_as("sync-defaults-options");
const CHECKED: Param = switch("check_connection")
    .sent_as("check-connection")
    .known_to(Versions::since(8))
    .rare();
const ISSUER: Param = option("issuer_url").sent_as("issuer-url");
const CLIENT: Param = option("client_id").sent_as("client-id");
const CLIENT_KEY: Param = option("client_key").sent_as("client-key");
const CLAIM: Param = option("username_claim").sent_as("username-claim").rare();
const AUTOCREATE: Param = switch("autocreate");
const SCOPES: Param = option("scopes").rare();
const PROMPT: Param = option("prompt").rare();
const USERINFO: Param = switch("query_userinfo")
    .sent_as("query-userinfo")
    .known_to(Versions::since(8))
    .rare();
const GROUPS_CLAIM: Param = option("groups_claim")
    .sent_as("groups-claim")
    .known_to(Versions::since(8))
    .rare();
const GROUPS_AUTOCREATE: Param = switch("groups_autocreate")
    .sent_as("groups-autocreate")
    .known_to(Versions::since(8))
    .rare();
const GROUPS_OVERWRITE: Param = switch("groups_overwrite")
    .sent_as("groups-overwrite")
    .known_to(Versions::since(8))
    .rare();
const DEFAULT: Param = switch("default");
const TFA: Param = option("tfa").rare();
const REALM_COMMENT: Param = option("comment");
const DIGEST: Param = super::common::DIGEST;

/// What can be given to a new realm, and changed later.
const OF_REALM: &[&Param] = &[
    &SERVER1,
    &SERVER2,
    &PORT,
    &MODE,
    &VERIFY,
    &BASE_DN,
    &USER_ATTR,
    &BIND_DN,
    &BIND_PASSWORD,
    &DOMAIN,
    &CASE,
    &FILTER,
    &GROUP_DN,
    &GROUP_FILTER,
    &GROUP_NAME,
    &ATTRIBUTES,
    &DEFAULTS,
    &CHECKED,
    &ISSUER,
    &CLIENT,
    &CLIENT_KEY,
    &AUTOCREATE,
    &SCOPES,
    &PROMPT,
    &USERINFO,
    &GROUPS_CLAIM,
    &GROUPS_AUTOCREATE,
    &GROUPS_OVERWRITE,
    &DEFAULT,
    &TFA,
    &REALM_COMMENT,
    &option("capath").rare(),
    &option("cert").rare(),
    &option("certkey").rare(),
    &Param::optional(
        "sslversion",
        Kind::Choice(&["tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3"]),
        "",
    )
    .rare(),
    &option("user_classes").rare(),
    &option("group_classes").rare(),
    &option("acr_values").sent_as("acr-values").rare(),
    &option("audiences").known_to(Versions::since(9)).rare(),
];

const SCOPE: Param = Param::optional(
    "scope",
    Kind::Choice(&["users", "groups", "both"]),
    "Of sync.",
);
const VANISHED: Param = Param::optional(
    "remove_vanished",
    Kind::Format(&format::VANISHED),
    "Of sync: acl;entry;properties, or none.",
)
.sent_as("remove-vanished");
const ENABLE_NEW: Param = switch("enable_new").sent_as("enable-new");
const PREVIEW: Param = Param::optional(
    "preview",
    Kind::Flag,
    "Of sync: Proxmox only logs what it would change (its dry-run).",
)
.sent_as("dry-run");

pub(super) static MANAGE_REALM: Tool = Tool {
    title: "Manage realm",
    summary: "Creates, changes or deletes an authentication realm (AD, LDAP, OpenID Connect), or syncs its users and groups. Options belong to its type.",
    permission: Permission::Elevated,
    effect: Effect::Destroys,
    params: &[&REALM_ACTION, &REALM],
    call: Call::Choice(&Choice {
        by: &[&REALM_ACTION],
        place: Place::Only(Scope {
            path: "/access/domains",
            reads: READ_REALM,
            changes: REALMS,
            ..ACCESS
        }),
        does: "{action} realm {realm}",
        rows: &[
            post(
                "create",
                "",
                takes![&[&REALM, &REALM_TYPE, &CLAIM], OF_REALM],
            )
            .harmless(),
            put("update", "/{realm}", takes![OF_REALM, &[&UNSET, &DIGEST]])
                .interrupts("Its users log in by these settings: wrong ones keep them out."),
            delete("delete", "/{realm}", &[])
                .destroys("Its settings are gone, and its users can no longer log in.")
                .also_reads(&[Step::read("/access/users", &[])])
                .checks(realm_deletion),
            post(
                "sync",
                "/{realm}/sync",
                &[
                    &SCOPE,
                    &VANISHED,
                    &ENABLE_NEW,
                    &PREVIEW,
                    &WAIT,
                    &WAIT_TIMEOUT,
                ],
            )
            .judged(synced)
            .needs(&[
                "/access/realm/{realm}:Realm.AllocateUser",
                "/access/groups:User.Modify",
            ])
            .starts_task()
            .checks(own_realm_synced),
        ],
    }),
};

/// The one of those as whom this program works who is of this realm.
fn own_user_of<'a>(client: &'a Reader, realm: &str) -> Option<&'a str> {
    let mut own = own_users(client);
    own.find(|user| user.rsplit_once('@').is_some_and(|(_, of)| of == realm))
}

fn realm_deletion(client: &Reader, args: &Args, was: &Value) -> Result<Vec<String>, Error> {
    let realm = &args[&REALM];
    if let Some(own) = own_user_of(client, realm) {
        return Err(locked_out(
            own,
            &format!("its realm {realm} cannot be deleted"),
        ));
    }
    if ["pam", "pve"].contains(&&*plain(&was["type"])) {
        return Ok(vec![
            "It is built in: it stays, with default settings.".to_owned(),
        ]);
    }
    let users = answer::rows(client.get("/access/users")?);
    let users = users.iter().map(|user| plain(&user["userid"]));
    let users: Vec<String> = users
        .filter(|user| user.rsplit_once('@').is_some_and(|(_, of)| *of == *realm))
        .collect();
    Ok(vec![match users.is_empty() {
        true => "It has no users that this token sees.".to_owned(),
        false => text::cut(&format!("Its users: {}", users.join(", ")), 1_000),
    }])
}

fn synced(request: &Request, _: &Value) -> Option<Loss> {
    match (sent(request, "dry-run"), sent(request, "remove-vanished")) {
        (Some("1"), _) => None,
        (_, Some("none")) => Some(Loss::interrupts(
            "Users and groups come from the directory; groups can bring them rights.",
        )),
        (_, Some(_)) => Some(Loss::destroys(
            "What the directory no longer has is removed: users, groups, their ACL entries and tokens, as remove-vanished says.",
        )),
        (_, None) => Some(Loss::destroys(
            "Users and groups come from the directory, and are removed as the realm's defaults say.",
        )),
    }
}

fn own_realm_synced(client: &Reader, args: &Args, _: &Value) -> Result<Vec<String>, Error> {
    let removes = args.get(&VANISHED) != Some("none") && !args.flag(&PREVIEW);
    let own = own_user_of(client, &args[&REALM]).filter(|_| removes);
    Ok(own
        .map(|own| {
            format!(
                "{own}, as whom this program works, is of this realm: whether the directory still has them \
                 cannot be told from here; preview=true shows it."
            )
        })
        .into_iter()
        .collect())
}
