//! The login: a user's ticket, for what no API token can do.
//!
//! It has its own connections. Whatever the SSL mode, they only accept a certificate that `strict` or a
//! fingerprint trusts: a password opens more than a token does, and cannot be revoked as easily.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde_json::Value;

use crate::error::{Error, Failure};
use crate::mcp::connection::Peer;
use crate::pve::hosts::Hosts;
use crate::pve::http::Credentials;
use crate::pve::reader::Reader;
use crate::request::{self, Method, Request, Response};
use crate::settings::{self, Connection, Host};
use crate::text;
use crate::text::percent::decode;
use crate::text::secret::Secret;

#[cfg(test)]
mod tests;

/// The age in seconds from which a ticket is renewed. Proxmox accepts it for two hours
/// (`PVE/AccessControl.pm`).
const RENEWED_FROM: u64 = 90 * 60;

/// The age from which a ticket is not even used to renew itself.
const TRUSTED_UNTIL: u64 = 115 * 60;

/// How many logins may be refused: Proxmox locks a second factor after eight wrong codes, and a realm may
/// lock a user sooner.
const MOST_REFUSALS: u32 = 3;

/// A user who logs in when a request needs it.
pub(super) struct Login {
    settings: settings::Login,
    hosts: Hosts,
    ticket: RefCell<Option<Ticket>>,
    refusals: Cell<u32>,
}

/// What Proxmox gives to a user who has logged in.
#[derive(Clone)]
struct Ticket {
    text: Secret,
    credentials: Rc<Credentials>,
    /// When it was requested, in seconds since 1970.
    since: u64,
}

impl Login {
    /// Creates the login without connecting; returns `None` if none is set.
    pub(super) fn new(connection: &Connection, peer: Peer) -> Option<Self> {
        let settings = connection.login.clone()?;
        let connection = Connection {
            hosts: connection.hosts.iter().map(Host::for_login).collect(),
            ..connection.clone()
        };
        Some(Self {
            settings,
            hosts: Hosts::new(&connection, peer),
            ticket: RefCell::new(None),
            refusals: Cell::new(0),
        })
    }

    /// Returns the user who logs in, `user@realm`.
    pub(super) fn user(&self) -> &str {
        &self.settings.user
    }

    /// Returns the secrets that no answer or error may show.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let ticket = self.ticket.borrow();
        let ticket = ticket
            .iter()
            .flat_map(|ticket| ticket.credentials.secrets());
        let password = [&self.settings.password].into_iter();
        password.chain(ticket).cloned().collect()
    }

    /// Forgets a ticket that Proxmox no longer accepts.
    pub(super) fn forget(&self) {
        self.ticket.replace(None);
    }

    /// Sends a request as the user, after logging in if necessary.
    pub(super) fn exchange(
        &self,
        reader: &Reader,
        request: &Request,
        needed: request::Login,
    ) -> Result<Result<Response, Failure>, Error> {
        let mut confirmed = request.clone();
        // Only changes are confirmed, and never by root@pam (`reauth_user_for_user_modification`).
        if let request::Login::Confirmed { by, since } = needed
            && !request.method.only_reads()
            && self.user() != "root@pam"
            && (since == 0 || reader.major_version()? >= since)
        {
            confirmed.form.push(by, self.settings.password.expose());
        }
        let credentials = self.credentials(reader, request)?;
        Ok(self.hosts.exchange_as(&confirmed, Some(&credentials)))
    }

    /// Returns the headers of the user's requests; `wanted` is the request that needs them, for errors.
    pub(super) fn credentials(
        &self,
        reader: &Reader,
        wanted: &Request,
    ) -> Result<Rc<Credentials>, Error> {
        let known = self.ticket.borrow().clone();
        let now = reader.now();
        let age = known
            .as_ref()
            .and_then(|known| now.checked_sub(known.since));
        let renewed = match (known, age) {
            (Some(known), Some(0..RENEWED_FROM)) => return Ok(known.credentials),
            // The ticket replaces the password and the second factor.
            (Some(known), Some(..TRUSTED_UNTIL)) => {
                let request = self.request(known.text.expose());
                match self.ask(reader, wanted, &request)? {
                    Asked::Granted(answer, _) => Some(answer),
                    Asked::Refused(_) => None,
                }
            }
            _ => None,
        };
        let answer = match renewed {
            Some(answer) => answer,
            None => self.log_in(reader, wanted)?,
        };
        let ticket = Ticket::new(&answer, now).ok_or_else(|| {
            self.failed(
                "was answered without a ticket",
                "Check PROXMOX_HOST and PROXMOX_PORT.",
            )
        })?;
        let credentials = ticket.credentials.clone();
        self.ticket.replace(Some(ticket));
        Ok(credentials)
    }

    /// Logs in with the password, and with the second factor if Proxmox asks for it.
    fn log_in(&self, reader: &Reader, wanted: &Request) -> Result<Value, Error> {
        if self.refusals.get() >= MOST_REFUSALS {
            return Err(self.failed(
                "was refused before and is not tried again",
                "More attempts could lock the user: correct PROXMOX_LOGIN_USER, PROXMOX_PASSWORD_FILE \
                 or PROXMOX_TOTP_SECRET_FILE, then restart this program.",
            ));
        }
        let request = self.request(self.settings.password.expose());
        let (answer, date) = match self.ask(reader, wanted, &request)? {
            Asked::Granted(answer, date) => (answer, date),
            Asked::Refused(why) => {
                return Err(self.refused(
                    &why,
                    "Check PROXMOX_LOGIN_USER (with its realm) and the password in \
                     PROXMOX_PASSWORD_FILE; the user may also be disabled or expired.",
                ));
            }
        };
        let Some(challenge) = Challenge::of(&answer) else {
            return Ok(answer);
        };
        if !challenge.takes_totp {
            return Err(self.failed(
                "needs a second factor other than TOTP",
                "This program only supports TOTP: give the user a TOTP factor, or name another user \
                 in PROXMOX_LOGIN_USER.",
            ));
        }
        let key = self.settings.totp.as_ref().ok_or_else(|| {
            self.failed(
                "needs a second factor",
                "Set PROXMOX_TOTP_SECRET_FILE to a file with the secret of the user's TOTP factor.",
            )
        })?;
        // Proxmox compares the code by its own clock.
        let code = key.code(date.unwrap_or_else(|| reader.now()));
        let request = self
            .request(&format!("totp:{code}"))
            .with("tfa-challenge", challenge.ticket);
        match self.ask(reader, wanted, &request)? {
            Asked::Granted(answer, _) => Ok(answer),
            Asked::Refused(why) => Err(self.refused(
                &why,
                "The password was right, the TOTP code was not: check PROXMOX_TOTP_SECRET_FILE and the \
                 node's clock. A code works once: if the user has just logged in elsewhere, call again \
                 in 30 s.",
            )),
        }
    }

    fn request(&self, password: &str) -> Request {
        Request::new(Method::Post, "/access/ticket")
            .with("username", self.user())
            .with("password", password)
            .with("new-format", "1")
    }

    /// Requests a ticket. Apart from the ticket, this changes nothing.
    fn ask(&self, reader: &Reader, wanted: &Request, request: &Request) -> Result<Asked, Error> {
        let nobody = Credentials::default();
        let reply = self.hosts.exchange_as(request, Some(&nobody));
        let reply = reply.map_err(|failure| {
            let failure = match failure {
                Failure::MaybeProcessed { what, cause, .. } => Failure::NotSent {
                    what: format!("the login as {} {what}", self.user()),
                    cause,
                    remedy: "Call again.".to_owned(),
                },
                failure => failure,
            };
            let secrets: Vec<&str> = request.secrets().collect();
            reader.unfinished(wanted, failure).without(&secrets)
        })?;
        match reply.status {
            200..300 => Ok(Asked::Granted(reply.body, reply.date)),
            status => {
                let said = reply.body["message"]
                    .as_str()
                    .unwrap_or(&reply.reason)
                    .trim();
                let secrets: Vec<&str> = request.secrets().collect();
                let said = text::without(&text::cut(&text::inline(said), 200), &secrets);
                if status == 401 {
                    self.refusals.set(self.refusals.get() + 1);
                }
                Ok(Asked::Refused(format!("{said} (status {status})")))
            }
        }
    }

    fn refused(&self, why: &str, remedy: &str) -> Error {
        self.failed("was refused", why).hint(remedy)
    }

    fn failed(&self, how: &str, why: &str) -> Error {
        Error::impossible(
            format!("the login as {} {how}, nothing was changed", self.user()),
            why,
        )
    }
}

/// The result of requesting a ticket.
enum Asked {
    /// The answer, and the host's time.
    Granted(Value, Option<u64>),
    /// Proxmox's explanation.
    Refused(String),
}

impl Ticket {
    fn new(answer: &Value, since: u64) -> Option<Self> {
        let data = &answer["data"];
        let text = data["ticket"].as_str()?;
        let csrf_token = data["CSRFPreventionToken"].as_str()?;
        Some(Self {
            text: Secret::new(text.to_owned()),
            credentials: Rc::new(Credentials::of_ticket(text, csrf_token)?),
            since,
        })
    }
}

/// What Proxmox asks a user who has a second factor.
struct Challenge<'a> {
    /// The ticket to send with the second factor.
    ticket: &'a str,
    takes_totp: bool,
}

impl<'a> Challenge<'a> {
    /// Parses `PVE:!tfa!{"totp":true,…}:…`, percent-encoded between the colons; returns `None` if there is no
    /// challenge.
    fn of(answer: &'a Value) -> Option<Self> {
        let ticket = answer["data"]["ticket"].as_str()?;
        let (_, rest) = ticket.split_once(":!tfa!")?;
        let factors = rest.split(':').next().unwrap_or_default();
        let factors: Value = serde_json::from_str(&decode(factors)).unwrap_or_default();
        Some(Self {
            ticket,
            // If the factors cannot be parsed, try TOTP: Proxmox will refuse the code if it does not take
            // one.
            takes_totp: factors.is_null() || factors["totp"] == true || factors["totp"] == 1,
        })
    }
}
