//! A call of a tool that sends one of several requests: see [`crate::row`].

use crate::answer::{self, Answer, plain};
use crate::cluster::guests::{Guest, identified};
use crate::error::Error;
use crate::param::Args;
use crate::request::Method::Get;
use crate::row::{Choice, Declared, Place};
use crate::safety::Client;

/// Picks the request that `args` ask for, sends it and shows what came of it.
pub(super) fn choose(
    client: &Client,
    args: &Args,
    choice: &'static Choice,
) -> Result<Answer, Error> {
    let picked = choice.pick(args).map_err(Error::arguments)?;
    client.check_login(picked.row.login)?;
    check_kind(choice, &picked, args)?;
    check_versions(client, &picked, args)?;
    let mut request = picked.request(args);
    if picked.row.method.only_reads() {
        let mut reply = client.answer(&request)?;
        let data = answer::take(&mut reply, "data");
        return Ok(picked
            .show(&request, args, data, None)
            .with_reply_fields(reply));
    }
    let was = match picked.row.reads_first {
        true => Some(client.send(&args.request(Get, &picked.path()).by(picked.row.login))?),
        false => None,
    };
    if let Some(was) = &was {
        let takes_digest = picked.row.takes.iter().any(|param| param.name == "digest");
        let digest = plain(&was["digest"]);
        // Where the caller has read it, theirs counts: what they saw is what they mean.
        if takes_digest && args.named("digest").is_none() && !digest.is_empty() {
            request = request.with("digest", digest);
        }
        client.show_before(was);
    }
    let data = client.change(&request, picked.row.reply)?;
    Ok(picked.show(&request, args, data, was))
}

/// A guest of one kind has its requests below another path than one of the other kind.
fn check_kind(choice: &'static Choice, picked: &Declared, args: &Args) -> Result<(), Error> {
    let (Some(guest), Place::By(param, scopes)) = (&args.guest, &choice.place) else {
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

/// Asks which version the host runs where it matters, and refuses what that version does not know.
fn check_versions(client: &Client, picked: &Declared, args: &Args) -> Result<(), Error> {
    let limits = picked.versions(args);
    if limits.is_empty() {
        return Ok(());
    }
    let major = client.major_version()?;
    let unknown = limits
        .into_iter()
        .find(|(_, versions)| !versions.contain(major));
    match unknown {
        None => Ok(()),
        Some((what, versions)) => Err(Error::impossible(
            format!("{what} needs Proxmox VE {versions}, nothing was done"),
            format!("The host runs version {major}."),
        )),
    }
}
