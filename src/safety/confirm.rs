//! Who confirms harm, and what their word is worth.

use super::Gate;
use super::consent::{Asks, Consent, Way};
use super::facts::Facts;
use super::question::options;
use super::subject::Subject;
use crate::error::question::FIELDS;
use crate::error::{Error, Question};
use crate::pve::reader::Reader;
use crate::pve::trust::sha256;
use crate::request::Request;
use crate::settings::Confirm;

/// The most characters of what is to be done that a person is asked about; nothing of it is left out.
const LONGEST: usize = 4_000;

impl Gate<'_> {
    /// `allowed` or `confirmed`, or why neither.
    pub(super) fn confirm(
        &self,
        client: &Reader,
        request: &Request,
        subject: &Subject,
    ) -> Result<&'static str, Error> {
        let Some(risk) = &subject.risk else {
            return Ok("allowed");
        };
        let is_left_to_client = match self.safety.confirm {
            Confirm::Auto => !risk.destroys(),
            Confirm::Always => false,
            Confirm::Never => return Ok("allowed"),
        };
        if is_left_to_client && matches!(self.caller.asks, Asks::Nobody) {
            return Ok("allowed");
        }
        let facts = Facts::read(client, request, subject)?;
        if facts.is_harmless {
            return Ok("allowed");
        }
        let shown = sha256(format!("{request}\n{}", facts.fixed).as_bytes());
        let changed = match self.consent.take() {
            Some(consent) if consent.shown == shown => return Ok("confirmed"),
            Some(_) => "It has changed since you were asked.\n",
            None => "",
        };
        let word = match facts.vmid {
            Some(vmid) => vmid.to_string(),
            None => "yes".to_owned(),
        };
        let told = facts.told(risk);
        if told.chars().count() > LONGEST {
            return Err(Error::declined(format!(
                "It is too long to be shown to the user whole: at most {LONGEST} characters."
            )));
        }
        let mut lines = vec![told];
        lines.extend(options(request, risk));
        lines.extend(facts.lines);
        let mut question = Question {
            message: format!("{changed}{}", lines.join("\n")),
            field: FIELDS[usize::from(facts.vmid.is_none())],
            word,
            state: String::new(),
        };
        let consent = Consent {
            shown,
            word: question.word.clone(),
        };
        match &self.caller.asks {
            Asks::Beforehand { is_yes: true } => Ok("confirmed"),
            Asks::Beforehand { is_yes: false } => Err(Error::declined(format!(
                "{}\nThere is no one to ask here: --yes confirms in advance.",
                question.message
            ))),
            // Whoever is asked answers with the whole call, whose first change would be made again.
            _ if self.has_sent.get() => Err(Error::impossible(
                format!("{request} was not sent"),
                format!(
                    "The user would have to be asked in the middle of the call, after its first change was made: {}",
                    question.message
                ),
            )),
            Asks::ByResult(_) | Asks::WithinCall(_) => {
                question.state = self.keep(client, Way::State, consent)?;
                Err(Error::asked(question))
            }
            Asks::Nobody => self.confirm_by_token(client, question, consent),
        }
    }

    /// Where nobody can be asked: the call is repeated with a token that came with the question.
    fn confirm_by_token(
        &self,
        client: &Reader,
        question: Question,
        consent: Consent,
    ) -> Result<&'static str, Error> {
        let mut refused = "";
        if let Some(token) = self.token.take() {
            let pending = &self.keeper.pending;
            let given = pending.take(Way::Token, &self.call, token.trim(), client.now());
            if given.is_some_and(|given| given.shown == consent.shown) {
                return Ok("confirmed");
            }
            refused = "That confirm_token does not count: it is for one call with the same arguments, for 5 minutes, and for what was shown.\n";
        }
        let token = self.keep(client, Way::Token, consent)?;
        let question = format!("{refused}{}", question.message);
        Err(Error::unconfirmed(question, &token))
    }

    /// Keeps what a person is shown until they have answered, and gives the token of it.
    fn keep(&self, client: &Reader, way: Way, consent: Consent) -> Result<String, Error> {
        let now = client.now();
        let token = self.keeper.pending.add(way, &self.call, consent, now);
        token.ok_or_else(|| {
            Error::impossible(
                "it cannot be confirmed, nothing was changed",
                "The system has no randomness for the token of the question.",
            )
        })
    }
}
