//! Who confirms what cannot be undone, and what their word is worth.

use super::Gate;
use super::consent::{Asks, Way};
use super::facts::Facts;
use super::question::{FIELDS, Question, in_session, on_terminal, options, said};
use super::subject::Subject;
use crate::error::Error;
use crate::pve::client::Client;
use crate::pve::request::Request;
use crate::settings::Confirm;

/// The most characters of what is to be done that a person is asked about; nothing of it is left out.
const LONGEST: usize = 4_000;

/// How often a question is asked anew because its object has changed meanwhile.
const QUESTIONS: u32 = 3;

impl Gate<'_> {
    /// `allowed` or `confirmed`, or why neither.
    pub(super) fn confirm(
        &self,
        client: &Client,
        request: &Request,
        subject: &Subject,
    ) -> Result<&'static str, Error> {
        let Some(harm) = &subject.harm else {
            return Ok("allowed");
        };
        let is_left_to_client =
            self.safety.confirm == Confirm::Auto && matches!(self.caller.asks, Asks::Nobody);
        if self.safety.confirm == Confirm::Never || is_left_to_client {
            return Ok("allowed");
        }
        let mut changed = "";
        for _ in 0..QUESTIONS {
            let facts = Facts::read(client, request, subject)?;
            if facts.is_harmless {
                return Ok("allowed");
            }
            let shown = self.digest(&format!("{request}\n{}", facts.fixed))?;
            if let Some(consent) = self.consent.take() {
                if consent.shown == shown {
                    self.keeper.consents.spend(&consent, client.now());
                    return Ok("confirmed");
                }
                changed = "It has changed since you were asked.\n";
            }
            let word = match facts.vmid {
                Some(vmid) => vmid.to_string(),
                None => "yes".to_owned(),
            };
            let told = harm.told(&facts.object);
            if told.chars().count() > LONGEST {
                return Err(Error::Declined(format!(
                    "It is too long to be shown to the user whole: at most {LONGEST} characters."
                )));
            }
            let mut lines = vec![told];
            lines.extend(options(request));
            lines.extend(facts.lines);
            let question = Question {
                message: format!("{changed}{}", lines.join("\n")),
                field: FIELDS[usize::from(facts.vmid.is_none())],
                state: self.seal(client, Way::State, &shown, &word)?,
                word: word.clone(),
            };
            let reply = match &self.caller.asks {
                Asks::ByResult(_) => return Err(Error::Asked(Box::new(question))),
                Asks::Nobody => return self.confirm_by_token(client, question, &shown),
                Asks::Beforehand { is_yes: true } => return Ok("confirmed"),
                Asks::Beforehand { is_yes: false } => {
                    return Err(Error::Declined(format!(
                        "{}\nNobody can be asked here: --yes says yes beforehand.",
                        question.message
                    )));
                }
                Asks::OnTerminal => on_terminal(&question.message, &word),
                Asks::InSession { says_mode } => match in_session(client, &question, *says_mode)? {
                    Some(reply) => reply,
                    None if self.safety.confirm == Confirm::Auto => return Ok("allowed"),
                    None => return self.confirm_by_token(client, question, &shown),
                },
            };
            said(&reply, &word)?;
            // It counts if nothing has changed when it is looked at again.
            *self.consent.borrow_mut() =
                self.keeper
                    .consents
                    .open(Way::State, &self.call, &question.state, client.now());
        }
        Err(Error::Declined(
            "It changed each time while it was being confirmed.".to_owned(),
        ))
    }

    /// Where nobody can be asked: the call is repeated with a token that came with the question.
    fn confirm_by_token(
        &self,
        client: &Client,
        question: Question,
        shown: &str,
    ) -> Result<&'static str, Error> {
        let mut refused = "";
        if let Some(token) = self.token.take() {
            let now = client.now();
            match self
                .keeper
                .consents
                .open(Way::Token, &self.call, &token, now)
            {
                Some(consent) if consent.shown == shown => {
                    self.keeper.consents.spend(&consent, now);
                    return Ok("confirmed");
                }
                _ => {
                    refused = "That confirm_token does not count: it is for one call with the same arguments, for 5 minutes, and for what was shown.\n";
                }
            }
        }
        Err(Error::Unconfirmed {
            token: self.seal(client, Way::Token, shown, &question.word)?,
            question: format!("{refused}{}", question.message),
        })
    }

    fn seal(&self, client: &Client, way: Way, shown: &str, word: &str) -> Result<String, Error> {
        let sealed = self
            .keeper
            .consents
            .close(way, &self.call, shown, word, client.now());
        sealed.ok_or_else(no_randomness)
    }

    fn digest(&self, text: &str) -> Result<String, Error> {
        self.keeper.consents.digest(text).ok_or_else(no_randomness)
    }
}

fn no_randomness() -> Error {
    Error::impossible(
        "it cannot be confirmed, nothing was changed",
        "The system has no randomness to seal the question with.",
    )
}
