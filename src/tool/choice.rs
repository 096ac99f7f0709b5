//! Calls of tools that send one of several requests: see [`crate::row`].

use serde_json::Value;

use crate::answer::{self, Answer, plain};
use crate::cluster::guests::{Guest, identified};
use crate::error::Error;
use crate::param::{Args, Versions};
use crate::request::Method::Get;
use crate::row::{Choice, Declared, Place};
use crate::safety::Client;

/// Returns the request that `args` ask for, given the version of the host.
pub(super) fn pick(
    client: &Client,
    args: &Args,
    choice: &'static Choice,
) -> Result<Option<Declared>, Error> {
    let major = client.major_version()?;
    choice.pick(args, Some(major)).map_err(Error::arguments)
}

/// Sends the picked request and shows the result.
pub(super) fn choose(
    client: &Client,
    args: &Args,
    picked: Option<Declared>,
) -> Result<Answer, Error> {
    let Some(picked) = picked else {
        let problem = "nothing fits these arguments".to_owned();
        return Err(Error::arguments(vec![problem]));
    };
    client.check_login(picked.row.login)?;
    check_kind(&picked, args)?;
    check_versions(client, &picked, args)?;
    if picked.only_reads() {
        let request = picked.request(args, &Value::Null);
        let mut reply = client.answer(&request)?;
        let data = answer::take(&mut reply, "data");
        let answer = picked.show(&request, args, data, None, &reply)?;
        return Ok(answer.with_reply_fields(reply));
    }
    let was = match picked.read_first() {
        Some(path) => {
            let data = client.send(&args.request(Get, &path).by(picked.row.login))?;
            Some(picked.found(args, data)?)
        }
        None => None,
    };
    let before = was.as_ref().unwrap_or(&Value::Null);
    picked.check_unset(args, before)?;
    client.show_before(before);
    let findings = match picked.row.check {
        Some(check) => check(client, args, before)?,
        None => Vec::new(),
    };
    client.show_findings(&findings);
    let request = picked.request(args, before);
    let data = client.change(&request, picked.row.reply)?;
    let answer = picked.show(&request, args, data, was, &Value::Null)?;
    Ok(findings.iter().fold(answer, Answer::line))
}

/// Refuses a guest whose kind does not match the path of the picked request.
fn check_kind(picked: &Declared, args: &Args) -> Result<(), Error> {
    let (Some(guest), Place::By(param, scopes)) = (&args.guest, &picked.choice.place) else {
        return Ok(());
    };
    let kind = Guest::of(guest);
    let is_of_it = |path: &str| path.contains(&format!("/{}/", kind.api_type()));
    if !picked.path().contains("{vmid}") || is_of_it(picked.scope.path) {
        return Ok(());
    }
    let right = scopes.iter().find(|scope| is_of_it(scope.path));
    let right = right.map_or("", |scope| scope.name);
    Err(Error::impossible(
        format!(
            "{} is a {}, nothing was done",
            &plain(&guest["vmid"]),
            kind.noun()
        ),
        format!(
            "{}: call again with {}={right}.",
            identified(guest),
            param.name
        ),
    ))
}

/// Refuses parts of the request that the host's version does not know.
fn check_versions(client: &Client, picked: &Declared, args: &Args) -> Result<(), Error> {
    let mut limits = picked.versions(args).into_iter();
    limits.try_for_each(|(what, versions)| check_version(client, &what, versions))
}

/// Refuses `what` unless the host runs one of these versions; the host is asked once.
pub(crate) fn check_version(client: &Client, what: &str, versions: Versions) -> Result<(), Error> {
    let major = client.major_version()?;
    match versions.contain(major) {
        true => Ok(()),
        false => Err(Error::impossible(
            format!("{what} needs Proxmox VE {versions}, nothing was done"),
            format!("The host runs version {major}."),
        )),
    }
}
