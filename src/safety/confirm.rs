//! The confirmation of risky changes by the user.

use super::Gate;
use super::consent::{Approval, Consent, TokenKind};
use super::facts::Facts;
use super::question::options;
use super::subject::Subject;
use crate::error::question::FIELDS;
use crate::error::{Error, Question};
use crate::pve::reader::Reader;
use crate::pve::trust::sha256;
use crate::request::Request;
use crate::settings::Confirm;

/// The maximum length, in characters, of what the user is asked to confirm. It is always shown in full.
const MAX_SENTENCE: usize = 4_000;

impl Gate<'_> {
    /// Returns `allowed` or `confirmed`, or the error that stops the request.
    pub(super) fn confirm(
        &self,
        client: &Reader,
        request: &Request,
        subject: &Subject,
    ) -> Result<&'static str, Error> {
        let Some(risk) = &subject.risk else {
            return Ok("allowed");
        };
        let is_up_to_client = match self.safety.confirm {
            Confirm::Auto => !risk.destroys(),
            Confirm::Always => false,
            Confirm::Never => return Ok("allowed"),
        };
        if is_up_to_client && matches!(self.caller.approval, Approval::Unavailable) {
            return Ok("allowed");
        }
        let facts = Facts::read(client, request, subject)?;
        if facts.is_harmless {
            return Ok("allowed");
        }
        let shown = sha256(format!("{request}\n{}", facts.basis).as_bytes());
        let changed = match self.consent.take() {
            Some(consent) if consent.shown == shown => return Ok("confirmed"),
            Some(_) => "It has changed since you were asked.\n",
            None => "",
        };
        let word = match facts.vmid {
            Some(vmid) => vmid.to_string(),
            None => "yes".to_owned(),
        };
        let sentence = facts.sentence(risk);
        if sentence.chars().count() > MAX_SENTENCE {
            return Err(Error::declined(format!(
                "It is too long to be shown to the user in full: at most {MAX_SENTENCE} characters."
            )));
        }
        let mut lines = vec![sentence];
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
        match &self.caller.approval {
            Approval::ByFlag { is_given: true } => Ok("confirmed"),
            Approval::ByFlag { is_given: false } => Err(Error::declined(format!(
                "{}\nThe user cannot be asked here: --yes confirms in advance.",
                question.message
            ))),
            // The answer comes with a repeated call, which would send its first change again.
            _ if self.has_sent.get() => Err(Error::impossible(
                format!("{request} was not sent"),
                format!(
                    "The user would have to be asked in the middle of the call, after its first change was made: {}",
                    question.message
                ),
            )),
            Approval::ByResult(_) | Approval::WithinCall(_) => {
                question.state = self.keep(client, TokenKind::RequestState, consent)?;
                Err(Error::asked(question))
            }
            Approval::Unavailable => self.confirm_by_token(client, question, consent),
        }
    }

    /// Confirms by a repeated call with the token that came with the question, if the user cannot be asked.
    fn confirm_by_token(
        &self,
        client: &Reader,
        question: Question,
        consent: Consent,
    ) -> Result<&'static str, Error> {
        let mut notice = "";
        if let Some(token) = self.token.take() {
            let pending = &self.state.pending;
            let given = pending.take(
                TokenKind::ConfirmToken,
                &self.call,
                token.trim(),
                client.now(),
            );
            if given.is_some_and(|given| given.shown == consent.shown) {
                return Ok("confirmed");
            }
            notice = "That confirm_token does not count: it is for one call with the same arguments, for 5 minutes, and for what was shown.\n";
        }
        let token = self.keep(client, TokenKind::ConfirmToken, consent)?;
        let question = format!("{notice}{}", question.message);
        Err(Error::unconfirmed(question, &token))
    }

    /// Stores what the user is shown until they answer, and returns the token for it.
    fn keep(&self, client: &Reader, kind: TokenKind, consent: Consent) -> Result<String, Error> {
        let now = client.now();
        let token = self.state.pending.add(kind, &self.call, consent, now);
        token.ok_or_else(|| {
            Error::impossible(
                "it cannot be confirmed, nothing was changed",
                "The system has no source of randomness for the token of the question.",
            )
        })
    }
}
