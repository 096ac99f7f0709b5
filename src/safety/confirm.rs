//! The confirmation of risky changes by the user.

use std::iter;

use super::Gate;
use super::consent::{Approval, Consent, TokenKind};
use super::facts::Facts;
use super::question::options;
use super::risk::Risk;
use super::subject::Subject;
use crate::error::question::FIELDS;
use crate::error::{Error, Question, Rehearsal};
use crate::pve::reader::Reader;
use crate::pve::trust::sha256;
use crate::request::Request;
use crate::settings::Confirm;

/// The longest text that the user is asked to confirm, in characters. It is always shown in full.
const MAX_SENTENCE: usize = 4_000;

/// The same, for up to 50 guests.
const MAX_SENTENCES: usize = 8_000;

/// What the user is asked to agree to.
struct Asked {
    /// What is done, in at most `most` characters.
    sentence: String,
    most: usize,
    /// What else they need to know, in lines.
    rest: Vec<String>,
    /// The name of the value in the answer.
    field: &'static str,
    /// What is stored until they answer.
    consent: Consent,
}

/// Returns a digest of what the user is shown about a request.
fn digest(request: &Request, facts: &Facts) -> [u8; 32] {
    sha256(format!("{request}\n{}", facts.basis).as_bytes())
}

impl Gate<'_> {
    /// Returns `allowed` or `confirmed`, or the error that stops the request.
    pub(super) fn confirm(
        &self,
        client: &Reader,
        request: &Request,
        subject: &Subject,
    ) -> Result<&'static str, Error> {
        let Some((risk, facts)) = self.to_confirm(client, request, subject)? else {
            return Ok("allowed");
        };
        let sentence = facts.sentence(risk);
        let shown = digest(request, &facts);
        let (field, word) = match facts.vmid {
            Some(vmid) => (FIELDS[0], vmid.to_string()),
            None => (FIELDS[2], "yes".to_owned()),
        };
        let mut rest: Vec<String> = options(request, risk).into_iter().collect();
        rest.extend(facts.lines);
        self.ask(
            client,
            &request.to_string(),
            Asked {
                sentence,
                most: MAX_SENTENCE,
                rest,
                field,
                consent: Consent { shown, word },
            },
        )
    }

    /// Returns what the user has to agree to, and what they need to know; `None` if no confirmation is
    /// needed.
    fn to_confirm<'r>(
        &self,
        client: &Reader,
        request: &Request,
        subject: &'r Subject,
    ) -> Result<Option<(&'r Risk, Facts)>, Error> {
        let Some(risk) = &subject.risk else {
            return Ok(None);
        };
        let is_up_to_client = match self.safety.confirm {
            Confirm::Auto => !risk.destroys(),
            Confirm::Always => false,
            Confirm::Never => return Ok(None),
        };
        if is_up_to_client && !self.can_ask() {
            return Ok(None);
        }
        let facts = Facts::read(client, request, subject)?;
        Ok((!facts.is_harmless).then_some((risk, facts)))
    }

    /// Returns what a request would do, for the question about several at once.
    pub(super) fn rehearse(
        &self,
        client: &Reader,
        request: &Request,
        subject: &Subject,
    ) -> Result<Rehearsal, Error> {
        let to_confirm = self.to_confirm(client, request, subject)?;
        let shown = to_confirm.map(|(risk, facts)| {
            // The first fact is the state.
            let state = facts.lines.first().map(|state| format!(" ({state})"));
            let sentence = facts.sentence(risk).replace('\n', "; ");
            (
                format!("{sentence}{}", state.unwrap_or_default()),
                options(request, risk),
                digest(request, &facts),
            )
        });
        let (sentence, options, shown) = match shown {
            Some((sentence, options, shown)) => (Some(sentence), options, Some(shown)),
            None => (None, None, None),
        };
        Ok(Rehearsal {
            request: request.to_string(),
            sentence,
            options,
            shown,
        })
    }

    /// Asks the user to agree to several changes at once, one a line, by typing the number of guests.
    pub(crate) fn confirm_together(
        &self,
        client: &Reader,
        parts: &[(String, Option<Rehearsal>)],
    ) -> Result<(), Error> {
        let rehearsals = || parts.iter().filter_map(|(_, part)| part.as_ref());
        if rehearsals().all(|part| part.shown.is_none()) {
            return Ok(());
        }
        let lines = parts.iter().map(|(who, part)| match part {
            Some(Rehearsal {
                sentence: Some(sentence),
                ..
            }) => sentence.clone(),
            _ => format!("{who}: harmless at present."),
        });
        let lines: Vec<String> = lines.collect();
        let mut rest: Vec<String> = Vec::new();
        for options in rehearsals().filter_map(|part| part.options.clone()) {
            if !rest.contains(&options) {
                rest.push(options);
            }
        }
        let mut basis = lines.join("\n").into_bytes();
        for part in rehearsals() {
            basis.extend(part.request.as_bytes());
            basis.extend(part.shown.unwrap_or_default());
        }
        let consent = Consent {
            shown: sha256(&basis),
            word: parts.len().to_string(),
        };
        self.ask(
            client,
            self.name,
            Asked {
                sentence: lines.join("\n"),
                most: MAX_SENTENCES,
                rest,
                field: FIELDS[1],
                consent,
            },
        )?;
        Ok(())
    }

    /// Asks the user unless they have already agreed; `what` is about to be sent.
    fn ask(&self, client: &Reader, what: &str, asked: Asked) -> Result<&'static str, Error> {
        let Asked {
            sentence,
            most,
            rest,
            field,
            consent,
        } = asked;
        let changed = match self.consent.take() {
            Some(given) if given.shown == consent.shown => return Ok("confirmed"),
            Some(_) => "It has changed since you were asked.\n",
            None => "",
        };
        if sentence.chars().count() > most {
            return Err(Error::declined(format!(
                "It is too long to show to the user in full: at most {most} characters."
            )));
        }
        let lines: Vec<String> = iter::once(sentence).chain(rest).collect();
        let mut question = Question {
            message: format!("{changed}{}", lines.join("\n")),
            field,
            word: consent.word.clone(),
            state: String::new(),
        };
        match &self.caller.approval {
            Approval::ByFlag { is_given: true } => Ok("confirmed"),
            Approval::ByFlag { is_given: false } => Err(Error::declined(format!(
                "{}\nThe user cannot be asked here: --yes confirms in advance.",
                question.message
            ))),
            Approval::Rehearsed { .. } | Approval::Together { .. } => {
                Err(Error::declined(format!(
                    "This is not what the user agreed to: {}\nCall again for it.",
                    question.message
                )))
            }
            // The answer would come with a repeated call, which would send the first change again.
            _ if self.has_sent.get() => Err(Error::impossible(
                format!("{what} was not sent"),
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

    /// If the user cannot be asked, confirms a call that is repeated with the token from the question.
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
            notice = "That confirm_token is not valid: it is for one call with the same arguments, within 5 minutes, and for what was shown.\n";
        }
        let token = self.keep(client, TokenKind::ConfirmToken, consent)?;
        let question = format!("{notice}{}", question.message);
        Err(Error::unconfirmed(question, &token))
    }

    /// Stores what the user was shown until they answer, and returns its token.
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
