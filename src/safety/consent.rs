//! What people were asked and have not answered yet: bound to one call, answered once.

use std::cell::RefCell;

use rustls::crypto::ring;

use crate::pve::trust::sha256;

/// For how long, in seconds, a question can be answered.
pub(crate) const LIFETIME: u64 = 300;

/// The most questions that wait for an answer; another one takes the place of the oldest.
const MOST: usize = 64;

/// How a person behind the client can be asked, and what they have said.
#[derive(Debug)]
pub(crate) enum Asks {
    /// By a result that the client answers with the same call again; this may be such a call.
    ByResult(Option<Returned>),
    /// By a question that ends the call, which whoever runs it then makes again with the answer: within a
    /// session, or on the terminal. To the client that is one call; this may be its repetition.
    WithinCall(Option<Returned>),
    /// Not at all.
    Nobody,
    /// They have said yes to everything beforehand; if not, they must.
    Beforehand { is_yes: bool },
}

/// What came back with a repeated call.
#[derive(Debug)]
pub(crate) struct Returned {
    /// The token of the question.
    pub(crate) state: String,
    /// What was answered to the question, where it was.
    pub(crate) reply: Option<Reply>,
}

/// What a person said to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Yes, with what they typed.
    Accepted(String),
    /// No, or they closed it.
    Declined,
    /// Nothing: why.
    Unanswered(&'static str),
}

/// What a person was shown before a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Consent {
    /// A digest of all of it.
    pub(super) shown: [u8; 32],
    /// What they are to type.
    pub(super) word: String,
}

/// Which way the token of a question goes; on the other it is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As the `requestState` of MCP.
    State,
    /// As the argument `confirm_token`.
    Token,
}

/// The questions that wait for an answer. They end with the process.
#[derive(Default)]
pub(crate) struct Pending(RefCell<Vec<Waiting>>);

struct Waiting {
    token: String,
    way: Way,
    /// A digest of the call, which can be long and hold secrets.
    call: [u8; 32],
    consent: Consent,
    expiry: u64,
}

impl Pending {
    /// Keeps a question, and gives the token that answers it: 16 hexadecimal digits. `None` where the
    /// system has no randomness.
    pub(super) fn add(&self, way: Way, call: &str, consent: Consent, now: u64) -> Option<String> {
        let mut token = [0; 8];
        let random = ring::default_provider().secure_random;
        random.fill(&mut token).ok()?;
        let token = format!("{:016x}", u64::from_be_bytes(token));
        let mut waiting = self.0.borrow_mut();
        waiting.retain(|waiting| now < waiting.expiry);
        if waiting.len() == MOST {
            waiting.remove(0);
        }
        waiting.push(Waiting {
            token: token.clone(),
            way,
            call: sha256(call.as_bytes()),
            consent,
            expiry: now + LIFETIME,
        });
        Some(token)
    }

    /// What a person was shown when they were given this token before this call.
    pub(super) fn look(&self, way: Way, call: &str, token: &str, now: u64) -> Option<Consent> {
        let waiting = self.0.borrow();
        let place = place(&waiting, way, call, token, now)?;
        Some(waiting[place].consent.clone())
    }

    /// The same, for the only time.
    pub(super) fn take(&self, way: Way, call: &str, token: &str, now: u64) -> Option<Consent> {
        let mut waiting = self.0.borrow_mut();
        let place = place(&waiting, way, call, token, now)?;
        Some(waiting.remove(place).consent)
    }
}

fn place(waiting: &[Waiting], way: Way, call: &str, token: &str, now: u64) -> Option<usize> {
    let call = sha256(call.as_bytes());
    waiting.iter().position(|waiting| {
        waiting.token == token && waiting.way == way && waiting.call == call && now < waiting.expiry
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

    fn asked(pending: &Pending, way: Way) -> String {
        let token = pending.add(way, "stop 100", consent(), NOW);
        token.expect("there is randomness")
    }

    #[test]
    fn a_token_is_16_hexadecimal_digits_and_never_the_same() {
        let pending = Pending::default();
        let (one, other) = (asked(&pending, Way::Token), asked(&pending, Way::Token));
        assert_ne!(one, other);
        assert!(one.len() == 16 && one.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn counts_for_the_same_call_and_way_alone_and_for_five_minutes() {
        let pending = Pending::default();
        let token = asked(&pending, Way::Token);
        let look = |way, call, token, now| pending.look(way, call, token, now);
        for (way, call, token, now) in [
            (Way::Token, "stop 101", &*token, NOW),
            (Way::State, "stop 100", &token, NOW),
            (Way::Token, "stop 100", "0123456789abcdef", NOW),
            (Way::Token, "stop 100", "", NOW),
            (Way::Token, "stop 100", &token, NOW + 300),
        ] {
            assert_eq!(look(way, call, token, now), None, "{call} {token}");
            assert_eq!(pending.take(way, call, token, now), None, "{call} {token}");
        }
        let found = look(Way::Token, "stop 100", &token, NOW + 299);
        assert_eq!(found, Some(consent()));
        assert_eq!(
            Pending::default().look(Way::Token, "stop 100", &token, NOW),
            None
        );
    }

    #[test]
    fn counts_once() {
        let pending = Pending::default();
        let (first, second) = (asked(&pending, Way::State), asked(&pending, Way::State));
        let take = |token: &str| pending.take(Way::State, "stop 100", token, NOW);
        assert_eq!(take(&first), Some(consent()));
        assert_eq!(take(&first), None);
        assert_eq!(take(&second), Some(consent()));
    }

    #[test]
    fn keeps_the_newest_questions_and_no_more_of_them_than_it_may() {
        let pending = Pending::default();
        let tokens: Vec<String> = (0..=MOST).map(|_| asked(&pending, Way::Token)).collect();
        let is_kept = |token: &str| pending.look(Way::Token, "stop 100", token, NOW).is_some();
        assert!(!is_kept(&tokens[0]) && tokens[1..].iter().all(|token| is_kept(token)));
        // Those that are too old make room.
        let later = pending.add(Way::Token, "stop 100", consent(), NOW + 300);
        assert_eq!(pending.0.borrow().len(), 1);
        assert!(later.is_some());
    }
}
