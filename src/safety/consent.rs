//! Open questions. Each belongs to one call and can be answered once.

use std::cell::RefCell;

use rustls::crypto::ring;

use crate::pve::trust::sha256;

/// How many seconds a question stays open.
pub(crate) const LIFETIME: u64 = 300;

/// The maximum number of open questions; a new one replaces the oldest.
const MAX_OPEN: usize = 64;

/// How the user can be asked to approve a change, and their answer.
#[derive(Debug)]
pub(crate) enum Approval {
    /// By a result, which the client answers by repeating the call; this may be the repeated call.
    ByResult(Option<Returned>),
    /// By a question within a session or on the terminal. It ends the call, which is repeated with the answer;
    /// the client sees one call. This may be the repeated one.
    WithinCall(Option<Returned>),
    /// Not at all.
    Unavailable,
    /// Only in advance, by `--yes` on the command line.
    ByFlag { is_given: bool },
    /// Not in this call, which is one of several: before any of them sends a change, it ends with what it
    /// would do.
    Rehearsed { can_ask: bool },
    /// Already, together with others. `shown` is a digest of what they agreed to, if they were asked about
    /// this call.
    Together {
        can_ask: bool,
        shown: Option<[u8; 32]>,
    },
}

impl Approval {
    /// Returns whether there is anyone to ask.
    pub(crate) fn can_ask(&self) -> bool {
        match self {
            Approval::ByResult(_) | Approval::WithinCall(_) | Approval::ByFlag { .. } => true,
            Approval::Unavailable => false,
            Approval::Rehearsed { can_ask } | Approval::Together { can_ask, .. } => *can_ask,
        }
    }
}

/// What a repeated call brings back.
#[derive(Debug)]
pub(crate) struct Returned {
    /// The token of the question.
    pub(crate) state: String,
    /// The answer to the question, if there is one.
    pub(crate) reply: Option<UserReply>,
}

/// The answer of the user to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UserReply {
    /// Yes, with what they typed.
    Accepted(String),
    /// No, or they closed it.
    Declined,
    /// Neither, and why.
    Unanswered(&'static str),
}

/// What the user was shown before agreeing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Consent {
    /// A digest of the whole text.
    pub(super) shown: [u8; 32],
    /// The word that they have to type.
    pub(super) word: String,
}

/// How a question's token comes back. It is only valid that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// As `requestState` of MCP.
    RequestState,
    /// As the argument `confirm_token`.
    ConfirmToken,
}

/// The open questions. They are kept in memory only.
#[derive(Default)]
pub(crate) struct Pending(RefCell<Vec<OpenQuestion>>);

struct OpenQuestion {
    token: String,
    kind: TokenKind,
    /// A digest of the call, which can be long and hold secrets.
    call: [u8; 32],
    consent: Consent,
    expiry: u64,
}

impl Pending {
    /// Stores a question and returns its token, 16 hexadecimal digits; `None` if the system has no source of
    /// randomness.
    pub(super) fn add(
        &self,
        kind: TokenKind,
        call: &str,
        consent: Consent,
        now: u64,
    ) -> Option<String> {
        let mut token = [0; 8];
        let random = ring::default_provider().secure_random;
        random.fill(&mut token).ok()?;
        let token = format!("{:016x}", u64::from_be_bytes(token));
        let mut open = self.0.borrow_mut();
        open.retain(|question| now < question.expiry);
        if open.len() == MAX_OPEN {
            open.remove(0);
        }
        open.push(OpenQuestion {
            token: token.clone(),
            kind,
            call: sha256(call.as_bytes()),
            consent,
            expiry: now + LIFETIME,
        });
        Some(token)
    }

    /// Returns what the user was shown when this token was issued for this call.
    pub(super) fn peek(
        &self,
        kind: TokenKind,
        call: &str,
        token: &str,
        now: u64,
    ) -> Option<Consent> {
        let open = self.0.borrow();
        let place = place(&open, kind, call, token, now)?;
        Some(open[place].consent.clone())
    }

    /// Returns the same and invalidates the token.
    pub(super) fn take(
        &self,
        kind: TokenKind,
        call: &str,
        token: &str,
        now: u64,
    ) -> Option<Consent> {
        let mut open = self.0.borrow_mut();
        let place = place(&open, kind, call, token, now)?;
        Some(open.remove(place).consent)
    }
}

fn place(
    open: &[OpenQuestion],
    kind: TokenKind,
    call: &str,
    token: &str,
    now: u64,
) -> Option<usize> {
    let call = sha256(call.as_bytes());
    open.iter().position(|open| {
        open.token == token && open.kind == kind && open.call == call && now < open.expiry
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_784_023_200;

    fn consent() -> Consent {
        Consent {
            shown: sha256(b"web01 running"),
            word: "100".to_owned(),
        }
    }

    fn asked(pending: &Pending, kind: TokenKind) -> String {
        let token = pending.add(kind, "stop 100", consent(), NOW);
        token.expect("there is randomness")
    }

    #[test]
    fn a_token_is_16_hexadecimal_digits_and_never_the_same() {
        let pending = Pending::default();
        let (one, other) = (
            asked(&pending, TokenKind::ConfirmToken),
            asked(&pending, TokenKind::ConfirmToken),
        );
        assert_ne!(one, other);
        assert!(one.len() == 16 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn a_token_is_valid_for_one_call_and_kind_and_for_five_minutes() {
        let pending = Pending::default();
        let token = asked(&pending, TokenKind::ConfirmToken);
        let look = |kind, call, token, now| pending.peek(kind, call, token, now);
        for (kind, call, token, now) in [
            (TokenKind::ConfirmToken, "stop 101", &*token, NOW),
            (TokenKind::RequestState, "stop 100", &token, NOW),
            (TokenKind::ConfirmToken, "stop 100", "0123456789abcdef", NOW),
            (TokenKind::ConfirmToken, "stop 100", "", NOW),
            (TokenKind::ConfirmToken, "stop 100", &token, NOW + 300),
        ] {
            assert_eq!(look(kind, call, token, now), None, "{call} {token}");
            assert_eq!(pending.take(kind, call, token, now), None, "{call} {token}");
        }
        let found = look(TokenKind::ConfirmToken, "stop 100", &token, NOW + 299);
        assert_eq!(found, Some(consent()));
        assert_eq!(
            Pending::default().peek(TokenKind::ConfirmToken, "stop 100", &token, NOW),
            None
        );
    }

    #[test]
    fn a_token_is_valid_once() {
        let pending = Pending::default();
        let (first, second) = (
            asked(&pending, TokenKind::RequestState),
            asked(&pending, TokenKind::RequestState),
        );
        let take = |token: &str| pending.take(TokenKind::RequestState, "stop 100", token, NOW);
        assert_eq!(take(&first), Some(consent()));
        assert_eq!(take(&first), None);
        assert_eq!(take(&second), Some(consent()));
    }

    #[test]
    fn a_new_question_replaces_the_oldest_if_too_many_are_open() {
        let pending = Pending::default();
        let tokens: Vec<String> = (0..=MAX_OPEN)
            .map(|_| asked(&pending, TokenKind::ConfirmToken))
            .collect();
        let is_kept = |token: &str| {
            pending
                .peek(TokenKind::ConfirmToken, "stop 100", token, NOW)
                .is_some()
        };
        assert!(!is_kept(&tokens[0]) && tokens[1..].iter().all(|token| is_kept(token)));
        // Expired questions are dropped.
        let later = pending.add(TokenKind::ConfirmToken, "stop 100", consent(), NOW + 300);
        assert_eq!(pending.0.borrow().len(), 1);
        assert!(later.is_some());
    }
}
